//! Buckets by index and by bounds, and the way between spans and plain lists.

use crate::model::histogram::{CUSTOM_BUCKETS_SCHEMA, FloatHistogram, Span};

/// One bucket with its bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
    /// Observations in it.
    pub count: f64,
}

/// Populated or at least listed buckets as `(index, count)`, in order of the index, each index once.
pub type Sparse = Vec<(i32, f64)>;

/// The upper bound of bucket `index` of an exponential schema: `2^(index * 2^-schema)`. The last bucket below
/// infinity ends at the largest float, so that a bucket for infinities remains.
pub(super) fn exponential_bound(index: i32, schema: i32) -> f64 {
    let exponent = f64::from(index) * (-f64::from(schema)).exp2();
    if exponent == 1024.0 { f64::MAX } else { exponent.exp2() }
}

/// Spans and counts as a list.
pub(super) fn decode(spans: &[Span], counts: &[f64]) -> Sparse {
    let mut out = Vec::with_capacity(counts.len());
    let mut index = 0i32;
    let mut counts = counts.iter();
    for span in spans {
        index = index.saturating_add(span.offset);
        for _ in 0..span.length {
            let Some(c) = counts.next() else { return out };
            out.push((index, *c));
            index = index.saturating_add(1);
        }
    }
    out
}

/// The list as spans and counts.
pub(super) fn encode(buckets: impl IntoIterator<Item = (i32, f64)>) -> (Vec<Span>, Vec<f64>) {
    let mut spans: Vec<Span> = Vec::new();
    let mut counts = Vec::new();
    let mut next = 0i32;
    for (index, count) in buckets {
        match spans.last_mut() {
            Some(last) if index == next => last.length += 1,
            _ => spans.push(Span { offset: index.saturating_sub(next), length: 1 }),
        }
        counts.push(count);
        next = index.saturating_add(1);
    }
    (spans, counts)
}

/// Joins buckets of schema `from` to those of the coarser schema `to`.
pub(super) fn reduce(buckets: &Sparse, from: i32, to: i32) -> Sparse {
    if from <= to {
        return buckets.clone();
    }
    let shift = (from - to).min(31);
    let mut out: Sparse = Vec::with_capacity(buckets.len());
    for (index, count) in buckets {
        let target = ((index - 1) >> shift) + 1;
        match out.last_mut() {
            Some(last) if last.0 == target => last.1 += count,
            _ => out.push((target, *count)),
        }
    }
    out
}

/// Moves the buckets of custom bounds `from` to the bounds `to`, which must be a subset of `from`.
pub(super) fn rebucket(buckets: &Sparse, from: &[f64], to: &[f64]) -> Sparse {
    let mut out: Sparse = Vec::with_capacity(buckets.len());
    for (index, count) in buckets {
        let target = usize::try_from(*index)
            .ok()
            .and_then(|i| from.get(i))
            .map_or(to.len(), |bound| to.partition_point(|b| b < bound));
        let target = i32::try_from(target).unwrap_or(i32::MAX);
        match out.last_mut() {
            Some(last) if last.0 == target => last.1 += count,
            _ => out.push((target, *count)),
        }
    }
    out
}

/// The bounds that both lists have.
pub(super) fn common_bounds(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().filter(|x| b.binary_search_by(|y| y.total_cmp(x)).is_ok()).copied().collect()
}

impl FloatHistogram {
    /// Whether the buckets have bounds of their own instead of an exponential schema.
    pub fn uses_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    /// The positive buckets by index.
    pub fn positive(&self) -> Sparse {
        decode(&self.positive_spans, &self.positive_buckets)
    }

    /// The negative buckets by index.
    pub fn negative(&self) -> Sparse {
        decode(&self.negative_spans, &self.negative_buckets)
    }

    /// Replaces the positive buckets.
    pub fn set_positive(&mut self, buckets: impl IntoIterator<Item = (i32, f64)>) {
        (self.positive_spans, self.positive_buckets) = encode(buckets);
    }

    /// Replaces the negative buckets.
    pub fn set_negative(&mut self, buckets: impl IntoIterator<Item = (i32, f64)>) {
        (self.negative_spans, self.negative_buckets) = encode(buckets);
    }

    /// Leaves out empty buckets.
    pub fn compact(&mut self) {
        if self.positive_buckets.contains(&0.0) || self.positive_spans.iter().any(|s| s.length == 0) {
            let all = self.positive();
            self.set_positive(all.into_iter().filter(|b| b.1 != 0.0));
        }
        if self.negative_buckets.contains(&0.0) || self.negative_spans.iter().any(|s| s.length == 0) {
            let all = self.negative();
            self.set_negative(all.into_iter().filter(|b| b.1 != 0.0));
        }
    }

