//! Metric queries: range functions give series, everything above them is PromQL's own code for vectors.

use crate::exec::CancellationToken;
use crate::logql::ast::{Binary, Grouping, MetricExpr, MetricKind, RangeAggregation, RangeOp, VectorOp};
use crate::logql::count;
use crate::logql::engine::{Output, Query, QueryError, ResultSeries, Run};
use crate::logql::range::{self, Steps};
use crate::logql::variants;
use crate::model::Labels;
use crate::promql::aggregate::{self, Param, aggregate};
use crate::promql::annotations::Annotations;
use crate::promql::ast::{AggregateOp, BinaryOp};
use crate::promql::binary::{self, ScalarSide};
use crate::promql::limits::{Limits, MemoryBudget};
use crate::promql::series_set::{SeriesSet, StepSeries, StepValues};
use crate::promql::source::Source;
use crate::text::go_regex::GoRegex;

/// The most points of one series in an answer (Loki's and Prometheus' own bound).
pub const MAX_STEPS: i64 = 11_000;

/// The value of an expression over the steps.
enum Value {
    /// A number, the same at each step.
    Number(f64),
    /// Series.
    Vector(SeriesSet),
}

/// Evaluates a metric query. As in Loki the points of a range query lie at multiples of the step: the start is rounded down
/// to one and the end up.
pub fn evaluate(run: &mut Run<'_>, expr: &MetricExpr, query: &Query) -> Result<Output, QueryError> {
    let instant = query.step_ns <= 0;
    let steps = if instant {
        Steps { start_ns: query.end_ns, step_ns: 1, count: 1 }
    } else {
        aligned(query.start_ns, query.end_ns, query.step_ns)?
    };
    let value = one(run, expr, steps)?;
    match value {
        Value::Number(n) if instant => Ok(Output::Scalar(ms(steps.start_ns), n)),
        Value::Number(n) => {
            let points = (0..steps.count).map(|i| (ms(steps.at(i)), n)).collect();
            Ok(Output::Matrix(vec![ResultSeries { labels: Labels::empty(), points }]))
        }
        Value::Vector(set) => {
            let mut series: Vec<ResultSeries> = set
                .series
                .into_iter()
                .map(|s| {
                    let points = (0..steps.count).filter_map(|i| Some((ms(steps.at(i)), s.values.float(i)?))).collect();
                    ResultSeries { labels: s.labels, points }
                })
                .filter(|s: &ResultSeries| !s.points.is_empty())
                .collect();
            if series.len() > run.options.max_series {
                return Err(QueryError::Limit(format!(
                    "maximum of series ({}) reached for a single query",
                    run.options.max_series
                )));
            }
            if instant {
                return Ok(Output::Vector(series));
            }
            series.sort_by(|a, b| a.labels.cmp(&b.labels));
            Ok(Output::Matrix(series))
        }
    }
}

fn ms(ns: i64) -> i64 {
    ns.div_euclid(1_000_000)
}

fn aligned(start_ns: i64, end_ns: i64, step_ns: i64) -> Result<Steps, QueryError> {
    if end_ns < start_ns {
        return Err(QueryError::Invalid("end timestamp must not be before or equal to start time".to_owned()));
    }
    let first = start_ns.div_euclid(step_ns) * step_ns;
    let last = if end_ns.rem_euclid(step_ns) == 0 {
        end_ns
    } else {
        (end_ns.div_euclid(step_ns)).saturating_add(1).saturating_mul(step_ns)
    };
    let count = (last - first) / step_ns + 1;
    if (end_ns - start_ns) / step_ns > MAX_STEPS {
        return Err(QueryError::Invalid(
            "exceeded maximum resolution of 11,000 points per time series. Try increasing the value of the step parameter".to_owned(),
        ));
    }
    Ok(Steps { start_ns: first, step_ns, count: usize::try_from(count).unwrap_or(1).max(1) })
}

/// The account that PromQL's code asks for. Points were counted when they were gathered, so it has no bound of its own.
fn unbounded(run: &Run<'_>) -> std::sync::Arc<Limits> {
    Limits::new(u64::MAX, MemoryBudget::new(u64::MAX), run.options.timeout, CancellationToken::new())
}

fn execution(e: impl std::fmt::Display) -> QueryError {
    QueryError::Invalid(e.to_string())
}

