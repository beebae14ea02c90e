//! Native histograms with float counts; the one form in which the query engine sees them.
//!
//! The arithmetic follows the specification of native histograms in Prometheus' documentation: exponential schemas
//! are joined at the lower resolution, zero buckets at the wider threshold, custom bounds at their common ones.

mod accumulate;
mod arithmetic;
mod buckets;
mod display;
mod reset;
mod trim;

pub use accumulate::HistogramAccumulator;
pub use arithmetic::{AddOutcome, IncompatibleHistograms};
pub use buckets::{Bucket, Sparse};
pub(crate) use display::go_g;

/// A span of consecutive buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Gap to the previous span (to index 0 for the first), in buckets.
    pub offset: i32,
    /// Number of buckets.
    pub length: u32,
}

/// What is known about a counter reset between this histogram and the one before it in its series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum CounterResetHint {
    /// Nothing is known; compare to find out.
    #[default]
    Unknown,
    /// There was a reset.
    Reset,
    /// There was none.
    NotReset,
    /// A gauge histogram, for which resets have no meaning.
    Gauge,
}

/// The schema number of histograms with custom bucket bounds (converted classic histograms).
pub const CUSTOM_BUCKETS_SCHEMA: i32 = -53;

/// A native histogram. Bucket counts are absolute (no deltas), one for each bucket of the spans in order.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct FloatHistogram {
    /// See [`CounterResetHint`].
    pub counter_reset_hint: CounterResetHint,
    /// Exponential schema -4..=8, or [`CUSTOM_BUCKETS_SCHEMA`].
    pub schema: i32,
    /// Width of the zero bucket.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// All observations.
    pub count: f64,
    /// Sum of all observations.
    pub sum: f64,
    /// Spans of positive buckets.
    pub positive_spans: Vec<Span>,
    /// Spans of negative buckets.
    pub negative_spans: Vec<Span>,
    /// Counts of positive buckets.
    pub positive_buckets: Vec<f64>,
    /// Counts of negative buckets.
    pub negative_buckets: Vec<f64>,
    /// Upper bounds for [`CUSTOM_BUCKETS_SCHEMA`], ascending, without +Inf.
    pub custom_values: Vec<f64>,
}
