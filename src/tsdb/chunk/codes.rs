//! Bits for whole numbers without a sign: all in one width, or each in the class of its bit length, where a Huffman code tells the
//! class and the bits below the leading one follow. See `ints` for the form.

use super::ints::bit_len;

/// Longest code; the table for reading has two to the power of this entries and must be cheap to fill.
const MAX_CODE: u32 = 8;
/// Bit lengths from 0 to 64.
const MAX_CLASSES: usize = 65;

/// Collects bits, least significant first.
struct BitSink<'a> {
    out: &'a mut Vec<u8>,
    word: u64,
    used: u32,
}

impl BitSink<'_> {
    /// Appends the low `n` bits (up to 64) of `v`, whose other bits are zero.
    fn put(&mut self, v: u64, n: u32) {
        if n == 0 {
            return;
        }
        self.word |= v << self.used;
        let filled = self.used + n;
        if filled < 64 {
            self.used = filled;
            return;
        }
        self.out.extend_from_slice(&self.word.to_le_bytes());
        let taken = 64 - self.used;
        self.word = if taken < 64 { v >> taken } else { 0 };
        self.used = filled - 64;
    }

    fn finish(self) {
        let bytes = self.word.to_le_bytes();
        self.out.extend_from_slice(bytes.get(..self.used.div_ceil(8) as usize).unwrap_or_default());
    }
}

/// The bits from place `at` on, at least 57 of them; those past the end are zero.
#[inline(always)]
fn window(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at >> 3..).unwrap_or_default();
    let word = match rest.first_chunk::<8>() {
        Some(b) => u64::from_le_bytes(*b),
        None => {
            let mut padded = [0u8; 8];
            for (to, from) in padded.iter_mut().zip(rest) {
                *to = *from;
            }
            u64::from_le_bytes(padded)
        }
    };
    word >> (at & 7)
}

/// `n` bits (up to 64) from place `at` on.
#[inline]
fn bits(bytes: &[u8], at: usize, n: u32) -> u64 {
    if n <= 56 {
        return window(bytes, at) & ((1u64 << n) - 1);
    }
    let (low, high) = (window(bytes, at) & 0xffff_ffff, window(bytes, at + 32));
    low | ((high & ((1u64 << (n - 32)) - 1)) << 32)
}

/// Appends the numbers in `width` bits each.
pub(crate) fn put_fixed(out: &mut Vec<u8>, numbers: &[u64], width: u32) {
    let mut sink = BitSink { out, word: 0, used: 0 };
    for v in numbers {
        sink.put(*v, width);
    }
    sink.finish();
}

/// Takes numbers of `width` bits off the front of `input`, one for each place of `out`, as `turn` makes them. `None` if there are too
/// few or the width is none.
#[inline]
pub(crate) fn take_fixed(input: &mut &[u8], width: u32, out: &mut [i64], turn: impl Fn(u64) -> i64) -> Option<()> {
    if !(1..=64).contains(&width) {
        return None;
    }
    let (body, rest) = input.split_at_checked((out.len() * width as usize).div_ceil(8))?;
    let mut at = 0;
    if width <= 56 {
        let mask = (1u64 << width) - 1;
        for slot in out {
            *slot = turn(window(body, at) & mask);
            at += width as usize;
        }
    } else {
        for slot in out {
            *slot = turn(bits(body, at, width));
            at += width as usize;
        }
    }
    *input = rest;
    Some(())
}

/// A Huffman code over the classes that occur.
#[derive(Debug)]
pub(crate) struct Codes {
    lens: [u8; MAX_CLASSES],
    least: usize,
    most: usize,
    bits: u64,
}

impl Codes {
    /// The code that fits these numbers.
    pub(crate) fn fit(numbers: &[u64]) -> Codes {
        let mut counts = [0u32; MAX_CLASSES];
        for v in numbers {
            counts[bit_len(*v) as usize] += 1;
        }
        let least = counts.iter().position(|c| *c > 0).unwrap_or(0);
        let most = counts.iter().rposition(|c| *c > 0).unwrap_or(0);
        let lens = code_lengths(&counts);
        let body = counts.iter().zip(&lens).enumerate();
        let bits: u64 =
            body.map(|(class, (n, len))| u64::from(*n) * (u64::from(*len) + class.saturating_sub(1) as u64)).sum();
        let table = 2 + (most - least + 1).div_ceil(2);
        Codes { lens, least, most, bits: bits + table as u64 * 8 }
    }

    /// Bits it takes to write the numbers it was fitted to, the description counted.
    pub(crate) fn cost(&self) -> u64 {
        self.bits
    }

