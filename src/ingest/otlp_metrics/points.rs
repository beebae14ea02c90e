//! Data points to samples.

use super::{Batch, Resource, ms};
use crate::model::histogram::Span;
use crate::model::sample::{format_value, stale_nan};
use crate::model::{FloatHistogram, Labels};
use crate::tsdb::{AppendError, SeriesRef};
use crate::wire::otlp_metrics::{Buckets, Data, ExponentialPoint, Head, HistogramPoint, NumberPoint, SummaryPoint};

/// Bit of the flags: the point says that there is no value any more.
const NO_VALUE: u32 = 1;
/// What counts as about zero where the sender does not say it, as in Prometheus.
const ZERO_THRESHOLD: f64 = 1e-128;
/// The scales that Prometheus' histograms know.
const SCALES: std::ops::RangeInclusive<i32> = -4..=8;

fn heads(data: &Data) -> Vec<&Head> {
    match data {
        Data::None => Vec::new(),
        Data::Gauge(all) | Data::Sum(all, ..) => all.iter().map(|p| &p.head).collect(),
        Data::Histogram(all, _) => all.iter().map(|p| &p.head).collect(),
        Data::Exponential(all, _) => all.iter().map(|p| &p.head).collect(),
        Data::Summary(all) => all.iter().map(|p| &p.head).collect(),
    }
}

/// How many points there are.
pub(super) fn count(data: &Data) -> u64 {
    heads(data).len() as u64
}

/// The time of the newest point.
pub(super) fn newest(data: &Data) -> Option<u64> {
    heads(data).iter().map(|h| h.time_ns).max()
}

impl Head {
    fn is_stale(&self) -> bool {
        self.flags & NO_VALUE != 0
    }

    /// The value, or the marker where there is none any more.
    fn or_stale(&self, v: f64) -> f64 {
        if self.is_stale() { stale_nan() } else { v }
    }
}

impl Batch<'_> {
    pub(super) fn number(&mut self, resource: &Resource, name: &str, p: &NumberPoint) {
        let labels = resource.labels(name, &p.head.attributes, &[]);
        let t = ms(p.head.time_ns);
        let stored = self.float(&labels, t, p.head.or_stale(p.value), ms(p.head.start_ns));
        if let Ok(series) = stored {
            p.exemplars.iter().for_each(|e| self.exemplar(series, e));
        }
        self.point(&labels, t, stored.map(drop));
    }

    pub(super) fn histogram(&mut self, resource: &Resource, name: &str, p: &HistogramPoint) {
        let t = ms(p.head.time_ns);
        let whole = resource.labels(name, &p.head.attributes, &[]);
        let stored = self.classic(resource, name, p);
        self.point(&whole, t, stored);
    }

    /// Buckets, count and sum as series of their own.
    fn classic(&mut self, resource: &Resource, name: &str, p: &HistogramPoint) -> Result<(), AppendError> {
        let (t, start) = (ms(p.head.time_ns), ms(p.head.start_ns));
        let attributes = &p.head.attributes;
        let count = p.head.or_stale(p.count as f64);
        if let Some(sum) = p.sum {
            let labels = resource.labels(&format!("{name}_sum"), attributes, &[]);
            self.float(&labels, t, p.head.or_stale(sum), start)?;
        }
        self.float(&resource.labels(&format!("{name}_count"), attributes, &[]), t, count, start)?;
        let bucket_name = format!("{name}_bucket");
        let mut buckets: Vec<(f64, SeriesRef)> = Vec::with_capacity(p.bounds.len() + 1);
        let mut below = 0u64;
        for (bound, n) in p.bounds.iter().zip(&p.bucket_counts) {
            below = below.saturating_add(*n);
            let le = if bound.is_finite() { format!("{bound}") } else { format_value(*bound) };
            let labels = resource.labels(&bucket_name, attributes, &[("le", &le)]);
            buckets.push((*bound, self.float(&labels, t, p.head.or_stale(below as f64), start)?));
        }
        let labels = resource.labels(&bucket_name, attributes, &[("le", "+Inf")]);
        buckets.push((f64::INFINITY, self.float(&labels, t, count, start)?));
        for e in &p.exemplars {
            if let Some((_, series)) = buckets.iter().find(|(bound, _)| e.value <= *bound) {
                self.exemplar(*series, e);
            }
        }
        Ok(())
    }

    pub(super) fn exponential(&mut self, resource: &Resource, name: &str, p: &ExponentialPoint) {
        let labels = resource.labels(name, &p.head.attributes, &[]);
        let t = ms(p.head.time_ns);
        let Some(h) = native(p) else {
            let scale = p.scale;
            return self.refuse("scale", 1, || {
                format!(
                    "cannot convert exponential to native histogram: scale must be >= -4, was {scale}: series {labels}"
                )
            });
        };
        let stored = self.native(&labels, t, &h, ms(p.head.start_ns));
        if let Ok(series) = stored {
            p.exemplars.iter().for_each(|e| self.exemplar(series, e));
        }
        self.point(&labels, t, stored.map(drop));
    }

    fn native(&mut self, labels: &Labels, t: i64, h: &FloatHistogram, start: i64) -> Result<SeriesRef, AppendError> {
        let series = self.app.series(labels)?;
        self.app.histogram(series, t, h, start)?;
        Ok(series)
    }

    pub(super) fn summary(&mut self, resource: &Resource, name: &str, p: &SummaryPoint) {
        let t = ms(p.head.time_ns);
        let whole = resource.labels(name, &p.head.attributes, &[]);
        let stored = self.quantiles(resource, name, p);
        self.point(&whole, t, stored);
    }

    fn quantiles(&mut self, resource: &Resource, name: &str, p: &SummaryPoint) -> Result<(), AppendError> {
        let (t, start) = (ms(p.head.time_ns), ms(p.head.start_ns));
        let attributes = &p.head.attributes;
        for (suffix, v) in [("_sum", p.sum), ("_count", p.count as f64)] {
            let labels = resource.labels(&format!("{name}{suffix}"), attributes, &[]);
            self.float(&labels, t, p.head.or_stale(v), start)?;
        }
        for (quantile, v) in &p.quantiles {
            let labels = resource.labels(name, attributes, &[("quantile", &format!("{quantile}"))]);
            self.float(&labels, t, p.head.or_stale(*v), start)?;
        }
        Ok(())
    }
}

