//! The values of one variable over the rows that have it.

use super::packed;
use super::strings::Strings;
use crate::disk::zstd_frame;

/// Values in order of the rows. All are valid UTF-8.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    /// The same value in every row.
    Constant {
        /// The value.
        value: Box<str>,
        /// How many rows.
        len: usize,
    },
    /// Few values, many rows.
    Dictionary {
        /// The distinct values.
        values: Strings,
        /// For each row the place of its value in `values`.
        codes: Vec<u16>,
    },
    /// Whole numbers. With `width` 0 the text is the shortest decimal form, else it is padded with zeros to `width` digits.
    Integers {
        /// The numbers.
        values: Vec<i64>,
        /// See above.
        width: u8,
    },
    /// One text for each row.
    Strings(Strings),
}

/// Longest text of a number that is kept as one.
pub(super) const MAX_DIGITS: usize = 18;

/// The number whose shortest decimal form this is.
pub(super) fn parse_canonical(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        _ => (false, text),
    };
    let first = *digits.first()?;
    if digits.len() > MAX_DIGITS || first == b'0' && (digits.len() > 1 || negative) {
        return None;
    }
    let value = parse_digits(digits)?;
    Some(if negative { -value } else { value })
}

/// The number that these digits are, at most [`MAX_DIGITS`] of them.
pub(super) fn parse_digits(digits: &[u8]) -> Option<i64> {
    let mut value = 0i64;
    for d in digits {
        let d = d.wrapping_sub(b'0');
        if d > 9 {
            return None;
        }
        value = value * 10 + i64::from(d);
    }
    Some(value)
}

/// Writes a number as the column has it.
pub(super) fn push_integer(out: &mut String, value: i64, width: u8) {
    let mut digits = [b'0'; 20];
    let mut rest = value.unsigned_abs();
    let mut n = 0;
    for place in digits.iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
        n += 1;
        if rest == 0 && n >= usize::from(width) {
            break;
        }
    }
    if value < 0 {
        out.push('-');
    }
    let text = digits.get(digits.len() - n..).unwrap_or_default();
    out.push_str(std::str::from_utf8(text).unwrap_or(""));
}

/// The numbers, as ranges, whose shortest decimal form begins with these digits; only ranges that begin at `max` or before.
pub(super) fn beginning_with(digits: &str, max: i64) -> Option<Vec<std::ops::RangeInclusive<i64>>> {
    let mut first = parse_canonical(digits.as_bytes()).filter(|n| *n >= 0)?;
    let mut last = first;
    let mut ranges = Vec::new();
    while first <= max {
        ranges.push(first..=last);
        let (Some(f), Some(l)) = (first.checked_mul(10), last.checked_mul(10).and_then(|l| l.checked_add(9))) else {
            // What is longer is not kept as a number.
            break;
        };
        if first == 0 {
            break;
        }
        (first, last) = (f, l);
    }
    Some(ranges)
}

/// Digits of a number's shortest decimal form, with its sign.
fn decimal_len(value: i64) -> usize {
    let digits = value.unsigned_abs().checked_ilog10().unwrap_or(0) as usize + 1;
    digits + usize::from(value < 0)
}

impl Column {
    /// How many values.
    pub fn len(&self) -> usize {
        match self {
            Column::Constant { len, .. } => *len,
            Column::Dictionary { codes, .. } => codes.len(),
            Column::Integers { values, .. } => values.len(),
            Column::Strings(s) => s.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A value; `scratch` is used if it has to be written first.
    pub fn get<'a>(&'a self, i: usize, scratch: &'a mut String) -> &'a str {
        match self {
            Column::Constant { value, .. } => value,
            Column::Dictionary { values, codes } => codes.get(i).map_or("", |c| values.get(usize::from(*c))),
            Column::Strings(s) => s.get(i),
            Column::Integers { .. } => {
                scratch.clear();
                self.push_to(i, scratch);
                scratch
            }
        }
    }

    /// Appends a value to a text.
    pub fn push_to(&self, i: usize, out: &mut String) {
        match self {
            Column::Constant { value, .. } => out.push_str(value),
            Column::Dictionary { values, codes } => {
                out.push_str(codes.get(i).map_or("", |c| values.get(usize::from(*c))));
            }
            Column::Strings(s) => out.push_str(s.get(i)),
            Column::Integers { values, width } => push_integer(out, values.get(i).copied().unwrap_or(0), *width),
        }
    }

    /// Bytes of a value's text.
    pub fn value_bytes(&self, i: usize) -> usize {
        match self {
            Column::Constant { value, .. } => value.len(),
            Column::Dictionary { values, codes } => codes.get(i).map_or(0, |c| values.get(usize::from(*c)).len()),
            Column::Strings(s) => s.get(i).len(),
            Column::Integers { values, width: 0 } => decimal_len(values.get(i).copied().unwrap_or(0)),
            Column::Integers { width, .. } => usize::from(*width),
        }
    }

    /// Memory it takes up, about.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Column::Constant { value, .. } => value.len(),
            Column::Dictionary { values, codes } => values.bytes() + values.len() * 4 + codes.len() * 2,
            Column::Integers { values, .. } => values.len() * 8,
            Column::Strings(s) => s.bytes() + s.len() * 4,
        }
    }
}

/// Reads texts: their lengths, then their bytes, perhaps compressed.
pub(super) fn take_strings(input: &mut &[u8], count: usize) -> Option<Strings> {
    let lengths = packed::take_integers(input, count)?;
    let text = take_bytes_compressed(input)?;
    let lengths = lengths.into_iter().map(|l| u64::try_from(l).unwrap_or(u64::MAX));
    Strings::from_parts(String::from_utf8(text).ok()?, lengths)
}

/// More than the lines of a row group can be together is damage.
pub(super) const MAX_TEXT_BYTES: u64 = 1 << 30;

/// Reads bytes that [`super::column_writer`] wrote with or without compression.
pub(super) fn take_bytes_compressed(input: &mut &[u8]) -> Option<Vec<u8>> {
    use crate::disk::varint::{take_bytes, take_u64};
    let size = take_u64(input)?;
    let stored = take_bytes(input)?;
    if size == 0 {
        return Some(stored.to_vec());
    }
    if size > MAX_TEXT_BYTES {
        return None;
    }
    zstd_frame::decompress(stored, size as usize).filter(|d| d.len() as u64 == size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_texts() {
        for (text, value) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("999999999999999999", Some(999_999_999_999_999_999)),
            ("1000000000000000000", None),
            ("-0", None),
            ("00", None),
            ("", None),
            ("-", None),
            ("1a", None),
            ("+1", None),
        ] {
            assert_eq!(parse_canonical(text.as_bytes()), value, "{text}");
            if let Some(v) = value {
                let mut out = String::new();
                push_integer(&mut out, v, 0);
                assert_eq!(out, text);
                assert_eq!(decimal_len(v), text.len());
            }
        }
        for (digits, max, numbers) in [
            ("50", 50_000, vec![50..=50, 500..=509, 5000..=5099, 50_000..=50_999]),
            ("0", 9, vec![0..=0]),
            ("7", 6, vec![]),
        ] {
            assert_eq!(beginning_with(digits, max), Some(numbers), "{digits}");
        }
        assert_eq!((beginning_with("05", 9), beginning_with("-5", 9), beginning_with("", 9)), (None, None, None));
        let mut out = String::new();
        push_integer(&mut out, 7, 3);
        push_integer(&mut out, 1234, 3);
        push_integer(&mut out, i64::MIN, 0);
        assert_eq!(out, "0071234-9223372036854775808");
    }
}
