//! Functions on single floats.

use crate::promql::ast::Call;
use crate::promql::engine::{Context, QueryError};
use crate::promql::functions::arg;
use crate::promql::series_set::{SeriesSet, StepValues, Steps, is_absent};
use crate::promql::source::Source;

/// The function of this name.
pub(super) fn of(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "ceil" => f64::ceil,
        "floor" => f64::floor,
        "exp" => f64::exp,
        "sqrt" => f64::sqrt,
        "ln" => f64::ln,
        "log2" => f64::log2,
        "log10" => f64::log10,
        "sin" => f64::sin,
        "cos" => f64::cos,
        "tan" => f64::tan,
        "asin" => f64::asin,
        "acos" => f64::acos,
        "atan" => f64::atan,
        "sinh" => f64::sinh,
        "cosh" => f64::cosh,
        "tanh" => f64::tanh,
        "asinh" => f64::asinh,
        "acosh" => f64::acosh,
        "atanh" => f64::atanh,
        "rad" => |v| v * std::f64::consts::PI / 180.0,
        "deg" => |v| v * 180.0 / std::f64::consts::PI,
        "sgn" => |v| match v {
            _ if v < 0.0 => -1.0,
            _ if v > 0.0 => 1.0,
            _ => v,
        },
        _ => return None,
    })
}

/// The only float of each step, NaN where there is none or more than one.
pub(super) fn scalar_of(set: &SeriesSet, steps: usize) -> Vec<f64> {
    (0..steps)
        .map(|i| {
            let mut floats = set.series.iter().filter_map(|s| s.values.float(i));
            match (floats.next(), floats.next()) {
                (Some(v), None) => v,
                _ => f64::NAN,
            }
        })
        .collect()
}

/// NaN if either is NaN, as Go's `math.Min` and `math.Max`.
fn go_min(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }
}

fn go_max(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

/// `clamp`, `clamp_min`, `clamp_max`, `round`: a vector and scalars.
pub(super) fn with_scalars<'s>(cx: &'s Context<'_>, call: &'s Call, steps: &Steps) -> Result<Source<'s>, QueryError> {
    let scalar = |i: usize| cx.scalar(arg(call, i)?, steps);
    let constant = |v: f64| vec![v; steps.count];
    let (lower, upper) = match call.func {
        "clamp" => (scalar(1)?, scalar(2)?),
        "clamp_min" => (scalar(1)?, constant(f64::INFINITY)),
        "clamp_max" => (constant(f64::NEG_INFINITY), scalar(1)?),
        _ if call.args.len() > 1 => (scalar(1)?, Vec::new()),
        _ => (constant(1.0), Vec::new()),
    };
    let is_round = call.func == "round";
    let source = cx.dropping_names(cx.source(arg(call, 0)?, steps)?);
    Ok(source.map(move |mut v, _| {
        v.histograms = None;
        let mut out = StepValues::absent(v.len());
        for (i, x) in v.floats.iter().enumerate().filter(|(_, x)| !is_absent(**x)) {
            let first = lower.get(i).copied().unwrap_or(f64::NAN);
            if is_round {
                // The inverse loses less than a division by a small number.
                let inverse = 1.0 / first;
                out.set_float(i, (x * inverse + 0.5).floor() / inverse);
                continue;
            }
            let upper = upper.get(i).copied().unwrap_or(f64::NAN);
            // With the bounds the wrong way round nothing is left.
            let crossed = upper < first;
            if !crossed {
                out.set_float(i, go_max(first, go_min(upper, *x)));
            }
        }
        out
    }))
}
