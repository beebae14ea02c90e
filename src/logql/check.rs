//! What the grammar allows and LogQL does not.

use crate::logql::ast::{Expr, LogExpr, MetricExpr, MetricKind, RangeAggregation, RangeOp, Stage, VectorOp};
use crate::logql::parse::ParseError;
use crate::logql::stages::Pipeline;
use crate::model::Matcher;
use crate::promql::ast::BinaryOp;
use crate::text::go_regex::GoRegex;
use crate::text::span::Span;

/// Checks a whole query.
pub fn check(source: &str, expr: &Expr) -> Result<(), ParseError> {
    match expr {
        Expr::Log(l) => log(l),
        Expr::Metric(m) => metric(source, m),
    }
}

/// A selector needs a matcher that an absent label does not satisfy, or it would read everything by accident.
pub fn selector(matchers: &[Matcher]) -> Result<(), ParseError> {
    if matchers.iter().any(|m| !m.matches_empty()) {
        return Ok(());
    }
    Err(ParseError::whole(
        "queries require at least one regexp or equality matcher that does not have an empty-compatible value. \
         For instance, app=~\".*\" does not meet this requirement, but app=~\".+\" will",
    ))
}

/// Checks what a stage holds by compiling it: regexes, patterns, paths.
pub fn stage(stage: &Stage) -> Result<(), ParseError> {
    Pipeline::compile(std::slice::from_ref(stage)).map(|_| ()).map_err(|e| ParseError::whole(format!("stage : {e}")))
}

fn log(l: &LogExpr) -> Result<(), ParseError> {
    selector(&l.matchers)
}

fn metric(source: &str, m: &MetricExpr) -> Result<(), ParseError> {
    match &m.kind {
        MetricKind::Range(r) => range(source, m.span, r),
        MetricKind::Vector { op, param, expr, grouping } => {
            let fail = |text: String| Err(ParseError::at(source, m.span, text));
            match param {
                None if op.takes_count() => return fail(format!("parameter required for operation {}", op.as_str())),
                Some(_) if !op.takes_count() => {
                    return fail(format!("unsupported parameter for operation {}(", op.as_str()));
                }
                Some(n) if *n < 1.0 || n.fract() != 0.0 => {
                    return fail(format!("invalid parameter (must be greater than 0) {}({n}", op.as_str()));
                }
                _ => {}
            }
            if grouping.is_some() && matches!(op, VectorOp::Sort | VectorOp::SortDesc) {
                return fail(format!("grouping not allowed for {}", op.as_str()));
            }
            metric(source, expr)
        }
        MetricKind::Binary(b) => {
            let set = matches!(b.op, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless);
            for (side, e) in [("left", &b.lhs), ("right", &b.rhs)] {
                if set && let MetricKind::Literal(n) = e.kind {
                    let text = format!("unexpected literal for {side} leg of logical/set binary operation: {n}");
                    return Err(ParseError::at(source, e.span, text));
                }
                metric(source, e)?;
            }
            Ok(())
        }
        MetricKind::Literal(_) | MetricKind::VectorLiteral(_) => Ok(()),
        MetricKind::Variants(v) => {
            log(&v.of)?;
            v.list.iter().try_for_each(|variant| metric(source, variant))
        }
        MetricKind::LabelReplace { expr, regex, .. } => {
            GoRegex::anchored(regex)
                .map_err(|e| ParseError::at(source, m.span, format!("invalid regex in label_replace: {e}")))?;
            metric(source, expr)
        }
    }
}

fn range(source: &str, span: Span, r: &RangeAggregation) -> Result<(), ParseError> {
    let fail = |text: String| Err(ParseError::at(source, span, text));
    let name = r.op.as_str();
    let groups = matches!(
        r.op,
        RangeOp::AvgOverTime
            | RangeOp::StddevOverTime
            | RangeOp::StdvarOverTime
            | RangeOp::QuantileOverTime
            | RangeOp::MaxOverTime
            | RangeOp::MinOverTime
            | RangeOp::FirstOverTime
            | RangeOp::LastOverTime
    );
    if r.grouping.is_some() && !groups {
        return fail(format!("grouping not allowed for {name} aggregation"));
    }
    let needs_unwrap = groups || matches!(r.op, RangeOp::SumOverTime | RangeOp::RateCounter);
    let takes_unwrap = needs_unwrap || matches!(r.op, RangeOp::Rate | RangeOp::AbsentOverTime);
    match &r.unwrap {
        None if needs_unwrap => return fail(format!("invalid aggregation {name} without unwrap")),
        Some(_) if !takes_unwrap => return fail(format!("invalid aggregation {name} with unwrap")),
        _ => {}
    }
    match r.param {
        None if r.op == RangeOp::QuantileOverTime => return fail(format!("parameter required for operation {name}")),
        Some(_) if r.op != RangeOp::QuantileOverTime => {
            return fail(format!("parameter not supported for operation {name}"));
        }
        _ => {}
    }
    log(&r.log)
}
