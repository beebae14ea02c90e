//! What the store counts about itself.

use std::sync::LazyLock;

use prometheus::{Gauge, Histogram, IntCounter, IntCounterVec, IntGauge};

use super::error::AppendError;
use crate::telemetry::metrics;

macro_rules! metric {
    ($name:ident: $kind:ty = $make:expr) => {
        pub(crate) static $name: LazyLock<$kind> = LazyLock::new(|| $make);
    };
}

metric!(HEAD_SERIES: IntGauge = metrics::gauge("campanile_tsdb_head_series", "Series in the head."));
metric!(HEAD_CHUNKS: IntGauge = metrics::gauge("campanile_tsdb_head_chunks", "Chunks in the head."));
metric!(SERIES_CREATED: IntCounter = metrics::counter("campanile_tsdb_head_series_created_total", "Series created in the head."));
metric!(SERIES_REMOVED: IntCounter = metrics::counter("campanile_tsdb_head_series_removed_total", "Series removed from the head."));
metric!(APPENDED: IntCounter = metrics::counter("campanile_tsdb_samples_appended_total", "Samples stored."));
metric!(LATE: IntCounter = metrics::counter("campanile_tsdb_samples_out_of_order_total", "Samples stored although newer ones of their series were there."));
metric!(REFUSED: IntCounterVec = metrics::counter_vec("campanile_tsdb_samples_refused_total", "Samples and series refused.", &["reason"]));
metric!(SERIES_REFUSED: IntCounterVec = metrics::counter_vec("campanile_tsdb_series_refused_total", "New series refused because of the limit in reason, with the label that has most values and some of them.", &["reason", "job", "instance", "metric", "label", "examples"]));
metric!(GROUPS_CLOSED: IntGauge = metrics::gauge("campanile_tsdb_series_refused_metrics", "Metrics of targets that get no new series at the moment."));
metric!(NO_SPACE: IntCounter = metrics::counter("campanile_tsdb_batches_refused_no_space_total", "Batches refused because the disk is nearly full."));
metric!(FREE_BYTES: IntGauge = metrics::gauge("campanile_tsdb_disk_free_bytes", "Free space of the file system that holds the metrics store."));
metric!(SPACE_LOW: IntGauge = metrics::gauge("campanile_tsdb_disk_low", "Whether batches are refused because the disk is nearly full."));
metric!(EXEMPLARS: IntCounter = metrics::counter("campanile_tsdb_exemplars_appended_total", "Exemplars stored."));
metric!(EXEMPLARS_REFUSED: IntCounter = metrics::counter("campanile_tsdb_exemplars_refused_total", "Exemplars older than the newest of their series."));
metric!(METADATA_REFUSED: IntCounter = metrics::counter("campanile_tsdb_metadata_refused_total", "Metadata not kept because too many metrics have some."));
metric!(WAL_BYTES: IntGauge = metrics::gauge("campanile_tsdb_wal_bytes", "Bytes of the write-ahead log on disk."));
metric!(WAL_FAILURES: IntCounter = metrics::counter("campanile_tsdb_wal_failures_total", "Writes or syncs of the write-ahead log that failed."));
metric!(WAL_FSYNC: Histogram = metrics::seconds("campanile_tsdb_wal_fsync_seconds", "Time of syncs of the write-ahead log."));
metric!(REPLAY: Gauge = metrics::float_gauge("campanile_tsdb_replay_seconds", "Time of the last replay of the write-ahead log."));
metric!(HELD: IntCounter = metrics::counter("campanile_tsdb_samples_held_total", "Samples taken while the log was being replayed; they are in the log and stored at the end of the replay."));
metric!(REPLAY_LOST: IntCounter = metrics::counter("campanile_tsdb_replay_lost_bytes_total", "Bytes of the write-ahead log that could not be replayed."));
metric!(SAMPLES_LOST: IntCounter = metrics::counter("campanile_tsdb_samples_lost_total", "Samples in chunks of the head that could not be read when their block was cut."));
metric!(HEAD_CHUNK_BYTES: IntGauge = metrics::gauge("campanile_tsdb_head_chunk_file_bytes", "Bytes of the files that hold full chunks of the head."));
metric!(CHECKPOINTS: IntCounter = metrics::counter("campanile_tsdb_checkpoints_total", "Checkpoints of the head written."));
metric!(CHECKPOINT_FAILURES: IntCounter = metrics::counter("campanile_tsdb_checkpoint_failures_total", "Checkpoints of the head that could not be written."));
metric!(CHECKPOINT_BYTES: IntGauge = metrics::gauge("campanile_tsdb_checkpoint_bytes", "Bytes of the last checkpoint."));
metric!(CHECKPOINT_SECONDS: Histogram = metrics::seconds("campanile_tsdb_checkpoint_seconds", "Time of writing checkpoints."));
metric!(BLOCKS: IntGauge = metrics::gauge("campanile_tsdb_blocks", "Blocks on disk."));
metric!(BLOCK_BYTES: IntGauge = metrics::gauge("campanile_tsdb_block_bytes", "Bytes of blocks on disk."));
metric!(BLOCKS_DAMAGED: IntCounter = metrics::counter("campanile_tsdb_blocks_damaged_total", "Blocks set aside because they cannot be read."));
metric!(COMPACTIONS: IntCounter = metrics::counter("campanile_tsdb_compactions_total", "Blocks written, from the head or from other blocks."));
metric!(MAINTENANCE_FAILURES: IntCounter = metrics::counter("campanile_tsdb_maintenance_failures_total", "Rounds of cutting, compaction and retention that failed."));

/// Counts a refusal.
pub(crate) fn refused(e: AppendError) -> AppendError {
    REFUSED.with_label_values(&[e.reason()]).inc();
    e
}
