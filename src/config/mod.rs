//! The configuration: plain structs, how they are loaded, and what is wrong with them.
//!
//! One YAML file, a superset of `prometheus.yml`. [`load()`] reads it and everything it includes, [`Config::validate`]
//! and `cross_checks` find what types cannot, and every problem comes with its file, line and column. A key that is
//! known and not supported is a field of the type [`Unsupported`], so that setting it is an error with a line.

pub mod alert_matcher;
pub mod alerting;
pub mod bytesize;
pub mod cross_checks;
pub mod dns_names;
pub mod duration;
pub mod env;
pub mod error;
pub mod features;
pub mod glob;
pub mod global;
pub mod host;
pub mod http_client;
pub mod inhibit;
pub mod load;
pub mod logs;
pub mod notify;
pub mod outside;
pub mod probe;
pub mod probe_module;
pub mod query;
pub mod relabel;
pub mod scrape;
pub mod secret;
pub mod storage;
pub mod time_interval;
pub mod tree;
pub mod unsupported;
pub mod web;
pub mod yaml;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use alert_matcher::{AlertMatcher, AlertMatchers};
pub use alerting::AlertmanagerConfig;
pub use bytesize::ByteSize;
pub use duration::ConfigDuration;
pub use error::{Problem, Problems};
pub use load::{Loaded, load};
pub use logs::LogsConfig;
pub use secret::Secret;
pub use tree::{Expand, Tree, decode};
pub use unsupported::Unsupported;

/// The root of the configuration file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Defaults of scrapes and rules, labels for the outside.
    pub global: global::GlobalConfig,
    /// What is scraped.
    pub scrape_configs: Vec<scrape::ScrapeConfig>,
    /// Files with more scrape configs, by pattern.
    pub scrape_config_files: Vec<String>,
    /// Files with rule groups, by pattern.
    pub rule_files: Vec<String>,
    /// Where alerts go beside the built-in alertmanager.
    pub alerting: outside::Outside,
    /// Where samples are sent.
    pub remote_write: Unsupported,
    /// Where samples are read from.
    pub remote_read: Unsupported,
    /// How metrics are kept.
    pub storage: storage::Storage,
    /// The built-in alertmanager, in Alertmanager's own schema.
    pub alertmanager: Option<AlertmanagerConfig>,
    /// The same from a file of its own.
    pub alertmanager_file: PathBuf,
    /// Modules for probes, as in blackbox.yml.
    pub probe_modules: BTreeMap<String, probe::ProbeModule>,
    /// A whole blackbox.yml.
    pub probe_modules_file: PathBuf,
    /// What is probed.
    pub probes: Vec<probe::Probe>,
    /// Signs of life that others send.
    pub heartbeats: Unsupported,
    /// How logs are taken and kept.
    pub logs: LogsConfig,
    /// What is written down about queries.
    pub query: query::Query,
    /// What the HTTP server says about itself.
    pub web: web::Web,
    /// Reports by email.
    pub reports: Unsupported,
    /// Backups.
    pub backup: Unsupported,
    /// The built-in collector of the host's metrics.
    pub host: host::Host,
    /// Whether campanile scrapes itself. On by default: a fresh start shows something useful.
    pub self_scrape: bool,
    /// Prometheus' export of its own traces; campanile takes it from `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub tracing: Unsupported,
    /// Prometheus' settings for metrics that come by OTLP.
    pub otlp: Unsupported,
    /// Prometheus' settings of its garbage collector; taken and without effect, which the loader says.
    pub runtime: Runtime,
}

/// `runtime:` of prometheus.yml. campanile has no garbage collector; the loader warns that it has no effect.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Runtime {
    /// The collector's target percentage.
    pub gogc: Option<i64>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            global: global::GlobalConfig::default(),
            scrape_configs: Vec::new(),
            scrape_config_files: Vec::new(),
            rule_files: Vec::new(),
            alerting: outside::Outside::default(),
            remote_write: Unsupported,
            remote_read: Unsupported,
            storage: storage::Storage::default(),
            alertmanager: None,
            alertmanager_file: PathBuf::new(),
            probe_modules: BTreeMap::new(),
            probe_modules_file: PathBuf::new(),
            probes: Vec::new(),
            heartbeats: Unsupported,
            logs: LogsConfig::default(),
            query: query::Query::default(),
            web: web::Web::default(),
            reports: Unsupported,
            backup: Unsupported,
            host: host::Host::default(),
            self_scrape: true,
            tracing: Unsupported,
            otlp: Unsupported,
            runtime: Runtime::default(),
        }
    }
}

impl Config {
    /// Makes all paths of files relative to the folder of the configuration file.
    pub fn resolve_paths(&mut self, dir: &Path) {
        for path in [&mut self.alertmanager_file, &mut self.probe_modules_file] {
            if !path.as_os_str().is_empty() {
                *path = dir.join(&*path);
            }
        }
        if let Some(file) = self.global.query_log_file.as_mut().filter(|f| !f.is_empty()) {
            *file = dir.join(&*file).display().to_string();
        }
        self.scrape_configs.iter_mut().for_each(|s| s.resolve_paths(dir));
        self.alerting.resolve_paths(dir);
        self.probe_modules.values_mut().for_each(|m| m.resolve_paths(dir));
        self.probes.iter_mut().for_each(|p| p.resolve_paths(dir));
        self.logs.resolve_paths(dir);
    }

    /// Checks each section by itself; see `cross_checks` for what concerns several.
    pub fn validate(&self, problems: &mut Problems) {
        self.global.validate("global", problems);
        scrape::validate_all(&self.scrape_configs, &self.global, "scrape_configs", problems);
        self.alerting.validate("alerting", problems);
        if let Some(alertmanager) = &self.alertmanager {
            alertmanager.validate("alertmanager", problems);
        }
        self.logs.check("logs", problems);
        self.storage.validate("storage", problems);
        self.web.validate("web", problems);
        self.host.validate("host", problems);
        for (name, module) in &self.probe_modules {
            module.validate(&yaml::Path::new(vec![key("probe_modules"), key(name)]).to_string(), problems);
        }
        for (i, p) in self.probes.iter().enumerate() {
            p.validate(&format!("probes[{i}]"), &self.probe_modules, problems);
        }
    }
}

impl Config {
    /// What is no error, as Prometheus takes it too, but cannot work: for warnings.
    pub fn doubts(&self) -> Problems {
        let mut doubts = Problems::default();
        for (i, job) in self.scrape_configs.iter().enumerate() {
            job.doubts(&format!("scrape_configs[{i}]"), &mut doubts);
        }
        self.alerting.doubts("alerting", &mut doubts);
        doubts
    }
}

fn key(name: &str) -> yaml::Step {
    yaml::Step::Key(name.to_owned())
}
