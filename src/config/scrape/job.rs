//! A scrape job with every default filled in: what the scraper works with.

use std::collections::BTreeMap;

use crate::config::global::GlobalConfig;
use crate::config::http_client::HttpClientConfig;
use crate::config::relabel::RelabelConfig;
use crate::config::scrape::{
    DEFAULT_PROTOCOLS, EscapingScheme, FileSdConfig, NameValidation, PROTOBUF_FIRST_PROTOCOLS, ScrapeConfig,
    StaticConfig, accept_header,
};
use crate::config::{ByteSize, ConfigDuration};
use crate::wire::exposition::Format;
use crate::wire::exposition::protobuf::Histograms;

/// Bounds of what one scrape may bring; 0 means no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the body, decompressed; a body of exactly so many is too large already, as in Prometheus.
    pub body_size: ByteSize,
    /// Samples after relabelling.
    pub samples: u64,
    /// Targets of the job.
    pub targets: u64,
    /// Labels of a sample.
    pub labels: u64,
    /// Bytes of a label name.
    pub label_name_length: u64,
    /// Bytes of a label value.
    pub label_value_length: u64,
    /// Dropped targets that are remembered.
    pub dropped_targets: u64,
    /// Buckets of a native histogram.
    pub histogram_buckets: u64,
    /// The finest exponential schema of a native histogram; `None` if any may be stored.
    pub histogram_schema: Option<i32>,
}

/// The finest exponential schema whose buckets grow by at least `factor`: at schema `n` they grow by `2^(2^-n)`. `None` if all do.
fn finest_schema(factor: f64) -> Option<i32> {
    /// Schemas there are.
    const SCHEMAS: std::ops::RangeInclusive<i32> = -4..=8;
    // Up to 1 there is no bound, and nothing grows by what is no number.
    let schema = (factor > 1.0).then(|| (-factor.log2().log2()).floor())?;
    let schema = (schema as i32).clamp(*SCHEMAS.start(), *SCHEMAS.end());
    (schema < *SCHEMAS.end()).then_some(schema)
}

/// See the module. Equal jobs need no restart on reload.
#[derive(Clone, Debug, PartialEq)]
pub struct ScrapeJob {
    /// The `job` label and the name of the pool.
    pub job_name: String,
    /// How often.
    pub interval: ConfigDuration,
    /// How long one scrape may take.
    pub timeout: ConfigDuration,
    /// The Accept header.
    pub accept: String,
    /// Format of bodies that do not say theirs.
    pub fallback: Option<Format>,
    /// Path of the URL.
    pub metrics_path: String,
    /// `http` or `https`.
    pub scheme: String,
    /// Parameters of the URL.
    pub params: BTreeMap<String, Vec<String>>,
    /// Whether labels of samples win over those of the target.
    pub honor_labels: bool,
    /// Whether timestamps of the body count.
    pub honor_timestamps: bool,
    /// Whether series with own timestamps get staleness markers.
    pub track_timestamps_staleness: bool,
    /// Whether gzip is asked for.
    pub enable_compression: bool,
    /// Whether to write more report series.
    pub extra_metrics: bool,
    /// Bounds.
    pub limits: Limits,
    /// Which names are valid.
    pub names: NameValidation,
    /// What of native histograms is read.
    pub histograms: Histograms,
    /// Rules for targets.
    pub relabel_configs: Vec<Option<RelabelConfig>>,
    /// Rules for samples.
    pub metric_relabel_configs: Vec<Option<RelabelConfig>>,
    /// How to speak HTTP.
    pub http: HttpClientConfig,
    /// Targets written down.
    pub static_configs: Vec<StaticConfig>,
    /// Targets from files.
    pub file_sd_configs: Vec<FileSdConfig>,
}

impl ScrapeConfig {
    /// The interval in force.
    pub fn interval(&self, global: &GlobalConfig) -> ConfigDuration {
        self.scrape_interval.unwrap_or_else(|| global.interval())
    }

    /// The timeout in force: as written, else that of `global` cut to the interval.
    pub fn timeout(&self, global: &GlobalConfig) -> ConfigDuration {
        self.scrape_timeout.unwrap_or_else(|| global.timeout().min(self.interval(global)))
    }

