//! What others may want to know as it happens; the app writes these as log lines of `{job="campanile"}`.

use std::sync::Arc;
use std::time::Duration;

use super::silence::{Silence, SilenceState};
use super::template_data::{AlertData, Reason};
use crate::model::Labels;

/// Is called for each event, from the tasks of the alertmanager: it must not block.
pub type Observer = Arc<dyn Fn(&Event<'_>) + Send + Sync>;

/// Something that happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// One attempt to notify has ended.
    Attempt {
        /// Who was to be told.
        receiver: &'a str,
        /// `email`, `webhook`.
        integration: &'a str,
        /// The group.
        group_key: &'a str,
        /// Why.
        reason: Reason,
        /// What was to be told.
        alerts: &'a [AlertData],
        /// Counted from 1.
        attempt: u32,
        /// Whether it repeats one whose outcome was lost with the process.
        possible_repeat: bool,
        /// How long it took.
        latency: Duration,
        /// What went wrong, if it did.
        error: Option<&'a str>,
        /// Whether there will be another attempt.
        retried: bool,
    },
    /// A receiver now knows something of an alert that it did not know before.
    Told {
        /// The alert.
        alert: &'a AlertData,
        /// Who was told.
        receiver: &'a str,
        /// `email`, `webhook`.
        integration: &'a str,
        /// The group.
        group_key: &'a str,
        /// The attempt that worked, counted from 1.
        attempt: u32,
        /// Whether it may have been told before.
        possible_repeat: bool,
        /// Time since the alert began, or ended.
        delay: Duration,
    },
    /// An alert that no rule of this process made began to fire or ended.
    Alert {
        /// The alert.
        labels: &'a Labels,
        /// Its identity.
        fingerprint: u64,
        /// Whether it fires now.
        firing: bool,
        /// How that is known.
        because: Because,
    },
    /// An alert is now kept quiet that was not before.
    Suppressed {
        /// The alert.
        labels: &'a Labels,
        /// Its identity.
        fingerprint: u64,
        /// The group.
        group_key: &'a str,
        /// What keeps it quiet.
        by: &'a Suppression,
    },
    /// An alert is no longer kept quiet.
    Unsuppressed {
        /// The alert.
        labels: &'a Labels,
        /// Its identity.
        fingerprint: u64,
        /// The group.
        group_key: &'a str,
    },
    /// A silence was made, changed or ended.
    Silence {
        /// Its new version.
        silence: &'a Silence,
        /// Where it stands now.
        state: SilenceState,
        /// What happened to it.
        change: SilenceEvent,
    },
}

/// How it is known that an alert fires or is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// A client of the API said so.
    Posted,
    /// Nobody sent it again in time.
    Timeout,
}

impl Because {
    /// One word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Because::Posted => "posted",
            Because::Timeout => "timeout",
        }
    }
}

/// What happened to a silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SilenceEvent {
    /// It was made.
    Created,
    /// It got another end or comment, and keeps its id.
    Changed,
    /// Somebody ended it.
    Expired,
    /// Its time has come.
    Began,
    /// Its time is over.
    Ended,
}

impl SilenceEvent {
    /// One word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            SilenceEvent::Created => "created",
            SilenceEvent::Changed => "changed",
            SilenceEvent::Expired => "expired",
            SilenceEvent::Began => "began",
            SilenceEvent::Ended => "ended",
        }
    }
}

/// What keeps an alert quiet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Suppression {
    /// Other alerts, by fingerprint.
    Inhibited(Vec<u64>),
    /// Silences, by id.
    Silenced(Vec<String>),
    /// The route is quiet now, by the names of its intervals.
    TimeInterval(Vec<String>),
}

impl Suppression {
    /// One word for it.
    pub fn kind(&self) -> &'static str {
        match self {
            Suppression::Inhibited(_) => "inhibition",
            Suppression::Silenced(_) => "silence",
            Suppression::TimeInterval(_) => "time_interval",
        }
    }

    /// What exactly: fingerprints as 16 hexadecimal digits, ids or names, by commas.
    pub fn details(&self) -> String {
        match self {
            Suppression::Inhibited(by) => by.iter().map(|fp| format!("{fp:016x}")).collect::<Vec<_>>().join(","),
            Suppression::Silenced(by) | Suppression::TimeInterval(by) => by.join(","),
        }
    }
}
