//! What the lines of a range function add up to, gathered in parts that run side by side.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Steps;
use crate::logql::ast::{RangeAggregation, RangeOp, Stage, StageKind};
use crate::logql::columns::RowBlock;
use crate::logql::engine::{QueryError, Run, Stats};
use crate::logql::hints::Hints;
use crate::logql::labels::{ERROR, ERROR_DETAILS, LineLabels};
use crate::logql::stages::unwrap::CompiledUnwrap;
use crate::logql::stages::{Line, Pipeline};
use crate::logql::storage::{Entry, Fold, FoldPart, StorageError, hints_of};
use crate::model::Labels;

/// Sets of metadata that are remembered for each stream: the levels, mostly.
const MAX_REMEMBERED: usize = 8;
/// How many lines are read between two looks at the clock.
const CHECK_EVERY: u64 = 1024;
/// Bytes of a point or a difference.
const POINT_BYTES: u64 = 16;
/// Bytes of a series beside its points, about.
const SERIES_BYTES: u64 = 300;
/// How the errors of parsers end: `JSONParserErr`, `LogfmtParserErr`.
const PARSER_ERROR: &str = "ParserErr";
/// The label that Loki puts on series of failed lines that a query asked for.
const PRESERVE_ERROR: &str = "__preserve_error__";

/// What is gathered for one series.
pub enum Gathered {
    /// Enough for counts and sums of lengths.
    Differences(Differences),
    /// All points as (time, value), for functions that need them.
    Points(Vec<(i64, f64)>),
}

/// Differences from step to step of (lines, sum), from the first to the last step where there is one.
#[derive(Default)]
pub struct Differences {
    /// The step of the first.
    pub first: usize,
    /// One for each step from there on.
    pub values: Vec<(i64, f64)>,
}

impl Differences {
    /// Makes room for a step; says by how many entries it grew.
    fn reach(&mut self, step: usize) -> usize {
        let before = self.values.len();
        if before == 0 {
            self.first = step;
        }
        if let Some(missing) = self.first.checked_sub(step).filter(|n| *n > 0) {
            self.values.splice(0..0, std::iter::repeat_n((0, 0.0), missing));
            self.first = step;
        }
        if step - self.first >= self.values.len() {
            self.values.resize(step - self.first + 1, (0, 0.0));
        }
        self.values.len() - before
    }

    /// Adds to the difference at a step; says by how many entries it grew.
    fn add(&mut self, step: usize, lines: i64, sum: f64) -> usize {
        let grown = self.reach(step);
        if let Some(x) = self.values.get_mut(step - self.first) {
            x.0 += lines;
            x.1 += sum;
        }
        grown
    }
}

/// A range function that is being evaluated: what all parts share, and where they put what they gathered.
pub struct Gathering<'a> {
    run: &'a Run<'a>,
    pub(super) r: &'a RangeAggregation,
    pub(super) steps: Steps,
    pub(super) pipeline: Pipeline,
    pub(super) unwrap: Option<CompiledUnwrap>,
    pub(super) hints: Hints,
    /// The labels of `by (...)`, sorted, each once.
    pub(super) by: Option<Vec<String>>,
    /// Whether the store applies all line filters, so that rows in columns need no look at their lines for them.
    pub(super) exact_filters: bool,
    done: Mutex<Vec<(usize, Partial)>>,
    failed: Mutex<Option<(usize, QueryError)>>,
    stop: AtomicBool,
}

/// What one part has gathered.
#[derive(Default)]
struct Partial {
    series: Vec<(Labels, Gathered)>,
    stats: Stats,
}

