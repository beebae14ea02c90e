//! Exemplars: the newest so many over all series, in a ring.

use std::collections::{HashMap, VecDeque};

use super::SeriesRef;
use crate::model::{Labels, TimestampMs};

/// An exemplar as stored.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StoredExemplar {
    pub labels: Labels,
    pub value: f64,
    pub t: TimestampMs,
}

/// What became of an exemplar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Stored,
    /// It is the newest of its series already: targets repeat it with each scrape.
    Same,
    /// Older than the newest of its series.
    Old,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Exemplars {
    capacity: usize,
    ring: VecDeque<(SeriesRef, StoredExemplar)>,
    /// For each series the newest exemplar and how many it has in the ring.
    newest: HashMap<SeriesRef, (StoredExemplar, usize)>,
}

impl Exemplars {
    pub(crate) fn new(capacity: usize) -> Self {
        Exemplars { capacity, ..Exemplars::default() }
    }

    /// Whether an exemplar would be stored.
    pub(crate) fn check(&self, series: SeriesRef, e: &StoredExemplar) -> Kept {
        match self.newest.get(&series) {
            Some((old, _)) if old.t == e.t && old.value.to_bits() == e.value.to_bits() && old.labels == e.labels => {
                Kept::Same
            }
            Some((old, _)) if e.t < old.t => Kept::Old,
            _ if self.capacity == 0 => Kept::Same,
            _ => Kept::Stored,
        }
    }

    pub(crate) fn add(&mut self, series: SeriesRef, e: StoredExemplar) -> Kept {
        let kept = self.check(series, &e);
        if kept != Kept::Stored {
            return kept;
        }
        if self.ring.len() >= self.capacity
            && let Some((old, _)) = self.ring.pop_front()
            && let Some(entry) = self.newest.get_mut(&old)
        {
            entry.1 -= 1;
            if entry.1 == 0 {
                self.newest.remove(&old);
            }
        }
        let entry = self.newest.entry(series).or_insert_with(|| (e.clone(), 0));
        entry.0 = e.clone();
        entry.1 += 1;
        self.ring.push_back((series, e));
        kept
    }

    /// All of them, oldest stored first.
    pub(crate) fn all(&self) -> &VecDeque<(SeriesRef, StoredExemplar)> {
        &self.ring
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_without_repeats_and_in_order() {
        let mut x = Exemplars::new(3);
        let e = |t| StoredExemplar { labels: Labels::empty(), value: 1.0, t };
        let (a, b) = (SeriesRef::new(1, 1), SeriesRef::new(2, 1));
        let kept = [x.add(a, e(5)), x.add(a, e(5)), x.add(a, e(4)), x.add(b, e(1)), x.add(a, e(6)), x.add(b, e(2))];
        assert_eq!(kept, [Kept::Stored, Kept::Same, Kept::Old, Kept::Stored, Kept::Stored, Kept::Stored]);
        assert_eq!(x.all().iter().map(|(s, e)| (s.slot(), e.t)).collect::<Vec<_>>(), [(2, 1), (1, 6), (2, 2)]);
        x.add(b, e(3));
        x.add(b, e(4));
        assert!(x.newest.contains_key(&b) && !x.newest.contains_key(&a));
        assert_eq!(Exemplars::new(0).add(a, e(1)), Kept::Same);
    }
}
