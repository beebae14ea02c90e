//! Operators on single values.

use crate::model::FloatHistogram;
use crate::model::histogram::CounterResetHint;
use crate::promql::annotations::{Annotations, Combining, Remark};
use crate::promql::ast::BinaryOp;
use crate::promql::lex::operator_text;
use crate::promql::series_set::StepValue;
use crate::text::span::Span;

/// What came out for one pair of values.
pub(super) enum Outcome {
    /// The types do not fit the operator.
    Nothing,
    Float(f64),
    Histogram(FloatHistogram),
    /// The answer of a comparison.
    Compared(bool),
}

/// An operator on two floats; comparisons give 0 or 1. Operators that are not for floats give NaN.
pub fn scalar(op: BinaryOp, l: f64, r: f64) -> f64 {
    let yes = |b: bool| f64::from(u8::from(b));
    match op {
        BinaryOp::Add => l + r,
        BinaryOp::Sub => l - r,
        BinaryOp::Mul => l * r,
        BinaryOp::Div => l / r,
        BinaryOp::Mod => l % r,
        BinaryOp::Pow => l.powf(r),
        BinaryOp::Atan2 => l.atan2(r),
        BinaryOp::Equal => yes(l == r),
        BinaryOp::NotEqual => yes(l != r),
        BinaryOp::Greater => yes(l > r),
        BinaryOp::Less => yes(l < r),
        BinaryOp::GreaterEqual => yes(l >= r),
        BinaryOp::LessEqual => yes(l <= r),
        BinaryOp::And | BinaryOp::Or | BinaryOp::Unless | BinaryOp::TrimUpper | BinaryOp::TrimLower => f64::NAN,
    }
}

pub(super) fn element(
    op: BinaryOp,
    l: StepValue<'_>,
    r: StepValue<'_>,
    notes: &mut Annotations,
    span: Span,
) -> Outcome {
    let mut misfit = |left, right| {
        notes.add(Remark::IncompatibleTypes { left, operator: operator_text(op), right }, "", span);
        Outcome::Nothing
    };
    match (l, r) {
        (StepValue::Float(l), StepValue::Float(r)) => match op {
            BinaryOp::TrimUpper | BinaryOp::TrimLower => misfit("float", "float"),
            _ if op.is_comparison() => Outcome::Compared(scalar(op, l, r) != 0.0),
            _ => Outcome::Float(scalar(op, l, r)),
        },
        (StepValue::Float(l), StepValue::Histogram(r)) => match op {
            BinaryOp::Mul => Outcome::Histogram(scaled(r, l)),
            _ => misfit("float", "histogram"),
        },
        (StepValue::Histogram(l), StepValue::Float(r)) => match op {
            BinaryOp::Mul => Outcome::Histogram(scaled(l, r)),
            BinaryOp::Div => {
                let mut h = (**l).clone();
                h.divide(r);
                Outcome::Histogram(h)
            }
            BinaryOp::TrimUpper => Outcome::Histogram(l.trim_upper(r)),
            BinaryOp::TrimLower => Outcome::Histogram(l.trim_lower(r)),
            _ => misfit("histogram", "float"),
        },
        (StepValue::Histogram(l), StepValue::Histogram(r)) => match op {
            BinaryOp::Add | BinaryOp::Sub => combine(op, l, r, notes, span),
            BinaryOp::Equal => Outcome::Compared(l.same_observations(r)),
            BinaryOp::NotEqual => Outcome::Compared(!l.same_observations(r)),
            _ => misfit("histogram", "histogram"),
        },
    }
}

fn scaled(h: &FloatHistogram, by: f64) -> FloatHistogram {
    let mut h = h.clone();
    h.scale(by);
    h
}

fn combine(op: BinaryOp, l: &FloatHistogram, r: &FloatHistogram, notes: &mut Annotations, span: Span) -> Outcome {
    let mut h = l.clone();
    let (outcome, during) = match op {
        BinaryOp::Sub => (h.sub(r), Combining::Subtraction),
        _ => (h.add(r), Combining::Addition),
    };
    match outcome {
        Err(_) => {
            notes.add(Remark::IncompatibleBuckets { operator: operator_text(op) }, "", span);
            Outcome::Nothing
        }
        Ok(o) => {
            notes.add_outcome(o, during, span);
            if op == BinaryOp::Sub {
                // A difference can fall, so it is no counter any more.
                h.counter_reset_hint = CounterResetHint::Gauge;
            }
            h.compact();
            Outcome::Histogram(h)
        }
    }
}
