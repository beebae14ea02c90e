//! Targets inside this process: campanile's own metrics, the host collector. No HTTP; the body comes from a function.

use std::sync::Arc;

use crate::model::Labels;
use crate::scrape::target::Target;

/// A target whose body is made in this process.
#[derive(Clone)]
pub struct InProcessTarget {
    /// The `job` label, and the name of its pool.
    pub job: String,
    /// The `instance` label.
    pub instance: String,
    /// How often; nothing means as often as other targets.
    pub interval_ms: Option<i64>,
    /// Makes a body in Prometheus text. Runs on a blocking thread at each scrape.
    pub render: Arc<dyn Fn() -> String + Send + Sync>,
}

impl InProcessTarget {
    /// The target as the loops see it.
    pub(super) fn target(&self, interval_ms: i64, timeout_ms: i64) -> Target {
        let labels = Labels::from_pairs([("job", &self.job), ("instance", &self.instance)]);
        let discovered = Labels::from_pairs([("job", self.job.as_str()), ("__address__", self.instance.as_str())]);
        let interval_ms = self.interval_ms.unwrap_or(interval_ms);
        let url = format!("inprocess:{}/{}", self.job, self.instance);
        Target { discovered, labels, url, interval_ms, timeout_ms: timeout_ms.min(interval_ms) }
    }
}
