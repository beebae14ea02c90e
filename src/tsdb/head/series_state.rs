//! What a checkpoint holds of a series: where its full chunks are, and its open ones as they stand.

use super::chunk_files::{ChunkFiles, FileChunk};
use super::closed::Closed;
use super::late::{Late, LateHistogram, Rare};
use super::series::Series;
use crate::disk::varint::{put_bytes, put_i64, put_u64, take_bytes, take_i64, take_u64};
use crate::model::TimestampMs;
use crate::tsdb::SeriesRef;
use crate::tsdb::chunk::histogram::{OpenHistograms, put_row, take_row};
use crate::tsdb::chunk::number::{put_f64, take_f64};
use crate::tsdb::chunk::xor::OpenXor;
use crate::tsdb::chunk::{Chunk, StartRuns};

const CLOSED: u8 = 1;
const OPEN: u8 = 2;
const RARE: u8 = 4;
const KNOWN: u8 = CLOSED | OPEN | RARE;

/// What entries of one record are written relative to.
#[derive(Debug, Default)]
pub(crate) struct Before {
    series: u64,
    newest: i64,
    mint: i64,
    end: u32,
}

/// An entry read back.
#[derive(Debug)]
pub(crate) struct SeriesState {
    pub series: SeriesRef,
    /// Has no labels.
    pub state: Series,
    /// Chunks whose file is not there.
    pub lost: u64,
}

/// Appends an entry; a series without samples has none.
pub(crate) fn put(out: &mut Vec<u8>, before: &mut Before, r: SeriesRef, s: &Series) {
    if s.is_empty() {
        return;
    }
    put_i64(out, r.0.wrapping_sub(before.series) as i64);
    before.series = r.0;
    let flag = |on: bool, f: u8| if on { f } else { 0 };
    let rare = s.rare.as_ref().filter(|r| !r.is_empty());
    out.push(flag(!s.closed.is_empty(), CLOSED) | flag(s.open.len() > 0, OPEN) | flag(rare.is_some(), RARE));
    put_i64(out, s.newest.wrapping_sub(before.newest));
    before.newest = s.newest;
    if !s.closed.is_empty() {
        put_u64(out, s.closed.len() as u64);
        for c in &s.closed {
            put_closed(out, before, c);
        }
    }
    if s.open.len() > 0 {
        s.open.put_state(out);
    }
    if let Some(rare) = rare {
        put_rare(out, rare);
    }
}

fn put_closed(out: &mut Vec<u8>, before: &mut Before, c: &Closed) {
    match c {
        Closed::Memory(c) => {
            put_u64(out, 0);
            put_bytes(out, &c.data);
        }
        Closed::File(c) => {
            put_u64(out, u64::from(c.file_number()) + 1);
            put_i64(out, i64::from(c.offset) - i64::from(before.end));
            put_u64(out, c.len.into());
            put_u64(out, u64::from(c.samples) << 1 | u64::from(c.histograms));
            before.end = c.offset.wrapping_add(c.len);
        }
    }
    put_i64(out, c.mint().wrapping_sub(before.mint));
    put_u64(out, c.maxt().wrapping_sub(c.mint()) as u64);
    before.mint = c.mint();
}

fn put_runs(out: &mut Vec<u8>, runs: &StartRuns) {
    put_u64(out, runs.len() as u64);
    for (i, start) in runs {
        put_u64(out, u64::from(*i));
        put_i64(out, *start);
    }
}

fn put_rare(out: &mut Vec<u8>, rare: &Rare) {
    put_runs(out, &rare.starts);
    put_runs(out, &rare.histogram_starts);
    put_u64(out, rare.open.len().into());
    put_bytes(out, rare.open.rows());
    put_u64(out, rare.late.len() as u64);
    for l in &rare.late {
        put_i64(out, l.t);
        put_f64(out, l.v);
        put_i64(out, l.start);
    }
    put_u64(out, rare.late_histograms.len() as u64);
    for l in &rare.late_histograms {
        put_i64(out, l.start);
        put_row(out, None, l.t, &l.h);
    }
}

/// Takes an entry off the front of `input`. `None` on damage.
pub(crate) fn take(input: &mut &[u8], before: &mut Before, files: &ChunkFiles) -> Option<SeriesState> {
    before.series = before.series.wrapping_add(take_i64(input)? as u64);
    let (flags, rest) = input.split_first()?;
    *input = rest;
    if flags & !KNOWN != 0 {
        return None;
    }
    before.newest = before.newest.wrapping_add(take_i64(input)?);
    let mut state = Series { newest: before.newest, ..Series::default() };
    let mut lost = 0;
    if flags & CLOSED != 0 {
        let n = take_u64(input)?;
        // An entry of a chunk has four bytes at least.
        state.closed.reserve_exact(usize::try_from(n).ok()?.min(input.len() / 4));
        for _ in 0..n {
            match take_closed(input, before, files)? {
                Some(c) => state.closed.push(c),
                None => lost += 1,
            }
        }
    }
    if flags & OPEN != 0 {
        state.open = OpenXor::take_state(input)?;
    }
    if flags & RARE != 0 {
        state.rare = Some(Box::new(take_rare(input)?));
    }
    Some(SeriesState { series: SeriesRef(before.series), state, lost })
}

