//! Selections: the series that matchers find, in the head and in the blocks, as they were at one moment.

use std::collections::HashMap;
use std::sync::Arc;

use roaring::RoaringBitmap;

use super::SeriesRef;
use super::block::{Block, BlockIndex, ChunkRef};
use super::chunk::View;
use super::error::Error;
use super::head::Head;
use super::head::closed::Closed;
use super::head::series::Captured;
use super::label_index::LabelIndex;
use super::matching::matching;
use super::shared::Shared;
use super::tombstones::Deleted;
use crate::exec::cpu_pool;
use crate::model::{Column, LabelTable, Labels, Matcher, TimestampMs};

/// The result of [`super::Db::select`]; holds what it needs alive, can be read from several threads.
#[derive(Default)]
pub struct Selection {
    /// Labels of the series, row by row.
    labels: Arc<LabelTable>,
    items: Vec<Item>,
    blocks: Vec<Arc<Block>>,
}

impl Drop for Selection {
    /// Ten thousands of small pieces of memory take milliseconds to give back, for which nobody should wait.
    fn drop(&mut self) {
        let items = std::mem::take(&mut self.items);
        if items.len() >= PARALLEL_SERIES {
            cpu_pool::pool().spawn(move || drop(items));
        }
    }
}

#[derive(Default)]
struct Item {
    /// Parts in blocks, in order of time.
    stored: Vec<(usize, Vec<ChunkRef>)>,
    head: Captured,
    /// What of it queries must not see.
    deleted: Deleted,
}

impl Selection {
    /// How many series were found.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether none was found.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The labels of series `i`.
    pub fn labels(&self, i: usize) -> Labels {
        self.labels.labels(i)
    }

    /// The labels of all series; row `i` is series `i`.
    pub fn label_table(&self) -> &Arc<LabelTable> {
        &self.labels
    }

    /// Roughly the memory it holds by itself, in bytes: labels, and the samples that were copied out of the head.
    pub fn size_bytes(&self) -> usize {
        let item = |item: &Item| {
            let stored: usize = item.stored.iter().map(|(_, c)| c.len() * size_of::<ChunkRef>()).sum();
            let own = item.head.chunks.iter().filter_map(|c| match c {
                Closed::Memory(c) if Arc::strong_count(c) == 1 => Some(c.data.len() + 64),
                Closed::Memory(_) | Closed::File(_) => None,
            });
            size_of::<Item>() + stored + own.sum::<usize>()
        };
        self.labels.size_bytes() + self.items.iter().map(item).sum::<usize>()
    }

    /// Appends the samples of series `i` in `[mint, maxt]` (a part of the range asked for at first) to `out`, staleness markers included.
    pub fn read(&self, i: usize, mint: TimestampMs, maxt: TimestampMs, out: &mut Column) -> Result<(), Error> {
        let Some(item) = self.items.get(i) else { return Ok(()) };
        let (floats, histograms) = (out.t.len(), out.ht.len());
        // Inside a chunk times rise; from one to the next they mostly do.
        let mut in_order = item.head.late.is_empty() && item.head.late_histograms.is_empty();
        self.each_chunk(item, mint, maxt, |data| {
            let view = View::parse(data)?;
            let (had_floats, had_histograms) = (out.t.len(), out.ht.len());
            view.floats_between(mint, maxt, &mut out.t, &mut out.v)?;
            view.histograms(|t, h| {
                if t >= mint && t <= maxt {
                    out.ht.push(t);
                    out.h.push(h.clone());
                }
                t < maxt
            })?;
            in_order &= continues(&out.t, floats, had_floats) && continues(&out.ht, histograms, had_histograms);
            Ok(())
        })?;
        for l in item.head.late.iter().filter(|l| l.t >= mint && l.t <= maxt) {
            out.t.push(l.t);
            out.v.push(l.v);
        }
        for l in item.head.late_histograms.iter().filter(|l| l.t >= mint && l.t <= maxt) {
            out.ht.push(l.t);
            out.h.push(l.h.clone());
        }
        if !in_order {
            put_in_order(&mut out.t, &mut out.v, floats);
            put_in_order(&mut out.ht, &mut out.h, histograms);
        }
        item.deleted.remove_from(&mut out.t, &mut out.v, floats);
        item.deleted.remove_from(&mut out.ht, &mut out.h, histograms);
        Ok(())
    }

