//! One series of the head: its labels, closed chunks, the open chunk, and what few series need.

use std::sync::Arc;

use super::closed::Closed;
use super::late::{self, Late, LateHistogram, Rare};
use crate::model::{FloatHistogram, TimestampMs};
use crate::tsdb::chunk::histogram::{OpenHistograms, identical};
use crate::tsdb::chunk::xor::OpenXor;
use crate::tsdb::chunk::{View, put_histograms, put_xor, seal_histograms, seal_xor};
use crate::tsdb::error::AppendError;
use crate::tsdb::limits::{
    CHUNK_SAMPLES, EARLY_SAMPLES, LATE_SAMPLES, REST_MS, STOPPED_INTERVALS, STOPPED_SAMPLES, block_number,
};
use crate::tsdb::selection::{self, Part};
use crate::tsdb::self_metrics::HEAD_CHUNKS;

/// A series. Kept near 130 bytes: a million of them must fit beside their open chunks.
#[derive(Debug)]
pub(crate) struct Series {
    /// Numbers of its labels in the label index, in order of names.
    pub pairs: Box<[u32]>,
    /// Chunks that take no more samples; those of floats are in order and do not overlap, those of histograms likewise but for late
    /// ones.
    pub closed: Vec<Closed>,
    /// The open float chunk.
    pub open: OpenXor,
    pub rare: Option<Box<Rare>>,
    /// Time of the newest sample.
    pub newest: TimestampMs,
    /// Zero if the place is free.
    pub epoch: u32,
    /// Had no samples when the head was last swept.
    pub idle: bool,
    /// Samples of the open chunk when a checkpoint last looked.
    pub seen: u16,
}

/// How much is being written to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteRate {
    /// Nothing for some seconds.
    Nothing,
    /// Little for some seconds.
    Little,
    /// More than that.
    Much,
}

/// Where a sample goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// After all others.
    Next,
    /// Before some.
    Late,
    /// It is there already.
    Same,
}

/// A sample's value as asked about.
pub(crate) enum Value<'a> {
    Float(f64),
    Histogram(&'a FloatHistogram),
}

impl Default for Series {
    fn default() -> Self {
        Series {
            pairs: Box::default(),
            closed: Vec::new(),
            open: OpenXor::default(),
            rare: None,
            newest: TimestampMs::MIN,
            epoch: 0,
            idle: false,
            seen: 0,
        }
    }
}

impl Series {
    pub(crate) fn new(pairs: Box<[u32]>, epoch: u32) -> Self {
        Series { pairs, epoch, ..Series::default() }
    }

    /// Whether it holds no sample.
    pub(crate) fn is_empty(&self) -> bool {
        self.closed.is_empty() && self.open.len() == 0 && self.rare.as_ref().is_none_or(|r| r.is_empty())
    }

    /// Time of the oldest sample; the greatest time there is if it has none.
    pub(crate) fn oldest(&self) -> TimestampMs {
        let closed = self.closed.iter().map(Closed::mint);
        let open = (self.open.len() > 0).then(|| self.open.first_t());
        let rare = self.rare.iter().flat_map(|r| {
            let open = (r.open.len() > 0).then(|| r.open.first_t());
            open.into_iter().chain(r.late.first().map(|l| l.t)).chain(r.late_histograms.first().map(|l| l.t))
        });
        closed.chain(open).chain(rare).min().unwrap_or(TimestampMs::MAX)
    }

    /// How many chunks it has, open ones counted.
    pub(crate) fn chunk_count(&self) -> usize {
        let histograms = self.rare.as_ref().is_some_and(|r| r.open.len() > 0);
        self.closed.len() + usize::from(self.open.len() > 0) + usize::from(histograms)
    }

