//! Series on their way into a [`Selection`]: gathered from the head and from blocks, numbered alike, put in order of their labels.
//!
//! A series is some numbers in a few long lists and no piece of memory of its own: a query may ask for a million of them.

use std::collections::HashMap;
use std::sync::Arc;

use super::SeriesRef;
use super::block::{Block, BlockIndex, ChunkRef};
use super::head::Head;
use super::head::series::Series;
use super::label_index::LabelIndex;
use super::selection::{Part, Rare, Selection};
use crate::model::{LabelTable, TimestampMs};

/// So many series are captured by several threads; a thread costs as much as some hundred of them.
const PARALLEL_SERIES: usize = 4096;
/// More threads would wait for the same memory.
const MAX_CAPTURING: usize = 8;

/// Series of one index, the head's or a block's.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// The labels of all series as their numbers in the index, series after series; where each ends.
    keys: Vec<u32>,
    key_ends: Vec<usize>,
    /// The parts of all series in order of time, series after series; where each ends.
    parts: Vec<Part>,
    part_ends: Vec<u32>,
    /// What was copied out of open chunks.
    copies: Vec<Vec<u8>>,
    /// What few series have, by their place.
    rare: HashMap<u32, Rare>,
}

impl Gathered {
    /// Adds a series by its labels alone.
    pub(crate) fn add_labels(&mut self, pairs: &[u32]) {
        self.keys.extend_from_slice(pairs);
        self.key_ends.push(self.keys.len());
        // Less than 2^32: a part is 40 bytes.
        self.part_ends.push(self.parts.len() as u32);
    }

    /// Adds the series of the head in `slots` that have samples in a range.
    pub(crate) fn add_head(
        &mut self,
        head: &Head,
        slots: impl Iterator<Item = u32>,
        mint: TimestampMs,
        maxt: TimestampMs,
    ) {
        self.reserve(slots.size_hint().0);
        for slot in slots {
            if let Some(s) = head.at(slot) {
                self.add_series(head, slot, s, mint, maxt);
            }
        }
    }

    /// Makes room for about so many series of one chunk.
    fn reserve(&mut self, series: usize) {
        self.key_ends.reserve(series);
        self.parts.reserve(series);
        self.part_ends.reserve(series);
    }

    /// The series of the head in `slots` that have samples in a range, without a hold on the head.
    pub(crate) fn page(
        head: &Head,
        slots: impl Iterator<Item = u32>,
        mint: TimestampMs,
        maxt: TimestampMs,
    ) -> Numbered {
        let mut gathered = Gathered::default();
        gathered.add_head(head, slots, mint, maxt);
        gathered.numbered(&head.labels)
    }

    fn add_series(&mut self, head: &Head, slot: u32, s: &Series, mint: TimestampMs, maxt: TimestampMs) {
        let from = self.parts.len();
        if self.copies.is_empty() {
            self.copies.push(Vec::new());
        }
        let number = self.copies.len() - 1;
        if let Some(copies) = self.copies.last_mut() {
            s.capture(mint, maxt, &mut self.parts, (number as u32, copies));
        }
        let mut rare = s.rare_between(mint, maxt).filter(|r| !r.has_no_samples());
        let deleted = head.tombstones.of(SeriesRef::new(slot, s.epoch), mint, maxt);
        if let Some(gone) = deleted.intervals() {
            let left: Vec<Part> = self.parts.drain(from..).filter(|p| !gone.covers(p.mint(), p.maxt())).collect();
            self.parts.extend(left);
        }
        if self.parts.len() == from && rare.is_none() {
            return;
        }
        if deleted.intervals().is_some() {
            rare.get_or_insert_default().deleted = deleted;
        }
        if let Some(rare) = rare {
            self.rare.insert(self.part_ends.len() as u32, rare);
        }
        self.add_labels(&s.pairs);
    }

