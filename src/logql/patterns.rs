//! The patterns of stored lines, with how many lines came when.
//!
//! The store finds patterns while it writes lines to disk; what it knows is taken from there, and patterns of several streams
//! that are alike become one. Where it knows none (lines in memory, or a query that filters lines) they are found here: the
//! store cuts lines into shapes and columns, and rows of a block that look alike, once what differs from row to row is left
//! out, are one line with a weight for [`crate::text::drain`].

use std::cmp::Reverse;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use crate::logql::ast::{LogExpr, Stage, StageKind};
use crate::logql::columns::values::Codes;
use crate::logql::columns::{Column, RowBlock, Rows};
use crate::logql::engine::{QueryError, Run};
use crate::logql::storage::{Direction, Entry, Fold, FoldPart, Select, StorageError, hints_of};
use crate::model::TimestampNs;
use crate::text::drain::{Miner, Pattern, VARIES, look_of};

/// The label that holds a line's level.
const DETECTED_LEVEL: &str = "detected_level";
/// Lines without a level.
const UNKNOWN: &str = "unknown";
const NS_PER_S: i64 = 1_000_000_000;
/// How many lines are looked at between two looks at the clock.
const CHECK_EVERY: u64 = 4096;

/// The patterns of each level.
pub type ByLevel = Vec<(String, Pattern)>;

/// What is found, and in which steps it is counted.
struct Mining<'a> {
    run: &'a Run<'a>,
    step_ns: i64,
    done: Mutex<Vec<(usize, Levels)>>,
    failed: Mutex<Option<QueryError>>,
}

/// Texts by number.
type Values = Arc<dyn crate::logql::columns::Texts>;

/// A miner for each level.
type Levels = HashMap<String, Miner>;

fn lock<T>(m: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The patterns of the lines of a selector in [start, end), counted in steps, those of most lines first. What the store has
/// found is counted by its own, coarser time, so at the ends of the range some seconds more may be in it.
pub fn mine(
    run: &Run<'_>,
    log: &LogExpr,
    range: (TimestampNs, TimestampNs),
    step_ns: i64,
) -> Result<ByLevel, QueryError> {
    let mining = Mining { run, step_ns: step_ns.max(1), done: Mutex::default(), failed: Mutex::default() };
    let log = exact_filters(log);
    let stored = if log.stages.is_empty() {
        let select = Select {
            matchers: log.matchers,
            start_ns: range.0,
            end_ns: range.1,
            direction: Direction::Forward,
            hints: Vec::new(),
            labels: Vec::new(),
        };
        run.storage.patterns(&select, mining.step_ns, &mining)?
    } else {
        run.fold(&log, range, &mining)?;
        Vec::new()
    };
    if let Some(e) = mining.failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(e);
    }
    let mut parts = mining.done.into_inner().unwrap_or_else(PoisonError::into_inner);
    parts.sort_by_key(|p| p.0);
    let mut levels = Levels::new();
    for p in stored {
        let samples = p.samples.into_iter().map(|(time, lines)| (time / NS_PER_S, lines));
        levels.entry(p.level).or_default().add(p.line.as_bytes(), samples);
    }
    for (level, miner) in parts.into_iter().flat_map(|(_, l)| l) {
        match levels.get_mut(&level) {
            Some(all) => all.absorb(miner),
            None => {
                levels.insert(level, miner);
            }
        }
    }
    let mut all: ByLevel =
        levels.into_iter().flat_map(|(level, m)| m.finish().0.into_iter().map(move |p| (level.clone(), p))).collect();
    all.sort_by_cached_key(|(level, p)| (Reverse(p.lines()), level.clone(), p.line.clone()));
    Ok(all)
}

/// The log query with those line filters only that the store applies exactly; other stages do not matter to patterns.
fn exact_filters(log: &LogExpr) -> LogExpr {
    let rewrites = |s: &Stage| matches!(s.kind, StageKind::LineFormat(_) | StageKind::Unpack | StageKind::Decolorize);
    let exact = |s: &&Stage| matches!(&s.kind, StageKind::LineFilter(f) if hints_of(f).is_some());
    let stages = log.stages.iter().take_while(|s| !rewrites(s)).filter(exact).cloned().collect();
    LogExpr { stages, ..log.clone() }
}

impl Fold for Mining<'_> {
    fn part(&self, index: usize) -> Box<dyn FoldPart + '_> {
        Box::new(Part { all: self, index, levels: Levels::new(), lines: 0 })
    }
}

