//! `scrape_configs`: Prometheus' schema (prometheus.io/docs, configuration, `scrape_config`).

mod job;
mod validate;
mod words;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::config::http_client::with_http_client;
use crate::config::relabel::RelabelConfig;
use crate::config::{ByteSize, ConfigDuration};

pub use job::{Limits, ScrapeJob};
pub use validate::validate_all;
pub use words::{
    DEFAULT_PROTOCOLS, EscapingScheme, NameValidation, PROTOBUF_FIRST_PROTOCOLS, ScrapeProtocol, Unsupported,
    accept_header,
};

/// Targets and labels written down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StaticConfig {
    /// `host:port` of each target.
    pub targets: Vec<String>,
    /// Labels of all of them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// Targets from files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileSdConfig {
    /// Files, JSON or YAML; the last part of a path may hold `*` and `?`.
    pub files: Vec<PathBuf>,
    /// How often they are read even if nothing tells of a change; default 5m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_interval: Option<ConfigDuration>,
}

/// Something that must be there: an entry left empty in a list is a slip that would otherwise be taken for all defaults.
struct Present<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Present<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let value = Option::<T>::deserialize(d)?;
        value.map(Present).ok_or_else(|| de::Error::custom("is empty; fill the entry or remove it"))
    }
}

/// Reads a list in which no entry may be empty.
pub(crate) fn list_without_gaps<'de, T: Deserialize<'de>, D: Deserializer<'de>>(d: D) -> Result<Vec<T>, D::Error> {
    let list = Vec::<Present<T>>::deserialize(d)?;
    Ok(list.into_iter().map(|entry| entry.0).collect())
}

/// Default of [`FileSdConfig::refresh_interval`] (Prometheus).
pub const FILE_SD_REFRESH: ConfigDuration = ConfigDuration::from_secs(300);

with_http_client! {
    /// One entry of `scrape_configs`. Absent keys stay `None`; [`ScrapeConfig::job`] fills in the defaults.
    pub struct ScrapeConfig {
        /// The `job` label; each name once.
        pub job_name: String,
        /// How often; default that of `global`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub scrape_interval: Option<ConfigDuration>,
        /// How long one scrape may take; default that of `global`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub scrape_timeout: Option<ConfigDuration>,
        /// Formats to ask for, most wanted first.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub scrape_protocols: Option<Vec<ScrapeProtocol>>,
        /// Format of bodies whose Content-Type says nothing usable.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub fallback_scrape_protocol: Option<ScrapeProtocol>,
        /// Not supported when true.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub scrape_native_histograms: Option<bool>,
        /// Without native histograms classic ones are always kept.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub always_scrape_classic_histograms: Option<bool>,
        /// Not supported when true.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub convert_classic_histograms_to_nhcb: Option<bool>,
        /// Not supported.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub scrape_failure_log_file: Option<String>,
        /// Write more report series (see `global`).
        #[serde(skip_serializing_if = "Option::is_none")]
        pub extra_scrape_metrics: Option<bool>,
        /// Path of the URL; default `/metrics`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub metrics_path: Option<String>,
        /// `http` (default) or `https`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub scheme: Option<String>,
        /// Parameters of the URL.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        pub params: BTreeMap<String, Vec<String>>,
        /// Whether labels of the target's samples win over those of the target; default no.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub honor_labels: Option<bool>,
        /// Whether timestamps of the body count; default yes.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub honor_timestamps: Option<bool>,
        /// Whether series with own timestamps get staleness markers; default no.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub track_timestamps_staleness: Option<bool>,
        /// Whether gzip is asked for; default yes.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub enable_compression: Option<bool>,
        /// See `global`, likewise the limits that follow.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub body_size_limit: Option<ByteSize>,
        /// Most samples of a scrape after relabelling.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub sample_limit: Option<u64>,
        /// Most targets of the job.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub target_limit: Option<u64>,
        /// Most labels of a sample.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub label_limit: Option<u64>,
        /// Longest label name in bytes.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub label_name_length_limit: Option<u64>,
        /// Longest label value in bytes.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub label_value_length_limit: Option<u64>,
        /// Most buckets of a native histogram.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub native_histogram_bucket_limit: Option<u64>,
        /// By how much the buckets of native histograms grow at least.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub native_histogram_min_bucket_factor: Option<f64>,
        /// How many dropped targets are remembered.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub keep_dropped_targets: Option<u64>,
        /// Which names are valid.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub metric_name_validation_scheme: Option<NameValidation>,
        /// How targets are asked to escape names.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub metric_name_escaping_scheme: Option<EscapingScheme>,
        /// Rules for targets.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub relabel_configs: Vec<Option<RelabelConfig>>,
        /// Rules for samples.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub metric_relabel_configs: Vec<Option<RelabelConfig>>,
        /// Targets written down.
        #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "list_without_gaps")]
        pub static_configs: Vec<StaticConfig>,
        /// Targets from files.
        #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "list_without_gaps")]
        pub file_sd_configs: Vec<FileSdConfig>,
        /// Discovery that Prometheus has and campanile has not yet; refused by name.
        #[serde(skip_serializing)]
        pub aws_sd_configs: Option<Unsupported>,
        /// As above, likewise all that follow.
        #[serde(skip_serializing)]
        pub azure_sd_configs: Option<Unsupported>,
        /// As above.
        #[serde(skip_serializing)]
        pub consul_sd_configs: Option<Unsupported>,
        /// As above.
        #[serde(skip_serializing)]
        pub digitalocean_sd_configs: Option<Unsupported>,
        /// As above.
        #[serde(skip_serializing)]
        pub dns_sd_configs: Option<Unsupported>,
        /// As above.
        #[serde(skip_serializing)]
        pub docker_sd_configs: Option<Unsupported>,
        /// As above.
        #[serde(skip_serializing)]
        pub dockerswarm_sd_configs: Option<Unsupported>,
        /// As above.
        #[serde(skip_serializing)]
        pub ec2_sd_configs: Option<Unsupported>,
        /// As above.
        #[serde(skip_serializing)]
        pub eureka_sd_configs: Option<Unsupported>,
        /// As above.
        #[serde(skip_serializing)]
        pub gce_sd_configs: Option<Unsupported>,
        /// As above.
        #[serde(skip_serializing)]
        pub hetzner_sd_configs: Option<Unsupported>,
        /// As above.
        #[serde(skip_serializing)]
        pub http_sd_configs: Option<Unsupported>,
        /// As above.
        #[serde(skip_serializing)]
        pub ionos_sd_configs: Option<Unsupported>,
        /// As above.
        #[serde(skip_serializing)]
        pub kubernetes_sd_configs: Option<Unsupported>,
        /// As above.
        #[serde(skip_serializing)]
        pub kuma_sd_configs: Option<Unsupported>,
        /// As above.
        #[serde(skip_serializing)]
        pub lightsail_sd_configs: Option<Unsupported>,
        /// As above.
        #[serde(skip_serializing)]
        pub linode_sd_configs: Option<Unsupported>,
        /// As above.
        #[serde(skip_serializing)]
        pub marathon_sd_configs: Option<Unsupported>,
        /// As above.
        #[serde(skip_serializing)]
        pub nerve_sd_configs: Option<Unsupported>,
        /// As above.
        #[serde(skip_serializing)]
        pub nomad_sd_configs: Option<Unsupported>,
        /// As above.
        #[serde(skip_serializing)]
        pub openstack_sd_configs: Option<Unsupported>,
        /// As above.
        #[serde(skip_serializing)]
        pub ovhcloud_sd_configs: Option<Unsupported>,
        /// As above.
        #[serde(skip_serializing)]
        pub puppetdb_sd_configs: Option<Unsupported>,
        /// As above.
        #[serde(skip_serializing)]
        pub scaleway_sd_configs: Option<Unsupported>,
        /// As above.
        #[serde(skip_serializing)]
        pub serverset_sd_configs: Option<Unsupported>,
        /// As above.
        #[serde(skip_serializing)]
        pub stackit_sd_configs: Option<Unsupported>,
        /// As above.
        #[serde(skip_serializing)]
        pub triton_sd_configs: Option<Unsupported>,
        /// As above.
        #[serde(skip_serializing)]
        pub uyuni_sd_configs: Option<Unsupported>,
        /// As above.
        #[serde(skip_serializing)]
        pub vultr_sd_configs: Option<Unsupported>,
    }
}

