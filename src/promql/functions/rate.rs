//! `rate`, `increase`, `delta` with extrapolation to the borders of the range, and `irate`, `idelta`.

use std::ops::Range;
use std::sync::Arc;

use crate::model::histogram::CounterResetHint;
use crate::model::{Column, FloatHistogram};
use crate::promql::annotations::{Combining, Remark};
use crate::promql::functions::even::Even;
use crate::promql::functions::range::{Sample, Speaker, View};
use crate::promql::selector::Windows;
use crate::promql::series_set::{StepValues, Steps};

/// Which of the three.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// Whether falls of the value are resets.
    pub(super) is_counter: bool,
    /// The range in seconds, where the result is to be divided by it.
    pub(super) per_second: Option<f64>,
}

/// Whether start timestamps say that the counter began anew between two samples.
pub(super) fn start_says_reset(before: (i64, i64), now: (i64, i64)) -> bool {
    let ((start_before, t_before), (start, t)) = (before, now);
    // An unset start says nothing, nor does one that is not before its own sample.
    if start == 0 || start >= t || start < t_before {
        return false;
    }
    if start > t_before {
        return true;
    }
    // The start is the sample before: a delta series, or one whose start was unknown all along.
    start_before <= t_before && start_before != 0 && start_before != t_before
}

/// Whether a start lies before the sample before without being the same start.
fn start_overlaps(start_before: i64, t_before: i64, start: i64) -> bool {
    start != 0 && start < t_before && start != start_before
}

fn pair(starts: &[i64], times: &[i64], i: usize) -> (i64, i64) {
    (starts.get(i).copied().unwrap_or(0), times.get(i).copied().unwrap_or(0))
}

/// By what the increase between first and last sample is multiplied to cover the range. `zero` is the first value and
/// the increase, for counters that went up from a value not below zero. Times in milliseconds; where a comparison of
/// quotients will do, products are compared, because divisions are most of what this costs.
#[inline]
fn extrapolation(first: i64, last: i64, n: usize, (start, end): (i64, i64), zero: Option<(f64, f64)>) -> f64 {
    let mut to_start = (first - start) as f64;
    let mut to_end = (end - last) as f64;
    let sampled = (last - first) as f64;
    let intervals = (n - 1) as f64;
    // A border nearer than 1.1 sampling intervals is taken to lie inside the series' life; else the series is taken to
    // have begun or ended half an interval from the sample.
    let threshold = sampled * 1.1;
    if to_start * intervals >= threshold {
        to_start = sampled / intervals / 2.0;
    }
    if let Some((value, increase)) = zero
        && sampled * value < to_start * increase
    {
        // A counter is not extended to below zero.
        to_start = sampled * (value / increase);
    }
    if to_end * intervals >= threshold {
        to_end = sampled / intervals / 2.0;
    }
    (sampled + to_start + to_end) / sampled
}

/// All steps of a series of floats without start timestamps: resets are looked up once for the whole column.
pub(super) fn floats(column: &Column, windows: &Windows, steps: &Steps, kind: Kind, out: &mut StepValues) {
    let has_resets = kind.is_counter && column.v.windows(2).fold(false, |any, w| any | (w[1] < w[0]));
    let resets: Vec<usize> = if has_resets {
        column.v.windows(2).enumerate().filter(|(_, w)| w[1] < w[0]).map(|(i, _)| i).collect()
    } else {
        Vec::new()
    };
    let even = if has_resets { None } else { Even::of(&column.t, windows, steps) };
    match even {
        None => at_steps(column, windows, steps, 0..steps.count, &resets, kind, out),
        Some(even) => {
            at_steps(column, windows, steps, 0..even.steps.start, &resets, kind, out);
            even.rates(column, windows, steps, kind, out);
            at_steps(column, windows, steps, even.steps.end..steps.count, &resets, kind, out);
        }
    }
}