    /// Appends `(time, start timestamp)` of the samples of series `i` in `[mint, maxt]` that have a start timestamp, in order of time.
    pub fn read_starts(
        &self,
        i: usize,
        mint: TimestampMs,
        maxt: TimestampMs,
        out: &mut Vec<(TimestampMs, TimestampMs)>,
    ) -> Result<(), Error> {
        let Some(item) = self.items.get(i) else { return Ok(()) };
        let from = out.len();
        let mut add = |t: TimestampMs, start: TimestampMs| {
            let gone = item.deleted.intervals().is_some_and(|d| d.contains(t));
            if start != 0 && t >= mint && t <= maxt && !gone {
                out.push((t, start));
            }
        };
        self.each_chunk(item, mint, maxt, |data| {
            let view = View::parse(data)?;
            if view.starts().is_empty() {
                return Ok(());
            }
            let mut times = Vec::with_capacity(view.sample_count());
            view.floats(|t, _| {
                times.push(t);
                true
            })?;
            view.histograms(|t, _| {
                times.push(t);
                true
            })?;
            let (mut start, mut runs) = (0, view.starts().iter().peekable());
            for (i, t) in times.into_iter().enumerate() {
                if let Some(run) = runs.next_if(|r| usize::from(r.0) == i) {
                    start = run.1;
                }
                add(t, start);
            }
            Ok(())
        })?;
        for l in &item.head.late {
            add(l.t, l.start);
        }
        for l in &item.head.late_histograms {
            add(l.t, l.start);
        }
        if let Some(new) = out.get_mut(from..) {
            new.sort_unstable();
        }
        Ok(())
    }

    /// Gives the encoded chunks of series `i` that overlap a range, in order of time.
    fn each_chunk(
        &self,
        item: &Item,
        mint: TimestampMs,
        maxt: TimestampMs,
        mut each: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut buffer = Vec::new();
        for (block, chunks) in &item.stored {
            let Some(block) = self.blocks.get(*block) else { continue };
            for c in chunks.iter().filter(|c| c.mint <= maxt && c.maxt >= mint) {
                each(block.read_chunk(c, &mut buffer)?)?;
            }
        }
        for c in item.head.chunks.iter().filter(|c| c.mint() <= maxt && c.maxt() >= mint) {
            each(c.read(&mut buffer)?)?;
        }
        Ok(())
    }

    /// What series `i` has in the head, for cutting a block.
    pub(crate) fn captured(&self, i: usize) -> Option<&Captured> {
        self.items.get(i).map(|item| &item.head)
    }

    /// What of series `i` is deleted, for writing a block.
    pub(crate) fn deleted(&self, i: usize) -> Deleted {
        self.items.get(i).map(|item| item.deleted.clone()).unwrap_or_default()
    }

