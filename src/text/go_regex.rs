//! Go's regular expression syntax (RE2) on top of the `regex` crate.

use regex::Regex;

/// Why a regex was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {0}")]
pub struct RegexError(pub String);

/// A compiled Go regex.
#[derive(Clone, Debug)]
pub struct GoRegex {
    source: String,
    regex: Regex,
}

impl GoRegex {
    /// Compiles for a label matcher: anchored at both ends, and `.` matches newlines too.
    pub fn anchored(source: &str) -> Result<Self, RegexError> {
        let regex = Regex::new(&format!("^(?s:{source})$")).map_err(|e| RegexError(e.to_string()))?;
        Ok(GoRegex { source: source.to_owned(), regex })
    }

    /// Compiles without anchors, as LogQL line filters and `regexp` stages use it.
    pub fn unanchored(source: &str) -> Result<Self, RegexError> {
        let regex = Regex::new(source).map_err(|e| RegexError(e.to_string()))?;
        Ok(GoRegex { source: source.to_owned(), regex })
    }

    /// Whether the text matches.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// The regex as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// The compiled regex, for captures and replacements.
    pub fn regex(&self) -> &Regex {
        &self.regex
    }
}
