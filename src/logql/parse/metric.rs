//! Metric expressions: range functions, aggregations, binary operations.

use super::{ParseError, Parser};
use crate::logql::ast::{
    Binary, Grouping, LogExpr, MetricExpr, MetricKind, RANGE_OPS, RangeAggregation, RangeOp, VECTOR_OPS, Variants,
    VectorOp,
};
use crate::logql::lex::TokenKind;
use crate::promql::ast::{BinaryOp, Cardinality, VectorMatching};
use crate::text::span::Span;

/// The parts of a range of lines, in whatever order they were written.
#[derive(Default)]
struct LogRange {
    log: Option<LogExpr>,
    unwrap: Option<crate::logql::ast::Unwrap>,
    range_ns: Option<i64>,
    offset_ns: Option<i64>,
}

/// Binding strength and right-associativity.
fn precedence(op: BinaryOp) -> (u8, bool) {
    match op {
        BinaryOp::Or => (1, false),
        BinaryOp::And | BinaryOp::Unless => (2, false),
        BinaryOp::Add | BinaryOp::Sub => (4, false),
        BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod => (5, false),
        BinaryOp::Pow => (6, true),
        _ => (3, false),
    }
}

fn is_comparison(op: BinaryOp) -> bool {
    precedence(op).0 == 3
}

