//! Functions over a range of lines: `count_over_time({...}[5m])` and its siblings, for all steps of a query in one scan.

use std::collections::HashMap;
use std::ops::ControlFlow;

use crate::logql::ast::{Grouping, LabelFilter, RangeAggregation, RangeOp, StageKind};
use crate::logql::engine::{QueryError, Run};
use crate::logql::labels::{ERROR, ERROR_DETAILS, LineLabels};
use crate::logql::stages::unwrap::CompiledUnwrap;
use crate::model::Labels;
use crate::promql::series_set::{ABSENT, StepSeries, StepValues, is_absent};

/// The times at which a query is evaluated, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// The first.
    pub start_ns: i64,
    /// The distance; anything positive if there is one step only.
    pub step_ns: i64,
    /// How many, at least one.
    pub count: usize,
}

impl Steps {
    /// The time of step `i`.
    pub fn at(&self, i: usize) -> i64 {
        self.start_ns.saturating_add(self.step_ns.saturating_mul(i as i64))
    }

    /// The steps whose window `(t - range, t]` holds `time` (both already shifted by the offset), as first and one past last.
    fn holding(&self, time: i64, range_ns: i64) -> (usize, usize) {
        let from_start = time.saturating_sub(self.start_ns);
        let first = if from_start <= 0 { 0 } else { (from_start as u64).div_ceil(self.step_ns as u64) as usize };
        // t - range < time, so t < time + range.
        let until = from_start.saturating_add(range_ns);
        let end = if until <= 0 { 0 } else { (until as u64).div_ceil(self.step_ns as u64) as usize };
        (first.min(self.count), end.min(self.count))
    }
}

/// Sets of metadata that are remembered for each stream: the levels, mostly.
const MAX_REMEMBERED: usize = 8;

/// What is gathered for one series.
enum Gathered {
    /// Differences from step to step of (lines, sum): enough for counts and sums.
    Differences(Vec<(i64, f64)>),
    /// All points as (time, value), for functions that need them.
    Points(Vec<(i64, f64)>),
}

