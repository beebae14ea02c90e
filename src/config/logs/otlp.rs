//! `logs.otlp`: what of OpenTelemetry's records names the stream.

use serde::{Deserialize, Serialize};

use crate::config::Problems;

/// The section `logs.otlp`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OtlpConfig {
    /// Attributes of resources that become labels of the stream; all others are structured metadata.
    pub stream_attributes: Vec<String>,
}

impl Default for OtlpConfig {
    /// Loki's.
    fn default() -> Self {
        const NAMES: [&str; 18] = [
            "cloud.availability_zone",
            "cloud.region",
            "container.name",
            "deployment.environment",
            "deployment.environment.name",
            "k8s.cluster.name",
            "k8s.container.name",
            "k8s.cronjob.name",
            "k8s.daemonset.name",
            "k8s.deployment.name",
            "k8s.job.name",
            "k8s.namespace.name",
            "k8s.pod.name",
            "k8s.replicaset.name",
            "k8s.statefulset.name",
            "service.instance.id",
            "service.name",
            "service.namespace",
        ];
        OtlpConfig { stream_attributes: NAMES.map(str::to_owned).to_vec() }
    }
}

impl OtlpConfig {
    pub(super) fn check(&self, path: &str, problems: &mut Problems) {
        super::check_names(path, "stream_attributes", &self.stream_attributes, problems);
    }
}
