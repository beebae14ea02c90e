//! A histogram as text, in the form that `count_values` puts into labels.

use std::fmt;

use crate::model::histogram::{Bucket, FloatHistogram};

/// Writes a float as Go's `%g` does: shortest digits, exponents from 1e21 up and below 1e-4.
pub(crate) fn go_g(v: f64) -> String {
    if v.is_nan() {
        return "NaN".to_owned();
    }
    if v.is_infinite() {
        return if v > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let a = v.abs();
    if a != 0.0 && !(1e-4..1e21).contains(&a) {
        let s = format!("{v:e}");
        let (mantissa, exponent) = s.split_once('e').unwrap_or((&s, "0"));
        let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |d| ('-', d));
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    format!("{v}")
}

/// Writes `{count:3, sum:5, [-2,-1):1, [-0.001,0.001]:1, (1,2]:1}`; empty buckets are left out.
impl fmt::Display for FloatHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{count:{}, sum:{}", go_g(self.count), go_g(self.sum))?;
        let mut write = |b: Bucket, open: char, close: char| {
            if b.count == 0.0 {
                return Ok(());
            }
            write!(f, ", {open}{},{}{close}:{}", go_g(b.lower), go_g(b.upper), go_g(b.count))
        };
        for (i, c) in self.negative().iter().rev() {
            write(self.negative_bucket(*i, *c), '[', ')')?;
        }
        if !self.uses_custom_buckets() {
            let zero = Bucket { lower: -self.zero_threshold, upper: self.zero_threshold, count: self.zero_count };
            write(zero, '[', ']')?;
        }
        for (i, c) in self.positive() {
            let b = self.positive_bucket(i, c);
            // The lowest custom bucket reaches down to and includes minus infinity.
            write(b, if b.lower == f64::NEG_INFINITY { '[' } else { '(' }, ']')?;
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_as_in_labels() {
        let mut h =
            FloatHistogram { count: 20.0, sum: 10.0, zero_threshold: 0.001, zero_count: 2.0, ..Default::default() };
        h.set_positive([(0, 1.0), (1, 2.0)]);
        h.set_negative([(0, 1.0), (1, 2.0)]);
        assert_eq!(h.to_string(), "{count:20, sum:10, [-2,-1):2, [-1,-0.5):1, [-0.001,0.001]:2, (0.5,1]:1, (1,2]:2}");
    }

    #[test]
    fn floats_as_go_writes_them() {
        for (v, want) in [(1e21, "1e+21"), (1e-5, "1e-05"), (0.0001, "0.0001"), (2.5, "2.5"), (100000.0, "100000")] {
            assert_eq!(go_g(v), want);
        }
    }
}
