//! Sums and means of many histograms without loss of precision (Kahan summation, as improved by Neumaier).

use crate::model::histogram::arithmetic::{AddOutcome, IncompatibleHistograms, join, joined_hint};
use crate::model::histogram::{CounterResetHint, FloatHistogram, Sparse};

/// Adds `x` to `sum`, keeping what is lost in `c`; after an overflow nothing is kept.
fn kahan(x: f64, sum: f64, c: f64) -> (f64, f64) {
    let t = sum + x;
    if t.is_infinite() {
        return (t, 0.0);
    }
    let lost = if sum.abs() >= x.abs() { (sum - t) + x } else { (x - t) + sum };
    (t, c + lost)
}

/// A running sum of histograms: the sum itself and, in the same layout, what rounding has lost.
#[derive(Clone, Debug)]
pub struct HistogramAccumulator {
    sum: FloatHistogram,
    lost: FloatHistogram,
    added: f64,
    /// Set once the plain sum has overflowed; `sum` is then the mean.
    is_mean: bool,
    reset_seen: bool,
    no_reset_seen: bool,
    bounds_reconciled: bool,
}

impl HistogramAccumulator {
    /// Starts with one histogram.
    pub fn new(first: &FloatHistogram) -> Self {
        let mut lost = first.clone();
        lost.scale(0.0);
        zero(&mut lost);
        let mut acc = HistogramAccumulator {
            sum: first.clone(),
            lost,
            added: 1.0,
            is_mean: false,
            reset_seen: false,
            no_reset_seen: false,
            bounds_reconciled: false,
        };
        acc.note_hint(first.counter_reset_hint);
        acc
    }

    fn note_hint(&mut self, hint: CounterResetHint) {
        match hint {
            CounterResetHint::Reset => self.reset_seen = true,
            CounterResetHint::NotReset => self.no_reset_seen = true,
            CounterResetHint::Unknown | CounterResetHint::Gauge => {}
        }
    }

    /// What there is to tell about all that was added.
    pub fn outcome(&self) -> AddOutcome {
        AddOutcome { reset_collision: self.reset_seen && self.no_reset_seen, bounds_reconciled: self.bounds_reconciled }
    }

    /// Adds one more.
    pub fn add(&mut self, h: &FloatHistogram) -> Result<(), IncompatibleHistograms> {
        self.note_hint(h.counter_reset_hint);
        self.added += 1.0;
        self.add_scaled(h)
    }

    /// Adds one more for a mean: where the sum would overflow, the mean is kept instead of the sum.
    pub fn add_for_mean(&mut self, h: &FloatHistogram) -> Result<(), IncompatibleHistograms> {
        self.note_hint(h.counter_reset_hint);
        self.added += 1.0;
        let n = self.added;
        if !self.is_mean {
            let before = (self.sum.clone(), self.lost.clone());
            self.add_scaled(h)?;
            if !overflowed(&self.sum) {
                return Ok(());
            }
            (self.sum, self.lost) = before;
            self.is_mean = true;
            self.sum.divide(n - 1.0);
            self.lost.divide(n - 1.0);
        }
        let q = (n - 1.0) / n;
        self.sum.scale(q);
        self.lost.scale(q);
        let mut part = h.clone();
        part.divide(n);
        self.add_scaled(&part)
    }

    fn add_scaled(&mut self, h: &FloatHistogram) -> Result<(), IncompatibleHistograms> {
        let (hint, _) = joined_hint(self.sum.counter_reset_hint, h.counter_reset_hint);
        let other;
        let mut h = h;
        let same_layout = self.sum.schema == h.schema
            && self.sum.zero_threshold == h.zero_threshold
            && self.sum.custom_values == h.custom_values
            && self.sum.positive_spans == h.positive_spans
            && self.sum.negative_spans == h.negative_spans;
        if !same_layout {
            let j = join(&self.sum, h)?;
            // The lost part has the layout of the sum, so it takes the same way.
            let lost = join(&self.lost, h)?;
            let indexes = |a: &Sparse, b: &Sparse| super::arithmetic::zip(a, b, |x, _| x);
            let mut joint = h.clone();
            joint.schema = j.schema;
            joint.zero_threshold = j.zero_threshold;
            joint.custom_values.clone_from(&j.custom_values);
            self.sum.schema = j.schema;
            self.sum.zero_threshold = j.zero_threshold;
            self.sum.zero_count = j.left.zero_count;
            self.sum.set_positive(indexes(&j.left.positive, &j.right.positive));
            self.sum.set_negative(indexes(&j.left.negative, &j.right.negative));
            self.sum.custom_values.clone_from(&j.custom_values);
            let (count, sum) = (self.lost.count, self.lost.sum);
            let lost_positive = onto(&self.sum.positive(), &lost.left.positive);
            let lost_negative = onto(&self.sum.negative(), &lost.left.negative);
            self.lost = self.sum.clone();
            (self.lost.count, self.lost.sum, self.lost.zero_count) = (count, sum, lost.left.zero_count);
            self.lost.set_positive(lost_positive);
            self.lost.set_negative(lost_negative);
            joint.zero_count = j.right.zero_count;
            joint.set_positive(onto(&self.sum.positive(), &j.right.positive));
            joint.set_negative(onto(&self.sum.negative(), &j.right.negative));
            self.bounds_reconciled |= j.bounds_reconciled;
            other = joint;
            h = &other;
        }
        let (sum, lost) = (&mut self.sum, &mut self.lost);
        (sum.count, lost.count) = kahan(h.count, sum.count, lost.count);
        (sum.sum, lost.sum) = kahan(h.sum, sum.sum, lost.sum);
        (sum.zero_count, lost.zero_count) = kahan(h.zero_count, sum.zero_count, lost.zero_count);
        for ((s, l), x) in sum.positive_buckets.iter_mut().zip(&mut lost.positive_buckets).zip(&h.positive_buckets) {
            (*s, *l) = kahan(*x, *s, *l);
        }
        for ((s, l), x) in sum.negative_buckets.iter_mut().zip(&mut lost.negative_buckets).zip(&h.negative_buckets) {
            (*s, *l) = kahan(*x, *s, *l);
        }
        sum.counter_reset_hint = hint;
        Ok(())
    }

