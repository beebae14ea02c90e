//! A column of whole numbers in few bytes: differences of a fitting order, less their least (or middle) one, divided by what divides
//! all of them, then either in bits of one width or in classes of bit lengths under a Huffman code. Made for some hundred numbers:
//! what describes the coding takes five to fifteen bytes, and reading is a load, a look-up and a shift for each number.
//!
//! Form: a byte (bits 0 and 1 the order of differences, 2 and 3 the method, 4 "a divisor follows", 5 "signed"), the first numbers as
//! varints (as many as the order says), the base, the divisor, then the rest by method: nothing if all are alike; a byte with the
//! width and the bits; or the least class, the number of classes, a nibble with the code length of each, and the bits. Bits fill
//! bytes from the least significant end.

use super::codes::{self, Codes};
use crate::disk::varint::{put_i64, put_u64, take_i64, take_u64};

const ALIKE: u8 = 0;
const WIDTH: u8 = 1;
const CLASSES: u8 = 2;
const METHOD_SHIFT: u8 = 2;
const ORDER_MASK: u8 = 3;
const DIVISOR: u8 = 1 << 4;
const SIGNED: u8 = 1 << 5;
const KNOWN: u8 = ORDER_MASK | (3 << METHOD_SHIFT) | DIVISOR | SIGNED;

/// Memory of an encoder that the next call uses again.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    numbers: Vec<i64>,
    unsigned: Vec<u64>,
    signed: Vec<u64>,
    sorted: Vec<u64>,
}

/// How many bits a number needs: 0 for 0, 64 at most.
pub(crate) fn bit_len(v: u64) -> u32 {
    64 - v.leading_zeros()
}

pub(crate) fn zigzag(i: i64) -> u64 {
    ((i << 1) ^ (i >> 63)) as u64
}

pub(crate) fn unzigzag(u: u64) -> i64 {
    ((u >> 1) as i64) ^ -((u & 1) as i64)
}

/// Appends the column; any numbers, at least one.
pub(crate) fn encode(out: &mut Vec<u8>, column: &[i64], scratch: &mut Scratch) {
    let order = best_order(column);
    let Scratch { numbers, unsigned, signed, sorted } = scratch;
    numbers.clear();
    numbers.extend_from_slice(column);
    let mut firsts = [0i64; 2];
    for first in firsts.iter_mut().take(order) {
        *first = numbers.first().copied().unwrap_or_default();
        for i in 1..numbers.len() {
            numbers[i - 1] = numbers[i].wrapping_sub(numbers[i - 1]);
        }
        numbers.pop();
    }
    let base = numbers.iter().copied().min().unwrap_or_default();
    unsigned.clear();
    unsigned.extend(numbers.iter().map(|n| n.wrapping_sub(base) as u64));
    let divisor = common_divisor(unsigned);
    if divisor > 1 {
        for v in unsigned.iter_mut() {
            *v /= divisor;
        }
    }
    let head =
        |method: u8, flags: u8| order as u8 | (method << METHOD_SHIFT) | flags | if divisor > 1 { DIVISOR } else { 0 };
    let mut begin = |method: u8, flags: u8, base: i64| {
        out.push(head(method, flags));
        for first in firsts.iter().take(order) {
            put_i64(out, *first);
        }
        put_i64(out, base);
        if divisor > 1 {
            put_u64(out, divisor);
        }
    };
    let width = bit_len(unsigned.iter().copied().max().unwrap_or_default());
    if width == 0 {
        begin(ALIKE, 0, base);
        return;
    }
    let plain_bits = u64::from(width) * unsigned.len() as u64 + 8;
    // The middle as the point of reference helps where numbers lie around it; the least where they pile up above it.
    sorted.clear();
    sorted.extend_from_slice(unsigned);
    let half = sorted.len() / 2;
    let middle = *sorted.select_nth_unstable(half).1;
    signed.clear();
    signed.extend(unsigned.iter().map(|v| zigzag(v.wrapping_sub(middle) as i64)));
    let (above, around) = (Codes::fit(unsigned), Codes::fit(signed));
    if plain_bits <= above.cost().min(around.cost()) {
        begin(WIDTH, 0, base);
        out.push(width as u8);
        codes::put_fixed(out, unsigned, width);
    } else if above.cost() <= around.cost() {
        begin(CLASSES, 0, base);
        above.put(out, unsigned);
    } else {
        begin(CLASSES, SIGNED, base.wrapping_add(middle.wrapping_mul(divisor) as i64));
        around.put(out, signed);
    }
}

