//! Go's `text/template` and the part of `html/template` that escapes by context.
//!
//! Users bring templates that were written for Prometheus, Alertmanager and Loki. A [`Template`] is parsed once against
//! a table of [functions](FuncMap) and can then be executed any number of times, in parallel, with any [`Value`].
//! Each execution is bounded in steps, output, depth and time ([`Limits`]).
//!
//! | file | job |
//! |---|---|
//! | `lex`, `parse` | text to tokens to tree |
//! | `exec` | walks the tree |
//! | `funcs` | the functions of the language itself |
//! | `prometheus`, `alertmanager` | the functions those programs add |
//! | `printf`, `time`, `value` | what Go's `fmt`, `time` and `reflect` do |
//! | `notification` | the data of notifications and the templates that receivers use by default |
//! | `html` | escaping by context |

pub mod alertmanager;
mod exec;
mod funcs;
mod html;
mod lex;
pub mod notification;
mod parse;
pub mod printf;
pub mod prometheus;
pub mod time;
pub mod value;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

pub use time::GoTime;
pub use value::{Func, List, Map, Object, Safe, Value};

use crate::text::span::line_column;
use parse::Tree;

/// Functions by name, added to those of the language.
pub type FuncMap = HashMap<String, Func>;

/// Why a template was refused or failed, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("template: {name}:{line}{}: {message}", .column.map(|c| format!(":{c}")).unwrap_or_default())]
pub struct TemplateError {
    /// The name the text was parsed under.
    pub name: String,
    /// Line, from 1.
    pub line: usize,
    /// Bytes before it in the line, as Go counts; only failures of an execution have it.
    pub column: Option<usize>,
    /// What is wrong.
    pub message: String,
}

/// What an absent key of a map means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum MissingKey {
    /// No value, shown as `<no value>`.
    #[default]
    Invalid,
    /// The zero of the map's values: empty text for maps of text.
    Zero,
    /// The execution fails.
    Error,
}

/// Bounds of one execution.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Nodes visited. A notification of a thousand alerts with ten labels takes some hundred thousand.
    pub steps: u64,
    /// Bytes written. The largest receiver (email) should not get more than this either.
    pub output_bytes: usize,
    /// Wall time, checked now and then; functions that query are bounded by their own timeouts.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { steps: 2_000_000, output_bytes: 4 << 20, time: Duration::from_secs(10) }
    }
}

/// How to execute.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What an absent key means.
    pub missing_key: MissingKey,
    /// Whether values are escaped for the place in HTML where they appear.
    pub html: bool,
    /// The bounds.
    pub limits: Limits,
}

/// A definition and where it came from.
#[derive(Clone, Debug)]
struct Named {
    tree: Arc<Tree>,
    source: Arc<str>,
    parse_name: Arc<str>,
}

/// A set of named templates with one main template. Clones share the trees.
#[derive(Clone, Debug, Default)]
pub struct Template {
    name: String,
    named: HashMap<String, Named>,
    functions: BTreeSet<String>,
}

impl Template {
    /// Parses one text. `funcs` only tells which names exist; other closures may be given at execution.
    pub fn parse(name: &str, text: &str, funcs: &FuncMap) -> Result<Template, TemplateError> {
        let mut set = Template { name: name.to_owned(), ..Template::default() };
        set.add(name, text, funcs)?;
        Ok(set)
    }

    /// An empty set, to which files are added.
    pub fn empty(name: &str) -> Template {
        Template { name: name.to_owned(), ..Template::default() }
    }

    /// Parses another text into the set under `name`. A definition replaces an earlier one of its name unless it is blank.
    pub fn add(&mut self, name: &str, text: &str, funcs: &FuncMap) -> Result<(), TemplateError> {
        let known = |n: &str| funcs::is_builtin(n) || funcs.contains_key(n);
        let parsed = parse::parse(text, &known).map_err(|e| TemplateError {
            name: name.to_owned(),
            line: line_column(text, e.pos).0,
            column: None,
            message: e.message,
        })?;
        let source: Arc<str> = Arc::from(text);
        let parse_name: Arc<str> = Arc::from(name);
        for (defined, tree) in parsed.defined.into_iter().chain([(name.to_owned(), parsed.main)]) {
            if tree.is_blank() && self.named.contains_key(&defined) && defined != self.name {
                continue;
            }
            let named = Named { tree: Arc::new(tree), source: source.clone(), parse_name: parse_name.clone() };
            self.named.insert(defined, named);
        }
        self.functions.extend(parsed.functions);
        Ok(())
    }

    /// Whether a template of that name is defined.
    pub fn defines(&self, name: &str) -> bool {
        self.named.contains_key(name)
    }

    /// Whether a function of that name is called anywhere in the set.
    pub fn calls(&self, function: &str) -> bool {
        self.functions.contains(function)
    }

    /// The names of all fields that are read anywhere in the set: `x` of `.x`, `x` and `y` of `.x.y`.
    pub fn fields(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        self.named.values().for_each(|n| n.tree.fields(&mut names));
        names
    }

    /// Executes the main template.
    pub fn execute(&self, data: &Value, funcs: &FuncMap, options: &Options) -> Result<String, TemplateError> {
        exec::execute(self, &self.name, data, funcs, options)
    }

    /// Executes the template of that name.
    pub fn execute_named(
        &self,
        name: &str,
        data: &Value,
        funcs: &FuncMap,
        options: &Options,
    ) -> Result<String, TemplateError> {
        exec::execute(self, name, data, funcs, options)
    }
}
