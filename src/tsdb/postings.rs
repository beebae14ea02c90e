//! Posting lists: which series carry a label.

use roaring::RoaringBitmap;

/// Above this a roaring bitmap is smaller than four bytes for each number and its fixed cost no longer counts.
const FEW: usize = 128;

/// A set of series numbers. Most label values belong to one series or a few, for which a bitmap's 200 bytes would be too much.
#[derive(Debug, Default)]
pub(crate) enum Postings {
    /// No series.
    #[default]
    Empty,
    /// One series.
    One(u32),
    /// Sorted.
    Few(Vec<u32>),
    /// More than that.
    Many(Box<RoaringBitmap>),
}

impl Postings {
    pub(crate) fn insert(&mut self, id: u32) {
        match self {
            Postings::Empty => *self = Postings::One(id),
            Postings::One(first) if *first == id => {}
            Postings::One(first) => *self = Postings::Few(vec![(*first).min(id), (*first).max(id)]),
            Postings::Few(ids) => {
                if let Err(i) = ids.binary_search(&id) {
                    if ids.len() < FEW {
                        ids.insert(i, id);
                    } else {
                        let mut all: RoaringBitmap = ids.iter().collect();
                        all.insert(id);
                        *self = Postings::Many(Box::new(all));
                    }
                }
            }
            Postings::Many(ids) => {
                ids.insert(id);
            }
        }
    }

    pub(crate) fn remove(&mut self, id: u32) {
        match self {
            Postings::One(one) if *one == id => *self = Postings::Empty,
            Postings::Empty | Postings::One(_) => {}
            Postings::Few(ids) => {
                ids.retain(|i| *i != id);
                if ids.is_empty() {
                    *self = Postings::Empty;
                }
            }
            Postings::Many(ids) => {
                ids.remove(id);
                if ids.is_empty() {
                    *self = Postings::Empty;
                }
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Postings::Empty)
    }

    /// How many members it has.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Postings::Empty => 0,
            Postings::One(_) => 1,
            Postings::Few(ids) => ids.len() as u64,
            Postings::Many(ids) => ids.len(),
        }
    }

    pub(crate) fn add_to(&self, all: &mut RoaringBitmap) {
        match self {
            Postings::Empty => {}
            Postings::One(id) => {
                all.insert(*id);
            }
            Postings::Few(ids) => all.extend(ids.iter()),
            Postings::Many(ids) => *all |= &**ids,
        }
    }

    pub(crate) fn remove_from(&self, all: &mut RoaringBitmap) {
        match self {
            Postings::Empty => {}
            Postings::One(id) => {
                all.remove(*id);
            }
            Postings::Few(ids) => {
                for id in ids {
                    all.remove(*id);
                }
            }
            Postings::Many(ids) => *all -= &**ids,
        }
    }

    /// Whether it has a member in common with `set`.
    pub(crate) fn meets(&self, set: &RoaringBitmap) -> bool {
        match self {
            Postings::Empty => false,
            Postings::One(id) => set.contains(*id),
            Postings::Few(ids) => ids.iter().any(|id| set.contains(*id)),
            Postings::Many(ids) => !set.is_disjoint(ids),
        }
    }

    /// Keeps of `all` what is in this set.
    pub(crate) fn intersect(&self, all: &mut RoaringBitmap) {
        match self {
            Postings::Empty => all.clear(),
            Postings::One(id) => *all = all.contains(*id).then_some(*id).into_iter().collect(),
            Postings::Few(ids) => *all = ids.iter().copied().filter(|id| all.contains(*id)).collect(),
            Postings::Many(ids) => *all &= &**ids,
        }
    }
}
