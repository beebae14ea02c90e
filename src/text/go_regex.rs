//! Go's regular expression syntax (RE2) on top of the `regex` crate.
//!
//! Users bring patterns that were written for Go. The crate matches in linear time as Go does, but it reads another
//! syntax, so a pattern is first [translated](translate) and then [looked at](literals) for parts that need no
//! automaton at all: the common `a|b|c` and `prefix.*` of label matchers are plain comparisons of text.

mod literals;
mod translate;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use literals::Analysis;

/// Largest compiled program, in bytes. Go's own limit on repetition (1,000) times a Unicode class needs about 20 MB;
/// past this a pattern is a mistake or an attack.
const SIZE_LIMIT: usize = 32 << 20;
/// Deepest nesting of groups and repetitions. Go allows 1,000; the compiler of the crate recurses, and 250 is its own
/// default for threads with small stacks.
const NEST_LIMIT: u32 = 250;

/// Why a regex was refused, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {0}")]
pub struct RegexError(pub String);

/// A compiled Go regex. Clones share everything.
#[derive(Clone, Debug)]
pub struct GoRegex {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    source: String,
    regex: Regex,
    names: Vec<Option<String>>,
    analysis: Analysis,
}

impl GoRegex {
    /// Compiles for a label matcher: anchored at both ends, and `.` matches newlines too.
    pub fn anchored(source: &str) -> Result<Self, RegexError> {
        Self::compile(source, true)
    }

    /// Compiles without anchors, as LogQL line filters and `regexp` stages use it.
    pub fn unanchored(source: &str) -> Result<Self, RegexError> {
        Self::compile(source, false)
    }

    fn compile(source: &str, anchored: bool) -> Result<Self, RegexError> {
        let translated = translate::translate(source).map_err(RegexError)?;
        let flags = if anchored { "s" } else { "" };
        let body = format!("(?{flags}:{})", translated.pattern);
        let whole = if anchored { format!("^{body}$") } else { body.clone() };
        let regex = RegexBuilder::new(&whole)
            .size_limit(SIZE_LIMIT)
            .nest_limit(NEST_LIMIT)
            .build()
            .map_err(|e| RegexError(crate_error(&e, source)))?;
        let hir = regex_syntax::ParserBuilder::new().nest_limit(NEST_LIMIT).build().parse(&body).ok();
        let analysis = Analysis::of(hir.as_ref(), anchored, translated.folds_case);
        Ok(GoRegex { inner: Arc::new(Inner { source: source.to_owned(), regex, names: translated.names, analysis }) })
    }

    /// Whether the text matches. Plain shapes (`a|b`, `prefix.*`, `.*infix.*`, `.+`) are compared without the automaton.
    pub fn is_match(&self, text: &str) -> bool {
        match self.inner.analysis.fast.decide(text) {
            Some(answer) => answer,
            None => self.inner.regex.is_match(text),
        }
    }

    /// The regex as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.inner.source
    }

    /// The compiled regex, for captures and replacements. Capture groups are numbered as in the source.
    pub fn regex(&self) -> &Regex {
        &self.inner.regex
    }

    /// The names of the capture groups from group 1 on, as the user wrote them.
    pub fn capture_names(&self) -> &[Option<String>] {
        &self.inner.names
    }

    /// The texts that an anchored regex can match, if they are few and none is folded by case: `a|b|c`, `(a|b)c`.
    /// Sorted, no duplicates. Always `None` for an unanchored regex.
    pub fn exact_alternatives(&self) -> Option<&[String]> {
        self.inner.analysis.exact.as_deref()
    }

    /// If an unanchored regex matches just the texts that contain one of a few others, and none is folded by case, those:
    /// `50[0-9]`, `a|b`, `(a|b)c`. None of them is empty.
    pub fn contained_alternatives(&self) -> Option<&[String]> {
        self.inner.analysis.contained.as_deref()
    }

    /// What every text that matches begins with; empty if nothing is known.
    pub fn literal_prefix(&self) -> &str {
        &self.inner.analysis.prefix
    }

    /// The longest literal that every text that matches contains, for a check before the automaton runs.
    pub fn required_literal(&self) -> Option<&str> {
        self.inner.analysis.required.as_deref()
    }
}

/// What the crate still refuses after translation: size, depth, and names of Unicode classes.
fn crate_error(e: &regex::Error, source: &str) -> String {
    match e {
        regex::Error::CompiledTooBig(_) => format!("expression too large: `{source}`"),
        other => {
            let text = other.to_string();
            if text.contains("nest") {
                format!("expression nests too deeply: `{source}`")
            } else if text.contains("Unicode property") {
                format!("invalid character class range: `{source}`")
            } else {
                // The crate prints the pattern with a caret over several lines; its last line says what is wrong.
                let last = text.lines().last().unwrap_or("").trim_start_matches("error: ");
                format!("{last}: `{source}`")
            }
        }
    }
}
