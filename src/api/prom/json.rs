//! Writes query results as Prometheus' JSON, straight into one string.

use std::fmt::Write;

use crate::model::labels::Labels;
use crate::model::sample::write_value;
use crate::model::{FloatHistogram, TimestampMs};
use crate::text::decimal::write_whole;

/// Writes a JSON string.
pub fn write_str(out: &mut String, s: &str) {
    out.push('"');
    let mut plain = 0;
    for (i, b) in s.bytes().enumerate() {
        let escape = match b {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..=0x1f => "",
            _ => continue,
        };
        out.push_str(s.get(plain..i).unwrap_or(""));
        plain = i + 1;
        if escape.is_empty() {
            // Writing to a String cannot fail.
            let _ok = write!(out, "\\u{:04x}", b);
        } else {
            out.push_str(escape);
        }
    }
    out.push_str(s.get(plain..).unwrap_or(""));
    out.push('"');
}

/// Writes names and values as an object.
pub fn write_object<'a>(out: &mut String, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) {
    out.push('{');
    for (i, (n, v)) in pairs.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_str(out, n);
        out.push(':');
        write_str(out, v);
    }
    out.push('}');
}

/// Writes a label set as an object.
pub fn write_labels(out: &mut String, labels: &Labels) {
    write_object(out, labels);
}

/// Writes milliseconds as seconds with only the digits needed.
pub fn write_time(out: &mut String, t: TimestampMs) {
    if t < 0 {
        out.push('-');
    }
    let (s, ms) = (t.unsigned_abs() / 1000, t.unsigned_abs() % 1000);
    write_whole(out, s);
    if ms > 0 {
        let text = [b'0' + (ms / 100) as u8, b'0' + (ms / 10 % 10) as u8, b'0' + (ms % 10) as u8];
        let len = match ms {
            _ if ms % 100 == 0 => 1,
            _ if ms % 10 == 0 => 2,
            _ => 3,
        };
        out.push('.');
        out.push_str(text.get(..len).and_then(|t| std::str::from_utf8(t).ok()).unwrap_or_default());
    }
}

/// Writes `[time,"value"]`.
pub fn write_point(out: &mut String, t: TimestampMs, v: f64) {
    out.push('[');
    write_time(out, t);
    out.push_str(",\"");
    write_value(out, v);
    out.push_str("\"]");
}

/// Writes a histogram as `{"count":"..","sum":"..","buckets":[[rule,"lower","upper","count"],...]}`; empty buckets are left out.
pub fn write_histogram(out: &mut String, h: &FloatHistogram) {
    out.push_str("{\"count\":\"");
    write_value(out, h.count);
    out.push_str("\",\"sum\":\"");
    write_value(out, h.sum);
    out.push('"');
    let mut first = true;
    for b in h.all_buckets() {
        if b.count == 0.0 {
            continue;
        }
        out.push_str(if first { ",\"buckets\":[" } else { "," });
        first = false;
        // Which bounds belong to the bucket: 0 the upper (positive buckets), 1 the lower (negative ones), 3 both (around zero).
        let rule = if h.uses_custom_buckets() {
            0
        } else if b.lower < 0.0 && b.upper > 0.0 {
            3
        } else if b.upper <= 0.0 && b.lower < 0.0 {
            1
        } else {
            0
        };
        let _ok = write!(out, "[{rule},\"");
        write_value(out, b.lower);
        out.push_str("\",\"");
        write_value(out, b.upper);
        out.push_str("\",\"");
        write_value(out, b.count);
        out.push_str("\"]");
    }
    if !first {
        out.push(']');
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_points() {
        let mut s = String::new();
        write_str(&mut s, "a\"b\\\n\u{1}é");
        assert_eq!(s, "\"a\\\"b\\\\\\n\\u0001é\"");
        for (t, v, want) in [
            (1_435_781_430_781, 1.0, "[1435781430.781,\"1\"]"),
            (4000, -2.5, "[4,\"-2.5\"]"),
            (1500, f64::NAN, "[1.5,\"NaN\"]"),
            (-10, -0.0, "[-0.01,\"-0\"]"),
            (0, -7.0, "[0,\"-7\"]"),
            (0, 1e15, "[0,\"1000000000000000\"]"),
        ] {
            let mut s = String::new();
            write_point(&mut s, t, v);
            assert_eq!(s, want);
        }
    }
}
