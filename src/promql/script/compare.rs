//! Whether what an engine returned is what a script expects. Differences are told in a sentence.

use std::collections::HashMap;

use crate::model::sample::{format_value, is_stale_nan};
use crate::model::{FloatHistogram, Labels};
use crate::promql::script::backend::{EvalValue, ScriptSample, ScriptValue, SeriesData};
use crate::promql::script::command::{Expected, TimeGrid};
use crate::promql::script::histogram_literal::format_histogram;
use crate::promql::script::histogram_sum::bucket_map;
use crate::promql::script::series_desc::SequenceValue;

/// Relative difference that is still equal; that of Prometheus' scripts.
const TOLERANCE: f64 = 1e-6;

/// Whether two values are equal up to the tolerance of scripts. NaNs are equal, a staleness marker only to another.
pub fn almost_equal(a: f64, b: f64) -> bool {
    if is_stale_nan(a) || is_stale_nan(b) {
        return is_stale_nan(a) && is_stale_nan(b);
    }
    if a == b || a.is_nan() && b.is_nan() {
        return true;
    }
    let (difference, sum) = ((a - b).abs(), a.abs() + b.abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < TOLERANCE
}

/// Whether two histograms are equal: the same buckets that hold something, with almost the same counts. The counter
/// reset hint is only looked at where `with_hint` says so.
pub fn same_histogram(want: &FloatHistogram, got: &FloatHistogram, with_hint: bool) -> bool {
    let same_side = |a: (&[_], &[f64]), b: (&[_], &[f64])| {
        let (a, b) = (bucket_map(a.0, a.1), bucket_map(b.0, b.1));
        a.len() == b.len() && a.iter().zip(&b).all(|((i, x), (j, y))| i == j && almost_equal(*x, *y))
    };
    want.schema == got.schema
        && almost_equal(want.count, got.count)
        && almost_equal(want.sum, got.sum)
        && want.custom_values == got.custom_values
        && want.zero_threshold == got.zero_threshold
        && almost_equal(want.zero_count, got.zero_count)
        && same_side((&want.positive_spans, &want.positive_buckets), (&got.positive_spans, &got.positive_buckets))
        && same_side((&want.negative_spans, &want.negative_buckets), (&got.negative_spans, &got.negative_buckets))
        && (!with_hint || want.counter_reset_hint == got.counter_reset_hint)
}

fn same_value(want: &SequenceValue, got: &ScriptValue) -> bool {
    match (want, got) {
        (SequenceValue::Float(a), ScriptValue::Float(b)) => almost_equal(*a, *b),
        (SequenceValue::Histogram { histogram, hint_given }, ScriptValue::Histogram(b)) => {
            same_histogram(histogram, b, *hint_given)
        }
        _ => false,
    }
}

fn show_wanted(v: &SequenceValue) -> String {
    match v {
        SequenceValue::Omitted => "_".to_owned(),
        SequenceValue::Float(v) => format_value(*v),
        SequenceValue::Histogram { histogram, .. } => format_histogram(histogram),
    }
}

fn show_got(v: &ScriptValue) -> String {
    match v {
        ScriptValue::Float(v) => format_value(*v),
        ScriptValue::Histogram(h) => format_histogram(h),
    }
}

fn show_samples(samples: &[ScriptSample]) -> String {
    let shown: Vec<String> = samples.iter().map(|s| format!("{}@{}", show_got(&s.value), s.t)).collect();
    shown.join(" ")
}

/// Compares a value with what is expected. `grid` holds the times of a matrix. `ordered` asks for the vector's order.
pub fn compare(expected: &Expected, grid: Option<TimeGrid>, ordered: bool, value: &EvalValue) -> Result<(), String> {
    match (expected, value) {
        (Expected::Scalar(want), EvalValue::Scalar(got)) if almost_equal(*want, *got) => Ok(()),
        (Expected::Scalar(want), EvalValue::Scalar(got)) => {
            Err(format!("expected scalar {}, got {}", format_value(*want), format_value(*got)))
        }
        (Expected::String(want), EvalValue::String(got)) if want == got => Ok(()),
        (Expected::String(want), EvalValue::String(got)) => Err(format!("expected string {want:?}, got {got:?}")),
        (Expected::Series(want), EvalValue::Vector(got)) => compare_vector(want, got, ordered),
        (Expected::Series(_), EvalValue::Matrix(_)) if ordered => {
            Err("expected an ordered result, got a matrix, which always is ordered by labels".to_owned())
        }
        (Expected::Series(want), EvalValue::Matrix(got)) => compare_matrix(want, got, grid),
        (Expected::Scalar(_), _) => Err(format!("expected a scalar, got {}", kind(value))),
        (Expected::String(_), _) => Err(format!("expected a string, got {}", kind(value))),
        (Expected::Series(_), _) => Err(format!("expected a vector or a matrix, got {}", kind(value))),
    }
}

fn kind(value: &EvalValue) -> String {
    match value {
        EvalValue::Scalar(v) => format!("scalar {}", format_value(*v)),
        EvalValue::String(s) => format!("string {s:?}"),
        EvalValue::Vector(v) => format!("a vector of {} series", v.len()),
        EvalValue::Matrix(m) => format!("a matrix of {} series", m.len()),
    }
}

fn compare_vector(
    want: &[(Labels, Vec<SequenceValue>)],
    got: &[(Labels, ScriptSample)],
    ordered: bool,
) -> Result<(), String> {
    let by_labels: HashMap<&Labels, (usize, &[SequenceValue])> =
        want.iter().enumerate().map(|(i, (l, v))| (l, (i, v.as_slice()))).collect();
    let mut seen: HashMap<&Labels, ()> = HashMap::new();
    for (at, (labels, sample)) in got.iter().enumerate() {
        let shown = show_got(&sample.value);
        let Some((place, values)) = by_labels.get(labels) else {
            return Err(format!("unexpected series {labels} with {shown}"));
        };
        if seen.insert(labels, ()).is_some() {
            return Err(format!("series {labels} is in the result twice"));
        }
        if ordered && *place != at {
            return Err(format!("expected series {labels} at position {}, it is at {}", place + 1, at + 1));
        }
        let wanted = values.first().unwrap_or(&SequenceValue::Omitted);
        if !same_value(wanted, &sample.value) {
            return Err(format!("expected {} for {labels}, got {shown}", show_wanted(wanted)));
        }
    }
    match by_labels.keys().filter(|l| !seen.contains_key(*l)).min() {
        Some(missing) => Err(format!("expected series {missing} is missing; the result has {} series", got.len())),
        None => Ok(()),
    }
}

fn compare_matrix(
    want: &[(Labels, Vec<SequenceValue>)],
    got: &[SeriesData],
    grid: Option<TimeGrid>,
) -> Result<(), String> {
    if !got.iter().is_sorted_by(|a, b| a.labels < b.labels) {
        return Err("the series of the matrix are not sorted by labels, or one is there twice".to_owned());
    }
    let by_labels: HashMap<&Labels, &[SequenceValue]> = want.iter().map(|(l, v)| (l, v.as_slice())).collect();
    for series in got {
        let labels = &series.labels;
        let shown = show_samples(&series.samples);
        let values = by_labels.get(labels).ok_or_else(|| format!("unexpected series {labels} with {shown}"))?;
        let grid = grid.ok_or("an instant evaluation returned a matrix that the script does not expect")?;
        let mut next = series.samples.iter();
        let mut t = grid.start;
        for value in *values {
            if t > grid.end {
                return Err(format!("the script expects more values of {labels} than there are steps"));
            }
            if *value != SequenceValue::Omitted {
                match next.next() {
                    Some(s) if s.t == t && same_value(value, &s.value) => {}
                    _ => {
                        let wanted = show_wanted(value);
                        return Err(format!("expected {wanted} for {labels} at {t} ms; the result has {shown}"));
                    }
                }
            }
            t = t.saturating_add(grid.step);
        }
        if let Some(s) = next.next() {
            return Err(format!("unexpected sample of {labels} at {} ms; the result has {shown}", s.t));
        }
    }
    match by_labels.keys().filter(|l| !got.iter().any(|s| s.labels == ***l)).min() {
        Some(missing) => Err(format!("expected series {missing} is missing; the result has {} series", got.len())),
        None => Ok(()),
    }
}
