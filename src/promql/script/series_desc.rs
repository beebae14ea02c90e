//! A line that describes a series: its labels and its samples in expanding notation (`up{a="b"} 1 _ 2+3x4 stale`).
//! Test scripts and unit tests of rules are made of such lines.

use crate::model::sample::stale_nan;
use crate::model::{FloatHistogram, Labels};
use crate::promql::parse::parse_metric;
use crate::promql::script::histogram_literal::{HistogramLiteral, parse_prefix};
use crate::promql::script::histogram_sum::add;
use crate::promql::script::sample_number::take_unsigned;

/// Most samples that one line may expand to. Scripts have some thousands; a slip of the finger must not fill the memory.
pub const MAX_VALUES: usize = 1_000_000;

/// One place in the sequence of a series.
#[derive(Clone, Debug, PartialEq)]
pub enum SequenceValue {
    /// No sample (`_`).
    Omitted,
    /// A float; `stale` is the staleness marker.
    Float(f64),
    /// A native histogram.
    Histogram {
        /// The value.
        histogram: Box<FloatHistogram>,
        /// Whether the literal says something about counter resets.
        hint_given: bool,
    },
}

/// Why a line describes no series.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeriesDescError {
    /// The labels are wrong; the text is that of the parser.
    #[error("{0}")]
    Labels(String),
    /// A sample is wrong.
    #[error("sample {item:?}: {reason}")]
    Sample {
        /// The item as written.
        item: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The line would expand to more than [`MAX_VALUES`] samples.
    #[error("the line describes more than {MAX_VALUES} samples")]
    TooLong,
}

/// Reads a line: labels, then samples. The samples may be missing.
pub fn parse_series_desc(line: &str) -> Result<(Labels, Vec<SequenceValue>), SeriesDescError> {
    let (metric, values) = split_metric(line.trim());
    let labels = parse_metric(metric).map_err(|e| SeriesDescError::Labels(e.to_string()))?;
    if !values.is_empty() && !values.starts_with([' ', '\t']) {
        return Err(sample_error(values, "a space must follow the labels"));
    }
    Ok((labels, parse_values(values)?))
}

/// Splits a line behind the labels of the series it begins with.
pub fn split_metric(line: &str) -> (&str, &str) {
    let mut quote = None;
    let mut escaped = false;
    let mut in_braces = false;
    for (i, c) in line.char_indices() {
        match quote {
            Some(q) => {
                if escaped {
                    escaped = false;
                } else if c == '\\' && q != '`' {
                    escaped = true;
                } else if c == q {
                    quote = None;
                }
            }
            None if in_braces => match c {
                '"' | '\'' | '`' => quote = Some(c),
                '}' => return line.split_at(i + 1),
                _ => {}
            },
            None if c == '{' => in_braces = true,
            None if c.is_whitespace() || c == '@' => return line.split_at(i),
            None => {}
        }
    }
    (line, "")
}

fn sample_error(item: &str, reason: impl Into<String>) -> SeriesDescError {
    SeriesDescError::Sample { item: item.to_owned(), reason: reason.into() }
}

/// Reads a sequence of samples in expanding notation, separated by spaces:
///
/// `_` no sample, `_x3` three times none, `5` a sample, `5x3` four times 5, `5+2x3` is `5 7 9 11`, `5-2x3` likewise
/// down, `stale`, `Inf`, `NaN`, and histograms `{{...}}` in place of numbers.
pub fn parse_values(text: &str) -> Result<Vec<SequenceValue>, SeriesDescError> {
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (item, after) = split_item(rest);
        let expanded = if item.starts_with("{{") { histograms(item) } else { floats(item) };
        let (first, step, count) = expanded.map_err(|reason| sample_error(item, reason))?;
        if count > MAX_VALUES.saturating_sub(out.len()) {
            return Err(SeriesDescError::TooLong);
        }
        expand(&mut out, first, step, count).map_err(|reason| sample_error(item, reason))?;
        rest = after.trim_start();
    }
    Ok(out)
}

/// Splits off what stands before the next space that is not inside a histogram.
fn split_item(text: &str) -> (&str, &str) {
    let mut at = 0;
    while let Some(c) = text.get(at..).and_then(|t| t.chars().next()) {
        if text.get(at..).is_some_and(|t| t.starts_with("{{")) {
            at += text.get(at..).and_then(|t| t.find("}}")).map_or(text.len() - at, |i| i + 2);
        } else if c.is_whitespace() {
            break;
        } else {
            at += c.len_utf8();
        }
    }
    text.split_at_checked(at).unwrap_or((text, ""))
}

/// What is added at each repetition.
enum Step {
    None,
    Float(f64),
    Histogram(f64, FloatHistogram),
}

fn expand(out: &mut Vec<SequenceValue>, first: SequenceValue, step: Step, count: usize) -> Result<(), String> {
    let mut value = first;
    for i in 0..count {
        if i > 0 {
            match (&mut value, &step) {
                (SequenceValue::Float(v), Step::Float(d)) => *v += d,
                (SequenceValue::Histogram { histogram, .. }, Step::Histogram(sign, d)) => {
                    **histogram = add(histogram, *sign, d)?;
                }
                _ => {}
            }
        }
        out.push(value.clone());
    }
    Ok(())
}

/// Reads `xN`.
fn times(text: &str) -> Result<usize, String> {
    let digits = text.strip_prefix('x').ok_or_else(|| format!("unexpected {text:?}, expected x and a count"))?;
    digits.parse().map_err(|_| format!("{digits:?} is no count"))
}

