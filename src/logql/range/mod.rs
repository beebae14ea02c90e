//! Functions over a range of lines: `count_over_time({...}[5m])` and its siblings, for all steps of a query in one reading.
//!
//! The store gives its lines in parts that are worked on side by side ([`gather`]); what the parts gathered is put together
//! and becomes values at the steps ([`windows`]).

mod gather;
mod rows;
mod windows;

use rayon::prelude::*;

use crate::exec::cpu_pool;
use crate::logql::ast::{RangeAggregation, RangeOp};
use crate::logql::engine::{QueryError, Run};
use crate::logql::range::gather::{Gathered, Gathering};
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

/// Evaluates a range function at all steps.
///
/// A line that failed in a stage ends the query; if the query is by `__error__` or filters by it and a parser failed, the line
/// makes a series with the error in its labels (see [`crate::logql::hints::Hints`]).
pub fn evaluate(run: &mut Run<'_>, r: &RangeAggregation, steps: Steps) -> Result<Vec<StepSeries>, QueryError> {
    // The window of the first step opens before it; windows are open at the left.
    let from = steps.start_ns.saturating_sub(r.offset_ns).saturating_sub(r.range_ns).saturating_add(1);
    let until = steps.at(steps.count - 1).saturating_sub(r.offset_ns).saturating_add(1);
    let gathering = Gathering::new(run, r, steps)?;
    run.fold(&r.log, (from, until), &gathering)?;
    let (gathered, stats) = gathering.finish()?;
    run.stats.add(&stats);
    run.check()?;
    let mut series: Vec<StepSeries> = cpu_pool::pool().install(|| {
        gathered
            .into_par_iter()
            .map(|(labels, g)| {
                let floats = match g {
                    Gathered::Differences(d) => windows::from_differences(r, d.first, &d.values, steps),
                    Gathered::Points(p) => windows::from_points(r, p, steps),
                };
                StepSeries { labels, drop_name: false, values: StepValues { floats, histograms: None } }
            })
            .filter(|s| s.values.any_present())
            .collect()
    });
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    if r.op == RangeOp::AbsentOverTime { Ok(absent(r, &series, steps)) } else { Ok(series) }
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
}
