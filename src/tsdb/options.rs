//! How the store behaves.

use std::fmt;
use std::sync::Arc;

use super::cardinality::SeriesLimits;
use crate::exec::{Clock, SystemClock};

/// How the store behaves.
#[derive(Clone)]
pub struct Options {
    /// Where "now" comes from.
    pub clock: Arc<dyn Clock>,
    /// How much older than the newest sample of the store a sample may be and still go in before others of its series.
    pub out_of_order_window_ms: i64,
    /// How far past now a sample may be.
    pub max_future_ms: i64,
    /// Age at which samples are dropped.
    pub retention_ms: i64,
    /// Bytes of blocks and log above which the oldest blocks are dropped; 0 for no limit.
    pub retention_bytes: u64,
    /// Most series the head may hold; [`super::Db::set_series_limits`] changes them.
    pub series_limits: SeriesLimits,
    /// Free bytes of the file system below which batches are refused; 0 for none.
    pub min_free_bytes: u64,
    /// Whether each commit is synced to disk before it returns; otherwise the owner calls [`super::Db::sync`] on a timer.
    pub wal_sync_always: bool,
    /// Length at which a new segment of the log is begun.
    pub wal_segment_bytes: u64,
    /// Bytes of the log after which a checkpoint is written, if the last one was not larger. A start replays about that much at most.
    pub checkpoint_log_bytes: u64,
    /// Exemplars kept, over all series; 0 for none.
    pub max_exemplars: usize,
    /// Whether a thread of the store packs chunks, cuts blocks, compacts and retires; without it the owner calls
    /// [`super::Db::maintain`].
    pub maintenance: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            clock: Arc::new(SystemClock),
            // Probes, remote write and OTLP come minutes late after a network outage; half an hour covers a restart on their side.
            out_of_order_window_ms: 30 * 60 * 1000,
            // Clocks of machines without NTP drift by minutes; a wrong unit is off by years.
            max_future_ms: 10 * 60 * 1000,
            retention_ms: 30 * 24 * 3600 * 1000,
            retention_bytes: 0,
            series_limits: SeriesLimits::NONE,
            min_free_bytes: 0,
            wal_sync_always: false,
            // The log shrinks by whole segments.
            wal_segment_bytes: 16 << 20,
            // Half a second of replay; and what is written twice stays below what is written once.
            checkpoint_log_bytes: 32 << 20,
            // Prometheus' default, about 20 MB.
            max_exemplars: 100_000,
            maintenance: true,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("out_of_order_window_ms", &self.out_of_order_window_ms)
            .field("max_future_ms", &self.max_future_ms)
            .field("retention_ms", &self.retention_ms)
            .field("retention_bytes", &self.retention_bytes)
            .field("series_limits", &self.series_limits)
            .field("min_free_bytes", &self.min_free_bytes)
            .field("wal_sync_always", &self.wal_sync_always)
            .field("wal_segment_bytes", &self.wal_segment_bytes)
            .field("checkpoint_log_bytes", &self.checkpoint_log_bytes)
            .field("max_exemplars", &self.max_exemplars)
            .field("maintenance", &self.maintenance)
            .finish_non_exhaustive()
    }
}
