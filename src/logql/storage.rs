//! What the engine asks of a log store.

use std::borrow::Cow;
use std::ops::ControlFlow;

use crate::logql::ast::{LineMatch, LogExpr, StageKind};
use crate::model::{Labels, Matcher, TimestampNs};
use crate::text::go_regex::GoRegex;

/// The order in which lines are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Direction {
    /// Newest first.
    #[default]
    Backward,
    /// Oldest first.
    Forward,
}

/// A condition on lines that the store may use to read less. The engine applies all filters itself in any case.
#[derive(Clone, Debug)]
pub enum LineHint {
    /// The line holds the text.
    Contains(String),
    /// The line matches.
    Regex(GoRegex),
}

/// Which lines are wanted.
#[derive(Clone, Debug)]
pub struct Select {
    /// Conditions on stream labels.
    pub matchers: Vec<Matcher>,
    /// First nanosecond.
    pub start_ns: TimestampNs,
    /// One past the last nanosecond.
    pub end_ns: TimestampNs,
    /// The order of the lines, over all streams.
    pub direction: Direction,
    /// See [`LineHint`].
    pub hints: Vec<LineHint>,
    /// Whether the order does not matter, as for counting.
    pub any_order: bool,
}

/// One line as the store gives it.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// A number of the stream, the same for all lines of one stream in one scan.
    pub stream: u64,
    /// The stream's labels.
    pub labels: &'a Labels,
    /// When.
    pub timestamp: TimestampNs,
    /// The text.
    pub line: &'a str,
    /// Structured metadata.
    pub metadata: &'a Labels,
}

/// The store failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("log store: {0}")]
pub struct StorageError(pub String);

/// What is wanted of [`Storage::count`].
#[derive(Clone, Debug)]
pub struct Count {
    /// Conditions on stream labels.
    pub matchers: Vec<Matcher>,
    /// Ascending times; bucket `i` is [`boundaries[i]`, `boundaries[i + 1]`).
    pub boundaries: Vec<TimestampNs>,
    /// Only lines that satisfy all of these.
    pub filters: Vec<LineHint>,
    /// Bytes of lines rather than lines.
    pub bytes: bool,
    /// Each `detected_level` of a stream by itself.
    pub by_level: bool,
}

/// The counts of one stream, or of one level of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamCount {
    /// The stream's labels.
    pub labels: Labels,
    /// With `by_level`: the value of `detected_level`; `None` where only reading would tell.
    pub level: Option<Cow<'static, str>>,
    /// One for each bucket.
    pub counts: Vec<u64>,
}

/// What [`Storage::count`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// In no order.
    pub rows: Vec<StreamCount>,
    /// Lines that had to be read.
    pub lines_read: u64,
    /// Bytes of those lines.
    pub bytes_read: u64,
}

/// A log store.
pub trait Storage: Send + Sync {
    /// Counts lines, if the store has a shorter way to do so; the counts are those that [`Storage::scan`] would give. Where
    /// `go_on` says no, what is given has no meaning.
    fn count(&self, _count: &Count, _go_on: &(dyn Fn() -> bool + Sync)) -> Result<Option<Counted>, StorageError> {
        Ok(None)
    }

    /// Gives the lines one after another until there are no more or `each` breaks off.
    fn scan(&self, select: &Select, each: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<(), StorageError>;
}

/// The conditions that leading line filters of a pipeline put on stored lines. Behind a stage that rewrites the line nothing
/// is known any more.
pub fn line_hints(log: &LogExpr) -> Vec<LineHint> {
    let mut hints = Vec::new();
    for stage in &log.stages {
        match &stage.kind {
            StageKind::LineFilter(f) => {
                if let [term] = f.terms.as_slice()
                    && !term.is_ip
                {
                    match f.op {
                        LineMatch::Contains if !term.text.is_empty() => {
                            hints.push(LineHint::Contains(term.text.clone()))
                        }
                        // A regex that does not compile was refused by the checker.
                        LineMatch::Regex => hints.extend(GoRegex::unanchored(&term.text).ok().map(LineHint::Regex)),
                        _ => {}
                    }
                }
            }
            StageKind::LineFormat(_) | StageKind::Unpack | StageKind::Decolorize => break,
            _ => {}
        }
    }
    hints
}