    /// The same by several threads where there are many: the series lie all over the memory, and to wait for it is most of the work.
    ///
    /// They are threads of their own and not those of the pool for queries: the caller holds the lock of the head, and a thread of the
    /// pool may take up another query while it waits, which would ask for the same lock.
    pub(crate) fn add_head_in_parallel(&mut self, head: &Head, slots: &[u32], mint: TimestampMs, maxt: TimestampMs) {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(MAX_CAPTURING);
        if threads < 2 || slots.len() < PARALLEL_SERIES {
            return self.add_head(head, slots.iter().copied(), mint, maxt);
        }
        self.reserve(slots.len());
        let mut shares = slots.chunks(slots.len().div_ceil(threads));
        let own = shares.next().unwrap_or_default();
        let capture = |share: &[u32]| {
            let mut gathered = Gathered::default();
            gathered.add_head(head, share.iter().copied(), mint, maxt);
            gathered
        };
        std::thread::scope(|scope| {
            let started: Vec<_> = shares
                .map(|share| {
                    let name = std::thread::Builder::new().name("capture".to_owned());
                    (share, name.spawn_scoped(scope, move || capture(share)))
                })
                .collect();
            self.add_head(head, own.iter().copied(), mint, maxt);
            for (share, thread) in started {
                match thread.map(std::thread::ScopedJoinHandle::join) {
                    Ok(Ok(gathered)) => self.append(gathered, |key| key),
                    Ok(Err(panic)) => std::panic::resume_unwind(panic),
                    // No thread to be had: then alone.
                    Err(_) => self.add_head(head, share.iter().copied(), mint, maxt),
                }
            }
        });
    }

    /// Adds series of a block that has the number `at` in the selection.
    pub(crate) fn add_block(
        &mut self,
        (at, block): (u32, &Block),
        index: &BlockIndex,
        series: impl Iterator<Item = u32>,
        mint: TimestampMs,
        maxt: TimestampMs,
    ) {
        let stones = block.tombstones();
        for id in series {
            let deleted = stones.of(id, mint, maxt);
            let seen = |c: &&ChunkRef| {
                let gone = deleted.intervals().is_some_and(|d| d.covers(c.mint, c.maxt));
                c.mint <= maxt && c.maxt >= mint && !gone
            };
            let from = self.parts.len();
            let chunks = index.chunks(id).iter().filter(seen);
            self.parts.extend(chunks.map(|c| Part::Stored { block: at, chunk: *c }));
            if self.parts.len() == from {
                continue;
            }
            if deleted.intervals().is_some() {
                self.rare.insert(self.part_ends.len() as u32, Rare { deleted, ..Rare::default() });
            }
            self.add_labels(index.pairs(id));
        }
    }

    /// Numbers the labels anew by what of the index occurs.
    pub(crate) fn numbered(mut self, index: &LabelIndex) -> Numbered {
        let mut local = vec![0u32; index.pair_numbers()];
        let mut texts = Vec::new();
        for key in &mut self.keys {
            let Some(number) = local.get_mut(*key as usize) else { continue };
            if *number == 0 {
                texts.push(index.pair(*key).map_or_else(Arc::default, |p| p.text.clone()));
                *number = texts.len() as u32;
            }
            *key = *number - 1;
        }
        Numbered { texts, gathered: self }
    }

    /// Adds what was gathered elsewhere, whose labels have other numbers.
    fn append(&mut self, other: Gathered, number: impl Fn(u32) -> u32) {
        let (keys, parts, series) = (self.keys.len(), self.parts.len() as u32, self.part_ends.len() as u32);
        let copies = self.copies.len() as u32;
        self.keys.extend(other.keys.into_iter().map(number));
        self.key_ends.extend(other.key_ends.iter().map(|end| end + keys));
        self.parts.extend(other.parts.into_iter().map(|p| p.with_copies_from(copies)));
        self.part_ends.extend(other.part_ends.iter().map(|end| end + parts));
        self.copies.extend(other.copies);
        self.rare.extend(other.rare.into_iter().map(|(place, rare)| (place + series, rare)));
    }

    fn size_bytes(&self) -> usize {
        let numbers = 4 * self.keys.capacity() + 8 * self.key_ends.capacity() + 4 * self.part_ends.capacity();
        numbers + size_of::<Part>() * self.parts.capacity() + self.copies.iter().map(Vec::capacity).sum::<usize>()
    }
}

/// Series whose labels are numbered by a list of their own.
#[derive(Debug, Default)]
pub(crate) struct Numbered {
    /// Labels that occur, in packed form, in order of appearance.
    texts: Vec<Arc<str>>,
    gathered: Gathered,
}

impl Numbered {
    /// One table of labels for all that was gathered, and the place of each series in it.
    pub(crate) fn into_labels(sources: Vec<Numbered>) -> LabelTable {
        let all = Self::joined(sources);
        LabelTable::build(all.texts, all.gathered.keys, &all.gathered.key_ends).0
    }

