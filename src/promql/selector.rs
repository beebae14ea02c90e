//! Instant and range selectors over stored series.

mod smoothed;

use std::sync::Arc;

use crate::model::histogram::CounterResetHint;
use crate::model::sample::is_stale_nan;
use crate::model::{Column, FloatHistogram, Matcher, TimestampMs};
use crate::promql::ast::{MatrixSelector, RangeExtension, VectorSelector};
use crate::promql::duration_expr::resolve_positive;
use crate::promql::engine::{Context, QueryError};
use crate::promql::limits::Charge;
use crate::promql::series_meta::SeriesMeta;
use crate::promql::series_set::{StepValues, Steps};
use crate::promql::source::{Compute, Source};
use crate::promql::storage::{SelectHints, SelectedSeries, StorageError};
use crate::text::span::Span;

/// The part of a series that a range function sees at one step: `(start, end]`, wider where the selector is extended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// Samples after this time are seen.
    pub(crate) from: TimestampMs,
    /// Samples up to and at this time are seen.
    pub(crate) to: TimestampMs,
    /// Start of the range as written.
    pub(crate) start: TimestampMs,
    /// End of the range as written.
    pub(crate) end: TimestampMs,
}

/// The windows of a range selector or a subquery over all steps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Windows {
    /// The range in milliseconds.
    pub(crate) range: i64,
    shift: crate::promql::engine::TimeShift,
    pub(crate) extension: RangeExtension,
    lookback: i64,
}

impl Windows {
    pub(crate) fn new(
        range: i64,
        shift: crate::promql::engine::TimeShift,
        extension: RangeExtension,
        lookback: i64,
    ) -> Self {
        Windows { range, shift, extension, lookback }
    }

    /// The window at evaluation time `t`.
    pub(crate) fn at(&self, t: TimestampMs) -> Window {
        let end = self.shift.apply(t);
        let start = end.saturating_sub(self.range);
        let (from, to) = match self.extension {
            RangeExtension::None => (start, end),
            RangeExtension::Anchored => (start.saturating_sub(self.lookback), end),
            RangeExtension::Smoothed => (start.saturating_sub(self.lookback), end.saturating_add(self.lookback)),
        };
        Window { from, to, start, end }
    }
}

/// Reads the samples of series `i` that any window may see, without staleness markers.
pub(crate) type ReadColumn<'a> = Box<dyn Fn(usize, &mut Column) -> Result<(), QueryError> + Send + Sync + 'a>;

/// The series of a range selector or a subquery.
pub(crate) struct RangeSource<'a> {
    pub(crate) meta: SeriesMeta,
    pub(crate) read: ReadColumn<'a>,
    pub(crate) windows: Windows,
    /// Where the selector stands, for remarks.
    pub(crate) span: Span,
}

/// What a store found: the labels of the series, the series, and what they take from the query's budget.
struct Selected {
    meta: SeriesMeta,
    series: Box<dyn SelectedSeries>,
    _charge: Charge,
}

impl Selected {
    fn read(&self, i: usize, mint: TimestampMs, maxt: TimestampMs, out: &mut Column) -> Result<(), StorageError> {
        self.series.read(i, mint, maxt, out)
    }
}

fn select(cx: &Context<'_>, hints: &SelectHints, matchers: &[Matcher]) -> Result<Selected, QueryError> {
    let mut charge = cx.limits.charge(0, 0)?;
    let series = cx.storage.select(hints, matchers, &mut |bytes| charge.grow(0, bytes))?;
    // What was said before was for the way here.
    charge.settle(series.size_bytes() as u64)?;
    Ok(Selected { meta: SeriesMeta::of_table(series.labels().clone()), series, _charge: charge })
}

fn bounds(steps: &Steps, at: impl Fn(TimestampMs) -> (TimestampMs, TimestampMs)) -> (TimestampMs, TimestampMs) {
    let (first, last) = (at(steps.start), at(steps.end()));
    (first.0.min(last.0), first.1.max(last.1))
}