/// How often to take differences: the order whose numbers lie closest together, by the bits they need around a middle.
fn best_order(column: &[i64]) -> usize {
    let (Some(first), Some(last)) = (column.first(), column.last()) else { return 0 };
    if column.len() < 4 {
        return 0;
    }
    let bits = |d: i64| u64::from(64 - d.unsigned_abs().leading_zeros());
    let mid = column.get(column.len() / 2).copied().unwrap_or_default();
    let slope = last.wrapping_sub(*first) / (column.len() as i64 - 1);
    let (mut zero, mut one, mut two) = (0, 0, 0);
    let (mut before, mut step_before) = (*first, slope);
    for n in column {
        let step = n.wrapping_sub(before);
        zero += bits(n.wrapping_sub(mid));
        one += bits(step.wrapping_sub(slope));
        two += bits(step.wrapping_sub(step_before));
        (before, step_before) = (*n, step);
    }
    if zero <= one && zero <= two {
        0
    } else if one <= two {
        1
    } else {
        2
    }
}

/// The greatest number that divides all of them; 1 if they are all zero.
fn common_divisor(numbers: &[u64]) -> u64 {
    let mut divisor = 0u64;
    for n in numbers.iter().filter(|n| **n != 0) {
        let (mut a, mut b) = (*n, divisor);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        divisor = a;
        if divisor == 1 {
            break;
        }
    }
    divisor.max(1)
}

/// Takes a column of `n` numbers off the front of `input` and appends it. `None` on damage.
pub(crate) fn decode(input: &mut &[u8], n: usize, out: &mut Vec<i64>) -> Option<()> {
    let (head, rest) = input.split_first()?;
    *input = rest;
    let order = usize::from(head & ORDER_MASK);
    if head & !KNOWN != 0 || order > 2 || order > n {
        return None;
    }
    let mut firsts = [0i64; 2];
    for first in firsts.iter_mut().take(order) {
        *first = take_i64(input)?;
    }
    let base = take_i64(input)?;
    let divisor = if head & DIVISOR != 0 { take_u64(input)? as i64 } else { 1 };
    let start = out.len();
    out.resize(start + n - order, base);
    let places = out.get_mut(start..)?;
    match (head >> METHOD_SHIFT) & 3 {
        ALIKE => {}
        WIDTH => {
            let (width, rest) = input.split_first()?;
            *input = rest;
            let turn = |v| base.wrapping_add(divisor.wrapping_mul(v as i64));
            codes::take_fixed(input, u32::from(*width), places, turn)?;
        }
        CLASSES if head & SIGNED == 0 => {
            codes::take_classes(input, places, |v| base.wrapping_add(divisor.wrapping_mul(v as i64)))?;
        }
        CLASSES => codes::take_classes(input, places, |v| base.wrapping_add(divisor.wrapping_mul(unzigzag(v))))?,
        _ => return None,
    }
    for first in firsts.iter().take(order).rev() {
        // The differences become the numbers in place: each is replaced by the sum before it is added.
        let mut sum = *first;
        for v in out.get_mut(start..)? {
            sum = sum.wrapping_add(std::mem::replace(v, sum));
        }
        out.push(sum);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn there_and_back(column: &[i64]) -> usize {
        let mut bytes = Vec::new();
        encode(&mut bytes, column, &mut Scratch::default());
        bytes.push(0xaa);
        let (mut input, mut got) = (bytes.as_slice(), vec![7]);
        decode(&mut input, column.len(), &mut got).unwrap();
        assert_eq!(got.split_first().unwrap(), (&7, column));
        assert_eq!(input, [0xaa]);
        bytes.len() - 1
    }

    proptest! {
        #[test]
        fn any_column_comes_back(
            column in prop_oneof![
                prop::collection::vec(any::<i64>(), 1..300),
                prop::collection::vec(-5i64..9, 1..300),
                prop::collection::vec(prop_oneof![9 => Just(15i64), 1 => any::<i64>()], 1..300),
                prop::collection::vec(0i64..400, 1..300).prop_map(|v| v.iter().scan(1i64 << 40, |s, d| { *s += d * 4096; Some(*s) }).collect()),
            ]
        ) {
            there_and_back(&column);
        }

        #[test]
        fn damage_is_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), n in 0usize..300) {
            let _any = decode(&mut bytes.as_slice(), n, &mut Vec::new());
        }
    }

    #[test]
    fn the_ordinary_shapes_are_small() {
        let times: Vec<i64> = (0..240).map(|i| 1_700_000_000_000 + i * 15_000).collect();
        assert!(there_and_back(&times) <= 12);
        let pages: Vec<i64> = (0..240).map(|i| 1 << 33 | ((i * 7919) % 61) << 12).collect();
        assert!(there_and_back(&pages) <= 240 * 6 / 8 + 16);
        let mostly_still: Vec<i64> = (0..240).map(|i| if i > 100 { 1 << 30 } else { 5 }).collect();
        assert!(there_and_back(&mostly_still) <= 60);
    }
}
