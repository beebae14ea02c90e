//! Finds series without a lock: a hash table and a page of facts for each series, both read through atomics.
//!
//! Only a thread that holds the head's write lock changes them; readers may see the state of a moment ago, and then take the slow
//! way through the lock. A label set is known by 96 bits of XXH3 under a secret drawn at start, so that nobody outside can make two
//! label sets collide and no comparison of text is needed.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use xxhash_rust::xxh3::xxh3_128_with_secret;

use crate::model::TimestampMs;
use crate::tsdb::SeriesRef;

/// Series on a page of facts.
const PAGE: usize = 4096;
/// Marks a slot of the table whose series is gone.
const GONE: u64 = u32::MAX as u64;

/// What appenders need to know about a series.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    hash: AtomicU64,
    /// Time of the newest sample.
    pub last_t: AtomicI64,
    /// Zero if there is no series in this place.
    epoch: AtomicU32,
    /// Whether the definition of the series is in the log.
    pub logged: AtomicBool,
}

#[derive(Debug)]
struct Table {
    slots: Box<[AtomicU64]>,
}

type Pages = Vec<Arc<[Facts]>>;

/// The secret and the tables.
pub(crate) struct Lookup {
    secret: [u8; 192],
    table: ArcSwap<Table>,
    pages: ArcSwap<Pages>,
    /// Slots of the table that are not free (changed under the head's write lock only).
    used: AtomicU64,
}

/// The tables as they were at some moment; cheap to use many times.
pub(crate) struct LookupView {
    table: Arc<Table>,
    pages: Arc<Pages>,
}

impl Default for Lookup {
    fn default() -> Self {
        let mut secret = [0u8; 192];
        for (i, part) in secret.chunks_mut(8).enumerate() {
            // RandomState takes its keys from the system's random source.
            part.copy_from_slice(&RandomState::new().hash_one(i).to_le_bytes());
        }
        Lookup {
            secret,
            table: ArcSwap::from_pointee(Table::new(64)),
            pages: ArcSwap::default(),
            used: AtomicU64::new(0),
        }
    }
}

impl Table {
    fn new(slots: usize) -> Self {
        Table { slots: (0..slots).map(|_| AtomicU64::new(0)).collect() }
    }

    fn place(&self, entry: u64) {
        let mask = self.slots.len() - 1;
        let mut i = (entry >> 32) as usize & mask;
        while let Some(slot) = self.slots.get(i) {
            if slot.load(Ordering::Relaxed) == 0 {
                slot.store(entry, Ordering::Release);
                return;
            }
            i = (i + 1) & mask;
        }
    }
}

impl Lookup {
    /// The identity of a label set given in packed form.
    pub(crate) fn hash(&self, packed: &str) -> u128 {
        self.hash_bytes(packed.as_bytes())
    }

    /// The identity of other bytes.
    pub(crate) fn hash_bytes(&self, bytes: &[u8]) -> u128 {
        xxh3_128_with_secret(bytes, &self.secret)
    }

    /// How many series there are, about: some may be gone.
    pub(crate) fn series(&self) -> usize {
        self.used.load(Ordering::Relaxed) as usize
    }

    pub(crate) fn view(&self) -> LookupView {
        LookupView { table: self.table.load_full(), pages: self.pages.load_full() }
    }

    /// Enters a series. The caller holds the head's write lock.
    pub(crate) fn insert(&self, hash: u128, slot: u32, epoch: u32, last_t: TimestampMs) {
        let mut pages = self.pages.load_full();
        if pages.len() * PAGE <= slot as usize {
            let mut more = (*pages).clone();
            while more.len() * PAGE <= slot as usize {
                more.push((0..PAGE).map(|_| Facts::default()).collect());
            }
            pages = Arc::new(more);
            self.pages.store(pages.clone());
        }
        if let Some(f) = facts(&pages, slot) {
            f.hash.store(hash as u64, Ordering::Relaxed);
            f.last_t.store(last_t, Ordering::Relaxed);
            f.logged.store(false, Ordering::Relaxed);
            f.epoch.store(epoch, Ordering::Release);
        }
        let table = self.table.load_full();
        let used = self.used.load(Ordering::Relaxed) as usize + 1;
        let entry = (((hash >> 96) as u64) << 32) | u64::from(slot + 1);
        if used * 4 <= table.slots.len() * 3 {
            table.place(entry);
            self.used.store(used as u64, Ordering::Relaxed);
            return;
        }
        let live = |e: &u64| *e != 0 && *e & GONE != GONE;
        let entries: Vec<u64> = table.slots.iter().map(|s| s.load(Ordering::Relaxed)).filter(live).collect();
        let grown = Table::new(((entries.len() + 1) * 2).next_power_of_two().max(64));
        for e in entries.iter().chain([&entry]) {
            grown.place(*e);
        }
        self.used.store(entries.len() as u64 + 1, Ordering::Relaxed);
        self.table.store(Arc::new(grown));
    }

