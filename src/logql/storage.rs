//! What the engine asks of a log store.

use std::borrow::Cow;
use std::ops::ControlFlow;

use crate::logql::ast::{LineFilter, LineMatch, LogExpr, StageKind};
use crate::logql::columns::RowBlock;
use crate::logql::stages::pattern::Pattern;
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

/// A condition on lines that the store may use to read less. The engine applies all filters itself to lines it gets; rows in
/// columns satisfy all conditions already.
#[derive(Clone, Debug)]
pub enum LineHint {
    /// The line holds the text.
    Contains(String),
    /// It does not.
    NotContains(String),
    /// The line matches.
    Regex(GoRegex),
    /// It does not.
    NotRegex(GoRegex),
    /// One of these holds.
    AnyOf(Vec<LineHint>),
}

/// A condition on what a line brings with it that the store may use to read less. Lines that do not satisfy it would not pass the
/// pipeline; the engine tries those it gets all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelHint {
    /// The stream has a label of the matcher's name that satisfies it, or the line has structured metadata of that name that does.
    Matches(Matcher),
    /// All of these hold.
    AllOf(Vec<LabelHint>),
    /// One of these does.
    AnyOf(Vec<LabelHint>),
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
    /// See [`LabelHint`]; all of them hold.
    pub labels: Vec<LabelHint>,
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

/// What answering a query takes: what there is, and what is left of it once streams, times and terms are looked up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Days that hold something of it.
    pub partitions: u64,
    /// Streams that do.
    pub streams: u64,
    /// Segments that do.
    pub segments: u64,
    /// Blocks of rows that do.
    pub blocks: u64,
    /// Those of them that the terms of line filters and the pairs of label filters rule out.
    pub blocks_ruled_out: u64,
    /// Lines of the streams and the time.
    pub rows: u64,
    /// Those that have to be looked at.
    pub rows_to_read: u64,
    /// Those of them that can only be looked at line by line, as they are in memory or may be there twice.
    pub rows_line_by_line: u64,
    /// What the indexes were asked for.
    pub terms: Vec<PlanTerm>,
}

/// A text that the term dictionary was asked for, or a pair `name=value` that the index of metadata was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanTerm {
    /// The text.
    pub text: String,
    /// Blocks that may hold it; `None` if the index cannot tell.
    pub blocks: Option<u64>,
}

/// A pattern of lines that the store has found already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPattern {
    /// The level of its lines.
    pub level: String,
    /// See [`crate::text::drain::Pattern::line`].
    pub line: String,
    /// The beginnings of steps, and how many lines came then; in no order, perhaps more than once.
    pub samples: Vec<(TimestampNs, u64)>,
}

/// What takes lines in parts that are worked on side by side.
pub trait Fold: Sync {
    /// Begins a part. The parts of one reading have different numbers; putting them together by number gives the same result
    /// however the work was spread.
    fn part(&self, index: usize) -> Box<dyn FoldPart + '_>;
}

/// One part of a [`Fold`].
pub trait FoldPart {
    /// Takes a line. After a break there will be no more.
    fn line(&mut self, entry: &Entry<'_>) -> ControlFlow<()>;

    /// Takes rows that lie in columns.
    fn rows(&mut self, rows: &dyn RowBlock) -> Result<ControlFlow<()>, StorageError>;

    /// All was given.
    fn finish(self: Box<Self>);
}

/// A log store.
pub trait Storage: Send + Sync {
    /// Counts lines without looking at each, if the store can; in no order. The counts are those that [`Storage::scan`]
    /// would give.
    fn count(&self, _count: &Count) -> Result<Option<Vec<StreamCount>>, StorageError> {
        Ok(None)
    }

