//! Exemplars: a sample with labels that point elsewhere, mostly to a trace.

use crate::model::{Labels, TimestampMs};

/// One exemplar of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// The exemplar's own labels, such as `trace_id`.
    pub labels: Labels,
    /// The observed value.
    pub value: f64,
    /// When it was observed; `None` where the source gave no time.
    pub timestamp: Option<TimestampMs>,
}
