//! Operators that take in one series after another and hold one value for each step: `sum`, `avg`, `min`, ...

use std::sync::Arc;

use crate::model::histogram::HistogramAccumulator;
use crate::promql::aggregate::Run;
use crate::promql::annotations::{Annotations, Combining, Remark};
use crate::promql::ast::AggregateOp;
use crate::promql::kahan;
use crate::promql::lex::aggregate_text;
use crate::promql::series_set::{ABSENT, StepValues, is_absent};

/// The histograms of one step.
#[derive(Clone, Debug)]
struct HistogramCell {
    acc: Option<HistogramAccumulator>,
    /// Exponential and custom buckets met; there is no result.
    incompatible: bool,
    /// The metric's name, for that remark.
    name: Arc<str>,
}

/// What is known of a series that is taken in.
pub(super) struct Added<'a> {
    /// The metric's name.
    pub(super) name: &'a str,
    /// Whether it is to lose its name.
    pub(super) drop_name: bool,
}

/// The running aggregation of one group, or of a part of it.
pub(super) struct Fold {
    op: AggregateOp,
    /// The running value; for stddev and stdvar the sum of squared distances.
    v: Vec<f64>,
    /// What rounding has lost of `v`; for stddev and stdvar the mean.
    c: Vec<f64>,
    /// How many floats were taken in.
    n: Vec<u32>,
    /// Steps at which the sum of `avg` overflowed, so that `v` is the mean.
    is_mean: Option<Vec<bool>>,
    histograms: Option<Vec<HistogramCell>>,
    pub(super) drop_name: bool,
}

impl Fold {
    pub(super) fn new(op: AggregateOp, steps: usize) -> Self {
        let needs_c = !matches!(op, AggregateOp::Count | AggregateOp::Group | AggregateOp::Min | AggregateOp::Max);
        Fold {
            op,
            v: vec![0.0; steps],
            c: vec![0.0; if needs_c { steps } else { 0 }],
            n: vec![0; steps],
            is_mean: None,
            histograms: None,
            drop_name: false,
        }
    }

    pub(super) fn add(&mut self, values: &StepValues, about: &Added<'_>, run: &Run<'_>, notes: &mut Annotations) {
        if about.drop_name && !self.drop_name && values.any_present() {
            self.drop_name = true;
        }
        self.add_floats(&values.floats);
        if values.histograms.is_some() {
            self.add_histograms(values, about.name, run, notes);
        }
    }

    fn add_floats(&mut self, floats: &[f64]) {
        let cells = self.v.iter_mut().zip(&mut self.n).zip(floats);
        match self.op {
            AggregateOp::Sum => {
                // Adding nothing changes nothing, so that there is no branch in the loop.
                for (((v, n), x), c) in cells.zip(&mut self.c) {
                    let there = !is_absent(*x);
                    (*v, *c) = kahan::add(if there { *x } else { 0.0 }, *v, *c);
                    *n += u32::from(there);
                }
            }
            AggregateOp::Count | AggregateOp::Group => {
                for ((_, n), x) in cells {
                    *n += u32::from(!is_absent(*x));
                }
            }
            AggregateOp::Min => {
                for ((v, n), x) in cells {
                    if !is_absent(*x) {
                        if *n == 0 || *x < *v || v.is_nan() {
                            *v = *x;
                        }
                        *n += 1;
                    }
                }
            }
            AggregateOp::Max => {
                for ((v, n), x) in cells {
                    if !is_absent(*x) {
                        if *n == 0 || *x > *v || v.is_nan() {
                            *v = *x;
                        }
                        *n += 1;
                    }
                }
            }
            AggregateOp::Avg => {
                for (i, x) in floats.iter().enumerate() {
                    if !is_absent(*x) {
                        self.add_to_mean(i, *x);
                    }
                }
            }
            _ => {
                for (((v, n), x), mean) in cells.zip(&mut self.c) {
                    if is_absent(*x) {
                        continue;
                    }
                    *n += 1;
                    if *n == 1 {
                        *mean = *x;
                        *v = if x.is_finite() { 0.0 } else { f64::NAN };
                    } else {
                        let delta = x - *mean;
                        *mean += delta / f64::from(*n);
                        *v += delta * (x - *mean);
                    }
                }
            }
        }
    }

