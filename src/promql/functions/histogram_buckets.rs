//! Quantiles and fractions of classic buckets and of native histograms.

use crate::model::FloatHistogram;
use crate::model::histogram::Bucket;
use crate::promql::annotations::Remark;

/// A classic bucket: how many observations lie at or below the bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ClassicBucket {
    pub(super) upper: f64,
    pub(super) count: f64,
}

/// What had to be repaired in classic buckets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Forced {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) diff: f64,
}

fn coalesce(buckets: &mut Vec<ClassicBucket>) {
    buckets.sort_by(|a, b| a.upper.total_cmp(&b.upper));
    buckets.dedup_by(|b, first| {
        let same = b.upper == first.upper;
        if same {
            first.count += b.count;
        }
        same
    });
}

/// Equal up to what rounding does.
fn almost_equal(a: f64, b: f64) -> bool {
    const TOLERANCE: f64 = 1e-12;
    let diff = (a - b).abs();
    let sum = a.abs() + b.abs();
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return diff < TOLERANCE * f64::MIN_POSITIVE;
    }
    diff / sum.min(f64::MAX) < TOLERANCE
}

/// Counts may only rise. Differences that are rounding are passed over in silence, real falls are reported.
fn make_monotonic(buckets: &mut [ClassicBucket]) -> Option<Forced> {
    let mut forced: Option<Forced> = None;
    let mut previous = buckets.first()?.count;
    for b in buckets.iter_mut().skip(1) {
        if b.count == previous {
            continue;
        }
        if almost_equal(previous, b.count) {
            b.count = previous;
        } else if b.count < previous {
            let f = forced.get_or_insert(Forced { from: b.upper, to: b.upper, diff: 0.0 });
            f.from = f.from.min(b.upper);
            f.to = f.to.max(b.upper);
            f.diff = f.diff.max(previous - b.count);
            b.count = previous;
        } else {
            previous = b.count;
        }
    }
    forced
}