/// The last sample of each series at each step, not older than the lookback delta.
pub(crate) fn instant_source<'s>(
    cx: &'s Context<'_>,
    v: &'s VectorSelector,
    span: Span,
    steps: &Steps,
) -> Result<Source<'s>, QueryError> {
    let shift = cx.times.shift(&v.time)?;
    let smoothed = v.extension == RangeExtension::Smoothed;
    let (lookback, steps) = (cx.lookback, *steps);
    let (mint, maxt) = bounds(&steps, |t| {
        let at = shift.apply(t);
        (at.saturating_sub(lookback).saturating_add(1), if smoothed { at.saturating_add(lookback) } else { at })
    });
    let hints = SelectHints { start: mint, end: maxt, step: steps.step, func: "", range: 0, starts: false };
    let found = select(cx, &hints, &v.matchers)?;
    let meta = found.meta.clone();
    let hinted = cx.compared_hints.contains(&span.start);
    let compute: Compute<'s> = Box::new(move |i, scratch| {
        scratch.column.clear();
        found.read(i, mint, maxt, &mut scratch.column)?;
        count_read(cx, &scratch.column)?;
        if hinted {
            compare_hints(&mut scratch.column);
        }
        if smoothed {
            scratch.column.drop_stale();
            let name = found.meta.metric_name(i);
            let times = steps.times().map(|t| shift.apply(t));
            return Ok(smoothed::values(
                &scratch.column,
                times,
                steps.count,
                lookback,
                (name, span),
                &mut scratch.notes,
            ));
        }
        let values = last_values(&scratch.column, steps.times().map(|t| shift.apply(t)), steps.count, lookback);
        if let Some(counts) = &cx.counts {
            counts.present(&steps, &values);
        }
        Ok(values)
    });
    Ok(Source { meta, compute })
}

fn count_read(cx: &Context<'_>, c: &Column) -> Result<(), QueryError> {
    // One series at a time is held per thread; a series too long for the budget ends the query.
    cx.limits.read(c.len() as u64, 16 * c.len() as u64)
}

/// Index one past the last sample at or before `t`, searched from where the step before stood.
fn advance(times: &[i64], from: usize, t: i64) -> usize {
    let mut i = from;
    if i > 0 && times.get(i - 1).is_some_and(|x| *x > t) {
        return times.partition_point(|x| *x <= t);
    }
    while times.get(i).is_some_and(|x| *x <= t) {
        i += 1;
    }
    i
}

fn last_values(c: &Column, times: impl Iterator<Item = i64>, n: usize, lookback: i64) -> StepValues {
    let mut out = StepValues::absent(n);
    let (mut i, mut j) = (0, 0);
    for (k, t) in times.enumerate() {
        i = advance(&c.t, i, t);
        let oldest = t.saturating_sub(lookback);
        let float_at = i.checked_sub(1).and_then(|i| c.t.get(i)).copied().filter(|x| *x > oldest);
        let histogram_at = if c.ht.is_empty() {
            None
        } else {
            j = advance(&c.ht, j, t);
            j.checked_sub(1).and_then(|j| c.ht.get(j)).copied().filter(|x| *x > oldest)
        };
        match (float_at, histogram_at) {
            (Some(f), h) if h.is_none_or(|h| f > h) => {
                // A staleness marker is what an absent step holds.
                if let Some(v) = c.v.get(i - 1) {
                    out.set_float(k, *v);
                }
            }
            (_, Some(_)) => {
                if let Some(h) = c.h.get(j - 1).filter(|h| !is_stale_nan(h.sum)) {
                    out.set_histogram(k, h.clone());
                }
            }
            (_, None) => {}
        }
    }
    out
}

/// Replaces unknown reset hints by what a comparison with the histogram before says.
fn compare_hints(c: &mut Column) {
    let mut previous: Option<Arc<FloatHistogram>> = None;
    for h in &mut c.h {
        if is_stale_nan(h.sum) {
            continue;
        }
        if let (CounterResetHint::Unknown, Some(p)) = (h.counter_reset_hint, &previous) {
            let hint = if h.detect_reset(p) { CounterResetHint::Reset } else { CounterResetHint::NotReset };
            Arc::make_mut(h).counter_reset_hint = hint;
        }
        previous = Some(h.clone());
    }
}