    /// Appends the description and the numbers it was fitted to.
    pub(crate) fn put(&self, out: &mut Vec<u8>, numbers: &[u64]) {
        out.push(self.least as u8);
        out.push((self.most - self.least + 1) as u8);
        for pair in self.lens[self.least..=self.most].chunks(2) {
            out.push(pair[0] | (pair.get(1).copied().unwrap_or(0) << 4));
        }
        let codes = canonical(&self.lens);
        let mut sink = BitSink { out, word: 0, used: 0 };
        for v in numbers {
            let class = bit_len(*v) as usize;
            sink.put(codes[class].into(), self.lens[class].into());
            if class > 1 {
                let below = class as u32 - 1;
                sink.put(v & ((1u64 << below) - 1), below);
            }
        }
        sink.finish();
    }
}

/// Huffman's lengths, at most [`MAX_CODE`]: counts are flattened until the longest fits. One class alone gets length 1.
fn code_lengths(counts: &[u32; MAX_CLASSES]) -> [u8; MAX_CLASSES] {
    let mut weights = *counts;
    loop {
        let mut lens = [0u8; MAX_CLASSES];
        // Each tree as its weight and the classes under it.
        let mut trees: Vec<(u32, u128)> =
            weights.iter().enumerate().filter(|(_, n)| **n > 0).map(|(i, n)| (*n, 1u128 << i)).collect();
        if let [(_, only)] = trees.as_slice() {
            lens[only.trailing_zeros() as usize] = 1;
            return lens;
        }
        trees.sort_unstable_by(|a, b| b.cmp(a));
        while let (Some((a, under_a)), Some((b, under_b))) = (trees.pop(), trees.pop()) {
            let (weight, mut under) = (a + b, under_a | under_b);
            let place = trees.partition_point(|t| t.0 > weight);
            trees.insert(place, (weight, under));
            while under != 0 {
                lens[under.trailing_zeros() as usize] += 1;
                under &= under - 1;
            }
            if trees.len() == 1 {
                break;
            }
        }
        if lens.iter().all(|l| u32::from(*l) <= MAX_CODE) {
            return lens;
        }
        for w in weights.iter_mut().filter(|w| **w > 0) {
            *w = *w / 2 + 1;
        }
    }
}

/// The code words of the lengths, with their first bit in the lowest place. Shorter codes first, then smaller classes.
fn canonical(lens: &[u8; MAX_CLASSES]) -> [u16; MAX_CLASSES] {
    let mut codes = [0u16; MAX_CLASSES];
    let mut next = 0u16;
    for len in 1..=MAX_CODE {
        next <<= 1;
        for (code, _) in codes.iter_mut().zip(lens).filter(|(_, l)| u32::from(**l) == len) {
            *code = next.reverse_bits() >> (16 - len);
            next += 1;
        }
    }
    codes
}

/// Takes the description of a code and numbers for all places of `out` off the front of `input`, as `turn` makes them. `None` on damage.
#[inline]
pub(crate) fn take_classes(input: &mut &[u8], out: &mut [i64], turn: impl Fn(u64) -> i64) -> Option<()> {
    let ([least, classes], rest) = input.split_first_chunk::<2>()?;
    let (least, classes) = (usize::from(*least), usize::from(*classes));
    let (nibbles, body) = rest.split_at_checked(classes.div_ceil(2))?;
    let mut lens = [0u8; MAX_CLASSES];
    let mut longest = 0u32;
    let mut room = 0u32;
    for (i, len) in lens.get_mut(least..least + classes)?.iter_mut().enumerate() {
        *len = (nibbles.get(i / 2)? >> (4 * (i % 2))) & 15;
        if *len > 0 {
            longest = longest.max((*len).into());
            room += 1u32.checked_shl(MAX_CODE.checked_sub((*len).into())?)?;
        }
    }
    // A code that names more than there are words is damage; one that names fewer leaves entries of length 0 below.
    if longest == 0 || room > 1 << MAX_CODE {
        return None;
    }
    // The class in the high byte, the length of the code in the low.
    let mut table = [0u16; 1 << MAX_CODE];
    let codes = canonical(&lens);
    for (class, (len, code)) in lens.iter().zip(codes).enumerate().filter(|(_, (l, _))| **l > 0) {
        for slot in table.get_mut(usize::from(code)..1 << longest)?.iter_mut().step_by(1 << len) {
            *slot = (class as u16) << 8 | u16::from(*len);
        }
    }
    let mask = (1u64 << longest) - 1;
    let mut at = 0usize;
    for slot in out {
        let word = window(body, at);
        let entry = table[(word & mask) as usize & ((1 << MAX_CODE) - 1)];
        let (len, class) = (u32::from(entry & 0xff), u32::from(entry >> 8));
        if len == 0 {
            return None;
        }
        // Class 0 is the number 0, class 1 the number 1; neither has bits below.
        let below = class.saturating_sub(1);
        let leading = if class > 0 { 1u64 << below } else { 0 };
        let low = if len + below <= 56 {
            (word >> len) & ((1u64 << below) - 1)
        } else {
            bits(body, at + len as usize, below)
        };
        *slot = turn(low | leading);
        at += (len + below) as usize;
    }
    *input = body.get(at.div_ceil(8)..)?;
    Some(())
}
