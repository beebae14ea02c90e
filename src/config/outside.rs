//! `alerting:` of prometheus.yml — Alertmanagers outside this process. campanile has its own and sends nowhere else
//! yet, so that entries with targets are refused; the commented-out example of a stock prometheus.yml passes.

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::config::{Problems, scrape};

/// `alerting:` of the configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Outside {
    /// Changes to alerts before they leave.
    pub alert_relabel_configs: Vec<IgnoredAny>,
    /// Where they go.
    pub alertmanagers: Vec<Alertmanager>,
}

/// One entry of `alertmanagers`: as much of it as is needed to see whether it names anybody.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "Prometheus' keys; only static targets are looked at")]
pub struct Alertmanager {
    pub static_configs: Vec<scrape::StaticConfig>,
    pub file_sd_configs: Vec<IgnoredAny>,
    pub dns_sd_configs: Vec<IgnoredAny>,
    pub http_sd_configs: Vec<IgnoredAny>,
    pub consul_sd_configs: Vec<IgnoredAny>,
    pub ec2_sd_configs: Vec<IgnoredAny>,
    pub kubernetes_sd_configs: Vec<IgnoredAny>,
    pub scheme: Option<String>,
    pub path_prefix: Option<String>,
    pub timeout: Option<String>,
    pub api_version: Option<String>,
    pub relabel_configs: Option<IgnoredAny>,
    pub alert_relabel_configs: Option<IgnoredAny>,
    pub basic_auth: Option<IgnoredAny>,
    pub authorization: Option<IgnoredAny>,
    pub sigv4: Option<IgnoredAny>,
    pub oauth2: Option<IgnoredAny>,
    pub tls_config: Option<IgnoredAny>,
    pub follow_redirects: Option<bool>,
    pub enable_http2: Option<bool>,
    pub proxy_url: Option<String>,
    pub no_proxy: Option<String>,
    pub proxy_from_environment: Option<bool>,
    pub proxy_connect_header: Option<IgnoredAny>,
    pub http_headers: Option<IgnoredAny>,
}

const REFUSAL: &str = "is known but not supported by campanile yet: alerts go to the built-in alertmanager (key \
                       alertmanager or alertmanager_file); remove it";

impl Outside {
    /// Refuses what would be ignored.
    pub fn validate(&self, path: &str, problems: &mut Problems) {
        if !self.alert_relabel_configs.is_empty() {
            problems.add(format!("{path}.alert_relabel_configs"), REFUSAL);
        }
        for (i, a) in self.alertmanagers.iter().enumerate() {
            let discovers = [
                &a.file_sd_configs,
                &a.dns_sd_configs,
                &a.http_sd_configs,
                &a.consul_sd_configs,
                &a.ec2_sd_configs,
                &a.kubernetes_sd_configs,
            ];
            let names = a.static_configs.iter().any(|s| !s.targets.is_empty());
            if names || discovers.iter().any(|d| !d.is_empty()) {
                problems.add(format!("{path}.alertmanagers[{i}]"), REFUSAL);
            }
        }
    }
}
