//! A selection: the series that matchers found, as they were at one moment, and how their samples are read.

use std::collections::HashMap;
use std::sync::Arc;

use super::block::{Block, ChunkRef};
use super::chunk::{Chunk, View};
use super::error::Error;
use super::head::closed::Closed;
use super::head::late::{Late, LateHistogram};
use super::tombstones::Deleted;
use crate::model::{Column, LabelTable, Labels, TimestampMs};

/// A piece of a series: a chunk, and where it is.
#[derive(Debug)]
pub(crate) enum Part {
    /// In a block, by its number in the selection.
    Stored { block: u32, chunk: ChunkRef },
    /// In the head, closed.
    Closed(Closed),
    /// Copied out of the head: a stretch of one of the selection's copies.
    Copied { mint: TimestampMs, maxt: TimestampMs, at: u64, len: u32, copies: u32 },
}

impl Part {
    /// Time of its first sample.
    pub(crate) fn mint(&self) -> TimestampMs {
        match self {
            Part::Stored { chunk, .. } => chunk.mint,
            Part::Closed(c) => c.mint(),
            Part::Copied { mint, .. } => *mint,
        }
    }

    /// Time of its last sample.
    pub(crate) fn maxt(&self) -> TimestampMs {
        match self {
            Part::Stored { chunk, .. } => chunk.maxt,
            Part::Closed(c) => c.maxt(),
            Part::Copied { maxt, .. } => *maxt,
        }
    }

    /// The same part where `by` copies stand before its own.
    pub(crate) fn with_copies_from(mut self, by: u32) -> Self {
        if let Part::Copied { copies, .. } = &mut self {
            *copies += by;
        }
        self
    }
}

/// What few series have beside chunks.
#[derive(Debug, Default)]
pub(crate) struct Rare {
    /// Late samples that are not merged yet, in order of time.
    pub late: Vec<Late>,
    /// Likewise.
    pub late_histograms: Vec<LateHistogram>,
    /// What of the series queries must not see.
    pub deleted: Deleted,
}

impl Rare {
    pub(crate) fn has_no_samples(&self) -> bool {
        self.late.is_empty() && self.late_histograms.is_empty()
    }

    /// Adds what another part of the same series has.
    pub(crate) fn join(&mut self, other: Rare) {
        self.late.extend(other.late);
        self.late_histograms.extend(other.late_histograms);
        self.deleted.join(other.deleted);
    }
}

/// What the head has of a series, for a block: chunks in order, and late samples not merged yet.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    pub chunks: Vec<Closed>,
    pub late: Vec<Late>,
    pub late_histograms: Vec<LateHistogram>,
}

/// The result of [`super::Db::select`]; holds what it needs alive, can be read from several threads.
#[derive(Default)]
pub struct Selection {
    /// Labels of the series, row by row.
    pub(super) labels: Arc<LabelTable>,
    /// For each series where its parts begin and end.
    pub(super) spans: Vec<(u32, u32)>,
    pub(super) parts: Vec<Part>,
    pub(super) copies: Vec<Vec<u8>>,
    pub(super) rare: HashMap<u32, Rare>,
    pub(super) blocks: Vec<Arc<Block>>,
}

impl Selection {
    /// How many series were found.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether none was found.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The labels of series `i`.
    pub fn labels(&self, i: usize) -> Labels {
        self.labels.labels(i)
    }

    /// The labels of all series; row `i` is series `i`.
    pub fn label_table(&self) -> &Arc<LabelTable> {
        &self.labels
    }

    /// The memory it holds by itself, in bytes: places of labels and chunks, and the samples that were copied out of the head. Without the
    /// texts of labels and the chunks that the store has anyway.
    pub fn size_bytes(&self) -> usize {
        let rare = |r: &Rare| {
            size_of::<Rare>()
                + r.late.len() * size_of::<Late>()
                + r.late_histograms.iter().map(|l| size_of::<LateHistogram>() + l.h.size_bytes()).sum::<usize>()
        };
        let spans = self.spans.capacity() * size_of::<(u32, u32)>();
        let parts = self.parts.capacity() * size_of::<Part>();
        let copies: usize = self.copies.iter().map(Vec::capacity).sum();
        self.labels.size_bytes() + spans + parts + copies + self.rare.values().map(rare).sum::<usize>()
    }

    fn parts_of(&self, i: usize) -> &[Part] {
        self.spans.get(i).and_then(|(from, to)| self.parts.get(*from as usize..*to as usize)).unwrap_or_default()
    }

    fn rare_of(&self, i: usize) -> Option<&Rare> {
        if self.rare.is_empty() {
            return None;
        }
        self.rare.get(&u32::try_from(i).ok()?)
    }

    /// Appends the samples of series `i` in `[mint, maxt]` (a part of the range asked for at first) to `out`, staleness markers included.
    /// Start timestamps are left out: see [`Self::read_with_starts`].
    pub fn read(&self, i: usize, mint: TimestampMs, maxt: TimestampMs, out: &mut Column) -> Result<(), Error> {
        self.read_columns(i, mint, maxt, out).map(drop)
    }

    /// The same with the samples' start timestamps, where any has one.
    pub fn read_with_starts(
        &self,
        i: usize,
        mint: TimestampMs,
        maxt: TimestampMs,
        out: &mut Column,
    ) -> Result<(), Error> {
        let (floats, histograms) = (out.t.len(), out.ht.len());
        if !self.read_columns(i, mint, maxt, out)? && out.start.is_empty() && out.hstart.is_empty() {
            return Ok(());
        }
        // Few series have any; those are looked through a second time.
        let mut starts = Vec::new();
        self.read_starts(i, mint, maxt, &mut starts)?;
        fill_starts(&out.t, floats, &starts, &mut out.start);
        fill_starts(&out.ht, histograms, &starts, &mut out.hstart);
        Ok(())
    }

