//! Numbers in sample lists of scripts: a sign, then what PromQL reads as a number.

use crate::promql::number;

/// Reads a whole text as a number with an optional sign.
pub fn parse_signed(text: &str) -> Option<f64> {
    match text.strip_prefix('-') {
        Some(rest) => number::parse(rest).map(|v| -v),
        None => number::parse(text.strip_prefix('+').unwrap_or(text)),
    }
}

/// Cuts a number without sign off the start of a text and returns it with the rest: digits, a fraction, an exponent,
/// or `inf`/`nan`. Hexadecimal is not read, since `0x3` means "zero, and three more".
pub fn take_unsigned(text: &str) -> Option<(f64, &str)> {
    for word in ["inf", "nan"] {
        if text.get(..3).is_some_and(|head| head.eq_ignore_ascii_case(word)) {
            return Some((number::parse(word)?, text.get(3..)?));
        }
    }
    let bytes = text.as_bytes();
    let mut end = 0;
    while let Some(b) = bytes.get(end) {
        let exponent_sign = matches!(b, b'+' | b'-')
            && end.checked_sub(1).and_then(|i| bytes.get(i)).is_some_and(|b| matches!(b, b'e' | b'E'));
        if b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E') || exponent_sign {
            end += 1;
        } else {
            break;
        }
    }
    Some((number::parse(text.get(..end)?)?, text.get(end..)?))
}
