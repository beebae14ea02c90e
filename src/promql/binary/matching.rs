//! Operators between two vectors: which series meet, and what their results are called.

use std::collections::HashMap;
use std::sync::Arc;

use rayon::prelude::*;

use crate::exec::cpu_pool;
use crate::model::Labels;
use crate::model::labels::METRIC_NAME;
use crate::promql::annotations::Annotations;
use crate::promql::ast::{BinaryOp, Cardinality, VectorMatching};
use crate::promql::binary::changes_metric;
use crate::promql::binary::elements::{Outcome, element, scalar};
use crate::promql::engine::QueryError;
use crate::promql::series_set::{SeriesSet, StepSeries, StepValue, StepValues, is_absent, without_metadata};
use crate::promql::source::{BATCH, Source};
use crate::text::span::Span;

/// An operator between vectors that is no set operator.
#[derive(Clone, Copy, Debug)]
pub struct VectorOp {
    /// The operator.
    pub op: BinaryOp,
    /// Whether a comparison yields 0 or 1 instead of filtering.
    pub return_bool: bool,
    /// Where the operation stands, for remarks.
    pub span: Span,
}

/// The labels by which series meet.
pub(super) fn signature(labels: &Labels, m: &VectorMatching) -> Labels {
    if m.on {
        labels.with_only(&m.labels)
    } else {
        labels.filtered(|n| n != METRIC_NAME && !m.labels.iter().any(|l| l == n))
    }
}

fn result_labels(many: &Labels, one: &Labels, op: BinaryOp, m: &VectorMatching) -> Labels {
    let mut labels = if changes_metric(op) { without_metadata(many) } else { many.clone() };
    if m.card == Cardinality::OneToOne {
        labels = if m.on { labels.with_only(&m.labels) } else { labels.without(&m.labels) };
    }
    if m.include.is_empty() {
        return labels;
    }
    let mut b = labels.to_builder();
    for name in &m.include {
        b.set(name, one.value(name));
    }
    b.build()
}

/// Roughly what a side takes while series that meet are looked for, in bytes: for each a label set, a place where it stands, and a group.
pub(crate) fn matching_bytes(side: &SeriesSet) -> u64 {
    let own = size_of::<Group<'_>>() + 2 * size_of::<(Labels, usize)>() + 4 * size_of::<&StepSeries>();
    side.series.iter().map(|s| (own + s.labels.packed().len()) as u64).sum()
}

struct Group<'a> {
    key: Labels,
    many: Vec<&'a StepSeries>,
    one: Vec<&'a StepSeries>,
}

fn groups<'a>(many: &'a SeriesSet, one: &'a SeriesSet, m: &VectorMatching) -> Vec<Group<'a>> {
    let mut index: HashMap<Labels, usize> = HashMap::with_capacity(many.series.len());
    let mut out: Vec<Group<'a>> = Vec::with_capacity(many.series.len());
    for (set, is_one) in [(many, false), (one, true)] {
        let keys: Vec<Labels> = if set.series.len() <= BATCH {
            set.series.iter().map(|s| signature(&s.labels, m)).collect()
        } else {
            cpu_pool::pool().install(|| set.series.par_iter().map(|s| signature(&s.labels, m)).collect())
        };
        for (s, key) in set.series.iter().zip(keys) {
            let at = *index.entry(key).or_insert_with_key(|key| {
                out.push(Group { key: key.clone(), many: Vec::new(), one: Vec::new() });
                out.len() - 1
            });
            if let Some(g) = out.get_mut(at) {
                if is_one { g.one.push(s) } else { g.many.push(s) }
            }
        }
    }
    out
}

/// Results by label set; several pairs may feed one of them at different steps.
#[derive(Default)]
struct Results {
    index: HashMap<(Labels, bool), usize>,
    series: Vec<StepSeries>,
}

impl Results {
    fn slot(&mut self, labels: &Labels, drop_name: bool, steps: usize) -> usize {
        if let Some(i) = self.index.get(&(labels.clone(), drop_name)) {
            return *i;
        }
        self.series.push(StepSeries { labels: labels.clone(), drop_name, values: StepValues::absent(steps) });
        self.index.insert((labels.clone(), drop_name), self.series.len() - 1);
        self.series.len() - 1
    }
}

impl Results {
    /// Joins the results of a batch; at one step only one of two series of the same labels may have a value.
    fn take_in(&mut self, part: Vec<StepSeries>) -> Result<(), QueryError> {
        for s in part {
            let key = (s.labels.clone(), s.drop_name);
            let Some(first) = self.index.get(&key).and_then(|i| self.series.get_mut(*i)) else {
                self.index.insert(key, self.series.len());
                self.series.push(s);
                continue;
            };
            for i in 0..s.values.len() {
                let Some(v) = s.values.get(i) else { continue };
                if first.values.is_present(i) {
                    return Err(not_unique());
                }
                first.values.set(i, v);
            }
        }
        Ok(())
    }
}

