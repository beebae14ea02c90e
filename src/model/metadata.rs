//! What a metric is: type, help, unit.

use serde::{Deserialize, Serialize};

/// The type of a metric family, spelled as Prometheus' API spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Default, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum MetricType {
    /// No type was given (`untyped` in the text format).
    #[default]
    Unknown,
    /// Only goes up.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets that only go up.
    Histogram,
    /// Buckets that go up and down.
    GaugeHistogram,
    /// Quantiles computed by the target.
    Summary,
    /// A constant 1 with labels to tell something.
    Info,
    /// A set of states of which some hold.
    StateSet,
}

impl MetricType {
    /// The word of Prometheus' metadata API.
    pub fn as_str(self) -> &'static str {
        match self {
            MetricType::Unknown => "unknown",
            MetricType::Counter => "counter",
            MetricType::Gauge => "gauge",
            MetricType::Histogram => "histogram",
            MetricType::GaugeHistogram => "gaugehistogram",
            MetricType::Summary => "summary",
            MetricType::Info => "info",
            MetricType::StateSet => "stateset",
        }
    }
}

/// Metadata of one metric family.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize, PartialOrd, Ord)]
pub struct Metadata {
    /// The family's type.
    #[serde(rename = "type")]
    pub metric_type: MetricType,
    /// A sentence for people.
    pub help: String,
    /// The unit, such as `seconds`; mostly empty.
    pub unit: String,
}
