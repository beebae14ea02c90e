//! Cutting a histogram at a value: the operators `</` (keep what lies below) and `>/` (keep what lies above).

use crate::model::histogram::{Bucket, FloatHistogram, Sparse};

/// Which part is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    Below,
    Above,
}

/// How observations are spread inside a bucket that is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spread {
    Linear,
    Exponential,
}

/// What is left of a bucket: its count and the value that stands for its observations in the new sum.
struct Rest {
    count: f64,
    middle: f64,
}

fn middle(lower: f64, upper: f64, spread: Spread) -> f64 {
    match spread {
        Spread::Linear => (lower + upper) / 2.0,
        Spread::Exponential if upper <= 0.0 => -(lower * upper).sqrt(),
        Spread::Exponential => (lower * upper).sqrt(),
    }
}

/// The share of the bucket that lies below `at`, which is inside of it.
fn share_below(b: Bucket, at: f64, spread: Spread) -> f64 {
    match spread {
        Spread::Linear => (at - b.lower) / (b.upper - b.lower),
        Spread::Exponential => {
            let (lower, upper, at) = (b.lower.abs().log2(), b.upper.abs().log2(), at.abs().log2());
            if b.lower >= 0.0 { (at - lower) / (upper - lower) } else { 1.0 - (at - upper) / (lower - upper) }
        }
    }
}

fn cut(b: Bucket, at: f64, keep: Keep, spread: Spread) -> Rest {
    if b.lower == f64::NEG_INFINITY || b.upper == f64::INFINITY {
        return cut_open(b, at, keep);
    }
    let inside = b.lower < at && at < b.upper;
    match keep {
        Keep::Below if at >= b.upper => Rest { count: b.count, middle: middle(b.lower, b.upper, spread) },
        Keep::Above if at <= b.lower => Rest { count: b.count, middle: middle(b.lower, b.upper, spread) },
        Keep::Below if inside => {
            Rest { count: b.count * share_below(b, at, spread), middle: middle(b.lower, at, spread) }
        }
        Keep::Above if inside => {
            Rest { count: b.count * (1.0 - share_below(b, at, spread)), middle: middle(at, b.upper, spread) }
        }
        Keep::Below | Keep::Above => Rest { count: 0.0, middle: 0.0 },
    }
}

/// The outermost custom buckets have no end to interpolate to. The lowest is taken to begin at 0 where it ends above 0.
fn cut_open(b: Bucket, at: f64, keep: Keep) -> Rest {
    let nothing = Rest { count: 0.0, middle: 0.0 };
    let lowest = b.lower == f64::NEG_INFINITY;
    let highest = b.upper == f64::INFINITY;
    match keep {
        Keep::Below if at == f64::INFINITY => Rest { count: b.count, middle: 0.0 },
        Keep::Above if at == f64::NEG_INFINITY => Rest { count: b.count, middle: 0.0 },
        // Where in an endless bucket its observations lie is not known, so none is kept.
        Keep::Below if highest => nothing,
        Keep::Below if at == f64::NEG_INFINITY => nothing,
        Keep::Below if b.upper <= 0.0 => Rest { count: b.count, middle: at.min(b.upper) },
        Keep::Below if at >= b.upper => Rest { count: b.count, middle: b.upper / 2.0 },
        Keep::Below if at > 0.0 => Rest { count: b.count * at / b.upper, middle: at / 2.0 },
        Keep::Below => nothing,
        Keep::Above if lowest && highest => nothing,
        Keep::Above if highest && at == f64::INFINITY => nothing,
        Keep::Above if highest => Rest { count: b.count, middle: at.max(b.lower) },
        Keep::Above if at >= 0.0 && at < b.upper => {
            Rest { count: b.count * (1.0 - at / b.upper), middle: (at + b.upper) / 2.0 }
        }
        Keep::Above => nothing,
    }
}

impl FloatHistogram {
    /// What lies below `bound` (the operator `</`).
    #[must_use]
    pub fn trim_upper(&self, bound: f64) -> FloatHistogram {
        self.trim(bound, Keep::Below)
    }

    /// What lies above `bound` (the operator `>/`).
    #[must_use]
    pub fn trim_lower(&self, bound: f64) -> FloatHistogram {
        self.trim(bound, Keep::Above)
    }

    fn trim(&self, at: f64, keep: Keep) -> FloatHistogram {
        let mut out = self.clone();
        let (mut count, mut sum, mut trimmed) = (0.0, 0.0, false);
        let mut take = |b: Bucket, spread: Spread| {
            if b.count == 0.0 {
                return 0.0;
            }
            let rest = cut(b, at, keep, spread);
            trimmed |= rest.count != b.count;
            count += rest.count;
            if rest.count != 0.0 {
                sum += rest.count * rest.middle;
            }
            rest.count
        };
        let spread = if self.uses_custom_buckets() { Spread::Linear } else { Spread::Exponential };
        let positive: Sparse =
            self.positive().into_iter().map(|(i, c)| (i, take(self.positive_bucket(i, c), spread))).collect();
        let negative: Sparse =
            self.negative().into_iter().map(|(i, c)| (i, take(self.negative_bucket(i, c), spread))).collect();
        if !self.uses_custom_buckets() && self.zero_count != 0.0 {
            let (has_positive, has_negative) = (!self.positive_buckets.is_empty(), !self.negative_buckets.is_empty());
            // A histogram with observations on one side only has none on the other side of zero either.
            let zero = Bucket {
                lower: if has_positive && !has_negative { 0.0 } else { -self.zero_threshold },
                upper: if has_negative && !has_positive { 0.0 } else { self.zero_threshold },
                count: self.zero_count,
            };
            out.zero_count = take(zero, Spread::Linear);
        }
        if trimmed {
            out.count = count;
            out.sum = sum;
            out.set_positive(positive);
            out.set_negative(negative);
            out.compact();
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_inside_a_bucket() {
        let mut h = FloatHistogram { schema: -53, custom_values: vec![5.0, 10.0], count: 5.0, ..Default::default() };
        h.set_positive([(0, 1.0), (1, 3.0), (2, 1.0)]);
        let below = h.trim_upper(7.5);
        assert_eq!((below.count, below.sum, below.positive()), (2.5, 2.5 + 1.5 * 6.25, vec![(0, 1.0), (1, 1.5)]));
        let above = h.trim_lower(20.0);
        assert_eq!((above.count, above.sum), (1.0, 20.0));
        assert_eq!(h.trim_upper(f64::INFINITY), h);
    }
}