fn lock<T>(m: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Gathering<'a> {
    /// Prepares a function.
    pub fn new(run: &'a Run<'a>, r: &'a RangeAggregation, steps: Steps) -> Result<Self, QueryError> {
        let by = r.grouping.as_ref().filter(|g| !g.without).map(|g| {
            let mut names = g.labels.clone();
            names.sort();
            names.dedup();
            names
        });
        Ok(Gathering {
            run,
            r,
            steps,
            pipeline: Pipeline::compile(&r.log.stages).map_err(QueryError::Invalid)?,
            unwrap: r.unwrap.as_ref().map(CompiledUnwrap::compile).transpose().map_err(QueryError::Invalid)?,
            hints: Hints::of(r),
            by,
            exact_filters: applied_by_store(&r.log.stages),
            done: Mutex::default(),
            failed: Mutex::default(),
            stop: AtomicBool::new(false),
        })
    }

    /// The error of the first part that failed.
    fn fail(&self, part: usize, error: QueryError) {
        self.stop.store(true, Ordering::Relaxed);
        let mut failed = lock(&self.failed);
        if failed.as_ref().is_none_or(|(p, _)| part < *p) {
            *failed = Some((part, error));
        }
    }

    /// All series, put together from the parts in their order.
    pub fn finish(self) -> Result<(Vec<(Labels, Gathered)>, Stats), QueryError> {
        if let Some((_, e)) = self.failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(e);
        }
        let mut parts = self.done.into_inner().unwrap_or_else(PoisonError::into_inner);
        parts.sort_by_key(|p| p.0);
        let mut parts = parts.into_iter().map(|(_, p)| p);
        let Some(mut all) = parts.next() else { return Ok((Vec::new(), Stats::default())) };
        let mut index: HashMap<Labels, usize> =
            all.series.iter().enumerate().map(|(i, (labels, _))| (labels.clone(), i)).collect();
        for part in parts {
            all.stats.add(&part.stats);
            for (labels, gathered) in part.series {
                let Some(i) = index.get(&labels) else {
                    index.insert(labels.clone(), all.series.len());
                    all.series.push((labels, gathered));
                    continue;
                };
                match (all.series.get_mut(*i).map(|s| &mut s.1), gathered) {
                    (Some(Gathered::Differences(sum)), Gathered::Differences(d)) => {
                        for (step, (lines, value)) in (d.first..).zip(d.values) {
                            sum.add(step, lines, value);
                        }
                    }
                    (Some(Gathered::Points(all)), Gathered::Points(p)) => all.extend(p),
                    _ => {}
                }
            }
        }
        check_series(all.series.len(), self.run)?;
        Ok((all.series, all.stats))
    }
}

/// Whether all line filters are conditions of the store. Behind a stage that rewrites lines they are not, but such a stage
/// has the lines read anyway.
fn applied_by_store(stages: &[Stage]) -> bool {
    stages.iter().all(|s| match &s.kind {
        StageKind::LineFilter(f) => hints_of(f).is_some(),
        _ => true,
    })
}

fn check_series(series: usize, run: &Run<'_>) -> Result<(), QueryError> {
    let most = run.options.max_series;
    if series <= most {
        return Ok(());
    }
    Err(QueryError::Limit(format!(
        "maximum of series ({most}) reached for a single query; aggregate by fewer labels or narrow the selector"
    )))
}

impl Fold for Gathering<'_> {
    fn part(&self, index: usize) -> Box<dyn FoldPart + '_> {
        Box::new(Part {
            all: self,
            index,
            line: Line::wanting(self.hints.wanted.clone()),
            partial: Partial::default(),
            by_labels: HashMap::new(),
            by_values: HashMap::new(),
            unchanged: HashMap::new(),
            key: Vec::new(),
            window: Window::default(),
            uncharged: 0,
        })
    }
}

/// One part at work.
pub(super) struct Part<'a> {
    pub(super) all: &'a Gathering<'a>,
    index: usize,
    line: Line,
    partial: Partial,
    by_labels: HashMap<Labels, usize>,
    /// Series by the values of the labels of `by (...)`.
    by_values: HashMap<Vec<u8>, usize>,
    /// Series of lines whose labels no stage has changed, by stream and metadata.
    unchanged: HashMap<u64, Vec<(Labels, usize)>>,
    key: Vec<u8>,
    window: Window,
    /// Bytes that the budget does not know of yet.
    uncharged: u64,
}

/// The steps of the line before, and between which times they stay the same: most lines are close to the one before.
#[derive(Clone, Copy, Default)]
struct Window {
    after: i64,
    until: i64,
    first: usize,
    end: usize,
}