/// Some steps, window by window.
fn at_steps(
    column: &Column,
    windows: &Windows,
    steps: &Steps,
    which: Range<usize>,
    resets: &[usize],
    kind: Kind,
    out: &mut StepValues,
) {
    let per_second = kind.per_second.map_or(1.0, f64::recip);
    let (mut l, mut r, mut first_reset) = (0usize, 0usize, 0usize);
    let n = column.t.len();
    if which.start > 0 && !which.is_empty() {
        l = column.t.partition_point(|t| *t <= windows.at(steps.time(which.start)).from);
    }
    for i in which {
        let w = windows.at(steps.time(i));
        if l > 0 && column.t[l - 1] > w.from {
            // Only a fixed time (`@`) with a negative step could go back; windows never do.
            (l, r, first_reset) = (0, 0, 0);
        }
        while l < n && column.t[l] <= w.from {
            l += 1;
        }
        r = r.max(l);
        while r < n && column.t[r] <= w.to {
            r += 1;
        }
        if r - l < 2 {
            continue;
        }
        let (first, last) = (column.v[l], column.v[r - 1]);
        let mut increase = last - first;
        while resets.get(first_reset).is_some_and(|k| *k < l) {
            first_reset += 1;
        }
        for k in resets.iter().skip(first_reset).take_while(|k| **k + 1 < r) {
            increase += column.v[*k];
        }
        let zero = (kind.is_counter && increase > 0.0 && first >= 0.0).then_some((first, increase));
        let factor = extrapolation(column.t[l], column.t[r - 1], r - l, (w.start, w.end), zero);
        out.floats[i] = increase * (factor * per_second);
    }
}

impl Even {
    /// The rates of the even steps of a series without resets.
    fn rates(&self, column: &Column, windows: &Windows, steps: &Steps, kind: Kind, out: &mut StepValues) {
        if self.samples < 2 {
            return;
        }
        let per_second = kind.per_second.map_or(1.0, f64::recip);
        let w = windows.at(steps.time(self.steps.start));
        let (first_t, last_t) = (column.t[self.first], column.t[self.first + self.samples - 1]);
        let range = (w.start, w.end);
        // All windows hold their samples at the same distances from their borders.
        let factor = extrapolation(first_t, last_t, self.samples, range, None) * per_second;
        let firsts = column.v[self.first..].iter().step_by(self.stride);
        let lasts = column.v[self.first + self.samples - 1..].iter().step_by(self.stride);
        let places = &mut out.floats[self.steps.clone()];
        if !kind.is_counter {
            for ((place, first), last) in places.iter_mut().zip(firsts).zip(lasts) {
                *place = (last - first) * factor;
            }
            return;
        }
        let bound = |first: f64, increase: f64| (increase > 0.0 && first >= 0.0).then_some((first, increase));
        // Whether a counter would be extended to below zero shows in its least value: it has no resets here.
        let reach = (first_t - w.start) as f64;
        let mut below_zero = false;
        for ((place, first), last) in places.iter_mut().zip(firsts.clone()).zip(lasts.clone()) {
            let increase = last - first;
            *place = increase * factor;
            below_zero |= (last_t - first_t) as f64 * first < reach * increase;
        }
        if below_zero {
            for ((place, first), last) in places.iter_mut().zip(firsts).zip(lasts) {
                let increase = last - first;
                let zero = bound(*first, increase);
                *place = increase * (extrapolation(first_t, last_t, self.samples, range, zero) * per_second);
            }
        }
    }
}