/// How two vectors meet.
#[derive(Clone, Copy)]
pub struct Work<'a> {
    /// Which series meet.
    pub matching: &'a VectorMatching,
    /// At how many steps.
    pub steps: usize,
    /// Fails once the result is no longer wanted; asked every now and then.
    pub check: &'a (dyn Fn() -> Result<(), QueryError> + Sync),
}

/// After so many values looked at, the result may no longer be wanted: some milliseconds of work.
const CHECK_VALUES: usize = 1 << 20;

struct Joining<'a> {
    op: &'a VectorOp,
    work: &'a Work<'a>,
    /// The steps at which the "many" side has any value, where that matters: as in Prometheus, nothing is looked at where a side is
    /// empty.
    many_there: Option<&'a [bool]>,
    results: Results,
    notes: &'a mut Annotations,
    /// Values since the last check.
    looked_at: usize,
}

/// Applies an operator to two vectors.
pub fn vectors(
    op: &VectorOp,
    left: SeriesSet,
    right: SeriesSet,
    work: &Work<'_>,
    notes: &mut Annotations,
) -> Result<SeriesSet, QueryError> {
    let matching = work.matching;
    let swapped = matching.card == Cardinality::OneToMany;
    let (many, one) = if swapped { (right, left) } else { (left, right) };
    // With `group_right` the sides are swapped before the fill values are looked at, in Prometheus as here: there
    // `fill_left` stands in for a missing series of the "many" side, whichever side that is.
    let (fill_many, fill_one) = (matching.fill_left, matching.fill_right);
    let groups = groups(&many, &one, matching);
    let many_there = if groups.iter().any(|g| g.one.len() > 1) && fill_many.is_none() && fill_one.is_none() {
        Some(steps_with_values(&many, work.steps))
    } else {
        None
    };
    let many_there = many_there.as_deref();
    let all: Vec<usize> = (0..groups.len()).collect();
    let (parts, new_notes) = Source::for_batches(&all, |batch, scratch| {
        let notes = &mut scratch.notes;
        let mut joining = Joining { op, work, many_there, results: Results::default(), notes, looked_at: CHECK_VALUES };
        for g in batch.iter().filter_map(|i| groups.get(*i)) {
            let nothing = (g.one.is_empty() && fill_one.is_none()) || (g.many.is_empty() && fill_many.is_none());
            if !nothing {
                joining.group(g, fill_many, fill_one, swapped)?;
            } else if g.one.len() > 1 {
                // Nobody asks for them, but they are ambiguous all the same.
                for i in 0..work.steps {
                    joining.look(g.one.len())?;
                    joining.single(g, i, swapped)?;
                }
            }
        }
        joining.results.series.retain(|s| s.values.any_present());
        Ok(joining.results.series)
    })?;
    notes.merge(new_notes);
    let mut results = Results::default();
    for part in parts {
        results.take_in(part)?;
    }
    Ok(SeriesSet::new(results.series))
}

fn steps_with_values(set: &SeriesSet, steps: usize) -> Vec<bool> {
    let mut there = vec![false; steps];
    let mut missing = steps;
    for s in &set.series {
        if missing == 0 {
            break;
        }
        for (i, there) in there.iter_mut().enumerate().filter(|(_, there)| !**there) {
            *there = s.values.is_present(i);
            missing -= usize::from(*there);
        }
    }
    there
}

fn not_unique() -> QueryError {
    QueryError::Execution("multiple matches for labels: grouping labels must ensure unique matches".to_owned())
}

