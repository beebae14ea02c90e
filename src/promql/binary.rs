//! Binary operators. Works on step series alone, so that other query languages can use it.

mod elements;
mod matching;
mod set_operators;

use std::sync::Arc;

use crate::promql::annotations::Annotations;
use crate::promql::ast::BinaryOp;
use crate::promql::series_set::{ABSENT, StepValue, StepValues, is_absent};
use crate::text::span::Span;

pub use elements::scalar;
pub(crate) use matching::matching_bytes;
pub use matching::{VectorOp, Work, vectors};
pub use set_operators::set_operation;

use elements::{Outcome, element};

/// Whether the result measures something else than the operands, so that it loses the metric name.
pub fn changes_metric(op: BinaryOp) -> bool {
    matches!(
        op,
        BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Pow | BinaryOp::Atan2
    )
}

/// The values with their sign turned.
pub fn negate(mut v: StepValues) -> StepValues {
    for x in &mut v.floats {
        if !is_absent(*x) {
            *x = -*x;
        }
    }
    for h in v.histograms.iter_mut().flatten().flatten() {
        Arc::make_mut(h).scale(-1.0);
    }
    v
}

/// How a vector meets a scalar.
#[derive(Clone, Copy, Debug)]
pub struct ScalarSide {
    /// Whether the scalar is the left operand.
    pub left: bool,
    /// Whether a comparison yields 0 or 1 instead of filtering.
    pub return_bool: bool,
}

/// Applies an operator to a series and a scalar, step by step. `span` is that of the whole operation, for remarks.
pub fn with_scalar(
    op: BinaryOp,
    mut v: StepValues,
    scalar_steps: &[f64],
    side: ScalarSide,
    notes: &mut Annotations,
    span: Span,
) -> StepValues {
    let comparison = op.is_comparison();
    if v.histograms.is_none() && !matches!(op, BinaryOp::TrimUpper | BinaryOp::TrimLower) {
        for (x, s) in v.floats.iter_mut().zip(scalar_steps) {
            if is_absent(*x) {
                continue;
            }
            let (l, r) = if side.left { (*s, *x) } else { (*x, *s) };
            let result = scalar(op, l, r);
            if !comparison || side.return_bool {
                *x = result;
            } else if result == 0.0 {
                *x = ABSENT;
            }
        }
        return v;
    }
    let mut out = StepValues::absent(v.len());
    for (i, s) in scalar_steps.iter().enumerate().take(v.len()) {
        let Some(x) = v.get(i) else { continue };
        let s = StepValue::Float(*s);
        let (l, r) = if side.left { (s, x) } else { (x, s) };
        match element(op, l, r, notes, span) {
            Outcome::Nothing => {}
            Outcome::Float(f) => out.set_float(i, f),
            Outcome::Histogram(h) => out.set_histogram(i, Arc::new(h)),
            Outcome::Compared(yes) if side.return_bool => out.set_float(i, f64::from(u8::from(yes))),
            // The vector's value is kept, whichever side it stands on.
            Outcome::Compared(true) => out.set(i, x),
            Outcome::Compared(false) => {}
        }
    }
    out
}
