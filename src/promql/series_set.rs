//! Step series: one array over all steps of a query for each series, and sets of them.
//!
//! A step without a float holds [`ABSENT`], the staleness marker. It cannot collide with a value: stores hand markers
//! out only for "no sample here", and arithmetic never yields that (signalling) NaN. Histograms stand in a second
//! array that exists only where a series has any.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::labels::METRIC_NAME;
use crate::model::sample::STALE_NAN_BITS;
use crate::model::{FloatHistogram, Labels, TimestampMs};
use crate::promql::limits::Charge;

/// What a step without a float holds.
pub const ABSENT: f64 = f64::from_bits(STALE_NAN_BITS);

/// Whether a step holds no float.
pub fn is_absent(v: f64) -> bool {
    v.to_bits() == STALE_NAN_BITS
}

/// The times at which an expression is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// The first one.
    pub start: TimestampMs,
    /// Milliseconds between two, above zero.
    pub step: i64,
    /// How many; at least one.
    pub count: usize,
}

impl Steps {
    /// One evaluation.
    pub fn instant(t: TimestampMs) -> Self {
        Steps { start: t, step: 1, count: 1 }
    }

    /// All times from `start` to `end` inclusive; at least `start` itself.
    pub fn range(start: TimestampMs, end: TimestampMs, step: i64) -> Self {
        let step = step.max(1);
        let count = usize::try_from(end.saturating_sub(start).max(0) / step).unwrap_or(usize::MAX - 1) + 1;
        Steps { start, step, count }
    }

    /// The time of step `i`.
    pub fn time(&self, i: usize) -> TimestampMs {
        self.start.saturating_add(self.step.saturating_mul(i as i64))
    }

    /// The last time.
    pub fn end(&self) -> TimestampMs {
        self.time(self.count.saturating_sub(1))
    }

    /// All times.
    pub fn times(self) -> impl Iterator<Item = TimestampMs> {
        (0..self.count).map(move |i| self.time(i))
    }
}

/// The histograms of a series, one place for each step.
pub type Histograms = Vec<Option<Arc<FloatHistogram>>>;

/// The value at one step.
#[derive(Clone, Copy, Debug)]
pub enum StepValue<'a> {
    /// A float.
    Float(f64),
    /// A histogram.
    Histogram(&'a Arc<FloatHistogram>),
}

/// The values of one series over all steps. Of a step's float and histogram at most one is present.
#[derive(Clone, Debug, Default)]
pub struct StepValues {
    /// One for each step, [`ABSENT`] where there is none.
    pub floats: Vec<f64>,
    /// One for each step, where the series has any histogram.
    pub histograms: Option<Histograms>,
}

impl StepValues {
    /// `n` steps without values.
    pub fn absent(n: usize) -> Self {
        StepValues { floats: vec![ABSENT; n], histograms: None }
    }

    /// How many steps there are.
    pub fn len(&self) -> usize {
        self.floats.len()
    }

    /// Whether there are no steps at all.
    pub fn is_empty(&self) -> bool {
        self.floats.is_empty()
    }

    /// The float at step `i`.
    pub fn float(&self, i: usize) -> Option<f64> {
        self.floats.get(i).copied().filter(|v| !is_absent(*v))
    }

    /// The histogram at step `i`.
    pub fn histogram(&self, i: usize) -> Option<&Arc<FloatHistogram>> {
        self.histograms.as_ref()?.get(i)?.as_ref()
    }

    /// The value at step `i`.
    pub fn get(&self, i: usize) -> Option<StepValue<'_>> {
        match self.float(i) {
            Some(v) => Some(StepValue::Float(v)),
            None => self.histogram(i).map(StepValue::Histogram),
        }
    }

    /// Whether step `i` has a value.
    pub fn is_present(&self, i: usize) -> bool {
        self.get(i).is_some()
    }

    /// Sets a float.
    pub fn set_float(&mut self, i: usize, v: f64) {
        if let Some(place) = self.floats.get_mut(i) {
            *place = v;
        }
    }

    /// Sets a histogram.
    pub fn set_histogram(&mut self, i: usize, h: Arc<FloatHistogram>) {
        let n = self.floats.len();
        if let Some(place) = self.histograms.get_or_insert_with(|| vec![None; n]).get_mut(i) {
            *place = Some(h);
        }
    }

    /// Sets a value.
    pub fn set(&mut self, i: usize, v: StepValue<'_>) {
        match v {
            StepValue::Float(v) => self.set_float(i, v),
            StepValue::Histogram(h) => self.set_histogram(i, h.clone()),
        }
    }

    /// Takes the value of step `i` away.
    pub fn clear(&mut self, i: usize) {
        self.set_float(i, ABSENT);
        if let Some(place) = self.histograms.as_mut().and_then(|h| h.get_mut(i)) {
            *place = None;
        }
    }

    /// Whether any step has a value.
    pub fn any_present(&self) -> bool {
        self.floats.iter().any(|v| !is_absent(*v))
            || self.histograms.as_ref().is_some_and(|h| h.iter().any(Option::is_some))
    }

    /// How many steps have a value.
    pub fn present(&self) -> usize {
        self.floats.iter().filter(|v| !is_absent(**v)).count()
            + self.histograms.as_ref().map_or(0, |h| h.iter().flatten().count())
    }

    /// Roughly the memory it takes, in bytes.
    pub fn size_bytes(&self) -> usize {
        let histograms = self.histograms.as_ref().map_or(0, |all| {
            8 * all.len() + all.iter().flatten().map(|h| h.size_bytes() / Arc::strong_count(h).max(1)).sum::<usize>()
        });
        8 * self.floats.len() + histograms
    }
}

