//! `logs.elastic`: what Elasticsearch's clients are told, and which fields of documents are what.

use serde::{Deserialize, Serialize};

use crate::config::Problems;

/// The section `logs.elastic`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ElasticConfig {
    /// The version that clients are told.
    pub version: String,
    /// Fields that may hold the time, the first one present counts.
    pub time_fields: Vec<String>,
    /// Fields that may hold the message.
    pub message_fields: Vec<String>,
    /// Fields that become labels of the stream.
    pub stream_fields: Vec<String>,
    /// The label that gets the name of the index, without its date; empty for none.
    pub index_label: String,
}

impl Default for ElasticConfig {
    /// The names of ECS (Beats, Elastic's loggers) and of Fluent Bit, Fluentd, rsyslog and Vector.
    fn default() -> Self {
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        ElasticConfig {
            // Beats refuse a server older than themselves; others only look whether it is 7.14 or newer.
            version: "9.9.0".to_owned(),
            time_fields: names(&["@timestamp", "timestamp", "time", "ts"]),
            message_fields: names(&["message", "log", "msg"]),
            stream_fields: names(&[
                "job",
                "app",
                "service",
                "service.name",
                "service_name",
                "env",
                "service.environment",
                "host",
                "host.name",
                "hostname",
                "container.name",
                "container_name",
                "kubernetes.namespace",
                "kubernetes.namespace_name",
                "kubernetes.container.name",
                "kubernetes.container_name",
                "kubernetes.pod.name",
                "kubernetes.pod_name",
            ]),
            index_label: "index".to_owned(),
        }
    }
}

impl ElasticConfig {
    pub(super) fn check(&self, path: &str, problems: &mut Problems) {
        let numbers = self.version.split('.').filter(|p| p.parse::<u32>().is_ok()).count();
        if numbers != 3 || self.version.split('.').count() != 3 {
            let message = format!("{:?} is no version; write three numbers such as 9.9.0", self.version);
            problems.add(format!("{path}.version"), message);
        }
        let label = &self.index_label;
        if !label.is_empty() && !crate::model::labels::is_legacy_label_name(label) {
            let message = format!("{label:?} is no label name; use letters, digits and underscores");
            problems.add(format!("{path}.index_label"), message);
        }
        super::check_names(path, "time_fields", &self.time_fields, problems);
        super::check_names(path, "message_fields", &self.message_fields, problems);
        super::check_names(path, "stream_fields", &self.stream_fields, problems);
    }
}
