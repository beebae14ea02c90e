//! Floats as byte codes: short for whole numbers and for numbers with up to three decimals, nine bytes for the rest.
//!
//! A code is a varint whose low two bits say what it is: 0 a zigzag integer, 1 the eight raw bytes follow, 2 a zigzag
//! count of thousandths. Every bit pattern comes back as it was (negative zero and NaN payloads travel raw).

use crate::disk::varint::{put_u64, take_u64};

const INTEGER: u64 = 0;
const RAW: u64 = 1;
const THOUSANDTHS: u64 = 2;
/// Whole floats below this have an exact integer and leave room for the tag.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// The integer equal to `v` bit for bit, if there is one below 2^53.
pub(crate) fn exact_integer(v: f64) -> Option<i64> {
    let i = v as i64;
    ((i as f64).to_bits() == v.to_bits() && v.abs() < MAX_EXACT).then_some(i)
}

fn zigzag(i: i64) -> u64 {
    ((i << 1) ^ (i >> 63)) as u64
}

fn unzigzag(u: u64) -> i64 {
    ((u >> 1) as i64) ^ -((u & 1) as i64)
}

/// Appends the code of a float.
pub(crate) fn put_f64(out: &mut Vec<u8>, v: f64) {
    if let Some(i) = exact_integer(v) {
        return put_u64(out, (zigzag(i) << 2) | INTEGER);
    }
    let scaled = (v * 1000.0).round();
    if scaled.abs() < MAX_EXACT && ((scaled as i64) as f64 / 1000.0).to_bits() == v.to_bits() {
        return put_u64(out, (zigzag(scaled as i64) << 2) | THOUSANDTHS);
    }
    out.push(RAW as u8);
    out.extend_from_slice(&v.to_bits().to_le_bytes());
}

fn take_raw(input: &mut &[u8]) -> Option<f64> {
    let (bytes, rest) = input.split_first_chunk::<8>()?;
    *input = rest;
    Some(f64::from_bits(u64::from_le_bytes(*bytes)))
}

/// Takes a float off the front of `input`.
pub(crate) fn take_f64(input: &mut &[u8]) -> Option<f64> {
    let code = take_u64(input)?;
    match code & 3 {
        INTEGER => Some(unzigzag(code >> 2) as f64),
        RAW => take_raw(input),
        THOUSANDTHS => Some(unzigzag(code >> 2) as f64 / 1000.0),
        _ => None,
    }
}

/// Appends a float as its difference to `previous` where both are whole numbers, else raw.
pub(crate) fn put_f64_delta(out: &mut Vec<u8>, previous: f64, v: f64) {
    match (exact_integer(previous), exact_integer(v)) {
        (Some(p), Some(i)) => put_u64(out, zigzag(i - p) << 1),
        _ if previous.to_bits() == v.to_bits() => put_u64(out, 0b11),
        _ => {
            out.push(RAW as u8);
            out.extend_from_slice(&v.to_bits().to_le_bytes());
        }
    }
}

/// Takes a float written by [`put_f64_delta`].
pub(crate) fn take_f64_delta(input: &mut &[u8], previous: f64) -> Option<f64> {
    let code = take_u64(input)?;
    match code {
        0b11 => Some(previous),
        RAW => take_raw(input),
        _ if code & 1 == 0 => Some((exact_integer(previous)?.checked_add(unzigzag(code >> 1))?) as f64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::sample::STALE_NAN_BITS;

    proptest! {
        #[test]
        fn every_bit_pattern_comes_back(bits in prop_oneof![any::<u64>(), (-5000i64..5000).prop_map(|i| (i as f64 / 8.0).to_bits()),
            (-99999i64..99999).prop_map(|i| (i as f64 / 1000.0).to_bits()), Just(STALE_NAN_BITS), Just((-0.0f64).to_bits())],
            before in prop_oneof![any::<u64>(), (-5000i64..5000).prop_map(|i| (i as f64).to_bits())]) {
            let (v, previous) = (f64::from_bits(bits), f64::from_bits(before));
            let mut out = Vec::new();
            put_f64(&mut out, v);
            put_f64_delta(&mut out, previous, v);
            put_f64_delta(&mut out, v, v);
            let mut input = out.as_slice();
            prop_assert_eq!(take_f64(&mut input).map(f64::to_bits), Some(bits));
            prop_assert_eq!(take_f64_delta(&mut input, previous).map(f64::to_bits), Some(bits));
            prop_assert_eq!(take_f64_delta(&mut input, v).map(f64::to_bits), Some(bits));
            prop_assert!(input.is_empty());
        }
    }
}
