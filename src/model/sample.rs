//! Samples: one value of one series at one time.

use std::fmt::Write;

use crate::model::TimestampMs;
use crate::text::decimal::write_whole;

/// The bit pattern of the NaN that marks a series as stale (`value.StaleNaN` of Prometheus).
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;
/// The bit pattern of an ordinary NaN as Prometheus stores it.
pub const NORMAL_NAN_BITS: u64 = 0x7ff8_0000_0000_0001;

/// The staleness marker.
pub fn stale_nan() -> f64 {
    f64::from_bits(STALE_NAN_BITS)
}

/// Whether a value is the staleness marker; an ordinary NaN is not.
pub fn is_stale_nan(v: f64) -> bool {
    v.to_bits() == STALE_NAN_BITS
}

/// One float sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// When, in milliseconds.
    pub t: TimestampMs,
    /// The value.
    pub v: f64,
}

/// Writes a value as Prometheus' JSON API does: shortest form that reads back the same, `1e+21` from 1e21 up and
/// `1e-07` below 1e-6 (Go's `%f`/`%e` choice with `FormatFloat(v, 'f'|'e', -1, 64)`), `NaN`, `+Inf`, `-Inf`.
pub fn write_value(out: &mut String, v: f64) {
    if v.is_nan() {
        out.push_str("NaN");
        return;
    }
    if v.is_infinite() {
        out.push_str(if v > 0.0 { "+Inf" } else { "-Inf" });
        return;
    }
    // Most samples are whole numbers. Up to 2^53 all of them are exact.
    let a = v.abs();
    if a < 9e15 && a.fract() == 0.0 {
        if v.is_sign_negative() {
            out.push('-');
        }
        write_whole(out, a as u64);
    } else if (1e-6..1e21).contains(&a) {
        let mut buffer = zmij::Buffer::new();
        let digits = buffer.format_finite(v);
        if digits.contains('e') {
            // The target is a String, which cannot fail.
            let _ok = write!(out, "{v}");
        } else {
            out.push_str(digits.strip_suffix(".0").unwrap_or(digits));
        }
    } else {
        let s = format!("{v:e}");
        let (mantissa, exponent) = s.split_once('e').unwrap_or((&s, "0"));
        let (sign, digits) = match exponent.strip_prefix('-') {
            Some(d) => ('-', d),
            None => ('+', exponent),
        };
        let _ok = write!(out, "{mantissa}e{sign}{digits:0>2}");
    }
}

/// [`write_value`] into a new string.
pub fn format_value(v: f64) -> String {
    let mut s = String::with_capacity(24);
    write_value(&mut s, v);
    s
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The quick ways give what the standard library prints, and that reads back as the same value.
        #[test]
        fn every_way_prints_the_shortest_form(bits in any::<u64>(), whole in any::<i64>(), cents in any::<i32>()) {
            for v in [f64::from_bits(bits), whole as f64, f64::from(cents) / 100.0, f64::from(cents) * 1e12, f64::from(cents) / 3e6] {
                let text = format_value(v);
                if v.is_finite() && (v == 0.0 || (1e-6..1e21).contains(&v.abs())) {
                    // Of two shortest forms that are equally near one has an even last digit. That is the one, as in Go; the standard
                    // library takes the greater.
                    prop_assert_eq!(text.len(), format!("{v}").len());
                    let next = [v.next_down(), v.next_up()].map(|n| format!("{n}"));
                    prop_assert!(!next.contains(&text), "{}", text);
                }
                if v.is_finite() {
                    prop_assert_eq!(text.parse::<f64>().map(f64::to_bits), Ok(v.to_bits()));
                }
            }
        }
    }

    #[test]
    fn values_look_as_in_go() {
        for (v, want) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.5, "1.5"),
            (1e21, "1e+21"),
            (123456789012345680000.0, "123456789012345680000"),
            (1e-7, "1e-07"),
            (0.000001, "0.000001"),
            (f64::INFINITY, "+Inf"),
            (f64::NAN, "NaN"),
            (5e-324, "5e-324"),
        ] {
            assert_eq!(format_value(v), want);
        }
    }
}
