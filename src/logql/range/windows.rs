//! What the functions make of the lines in a window.

use super::Steps;
use crate::logql::ast::{RangeAggregation, RangeOp};
use crate::promql::quantile::quantile;
use crate::promql::series_set::ABSENT;

/// The values at all steps, from the differences (lines, sum) between each step and the one before, the first of which is at
/// step `first`.
pub(super) fn from_differences(r: &RangeAggregation, first: usize, d: &[(i64, f64)], steps: Steps) -> Vec<f64> {
    let seconds = r.range_ns as f64 / 1e9;
    let (mut lines, mut sum) = (0i64, 0f64);
    let mut differences = d.iter();
    (0..steps.count)
        .map(|i| {
            if i >= first
                && let Some((dl, ds)) = differences.next()
            {
                lines += dl;
                // Counts and lengths are whole numbers far below 2^53: the running sum is exact.
                sum += ds;
            }
            match r.op {
                _ if lines <= 0 => ABSENT,
                RangeOp::Rate | RangeOp::BytesRate => sum / seconds,
                _ => sum,
            }
        })
        .collect()
}

/// The values at all steps, from points of (time with the offset added, value), in any order of time.
pub(super) fn from_points(r: &RangeAggregation, mut points: Vec<(i64, f64)>, steps: Steps) -> Vec<f64> {
    points.sort_by_key(|p| p.0);
    let (mut low, mut high) = (0, 0);
    let mut scratch = Vec::new();
    (0..steps.count)
        .map(|i| {
            let t = steps.at(i);
            while points.get(high).is_some_and(|p| p.0 <= t) {
                high += 1;
            }
            while points.get(low).is_some_and(|p| p.0 <= t.saturating_sub(r.range_ns)) {
                low += 1;
            }
            match points.get(low..high) {
                Some(window) if !window.is_empty() => aggregate(r, window, t, &mut scratch),
                _ => ABSENT,
            }
        })
        .collect()
}

fn aggregate(r: &RangeAggregation, window: &[(i64, f64)], end_ns: i64, scratch: &mut Vec<f64>) -> f64 {
    let values = || window.iter().map(|p| p.1);
    match r.op {
        RangeOp::SumOverTime => values().sum(),
        RangeOp::Rate => values().sum::<f64>() / (r.range_ns as f64 / 1e9),
        RangeOp::AvgOverTime => mean(window),
        RangeOp::MinOverTime => values().reduce(|a, b| if b < a || a.is_nan() { b } else { a }).unwrap_or(f64::NAN),
        RangeOp::MaxOverTime => values().reduce(|a, b| if b > a || a.is_nan() { b } else { a }).unwrap_or(f64::NAN),
        RangeOp::StdvarOverTime => variance(window),
        RangeOp::StddevOverTime => variance(window).sqrt(),
        RangeOp::QuantileOverTime => {
            scratch.clear();
            scratch.extend(values());
            quantile(r.param.unwrap_or(f64::NAN), scratch)
        }
        RangeOp::FirstOverTime => window.first().map_or(f64::NAN, |p| p.1),
        RangeOp::LastOverTime => window.last().map_or(f64::NAN, |p| p.1),
        RangeOp::RateCounter => rate_counter(window, end_ns, r.range_ns),
        RangeOp::AbsentOverTime => 1.0,
        RangeOp::CountOverTime | RangeOp::BytesOverTime | RangeOp::BytesRate => window.len() as f64,
    }
}

/// The mean, step by step so that large values do not overflow; infinities stay what they are.
fn mean(window: &[(i64, f64)]) -> f64 {
    let (mut mean, mut n) = (0.0f64, 0.0);
    for (_, v) in window {
        n += 1.0;
        if mean.is_infinite() && (!v.is_nan() && (v.is_finite() || (*v > 0.0) == (mean > 0.0))) {
            continue;
        }
        mean += v / n - mean / n;
    }
    mean
}

/// Welford's method for the variance of the whole window.
fn variance(window: &[(i64, f64)]) -> f64 {
    let (mut squares, mut mean, mut n) = (0.0, 0.0, 0.0);
    for (_, v) in window {
        n += 1.0;
        let delta = v - mean;
        mean += delta / n;
        squares += delta * (v - mean);
    }
    squares / n
}

/// The rate of a counter, resets taken into account, extrapolated to the window `(end - range, end]` as Prometheus does it.
fn rate_counter(window: &[(i64, f64)], end_ns: i64, range_ns: i64) -> f64 {
    let (Some(first), Some(last)) = (window.first(), window.last()) else { return 0.0 };
    if window.len() < 2 {
        return 0.0;
    }
    let mut increase = last.1 - first.1;
    for (a, b) in window.iter().zip(window.iter().skip(1)) {
        if b.1 < a.1 {
            increase += a.1;
        }
    }
    let seconds = |ns: i64| ns as f64 / 1e9;
    let range = seconds(range_ns);
    let sampled = seconds(last.0 - first.0);
    let between = sampled / (window.len() - 1) as f64;
    let mut to_start = seconds(first.0 - end_ns.saturating_sub(range_ns));
    let to_end = seconds(end_ns - last.0);
    if increase > 0.0 && first.1 >= 0.0 {
        to_start = to_start.min(sampled * (first.1 / increase));
    }
    let threshold = between * 1.1;
    let reach = |gap: f64| if gap < threshold { gap } else { between / 2.0 };
    increase * ((sampled + reach(to_start) + reach(to_end)) / sampled) / range
}