/// What about the last sample is asked for instead of its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SampleTime {
    /// When it was taken.
    Taken,
    /// Since when it has been counted up; 0 where that is not known.
    Started,
}

/// The time (seconds) of the last sample of each series at each step, as `timestamp` gives it for a plain selector.
pub(crate) fn time_source<'s>(
    cx: &'s Context<'_>,
    v: &'s VectorSelector,
    which: SampleTime,
    steps: &Steps,
) -> Result<Source<'s>, QueryError> {
    let shift = cx.times.shift(&v.time)?;
    let (lookback, steps) = (cx.lookback, *steps);
    let (mint, maxt) = bounds(&steps, |t| {
        let at = shift.apply(t);
        (at.saturating_sub(lookback).saturating_add(1), at)
    });
    let starts = which == SampleTime::Started;
    let hints = SelectHints { start: mint, end: maxt, step: steps.step, func: "timestamp", range: 0, starts };
    let found = select(cx, &hints, &v.matchers)?;
    let mut meta = found.meta.clone();
    meta.drop_names();
    let compute: Compute<'s> = Box::new(move |i, scratch| {
        scratch.column.clear();
        found.read(i, mint, maxt, &mut scratch.column)?;
        count_read(cx, &scratch.column)?;
        let c = &scratch.column;
        let seconds = |t: i64| t as f64 / 1000.0;
        // The same choice among floats and histograms as for values, made on a column that holds times.
        let mut merged: Vec<(i64, f64)> = Vec::with_capacity(c.len());
        let starts = |starts: &[i64], k: usize| starts.get(k).copied().unwrap_or(0);
        let value = |t: i64, stale: bool, start: i64| match which {
            _ if stale => crate::promql::series_set::ABSENT,
            SampleTime::Taken => seconds(t),
            SampleTime::Started => seconds(start),
        };
        for (k, (t, v)) in c.t.iter().zip(&c.v).enumerate() {
            merged.push((*t, value(*t, is_stale_nan(*v), starts(&c.start, k))));
        }
        for (k, (t, h)) in c.ht.iter().zip(&c.h).enumerate() {
            merged.push((*t, value(*t, is_stale_nan(h.sum), starts(&c.hstart, k))));
        }
        merged.sort_by_key(|s| s.0);
        let times = Column {
            t: merged.iter().map(|s| s.0).collect(),
            v: merged.iter().map(|s| s.1).collect(),
            ..Column::default()
        };
        let values = last_values(&times, steps.times().map(|t| shift.apply(t)), steps.count, lookback);
        if let Some(counts) = &cx.counts {
            counts.present(&steps, &values);
        }
        Ok(values)
    });
    Ok(Source { meta, compute })
}

/// The samples of a range selector.
pub(crate) fn range_source<'s>(
    cx: &'s Context<'_>,
    m: &'s MatrixSelector,
    steps: &Steps,
    func: &'static str,
) -> Result<RangeSource<'s>, QueryError> {
    let range = resolve_positive(&m.range, cx.times.durations())?;
    let shift = cx.times.shift(&m.selector.time)?;
    let windows = Windows::new(range, shift, m.selector.extension, cx.lookback);
    let (mint, maxt) = bounds(steps, |t| {
        let w = windows.at(t);
        (w.from.saturating_add(1), w.to)
    });
    let starts = cx.options.use_start_timestamps;
    let hints = SelectHints { start: mint, end: maxt, step: steps.step, func, range, starts };
    let found = select(cx, &hints, &m.selector.matchers)?;
    let meta = found.meta.clone();
    let hinted = cx.compared_hints.contains(&m.selector_span.start);
    let steps = *steps;
    let read: ReadColumn<'s> = Box::new(move |i, column| {
        column.clear();
        found.read(i, mint, maxt, column)?;
        if hinted {
            compare_hints(column);
        }
        column.drop_stale();
        if let Some(counts) = &cx.counts {
            counts.in_windows(&steps, column, &windows);
        }
        count_read(cx, column)
    });
    Ok(RangeSource { meta, read, windows, span: m.selector_span })
}
