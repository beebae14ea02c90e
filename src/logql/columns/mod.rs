//! Rows that a store hands over in columns rather than as lines, and how a pipeline is answered from them.
//!
//! A line is cut into what its [`Shape`] says (keys, quotes, punctuation) and what varies. Lines of one shape get the same
//! labels from a parser stage, with values from the same columns, so what a pipeline does is worked out once for each shape
//! ([`program`]) and conditions are tried once for each distinct value ([`values`]). Whatever is not sure to give exactly what
//! the line itself would give is left to the line: single rows, or all rows of a shape.

pub mod fields;
pub mod program;
pub mod values;

use std::ops::Range;
use std::sync::Arc;

use crate::logql::storage::StorageError;
use crate::model::{Labels, TimestampNs};

/// What kind of text a shape is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShapeKind {
    /// One JSON object.
    Json,
    /// Pairs of `key=value`.
    Logfmt,
    /// Anything else.
    Other,
}

/// What stands in a hole of a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VariableKind {
    /// The inside of a JSON string, escapes as they were; it has no quote that would end the string.
    JsonString,
    /// A JSON number.
    JsonNumber,
    /// A JSON array, brackets included.
    JsonArray,
    /// A logfmt value without quotes; it has no blank, quote or `=`.
    LogfmtBare,
    /// The inside of a logfmt value in quotes, escapes as they were; it has no quote that would end the value.
    LogfmtQuoted,
    /// A run of letters, digits and bytes above 127 that is no part of a longer one; it has a digit.
    Token,
    /// Anything else.
    Other,
}

/// What lines have in common. A line is `literals[0] variable 0 literals[1] variable 1 ... literals[n]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Different for different shapes of one query.
    pub id: u64,
    /// See [`ShapeKind`].
    pub kind: ShapeKind,
    /// The holes.
    pub variables: Vec<VariableKind>,
    /// One more than there are holes.
    pub literals: Vec<String>,
}

/// Which rows of a block something is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rows {
    /// All: places are rows.
    All,
    /// These, ascending: the first place is the first row of the list.
    Some(Vec<u32>),
}

/// The rows of a block that have one shape.
#[derive(Clone, Debug)]
pub struct ShapeRows {
    /// The shape.
    pub shape: Arc<Shape>,
    /// Its rows.
    pub rows: Rows,
}

/// The rows of a block whose structured metadata has the same names.
#[derive(Clone, Debug)]
pub struct MetadataRows {
    /// The names, each once.
    pub names: Vec<String>,
    /// The rows.
    pub rows: Rows,
}

/// Texts by number.
pub trait Texts: Send + Sync {
    /// How many there are.
    fn len(&self) -> usize;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The text of a number below [`Texts::len`].
    fn get(&self, i: usize) -> &str;
}

impl Texts for Vec<String> {
    fn len(&self) -> usize {
        Vec::len(self)
    }

    fn get(&self, i: usize) -> &str {
        <[String]>::get(self, i).map_or("", String::as_str)
    }
}

/// The values of one variable, or of one name of metadata, by place.
#[derive(Clone)]
pub enum Column {
    /// The same everywhere.
    Constant(String),
    /// Distinct values, and for each place which of them it is.
    Dictionary {
        /// The values.
        values: Arc<dyn Texts>,
        /// By place.
        codes: Vec<u32>,
    },
    /// Decimal numbers.
    Integers {
        /// By place.
        values: Vec<i64>,
        /// 0, or to how many digits they are filled up with zeros.
        width: usize,
    },
    /// A text for each place.
    Texts(Arc<dyn Texts>),
}

/// Rows of one stream in a block.
#[derive(Clone, Debug)]
pub struct StreamRows {
    /// The stream's number, see [`crate::logql::storage::Entry`].
    pub stream: u64,
    /// Its labels.
    pub labels: Labels,
    /// The rows of the stream and the time that are asked for.
    pub rows: Range<u32>,
}

/// Some thousand rows, by stream and then time.
pub trait RowBlock {
    /// How many rows there are, those that are not asked for included.
    fn rows(&self) -> usize;
    /// What is asked for.
    fn parts(&self) -> &[StreamRows];
    /// Of the rows of [`RowBlock::parts`] those that satisfy all conditions on lines that the query gave, and those on labels as far as
    /// the store minds them, ascending; `None`: all.
    fn selected(&self) -> Result<Option<Vec<u32>>, StorageError>;
    /// By row.
    fn timestamps(&self) -> Result<&[TimestampNs], StorageError>;
    /// Bytes of the lines, by row.
    fn line_bytes(&self) -> Result<Vec<u32>, StorageError>;
    /// The shapes; each row has one.
    fn shapes(&self) -> Result<Vec<ShapeRows>, StorageError>;
    /// A variable of the shape of that place in [`RowBlock::shapes`].
    fn column(&self, shape: usize, variable: usize) -> Result<Column, StorageError>;
    /// The sets of names that structured metadata has; each row has one.
    fn metadata(&self) -> Result<Vec<MetadataRows>, StorageError>;
    /// The values of the name of that place in the set of that place.
    fn metadata_column(&self, set: usize, name: usize) -> Result<Column, StorageError>;
    /// Appends the line of a row.
    fn line_into(&self, row: u32, line: &mut String) -> Result<(), StorageError>;
    /// The structured metadata of a row.
    fn metadata_of(&self, row: u32) -> Result<Labels, StorageError>;
}

#[cfg(test)]
mod tests;
