//! The head: the newest hours of all series, in memory. One lock guards it; what appenders ask most often is answered without
//! the lock by [`lookup`].

pub(crate) mod aliases;
pub(crate) mod chunk_files;
pub(crate) mod closed;
pub(crate) mod late;
pub(crate) mod lookup;
pub(crate) mod series;
pub(crate) mod series_state;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use self::chunk_files::{ChunkFile, FileChunk};
use self::closed::Closed;
use self::lookup::{Lookup, LookupView};
use self::series::{Series, WriteRate};
use super::SeriesRef;
use super::chunk::{Chunk, bounds, is_histograms};
use super::label_index::LabelIndex;
use super::self_metrics::{HEAD_CHUNKS, HEAD_SERIES, SERIES_CREATED, SERIES_REMOVED};
use super::tombstones::HeadTombstones;
use crate::model::TimestampMs;
use crate::model::labels::packed_labels;

/// Series in one allocation: growing must not copy a million of them.
const PAGE: usize = 1024;

/// Epochs passed over where definitions were lost: one is used for each block that is cut, so that these are years.
const LOST_EPOCHS: u32 = 1 << 16;

/// See the module.
#[derive(Debug)]
pub(crate) struct Head {
    /// Which series carry which labels.
    pub labels: LabelIndex,
    pages: Vec<Vec<Series>>,
    free: Vec<u32>,
    /// Given to new series; raised whenever places become free, so that an old reference never means a new series.
    pub epoch: u32,
    /// Time of the oldest sample ever stored since the last cut.
    pub min_t: TimestampMs,
    /// Time of the newest sample.
    pub max_t: TimestampMs,
    /// Samples before this are in blocks.
    pub visible_from: TimestampMs,
    /// Series with closed chunks that are to go into a file.
    pub to_pack: Vec<u32>,
    /// What is deleted of what is in memory.
    pub tombstones: HeadTombstones,
}

impl Default for Head {
    fn default() -> Self {
        Head {
            labels: LabelIndex::default(),
            pages: Vec::new(),
            free: Vec::new(),
            epoch: 1,
            min_t: TimestampMs::MAX,
            max_t: TimestampMs::MIN,
            visible_from: TimestampMs::MIN,
            to_pack: Vec::new(),
            tombstones: HeadTombstones::default(),
        }
    }
}

impl Head {
    /// The series in a place, if there is one.
    pub(crate) fn at(&self, slot: u32) -> Option<&Series> {
        self.pages.get(slot as usize / PAGE)?.get(slot as usize % PAGE).filter(|s| s.epoch != 0)
    }

    /// The series of a reference.
    #[inline]
    pub(crate) fn get_mut(&mut self, r: SeriesRef) -> Option<&mut Series> {
        let slot = r.slot() as usize;
        self.pages.get_mut(slot / PAGE)?.get_mut(slot % PAGE).filter(|s| s.epoch == r.epoch() && s.epoch != 0)
    }

    /// The series of a reference.
    pub(crate) fn get(&self, r: SeriesRef) -> Option<&Series> {
        self.at(r.slot()).filter(|s| s.epoch == r.epoch())
    }

    /// How many places there are, free ones counted.
    pub(crate) fn slots(&self) -> u32 {
        self.pages.iter().map(|p| p.len() as u32).sum()
    }

    /// Makes a series that is not there yet.
    pub(crate) fn create(&mut self, lookup: &Lookup, packed: &str, hash: u128) -> SeriesRef {
        let slot = self.free.pop().unwrap_or_else(|| self.slots_end());
        let r = SeriesRef::new(slot, self.epoch);
        self.place(lookup, packed, hash, r);
        SERIES_CREATED.inc();
        r
    }

    fn slots_end(&self) -> u32 {
        match self.pages.split_last() {
            Some((last, full)) => (full.len() * PAGE + last.len()) as u32,
            None => 0,
        }
    }

