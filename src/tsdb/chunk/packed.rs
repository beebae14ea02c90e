//! Reads the packed encoding of float chunks, which blocks of the first format have: times by their step or through `pco` (quantile
//! compression), values constant, scaled to whole numbers, or as floats, both through `pco`. New chunks are made by `columns`.
//!
//! Body: times (`0`, first, step | `1`, first, pco of the rest), then the staleness markers' places (count, gaps), then the other
//! values (`0` constant | `1`+power pco of integers | `2` pco of floats). Integers are varints; a pco part has its length before it.

use pco::data_types::Number;
use pco::wrapped::FileDecompressor;

use super::number::take_f64;
use crate::disk::varint::{take_bytes, take_i64, take_u64};
use crate::model::TimestampMs;
use crate::model::sample::STALE_NAN_BITS;

const REGULAR: u8 = 0;
const PCO_TIMES: u8 = 1;
const CONSTANT: u8 = 0;
const SCALED: u8 = 1;
const FLOATS: u8 = 2;
/// Powers of ten that values were scaled by.
const POWERS: [f64; 7] = [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6];
/// A chunk never has more samples; larger counts are damage.
const MAX_SAMPLES: usize = 1 << 16;

fn take_pco<T: Number + Default>(input: &mut &[u8], n: usize) -> Option<Vec<T>> {
    let part = take_bytes(input)?;
    let (file, rest) = FileDecompressor::new(part).ok()?;
    let (mut chunk, rest) = file.chunk_decompressor::<T, &[u8]>(rest).ok()?;
    let mut numbers = vec![T::default(); n];
    let progress = chunk.page_decompressor(rest, n).ok()?.read(&mut numbers).ok()?;
    (progress.n_processed == n && progress.finished).then_some(numbers)
}

/// Decodes `n` samples. `None` on damage.
pub(crate) fn decode(mut input: &[u8], n: usize) -> Option<(Vec<TimestampMs>, Vec<f64>)> {
    if !(2..=MAX_SAMPLES).contains(&n) {
        return None;
    }
    let input = &mut input;
    let (kind, rest) = input.split_first()?;
    *input = rest;
    let mut t = take_i64(input)?;
    let mut times = Vec::with_capacity(n);
    match *kind {
        REGULAR => {
            let step = take_i64(input)?;
            for _ in 0..n {
                times.push(t);
                t = t.wrapping_add(step);
            }
        }
        PCO_TIMES => {
            times.push(t);
            for d in take_pco::<i64>(input, n - 1)? {
                t = t.wrapping_add(d);
                times.push(t);
            }
        }
        _ => return None,
    }
    Some((times, decode_values(input, n)?))
}

fn decode_values(input: &mut &[u8], n: usize) -> Option<Vec<f64>> {
    let stale_count = usize::try_from(take_u64(input)?).ok().filter(|c| *c <= n)?;
    let mut stale = Vec::with_capacity(stale_count);
    let mut last = 0usize;
    for _ in 0..stale_count {
        last = last.checked_add(usize::try_from(take_u64(input)?).ok()?).filter(|i| *i < n)?;
        stale.push(last);
    }
    let plain = n - stale_count;
    let (kind, rest) = input.split_first()?;
    *input = rest;
    let mut values = match *kind {
        CONSTANT => vec![take_f64(input)?; plain],
        SCALED => {
            let (power, rest) = input.split_first()?;
            *input = rest;
            let factor = *POWERS.get(usize::from(*power))?;
            take_pco::<i64>(input, plain)?.into_iter().map(|i| i as f64 / factor).collect()
        }
        FLOATS => take_pco::<f64>(input, plain)?,
        _ => return None,
    };
    if !stale.is_empty() {
        let mut all = Vec::with_capacity(n);
        let (mut plain, mut stale) = (values.into_iter(), stale.into_iter().peekable());
        for i in 0..n {
            if stale.next_if_eq(&i).is_some() {
                all.push(f64::from_bits(STALE_NAN_BITS));
            } else {
                all.push(plain.next()?);
            }
        }
        values = all;
    }
    Some(values)
}