    /// Takes in what another accumulator has collected with the same of the two ways of adding.
    pub fn join(&mut self, other: HistogramAccumulator) -> Result<(), IncompatibleHistograms> {
        self.reset_seen |= other.reset_seen;
        self.no_reset_seen |= other.no_reset_seen;
        self.bounds_reconciled |= other.bounds_reconciled;
        let (a, b) = (self.added, other.added);
        self.added = a + b;
        if !self.is_mean && !other.is_mean {
            let before = (self.sum.clone(), self.lost.clone());
            self.add_scaled(&other.sum)?;
            self.add_scaled(&other.lost)?;
            if !overflowed(&self.sum) {
                return Ok(());
            }
            (self.sum, self.lost) = before;
        }
        let (total, other_is_mean) = (a + b, other.is_mean);
        let (mut sum, mut lost) = (other.sum, other.lost);
        for (h, is_mean, n) in [
            (&mut self.sum, self.is_mean, a),
            (&mut self.lost, self.is_mean, a),
            (&mut sum, other_is_mean, b),
            (&mut lost, other_is_mean, b),
        ] {
            h.scale(if is_mean { n / total } else { 1.0 / total });
        }
        self.is_mean = true;
        self.add_scaled(&sum)?;
        self.add_scaled(&lost)
    }

    /// The sum of all that was added with [`HistogramAccumulator::add`].
    pub fn into_sum(mut self) -> FloatHistogram {
        self.add_lost();
        self.sum
    }

    /// The mean of all that was added with [`HistogramAccumulator::add_for_mean`].
    pub fn into_mean(mut self) -> FloatHistogram {
        if !self.is_mean {
            self.sum.divide(self.added);
            self.lost.divide(self.added);
        }
        self.add_lost();
        self.sum
    }

    fn add_lost(&mut self) {
        let hint = self.sum.counter_reset_hint;
        self.lost.counter_reset_hint = hint;
        // Both have one layout, so this cannot fail.
        let _same_layout = self.sum.add(&self.lost);
        self.sum.counter_reset_hint = hint;
        self.sum.compact();
    }
}

/// The counts of `from` on the indexes of `layout`.
fn onto(layout: &Sparse, from: &Sparse) -> Sparse {
    let mut from = from.iter().peekable();
    layout
        .iter()
        .map(|(i, _)| {
            while from.next_if(|b| b.0 < *i).is_some() {}
            (*i, from.next_if(|b| b.0 == *i).map_or(0.0, |b| b.1))
        })
        .collect()
}

fn zero(h: &mut FloatHistogram) {
    // Infinite or NaN counts times 0 are NaN.
    (h.count, h.sum, h.zero_count) = (0.0, 0.0, 0.0);
    h.positive_buckets.iter_mut().chain(&mut h.negative_buckets).for_each(|c| *c = 0.0);
}

fn overflowed(h: &FloatHistogram) -> bool {
    h.count.is_infinite()
        || h.sum.is_infinite()
        || h.zero_count.is_infinite()
        || h.positive_buckets.iter().chain(&h.negative_buckets).any(|c| c.is_infinite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(count: f64, sum: f64, buckets: &[(i32, f64)]) -> FloatHistogram {
        let mut h = FloatHistogram { count, sum, ..Default::default() };
        h.set_positive(buckets.iter().copied());
        h
    }

    #[test]
    fn cancellation_loses_nothing() {
        let mut acc = HistogramAccumulator::new(&of(1.0, 1.0, &[(0, 1.0)]));
        for sum in [1e100, 1.0, -1e100] {
            acc.add(&of(1.0, sum, &[(1, 1.0)])).unwrap();
        }
        let s = acc.into_sum();
        assert_eq!((s.count, s.sum, s.positive()), (4.0, 2.0, vec![(0, 1.0), (1, 3.0)]));
    }

    #[test]
    fn a_mean_survives_overflow() {
        let mut acc = HistogramAccumulator::new(&of(f64::MAX, 1.0, &[]));
        acc.add_for_mean(&of(f64::MAX, 3.0, &[])).unwrap();
        let m = acc.into_mean();
        assert!((m.count / f64::MAX - 1.0).abs() < 1e-12);
        assert_eq!(m.sum, 2.0);
    }
}
