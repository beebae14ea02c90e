//! Durations as Prometheus writes them: `1h30m`, units `y w d h m s ms` in that order.

use std::fmt;

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Empty text.
    #[error("empty duration string")]
    Empty,
    /// Not of the form.
    #[error("not a valid duration string: {0:?}")]
    Invalid(String),
    /// Over 2^63 nanoseconds (about 292 years).
    #[error("duration out of range: {0:?}")]
    OutOfRange(String),
}

const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Reads a duration in milliseconds. Units must appear in falling order, each once; a lone `0` needs none.
pub fn parse_ms(text: &str) -> Result<i64, DurationError> {
    if text.is_empty() {
        return Err(DurationError::Empty);
    }
    if text == "0" {
        return Ok(0);
    }
    let invalid = || DurationError::Invalid(text.to_owned());
    let range = || DurationError::OutOfRange(text.to_owned());
    let mut rest = text;
    let mut next_unit = 0;
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(letters);
        if number.is_empty() {
            return Err(invalid());
        }
        let found = UNITS.iter().position(|(u, _)| *u == unit).filter(|i| *i >= next_unit).ok_or_else(invalid)?;
        let (_, factor) = UNITS.get(found).ok_or_else(invalid)?;
        let n: i64 = number.parse().map_err(|_| range())?;
        total = n.checked_mul(*factor).and_then(|x| total.checked_add(x)).ok_or_else(range)?;
        next_unit = found + 1;
        rest = tail;
    }
    if total > i64::MAX / 1_000_000 { Err(range()) } else { Ok(total) }
}

/// A duration for showing, in Prometheus' form: `90m` is `1h30m`, zero is `0s`; years, weeks and days only where they divide evenly.
pub struct Display(pub i64);

impl fmt::Display for Display {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ms = self.0;
        if ms == 0 {
            return f.write_str("0s");
        }
        if ms < 0 {
            f.write_str("-")?;
            ms = ms.saturating_neg();
        }
        for (i, (unit, factor)) in UNITS.iter().enumerate() {
            // Only y, w, d need to divide the rest evenly: "1d1h" is shown as "25h" by nobody, but "8d" must not be "1w1d".
            if i < 3 && ms % factor != 0 {
                continue;
            }
            let n = ms / factor;
            if n > 0 {
                write!(f, "{n}{unit}")?;
                ms -= n * factor;
            }
        }
        Ok(())
    }
}

/// Formats milliseconds in Prometheus' form.
pub fn format_ms(ms: i64) -> String {
    Display(ms).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        for (text, ms, back) in [
            ("0", 0, "0s"),
            ("1h30m", 5_400_000, "1h30m"),
            ("90m", 5_400_000, "1h30m"),
            ("15s", 15_000, "15s"),
            ("1d", 86_400_000, "1d"),
            ("8d", 691_200_000, "8d"),
            ("25h", 90_000_000, "25h"),
            ("1500ms", 1500, "1s500ms"),
            ("1y", 31_536_000_000, "1y"),
        ] {
            assert_eq!(parse_ms(text), Ok(ms), "{text}");
            assert_eq!(format_ms(ms), back, "{text}");
        }
        for bad in ["", "1", "-1s", "1s1h", "1.5h", "5x", "s", "99999999y"] {
            assert!(parse_ms(bad).is_err(), "{bad}");
        }
    }
}
