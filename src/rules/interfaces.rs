//! What the rules need from the rest of the program, as traits of their own, so that they can be tested without it.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::model::alert::Alert;
use crate::model::{FloatHistogram, Labels, Matcher, TimestampMs};
use crate::promql::value::{SampleValue, Value};
use crate::rules::alerting::AlertState;
use crate::rules::file::GroupKind;
use crate::rules::restore::RuleSnapshot;

/// One element of a query's result, or one sample to write.
#[derive(Clone, Debug, PartialEq)]
pub struct InstantSample {
    /// The labels.
    pub labels: Labels,
    /// The value of a float sample.
    pub value: f64,
    /// The histogram, if it is no float.
    pub histogram: Option<Box<FloatHistogram>>,
}

impl InstantSample {
    /// A float sample.
    pub fn float(labels: Labels, value: f64) -> Self {
        InstantSample { labels, value, histogram: None }
    }

    /// The elements of a PromQL result, as [`RuleQuerier::instant`] gives them.
    pub fn from_result(result: Value) -> Result<Vec<InstantSample>, String> {
        match result {
            Value::Scalar { v, .. } => Ok(vec![InstantSample::float(Labels::empty(), v)]),
            Value::Vector(samples) => Ok(samples
                .into_iter()
                .map(|s| match s.value {
                    SampleValue::Float(v) => InstantSample::float(s.labels, v),
                    SampleValue::Histogram(h) => InstantSample {
                        labels: s.labels,
                        value: 0.0,
                        histogram: Some(Box::new(Arc::unwrap_or_clone(h))),
                    },
                })
                .collect()),
            Value::String { .. } | Value::Matrix(_) => Err("rule result is not a vector or scalar".to_owned()),
        }
    }
}

/// The newest sample of a series in a span of time.
#[derive(Clone, Debug, PartialEq)]
pub struct LastSample {
    /// The labels, the metric's name included.
    pub labels: Labels,
    /// When.
    pub t: TimestampMs,
    /// The value.
    pub value: f64,
}

/// Runs queries.
pub trait RuleQuerier: Send + Sync {
    /// Evaluates an expression at one time. A scalar is one element without labels; the order of a sort is kept.
    /// Strings and range vectors are errors. The error's text is shown to users.
    fn instant<'a>(
        &'a self,
        kind: GroupKind,
        expr: &'a str,
        t: TimestampMs,
    ) -> BoxFuture<'a, Result<Vec<InstantSample>, String>>;

    /// The newest sample, staleness markers included, of each metric series that matches, between two times.
    fn last_samples<'a>(
        &'a self,
        matchers: &'a [Matcher],
        from: TimestampMs,
        to: TimestampMs,
    ) -> BoxFuture<'a, Result<Vec<LastSample>, String>>;
}

/// What became of a batch of samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AppendReport {
    /// Samples refused as out of order, too old or duplicate.
    pub refused: usize,
    /// Why the first of them was.
    pub first_reason: Option<String>,
}

/// Writes samples to the metrics store.
pub trait RuleAppender: Send + Sync {
    /// Appends the results of some rules at one time, all in one batch; gives a report for each of them, in order. A sample
    /// older than the newest of its series must be refused, whatever window for late samples the store has: markers of
    /// series that moved to another rule rely on it. `Err` means that nothing was written.
    fn append(
        &self,
        results: Vec<Vec<InstantSample>>,
        t: TimestampMs,
    ) -> BoxFuture<'_, Result<Vec<AppendReport>, String>>;
}

/// Keeps what must survive a restart.
pub trait RuleStateKeeper: Send + Sync {
    /// Writes the alerts of rules, each in the place of what was kept of that rule; a rule without alerts is forgotten. When it
    /// returns `Ok` all of it is on disk.
    fn keep(&self, rules: Vec<RuleSnapshot>) -> BoxFuture<'_, Result<(), String>>;
}

/// Takes alerts: firing ones again and again, resolved ones for a while.
pub trait AlertSink: Send + Sync {
    /// Hands alerts over. Must not block.
    fn send(&self, alerts: Vec<Alert>);
}

/// An alert that went from one state to another.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// The rule file.
    pub file: String,
    /// The group.
    pub group: String,
    /// The rule, which is the alert's name.
    pub rule: String,
    /// The alert's labels.
    pub labels: Labels,
    /// The alert's annotations.
    pub annotations: Labels,
    /// Before.
    pub from: AlertState,
    /// After.
    pub to: AlertState,
    /// The value at that evaluation, or the last one that there was.
    pub value: f64,
    /// The time of the evaluation.
    pub at: TimestampMs,
}

/// Is told of every change of state.
pub trait TransitionObserver: Send + Sync {
    /// Must not block.
    fn transition(&self, transition: &Transition);
}

/// Nobody listens.
impl TransitionObserver for () {
    fn transition(&self, _: &Transition) {}
}