    /// How many samples it has (reads the heads of all chunks).
    pub(crate) fn sample_count(&self) -> u64 {
        let closed: usize = self.closed.iter().map(Closed::sample_count).sum();
        let rare = self.rare.as_ref().map_or(0, |r| usize::from(r.open.len()) + r.late.len() + r.late_histograms.len());
        (closed + usize::from(self.open.len()) + rare) as u64
    }

    /// Where a sample belongs; samples older than `floor` must come in order.
    pub(crate) fn place(&self, t: TimestampMs, v: &Value<'_>, floor: TimestampMs) -> Result<Place, AppendError> {
        if t > self.newest || self.epoch == 0 {
            return Ok(Place::Next);
        }
        if t < floor && t != self.newest {
            return Err(AppendError::OutOfOrder);
        }
        match (self.at(t), v) {
            (None, _) if t < floor => Err(AppendError::OutOfOrder),
            (None, _) => Ok(Place::Late),
            (Some(Found::Float(old)), Value::Float(new)) if old.to_bits() == new.to_bits() => Ok(Place::Same),
            (Some(Found::Histogram(old)), Value::Histogram(new)) if identical(&old, new) => Ok(Place::Same),
            (Some(_), _) => Err(AppendError::Duplicate),
        }
    }

    fn at(&self, t: TimestampMs) -> Option<Found> {
        // The newest sample is asked about most: senders repeat it.
        if self.open.len() > 0 && t == self.open.last_t() {
            return Some(Found::Float(self.open.last_v()));
        }
        if let Some(r) = &self.rare {
            if let Ok(i) = r.late.binary_search_by_key(&t, |l| l.t) {
                return r.late.get(i).map(|l| Found::Float(l.v));
            }
            if let Ok(i) = r.late_histograms.binary_search_by_key(&t, |l| l.t) {
                return r.late_histograms.get(i).map(|l| Found::Histogram(l.h.clone()));
            }
        }
        let (mut parts, mut copies) = (Vec::new(), Vec::new());
        self.capture(t, t, &mut parts, (0, &mut copies));
        let mut found = None;
        let mut buffer = Vec::new();
        for part in &parts {
            let data = match part {
                Part::Closed(c) => c.read(&mut buffer).ok(),
                Part::Copied { at, len, .. } => copies.get(*at as usize..*at as usize + *len as usize),
                Part::Stored { .. } => None,
            };
            // Of a damaged chunk nothing is left to compare with: the sample is taken as new.
            let Some(view) = data.and_then(|data| View::parse(data).ok()) else { continue };
            let _damage = view.floats(|x, v| {
                if x == t {
                    found = Some(Found::Float(v));
                }
                x < t
            });
            let _damage = view.histograms(|x, h| {
                if x == t {
                    found = Some(Found::Histogram(h.clone()));
                }
                x < t
            });
        }
        found
    }

    /// Stores a float where [`Self::place`] said. Returns whether a chunk was closed.
    pub(crate) fn push_float(&mut self, place: Place, t: TimestampMs, v: f64, start: TimestampMs) -> bool {
        match place {
            Place::Same => false,
            Place::Late => {
                let rare = self.rare.get_or_insert_default();
                let i = rare.late.partition_point(|l| l.t < t);
                rare.late.insert(i, Late { t, v, start });
                rare.late.len() >= LATE_SAMPLES && self.merge_late()
            }
            Place::Next => {
                self.newest = t;
                self.push_next(t, v, start)
            }
        }
    }

    fn push_next(&mut self, t: TimestampMs, v: f64, start: TimestampMs) -> bool {
        let at_border = self.open.len() > 0 && block_number(self.open.first_t()) != block_number(t);
        if at_border {
            self.close_floats();
        }
        if self.open.len() == 0 {
            HEAD_CHUNKS.inc();
        }
        let known = self.rare.as_ref().and_then(|r| r.starts.last()).map_or(0, |s| s.1);
        if start != known {
            let n = self.open.len();
            self.rare.get_or_insert_default().starts.push((n, start));
        }
        self.open.push(t, v);
        let full = self.open.len() >= CHUNK_SAMPLES;
        if full {
            self.close_floats();
        }
        at_border || full
    }

