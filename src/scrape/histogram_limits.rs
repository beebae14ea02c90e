//! How fine and how large the native histograms of a job may be. What is finer is stored more coarsely.

use crate::config::scrape::Limits;
use crate::model::FloatHistogram;

/// The coarsest exponential schema.
const COARSEST: i32 = -4;

/// A histogram has too many buckets even at the coarsest resolution, or has bounds of its own, which cannot be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyBuckets {
    /// Those it has, at the coarsest resolution.
    pub buckets: usize,
}

/// The histogram as the limits allow it; `None` if it may stay as it is.
pub fn fitted(limits: &Limits, h: &FloatHistogram) -> Result<Option<FloatHistogram>, TooManyBuckets> {
    let most = usize::try_from(limits.histogram_buckets).ok().filter(|n| *n > 0).unwrap_or(usize::MAX);
    let buckets = |h: &FloatHistogram| h.positive_buckets.len() + h.negative_buckets.len();
    if h.uses_custom_buckets() {
        let buckets = buckets(h);
        return if buckets > most { Err(TooManyBuckets { buckets }) } else { Ok(None) };
    }
    let mut fit = limits.histogram_schema.filter(|finest| h.schema > *finest).map(|finest| h.to_schema(finest));
    loop {
        let now = fit.as_ref().unwrap_or(h);
        if buckets(now) <= most {
            return Ok(fit);
        }
        if now.schema <= COARSEST {
            return Err(TooManyBuckets { buckets: buckets(now) });
        }
        fit = Some(now.to_schema(now.schema - 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::histogram::CUSTOM_BUCKETS_SCHEMA;

    fn limits(buckets: u64, schema: Option<i32>) -> Limits {
        Limits { histogram_buckets: buckets, histogram_schema: schema, ..Limits::default() }
    }

    /// Eight buckets from 1 to 4 at schema 2, and two negative ones.
    fn histogram() -> FloatHistogram {
        let mut h = FloatHistogram { schema: 2, count: 50.0, sum: 1.5, zero_count: 4.0, ..FloatHistogram::default() };
        h.set_positive((1..9).map(|i| (i, f64::from(i))));
        h.set_negative([(1, 4.0), (2, 6.0)]);
        h
    }

    #[test]
    fn what_is_too_fine_becomes_coarser_until_it_fits() {
        let h = histogram();
        let all = |h: &FloatHistogram| h.positive().iter().chain(&h.negative()).map(|b| b.1).sum::<f64>();
        for (most, finest, want) in [
            (0, None, None),
            (10, None, None),
            (10, Some(8), None),
            (0, Some(2), None),
            (0, Some(1), Some((1, 5))),
            (0, Some(-2), Some((-2, 2))),
            // Two buckets of each join, on both sides.
            (9, None, Some((1, 5))),
            (5, None, Some((1, 5))),
            (4, None, Some((0, 3))),
            (2, None, Some((-1, 2))),
            (4, Some(1), Some((0, 3))),
        ] {
            let fit = fitted(&limits(most, finest), &h).unwrap();
            let got = fit.as_ref().map(|f| (f.schema, f.positive_buckets.len() + f.negative_buckets.len()));
            assert_eq!(got, want, "{most} {finest:?}");
            if let Some(fit) = fit {
                assert_eq!((all(&fit), fit.count, fit.sum, fit.zero_count), (all(&h), 50.0, 1.5, 4.0));
            }
        }
        assert_eq!(fitted(&limits(1, None), &h), Err(TooManyBuckets { buckets: 2 }));
    }

    #[test]
    fn custom_bounds_fit_or_do_not() {
        let h = FloatHistogram { schema: CUSTOM_BUCKETS_SCHEMA, custom_values: vec![1.0, 2.0], ..histogram() };
        assert_eq!(fitted(&limits(10, Some(0)), &h), Ok(None));
        assert_eq!(fitted(&limits(9, None), &h), Err(TooManyBuckets { buckets: 10 }));
    }
}
