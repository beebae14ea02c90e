//! Native histograms as rows. A row whose buckets lie as in the row before holds differences only.
//!
//! Row: flag byte (`1` a layout follows, `0` as before), time (difference to the row before), [layout: schema, hint, zero threshold,
//! spans, custom bounds], count, zero count, sum, buckets. Whole counts are differences; every float is kept bit for bit.

use std::sync::Arc;

use super::number::{put_f64, put_f64_delta, take_f64, take_f64_delta};
use crate::disk::varint::{put_i64, put_u64, take_i64, take_u64};
use crate::model::TimestampMs;
use crate::model::histogram::{CounterResetHint, FloatHistogram, Span};

/// More buckets, spans or bounds than this are damage or abuse (Prometheus' own limit of buckets is far below).
pub(crate) const MAX_BUCKETS: usize = 1 << 16;

fn same_layout(a: &FloatHistogram, b: &FloatHistogram) -> bool {
    a.schema == b.schema
        && a.counter_reset_hint == b.counter_reset_hint
        && a.zero_threshold.to_bits() == b.zero_threshold.to_bits()
        && a.positive_spans == b.positive_spans
        && a.negative_spans == b.negative_spans
        && a.positive_buckets.len() == b.positive_buckets.len()
        && a.negative_buckets.len() == b.negative_buckets.len()
        && same_bits(&a.custom_values, &b.custom_values)
}

fn same_bits(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(x, y)| x.to_bits() == y.to_bits())
}

/// Whether two histograms are the same, bit for bit.
pub(crate) fn identical(a: &FloatHistogram, b: &FloatHistogram) -> bool {
    same_layout(a, b)
        && a.count.to_bits() == b.count.to_bits()
        && a.sum.to_bits() == b.sum.to_bits()
        && a.zero_count.to_bits() == b.zero_count.to_bits()
        && same_bits(&a.positive_buckets, &b.positive_buckets)
        && same_bits(&a.negative_buckets, &b.negative_buckets)
}

fn put_spans(out: &mut Vec<u8>, spans: &[Span]) {
    put_u64(out, spans.len() as u64);
    for s in spans {
        put_i64(out, s.offset.into());
        put_u64(out, s.length.into());
    }
}

fn take_len(input: &mut &[u8]) -> Option<usize> {
    usize::try_from(take_u64(input)?).ok().filter(|n| *n <= MAX_BUCKETS)
}

fn take_spans(input: &mut &[u8]) -> Option<Vec<Span>> {
    (0..take_len(input)?)
        .map(|_| Some(Span { offset: take_i64(input)?.try_into().ok()?, length: take_u64(input)?.try_into().ok()? }))
        .collect()
}

fn hint_code(hint: CounterResetHint) -> u8 {
    match hint {
        CounterResetHint::Unknown => 0,
        CounterResetHint::Reset => 1,
        CounterResetHint::NotReset => 2,
        CounterResetHint::Gauge => 3,
    }
}

/// Appends a row; `previous` is the time and histogram of the row before.
pub(crate) fn put_row(
    out: &mut Vec<u8>,
    previous: Option<(TimestampMs, &FloatHistogram)>,
    t: TimestampMs,
    h: &FloatHistogram,
) {
    let like = previous.map(|p| p.1).filter(|p| same_layout(p, h));
    out.push(u8::from(like.is_none()));
    put_i64(out, t.wrapping_sub(previous.map_or(0, |p| p.0)));
    let Some(p) = like else {
        put_i64(out, h.schema.into());
        out.push(hint_code(h.counter_reset_hint));
        put_f64(out, h.zero_threshold);
        put_spans(out, &h.positive_spans);
        put_spans(out, &h.negative_spans);
        put_u64(out, h.positive_buckets.len() as u64);
        put_u64(out, h.negative_buckets.len() as u64);
        put_u64(out, h.custom_values.len() as u64);
        let all = [&h.custom_values, &h.positive_buckets, &h.negative_buckets];
        for v in [h.count, h.zero_count, h.sum].iter().chain(all.into_iter().flatten()) {
            put_f64(out, *v);
        }
        return;
    };
    put_f64_delta(out, p.count, h.count);
    put_f64_delta(out, p.zero_count, h.zero_count);
    put_f64(out, h.sum);
    let buckets = h.positive_buckets.iter().chain(&h.negative_buckets);
    for (v, before) in buckets.zip(p.positive_buckets.iter().chain(&p.negative_buckets)) {
        put_f64_delta(out, *before, *v);
    }
}

