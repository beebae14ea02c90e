//! The instant selector with `smoothed`: values between two samples are interpolated.

use std::sync::Arc;

use crate::model::histogram::CounterResetHint;
use crate::model::{Column, FloatHistogram};
use crate::promql::annotations::{Annotations, Remark};
use crate::promql::functions::interpolate;
use crate::promql::series_set::StepValues;
use crate::text::span::Span;

/// The values at `times`; samples up to `lookback` before and after are looked at. The column has no staleness markers.
pub(super) fn values(
    c: &Column,
    times: impl Iterator<Item = i64>,
    n: usize,
    lookback: i64,
    (name, span): (&str, Span),
    notes: &mut Annotations,
) -> StepValues {
    let mut out = StepValues::absent(n);
    for (k, t) in times.enumerate() {
        let inside = |times: &[i64]| {
            let from = times.partition_point(|x| *x <= t.saturating_sub(lookback));
            (from, times.partition_point(|x| *x <= t.saturating_add(lookback)).max(from))
        };
        let (f, h) = (inside(&c.t), inside(&c.ht));
        if f.0 < f.1 && h.0 < h.1 {
            notes.add(Remark::MixedFloatsHistograms, name, span);
        } else if f.0 < f.1 {
            let (ts, vs) = (&c.t[f.0..f.1], &c.v[f.0..f.1]);
            let i = ts.partition_point(|x| *x < t);
            match (i.checked_sub(1), ts.get(i)) {
                (_, Some(at)) if *at == t => out.set_float(k, vs[i]),
                (Some(p), Some(_)) => {
                    out.set_float(k, interpolate::float((ts[p], vs[p]), (ts[i], vs[i]), t, false));
                }
                (Some(p), None) => out.set_float(k, vs[p]),
                (None, _) => {}
            }
        } else if h.0 < h.1 {
            let v = histogram(&c.ht[h.0..h.1], &c.h[h.0..h.1], t, (name, span), notes);
            if let Some(v) = v {
                out.set_histogram(k, Arc::new(v));
            }
        }
    }
    out
}

fn histogram(
    ts: &[i64],
    hs: &[Arc<FloatHistogram>],
    t: i64,
    (name, span): (&str, Span),
    notes: &mut Annotations,
) -> Option<FloatHistogram> {
    let i = ts.partition_point(|x| *x < t);
    match (i.checked_sub(1), ts.get(i)) {
        (_, Some(at)) if *at == t => Some((*hs[i]).clone()),
        (Some(p), Some(_)) => {
            let (before, after) = (&hs[p], &hs[i]);
            if before.uses_custom_buckets() != after.uses_custom_buckets() {
                notes.add(Remark::MixedExponentialCustom, name, span);
                return None;
            }
            let gauge = |h: &FloatHistogram| h.counter_reset_hint == CounterResetHint::Gauge;
            let is_counter = !(gauge(before) && gauge(after));
            interpolate::histogram((ts[p], before), (ts[i], after), t, is_counter, (name, span), notes)
        }
        (Some(p), None) => {
            // What the hint says about the sample before is not true of a repetition.
            let mut h = (*hs[p]).clone();
            h.counter_reset_hint = CounterResetHint::Unknown;
            Some(h)
        }
        (None, _) => None,
    }
}
