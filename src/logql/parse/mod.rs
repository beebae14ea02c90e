//! The parser of LogQL: recursive descent, with precedence climbing for binary operators.

mod metric;
mod pipeline;

use std::fmt;

use crate::logql::ast::{Expr, LogExpr};
use crate::logql::check;
use crate::logql::lex::{Token, TokenKind, tokens};
use crate::model::Matcher;
use crate::text::span::{Span, line_column, render_caret};

/// Nesting past this is refused: the parser recurses, and a stack overflow would end the process.
const MAX_DEPTH: usize = 128;

/// Why a query was refused, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Line and column from 1, where the fault has a place.
    pub position: Option<(usize, usize)>,
    /// What is wrong.
    pub message: String,
    /// The line of the query with carets below it; empty where the fault has no place.
    pub caret: String,
}

impl ParseError {
    /// An error at a place of the query.
    pub fn at(source: &str, span: Span, message: impl Into<String>) -> Self {
        ParseError {
            position: Some(line_column(source, span.start)),
            message: message.into(),
            caret: render_caret(source, span),
        }
    }

    /// An error about the query as a whole.
    pub fn whole(message: impl Into<String>) -> Self {
        ParseError { position: None, message: message.into(), caret: String::new() }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some((l, c)) => write!(f, "parse error at line {l}, col {c}: {}", self.message),
            None => write!(f, "parse error : {}", self.message),
        }
    }
}

impl std::error::Error for ParseError {}

/// Parses and checks a whole query.
pub fn parse(source: &str) -> Result<Expr, ParseError> {
    if source.trim().is_empty() {
        return Err(ParseError::whole("syntax error: unexpected $end"));
    }
    let mut p = Parser::new(source)?;
    let expr = p.expr()?;
    p.end()?;
    check::check(source, &expr)?;
    Ok(expr)
}

/// Parses a log query; a metric query is refused.
pub fn parse_log(source: &str) -> Result<LogExpr, ParseError> {
    match parse(source)? {
        Expr::Log(l) => Ok(l),
        Expr::Metric(_) => Err(ParseError::whole("a log query is wanted here, not a metric query")),
    }
}

/// Parses the matchers of a bare stream selector. `{}` is allowed where `allow_all` says so; a pipeline never is.
pub fn parse_selector(source: &str, allow_all: bool) -> Result<Vec<Matcher>, ParseError> {
    let mut p = Parser::new(source)?;
    let log = p.log_expr()?;
    p.end()?;
    if !log.stages.is_empty() {
        return Err(ParseError::whole("only label matchers are supported"));
    }
    if !allow_all {
        check::selector(&log.matchers)?;
    }
    Ok(log.matchers)
}

/// Reads the labels of a stream as pushers write them: `{a="b", c="d"}`, equality only.
pub fn parse_stream_labels(source: &str) -> Result<crate::model::Labels, ParseError> {
    let matchers = parse_selector(source, true)?;
    if let Some(m) = matchers.iter().find(|m| m.op() != crate::model::MatchOp::Equal) {
        return Err(ParseError::whole(format!("stream labels take = only, not {m}")));
    }
    Ok(crate::model::Labels::from_pairs(matchers.iter().map(|m| (m.name(), m.value()))))
}

pub(super) struct Parser<'a> {
    source: &'a str,
    tokens: Vec<Token<'a>>,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn new(source: &'a str) -> Result<Self, ParseError> {
        Ok(Parser { source, tokens: tokens(source)?, at: 0, depth: 0 })
    }

    fn token(&self) -> &Token<'a> {
        self.ahead(0)
    }

    fn ahead(&self, n: usize) -> &Token<'a> {
        static END: Token<'static> = Token { span: Span { start: 0, end: 0 }, kind: TokenKind::End };
        // The list ends with End, so looking past it gives End again.
        self.tokens.get(self.at + n).or(self.tokens.last()).unwrap_or(&END)
    }

    fn advance(&mut self) -> Token<'a> {
        let t = self.token().clone();
        if t.kind != TokenKind::End {
            self.at += 1;
        }
        t
    }

    /// The end of the token just passed.
    fn last_end(&self) -> usize {
        self.at.checked_sub(1).and_then(|i| self.tokens.get(i)).map_or(0, |t| t.span.end)
    }

    fn is_symbol(&self, symbol: &str) -> bool {
        matches!(self.token().kind, TokenKind::Symbol(s) if s == symbol)
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.token().kind, TokenKind::Word(w) if w.eq_ignore_ascii_case(word))
    }

    fn take_symbol(&mut self, symbol: &str) -> bool {
        let found = self.is_symbol(symbol);
        if found {
            self.at += 1;
        }
        found
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.at += 1;
        }
        found
    }

    fn want_symbol(&mut self, symbol: &'static str) -> Result<(), ParseError> {
        if self.take_symbol(symbol) { Ok(()) } else { Err(self.unexpected(symbol)) }
    }

    fn want_text(&mut self) -> Result<String, ParseError> {
        match self.token().kind.clone() {
            TokenKind::Text(t) => {
                self.at += 1;
                Ok(t)
            }
            _ => Err(self.unexpected("STRING")),
        }
    }

    fn want_word(&mut self) -> Result<String, ParseError> {
        match self.token().kind {
            TokenKind::Word(w) => {
                self.at += 1;
                Ok(w.to_owned())
            }
            _ => Err(self.unexpected("IDENTIFIER")),
        }
    }

    /// The current token is wrong; `wanted` may be empty.
    fn unexpected(&self, wanted: &str) -> ParseError {
        let t = self.token();
        let mut message = format!("syntax error: unexpected {}", t.kind.describe());
        if !wanted.is_empty() {
            message.push_str(", expecting ");
            message.push_str(wanted);
        }
        ParseError::at(self.source, t.span, message)
    }

    fn end(&self) -> Result<(), ParseError> {
        if self.token().kind == TokenKind::End { Ok(()) } else { Err(self.unexpected("")) }
    }

    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, ParseError>) -> Result<T, ParseError> {
        if self.depth >= MAX_DEPTH {
            return Err(ParseError::at(
                self.source,
                self.token().span,
                format!("the query is nested more than {MAX_DEPTH} levels deep"),
            ));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn expr(&mut self) -> Result<Expr, ParseError> {
        if self.begins_log_expr() {
            return self.log_expr().map(Expr::Log);
        }
        if self.is_word("variants") { self.variants() } else { self.metric_expr() }.map(Expr::Metric)
    }

    /// Whether what follows is a log query, perhaps in parentheses.
    fn begins_log_expr(&self) -> bool {
        let mut n = 0;
        while matches!(self.ahead(n).kind, TokenKind::Symbol("(")) {
            n += 1;
        }
        matches!(self.ahead(n).kind, TokenKind::Symbol("{"))
    }
}

#[cfg(test)]
mod tests;
