//! Row groups of the log store as LogQL takes rows in columns.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::logql::columns::{
    Column, MetadataRows, RowBlock, Rows, Shape, ShapeKind, ShapeRows, StreamRows, Texts, VariableKind,
};
use crate::logql::storage::StorageError;
use crate::logs::columns::{self, Kind, RowGroup, RowSet, Skeleton, Strings};
use crate::logs::detect::{self, DETECTED_LEVEL, NO_LEVEL};
use crate::model::{Labels, TimestampNs};

/// The shapes that one query has met, so that each has one number.
#[derive(Default)]
pub struct Shapes(Mutex<HashMap<Arc<Skeleton>, Arc<Shape>>>);

impl Shapes {
    fn of(&self, skeleton: &Arc<Skeleton>) -> Arc<Shape> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = known.len() as u64;
        known.entry(skeleton.clone()).or_insert_with(|| Arc::new(shape(skeleton, id))).clone()
    }
}

fn shape(skeleton: &Skeleton, id: u64) -> Shape {
    let kind = match skeleton.kind() {
        Kind::Json => ShapeKind::Json,
        Kind::Logfmt => ShapeKind::Logfmt,
        Kind::Text | Kind::Raw => ShapeKind::Other,
    };
    let variable = |v: &columns::VariableKind| match v {
        columns::VariableKind::JsonString => VariableKind::JsonString,
        columns::VariableKind::JsonNumber => VariableKind::JsonNumber,
        columns::VariableKind::JsonArray => VariableKind::JsonArray,
        columns::VariableKind::LogfmtBare => VariableKind::LogfmtBare,
        columns::VariableKind::LogfmtQuoted => VariableKind::LogfmtQuoted,
        columns::VariableKind::Token => VariableKind::Token,
        columns::VariableKind::Line => VariableKind::Other,
    };
    let variables: Vec<VariableKind> = skeleton.variables().iter().map(variable).collect();
    let literals = (0..=variables.len()).map(|i| skeleton.literal(i).to_owned()).collect();
    Shape { id, kind, variables, literals }
}

/// Rows with a set of names: which of the group's sets it is, and whether their level has a code.
struct Set {
    group_set: usize,
    has_level: bool,
    /// Places in the group's set; all of them if there is nothing here.
    places: Option<Vec<u32>>,
}

/// A row group, and what of it is asked for.
pub struct GroupRows<'s> {
    group: Arc<RowGroup>,
    parts: Vec<StreamRows>,
    /// `None`: all of the parts.
    selected: Option<RowSet>,
    shapes: &'s Shapes,
    sets: Vec<Set>,
    failure: RefCell<Option<crate::logs::Error>>,
}

impl<'s> GroupRows<'s> {
    /// Of a group; `selected` if not all rows of the parts are wanted.
    pub fn new(
        group: Arc<RowGroup>,
        parts: Vec<StreamRows>,
        selected: Option<RowSet>,
        shapes: &'s Shapes,
    ) -> Result<Self, crate::logs::Error> {
        let mut sets = Vec::new();
        let levels = group.levels()?;
        for (i, set) in group.metadata_sets()?.iter().enumerate() {
            if let Some(code) = levels.constant() {
                sets.push(Set { group_set: i, has_level: code != NO_LEVEL, places: None });
                continue;
            }
            let (with, without): (Vec<u32>, Vec<u32>) =
                (0..set.rows().len() as u32).partition(|place| levels.get(set.rows().get(*place as usize)) != NO_LEVEL);
            let all = with.is_empty() || without.is_empty();
            for (has_level, places) in [(true, with), (false, without)] {
                if !places.is_empty() {
                    sets.push(Set { group_set: i, has_level, places: (!all).then_some(places) });
                }
            }
        }
        Ok(GroupRows { group, parts, selected, shapes, sets, failure: RefCell::default() })
    }

    /// What a column could not be read for.
    pub fn failure(&self) -> Option<crate::logs::Error> {
        self.failure.take()
    }

    fn failed(&self, e: crate::logs::Error) -> StorageError {
        let told = StorageError(e.to_string());
        *self.failure.borrow_mut() = Some(e);
        told
    }
}

fn rows_of(rows: &columns::Rows, total: usize) -> Rows {
    match rows {
        columns::Rows::All(n) if *n == total => Rows::All,
        other => Rows::Some(other.iter().collect()),
    }
}

struct ColumnTexts(Arc<columns::Column>);

/// The list of texts in a column that has one.
fn texts(column: &columns::Column) -> Option<&Strings> {
    match column {
        columns::Column::Dictionary { values, .. } => Some(values),
        columns::Column::Strings(s) => Some(s),
        columns::Column::Constant { .. } | columns::Column::Integers { .. } => None,
    }
}

impl Texts for ColumnTexts {
    fn len(&self) -> usize {
        texts(&self.0).map_or(0, Strings::len)
    }

    fn get(&self, i: usize) -> &str {
        texts(&self.0).map_or("", |s| s.get(i))
    }
}