/// A series and its values.
#[derive(Clone, Debug)]
pub struct StepSeries {
    /// Its labels.
    pub labels: Labels,
    /// Whether the metric name (with type and unit) is to be taken off when the query is done.
    pub drop_name: bool,
    /// Its values.
    pub values: StepValues,
}

impl StepSeries {
    /// Roughly the memory it takes, in bytes.
    pub fn size_bytes(&self) -> usize {
        size_of::<StepSeries>() + self.labels.packed().len() + self.values.size_bytes()
    }
}

/// Two series of one label set have values at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("vector cannot contain metrics with the same labelset")]
pub struct DuplicateSeries;

/// The value of an expression of type instant vector, over all steps.
#[derive(Debug, Default)]
pub struct SeriesSet {
    /// The series, in the order in which an instant query shows them.
    pub series: Vec<StepSeries>,
    /// What the set takes from the query's budget.
    pub charge: Option<Charge>,
}

/// The labels that describe the metric and are lost with its name.
pub(crate) fn is_metadata_label(name: &str) -> bool {
    matches!(name, METRIC_NAME | "__type__" | "__unit__")
}

/// The labels without name, type and unit.
pub(crate) fn without_metadata(labels: &Labels) -> Labels {
    labels.filtered(|n| !is_metadata_label(n))
}

impl SeriesSet {
    /// A set of these series.
    pub fn new(series: Vec<StepSeries>) -> Self {
        SeriesSet { series, charge: None }
    }

    /// Roughly what it takes to join series of the same labels, in bytes: a second list of them, and where each label set stands.
    pub(crate) fn joining_bytes(&self) -> u64 {
        (self.series.len() * (size_of::<StepSeries>() + 2 * size_of::<(Labels, usize)>())) as u64
    }

    /// Takes off the names that were marked for it and joins series that have become one.
    pub fn drop_marked_names(&mut self) -> Result<(), DuplicateSeries> {
        if !self.series.iter().any(|s| s.drop_name) {
            return Ok(());
        }
        for s in &mut self.series {
            if s.drop_name {
                s.labels = without_metadata(&s.labels);
                s.drop_name = false;
            }
        }
        self.merge_same_labels()
    }

    /// Joins series of the same labels; at one time only one of them may have a value.
    pub fn merge_same_labels(&mut self) -> Result<(), DuplicateSeries> {
        let mut seen: HashMap<Labels, usize> = HashMap::with_capacity(self.series.len());
        let mut out: Vec<StepSeries> = Vec::with_capacity(self.series.len());
        for s in std::mem::take(&mut self.series) {
            match seen.get(&s.labels).and_then(|i| out.get_mut(*i)) {
                None => {
                    seen.insert(s.labels.clone(), out.len());
                    out.push(s);
                }
                Some(first) => {
                    first.drop_name |= s.drop_name;
                    for i in 0..s.values.len() {
                        if let Some(v) = s.values.get(i) {
                            if first.values.is_present(i) {
                                return Err(DuplicateSeries);
                            }
                            first.values.set(i, v);
                        }
                    }
                }
            }
        }
        self.series = out;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, values: &[f64]) -> StepSeries {
        let labels = Labels::from_pairs([(METRIC_NAME, name), ("a", "1")]);
        StepSeries { labels, drop_name: true, values: StepValues { floats: values.to_vec(), histograms: None } }
    }

    #[test]
    fn series_that_lose_their_names_become_one() {
        let mut set = SeriesSet::new(vec![series("x", &[1.0, ABSENT]), series("y", &[ABSENT, 2.0])]);
        set.drop_marked_names().unwrap();
        assert_eq!(set.series.len(), 1);
        assert_eq!(set.series[0].values.floats, [1.0, 2.0]);
        let mut set = SeriesSet::new(vec![series("x", &[1.0]), series("y", &[2.0])]);
        assert_eq!(set.drop_marked_names(), Err(DuplicateSeries));
    }

    #[test]
    fn arithmetic_never_makes_the_absent_mark() {
        assert!(!is_absent(ABSENT + 0.0) && !is_absent(f64::NAN) && is_absent(ABSENT));
    }

    #[test]
    fn steps_reach_to_the_end() {
        let s = Steps::range(0, 25, 10);
        assert_eq!((s.count, s.end()), (3, 20));
        assert_eq!(Steps::range(5, 5, 10).count, 1);
    }
}
