//! The patterns of stored lines, with how many lines came when.
//!
//! The store cuts lines into shapes and columns when they come in; here the rows of a block that look alike, once what differs
//! in nearly every row is left out, are one line with a weight, and [`crate::logql::drain`] finds the patterns of these. So
//! the counts are those of all lines, however many there are, and nothing has to be kept beside the store.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use crate::logql::ast::LogExpr;
use crate::logql::columns::values::Codes;
use crate::logql::columns::{Column, RowBlock, Rows};
use crate::logql::drain::{Miner, Pattern, VARIES};
use crate::logql::engine::{QueryError, Run};
use crate::logql::storage::{Entry, Fold, FoldPart, StorageError};
use crate::model::TimestampNs;

/// The label that holds a line's level.
const DETECTED_LEVEL: &str = "detected_level";
/// Lines without a level.
const UNKNOWN: &str = "unknown";
/// Columns with more distinct values in a block than this are taken to differ from line to line.
const MAX_DISTINCT: usize = 32;
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

/// A miner for each level.
type Levels = HashMap<String, Miner>;

fn lock<T>(m: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The patterns of the lines of a selector in [start, end), counted in steps, those of most lines first.
pub fn mine(
    run: &Run<'_>,
    log: &LogExpr,
    range: (TimestampNs, TimestampNs),
    step_ns: i64,
) -> Result<ByLevel, QueryError> {
    let mining = Mining { run, step_ns: step_ns.max(1), done: Mutex::default(), failed: Mutex::default() };
    run.fold(log, range, &mining)?;
    if let Some(e) = mining.failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(e);
    }
    let mut parts = mining.done.into_inner().unwrap_or_else(PoisonError::into_inner);
    parts.sort_by_key(|p| p.0);
    let mut levels = Levels::new();
    for (level, miner) in parts.into_iter().flat_map(|(_, l)| l) {
        match levels.get_mut(&level) {
            Some(all) => all.absorb(miner),
            None => {
                levels.insert(level, miner);
            }
        }
    }
    let mut all: ByLevel =
        levels.into_iter().flat_map(|(level, m)| m.finish().into_iter().map(move |p| (level.clone(), p))).collect();
    all.sort_by(|(la, a), (lb, b)| b.lines().cmp(&a.lines()).then_with(|| (la, &a.text).cmp(&(lb, &b.text))));
    Ok(all)
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
        self.miner(level).add(entry.line, [(step, 1)]);
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
    values: Option<Column>,
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
        timestamp.div_euclid(self.all.step_ns).saturating_mul(self.all.step_ns) / 1_000_000_000
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
            // How many rows of each look came in each step.
            let mut looks: HashMap<Vec<u16>, HashMap<i64, u64>> = HashMap::new();
            let mut look = Vec::new();
            for (place, row) in places(&rows.rows, &wanted) {
                look.clear();
                look.push(levels.codes.get(row as usize) as u16);
                look.extend(columns.iter().filter(|c| c.values.is_some()).map(|c| c.codes.get(place) as u16));
                let step = self.step(times.get(row as usize).copied().unwrap_or_default());
                match looks.get_mut(&look) {
                    Some(steps) => *steps.entry(step).or_default() += 1,
                    None => {
                        looks.insert(look.clone(), HashMap::from([(step, 1)]));
                    }
                }
            }
            let mut looks: Vec<_> = looks.into_iter().collect();
            looks.sort_unstable_by(|a, b| a.0.cmp(&b.0));
            let mut line = String::new();
            for (look, steps) in looks {
                let mut codes = look.iter().map(|c| usize::from(*c));
                let level = codes.next().and_then(|c| levels.names.get(c)).map_or(UNKNOWN, String::as_str);
                line.clear();
                for (i, literal) in rows.shape.literals.iter().enumerate() {
                    line.push_str(literal);
                    match columns.get(i).map(|c| &c.values) {
                        Some(Some(column)) => push_value(column, codes.next().unwrap_or_default(), &mut line),
                        Some(None) => line.push_str(VARIES),
                        None => {}
                    }
                }
                self.miner(level).add(&line, steps);
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

/// Codes for columns with few values; those with many do not tell rows apart.
fn told_apart(column: Column) -> Told {
    match column {
        Column::Constant(_) => Told { codes: Codes::One, values: Some(column) },
        Column::Dictionary { values, codes } if values.len() <= MAX_DISTINCT => {
            Told { codes: Codes::Each(codes), values: Some(Column::Texts(values)) }
        }
        // Numbers differ from the start.
        Column::Dictionary { .. } | Column::Integers { .. } | Column::Texts(_) => {
            Told { codes: Codes::One, values: None }
        }
    }
}

fn push_value(column: &Column, code: usize, line: &mut String) {
    match column {
        Column::Constant(text) => line.push_str(text),
        Column::Texts(texts) => line.push_str(texts.get(code)),
        Column::Dictionary { .. } | Column::Integers { .. } => {}
    }
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
