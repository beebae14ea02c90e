//! What one Alertmanager has not taken yet: the newest version of each alert, the oldest entry first.

use std::collections::{BTreeMap, HashMap};

use crate::model::Labels;
use crate::model::alert::Alert;

/// Alerts that may wait for one Alertmanager (Prometheus' default).
pub const CAPACITY: usize = 10_000;

/// A waiting alert; the number tells this version from a later one.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    /// Grows with each [`Queue::push`].
    pub number: u64,
    /// The alert.
    pub alert: Alert,
}

/// See the module. An alert keeps its place when a newer version of it comes, so that none waits for ever.
#[derive(Debug, Default)]
pub struct Queue {
    /// By place, which is the number of the first version that took it.
    waiting: BTreeMap<u64, Waiting>,
    places: HashMap<Labels, u64>,
    last: u64,
}

impl Queue {
    /// Takes an alert; gives how many older ones fell out for it.
    pub fn push(&mut self, alert: Alert) -> usize {
        self.last += 1;
        let number = self.last;
        let place = *self.places.entry(alert.labels.clone()).or_insert(number);
        self.waiting.insert(place, Waiting { number, alert });
        let mut lost = 0;
        while self.waiting.len() > CAPACITY {
            let Some((_, old)) = self.waiting.pop_first() else { break };
            self.places.remove(&old.alert.labels);
            lost += 1;
        }
        lost
    }

    /// The first so many, which stay until [`Queue::done`] is told of them.
    pub fn first(&self, n: usize) -> Vec<Waiting> {
        self.waiting.values().take(n).cloned().collect()
    }

    /// Takes out what was sent. An alert of which a newer version has come meanwhile stays, and goes to the end.
    pub fn done(&mut self, sent: &[Waiting]) {
        for w in sent {
            let Some(place) = self.places.remove(&w.alert.labels) else { continue };
            if let Some(newer) = self.waiting.remove(&place).filter(|now| now.number != w.number) {
                self.places.insert(newer.alert.labels.clone(), newer.number);
                self.waiting.insert(newer.number, newer);
            }
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(name: &str, ends_at: i64) -> Alert {
        Alert {
            labels: Labels::from_pairs([("alertname", name)]),
            annotations: Labels::empty(),
            starts_at: 0,
            ends_at,
            updated_at: 0,
            generator_url: String::new(),
        }
    }

    fn names(q: &Queue) -> Vec<(String, i64)> {
        let shown = |w: Waiting| (w.alert.labels.value("alertname").to_owned(), w.alert.ends_at);
        q.first(usize::MAX).into_iter().map(shown).collect()
    }

    #[test]
    fn a_newer_version_takes_the_place_of_the_older() {
        let mut q = Queue::default();
        for a in [alert("a", 1), alert("b", 1), alert("a", 2)] {
            assert_eq!(q.push(a), 0);
        }
        assert_eq!(names(&q), [("a".to_owned(), 2), ("b".to_owned(), 1)]);
        let batch = q.first(1);
        q.push(alert("a", 3));
        q.done(&batch);
        assert_eq!(names(&q), [("b".to_owned(), 1), ("a".to_owned(), 3)], "what came during the send is not lost");
        let all = q.first(10);
        q.done(&all);
        assert!(q.waiting.is_empty() && q.places.is_empty());
        q.done(&all);
    }

    #[test]
    fn the_oldest_fall_out() {
        let mut q = Queue::default();
        let lost: usize = (0..CAPACITY + 3).map(|i| q.push(alert(&i.to_string(), 0))).sum();
        assert_eq!((lost, q.len(), q.places.len()), (3, CAPACITY, CAPACITY));
        assert_eq!(names(&q)[0].0, "3");
    }
}