fn one(run: &mut Run<'_>, expr: &MetricExpr, steps: Steps) -> Result<Value, QueryError> {
    run.check()?;
    match &expr.kind {
        MetricKind::Literal(n) => Ok(Value::Number(*n)),
        MetricKind::VectorLiteral(n) => Ok(Value::Vector(SeriesSet::new(vec![constant(*n, steps)]))),
        MetricKind::Range(r) => Ok(Value::Vector(SeriesSet::new(range::evaluate(run, r, steps)?))),
        MetricKind::Vector { op, param, grouping, expr } => {
            let set = match &expr.kind {
                MetricKind::Range(r) if *op == VectorOp::Sum => below_sum(run, r, grouping.as_ref(), steps)?,
                _ => vector(run, expr, steps)?,
            };
            aggregated(run, *op, *param, grouping.as_ref(), set, steps).map(Value::Vector)
        }
        MetricKind::Binary(b) => operation(run, b, steps),
        MetricKind::LabelReplace { expr, dst, replacement, src, regex } => {
            let set = vector(run, expr, steps)?;
            label_replace(set, dst, replacement, src, regex).map(Value::Vector)
        }
        MetricKind::Variants(v) => {
            let mut all = SeriesSet::default();
            for (i, query) in variants::queries(v).enumerate() {
                let mut set = vector(run, &query, steps)?;
                for s in &mut set.series {
                    let mut labels = s.labels.to_builder();
                    labels.set(variants::LABEL, i.to_string());
                    s.labels = labels.build();
                }
                all.series.append(&mut set.series);
            }
            Ok(Value::Vector(all))
        }
    }
}

/// A range function directly below a `sum`: counted by the store where it can, else grouped as the sum is while lines are read.
fn below_sum(
    run: &mut Run<'_>,
    r: &RangeAggregation,
    grouping: Option<&Grouping>,
    steps: Steps,
) -> Result<SeriesSet, QueryError> {
    if let Some(series) = count::evaluate(run, r, grouping, steps)? {
        return Ok(SeriesSet::new(series));
    }
    let inner = grouped_early(r, grouping);
    Ok(SeriesSet::new(range::evaluate(run, inner.as_ref().unwrap_or(r), steps)?))
}

/// The range function with the grouping of the sum around it, where that gives the same: sums of counts and sums can be formed
/// line by line. Without this, a parser stage makes nearly every line a series of its own, only to be summed away.
fn grouped_early(r: &RangeAggregation, grouping: Option<&Grouping>) -> Option<RangeAggregation> {
    let additive = matches!(
        r.op,
        RangeOp::CountOverTime | RangeOp::Rate | RangeOp::BytesOverTime | RangeOp::BytesRate | RangeOp::SumOverTime
    );
    if !additive || r.grouping.is_some() {
        return None;
    }
    let by_nothing = Grouping { without: false, labels: Vec::new() };
    Some(RangeAggregation { grouping: Some(grouping.cloned().unwrap_or(by_nothing)), ..r.clone() })
}

fn constant(n: f64, steps: Steps) -> StepSeries {
    let values = StepValues { floats: vec![n; steps.count], histograms: None };
    StepSeries { labels: Labels::empty(), drop_name: false, values }
}

fn vector(run: &mut Run<'_>, expr: &MetricExpr, steps: Steps) -> Result<SeriesSet, QueryError> {
    Ok(match one(run, expr, steps)? {
        Value::Vector(set) => set,
        Value::Number(n) => SeriesSet::new(vec![constant(n, steps)]),
    })
}

