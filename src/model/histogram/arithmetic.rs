//! Adding, subtracting and scaling whole histograms.

use crate::model::histogram::buckets::{common_bounds, rebucket, reduce};
use crate::model::histogram::{CounterResetHint, FloatHistogram, Sparse};

/// An exponential and a custom-bucket histogram were to be combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot combine a histogram with exponential buckets and one with custom buckets")]
pub struct IncompatibleHistograms;

/// What is worth telling about a sum or a difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddOutcome {
    /// One side said "there was a reset", the other "there was none".
    pub reset_collision: bool,
    /// The custom bounds differed and were reduced to their common ones.
    pub bounds_reconciled: bool,
}

/// The layout on which two histograms can be joined, and what each side looks like on it.
pub(super) struct Joined {
    pub(super) schema: i32,
    pub(super) zero_threshold: f64,
    pub(super) custom_values: Vec<f64>,
    pub(super) left: Part,
    pub(super) right: Part,
    pub(super) bounds_reconciled: bool,
}

/// One side on the joint layout.
pub(super) struct Part {
    pub(super) zero_count: f64,
    pub(super) positive: Sparse,
    pub(super) negative: Sparse,
}

/// What is known about resets of a sum. The second value tells of a collision.
pub(super) fn joined_hint(a: CounterResetHint, b: CounterResetHint) -> (CounterResetHint, bool) {
    use CounterResetHint::{Gauge, NotReset, Reset, Unknown};
    match (a, b) {
        (x, y) if x == y => (x, false),
        (Gauge, _) | (_, Gauge) => (Gauge, false),
        (Unknown, _) | (_, Unknown) => (Unknown, false),
        (Reset, NotReset) | (NotReset, Reset) => (Unknown, true),
        (x, _) => (x, false),
    }
}

/// Brings two histograms to one layout.
pub(super) fn join(a: &FloatHistogram, b: &FloatHistogram) -> Result<Joined, IncompatibleHistograms> {
    if a.uses_custom_buckets() != b.uses_custom_buckets() {
        return Err(IncompatibleHistograms);
    }
    if a.uses_custom_buckets() {
        let same = a.custom_values == b.custom_values;
        let custom_values =
            if same { a.custom_values.clone() } else { common_bounds(&a.custom_values, &b.custom_values) };
        let part = |h: &FloatHistogram| Part {
            zero_count: 0.0,
            positive: if same { h.positive() } else { rebucket(&h.positive(), &h.custom_values, &custom_values) },
            negative: Vec::new(),
        };
        let (left, right) = (part(a), part(b));
        return Ok(Joined {
            schema: a.schema,
            zero_threshold: 0.0,
            custom_values,
            left,
            right,
            bounds_reconciled: !same,
        });
    }
    let (mut zero_a, mut zero_b) = ((a.zero_count, a.zero_threshold), (b.zero_count, b.zero_threshold));
    while zero_a.1 != zero_b.1 {
        // Each side may have to go further than asked, to the end of a populated bucket; then the other follows.
        if zero_a.1 > zero_b.1 {
            zero_b = b.zero_count_up_to(zero_a.1);
        } else {
            zero_a = a.zero_count_up_to(zero_b.1);
        }
        if zero_a.1.is_nan() || zero_b.1.is_nan() {
            break;
        }
    }
    let schema = a.schema.min(b.schema);
    let threshold = zero_a.1;
    let part = |h: &FloatHistogram, zero_count: f64| {
        let outside = |all: Sparse| -> Sparse {
            if h.zero_threshold == threshold {
                return all;
            }
            all.into_iter().filter(|(i, c)| h.positive_bucket(*i, *c).lower >= threshold).collect()
        };
        Part {
            zero_count,
            positive: reduce(&outside(h.positive()), h.schema, schema),
            negative: reduce(&outside(h.negative()), h.schema, schema),
        }
    };
    let (left, right) = (part(a, zero_a.0), part(b, zero_b.0));
    Ok(Joined { schema, zero_threshold: threshold, custom_values: Vec::new(), left, right, bounds_reconciled: false })
}

