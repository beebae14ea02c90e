//! The parser of PromQL: a Pratt parser over the tokens of [`crate::promql::lex`], then the type check.
//!
//! It stops at the first syntax error. Nesting is bounded by [`MAX_DEPTH`], counted in levels of the finished tree, so
//! that everything that walks a tree afterwards may recurse.

use crate::model::{Labels, Matcher};
use crate::promql::ast::{
    Aggregate, AggregateOp, Binary, BinaryOp, Call, Cardinality, Expr, ExprKind, NumberLiteral, UnaryOp,
    VectorMatching, VectorSelector,
};
use crate::promql::check;
use crate::promql::function_table;
use crate::promql::lex::{Keyword, Token, TokenKind, Tokens, aggregate_text, lex};
use crate::promql::number;
pub use crate::promql::parse_error::{ParseError, ParseErrors};
use crate::text::quote::{quote, unquote};
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

/// How tightly an operator binds, and whether it groups to the right.
fn precedence(op: BinaryOp) -> (u8, bool) {
    match op {
        BinaryOp::Or => (1, false),
        BinaryOp::And | BinaryOp::Unless => (2, false),
        BinaryOp::Equal
        | BinaryOp::NotEqual
        | BinaryOp::Greater
        | BinaryOp::Less
        | BinaryOp::GreaterEqual
        | BinaryOp::LessEqual
        | BinaryOp::TrimUpper
        | BinaryOp::TrimLower => (3, false),
        BinaryOp::Add | BinaryOp::Sub => (4, false),
        BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Atan2 => (UNARY_PRECEDENCE, false),
        BinaryOp::Pow => (6, true),
    }
}