/// A chunk, or nothing where its file is not there.
fn take_closed(input: &mut &[u8], before: &mut Before, files: &ChunkFiles) -> Option<Option<Closed>> {
    let file = take_u64(input)?;
    if file == 0 {
        let data = take_bytes(input)?.into();
        let (mint, span) = take_times(input, before)?;
        let maxt = mint.checked_add_unsigned(span)?;
        return Some(Some(Chunk { mint, maxt, data }.into()));
    }
    let number = u32::try_from(file - 1).ok()?;
    let offset = u32::try_from(i64::from(before.end).checked_add(take_i64(input)?)?).ok()?;
    let len = u32::try_from(take_u64(input)?).ok()?;
    let kind = take_u64(input)?;
    before.end = offset.wrapping_add(len);
    let (mint, span) = take_times(input, before)?;
    let kind = (u16::try_from(kind >> 1).ok()?, kind & 1 == 1);
    let span = u32::try_from(span).ok()?;
    Some(files.get(number).map(|f| Closed::File(FileChunk::new(f.clone(), (mint, span), (offset, len), kind))))
}

fn take_times(input: &mut &[u8], before: &mut Before) -> Option<(TimestampMs, u64)> {
    before.mint = before.mint.wrapping_add(take_i64(input)?);
    Some((before.mint, take_u64(input)?))
}

fn take_runs(input: &mut &[u8]) -> Option<StartRuns> {
    (0..take_u64(input)?).map(|_| Some((u16::try_from(take_u64(input)?).ok()?, take_i64(input)?))).collect()
}

fn take_rare(input: &mut &[u8]) -> Option<Rare> {
    let (starts, histogram_starts) = (take_runs(input)?, take_runs(input)?);
    let n = u16::try_from(take_u64(input)?).ok()?;
    let open = OpenHistograms::from_rows(n, take_bytes(input)?)?;
    let mut rare = Rare { open, starts, histogram_starts, ..Rare::default() };
    for _ in 0..take_u64(input)? {
        rare.late.push(Late { t: take_i64(input)?, v: take_f64(input)?, start: take_i64(input)? });
    }
    for _ in 0..take_u64(input)? {
        let start = take_i64(input)?;
        let (t, h) = take_row(input, None)?;
        rare.late_histograms.push(LateHistogram { t, h: h.into(), start });
    }
    Some(rare)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::FloatHistogram;
    use crate::tsdb::head::series::{Place, Value};

    fn filled() -> Series {
        let mut s = Series::new(Box::default(), 3);
        let h = Arc::new(FloatHistogram { count: 4.0, positive_buckets: vec![1.0, 3.0], ..FloatHistogram::default() });
        for i in 0..600i64 {
            let place = s.place(i * 1000, &Value::Float(1.0), i64::MIN).unwrap();
            s.push_float(place, i * 1000, i as f64 / 3.0, if i > 500 { 77 } else { 0 });
        }
        s.push_histogram(Place::Next, 600_500, &h, 5);
        s.push_histogram(Place::Late, 400_500, &h, 0);
        s.push_float(Place::Late, 300_500, 0.5, 9);
        s
    }

    #[test]
    fn a_series_goes_on_where_it_was_and_damage_is_no_panic() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = ChunkFiles::open(dir.path()).unwrap();
        let (mut a, mut b) = (filled(), filled());
        let r = SeriesRef::new(9, 3);
        let Closed::Memory(first) = a.closed[0].clone() else { panic!() };
        let place = files.append([(r, &*first)].into_iter()).unwrap().remove(0);
        a.closed[0] = Closed::File(place);
        let (mut out, mut before) = (Vec::new(), Before::default());
        put(&mut out, &mut before, SeriesRef::new(2, 1), &b);
        put(&mut out, &mut before, r, &a);
        put(&mut out, &mut before, SeriesRef::new(10, 1), &Series::new(Box::default(), 1));
        let (mut input, mut before) = (out.as_slice(), Before::default());
        let other = take(&mut input, &mut before, &files).unwrap();
        let mut got = take(&mut input, &mut before, &files).unwrap();
        assert!(input.is_empty());
        assert_eq!((other.series, got.series, got.lost), (SeriesRef::new(2, 1), r, 0));
        assert_eq!((got.state.newest, got.state.chunk_count()), (a.newest, a.chunk_count()));
        assert_eq!(got.state.sample_count(), b.sample_count());
        got.state.epoch = 3;
        // Both go on alike: the next samples give the same bytes.
        for s in [&mut got.state, &mut b] {
            for i in 601..700i64 {
                let place = s.place(i * 1000, &Value::Float(1.0), 0).unwrap();
                s.push_float(place, i * 1000, i as f64 / 7.0, 78);
            }
        }
        let bytes = |s: &Series| {
            let mut out = Vec::new();
            put(&mut out, &mut Before::default(), r, s);
            out
        };
        let mut buffer = Vec::new();
        let at_first = Closed::Memory(
            Chunk { data: got.state.closed[0].read(&mut buffer).unwrap().into(), ..(*first).clone() }.into(),
        );
        got.state.closed[0] = at_first;
        assert_eq!(bytes(&got.state), bytes(&b));
        for cut in 0..out.len() {
            let (mut input, mut before) = (&out[..cut], Before::default());
            while take(&mut input, &mut before, &files).is_some() && !input.is_empty() {}
            let mut bad = out.clone();
            bad[cut] ^= 0x55;
            let (mut input, mut before) = (bad.as_slice(), Before::default());
            while take(&mut input, &mut before, &files).is_some() && !input.is_empty() {}
        }
    }
}
