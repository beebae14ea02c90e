//! `deriv`, `predict_linear` (least squares), `double_exponential_smoothing`.

use crate::promql::annotations::Remark;
use crate::promql::engine::QueryError;
use crate::promql::functions::range::{Sample, Speaker, View};
use crate::promql::kahan;

/// At least two floats; a remark where histograms are passed over.
fn two_floats(view: &View<'_>, speaker: &mut Speaker<'_>) -> bool {
    if !view.v.is_empty() && !view.ht.is_empty() {
        speaker.say(Remark::HistogramIgnoredInMixedRange);
    }
    view.v.len() >= 2
}

/// Slope (per second) and value at `at` of the line that fits the floats best.
fn regression(t: &[i64], v: &[f64], at: i64) -> (f64, f64) {
    let Some(first) = v.first() else { return (f64::NAN, f64::NAN) };
    if v.iter().all(|x| x == first) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, *first) };
    }
    let (mut x, mut y, mut xy, mut x2) = ((0.0, 0.0), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0));
    for (t, v) in t.iter().zip(v) {
        let s = (t - at) as f64 / 1000.0;
        x = kahan::add(s, x.0, x.1);
        y = kahan::add(*v, y.0, y.1);
        xy = kahan::add(s * v, xy.0, xy.1);
        x2 = kahan::add(s * s, x2.0, x2.1);
    }
    let n = v.len() as f64;
    let (x, y, xy, x2) = (x.0 + x.1, y.0 + y.1, xy.0 + xy.1, x2.0 + x2.1);
    let slope = (xy - x * y / n) / (x2 - x * x / n);
    (slope, y / n - slope * x / n)
}

pub(super) fn deriv(view: &View<'_>, speaker: &mut Speaker<'_>) -> Option<Sample> {
    if !two_floats(view, speaker) {
        return None;
    }
    // A time near the samples keeps the numbers small.
    Some(regression(view.t, view.v, *view.t.first()?).0.into())
}

pub(super) fn predict(view: &View<'_>, seconds: f64, speaker: &mut Speaker<'_>) -> Option<Sample> {
    if !two_floats(view, speaker) {
        return None;
    }
    let (slope, intercept) = regression(view.t, view.v, view.now);
    Some((slope * seconds + intercept).into())
}

/// Both factors must lie between 0 and 1.
pub(super) fn check_factors(scalars: &[Vec<f64>]) -> Result<(), QueryError> {
    for (factors, name, short) in
        scalars.iter().zip([("smoothing", "sf"), ("trend", "tf")]).map(|(f, (n, s))| (f, n, s))
    {
        if let Some(bad) = factors.iter().find(|f| **f <= 0.0 || **f >= 1.0) {
            return Err(QueryError::Execution(format!(
                "invalid {name} factor. Expected: 0 < {short} < 1, got: {bad:.6}"
            )));
        }
    }
    Ok(())
}

pub(super) fn double_exponential(view: &View<'_>, sf: f64, tf: f64, speaker: &mut Speaker<'_>) -> Option<Sample> {
    if !two_floats(view, speaker) {
        return None;
    }
    let v = view.v;
    let (mut s0, mut s1) = (0.0, v[0]);
    let mut b = v[1] - v[0];
    for (i, x) in v.iter().enumerate().skip(1) {
        if i > 1 {
            b = tf * (s1 - s0) + (1.0 - tf) * b;
        }
        let y = (1.0 - sf) * (s1 + b);
        (s0, s1) = (s1, sf * x + y);
    }
    Some(s1.into())
}