    fn close_floats(&mut self) {
        let starts = self.rare.as_mut().map(|r| std::mem::take(&mut r.starts)).unwrap_or_default();
        self.closed.reserve_exact(1);
        self.closed.push(seal_xor(&self.open, &starts).into());
        // Its memory goes too: beside the closed chunk it would lie idle for an hour.
        self.open = OpenXor::default();
    }

    /// Closes the open float chunk if it is not likely to grow. Says whether it did. It is not if the series has stopped: the newest sample
    /// of the store, at `newest`, is some intervals of the series after its own. Of a busy store it must have got nothing since this was
    /// last asked as well, for samples of long ago may be coming in just now. And it is not while nothing comes at all and `clock`, the
    /// time of now, is some intervals after its newest sample: between two scrapes nothing comes either.
    pub(crate) fn close_early(&mut self, rate: WriteRate, newest: TimestampMs, clock: TimestampMs) -> bool {
        let n = self.open.len();
        let unchanged = std::mem::replace(&mut self.seen, n) == n;
        let stopped = (rate != WriteRate::Much || unchanged) && self.is_behind(newest, 0);
        let resting = rate == WriteRate::Nothing && self.is_behind(clock, REST_MS);
        let least = match (stopped, resting) {
            (true, _) => STOPPED_SAMPLES,
            (false, true) => EARLY_SAMPLES,
            (false, false) => return false,
        };
        if n < least {
            return false;
        }
        self.close_floats();
        true
    }

    /// Whether its newest sample is more than some of its own intervals before `now`, and more than `least` milliseconds.
    fn is_behind(&self, now: TimestampMs, least: i64) -> bool {
        let steps = i64::from(self.open.len().saturating_sub(1)).max(1);
        let interval = self.open.last_t().saturating_sub(self.open.first_t()) / steps;
        now.saturating_sub(self.newest) > interval.saturating_mul(STOPPED_INTERVALS).max(least)
    }

    /// Stores a histogram where [`Self::place`] said. Returns whether a chunk was closed.
    pub(crate) fn push_histogram(
        &mut self,
        place: Place,
        t: TimestampMs,
        h: &Arc<FloatHistogram>,
        start: TimestampMs,
    ) -> bool {
        let rare = self.rare.get_or_insert_default();
        match place {
            Place::Same => return false,
            Place::Late => {
                let i = rare.late_histograms.partition_point(|l| l.t < t);
                rare.late_histograms.insert(i, LateHistogram { t, h: h.clone(), start });
                let many = rare.late_histograms.len() >= LATE_SAMPLES;
                if many {
                    let rows = std::mem::take(&mut rare.late_histograms);
                    // Like all chunks they end at the borders of blocks.
                    let parts = rows.chunk_by(|a, b| block_number(a.t) == block_number(b.t));
                    for part in parts.flat_map(|p| p.chunks(CHUNK_SAMPLES.into())) {
                        self.closed.push(late::histogram_chunk(part).into());
                        HEAD_CHUNKS.inc();
                    }
                }
                return many;
            }
            Place::Next => {}
        }
        self.newest = t;
        let full = rare.open.len() > 0
            && (rare.open.len() >= CHUNK_SAMPLES || block_number(rare.open.first_t()) != block_number(t));
        if full {
            let starts = std::mem::take(&mut rare.histogram_starts);
            self.closed.push(seal_histograms(&rare.open, &starts).into());
            rare.open = OpenHistograms::default();
        }
        if rare.open.len() == 0 {
            HEAD_CHUNKS.inc();
        }
        if start != rare.histogram_starts.last().map_or(0, |s| s.1) {
            rare.histogram_starts.push((rare.open.len(), start));
        }
        rare.open.push(t, h.clone());
        full
    }