    /// Appends samples without start timestamps and says whether any has one.
    fn read_columns(&self, i: usize, mint: TimestampMs, maxt: TimestampMs, out: &mut Column) -> Result<bool, Error> {
        let (floats, histograms) = (out.t.len(), out.ht.len());
        let rare = self.rare_of(i);
        // Inside a chunk times rise; from one to the next they mostly do.
        let mut in_order = rare.is_none_or(Rare::has_no_samples);
        let mut has_starts = false;
        self.each_chunk(i, mint, maxt, |data| {
            let view = View::parse(data)?;
            has_starts |= !view.starts().is_empty();
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
        for l in rare.iter().flat_map(|r| &r.late).filter(|l| l.t >= mint && l.t <= maxt) {
            out.t.push(l.t);
            out.v.push(l.v);
            has_starts |= l.start != 0;
        }
        for l in rare.iter().flat_map(|r| &r.late_histograms).filter(|l| l.t >= mint && l.t <= maxt) {
            out.ht.push(l.t);
            out.h.push(l.h.clone());
            has_starts |= l.start != 0;
        }
        if !in_order {
            put_in_order(&mut out.t, &mut out.v, floats);
            put_in_order(&mut out.ht, &mut out.h, histograms);
        }
        if let Some(r) = rare {
            r.deleted.remove_from(&mut out.t, &mut out.v, floats);
            r.deleted.remove_from(&mut out.ht, &mut out.h, histograms);
        }
        Ok(has_starts)
    }

    /// Appends `(time, start timestamp)` of the samples of series `i` in `[mint, maxt]` that have a start timestamp, in order of time.
    pub fn read_starts(
        &self,
        i: usize,
        mint: TimestampMs,
        maxt: TimestampMs,
        out: &mut Vec<(TimestampMs, TimestampMs)>,
    ) -> Result<(), Error> {
        let rare = self.rare_of(i);
        let from = out.len();
        let mut add = |t: TimestampMs, start: TimestampMs| {
            let gone = rare.and_then(|r| r.deleted.intervals()).is_some_and(|d| d.contains(t));
            if start != 0 && t >= mint && t <= maxt && !gone {
                out.push((t, start));
            }
        };
        self.each_chunk(i, mint, maxt, |data| {
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
        for l in rare.iter().flat_map(|r| &r.late) {
            add(l.t, l.start);
        }
        for l in rare.iter().flat_map(|r| &r.late_histograms) {
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
        i: usize,
        mint: TimestampMs,
        maxt: TimestampMs,
        mut each: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut buffer = Vec::new();
        for part in self.parts_of(i).iter().filter(|p| p.mint() <= maxt && p.maxt() >= mint) {
            match part {
                Part::Stored { block, chunk } => {
                    if let Some(block) = self.blocks.get(*block as usize) {
                        each(block.read_chunk(chunk, &mut buffer)?)?;
                    }
                }
                Part::Closed(c) => each(c.read(&mut buffer)?)?,
                Part::Copied { .. } => each(self.copied(part))?,
            }
        }
        Ok(())
    }

    /// The bytes of a chunk that was copied; none for another part.
    fn copied(&self, part: &Part) -> &[u8] {
        let Part::Copied { at, len, copies, .. } = part else { return &[] };
        let at = *at as usize;
        self.copies.get(*copies as usize).and_then(|c| c.get(at..at + *len as usize)).unwrap_or_default()
    }

    /// What series `i` has in the head, for cutting a block.
    pub(crate) fn captured(&self, i: usize) -> Captured {
        let chunks = self.parts_of(i).iter().filter_map(|part| match part {
            Part::Stored { .. } => None,
            Part::Closed(c) => Some(c.clone()),
            Part::Copied { mint, maxt, .. } => {
                Some(Closed::from(Chunk { mint: *mint, maxt: *maxt, data: self.copied(part).into() }))
            }
        });
        let chunks = chunks.collect();
        let (late, late_histograms) =
            self.rare_of(i).map(|r| (r.late.clone(), r.late_histograms.clone())).unwrap_or_default();
        Captured { chunks, late, late_histograms }
    }

    /// What of series `i` is deleted, for writing a block.
    pub(crate) fn deleted(&self, i: usize) -> Deleted {
        self.rare_of(i).map(|r| r.deleted.clone()).unwrap_or_default()
    }

    /// Gives the chunks of series `i` that are in blocks with their bytes, in order of blocks.
    pub(crate) fn stored_chunks(
        &self,
        i: usize,
        mut each: impl FnMut(&ChunkRef, &[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut buffer = Vec::new();
        for part in self.parts_of(i) {
            let Part::Stored { block, chunk } = part else { continue };
            if let Some(block) = self.blocks.get(*block as usize) {
                each(chunk, block.read_chunk(chunk, &mut buffer)?)?;
            }
        }
        Ok(())
    }
}

/// Brings a column of start timestamps up to its times, from row `from` on; it stays empty where none has any.
fn fill_starts(
    times: &[TimestampMs],
    from: usize,
    known: &[(TimestampMs, TimestampMs)],
    starts: &mut Vec<TimestampMs>,
) {
    let new = times.get(from..).unwrap_or_default();
    let start = |t: &TimestampMs| {
        let at = known.partition_point(|k| k.0 < *t);
        known.get(at).filter(|k| k.0 == *t).map_or(0, |k| k.1)
    };
    if starts.is_empty() && !new.iter().any(|t| start(t) != 0) {
        return;
    }
    starts.resize(from, 0);
    starts.extend(new.iter().map(start));
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
