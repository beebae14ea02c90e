//! Native histograms as scripts write them: `{{schema:1 sum:3 count:22 buckets:[5 10 7]}}`.

use std::fmt::Write;

use crate::model::FloatHistogram;
use crate::model::histogram::{CounterResetHint, Span};
use crate::model::sample::write_value;
use crate::promql::script::sample_number::parse_signed;

/// Most buckets of one side of a literal; far beyond what a native histogram may have.
const MAX_BUCKETS: usize = 10_000;

/// A literal and whether it says something about counter resets (if not, comparisons do not look at the hint).
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramLiteral {
    /// The histogram.
    pub histogram: FloatHistogram,
    /// Whether `counter_reset_hint` was written.
    pub hint_given: bool,
}

/// Reads a literal from the start of `text`; returns it and what follows. The error is a sentence.
pub fn parse_prefix(text: &str) -> Result<(HistogramLiteral, &str), String> {
    let inner = text.strip_prefix("{{").ok_or("a histogram begins with {{")?;
    let (body, rest) = inner.split_once("}}").ok_or("histogram description incomplete: }} is missing")?;
    Ok((parse_body(body)?, rest))
}

fn parse_body(body: &str) -> Result<HistogramLiteral, String> {
    let mut h = FloatHistogram::default();
    let mut hint_given = false;
    let (mut offset, mut n_offset) = (0, 0);
    let mut seen: Vec<&str> = Vec::new();
    let mut rest = body.trim();
    while !rest.is_empty() {
        let (key, after) =
            rest.split_once(':').ok_or_else(|| format!("missing `:` for histogram descriptor {rest:?}"))?;
        let (value, after) = take_value(after)?;
        rest = after.trim_start();
        if seen.contains(&key) {
            return Err(format!("duplicate key \"{key}\" in histogram"));
        }
        seen.push(key);
        let number = || parse_signed(value).ok_or_else(|| format!("error parsing {key} number: {value}"));
        let integer = || value.parse::<i32>().map_err(|_| format!("error parsing {key} number: {value}"));
        match key.to_ascii_lowercase().as_str() {
            "schema" => h.schema = integer()?,
            "sum" => h.sum = number()?,
            "count" => h.count = number()?,
            "z_bucket" => h.zero_count = number()?,
            "z_bucket_w" => h.zero_threshold = number()?,
            "buckets" => h.positive_buckets = numbers(key, value)?,
            "n_buckets" => h.negative_buckets = numbers(key, value)?,
            "custom_values" => h.custom_values = numbers(key, value)?,
            "offset" => offset = integer()?,
            "n_offset" => n_offset = integer()?,
            "counter_reset_hint" => {
                hint_given = true;
                h.counter_reset_hint = match value {
                    "unknown" => CounterResetHint::Unknown,
                    "reset" => CounterResetHint::Reset,
                    "not_reset" => CounterResetHint::NotReset,
                    "gauge" => CounterResetHint::Gauge,
                    other => return Err(format!("error parsing counter_reset_hint: unknown value {other}")),
                };
            }
            _ => return Err(format!("bad histogram descriptor found: {key:?}")),
        }
    }
    h.positive_spans = one_span(offset, h.positive_buckets.len());
    h.negative_spans = one_span(n_offset, h.negative_buckets.len());
    Ok(HistogramLiteral { histogram: h, hint_given })
}

/// Cuts off a value: a list in brackets, or everything up to the next space.
fn take_value(text: &str) -> Result<(&str, &str), String> {
    if text.starts_with('[') {
        let end = text.find(']').ok_or("a list of buckets is not closed with ]")? + 1;
        return Ok((text.get(..end).unwrap_or(""), text.get(end..).unwrap_or("")));
    }
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    Ok((text.get(..end).unwrap_or(""), text.get(end..).unwrap_or("")))
}

fn numbers(key: &str, value: &str) -> Result<Vec<f64>, String> {
    let inner = value.strip_prefix('[').and_then(|v| v.strip_suffix(']'));
    let inner = inner.ok_or_else(|| format!("error parsing {key}: {value} is no list in brackets"))?;
    let list: Option<Vec<f64>> = inner.split_whitespace().take(MAX_BUCKETS + 1).map(parse_signed).collect();
    let list = list.ok_or_else(|| format!("error parsing {key} float array: {value}"))?;
    if list.len() > MAX_BUCKETS { Err(format!("{key} has more than {MAX_BUCKETS} entries")) } else { Ok(list) }
}

fn one_span(offset: i32, len: usize) -> Vec<Span> {
    // `numbers` bounds the length.
    let length = u32::try_from(len).unwrap_or(u32::MAX);
    if length == 0 { Vec::new() } else { vec![Span { offset, length }] }
}

