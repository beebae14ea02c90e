//! Compressed runs of samples of one series.
//!
//! `encoding(1) | n(varint) | [start runs] | first time (xor only) | body`. The low bits of the first byte name the encoding, its high bit
//! says that start timestamps follow: `count`, then for each run the distance of its first sample and the start.

mod codes;
pub(crate) mod columns;
pub(crate) mod histogram;
mod ints;
pub(crate) mod number;
pub(crate) mod packed;
#[cfg(test)]
mod tests;
pub(crate) mod xor;

use std::sync::Arc;

use crate::disk::varint::{put_i64, put_u64, take_i64, take_u64};
use crate::model::{FloatHistogram, TimestampMs};
use columns::Encoder;
use histogram::OpenHistograms;
use xor::OpenXor;

const XOR: u8 = 1;
const PACKED: u8 = 2;
const HISTOGRAMS: u8 = 3;
const COLUMNS: u8 = 4;
const HAS_STARTS: u8 = 0x80;

/// Start timestamps of a chunk as runs: the sample from which a start holds, and the start (0 for none).
pub(crate) type StartRuns = Vec<(u16, TimestampMs)>;

/// A closed chunk in memory.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Chunk {
    /// Time of the first sample.
    pub mint: TimestampMs,
    /// Time of the last sample.
    pub maxt: TimestampMs,
    /// See the module.
    pub data: Box<[u8]>,
}

/// A chunk that cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a chunk of {len} bytes is damaged")]
pub struct DamagedChunk {
    /// Its length.
    pub len: usize,
}

/// The parts of an encoded chunk.
pub(crate) struct View<'a> {
    encoding: u8,
    n: usize,
    starts: StartRuns,
    body: &'a [u8],
    len: usize,
}

fn put_header(out: &mut Vec<u8>, encoding: u8, n: u16, starts: &[(u16, TimestampMs)]) {
    out.push(if starts.is_empty() { encoding } else { encoding | HAS_STARTS });
    put_u64(out, n.into());
    if !starts.is_empty() {
        put_u64(out, starts.len() as u64);
        let mut last = 0;
        for (i, start) in starts {
            put_u64(out, u64::from(i - last));
            put_i64(out, *start);
            last = *i;
        }
    }
}

/// Encodes the samples of an open float chunk as they stand.
pub(crate) fn seal_xor(open: &OpenXor, starts: &[(u16, TimestampMs)]) -> Chunk {
    let mut data = Vec::with_capacity(open.bits().len() + 12 + starts.len() * 9);
    put_xor(&mut data, open, starts);
    Chunk { mint: open.first_t(), maxt: open.last_t(), data: data.into_boxed_slice() }
}

/// Appends the samples of an open float chunk, encoded as they stand.
pub(crate) fn put_xor(out: &mut Vec<u8>, open: &OpenXor, starts: &[(u16, TimestampMs)]) {
    put_header(out, XOR, open.len(), starts);
    put_i64(out, open.first_t());
    out.extend_from_slice(open.bits());
}

/// Encodes the rows of an open histogram chunk as they stand.
pub(crate) fn seal_histograms(open: &OpenHistograms, starts: &[(u16, TimestampMs)]) -> Chunk {
    let mut data = Vec::with_capacity(open.rows().len() + 4 + starts.len() * 9);
    put_histograms(&mut data, open, starts);
    let maxt = open.last().map_or(0, |l| l.0);
    Chunk { mint: open.first_t(), maxt, data: data.into_boxed_slice() }
}

/// Appends the rows of an open histogram chunk, encoded as they stand.
pub(crate) fn put_histograms(out: &mut Vec<u8>, open: &OpenHistograms, starts: &[(u16, TimestampMs)]) {
    put_header(out, HISTOGRAMS, open.len(), starts);
    out.extend_from_slice(open.rows());
}

/// Encodes a column of floats (ascending times, fewer than 2^16) in the smallest way known.
pub(crate) fn encode_floats(times: &[TimestampMs], values: &[f64], starts: &[(u16, TimestampMs)]) -> Chunk {
    let mut open = OpenXor::default();
    for (t, v) in times.iter().zip(values) {
        open.push(*t, *v);
    }
    let plain = seal_xor(&open, starts);
    Packer::default().pack(&plain).unwrap_or(plain)
}

/// Makes chunks smaller; keeps its memory from chunk to chunk.
#[derive(Debug, Default)]
pub(crate) struct Packer {
    encoder: Encoder,
    times: Vec<TimestampMs>,
    values: Vec<f64>,
    check_times: Vec<TimestampMs>,
    check_values: Vec<f64>,
    data: Vec<u8>,
}

impl Packer {
    /// A float chunk as columns, if that is smaller and decodes to the same bits.
    pub(crate) fn pack(&mut self, chunk: &Chunk) -> Option<Chunk> {
        self.pack_encoded((chunk.mint, chunk.maxt), &chunk.data)
    }

    /// The same for a chunk given as the times of its first and last sample and its bytes.
    pub(crate) fn pack_encoded(&mut self, (mint, maxt): (TimestampMs, TimestampMs), chunk: &[u8]) -> Option<Chunk> {
        let view = View::parse(chunk).ok()?;
        if view.encoding != XOR || view.n < 2 {
            return None;
        }
        let Packer { encoder, times, values, check_times, check_values, data } = self;
        for times in [&mut *times, &mut *check_times] {
            times.clear();
        }
        for values in [&mut *values, &mut *check_values] {
            values.clear();
        }
        data.clear();
        view.floats(|t, v| {
            times.push(t);
            values.push(v);
            true
        })
        .ok()?;
        put_header(data, COLUMNS, u16::try_from(view.n).ok()?, &view.starts);
        let header = data.len();
        encoder.encode(data, times, values);
        if data.len() >= chunk.len() {
            return None;
        }
        // Samples are thrown away for what stands here: one look that it is the same is cheap beside that.
        columns::decode(data.get(header..)?, view.n, check_times, check_values)?;
        let same =
            check_times == times && check_values.iter().zip(values.iter()).all(|(a, b)| a.to_bits() == b.to_bits());
        same.then(|| Chunk { mint, maxt, data: data.as_slice().into() })
    }
}