impl Parser<'_> {
    pub(super) fn metric_expr(&mut self) -> Result<MetricExpr, ParseError> {
        self.deeper(|p| p.binary(0))
    }

    fn binary_op(&self) -> Option<BinaryOp> {
        Some(match self.token().kind {
            TokenKind::Symbol("+") => BinaryOp::Add,
            TokenKind::Symbol("-") => BinaryOp::Sub,
            TokenKind::Symbol("*") => BinaryOp::Mul,
            TokenKind::Symbol("/") => BinaryOp::Div,
            TokenKind::Symbol("%") => BinaryOp::Mod,
            TokenKind::Symbol("^") => BinaryOp::Pow,
            TokenKind::Symbol("==") => BinaryOp::Equal,
            TokenKind::Symbol("!=") => BinaryOp::NotEqual,
            TokenKind::Symbol(">") => BinaryOp::Greater,
            TokenKind::Symbol("<") => BinaryOp::Less,
            TokenKind::Symbol(">=") => BinaryOp::GreaterEqual,
            TokenKind::Symbol("<=") => BinaryOp::LessEqual,
            TokenKind::Word(w) if w.eq_ignore_ascii_case("and") => BinaryOp::And,
            TokenKind::Word(w) if w.eq_ignore_ascii_case("or") => BinaryOp::Or,
            TokenKind::Word(w) if w.eq_ignore_ascii_case("unless") => BinaryOp::Unless,
            _ => return None,
        })
    }

    fn binary(&mut self, min: u8) -> Result<MetricExpr, ParseError> {
        let mut lhs = self.metric_one()?;
        while let Some(op) = self.binary_op() {
            let (strength, right) = precedence(op);
            if strength < min {
                break;
            }
            let op_span = self.advance().span;
            let return_bool = self.take_word("bool");
            if return_bool && !is_comparison(op) {
                return Err(ParseError::at(
                    self.source,
                    op_span,
                    "bool modifier can only be used on comparison operators",
                ));
            }
            let matching = self.matching(op)?;
            if self.begins_log_expr() {
                return Err(ParseError::whole(format!(
                    "unexpected type for right leg of binary operation ({}): a log query has no numbers, wrap it in count_over_time or rate",
                    self.source.get(op_span.start..op_span.end).unwrap_or("")
                )));
            }
            let rhs = self.deeper(|p| p.binary(if right { strength } else { strength + 1 }))?;
            let span = lhs.span.to(rhs.span);
            lhs = MetricExpr {
                span,
                kind: MetricKind::Binary(Box::new(Binary { op, op_span, lhs, rhs, return_bool, matching })),
            };
        }
        Ok(lhs)
    }

    fn matching(&mut self, op: BinaryOp) -> Result<VectorMatching, ParseError> {
        let set = matches!(op, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless);
        let mut m = VectorMatching {
            card: if set { Cardinality::ManyToMany } else { Cardinality::OneToOne },
            on: false,
            labels: Vec::new(),
            include: Vec::new(),
            fill_left: None,
            fill_right: None,
        };
        m.on = self.is_word("on");
        if m.on || self.is_word("ignoring") {
            self.advance();
            m.labels = self.label_list()?;
        } else {
            return Ok(m);
        }
        for (word, card) in [("group_left", Cardinality::ManyToOne), ("group_right", Cardinality::OneToMany)] {
            if self.take_word(word) {
                if set {
                    return Err(self.unexpected("an operand: grouping is not for set operators"));
                }
                m.card = card;
                if self.is_symbol("(") {
                    m.include = self.label_list()?;
                }
            }
        }
        Ok(m)
    }

    fn label_list(&mut self) -> Result<Vec<String>, ParseError> {
        self.want_symbol("(")?;
        let mut labels = Vec::new();
        while !self.take_symbol(")") {
            labels.push(self.want_word()?);
            if !self.take_symbol(",") && !self.is_symbol(")") {
                return Err(self.unexpected(") or ,"));
            }
        }
        Ok(labels)
    }

    fn grouping(&mut self) -> Result<Option<Grouping>, ParseError> {
        let without = self.is_word("without");
        if !without && !self.is_word("by") {
            return Ok(None);
        }
        self.advance();
        Ok(Some(Grouping { without, labels: self.label_list()? }))
    }

    fn signed_number(&mut self) -> Option<f64> {
        let (sign, skip) = match self.token().kind {
            TokenKind::Symbol("-") => (-1.0, 1),
            TokenKind::Symbol("+") => (1.0, 1),
            _ => (1.0, 0),
        };
        let TokenKind::Number(n) = self.ahead(skip).kind else { return None };
        self.at += skip + 1;
        Some(sign * n)
    }

    fn metric_one(&mut self) -> Result<MetricExpr, ParseError> {
        let start = self.token().span.start;
        if let Some(n) = self.signed_number() {
            return Ok(self.made(start, MetricKind::Literal(n)));
        }
        if self.take_symbol("(") {
            if self.begins_log_expr() {
                return Err(self.unexpected("a metric expression"));
            }
            let inner = self.metric_expr()?;
            self.want_symbol(")")?;
            return Ok(MetricExpr { span: Span::new(start, self.last_end()), kind: inner.kind });
        }
        let TokenKind::Word(word) = self.token().kind else { return Err(self.unexpected("")) };
        let word = word.to_ascii_lowercase();
        if let Some((op, _)) = RANGE_OPS.iter().find(|(_, n)| *n == word) {
            self.advance();
            return self.range_aggregation(start, *op);
        }
        if let Some((op, _)) = VECTOR_OPS.iter().find(|(_, n)| *n == word) {
            self.advance();
            return self.vector_aggregation(start, *op);
        }
        match word.as_str() {
            "vector" => {
                self.advance();
                self.want_symbol("(")?;
                let n = self.signed_number().ok_or_else(|| self.unexpected("NUMBER"))?;
                self.want_symbol(")")?;
                Ok(self.made(start, MetricKind::VectorLiteral(n)))
            }
            "label_replace" => {
                self.advance();
                self.want_symbol("(")?;
                let expr = Box::new(self.metric_expr()?);
                let mut texts = [const { String::new() }; 4];
                for t in &mut texts {
                    self.want_symbol(",")?;
                    *t = self.want_text()?;
                }
                self.want_symbol(")")?;
                let [dst, replacement, src, regex] = texts;
                Ok(self.made(start, MetricKind::LabelReplace { expr, dst, replacement, src, regex }))
            }
            _ => Err(self.unexpected("")),
        }
    }

    /// `variants(expression, ...) of (range of lines)`.
    pub(super) fn variants(&mut self) -> Result<MetricExpr, ParseError> {
        let start = self.advance().span.start;
        self.want_symbol("(")?;
        let mut list = Vec::new();
        while list.is_empty() || self.take_symbol(",") {
            if self.begins_log_expr() {
                return Err(self.unexpected("a metric expression: wrap the log query in count_over_time or rate"));
            }
            list.push(self.metric_expr()?);
        }
        self.want_symbol(")")?;
        if !self.take_word("of") {
            return Err(self.unexpected("of"));
        }
        self.want_symbol("(")?;
        let mut r = LogRange::default();
        self.log_range(&mut r)?;
        let (Some(of), Some(range_ns)) = (r.log, r.range_ns) else { return Err(self.unexpected("RANGE")) };
        if let Some(u) = r.unwrap {
            return Err(ParseError::at(
                self.source,
                u.span,
                "unwrap belongs into the variants, not into their common part",
            ));
        }
        self.want_symbol(")")?;
        let variants = Variants { list, of, range_ns, offset_ns: r.offset_ns.unwrap_or(0) };
        Ok(self.made(start, MetricKind::Variants(Box::new(variants))))
    }

    fn made(&self, start: usize, kind: MetricKind) -> MetricExpr {
        MetricExpr { span: Span::new(start, self.last_end()), kind }
    }

    fn range_aggregation(&mut self, start: usize, op: RangeOp) -> Result<MetricExpr, ParseError> {
        self.want_symbol("(")?;
        let param = self.signed_number();
        if param.is_some() {
            self.want_symbol(",")?;
        }
        let mut r = LogRange::default();
        self.log_range(&mut r)?;
        let (Some(log), Some(range_ns)) = (r.log, r.range_ns) else { return Err(self.unexpected("RANGE")) };
        self.want_symbol(")")?;
        let grouping = self.grouping()?;
        let aggregation = RangeAggregation {
            op,
            param,
            log,
            unwrap: r.unwrap,
            range_ns,
            offset_ns: r.offset_ns.unwrap_or(0),
            grouping,
        };
        Ok(self.made(start, MetricKind::Range(Box::new(aggregation))))
    }

    /// Selector, range, offset, stages and unwrap: the range may stand before or behind the pipeline, and parentheses around any part.
    fn log_range(&mut self, r: &mut LogRange) -> Result<(), ParseError> {
        let start = self.token().span.start;
        if self.take_symbol("(") {
            self.deeper(|p| p.log_range(r))?;
            self.want_symbol(")")?;
        } else {
            let matchers = self.selector()?;
            r.log = Some(LogExpr { span: Span::new(start, self.last_end()), matchers, stages: Vec::new() });
        }
        loop {
            if let TokenKind::Range(ns) = self.token().kind
                && r.range_ns.is_none()
            {
                r.range_ns = Some(ns);
                self.advance();
            } else if r.range_ns.is_some() && r.offset_ns.is_none() && self.is_word("offset") {
                self.advance();
                let negative = self.take_symbol("-");
                let TokenKind::Duration(ns) = self.token().kind else { return Err(self.unexpected("DURATION")) };
                self.advance();
                r.offset_ns = Some(if negative { -ns } else { ns });
            } else if r.unwrap.is_none() && self.begins_unwrap() {
                r.unwrap = Some(self.unwrap()?);
            } else if r.unwrap.is_none() && self.begins_stage() {
                let stage = self.stage()?;
                if let Some(log) = &mut r.log {
                    log.span = log.span.to(stage.span);
                    log.stages.push(stage);
                }
            } else {
                return Ok(());
            }
        }
    }

    fn vector_aggregation(&mut self, start: usize, op: VectorOp) -> Result<MetricExpr, ParseError> {
        let before = self.grouping()?;
        self.want_symbol("(")?;
        if self.begins_log_expr() {
            return Err(self.unexpected("a metric expression: wrap the log query in count_over_time or rate"));
        }
        let mut param = None;
        if matches!(self.token().kind, TokenKind::Number(_)) && matches!(self.ahead(1).kind, TokenKind::Symbol(",")) {
            param = self.signed_number();
            self.want_symbol(",")?;
        }
        let expr = Box::new(self.metric_expr()?);
        self.want_symbol(")")?;
        let grouping = if before.is_some() { before } else { self.grouping()? };
        Ok(self.made(start, MetricKind::Vector { op, param, grouping, expr }))
    }
}
