//! What can be wrong with scrape jobs.

use std::collections::HashMap;

use crate::config::Problems;
use crate::config::global::GlobalConfig;
use crate::config::relabel;
use crate::config::scrape::{EscapingScheme, FileSdConfig, NameValidation, ScrapeConfig};

/// Notes what is wrong with the jobs; `path` is the path of the list (`scrape_configs`).
pub fn validate_all(jobs: &[ScrapeConfig], global: &GlobalConfig, path: &str, problems: &mut Problems) {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (i, job) in jobs.iter().enumerate() {
        let path = format!("{path}[{i}]");
        job.validate(global, &path, problems);
        if let Some(first) = seen.insert(&job.job_name, i) {
            problems.add(
                format!("{path}.job_name"),
                format!("{:?} is the name of scrape_configs[{first}] already; give each job its own", job.job_name),
            );
        }
    }
}

impl ScrapeConfig {
    /// Notes what is wrong with this job; `path` is its path, such as `scrape_configs[2]`.
    pub fn validate(&self, global: &GlobalConfig, path: &str, problems: &mut Problems) {
        if self.job_name.is_empty() {
            problems.add(format!("{path}.job_name"), "is empty; give the job a name");
        }
        self.validate_times(global, path, problems);
        let protocols = self.scrape_protocols.as_deref().unwrap_or_default();
        if self.scrape_protocols.as_ref().is_some_and(Vec::is_empty) {
            problems.add(format!("{path}.scrape_protocols"), "is empty; remove the key for the default");
        }
        for (i, p) in protocols.iter().enumerate() {
            if protocols.get(..i).is_some_and(|before| before.contains(p)) {
                problems.add(format!("{path}.scrape_protocols[{i}]"), "stands in the list twice; remove one");
            }
        }
        for (key, set) in [
            ("convert_classic_histograms_to_nhcb", self.convert_classic_histograms_to_nhcb == Some(true)),
            ("scrape_failure_log_file", self.scrape_failure_log_file.is_some()),
        ] {
            if set {
                problems.add(format!("{path}.{key}"), "is not supported yet; remove the key");
            }
        }
        for key in self.unsupported_discovery() {
            problems.add(
                format!("{path}.{key}"),
                "is not supported yet; use static_configs, or file_sd_configs with a program that writes the file",
            );
        }
        let names = self.name_validation(global);
        let escaping = self.metric_name_escaping_scheme.or(global.metric_name_escaping_scheme);
        if names == NameValidation::Legacy && escaping == Some(EscapingScheme::AllowUtf8) {
            problems.add(
                format!("{path}.metric_name_escaping_scheme"),
                "asks for UTF-8 names with allow-utf-8, and metric_name_validation_scheme is legacy; change one of them",
            );
        }
        relabel::validate_all(&self.relabel_configs, names, &format!("{path}.relabel_configs"), problems);
        relabel::validate_all(&self.metric_relabel_configs, names, &format!("{path}.metric_relabel_configs"), problems);
        self.http_client().validate(path, problems);
        self.validate_targets(path, problems);
    }

    fn validate_times(&self, global: &GlobalConfig, path: &str, problems: &mut Problems) {
        let interval = self.interval(global);
        if self.scrape_interval.is_some_and(|v| v.as_ms() == 0) {
            problems.add(format!("{path}.scrape_interval"), "is zero; give an interval such as 15s");
        } else if let Some(t) = self.scrape_timeout
            && t > interval
        {
            problems.add(
                format!("{path}.scrape_timeout"),
                format!("({t}) is longer than scrape_interval ({interval}); lower it or raise the interval"),
            );
        }
        if self.scrape_timeout.is_some_and(|v| v.as_ms() == 0) {
            problems.add(format!("{path}.scrape_timeout"), "is zero; give a timeout such as 10s");
        }
    }

    fn validate_targets(&self, path: &str, problems: &mut Problems) {
        for (g, group) in self.static_configs.iter().enumerate() {
            for (t, target) in group.targets.iter().enumerate() {
                // With relabelling a URL may be meant, as in jobs for a blackbox exporter.
                if self.relabel_configs.is_empty() && target.contains('/') {
                    problems.add(
                        format!("{path}.static_configs[{g}].targets[{t}]"),
                        format!("{target:?} is not a valid hostname; write host:port, and the path as metrics_path"),
                    );
                }
            }
            for name in group.labels.keys().filter(|n| n.is_empty()) {
                problems
                    .add(format!("{path}.static_configs[{g}].labels"), format!("{name:?} is not a valid label name"));
            }
        }
        for (i, sd) in self.file_sd_configs.iter().enumerate() {
            sd.validate(&format!("{path}.file_sd_configs[{i}]"), problems);
        }
    }

    /// Notes what is taken as Prometheus takes it but cannot work.
    pub fn doubts(&self, path: &str, doubts: &mut Problems) {
        if let Some(s) = self.scheme.as_deref().filter(|s| !matches!(*s, "" | "http" | "https")) {
            doubts.add(format!("{path}.scheme"), format!("{s:?} is neither http nor https: every scrape will fail"));
        }
    }
}

impl FileSdConfig {
    /// Notes what is wrong; `path` is the path of this entry.
    pub fn validate(&self, path: &str, problems: &mut Problems) {
        if self.files.is_empty() {
            problems.add(path, "file service discovery config must contain at least one path name");
        }
        for (f, file) in self.files.iter().enumerate() {
            let extension = file.extension().and_then(|e| e.to_str()).unwrap_or("");
            let folder = file.parent().map(|p| p.to_string_lossy().into_owned()).unwrap_or_default();
            if !matches!(extension, "yml" | "yaml" | "json") || folder.contains('*') {
                problems.add(
                    format!("{path}.files[{f}]"),
                    format!(
                        "path name {:?} is not valid; it must end in .yml, .yaml or .json, with * only in its last part",
                        file.display()
                    ),
                );
            }
        }
    }
}