    fn add_to_mean(&mut self, i: usize, x: f64) {
        let (Some(v), Some(c), Some(n)) = (self.v.get_mut(i), self.c.get_mut(i), self.n.get_mut(i)) else { return };
        *n += 1;
        let count = f64::from(*n);
        if *n == 1 {
            (*v, *c) = (x, 0.0);
            return;
        }
        let already_mean = self.is_mean.as_ref().is_some_and(|m| m.get(i).copied().unwrap_or(false));
        if !already_mean {
            let (sum, lost) = kahan::add(x, *v, *c);
            if !sum.is_infinite() {
                (*v, *c) = (sum, lost);
                return;
            }
            *v /= count - 1.0;
            *c /= count - 1.0;
            let steps = self.n.len();
            if let Some(m) = self.is_mean.get_or_insert_with(|| vec![false; steps]).get_mut(i) {
                *m = true;
            }
        }
        let q = (count - 1.0) / count;
        if let (Some(v), Some(c)) = (self.v.get_mut(i), self.c.get_mut(i)) {
            (*v, *c) = kahan::add(x / count, q * *v, q * *c);
        }
    }

    fn add_histograms(&mut self, values: &StepValues, metric: &str, run: &Run<'_>, notes: &mut Annotations) {
        let steps = self.n.len();
        match self.op {
            AggregateOp::Count | AggregateOp::Group => {
                for (i, n) in self.n.iter_mut().enumerate() {
                    *n += u32::from(values.histogram(i).is_some());
                }
            }
            AggregateOp::Sum | AggregateOp::Avg => {
                let is_avg = self.op == AggregateOp::Avg;
                let cells = self.histograms.get_or_insert_with(|| {
                    let name = Arc::from(metric);
                    vec![HistogramCell { acc: None, incompatible: false, name }; steps]
                });
                for (i, cell) in cells.iter_mut().enumerate() {
                    let Some(h) = values.histogram(i) else { continue };
                    if cell.incompatible {
                        continue;
                    }
                    let outcome = match &mut cell.acc {
                        None => {
                            cell.acc = Some(HistogramAccumulator::new(h));
                            Ok(())
                        }
                        Some(acc) if is_avg => acc.add_for_mean(h),
                        Some(acc) => acc.add(h),
                    };
                    if outcome.is_err() {
                        cell.incompatible = true;
                        notes.add(Remark::MixedExponentialCustom, metric, run.span);
                    }
                }
            }
            _ => {
                if (0..steps).any(|i| values.histogram(i).is_some()) {
                    notes.add(
                        Remark::HistogramIgnoredInAggregation { operator: aggregate_text(self.op) },
                        "",
                        run.span,
                    );
                }
            }
        }
    }

    /// Takes in the fold of another part of the same group.
    pub(super) fn join(&mut self, other: Fold, run: &Run<'_>, notes: &mut Annotations) {
        self.drop_name |= other.drop_name;
        for i in 0..self.v.len() {
            let (a, b) = (self.n[i], other.n[i]);
            if b == 0 {
                continue;
            }
            if a == 0 {
                self.v[i] = other.v[i];
                self.n[i] = b;
                if let (Some(c), Some(o)) = (self.c.get_mut(i), other.c.get(i)) {
                    *c = *o;
                }
                if other.mean_at(i) {
                    self.set_mean(i);
                }
                continue;
            }
            let (x, y) = (f64::from(a), f64::from(b));
            match self.op {
                AggregateOp::Sum => {
                    (self.v[i], self.c[i]) = kahan::add(other.v[i], self.v[i], self.c[i] + other.c[i]);
                }
                AggregateOp::Min | AggregateOp::Max => {
                    let (mine, theirs) = (self.v[i], other.v[i]);
                    let better = if self.op == AggregateOp::Min { theirs < mine } else { theirs > mine };
                    if better || mine.is_nan() {
                        self.v[i] = theirs;
                    }
                }
                AggregateOp::Avg => self.join_means(i, &other, (x, y)),
                AggregateOp::Stddev | AggregateOp::Stdvar => {
                    // Chan's formula for the join of two running variances.
                    let delta = other.c[i] - self.c[i];
                    self.v[i] += other.v[i] + delta * delta * x * y / (x + y);
                    self.c[i] += delta * y / (x + y);
                }
                _ => {}
            }
            self.n[i] = a + b;
        }
        if let Some(theirs) = other.histograms {
            self.join_histograms(theirs, run, notes);
        }
    }

