//! Full float chunks as columns: times by their step where they are regular, values as whole numbers where a power of ten makes
//! them whole, both through `pco` (quantile compression) otherwise. About half the size of XOR on counters and gauges.
//!
//! Body: times (`0`, first, step | `1`, first, pco of the rest), then the staleness markers' places (count, gaps), then the other
//! values (`0` constant | `1`+power pco of integers | `2` pco of floats). Integers are varints; a pco part has its length before it.

use pco::data_types::Number;
use pco::wrapped::{FileCompressor, FileDecompressor};
use pco::{ChunkConfig, DeltaSpec, ModeSpec};

use super::number::{put_f64, take_f64};
use crate::disk::varint::{put_i64, put_u64, take_bytes, take_i64, take_u64};
use crate::model::TimestampMs;
use crate::model::sample::{STALE_NAN_BITS, is_stale_nan};

const REGULAR: u8 = 0;
const PCO_TIMES: u8 = 1;
const CONSTANT: u8 = 0;
const SCALED: u8 = 1;
const FLOATS: u8 = 2;
/// Powers of ten tried for scaling; more decimals are seldom exact and cost a pass each.
const POWERS: [f64; 7] = [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6];
/// pco's level: 8 is its default; chunks of 240 numbers gain nothing above it.
const LEVEL: usize = 8;
/// A chunk never has more samples; larger counts are damage.
const MAX_SAMPLES: usize = 1 << 16;

/// Encodes the columns; `None` if there is nothing to gain or the library fails (the chunk then stays as it is).
pub(crate) fn encode(out: &mut Vec<u8>, times: &[TimestampMs], values: &[f64]) -> Option<()> {
    let (first, second) = (*times.first()?, *times.get(1)?);
    let step = second.wrapping_sub(first);
    if times.windows(2).all(|w| matches!(w, [a, b] if b.wrapping_sub(*a) == step)) {
        out.push(REGULAR);
        put_i64(out, first);
        put_i64(out, step);
    } else {
        out.push(PCO_TIMES);
        put_i64(out, first);
        let mut last = first;
        let deltas: Vec<i64> = times
            .get(1..)?
            .iter()
            .map(|t| {
                let d = t.wrapping_sub(last);
                last = *t;
                d
            })
            .collect();
        put_pco(out, &deltas, ModeSpec::Classic, 0)?;
    }
    encode_values(out, values)
}

fn encode_values(out: &mut Vec<u8>, values: &[f64]) -> Option<()> {
    let mut plain = Vec::with_capacity(values.len());
    let mut stale = Vec::new();
    for (i, v) in values.iter().enumerate() {
        if is_stale_nan(*v) { stale.push(i) } else { plain.push(*v) }
    }
    put_u64(out, stale.len() as u64);
    let mut last = 0;
    for i in stale {
        put_u64(out, (i - last) as u64);
        last = i;
    }
    let first = plain.first().copied().unwrap_or(0.0);
    if plain.iter().all(|v| v.to_bits() == first.to_bits()) {
        out.push(CONSTANT);
        put_f64(out, first);
        return Some(());
    }
    match scale(&plain) {
        Some((power, numbers)) => {
            out.push(SCALED);
            out.push(power);
            put_pco(out, &numbers, ModeSpec::Classic, delta_order(&numbers))
        }
        None => {
            out.push(FLOATS);
            put_pco(out, &plain, ModeSpec::Auto, 0)
        }
    }
}

/// The least power of ten that makes all values whole, checked bit for bit, and the whole numbers.
fn scale(values: &[f64]) -> Option<(u8, Vec<i64>)> {
    let mut numbers = Vec::with_capacity(values.len());
    'powers: for (power, factor) in POWERS.iter().enumerate() {
        numbers.clear();
        for v in values {
            let scaled = (v * factor).round();
            let exact = scaled.abs() < 4.5e15 && ((scaled as i64) as f64 / factor).to_bits() == v.to_bits();
            if !exact {
                continue 'powers;
            }
            numbers.push(scaled as i64);
        }
        return Some((power as u8, numbers));
    }
    None
}

/// How often to take differences before packing: the order whose numbers have the fewest bits.
fn delta_order(numbers: &[i64]) -> usize {
    let bits = |d: i64| u64::from(64 - d.unsigned_abs().leading_zeros());
    let mid = numbers.get(numbers.len() / 2).copied().unwrap_or(0);
    let (mut zero, mut one, mut two) = (0, 0, 0);
    let (mut last, mut last_delta) = (numbers.first().copied().unwrap_or(0), 0);
    for n in numbers {
        let delta = n - last;
        zero += bits(n - mid);
        one += bits(delta);
        two += bits(delta - last_delta);
        (last, last_delta) = (*n, delta);
    }
    if zero <= one && zero <= two {
        0
    } else if one <= two {
        1
    } else {
        2
    }
}

fn put_pco<T: Number>(out: &mut Vec<u8>, numbers: &[T], mode: ModeSpec, order: usize) -> Option<()> {
    let delta = if order == 0 { DeltaSpec::NoOp } else { DeltaSpec::TryConsecutive(order) };
    let config = ChunkConfig::default().with_compression_level(LEVEL).with_mode_spec(mode).with_delta_spec(delta);
    let compressor = FileCompressor::default();
    let mut chunk = compressor.chunk_compressor(numbers, &config).ok()?;
    let mut part = Vec::with_capacity(chunk.meta_size_hint() + chunk.page_size_hint(0) + 8);
    compressor.write_header(&mut part).ok()?;
    chunk.write_meta(&mut part).ok()?;
    chunk.write_page(0, &mut part).ok()?;
    put_u64(out, part.len() as u64);
    out.extend_from_slice(&part);
    Some(())
}

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