impl ScrapeConfig {
    /// The discovery keys that are given and not supported.
    pub fn unsupported_discovery(&self) -> impl Iterator<Item = &'static str> {
        [
            ("aws_sd_configs", self.aws_sd_configs),
            ("azure_sd_configs", self.azure_sd_configs),
            ("consul_sd_configs", self.consul_sd_configs),
            ("digitalocean_sd_configs", self.digitalocean_sd_configs),
            ("dns_sd_configs", self.dns_sd_configs),
            ("docker_sd_configs", self.docker_sd_configs),
            ("dockerswarm_sd_configs", self.dockerswarm_sd_configs),
            ("ec2_sd_configs", self.ec2_sd_configs),
            ("eureka_sd_configs", self.eureka_sd_configs),
            ("gce_sd_configs", self.gce_sd_configs),
            ("hetzner_sd_configs", self.hetzner_sd_configs),
            ("http_sd_configs", self.http_sd_configs),
            ("ionos_sd_configs", self.ionos_sd_configs),
            ("kubernetes_sd_configs", self.kubernetes_sd_configs),
            ("kuma_sd_configs", self.kuma_sd_configs),
            ("lightsail_sd_configs", self.lightsail_sd_configs),
            ("linode_sd_configs", self.linode_sd_configs),
            ("marathon_sd_configs", self.marathon_sd_configs),
            ("nerve_sd_configs", self.nerve_sd_configs),
            ("nomad_sd_configs", self.nomad_sd_configs),
            ("openstack_sd_configs", self.openstack_sd_configs),
            ("ovhcloud_sd_configs", self.ovhcloud_sd_configs),
            ("puppetdb_sd_configs", self.puppetdb_sd_configs),
            ("scaleway_sd_configs", self.scaleway_sd_configs),
            ("serverset_sd_configs", self.serverset_sd_configs),
            ("stackit_sd_configs", self.stackit_sd_configs),
            ("triton_sd_configs", self.triton_sd_configs),
            ("uyuni_sd_configs", self.uyuni_sd_configs),
            ("vultr_sd_configs", self.vultr_sd_configs),
        ]
        .into_iter()
        .filter(|(_, set)| set.is_some())
        .map(|(key, _)| key)
    }

    /// Makes the paths of files absolute, as seen from the folder of the configuration.
    pub fn resolve_paths(&mut self, dir: &Path) {
        self.resolve_http_paths(dir);
        for file in self.file_sd_configs.iter_mut().flat_map(|f| f.files.iter_mut()) {
            *file = dir.join(&*file);
        }
    }
}
