//! The parser of PromQL: a Pratt parser over the tokens of [`crate::promql::lex`], then the type check.
//!
//! It stops at the first syntax error. Nesting is bounded by [`MAX_DEPTH`], counted in levels of the finished tree, so
//! that everything that walks a tree afterwards may recurse.

use crate::model::{Labels, Matcher};
use crate::promql::ast::{Expr, ExprKind};
use crate::promql::check;
use crate::promql::lex::{Keyword, Token, TokenKind, Tokens, lex};
pub use crate::promql::parse_error::{ParseError, ParseErrors};
use crate::text::span::Span;

/// How many levels a tree may have. A Rust stack that overflows ends the process, so recursion must be bounded; nobody
/// writes an expression half as deep by hand.
pub const MAX_DEPTH: usize = 128;

/// Which parts of the language beyond its stable core are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseOptions {
    /// Functions and aggregations that Prometheus calls experimental (`promql-experimental-functions`).
    pub experimental_functions: bool,
    /// Arithmetic in ranges, steps and offsets (`promql-duration-expr`).
    pub duration_expressions: bool,
    /// `anchored` and `smoothed` (`promql-extended-range-selectors`).
    pub extended_range_selectors: bool,
    /// `fill`, `fill_left`, `fill_right` (`promql-binop-fill-modifiers`).
    pub fill_modifiers: bool,
}

/// Everything is on.
impl Default for ParseOptions {
    fn default() -> Self {
        ParseOptions {
            experimental_functions: true,
            duration_expressions: true,
            extended_range_selectors: true,
            fill_modifiers: true,
        }
    }
}

/// Reads an expression with all features on, and checks its types.
pub fn parse(input: &str) -> Result<Expr, ParseErrors> {
    parse_with(input, ParseOptions::default())
}

/// Reads an expression and checks its types. A syntax error comes alone; of type errors all are returned.
pub fn parse_with(input: &str, options: ParseOptions) -> Result<Expr, ParseErrors> {
    let (expr, mut errors) = run(input, options, |p| {
        if p.kind() == TokenKind::Eof {
            p.errors.push(ParseError { span: Span::new(0, 0), message: "no expression found in input".to_owned() });
            return Err(Stop);
        }
        let expr = p.expression(0)?.expr;
        p.expect_end()?;
        Ok(expr)
    });
    if let Some(mut expr) = expr
        && errors.is_empty()
    {
        check::check(&mut expr, &mut errors);
        if errors.is_empty() {
            return Ok(expr);
        }
    }
    Err(ParseErrors { query: input.to_owned(), errors })
}

/// Reads a series selector as it stands in `match[]`: `up`, `{job="x"}`, `up{job="x"}`. It may be one that every
/// series satisfies; see [`parse_selector_non_empty`].
pub fn parse_selector(input: &str) -> Result<Vec<Matcher>, ParseErrors> {
    let (matchers, errors) = run(input, ParseOptions::default(), |p| {
        let selector = p.vector_selector()?;
        p.expect_end()?;
        Ok(selector.0.matchers)
    });
    matchers.filter(|_| errors.is_empty()).ok_or_else(|| ParseErrors { query: input.to_owned(), errors })
}

/// [`parse_selector`], but refuses a selector whose matchers all accept the empty string, as it would ask for everything.
pub fn parse_selector_non_empty(input: &str) -> Result<Vec<Matcher>, ParseErrors> {
    let matchers = parse_selector(input)?;
    if matchers.iter().all(Matcher::matches_empty) {
        let span = Span::new(0, input.len());
        return Err(ParseErrors::one(input, span, "match[] must contain at least one non-empty matcher"));
    }
    Ok(matchers)
}

/// Reads the labels of one series as they are written: `up`, `{job="x"}`, `up{job="x"}`, empty text for no labels.
pub fn parse_metric(input: &str) -> Result<Labels, ParseErrors> {
    let (labels, errors) = run(input, ParseOptions::default(), |p| {
        let labels = p.metric()?;
        p.expect_end()?;
        Ok(labels)
    });
    labels.filter(|_| errors.is_empty()).ok_or_else(|| ParseErrors { query: input.to_owned(), errors })
}