    /// Makes a series under a reference that the log or a checkpoint gives it. Whatever holds the place is gone since.
    pub(crate) fn restore(&mut self, lookup: &Lookup, packed: &str, r: SeriesRef) {
        if let Some(old) = self.at(r.slot()) {
            if old.epoch == r.epoch() {
                return;
            }
            self.remove(lookup, r.slot());
        }
        self.epoch = self.epoch.max(r.epoch());
        let hash = lookup.hash(packed);
        // The same labels under an older reference: the series was dropped and came back.
        if let Some(old) = lookup.view().find(hash) {
            self.remove(lookup, old.slot());
        }
        self.place(lookup, packed, hash, r);
        if let Some(f) = lookup.view().facts(r) {
            f.logged.store(true, Ordering::Relaxed);
        }
    }

    /// Makes a series that a checkpoint holds; `packed` are the labels that `pairs` number. A place that is taken stays as it is.
    pub(crate) fn restore_whole(&mut self, lookup: &Lookup, r: SeriesRef, pairs: Box<[u32]>, packed: &str) {
        if self.at(r.slot()).is_some() {
            return;
        }
        self.epoch = self.epoch.max(r.epoch());
        self.place_numbered(lookup, pairs, lookup.hash(packed), r);
        if let Some(f) = lookup.view().facts(r) {
            f.logged.store(true, Ordering::Relaxed);
        }
    }

    /// Gives a series without samples what a checkpoint says it holds.
    pub(crate) fn take_state(&mut self, view: &LookupView, r: SeriesRef, state: Series) {
        let Some(s) = self.get_mut(r).filter(|s| s.is_empty()) else { return };
        let (newest, oldest) = (state.newest, state.oldest());
        *s = Series { pairs: std::mem::take(&mut s.pairs), epoch: s.epoch, ..state };
        HEAD_CHUNKS.add(s.chunk_count() as i64);
        if s.closed.iter().any(|c| matches!(c, Closed::Memory(_))) {
            self.to_pack.push(r.slot());
        }
        self.note_times(view, r, oldest, newest);
    }

    /// Gives a series whose state was lost a chunk that was found in a file. Says whether it did.
    pub(crate) fn adopt(
        &mut self,
        lookup: &Lookup,
        r: SeriesRef,
        chunk: &[u8],
        (file, offset, len): (Arc<ChunkFile>, u32, u32),
    ) -> bool {
        let visible_from = self.visible_from;
        let Some(s) = self.get_mut(r) else { return false };
        let Some(((mint, maxt), samples)) = bounds(chunk) else { return false };
        let overlaps = s.has_between(mint, maxt);
        let span = u32::try_from(maxt.saturating_sub(mint));
        let (false, true, Ok(span)) = (overlaps, maxt >= visible_from, span) else { return false };
        let kind = (samples, is_histograms(chunk));
        s.closed.push(Closed::File(FileChunk::new(file, (mint, span), (offset, len), kind)));
        HEAD_CHUNKS.inc();
        s.newest = s.newest.max(maxt);
        let newest = s.newest;
        self.note_times(&lookup.view(), r, mint, newest);
        true
    }

    fn note_times(&mut self, view: &LookupView, r: SeriesRef, oldest: TimestampMs, newest: TimestampMs) {
        self.min_t = self.min_t.min(oldest);
        self.max_t = self.max_t.max(newest);
        if let Some(f) = view.facts(r) {
            f.last_t.store(newest, Ordering::Relaxed);
        }
    }

    /// Drops what lies before `t` after a checkpoint was loaded, and finds the times of what is left.
    pub(crate) fn forget_before(&mut self, t: TimestampMs) {
        (self.min_t, self.max_t) = (TimestampMs::MAX, TimestampMs::MIN);
        for s in self.pages.iter_mut().flatten().filter(|s| s.epoch != 0) {
            s.drop_before(t);
            if !s.is_empty() {
                self.min_t = self.min_t.min(s.oldest());
                self.max_t = self.max_t.max(s.newest);
            }
        }
    }

    fn place(&mut self, lookup: &Lookup, packed: &str, hash: u128, r: SeriesRef) {
        let labels = &mut self.labels;
        let pairs: Box<[u32]> = packed_labels(packed).map(|(text, n, v)| labels.intern(text, n, v)).collect();
        self.place_numbered(lookup, pairs, hash, r);
    }

