//! From step series to the values of the API.

use crate::model::{Column, TimestampMs};
use crate::promql::ast::{MatrixSelector, Subquery};
use crate::promql::engine::{Context, Evaluated, QueryError};
use crate::promql::series_set::{SeriesSet, StepValue, Steps, is_absent};
use crate::promql::value::{MatrixSeries, SampleValue, Value, VectorSample};
use crate::promql::{selector, subquery};

/// The value of an instant query.
pub(super) fn instant(cx: &Context<'_>, value: Evaluated, t: TimestampMs) -> Result<Value, QueryError> {
    Ok(match value {
        Evaluated::Scalar(v) => Value::Scalar { t, v: v.first().copied().unwrap_or(f64::NAN) },
        Evaluated::String(v) => Value::String { t, v },
        Evaluated::Vector(mut set) => {
            cx.join(&mut set)?;
            let _result = cx.limits.charge(0, (set.series.len() * size_of::<VectorSample>()) as u64)?;
            let sample = |labels: &crate::model::Labels, value| VectorSample { labels: labels.clone(), t, value };
            Value::Vector(
                set.series
                    .iter()
                    .filter_map(|s| match s.values.get(0)? {
                        StepValue::Float(v) => Some(sample(&s.labels, SampleValue::Float(v))),
                        StepValue::Histogram(h) => Some(sample(&s.labels, SampleValue::Histogram(h.clone()))),
                    })
                    .collect(),
            )
        }
    })
}

/// The value of a range query, sorted by labels.
pub(super) fn range(cx: &Context<'_>, value: Evaluated, steps: &Steps) -> Result<Value, QueryError> {
    let mut set = match value {
        Evaluated::Scalar(v) => {
            let floats = steps.times().zip(v).collect();
            return Ok(Value::Matrix(vec![MatrixSeries { floats, ..MatrixSeries::default() }]));
        }
        Evaluated::String(_) => {
            return Err(QueryError::Execution(
                "invalid expression type \"string\" for range query, must be Scalar or instant Vector".to_owned(),
            ));
        }
        Evaluated::Vector(set) => set,
    };
    cx.join(&mut set)?;
    matrix(cx, set, steps)
}

/// Series are taken out of the set one by one, so that there is never much more than one of both forms in memory.
fn matrix(cx: &Context<'_>, set: SeriesSet, steps: &Steps) -> Result<Value, QueryError> {
    let points: usize = set.series.iter().map(|s| s.values.present()).sum();
    let _result = cx.limits.charge(0, (16 * points + size_of::<MatrixSeries>() * set.series.len()) as u64)?;
    let mut out: Vec<MatrixSeries> = set
        .series
        .into_iter()
        .map(|s| {
            let mut m = MatrixSeries { labels: s.labels, ..MatrixSeries::default() };
            m.floats.reserve_exact(s.values.floats.iter().filter(|v| !is_absent(**v)).count());
            for (i, t) in steps.times().enumerate() {
                match s.values.get(i) {
                    Some(StepValue::Float(v)) => m.floats.push((t, v)),
                    Some(StepValue::Histogram(h)) => m.histograms.push((t, h.clone())),
                    None => {}
                }
            }
            m
        })
        .filter(|m| !m.floats.is_empty() || !m.histograms.is_empty())
        .collect();
    out.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(Value::Matrix(out))
}

/// The samples inside `(start, end]`; an extended selector has read more.
fn of_column(labels: crate::model::Labels, c: Column, start: TimestampMs, end: TimestampMs) -> MatrixSeries {
    let inside = |t: TimestampMs| t > start && t <= end;
    MatrixSeries {
        labels,
        floats: c.t.into_iter().zip(c.v).filter(|s| inside(s.0)).collect(),
        histograms: c.ht.into_iter().zip(c.h).filter(|s| inside(s.0)).collect(),
    }
}

/// The samples of a range selector as they are stored.
pub(super) fn raw_matrix(cx: &Context<'_>, m: &MatrixSelector, t: TimestampMs) -> Result<Value, QueryError> {
    let source = selector::range_source(cx, m, &Steps::instant(t), "")?;
    let window = source.windows.at(t);
    let mut out = Vec::new();
    let mut held = cx.limits.charge(0, 0)?;
    for i in 0..source.meta.len() {
        cx.limits.check()?;
        let mut c = Column::default();
        (source.read)(i, &mut c)?;
        let labels = source.meta.labels(i);
        let bytes = 16 * c.len() + size_of::<MatrixSeries>() + labels.packed().len();
        held.grow(c.len() as u64, bytes as u64)?;
        let series = of_column(labels, c, window.start, window.end);
        if !series.floats.is_empty() || !series.histograms.is_empty() {
            out.push(series);
        }
    }
    out.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(Value::Matrix(out))
}

/// The values of a subquery at its own steps.
pub(super) fn subquery_matrix(cx: &Context<'_>, s: &Subquery, steps: &Steps) -> Result<Value, QueryError> {
    let (mut set, inner) = subquery::evaluate(cx, s, steps)?;
    cx.join(&mut set)?;
    matrix(cx, set, &inner)
}
