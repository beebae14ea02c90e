//! `storage:` — how long and how safely metrics are kept. Where they are kept is a flag, because it needs a restart.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use crate::config::{ByteSize, ConfigDuration, Problems, Unsupported};

/// `storage:` of the configuration; Prometheus' spelling (`tsdb:` below it) and campanile's own short one.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// How long samples are kept; 0 means for ever.
    pub retention_time: ConfigDuration,
    /// How many bytes blocks may take before the oldest go; 0 means no limit.
    pub retention_size: ByteSize,
    /// When the write-ahead log is synced to the disk.
    pub wal_sync: WalSync,
    /// How late a sample may come.
    pub out_of_order_time_window: ConfigDuration,
    /// Free space that must stay on the disk; below it samples and log lines from outside are refused. 0 switches that off.
    pub min_free: ByteSize,
    /// Most series the store may hold at once.
    pub limits: SeriesLimits,
    /// Prometheus' names for the same.
    pub tsdb: Tsdb,
    /// Prometheus' `exemplars`.
    pub exemplars: Unsupported,
}

/// `storage.limits:`, how many series may be there at once; 0 stands for no limit.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct SeriesLimits {
    /// All together.
    pub series: u64,
    /// Of one job.
    pub series_per_job: u64,
    /// Of one target (`job` and `instance`).
    pub series_per_target: u64,
    /// Of one metric name.
    pub series_per_metric: u64,
    /// Of one metric name of one target.
    pub series_per_target_metric: u64,
}

impl Default for SeriesLimits {
    /// Far above what a healthy fleet on one machine has, and below what would take its memory: a series costs about half a kilobyte.
    fn default() -> Self {
        SeriesLimits {
            series: 3_000_000,
            series_per_job: 2_000_000,
            // The largest exporters of clusters give some ten thousands.
            series_per_target: 200_000,
            series_per_metric: 1_000_000,
            // A label that is an address, a path or a user goes past it within hours.
            series_per_target_metric: 50_000,
        }
    }
}

/// `storage.tsdb:` as in Prometheus; what is set here wins over campanile's short names.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Tsdb {
    /// How late a sample may come.
    pub out_of_order_time_window: Option<ConfigDuration>,
    /// How long and how much.
    pub retention: Retention,
    /// Prometheus' early compaction of stale series.
    pub stale_series_compaction_threshold: Unsupported,
}

/// `storage.tsdb.retention:` as in Prometheus.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// How long samples are kept.
    pub time: Option<ConfigDuration>,
    /// How many bytes they may take.
    pub size: Option<ByteSize>,
    /// A share of the disk.
    pub percentage: Unsupported,
}

/// When the write-ahead log is synced to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalSync {
    /// Before each batch is acknowledged: survives a power cut, costs a sync for each.
    Always,
    /// So often; what is acknowledged survives a crash of the process, a power cut may take the last interval.
    Every(Duration),
}

impl<'de> Deserialize<'de> for WalSync {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        if text == "always" {
            return Ok(WalSync::Always);
        }
        match crate::text::duration::parse_ms(&text) {
            // A second is the default; below 10 ms `always` is the honest name, above a minute it protects nobody.
            Ok(ms) if (10..=60_000).contains(&ms) => Ok(WalSync::Every(Duration::from_millis(ms.unsigned_abs()))),
            Ok(_) | Err(_) => {
                Err(de::Error::custom(format!("{text:?} is not a way to sync; write always or a time from 10ms to 1m")))
            }
        }
    }
}

impl Default for Storage {
    fn default() -> Self {
        Storage {
            // A month, as for logs: what was seen in one store can still be looked up in the other.
            retention_time: ConfigDuration::from_secs(30 * 86_400),
            retention_size: ByteSize(0),
            // The loss of one second at a power cut against a sync for each batch.
            wal_sync: WalSync::Every(Duration::from_secs(1)),
            // Probes, remote write after an outage and OTLP come late; half an hour covers a restart of the sender.
            out_of_order_time_window: ConfigDuration::from_secs(1800),
            // Room for blocks that are being written, the state of alerts, and alerts about the disk itself.
            min_free: ByteSize::mib(128),
            limits: SeriesLimits::default(),
            tsdb: Tsdb::default(),
            exemplars: Unsupported,
        }
    }
}

impl Storage {
    /// How long samples are kept, in milliseconds; nothing means for ever.
    pub fn retention_ms(&self) -> Option<i64> {
        Some(self.tsdb.retention.time.unwrap_or(self.retention_time).as_ms()).filter(|ms| *ms > 0)
    }

    /// How many bytes they may take; nothing means no limit.
    pub fn retention_bytes(&self) -> Option<u64> {
        Some(self.tsdb.retention.size.unwrap_or(self.retention_size).0).filter(|n| *n > 0)
    }

    /// How late a sample may come, in milliseconds.
    pub fn out_of_order_ms(&self) -> i64 {
        self.tsdb.out_of_order_time_window.unwrap_or(self.out_of_order_time_window).as_ms()
    }

    /// Checks what types cannot.
    pub fn validate(&self, path: &str, problems: &mut Problems) {
        // A head of less than this would be dropped while it is still written to.
        const SHORTEST_MS: i64 = 2 * 3_600_000;
        if self.retention_ms().is_some_and(|ms| ms < SHORTEST_MS) {
            let key = if self.tsdb.retention.time.is_some() { "tsdb.retention.time" } else { "retention_time" };
            problems.add(format!("{path}.{key}"), "is shorter than 2h, the span that is held in memory; raise it");
        }
    }
}