    /// The bounds and the count of positive bucket `index`.
    pub(super) fn positive_bucket(&self, index: i32, count: f64) -> Bucket {
        if self.uses_custom_buckets() {
            let bound = |i: i32| usize::try_from(i).ok().and_then(|i| self.custom_values.get(i)).copied();
            let lower = if index <= 0 { f64::NEG_INFINITY } else { bound(index - 1).unwrap_or(f64::INFINITY) };
            return Bucket { lower, upper: bound(index).unwrap_or(f64::INFINITY), count };
        }
        Bucket {
            lower: exponential_bound(index.saturating_sub(1), self.schema),
            upper: exponential_bound(index, self.schema),
            count,
        }
    }

    /// The bounds and the count of negative bucket `index`.
    pub(super) fn negative_bucket(&self, index: i32, count: f64) -> Bucket {
        Bucket {
            lower: -exponential_bound(index, self.schema),
            upper: -exponential_bound(index.saturating_sub(1), self.schema),
            count,
        }
    }

    /// All buckets from the lowest to the highest: negative ones, the zero bucket where it is populated, positive ones.
    /// Buckets that reach into the zero bucket are cut at its border.
    pub fn all_buckets(&self) -> Vec<Bucket> {
        let negative = self.negative();
        let positive = self.positive();
        let mut out = Vec::with_capacity(negative.len() + positive.len() + 1);
        for (index, count) in negative.iter().rev() {
            let mut b = self.negative_bucket(*index, *count);
            if b.upper > -self.zero_threshold {
                b.upper = -self.zero_threshold;
            }
            out.push(b);
        }
        if self.zero_count > 0.0 && !self.uses_custom_buckets() {
            out.push(Bucket { lower: -self.zero_threshold, upper: self.zero_threshold, count: self.zero_count });
        }
        for (index, count) in &positive {
            let mut b = self.positive_bucket(*index, *count);
            if !self.uses_custom_buckets() && b.lower < self.zero_threshold {
                b.lower = self.zero_threshold;
            }
            out.push(b);
        }
        out
    }

    /// Roughly the memory it takes, in bytes.
    pub fn size_bytes(&self) -> usize {
        size_of::<FloatHistogram>()
            + 8 * (self.positive_spans.len()
                + self.negative_spans.len()
                + self.positive_buckets.len()
                + self.negative_buckets.len()
                + self.custom_values.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_spans_are_the_same_thing() {
        let spans = [Span { offset: -2, length: 2 }, Span { offset: 3, length: 1 }];
        let list = decode(&spans, &[1.0, 2.0, 3.0]);
        assert_eq!(list, [(-2, 1.0), (-1, 2.0), (3, 3.0)]);
        let (s, c) = encode(list.clone());
        assert_eq!((s.as_slice(), c.as_slice()), (&spans[..], &[1.0, 2.0, 3.0][..]));
    }

    #[test]
    fn coarser_schemas_join_neighbours() {
        // Schema 1 to 0: (1, sqrt 2] and (sqrt 2, 2] become (1, 2].
        assert_eq!(reduce(&vec![(0, 1.0), (1, 2.0), (2, 4.0), (3, 8.0)], 1, 0), [(0, 1.0), (1, 6.0), (2, 8.0)]);
        assert_eq!(reduce(&vec![(-3, 1.0), (-2, 1.0)], 1, 0), [(-1, 2.0)]);
    }

    #[test]
    fn custom_bounds_are_moved_up_to_the_next_common_one() {
        let all: Sparse = vec![(0, 1.0), (1, 2.0), (2, 4.0), (3, 8.0)];
        assert_eq!(common_bounds(&[1.0, 2.0, 3.0], &[2.0, 4.0]), [2.0]);
        assert_eq!(rebucket(&all, &[1.0, 2.0, 3.0], &[2.0]), [(0, 3.0), (1, 12.0)]);
    }

    #[test]
    fn bounds_of_the_schemas() {
        assert_eq!(exponential_bound(1, 0), 2.0);
        assert_eq!(exponential_bound(1, -1), 4.0);
        assert!((exponential_bound(1, 1) - 2f64.sqrt()).abs() < 1e-15);
        assert_eq!(exponential_bound(1024, 0), f64::MAX);
        assert_eq!(exponential_bound(1025, 0), f64::INFINITY);
    }
}
