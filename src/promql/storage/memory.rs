//! A store in memory, for tests and for the evaluation of rule unit tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::histogram::CounterResetHint;
use crate::model::sample::is_stale_nan;
use crate::model::{Column, FloatHistogram, LabelTable, Labels, Matcher, TimestampMs};
use crate::promql::engine::QueryError;
use crate::promql::storage::{Admit, SelectHints, SelectedSeries, Storage, StorageError};

#[derive(Clone, Debug)]
enum Stored {
    Float(f64),
    Histogram(Arc<FloatHistogram>),
}

/// Series in memory. Native histograms come out with the reset hints that a time series database gives them: the
/// first of a series and the first after a reset say nothing, the others that they continue the one before.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage {
    series: BTreeMap<Labels, BTreeMap<TimestampMs, (TimestampMs, Stored)>>,
}

impl MemoryStorage {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a float; `start` is 0 where not known. Of two samples at one time the first stays.
    pub fn add_float(&mut self, labels: &Labels, t: TimestampMs, v: f64, start: TimestampMs) {
        self.series.entry(labels.clone()).or_default().entry(t).or_insert((start, Stored::Float(v)));
    }

    /// Adds a histogram; `start` is 0 where not known. Of two samples at one time the first stays.
    pub fn add_histogram(&mut self, labels: &Labels, t: TimestampMs, h: FloatHistogram, start: TimestampMs) {
        self.series.entry(labels.clone()).or_default().entry(t).or_insert((start, Stored::Histogram(Arc::new(h))));
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.series.clear();
    }
}

fn hint_after(previous: Option<&FloatHistogram>, h: &FloatHistogram) -> CounterResetHint {
    match h.counter_reset_hint {
        CounterResetHint::Gauge => return CounterResetHint::Gauge,
        // A reset starts a new chunk, and the first histogram of a chunk says nothing, because the chunk before it
        // may be missing. Whoever compares it with its predecessor finds the reset.
        CounterResetHint::Reset => return CounterResetHint::Unknown,
        CounterResetHint::Unknown | CounterResetHint::NotReset => {}
    }
    let Some(p) = previous else { return CounterResetHint::Unknown };
    if p.counter_reset_hint == CounterResetHint::Gauge || is_stale_nan(p.sum) || is_stale_nan(h.sum) {
        return CounterResetHint::Unknown;
    }
    // A change of layout that need not be a reset is left to the reader.
    let same_layout =
        h.schema == p.schema && h.zero_threshold == p.zero_threshold && h.custom_values == p.custom_values;
    let mut plain = h.clone();
    plain.counter_reset_hint = CounterResetHint::Unknown;
    if same_layout && !plain.detect_reset(p) { CounterResetHint::NotReset } else { CounterResetHint::Unknown }
}

/// The samples of the hinted time; a long series is asked for a few of them again and again.
fn column(samples: &BTreeMap<TimestampMs, (TimestampMs, Stored)>, hints: &SelectHints) -> Column {
    let mut out = Column::default();
    // The hint of a histogram depends on the sample before it.
    let mut previous = match samples.range(..hints.start).next_back() {
        Some((_, (_, Stored::Histogram(h)))) => Some(h.clone()),
        Some((_, (_, Stored::Float(_)))) | None => None,
    };
    for (t, (start, v)) in samples.range(hints.start..).take_while(|(t, _)| **t <= hints.end) {
        match v {
            Stored::Float(v) => {
                out.push_float(*t, *v, *start);
                previous = None;
            }
            Stored::Histogram(h) => {
                let hint = hint_after(previous.as_deref(), h);
                let mut h = h.clone();
                if h.counter_reset_hint != hint {
                    Arc::make_mut(&mut h).counter_reset_hint = hint;
                }
                previous = Some(h.clone());
                out.push_histogram(*t, h, *start);
            }
        }
    }
    out
}

struct Found {
    labels: Arc<LabelTable>,
    columns: Vec<Column>,
}

impl Storage for MemoryStorage {
    fn select(
        &self,
        hints: &SelectHints,
        matchers: &[Matcher],
        _admit: Admit<'_>,
    ) -> Result<Box<dyn SelectedSeries>, QueryError> {
        let (labels, columns): (Vec<&Labels>, Vec<Column>) = self
            .series
            .iter()
            .filter(|(labels, _)| matchers.iter().all(|m| m.matches_labels(labels)))
            .map(|(labels, samples)| (labels, column(samples, hints)))
            .unzip();
        Ok(Box::new(Found { labels: Arc::new(LabelTable::from_sorted(labels)), columns }))
    }
}

impl SelectedSeries for Found {
    fn labels(&self) -> &Arc<LabelTable> {
        &self.labels
    }

    fn size_bytes(&self) -> usize {
        self.labels.size_bytes() + self.columns.iter().map(|c| 16 * c.len()).sum::<usize>()
    }

    fn read(&self, i: usize, mint: TimestampMs, maxt: TimestampMs, out: &mut Column) -> Result<(), StorageError> {
        let Some(c) = self.columns.get(i) else { return Ok(()) };
        let bounds = |t: &[i64]| (t.partition_point(|x| *x < mint), t.partition_point(|x| *x <= maxt));
        let (from, to) = bounds(&c.t);
        for k in from..to {
            out.push_float(c.t[k], c.v[k], c.start.get(k).copied().unwrap_or(0));
        }
        let (from, to) = bounds(&c.ht);
        for k in from..to {
            out.push_histogram(c.ht[k], c.h[k].clone(), c.hstart.get(k).copied().unwrap_or(0));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_come_with_hints() {
        let mut s = MemoryStorage::new();
        let labels = Labels::from_pairs([("a", "1")]);
        for (t, count) in [(1, 1.0), (2, 3.0), (3, 2.0)] {
            s.add_histogram(&labels, t, FloatHistogram { count, ..Default::default() }, 0);
        }
        let all = [CounterResetHint::Unknown, CounterResetHint::NotReset, CounterResetHint::Unknown];
        for start in 1..=3 {
            let hints = SelectHints { start, end: 10, ..SelectHints::default() };
            let found = s.select(&hints, &[Matcher::equal("a", "1")], &mut |_| Ok(())).unwrap();
            let mut c = Column::default();
            found.read(0, start, 10, &mut c).unwrap();
            let got: Vec<_> = c.h.iter().map(|h| h.counter_reset_hint).collect();
            let skipped = usize::try_from(start - 1).unwrap();
            assert_eq!(got, all[skipped..], "from {start}");
        }
    }
}