impl FoldPart for Part<'_> {
    fn line(&mut self, entry: &Entry<'_>) -> ControlFlow<()> {
        match self.take(entry) {
            Ok(()) => ControlFlow::Continue(()),
            Err(e) => {
                self.all.fail(self.index, e);
                ControlFlow::Break(())
            }
        }?;
        if self.all.stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn rows(&mut self, rows: &dyn RowBlock) -> Result<ControlFlow<()>, StorageError> {
        match self.take_rows(rows) {
            Ok(()) => {}
            Err(QueryError::Storage(e)) => return Err(e),
            Err(e) => self.all.fail(self.index, e),
        }
        let stop = self.all.stop.load(Ordering::Relaxed);
        Ok(if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    fn finish(self: Box<Self>) {
        match self.charge() {
            Ok(()) => lock(&self.all.done).push((self.index, self.partial)),
            Err(e) => self.all.fail(self.index, e),
        }
    }
}

impl Part<'_> {
    fn charge(&self) -> Result<(), QueryError> {
        self.all.run.budget.take(self.uncharged)
    }

    /// Looks at the clock and at the budget.
    pub(super) fn check(&mut self) -> Result<(), QueryError> {
        self.charge()?;
        self.uncharged = 0;
        self.all.run.check()
    }

    /// Counts rows that needed no line.
    pub(super) fn rows_in_columns(&mut self, rows: u64) {
        self.partial.stats.rows += rows;
    }

    /// Runs one line through the pipeline and adds what comes out.
    pub(super) fn take(&mut self, entry: &Entry<'_>) -> Result<(), QueryError> {
        self.partial.stats.lines += 1;
        self.partial.stats.bytes += entry.line.len() as u64;
        if self.partial.stats.lines.is_multiple_of(CHECK_EVERY) {
            self.check()?;
        }
        if !self.all.pipeline.run(&mut self.line, entry) {
            return Ok(());
        }
        let value = match &self.all.unwrap {
            Some(u) => match u.value(&mut self.line.labels) {
                Some(v) => v,
                None => return Ok(()),
            },
            None if self.all.sums_bytes() => self.line.text(entry.line).len() as f64,
            None => 1.0,
        };
        let labels = &self.line.labels;
        if labels.has_error()
            && !(self.all.hints.keeps_errors && labels.get(ERROR).is_some_and(|e| e.ends_with(PARSER_ERROR)))
        {
            return Err(pipeline_error(labels));
        }
        let series = self.series_of(entry)?;
        self.add(series, entry.timestamp, value);
        Ok(())
    }

    /// The place of the series that the line at hand belongs to.
    fn series_of(&mut self, entry: &Entry<'_>) -> Result<usize, QueryError> {
        let labels = &self.line.labels;
        if labels.has_error() {
            let mut all = labels.collect(|_, _| true).to_builder();
            all.set(PRESERVE_ERROR, "true");
            return self.series(all.build());
        }
        if let Some(by) = &self.all.by {
            self.key.clear();
            for name in by {
                push_key(&mut self.key, labels.get(name).unwrap_or_default());
            }
            if let Some(i) = self.by_values.get(self.key.as_slice()) {
                return Ok(*i);
            }
            let of_series = labels.collect(|n, _| by.iter().any(|l| l == n));
            let i = self.series(of_series)?;
            self.uncharged += self.key.len() as u64;
            self.by_values.insert(self.key.clone(), i);
            return Ok(i);
        }
        let plain = labels.is_unchanged();
        if plain {
            let of_stream = self.unchanged.get(&entry.stream).map_or(&[][..], Vec::as_slice);
            if let Some((_, i)) = of_stream.iter().find(|(metadata, _)| metadata == entry.metadata) {
                return Ok(*i);
            }
        }
        let of_series = labels.collect(|n, _| !self.all.hides(n));
        let i = self.series(of_series)?;
        if plain {
            let of_stream = self.unchanged.entry(entry.stream).or_default();
            // Metadata that differs from line to line is not worth a search.
            if of_stream.len() < MAX_REMEMBERED {
                of_stream.push((entry.metadata.clone(), i));
            }
        }
        Ok(i)
    }

    /// The place of the series with these labels.
    pub(super) fn series(&mut self, labels: Labels) -> Result<usize, QueryError> {
        if let Some(i) = self.by_labels.get(&labels) {
            return Ok(*i);
        }
        let i = self.partial.series.len();
        check_series(i + 1, self.all.run)?;
        self.uncharged += SERIES_BYTES + 2 * labels.packed().len() as u64;
        let empty = match self.all.unwrap {
            None => Gathered::Differences(Differences::default()),
            Some(_) => Gathered::Points(Vec::new()),
        };
        self.by_labels.insert(labels.clone(), i);
        self.partial.series.push((labels, empty));
        Ok(i)
    }

    /// Adds a line of a series.
    pub(super) fn add(&mut self, series: usize, timestamp: i64, value: f64) {
        let time = timestamp.saturating_add(self.all.r.offset_ns);
        match self.partial.series.get_mut(series).map(|s| &mut s.1) {
            Some(Gathered::Differences(d)) => {
                if time <= self.window.after || time > self.window.until {
                    self.window = Window::around(self.all.steps, time, self.all.r.range_ns);
                }
                let (first, end) = (self.window.first, self.window.end);
                if first < end {
                    let mut grown = d.add(first, 1, value);
                    // What ends behind the last step has no end.
                    if end < self.all.steps.count {
                        grown += d.add(end, -1, -value);
                    }
                    self.uncharged += POINT_BYTES * grown as u64;
                }
            }
            Some(Gathered::Points(p)) => {
                p.push((time, value));
                self.uncharged += POINT_BYTES;
            }
            None => {}
        }
    }
}

impl Window {
    fn around(steps: Steps, time: i64, range_ns: i64) -> Self {
        let (first, end) = steps.holding(time, range_ns);
        // A window that holds a time holds all times between the same two steps, seen from each of its ends.
        let last = steps.step_ns.saturating_mul(steps.count as i64 - 1);
        let between = |from_start: i64| {
            if from_start <= 0 {
                (i64::MIN, 0)
            } else if from_start > last {
                (last, i64::MAX)
            } else {
                let before = (from_start - 1) / steps.step_ns * steps.step_ns;
                (before, before.saturating_add(steps.step_ns))
            }
        };
        let from_start = time.saturating_sub(steps.start_ns);
        let (a, b) = (between(from_start), between(from_start.saturating_add(range_ns)));
        let at = |x: i64| x.saturating_add(steps.start_ns);
        Window {
            after: at(a.0).max(at(b.0).saturating_sub(range_ns)),
            until: at(a.1).min(at(b.1).saturating_sub(range_ns)),
            first,
            end,
        }
    }
}

impl Gathering<'_> {
    /// Whether lengths of lines are added up.
    pub(super) fn sums_bytes(&self) -> bool {
        matches!(self.r.op, RangeOp::BytesOverTime | RangeOp::BytesRate)
    }

    /// Whether a label is none of the series', where there is no `by`.
    pub(super) fn hides(&self, name: &str) -> bool {
        name == ERROR
            || name == ERROR_DETAILS
            || self.unwrap.as_ref().is_some_and(|u| u.label() == name)
            || self.r.grouping.as_ref().is_some_and(|g| g.without && g.labels.iter().any(|l| l == name))
    }
}