struct Part<'a> {
    all: &'a Mining<'a>,
    index: usize,
    levels: Levels,
    lines: u64,
}

impl FoldPart for Part<'_> {
    fn line(&mut self, entry: &Entry<'_>) -> ControlFlow<()> {
        self.lines += 1;
        if self.lines.is_multiple_of(CHECK_EVERY) {
            self.check()?;
        }
        let level = entry.metadata.get(DETECTED_LEVEL).unwrap_or(UNKNOWN);
        let step = self.step(entry.timestamp);
        self.miner(level).add(entry.line.as_bytes(), [(step, 1)]);
        ControlFlow::Continue(())
    }

    fn rows(&mut self, rows: &dyn RowBlock) -> Result<ControlFlow<()>, StorageError> {
        if self.check().is_break() {
            return Ok(ControlFlow::Break(()));
        }
        self.take_rows(rows)?;
        Ok(ControlFlow::Continue(()))
    }

    fn finish(self: Box<Self>) {
        lock(&self.all.done).push((self.index, self.levels));
    }
}

/// A column as far as it tells rows apart.
struct Told {
    codes: Codes,
    /// By code; `None` if they differ from the start, as numbers do.
    values: Option<Values>,
    /// By code: what texts that differ in parts with digits only have in common; 0 for single words.
    looks: Vec<u64>,
}

impl Told {
    fn value(&self, place: usize) -> &str {
        let code = self.codes.get(place);
        self.values.as_ref().filter(|v| code < v.len()).map_or("", |v| v.get(code))
    }

    fn look(&self, place: usize) -> u64 {
        self.looks.get(self.codes.get(place)).copied().unwrap_or_default()
    }
}

/// Rows that look alike.
struct Look {
    /// The first of them.
    place: usize,
    /// For each column whether the single words in it differ.
    varies: Vec<bool>,
    steps: HashMap<i64, u64>,
}

impl Part<'_> {
    fn check(&self) -> ControlFlow<()> {
        match self.all.run.check() {
            Ok(()) => ControlFlow::Continue(()),
            Err(e) => {
                *lock(&self.all.failed) = Some(e);
                ControlFlow::Break(())
            }
        }
    }

    /// The second at which the step of a time begins.
    fn step(&self, timestamp: TimestampNs) -> i64 {
        timestamp.div_euclid(self.all.step_ns).saturating_mul(self.all.step_ns) / NS_PER_S
    }

    fn miner(&mut self, level: &str) -> &mut Miner {
        if !self.levels.contains_key(level) {
            self.levels.insert(level.to_owned(), Miner::default());
        }
        self.levels.entry(level.to_owned()).or_default()
    }

    fn take_rows(&mut self, block: &dyn RowBlock) -> Result<(), StorageError> {
        let levels = levels_of(block)?;
        let times = block.timestamps()?;
        let wanted = match block.selected()? {
            Some(rows) => rows,
            None => block.parts().iter().flat_map(|p| p.rows.clone()).collect(),
        };
        for (index, rows) in block.shapes()?.iter().enumerate() {
            let columns: Vec<Told> = (0..rows.shape.variables.len())
                .map(|v| Ok(told_apart(block.column(index, v)?)))
                .collect::<Result<_, StorageError>>()?;
            let mut looks: HashMap<Vec<u64>, Look> = HashMap::new();
            let mut look = Vec::new();
            for (place, row) in places(&rows.rows, &wanted) {
                look.clear();
                look.push(levels.codes.get(row as usize) as u64);
                look.extend(columns.iter().map(|c| c.look(place)));
                let step = self.step(times.get(row as usize).copied().unwrap_or_default());
                let Some(known) = looks.get_mut(&look) else {
                    let varies = columns.iter().map(|c| c.values.is_none()).collect();
                    looks.insert(look.clone(), Look { place, varies, steps: HashMap::from([(step, 1)]) });
                    continue;
                };
                for (varies, column) in known.varies.iter_mut().zip(&columns) {
                    *varies = *varies || column.look(place) == 0 && column.value(place) != column.value(known.place);
                }
                *known.steps.entry(step).or_default() += 1;
            }
            let mut looks: Vec<(Vec<u64>, Look)> = looks.into_iter().collect();
            looks.sort_unstable_by_key(|(_, l)| l.place);
            let mut line = Vec::new();
            for (key, look) in looks {
                let level = key.first().and_then(|l| levels.names.get(*l as usize)).map_or(UNKNOWN, String::as_str);
                line.clear();
                for (i, literal) in rows.shape.literals.iter().enumerate() {
                    line.extend_from_slice(literal.as_bytes());
                    match (look.varies.get(i), columns.get(i)) {
                        (Some(false), Some(column)) => line.extend_from_slice(column.value(look.place).as_bytes()),
                        (Some(true), _) => line.push(VARIES),
                        _ => {}
                    }
                }
                self.miner(level).add(&line, look.steps);
            }
        }
        Ok(())
    }
}

