//! All streams the store knows, by number and by label.
//!
//! Numbers live as long as the process; each partition keeps its own durable table (see [`super::stream_table`]).

use std::collections::{BTreeSet, HashMap};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use super::metrics;
use crate::model::{Labels, MatchOp, Matcher};

/// The number of a stream, valid while the store is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u32);

impl StreamId {
    /// A stream whose labels are lost.
    pub(super) const LOST: StreamId = StreamId(u32::MAX);
}

/// See the module.
#[derive(Default)]
pub struct StreamIndex {
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    ids: HashMap<Labels, StreamId>,
    labels: Vec<Labels>,
    /// name -> value -> streams, ascending.
    postings: HashMap<String, HashMap<String, Vec<StreamId>>>,
}

impl StreamIndex {
    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of a stream; a new one gets the next.
    pub fn intern(&self, labels: &Labels) -> StreamId {
        if let Some(id) = self.read().ids.get(labels) {
            return *id;
        }
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *inner;
        let next = StreamId(inner.labels.len() as u32);
        let id = *inner.ids.entry(labels.clone()).or_insert(next);
        if id == next {
            inner.labels.push(labels.clone());
            for (n, v) in labels {
                inner.postings.entry(n.to_owned()).or_default().entry(v.to_owned()).or_default().push(id);
            }
            metrics::STREAMS.set(inner.labels.len() as i64);
        }
        id
    }

    /// How many streams there are.
    pub fn len(&self) -> usize {
        self.read().labels.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The labels of a stream.
    pub fn labels(&self, id: StreamId) -> Labels {
        self.read().labels.get(id.0 as usize).cloned().unwrap_or_default()
    }

    /// The streams that satisfy all matchers, ascending.
    pub fn select(&self, matchers: &[Matcher]) -> BTreeSet<StreamId> {
        let inner = self.read();
        let satisfied = |id: &StreamId| {
            inner.labels.get(id.0 as usize).is_some_and(|l| matchers.iter().all(|m| m.matches_labels(l)))
        };
        // The shortest list that an equality gives is the one to check the other matchers on.
        let shortest = matchers
            .iter()
            .filter(|m| m.op() == MatchOp::Equal && !m.value().is_empty())
            .map(|m| {
                inner.postings.get(m.name()).and_then(|values| values.get(m.value())).map_or(&[][..], Vec::as_slice)
            })
            .min_by_key(|list| list.len());
        match shortest {
            Some(list) => list.iter().copied().filter(satisfied).collect(),
            None => (0..inner.labels.len() as u32).map(StreamId).filter(satisfied).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selects() {
        let index = StreamIndex::default();
        let l = |pairs: &[(&str, &str)]| Labels::from_pairs(pairs.iter().copied());
        let a = index.intern(&l(&[("app", "a"), ("env", "x")]));
        let b = index.intern(&l(&[("app", "b")]));
        assert_eq!(index.intern(&l(&[("app", "a"), ("env", "x")])), a);
        let re = |n: &str, op, v: &str| Matcher::new(n, op, v).unwrap();
        for (matchers, ids) in [
            (vec![], vec![a, b]),
            (vec![Matcher::equal("app", "a")], vec![a]),
            (vec![Matcher::equal("env", "")], vec![b]),
            (vec![re("app", MatchOp::Regex, "a|b"), re("env", MatchOp::NotEqual, "x")], vec![b]),
            (vec![Matcher::equal("app", "c")], vec![]),
        ] {
            assert_eq!(index.select(&matchers).into_iter().collect::<Vec<_>>(), ids, "{matchers:?}");
        }
        assert_eq!(index.labels(b), l(&[("app", "b")]));
    }
}
