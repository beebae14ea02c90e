//! The part of the parser for expressions: operators, signs, literals, calls and aggregations.

use crate::promql::ast::{
    Aggregate, AggregateOp, Binary, BinaryOp, Call, Cardinality, Expr, ExprKind, NumberLiteral, UnaryOp,
    VectorMatching, VectorSelector,
};
use crate::promql::function_table;
use crate::promql::lex::{Keyword, Token, TokenKind, aggregate_text};
use crate::promql::number;
use crate::promql::parse::{Node, Parser, Stop};
use crate::text::quote::{quote, unquote};
use crate::text::span::Span;

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

impl Parser<'_> {
    pub(super) fn expression_here(&mut self, min_precedence: u8) -> Result<Node, Stop> {
        let mut left = self.prefix()?;
        while let TokenKind::Operator(op) = self.kind() {
            let (level, to_right) = precedence(op);
            if level < min_precedence {
                break;
            }
            let op_span = self.advance().span;
            let (return_bool, matching) = self.binary_modifiers(op_span)?;
            let right = self.expression(if to_right { level } else { level + 1 })?;
            left = self.joined(left, (op, op_span), (return_bool, matching), right)?;
        }
        Ok(left)
    }

    fn joined(
        &mut self,
        left: Node,
        (op, op_span): (BinaryOp, Span),
        (return_bool, matching): (bool, VectorMatching),
        right: Node,
    ) -> Result<Node, Stop> {
        let span = left.expr.span.to(right.expr.span);
        let depth = 1 + left.depth.max(right.depth);
        let (lhs, rhs) = (left.expr, right.expr);
        let binary = Binary { op, op_span, lhs, rhs, return_bool, matching: Some(matching) };
        self.check_depth(Node { expr: Expr { span, kind: ExprKind::Binary(Box::new(binary)) }, depth })
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
        self.signed_node(op, start, inner)
    }

    fn signed_node(&mut self, op: UnaryOp, start: usize, inner: Node) -> Result<Node, Stop> {
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
            TokenKind::Number | TokenKind::Duration | TokenKind::String => self.literal(token),
            TokenKind::LeftParen => {
                self.advance();
                let inner = self.expression(0)?;
                self.parenthesized(token.span, inner)
            }
            TokenKind::LeftBrace => self.selector_node(),
            TokenKind::Aggregate(op) => match self.kind_after() {
                TokenKind::LeftParen | TokenKind::Keyword(Keyword::By | Keyword::Without) => self.aggregate(op),
                _ => self.selector_node(),
            },
            TokenKind::Identifier
            | TokenKind::Keyword(
                Keyword::Start | Keyword::End | Keyword::Step | Keyword::Range | Keyword::MinOf | Keyword::MaxOf,
            ) if self.kind_after() == TokenKind::LeftParen => self.call(),
            kind if kind.is_metric_name() => self.selector_node(),
            _ => self.unexpected("", ""),
        }
    }

    fn literal(&mut self, token: Token) -> Result<Node, Stop> {
        if token.kind == TokenKind::String {
            self.advance();
            let text = self.unquoted(token.span)?;
            return Ok(Node::leaf(token.span, ExprKind::String(text)));
        }
        let literal = self.number_or_duration()?;
        Ok(Node::leaf(token.span, ExprKind::Number(literal)))
    }

    fn parenthesized(&mut self, open: Span, inner: Node) -> Result<Node, Stop> {
        let close = self.expect(TokenKind::RightParen, "", "")?.span;
        let (span, depth) = (open.to(close), inner.depth + 1);
        self.check_depth(Node { expr: Expr { span, kind: ExprKind::Paren(Box::new(inner.expr)) }, depth })
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
        let (args, depth) = self.arguments()?;
        self.call_of(name_span, args, depth)
    }

    fn call_of(&mut self, name_span: Span, args: Vec<Expr>, depth: usize) -> Result<Node, Stop> {
        let name = self.text(name_span);
        // Words that are also keywords are read in any case.
        let found = function_table::find(name).or_else(|| word_function(name).and_then(function_table::find));
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
        let (args, depth) = self.arguments()?;
        if modifier.is_none() {
            modifier = self.grouping_modifier()?;
        }
        self.aggregate_of((op, op_span), modifier, args, depth)
    }

    fn aggregate_of(
        &mut self,
        (op, op_span): (AggregateOp, Span),
        modifier: Option<(bool, Vec<String>)>,
        mut args: Vec<Expr>,
        depth: usize,
    ) -> Result<Node, Stop> {
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
    ["start", "end", "step", "range", "min_of", "max_of"].into_iter().find(|w| name.eq_ignore_ascii_case(w))
}
