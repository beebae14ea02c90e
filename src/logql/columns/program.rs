//! What a pipeline does with all lines of one shape, in one stream, with one set of names of metadata.

use super::Shape;
use super::fields::{self, Field, Fields, Source};
use crate::logql::ast::NamedMatcher;
use crate::logql::hints::Wanted;
use crate::logql::labels::{Category, ERROR, ERROR_DETAILS, EXTRACTED};
use crate::logql::stages::label_filter::{CompiledLabelFilter, LabelTest, Verdict};
use crate::logql::stages::unwrap::CompiledUnwrap;
use crate::logql::stages::{Compiled, FormatSource, Pipeline};
use crate::model::Labels;

/// What can be said of the rows.
#[derive(Debug)]
pub enum Outcome<'p> {
    /// They are worked on in columns.
    Columns(Program<'p>),
    /// None of them passes the pipeline.
    Nothing,
    /// Their lines have to go through the pipeline.
    Lines,
}

/// What is done with each row.
#[derive(Debug)]
pub struct Program<'p> {
    /// Conditions on what differs from row to row.
    pub tests: Vec<Tests<'p>>,
    /// With `unwrap`: the label that holds the number.
    pub unwrapped: Option<Field>,
    /// Conditions behind `unwrap`.
    pub late_tests: Vec<Tests<'p>>,
    /// The labels of the series, sorted by name.
    pub labels: Vec<(String, Field)>,
}

/// Conditions on labels.
#[derive(Debug)]
pub enum Tests<'p> {
    /// Both, and both are looked at.
    And(Box<Tests<'p>>, Box<Tests<'p>>),
    /// The right one where the left does not hold.
    Or(Box<Tests<'p>>, Box<Tests<'p>>),
    /// One on a label whose value differs.
    One {
        /// Which of the conditions of the query it is.
        number: usize,
        /// The condition.
        test: &'p LabelTest,
        /// The value.
        field: Field,
    },
    /// It is known already whether it holds.
    Known(bool),
}

/// What a program is made for.
#[derive(Clone, Copy)]
pub struct Target<'p> {
    /// The stages. Line filters were applied already.
    pub pipeline: &'p Pipeline,
    /// What parsers are to extract.
    pub wanted: &'p Wanted,
    /// `unwrap` and what stands behind it.
    pub unwrap: Option<&'p CompiledUnwrap>,
    /// Whether a label is one of the series'.
    pub keeps: &'p dyn Fn(&str) -> bool,
}

/// Whether a label tells of what went wrong with a line.
fn is_error_label(name: &str) -> bool {
    [ERROR, ERROR_DETAILS].contains(&name)
}

/// The lines have to be read.
struct Unsure;

/// The labels so far, as [`crate::logql::labels::LineLabels`] keeps them for a line.
struct Env<'p> {
    wanted: &'p Wanted,
    stream: &'p Labels,
    /// Names of metadata; those that the stream has as well got another ending.
    metadata: Vec<String>,
    changes: Vec<(String, Option<Field>, Category)>,
    parsed: bool,
    conditions: usize,
    /// Whether a line may have an error by now.
    may_fail: bool,
}

impl<'p> Env<'p> {
    fn find(&self, name: &str) -> Option<(Field, Category)> {
        if let Some((_, field, category)) = self.changes.iter().find(|c| c.0 == name) {
            return field.clone().map(|f| (f, *category));
        }
        if let Some(i) = self.metadata.iter().position(|n| n == name) {
            return Some((Field { source: Source::Metadata(i), empty_is_absent: true }, Category::Metadata));
        }
        self.stream.get(name).map(|v| (Field::constant(v), Category::Stream))
    }

    fn set(&mut self, name: &str, field: Option<Field>, category: Category) {
        match self.changes.iter_mut().find(|c| c.0 == name) {
            Some(c) => (c.1, c.2) = (field, category),
            None => self.changes.push((name.to_owned(), field, category)),
        }
    }

    fn wants(&self, name: &str) -> bool {
        match self.wanted {
            Wanted::All | Wanted::Nothing => true,
            Wanted::Only(names) => names.iter().any(|n| n == name),
        }
    }

    /// As `LineLabels::extract`.
    fn extract(&mut self, name: &str, field: Field) -> Result<(), Unsure> {
        let is_base = self.metadata.iter().any(|n| n == name) || self.stream.get(name).is_some();
        let name = if is_base { format!("{name}{EXTRACTED}") } else { name.to_owned() };
        if !self.wants(&name) {
            return Ok(());
        }
        match self.changes.iter().find(|c| c.0 == name) {
            Some((_, Some(there), category)) if is_base || *category == Category::Parsed => {
                // The second one counts where the first is absent.
                if there.empty_is_absent { Err(Unsure) } else { Ok(()) }
            }
            // Where it is absent, what it covers shows.
            _ if field.empty_is_absent && self.find(&name).is_some() => Err(Unsure),
            _ => {
                self.set(&name, Some(field), Category::Parsed);
                Ok(())
            }
        }
    }

