//! From decoded requests to the stores: each protocol's rules for what is taken, counted, refused, and what its clients are told.
//!
//! The functions here decode and push on the caller's thread; HTTP handlers call them on the blocking pool.

pub mod elastic_bulk;
pub mod intake;
pub mod loki_push;
pub mod ndjson;
pub mod otlp_logs;
pub mod otlp_metrics;
pub mod push_error;
pub mod remote_write;
mod sender_rate;
pub mod syslog;
#[cfg(test)]
mod test_store;

use std::sync::Arc;

pub use intake::{Intake, LogRequest};
pub use push_error::PushError;

use crate::config::LogsConfig;
use crate::config::logs::{LogWalSync, OversizeLines};
use crate::exec::Clock;
use crate::logs::{self, Oversize};

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