fn floats(item: &str) -> Result<(SequenceValue, Step, usize), String> {
    if let Some(rest) = item.strip_prefix('_') {
        let count = if rest.is_empty() { 1 } else { times(rest)? };
        return Ok((SequenceValue::Omitted, Step::None, count));
    }
    if item == "stale" {
        return Ok((SequenceValue::Float(stale_nan()), Step::None, 1));
    }
    let no_number = || "expected a number, \"stale\", \"_\" or a histogram".to_owned();
    let (first, rest) = take_signed(item).ok_or_else(no_number)?;
    let value = SequenceValue::Float(first);
    if rest.is_empty() {
        return Ok((value, Step::None, 1));
    }
    if rest.starts_with('x') {
        return Ok((value, Step::None, times(rest)?.saturating_add(1)));
    }
    if !rest.starts_with(['+', '-']) {
        return Err(no_number());
    }
    let (step, rest) = take_signed(rest).ok_or_else(no_number)?;
    Ok((value, Step::Float(step), times(rest)?.saturating_add(1)))
}

fn take_signed(text: &str) -> Option<(f64, &str)> {
    match text.strip_prefix('-') {
        Some(rest) => take_unsigned(rest).map(|(v, rest)| (-v, rest)),
        None => take_unsigned(text.strip_prefix('+').unwrap_or(text)),
    }
}

fn histograms(item: &str) -> Result<(SequenceValue, Step, usize), String> {
    let (HistogramLiteral { histogram, hint_given }, rest) = parse_prefix(item)?;
    let value = |hint_given| SequenceValue::Histogram { histogram: Box::new(histogram), hint_given };
    if rest.is_empty() {
        return Ok((value(hint_given), Step::None, 1));
    }
    if rest.starts_with('x') {
        return Ok((value(hint_given), Step::None, times(rest)?.saturating_add(1)));
    }
    let (sign, rest) = match (rest.strip_prefix('+'), rest.strip_prefix('-')) {
        (Some(rest), _) => (1.0, rest),
        (_, Some(rest)) => (-1.0, rest),
        _ => return Err(format!("unexpected {rest:?} after a histogram")),
    };
    let (step, rest) = parse_prefix(rest)?;
    // The hint of a sum is what the added histogram says.
    Ok((value(step.hint_given), Step::Histogram(sign, step.histogram), times(rest)?.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::sample::is_stale_nan;
    use crate::promql::script::histogram_literal::format_histogram;

    fn show(line: &str) -> String {
        match parse_series_desc(line) {
            Err(e) => format!("error: {e}"),
            Ok((labels, values)) => {
                let mut out = labels.to_string();
                for v in values {
                    out.push(' ');
                    out.push_str(&match v {
                        SequenceValue::Omitted => "_".to_owned(),
                        SequenceValue::Float(v) if is_stale_nan(v) => "stale".to_owned(),
                        SequenceValue::Float(v) => v.to_string(),
                        SequenceValue::Histogram { histogram, .. } => format_histogram(&histogram),
                    });
                }
                out
            }
        }
    }

    #[test]
    fn expands() {
        for (line, want) in [
            ("up 1 2 3", "{__name__=\"up\"} 1 2 3"),
            ("{}  5", "{} 5"),
            ("a{b=\"} \\\" {\",c='d'} -1.5 +2", "{__name__=\"a\", b=\"} \\\" {\", c=\"d\"} -1.5 2"),
            ("a", "{__name__=\"a\"}"),
            ("a 1x2 _ _x2", "{__name__=\"a\"} 1 1 1 _ _ _"),
            ("a 1+2x3", "{__name__=\"a\"} 1 3 5 7"),
            ("a -2-1.5x2 0x0", "{__name__=\"a\"} -2 -3.5 -5 0"),
            ("a 1e2+1e1x1 1E-1", "{__name__=\"a\"} 100 110 0.1"),
            ("a stale Inf -inf NaN", "{__name__=\"a\"} stale inf -inf NaN"),
            ("a\t1\t2", "{__name__=\"a\"} 1 2"),
            ("a {{count:1}} {{count:1}}x1", "{__name__=\"a\"} {{count:1}} {{count:1}} {{count:1}}"),
            (
                "a {{count:1 buckets:[1]}}+{{count:2 buckets:[2]}}x2",
                "{__name__=\"a\"} {{count:1 buckets:[1]}} {{count:3 buckets:[3]}} {{count:5 buckets:[5]}}",
            ),
            ("a {{count:5}}-{{count:2}}x1", "{__name__=\"a\"} {{count:5}} {{count:3}}"),
            ("{\"a.b\"} 1", "{__name__=\"a.b\"} 1"),
        ] {
            assert_eq!(show(line), want, "{line}");
        }
        for (line, want) in [
            ("a b", "expected a number"),
            ("a 1+2", "expected x and a count"),
            ("a 1x", "is no count"),
            ("a 1x-1", "is no count"),
            ("a{b}", "expected \"=\""),
            ("a{}1", "a space must follow"),
            ("a {{count:1}}y", "after a histogram"),
            ("a {{count:1}", "incomplete"),
            ("a 1x99999999999", "more than 1000000 samples"),
            ("a 1x18446744073709551615", "more than 1000000 samples"),
        ] {
            let got = show(line);
            assert!(got.starts_with("error: ") && got.contains(want), "{line}: {got}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_survived(line in "\\PC*") {
            let _outcome = parse_series_desc(&line);
        }

        #[test]
        fn soups_are_survived(parts in prop::collection::vec(prop::sample::select(vec![
            "a", "{", "}", "{{", "}}", "1", "x3", "+", "-", "_", " ", "stale", "schema:", "buckets:[", "]", "é", "\"", "@st",
        ]), 0..20)) {
            let _outcome = parse_series_desc(&parts.concat());
        }
    }
}
