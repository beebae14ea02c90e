//! The results of queries.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{FloatHistogram, Labels, TimestampMs};
use crate::promql::limits::Charge;

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
    /// What it takes from the memory of all queries.
    pub held: Held,
}

/// The memory of a result, given back with the last clone of it. Says nothing about the result, so all are equal.
#[derive(Clone, Debug)]
pub struct Held(pub(crate) Arc<Charge>);

impl Held {
    /// Takes more for the same result, if there is room.
    pub fn more(&self, bytes: u64) -> Option<Held> {
        self.0.more(bytes).ok().map(|c| Held(Arc::new(c)))
    }
}

impl PartialEq for Held {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Value {
    /// Roughly the memory it takes, in bytes.
    pub fn size_bytes(&self) -> u64 {
        let histogram = |h: &Arc<FloatHistogram>| h.size_bytes() + 24;
        let size = match self {
            Value::Scalar { .. } | Value::String { .. } => 0,
            Value::Vector(all) => all
                .iter()
                .map(|s| {
                    let value = match &s.value {
                        SampleValue::Float(_) => 0,
                        SampleValue::Histogram(h) => histogram(h),
                    };
                    size_of::<VectorSample>() + s.labels.packed().len() + value
                })
                .sum(),
            Value::Matrix(all) => all
                .iter()
                .map(|s| {
                    let histograms: usize = s.histograms.iter().map(|(_, h)| histogram(h)).sum();
                    size_of::<MatrixSeries>() + s.labels.packed().len() + 16 * s.floats.capacity() + histograms
                })
                .sum(),
        };
        size as u64
    }
}