/// The times of the first and the last sample of an encoded chunk, and how many it has. `None` if it is damaged.
pub(crate) fn bounds(data: &[u8]) -> Option<((TimestampMs, TimestampMs), u16)> {
    let view = View::parse(data).ok()?;
    let mut times = None;
    let mut note = |t: TimestampMs| {
        times = Some(times.map_or((t, t), |(first, _)| (first, t)));
        true
    };
    view.floats(|t, _| note(t)).ok()?;
    view.histograms(|t, _| note(t)).ok()?;
    Some((times?, u16::try_from(view.n).ok()?))
}

/// Whether the chunk holds histograms.
pub(crate) fn is_histograms(data: &[u8]) -> bool {
    data.first().is_some_and(|b| b & !HAS_STARTS == HISTOGRAMS)
}

impl<'a> View<'a> {
    /// Reads the header of an encoded chunk.
    pub(crate) fn parse(data: &'a [u8]) -> Result<Self, DamagedChunk> {
        Self::try_parse(data).ok_or(DamagedChunk { len: data.len() })
    }

    fn try_parse(data: &'a [u8]) -> Option<Self> {
        let (first, mut rest) = data.split_first()?;
        let n = usize::from(u16::try_from(take_u64(&mut rest)?).ok()?);
        let mut starts = Vec::new();
        if first & HAS_STARTS != 0 {
            let mut at = 0u16;
            for _ in 0..take_u64(&mut rest)?.min(n as u64) {
                at = at.checked_add(u16::try_from(take_u64(&mut rest)?).ok()?)?;
                starts.push((at, take_i64(&mut rest)?));
            }
        }
        Some(View { encoding: first & !HAS_STARTS, n, starts, body: rest, len: data.len() })
    }

    /// How many samples it has.
    pub(crate) fn sample_count(&self) -> usize {
        self.n
    }

    /// Its start timestamps.
    pub(crate) fn starts(&self) -> &[(u16, TimestampMs)] {
        &self.starts
    }

    /// Gives the float samples in order until `each` says `false`; a histogram chunk has none.
    pub(crate) fn floats(&self, mut each: impl FnMut(TimestampMs, f64) -> bool) -> Result<(), DamagedChunk> {
        let done = match self.encoding {
            XOR => {
                let mut body = self.body;
                take_i64(&mut body).and_then(|first_t| xor::decode(body, self.n, first_t, each))
            }
            PACKED => packed::decode(self.body, self.n).map(|(times, values)| {
                for (t, v) in times.into_iter().zip(values) {
                    if !each(t, v) {
                        break;
                    }
                }
            }),
            COLUMNS => {
                let (mut times, mut values) = (Vec::new(), Vec::new());
                columns::decode(self.body, self.n, &mut times, &mut values).map(|()| {
                    for (t, v) in times.into_iter().zip(values) {
                        if !each(t, v) {
                            break;
                        }
                    }
                })
            }
            HISTOGRAMS => Some(()),
            _ => None,
        };
        done.ok_or(DamagedChunk { len: self.len })
    }

    /// Appends the float samples in `[mint, maxt]` to the columns.
    pub(crate) fn floats_between(
        &self,
        mint: TimestampMs,
        maxt: TimestampMs,
        times: &mut Vec<TimestampMs>,
        values: &mut Vec<f64>,
    ) -> Result<(), DamagedChunk> {
        let (had_times, had_values) = (times.len(), values.len());
        let done = match self.encoding {
            XOR => {
                let mut body = self.body;
                take_i64(&mut body)
                    .and_then(|first_t| xor::decode_between(body, self.n, first_t, (mint, maxt), times, values))
            }
            COLUMNS => columns::decode(self.body, self.n, times, values).map(|()| {
                let decoded = times.get(had_times..).unwrap_or_default();
                let (from, to) = (decoded.partition_point(|t| *t < mint), decoded.partition_point(|t| *t <= maxt));
                times.truncate(had_times + to);
                values.truncate(had_values + to);
                times.drain(had_times..had_times + from.min(to));
                values.drain(had_values..had_values + from.min(to));
            }),
            PACKED => packed::decode(self.body, self.n).map(|(t, v)| {
                let (from, to) = (t.partition_point(|x| *x < mint), t.partition_point(|x| *x <= maxt));
                times.extend_from_slice(t.get(from..to).unwrap_or_default());
                values.extend_from_slice(v.get(from..to).unwrap_or_default());
            }),
            HISTOGRAMS => Some(()),
            _ => None,
        };
        done.ok_or_else(|| {
            times.truncate(had_times);
            values.truncate(had_values);
            DamagedChunk { len: self.len }
        })
    }

    /// Gives the histograms in order until `each` says `false`; a float chunk has none.
    pub(crate) fn histograms(
        &self,
        each: impl FnMut(TimestampMs, &Arc<FloatHistogram>) -> bool,
    ) -> Result<(), DamagedChunk> {
        if self.encoding != HISTOGRAMS {
            return Ok(());
        }
        histogram::decode(self.body, self.n, each).ok_or(DamagedChunk { len: self.len })
    }
}