/// Appends a value so that different lists of values give different keys.
pub(super) fn push_key(key: &mut Vec<u8>, value: &str) {
    key.extend_from_slice(&(value.len() as u32).to_le_bytes());
    key.extend_from_slice(value.as_bytes());
}

fn pipeline_error(labels: &LineLabels) -> QueryError {
    let error = labels.get(ERROR).unwrap_or_default().to_owned();
    QueryError::Pipeline { error, series: labels.collect(|n, _| n != ERROR_DETAILS).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_say_how_long_they_hold() {
        for range_ns in [1, 3, 10, 25] {
            let steps = Steps { start_ns: 100, step_ns: 10, count: if range_ns == 3 { 1 } else { 5 } };
            for time in 40..170 {
                let w = Window::around(steps, time, range_ns);
                assert!(w.after < time && time <= w.until);
                for t in w.after.max(0) + 1..=w.until.min(300) {
                    assert_eq!(steps.holding(t, range_ns), (w.first, w.end), "{time} {t} {range_ns}");
                }
            }
        }
    }

    #[test]
    fn differences_grow_both_ways() {
        let mut d = Differences::default();
        assert_eq!([d.add(5, 1, 2.0), d.add(3, 1, 1.0), d.add(5, 1, 1.0)], [1, 2, 0]);
        assert_eq!((d.first, d.values), (3, vec![(1, 1.0), (0, 0.0), (2, 3.0)]));
    }
}
