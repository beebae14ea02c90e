//! Operators that look at all values of a group at once: `quantile`, `count_values`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::model::Labels;
use crate::model::sample::format_value;
use crate::promql::aggregate::{Groups, Param, Run};
use crate::promql::annotations::{Annotations, Remark};
use crate::promql::ast::AggregateOp;
use crate::promql::engine::QueryError;
use crate::promql::lex::aggregate_text;
use crate::promql::limits::Pace;
use crate::promql::quantile::{is_invalid, quantile};
use crate::promql::series_set::{SeriesSet, StepSeries, StepValue, StepValues};
use crate::text::quote::quote;

/// The quantile of each group.
pub(super) fn quantiles(
    run: &Run<'_>,
    set: &SeriesSet,
    groups: Groups,
    notes: &mut Annotations,
) -> Result<SeriesSet, QueryError> {
    let Param::Scalar(params, span) = run.param else { return Ok(SeriesSet::default()) };
    for q in params.iter().filter(|q| is_invalid(**q)) {
        notes.add(Remark::InvalidQuantile(*q), "", *span);
    }
    let mut series = Vec::with_capacity(groups.labels.len());
    let mut values = Vec::new();
    let mut pace = Pace::new(run.limits);
    for (labels, members) in groups.labels.into_iter().zip(groups.members) {
        let mut out = StepValues::absent(run.steps);
        let mut drop_name = false;
        for (step, q) in params.iter().enumerate().take(run.steps) {
            values.clear();
            pace.step(members.len())?;
            for s in members.iter().filter_map(|i| set.series.get(*i)) {
                drop_name |= s.drop_name;
                match s.values.get(step) {
                    Some(StepValue::Float(v)) => values.push(v),
                    Some(StepValue::Histogram(_)) => {
                        let operator = aggregate_text(AggregateOp::Quantile);
                        notes.add(Remark::HistogramIgnoredInAggregation { operator }, "", run.span);
                    }
                    None => {}
                }
            }
            if !values.is_empty() {
                out.set_float(step, quantile(*q, &mut values));
            }
        }
        if out.any_present() {
            series.push(StepSeries { labels, drop_name, values: out });
        }
    }
    Ok(SeriesSet::new(series))
}

/// How often each value occurs in each group.
pub(super) fn count_values(run: &Run<'_>, set: &SeriesSet, groups: Groups) -> Result<SeriesSet, QueryError> {
    let Param::Label(label) = run.param else {
        return Err(QueryError::Execution("count_values needs a label name".to_owned()));
    };
    if label.is_empty() {
        return Err(QueryError::Execution(format!("invalid label name {}", quote(label))));
    }
    let mut index: HashMap<Labels, usize> = HashMap::new();
    let mut series: Vec<StepSeries> = Vec::new();
    let mut pace = Pace::new(run.limits);
    // There may be as many results as values, so each is charged for.
    let mut growing = run.limits.charge(0, 0)?;
    let own_bytes = size_of::<StepSeries>() + 8 * run.steps;
    for (group, members) in groups.labels.iter().zip(&groups.members) {
        for step in 0..run.steps {
            // To print a number is some work.
            pace.step(32 * members.len())?;
            for s in members.iter().filter_map(|i| set.series.get(*i)) {
                let text = match s.values.get(step) {
                    Some(StepValue::Float(v)) => format_value(v),
                    Some(StepValue::Histogram(h)) => h.to_string(),
                    None => continue,
                };
                let mut b = group.to_builder();
                b.set(label, text);
                let at = match index.entry(b.build()) {
                    Entry::Occupied(known) => *known.get(),
                    Entry::Vacant(new) => {
                        growing.grow(1, (own_bytes + 2 * new.key().packed().len()) as u64)?;
                        let values = StepValues::absent(run.steps);
                        series.push(StepSeries { labels: new.key().clone(), drop_name: false, values });
                        *new.insert(series.len() - 1)
                    }
                };
                if let Some(out) = series.get_mut(at) {
                    out.drop_name |= s.drop_name;
                    let n = out.values.float(step).unwrap_or(0.0);
                    out.values.set_float(step, n + 1.0);
                }
            }
        }
    }
    Ok(SeriesSet::new(series))
}
