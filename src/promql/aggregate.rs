//! Aggregation operators. Work on step series alone, so that other query languages can use them.

mod fold;
mod pick;
mod values;

use std::sync::Arc;

use rayon::prelude::*;

use crate::exec::cpu_pool;
use crate::model::Labels;
use crate::model::labels::METRIC_NAME;
use crate::promql::annotations::Annotations;
use crate::promql::ast::AggregateOp;
use crate::promql::engine::QueryError;
use crate::promql::limits::Limits;
use crate::promql::series_meta::group_built;
use crate::promql::series_set::{SeriesSet, StepSeries};
use crate::promql::source::{Scratch, Source};
use crate::text::span::Span;

use fold::{Added, Fold};

/// The parameter of an aggregation.
#[derive(Clone, Debug)]
pub enum Param {
    /// There is none.
    None,
    /// A number for each step (`topk`, `quantile`, ...), and where it stands.
    Scalar(Vec<f64>, Span),
    /// The label of `count_values`.
    Label(String),
}

/// `by` or `without` and its labels.
#[derive(Clone, Copy, Debug)]
pub struct Grouping<'a> {
    /// The labels.
    pub labels: &'a [String],
    /// Whether they are those to leave out.
    pub without: bool,
}

impl Grouping<'_> {
    /// Whether a label tells groups apart.
    fn keeps(&self, name: &str) -> bool {
        let named = self.labels.iter().any(|l| l == name);
        if self.without { name != METRIC_NAME && !named } else { named }
    }
}

/// One aggregation.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// The operator.
    pub op: AggregateOp,
    /// Its parameter.
    pub param: &'a Param,
    /// Where the aggregated expression stands, for remarks.
    pub span: Span,
    /// The number of steps.
    pub steps: usize,
    /// Whether `topk` and `bottomk` return their series by rank (instant queries).
    pub sort: bool,
    /// The query's budget.
    pub limits: &'a Arc<Limits>,
}

/// Series by group: the groups' labels in order of appearance, and the members of each.
pub(crate) struct Groups {
    pub(crate) labels: Vec<Labels>,
    pub(crate) members: Vec<Vec<usize>>,
}

impl Groups {
    fn new((labels, of_series): (Vec<Labels>, Vec<u32>)) -> Self {
        let mut members = vec![Vec::new(); labels.len()];
        for (i, group) in of_series.into_iter().enumerate() {
            if let Some(m) = members.get_mut(group as usize) {
                m.push(i);
            }
        }
        Groups { labels, members }
    }
}

/// How many series of one group are folded by one thread before its result is joined with the others'. Fixed, so that
/// the result does not depend on the number of threads.
const UNIT: usize = 512;

/// About what it takes to tell which group a series is in, in bytes.
const MEMBER_BYTES: u64 = 32;
/// About what a group takes, in bytes: its labels and the list of its members.
const GROUP_BYTES: usize = 192;

/// Aggregates. Operators that can, fold the series one by one as they are computed.
pub fn aggregate(
    run: &Run<'_>,
    source: Source<'_>,
    grouping: &Grouping<'_>,
) -> Result<(SeriesSet, Annotations), QueryError> {
    match run.op {
        AggregateOp::Sum
        | AggregateOp::Avg
        | AggregateOp::Count
        | AggregateOp::Min
        | AggregateOp::Max
        | AggregateOp::Group
        | AggregateOp::Stddev
        | AggregateOp::Stdvar => folded(run, &source, grouping),
        AggregateOp::Topk
        | AggregateOp::Bottomk
        | AggregateOp::Limitk
        | AggregateOp::LimitRatio
        | AggregateOp::Quantile
        | AggregateOp::CountValues => {
            let (set, mut notes) = source.materialize(run.limits)?;
            let _members = run.limits.charge(0, MEMBER_BYTES * set.series.len() as u64)?;
            let groups = Groups::new(group_built(set.series.iter().map(|s| &s.labels), |n| grouping.keeps(n)));
            let out = match run.op {
                AggregateOp::Quantile => values::quantiles(run, &set, groups, &mut notes)?,
                AggregateOp::CountValues => values::count_values(run, &set, groups)?,
                _ => pick::pick(run, set, groups, &mut notes)?,
            };
            Ok((out, notes))
        }
    }
}

fn folded(run: &Run<'_>, source: &Source<'_>, grouping: &Grouping<'_>) -> Result<(SeriesSet, Annotations), QueryError> {
    let _members = run.limits.charge(0, MEMBER_BYTES * source.meta.len() as u64)?;
    let groups = Groups::new(source.meta.grouped(|n| grouping.keeps(n)));
    let units: Vec<(usize, &[usize])> = groups
        .members
        .iter()
        .enumerate()
        .flat_map(|(g, members)| members.chunks(UNIT).map(move |unit| (g, unit)))
        .collect();
    // An account for what the folds take; the series themselves are never held.
    let fold_bytes = GROUP_BYTES + size_of::<(usize, Fold)>() + run.steps * 24;
    let _folds = run.limits.charge(units.len() as u64, (units.len() * fold_bytes) as u64)?;
    let fold_unit = |scratch: &mut Scratch, (g, unit): &(usize, &[usize])| {
        run.limits.check()?;
        let mut fold = Fold::new(run.op, run.steps);
        for i in *unit {
            let values = (source.compute)(*i, scratch)?;
            let about = Added { name: source.meta.metric_name(*i), drop_name: source.meta.drops_name(*i) };
            fold.add(&values, &about, run, &mut scratch.notes);
        }
        Ok((*g, fold))
    };
    let mut notes = Annotations::default();
    let mut parts: Vec<(usize, Fold)> = Vec::with_capacity(units.len());
    if source.meta.len() <= crate::promql::source::BATCH {
        let mut scratch = Scratch::default();
        for u in &units {
            parts.push(fold_unit(&mut scratch, u)?);
        }
        notes.merge(scratch.notes);
    } else {
        let per_thread = (crate::promql::source::BATCH * units.len() / source.meta.len().max(1)).max(1);
        type Chunk = (Vec<(usize, Fold)>, Annotations);
        let chunks: Vec<Chunk> = cpu_pool::pool().install(|| {
            units
                .par_chunks(per_thread)
                .map(|chunk| {
                    let mut scratch = Scratch::default();
                    let folds =
                        chunk.iter().map(|u| fold_unit(&mut scratch, u)).collect::<Result<Vec<_>, QueryError>>()?;
                    Ok((folds, scratch.notes))
                })
                .collect::<Result<_, QueryError>>()
        })?;
        for (folds, n) in chunks {
            parts.extend(folds);
            notes.merge(n);
        }
    }
    let mut series: Vec<StepSeries> = Vec::with_capacity(groups.labels.len());
    let mut current: Option<(usize, Fold)> = None;
    let finish = |done: Option<(usize, Fold)>, series: &mut Vec<StepSeries>, notes: &mut Annotations| {
        if let Some((g, fold)) = done
            && let Some(labels) = groups.labels.get(g)
        {
            let drop_name = fold.drop_name;
            let values = fold.finish(run, notes);
            if values.any_present() {
                series.push(StepSeries { labels: labels.clone(), drop_name, values });
            }
        }
    };
    for (g, fold) in parts {
        match &mut current {
            Some((same, first)) if *same == g => first.join(fold, run, &mut notes),
            _ => finish(current.replace((g, fold)), &mut series, &mut notes),
        }
    }
    finish(current, &mut series, &mut notes);
    Ok((SeriesSet::new(series), notes))
}
