//! What the API shows about targets, spelled as Prometheus' `/api/v1/targets`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::{Labels, Metadata};

/// Whether the last scrape worked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Not scraped yet.
    #[default]
    Unknown,
    /// It did.
    Up,
    /// It did not.
    Down,
}

/// One target that is scraped.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetStatus {
    /// Labels before relabelling.
    pub discovered_labels: Labels,
    /// Labels of its samples.
    pub labels: Labels,
    /// The job it belongs to.
    pub scrape_pool: String,
    /// Where it is fetched.
    pub scrape_url: String,
    /// The same, as seen from elsewhere.
    pub global_url: String,
    /// Why the last scrape failed, else empty.
    pub last_error: String,
    /// When the last scrape began (RFC 3339).
    pub last_scrape: String,
    /// How long it took, in seconds.
    pub last_scrape_duration: f64,
    /// Whether it worked.
    pub health: Health,
    /// How often.
    pub scrape_interval: String,
    /// How long a scrape may take.
    pub scrape_timeout: String,
}

/// A target that relabelling dropped.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DroppedTarget {
    /// Labels before relabelling.
    pub discovered_labels: Labels,
    /// The job it belongs to.
    pub scrape_pool: String,
}

/// The `data` of `/api/v1/targets`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetsStatus {
    /// Scraped, by pool and labels.
    pub active_targets: Vec<TargetStatus>,
    /// Dropped (as many as `keep_dropped_targets` allows).
    pub dropped_targets: Vec<DroppedTarget>,
    /// How many were dropped, by pool.
    pub dropped_target_counts: BTreeMap<String, usize>,
}

/// Metadata as one target gave it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TargetMetadata {
    /// The target's labels.
    pub target: Labels,
    /// The metric family.
    pub metric: String,
    /// Type, help and unit.
    #[serde(skip)]
    pub metadata: Metadata,
}