fn aggregated(
    run: &Run<'_>,
    op: VectorOp,
    param: Option<f64>,
    grouping: Option<&Grouping>,
    mut set: SeriesSet,
    steps: Steps,
) -> Result<SeriesSet, QueryError> {
    let op = match op {
        VectorOp::Sum => AggregateOp::Sum,
        VectorOp::Avg => AggregateOp::Avg,
        VectorOp::Count => AggregateOp::Count,
        VectorOp::Min => AggregateOp::Min,
        VectorOp::Max => AggregateOp::Max,
        VectorOp::Stddev => AggregateOp::Stddev,
        VectorOp::Stdvar => AggregateOp::Stdvar,
        // Exact where Loki only promises an approximation.
        VectorOp::Topk | VectorOp::ApproxTopk => AggregateOp::Topk,
        VectorOp::Bottomk => AggregateOp::Bottomk,
        VectorOp::Sort | VectorOp::SortDesc => {
            let key = |s: &StepSeries| s.values.float(0).unwrap_or(f64::NAN);
            set.series.sort_by(|a, b| {
                let order = key(a).partial_cmp(&key(b)).unwrap_or(std::cmp::Ordering::Equal);
                if op == VectorOp::Sort { order } else { order.reverse() }
            });
            return Ok(set);
        }
    };
    let none = Vec::new();
    let limits = unbounded(run);
    let param = param.map_or(Param::None, |n| Param::Scalar(vec![n; steps.count], Default::default()));
    let work = aggregate::Run {
        op,
        param: &param,
        span: Default::default(),
        steps: steps.count,
        sort: steps.count == 1,
        limits: &limits,
    };
    let grouping = aggregate::Grouping {
        labels: grouping.map_or(&none, |g| &g.labels),
        without: grouping.is_some_and(|g| g.without),
    };
    aggregate(&work, Source::of_set(set), &grouping).map(|(set, _)| set).map_err(execution)
}

fn operation(run: &mut Run<'_>, b: &Binary, steps: Steps) -> Result<Value, QueryError> {
    let (left, mut right) = (one(run, &b.lhs, steps)?, one(run, &b.rhs, steps)?);
    if b.op == BinaryOp::Div {
        without_zeros(&mut right);
    }
    let mut notes = Annotations::default();
    match (left, right) {
        (Value::Number(l), Value::Number(r)) => Ok(Value::Number(binary::scalar(b.op, l, r))),
        (Value::Vector(set), Value::Number(n)) => Ok(Value::Vector(with_number(b, set, n, false, steps))),
        (Value::Number(n), Value::Vector(set)) => Ok(Value::Vector(with_number(b, set, n, true, steps))),
        (Value::Vector(l), Value::Vector(r)) => {
            if matches!(b.op, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless) {
                return Ok(Value::Vector(binary::set_operation(b.op, l, r, &b.matching)));
            }
            let op = binary::VectorOp { op: b.op, return_bool: b.return_bool, span: b.op_span };
            let run = &*run;
            let check = || run.check().map_err(|_| crate::promql::QueryError::Canceled);
            let work = binary::Work { matching: &b.matching, steps: steps.count, check: &check };
            binary::vectors(&op, l, r, &work, &mut notes).map(Value::Vector).map_err(|e| match run.check() {
                Err(stopped) => stopped,
                Ok(()) => QueryError::Matching(e.to_string()),
            })
        }
    }
}

/// In LogQL a division by zero is not a number, where PromQL says infinite.
fn without_zeros(divisor: &mut Value) {
    let clear = |v: &mut f64| {
        if *v == 0.0 {
            *v = f64::NAN;
        }
    };
    match divisor {
        Value::Number(n) => clear(n),
        Value::Vector(set) => set.series.iter_mut().flat_map(|s| &mut s.values.floats).for_each(clear),
    }
}

fn with_number(b: &Binary, mut set: SeriesSet, n: f64, left: bool, steps: Steps) -> SeriesSet {
    let side = ScalarSide { left, return_bool: b.return_bool };
    let numbers = vec![n; steps.count];
    let mut notes = Annotations::default();
    for s in &mut set.series {
        let values = std::mem::take(&mut s.values);
        s.values = binary::with_scalar(b.op, values, &numbers, side, &mut notes, b.op_span);
    }
    set.series.retain(|s| s.values.any_present());
    set
}

fn label_replace(
    mut set: SeriesSet,
    dst: &str,
    replacement: &str,
    src: &str,
    regex: &str,
) -> Result<SeriesSet, QueryError> {
    let regex = GoRegex::anchored(regex).map_err(execution)?;
    for s in &mut set.series {
        if let Some(found) = regex.regex().captures(s.labels.value(src)) {
            let mut value = String::new();
            found.expand(replacement, &mut value);
            s.labels = {
                let mut labels = s.labels.to_builder();
                labels.set(dst, value);
                labels.build()
            };
        }
    }
    set.merge_same_labels().map_err(execution)?;
    Ok(set)
}
