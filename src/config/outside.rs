//! `alerting:` of prometheus.yml — Alertmanagers outside this process, which get the alerts of rules beside the built-in one
//! (prometheus.io/docs, configuration, `alertmanager_config`).

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::config::http_client::with_http_client;
use crate::config::relabel::{self, RelabelConfig};
use crate::config::scrape::{FileSdConfig, NameValidation, StaticConfig, Unsupported, list_without_gaps};
use crate::config::{ConfigDuration, Problems};

/// How long one request may take without `timeout` (Prometheus).
const DEFAULT_TIMEOUT: ConfigDuration = ConfigDuration::from_secs(10);

/// `alerting:` of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Outside {
    /// Changes to alerts before they leave for any of them.
    pub alert_relabel_configs: Vec<Option<RelabelConfig>>,
    /// Where they go.
    #[serde(deserialize_with = "list_without_gaps")]
    pub alertmanagers: Vec<OutsideAlertmanagers>,
}

with_http_client! {
    /// One entry of `alertmanagers`.
    pub struct OutsideAlertmanagers {
        /// `http` (default) or `https`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub scheme: Option<String>,
        /// What stands before `/api/v2/alerts`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub path_prefix: Option<String>,
        /// How long one request may take; default 10s.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub timeout: Option<ConfigDuration>,
        /// Only `v2`, the default.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub api_version: Option<String>,
        /// Rules for the discovered Alertmanagers.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub relabel_configs: Vec<Option<RelabelConfig>>,
        /// Changes to alerts before they leave for these.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub alert_relabel_configs: Vec<Option<RelabelConfig>>,
        /// Alertmanagers written down.
        #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "list_without_gaps")]
        pub static_configs: Vec<StaticConfig>,
        /// Alertmanagers from files.
        #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "list_without_gaps")]
        pub file_sd_configs: Vec<FileSdConfig>,
        /// Discovery that Prometheus has and campanile has not yet; refused by name.
        #[serde(skip_serializing)]
        pub dns_sd_configs: Option<Unsupported>,
        /// As above, likewise all that follow.
        #[serde(skip_serializing)]
        pub http_sd_configs: Option<Unsupported>,
        /// As above.
        #[serde(skip_serializing)]
        pub consul_sd_configs: Option<Unsupported>,
        /// As above.
        #[serde(skip_serializing)]
        pub ec2_sd_configs: Option<Unsupported>,
        /// As above.
        #[serde(skip_serializing)]
        pub kubernetes_sd_configs: Option<Unsupported>,
        /// Amazon's signatures; refused by name.
        #[serde(skip_serializing)]
        pub sigv4: Option<Unsupported>,
    }
}

impl OutsideAlertmanagers {
    /// How long one request may take.
    pub fn timeout(&self) -> ConfigDuration {
        self.timeout.unwrap_or(DEFAULT_TIMEOUT)
    }

    /// The scheme in force.
    pub fn scheme(&self) -> &str {
        self.scheme.as_deref().filter(|s| !s.is_empty()).unwrap_or("http")
    }

    /// The path of the request, prefix included.
    pub fn alerts_path(&self) -> String {
        let prefix = self.path_prefix.as_deref().unwrap_or_default().trim_matches('/');
        if prefix.is_empty() { "/api/v2/alerts".to_owned() } else { format!("/{prefix}/api/v2/alerts") }
    }

    fn validate(&self, path: &str, problems: &mut Problems) {
        if let Some(version) = self.api_version.as_deref().filter(|v| *v != "v2") {
            let message =
                format!("{version:?} is not supported; only v2 is, which every Alertmanager since 0.16 speaks");
            problems.add(format!("{path}.api_version"), message);
        }
        if self.timeout.is_some_and(|t| t.as_ms() == 0) {
            problems.add(format!("{path}.timeout"), "is zero; give a timeout such as 10s");
        }
        for (key, set) in [
            ("dns_sd_configs", self.dns_sd_configs),
            ("http_sd_configs", self.http_sd_configs),
            ("consul_sd_configs", self.consul_sd_configs),
            ("ec2_sd_configs", self.ec2_sd_configs),
            ("kubernetes_sd_configs", self.kubernetes_sd_configs),
        ] {
            if set.is_some() {
                let message =
                    "is not supported yet; use static_configs, or file_sd_configs with a program that writes the file";
                problems.add(format!("{path}.{key}"), message);
            }
        }
        if self.sigv4.is_some() {
            problems.add(format!("{path}.sigv4"), "is not supported yet; remove the key");
        }
        for (g, group) in self.static_configs.iter().enumerate() {
            for (t, target) in group.targets.iter().enumerate().filter(|(_, t)| t.contains('/')) {
                let path = format!("{path}.static_configs[{g}].targets[{t}]");
                problems.add(
                    path,
                    format!(
                        "{target:?} is not a valid hostname; write host:port, and the rest as scheme and path_prefix"
                    ),
                );
            }
        }
        for (i, sd) in self.file_sd_configs.iter().enumerate() {
            sd.validate(&format!("{path}.file_sd_configs[{i}]"), problems);
        }
        let names = NameValidation::Utf8;
        relabel::validate_all(&self.relabel_configs, names, &format!("{path}.relabel_configs"), problems);
        relabel::validate_all(&self.alert_relabel_configs, names, &format!("{path}.alert_relabel_configs"), problems);
        self.http_client().validate(path, problems);
    }
}

impl Outside {
    /// Notes what is wrong.
    pub fn validate(&self, path: &str, problems: &mut Problems) {
        let rules = format!("{path}.alert_relabel_configs");
        relabel::validate_all(&self.alert_relabel_configs, NameValidation::Utf8, &rules, problems);
        for (i, a) in self.alertmanagers.iter().enumerate() {
            a.validate(&format!("{path}.alertmanagers[{i}]"), problems);
        }
    }

    /// Notes what is taken as Prometheus takes it but cannot work.
    pub fn doubts(&self, path: &str, doubts: &mut Problems) {
        for (i, a) in self.alertmanagers.iter().enumerate() {
            if !matches!(a.scheme(), "http" | "https") {
                let message = format!("{:?} is neither http nor https: no alert will reach these", a.scheme());
                doubts.add(format!("{path}.alertmanagers[{i}].scheme"), message);
            }
        }
    }

    /// Makes the paths of files absolute, as seen from the folder of the configuration.
    pub fn resolve_paths(&mut self, dir: &Path) {
        for a in &mut self.alertmanagers {
            a.resolve_http_paths(dir);
            for file in a.file_sd_configs.iter_mut().flat_map(|f| f.files.iter_mut()) {
                *file = dir.join(&*file);
            }
        }
    }
}