/// The rows of a shape that are wanted, with their places.
fn places<'r>(rows: &'r Rows, wanted: &'r [u32]) -> Box<dyn Iterator<Item = (usize, u32)> + 'r> {
    match rows {
        Rows::All => Box::new(wanted.iter().map(|r| (*r as usize, *r))),
        Rows::Some(list) => {
            let mut rest = wanted.iter().peekable();
            Box::new(list.iter().enumerate().filter_map(move |(place, row)| {
                while rest.next_if(|w| *w < row).is_some() {}
                rest.next_if(|w| *w == row).map(|_| (place, *row))
            }))
        }
    }
}

/// What a column tells of its rows.
fn told_apart(column: Column) -> Told {
    let (values, codes): (Values, Codes) = match column {
        Column::Constant(text) => (Arc::new(vec![text]), Codes::One),
        Column::Dictionary { values, codes } => (values, Codes::Each(codes)),
        Column::Texts(values) => {
            let codes = (0..values.len() as u32).collect();
            (values, Codes::Each(codes))
        }
        Column::Integers { .. } => return Told { codes: Codes::One, values: None, looks: Vec::new() },
    };
    let look = |i| {
        let text = values.get(i);
        if text.contains(' ') { look_of(text.as_bytes()) } else { 0 }
    };
    let looks = (0..values.len()).map(look).collect();
    Told { codes, values: Some(values), looks }
}

/// The level of each row.
struct BlockLevels {
    names: Vec<String>,
    codes: Codes,
}

fn levels_of(block: &dyn RowBlock) -> Result<BlockLevels, StorageError> {
    let mut names = vec![UNKNOWN.to_owned()];
    let sets = block.metadata()?;
    let mut by_row = vec![0u32; block.rows()];
    for (i, set) in sets.iter().enumerate() {
        let Some(name) = set.names.iter().position(|n| n == DETECTED_LEVEL) else { continue };
        let first = names.len() as u32;
        let (texts, codes): (Vec<String>, Codes) = match block.metadata_column(i, name)? {
            Column::Constant(text) => (vec![text], Codes::One),
            Column::Dictionary { values, codes } => {
                ((0..values.len()).map(|v| values.get(v).to_owned()).collect(), Codes::Each(codes))
            }
            Column::Texts(values) => {
                let codes = (0..values.len() as u32).collect();
                ((0..values.len()).map(|v| values.get(v).to_owned()).collect(), Codes::Each(codes))
            }
            Column::Integers { values, .. } => {
                let codes = (0..values.len() as u32).collect();
                (values.iter().map(ToString::to_string).collect(), Codes::Each(codes))
            }
        };
        names.extend(texts);
        let mut put = |place: usize, row: usize| {
            if let Some(slot) = by_row.get_mut(row) {
                *slot = first + codes.get(place) as u32;
            }
        };
        match &set.rows {
            Rows::All => (0..block.rows()).for_each(|row| put(row, row)),
            Rows::Some(list) => list.iter().enumerate().for_each(|(place, row)| put(place, *row as usize)),
        }
    }
    Ok(BlockLevels { names, codes: Codes::Each(by_row) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_the_filter() {
        let lines = [
            "GET /a/1 200 in 5ms",
            "GET /b/22 404 in 17ms",
            "GET /c 500 in 1ms",
            r#"{"ts":1,"msg":"disk sda is full","host":"a"}"#,
            r#"{"ts":2,"msg":"disk sdb is full","host":"b"}"#,
            "ts=5 level=info msg=\"user 7 left\"",
        ];
        let mut miner = Miner::default();
        lines.iter().for_each(|l| miner.add(l.as_bytes(), [(0, 1)]));
        let (patterns, _) = miner.finish();
        assert_eq!(patterns.len(), 3);
        for p in patterns {
            let filter = crate::logql::stages::pattern::Pattern::filter(&p.text()).unwrap();
            let matched = lines.iter().filter(|l| filter.is_match(l)).count() as u64;
            assert_eq!(matched, p.lines(), "{}", p.text());
        }
    }
}
