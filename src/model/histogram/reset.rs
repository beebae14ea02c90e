//! Whether a counter histogram has started anew.

use crate::model::histogram::arithmetic::zip;
use crate::model::histogram::buckets::{common_bounds, rebucket, reduce};
use crate::model::histogram::{CounterResetHint, FloatHistogram, Sparse};

/// Whether any bucket of `now` holds less than in `before`.
fn any_smaller(now: &Sparse, before: &Sparse) -> bool {
    zip(now, before, |n, b| if n < b { 1.0 } else { 0.0 }).iter().any(|b| b.1 > 0.0)
}

impl FloatHistogram {
    /// Whether a counter reset lies between `previous` and this histogram. The hint of this histogram is believed
    /// where it says something; gauges are compared as if they were counters.
    pub fn detect_reset(&self, previous: &FloatHistogram) -> bool {
        match self.counter_reset_hint {
            CounterResetHint::Reset => return true,
            CounterResetHint::NotReset => return false,
            CounterResetHint::Unknown | CounterResetHint::Gauge => {}
        }
        if self.count < previous.count || self.uses_custom_buckets() != previous.uses_custom_buckets() {
            return true;
        }
        if self.uses_custom_buckets() {
            if self.custom_values == previous.custom_values {
                return any_smaller(&self.positive(), &previous.positive());
            }
            let common = common_bounds(&self.custom_values, &previous.custom_values);
            return any_smaller(
                &rebucket(&self.positive(), &self.custom_values, &common),
                &rebucket(&previous.positive(), &previous.custom_values, &common),
            );
        }
        // Only a new start can have a finer schema or a narrower zero bucket.
        if self.schema > previous.schema || self.zero_threshold < previous.zero_threshold {
            return true;
        }
        let (zero_before, threshold) = previous.zero_count_up_to(self.zero_threshold);
        if threshold != self.zero_threshold || self.zero_count < zero_before {
            return true;
        }
        let on_this_layout = |all: Sparse| -> Sparse {
            let outside: Sparse = if self.zero_threshold == previous.zero_threshold {
                all
            } else {
                all.into_iter().filter(|(i, c)| previous.positive_bucket(*i, *c).lower >= self.zero_threshold).collect()
            };
            reduce(&outside, previous.schema, self.schema)
        };
        any_smaller(&self.positive(), &on_this_layout(previous.positive()))
            || any_smaller(&self.negative(), &on_this_layout(previous.negative()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(count: f64, buckets: &[(i32, f64)]) -> FloatHistogram {
        let mut h = FloatHistogram { count, ..Default::default() };
        h.set_positive(buckets.iter().copied());
        h
    }

    #[test]
    fn resets_are_found_by_count_bucket_schema_and_hint() {
        let before = of(4.0, &[(0, 2.0), (1, 2.0)]);
        let mut finer = of(9.0, &[(0, 9.0)]);
        finer.schema = 1;
        for (name, now, want) in [
            ("grown", of(5.0, &[(0, 2.0), (1, 3.0)]), false),
            ("fewer in all", of(3.0, &[(0, 3.0)]), true),
            ("fewer in one", of(5.0, &[(0, 5.0)]), true),
            ("finer schema", finer, true),
            ("hint", FloatHistogram { counter_reset_hint: CounterResetHint::NotReset, ..Default::default() }, false),
        ] {
            assert_eq!(now.detect_reset(&before), want, "{name}");
        }
    }
}
