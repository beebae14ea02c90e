//! The functions. Most work on one series at a time ([`per_series`]); the others need their whole argument ([`whole`]).

mod absent;
mod changes;
mod dates;
mod even;
mod extended_rate;
mod histogram;
mod histogram_buckets;
mod info;
pub(crate) mod interpolate;
mod label;
mod linear;
mod math;
mod over_time;
mod over_time_histogram;
mod range;
mod rate;
mod sliding_extreme;
mod sort;

use crate::promql::ast::{Call, Expr, ExprKind};
use crate::promql::engine::{Context, Evaluated, QueryError};
use crate::promql::selector::{self, SampleTime};
use crate::promql::series_set::{SeriesSet, StepSeries, StepValues, Steps};
use crate::promql::source::Source;

use crate::model::Labels;

/// Argument `i`; the checker has made sure that it is there.
pub(crate) fn arg(call: &Call, i: usize) -> Result<&Expr, QueryError> {
    call.args.get(i).ok_or_else(|| QueryError::Execution(format!("{}() needs more arguments", call.func)))
}

/// Argument `i`, a string.
pub(crate) fn string_arg(call: &Call, i: usize) -> Result<&str, QueryError> {
    match &arg(call, i)?.unwrap_parens().kind {
        ExprKind::String(s) => Ok(s),
        _ => Err(QueryError::Execution(format!("argument {} of {}() must be a string literal", i + 1, call.func))),
    }
}

/// Functions whose result is a scalar, or that look at several series at once. `None` for all others.
pub(crate) fn whole(
    cx: &Context<'_>,
    expr: &Expr,
    call: &Call,
    steps: &Steps,
) -> Result<Option<Evaluated>, QueryError> {
    let seconds = |ms: i64| ms as f64 / 1000.0;
    let constant = |v: f64| Ok(Some(Evaluated::Scalar(vec![v; steps.count])));
    let vector = |mut set: SeriesSet| {
        cx.finish(&mut set)?;
        Ok(Some(Evaluated::Vector(set)))
    };
    match call.func {
        "time" => Ok(Some(Evaluated::Scalar(steps.times().map(seconds).collect()))),
        "pi" => constant(std::f64::consts::PI),
        "start" => constant(seconds(cx.times.start)),
        "end" => constant(seconds(cx.times.end)),
        "step" => constant(seconds(cx.times.step)),
        "range" => constant(seconds(cx.times.end - cx.times.start)),
        "min_of" | "max_of" => {
            let (a, b) = (cx.scalar(arg(call, 0)?, steps)?, cx.scalar(arg(call, 1)?, steps)?);
            let pick = |a: f64, b: f64| match call.func {
                _ if a.is_nan() || b.is_nan() => f64::NAN,
                "min_of" => a.min(b),
                _ => a.max(b),
            };
            Ok(Some(Evaluated::Scalar(a.iter().zip(&b).map(|(a, b)| pick(*a, *b)).collect())))
        }
        "scalar" => {
            let set = cx.vector(arg(call, 0)?, steps)?;
            Ok(Some(Evaluated::Scalar(math::scalar_of(&set, steps.count))))
        }
        "vector" => {
            let floats = cx.scalar(arg(call, 0)?, steps)?;
            let values = StepValues { floats, histograms: None };
            vector(SeriesSet::new(vec![StepSeries { labels: Labels::empty(), drop_name: false, values }]))
        }
        "absent" => vector(absent::absent(cx, call, steps)?),
        "absent_over_time" => vector(absent::absent_over_time(cx, call, steps)?),
        "label_replace" => vector(label::replace(cx, call, steps)?),
        "label_join" => vector(label::join(cx, call, steps)?),
        "sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc" => vector(sort::sort(cx, expr, call, steps)?),
        "histogram_quantile" => vector(histogram::quantile(cx, call, steps)?),
        "histogram_quantiles" => vector(histogram::quantiles(cx, call, steps)?),
        "histogram_fraction" => vector(histogram::fraction(cx, call, steps)?),
        "info" => vector(info::info(cx, call, steps)?),
        _ if dates::of(call.func).is_some() && call.args.is_empty() => {
            let Some(f) = dates::of(call.func) else { return Ok(None) };
            let floats = steps.times().map(|t| f(seconds(t).floor())).collect();
            let values = StepValues { floats, histograms: None };
            vector(SeriesSet::new(vec![StepSeries { labels: Labels::empty(), drop_name: false, values }]))
        }
        _ => Ok(None),
    }
}

/// Functions that make of each series one of the same labels. `None` for all others.
pub(crate) fn per_series<'s>(
    cx: &'s Context<'_>,
    call: &'s Call,
    steps: &Steps,
) -> Result<Option<Source<'s>>, QueryError> {
    if let Some(f) = range::RangeFunction::of(call.func) {
        return range::source(cx, call, f, steps).map(Some);
    }
    if let Some(f) = math::of(call.func) {
        let source = cx.dropping_names(cx.source(arg(call, 0)?, steps)?);
        return Ok(Some(source.map(move |v, _| crate::promql::engine::map_floats(v, f))));
    }
    if let (Some(f), Some(_)) = (dates::of(call.func), call.args.first()) {
        let source = cx.dropping_names(cx.source(arg(call, 0)?, steps)?);
        return Ok(Some(source.map(move |v, _| crate::promql::engine::map_floats(v, f))));
    }
    if let Some(f) = histogram::of(call.func) {
        let source = cx.dropping_names(cx.source(arg(call, 0)?, steps)?);
        return Ok(Some(source.map(move |v, _| {
            let mut out = StepValues::absent(v.len());
            for i in 0..v.len() {
                if let Some(h) = v.histogram(i) {
                    out.set_float(i, f(h));
                }
            }
            out
        })));
    }
    match call.func {
        "clamp" | "clamp_min" | "clamp_max" | "round" => math::with_scalars(cx, call, steps).map(Some),
        "timestamp" | "start_timestamp" => {
            let which = if call.func == "timestamp" { SampleTime::Taken } else { SampleTime::Started };
            let inner = arg(call, 0)?.unwrap_parens();
            if let ExprKind::Vector(v) = &inner.kind {
                return selector::time_source(cx, v, which, steps).map(Some);
            }
            let source = cx.dropping_names(cx.source(inner, steps)?);
            let times: Vec<f64> = steps.times().map(|t| t as f64 / 1000.0).collect();
            Ok(Some(source.map(move |v, _| {
                let mut out = StepValues::absent(v.len());
                if which == SampleTime::Taken {
                    for (i, t) in times.iter().enumerate().filter(|(i, _)| v.is_present(*i)) {
                        out.set_float(i, *t);
                    }
                }
                out
            })))
        }
        _ => Ok(None),
    }
}
