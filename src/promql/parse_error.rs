//! What is wrong with a PromQL expression, and where.

use std::fmt;

use crate::text::span::{Span, line_column, render_caret};

/// One thing that is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Where, in bytes of the query.
    pub span: Span,
    /// What, in the words of Prometheus where it has some.
    pub message: String,
}

/// All that was found wrong with a query, at least one thing. The first one is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseErrors {
    /// The query.
    pub query: String,
    /// The findings, in the order they were made.
    pub errors: Vec<ParseError>,
}

impl ParseErrors {
    /// One finding.
    pub fn one(query: &str, span: Span, message: impl Into<String>) -> Self {
        ParseErrors { query: query.to_owned(), errors: vec![ParseError { span, message: message.into() }] }
    }

    /// Where the first finding stands.
    pub fn span(&self) -> Span {
        self.errors.first().map_or(Span::new(0, 0), |e| e.span)
    }

    /// What the first finding is.
    pub fn message(&self) -> &str {
        self.errors.first().map_or("", |e| &e.message)
    }

    /// The line of the query that holds the first finding, and under it a line with carets.
    pub fn caret(&self) -> String {
        render_caret(&self.query, self.span())
    }
}

/// Writes the first finding as Prometheus does: `1:5: parse error: unexpected ...`.
impl fmt::Display for ParseErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.query.is_empty() {
            return write!(f, "unknown position: parse error: {}", self.message());
        }
        let (line, column) = line_column(&self.query, self.span().start);
        write!(f, "{line}:{column}: parse error: {}", self.message())
    }
}

impl std::error::Error for ParseErrors {}