/// Writes a histogram as a literal, for messages and for scripts to be made from results. Gaps between spans become
/// empty buckets.
pub fn format_histogram(h: &FloatHistogram) -> String {
    let mut out = String::from("{{");
    let mut key = |name: &str, write: &dyn Fn(&mut String)| {
        if out.len() > 2 {
            out.push(' ');
        }
        let _ok = write!(out, "{name}:");
        write(&mut out);
    };
    let number = |v: f64| move |out: &mut String| write_value(out, v);
    if h.schema != 0 {
        key("schema", &|out| {
            let _ok = write!(out, "{}", h.schema);
        });
    }
    for (name, v) in [("count", h.count), ("sum", h.sum), ("z_bucket", h.zero_count), ("z_bucket_w", h.zero_threshold)]
    {
        if v != 0.0 {
            key(name, &number(v));
        }
    }
    if !h.custom_values.is_empty() {
        key("custom_values", &|out| write_list(out, &h.custom_values));
    }
    let hint = match h.counter_reset_hint {
        CounterResetHint::Unknown => None,
        CounterResetHint::Reset => Some("reset"),
        CounterResetHint::NotReset => Some("not_reset"),
        CounterResetHint::Gauge => Some("gauge"),
    };
    if let Some(hint) = hint {
        key("counter_reset_hint", &|out| out.push_str(hint));
    }
    for (offset_name, buckets_name, spans, counts) in [
        ("offset", "buckets", &h.positive_spans, &h.positive_buckets),
        ("n_offset", "n_buckets", &h.negative_spans, &h.negative_buckets),
    ] {
        let first = spans.first().map_or(0, |s| s.offset);
        if first != 0 {
            key(offset_name, &|out| {
                let _ok = write!(out, "{first}");
            });
        }
        if !counts.is_empty() {
            key(buckets_name, &|out| write_list(out, &filled(spans, counts)));
        }
    }
    out.push_str("}}");
    out
}

/// The counts from the first span on, with zeros in the gaps.
fn filled(spans: &[Span], counts: &[f64]) -> Vec<f64> {
    let mut out = Vec::with_capacity(counts.len());
    let mut next = counts.iter();
    for (i, span) in spans.iter().enumerate() {
        if i > 0 {
            let gap = usize::try_from(span.offset).unwrap_or(0).min(MAX_BUCKETS);
            out.extend(std::iter::repeat_n(0.0, gap));
        }
        out.extend(next.by_ref().take(span.length as usize));
    }
    out
}

fn write_list(out: &mut String, values: &[f64]) {
    out.push('[');
    for (i, v) in values.iter().enumerate() {
        if i > 0 {
            out.push(' ');
        }
        write_value(out, *v);
    }
    out.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_key() {
        let text = "{{schema:3 sum:-0.5 count:7 z_bucket:2 z_bucket_w:0.001 buckets:[1 2.5 Inf] offset:-2 n_buckets:[4] \
                    n_offset:3 counter_reset_hint:gauge}}x5";
        let (literal, rest) = parse_prefix(text).unwrap();
        assert_eq!(rest, "x5");
        assert!(literal.hint_given);
        let h = literal.histogram;
        assert_eq!((h.schema, h.sum, h.count, h.zero_count, h.zero_threshold), (3, -0.5, 7.0, 2.0, 0.001));
        assert_eq!(h.positive_buckets, [1.0, 2.5, f64::INFINITY]);
        assert_eq!(h.positive_spans, [Span { offset: -2, length: 3 }]);
        assert_eq!(
            (h.negative_buckets.as_slice(), h.negative_spans.as_slice()),
            (&[4.0][..], &[Span { offset: 3, length: 1 }][..])
        );
        assert_eq!(h.counter_reset_hint, CounterResetHint::Gauge);
        let (empty, _) = parse_prefix("{{ }}").unwrap();
        assert_eq!((empty.histogram, empty.hint_given), (FloatHistogram::default(), false));
    }

    #[test]
    fn writes_what_it_reads() {
        for text in [
            "{{}}",
            "{{schema:-53 count:3 sum:1.5 custom_values:[5 10] buckets:[1 0 2]}}",
            "{{count:1 sum:2 z_bucket:3 z_bucket_w:0.5 counter_reset_hint:not_reset offset:-1 buckets:[1] n_offset:2 n_buckets:[4 5]}}",
        ] {
            assert_eq!(format_histogram(&parse_prefix(text).unwrap().0.histogram), text);
        }
    }

    #[test]
    fn refuses() {
        for (text, want) in [
            ("{{schema:1", "incomplete"),
            ("{{foo:1}}", "bad histogram descriptor found: \"foo\""),
            ("{{sum:1 sum:2}}", "duplicate key \"sum\" in histogram"),
            ("{{sum:x}}", "error parsing sum number: x"),
            ("{{schema:1.5}}", "error parsing schema number: 1.5"),
            ("{{buckets:[1 x]}}", "error parsing buckets float array"),
            ("{{buckets:[1 2}}", "not closed"),
            ("{{buckets:1}}", "no list in brackets"),
            ("{{sum}}", "missing `:`"),
            ("{{counter_reset_hint:maybe}}", "unknown value maybe"),
        ] {
            let e = parse_prefix(text).unwrap_err();
            assert!(e.contains(want), "{text}: {e}");
        }
    }
}
