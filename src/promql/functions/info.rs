//! `info`: labels of info series (`target_info`) on other series of the same instance and job.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::model::labels::METRIC_NAME;
use crate::model::{Labels, MatchOp, Matcher, TimestampMs};
use crate::promql::ast::{Call, Expr, ExprKind, RangeExtension, TimeModifiers, VectorSelector};
use crate::promql::engine::{Context, QueryError};
use crate::promql::functions::arg;
use crate::promql::selector::{self, SampleTime};
use crate::promql::series_set::{SeriesSet, StepSeries, StepValues, Steps};

/// The info metric where none is named.
const TARGET_INFO: &str = "target_info";
/// The labels by which an info series belongs to others.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// Which info series are asked for, and which of their labels.
struct Wanted {
    /// Conditions on the name of the info metric.
    names: Vec<Matcher>,
    /// Conditions on labels; where there are any, only those labels are taken over.
    data: Vec<Matcher>,
}

fn regex(name: &str, pattern: String) -> Result<Matcher, QueryError> {
    Matcher::new(name, MatchOp::Regex, pattern).map_err(|e| QueryError::Execution(e.to_string()))
}

fn wanted(call: &Call) -> Result<Wanted, QueryError> {
    let matchers = match call.args.get(1).map(|a| &a.unwrap_parens().kind) {
        Some(ExprKind::Vector(v)) => v.matchers.as_slice(),
        _ => &[],
    };
    let (mut names, data): (Vec<Matcher>, Vec<Matcher>) =
        matchers.iter().cloned().partition(|m| m.name() == METRIC_NAME);
    if names.is_empty() {
        names.push(Matcher::equal(METRIC_NAME, TARGET_INFO));
    } else if names.iter().all(|m| m.op().is_negative()) {
        // "Not this one" means: of all that look like info metrics.
        names.push(regex(METRIC_NAME, ".+_info".to_owned())?);
    }
    Ok(Wanted { names, data })
}

/// The time that the first selector of `expr` looks at when `expr` is evaluated at `t`.
fn data_time(cx: &Context<'_>, expr: &Expr, t: TimestampMs) -> Result<Option<TimestampMs>, QueryError> {
    Ok(match &expr.kind {
        ExprKind::Vector(v) => Some(cx.times.shift(&v.time)?.apply(t)),
        ExprKind::Matrix(m) => Some(cx.times.shift(&m.selector.time)?.apply(t)),
        ExprKind::Subquery(s) => data_time(cx, &s.expr, cx.times.shift(&s.time)?.apply(t))?,
        ExprKind::Paren(e) | ExprKind::Unary(_, e) => data_time(cx, e, t)?,
        ExprKind::Aggregate(a) => data_time(cx, &a.expr, t)?,
        ExprKind::Binary(b) => match data_time(cx, &b.lhs, t)? {
            Some(t) => Some(t),
            None => data_time(cx, &b.rhs, t)?,
        },
        ExprKind::Call(c) => {
            for a in &c.args {
                if let Some(t) = data_time(cx, a, t)? {
                    return Ok(Some(t));
                }
            }
            None
        }
        ExprKind::Number(_) | ExprKind::String(_) => None,
    })
}

/// The steps at which info series are looked at, one for each outer step or one for all.
fn info_steps(cx: &Context<'_>, expr: &Expr, steps: &Steps) -> Result<Steps, QueryError> {
    let first = data_time(cx, expr, steps.start)?.unwrap_or(steps.start);
    let second = data_time(cx, expr, steps.time(1))?.unwrap_or(steps.time(1));
    Ok(if first == second { Steps { start: first, count: 1, ..*steps } } else { Steps { start: first, ..*steps } })
}

/// Info series with the time of their last sample at each step.
fn info_series(cx: &Context<'_>, matchers: Vec<Matcher>, steps: &Steps) -> Result<SeriesSet, QueryError> {
    let v = VectorSelector { name: None, matchers, time: TimeModifiers::default(), extension: RangeExtension::None };
    let span = crate::text::span::Span::default();
    let (values, _) = selector::instant_source(cx, &v, span, steps)?.materialize(&cx.limits)?;
    if values.series.iter().any(|s| s.values.histograms.is_some()) {
        return Err(QueryError::Execution("info sample should be float".to_owned()));
    }
    let times = selector::time_source(cx, &v, SampleTime::Taken, steps)?;
    Ok(times.materialize(&cx.limits)?.0)
}

fn identity(labels: &Labels) -> Labels {
    labels.with_only(&IDENTIFYING)
}

/// Info series by identity, then by metric name.
type ByIdentity<'a> = HashMap<Labels, BTreeMap<&'a str, Vec<&'a StepSeries>>>;