/// A sign binds like a multiplication: `-2 ^ 2` is `-(2 ^ 2)`.
const UNARY_PRECEDENCE: u8 = 5;

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

    fn too_deep<T>(&mut self, span: Span) -> Result<T, Stop> {
        let message = format!("expression is nested too deeply, more than {MAX_DEPTH} levels; split it up");
        self.fail(span, message)
    }

    pub(super) fn check_depth(&mut self, node: Node) -> Result<Node, Stop> {
        if node.depth > MAX_DEPTH { self.too_deep(node.expr.span) } else { Ok(node) }
    }

    pub(super) fn expression(&mut self, min_precedence: u8) -> Result<Node, Stop> {
        self.nested(|p| p.expression_here(min_precedence))
    }

    fn expression_here(&mut self, min_precedence: u8) -> Result<Node, Stop> {
        let mut left = self.prefix()?;
        while let TokenKind::Operator(op) = self.kind() {
            let (level, to_right) = precedence(op);
            if level < min_precedence {
                break;
            }
            let op_span = self.advance().span;
            let (return_bool, matching) = self.binary_modifiers(op_span)?;
            let right = self.expression(if to_right { level } else { level + 1 })?;
            let span = left.expr.span.to(right.expr.span);
            let depth = 1 + left.depth.max(right.depth);
            let (lhs, rhs) = (left.expr, right.expr);
            let binary = Binary { op, op_span, lhs, rhs, return_bool, matching: Some(matching) };
            left = self.check_depth(Node { expr: Expr { span, kind: ExprKind::Binary(Box::new(binary)) }, depth })?;
        }
        Ok(left)
    }

    fn prefix(&mut self) -> Result<Node, Stop> {
        let op = match self.kind() {
            TokenKind::Operator(BinaryOp::Sub) => UnaryOp::Minus,
            TokenKind::Operator(BinaryOp::Add) => UnaryOp::Plus,
            _ => {
                let node = self.primary()?;
                return self.postfix(node);
            }
        };
        let start = self.advance().span.start;
        let inner = self.expression(UNARY_PRECEDENCE + 1)?;
        let span = Span::new(start, inner.expr.span.end);
        // A signed number is a number.
        if let ExprKind::Number(n) = inner.expr.kind {
            let value = if op == UnaryOp::Minus { -n.value } else { n.value };
            return Ok(Node::leaf(span, ExprKind::Number(NumberLiteral { value, ..n })));
        }
        let depth = inner.depth + 1;
        self.check_depth(Node { expr: Expr { span, kind: ExprKind::Unary(op, Box::new(inner.expr)) }, depth })
    }

    fn primary(&mut self) -> Result<Node, Stop> {
        let token = self.token();
        match token.kind {
            TokenKind::Number | TokenKind::Duration => {
                let literal = self.number_or_duration()?;
                Ok(Node::leaf(token.span, ExprKind::Number(literal)))
            }
            TokenKind::String => {
                self.advance();
                let text = self.unquoted(token.span)?;
                Ok(Node::leaf(token.span, ExprKind::String(text)))
            }
            TokenKind::LeftParen => {
                self.advance();
                let inner = self.expression(0)?;
                let end = self.expect(TokenKind::RightParen, "", "")?.span;
                let (span, depth) = (token.span.to(end), inner.depth + 1);
                self.check_depth(Node { expr: Expr { span, kind: ExprKind::Paren(Box::new(inner.expr)) }, depth })
            }
            TokenKind::LeftBrace => self.selector_node(),
            TokenKind::Aggregate(op) => match self.kind_after() {
                TokenKind::LeftParen | TokenKind::Keyword(Keyword::By | Keyword::Without) => self.aggregate(op),
                _ => self.selector_node(),
            },
            TokenKind::Identifier
            | TokenKind::Keyword(Keyword::Start | Keyword::End | Keyword::Step | Keyword::Range)
                if self.kind_after() == TokenKind::LeftParen =>
            {
                self.call()
            }
            kind if kind.is_metric_name() => self.selector_node(),
            _ => self.unexpected("", ""),
        }
    }

    fn selector_node(&mut self) -> Result<Node, Stop> {
        let (selector, span): (VectorSelector, Span) = self.vector_selector()?;
        Ok(Node::leaf(span, ExprKind::Vector(selector)))
    }

    /// Reads the present number or duration token.
    pub(super) fn number_or_duration(&mut self) -> Result<NumberLiteral, Stop> {
        let token = self.advance();
        let text = self.text(token.span);
        if token.kind == TokenKind::Duration {
            return match crate::text::duration::parse_ms(text) {
                // Sub-second digits of milliseconds are exact in a float up to centuries.
                Ok(ms) => Ok(NumberLiteral { value: ms as f64 / 1000.0, is_duration: true }),
                Err(e) => self.fail(token.span, e.to_string()),
            };
        }
        match number::parse(text) {
            Some(value) => Ok(NumberLiteral { value, is_duration: false }),
            None => self.fail(token.span, format!("error parsing number: {} is no number", quote(text))),
        }
    }

    /// Reads a number with an optional sign, as `@` and `fill(...)` take it.
    pub(super) fn signed_number(&mut self, context: &str, expected: &str) -> Result<f64, Stop> {
        let negative = match self.kind() {
            TokenKind::Operator(BinaryOp::Sub) => true,
            TokenKind::Operator(BinaryOp::Add) => false,
            TokenKind::Number | TokenKind::Duration => return Ok(self.number_or_duration()?.value),
            _ => return self.unexpected(context, expected),
        };
        self.advance();
        if !matches!(self.kind(), TokenKind::Number | TokenKind::Duration) {
            return self.unexpected(context, expected);
        }
        let value = self.number_or_duration()?.value;
        Ok(if negative { -value } else { value })
    }

    pub(super) fn unquoted(&mut self, span: Span) -> Result<String, Stop> {
        let literal = self.text(span);
        match unquote(literal) {
            Ok(text) => Ok(text),
            Err(e) => self.fail(span, format!("error unquoting string {}: {}", quote(literal), e.message)),
        }
    }

    fn call(&mut self) -> Result<Node, Stop> {
        let name_span = self.advance().span;
        let name = self.text(name_span);
        // Words that are also keywords are read in any case.
        let found = function_table::find(name).or_else(|| match word_function(name) {
            Some(lower) => function_table::find(lower),
            None => None,
        });
        let (args, depth) = self.arguments()?;
        let span = Span::new(name_span.start, self.last_end());
        let Some(function) = found else {
            return self.fail(name_span, format!("unknown function with name {}", quote(name)));
        };
        if function.experimental && !self.options.experimental_functions {
            return self.fail(
                name_span,
                format!(
                    "function {} is not enabled; it is experimental and must be enabled with \
                     --enable-feature=promql-experimental-functions",
                    quote(name)
                ),
            );
        }
        let call = Call { func: function.name, name_span, args };
        self.check_depth(Node { expr: Expr { span, kind: ExprKind::Call(call) }, depth: depth + 1 })
    }

    /// Reads `(a, b)` and returns the arguments and the depth of the deepest.
    fn arguments(&mut self) -> Result<(Vec<Expr>, usize), Stop> {
        self.expect(TokenKind::LeftParen, "", "")?;
        let (mut args, mut depth) = (Vec::new(), 0);
        if self.accept(TokenKind::RightParen) {
            return Ok((args, depth));
        }
        loop {
            let arg = self.expression(0)?;
            depth = depth.max(arg.depth);
            args.push(arg.expr);
            let token = self.token();
            if self.accept(TokenKind::RightParen) {
                return Ok((args, depth));
            }
            self.expect(TokenKind::Comma, "", "")?;
            if self.kind() == TokenKind::RightParen {
                return self.fail(token.span, "trailing commas not allowed in function call args");
            }
        }
    }

    fn aggregate(&mut self, op: AggregateOp) -> Result<Node, Stop> {
        let op_span = self.advance().span;
        let mut modifier = self.grouping_modifier()?;
        if self.kind() != TokenKind::LeftParen {
            return self.unexpected("aggregation", "");
        }
        let (mut args, depth) = self.arguments()?;
        if modifier.is_none() {
            modifier = self.grouping_modifier()?;
        }
        let (without, grouping) = modifier.unwrap_or_default();
        let span = Span::new(op_span.start, self.last_end());
        if args.is_empty() {
            return self.fail(span, "no arguments for aggregate expression provided");
        }
        if matches!(op, AggregateOp::Limitk | AggregateOp::LimitRatio) && !self.options.experimental_functions {
            let name = aggregate_text(op);
            return self.fail(
                span,
                format!(
                    "{name}() is experimental and must be enabled with --enable-feature=promql-experimental-functions"
                ),
            );
        }
        let wanted = if op.has_param() { 2 } else { 1 };
        let got = args.len();
        let (expr, param) = match (wanted, args.pop(), args.pop()) {
            (1, Some(expr), None) => (expr, None),
            (2, Some(expr), Some(param)) if args.is_empty() => (expr, Some(param)),
            _ => {
                return self.fail(
                    span,
                    format!(
                        "wrong number of arguments for aggregate expression provided, expected {wanted}, got {got}"
                    ),
                );
            }
        };
        let aggregate = Aggregate { op, op_span, param, expr, without, grouping };
        let kind = ExprKind::Aggregate(Box::new(aggregate));
        self.check_depth(Node { expr: Expr { span, kind }, depth: depth + 1 })
    }

    fn grouping_modifier(&mut self) -> Result<Option<(bool, Vec<String>)>, Stop> {
        let without = match self.kind() {
            TokenKind::Keyword(Keyword::By) => false,
            TokenKind::Keyword(Keyword::Without) => true,
            _ => return Ok(None),
        };
        self.advance();
        Ok(Some((without, self.grouping_labels()?)))
    }

    fn grouping_labels(&mut self) -> Result<Vec<String>, Stop> {
        const CONTEXT: &str = "grouping opts";
        self.expect(TokenKind::LeftParen, CONTEXT, "\"(\"")?;
        let mut labels = Vec::new();
        loop {
            let token = self.token();
            match token.kind {
                TokenKind::RightParen => {
                    self.advance();
                    return Ok(labels);
                }
                TokenKind::String => {
                    let name = self.unquoted(token.span)?;
                    if name.is_empty() {
                        return self.unexpected(CONTEXT, "label");
                    }
                    labels.push(name);
                }
                kind if kind.is_label_name() && !self.text(token.span).contains(':') => {
                    labels.push(self.text(token.span).to_owned());
                }
                _ => return self.unexpected(CONTEXT, "label"),
            }
            self.advance();
            if self.kind() != TokenKind::RightParen {
                self.expect(TokenKind::Comma, CONTEXT, "\",\" or \")\"")?;
            }
        }
    }

    /// Reads what may stand between an operator and its right side.
    fn binary_modifiers(&mut self, op_span: Span) -> Result<(bool, VectorMatching), Stop> {
        let return_bool = self.accept_keyword(Keyword::Bool);
        let mut matching = VectorMatching {
            card: Cardinality::OneToOne,
            on: false,
            labels: Vec::new(),
            include: Vec::new(),
            fill_left: None,
            fill_right: None,
        };
        if let TokenKind::Keyword(k @ (Keyword::On | Keyword::Ignoring)) = self.kind() {
            self.advance();
            matching.on = k == Keyword::On;
            matching.labels = self.grouping_labels()?;
            if let TokenKind::Keyword(k @ (Keyword::GroupLeft | Keyword::GroupRight)) = self.kind() {
                self.advance();
                matching.card = if k == Keyword::GroupLeft { Cardinality::ManyToOne } else { Cardinality::OneToMany };
                if self.kind() == TokenKind::LeftParen {
                    matching.include = self.grouping_labels()?;
                }
            }
        }
        while let TokenKind::Keyword(k @ (Keyword::Fill | Keyword::FillLeft | Keyword::FillRight)) = self.kind() {
            let (left, right) = (k != Keyword::FillRight, k != Keyword::FillLeft);
            if (left && matching.fill_left.is_some()) || (right && matching.fill_right.is_some()) {
                return self.unexpected("", "");
            }
            if !self.options.fill_modifiers {
                let span = op_span.to(self.token().span);
                let message = "binop fill modifiers are experimental and not enabled; enable them with \
                               --enable-feature=promql-binop-fill-modifiers";
                return self.fail(span, message);
            }
            self.advance();
            self.expect(TokenKind::LeftParen, "fill modifier", "\"(\"")?;
            let value = self.signed_number("fill modifier", "number")?;
            self.expect(TokenKind::RightParen, "fill modifier", "\")\"")?;
            if left {
                matching.fill_left = Some(value);
            }
            if right {
                matching.fill_right = Some(value);
            }
        }
        Ok((return_bool, matching))
    }
}

/// The name in the function table of a word that the lexer reads in any case.
fn word_function(name: &str) -> Option<&'static str> {
    ["start", "end", "step", "range"].into_iter().find(|w| name.eq_ignore_ascii_case(w))
}
