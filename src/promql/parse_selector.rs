//! The part of the parser for selectors: names, matchers, and what follows a selector (`[5m]`, `offset`, `@`, ...).

use crate::model::labels::METRIC_NAME;
use crate::model::{Labels, LabelsBuilder, MatchOp, Matcher};
use crate::promql::ast::{
    AtModifier, BinaryOp, DurationKind, Expr, ExprKind, MatrixSelector, RangeExtension, Subquery, TimeModifiers,
    VectorSelector,
};
use crate::promql::lex::{Keyword, TokenKind};
use crate::promql::parse::{Node, Parser, Stop};
use crate::text::span::Span;

impl Parser<'_> {
    /// Reads a name, matchers in braces, or both.
    pub(super) fn vector_selector(&mut self) -> Result<(VectorSelector, Span), Stop> {
        let mut span = self.token().span;
        let mut name = None;
        if self.kind().is_metric_name() {
            name = Some(self.text(span).to_owned());
            self.advance();
        } else if self.kind() != TokenKind::LeftBrace {
            return self.unexpected("", "");
        }
        let mut matchers = Vec::new();
        if self.kind() == TokenKind::LeftBrace {
            matchers = self.matchers()?;
            span = Span::new(span.start, self.last_end());
        }
        if let Some(name) = &name {
            matchers.push(Matcher::equal(METRIC_NAME, name.as_str()));
        }
        let (time, extension) = (TimeModifiers::default(), RangeExtension::None);
        Ok((VectorSelector { name, matchers, time, extension }, span))
    }

    fn matchers(&mut self) -> Result<Vec<Matcher>, Stop> {
        const CONTEXT: &str = "label matching";
        self.advance();
        let mut matchers = Vec::new();
        loop {
            let token = self.token();
            let label = match token.kind {
                TokenKind::RightBrace => {
                    self.advance();
                    return Ok(matchers);
                }
                TokenKind::Identifier => self.text(token.span).to_owned(),
                TokenKind::String => self.unquoted(token.span)?,
                _ => return self.unexpected(CONTEXT, "identifier or \"}\""),
            };
            self.advance();
            let op = match self.kind() {
                TokenKind::Assign => MatchOp::Equal,
                TokenKind::Operator(BinaryOp::NotEqual) => MatchOp::NotEqual,
                TokenKind::EqualRegex => MatchOp::Regex,
                TokenKind::NotEqualRegex => MatchOp::NotRegex,
                // A string alone is a metric name.
                TokenKind::Comma | TokenKind::RightBrace if token.kind == TokenKind::String => {
                    matchers.push(Matcher::equal(METRIC_NAME, label));
                    self.accept(TokenKind::Comma);
                    continue;
                }
                _ if token.kind == TokenKind::String => return self.unexpected(CONTEXT, "\",\" or \"}\""),
                _ => return self.unexpected(CONTEXT, "label matching operator"),
            };
            self.advance();
            let value_span = self.expect(TokenKind::String, CONTEXT, "string")?.span;
            let value = self.unquoted(value_span)?;
            match Matcher::new(label, op, value) {
                Ok(m) => matchers.push(m),
                Err(e) => return self.fail(token.span.to(value_span), e.to_string()),
            }
            if self.kind() != TokenKind::RightBrace {
                self.expect(TokenKind::Comma, CONTEXT, "\",\" or \"}\"")?;
            }
        }
    }

    /// Reads the labels of one series.
    pub(super) fn metric(&mut self) -> Result<Labels, Stop> {
        const CONTEXT: &str = "label set";
        let mut labels = LabelsBuilder::new();
        let name = self.kind().is_metric_name().then(|| self.text(self.token().span));
        if name.is_some() {
            self.advance();
        }
        if self.accept(TokenKind::LeftBrace) {
            loop {
                let token = self.token();
                let label = match token.kind {
                    TokenKind::RightBrace => {
                        self.advance();
                        break;
                    }
                    TokenKind::Identifier => self.text(token.span).to_owned(),
                    TokenKind::String => self.unquoted(token.span)?,
                    _ => return self.unexpected(CONTEXT, "identifier or \"}\""),
                };
                self.advance();
                if token.kind == TokenKind::String && matches!(self.kind(), TokenKind::Comma | TokenKind::RightBrace) {
                    labels.set(METRIC_NAME, label);
                } else if token.kind == TokenKind::String && self.kind() != TokenKind::Assign {
                    return self.unexpected(CONTEXT, "\",\" or \"}\"");
                } else {
                    self.expect(TokenKind::Assign, CONTEXT, "\"=\"")?;
                    let span = self.expect(TokenKind::String, CONTEXT, "string")?.span;
                    let value = self.unquoted(span)?;
                    labels.set(&label, value);
                }
                if self.kind() != TokenKind::RightBrace {
                    self.expect(TokenKind::Comma, CONTEXT, "\",\" or \"}\"")?;
                }
            }
        }
        if let Some(name) = name {
            labels.set(METRIC_NAME, name);
        }
        Ok(labels.build())
    }

    /// Reads everything that binds to the expression before it: ranges, subqueries, `offset`, `@`, `anchored`, `smoothed`.
    pub(super) fn postfix(&mut self, mut node: Node) -> Result<Node, Stop> {
        loop {
            node = match self.kind() {
                TokenKind::LeftBracket => self.brackets(node)?,
                TokenKind::Keyword(Keyword::Offset) => self.offset(node)?,
                TokenKind::At => self.at(node)?,
                TokenKind::Keyword(Keyword::Anchored) => self.extension(node, RangeExtension::Anchored)?,
                TokenKind::Keyword(Keyword::Smoothed) => self.extension(node, RangeExtension::Smoothed)?,
                _ => return Ok(node),
            };
        }
    }

    fn brackets(&mut self, mut node: Node) -> Result<Node, Stop> {
        const LITERALS: &str = "number, duration, step(), or range()";
        let open = self.advance().span;
        if matches!(self.kind(), TokenKind::RightBracket | TokenKind::Colon) {
            return self.unexpected("subquery or range selector", LITERALS);
        }
        let range = self.positive_duration()?;
        if self.accept(TokenKind::Colon) {
            let step = if self.kind() == TokenKind::RightBracket { None } else { Some(self.positive_duration()?) };
            self.expect(TokenKind::RightBracket, "subquery selector", "\"]\"")?;
            node.expr.span.end = self.last_end();
            let span = node.expr.span;
            let inner = Expr { span: Span::new(span.start, open.start), kind: node.expr.kind };
            let subquery = Subquery { expr: inner, range, step, time: TimeModifiers::default() };
            let kind = ExprKind::Subquery(Box::new(subquery));
            let expr = Expr { span, kind };
            return self.check_depth(Node { expr, depth: node.depth + 1 });
        }
        let close = self.expect(TokenKind::RightBracket, "subquery or range", "\":\" or \"]\"")?.span;
        let brackets = open.to(close);
        let ExprKind::Vector(selector) = node.expr.kind else {
            return self.fail(brackets, "ranges only allowed for vector selectors");
        };
        if selector.time.offset.is_some() {
            return self.fail(brackets, "no offset modifiers allowed before range");
        }
        if selector.time.at.is_some() {
            return self.fail(brackets, "no @ modifiers allowed before range");
        }
        let selector_span = node.expr.span;
        let span = selector_span.to(close);
        Ok(Node::leaf(span, ExprKind::Matrix(MatrixSelector { selector, selector_span, range })))
    }

    /// The time modifiers of what they may be attached to.
    fn time_modifiers(node: &mut Node) -> Option<&mut TimeModifiers> {
        match &mut node.expr.kind {
            ExprKind::Vector(v) => Some(&mut v.time),
            ExprKind::Matrix(m) => Some(&mut m.selector.time),
            ExprKind::Subquery(s) => Some(&mut s.time),
            _ => None,
        }
    }

    fn offset(&mut self, mut node: Node) -> Result<Node, Stop> {
        self.advance();
        let duration = self.offset_duration()?;
        let span = node.expr.span;
        let end = self.last_end();
        let Some(time) = Self::time_modifiers(&mut node) else {
            let message =
                "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery";
            return self.fail(span, message);
        };
        if time.offset.is_some() {
            return self.fail(span, "offset may not be set multiple times");
        }
        // No offset and an offset of nothing are the same.
        if duration.kind != DurationKind::Millis(0) {
            time.offset = Some(duration);
        }
        node.expr.span.end = end;
        Ok(node)
    }

    fn at(&mut self, mut node: Node) -> Result<Node, Stop> {
        self.advance();
        let span = node.expr.span;
        let at = match self.kind() {
            TokenKind::Keyword(k @ (Keyword::Start | Keyword::End)) => {
                self.advance();
                self.expect(TokenKind::LeftParen, "@", "timestamp")?;
                self.expect(TokenKind::RightParen, "@", "timestamp")?;
                if k == Keyword::Start { AtModifier::Start } else { AtModifier::End }
            }
            _ => {
                let seconds = self.signed_number("@", "timestamp")?;
                // Milliseconds must fit an i64; the bound is that of Prometheus, in seconds.
                if !seconds.is_finite() || seconds.abs() >= i64::MAX as f64 {
                    return self.fail(span, format!("timestamp out of bounds for @ modifier: {seconds:.6}"));
                }
                AtModifier::Time((seconds * 1000.0).round() as i64)
            }
        };
        let end = self.last_end();
        let Some(time) = Self::time_modifiers(&mut node) else {
            let message =
                "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery";
            return self.fail(span, message);
        };
        if time.at.is_some() {
            return self.fail(span, "@ <timestamp> may not be set multiple times");
        }
        time.at = Some(at);
        node.expr.span.end = end;
        Ok(node)
    }

    fn extension(&mut self, mut node: Node, extension: RangeExtension) -> Result<Node, Stop> {
        let word = if extension == RangeExtension::Anchored { "anchored" } else { "smoothed" };
        let span = node.expr.span;
        if !self.options.extended_range_selectors {
            let message = format!(
                "{word} modifier is experimental and not enabled; enable it with \
                 --enable-feature=promql-extended-range-selectors"
            );
            return self.fail(span, message);
        }
        let end = self.advance().span.end;
        let selector = match &mut node.expr.kind {
            ExprKind::Vector(v) => v,
            ExprKind::Matrix(m) => &mut m.selector,
            ExprKind::Subquery(_) => {
                return self.fail(span, format!("{word} modifier is not supported for subqueries"));
            }
            _ => return self.fail(span, format!("{word} modifier not implemented")),
        };
        if selector.extension != RangeExtension::None && selector.extension != extension {
            return self.fail(span, "anchored and smoothed modifiers cannot be used together");
        }
        selector.extension = extension;
        node.expr.span.end = end;
        Ok(node)
    }
}
