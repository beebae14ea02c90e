//! Adding up histograms in scripts (`{{...}}+{{...}}x5`) and comparing them bucket by bucket.

use std::collections::BTreeMap;

use crate::model::FloatHistogram;
use crate::model::histogram::{CUSTOM_BUCKETS_SCHEMA, CounterResetHint, Span};

/// The buckets that hold something, by index.
pub fn bucket_map(spans: &[Span], counts: &[f64]) -> BTreeMap<i64, f64> {
    let mut out = BTreeMap::new();
    let mut index = 0_i64;
    let mut next = counts.iter();
    for span in spans {
        index += i64::from(span.offset);
        for count in next.by_ref().take(span.length as usize) {
            if *count != 0.0 {
                out.insert(index, *count);
            }
            index += 1;
        }
    }
    out
}

/// Spans and counts of buckets by index. Indexes outside of an i32 do not occur in what [`bucket_map`] was given.
fn spans_of(buckets: &BTreeMap<i64, f64>) -> (Vec<Span>, Vec<f64>) {
    let (mut spans, mut next): (Vec<Span>, i64) = (Vec::new(), 0);
    for index in buckets.keys() {
        let gap = i32::try_from(*index - next).unwrap_or(0);
        match spans.last_mut() {
            Some(last) if gap == 0 => last.length += 1,
            _ => spans.push(Span { offset: gap, length: 1 }),
        }
        next = *index + 1;
    }
    (spans, buckets.values().copied().collect())
}

/// The index of a bucket after halving the resolution `steps` times.
fn coarser(index: i64, steps: u32) -> i64 {
    ((index - 1) >> steps) + 1
}

/// `base + sign * step`. The resolution of `step` may be finer than that of `base`, whose buckets the sum has.
///
/// Fails with a sentence where the two do not fit together: exponential with custom buckets, different bounds,
/// different zero buckets.
pub fn add(base: &FloatHistogram, sign: f64, step: &FloatHistogram) -> Result<FloatHistogram, String> {
    let (a, b) = (base.schema, step.schema);
    let custom = a == CUSTOM_BUCKETS_SCHEMA;
    if custom != (b == CUSTOM_BUCKETS_SCHEMA) || a > b {
        return Err(format!("error combining histograms: cannot merge from schema {b} to {a}"));
    }
    if custom && base.custom_values != step.custom_values {
        return Err("error combining histograms: their custom bounds differ".to_owned());
    }
    // An absent zero bucket fits any.
    let zero_fits = base.zero_threshold == step.zero_threshold || step.zero_threshold == 0.0 && step.zero_count == 0.0;
    if !zero_fits {
        return Err("error combining histograms: their zero buckets differ in width".to_owned());
    }
    let shift = u32::try_from(b - a).unwrap_or(0).min(31);
    let side = |spans: &[Span], counts: &[f64], more_spans: &[Span], more: &[f64]| {
        let mut buckets = bucket_map(spans, counts);
        for (index, count) in bucket_map(more_spans, more) {
            *buckets.entry(if custom { index } else { coarser(index, shift) }).or_insert(0.0) += sign * count;
        }
        spans_of(&buckets)
    };
    let (positive_spans, positive_buckets) =
        side(&base.positive_spans, &base.positive_buckets, &step.positive_spans, &step.positive_buckets);
    let (negative_spans, negative_buckets) =
        side(&base.negative_spans, &base.negative_buckets, &step.negative_spans, &step.negative_buckets);
    Ok(FloatHistogram {
        counter_reset_hint: merged_hint(base.counter_reset_hint, step.counter_reset_hint),
        count: base.count + sign * step.count,
        sum: base.sum + sign * step.sum,
        zero_count: base.zero_count + sign * step.zero_count,
        positive_spans,
        positive_buckets,
        negative_spans,
        negative_buckets,
        ..base.clone()
    })
}

fn merged_hint(a: CounterResetHint, b: CounterResetHint) -> CounterResetHint {
    use CounterResetHint::{Gauge, Unknown};
    match (a, b) {
        (a, b) if a == b => a,
        (Gauge, _) | (_, Gauge) => Gauge,
        _ => Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::script::histogram_literal::{format_histogram, parse_prefix};

    #[test]
    fn adds_and_takes_away() {
        let h = |s: &str| parse_prefix(s).unwrap().0.histogram;
        let sum = |a: &str, sign: f64, b: &str| add(&h(a), sign, &h(b)).map(|h| format_histogram(&h));
        assert_eq!(
            sum("{{count:3 sum:1 buckets:[1 2]}}", 1.0, "{{count:4 sum:5 offset:1 buckets:[3 0 1]}}").as_deref(),
            Ok("{{count:7 sum:6 buckets:[1 5 0 1]}}")
        );
        assert_eq!(
            sum("{{count:3 buckets:[1 2]}}", -1.0, "{{count:2 buckets:[0 2]}}").as_deref(),
            Ok("{{count:1 buckets:[1 0]}}")
        );
        // Buckets 1 and 2 of schema 1 are bucket 1 of schema 0.
        assert_eq!(
            sum("{{buckets:[1]}}", 1.0, "{{schema:1 offset:1 buckets:[2 3 4]}}").as_deref(),
            Ok("{{buckets:[1 5 4]}}")
        );
        assert!(sum("{{schema:1}}", 1.0, "{{schema:0}}").is_err());
        assert!(sum("{{schema:-53 custom_values:[1]}}", 1.0, "{{schema:-53 custom_values:[2]}}").is_err());
    }
}
