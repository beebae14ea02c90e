//! How a group becomes messages: leave out what is kept quiet, compare with what was told, write the intent, send with
//! retries, record. One file for each step and each kind of receiver.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::template_data::Data;

pub mod dedup_stage;
pub mod discord;
pub mod email;
pub mod exchange;
pub mod http_client;
pub mod http_receiver;
pub mod msteams;
pub mod mute_stage;
pub mod ntfy;
pub mod opsgenie;
pub mod pagerduty;
pub mod pushover;
pub mod record_stage;
pub mod retry_stage;
pub mod secret_file;
pub mod slack;
pub mod smtp_session;
pub mod telegram;
pub mod truncate;
pub mod webhook;

/// What one integration is to tell.
#[derive(Debug)]
pub struct Notification<'a> {
    /// The content.
    pub data: &'a Data,
    /// The group's key.
    pub group_key: &'a str,
    /// Whether it may have arrived before: sent by a process that was killed, or by an attempt that got no answer.
    pub possible_repeat: bool,
    /// The receiver that could not be told, where this one stands in for it.
    pub fallback_for: Option<&'a str>,
    /// Takes down what is sent and what comes back.
    pub exchange: Option<&'a exchange::Exchange>,
    /// What the integration kept of the group's last message; nothing where messages stand alone.
    pub kept: Option<&'a Kept>,
}

/// What an integration keeps from one message of a group to the next, while the group has firing alerts. It lies in the notification log.
#[derive(Debug, Default)]
pub struct Kept {
    before: BTreeMap<String, String>,
    after: Mutex<BTreeMap<String, String>>,
}

impl Kept {
    /// With what was kept before, which is kept on.
    pub fn new(before: BTreeMap<String, String>) -> Self {
        Kept { after: Mutex::new(before.clone()), before }
    }

    /// What was kept before under this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.before.get(name).map(String::as_str)
    }

    /// Keeps something for the next message.
    pub fn put(&self, name: &str, value: String) {
        self.after.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), value);
    }

    /// What is to be kept.
    pub fn into_after(self) -> BTreeMap<String, String> {
        self.after.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Notification<'a> {
    /// An ordinary one.
    pub fn new(data: &'a Data, group_key: &'a str) -> Self {
        Notification { data, group_key, possible_repeat: false, fallback_for: None, exchange: None, kept: None }
    }
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SendError {
    /// What happened, for people; holds no secrets.
    pub message: String,
    /// The class, for counters.
    pub reason: FailureReason,
    /// Whether trying again soon can help.
    pub retry: bool,
    /// The pause that the receiver asked for.
    pub retry_after: Option<Duration>,
}

impl SendError {
    /// Trying again will not help: the configuration or the content is wrong.
    pub fn permanent(reason: FailureReason, message: impl Into<String>) -> Self {
        SendError { message: message.into(), reason, retry: false, retry_after: None }
    }

    /// Trying again may help.
    pub fn temporary(reason: FailureReason, message: impl Into<String>) -> Self {
        SendError { message: message.into(), reason, retry: true, retry_after: None }
    }
}

/// Classes of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureReason {
    /// A template failed.
    Template,
    /// A secret or certificate file cannot be read.
    File,
    /// The receiver says that the request is wrong (4xx, SMTP 5xx).
    ClientError,
    /// The receiver says that it is in trouble (5xx, SMTP 4xx).
    ServerError,
    /// The receiver is asked too often.
    RateLimited,
    /// No connection, or it broke.
    Connection,
    /// TLS could not be set up.
    Tls,
    /// No access token (`oauth2`), so that nothing was sent.
    Token,
    /// No answer in time.
    Timeout,
}

impl SendError {
    /// Whether the message may have arrived although the attempt failed: nobody said that it did not.
    pub fn is_doubtful(&self) -> bool {
        matches!(self.reason, FailureReason::Timeout | FailureReason::Connection)
    }
}

impl FailureReason {
    /// As label value.
    pub fn as_str(self) -> &'static str {
        match self {
            FailureReason::Template => "template",
            FailureReason::File => "file",
            FailureReason::ClientError => "client_error",
            FailureReason::ServerError => "server_error",
            FailureReason::RateLimited => "rate_limited",
            FailureReason::Connection => "connection",
            FailureReason::Tls => "tls",
            FailureReason::Token => "token",
            FailureReason::Timeout => "timeout",
        }
    }
}

/// Sends one notification, once.
pub trait Notifier: Send + Sync {
    /// Makes one attempt.
    fn send<'a>(&'a self, notification: &'a Notification<'a>) -> BoxFuture<'a, Result<(), SendError>>;
}

/// One way in which a receiver is told.
#[derive(Clone)]
pub struct Integration {
    /// As in the configuration, without `_configs`.
    pub kind: &'static str,
    /// The how manyth of this kind.
    pub index: usize,
    /// Whether the end of alerts is told too.
    pub send_resolved: bool,
    /// Who does it.
    pub notifier: Arc<dyn Notifier>,
}

impl std::fmt::Debug for Integration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]", self.kind, self.index)
    }
}

#[cfg(test)]
mod receivers_tests;
