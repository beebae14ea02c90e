//! Duration expressions: ranges, steps and offsets that are computed (`foo[5m + step()]`). Reading and resolving them.

use crate::promql::ast::{BinaryOp, DurationExpr, DurationKind, UnaryOp};
use crate::promql::lex::{Keyword, TokenKind};
use crate::promql::parse::{Parser, Stop};
use crate::text::span::Span;

/// Longest duration in milliseconds: 2^63 nanoseconds, as durations are counted in Prometheus.
const MAX_MS: f64 = 9_223_372_036_854.0;

/// What `step()` and `range()` stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurationContext {
    /// The step of the query in milliseconds; of an instant query the engine's choice.
    pub step_ms: i64,
    /// The time from the start to the end of the query in milliseconds; zero for an instant query.
    pub range_ms: i64,
}

/// Why a duration expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DurationExprError {
    /// Where in the query.
    pub span: Span,
    /// What is wrong.
    pub message: &'static str,
}

/// Computes a range or a step: milliseconds, above zero.
pub fn resolve_positive(expr: &DurationExpr, context: DurationContext) -> Result<i64, DurationExprError> {
    match resolve(expr, context)? {
        ms if ms > 0 => Ok(ms),
        _ => Err(DurationExprError { span: expr.span, message: "duration must be greater than 0" }),
    }
}

/// Computes an offset: milliseconds, of any sign. What is less than a millisecond is cut off.
pub fn resolve(expr: &DurationExpr, context: DurationContext) -> Result<i64, DurationExprError> {
    if let DurationKind::Millis(ms) = expr.kind {
        return Ok(ms);
    }
    let ms = seconds(expr, context)? * 1000.0;
    if ms.is_finite() && ms.abs() <= MAX_MS {
        // Within ±2^43, which an i64 holds.
        Ok(nearly_whole(ms).trunc() as i64)
    } else {
        Err(DurationExprError { span: expr.span, message: "duration is out of range" })
    }
}

/// Takes away what the arithmetic in seconds has added to a whole number of milliseconds (`0.3 * 1000`).
fn nearly_whole(ms: f64) -> f64 {
    let whole = ms.round();
    if (ms - whole).abs() < 1e-6 { whole } else { ms }
}

fn seconds(expr: &DurationExpr, context: DurationContext) -> Result<f64, DurationExprError> {
    let refuse = |message| Err(DurationExprError { span: expr.span, message });
    Ok(match &expr.kind {
        DurationKind::Millis(ms) => *ms as f64 / 1000.0,
        DurationKind::Number(n) => *n,
        DurationKind::Step => context.step_ms as f64 / 1000.0,
        DurationKind::Range => context.range_ms as f64 / 1000.0,
        DurationKind::Paren(e) | DurationKind::Unary(UnaryOp::Plus, e) => seconds(e, context)?,
        DurationKind::Unary(UnaryOp::Minus, e) => -seconds(e, context)?,
        DurationKind::MinOf(a, b) => seconds(a, context)?.min(seconds(b, context)?),
        DurationKind::MaxOf(a, b) => seconds(a, context)?.max(seconds(b, context)?),
        DurationKind::Binary(op, a, b) => {
            let (a, b) = (seconds(a, context)?, seconds(b, context)?);
            match op {
                BinaryOp::Add => a + b,
                BinaryOp::Sub => a - b,
                BinaryOp::Mul => a * b,
                BinaryOp::Div if b == 0.0 => return refuse("division by zero in duration expression"),
                BinaryOp::Div => a / b,
                BinaryOp::Mod if b == 0.0 => return refuse("modulo by zero in duration expression"),
                BinaryOp::Mod => a % b,
                BinaryOp::Pow => a.powf(b),
                _ => return refuse("unknown operator in duration expression"),
            }
        }
    })
}

/// A duration expression and the levels of its tree.
struct Piece {
    expr: DurationExpr,
    depth: usize,
}

