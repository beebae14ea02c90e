//! How many samples the selectors of a query see, step by step, as Prometheus' statistics count them: an instant selector one for each
//! series that has a sample, a range selector or subquery all that lie in its window. What stands inside a subquery is not counted itself.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::{Column, TimestampMs};
use crate::promql::engine::QueryTimes;
use crate::promql::selector::Windows;
use crate::promql::series_set::{StepValues, Steps};

/// The counts of one query, shared by the threads that work on it.
pub(crate) struct SampleCounts {
    steps: Steps,
    seen: Vec<AtomicU64>,
}

impl SampleCounts {
    /// All zero.
    pub(crate) fn new(times: QueryTimes) -> Self {
        let steps = Steps::range(times.start, times.end, times.step);
        SampleCounts { steps, seen: (0..steps.count).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Whether a selector that is evaluated at these steps belongs to the query itself. One that does not depend on the step is evaluated once.
    fn concerns(&self, steps: &Steps) -> bool {
        steps.start == self.steps.start
            && (steps.count == 1 || (steps.step, steps.count) == (self.steps.step, self.steps.count))
    }

    fn add(&self, step: usize, n: u64) {
        if let Some(seen) = self.seen.get(step) {
            seen.fetch_add(n, Ordering::Relaxed);
        }
    }

    /// Counts the steps at which a series has a value.
    pub(crate) fn present(&self, steps: &Steps, values: &StepValues) {
        if self.concerns(steps) {
            (0..steps.count).filter(|i| values.is_present(*i)).for_each(|i| self.add(i, 1));
        }
    }

    /// Counts the samples of a series in the window of each step.
    pub(crate) fn in_windows(&self, steps: &Steps, column: &Column, windows: &Windows) {
        if !self.concerns(steps) {
            return;
        }
        for (i, t) in steps.times().enumerate() {
            let w = windows.at(t);
            let between = |times: &[TimestampMs]| {
                times.partition_point(|x| *x <= w.to).saturating_sub(times.partition_point(|x| *x <= w.from))
            };
            self.add(i, (between(&column.t) + between(&column.ht)) as u64);
        }
    }

    /// The sum over all steps.
    pub(crate) fn total(&self) -> u64 {
        self.seen.iter().map(|n| n.load(Ordering::Relaxed)).sum()
    }

    /// Each step with its count.
    pub(crate) fn per_step(&self) -> Vec<(TimestampMs, u64)> {
        self.steps.times().zip(&self.seen).map(|(t, n)| (t, n.load(Ordering::Relaxed))).collect()
    }
}
