//! What a unit test of rules found wrong, in words like promtool's.

use std::fmt;

use crate::config::Problem;
use crate::model::sample::format_value;
use crate::model::{Labels, TimestampMs};
use crate::text::duration::format_ms;

/// Something that is not as the test says, or that keeps it from running.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// The test file or a rule file is wrong.
    File(Problem),
    /// A rule could not be evaluated.
    Rule {
        /// The name of the test, may be empty.
        test: String,
        /// The rule.
        rule: String,
        /// Milliseconds since the start.
        time: TimestampMs,
        /// Why.
        reason: String,
    },
    /// Other alerts fire than expected.
    Alerts {
        /// The name of the test, may be empty.
        test: String,
        /// The alert's name.
        alertname: String,
        /// Milliseconds since the start.
        time: TimestampMs,
        /// What should fire.
        expected: Vec<FiringAlert>,
        /// What does.
        got: Vec<FiringAlert>,
    },
    /// An expression could not be evaluated.
    Query {
        /// The name of the test, may be empty.
        test: String,
        /// The expression.
        expr: String,
        /// Milliseconds since the start.
        time: TimestampMs,
        /// Why.
        reason: String,
    },
    /// An expression gives something else than expected.
    Samples {
        /// The name of the test, may be empty.
        test: String,
        /// The expression.
        expr: String,
        /// Milliseconds since the start.
        time: TimestampMs,
        /// What it should give.
        expected: Vec<ShownSample>,
        /// What it gives.
        got: Vec<ShownSample>,
    },
}

/// An alert as tests compare it.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub struct FiringAlert {
    /// The labels, `alertname` included.
    pub labels: Labels,
    /// The annotations.
    pub annotations: Labels,
}

/// A sample as tests compare it.
#[derive(Clone, Debug, PartialEq)]
pub struct ShownSample {
    /// The labels.
    pub labels: Labels,
    /// The value of a float, 0 for a histogram.
    pub value: f64,
    /// The histogram in the notation of test files, empty for a float.
    pub histogram: String,
}

impl fmt::Display for ShownSample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.histogram.is_empty() {
            write!(f, "{} {}", self.labels, format_value(self.value))
        } else {
            write!(f, "{} {}", self.labels, self.histogram)
        }
    }
}

fn write_alerts(f: &mut fmt::Formatter<'_>, alerts: &[FiringAlert]) -> fmt::Result {
    f.write_str("[")?;
    for (i, alert) in alerts.iter().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        write!(f, "{comma}\n            {i}:\n              Labels:{}", alert.labels)?;
        write!(f, "\n              Annotations:{}", alert.annotations)?;
    }
    f.write_str(if alerts.is_empty() { "]" } else { "\n            ]" })
}

fn write_samples(f: &mut fmt::Formatter<'_>, samples: &[ShownSample]) -> fmt::Result {
    if samples.is_empty() {
        return f.write_str("nil");
    }
    for (i, sample) in samples.iter().enumerate() {
        write!(f, "{}{sample}", if i > 0 { ", " } else { "" })?;
    }
    Ok(())
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let test = match self {
            Failure::File(_) => "",
            Failure::Rule { test, .. }
            | Failure::Alerts { test, .. }
            | Failure::Query { test, .. }
            | Failure::Samples { test, .. } => test,
        };
        if !test.is_empty() {
            writeln!(f, "    name: {test},")?;
        }
        match self {
            Failure::File(problem) => write!(f, "{problem}"),
            Failure::Rule { rule, time, reason, .. } => {
                write!(f, "    rule: {rule}, time: {}, err: {reason}", format_ms(*time))
            }
            Failure::Alerts { alertname, time, expected, got, .. } => {
                write!(f, "    alertname: {alertname}, time: {},\n        exp:", format_ms(*time))?;
                write_alerts(f, expected)?;
                f.write_str(",\n        got:")?;
                write_alerts(f, got)
            }
            Failure::Query { expr, time, reason, .. } => {
                write!(f, "    expr: {expr:?}, time: {}, err: {reason}", format_ms(*time))
            }
            Failure::Samples { expr, time, expected, got, .. } => {
                write!(f, "    expr: {expr:?}, time: {},\n        exp: ", format_ms(*time))?;
                write_samples(f, expected)?;
                f.write_str("\n        got: ")?;
                write_samples(f, got)
            }
        }
    }
}
