//! `absent`, `absent_over_time`: a 1 where there is nothing.

use std::collections::HashMap;

use crate::model::labels::METRIC_NAME;
use crate::model::{Labels, MatchOp, Matcher};
use crate::promql::ast::{Call, Expr, ExprKind};
use crate::promql::engine::{Context, QueryError};
use crate::promql::functions::{arg, range};
use crate::promql::series_set::{SeriesSet, StepSeries, StepValues, Steps};
use crate::promql::source::Source;

/// The labels that the absent series would surely have: those of `=` matchers, each named once.
fn labels_of(expr: &Expr) -> Labels {
    let matchers: &[Matcher] = match &expr.kind {
        ExprKind::Vector(v) => &v.matchers,
        ExprKind::Matrix(m) => &m.selector.matchers,
        ExprKind::Paren(e) => return labels_of(e),
        _ => return Labels::empty(),
    };
    let mut times: HashMap<&str, usize> = HashMap::new();
    for m in matchers {
        *times.entry(m.name()).or_default() += 1;
    }
    Labels::from_pairs(
        matchers
            .iter()
            .filter(|m| m.op() == MatchOp::Equal && m.name() != METRIC_NAME && times.get(m.name()) == Some(&1))
            .map(|m| (m.name(), m.value())),
    )
}

fn where_nothing(set: &SeriesSet, labels: Labels, steps: &Steps) -> SeriesSet {
    let mut values = StepValues { floats: vec![1.0; steps.count], histograms: None };
    for s in &set.series {
        for i in 0..steps.count {
            if s.values.is_present(i) {
                values.clear(i);
            }
        }
    }
    let series = if values.any_present() { vec![StepSeries { labels, drop_name: false, values }] } else { Vec::new() };
    SeriesSet::new(series)
}

pub(super) fn absent(cx: &Context<'_>, call: &Call, steps: &Steps) -> Result<SeriesSet, QueryError> {
    let inner = arg(call, 0)?;
    Ok(where_nothing(&cx.vector(inner, steps)?, labels_of(inner), steps))
}

pub(super) fn absent_over_time(cx: &Context<'_>, call: &Call, steps: &Steps) -> Result<SeriesSet, QueryError> {
    let inner = arg(call, 0)?;
    let source: Source<'_> = range::source(cx, call, range::RangeFunction::Present, steps)?;
    let set = cx.collect(source)?;
    Ok(where_nothing(&set, labels_of(inner), steps))
}
