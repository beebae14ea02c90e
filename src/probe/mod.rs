//! Probes: campanile asks a target itself, as blackbox_exporter does, and keeps both what it measured and what it saw.
//!
//! A run gives series with blackbox_exporter's names and one log line under the same labels, so that "why was it red
//! at 02:14?" is a query. [`probe_once`] is one run; [`manager::Manager`] runs the configured probes on their intervals.

pub mod dns;
mod dns_message;
pub mod endpoint;
pub mod history;
pub mod http;
mod http_checks;
mod http_request;
pub mod icmp;
pub mod manager;
pub mod phases;
mod resolve;
pub mod result;
pub mod tcp;
pub mod tls;

#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::time::Instant;

use crate::config::probe::{ProbeKind, ProbeModule};
use result::{ProbeResult, Recorder};

/// One question to one target.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// How to ask.
    pub module: &'a ProbeModule,
    /// Whom, as the user wrote it.
    pub target: &'a str,
    /// A name to say instead of the target's in the Host header and to TLS (the `hostname` parameter of `/probe`).
    pub hostname: Option<&'a str>,
    /// How long it may take.
    pub timeout: Duration,
}

/// Why a run failed, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub String);

impl Failure {
    fn new(text: impl Into<String>) -> Self {
        Failure(text.into())
    }
}

/// Runs one probe. Never fails itself: what went wrong is in the result. Takes at most `timeout`.
pub async fn probe_once(question: Question<'_>) -> ProbeResult {
    let started = Instant::now();
    let mut recorder = Recorder::new();
    recorder.set("probe_timeout_seconds", question.timeout.as_secs_f64());
    let outcome = tokio::time::timeout(question.timeout, run(&question, &mut recorder)).await;
    let outcome = outcome.unwrap_or_else(|_| {
        let step = recorder.step();
        Err(Failure(format!("no answer within {:?} while {step}", question.timeout)))
    });
    recorder.finish(outcome, started.elapsed())
}

async fn run(question: &Question<'_>, recorder: &mut Recorder) -> Result<(), Failure> {
    let module = question.module;
    match module.prober.0 {
        ProbeKind::Http => Box::pin(http::run(question, &module.http, recorder)).await,
        ProbeKind::Tcp => Box::pin(tcp::run(question, &module.tcp, recorder)).await,
        ProbeKind::Icmp => Box::pin(icmp::run(question, &module.icmp, recorder)).await,
        ProbeKind::Dns => Box::pin(dns::run(question, &module.dns, recorder)).await,
    }
}