/// Joins two lists by index; a bucket absent on one side counts as 0 there.
pub(super) fn zip(a: &Sparse, b: &Sparse, f: impl Fn(f64, f64) -> f64) -> Sparse {
    let mut out = Vec::with_capacity(a.len().max(b.len()));
    let (mut i, mut j) = (a.iter().peekable(), b.iter().peekable());
    loop {
        match (i.peek(), j.peek()) {
            (Some(x), Some(y)) if x.0 == y.0 => {
                out.push((x.0, f(x.1, y.1)));
                i.next();
                j.next();
            }
            (Some(x), Some(y)) if x.0 < y.0 => {
                out.push((x.0, f(x.1, 0.0)));
                i.next();
            }
            (Some(x), None) => {
                out.push((x.0, f(x.1, 0.0)));
                i.next();
            }
            (_, Some(y)) => {
                out.push((y.0, f(0.0, y.1)));
                j.next();
            }
            (None, None) => return out,
        }
    }
}

impl FloatHistogram {
    /// The zero bucket's count if its threshold were widened to `threshold`. Where that cuts a populated bucket, the
    /// threshold goes to the end of that bucket; the one that came out is returned.
    pub(super) fn zero_count_up_to(&self, threshold: f64) -> (f64, f64) {
        let mut threshold = threshold;
        if threshold <= self.zero_threshold {
            return (self.zero_count, self.zero_threshold);
        }
        let (positive, negative) = (self.positive(), self.negative());
        loop {
            let before = threshold;
            let mut count = self.zero_count;
            for side in [&positive, &negative] {
                for (index, c) in side {
                    // The negative side mirrors the positive one.
                    let b = self.positive_bucket(*index, *c);
                    if b.lower >= threshold {
                        break;
                    }
                    count += c;
                    if b.upper > threshold {
                        if *c != 0.0 {
                            threshold = b.upper;
                        }
                        break;
                    }
                }
            }
            if threshold == before {
                return (count, threshold);
            }
        }
    }

    /// The same histogram at a coarser exponential schema.
    #[must_use]
    pub fn to_schema(&self, schema: i32) -> FloatHistogram {
        let mut h = self.clone();
        if !self.uses_custom_buckets() && schema < self.schema {
            h.schema = schema;
            h.set_positive(reduce(&self.positive(), self.schema, schema));
            h.set_negative(reduce(&self.negative(), self.schema, schema));
        }
        h
    }

    fn combine(
        &mut self,
        other: &FloatHistogram,
        f: impl Fn(f64, f64) -> f64 + Copy,
    ) -> Result<AddOutcome, IncompatibleHistograms> {
        let (hint, reset_collision) = joined_hint(self.counter_reset_hint, other.counter_reset_hint);
        let same_layout = self.schema == other.schema
            && self.zero_threshold == other.zero_threshold
            && self.custom_values == other.custom_values
            && self.positive_spans == other.positive_spans
            && self.negative_spans == other.negative_spans;
        let mut outcome = AddOutcome { reset_collision, bounds_reconciled: false };
        if same_layout {
            self.zero_count = f(self.zero_count, other.zero_count);
            for (a, b) in self.positive_buckets.iter_mut().zip(&other.positive_buckets) {
                *a = f(*a, *b);
            }
            for (a, b) in self.negative_buckets.iter_mut().zip(&other.negative_buckets) {
                *a = f(*a, *b);
            }
        } else {
            let joined = join(self, other)?;
            self.schema = joined.schema;
            self.zero_threshold = joined.zero_threshold;
            self.zero_count = f(joined.left.zero_count, joined.right.zero_count);
            self.set_positive(zip(&joined.left.positive, &joined.right.positive, f));
            self.set_negative(zip(&joined.left.negative, &joined.right.negative, f));
            self.custom_values = joined.custom_values;
            outcome.bounds_reconciled = joined.bounds_reconciled;
        }
        self.count = f(self.count, other.count);
        self.sum = f(self.sum, other.sum);
        self.counter_reset_hint = hint;
        Ok(outcome)
    }

