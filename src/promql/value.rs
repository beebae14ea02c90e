//! The results of queries.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{FloatHistogram, Labels, TimestampMs};

/// What one sample holds.
#[derive(Clone, Debug, PartialEq)]
pub enum SampleValue {
    /// A float.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<FloatHistogram>),
}

/// One element of an instant vector.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSample {
    /// The labels of the series.
    pub labels: Labels,
    /// The evaluation time.
    pub t: TimestampMs,
    /// The value.
    pub value: SampleValue,
}

/// One series of a range vector. Floats and histograms are each sorted by time.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct MatrixSeries {
    /// The labels.
    pub labels: Labels,
    /// The floats.
    pub floats: Vec<(TimestampMs, f64)>,
    /// The histograms.
    pub histograms: Vec<(TimestampMs, Arc<FloatHistogram>)>,
}

/// The value of an expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number.
    Scalar {
        /// The evaluation time.
        t: TimestampMs,
        /// The number.
        v: f64,
    },
    /// A text.
    String {
        /// The evaluation time.
        t: TimestampMs,
        /// The text.
        v: String,
    },
    /// An instant vector, in the order of `sort` and its like, else of the evaluation.
    Vector(Vec<VectorSample>),
    /// A range vector, sorted by labels.
    Matrix(Vec<MatrixSeries>),
}

/// What a query cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryStats {
    /// Samples that selectors saw, counted at each step anew as Prometheus does where they were to be counted, else samples read from
    /// the store, each once.
    pub total_queryable_samples: u64,
    /// The same for each step, where that was asked for.
    pub samples_per_step: Vec<(TimestampMs, u64)>,
    /// The most samples held at once.
    pub peak_samples: u64,
    /// Time spent on the evaluation.
    pub eval_time: Duration,
    /// Time spent waiting for a place.
    pub queued: Duration,
}

/// A value and what was remarked on the way.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryResult {
    /// The value.
    pub value: Value,
    /// Warnings, with `PromQL warning: ` in front and the position at the end.
    pub warnings: Vec<String>,
    /// Infos, with `PromQL info: ` in front and the position at the end.
    pub infos: Vec<String>,
    /// What it cost.
    pub stats: QueryStats,
}