    /// Merges the late floats into the chunks they belong to, so that chunks stay in order.
    fn merge_late(&mut self) -> bool {
        let Some(rare) = self.rare.as_mut() else { return false };
        let late = std::mem::take(&mut rare.late);
        let Some(from) = late.first().map(|l| l.t) else { return false };
        let open_starts = std::mem::take(&mut rare.starts);
        let before = self.chunk_count();
        let mut rows = late;
        let mut kept = Vec::with_capacity(self.closed.len() + 2);
        let open = (self.open.len() > 0).then(|| seal_xor(&self.open, &open_starts).into());
        self.open = OpenXor::default();
        let mut buffer = Vec::new();
        for c in self.closed.drain(..).chain(open) {
            let apart = c.maxt() < from || c.is_histograms();
            if apart || c.read(&mut buffer).and_then(|data| Ok(late::rows(data, &mut rows)?)).is_err() {
                kept.push(c);
            }
        }
        self.closed = kept;
        HEAD_CHUNKS.sub((before - self.chunk_count()) as i64);
        rows.sort_unstable_by_key(|r| r.t);
        for r in rows {
            self.push_next(r.t, r.v, r.start);
        }
        true
    }

    /// Adds the chunks that overlap `[mint, maxt]`, in order: closed ones by reference, open ones as copies at the end of `copies`, which
    /// has that number in the selection.
    pub(crate) fn capture(
        &self,
        mint: TimestampMs,
        maxt: TimestampMs,
        parts: &mut Vec<Part>,
        (number, copies): (u32, &mut Vec<u8>),
    ) {
        let overlaps = |a: TimestampMs, b: TimestampMs| a <= maxt && b >= mint;
        parts.extend(self.closed.iter().filter(|c| overlaps(c.mint(), c.maxt())).cloned().map(Part::Closed));
        let mut copied = |mint, maxt, put: &mut dyn FnMut(&mut Vec<u8>)| {
            let at = copies.len();
            put(copies);
            // An open chunk has some kilobytes at most.
            parts.push(Part::Copied { mint, maxt, at: at as u64, len: (copies.len() - at) as u32, copies: number });
        };
        if self.open.len() > 0 && overlaps(self.open.first_t(), self.open.last_t()) {
            let starts = self.rare.as_ref().map_or(&[][..], |r| &r.starts);
            copied(self.open.first_t(), self.open.last_t(), &mut |out| put_xor(out, &self.open, starts));
        }
        let Some(r) = &self.rare else { return };
        if let Some(last) = r.open.last().filter(|l| overlaps(r.open.first_t(), l.0)) {
            copied(r.open.first_t(), last.0, &mut |out| put_histograms(out, &r.open, &r.histogram_starts));
        }
    }

    /// What lies in `[mint, maxt]` of what few series have.
    pub(crate) fn rare_between(&self, mint: TimestampMs, maxt: TimestampMs) -> Option<selection::Rare> {
        let r = self.rare.as_ref()?;
        let seen = |t: TimestampMs| t >= mint && t <= maxt;
        Some(selection::Rare {
            late: r.late.iter().filter(|l| seen(l.t)).copied().collect(),
            late_histograms: r.late_histograms.iter().filter(|l| seen(l.t)).cloned().collect(),
            ..selection::Rare::default()
        })
    }

    /// Whether anything lies in `[mint, maxt]`.
    pub(crate) fn has_between(&self, mint: TimestampMs, maxt: TimestampMs) -> bool {
        let overlaps = |a: TimestampMs, b: TimestampMs| a <= maxt && b >= mint;
        (self.open.len() > 0 && overlaps(self.open.first_t(), self.open.last_t()))
            || self.closed.iter().any(|c| overlaps(c.mint(), c.maxt()))
            || self.rare.as_ref().is_some_and(|r| {
                r.open.last().is_some_and(|l| overlaps(r.open.first_t(), l.0))
                    || r.late.iter().any(|l| overlaps(l.t, l.t))
                    || r.late_histograms.iter().any(|l| overlaps(l.t, l.t))
            })
    }