/// The newest of the info series of one metric at a step.
fn newest<'a>(series: &[&'a StepSeries], step: usize) -> Result<Option<&'a StepSeries>, QueryError> {
    let mut best: Option<(f64, &StepSeries)> = None;
    for s in series {
        let Some(t) = s.values.float(step) else { continue };
        match best {
            Some((b, first)) if b == t => {
                return Err(QueryError::Execution(format!(
                    "found duplicate series for info metric: existing {} @ {}, new {} @ {}",
                    first.labels,
                    (b * 1000.0) as i64,
                    s.labels,
                    (t * 1000.0) as i64
                )));
            }
            Some((b, _)) if b > t => {}
            _ => best = Some((t, s)),
        }
    }
    Ok(best.map(|b| b.1))
}

fn enriched(base: &Labels, infos: &[&StepSeries], data: &[Matcher]) -> Result<Labels, QueryError> {
    let mut b = base.to_builder();
    let mut added: BTreeMap<&str, &str> = BTreeMap::new();
    for info in infos {
        for (name, value) in &info.labels {
            if name == METRIC_NAME || (!data.is_empty() && !data.iter().any(|m| m.name() == name)) {
                continue;
            }
            if added.get(name).is_some_and(|v| *v != value) {
                return Err(QueryError::Execution(format!("conflicting label: {name}")));
            }
            if base.get(name).is_none() {
                added.insert(name, value);
                b.set(name, value);
            }
        }
    }
    Ok(b.build())
}

pub(super) fn info(cx: &Context<'_>, call: &Call, steps: &Steps) -> Result<SeriesSet, QueryError> {
    let base_arg = arg(call, 0)?;
    let base = cx.vector(base_arg, steps)?;
    let wanted = wanted(call)?;
    let is_info = |s: &StepSeries| wanted.names.iter().all(|m| m.matches(s.labels.value(METRIC_NAME)));
    let mut matchers = wanted.names.clone();
    matchers.extend(wanted.data.iter().cloned());
    let mut identified = false;
    for name in IDENTIFYING {
        let values: BTreeSet<String> =
            base.series.iter().filter(|s| !is_info(s)).filter_map(|s| s.labels.get(name)).map(regex::escape).collect();
        if !values.is_empty() {
            identified = true;
            matchers.push(regex(name, values.into_iter().collect::<Vec<_>>().join("|"))?);
        }
    }
    let info_steps = info_steps(cx, base_arg, steps)?;
    let infos = if identified { info_series(cx, matchers, &info_steps)? } else { SeriesSet::default() };
    let mut by_identity: ByIdentity<'_> = HashMap::new();
    for s in &infos.series {
        let names = by_identity.entry(identity(&s.labels)).or_default();
        names.entry(s.labels.value(METRIC_NAME)).or_default().push(s);
    }
    let needs_info = !wanted.data.iter().all(Matcher::matches_empty);
    let mut index: HashMap<(Labels, bool), usize> = HashMap::new();
    let mut out: Vec<StepSeries> = Vec::new();
    for s in &base.series {
        let untouched = is_info(s);
        let candidates = if untouched { None } else { by_identity.get(&identity(&s.labels)) };
        // The labels rarely change from step to step.
        let mut last: Option<(Vec<*const StepSeries>, usize)> = None;
        for step in 0..steps.count {
            let Some(value) = s.values.get(step) else { continue };
            let info_step = if info_steps.count == 1 { 0 } else { step };
            let mut found: Vec<&StepSeries> = Vec::new();
            for series in candidates.into_iter().flat_map(|c| c.values()) {
                found.extend(newest(series, info_step)?);
            }
            if found.is_empty() && !untouched && needs_info {
                continue;
            }
            let key: Vec<*const StepSeries> = found.iter().map(|s| std::ptr::from_ref(*s)).collect();
            let slot = match &last {
                Some((k, slot)) if *k == key => *slot,
                _ => {
                    let labels = enriched(&s.labels, &found, &wanted.data)?;
                    *index.entry((labels, s.drop_name)).or_insert_with_key(|(labels, drop_name)| {
                        let values = StepValues::absent(steps.count);
                        out.push(StepSeries { labels: labels.clone(), drop_name: *drop_name, values });
                        out.len() - 1
                    })
                }
            };
            last = Some((key, slot));
            if let Some(o) = out.get_mut(slot) {
                if o.values.is_present(step) {
                    return Err(crate::promql::series_set::DuplicateSeries.into());
                }
                o.values.set(step, value);
            }
        }
    }
    Ok(SeriesSet::new(out))
}