impl Joining<'_> {
    /// The series of the "one" side that has a value at step `i`; an error where there are two.
    fn single<'g>(&self, g: &'g Group<'_>, i: usize, swapped: bool) -> Result<Option<&'g StepSeries>, QueryError> {
        let mut there = g.one.iter().copied().filter(|s| s.values.is_present(i));
        let first = there.next();
        let looked_at = self.many_there.is_none_or(|m| m.get(i).copied().unwrap_or(false));
        if let (Some(a), Some(b), true) = (first, there.next(), looked_at) {
            let side = if swapped { "left" } else { "right" };
            return Err(QueryError::Execution(format!(
                "found duplicate series for the match group {} on the {side} hand-side of the operation: [{}, {}];\
                 many-to-many matching not allowed: matching labels must be unique on one side",
                g.key, a.labels, b.labels
            )));
        }
        Ok(first)
    }

    /// Counts values that are looked at.
    fn look(&mut self, values: usize) -> Result<(), QueryError> {
        self.looked_at += values;
        if self.looked_at >= CHECK_VALUES {
            self.looked_at = 0;
            (self.work.check)()?;
        }
        Ok(())
    }

    /// The usual case: in the whole group one series meets one.
    fn one_pair(&mut self, many: &StepSeries, one: &StepSeries, swapped: bool) -> Result<(), QueryError> {
        self.look(self.work.steps)?;
        let labels = result_labels(&many.labels, &one.labels, self.op.op, self.work.matching);
        let drop_name = self.op.return_bool || (many.drop_name && !changes_metric(self.op.op));
        let slot = self.results.slot(&labels, drop_name, self.work.steps);
        if many.values.histograms.is_none() && one.values.histograms.is_none() && changes_metric(self.op.op) {
            let Some(out) = self.results.series.get_mut(slot) else { return Ok(()) };
            let pairs = many.values.floats.iter().zip(&one.values.floats);
            for (place, (m, o)) in out.values.floats.iter_mut().zip(pairs) {
                if is_absent(*m) || is_absent(*o) {
                    continue;
                }
                if !is_absent(*place) {
                    return Err(not_unique());
                }
                *place = if swapped { scalar(self.op.op, *o, *m) } else { scalar(self.op.op, *m, *o) };
            }
            return Ok(());
        }
        for i in 0..self.work.steps {
            if let (Some(m), Some(o)) = (many.values.get(i), one.values.get(i)) {
                self.apply(slot, i, m, o, swapped)?;
            }
        }
        Ok(())
    }

    fn group(
        &mut self,
        g: &Group<'_>,
        fill_many: Option<f64>,
        fill_one: Option<f64>,
        swapped: bool,
    ) -> Result<(), QueryError> {
        if let ([many], [one], None, None) = (g.many.as_slice(), g.one.as_slice(), fill_many, fill_one) {
            return self.one_pair(many, one, swapped);
        }
        // Where one series meets one, the result has one place for all steps.
        let mut slots: HashMap<(usize, usize), usize> = HashMap::new();
        let group_only = Labels::clone(&g.key);
        for i in 0..self.work.steps {
            self.look(g.many.len() + g.one.len())?;
            let one = self.single(g, i, swapped)?;
            let one_value = one.and_then(|s| s.values.get(i)).or(fill_one.map(StepValue::Float));
            let mut matched = false;
            for (k, many) in g.many.iter().enumerate() {
                let Some(many_value) = many.values.get(i) else { continue };
                let Some(one_value) = one_value else { continue };
                let one_labels = one.map_or(&group_only, |s| &s.labels);
                let pair = (k, one.map_or(usize::MAX, |s| std::ptr::from_ref(s) as usize));
                if matched && self.work.matching.card == Cardinality::OneToOne {
                    return Err(QueryError::Execution(
                        "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
                            .to_owned(),
                    ));
                }
                matched = true;
                let slot = match slots.get(&pair) {
                    Some(s) => *s,
                    None => {
                        let labels = result_labels(&many.labels, one_labels, self.op.op, self.work.matching);
                        let drop_name = self.op.return_bool || (many.drop_name && !changes_metric(self.op.op));
                        let s = self.results.slot(&labels, drop_name, self.work.steps);
                        slots.insert(pair, s);
                        s
                    }
                };
                self.apply(slot, i, many_value, one_value, swapped)?;
            }
            let any_many = matched || g.many.iter().any(|s| s.values.is_present(i));
            if let (false, Some(fill), Some(one)) = (any_many, fill_many, one)
                && let Some(one_value) = one.values.get(i)
            {
                let labels = result_labels(&group_only, &one.labels, self.op.op, self.work.matching);
                let slot = self.results.slot(&labels, self.op.return_bool, self.work.steps);
                self.apply(slot, i, StepValue::Float(fill), one_value, swapped)?;
            }
        }
        Ok(())
    }

    fn apply(
        &mut self,
        slot: usize,
        i: usize,
        many: StepValue<'_>,
        one: StepValue<'_>,
        swapped: bool,
    ) -> Result<(), QueryError> {
        let (l, r) = if swapped { (one, many) } else { (many, one) };
        let outcome = element(self.op.op, l, r, self.notes, self.op.span);
        let Some(out) = self.results.series.get_mut(slot).map(|s| &mut s.values) else { return Ok(()) };
        if out.is_present(i) {
            return Err(not_unique());
        }
        match outcome {
            Outcome::Nothing => {}
            Outcome::Float(f) => out.set_float(i, f),
            Outcome::Histogram(h) => out.set_histogram(i, Arc::new(h)),
            Outcome::Compared(yes) if self.op.return_bool => out.set_float(i, f64::from(u8::from(yes))),
            Outcome::Compared(true) => out.set(i, l),
            Outcome::Compared(false) => {}
        }
        Ok(())
    }
}
