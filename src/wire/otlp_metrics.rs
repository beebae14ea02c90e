//! Metrics of OpenTelemetry's protocol: `ExportMetricsServiceRequest` as protobuf and as JSON (opentelemetry.io/docs/specs/otlp,
//! opentelemetry-proto `metrics/v1/metrics.proto`), and the answer.

mod json;
mod protobuf;

pub use json::decode_json;
pub use protobuf::decode_protobuf;

use crate::wire::protobuf::{ProtobufError, put_field_bytes, put_field_varint};

/// Why a body is no request.
#[derive(Debug, thiserror::Error)]
pub enum OtlpMetricsError {
    /// Not the JSON expected.
    #[error("OTLP request is not valid JSON: {0}")]
    Json(String),
    /// Not a protobuf message of this form.
    #[error("OTLP request is not a valid protobuf message: {0}")]
    Protobuf(#[from] ProtobufError),
}

/// Names and values as text, in the order sent.
pub type Attributes = Vec<(String, String)>;

/// The metrics of one resource, whatever scopes they came from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResourceMetrics {
    /// What the resource is.
    pub attributes: Attributes,
    /// Its metrics.
    pub metrics: Vec<Metric>,
}

/// One metric.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metric {
    /// The name, with dots and all.
    pub name: String,
    /// For people.
    pub description: String,
    /// In UCUM, such as `By` or `1/s`.
    pub unit: String,
    /// The points.
    pub data: Data,
}

/// How points of a sum or histogram relate to each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Temporality {
    /// Not said.
    #[default]
    Unspecified,
    /// Each counts what happened since the one before.
    Delta,
    /// Each counts since the start.
    Cumulative,
}

impl Temporality {
    /// By the number of the protocol.
    fn of(number: u64) -> Self {
        match number {
            1 => Temporality::Delta,
            2 => Temporality::Cumulative,
            _ => Temporality::Unspecified,
        }
    }
}

/// The points of a metric.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Data {
    /// Of no kind that is known.
    #[default]
    None,
    /// Values at a time.
    Gauge(Vec<NumberPoint>),
    /// Sums.
    Sum(Vec<NumberPoint>, Temporality, bool),
    /// Histograms with bounds of their own.
    Histogram(Vec<HistogramPoint>, Temporality),
    /// Histograms with exponential bounds.
    Exponential(Vec<ExponentialPoint>, Temporality),
    /// Quantiles.
    Summary(Vec<SummaryPoint>),
}

/// What all points have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Head {
    /// What tells the series of the metric apart.
    pub attributes: Attributes,
    /// Since when it has been counted, in nanoseconds; 0 if that is not known.
    pub start_ns: u64,
    /// When, in nanoseconds.
    pub time_ns: u64,
    /// Bit 0: there is no value any more.
    pub flags: u32,
}

/// A number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NumberPoint {
    /// See [`Head`].
    pub head: Head,
    /// The value.
    pub value: f64,
    /// Examples.
    pub exemplars: Vec<PointExemplar>,
}

/// A histogram with `bounds.len() + 1` buckets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistogramPoint {
    /// See [`Head`].
    pub head: Head,
    /// All observations.
    pub count: u64,
    /// Their sum, where it makes sense.
    pub sum: Option<f64>,
    /// Observations in each bucket.
    pub bucket_counts: Vec<u64>,
    /// Upper bounds, rising.
    pub bounds: Vec<f64>,
    /// Examples.
    pub exemplars: Vec<PointExemplar>,
}

/// Counts of neighbouring buckets from one index on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets {
    /// The index of the first; bucket `i` covers `(base^i, base^(i+1)]`.
    pub offset: i32,
    /// The counts.
    pub counts: Vec<u64>,
}

/// A histogram whose base is `2^(2^-scale)`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExponentialPoint {
    /// See [`Head`].
    pub head: Head,
    /// All observations.
    pub count: u64,
    /// Their sum, where it makes sense.
    pub sum: Option<f64>,
    /// See above.
    pub scale: i32,
    /// Observations about zero.
    pub zero_count: u64,
    /// What counts as about zero.
    pub zero_threshold: f64,
    /// Of positive observations.
    pub positive: Buckets,
    /// Of negative ones.
    pub negative: Buckets,
    /// Examples.
    pub exemplars: Vec<PointExemplar>,
}

/// Quantiles.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SummaryPoint {
    /// See [`Head`].
    pub head: Head,
    /// All observations.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// Quantile and value.
    pub quantiles: Vec<(f64, f64)>,
}

/// One example.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PointExemplar {
    /// What is not part of the point's attributes.
    pub attributes: Attributes,
    /// When, in nanoseconds.
    pub time_ns: u64,
    /// What was observed.
    pub value: f64,
    /// In hexadecimal, empty if there is none.
    pub trace_id: String,
    /// In hexadecimal, empty if there is none.
    pub span_id: String,
}

/// The answer as protobuf: (1) partial success of (1) refused points, (2) message; nothing where all were taken.
pub fn response_protobuf(refused: u64, message: &str) -> Vec<u8> {
    let mut out = Vec::new();
    if refused > 0 || !message.is_empty() {
        let mut partial = Vec::new();
        put_field_varint(&mut partial, 1, refused);
        put_field_bytes(&mut partial, 2, message.as_bytes());
        put_field_bytes(&mut out, 1, &partial);
    }
    out
}

/// The same as JSON.
pub fn response_json(refused: u64, message: &str) -> String {
    if refused == 0 && message.is_empty() {
        return "{}".to_owned();
    }
    serde_json::json!({"partialSuccess": {"rejectedDataPoints": refused.to_string(), "errorMessage": message}})
        .to_string()
}