    /// Takes a series out. The caller holds the head's write lock.
    pub(crate) fn remove(&self, hash: u128, slot: u32) {
        if let Some(f) = facts(&self.pages.load(), slot) {
            f.epoch.store(0, Ordering::Release);
        }
        let table = self.table.load();
        let mask = table.slots.len() - 1;
        let entry = (((hash >> 96) as u64) << 32) | u64::from(slot + 1);
        let mut i = (entry >> 32) as usize & mask;
        while let Some(s) = table.slots.get(i) {
            match s.load(Ordering::Relaxed) {
                0 => return,
                e if e == entry => return s.store((entry & !GONE) | GONE, Ordering::Release),
                _ => i = (i + 1) & mask,
            }
        }
    }
}

fn facts(pages: &Pages, slot: u32) -> Option<&Facts> {
    pages.get(slot as usize / PAGE)?.get(slot as usize % PAGE)
}

impl LookupView {
    /// The series with this identity, if this view knows it.
    pub(crate) fn find(&self, hash: u128) -> Option<SeriesRef> {
        let fragment = (hash >> 96) as u64;
        let mask = self.table.slots.len() - 1;
        let mut i = fragment as usize & mask;
        loop {
            let entry = self.table.slots.get(i)?.load(Ordering::Acquire);
            if entry == 0 {
                return None;
            }
            if entry >> 32 == fragment && entry & GONE != GONE {
                let slot = (entry as u32) - 1;
                if let Some(f) = facts(&self.pages, slot) {
                    // The place may be given to another series while we look: the epoch must be the same before and after.
                    let epoch = f.epoch.load(Ordering::Acquire);
                    let same = f.hash.load(Ordering::Acquire) == hash as u64;
                    if same && epoch != 0 && f.epoch.load(Ordering::Acquire) == epoch {
                        return Some(SeriesRef::new(slot, epoch));
                    }
                }
            }
            i = (i + 1) & mask;
        }
    }

    /// The facts about a series, if the reference is still good.
    #[inline]
    pub(crate) fn facts(&self, series: SeriesRef) -> Option<&Facts> {
        let known = facts(&self.pages, series.slot())?;
        (series.epoch() != 0 && known.epoch.load(Ordering::Acquire) == series.epoch()).then_some(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_there_and_nothing_else() {
        let lookup = Lookup::default();
        let hash = |i: u32| lookup.hash(&format!("series {i}"));
        for i in 0..10_000 {
            lookup.insert(hash(i), i, 1, 0);
        }
        for i in (0..10_000).step_by(2) {
            lookup.remove(hash(i), i);
        }
        let stale = lookup.view();
        for i in (0..10_000).step_by(4) {
            lookup.insert(hash(20_000 + i), i, 2, 5);
        }
        let view = lookup.view();
        for i in 0..10_000u32 {
            let want = (i % 2 == 1).then(|| SeriesRef::new(i, 1));
            assert_eq!(view.find(hash(i)), want, "{i}");
            let again = (i % 4 == 0).then(|| SeriesRef::new(i, 2));
            assert_eq!(view.find(hash(20_000 + i)), again, "{i}");
            assert_eq!(view.facts(SeriesRef::new(i, 1)).is_some(), i % 2 == 1);
            assert!(stale.find(hash(i)).is_none_or(|r| r == SeriesRef::new(i, 1)));
        }
    }
}
