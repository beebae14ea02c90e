//! Numbers of the exposition formats, as Go's `strconv.ParseFloat` reads them without hex and underscores.

/// Why a text is no number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// Not of the form.
    #[error("parsing {0:?}: invalid syntax")]
    Syntax(String),
    /// Too large for a float or an integer.
    #[error("parsing {0:?}: value out of range")]
    Range(String),
    /// A hex float or an underscore.
    #[error("unsupported character in float")]
    Unsupported,
}

/// Powers of ten that a double holds exactly.
const POW10: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];
/// Whole numbers up to here are exact in a double.
const MAX_EXACT: u64 = 1 << 53;

/// Reads plain decimals (`-12.5`) from the start of `text` and says how many bytes they take; `None` where the slow way must
/// decide. A mantissa below 2^53 and a power of ten up to 22 are both exact, so one division rounds correctly (Clinger 1990).
pub fn simple_prefix(text: &[u8]) -> Option<(f64, usize)> {
    let negative = text.first() == Some(&b'-');
    let start = usize::from(negative);
    let mut mantissa = 0u64;
    let mut i = start;
    while let Some(d) = text.get(i).map(|b| b.wrapping_sub(b'0')).filter(|d| *d < 10) {
        // 19 digits fit into 64 bits; the check below refuses what is not exact.
        mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(d));
        i += 1;
    }
    let mut digits = i - start;
    let mut fraction = 0;
    if digits > 0 && text.get(i) == Some(&b'.') {
        i += 1;
        let point = i;
        while let Some(d) = text.get(i).map(|b| b.wrapping_sub(b'0')).filter(|d| *d < 10) {
            mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(d));
            i += 1;
        }
        fraction = i - point;
        digits += fraction;
    }
    if digits == 0 || digits > 19 || mantissa > MAX_EXACT {
        return None;
    }
    let v = mantissa as f64;
    let v = if fraction > 0 { v / POW10.get(fraction)? } else { v };
    Some((if negative { -v } else { v }, i))
}

/// Reads a float: decimals with or without exponent, `Inf`, `Infinity` and `NaN` in any case (no sign before `NaN`).
/// Overflow is an error, underflow gives zero.
pub fn parse_float(text: &[u8]) -> Result<f64, NumberError> {
    if let Some((v, used)) = simple_prefix(text)
        && used == text.len()
    {
        return Ok(v);
    }
    if memchr::memchr3(b'p', b'P', b'_', text).is_some() {
        return Err(NumberError::Unsupported);
    }
    let shown = || String::from_utf8_lossy(text).into_owned();
    let s = std::str::from_utf8(text).map_err(|_| NumberError::Syntax(shown()))?;
    let v: f64 = s.parse().map_err(|_| NumberError::Syntax(shown()))?;
    let signed = matches!(text.first(), Some(b'+' | b'-'));
    if v.is_nan() && signed {
        return Err(NumberError::Syntax(shown()));
    }
    if v.is_infinite() && text.iter().any(u8::is_ascii_digit) {
        return Err(NumberError::Range(shown()));
    }
    Ok(v)
}

/// Reads an unsigned run of digits that fits into an `i64`.
pub fn parse_digits(text: &[u8]) -> Result<i64, NumberError> {
    let shown = || String::from_utf8_lossy(text).into_owned();
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Err(NumberError::Syntax(shown()));
    }
    let mut n = 0i64;
    for b in text {
        n = n
            .checked_mul(10)
            .and_then(|n| n.checked_add(i64::from(b - b'0')))
            .ok_or_else(|| NumberError::Range(shown()))?;
    }
    Ok(n)
}

/// Writes a float as OpenMetrics asks for `le` and `quantile`: `1.0`, `0.25`, `1e+06`, `+Inf` (Go's shortest `%g` with a `.0` where
/// it would look like an integer).
pub fn canonical_float(v: f64) -> String {
    if v.is_nan() {
        return "NaN".to_owned();
    }
    if v.is_infinite() {
        return if v > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if v == 0.0 {
        // Go compares with zero first, so that minus zero is written like zero.
        return "0.0".to_owned();
    }
    let scientific = format!("{v:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let e: i32 = exponent.parse().unwrap_or(0);
    // `FormatFloat(v, 'g', -1, 64)` takes the exponent form below 1e-4 and from 1e6 up.
    if !(-4..6).contains(&e) {
        let sign = if e < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", e.unsigned_abs());
    }
    let plain = format!("{v}");
    if plain.contains('.') { plain } else { plain + ".0" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_as_go_reads_them() {
        for (text, want) in [
            ("1", 1.0),
            ("-0.5", -0.5),
            ("5.", 5.0),
            (".5", 0.5),
            ("+7", 7.0),
            ("1e3", 1000.0),
            ("12345678901234567890", 12345678901234567890.0),
            ("0.1000000000000000055511151231257827021181583404541015625", 0.1),
            ("9007199254740993", 9007199254740992.0),
            ("000000000000000000000000001", 1.0),
            ("Infinity", f64::INFINITY),
            ("-inf", f64::NEG_INFINITY),
            ("1e-400", 0.0),
        ] {
            assert_eq!(parse_float(text.as_bytes()), Ok(want), "{text}");
        }
        assert!(parse_float(b"nan").is_ok_and(f64::is_nan));
        for bad in ["", "-", "+", ".", "1_0", "0x1p3", "0x1", "1e", "+nan", "-NaN", "1e309", "--1", "1 ", "0b1"] {
            assert!(parse_float(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn canonical_bounds() {
        for (v, want) in [
            (1.0, "1.0"),
            (-1.0, "-1.0"),
            (0.0, "0.0"),
            (0.25, "0.25"),
            (100_000.0, "100000.0"),
            (1e6, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(canonical_float(v), want);
        }
    }

    proptest::proptest! {
        #[test]
        fn fast_way_agrees_with_slow_way(text in "-?[0-9]{1,12}(\\.[0-9]{0,9})?") {
            let (v, used) = simple_prefix(text.as_bytes()).unwrap_or((text.parse().unwrap(), text.len()));
            proptest::prop_assert_eq!(used, text.len());
            proptest::prop_assert_eq!(v.to_bits(), text.parse::<f64>().unwrap().to_bits());
        }
    }
}