    /// Adds another histogram. Nothing is changed on error.
    pub fn add(&mut self, other: &FloatHistogram) -> Result<AddOutcome, IncompatibleHistograms> {
        self.combine(other, |a, b| a + b)
    }

    /// Subtracts another histogram; counts may become negative. Nothing is changed on error.
    pub fn sub(&mut self, other: &FloatHistogram) -> Result<AddOutcome, IncompatibleHistograms> {
        self.combine(other, |a, b| a - b)
    }

    /// Multiplies all counts and the sum. A negative factor makes a gauge of it.
    pub fn scale(&mut self, factor: f64) {
        self.each_count(|c| c * factor);
        if factor < 0.0 {
            self.counter_reset_hint = CounterResetHint::Gauge;
        }
    }

    /// Divides all counts and the sum. A division by zero leaves no buckets, as infinitely full ones say nothing.
    pub fn divide(&mut self, divisor: f64) {
        self.each_count(|c| c / divisor);
        if divisor == 0.0 {
            self.set_positive([]);
            self.set_negative([]);
        }
        if divisor < 0.0 {
            self.counter_reset_hint = CounterResetHint::Gauge;
        }
    }

    fn each_count(&mut self, f: impl Fn(f64) -> f64) {
        self.zero_count = f(self.zero_count);
        self.count = f(self.count);
        self.sum = f(self.sum);
        for c in self.positive_buckets.iter_mut().chain(&mut self.negative_buckets) {
            *c = f(*c);
        }
    }

    /// Whether both hold the same observations in the same layout; empty buckets do not count, nor do reset hints.
    pub fn same_observations(&self, other: &FloatHistogram) -> bool {
        let filled = |all: Sparse| -> Sparse { all.into_iter().filter(|b| b.1 != 0.0).collect() };
        let bits = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan());
        self.schema == other.schema
            && bits(self.count, other.count)
            && bits(self.sum, other.sum)
            && (self.uses_custom_buckets()
                || (self.zero_threshold == other.zero_threshold && self.zero_count == other.zero_count))
            && self.custom_values == other.custom_values
            && filled(self.positive()) == filled(other.positive())
            && filled(self.negative()) == filled(other.negative())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exponential(schema: i32, first: i32, counts: &[f64]) -> FloatHistogram {
        let mut h = FloatHistogram { schema, ..Default::default() };
        h.set_positive(counts.iter().enumerate().map(|(i, c)| (first + i as i32, *c)));
        h.count = counts.iter().sum();
        h
    }

    #[test]
    fn sums_go_to_the_coarser_schema() {
        let mut a = exponential(1, 0, &[1.0, 2.0, 4.0]);
        a.add(&exponential(0, 1, &[8.0])).unwrap();
        assert_eq!((a.schema, a.positive()), (0, vec![(0, 1.0), (1, 14.0)]));
        assert_eq!(a.count, 15.0);
    }

    #[test]
    fn zero_buckets_go_to_the_wider_threshold() {
        let mut a = exponential(0, 0, &[1.0, 2.0]);
        let b = FloatHistogram { zero_threshold: 0.75, zero_count: 5.0, count: 5.0, ..Default::default() };
        a.add(&b).unwrap();
        // The populated bucket (0.5, 1] is cut by 0.75, so the threshold goes to 1.
        assert_eq!((a.zero_threshold, a.zero_count, a.positive()), (1.0, 6.0, vec![(1, 2.0)]));
    }

    #[test]
    fn custom_and_exponential_do_not_mix() {
        let mut a = exponential(0, 0, &[1.0]);
        let b = FloatHistogram { schema: -53, custom_values: vec![1.0], ..Default::default() };
        assert_eq!(a.add(&b), Err(IncompatibleHistograms));
    }

    #[test]
    fn hints_of_sums() {
        use CounterResetHint::{Gauge, NotReset, Reset, Unknown};
        assert_eq!(joined_hint(Reset, NotReset), (Unknown, true));
        assert_eq!(joined_hint(Gauge, Reset), (Gauge, false));
        assert_eq!(joined_hint(Unknown, NotReset), (Unknown, false));
        assert_eq!(joined_hint(NotReset, NotReset), (NotReset, false));
    }
}