    /// The rules on names in force.
    pub fn name_validation(&self, global: &GlobalConfig) -> NameValidation {
        self.metric_name_validation_scheme.unwrap_or_else(|| global.name_validation())
    }

    /// The job with all defaults filled in.
    pub fn job(&self, global: &GlobalConfig) -> ScrapeJob {
        let names = self.name_validation(global);
        let escaping = self.metric_name_escaping_scheme.or(global.metric_name_escaping_scheme).unwrap_or(match names {
            NameValidation::Utf8 => EscapingScheme::AllowUtf8,
            NameValidation::Legacy => EscapingScheme::Underscores,
        });
        let histograms = Histograms {
            native: self.scrape_native_histograms.or(global.scrape_native_histograms).unwrap_or(false),
            classic: self.always_scrape_classic_histograms.or(global.always_scrape_classic_histograms).unwrap_or(false),
        };
        let protocols = self
            .scrape_protocols
            .as_deref()
            .or(global.scrape_protocols.as_deref())
            .filter(|p| !p.is_empty())
            .unwrap_or(if histograms.native { &PROTOBUF_FIRST_PROTOCOLS } else { &DEFAULT_PROTOCOLS });
        ScrapeJob {
            job_name: self.job_name.clone(),
            interval: self.interval(global),
            timeout: self.timeout(global),
            accept: accept_header(protocols, escaping),
            fallback: self.fallback_scrape_protocol.map(|p| p.format()),
            metrics_path: self.metrics_path.clone().unwrap_or_else(|| "/metrics".to_owned()),
            scheme: self.scheme.clone().unwrap_or_else(|| "http".to_owned()),
            params: self.params.clone(),
            honor_labels: self.honor_labels.unwrap_or(false),
            honor_timestamps: self.honor_timestamps.unwrap_or(true),
            track_timestamps_staleness: self.track_timestamps_staleness.unwrap_or(false),
            enable_compression: self.enable_compression.unwrap_or(true),
            extra_metrics: self.extra_scrape_metrics.or(global.extra_scrape_metrics).unwrap_or(false),
            limits: Limits {
                body_size: self.body_size_limit.or(global.body_size_limit).unwrap_or_default(),
                samples: self.sample_limit.or(global.sample_limit).unwrap_or(0),
                targets: self.target_limit.or(global.target_limit).unwrap_or(0),
                labels: self.label_limit.or(global.label_limit).unwrap_or(0),
                label_name_length: self.label_name_length_limit.or(global.label_name_length_limit).unwrap_or(0),
                label_value_length: self.label_value_length_limit.or(global.label_value_length_limit).unwrap_or(0),
                dropped_targets: self.keep_dropped_targets.or(global.keep_dropped_targets).unwrap_or(0),
                histogram_buckets: self.native_histogram_bucket_limit.unwrap_or(0),
                histogram_schema: self.native_histogram_min_bucket_factor.and_then(finest_schema),
            },
            names,
            histograms,
            relabel_configs: self.relabel_configs.clone(),
            metric_relabel_configs: self.metric_relabel_configs.clone(),
            http: self.http_client(),
            static_configs: self.static_configs.clone(),
            file_sd_configs: self.file_sd_configs.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_give_the_finest_schema_that_grows_so_fast() {
        let schemas = [0.0, 1.0, 1.002, 1.003, 1.1, 1.5, 2.0, 3.9, 4.0, 1e6, f64::INFINITY, f64::NAN];
        let got: Vec<Option<i32>> = schemas.into_iter().map(finest_schema).collect();
        let want = [None, None, None, Some(7), Some(2), Some(0), Some(0), Some(-1), Some(-1), Some(-4), Some(-4), None];
        assert_eq!(got, want);
        for (factor, schema) in [(1.05, 3), (1.3, 1), (15.0, -2), (17.0, -3)] {
            assert_eq!(finest_schema(factor), Some(schema));
            assert!(2f64.powf(2f64.powi(-schema)) >= factor && 2f64.powf(2f64.powi(-schema - 1)) < factor);
        }
    }
}
