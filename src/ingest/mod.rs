//! From decoded requests to the stores: each protocol's rules for what is taken, counted, refused, and what its clients are told.
//!
//! The functions here decode and push on the caller's thread; HTTP handlers call them on the blocking pool.

pub mod loki_push;
pub mod ndjson;
pub mod otlp_metrics;
pub mod remote_write;

use std::sync::{Arc, LazyLock};

use prometheus::{IntCounter, IntCounterVec};

use crate::config::LogsConfig;
use crate::config::logs::{LogWalSync, OversizeLines};
use crate::exec::Clock;
use crate::logs::{self, Oversize, Pushed};
use crate::telemetry::metrics;
use crate::wire::decompress::DecompressError;

static REQUESTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    metrics::counter_vec("campanile_ingest_log_requests_total", "Requests that brought logs.", &["protocol", "status"])
});
static BODY_BYTES: LazyLock<IntCounter> = LazyLock::new(|| {
    metrics::counter("campanile_ingest_log_body_bytes_total", "Bytes of requests that brought logs, as sent.")
});

/// What the client is told when not everything was taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PushError {
    /// The HTTP status.
    pub status: u16,
    /// The body, as plain text.
    pub message: String,
    /// For 429 and 503, after how many seconds to try again.
    pub retry_after_seconds: Option<u32>,
}

impl PushError {
    fn bad_request(message: impl ToString) -> Self {
        PushError { status: 400, message: message.to_string(), retry_after_seconds: None }
    }

    /// Entries refused by the store, the others being taken: 400 with the reasons, as Loki does.
    fn of_refusals(pushed: &Pushed) -> Option<Self> {
        if pushed.refused.is_empty() && pushed.refused_entries == 0 {
            return None;
        }
        let mut message = pushed.refused.join("\n");
        let told = pushed.refused.len() as u64;
        if pushed.refused_entries > told {
            message.push_str(&format!("\n{} entries refused in all", pushed.refused_entries));
        }
        Some(PushError::bad_request(message))
    }
}

impl From<DecompressError> for PushError {
    fn from(e: DecompressError) -> Self {
        let status = match e {
            DecompressError::TooLarge { .. } => 413,
            DecompressError::Corrupt { .. } | DecompressError::Unsupported(_) => 400,
        };
        PushError { status, message: e.to_string(), retry_after_seconds: None }
    }
}

impl From<logs::Error> for PushError {
    fn from(e: logs::Error) -> Self {
        let (status, retry_after_seconds) = match e {
            logs::Error::Busy { .. } => (429, Some(5)),
            logs::Error::BatchTooLarge { .. } => (413, None),
            // The disk is full or failing: clients that keep their lines send them again.
            logs::Error::Io { .. } | logs::Error::NoSpace(_) | logs::Error::Index { .. } | logs::Error::Closed => {
                (503, Some(10))
            }
            logs::Error::Damaged { .. } => (500, None),
        };
        PushError { status, message: e.to_string(), retry_after_seconds }
    }
}

fn count(protocol: &str, body: &[u8], result: &Result<(), PushError>) {
    let status = result.as_ref().map_or_else(|e| e.status, |()| 204);
    REQUESTS.with_label_values(&[protocol, &status.to_string()]).inc();
    BODY_BYTES.inc_by(body.len() as u64);
}

/// The options of the log store that a configuration asks for.
pub fn log_store_options(config: &LogsConfig, min_free_bytes: u64, clock: Arc<dyn Clock>) -> logs::Options {
    let ns = |ms: i64| ms.saturating_mul(1_000_000);
    logs::Options {
        retention_ns: ns(config.retention_time.as_ms()),
        retention_bytes: config.retention_size.0,
        max_line_bytes: usize::try_from(config.max_line_bytes.0).unwrap_or(usize::MAX),
        oversize: match config.oversize_lines {
            OversizeLines::Cut => Oversize::Cut,
            OversizeLines::Refuse => Oversize::Refuse,
        },
        max_future_ns: ns(config.max_future.as_ms()),
        sync_always: config.wal_sync == LogWalSync::Always,
        min_free_bytes,
        clock,
        ..logs::Options::default()
    }
}
