//! Rows in columns, added up without their lines where that gives the same.

use std::collections::HashMap;
use std::rc::Rc;

use super::gather::Part;
use crate::logql::columns::program::{self, Outcome, Program, Target, Tests};
use crate::logql::columns::values::{Answer, BlockValues, Coded, Known, Number, Place, place_of};
use crate::logql::columns::{MetadataRows, RowBlock, Rows, ShapeRows, StreamRows};
use crate::logql::engine::QueryError;
use crate::logql::storage::Entry;
use crate::model::{Labels, LabelsBuilder};

/// Combinations of values that are looked up in a table rather than in a map.
const TABLE: u64 = 1 << 14;
/// No series is known yet.
const UNKNOWN: u32 = u32::MAX;

/// Which shape or set of names a row has, and its place there.
struct Placed {
    which: Vec<u16>,
    place: Vec<u32>,
}

impl Placed {
    fn new<'r>(rows: usize, lists: impl Iterator<Item = &'r Rows>) -> Self {
        let mut placed = Placed { which: Vec::new(), place: Vec::new() };
        for (i, list) in lists.enumerate() {
            let Rows::Some(list) = list else { continue };
            if placed.which.is_empty() {
                placed.which = vec![0; rows];
                placed.place = vec![0; rows];
            }
            for (place, row) in list.iter().enumerate() {
                if let Some((w, p)) = placed.which.get_mut(*row as usize).zip(placed.place.get_mut(*row as usize)) {
                    (*w, *p) = (i as u16, place as u32);
                }
            }
        }
        placed
    }

    fn get(&self, row: usize) -> (usize, usize) {
        match (self.which.get(row), self.place.get(row)) {
            (Some(w), Some(p)) => (usize::from(*w), *p as usize),
            // One list holds all rows.
            _ => (0, row),
        }
    }
}

/// The place of a row in its shape and in its set of metadata.
#[derive(Clone, Copy)]
struct At {
    line: usize,
    metadata: usize,
}

impl At {
    fn of(self, place: Place) -> usize {
        match place {
            Place::Line(..) => self.line,
            Place::Metadata(..) => self.metadata,
        }
    }
}

/// [`Tests`] with what they say of each value.
enum Bound {
    And(Box<Bound>, Box<Bound>),
    Or(Box<Bound>, Box<Bound>),
    One(Place, Known<Answer>),
    Known(bool),
}

impl Bound {
    fn new(tests: &Tests<'_>, values: &mut BlockValues<'_>, shape: usize, set: usize) -> Result<Self, QueryError> {
        Ok(match tests {
            Tests::And(a, b) => {
                Bound::And(Box::new(Self::new(a, values, shape, set)?), Box::new(Self::new(b, values, shape, set)?))
            }
            Tests::Or(a, b) => {
                Bound::Or(Box::new(Self::new(a, values, shape, set)?), Box::new(Self::new(b, values, shape, set)?))
            }
            Tests::Known(holds) => Bound::Known(*holds),
            Tests::One { number, test, field } => match place_of(field, shape, set) {
                Some(at) => Bound::One(at.0, values.answers(*number, test, field, at)?),
                None => Bound::Known(true),
            },
        })
    }

    /// A line that goes has no error, whatever else is said of it.
    fn ask(&self, at: At) -> Answer {
        match self {
            Bound::Known(true) => Answer::Keep,
            Bound::Known(false) => Answer::Drop,
            Bound::One(place, known) => known.get(at.of(*place)).unwrap_or(Answer::Line),
            Bound::And(a, b) => match (a.ask(at), b.ask(at)) {
                (Answer::Drop, _) | (_, Answer::Drop) => Answer::Drop,
                (Answer::Line, _) | (_, Answer::Line) => Answer::Line,
                _ => Answer::Keep,
            },
            Bound::Or(a, b) => match a.ask(at) {
                Answer::Drop => b.ask(at),
                known => known,
            },
        }
    }
}

fn ask_all(tests: &[Bound], at: At) -> Answer {
    let mut all = Answer::Keep;
    for t in tests {
        match t.ask(at) {
            Answer::Drop => return Answer::Drop,
            Answer::Line => all = Answer::Line,
            Answer::Keep => {}
        }
    }
    all
}

/// Where the number of a row comes from.
enum Value {
    One,
    Bytes,
    Number(Place, Known<Number>),
    Constant(f64),
}

/// A label of the series that differs from row to row.
struct Key {
    name: String,
    place: Place,
    coded: Rc<Coded>,
    /// What the code is multiplied by to give a number for all keys together.
    factor: u64,
}

enum Series {
    Table(Vec<u32>),
    Map(HashMap<u64, u32>),
}

/// A program over a block.
struct BoundProgram {
    tests: Vec<Bound>,
    late_tests: Vec<Bound>,
    value: Value,
    constants: Vec<(String, String)>,
    keys: Vec<Key>,
    series: Series,
}