/// The quantile of classic buckets, linearly interpolated. The lowest bucket is taken to begin at 0 where it ends
/// above 0.
pub(super) fn classic_quantile(q: f64, buckets: &mut Vec<ClassicBucket>) -> (f64, Option<Forced>) {
    if q.is_nan() {
        return (f64::NAN, None);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    coalesce(buckets);
    if buckets.last().is_none_or(|b| b.upper != f64::INFINITY) {
        return (f64::NAN, None);
    }
    let forced = make_monotonic(buckets);
    let n = buckets.len();
    let total = buckets[n - 1].count;
    if n < 2 || total == 0.0 || total.is_nan() {
        return (f64::NAN, None);
    }
    let mut rank = q * total;
    let i = buckets[..n - 1].partition_point(|b| b.count < rank);
    if i == n - 1 {
        return (buckets[n - 2].upper, forced);
    }
    if i == 0 && buckets[0].upper <= 0.0 {
        return (buckets[0].upper, forced);
    }
    let (mut start, mut count) = (0.0, buckets[i].count);
    if i > 0 {
        start = buckets[i - 1].upper;
        count -= buckets[i - 1].count;
        rank -= buckets[i - 1].count;
    }
    (start + (buckets[i].upper - start) * (rank / count), forced)
}

/// The fraction of observations between two values, from classic buckets.
pub(super) fn classic_fraction(lower: f64, upper: f64, buckets: &mut Vec<ClassicBucket>) -> f64 {
    coalesce(buckets);
    let Some(last) = buckets.last().copied().filter(|b| b.upper == f64::INFINITY) else { return f64::NAN };
    if last.count == 0.0 || last.count.is_nan() || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let mut low = if buckets[0].upper > 0.0 { 0.0 } else { f64::NEG_INFINITY };
    let mut rank = 0.0;
    let (mut lower_rank, mut upper_rank) = (None, None);
    for b in buckets.iter() {
        let at = |v: f64| {
            if low == f64::NEG_INFINITY { b.count } else { rank + (b.count - rank) * (v - low) / (b.upper - low) }
        };
        for (bound, found) in [(lower, &mut lower_rank), (upper, &mut upper_rank)] {
            if found.is_none() {
                if low >= bound {
                    *found = Some(rank);
                } else if b.upper > bound {
                    *found = Some(at(bound));
                }
            }
        }
        rank = b.count;
        low = b.upper;
    }
    let capped = |r: Option<f64>| r.map_or(last.count, |r| r.min(last.count));
    (capped(upper_rank) - capped(lower_rank)) / last.count
}

/// Buckets of a histogram with observations on one side of zero only have their zero bucket on that side.
fn natural_zero(h: &FloatHistogram, b: &mut Bucket) {
    match (h.negative_buckets.is_empty(), h.positive_buckets.is_empty()) {
        (true, false) => b.lower = 0.0,
        (false, true) => b.upper = 0.0,
        _ => {}
    }
}

/// The quantile of a native histogram: exponential interpolation in exponential buckets, linear in the zero bucket
/// and in custom ones. Observations of NaN count as the largest.
pub(super) fn native_quantile(q: f64, h: &FloatHistogram) -> (f64, Option<Remark>) {
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if h.count == 0.0 || q.is_nan() {
        return (f64::NAN, None);
    }
    let all = h.all_buckets();
    // From the nearer end, so that less is added up; with NaN observations only the lower end is known.
    let forward = h.sum.is_nan() || q < 0.5;
    let mut rank = if forward { q * h.count } else { (1.0 - q) * h.count };
    let mut bucket = Bucket { lower: 0.0, upper: 0.0, count: 0.0 };
    let (mut count, mut seen) = (0.0, 0);
    let mut take = |b: &Bucket| {
        seen += 1;
        bucket = *b;
        count += b.count;
        b.count != 0.0 && count >= rank
    };
    if forward {
        let _found = all.iter().any(&mut take);
    } else {
        let _found = all.iter().rev().any(&mut take);
    }
    if h.uses_custom_buckets() {
        if bucket.lower == f64::NEG_INFINITY {
            if bucket.upper <= 0.0 {
                return (bucket.upper, None);
            }
            bucket.lower = 0.0;
        } else if bucket.upper == f64::INFINITY {
            return (bucket.lower, None);
        }
    } else if bucket.lower < 0.0 && bucket.upper > 0.0 {
        natural_zero(h, &mut bucket);
    }
    count = count.min(h.count);
    if count < rank {
        if h.sum.is_nan() {
            return (f64::NAN, Some(Remark::QuantileNaNResult));
        }
        return (bucket.upper, None);
    }
    rank = if forward { rank - (count - bucket.count) } else { count - rank };
    let mut remark = None;
    if h.sum.is_nan() {
        let total: f64 = all.iter().map(|b| b.count).sum();
        if total < h.count {
            remark = Some(Remark::QuantileNaNSkew);
        }
    }
    let fraction = rank / bucket.count;
    if h.uses_custom_buckets() || (bucket.lower <= 0.0 && bucket.upper >= 0.0) {
        return (bucket.lower + (bucket.upper - bucket.lower) * fraction, remark);
    }
    let (lower, upper) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
    if bucket.lower > 0.0 {
        return ((lower + (upper - lower) * fraction).exp2(), remark);
    }
    (-(upper + (lower - upper) * (1.0 - fraction)).exp2(), remark)
}

/// The fraction of observations between two values, from a native histogram.
pub(super) fn native_fraction(lower: f64, upper: f64, h: &FloatHistogram) -> (f64, Option<Remark>) {
    if h.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return (f64::NAN, None);
    }
    if lower >= upper {
        return (0.0, None);
    }
    let all = h.all_buckets();
    let mut rank = 0.0;
    let (mut lower_rank, mut upper_rank) = (None, None);
    for original in &all {
        let mut b = *original;
        let is_zero = b.lower <= 0.0 && b.upper >= 0.0;
        if is_zero {
            natural_zero(h, &mut b);
        }
        let at = |v: f64| {
            if h.uses_custom_buckets() || is_zero {
                if b.lower == f64::NEG_INFINITY {
                    return b.count;
                }
                return rank + b.count * (v - b.lower) / (b.upper - b.lower);
            }
            let (l, u, v_log) = (b.lower.abs().log2(), b.upper.abs().log2(), v.abs().log2());
            let fraction = if v > 0.0 { (v_log - l) / (u - l) } else { 1.0 - (v_log - u) / (l - u) };
            rank + b.count * fraction
        };
        for (bound, found) in [(lower, &mut lower_rank), (upper, &mut upper_rank)] {
            if found.is_none() {
                if b.lower >= bound {
                    *found = Some(rank);
                } else if b.upper > bound {
                    *found = Some(at(bound));
                }
            }
        }
        rank += b.count;
    }
    let mut total = h.count;
    let mut remark = None;
    if h.sum.is_nan() {
        total = all.iter().map(|b| b.count).sum();
        if total < h.count {
            remark = Some(Remark::FractionNaNs);
        }
    }
    let capped = |r: Option<f64>| r.map_or(total, |r| r.min(total));
    ((capped(upper_rank) - capped(lower_rank)) / h.count, remark)
}

/// The variance of the observations, each taken to lie in the middle of its bucket.
pub(super) fn variance(h: &FloatHistogram) -> f64 {
    let mean = h.sum / h.count;
    let (mut v, mut c) = (0.0, 0.0);
    for b in h.all_buckets().iter().filter(|b| b.count != 0.0) {
        let value = if h.uses_custom_buckets() {
            (b.upper + b.lower) / 2.0
        } else if b.lower <= 0.0 && b.upper >= 0.0 {
            0.0
        } else {
            (b.upper * b.lower).sqrt().copysign(b.upper)
        };
        let delta = value - mean;
        (v, c) = crate::promql::kahan::add(b.count * delta * delta, v, c);
    }
    (v + c) / h.count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn falling_counts_are_repaired() {
        let mut b: Vec<ClassicBucket> =
            [(0.1, 20.0), (1.0, 10.0), (10.0, 50.0), (100.0, 40.0), (1000.0, 90.0), (f64::INFINITY, 80.0)]
                .map(|(upper, count)| ClassicBucket { upper, count })
                .to_vec();
        let (v, forced) = classic_quantile(0.5, &mut b);
        assert!((v - 8.5).abs() < 1e-12);
        assert_eq!(forced, Some(Forced { from: 1.0, to: f64::INFINITY, diff: 10.0 }));
    }

    #[test]
    fn native_quantiles_interpolate_exponentially() {
        let mut h = FloatHistogram { count: 4.0, sum: 5.0, ..Default::default() };
        h.set_positive([(0, 1.0), (1, 2.0), (2, 1.0)]);
        assert!((native_quantile(0.5, &h).0 - 2f64.sqrt()).abs() < 1e-12);
        assert!((native_fraction(1.0, 2.0, &h).0 - 0.5).abs() < 1e-12);
    }
}