    fn parse(&mut self, found: impl FnOnce() -> Option<Fields>) -> Result<(), Unsure> {
        if *self.wanted == Wanted::Nothing {
            return Ok(());
        }
        // Whether a second parser has anything to do may depend on what the first has found.
        if self.parsed {
            return Err(Unsure);
        }
        self.parsed = true;
        found().ok_or(Unsure)?.into_iter().try_for_each(|(name, field)| self.extract(&name, field))
    }

    /// The condition on the labels at hand.
    fn tests(&mut self, filter: &'p CompiledLabelFilter) -> Result<Tests<'p>, Unsure> {
        Ok(match filter {
            CompiledLabelFilter::And(a, b) => {
                let (a, b) = (self.tests(a), self.tests(b));
                match (a?, b?) {
                    (Tests::Known(false), _) | (_, Tests::Known(false)) => Tests::Known(false),
                    (Tests::Known(true), t) | (t, Tests::Known(true)) => t,
                    (a, b) => Tests::And(Box::new(a), Box::new(b)),
                }
            }
            CompiledLabelFilter::Or(a, b) => {
                let (a, b) = (self.tests(a), self.tests(b));
                match (a?, b?) {
                    (Tests::Known(true), _) => Tests::Known(true),
                    (Tests::Known(false), t) => t,
                    (a, b) => Tests::Or(Box::new(a), Box::new(b)),
                }
            }
            CompiledLabelFilter::One(test) => {
                let number = self.conditions;
                self.conditions += 1;
                if test.minds_errors() && self.may_fail {
                    return Err(Unsure);
                }
                let known = match self.find(&test.label).map(|f| f.0) {
                    None => test.judge(None),
                    Some(Field { source: Source::Constant(value), empty_is_absent }) => {
                        test.judge(Some(value.as_str()).filter(|v| !(empty_is_absent && v.is_empty())))
                    }
                    Some(field) => {
                        self.may_fail |= test.can_fail();
                        return Ok(Tests::One { number, test, field });
                    }
                };
                match known {
                    Verdict::Keep => Tests::Known(true),
                    // Rows that fail go through the pipeline as lines, and must get there.
                    Verdict::Drop if self.may_fail && is_error_label(&test.label) => return Err(Unsure),
                    Verdict::Drop => Tests::Known(false),
                    Verdict::Fail(_) => return Err(Unsure),
                }
            }
        })
    }

    /// Whether a condition of `drop` or `keep` holds; `None` where there is no such label.
    fn holds(&self, m: &NamedMatcher) -> Result<Option<bool>, Unsure> {
        match m {
            NamedMatcher::Name(n) => Ok(self.find(n).map(|_| true)),
            NamedMatcher::Matcher(m) => match self.find(m.name()).map(|f| f.0) {
                None => Ok(None),
                Some(Field { source: Source::Constant(value), empty_is_absent: false }) => Ok(Some(m.matches(&value))),
                Some(_) => Err(Unsure),
            },
        }
    }

    /// The names of all labels that are left.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.stream.iter().map(|(n, _)| n.to_owned()).collect();
        names.extend(self.metadata.iter().cloned());
        names.extend(self.changes.iter().map(|c| c.0.clone()));
        names.sort();
        names.dedup();
        names.retain(|n| self.find(n).is_some());
        names
    }

