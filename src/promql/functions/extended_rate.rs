//! `rate`, `increase`, `delta` over `anchored` and `smoothed` ranges: no extrapolation, but values at the borders.

use crate::model::FloatHistogram;
use crate::model::histogram::CounterResetHint;
use crate::promql::annotations::Remark;
use crate::promql::ast::RangeExtension;
use crate::promql::functions::interpolate;
use crate::promql::functions::range::{Sample, Speaker, View};
use crate::promql::functions::rate::Kind;

pub(super) fn value(view: &View<'_>, kind: Kind, speaker: &mut Speaker<'_>) -> Option<Sample> {
    match (view.t.is_empty(), view.ht.is_empty()) {
        (false, false) => {
            speaker.say(Remark::MixedFloatsHistograms);
            None
        }
        (false, true) => floats(view, kind).map(Sample::Float),
        (true, false) => histograms(view, kind, speaker).map(Sample::from),
        (true, true) => None,
    }
}

/// The samples that stand at the borders: the last at or before the start, and the last one, or for `smoothed` the
/// first at or after the end. `None` where the range holds nothing.
pub(super) fn borders(times: &[i64], view: &View<'_>) -> Option<(usize, usize)> {
    let (start, end) = (view.window.start, view.window.end);
    let smoothed = view.extension == RangeExtension::Smoothed;
    let mut last = times.len().checked_sub(1)?;
    let inner = times.get(..last)?;
    let first = inner.partition_point(|t| *t <= start).saturating_sub(1);
    if smoothed {
        last = inner.partition_point(|t| *t < end);
    }
    let nothing =
        times.get(last).is_none_or(|t| *t <= start) || (smoothed && times.get(first).is_none_or(|t| *t > end));
    (!nothing).then_some((first, last))
}

fn floats(view: &View<'_>, kind: Kind) -> Option<f64> {
    let (t, v) = (view.t, view.v);
    let (start, end) = (view.window.start, view.window.end);
    let (first, last) = borders(t, view)?;
    let smoothed = view.extension == RangeExtension::Smoothed;
    let point = |i: usize| (t[i], v[i]);
    let left = if smoothed && t[first] < start && first + 1 < t.len() {
        interpolate::float(point(first), point(first + 1), start, kind.is_counter)
    } else {
        v[first]
    };
    let right = if smoothed && last > 0 && t[last] > end {
        interpolate::float(point(last - 1), point(last), end, kind.is_counter)
    } else {
        v[last]
    };
    let mut out = right - left;
    if kind.is_counter {
        // Resets at the borders are part of the values there.
        let from = if t[first] <= start { first + 1 } else { first };
        let to = if t[last] >= end { last } else { last + 1 };
        let mut previous = left;
        for x in v.get(from..to).unwrap_or(&[]) {
            if *x < previous {
                out += previous;
            }
            previous = *x;
        }
        if right < previous {
            out += previous;
        }
    }
    Some(kind.per_second.map_or(out, |s| out / s))
}

fn histograms(view: &View<'_>, kind: Kind, speaker: &mut Speaker<'_>) -> Option<FloatHistogram> {
    let (t, h) = (view.ht, view.h);
    let (start, end) = (view.window.start, view.window.end);
    let (first, last) = borders(t, view)?;
    let smoothed = view.extension == RangeExtension::Smoothed;
    let gauge = |h: &FloatHistogram| h.counter_reset_hint == CounterResetHint::Gauge;
    let seen = h.get(first..=last)?;
    let custom = h[first].uses_custom_buckets();
    for x in seen {
        if x.uses_custom_buckets() != custom {
            speaker.say(Remark::MixedExponentialCustom);
            return None;
        }
        if kind.is_counter && gauge(x) {
            speaker.say(Remark::NotACounter);
        }
    }
    let mut between = |a: usize, b: usize, at: i64| {
        let who = (speaker.name, speaker.span);
        interpolate::histogram((t[a], &h[a]), (t[b], &h[b]), at, kind.is_counter, who, speaker.notes)
    };
    let left_between = smoothed && t[first] < start && first + 1 < t.len();
    let left = if left_between { between(first, first + 1, start)? } else { (*h[first]).clone() };
    let right = if smoothed && last > 0 && t[last] > end { between(last - 1, last, end)? } else { (*h[last]).clone() };
    if !kind.is_counter && (!gauge(&left) || !gauge(&right)) {
        speaker.say(Remark::NotAGauge);
    }
    let mut out = right.clone();
    if !speaker.notes.sub_histogram(&mut out, &left, speaker.name, speaker.span) {
        return None;
    }
    if kind.is_counter {
        let mut from = first + 1;
        let mut previous = &left;
        if left_between && h[first + 1].detect_reset(&h[first]) {
            // The value at the left border already accounts for this reset.
            previous = &h[first + 1];
            from += 1;
        }
        // Both borders may have been interpolated inside one reset; then there is nothing between them.
        if from <= last {
            let mut resets: Vec<&FloatHistogram> = Vec::new();
            for x in h.get(from..last).unwrap_or(&[]) {
                if x.detect_reset(previous) {
                    resets.push(previous);
                }
                previous = x;
            }
            if right.detect_reset(previous) {
                resets.push(previous);
            }
            for lost in resets {
                if !speaker.notes.add_histogram(&mut out, lost, speaker.name, speaker.span) {
                    return None;
                }
            }
        }
    }
    if let Some(seconds) = kind.per_second {
        out.divide(seconds);
    }
    out.counter_reset_hint = CounterResetHint::Gauge;
    out.compact();
    Some(out)
}
