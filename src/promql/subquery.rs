//! Subqueries: an instant-vector expression evaluated at steps of its own, read as a range vector.

use std::sync::Arc;

use crate::model::histogram::CounterResetHint;
use crate::promql::ast::{RangeExtension, Subquery};
use crate::promql::duration_expr::resolve_positive;
use crate::promql::engine::{Context, QueryError};
use crate::promql::selector::{RangeSource, ReadColumn, Windows};
use crate::promql::series_meta::SeriesMeta;
use crate::promql::series_set::{SeriesSet, StepValue, Steps};

fn windows(cx: &Context<'_>, s: &Subquery) -> Result<Windows, QueryError> {
    let range = resolve_positive(&s.range, cx.times.durations())?;
    Ok(Windows::new(range, cx.times.shift(&s.time)?, RangeExtension::None, cx.lookback))
}

/// Evaluates the inner expression at all its steps that any outer step sees.
pub(crate) fn evaluate(cx: &Context<'_>, s: &Subquery, steps: &Steps) -> Result<(SeriesSet, Steps), QueryError> {
    let windows = windows(cx, s)?;
    let step = match &s.step {
        Some(d) => resolve_positive(d, cx.times.durations())?,
        None => cx.options.subquery_step_ms.max(1),
    };
    let (first, last) = (windows.at(steps.start), windows.at(steps.end()));
    let (start, end) = (first.start.min(last.start), first.end.max(last.end));
    // Inner steps are multiples of the step, so that they stay the same from one evaluation to the next.
    let mut from = start / step * step;
    if from <= start {
        from = from.saturating_add(step);
    }
    if from > end {
        return Ok((SeriesSet::default(), Steps { start: from, step, count: 1 }));
    }
    let inner = Steps::range(from, end, step);
    // A tiny step over a long range is refused before memory is asked for.
    drop(cx.limits.charge(inner.count as u64, 8 * inner.count as u64)?);
    Ok((cx.vector(&s.expr, &inner)?, inner))
}

/// The series of a subquery.
pub(crate) fn range_source<'s>(
    cx: &'s Context<'_>,
    s: &'s Subquery,
    span: crate::text::span::Span,
    steps: &Steps,
) -> Result<RangeSource<'s>, QueryError> {
    let windows = windows(cx, s)?;
    let (mut set, inner) = evaluate(cx, s, steps)?;
    for h in set.series.iter_mut().filter_map(|s| s.values.histograms.as_mut()).flatten().flatten() {
        // The steps leave samples out and repeat others, so what a hint says of its predecessor is not true here.
        if !matches!(h.counter_reset_hint, CounterResetHint::Gauge | CounterResetHint::Unknown) {
            Arc::make_mut(h).counter_reset_hint = CounterResetHint::Unknown;
        }
    }
    let meta = SeriesMeta::of_set(&set);
    let steps = *steps;
    let read: ReadColumn<'s> = Box::new(move |i, column| {
        column.clear();
        let Some(series) = set.series.get(i) else { return Ok(()) };
        for (k, t) in inner.times().enumerate() {
            match series.values.get(k) {
                Some(StepValue::Float(v)) => column.push_float(t, v, 0),
                Some(StepValue::Histogram(h)) => column.push_histogram(t, h.clone(), 0),
                None => {}
            }
        }
        if let Some(counts) = &cx.counts {
            counts.in_windows(&steps, column, &windows);
        }
        Ok(())
    });
    Ok(RangeSource { meta, read, windows, span })
}