    fn mean_at(&self, i: usize) -> bool {
        self.is_mean.as_ref().is_some_and(|m| m.get(i).copied().unwrap_or(false))
    }

    fn set_mean(&mut self, i: usize) {
        let steps = self.n.len();
        if let Some(m) = self.is_mean.get_or_insert_with(|| vec![false; steps]).get_mut(i) {
            *m = true;
        }
    }

    fn join_means(&mut self, i: usize, other: &Fold, (x, y): (f64, f64)) {
        if !self.mean_at(i) && !other.mean_at(i) {
            let (sum, lost) = kahan::add(other.v[i], self.v[i], self.c[i] + other.c[i]);
            if !sum.is_infinite() {
                (self.v[i], self.c[i]) = (sum, lost);
                return;
            }
        }
        let mean = |f: &Fold, n: f64| if f.mean_at(i) { f.v[i] + f.c[i] } else { f.v[i] / n + f.c[i] / n };
        let (a, b) = (mean(self, x), mean(other, y));
        (self.v[i], self.c[i]) = kahan::add(b * (y / (x + y)), a * (x / (x + y)), 0.0);
        self.set_mean(i);
    }

    fn join_histograms(&mut self, theirs: Vec<HistogramCell>, run: &Run<'_>, notes: &mut Annotations) {
        let Some(mine) = &mut self.histograms else {
            self.histograms = Some(theirs);
            return;
        };
        for (a, b) in mine.iter_mut().zip(theirs) {
            a.incompatible |= b.incompatible;
            match (&mut a.acc, b.acc) {
                (Some(acc), Some(other)) => {
                    if acc.join(other).is_err() {
                        a.incompatible = true;
                        notes.add(Remark::MixedExponentialCustom, &b.name, run.span);
                    }
                }
                (None, other) => a.acc = other,
                (Some(_), None) => {}
            }
        }
    }

    /// The values of the group.
    pub(super) fn finish(self, run: &Run<'_>, notes: &mut Annotations) -> StepValues {
        let mut out = StepValues { floats: Vec::with_capacity(self.v.len()), histograms: None };
        for i in 0..self.v.len() {
            let n = f64::from(self.n[i]);
            out.floats.push(if self.n[i] == 0 {
                ABSENT
            } else {
                match self.op {
                    AggregateOp::Sum if self.v[i].is_infinite() => self.v[i],
                    AggregateOp::Sum => self.v[i] + self.c[i],
                    AggregateOp::Avg if self.mean_at(i) => self.v[i] + self.c[i],
                    AggregateOp::Avg => self.v[i] / n + self.c[i] / n,
                    AggregateOp::Count => n,
                    AggregateOp::Group => 1.0,
                    AggregateOp::Stddev => (self.v[i] / n).sqrt(),
                    AggregateOp::Stdvar => self.v[i] / n,
                    _ => self.v[i],
                }
            });
        }
        for (i, cell) in self.histograms.into_iter().flatten().enumerate() {
            let Some(acc) = cell.acc else { continue };
            if self.n[i] > 0 {
                notes.add(Remark::MixedFloatsHistogramsInAggregation, "", run.span);
                out.set_float(i, ABSENT);
                continue;
            }
            if cell.incompatible {
                continue;
            }
            notes.add_outcome(acc.outcome(), Combining::Aggregation, run.span);
            let h = if self.op == AggregateOp::Avg { acc.into_mean() } else { acc.into_sum() };
            out.set_histogram(i, Arc::new(h));
        }
        out
    }
}