    /// Gives the chunks of series `i` that are in blocks with their bytes, in order of blocks.
    pub(crate) fn stored_chunks(
        &self,
        i: usize,
        mut each: impl FnMut(&ChunkRef, &[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut buffer = Vec::new();
        for (block, chunks) in self.items.get(i).map_or(&[][..], |item| &item.stored) {
            let Some(block) = self.blocks.get(*block) else { continue };
            for c in chunks {
                each(c, block.read_chunk(c, &mut buffer)?)?;
            }
        }
        Ok(())
    }
}

/// Whether what was added at `added` comes after what was there from `from` on.
fn continues(times: &[TimestampMs], from: usize, added: usize) -> bool {
    let before = if added > from { times.get(added - 1) } else { None };
    before.zip(times.get(added)).is_none_or(|(before, first)| before < first)
}

/// Sorts the part of two columns from `from` on by time if it is not in order; of equal times the first stays.
fn put_in_order<T: Clone>(times: &mut Vec<TimestampMs>, values: &mut Vec<T>, from: usize) {
    let (Some(t), Some(v)) = (times.get(from..), values.get(from..)) else { return };
    if t.iter().zip(t.iter().skip(1)).all(|(a, b)| a < b) {
        return;
    }
    let mut rows: Vec<(TimestampMs, T)> = t.iter().copied().zip(v.iter().cloned()).collect();
    rows.sort_by_key(|r| r.0);
    rows.dedup_by_key(|r| r.0);
    times.truncate(from);
    values.truncate(from);
    for (t, v) in rows {
        times.push(t);
        values.push(v);
    }
}

/// So many series are captured by several threads; a thread costs as much as some hundred of them.
const PARALLEL_SERIES: usize = 4096;
/// More threads would wait for the same memory.
const MAX_CAPTURING: usize = 8;

/// Collects series from several places under common numbers for their labels.
#[derive(Default)]
pub(crate) struct Collector {
    known: HashMap<Arc<str>, u32>,
    /// Labels that occur, in packed form, in order of appearance.
    texts: Vec<Arc<str>>,
    /// The labels of all items as places in `texts`, item after item; where each ends.
    keys: Vec<u32>,
    ends: Vec<usize>,
    items: Vec<Item>,
    blocks: Vec<Arc<Block>>,
}

/// The numbers that labels of one index have in a collector, less one; 0 for labels not met yet.
struct LocalNumbers(Vec<u32>);

impl LocalNumbers {
    fn of(index: &LabelIndex) -> Self {
        LocalNumbers(vec![0; index.pair_numbers()])
    }
}

impl Collector {
    fn push(&mut self, index: &LabelIndex, local: &mut LocalNumbers, pairs: &[u32], item: Item) {
        for p in pairs {
            let Some(number) = local.0.get_mut(*p as usize) else { continue };
            if *number == 0 {
                let text = index.pair(*p).map_or_else(Arc::default, |p| p.text.clone());
                *number = self.number(text) + 1;
            }
            self.keys.push(*number - 1);
        }
        self.ends.push(self.keys.len());
        self.items.push(item);
    }

    fn number(&mut self, text: Arc<str>) -> u32 {
        let texts = &mut self.texts;
        *self.known.entry(text.clone()).or_insert_with(|| {
            texts.push(text);
            (texts.len() - 1) as u32
        })
    }

    /// Adds series of the head (those in `slots` that have samples in the range).
    pub(crate) fn add_head(
        &mut self,
        head: &Head,
        slots: impl Iterator<Item = u32>,
        mint: TimestampMs,
        maxt: TimestampMs,
    ) {
        let mut local = LocalNumbers::of(&head.labels);
        for slot in slots {
            let Some(s) = head.at(slot) else { continue };
            if s.has_between(mint, maxt) {
                let mut item = Item::default();
                s.capture(mint, maxt, &mut item.head);
                item.deleted = head.tombstones.of(SeriesRef::new(slot, s.epoch), mint, maxt);
                if let Some(gone) = item.deleted.intervals() {
                    item.head.chunks.retain(|c| !gone.covers(c.mint(), c.maxt()));
                    if item.head.chunks.is_empty() && item.head.late.is_empty() && item.head.late_histograms.is_empty()
                    {
                        continue;
                    }
                }
                self.push(&head.labels, &mut local, &s.pairs, item);
            }
        }
    }

    /// The same by several threads where there are many: the series lie all over the memory, and to wait for it is most of the work.
    ///
    /// They are threads of their own and not those of the pool for queries: the caller holds the lock of the head, and a thread of the
    /// pool may take up another query while it waits, which would ask for the same lock.
    fn add_head_in_parallel(&mut self, head: &Head, slots: &[u32], mint: TimestampMs, maxt: TimestampMs) {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(MAX_CAPTURING);
        if threads < 2 || slots.len() < PARALLEL_SERIES {
            return self.add_head(head, slots.iter().copied(), mint, maxt);
        }
        let mut parts = slots.chunks(slots.len().div_ceil(threads));
        let own = parts.next().unwrap_or_default();
        let capture = |part: &[u32]| {
            let mut collector = Collector::default();
            collector.add_head(head, part.iter().copied(), mint, maxt);
            collector
        };
        std::thread::scope(|scope| {
            let started: Vec<_> = parts
                .map(|part| {
                    let name = std::thread::Builder::new().name("capture".to_owned());
                    (part, name.spawn_scoped(scope, move || capture(part)))
                })
                .collect();
            self.add_head(head, own.iter().copied(), mint, maxt);
            for (part, thread) in started {
                match thread.map(std::thread::ScopedJoinHandle::join) {
                    Ok(Ok(collector)) => self.append(collector),
                    Ok(Err(panic)) => std::panic::resume_unwind(panic),
                    // No thread to be had: then alone.
                    Err(_) => self.add_head(head, part.iter().copied(), mint, maxt),
                }
            }
        });
    }

    /// Adds series of a block.
    pub(crate) fn add_block(
        &mut self,
        block: &Arc<Block>,
        index: &BlockIndex,
        series: impl Iterator<Item = u32>,
        mint: TimestampMs,
        maxt: TimestampMs,
    ) {
        let mut local = LocalNumbers::of(&index.labels);
        let at = self.blocks.len();
        self.blocks.push(block.clone());
        let stones = block.tombstones();
        for id in series {
            let deleted = stones.of(id, mint, maxt);
            let seen = |c: &&ChunkRef| {
                let gone = deleted.intervals().is_some_and(|d| d.covers(c.mint, c.maxt));
                c.mint <= maxt && c.maxt >= mint && !gone
            };
            let chunks: Vec<ChunkRef> = index.chunks(id).iter().filter(seen).copied().collect();
            if !chunks.is_empty() {
                let item = Item { stored: vec![(at, chunks)], deleted, ..Item::default() };
                self.push(&index.labels, &mut local, index.pairs(id), item);
            }
        }
    }

    /// Puts the series in order of their labels and joins the parts of the same series, which stay in the order they came in.
    pub(crate) fn finish(self) -> Selection {
        let (labels, places) = LabelTable::build(self.texts, self.keys, &self.ends);
        let mut items: Vec<Option<Item>> = Vec::new();
        items.resize_with(labels.len(), || None);
        for (item, place) in self.items.into_iter().zip(places) {
            match items.get_mut(place as usize) {
                Some(Some(first)) => {
                    first.stored.extend(item.stored);
                    first.head.chunks.extend(item.head.chunks);
                    first.head.late.extend(item.head.late);
                    first.head.late_histograms.extend(item.head.late_histograms);
                    first.deleted.join(item.deleted);
                }
                Some(empty) => *empty = Some(item),
                None => {}
            }
        }
        let items = items.into_iter().map(Option::unwrap_or_default).collect();
        Selection { labels: Arc::new(labels), items, blocks: self.blocks }
    }
}

/// About what a series of a selection takes: itself, its labels' numbers, and the copy of its open chunk.
const SERIES_BYTES: u64 = 256;

/// See [`super::Db::select_within`].
pub(crate) fn select(
    shared: &Shared,
    matchers: &[Matcher],
    (mint, maxt): (TimestampMs, TimestampMs),
    admit: &mut dyn FnMut(u64) -> bool,
) -> Result<Option<Selection>, Error> {
    if mint > maxt {
        return Ok(Some(Selection::default()));
    }
    // The head is read first and the blocks under its lock: a cut changes both at once.
    let mut collector = Collector::default();
    let mut head_part = Collector::default();
    let blocks: Vec<Arc<Block>> = {
        let head = shared.read_head();
        let blocks = shared.read_blocks().iter().filter(|b| b.overlaps(mint, maxt)).cloned().collect::<Vec<_>>();
        if head.max_t >= mint && maxt >= head.visible_from {
            let found = matching(&head.labels, matchers, |id| head.at(id).map_or(&[][..], |s| &s.pairs));
            let part = if blocks.is_empty() { &mut collector } else { &mut head_part };
            if !admit(SERIES_BYTES * found.len()) {
                return Ok(None);
            }
            let slots: Vec<u32> = found.iter().collect();
            part.add_head_in_parallel(&head, &slots, mint.max(head.visible_from), maxt);
        }
        blocks
    };
    if blocks.is_empty() {
        return Ok(Some(collector.finish()));
    }
    for block in &blocks {
        let Some(index) = shared.index_of(block) else { continue };
        let found = matching(&index.labels, matchers, |id| index.pairs(id));
        if !admit(SERIES_BYTES * found.len()) {
            return Ok(None);
        }
        collector.add_block(block, &index, found.iter(), mint, maxt);
    }
    collector.append(head_part);
    Ok(Some(collector.finish()))
}

/// See [`super::Db::series`].
pub(crate) fn series(
    shared: &Shared,
    sets: &[&[Matcher]],
    mint: TimestampMs,
    maxt: TimestampMs,
) -> Result<LabelTable, Error> {
    if mint > maxt {
        return Ok(LabelTable::default());
    }
    let mut collector = Collector::default();
    let blocks: Vec<Arc<Block>> = {
        let head = shared.read_head();
        if head.max_t >= mint && maxt >= head.visible_from {
            let found = matching_any(&head.labels, sets, |id| head.at(id).map_or(&[][..], |s| &s.pairs));
            let mut local = LocalNumbers::of(&head.labels);
            let from = mint.max(head.visible_from);
            for s in found.iter().filter_map(|slot| head.at(slot)).filter(|s| s.has_between(from, maxt)) {
                collector.push(&head.labels, &mut local, &s.pairs, Item::default());
            }
        }
        shared.read_blocks().iter().filter(|b| b.overlaps(mint, maxt)).cloned().collect()
    };
    for block in &blocks {
        let Some(index) = shared.index_of(block) else { continue };
        let found = matching_any(&index.labels, sets, |id| index.pairs(id));
        let mut local = LocalNumbers::of(&index.labels);
        for id in found.iter().filter(|id| index.chunks(*id).iter().any(|c| c.mint <= maxt && c.maxt >= mint)) {
            collector.push(&index.labels, &mut local, index.pairs(id), Item::default());
        }
    }
    Ok(LabelTable::build(collector.texts, collector.keys, &collector.ends).0)
}

fn matching_any<'a>(index: &'a LabelIndex, sets: &[&[Matcher]], pairs_of: impl Fn(u32) -> &'a [u32]) -> RoaringBitmap {
    let mut found = RoaringBitmap::new();
    for matchers in sets {
        found |= matching(index, matchers, &pairs_of);
    }
    found
}

impl Collector {
    /// Adds what another collector found in the head.
    fn append(&mut self, other: Collector) {
        let map: Vec<u32> = other.texts.into_iter().map(|text| self.number(text)).collect();
        let offset = self.keys.len();
        self.keys.extend(other.keys.iter().map(|k| map.get(*k as usize).copied().unwrap_or_default()));
        self.ends.extend(other.ends.iter().map(|end| end + offset));
        self.items.extend(other.items);
    }
}
