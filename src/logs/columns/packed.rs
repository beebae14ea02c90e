//! Integers on disk: in blocks of [`BLOCK`], each with the fewest bits its values (or their differences) need.
//!
//! A block is a tag byte (low seven bits: bits of a value; high bit: differences), the smallest value as zigzag varint (with
//! differences: the first value, then the smallest difference), then what each value is above that, packed from the lowest bit
//! of the first byte on, up to a whole byte.

use crate::disk::varint::{put_i64, take_i64};

/// Values in a block. An outlier costs its own block only.
pub const BLOCK: usize = 256;
/// Tag bit of a block of differences.
const DIFFERENCES: u8 = 0x80;
/// Widest value that a read of eight bytes at a byte border holds wherever it begins.
const MAX_SHIFTED: u32 = 56;

/// Bits that hold values up to `max`; 57 to 63 count as 64.
pub fn width_of(max: u64) -> u32 {
    let bits = u64::BITS - max.leading_zeros();
    if bits > MAX_SHIFTED { u64::BITS } else { bits }
}

/// Bytes that `count` values of `width` bits take up.
pub fn packed_len(count: usize, width: u32) -> usize {
    (count * width as usize).div_ceil(8)
}

/// Appends values of `width` bits.
pub fn pack(out: &mut Vec<u8>, values: impl Iterator<Item = u64>, width: u32) {
    if width == 0 {
        return;
    }
    if width == u64::BITS {
        values.for_each(|v| out.extend_from_slice(&v.to_le_bytes()));
        return;
    }
    let (mut held, mut bits) = (0u64, 0u32);
    for v in values {
        held |= v << bits;
        bits += width;
        if bits >= u64::BITS {
            out.extend_from_slice(&held.to_le_bytes());
            bits -= u64::BITS;
            // What of the value did not fit; a value has fewer bits than a word, so some of it did.
            held = v >> (width - bits);
        }
    }
    out.extend(held.to_le_bytes().iter().take(bits.div_ceil(8) as usize));
}

fn load(bytes: &[u8], at: usize) -> u64 {
    if let Some(eight) = bytes.get(at..).and_then(|b| b.first_chunk::<8>()) {
        return u64::from_le_bytes(*eight);
    }
    let mut eight = [0u8; 8];
    for (to, from) in eight.iter_mut().zip(bytes.get(at..).unwrap_or_default()) {
        *to = *from;
    }
    u64::from_le_bytes(eight)
}

/// The value at place `i`.
pub fn get(bytes: &[u8], width: u32, i: usize) -> u64 {
    if width == 0 {
        return 0;
    }
    if width == u64::BITS {
        return load(bytes, i * 8);
    }
    let bit = i * width as usize;
    load(bytes, bit / 8) >> (bit % 8) & ((1u64 << width) - 1)
}

/// The first `count` values.
pub fn unpack(bytes: &[u8], width: u32, count: usize) -> impl Iterator<Item = u64> + '_ {
    (0..count).map(move |i| get(bytes, width, i))
}

/// Appends integers.
pub fn put_integers(out: &mut Vec<u8>, values: &[i64]) {
    for block in values.chunks(BLOCK) {
        let (Some(min), Some(max), Some(first)) = (block.iter().min(), block.iter().max(), block.first()) else {
            return;
        };
        let plain = width_of(max.wrapping_sub(*min) as u64);
        let differences = || block.windows(2).map(|w| if let [a, b] = w { b.wrapping_sub(*a) } else { 0 });
        let (low, high) = differences().fold((i64::MAX, i64::MIN), |(l, h), d| (l.min(d), h.max(d)));
        let apart = if block.len() > 1 { width_of(high.wrapping_sub(low) as u64) } else { u64::BITS };
        if apart < plain {
            out.push(apart as u8 | DIFFERENCES);
            put_i64(out, *first);
            put_i64(out, low);
            pack(out, differences().map(|d| d.wrapping_sub(low) as u64), apart);
        } else {
            out.push(plain as u8);
            put_i64(out, *min);
            pack(out, block.iter().map(|v| v.wrapping_sub(*min) as u64), plain);
        }
    }
}

/// The integer at place `i` of `count`, found without decoding the blocks before its own.
pub fn integer_at(mut input: &[u8], count: usize, i: usize) -> Option<i64> {
    let mut before = 0;
    loop {
        let n = BLOCK.min(count.checked_sub(before).filter(|n| *n > 0)?);
        let (&tag, rest) = input.split_first()?;
        input = rest;
        let width = u32::from(tag & !DIFFERENCES);
        let base = take_i64(&mut input)?;
        let low = if tag & DIFFERENCES == 0 { None } else { Some(take_i64(&mut input)?) };
        let packed = if low.is_some() { n - 1 } else { n };
        let (body, rest) = input.split_at_checked(packed_len(packed, width))?;
        input = rest;
        if i < before + n {
            let at = i.checked_sub(before)?;
            return Some(match low {
                None => base.wrapping_add(get(body, width, at) as i64),
                Some(low) => unpack(body, width, at).fold(base, |v, d| v.wrapping_add(low).wrapping_add(d as i64)),
            });
        }
        before += n;
    }
}

/// Reads `count` integers; `None` if the bytes do not hold them.
pub fn take_integers(input: &mut &[u8], count: usize) -> Option<Vec<i64>> {
    // A block has a byte at least; nothing is allocated for more.
    if count.div_ceil(BLOCK) > input.len() {
        return None;
    }
    let mut values = Vec::with_capacity(count);
    while values.len() < count {
        let n = BLOCK.min(count - values.len());
        let (&tag, rest) = input.split_first()?;
        *input = rest;
        let width = u32::from(tag & !DIFFERENCES);
        if width > MAX_SHIFTED && width != u64::BITS {
            return None;
        }
        let base = take_i64(input)?;
        if tag & DIFFERENCES == 0 {
            let (body, rest) = input.split_at_checked(packed_len(n, width))?;
            *input = rest;
            values.extend(unpack(body, width, n).map(|v| base.wrapping_add(v as i64)));
        } else {
            let low = take_i64(input)?;
            let (body, rest) = input.split_at_checked(packed_len(n - 1, width))?;
            *input = rest;
            let mut value = base;
            values.push(value);
            values.extend(unpack(body, width, n - 1).map(|d| {
                value = value.wrapping_add(low).wrapping_add(d as i64);
                value
            }));
        }
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(values: &[i64]) -> usize {
        let mut out = Vec::new();
        put_integers(&mut out, values);
        let mut input = out.as_slice();
        assert_eq!(take_integers(&mut input, values.len()).as_deref(), Some(values));
        assert!(input.is_empty());
        for i in (0..values.len()).step_by(37) {
            assert_eq!(integer_at(&out, values.len(), i), values.get(i).copied());
        }
        assert_eq!(integer_at(&out, values.len(), values.len()), None);
        out.len()
    }

    #[test]
    fn extremes_and_sizes() {
        round_trip(&[]);
        round_trip(&[i64::MIN, i64::MAX, 0, -1]);
        round_trip(&[i64::MIN; 3]);
        assert!(round_trip(&vec![7; 1000]) <= 12);
        assert!(round_trip(&(0..1000).map(|i| i * 51 + 1_700_000_000).collect::<Vec<_>>()) <= 40);
        assert_eq!(take_integers(&mut [].as_slice(), 1), None);
        assert_eq!(take_integers(&mut [60, 0].as_slice(), 1), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn any_values(values in prop::collection::vec(any::<i64>(), 0..600), shift in 0u32..64) {
            round_trip(&values.iter().map(|v| v >> shift).collect::<Vec<_>>());
        }
    }
}
