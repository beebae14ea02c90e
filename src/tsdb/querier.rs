//! Selections: the series that matchers find, in the head and in the blocks, as they were at one moment.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::block::{Block, BlockIndex, ChunkRef};
use super::chunk::View;
use super::error::Error;
use super::head::Head;
use super::head::series::Captured;
use super::label_index::LabelIndex;
use super::matching::matching;
use super::shared::Shared;
use crate::model::labels::packed_labels;
use crate::model::{Column, Labels, Matcher, TimestampMs};

/// The result of [`super::Db::select`]; holds what it needs alive, can be read from several threads.
#[derive(Default)]
pub struct Selection {
    /// Labels that occur, in packed form, in order of name and value; series name them by their place here.
    texts: Vec<Arc<str>>,
    keys: Vec<u32>,
    items: Vec<Item>,
    blocks: Vec<Arc<Block>>,
}

struct Item {
    /// Its labels' places in `keys`.
    key: Range<usize>,
    /// Parts in blocks, in order of time.
    stored: Vec<(usize, Vec<ChunkRef>)>,
    head: Captured,
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
        let Some(item) = self.items.get(i) else { return Labels::empty() };
        let mut packed = String::with_capacity(256);
        for text in self.key(item) {
            packed.push_str(self.texts.get(*text as usize).map_or("", |t| t));
        }
        Labels::from_packed(&packed)
    }

    /// The labels that occur, in order.
    pub(crate) fn texts(&self) -> &[Arc<str>] {
        &self.texts
    }

    /// The labels of series `i` as places in [`Self::texts`].
    pub(crate) fn key_of(&self, i: usize) -> &[u32] {
        self.items.get(i).map_or(&[][..], |item| self.key(item))
    }

    fn key(&self, item: &Item) -> &[u32] {
        self.keys.get(item.key.clone()).unwrap_or_default()
    }

    /// Appends the samples of series `i` in `[mint, maxt]` (a part of the range asked for at first) to `out`, staleness markers included.
    pub fn read(&self, i: usize, mint: TimestampMs, maxt: TimestampMs, out: &mut Column) -> Result<(), Error> {
        let Some(item) = self.items.get(i) else { return Ok(()) };
        let (floats, histograms) = (out.t.len(), out.ht.len());
        self.each_chunk(item, mint, maxt, |data| {
            let view = View::parse(data)?;
            view.floats_between(mint, maxt, &mut out.t, &mut out.v)?;
            view.histograms(|t, h| {
                if t >= mint && t <= maxt {
                    out.ht.push(t);
                    out.h.push(h.clone());
                }
                t < maxt
            })?;
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
        put_in_order(&mut out.t, &mut out.v, floats);
        put_in_order(&mut out.ht, &mut out.h, histograms);
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
            if start != 0 && t >= mint && t <= maxt {
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

/// Collects series from several places under common numbers for their labels.
#[derive(Default)]
pub(crate) struct Collector {
    known: HashMap<Arc<str>, u32>,
    selection: Selection,
}

impl Collector {
    fn push(&mut self, index: &LabelIndex, local: &mut HashMap<u32, u32>, pairs: &[u32], head: Captured) -> usize {
        let start = self.selection.keys.len();
        for p in pairs {
            let known = &mut self.known;
            let texts = &mut self.selection.texts;
            let key = *local.entry(*p).or_insert_with(|| {
                let text = index.pair(*p).map_or_else(Arc::default, |p| p.text.clone());
                *known.entry(text.clone()).or_insert_with(|| {
                    texts.push(text);
                    (texts.len() - 1) as u32
                })
            });
            self.selection.keys.push(key);
        }
        let key = start..self.selection.keys.len();
        self.selection.items.push(Item { key, stored: Vec::new(), head });
        self.selection.items.len() - 1
    }

    /// Adds series of the head (those in `slots` that have samples in the range).
    pub(crate) fn add_head(
        &mut self,
        head: &Head,
        slots: impl Iterator<Item = u32>,
        mint: TimestampMs,
        maxt: TimestampMs,
    ) {
        let mut local = HashMap::new();
        for slot in slots {
            let Some(s) = head.at(slot) else { continue };
            if s.has_between(mint, maxt) {
                let mut captured = Captured::default();
                s.capture(mint, maxt, &mut captured);
                self.push(&head.labels, &mut local, &s.pairs, captured);
            }
        }
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
        let mut local = HashMap::new();
        let at = self.selection.blocks.len();
        self.selection.blocks.push(block.clone());
        for id in series {
            let chunks: Vec<ChunkRef> =
                index.chunks(id).iter().filter(|c| c.mint <= maxt && c.maxt >= mint).copied().collect();
            if !chunks.is_empty() {
                let i = self.push(&index.labels, &mut local, index.pairs(id), Captured::default());
                if let Some(item) = self.selection.items.get_mut(i) {
                    item.stored.push((at, chunks));
                }
            }
        }
    }

    /// Puts the series in order of their labels and joins the parts of the same series.
    pub(crate) fn finish(self) -> Selection {
        let mut s = self.selection;
        let mut order: Vec<u32> = (0..s.texts.len() as u32).collect();
        let parts: Vec<(&str, &str)> =
            s.texts.iter().map(|t| packed_labels(t).next().map_or(("", ""), |(_, n, v)| (n, v))).collect();
        order.sort_unstable_by_key(|i| parts.get(*i as usize));
        let mut rank = vec![0u32; order.len()];
        for (r, i) in order.iter().enumerate() {
            if let Some(slot) = rank.get_mut(*i as usize) {
                *slot = r as u32;
            }
        }
        s.texts = order.iter().filter_map(|i| s.texts.get(*i as usize).cloned()).collect();
        for k in &mut s.keys {
            *k = rank.get(*k as usize).copied().unwrap_or_default();
        }
        let keys = &s.keys;
        let key = |item: &Item| keys.get(item.key.clone()).unwrap_or_default();
        // Stable: parts of one series stay in order of time.
        s.items.sort_by(|a, b| key(a).cmp(key(b)));
        let mut joined: Vec<Item> = Vec::with_capacity(s.items.len());
        for item in s.items {
            match joined.last_mut() {
                Some(last) if key(last) == key(&item) => {
                    last.stored.extend(item.stored);
                    last.head.chunks.extend(item.head.chunks);
                    last.head.late.extend(item.head.late);
                    last.head.late_histograms.extend(item.head.late_histograms);
                }
                _ => joined.push(item),
            }
        }
        s.items = joined;
        s
    }
}

/// See [`super::Db::select`].
pub(crate) fn select(
    shared: &Shared,
    matchers: &[Matcher],
    mint: TimestampMs,
    maxt: TimestampMs,
) -> Result<Selection, Error> {
    if mint > maxt {
        return Ok(Selection::default());
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
            part.add_head(&head, found.iter(), mint.max(head.visible_from), maxt);
        }
        blocks
    };
    if blocks.is_empty() {
        return Ok(collector.finish());
    }
    for block in &blocks {
        let Some(index) = shared.index_of(block) else { continue };
        let found = matching(&index.labels, matchers, |id| index.pairs(id));
        collector.add_block(block, &index, found.iter(), mint, maxt);
    }
    collector.append(head_part);
    Ok(collector.finish())
}

impl Collector {
    /// Adds what another collector found.
    fn append(&mut self, other: Collector) {
        let Collector { selection: other, .. } = other;
        let map: Vec<u32> = other
            .texts
            .into_iter()
            .map(|text| {
                let texts = &mut self.selection.texts;
                *self.known.entry(text.clone()).or_insert_with(|| {
                    texts.push(text);
                    (texts.len() - 1) as u32
                })
            })
            .collect();
        let offset = self.selection.keys.len();
        let keys = other.keys.iter().map(|k| map.get(*k as usize).copied().unwrap_or_default());
        self.selection.keys.extend(keys);
        self.selection.items.extend(other.items.into_iter().map(|mut item| {
            item.key = item.key.start + offset..item.key.end + offset;
            item
        }));
    }
}
