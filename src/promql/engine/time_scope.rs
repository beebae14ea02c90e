//! Times of selectors: `offset`, `@`, computed durations, and which expressions do not depend on the step.

use std::collections::HashSet;

use crate::model::TimestampMs;
use crate::promql::ast::{AtModifier, Expr, ExprKind, TimeModifiers};
use crate::promql::duration_expr::{DurationContext, resolve};
use crate::promql::engine::QueryError;

/// Start, end and step of the whole query, which subqueries do not change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueryTimes {
    pub(crate) start: TimestampMs,
    pub(crate) end: TimestampMs,
    pub(crate) step: i64,
}

/// Resolved `offset` and `@`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeShift {
    at: Option<TimestampMs>,
    offset: i64,
}

impl TimeShift {
    /// No shift.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        TimeShift { at: None, offset: 0 }
    }

    /// The time a selector looks at when it is evaluated at `t`.
    pub(crate) fn apply(&self, t: TimestampMs) -> TimestampMs {
        self.at.unwrap_or(t).saturating_sub(self.offset)
    }
}

impl QueryTimes {
    pub(crate) fn durations(&self) -> DurationContext {
        DurationContext { step_ms: self.step, range_ms: self.end.saturating_sub(self.start) }
    }

    pub(crate) fn shift(&self, time: &TimeModifiers) -> Result<TimeShift, QueryError> {
        let at = time.at.map(|at| match at {
            AtModifier::Time(t) => t,
            AtModifier::Start => self.start,
            AtModifier::End => self.end,
        });
        let offset = time.offset.as_ref().map_or(Ok(0), |o| resolve(o, self.durations()))?;
        Ok(TimeShift { at, offset })
    }
}

/// Functions whose value depends on the evaluation time even where their arguments do not.
const STEP_DEPENDENT: [&str; 12] = [
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "hour",
    "info",
    "minute",
    "month",
    "predict_linear",
    "start_timestamp",
    "time",
    "timestamp",
];

/// Whether an expression has the same value at every step, so that one evaluation is enough.
pub(crate) fn is_step_invariant(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) => true,
        ExprKind::Vector(v) => v.time.at.is_some(),
        ExprKind::Matrix(m) => m.selector.time.at.is_some(),
        ExprKind::Subquery(s) => s.time.at.is_some(),
        ExprKind::Call(c) => {
            // `year` without arguments is in no list above because it has the same form as `month`.
            c.func != "year" && !STEP_DEPENDENT.contains(&c.func) && c.args.iter().all(is_step_invariant)
        }
        ExprKind::Aggregate(a) => a.param.as_ref().is_none_or(is_step_invariant) && is_step_invariant(&a.expr),
        ExprKind::Binary(b) => is_step_invariant(&b.lhs) && is_step_invariant(&b.rhs),
        ExprKind::Unary(_, e) | ExprKind::Paren(e) => is_step_invariant(e),
    }
}

/// Where those selectors begin that are read for `histogram_count`, `histogram_sum` or `histogram_avg` alone. Their
/// histograms are compared with their predecessors as they are read, as Prometheus does when it decodes only count and
/// sum; that shows in remarks about conflicting resets.
pub(crate) fn selectors_with_compared_hints(expr: &Expr) -> HashSet<usize> {
    let mut out = HashSet::new();
    collect(expr, false, &mut out);
    out
}

fn collect(expr: &Expr, compared: bool, out: &mut HashSet<usize>) {
    match &expr.kind {
        ExprKind::Vector(_) if compared => drop(out.insert(expr.span.start)),
        ExprKind::Matrix(m) if compared => drop(out.insert(m.selector_span.start)),
        ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Vector(_) | ExprKind::Matrix(_) => {}
        ExprKind::Paren(e) | ExprKind::Unary(_, e) => collect(e, compared, out),
        ExprKind::Aggregate(a) => {
            a.param.iter().for_each(|p| collect(p, false, out));
            collect(&a.expr, compared, out);
        }
        ExprKind::Call(c) => {
            let compared = match c.func {
                "histogram_count" | "histogram_sum" | "histogram_avg" => true,
                "histogram_quantile" | "histogram_quantiles" | "histogram_fraction" => false,
                _ => compared,
            };
            c.args.iter().for_each(|a| collect(a, compared, out));
        }
        // Whole histograms are needed below a subquery or an operator.
        ExprKind::Subquery(s) => collect(&s.expr, false, out),
        ExprKind::Binary(b) => {
            collect(&b.lhs, false, out);
            collect(&b.rhs, false, out);
        }
    }
}
