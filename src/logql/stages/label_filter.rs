//! `| level="error" and duration > 1s`: conditions on labels.
//!
//! A condition on a number, duration, size or address drops a line that has no such label; a value that cannot be read keeps
//! the line and marks it with `__error__`.

use crate::logql::ast::LabelFilter;
use crate::logql::labels::LineLabels;
use crate::logql::lex::{parse_bytes, parse_go_duration_ns};
use crate::logql::stages::ip::IpPattern;

/// A compiled condition.
#[derive(Clone, Debug)]
pub enum CompiledLabelFilter {
    /// Both sides; both are evaluated, so that errors of either are seen.
    And(Box<CompiledLabelFilter>, Box<CompiledLabelFilter>),
    /// Either side; the right one only where the left fails.
    Or(Box<CompiledLabelFilter>, Box<CompiledLabelFilter>),
    /// An address.
    Ip(String, bool, IpPattern),
    /// Everything else needs no preparation.
    Plain(LabelFilter),
}

const FAILED: &str = "LabelFilterErr";

impl CompiledLabelFilter {
    /// Compiles; the error says which part is bad.
    pub fn compile(filter: &LabelFilter) -> Result<Self, String> {
        Ok(match filter {
            LabelFilter::And(a, b) => {
                CompiledLabelFilter::And(Box::new(Self::compile(a)?), Box::new(Self::compile(b)?))
            }
            LabelFilter::Or(a, b) => CompiledLabelFilter::Or(Box::new(Self::compile(a)?), Box::new(Self::compile(b)?)),
            LabelFilter::Ip { label, negative, pattern } => {
                CompiledLabelFilter::Ip(label.clone(), *negative, IpPattern::parse(pattern)?)
            }
            LabelFilter::Text(_)
            | LabelFilter::Number { .. }
            | LabelFilter::Duration { .. }
            | LabelFilter::Bytes { .. } => CompiledLabelFilter::Plain(filter.clone()),
        })
    }

    /// Whether the line passes; may mark it with an error.
    pub fn passes(&self, labels: &mut LineLabels) -> bool {
        match self {
            CompiledLabelFilter::And(a, b) => {
                let left = a.passes(labels);
                b.passes(labels) && left
            }
            CompiledLabelFilter::Or(a, b) => a.passes(labels) || b.passes(labels),
            CompiledLabelFilter::Ip(label, negative, pattern) => {
                let Some(value) = labels.get(label) else { return false };
                match pattern.matches_value(value) {
                    Some(inside) => inside != *negative,
                    // A value that is no address is neither inside nor outside; Loki drops it.
                    None => false,
                }
            }
            CompiledLabelFilter::Plain(LabelFilter::Text(m)) => m.matches(labels.get(m.name()).unwrap_or("")),
            CompiledLabelFilter::Plain(LabelFilter::Number { label, op, value }) => {
                numeric(labels, label, parse_float, |x| op.holds(&x, value))
            }
            CompiledLabelFilter::Plain(LabelFilter::Duration { label, op, nanos }) => {
                let read = |t: &str| parse_go_duration_ns(t).ok_or_else(|| format!("time: invalid duration {t:?}"));
                numeric(labels, label, read, |x| op.holds(&x, nanos))
            }
            CompiledLabelFilter::Plain(LabelFilter::Bytes { label, op, bytes }) => {
                let read = |t: &str| parse_bytes(t).ok_or_else(|| format!("unhandled size name: {t}"));
                numeric(labels, label, read, |x| op.holds(&x, bytes))
            }
            CompiledLabelFilter::Plain(LabelFilter::And(..) | LabelFilter::Or(..) | LabelFilter::Ip { .. }) => true,
        }
    }
}

fn numeric<T>(
    labels: &mut LineLabels,
    label: &str,
    read: impl Fn(&str) -> Result<T, String>,
    holds: impl Fn(T) -> bool,
) -> bool {
    let Some(text) = labels.get(label) else { return false };
    match read(text) {
        Ok(value) => holds(value),
        Err(details) => {
            labels.fail(FAILED, &details);
            true
        }
    }
}

/// Reads a number as Go does: decimal, `Inf`, `NaN`, hexadecimal integers with an exponent are not needed here.
pub fn parse_float(text: &str) -> Result<f64, String> {
    let bad = || format!("strconv.ParseFloat: parsing {text:?}: invalid syntax");
    // Rust reads "infinity" and "nan" in any case as Go does, but also accepts nothing else that Go refuses.
    text.parse().map_err(|_| bad())
}
