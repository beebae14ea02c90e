//! `logs:`, the log store and what it takes.

mod elastic;
mod limits;
mod otlp;
mod syslog;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use elastic::ElasticConfig;
pub use limits::{LogLimits, SenderBy};
pub use otlp::OtlpConfig;
pub use syslog::{SYSLOG_FIELDS, SyslogListener, SyslogProtocol, SyslogTls};

use crate::config::{ByteSize, ConfigDuration, Problems};

/// What happens to lines over `max_line_bytes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OversizeLines {
    /// They are cut to the limit; the beginning of a line nearly always says what it is about.
    #[default]
    Cut,
    /// They are refused.
    Refuse,
}

/// When the write-ahead log is synced to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogWalSync {
    /// Every second: a crash of the process loses nothing, one of the machine at most a second.
    #[default]
    EverySecond,
    /// Before each batch is acknowledged.
    Always,
}

/// The fields of newline JSON at `/api/v1/logs`; a request may name others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NdjsonConfig {
    /// Fields that may hold the time, the first one present counts.
    pub time_fields: Vec<String>,
    /// Fields that may hold the message.
    pub message_fields: Vec<String>,
    /// Fields that become labels of the stream. Only such of few values: each set of values is a stream.
    pub stream_fields: Vec<String>,
}

impl Default for NdjsonConfig {
    /// The names common loggers and shippers use (zap, logrus, pino, bunyan, ECS, VictoriaLogs).
    fn default() -> Self {
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        NdjsonConfig {
            time_fields: names(&["_time", "@timestamp", "timestamp", "time", "ts"]),
            message_fields: names(&["_msg", "message", "msg", "log"]),
            stream_fields: names(&["job", "app", "service", "service_name", "service.name", "env", "host"]),
        }
    }
}

/// The section `logs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogsConfig {
    /// How long lines are kept; `0` for ever. Whole days are dropped.
    pub retention_time: ConfigDuration,
    /// The oldest days are dropped while the store is larger; `0` for no limit.
    pub retention_size: ByteSize,
    /// The longest line.
    pub max_line_bytes: ByteSize,
    /// What happens to longer ones.
    pub oversize_lines: OversizeLines,
    /// How far in the future a line may lie.
    pub max_future: ConfigDuration,
    /// The largest body of a push, after decompression.
    pub max_body_bytes: ByteSize,
    /// When the write-ahead log is synced.
    pub wal_sync: LogWalSync,
    /// What one sender may send.
    pub limits: LogLimits,
    /// The fields of newline JSON.
    pub ndjson: NdjsonConfig,
    /// Documents of Elasticsearch's clients.
    pub elastic: ElasticConfig,
    /// OpenTelemetry's records.
    pub otlp: OtlpConfig,
    /// Where syslog is listened for.
    pub syslog: Vec<SyslogListener>,
}

impl Default for LogsConfig {
    fn default() -> Self {
        LogsConfig {
            // A month: what people look back for, at some GB a day still a small disk.
            retention_time: ConfigDuration::from_secs(30 * 86_400),
            retention_size: ByteSize(0),
            // Loki's limit.
            max_line_bytes: ByteSize(256 << 10),
            oversize_lines: OversizeLines::Cut,
            // Loki's grace period; more is a wrong clock.
            max_future: ConfigDuration::from_secs(600),
            // Shippers send 1 to 10 MB; the store takes 64 MiB at once.
            max_body_bytes: ByteSize::mib(48),
            wal_sync: LogWalSync::EverySecond,
            limits: LogLimits::default(),
            ndjson: NdjsonConfig::default(),
            elastic: ElasticConfig::default(),
            otlp: OtlpConfig::default(),
            syslog: Vec::new(),
        }
    }
}

impl LogsConfig {
    /// Notes what is wrong; paths are relative to the file, the section being at `path`.
    pub fn check(&self, path: &str, problems: &mut Problems) {
        if self.max_line_bytes.0 > 0 && self.max_line_bytes.0 < 128 {
            let message = format!("{} would cut every line; use at least 128B, or 0 for no limit", self.max_line_bytes);
            problems.add(format!("{path}.max_line_bytes"), message);
        }
        if self.max_body_bytes.0 == 0 || self.max_body_bytes > ByteSize::mib(48) {
            let message = format!("{} is out of range; use a size up to 48MiB", self.max_body_bytes);
            problems.add(format!("{path}.max_body_bytes"), message);
        }
        let retention = self.retention_time.as_ms();
        if retention > 0 && retention < 3_600_000 {
            let message = format!("{} is too short; use at least 1h, or 0 to keep lines for ever", self.retention_time);
            problems.add(format!("{path}.retention_time"), message);
        }
        check_names(&format!("{path}.ndjson"), "time_fields", &self.ndjson.time_fields, problems);
        check_names(&format!("{path}.ndjson"), "message_fields", &self.ndjson.message_fields, problems);
        self.limits.check(&format!("{path}.limits"), problems);
        self.elastic.check(&format!("{path}.elastic"), problems);
        self.otlp.check(&format!("{path}.otlp"), problems);
        syslog::check_all(&self.syslog, &format!("{path}.syslog"), problems);
    }

    /// Makes the paths of files relative to the folder of the configuration file.
    pub fn resolve_paths(&mut self, dir: &Path) {
        self.syslog.iter_mut().for_each(|s| s.resolve_paths(dir));
    }

    /// Whether the two differ in what is fixed when the store is opened; the rest takes effect at a reload.
    pub fn needs_restart(&self, other: &LogsConfig) -> bool {
        let fixed = |c: &LogsConfig| {
            let retention = (c.retention_time, c.retention_size);
            (retention, c.max_line_bytes, c.oversize_lines, c.max_future, c.wal_sync)
        };
        fixed(self) != fixed(other)
    }
}

fn check_names(path: &str, key: &str, names: &[String], problems: &mut Problems) {
    if let Some(i) = names.iter().position(String::is_empty) {
        problems.add(format!("{path}.{key}[{i}]"), "an empty name; remove it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_pass_and_bad_values_are_named() {
        let mut problems = Problems::default();
        LogsConfig::default().check("logs", &mut problems);
        assert!(problems.is_empty());
        let bad: LogsConfig =
            serde_json::from_str(r#"{"retention_time":"5m","max_line_bytes":"3B","max_body_bytes":"1GiB"}"#).unwrap();
        bad.check("logs", &mut problems);
        let paths: Vec<String> = problems.into_vec().into_iter().map(|(p, _)| p).collect();
        assert_eq!(paths, ["logs.max_line_bytes", "logs.max_body_bytes", "logs.retention_time"]);
        assert!(serde_json::from_str::<LogsConfig>(r#"{"retention":"5m"}"#).is_err());
    }
}
