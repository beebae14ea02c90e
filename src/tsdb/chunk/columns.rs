//! Full float chunks as columns: times, places of staleness markers, and values as whole numbers wherever they can be had.
//!
//! Values are constant, or whole after a power of ten, or whole after a power of ten but for an error in their last places (sums of
//! decimals drift so), or else taken as the whole numbers that put floats in order. Columns of whole numbers are in the form of `ints`.

use super::ints::{self, Scratch};
use super::number::{put_f64, take_f64};
use crate::disk::varint::{put_u64, take_u64};
use crate::model::TimestampMs;
use crate::model::sample::{STALE_NAN_BITS, is_stale_nan};

const CONSTANT: u8 = 0;
const SCALED: u8 = 1;
const DRIFTED: u8 = 2;
const ORDERED: u8 = 3;
const KIND_MASK: u8 = 3;
const POWER_SHIFT: u8 = 2;
/// Powers of ten tried for scaling; more decimals are seldom exact and cost a pass each.
const POWERS: [f64; 7] = [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6];
/// Whole numbers up to here survive the way through a float and back, with room for differences.
const MAX_WHOLE: f64 = 4.5e15;
/// Largest error in last places that counts as drift; hours of adding stay far below.
const MAX_DRIFT: u64 = 1 << 10;
/// A chunk never has more samples; larger counts are damage.
const MAX_SAMPLES: usize = 1 << 16;

/// Memory of an encoder that the next call uses again.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    scratch: Scratch,
    plain: Vec<f64>,
    stale: Vec<usize>,
    whole: Vec<i64>,
    errors: Vec<i64>,
    attempt: Vec<u8>,
}

/// Floats as whole numbers in the same order; its own inverse.
fn ordered(bits: i64) -> i64 {
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

impl Encoder {
    /// Appends the columns (at least one sample).
    pub(crate) fn encode(&mut self, out: &mut Vec<u8>, times: &[TimestampMs], values: &[f64]) {
        ints::encode(out, times, &mut self.scratch);
        self.plain.clear();
        self.stale.clear();
        for (i, v) in values.iter().enumerate() {
            if is_stale_nan(*v) { self.stale.push(i) } else { self.plain.push(*v) }
        }
        put_u64(out, self.stale.len() as u64);
        let mut last = 0;
        for i in &self.stale {
            put_u64(out, (i - last) as u64);
            last = *i;
        }
        let first = self.plain.first().copied().unwrap_or(0.0);
        if self.plain.iter().all(|v| v.to_bits() == first.to_bits()) {
            out.push(CONSTANT);
            put_f64(out, first);
            return;
        }
        if let Some(power) = scale(&self.plain, &mut self.whole) {
            out.push(SCALED | power << POWER_SHIFT);
            ints::encode(out, &self.whole, &mut self.scratch);
            return;
        }
        let begin = out.len();
        let drifted = drift(&self.plain, &mut self.whole, &mut self.errors);
        if let Some(power) = drifted {
            out.push(DRIFTED | power << POWER_SHIFT);
            ints::encode(out, &self.whole, &mut self.scratch);
            ints::encode(out, &self.errors, &mut self.scratch);
        }
        self.whole.clear();
        self.whole.extend(self.plain.iter().map(|v| ordered(v.to_bits() as i64)));
        self.attempt.clear();
        self.attempt.push(ORDERED);
        ints::encode(&mut self.attempt, &self.whole, &mut self.scratch);
        if drifted.is_none() || self.attempt.len() < out.len() - begin {
            out.truncate(begin);
            out.extend_from_slice(&self.attempt);
        }
    }
}

/// The whole number next to `v`, unless it is too large. (`round` is a call of the system's library on plain x86-64.)
fn nearest(v: f64) -> Option<i64> {
    (v.abs() < MAX_WHOLE).then_some((v + 0.5f64.copysign(v)) as i64)
}

/// The least power of ten that makes all values whole, checked bit for bit, and the whole numbers.
fn scale(values: &[f64], whole: &mut Vec<i64>) -> Option<u8> {
    'powers: for (power, factor) in POWERS.iter().enumerate() {
        whole.clear();
        for v in values {
            match nearest(v * factor) {
                Some(i) if (i as f64 / factor).to_bits() == v.to_bits() => whole.push(i),
                _ => continue 'powers,
            }
        }
        return Some(power as u8);
    }
    None
}

/// The least power of ten that makes all values nearly whole, the whole numbers, and by how many last places the values differ.
fn drift(values: &[f64], whole: &mut Vec<i64>, errors: &mut Vec<i64>) -> Option<u8> {
    'powers: for (power, factor) in POWERS.iter().enumerate() {
        whole.clear();
        errors.clear();
        for v in values {
            let i = nearest(v * factor)?;
            let near = i as f64 / factor;
            let error = ordered(v.to_bits() as i64).wrapping_sub(ordered(near.to_bits() as i64));
            if error.unsigned_abs() > MAX_DRIFT {
                continue 'powers;
            }
            whole.push(i);
            errors.push(error);
        }
        return Some(power as u8);
    }
    None
}

/// Decodes `n` samples, appending to the columns. `None` on damage (the columns may have grown then).
pub(crate) fn decode(mut input: &[u8], n: usize, times: &mut Vec<TimestampMs>, values: &mut Vec<f64>) -> Option<()> {
    if !(1..=MAX_SAMPLES).contains(&n) {
        return None;
    }
    let input = &mut input;
    ints::decode(input, n, times)?;
    let stale_count = usize::try_from(take_u64(input)?).ok().filter(|c| *c <= n)?;
    let mut stale = Vec::with_capacity(stale_count);
    let mut last = 0usize;
    for _ in 0..stale_count {
        last = last.checked_add(usize::try_from(take_u64(input)?).ok()?).filter(|i| *i < n)?;
        stale.push(last);
    }
    let start = values.len();
    decode_plain(input, n - stale_count, values)?;
    if !stale.is_empty() {
        let plain = values.split_off(start);
        let (mut plain, mut stale) = (plain.into_iter(), stale.into_iter().peekable());
        for i in 0..n {
            if stale.next_if_eq(&i).is_some() {
                values.push(f64::from_bits(STALE_NAN_BITS));
            } else {
                values.push(plain.next()?);
            }
        }
    }
    (values.len() - start == n).then_some(())
}

fn decode_plain(input: &mut &[u8], n: usize, values: &mut Vec<f64>) -> Option<()> {
    let (kind, rest) = input.split_first()?;
    *input = rest;
    let factor = *POWERS.get(usize::from(kind >> POWER_SHIFT))?;
    values.reserve(n);
    let mut whole = Vec::new();
    match kind & KIND_MASK {
        CONSTANT => values.extend(std::iter::repeat_n(take_f64(input)?, n)),
        SCALED => {
            ints::decode(input, n, &mut whole)?;
            if factor == 1.0 {
                values.extend(whole.iter().map(|i| *i as f64));
            } else {
                values.extend(whole.iter().map(|i| *i as f64 / factor));
            }
        }
        DRIFTED => {
            let mut errors = Vec::new();
            ints::decode(input, n, &mut whole)?;
            ints::decode(input, n, &mut errors)?;
            values.extend(whole.iter().zip(&errors).map(|(i, e)| {
                let near = *i as f64 / factor;
                f64::from_bits(ordered(ordered(near.to_bits() as i64).wrapping_add(*e)) as u64)
            }));
        }
        _ => {
            ints::decode(input, n, &mut whole)?;
            values.extend(whole.iter().map(|i| f64::from_bits(ordered(*i) as u64)));
        }
    }
    Some(())
}
