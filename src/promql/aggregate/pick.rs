//! Operators that choose some of the series: `topk`, `bottomk`, `limitk`, `limit_ratio`.

use crate::promql::aggregate::{Groups, Param, Run};
use crate::promql::annotations::{Annotations, Remark};
use crate::promql::ast::AggregateOp;
use crate::promql::engine::QueryError;
use crate::promql::lex::aggregate_text;
use crate::promql::limits::Pace;
use crate::promql::quantile::nan_first;
use crate::promql::series_set::{SeriesSet, StepSeries};

/// Which series stay at which step, and in which order they are returned.
pub(super) fn pick(
    run: &Run<'_>,
    set: SeriesSet,
    groups: Groups,
    notes: &mut Annotations,
) -> Result<SeriesSet, QueryError> {
    let Param::Scalar(params, span) = run.param else {
        return Err(QueryError::Execution(format!("{} needs a number", aggregate_text(run.op))));
    };
    let mut params = params.clone();
    check(run.op, &params)?;
    if run.op == AggregateOp::LimitRatio {
        for p in &mut params {
            if p.abs() > 1.0 {
                let to = p.signum();
                notes.add(Remark::InvalidRatio { got: *p, to }, "", *span);
                *p = to;
            }
        }
    }
    let _keep = run.limits.charge(0, (set.series.len() * (run.steps + 24)) as u64)?;
    let mut pace = Pace::new(run.limits);
    let mut keep: Vec<Vec<bool>> = vec![vec![false; run.steps]; set.series.len()];
    let mut ranks: Vec<usize> = Vec::with_capacity(set.series.len());
    for members in &groups.members {
        for (step, param) in params.iter().enumerate().take(run.steps) {
            // Sorting, or hashing labels.
            pace.step(16 * members.len())?;
            let chosen = match run.op {
                AggregateOp::Topk | AggregateOp::Bottomk => ranked(run, &set, members, step, *param, notes),
                AggregateOp::LimitRatio => by_ratio(&set, members, step, *param),
                _ => first(&set, members, step, *param),
            };
            for i in &chosen {
                keep[*i][step] = true;
            }
            if run.sort {
                ranks.extend(chosen);
            }
        }
    }
    let mut series: Vec<Option<StepSeries>> = set
        .series
        .into_iter()
        .zip(keep)
        .map(|(mut s, keep)| {
            for (step, keep) in keep.iter().enumerate() {
                if !keep {
                    s.values.clear(step);
                }
            }
            s.values.any_present().then_some(s)
        })
        .collect();
    let mut out = SeriesSet::default();
    if run.sort {
        out.series = ranks.into_iter().filter_map(|i| series.get_mut(i).and_then(Option::take)).collect();
    } else {
        out.series = series.into_iter().flatten().collect();
    }
    Ok(out)
}

fn check(op: AggregateOp, params: &[f64]) -> Result<(), QueryError> {
    let fail = |text: String| Err(QueryError::Execution(text));
    if op == AggregateOp::LimitRatio {
        return if params.iter().any(|p| p.is_nan()) { fail("Ratio value is NaN".to_owned()) } else { Ok(()) };
    }
    for p in params {
        if p.is_nan() {
            return fail("Parameter value is NaN".to_owned());
        }
        if *p >= i64::MAX as f64 {
            return fail(format!("Scalar value {} overflows int64", crate::model::histogram::go_g(*p)));
        }
        if *p <= i64::MIN as f64 {
            return fail(format!("Scalar value {} underflows int64", crate::model::histogram::go_g(*p)));
        }
    }
    Ok(())
}

fn count(param: f64) -> usize {
    // Checked before to fit an i64; below one nothing is chosen.
    if param < 1.0 { 0 } else { param as usize }
}

fn ranked(
    run: &Run<'_>,
    set: &SeriesSet,
    members: &[usize],
    step: usize,
    param: f64,
    notes: &mut Annotations,
) -> Vec<usize> {
    let mut there: Vec<(f64, usize)> = Vec::with_capacity(members.len());
    for i in members {
        let Some(s) = set.series.get(*i) else { continue };
        if let Some(v) = s.values.float(step) {
            there.push((v, *i));
        } else if s.values.histogram(step).is_some() {
            notes.add(Remark::HistogramIgnoredInAggregation { operator: aggregate_text(run.op) }, "", run.span);
        }
    }
    // NaN comes last either way.
    if run.op == AggregateOp::Topk {
        there.sort_by(|a, b| nan_first(b.0, a.0));
    } else {
        there.sort_by(|a, b| a.0.is_nan().cmp(&b.0.is_nan()).then_with(|| nan_first(a.0, b.0)));
    }
    there.truncate(count(param));
    there.into_iter().map(|s| s.1).collect()
}

fn first(set: &SeriesSet, members: &[usize], step: usize, param: f64) -> Vec<usize> {
    let there = |i: &usize| set.series.get(*i).is_some_and(|s| s.values.is_present(step));
    members.iter().copied().filter(there).take(count(param)).collect()
}

/// A series belongs to a ratio by the hash of its labels, so that `limit_ratio(r)` and `limit_ratio(-(1-r))` share the
/// series out between them.
fn by_ratio(set: &SeriesSet, members: &[usize], step: usize, ratio: f64) -> Vec<usize> {
    members
        .iter()
        .copied()
        .filter(|i| {
            set.series.get(*i).is_some_and(|s| {
                let place = s.labels.prometheus_hash() as f64 / u64::MAX as f64;
                let inside = if ratio >= 0.0 { place < ratio } else { place >= 1.0 + ratio };
                inside && s.values.is_present(step)
            })
        })
        .collect()
}