    /// Gives the lines one after another until there are no more or `each` breaks off.
    fn scan(&self, select: &Select, each: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<(), StorageError>;

    /// Gives the lines in parts, in any order; the lines of one stream in one part come by time. A part that breaks off ends
    /// alone.
    fn fold(&self, select: &Select, fold: &dyn Fold) -> Result<(), StorageError> {
        let mut part = fold.part(0);
        self.scan(select, &mut |e| part.line(&e))?;
        part.finish();
        Ok(())
    }

    /// The patterns that the store has found in what is selected, counted in steps of so many nanoseconds. Lines whose patterns
    /// it does not know go to `fold`. Only for a selection without hints.
    fn patterns(&self, select: &Select, _step_ns: i64, fold: &dyn Fold) -> Result<Vec<StoredPattern>, StorageError> {
        self.fold(select, fold)?;
        Ok(Vec::new())
    }

    /// What answering would take, before anything is read.
    fn plan(&self, _select: &Select) -> Result<Plan, StorageError> {
        Ok(Plan::default())
    }
}

/// The conditions that line filters of a pipeline put on stored lines, or weaker ones. Behind a stage that rewrites the line nothing is known
/// any more.
pub fn line_hints(log: &LogExpr) -> Vec<LineHint> {
    let mut hints = Vec::new();
    for stage in &log.stages {
        match &stage.kind {
            StageKind::LineFilter(f) => hints.extend(hints_of(f).unwrap_or_else(|| literals_of(f))),
            StageKind::LineFormat(_) | StageKind::Unpack | StageKind::Decolorize => break,
            _ => {}
        }
    }
    hints
}

/// What lines have to hold to pass `|>`: the literals of its pattern; of several patterns one literal of one of them.
fn literals_of(filter: &LineFilter) -> Vec<LineHint> {
    if filter.op != LineMatch::Pattern {
        return Vec::new();
    }
    let literals = |text: &str| -> Vec<String> {
        // A pattern that does not compile was refused by the checker.
        Pattern::filter(text).map(|p| p.literals().map(str::to_owned).collect()).unwrap_or_default()
    };
    if let [term] = filter.terms.as_slice() {
        return literals(&term.text).into_iter().map(LineHint::Contains).collect();
    }
    let longest = |text: &str| literals(text).into_iter().max_by_key(String::len).map(LineHint::Contains);
    let any: Option<Vec<LineHint>> = filter.terms.iter().map(|t| longest(&t.text)).collect();
    any.map(|hints| vec![LineHint::AnyOf(hints)]).unwrap_or_default()
}

/// The conditions that say exactly what a line filter says; `None` if there are none such.
pub fn hints_of(filter: &LineFilter) -> Option<Vec<LineHint>> {
    if filter.terms.iter().any(|t| t.is_ip) {
        return None;
    }
    let negative = filter.op.is_negative();
    let mut terms = Vec::new();
    for term in &filter.terms {
        terms.push(match filter.op {
            LineMatch::Contains => LineHint::Contains(term.text.clone()),
            LineMatch::NotContains => LineHint::NotContains(term.text.clone()),
            // A regex that does not compile was refused by the checker.
            LineMatch::Regex => LineHint::Regex(GoRegex::unanchored(&term.text).ok()?),
            LineMatch::NotRegex => LineHint::NotRegex(GoRegex::unanchored(&term.text).ok()?),
            LineMatch::Pattern | LineMatch::NotPattern => return None,
        });
    }
    // Every line holds the empty text.
    if terms.iter().any(|t| matches!(t, LineHint::Contains(text) if text.is_empty())) {
        return Some(Vec::new());
    }
    Some(if negative || terms.len() == 1 { terms } else { vec![LineHint::AnyOf(terms)] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logql::ast::Expr;
    use crate::logql::parse;

    #[test]
    fn what_filters_ask_of_lines() {
        for (query, wanted) in [
            (r#"{a="b"} |= "x" |~ "y+""#, r#"[Contains("x"), Regex("#),
            (r#"{a="b"} |> "user <_> came from <_>""#, r#"[Contains("user "), Contains(" came from ")]"#),
            (r#"{a="b"} |> "a <_> bcd" or "<_>efg<_>""#, r#"[AnyOf([Contains(" bcd"), Contains("efg")])]"#),
            (r#"{a="b"} |> "a <_>" or "<_>""#, "[]"),
            (r#"{a="b"} !> "a <_>" |= ip("10.0.0.1")"#, "[]"),
            (r#"{a="b"} | line_format "z" |> "a <_>""#, "[]"),
        ] {
            let Expr::Log(log) = parse(query).unwrap() else { panic!("{query}") };
            let hints = format!("{:?}", line_hints(&log));
            assert!(hints.starts_with(wanted), "{query}: {hints}");
        }
    }
}