/// Evaluates a range function at all steps.
///
/// `outer` is the grouping of a `sum` around it. A line that failed in a parser ends the query, unless the query names
/// `__error__` in a filter or a grouping: then it makes a series with the error in its labels.
pub fn evaluate(
    run: &mut Run<'_>,
    r: &RangeAggregation,
    outer: Option<&Grouping>,
    steps: Steps,
) -> Result<Vec<StepSeries>, QueryError> {
    let keeps_errors = names_error(r, outer);
    let unwrap = r.unwrap.as_ref().map(CompiledUnwrap::compile).transpose().map_err(QueryError::Invalid)?;
    let by_differences = unwrap.is_none();
    let mut keys: HashMap<Labels, usize> = HashMap::new();
    // Series of lines whose labels no stage has changed, by stream and metadata.
    let mut unchanged: HashMap<u64, Vec<(Labels, usize)>> = HashMap::new();
    let mut gathered: Vec<(Labels, Gathered)> = Vec::new();
    let mut points = 0usize;
    let (max_series, max_points) = (run.options.max_series, run.options.max_points);
    // The window of the first step opens before it; windows are open at the left.
    let from = steps.start_ns.saturating_sub(r.offset_ns).saturating_sub(r.range_ns).saturating_add(1);
    let until = steps.at(steps.count - 1).saturating_sub(r.offset_ns).saturating_add(1);
    run.lines(&r.log, (from, until), None, |entry, line| {
        let value = match &unwrap {
            Some(u) => match u.value(&mut line.labels) {
                Some(v) => v,
                None => return Ok(ControlFlow::Continue(())),
            },
            None if matches!(r.op, RangeOp::BytesOverTime | RangeOp::BytesRate) => line.text(entry.line).len() as f64,
            None => 1.0,
        };
        let failed = line.labels.has_error();
        if failed && !(keeps_errors && line.labels.get(ERROR).is_some_and(|e| e.ends_with(PARSER_ERROR))) {
            return Err(pipeline_error(&line.labels));
        }
        let plain = line.labels.is_unchanged();
        let known = if plain {
            let of_stream = unchanged.get(&entry.stream).map_or(&[][..], Vec::as_slice);
            of_stream.iter().find(|(metadata, _)| metadata == entry.metadata).map(|(_, i)| *i)
        } else {
            None
        };
        let index = match known {
            Some(i) => i,
            None => {
                let labels = series_labels(r, unwrap.as_ref(), &line.labels);
                let next = gathered.len();
                let i = *keys.entry(labels).or_insert_with_key(|labels| {
                    let empty =
                        if by_differences { Gathered::Differences(vec![(0, 0.0); steps.count + 1]) } else { Gathered::Points(Vec::new()) };
                    gathered.push((labels.clone(), empty));
                    next
                });
                if gathered.len() > max_series {
                    return Err(QueryError::Limit(format!(
                        "maximum of series ({max_series}) reached for a single query; aggregate by fewer labels or narrow the selector"
                    )));
                }
                points += if i == next && by_differences { steps.count } else { 0 };
                if plain {
                    let of_stream = unchanged.entry(entry.stream).or_default();
                    // Metadata that differs from line to line is not worth a search.
                    if of_stream.len() < MAX_REMEMBERED {
                        of_stream.push((entry.metadata.clone(), i));
                    }
                }
                i
            }
        };
        let time = entry.timestamp.saturating_add(r.offset_ns);
        match gathered.get_mut(index).map(|g| &mut g.1) {
            Some(Gathered::Differences(d)) => {
                let (first, end) = steps.holding(time, r.range_ns);
                if first < end {
                    for (at, sign) in [(first, 1), (end, -1)] {
                        if let Some(x) = d.get_mut(at) {
                            x.0 += sign;
                            x.1 += value * sign as f64;
                        }
                    }
                }
            }
            Some(Gathered::Points(p)) => {
                p.push((time, value));
                points += 1;
            }
            None => {}
        }
        if points > max_points {
            return Err(QueryError::Limit(format!(
                "the query holds more than {max_points} points in memory; shorten the range or raise the step"
            )));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let mut series: Vec<StepSeries> = gathered
        .into_iter()
        .map(|(labels, g)| {
            let values = match g {
                Gathered::Differences(d) => from_differences(r, &d, steps),
                Gathered::Points(p) => from_points(r, p, steps),
            };
            StepSeries { labels, drop_name: false, values: StepValues { floats: values, histograms: None } }
        })
        .filter(|s| s.values.any_present())
        .collect();
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    if r.op == RangeOp::AbsentOverTime { Ok(absent(r, &series, steps)) } else { Ok(series) }
}

/// How the errors of parsers end: `JSONParserErr`, `LogfmtParserErr`.
const PARSER_ERROR: &str = "ParserErr";
/// The label that Loki puts on series of failed lines that a query asked for.
const PRESERVE_ERROR: &str = "__preserve_error__";

/// Whether a filter or a grouping of the query is about `__error__`.
fn names_error(r: &RangeAggregation, outer: Option<&Grouping>) -> bool {
    let stages = r.log.stages.iter().filter_map(|s| match &s.kind {
        StageKind::LabelFilter(f) => Some(f),
        _ => None,
    });
    let behind = r.unwrap.iter().flat_map(|u| &u.filters);
    let pushed_down = matches!(
        r.op,
        RangeOp::CountOverTime | RangeOp::Rate | RangeOp::BytesOverTime | RangeOp::BytesRate | RangeOp::SumOverTime
    );
    let groupings = r.grouping.as_ref().into_iter().chain(outer.filter(|_| pushed_down));
    stages.chain(behind).any(|f| filter_names(f, ERROR)) || groupings.flat_map(|g| &g.labels).any(|l| l == ERROR)
}

fn filter_names(filter: &LabelFilter, name: &str) -> bool {
    match filter {
        LabelFilter::And(a, b) | LabelFilter::Or(a, b) => filter_names(a, name) || filter_names(b, name),
        LabelFilter::Text(m) => m.name() == name,
        LabelFilter::Number { label, .. }
        | LabelFilter::Duration { label, .. }
        | LabelFilter::Bytes { label, .. }
        | LabelFilter::Ip { label, .. } => label == name,
    }
}

fn pipeline_error(labels: &LineLabels) -> QueryError {
    let error = labels.get(ERROR).unwrap_or_default().to_owned();
    QueryError::Pipeline { error, series: labels.collect(|n, _| n != ERROR_DETAILS).to_string() }
}

/// The labels of the series a line belongs to.
fn series_labels(r: &RangeAggregation, unwrap: Option<&CompiledUnwrap>, labels: &LineLabels) -> Labels {
    if labels.has_error() {
        let mut all = labels.collect(|_, _| true).to_builder();
        all.set(PRESERVE_ERROR, "true");
        return all.build();
    }
    let hidden = |n: &str| n == ERROR || n == ERROR_DETAILS || unwrap.is_some_and(|u| u.label() == n);
    match &r.grouping {
        None => labels.collect(|n, _| !hidden(n)),
        Some(g) if g.without => labels.collect(|n, _| !hidden(n) && !g.labels.iter().any(|l| l == n)),
        Some(g) => labels.collect(|n, _| g.labels.iter().any(|l| l == n)),
    }
}

fn from_differences(r: &RangeAggregation, d: &[(i64, f64)], steps: Steps) -> Vec<f64> {
    let seconds = r.range_ns as f64 / 1e9;
    let (mut lines, mut sum) = (0i64, 0f64);
    d.iter()
        .take(steps.count)
        .map(|(dl, ds)| {
            lines += dl;
            // Counts and lengths are whole numbers far below 2^53: the running sum is exact.
            sum += ds;
            match r.op {
                _ if lines <= 0 => ABSENT,
                RangeOp::Rate | RangeOp::BytesRate => sum / seconds,
                _ => sum,
            }
        })
        .collect()
}

fn from_points(r: &RangeAggregation, mut points: Vec<(i64, f64)>, steps: Steps) -> Vec<f64> {
    points.sort_by_key(|p| p.0);
    let (mut low, mut high) = (0, 0);
    let mut scratch = Vec::new();
    (0..steps.count)
        .map(|i| {
            let t = steps.at(i);
            while points.get(high).is_some_and(|p| p.0 <= t) {
                high += 1;
            }
            while points.get(low).is_some_and(|p| p.0 <= t.saturating_sub(r.range_ns)) {
                low += 1;
            }
            match points.get(low..high) {
                Some(window) if !window.is_empty() => aggregate(r, window, t, &mut scratch),
                _ => ABSENT,
            }
        })
        .collect()
}

fn aggregate(r: &RangeAggregation, window: &[(i64, f64)], end_ns: i64, scratch: &mut Vec<f64>) -> f64 {
    let values = || window.iter().map(|p| p.1);
    match r.op {
        RangeOp::SumOverTime => values().sum(),
        RangeOp::Rate => values().sum::<f64>() / (r.range_ns as f64 / 1e9),
        RangeOp::AvgOverTime => mean(window),
        RangeOp::MinOverTime => values().reduce(|a, b| if b < a || a.is_nan() { b } else { a }).unwrap_or(f64::NAN),
        RangeOp::MaxOverTime => values().reduce(|a, b| if b > a || a.is_nan() { b } else { a }).unwrap_or(f64::NAN),
        RangeOp::StdvarOverTime => variance(window),
        RangeOp::StddevOverTime => variance(window).sqrt(),
        RangeOp::QuantileOverTime => {
            scratch.clear();
            scratch.extend(values());
            quantile(r.param.unwrap_or(f64::NAN), scratch)
        }
        RangeOp::FirstOverTime => window.first().map_or(f64::NAN, |p| p.1),
        RangeOp::LastOverTime => window.last().map_or(f64::NAN, |p| p.1),
        RangeOp::RateCounter => rate_counter(window, end_ns, r.range_ns),
        RangeOp::AbsentOverTime => 1.0,
        RangeOp::CountOverTime | RangeOp::BytesOverTime | RangeOp::BytesRate => window.len() as f64,
    }
}

/// The mean, step by step so that large values do not overflow; infinities stay what they are.
fn mean(window: &[(i64, f64)]) -> f64 {
    let (mut mean, mut n) = (0.0f64, 0.0);
    for (_, v) in window {
        n += 1.0;
        if mean.is_infinite() && (!v.is_nan() && (v.is_finite() || (*v > 0.0) == (mean > 0.0))) {
            continue;
        }
        mean += v / n - mean / n;
    }
    mean
}

/// Welford's method for the variance of the whole window.
fn variance(window: &[(i64, f64)]) -> f64 {
    let (mut squares, mut mean, mut n) = (0.0, 0.0, 0.0);
    for (_, v) in window {
        n += 1.0;
        let delta = v - mean;
        mean += delta / n;
        squares += delta * (v - mean);
    }
    squares / n
}

/// The quantile with linear interpolation between neighbours; below 0 and above 1 infinite. Sorts `values`, NaN first.
pub fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(|a, b| match (a.is_nan(), b.is_nan()) {
        (false, false) => a.total_cmp(b),
        (a_nan, b_nan) => b_nan.cmp(&a_nan),
    });
    let rank = q * (values.len() - 1) as f64;
    let low = rank.floor() as usize;
    let weight = rank - rank.floor();
    let value = |i: usize| values.get(i.min(values.len() - 1)).copied().unwrap_or(f64::NAN);
    value(low) * (1.0 - weight) + value(low + 1) * weight
}

/// The rate of a counter, resets taken into account, extrapolated to the window `(end - range, end]` as Prometheus does it.
fn rate_counter(window: &[(i64, f64)], end_ns: i64, range_ns: i64) -> f64 {
    let (Some(first), Some(last)) = (window.first(), window.last()) else { return 0.0 };
    if window.len() < 2 {
        return 0.0;
    }
    let mut increase = last.1 - first.1;
    for (a, b) in window.iter().zip(window.iter().skip(1)) {
        if b.1 < a.1 {
            increase += a.1;
        }
    }
    let seconds = |ns: i64| ns as f64 / 1e9;
    let range = seconds(range_ns);
    let sampled = seconds(last.0 - first.0);
    let between = sampled / (window.len() - 1) as f64;
    let mut to_start = seconds(first.0 - end_ns.saturating_sub(range_ns));
    let to_end = seconds(end_ns - last.0);
    if increase > 0.0 && first.1 >= 0.0 {
        to_start = to_start.min(sampled * (first.1 / increase));
    }
    let threshold = between * 1.1;
    let reach = |gap: f64| if gap < threshold { gap } else { between / 2.0 };
    increase * ((sampled + reach(to_start) + reach(to_end)) / sampled) / range
}

/// 1 at each step without lines, labelled with the selector's equality matchers.
fn absent(r: &RangeAggregation, series: &[StepSeries], steps: Steps) -> Vec<StepSeries> {
    let mut labels = crate::model::LabelsBuilder::new();
    for m in &r.log.matchers {
        let unique = r.log.matchers.iter().filter(|o| o.name() == m.name()).count() == 1;
        if m.op() == crate::model::MatchOp::Equal && unique {
            labels.set(m.name(), m.value());
        }
    }
    let floats: Vec<f64> =
        (0..steps.count).map(|i| if series.iter().any(|s| s.values.is_present(i)) { ABSENT } else { 1.0 }).collect();
    if floats.iter().all(|v| is_absent(*v)) {
        return Vec::new();
    }
    vec![StepSeries { labels: labels.build(), drop_name: false, values: StepValues { floats, histograms: None } }]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_open_at_the_left() {
        let steps = Steps { start_ns: 100, step_ns: 10, count: 3 };
        for (time, range, want) in [
            (100, 10, (0, 1)),
            (90, 10, (0, 0)),
            (91, 10, (0, 1)),
            (101, 10, (1, 2)),
            (110, 10, (1, 2)),
            (110, 11, (1, 3)),
            (121, 50, (3, 3)),
            (60, 50, (0, 1)),
        ] {
            assert_eq!(steps.holding(time, range), want, "{time} {range}");
        }
    }

    #[test]
    fn quantiles() {
        assert_eq!(quantile(0.5, &mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(quantile(0.9, &mut [1.0, 2.0]), 1.9);
        assert_eq!(quantile(2.0, &mut [1.0]), f64::INFINITY);
        assert!(quantile(0.5, &mut []).is_nan());
    }
}
