//! Remembers which series the bytes of a sender's labels named: senders write the same bytes again and again, and taking them apart
//! costs more than storing the sample.
//!
//! A table of fixed size that forgets. It is read and written without a lock; an entry is two words, of which the second is the hash
//! mixed with the first, so that halves of different entries do not pass for one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;

use crate::tsdb::SeriesRef;

/// Entries that lie in one line of the processor's cache.
const WAYS: usize = 4;
/// Buckets of the smallest table.
const LEAST_BUCKETS: usize = 64;
/// Buckets of the largest table, 128 MiB: eight million series.
const MOST_BUCKETS: usize = 1 << 21;

#[derive(Debug, Default)]
struct Entry {
    series: AtomicU64,
    mixed: AtomicU64,
}

#[derive(Debug)]
struct Table {
    buckets: Box<[[Entry; WAYS]]>,
    /// Entries that are not free any more.
    used: AtomicUsize,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Aliases {
    table: ArcSwap<Table>,
}

/// The table as it was at some moment.
pub(crate) struct AliasView(Arc<Table>);

impl Table {
    fn new(buckets: usize) -> Table {
        Table { buckets: (0..buckets).map(|_| Default::default()).collect(), used: AtomicUsize::new(0) }
    }

    fn bucket(&self, hash: u128) -> Option<&[Entry; WAYS]> {
        self.buckets.get(hash as usize & (self.buckets.len() - 1))
    }
}

impl Default for Aliases {
    fn default() -> Self {
        Aliases { table: ArcSwap::from_pointee(Table::new(LEAST_BUCKETS)) }
    }
}

impl AliasView {
    /// The series that was named by bytes with this hash. It may be gone since.
    pub(crate) fn find(&self, hash: u128) -> Option<SeriesRef> {
        let key = (hash >> 64) as u64;
        self.0.bucket(hash)?.iter().find_map(|e| {
            let series = e.series.load(Ordering::Relaxed);
            let mixed = e.mixed.load(Ordering::Relaxed);
            (series != 0 && mixed ^ series == key).then_some(SeriesRef(series))
        })
    }
}

impl Aliases {
    pub(crate) fn view(&self) -> AliasView {
        AliasView(self.table.load_full())
    }

    /// Remembers a series of a store that has so many. A table that is nearly full (of series that are gone, perhaps) is exchanged for an
    /// empty one that suits their number.
    pub(crate) fn remember(&self, hash: u128, series: SeriesRef, of: usize) {
        let table = self.table.load();
        let Some(bucket) = table.bucket(hash) else { return };
        let key = (hash >> 64) as u64;
        let same = |e: &&Entry| {
            let old = e.series.load(Ordering::Relaxed);
            old == 0 || e.mixed.load(Ordering::Relaxed) ^ old == key
        };
        // The key's own bits choose which one goes if all are taken.
        let Some(entry) = bucket.iter().find(same).or(bucket.get((key >> 32) as usize % WAYS)) else { return };
        let free = entry.series.swap(series.0, Ordering::Relaxed) == 0;
        entry.mixed.store(series.0 ^ key, Ordering::Relaxed);
        if free {
            let used = table.used.fetch_add(1, Ordering::Relaxed) + 1;
            if used * 4 >= table.buckets.len() * WAYS * 3 {
                let wanted = (of * 2).div_ceil(WAYS).next_power_of_two();
                self.table.store(Arc::new(Table::new(wanted.clamp(LEAST_BUCKETS, MOST_BUCKETS))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(i: u32) -> u128 {
        xxhash_rust::xxh3::xxh3_128(&i.to_le_bytes())
    }

    #[test]
    fn what_is_found_is_right_and_most_is_found() {
        let aliases = Aliases::default();
        let series = |i: u32| SeriesRef::new(i, i % 7 + 1);
        for _round in 0..12 {
            for i in 0..5000 {
                let found = aliases.view().find(hash(i));
                assert!(found.is_none_or(|r| r == series(i)), "{i}");
                if found.is_none() {
                    aliases.remember(hash(i), series(i), 5000);
                }
            }
        }
        let view = aliases.view();
        let known = (0..5000).filter(|i| view.find(hash(*i)) == Some(series(*i))).count();
        assert!(known > 4700, "{known}");
        assert_eq!(view.find(hash(9999)), None);
        aliases.remember(hash(3), SeriesRef::new(77, 1), 5000);
        assert_eq!(aliases.view().find(hash(3)), Some(SeriesRef::new(77, 1)));
    }
}