/// An exponential histogram as a native one. A scale finer than the finest known is joined to that; one coarser than the coarsest has no
/// native form.
fn native(p: &ExponentialPoint) -> Option<FloatHistogram> {
    if p.scale < *SCALES.start() {
        return None;
    }
    let schema = p.scale.min(*SCALES.end());
    let coarser = (p.scale - schema).min(31);
    if p.head.is_stale() {
        return Some(FloatHistogram { schema, sum: stale_nan(), ..FloatHistogram::default() });
    }
    let (positive_spans, positive_buckets) = spans(&p.positive, coarser);
    let (negative_spans, negative_buckets) = spans(&p.negative, coarser);
    Some(FloatHistogram {
        schema,
        zero_threshold: if p.zero_threshold > 0.0 { p.zero_threshold } else { ZERO_THRESHOLD },
        zero_count: p.zero_count as f64,
        count: p.count as f64,
        sum: p.sum.unwrap_or(0.0),
        positive_spans,
        negative_spans,
        positive_buckets,
        negative_buckets,
        ..FloatHistogram::default()
    })
}

/// Populated buckets as spans and counts. OpenTelemetry names a bucket by its lower bound, Prometheus by its upper one.
fn spans(buckets: &Buckets, coarser: i32) -> (Vec<Span>, Vec<f64>) {
    let mut spans: Vec<Span> = Vec::new();
    let mut counts: Vec<f64> = Vec::new();
    let mut next = 0i32;
    let mut last = None;
    for (i, n) in buckets.counts.iter().enumerate().filter(|(_, n)| **n > 0) {
        let index = buckets.offset.saturating_add(i32::try_from(i).unwrap_or(i32::MAX));
        let index = (index >> coarser).saturating_add(1);
        if last == Some(index) {
            if let Some(c) = counts.last_mut() {
                *c += *n as f64;
            }
            continue;
        }
        match spans.last_mut() {
            Some(span) if index == next => span.length += 1,
            _ => spans.push(Span { offset: index.saturating_sub(next), length: 1 }),
        }
        counts.push(*n as f64);
        next = index.saturating_add(1);
        last = Some(index);
    }
    (spans, counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_joined() {
        let point = |scale, offset, counts: &[u64]| ExponentialPoint {
            scale,
            count: counts.iter().sum(),
            positive: Buckets { offset, counts: counts.to_vec() },
            ..ExponentialPoint::default()
        };
        let h = native(&point(3, -2, &[1, 0, 2, 3])).unwrap();
        assert_eq!(h.positive_spans, [Span { offset: -1, length: 1 }, Span { offset: 1, length: 2 }]);
        assert_eq!((h.positive_buckets, h.schema, h.zero_threshold), (vec![1.0, 2.0, 3.0], 3, 1e-128));
        // Two steps finer than the finest: four buckets become one.
        let h = native(&point(10, -1, &[5, 1, 1, 1, 1, 7])).unwrap();
        assert_eq!((h.schema, h.positive_buckets), (8, vec![5.0, 4.0, 7.0]));
        assert_eq!(h.positive_spans, [Span { offset: 0, length: 3 }]);
        assert_eq!(native(&point(-5, 0, &[1])), None);
    }
}
