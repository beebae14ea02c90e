//! Quantiles of plain values.

use std::cmp::Ordering;

/// Orders floats with NaN below everything.
pub(crate) fn nan_first(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

/// The `q`-quantile, interpolated between the two nearest values. NaN counts as the smallest value. Of no values, or
/// for a `q` of NaN, it is NaN; below 0 and above 1 it is the infinity of that side. The values are reordered.
pub fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let order = |a: &f64, b: &f64| nan_first(*a, *b);
    let rank = q * (values.len() - 1) as f64;
    let lower = (rank.floor() as usize).min(values.len() - 1);
    let weight = rank - rank.floor();
    // Only the two neighbours have to be in their places.
    let (_, &mut at, above) = values.select_nth_unstable_by(lower, order);
    let next = above.iter().copied().min_by(order).unwrap_or(at);
    at * (1.0 - weight) + next * weight
}

/// Whether `q` is no quantile, which is worth a warning.
pub(crate) fn is_invalid(q: f64) -> bool {
    !(0.0..=1.0).contains(&q)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpolates() {
        for (q, values, want) in [
            (0.8, vec![4.0, 0.0, 1.0], 2.8),
            (0.5, vec![1.0], 1.0),
            (0.8, vec![0.0, 1.0, f64::NAN], 0.6),
            (-1.0, vec![1.0], f64::NEG_INFINITY),
        ] {
            let got = quantile(q, &mut values.clone());
            assert!(got == want || (got - want).abs() < 1e-12, "{q} of {values:?}: {got}");
        }
        assert!(quantile(f64::NAN, &mut [1.0]).is_nan() && quantile(0.5, &mut []).is_nan());
    }
}