fn column(of_group: &Arc<columns::Column>) -> Column {
    match of_group.as_ref() {
        columns::Column::Constant { value, .. } => Column::Constant(value.to_string()),
        columns::Column::Dictionary { codes, .. } => Column::Dictionary {
            values: Arc::new(ColumnTexts(of_group.clone())),
            codes: codes.iter().map(|c| u32::from(*c)).collect(),
        },
        columns::Column::Integers { values, width } => {
            Column::Integers { values: values.clone(), width: usize::from(*width) }
        }
        columns::Column::Strings(_) => Column::Texts(Arc::new(ColumnTexts(of_group.clone()))),
    }
}

/// The column of some places only.
fn at_places(column: Column, places: &[u32]) -> Column {
    match column {
        Column::Constant(c) => Column::Constant(c),
        Column::Dictionary { values, codes } => {
            let codes = places.iter().map(|p| codes.get(*p as usize).copied().unwrap_or(0)).collect();
            Column::Dictionary { values, codes }
        }
        Column::Integers { values, width } => {
            let values = places.iter().map(|p| values.get(*p as usize).copied().unwrap_or(0)).collect();
            Column::Integers { values, width }
        }
        Column::Texts(texts) => Column::Dictionary { values: texts, codes: places.to_vec() },
    }
}

impl RowBlock for GroupRows<'_> {
    fn rows(&self) -> usize {
        self.group.rows()
    }

    fn parts(&self) -> &[StreamRows] {
        &self.parts
    }

    fn selected(&self) -> Result<Option<Vec<u32>>, StorageError> {
        Ok(self.selected.as_ref().map(|s| s.iter().collect()))
    }

    fn timestamps(&self) -> Result<&[TimestampNs], StorageError> {
        self.group.timestamps().map_err(|e| self.failed(e))
    }

    fn line_bytes(&self) -> Result<Vec<u32>, StorageError> {
        let sizes = self.group.line_bytes().map_err(|e| self.failed(e))?;
        Ok((0..self.group.rows() as u32).map(|row| sizes.get(row)).collect())
    }

    fn shapes(&self) -> Result<Vec<ShapeRows>, StorageError> {
        let shapes = self.group.skeletons().map_err(|e| self.failed(e))?;
        let rows = |s: &columns::SkeletonRows<'_>| ShapeRows {
            shape: self.shapes.of(s.skeleton()),
            rows: rows_of(s.rows(), self.group.rows()),
        };
        Ok(shapes.iter().map(rows).collect())
    }

    fn column(&self, shape: usize, variable: usize) -> Result<Column, StorageError> {
        let shapes = self.group.skeletons().map_err(|e| self.failed(e))?;
        let shape = shapes.get(shape).ok_or_else(|| StorageError("a shape is missing".to_owned()))?;
        Ok(column(shape.column(variable).map_err(|e| self.failed(e))?))
    }

    fn metadata(&self) -> Result<Vec<MetadataRows>, StorageError> {
        let of_group = self.group.metadata_sets().map_err(|e| self.failed(e))?;
        let set = |s: &Set| {
            let group_set = of_group.get(s.group_set)?;
            let mut names: Vec<String> = group_set.names().iter().map(ToString::to_string).collect();
            if s.has_level {
                // Behind the others, so that their places stay what they are.
                names.push(DETECTED_LEVEL.to_owned());
            }
            let rows = match &s.places {
                None => rows_of(group_set.rows(), self.group.rows()),
                Some(places) => Rows::Some(places.iter().map(|p| group_set.rows().get(*p as usize)).collect()),
            };
            Some(MetadataRows { names, rows })
        };
        Ok(self.sets.iter().filter_map(set).collect())
    }

    fn metadata_column(&self, set: usize, name: usize) -> Result<Column, StorageError> {
        let missing = || StorageError("a set of metadata is missing".to_owned());
        let of_group = self.group.metadata_sets().map_err(|e| self.failed(e))?;
        let set = self.sets.get(set).ok_or_else(missing)?;
        let group_set = of_group.get(set.group_set).ok_or_else(missing)?;
        if set.has_level && name == group_set.names().len() {
            return self.levels(set, group_set);
        }
        let whole = column(group_set.column(name).map_err(|e| self.failed(e))?);
        Ok(match &set.places {
            None => whole,
            Some(places) => at_places(whole, places),
        })
    }

    fn line_into(&self, row: u32, line: &mut String) -> Result<(), StorageError> {
        self.group.line_into(row, line).map_err(|e| self.failed(e))
    }

    fn metadata_of(&self, row: u32) -> Result<Labels, StorageError> {
        self.group.metadata_of(row).map_err(|e| self.failed(e))
    }
}

impl GroupRows<'_> {
    fn levels(&self, set: &Set, group_set: &columns::MetadataRows<'_>) -> Result<Column, StorageError> {
        let levels = self.group.levels().map_err(|e| self.failed(e))?;
        let name = |code: u8| detect::level_name(code).unwrap_or_default().to_owned();
        if let Some(code) = levels.constant() {
            return Ok(Column::Constant(name(code)));
        }
        let code = |place: usize| u32::from(levels.get(group_set.rows().get(place)));
        let codes = match &set.places {
            None => (0..group_set.rows().len()).map(code).collect(),
            Some(places) => places.iter().map(|p| code(*p as usize)).collect(),
        };
        let names: Vec<String> =
            (0..=u8::MAX).map_while(|c| (usize::from(c) <= detect::LEVELS.len()).then(|| name(c))).collect();
        Ok(Column::Dictionary { values: Arc::new(names), codes })
    }
}