fn run<T>(
    input: &str,
    options: ParseOptions,
    read: impl FnOnce(&mut Parser<'_>) -> Result<T, Stop>,
) -> (Option<T>, Vec<ParseError>) {
    let Tokens { tokens, error } = lex(input);
    let mut parser = Parser { input, tokens, lex_error: error, next: 0, nesting: 0, options, errors: Vec::new() };
    let outcome = read(&mut parser).ok();
    (outcome, parser.errors)
}

/// The parser has put down an error and cannot go on.
pub(super) struct Stop;

/// An expression and the levels of its tree.
pub(super) struct Node {
    pub(super) expr: Expr,
    pub(super) depth: usize,
}

impl Node {
    pub(super) fn leaf(span: Span, kind: ExprKind) -> Self {
        Node { expr: Expr { span, kind }, depth: 1 }
    }
}

pub(super) struct Parser<'a> {
    pub(super) input: &'a str,
    tokens: Vec<Token>,
    lex_error: Option<String>,
    next: usize,
    nesting: usize,
    pub(super) options: ParseOptions,
    pub(super) errors: Vec<ParseError>,
}

impl<'a> Parser<'a> {
    pub(super) fn token(&self) -> Token {
        let end = Span::new(self.input.len(), self.input.len());
        self.tokens.get(self.next).copied().unwrap_or(Token { kind: TokenKind::Eof, span: end })
    }

    pub(super) fn kind(&self) -> TokenKind {
        self.token().kind
    }

    pub(super) fn kind_after(&self) -> TokenKind {
        self.tokens.get(self.next + 1).map_or(TokenKind::Eof, |t| t.kind)
    }

    pub(super) fn advance(&mut self) -> Token {
        let token = self.token();
        self.next += 1;
        token
    }

    pub(super) fn text(&self, span: Span) -> &'a str {
        self.input.get(span.start..span.end).unwrap_or("")
    }

    /// The end of the token before the present one.
    pub(super) fn last_end(&self) -> usize {
        self.next.checked_sub(1).and_then(|i| self.tokens.get(i)).map_or(0, |t| t.span.end)
    }

    pub(super) fn accept(&mut self, kind: TokenKind) -> bool {
        let yes = self.kind() == kind;
        if yes {
            self.next += 1;
        }
        yes
    }

    pub(super) fn accept_keyword(&mut self, keyword: Keyword) -> bool {
        self.accept(TokenKind::Keyword(keyword))
    }

    /// Puts down an error and goes on.
    pub(super) fn report(&mut self, span: Span, message: impl Into<String>) {
        self.errors.push(ParseError { span, message: message.into() });
    }

    /// Puts down an error and stops.
    pub(super) fn fail<T>(&mut self, span: Span, message: impl Into<String>) -> Result<T, Stop> {
        self.report(span, message);
        Err(Stop)
    }

    /// Puts down that the present token does not fit here, and stops.
    pub(super) fn unexpected<T>(&mut self, context: &str, expected: &str) -> Result<T, Stop> {
        let token = self.token();
        if let (TokenKind::Error, Some(message)) = (token.kind, self.lex_error.clone()) {
            return self.fail(token.span, message);
        }
        let mut message = format!("unexpected {}", token.kind.describe(self.text(token.span)));
        if !context.is_empty() {
            message.push_str(" in ");
            message.push_str(context);
        }
        if !expected.is_empty() {
            message.push_str(", expected ");
            message.push_str(expected);
        }
        self.fail(token.span, message)
    }

    pub(super) fn expect(&mut self, kind: TokenKind, context: &str, expected: &str) -> Result<Token, Stop> {
        if self.kind() == kind { Ok(self.advance()) } else { self.unexpected(context, expected) }
    }

    fn expect_end(&mut self) -> Result<(), Stop> {
        if self.kind() == TokenKind::Eof { Ok(()) } else { self.unexpected("", "") }
    }

    /// Runs `read` one level deeper.
    pub(super) fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Stop>) -> Result<T, Stop> {
        if self.nesting >= MAX_DEPTH {
            return self.too_deep(self.token().span);
        }
        self.nesting += 1;
        let outcome = read(self);
        self.nesting -= 1;
        outcome
    }

    /// Reads an expression whose operators bind at least so tightly. The functions that call each other for every level
    /// keep their frames small by leaving the building of nodes and messages to others: [`MAX_DEPTH`] levels must fit a
    /// thread's two megabytes even in builds that are not optimized.
    pub(super) fn expression(&mut self, min_precedence: u8) -> Result<Node, Stop> {
        if self.nesting >= MAX_DEPTH {
            return self.too_deep(self.token().span);
        }
        self.nesting += 1;
        let outcome = self.expression_here(min_precedence);
        self.nesting -= 1;
        outcome
    }

    fn too_deep<T>(&mut self, span: Span) -> Result<T, Stop> {
        let message = format!("expression is nested too deeply, more than {MAX_DEPTH} levels; split it up");
        self.fail(span, message)
    }

    pub(super) fn check_depth(&mut self, node: Node) -> Result<Node, Stop> {
        if node.depth > MAX_DEPTH { self.too_deep(node.expr.span) } else { Ok(node) }
    }
}
