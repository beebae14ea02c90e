//! `global`: what scrape jobs and rules fall back to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::scrape::{EscapingScheme, NameValidation, ScrapeProtocol};
use crate::config::{ByteSize, ConfigDuration, Problems};

/// Default interval of scrapes and rules (Prometheus).
pub const DEFAULT_INTERVAL: ConfigDuration = ConfigDuration::from_secs(60);
/// Default timeout of a scrape (Prometheus).
pub const DEFAULT_TIMEOUT: ConfigDuration = ConfigDuration::from_secs(10);

/// The `global` section. Absent keys stay `None`, so that what was written can be told from defaults.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GlobalConfig {
    /// How often targets are scraped; default 1m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scrape_interval: Option<ConfigDuration>,
    /// How long a scrape may take; default 10s, at most the interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scrape_timeout: Option<ConfigDuration>,
    /// How often rules are evaluated; default 1m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluation_interval: Option<ConfigDuration>,
    /// How far in the past rules look, so that late samples are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule_query_offset: Option<ConfigDuration>,
    /// Labels for everything that leaves the house.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub external_labels: BTreeMap<String, String>,
    /// A file that gets a line for each query; empty for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_log_file: Option<String>,
    /// A file for scrape failures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scrape_failure_log_file: Option<String>,
    /// See [`super::scrape::ScrapeConfig`], likewise the limits below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scrape_protocols: Option<Vec<ScrapeProtocol>>,
    /// Largest body of a scrape; 0 for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_size_limit: Option<ByteSize>,
    /// Most samples of a scrape; 0 for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_limit: Option<u64>,
    /// Most targets of a job; 0 for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_limit: Option<u64>,
    /// Most labels of a sample; 0 for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_limit: Option<u64>,
    /// Longest label name; 0 for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_name_length_limit: Option<u64>,
    /// Longest label value; 0 for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_value_length_limit: Option<u64>,
    /// How many dropped targets of a job are remembered; 0 for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_dropped_targets: Option<u64>,
    /// Which names are valid; default `utf8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric_name_validation_scheme: Option<NameValidation>,
    /// How targets are asked to escape names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric_name_escaping_scheme: Option<EscapingScheme>,
    /// Ask for native histograms (not supported: refused when true).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scrape_native_histograms: Option<bool>,
    /// Keep classic buckets beside native histograms; without native histograms they are always kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub always_scrape_classic_histograms: Option<bool>,
    /// Make native histograms of classic ones (not supported: refused when true).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub convert_classic_histograms_to_nhcb: Option<bool>,
    /// Write `scrape_timeout_seconds`, `scrape_sample_limit`, `scrape_body_size_bytes` beside the other report series.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_scrape_metrics: Option<bool>,
    /// Go's runtime settings in Prometheus (not supported: refused).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<crate::config::scrape::Unsupported>,
}

impl GlobalConfig {
    /// The interval in force.
    pub fn interval(&self) -> ConfigDuration {
        self.scrape_interval.unwrap_or(DEFAULT_INTERVAL)
    }

    /// The timeout in force: as written, else 10s cut to the interval.
    pub fn timeout(&self) -> ConfigDuration {
        self.scrape_timeout.unwrap_or_else(|| DEFAULT_TIMEOUT.min(self.interval()))
    }

    /// The evaluation interval in force.
    pub fn evaluation(&self) -> ConfigDuration {
        self.evaluation_interval.unwrap_or(DEFAULT_INTERVAL)
    }

    /// The rules on names in force.
    pub fn name_validation(&self) -> NameValidation {
        self.metric_name_validation_scheme.unwrap_or_default()
    }

    /// Notes what is wrong, `path` being the path of this section.
    pub fn validate(&self, path: &str, problems: &mut Problems) {
        for (key, value) in
            [("scrape_interval", self.scrape_interval), ("evaluation_interval", self.evaluation_interval)]
        {
            if value.is_some_and(|v| v.as_ms() == 0) {
                problems.add(format!("{path}.{key}"), "is zero; give an interval such as 15s");
            }
        }
        if let Some(t) = self.scrape_timeout
            && t > self.interval()
        {
            problems.add(
                format!("{path}.scrape_timeout"),
                format!("({t}) is longer than scrape_interval ({}); lower it or raise the interval", self.interval()),
            );
        }
        for name in self.external_labels.keys() {
            if !self.name_validation().is_label_name(name) || name == crate::model::labels::METRIC_NAME {
                problems.add(format!("{path}.external_labels"), format!("{name:?} is not a valid label name"));
            }
        }
        if self.convert_classic_histograms_to_nhcb == Some(true) {
            problems.add(format!("{path}.convert_classic_histograms_to_nhcb"), "is not supported yet; remove the key");
        }
        for (key, set) in
            [("runtime", self.runtime.is_some()), ("scrape_failure_log_file", self.scrape_failure_log_file.is_some())]
        {
            if set {
                problems.add(format!("{path}.{key}"), "is not supported; remove the key");
            }
        }
    }
}
