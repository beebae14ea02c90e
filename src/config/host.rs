//! `host:` — the built-in collector of this machine's own metrics.

use serde::Deserialize;

use crate::config::{ConfigDuration, Problems};

/// `host:` of the configuration.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Host {
    /// Whether the host's metrics are collected. On by default: a fresh start shows something useful.
    pub enabled: bool,
    /// How often; nothing means as often as `global.scrape_interval` says.
    pub interval: Option<ConfigDuration>,
}

impl Default for Host {
    fn default() -> Self {
        Host { enabled: true, interval: None }
    }
}

impl Host {
    /// Checks what types cannot.
    pub fn validate(&self, path: &str, problems: &mut Problems) {
        if self.interval.is_some_and(|i| i.as_ms() < 1000) {
            problems.add(format!("{path}.interval"), "is shorter than 1s; raise it");
        }
    }
}
