//! `| level="error" and duration > 1s`: conditions on labels.
//!
//! A condition on a number, duration, size or address drops a line that has no such label; a value that cannot be read keeps
//! the line and marks it with `__error__`.

use crate::logql::ast::{CompareOp, LabelFilter};
use crate::logql::labels::LineLabels;
use crate::logql::lex::{parse_bytes, parse_go_duration_ns};
use crate::logql::stages::ip::IpPattern;
use crate::model::Matcher;

/// A compiled condition.
#[derive(Clone, Debug)]
pub enum CompiledLabelFilter {
    /// Both sides; both are evaluated, so that errors of either are seen.
    And(Box<CompiledLabelFilter>, Box<CompiledLabelFilter>),
    /// Either side; the right one only where the left fails.
    Or(Box<CompiledLabelFilter>, Box<CompiledLabelFilter>),
    /// A condition on one label.
    One(LabelTest),
}

/// A condition on one label.
#[derive(Clone, Debug)]
pub struct LabelTest {
    /// The label.
    pub label: String,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Text(Matcher),
    Number(CompareOp, f64),
    Duration(CompareOp, i64),
    Bytes(CompareOp, u64),
    Ip { negative: bool, pattern: IpPattern },
}

/// What a condition says about a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The line stays.
    Keep,
    /// It goes.
    Drop,
    /// The value cannot be read, for this reason; the line stays and is marked.
    Fail(String),
}

impl Verdict {
    fn keep_if(holds: bool) -> Self {
        if holds { Verdict::Keep } else { Verdict::Drop }
    }
}

const FAILED: &str = "LabelFilterErr";

impl LabelTest {
    /// Judges a value; `None` where there is no such label.
    pub fn judge(&self, value: Option<&str>) -> Verdict {
        if let Test::Text(m) = &self.test {
            return Verdict::keep_if(m.matches(value.unwrap_or("")));
        }
        let Some(text) = value else { return Verdict::Drop };
        let holds = match &self.test {
            Test::Text(_) => Ok(true),
            Test::Number(op, n) => parse_float(text).map(|x| op.holds(&x, n)),
            Test::Duration(op, nanos) => parse_go_duration_ns(text)
                .map(|x| op.holds(&x, nanos))
                .ok_or_else(|| format!("time: invalid duration {text:?}")),
            Test::Bytes(op, bytes) => {
                parse_bytes(text).map(|x| op.holds(&x, bytes)).ok_or_else(|| format!("unhandled size name: {text}"))
            }
            // The value may hold more than the address, a port for example.
            Test::Ip { negative, pattern } => Ok(pattern.found_in(text) != *negative),
        };
        holds.map_or_else(Verdict::Fail, Verdict::keep_if)
    }

    /// Whether it keeps every line that has an error, whatever the value.
    pub fn minds_errors(&self) -> bool {
        matches!(self.test, Test::Ip { .. })
    }

    /// Whether there are values that it cannot read.
    pub fn can_fail(&self) -> bool {
        matches!(self.test, Test::Number(..) | Test::Duration(..) | Test::Bytes(..))
    }

    /// For conditions on numbers: whether a whole number satisfies it. It is what [`LabelTest::judge`] says of its digits.
    pub fn judge_integer(&self, value: i64) -> Option<bool> {
        match &self.test {
            Test::Number(op, n) => Some(op.holds(&(value as f64), n)),
            Test::Text(_) | Test::Duration(..) | Test::Bytes(..) | Test::Ip { .. } => None,
        }
    }
}

impl CompiledLabelFilter {
    /// Compiles; the error says which part is bad.
    pub fn compile(filter: &LabelFilter) -> Result<Self, String> {
        let one = |label: &str, test| CompiledLabelFilter::One(LabelTest { label: label.to_owned(), test });
        Ok(match filter {
            LabelFilter::And(a, b) => {
                CompiledLabelFilter::And(Box::new(Self::compile(a)?), Box::new(Self::compile(b)?))
            }
            LabelFilter::Or(a, b) => CompiledLabelFilter::Or(Box::new(Self::compile(a)?), Box::new(Self::compile(b)?)),
            LabelFilter::Ip { label, negative, pattern } => {
                one(label, Test::Ip { negative: *negative, pattern: IpPattern::parse(pattern)? })
            }
            LabelFilter::Text(m) => one(m.name(), Test::Text(m.clone())),
            LabelFilter::Number { label, op, value } => one(label, Test::Number(*op, *value)),
            LabelFilter::Duration { label, op, nanos } => one(label, Test::Duration(*op, *nanos)),
            LabelFilter::Bytes { label, op, bytes } => one(label, Test::Bytes(*op, *bytes)),
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
            CompiledLabelFilter::One(test) if test.minds_errors() && labels.has_error() => true,
            CompiledLabelFilter::One(test) => match test.judge(labels.get(&test.label)) {
                Verdict::Keep => true,
                Verdict::Drop => false,
                Verdict::Fail(details) => {
                    labels.fail(FAILED, &details);
                    true
                }
            },
        }
    }
}

/// Reads a number as Go does: decimal, `Inf`, `NaN`, hexadecimal integers with an exponent are not needed here.
pub fn parse_float(text: &str) -> Result<f64, String> {
    let bad = || format!("strconv.ParseFloat: parsing {text:?}: invalid syntax");
    // Rust reads "infinity" and "nan" in any case as Go does, but also accepts nothing else that Go refuses.
    text.parse().map_err(|_| bad())
}