    fn place_numbered(&mut self, lookup: &Lookup, pairs: Box<[u32]>, hash: u128, r: SeriesRef) {
        let slot = r.slot() as usize;
        self.labels.add(r.slot(), &pairs);
        while self.slots_end() as usize <= slot {
            if self.pages.last().is_none_or(|p| p.len() == PAGE) {
                self.pages.push(Vec::with_capacity(PAGE));
            }
            if let Some(p) = self.pages.last_mut() {
                p.push(Series::default());
            }
        }
        if let Some(s) = self.pages.get_mut(slot / PAGE).and_then(|p| p.get_mut(slot % PAGE)) {
            *s = Series::new(pairs, r.epoch());
        }
        lookup.insert(hash, r.slot(), r.epoch(), TimestampMs::MIN);
        HEAD_SERIES.inc();
    }

    fn remove(&mut self, lookup: &Lookup, slot: u32) {
        let Some(s) = self.pages.get_mut(slot as usize / PAGE).and_then(|p| p.get_mut(slot as usize % PAGE)) else {
            return;
        };
        let old = std::mem::take(s);
        let mut packed = String::new();
        self.labels.packed(&old.pairs, &mut packed);
        self.labels.remove(slot, &old.pairs);
        lookup.remove(lookup.hash(&packed), slot);
        HEAD_SERIES.dec();
    }

    /// When all series of the log are known: places without a series become free, and new series get a new epoch. If definitions were lost
    /// it is one that theirs cannot have reached, so that their samples do not go to others.
    pub(crate) fn finish_replay(&mut self, lost: bool) {
        self.epoch = self.epoch.saturating_add(if lost { LOST_EPOCHS } else { 1 });
        self.free = (0..self.slots_end()).rev().filter(|slot| self.at(*slot).is_none()).collect();
    }

    /// Drops the chunks before `t` of the series in some places, and the series that were empty the last time too.
    pub(crate) fn drop_before(&mut self, lookup: &Lookup, t: TimestampMs, slots: std::ops::Range<u32>) -> u64 {
        let mut gone = Vec::new();
        for slot in slots {
            let Some(s) = self.pages.get_mut(slot as usize / PAGE).and_then(|p| p.get_mut(slot as usize % PAGE)) else {
                break;
            };
            if s.epoch == 0 {
                continue;
            }
            s.drop_before(t);
            if !s.is_empty() {
                s.idle = false;
            } else if std::mem::replace(&mut s.idle, true) {
                // Only in the second round: a series without samples may belong to a batch under way.
                gone.push(slot);
            }
        }
        for slot in &gone {
            self.remove(lookup, *slot);
        }
        self.free.extend(&gone);
        SERIES_REMOVED.inc_by(gone.len() as u64);
        gone.len() as u64
    }

    /// Ends a round of [`Self::drop_before`].
    pub(crate) fn finish_drop(&mut self) {
        self.labels.sweep();
        self.epoch = self.epoch.saturating_add(1);
    }

    /// Puts a chunk of a series that went into a file in the place of that in memory, if it still is there.
    pub(crate) fn exchange(&mut self, r: SeriesRef, old: &Arc<Chunk>, new: FileChunk) {
        let Some(s) = self.get_mut(r) else { return };
        if let Some(c) = s.closed.iter_mut().find(|c| matches!(c, Closed::Memory(m) if Arc::ptr_eq(m, old))) {
            *c = Closed::File(new);
        }
    }

    /// Closes the open float chunks of the series in some places that are not likely to grow, see [`Series::close_early`]; `clock` is the
    /// time of now. Says how many.
    pub(crate) fn close_early(&mut self, slots: std::ops::Range<u32>, rate: WriteRate, clock: TimestampMs) -> u64 {
        let before = self.to_pack.len();
        // A sender whose clock is ahead makes nobody else late.
        let newest = self.max_t.min(clock);
        for slot in slots {
            let series = self.pages.get_mut(slot as usize / PAGE).and_then(|p| p.get_mut(slot as usize % PAGE));
            if series.is_some_and(|s| s.close_early(rate, newest, clock)) {
                self.to_pack.push(slot);
            }
        }
        (self.to_pack.len() - before) as u64
    }
}
