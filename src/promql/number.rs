//! Numbers as Go's `strconv` reads them: what a PromQL number token is worth.

/// Reads a number without sign: decimal or `0x` integers, octal with a leading zero, underscores between digits,
/// fractions, exponents, `inf` and `nan` in any case. `None` if it is none of these.
pub fn parse(text: &str) -> Option<f64> {
    parse_integer(text).or_else(|| parse_float(text))
}

fn parse_integer(text: &str) -> Option<f64> {
    if !underscores_are_right(text) {
        return None;
    }
    let plain = text.replace('_', "");
    let (digits, radix) = match plain.get(..2) {
        Some("0x" | "0X") => (plain.get(2..)?, 16),
        Some(_) if plain.starts_with('0') => (plain.get(1..)?, 8),
        _ => (plain.as_str(), 10),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    // Past 2^63 a float is read instead, which a hexadecimal number then is not.
    i64::from_str_radix(digits, radix).ok().map(|n| n as f64)
}

fn parse_float(text: &str) -> Option<f64> {
    if text.eq_ignore_ascii_case("nan") {
        return Some(f64::NAN);
    }
    if text.eq_ignore_ascii_case("inf") {
        return Some(f64::INFINITY);
    }
    if !underscores_are_right(text) {
        return None;
    }
    let plain = text.replace('_', "");
    // Rust would also read words.
    if plain.chars().any(|c| !matches!(c, '0'..='9' | '.' | 'e' | 'E' | '+' | '-')) {
        return None;
    }
    plain.parse().ok().filter(|v: &f64| v.is_finite())
}

/// An underscore stands between two digits, or between a base prefix and a digit.
fn underscores_are_right(text: &str) -> bool {
    let bytes = text.as_bytes();
    let prefixed = matches!(bytes, [b'0', b'x' | b'X', ..]);
    bytes.iter().enumerate().filter(|(_, b)| **b == b'_').all(|(i, _)| {
        let before = i.checked_sub(1).and_then(|j| bytes.get(j));
        let before_fits = before.is_some_and(u8::is_ascii_hexdigit) || (prefixed && i == 2);
        before_fits && bytes.get(i + 1).is_some_and(u8::is_ascii_hexdigit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_gos_values() {
        for (text, want) in [
            ("1", Some(1.0)),
            ("0", Some(0.0)),
            ("0755", Some(493.0)),
            ("08", Some(8.0)),
            ("0x1F", Some(31.0)),
            ("0X_1f", Some(31.0)),
            ("1_000", Some(1000.0)),
            ("1_000.5", Some(1000.5)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("1e3", Some(1000.0)),
            ("1E-3", Some(0.001)),
            ("9223372036854775808", Some(9_223_372_036_854_775_808.0)),
            ("inF", Some(f64::INFINITY)),
            ("1e999", None),
            ("0xffffffffffffffffff", None),
            ("1__0", None),
            ("1_", None),
            ("0x", None),
            ("", None),
        ] {
            assert_eq!(parse(text), want, "{text}");
        }
        assert!(parse("nAn").is_some_and(f64::is_nan));
    }
}
