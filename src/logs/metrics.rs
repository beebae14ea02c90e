//! What the store counts about itself.

use std::sync::LazyLock;

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

use crate::telemetry::metrics::{counter, counter_vec, gauge, seconds};

/// Entries taken.
pub static ENTRIES: LazyLock<IntCounter> =
    LazyLock::new(|| counter("campanile_logs_entries_total", "Log entries taken."));
/// Bytes of lines taken.
pub static BYTES: LazyLock<IntCounter> =
    LazyLock::new(|| counter("campanile_logs_received_bytes_total", "Bytes of log lines taken."));
/// Entries refused.
pub static REFUSED: LazyLock<IntCounterVec> =
    LazyLock::new(|| counter_vec("campanile_logs_refused_entries_total", "Log entries refused.", &["reason"]));
/// Counts entries refused before they came to a batch.
pub fn count_refused(reason: &'static str, entries: u64) {
    REFUSED.with_label_values(&[reason]).inc_by(entries);
}
/// Lines cut.
pub static CUT: LazyLock<IntCounter> =
    LazyLock::new(|| counter("campanile_logs_cut_lines_total", "Log lines cut to the size limit."));
/// Pushes refused for want of room on the disk.
pub static NO_SPACE: LazyLock<IntCounter> = LazyLock::new(|| {
    counter("campanile_logs_pushes_refused_no_space_total", "Pushes refused because the disk is nearly full.")
});
/// Room on the disk.
pub static FREE_BYTES: LazyLock<IntGauge> = LazyLock::new(|| {
    gauge("campanile_logs_disk_free_bytes", "Free space of the file system that holds the log store.")
});
/// Whether there is too little of it.
pub static SPACE_LOW: LazyLock<IntGauge> =
    LazyLock::new(|| gauge("campanile_logs_disk_low", "Whether pushes are refused because the disk is nearly full."));
/// Bytes in memory.
pub static BUFFERED: LazyLock<IntGauge> =
    LazyLock::new(|| gauge("campanile_logs_buffered_bytes", "Bytes of log entries not yet in segments."));
/// Streams known.
pub static STREAMS: LazyLock<IntGauge> =
    LazyLock::new(|| gauge("campanile_logs_streams", "Log streams known since the start."));
/// Days on disk.
pub static PARTITIONS: LazyLock<IntGauge> =
    LazyLock::new(|| gauge("campanile_logs_partitions", "Daily partitions of the log store."));
/// Time of a flush.
pub static FLUSH: LazyLock<Histogram> =
    LazyLock::new(|| seconds("campanile_logs_flush_seconds", "Time to write buffered log entries to segments."));
/// Failed flushes, merges and drops.
pub static FAILURES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter_vec("campanile_logs_failures_total", "Background work of the log store that failed.", &["work"])
});
/// Things set aside.
pub static DAMAGED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter_vec("campanile_logs_damaged_total", "Parts of the log store found damaged and set aside.", &["what"])
});
/// Merges done.
pub static MERGES: LazyLock<IntCounter> =
    LazyLock::new(|| counter("campanile_logs_merges_total", "Merges of segments of the log store."));
/// Partitions dropped by retention.
pub static DROPPED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counter_vec("campanile_logs_dropped_partitions_total", "Partitions dropped by retention.", &["reason"])
});
/// Lines in no pattern.
pub static PATTERN_LINES_LEFT_OUT: LazyLock<IntCounter> = LazyLock::new(|| {
    counter(
        "campanile_logs_pattern_lines_left_out_total",
        "Log lines in no pattern, because their stream has too many or because the patterns of a segment are too long.",
    )
});