impl Parser<'_> {
    /// Reads a range or a step inside square brackets.
    pub(super) fn positive_duration(&mut self) -> Result<DurationExpr, Stop> {
        let piece = self.duration(0)?;
        let expr = self.settled(piece.expr)?;
        match expr.kind {
            DurationKind::Millis(ms) if ms <= 0 => self.fail(expr.span, "duration must be greater than 0"),
            _ => Ok(expr),
        }
    }

    /// Reads what follows `offset`: one operand with an optional sign; more than that needs parentheses.
    pub(super) fn offset_duration(&mut self) -> Result<DurationExpr, Stop> {
        const EXPECTED: &str = "number, duration, step(), or range()";
        let sign = self.accept_sign();
        let starts = matches!(
            self.kind(),
            TokenKind::Number
                | TokenKind::Duration
                | TokenKind::LeftParen
                | TokenKind::Keyword(Keyword::Step | Keyword::Range | Keyword::MinOf | Keyword::MaxOf)
        );
        if !starts {
            return self.unexpected("offset", EXPECTED);
        }
        let piece = self.duration_operand()?;
        let piece = Self::signed(sign, piece);
        self.settled(piece.expr)
    }

    /// Turns a lone number or duration into milliseconds and refuses what is not enabled.
    fn settled(&mut self, expr: DurationExpr) -> Result<DurationExpr, Stop> {
        match expr.kind {
            DurationKind::Millis(_) => Ok(expr),
            DurationKind::Number(n) => {
                let ms = n * 1000.0;
                if !ms.is_finite() || ms.abs() > MAX_MS {
                    return self.fail(expr.span, "duration out of range");
                }
                Ok(DurationExpr { span: expr.span, kind: DurationKind::Millis(nearly_whole(ms).trunc() as i64) })
            }
            _ if !self.options.duration_expressions => {
                let message = "experimental duration expression is not enabled; enable it with \
                               --enable-feature=promql-duration-expr";
                self.fail(expr.span, message)
            }
            _ => Ok(expr),
        }
    }

    fn accept_sign(&mut self) -> Option<(UnaryOp, usize)> {
        let op = match self.kind() {
            TokenKind::Operator(BinaryOp::Sub) => UnaryOp::Minus,
            TokenKind::Operator(BinaryOp::Add) => UnaryOp::Plus,
            _ => return None,
        };
        Some((op, self.advance().span.start))
    }

    /// Puts a sign before an operand. Literals take it in, a plus leaves no trace.
    fn signed(sign: Option<(UnaryOp, usize)>, piece: Piece) -> Piece {
        let Some((op, start)) = sign else { return piece };
        let span = Span::new(start, piece.expr.span.end);
        let (kind, depth) = match (op, piece.expr.kind) {
            (UnaryOp::Plus, kind) => (kind, piece.depth),
            (UnaryOp::Minus, DurationKind::Millis(ms)) => (DurationKind::Millis(ms.saturating_neg()), 1),
            (UnaryOp::Minus, DurationKind::Number(n)) => (DurationKind::Number(-n), 1),
            (UnaryOp::Minus, kind) => {
                let inner = DurationExpr { span: piece.expr.span, kind };
                (DurationKind::Unary(UnaryOp::Minus, Box::new(inner)), piece.depth + 1)
            }
        };
        Piece { expr: DurationExpr { span, kind }, depth }
    }

    fn duration(&mut self, min_precedence: u8) -> Result<Piece, Stop> {
        self.nested(|p| p.duration_here(min_precedence))
    }

    fn duration_here(&mut self, min_precedence: u8) -> Result<Piece, Stop> {
        let sign = self.accept_sign();
        // A sign binds like a multiplication: only `^` is tighter.
        let operand = if sign.is_some() { self.duration(3)? } else { self.duration_operand()? };
        let mut left = Self::signed(sign, operand);
        while let TokenKind::Operator(op) = self.kind() {
            let (level, next) = match op {
                BinaryOp::Add | BinaryOp::Sub => (1, 2),
                BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod => (2, 3),
                BinaryOp::Pow => (3, 3),
                _ => break,
            };
            if level < min_precedence {
                break;
            }
            self.advance();
            let right = self.duration(next)?;
            let span = left.expr.span.to(right.expr.span);
            let kind = DurationKind::Binary(op, Box::new(left.expr), Box::new(right.expr));
            left = self.bounded(DurationExpr { span, kind }, 1 + left.depth.max(right.depth))?;
        }
        Ok(left)
    }

    fn bounded(&mut self, expr: DurationExpr, depth: usize) -> Result<Piece, Stop> {
        if depth > crate::promql::parse::MAX_DEPTH {
            return self.fail(expr.span, "duration expression is nested too deeply");
        }
        Ok(Piece { expr, depth })
    }

    fn duration_operand(&mut self) -> Result<Piece, Stop> {
        const CONTEXT: &str = "duration expression";
        const EXPECTED: &str = "number, duration, step(), or range()";
        let token = self.token();
        match token.kind {
            TokenKind::Number | TokenKind::Duration => {
                let literal = self.number_or_duration()?;
                let kind = if literal.is_duration {
                    // It was read from whole milliseconds.
                    DurationKind::Millis((literal.value * 1000.0).round() as i64)
                } else {
                    DurationKind::Number(literal.value)
                };
                Ok(Piece { expr: DurationExpr { span: token.span, kind }, depth: 1 })
            }
            TokenKind::LeftParen => {
                self.advance();
                let inner = self.duration(0)?;
                self.expect(TokenKind::RightParen, CONTEXT, "\")\"")?;
                let span = Span::new(token.span.start, self.last_end());
                self.bounded(DurationExpr { span, kind: DurationKind::Paren(Box::new(inner.expr)) }, inner.depth + 1)
            }
            TokenKind::Keyword(word @ (Keyword::Step | Keyword::Range)) => {
                self.advance();
                self.expect(TokenKind::LeftParen, CONTEXT, "\"(\"")?;
                self.expect(TokenKind::RightParen, CONTEXT, "\")\"")?;
                let kind = if word == Keyword::Step { DurationKind::Step } else { DurationKind::Range };
                let span = Span::new(token.span.start, self.last_end());
                Ok(Piece { expr: DurationExpr { span, kind }, depth: 1 })
            }
            TokenKind::Keyword(word @ (Keyword::MinOf | Keyword::MaxOf)) => {
                self.advance();
                self.expect(TokenKind::LeftParen, CONTEXT, "\"(\"")?;
                let a = self.duration(0)?;
                self.expect(TokenKind::Comma, CONTEXT, "\",\"")?;
                let b = self.duration(0)?;
                self.expect(TokenKind::RightParen, CONTEXT, "\")\"")?;
                let span = Span::new(token.span.start, self.last_end());
                let (a, b, depth) = (Box::new(a.expr), Box::new(b.expr), 1 + a.depth.max(b.depth));
                let kind = if word == Keyword::MinOf { DurationKind::MinOf(a, b) } else { DurationKind::MaxOf(a, b) };
                self.bounded(DurationExpr { span, kind }, depth)
            }
            _ => self.unexpected(CONTEXT, EXPECTED),
        }
    }
}