/// Takes a row written by [`put_row`] off the front of `input`.
pub(crate) fn take_row(
    input: &mut &[u8],
    previous: Option<(TimestampMs, &FloatHistogram)>,
) -> Option<(TimestampMs, FloatHistogram)> {
    let (flag, rest) = input.split_first()?;
    *input = rest;
    let t = previous.map_or(0, |p| p.0).wrapping_add(take_i64(input)?);
    if *flag == 1 {
        let schema = take_i64(input)?.try_into().ok()?;
        let (hint, rest) = input.split_first()?;
        *input = rest;
        let counter_reset_hint = match hint {
            0 => CounterResetHint::Unknown,
            1 => CounterResetHint::Reset,
            2 => CounterResetHint::NotReset,
            3 => CounterResetHint::Gauge,
            _ => return None,
        };
        let zero_threshold = take_f64(input)?;
        let (positive_spans, negative_spans) = (take_spans(input)?, take_spans(input)?);
        let (positive, negative, custom) = (take_len(input)?, take_len(input)?, take_len(input)?);
        let (count, zero_count, sum) = (take_f64(input)?, take_f64(input)?, take_f64(input)?);
        let mut column = |n: usize| (0..n).map(|_| take_f64(input)).collect::<Option<Vec<f64>>>();
        let (custom_values, positive_buckets, negative_buckets) =
            (column(custom)?, column(positive)?, column(negative)?);
        let h = FloatHistogram {
            counter_reset_hint,
            schema,
            zero_threshold,
            zero_count,
            count,
            sum,
            positive_spans,
            negative_spans,
            positive_buckets,
            negative_buckets,
            custom_values,
        };
        return Some((t, h));
    }
    let mut h = previous?.1.clone();
    h.count = take_f64_delta(input, h.count)?;
    h.zero_count = take_f64_delta(input, h.zero_count)?;
    h.sum = take_f64(input)?;
    for v in h.positive_buckets.iter_mut().chain(h.negative_buckets.iter_mut()) {
        *v = take_f64_delta(input, *v)?;
    }
    Some((t, h))
}

/// A histogram chunk that still takes samples.
#[derive(Debug, Default)]
pub(crate) struct OpenHistograms {
    buf: Vec<u8>,
    first_t: TimestampMs,
    last: Option<(TimestampMs, Arc<FloatHistogram>)>,
    n: u16,
}

impl OpenHistograms {
    pub(crate) fn len(&self) -> u16 {
        self.n
    }

    pub(crate) fn first_t(&self) -> TimestampMs {
        self.first_t
    }

    /// The newest row.
    pub(crate) fn last(&self) -> Option<(TimestampMs, &Arc<FloatHistogram>)> {
        self.last.as_ref().map(|(t, h)| (*t, h))
    }

    pub(crate) fn rows(&self) -> &[u8] {
        &self.buf
    }

    /// An open chunk of `n` rows as [`Self::rows`] gave them. `None` on damage.
    pub(crate) fn from_rows(n: u16, rows: &[u8]) -> Option<OpenHistograms> {
        let mut open = OpenHistograms { buf: rows.to_vec(), n, ..OpenHistograms::default() };
        decode(rows, n.into(), |t, h| {
            if open.last.is_none() {
                open.first_t = t;
            }
            open.last = Some((t, h.clone()));
            true
        })?;
        Some(open)
    }

    pub(crate) fn push(&mut self, t: TimestampMs, h: Arc<FloatHistogram>) {
        put_row(&mut self.buf, self.last.as_ref().map(|(t, h)| (*t, &**h)), t, &h);
        if self.n == 0 {
            self.first_t = t;
        }
        self.last = Some((t, h));
        self.n += 1;
    }
}

/// Decodes `n` rows; gives each to `each` until that says `false`. `None` on damage.
pub(crate) fn decode(
    mut input: &[u8],
    n: usize,
    mut each: impl FnMut(TimestampMs, &Arc<FloatHistogram>) -> bool,
) -> Option<()> {
    let mut last: Option<(TimestampMs, Arc<FloatHistogram>)> = None;
    for _ in 0..n {
        let (t, h) = take_row(&mut input, last.as_ref().map(|(t, h)| (*t, &**h)))?;
        let h = Arc::new(h);
        if !each(t, &h) {
            return Some(());
        }
        last = Some((t, h));
    }
    Some(())
}