    /// Drops all chunks that end before `t`; chunks never reach over the end of a block.
    pub(crate) fn drop_before(&mut self, t: TimestampMs) {
        let before = self.chunk_count();
        self.closed.retain(|c| c.maxt() >= t);
        self.closed.shrink_to_fit();
        if self.open.len() > 0 && self.open.last_t() < t {
            self.open = OpenXor::default();
            if let Some(r) = &mut self.rare {
                r.starts.clear();
            }
        }
        if let Some(r) = &mut self.rare {
            if r.open.last().is_some_and(|l| l.0 < t) {
                r.open = OpenHistograms::default();
                r.histogram_starts.clear();
            }
            r.late.retain(|l| l.t >= t);
            r.late_histograms.retain(|l| l.t >= t);
            if r.is_empty() {
                self.rare = None;
            }
        }
        HEAD_CHUNKS.sub((before - self.chunk_count()) as i64);
    }
}

enum Found {
    Float(f64),
    Histogram(Arc<FloatHistogram>),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shortly before the end of a block.
    const T: i64 = 7_000_000;

    /// A series with samples in even steps, the last of them at `T`.
    fn series(n: i64, interval: i64) -> Series {
        let mut s = Series::new(Box::default(), 1);
        for i in 1 - n..=0 {
            s.push_float(Place::Next, T + i * interval, i as f64, 0);
        }
        s
    }

    #[test]
    fn chunks_are_closed_early_only_when_no_sample_is_to_come() {
        use WriteRate::{Little, Much, Nothing};
        // Name, samples, interval, rate, times of the store's newest sample and of the clock after the series' newest, closed.
        let cases = [
            ("between two scrapes", 100, 15_000, Nothing, 0, 15_000, false),
            ("two scrapes were missed", 100, 15_000, Nothing, 0, 45_000, false),
            ("four were missed, and a minute is over", 100, 15_000, Nothing, 0, 60_001, true),
            ("few samples, nobody writes", 59, 15_000, Nothing, 0, 60_001, false),
            ("each minute", 100, 60_000, Nothing, 0, 200_000, false),
            ("each minute, four missed", 100, 60_000, Nothing, 0, 240_001, true),
            ("each second, a pause", 100, 1_000, Nothing, 0, 30_000, false),
            ("each second, for long", 100, 1_000, Nothing, 0, 61_000, true),
            ("data of long ago, in a pause of its sender", 100, 15_000, Nothing, 0, 86_400_000, true),
            ("others go on", 10, 15_000, Little, 60_001, 60_001, true),
            ("others go on, not for long", 100, 15_000, Little, 60_000, 60_000, false),
            ("others go on, too few samples", 9, 15_000, Little, 600_000, 600_000, false),
            ("busy, as far as is known", 100, 15_000, Much, 0, 600_000, false),
            ("the clock was set back", 100, 15_000, Nothing, -600_000, -600_000, false),
        ];
        for (name, n, interval, rate, newest, clock, want) in cases {
            assert_eq!(series(n, interval).close_early(rate, T + newest, T + clock), want, "{name}");
        }
    }

    #[test]
    fn in_a_busy_store_a_series_has_stopped_if_it_got_nothing_between_two_looks() {
        let mut s = series(100, 15_000);
        let later = T + 600_000;
        assert!(!s.close_early(WriteRate::Much, later, later));
        s.push_float(Place::Next, T + 15_000, 1.0, 0);
        assert!(!s.close_early(WriteRate::Much, later, later), "samples of long ago are coming in");
        assert!(s.close_early(WriteRate::Much, later, later));
        assert!(!s.close_early(WriteRate::Much, later, later));
        assert_eq!((s.closed.len(), s.open.len()), (1, 0));
    }
}