/// The value at one step, for all kinds of samples.
pub(super) fn value(view: &View<'_>, kind: Kind, speaker: &mut Speaker<'_>) -> Option<Sample> {
    if !view.t.is_empty() && !view.ht.is_empty() {
        speaker.say(Remark::MixedFloatsHistograms);
        return None;
    }
    let is_float = view.ht.is_empty();
    let (times, starts) = if is_float { (view.t, view.start) } else { (view.ht, view.hstart) };
    let n = times.len();
    let (first, last) = (*times.first()?, *times.last()?);
    let mut increase = 0.0;
    let mut histogram: Option<FloatHistogram> = None;
    if is_float {
        increase = view.v[n - 1] - view.v[0];
        if kind.is_counter {
            increase += float_resets(view, speaker);
        }
    } else if n > 1 {
        histogram = Some(histogram_increase(view, kind.is_counter, speaker)?);
    }
    let first_start = starts.first().copied().unwrap_or(0);
    let began_inside = kind.is_counter && first_start != 0 && first_start > view.window.start && first_start < first;
    let mut factor = if began_inside {
        // The counter was at zero at a known time inside the range, so nothing is guessed on the left.
        let sampled = (last - first_start) as f64 / 1000.0;
        let average = if n > 1 { (last - first) as f64 / 1000.0 / (n - 1) as f64 } else { 0.0 };
        let mut to_end = (view.window.end - last) as f64 / 1000.0;
        if to_end >= average * 1.1 {
            to_end = average / 2.0;
        }
        if is_float {
            increase += view.v[0];
        } else {
            match &mut histogram {
                None => histogram = Some((*view.h[0]).clone()),
                Some(h) => {
                    if !speaker.notes.add_histogram(h, &view.h[0], speaker.name, speaker.span) {
                        return None;
                    }
                }
            }
        }
        if sampled == 0.0 { 1.0 } else { (sampled + to_end) / sampled }
    } else if n < 2 {
        return None;
    } else {
        let zero = match &histogram {
            _ if !kind.is_counter => None,
            Some(h) => (h.count > 0.0 && view.h[0].count >= 0.0).then_some((view.h[0].count, h.count)),
            None => (increase > 0.0 && view.v[0] >= 0.0).then(|| (view.v[0], increase)),
        };
        extrapolation(first, last, n, (view.window.start, view.window.end), zero)
    };
    if let Some(seconds) = kind.per_second {
        factor /= seconds;
    }
    Some(match histogram {
        Some(mut h) => {
            h.scale(factor);
            h.counter_reset_hint = CounterResetHint::Gauge;
            h.into()
        }
        None => (increase * factor).into(),
    })
}

fn float_resets(view: &View<'_>, speaker: &mut Speaker<'_>) -> f64 {
    let mut lost = 0.0;
    let mut overlap = false;
    for i in 1..view.v.len() {
        let (before, now) = (pair(view.start, view.t, i - 1), pair(view.start, view.t, i));
        overlap |= start_overlaps(before.0, before.1, now.0);
        if view.v[i] < view.v[i - 1] || start_says_reset(before, now) {
            lost += view.v[i - 1];
        }
    }
    if overlap {
        speaker.say(Remark::StartTimeOverlap);
    }
    lost
}

/// The increase of histograms between the first and the last one, resets included.
fn histogram_increase(view: &View<'_>, is_counter: bool, speaker: &mut Speaker<'_>) -> Option<FloatHistogram> {
    let h = view.h;
    let (first, last) = (h.first()?, h.last()?);
    let gauge = |h: &FloatHistogram| h.counter_reset_hint == CounterResetHint::Gauge;
    if is_counter && h.iter().any(|h| gauge(h)) {
        speaker.say(Remark::NotACounter);
    }
    let reset = |i: usize, before: &FloatHistogram| {
        start_says_reset(pair(view.hstart, view.ht, i - 1), pair(view.hstart, view.ht, i))
            || h.get(i).is_some_and(|now| now.detect_reset(before))
    };
    let empty;
    let mut previous: &FloatHistogram = first;
    if is_counter && reset(1, first) {
        // Nothing of the first one counts then, not even its layout.
        let second = h.get(1)?;
        empty = FloatHistogram {
            schema: second.schema,
            custom_values: second.custom_values.clone(),
            ..FloatHistogram::default()
        };
        previous = &empty;
    }
    let custom = previous.uses_custom_buckets();
    let between = h.get(1..h.len() - 1).unwrap_or(&[]);
    let mixed = last.uses_custom_buckets() != custom
        || (is_counter && between.iter().any(|h| h.uses_custom_buckets() != custom));
    if mixed {
        speaker.say(Remark::MixedExponentialCustom);
        return None;
    }
    let mut schema = last.schema.min(previous.schema);
    if is_counter {
        schema = between.iter().map(|h| h.schema).fold(schema, i32::min);
    }
    let mut out = last.to_schema(schema);
    let subtracted = speaker.notes.sub_histogram(&mut out, previous, speaker.name, speaker.span);
    if !subtracted {
        return None;
    }
    if is_counter {
        let mut overlap = false;
        for (i, now) in h.iter().enumerate().skip(1) {
            let before = pair(view.hstart, view.ht, i - 1);
            overlap |= start_overlaps(before.0, before.1, pair(view.hstart, view.ht, i).0);
            if reset(i, previous) && !speaker.notes.add_histogram(&mut out, previous, speaker.name, speaker.span) {
                return None;
            }
            previous = now;
        }
        if overlap {
            speaker.say(Remark::StartTimeOverlap);
        }
    } else if !gauge(first) || !gauge(last) {
        speaker.say(Remark::NotAGauge);
    }
    out.counter_reset_hint = CounterResetHint::Gauge;
    out.compact();
    Some(out)
}