    fn joined(sources: Vec<Numbered>) -> Numbered {
        let mut sources = sources.into_iter().filter(|s| !s.gathered.key_ends.is_empty());
        let mut all = sources.next().unwrap_or_default();
        let mut known: HashMap<Arc<str>, u32> = HashMap::new();
        for source in sources {
            if known.is_empty() {
                known.extend(all.texts.iter().cloned().zip(0..));
            }
            let texts = &mut all.texts;
            let mut number = |text: Arc<str>| {
                *known.entry(text).or_insert_with_key(|text| {
                    texts.push(text.clone());
                    (texts.len() - 1) as u32
                })
            };
            let map: Vec<u32> = source.texts.into_iter().map(&mut number).collect();
            all.gathered.append(source.gathered, |key| map.get(key as usize).copied().unwrap_or_default());
        }
        all
    }

    /// A selection for writing a block, whatever it takes.
    pub(crate) fn whole(pages: Vec<Numbered>, blocks: Vec<Arc<Block>>) -> Selection {
        Self::select(pages, blocks, &mut |_| true).unwrap_or_default()
    }

    /// Puts the series in order of their labels and joins the parts of the same series, which stay in the order they came in. `admit` is
    /// asked with the bytes that this takes; if it says no there is no selection.
    pub(crate) fn select(
        sources: Vec<Numbered>,
        blocks: Vec<Arc<Block>>,
        admit: &mut dyn FnMut(u64) -> bool,
    ) -> Option<Selection> {
        if !admit(joining_bytes(&sources)) {
            return None;
        }
        let Numbered { texts, gathered } = Self::joined(sources);
        if !admit(ordering_bytes(gathered.key_ends.len(), gathered.keys.len(), texts.len())) {
            return None;
        }
        let Gathered { keys, key_ends, parts, part_ends, copies, rare } = gathered;
        let (labels, places) = LabelTable::build(texts, keys, &key_ends);
        drop(key_ends);
        let mut start = 0;
        let spans = part_ends.into_iter().map(|end| (std::mem::replace(&mut start, end), end));
        let rows = places.iter().copied().zip(spans);
        let (spans, parts) = if places.len() == labels.len() {
            let mut ordered = vec![(0, 0); labels.len()];
            for (place, span) in rows {
                if let Some(slot) = ordered.get_mut(place as usize) {
                    *slot = span;
                }
            }
            (ordered, parts)
        } else {
            put_together(&rows.collect::<Vec<_>>(), labels.len(), parts)
        };
        let mut given: Vec<(u32, Rare)> = rare.into_iter().collect();
        given.sort_unstable_by_key(|r| r.0);
        let mut rare: HashMap<u32, Rare> = HashMap::with_capacity(given.len());
        for (place, part) in given {
            if let Some(place) = places.get(place as usize) {
                rare.entry(*place).or_default().join(part);
            }
        }
        Some(Selection { labels: Arc::new(labels), spans, parts, copies, rare, blocks })
    }
}

/// What it takes to join several sources, in bytes: those after the first are copied, and texts are looked up.
fn joining_bytes(sources: &[Numbered]) -> u64 {
    let copied: usize = sources.iter().skip(1).map(|s| s.gathered.size_bytes()).sum();
    let texts: usize = sources.iter().map(|s| s.texts.len()).sum();
    if sources.len() < 2 { 0 } else { (copied + 48 * texts) as u64 }
}

/// What it takes to put series in order beside what they are, in bytes: first the texts are sorted, then the rows of their places, which
/// are written anew.
fn ordering_bytes(series: usize, keys: usize, texts: usize) -> u64 {
    (64 * texts).max(4 * keys + 64 * series) as u64
}

/// Where the parts of each series begin and end, and the parts.
type Placed = (Vec<(u32, u32)>, Vec<Part>);

/// Brings parts of the same series together: `rows` gives for each stretch of `parts` the series it belongs to.
fn put_together(rows: &[(u32, (u32, u32))], series: usize, parts: Vec<Part>) -> Placed {
    let mut spans = vec![(0u32, 0u32); series];
    for (place, (from, to)) in rows {
        if let Some(span) = spans.get_mut(*place as usize) {
            span.1 += to - from;
        }
    }
    let mut end = 0;
    for span in &mut spans {
        // Both at the start for now: the end moves on as parts come.
        let start = end;
        end += span.1;
        *span = (start, start);
    }
    let mut placed: Vec<Option<Part>> = Vec::new();
    placed.resize_with(parts.len(), || None);
    let mut parts = parts.into_iter();
    for (place, (from, to)) in rows {
        for part in parts.by_ref().take((to - from) as usize) {
            let Some(span) = spans.get_mut(*place as usize) else { continue };
            if let Some(slot) = placed.get_mut(span.1 as usize) {
                *slot = Some(part);
            }
            span.1 += 1;
        }
    }
    // Every slot has been filled: the lengths add up.
    (spans, placed.into_iter().flatten().collect())
}
