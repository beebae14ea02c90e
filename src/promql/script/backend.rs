//! What a test script needs from an engine: a place for samples and the two kinds of evaluation.

use crate::model::{FloatHistogram, Labels, TimestampMs};

/// What one sample holds.
#[derive(Clone, Debug, PartialEq)]
pub enum ScriptValue {
    /// A float; the staleness marker is `model::sample::stale_nan()`.
    Float(f64),
    /// A native histogram. A stale one has the staleness marker as its `sum`.
    Histogram(Box<FloatHistogram>),
}

/// One sample of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct ScriptSample {
    /// When, in milliseconds.
    pub t: TimestampMs,
    /// Since when the value has been counted up, in milliseconds, where that is known. Only loaded samples carry it.
    pub start: Option<TimestampMs>,
    /// The value.
    pub value: ScriptValue,
}

impl ScriptSample {
    /// A float without a start timestamp.
    pub fn float(t: TimestampMs, v: f64) -> Self {
        ScriptSample { t, start: None, value: ScriptValue::Float(v) }
    }
}

/// A series, its samples sorted by time without duplicates.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesData {
    /// The labels, metric name included.
    pub labels: Labels,
    /// The samples.
    pub samples: Vec<ScriptSample>,
}

/// The value of an evaluated expression.
#[derive(Clone, Debug, PartialEq)]
pub enum EvalValue {
    /// A scalar of an instant query; in a range query a scalar is a matrix of one series without labels.
    Scalar(f64),
    /// A string of an instant query.
    String(String),
    /// An instant vector, in the order the engine returns it (`expect ordered` looks at it).
    Vector(Vec<(Labels, ScriptSample)>),
    /// The range vector of a range query, or of an instant query over a range selector; no series without samples.
    Matrix(Vec<SeriesData>),
}

/// The value of an evaluated expression and what was remarked on the way.
#[derive(Clone, Debug, PartialEq)]
pub struct EvalOutput {
    /// The value.
    pub value: EvalValue,
    /// Warnings as the API shows them, with `PromQL warning: ` in front and the position `(1:5)` at the end.
    pub warnings: Vec<String>,
    /// Infos as the API shows them, with `PromQL info: ` in front and the position `(1:5)` at the end.
    pub infos: Vec<String>,
}

/// An engine over a store in memory. All experimental features are on, `@` and negative offsets too; the lookback
/// delta is five minutes, the default step of a subquery one minute.
pub trait ScriptBackend {
    /// Forgets all samples.
    fn clear(&mut self);

    /// Adds samples. A series may be loaded in several calls; of two samples at one time the first one stays.
    ///
    /// Fails with the reason if the store refuses them.
    fn load(&mut self, series: Vec<SeriesData>) -> Result<(), String>;

    /// Evaluates at one time (milliseconds). The error is the message of the engine or the parser.
    fn instant(&mut self, expr: &str, t: TimestampMs) -> Result<EvalOutput, String>;

    /// Evaluates at every step from `start` to `end` inclusive (milliseconds, `step` above zero).
    fn range(
        &mut self,
        expr: &str,
        start: TimestampMs,
        end: TimestampMs,
        step: TimestampMs,
    ) -> Result<EvalOutput, String>;
}