#[derive(Clone)]
enum Either {
    Float(f64),
    Histogram(Arc<FloatHistogram>),
}

/// `irate` and `idelta`: between the last two samples.
pub(super) fn last_two(view: &View<'_>, is_rate: bool, speaker: &mut Speaker<'_>) -> Option<Sample> {
    let (nf, nh) = (view.t.len(), view.ht.len());
    if nf + nh < 2 {
        return None;
    }
    let mut all: Vec<(i64, i64, Either)> = Vec::with_capacity(4);
    for i in nf.saturating_sub(2)..nf {
        all.push((view.t[i], pair(view.start, view.t, i).0, Either::Float(view.v[i])));
    }
    for i in nh.saturating_sub(2)..nh {
        all.push((view.ht[i], pair(view.hstart, view.ht, i).0, Either::Histogram(view.h[i].clone())));
    }
    all.sort_by_key(|s| s.0);
    let (second, first) = (all.pop()?, all.pop()?);
    if second.0 == first.0 {
        return None;
    }
    let seconds = (second.0 - first.0) as f64 / 1000.0;
    let reset = start_says_reset((first.1, first.0), (second.1, second.0));
    match (first.2, second.2) {
        (Either::Float(a), Either::Float(b)) => {
            let change = if is_rate && (b < a || reset) { b } else { b - a };
            Some(if is_rate { change / seconds } else { change }.into())
        }
        (Either::Histogram(a), Either::Histogram(b)) => {
            let gauges = [&a, &b].map(|h| h.counter_reset_hint == CounterResetHint::Gauge);
            if is_rate && gauges.contains(&true) {
                speaker.say(Remark::NotACounter);
            }
            if !is_rate && gauges.contains(&false) {
                speaker.say(Remark::NotAGauge);
            }
            let mut out = (*b).clone();
            if !is_rate || !(reset || b.detect_reset(&a)) {
                match out.sub(&a) {
                    Err(_) => {
                        speaker.say(Remark::MixedExponentialCustom);
                        return None;
                    }
                    Ok(o) if o.bounds_reconciled => {
                        speaker.notes.add(Remark::BoundsReconciled(Combining::Subtraction), "", speaker.span);
                    }
                    Ok(_) => {}
                }
            }
            out.counter_reset_hint = CounterResetHint::Gauge;
            out.compact();
            if is_rate {
                out.divide(seconds);
            }
            Some(out.into())
        }
        _ => {
            speaker.say(Remark::MixedFloatsHistograms);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_tell_of_resets() {
        for (name, before, now, want) in [
            ("unset", (0, 10), (0, 20), false),
            ("same start", (5, 10), (5, 20), false),
            ("new start", (5, 10), (15, 20), true),
            ("delta", (0, 10), (10, 20), false),
            ("delta after delta", (1, 10), (10, 20), true),
            ("unknown start", (10, 10), (10, 20), false),
            ("start in the future", (5, 10), (25, 20), false),
        ] {
            assert_eq!(start_says_reset(before, now), want, "{name}");
        }
    }

    #[test]
    fn short_gaps_are_extrapolated_and_long_ones_are_not() {
        // Samples at 10 s and 20 s in a range of 0 s to 30 s: all the way on both sides.
        assert_eq!(extrapolation(10_000, 20_000, 2, (0, 30_000), None), 3.0);
        // Far from the start: half an interval.
        assert_eq!(extrapolation(100_000, 110_000, 2, (0, 110_000), None), 1.5);
        // A counter that was at zero two seconds before.
        assert_eq!(extrapolation(10_000, 20_000, 2, (0, 20_000), Some((1.0, 5.0))), 1.2);
    }
}
