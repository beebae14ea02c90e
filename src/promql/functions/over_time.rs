//! `*_over_time`.

use crate::promql::annotations::Remark;
use crate::promql::functions::over_time_histogram;
use crate::promql::functions::range::{Sample, Speaker, View};
use crate::promql::kahan;
use crate::promql::quantile::{is_invalid, quantile};

/// For functions that look at floats only: nothing without floats, a remark where histograms are passed over.
fn floats_only<'a>(view: &View<'a>, speaker: &mut Speaker<'_>) -> Option<&'a [f64]> {
    if view.v.is_empty() {
        return None;
    }
    if !view.ht.is_empty() {
        speaker.say(Remark::HistogramIgnoredInMixedRange);
    }
    Some(view.v)
}

pub(super) fn sum(view: &View<'_>, speaker: &mut Speaker<'_>) -> Option<Sample> {
    if view.v.is_empty() || !view.ht.is_empty() {
        return over_time_histogram::sum(view, speaker);
    }
    let (mut s, mut c) = (0.0, 0.0);
    for v in view.v {
        (s, c) = kahan::add(*v, s, c);
    }
    Some(if f64::is_infinite(s) { s } else { s + c }.into())
}

/// The mean as the quotient of sum and count; where the sum overflows, from there on incrementally.
pub(super) fn avg(view: &View<'_>, speaker: &mut Speaker<'_>) -> Option<Sample> {
    if view.v.is_empty() || !view.ht.is_empty() {
        return over_time_histogram::avg(view, speaker);
    }
    let (first, rest) = view.v.split_first()?;
    let (mut sum, mut c, mut mean, mut incremental) = (*first, 0.0, 0.0, false);
    for (i, v) in rest.iter().enumerate() {
        let n = (i + 2) as f64;
        if !incremental {
            let (new_sum, new_c) = kahan::add(*v, sum, c);
            if !f64::is_infinite(new_sum) {
                (sum, c) = (new_sum, new_c);
                continue;
            }
            incremental = true;
            mean = sum / (n - 1.0);
            c /= n - 1.0;
        }
        let q = (n - 1.0) / n;
        (mean, c) = kahan::add(v / n, q * mean, q * c);
    }
    let n = view.v.len() as f64;
    Some(if incremental { mean + c } else { sum / n + c / n }.into())
}

pub(super) fn extreme(view: &View<'_>, better: impl Fn(f64, f64) -> bool, speaker: &mut Speaker<'_>) -> Option<Sample> {
    let mut best = *floats_only(view, speaker)?.first()?;
    for v in view.v {
        if better(*v, best) || best.is_nan() {
            best = *v;
        }
    }
    Some(best.into())
}

pub(super) fn time_of(view: &View<'_>, better: impl Fn(f64, f64) -> bool, speaker: &mut Speaker<'_>) -> Option<Sample> {
    let mut best = *floats_only(view, speaker)?.first()?;
    let mut at = *view.t.first()?;
    for (t, v) in view.t.iter().zip(view.v) {
        if better(*v, best) || best.is_nan() {
            (best, at) = (*v, *t);
        }
    }
    Some((at as f64 / 1000.0).into())
}

pub(super) fn variance(view: &View<'_>, speaker: &mut Speaker<'_>) -> Option<f64> {
    let (mut n, mut mean, mut c_mean, mut aux, mut c_aux) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for v in floats_only(view, speaker)? {
        n += 1.0;
        let delta = v - (mean + c_mean);
        (mean, c_mean) = kahan::add(delta / n, mean, c_mean);
        (aux, c_aux) = kahan::add(delta * (v - (mean + c_mean)), aux, c_aux);
    }
    Some((aux + c_aux) / n)
}

pub(super) fn first(view: &View<'_>) -> Option<Sample> {
    match (view.t.first(), view.ht.first()) {
        (Some(f), h) if h.is_none_or(|h| f < h) => view.v.first().map(|v| (*v).into()),
        _ => view.h.first().map(|h| Sample::Histogram(h.clone())),
    }
}

pub(super) fn last(view: &View<'_>) -> Option<Sample> {
    match (view.t.last(), view.ht.last()) {
        (Some(f), h) if h.is_none_or(|h| h < f) => view.v.last().map(|v| (*v).into()),
        _ => view.h.last().map(|h| Sample::Histogram(h.clone())),
    }
}

pub(super) fn time_of_first(view: &View<'_>) -> Option<Sample> {
    let t = view.t.first().into_iter().chain(view.ht.first()).min()?;
    Some((*t as f64 / 1000.0).into())
}

pub(super) fn time_of_last(view: &View<'_>) -> Option<Sample> {
    let t = view.t.last().into_iter().chain(view.ht.last()).max()?;
    Some((*t as f64 / 1000.0).into())
}

pub(super) fn quantile_of(view: &View<'_>, q: f64, speaker: &mut Speaker<'_>) -> Option<Sample> {
    if view.v.is_empty() {
        return None;
    }
    if is_invalid(q) {
        speaker.notes.add(Remark::InvalidQuantile(q), "", speaker.span);
    }
    let mut values = floats_only(view, speaker)?.to_vec();
    Some(quantile(q, &mut values).into())
}

/// The median of the distances from the median.
pub(super) fn mad(view: &View<'_>, speaker: &mut Speaker<'_>) -> Option<Sample> {
    let mut values = floats_only(view, speaker)?.to_vec();
    if values.iter().any(|v| v.is_nan()) {
        return Some(f64::NAN.into());
    }
    let median = quantile(0.5, &mut values);
    values.iter_mut().for_each(|v| *v = (*v - median).abs());
    Some(quantile(0.5, &mut values).into())
}

#[cfg(test)]
mod tests {
    use crate::model::Labels;
    use crate::promql::storage::MemoryStorage;
    use crate::promql::{Engine, QueryOptions, Value};

    /// The queue of `max_over_time` and the plain loop of `sort`ed windows must agree, gaps and NaN included.
    #[test]
    fn sliding_extremes_agree_with_quantiles() {
        let mut s = MemoryStorage::new();
        let labels = Labels::from_pairs([("__name__", "gaps")]);
        let even = Labels::from_pairs([("__name__", "m")]);
        let mut x = 12345u64;
        for k in 0..300i64 {
            x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            s.add_float(&even, k * 1000, ((x >> 40) % 50) as f64, 0);
            if x >> 62 != 0 {
                s.add_float(&labels, k * 1000, ((x >> 33) % 50) as f64, 0);
            }
        }
        let ask = |q: &str| {
            let mut all = Vec::new();
            for step in [1000, 1500, 3000] {
                let r = Engine::default().range(&s, q, 0, 330_000, step, QueryOptions::default()).unwrap();
                match r.value {
                    Value::Matrix(m) => all.extend(m.into_iter().map(|s| s.floats)),
                    other => panic!("unexpected {other:?}"),
                }
            }
            all
        };
        for name in ["m", "gaps"] {
            for range in ["1s", "2s", "7s", "1m"] {
                let max = ask(&format!("max_over_time({name}[{range}])"));
                assert_eq!(max, ask(&format!("quantile_over_time(1, {name}[{range}])")), "{name} {range}");
                let min = ask(&format!("min_over_time({name}[{range}])"));
                assert_eq!(min, ask(&format!("quantile_over_time(0, {name}[{range}])")), "{name} {range}");
            }
        }
    }
}