    /// Runs a stage. Says whether a row may pass.
    fn stage(
        &mut self,
        stage: &'p Compiled,
        shape: Option<&Shape>,
        tests: &mut Vec<Tests<'p>>,
    ) -> Result<bool, Unsure> {
        let wanted = self.wanted;
        let wants_prefix = |prefix: &str| match wanted {
            Wanted::All | Wanted::Nothing => true,
            Wanted::Only(names) => names.iter().any(|n| n.starts_with(prefix)),
        };
        match stage {
            Compiled::Line(_) => {}
            Compiled::JsonAll => self.parse(|| fields::json_all(shape?, &wants_prefix))?,
            Compiled::JsonPaths(paths) => self.parse(|| fields::json_paths(shape?, paths))?,
            Compiled::Logfmt { strict, keep_empty } => {
                self.parse(|| fields::logfmt_all(shape?, *strict, *keep_empty))?;
            }
            Compiled::LogfmtKeys { strict, keys } => self.parse(|| fields::logfmt_keys(shape?, *strict, keys))?,
            Compiled::Pattern(pattern) => {
                let wants = |name: &str| match wanted {
                    Wanted::All | Wanted::Nothing => true,
                    Wanted::Only(names) => {
                        names.iter().any(|n| n.strip_suffix(EXTRACTED).unwrap_or(n) == name || n == name)
                    }
                };
                self.parse(|| fields::pattern(shape?, pattern, &wants))?;
            }
            Compiled::Label(filter) => match self.tests(filter)? {
                Tests::Known(false) => return Ok(false),
                Tests::Known(true) => {}
                t => tests.push(t),
            },
            Compiled::Drop(list) => {
                for m in list {
                    if self.holds(m)? == Some(true) {
                        let name = match m {
                            NamedMatcher::Name(n) => n,
                            NamedMatcher::Matcher(m) => m.name(),
                        };
                        self.set(name, None, Category::Parsed);
                    }
                }
            }
            Compiled::Keep(list) => {
                for name in self.names() {
                    let mut kept = false;
                    for m in list {
                        let same = match m {
                            NamedMatcher::Name(n) => *n == name,
                            NamedMatcher::Matcher(m) => m.name() == name,
                        };
                        kept |= same && self.holds(m)? == Some(true);
                    }
                    if !kept {
                        self.set(&name, None, Category::Parsed);
                    }
                }
            }
            Compiled::LabelFormat(formats) => {
                for (label, source) in formats {
                    let FormatSource::Rename(from) = source else { return Err(Unsure) };
                    if let Some((field, category)) = self.find(from) {
                        if field.empty_is_absent {
                            return Err(Unsure);
                        }
                        self.set(label, Some(field), category);
                        self.set(from, None, Category::Parsed);
                    }
                }
            }
            Compiled::Regexp(..) | Compiled::Unpack | Compiled::Decolorize | Compiled::LineFormat(_) => {
                return Err(Unsure);
            }
        }
        Ok(true)
    }
}

/// Whether any stage looks into the lines, so that shapes are needed.
pub fn reads_lines(target: &Target<'_>) -> bool {
    *target.wanted != Wanted::Nothing
        && target.pipeline.stages.iter().any(|s| {
            matches!(
                s,
                Compiled::JsonAll
                    | Compiled::JsonPaths(_)
                    | Compiled::Logfmt { .. }
                    | Compiled::LogfmtKeys { .. }
                    | Compiled::Pattern(_)
            )
        })
}

/// Works out what the pipeline does. `shape` may be missing if no stage looks into the lines.
pub fn compile<'p>(target: Target<'p>, shape: Option<&Shape>, stream: &'p Labels, metadata: &[String]) -> Outcome<'p> {
    let renamed = |n: &String| if stream.get(n).is_some() { format!("{n}{EXTRACTED}") } else { n.clone() };
    let metadata: Vec<String> = metadata.iter().map(renamed).collect();
    let distinct = metadata.iter().enumerate().all(|(i, n)| metadata.iter().skip(i + 1).all(|m| m != n));
    if !distinct {
        return Outcome::Lines;
    }
    let mut env = Env {
        wanted: target.wanted,
        stream,
        metadata,
        changes: Vec::new(),
        parsed: false,
        conditions: 0,
        may_fail: false,
    };
    let mut program = Program { tests: Vec::new(), unwrapped: None, late_tests: Vec::new(), labels: Vec::new() };
    for stage in &target.pipeline.stages {
        match env.stage(stage, shape, &mut program.tests) {
            Ok(true) => {}
            // A condition before it may mark a line with an error, but a line that is dropped has none.
            Ok(false) => return Outcome::Nothing,
            Err(Unsure) => return Outcome::Lines,
        }
    }
    if let Some(u) = target.unwrap {
        // Lines without the label do not count.
        let Some((field, _)) = env.find(u.label()) else { return Outcome::Nothing };
        program.unwrapped = Some(field);
        env.may_fail = true;
        for filter in u.filters() {
            match env.tests(filter) {
                Ok(Tests::Known(true)) => {}
                Ok(Tests::Known(false)) => return Outcome::Nothing,
                Ok(t) => program.late_tests.push(t),
                Err(Unsure) => return Outcome::Lines,
            }
        }
    }
    for name in env.names().into_iter().filter(|n| (target.keeps)(n)) {
        if let Some((field, _)) = env.find(&name) {
            program.labels.push((name, field));
        }
    }
    Outcome::Columns(program)
}
