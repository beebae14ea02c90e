//! Conditions on lines, as line filters of LogQL have them, and what they require of a line in plain text.

use memchr::memmem;
use regex_syntax::hir::{Hir, HirKind};

use super::columns::needle::{Unit, units_of};
use crate::text::go_regex::GoRegex;

/// A condition on a line.
#[derive(Clone, Debug)]
pub enum LineFilter {
    /// The line holds this text (`|=`).
    Contains(String),
    /// It does not (`!=`).
    NotContains(String),
    /// Some part of the line matches (`|~`).
    Regex(GoRegex),
    /// No part does (`!~`).
    NotRegex(GoRegex),
    /// At least one of these holds (`|= "a" or "b"`).
    AnyOf(Vec<LineFilter>),
}

/// What a line must hold for a filter to accept it: all of the outer list; of an inner list one.
pub type Required = Vec<Vec<String>>;

/// Literals every match of a regex holds. Case-insensitive parts are classes by now and give nothing.
fn required_of(hir: &Hir) -> Required {
    match hir.kind() {
        HirKind::Literal(l) => std::str::from_utf8(&l.0).map(|s| vec![vec![s.to_owned()]]).unwrap_or_default(),
        HirKind::Capture(c) => required_of(&c.sub),
        HirKind::Repetition(r) if r.min > 0 => required_of(&r.sub),
        HirKind::Concat(parts) => parts.iter().flat_map(required_of).collect(),
        HirKind::Alternation(parts) => {
            let longest =
                |h: &Hir| required_of(h).into_iter().filter(|any| any.len() == 1).flatten().max_by_key(String::len);
            parts.iter().map(longest).collect::<Option<Vec<String>>>().into_iter().collect()
        }
        HirKind::Repetition(_) | HirKind::Empty | HirKind::Class(_) | HirKind::Look(_) => Vec::new(),
    }
}

/// Filters made ready for many lines.
#[derive(Debug)]
pub struct CompiledFilters(Vec<Compiled>);

/// One of them.
#[derive(Debug)]
pub(super) enum Compiled {
    Contains(Text),
    NotContains(Text),
    Regex(Pattern),
    NotRegex(Pattern),
    AnyOf(Vec<Compiled>),
}

/// A text that is looked for.
#[derive(Debug)]
pub(super) struct Text {
    pub text: String,
    finder: memmem::Finder<'static>,
}

/// A regular expression, and what is known of the lines it matches.
#[derive(Debug)]
pub(super) struct Pattern {
    regex: regex::Regex,
    /// It matches just the lines that contain one of these.
    pub texts: Option<Vec<String>>,
    /// It matches just the lines in which such characters stand one after another.
    pub units: Option<Vec<Unit>>,
    /// What such lines must hold.
    pub required: Required,
}

impl Text {
    fn new(text: &str) -> Self {
        Text { text: text.to_owned(), finder: memmem::Finder::new(text).into_owned() }
    }
}

impl Pattern {
    fn new(r: &GoRegex) -> Self {
        let texts = r.contained_alternatives().map(<[String]>::to_vec);
        let parsed = regex_syntax::parse(r.regex().as_str()).ok();
        let units = parsed.as_ref().and_then(units_of);
        let required = parsed.as_ref().map(required_of).unwrap_or_default();
        // Cloning shares the compiled program.
        Pattern { regex: r.regex().clone(), texts, units, required }
    }

    /// The regular expression.
    pub fn regex(&self) -> &regex::Regex {
        &self.regex
    }
}

impl Compiled {
    fn new(filter: &LineFilter) -> Self {
        match filter {
            LineFilter::Contains(s) => Compiled::Contains(Text::new(s)),
            LineFilter::NotContains(s) => Compiled::NotContains(Text::new(s)),
            LineFilter::Regex(r) => Compiled::Regex(Pattern::new(r)),
            LineFilter::NotRegex(r) => Compiled::NotRegex(Pattern::new(r)),
            LineFilter::AnyOf(f) => Compiled::AnyOf(f.iter().map(Compiled::new).collect()),
        }
    }

    /// Texts without which no line is accepted; empty if nothing is known.
    fn required(&self) -> Required {
        match self {
            Compiled::Contains(t) if !t.text.is_empty() => vec![vec![t.text.clone()]],
            Compiled::Contains(_) | Compiled::NotContains(_) | Compiled::NotRegex(_) => Vec::new(),
            Compiled::Regex(p) => p.required.clone(),
            Compiled::AnyOf(filters) => {
                // One text for each alternative; an alternative without one makes the whole unknown.
                let each = |f: &Compiled| {
                    f.required().into_iter().find(|any| any.len() == 1).and_then(|any| any.into_iter().next())
                };
                let texts: Option<Vec<String>> = filters.iter().map(each).collect();
                texts.filter(|v| !v.is_empty()).into_iter().collect()
            }
        }
    }

    fn accepts(&self, line: &str) -> bool {
        match self {
            Compiled::Contains(t) => t.finder.find(line.as_bytes()).is_some(),
            Compiled::NotContains(t) => t.finder.find(line.as_bytes()).is_none(),
            Compiled::Regex(p) => p.regex.is_match(line),
            Compiled::NotRegex(p) => !p.regex.is_match(line),
            Compiled::AnyOf(f) => f.iter().any(|f| f.accepts(line)),
        }
    }
}

impl CompiledFilters {
    /// Prepares filters that must all hold.
    pub fn new(filters: &[LineFilter]) -> Self {
        CompiledFilters(filters.iter().map(Compiled::new).collect())
    }

    /// Texts without which no line is accepted.
    pub fn required(&self) -> Required {
        self.0.iter().flat_map(Compiled::required).collect()
    }

    /// The filters.
    pub(super) fn each(&self) -> &[Compiled] {
        &self.0
    }

    /// Whether all filters accept the line.
    pub fn accept(&self, line: &str) -> bool {
        self.0.iter().all(|f| f.accepts(line))
    }

    /// Whether there is nothing to check.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_regexes_require() {
        for (regex, required) in [
            ("HTTP/1.1\" 50[0-9]", vec![vec!["HTTP/1"], vec!["1\" 50"]]),
            ("(?i)error", vec![]),
            ("foo|bar", vec![vec!["foo", "bar"]]),
            ("foo|[ab]", vec![]),
            ("(abc)+x?", vec![vec!["abc"]]),
            (".*", vec![]),
        ] {
            let f = CompiledFilters::new(&[LineFilter::Regex(GoRegex::unanchored(regex).unwrap())]);
            assert_eq!(f.required(), required, "{regex}");
        }
        let any =
            |texts: &[&str]| LineFilter::AnyOf(texts.iter().map(|t| LineFilter::Contains((*t).to_owned())).collect());
        assert_eq!(CompiledFilters::new(&[any(&["a", "b"]), any(&["c", ""])]).required(), [["a", "b"]]);
    }
}