/// What is done with the rows of one shape and one set of names, in one stream.
enum Plan {
    Columns(Box<BoundProgram>),
    Nothing,
    Lines,
}

impl Part<'_> {
    /// Adds the rows of a block.
    pub(super) fn take_rows(&mut self, block: &dyn RowBlock) -> Result<(), QueryError> {
        self.check()?;
        let all = self.all;
        let keeps = |name: &str| match &all.by {
            Some(by) => by.iter().any(|l| l == name),
            None => !all.hides(name),
        };
        let target =
            Target { pipeline: &all.pipeline, wanted: &all.hints.wanted, unwrap: all.unwrap.as_ref(), keeps: &keeps };
        let selected = block.selected()?;
        if selected.as_ref().is_some_and(Vec::is_empty) {
            return Ok(());
        }
        let by_columns = all.exact_filters;
        let shapes = if by_columns && program::reads_lines(&target) { block.shapes()? } else { Vec::new() };
        let sets = if by_columns { block.metadata()? } else { Vec::new() };
        let bytes = if all.sums_bytes() { block.line_bytes()? } else { Vec::new() };
        let mut reading = Reading {
            block,
            times: block.timestamps()?,
            in_shapes: Placed::new(block.rows(), shapes.iter().map(|s| &s.rows)),
            in_sets: Placed::new(block.rows(), sets.iter().map(|s| &s.rows)),
            shapes: &shapes,
            sets: &sets,
            bytes: &bytes,
            values: BlockValues::new(block),
            line: String::new(),
        };
        for part in block.parts() {
            match &selected {
                None => self.take_stream(&target, &mut reading, part, part.rows.clone())?,
                Some(rows) => {
                    let from = rows.partition_point(|r| *r < part.rows.start);
                    let to = rows.partition_point(|r| *r < part.rows.end);
                    let rows = rows.get(from..to).unwrap_or_default();
                    if !rows.is_empty() {
                        self.take_stream(&target, &mut reading, part, rows.iter().copied())?;
                    }
                }
            }
        }
        Ok(())
    }

    fn take_stream(
        &mut self,
        target: &Target<'_>,
        reading: &mut Reading<'_>,
        part: &StreamRows,
        rows: impl Iterator<Item = u32>,
    ) -> Result<(), QueryError> {
        let sets = reading.sets.len().max(1);
        let mut plans: Vec<Option<Plan>> = Vec::new();
        plans.resize_with(reading.shapes.len().max(1) * sets, || None);
        for row in rows {
            let index = row as usize;
            let (shape, line) = reading.in_shapes.get(index);
            let (set, metadata) = reading.in_sets.get(index);
            let Some(slot) = plans.get_mut(shape * sets + set) else { continue };
            let plan = match slot {
                Some(p) => p,
                None => slot.insert(reading.plan(
                    target,
                    part,
                    shape,
                    set,
                    self.all.sums_bytes(),
                    self.all.exact_filters,
                )?),
            };
            let time = reading.times.get(index).copied().unwrap_or_default();
            let counted = match plan {
                Plan::Nothing => Some(()),
                Plan::Lines => None,
                Plan::Columns(p) => {
                    let bytes = reading.bytes.get(index).copied().unwrap_or_default();
                    self.take_row(p, At { line, metadata }, time, bytes)?
                }
            };
            match counted {
                Some(()) => self.rows_in_columns(1),
                None => {
                    reading.line.clear();
                    reading.block.line_into(row, &mut reading.line)?;
                    let metadata = reading.block.metadata_of(row)?;
                    let entry = Entry {
                        stream: part.stream,
                        labels: &part.labels,
                        timestamp: time,
                        line: &reading.line,
                        metadata: &metadata,
                    };
                    self.take(&entry)?;
                }
            }
        }
        Ok(())
    }

    /// Adds a row, or says `None` where its line has to be read.
    fn take_row(&mut self, p: &mut BoundProgram, at: At, time: i64, bytes: u32) -> Result<Option<()>, QueryError> {
        match ask_all(&p.tests, at) {
            Answer::Keep => {}
            Answer::Drop => return Ok(Some(())),
            Answer::Line => return Ok(None),
        }
        let value = match &p.value {
            Value::One => 1.0,
            Value::Bytes => f64::from(bytes),
            Value::Constant(n) => *n,
            Value::Number(place, known) => match known.get(at.of(*place)) {
                Some(Number::Some(n)) => n,
                Some(Number::None) => return Ok(Some(())),
                Some(Number::Line) | None => return Ok(None),
            },
        };
        match ask_all(&p.late_tests, at) {
            Answer::Keep => {}
            Answer::Drop => return Ok(Some(())),
            Answer::Line => return Ok(None),
        }
        let combined: u64 = p.keys.iter().map(|k| k.coded.codes.get(at.of(k.place)) as u64 * k.factor).sum();
        let known = match &p.series {
            Series::Table(t) => t.get(combined as usize).copied().unwrap_or(UNKNOWN),
            Series::Map(m) => m.get(&combined).copied().unwrap_or(UNKNOWN),
        };
        let series = if known == UNKNOWN {
            let Some(labels) = p.labels(at) else { return Ok(None) };
            let series = self.series(labels)?;
            match &mut p.series {
                Series::Table(t) => {
                    if let Some(slot) = t.get_mut(combined as usize) {
                        *slot = series as u32;
                    }
                }
                Series::Map(m) => {
                    m.insert(combined, series as u32);
                }
            }
            series
        } else {
            known as usize
        };
        self.add(series, time, value);
        Ok(Some(()))
    }
}

impl BoundProgram {
    /// The labels of a row's series; `None` where its line has to be read.
    fn labels(&self, at: At) -> Option<Labels> {
        let mut labels = LabelsBuilder::new();
        for (name, value) in &self.constants {
            labels.set(name, value);
        }
        for key in &self.keys {
            let value = key.coded.values.get(key.coded.codes.get(at.of(key.place)))?.as_deref()?;
            labels.set(&key.name, value);
        }
        Some(labels.build())
    }
}

/// A block while its rows are added.
struct Reading<'b> {
    block: &'b dyn RowBlock,
    times: &'b [i64],
    shapes: &'b [ShapeRows],
    sets: &'b [MetadataRows],
    in_shapes: Placed,
    in_sets: Placed,
    bytes: &'b [u32],
    values: BlockValues<'b>,
    line: String,
}

impl Reading<'_> {
    fn plan(
        &mut self,
        target: &Target<'_>,
        part: &StreamRows,
        shape: usize,
        set: usize,
        sums_bytes: bool,
        exact_filters: bool,
    ) -> Result<Plan, QueryError> {
        if !exact_filters {
            return Ok(Plan::Lines);
        }
        let names = self.sets.get(set).map_or(&[][..], |s| s.names.as_slice());
        let of_shape = self.shapes.get(shape).map(|s| s.shape.as_ref());
        match program::compile(*target, of_shape, &part.labels, names) {
            Outcome::Nothing => Ok(Plan::Nothing),
            Outcome::Lines => Ok(Plan::Lines),
            Outcome::Columns(p) => self.bind(target, &p, shape, set, sums_bytes),
        }
    }

    fn bind(
        &mut self,
        target: &Target<'_>,
        p: &Program<'_>,
        shape: usize,
        set: usize,
        sums_bytes: bool,
    ) -> Result<Plan, QueryError> {
        let values = &mut self.values;
        let mut bound = |tests: &[Tests<'_>]| -> Result<Vec<Bound>, QueryError> {
            tests.iter().map(|t| Bound::new(t, values, shape, set)).collect()
        };
        let (tests, late_tests) = (bound(&p.tests)?, bound(&p.late_tests)?);
        let value = match (target.unwrap, &p.unwrapped) {
            (Some(unwrap), Some(field)) => match (place_of(field, shape, set), &field.source) {
                (Some(at), _) => Value::Number(at.0, values.numbers(unwrap, field, at)?),
                (None, crate::logql::columns::fields::Source::Constant(text)) => match unwrap.convert(text) {
                    _ if text.is_empty() => return Ok(Plan::Nothing),
                    Ok(n) => Value::Constant(n),
                    Err(_) => return Ok(Plan::Lines),
                },
                (None, _) => return Ok(Plan::Lines),
            },
            _ if sums_bytes => Value::Bytes,
            _ => Value::One,
        };
        let (mut constants, mut keys) = (Vec::new(), Vec::new());
        let mut combinations = 1u64;
        for (name, field) in &p.labels {
            match (place_of(field, shape, set), &field.source) {
                (Some((place, decoding)), _) => {
                    let coded = values.coded(place, decoding)?;
                    let distinct = coded.values.len().max(1) as u64;
                    keys.push(Key { name: name.clone(), place, coded, factor: combinations });
                    match combinations.checked_mul(distinct) {
                        Some(n) => combinations = n,
                        None => return Ok(Plan::Lines),
                    }
                }
                (None, crate::logql::columns::fields::Source::Constant(text)) => {
                    constants.push((name.clone(), text.clone()));
                }
                (None, _) => return Ok(Plan::Lines),
            }
        }
        let series = if combinations <= TABLE {
            Series::Table(vec![UNKNOWN; combinations as usize])
        } else {
            Series::Map(HashMap::new())
        };
        Ok(Plan::Columns(Box::new(BoundProgram { tests, late_tests, value, constants, keys, series })))
    }
}
