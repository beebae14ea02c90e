//! Chunks in Prometheus' own encodings, as remote read hands them out (its documentation: `tsdb/docs/format/chunks.md`).
//!
//! Floats: `XOR`. Two bytes number of samples, then a bit stream: the first time as a varint and the first value raw; the second time
//! as an unsigned varint of the distance; later times as the change of the distance in classes of 0, 14, 17, 20 and 64 bits; values
//! as XOR with the one before. Native histograms: `FLOAT_HISTOGRAM`, where every count is such a stream of values of its own.

use std::sync::Arc;

use crate::disk::bits::put_bits;
use crate::disk::varint::{put_i64, put_u64};
use crate::model::histogram::{CUSTOM_BUCKETS_SCHEMA, CounterResetHint, Span};
use crate::model::sample::is_stale_nan;
use crate::model::{Column, FloatHistogram, TimestampMs};

/// Samples of one chunk, Prometheus' own number.
pub const SAMPLES_PER_CHUNK: usize = 120;

/// The encoding as `prometheus.Chunk.Encoding` numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Floats.
    Xor = 1,
    /// Native histograms with float counts.
    FloatHistogram = 3,
}

/// One encoded chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromChunk {
    /// Time of the first sample.
    pub mint: TimestampMs,
    /// Time of the last sample.
    pub maxt: TimestampMs,
    /// How `data` is to be read.
    pub encoding: Encoding,
    /// The bytes.
    pub data: Vec<u8>,
}

/// A stream of bits that grows.
struct Bits {
    out: Vec<u8>,
    free: u8,
}

impl Bits {
    fn put(&mut self, value: u64, n: u32) {
        put_bits(&mut self.out, &mut self.free, value, n);
    }

    /// Whole bytes at any place in the stream.
    fn put_bytes(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|b| self.put(u64::from(*b), 8));
    }

    fn put_class(&mut self, class: u32, value: u64, n: u32) {
        // `class` one bits and, where a further class follows, a zero.
        self.put((1 << class) - 1, class);
        self.put(value, n);
    }

    /// A signed integer in classes made for differences of bucket counts.
    fn put_varbit_int(&mut self, v: i64) {
        self.put_varbit(v as u64, |n| fits(v, n));
    }

    /// An unsigned integer in the same classes.
    fn put_varbit_uint(&mut self, v: u64) {
        self.put_varbit(v, |n| v >> n == 0);
    }

    fn put_varbit(&mut self, v: u64, fits: impl Fn(u32) -> bool) {
        /// Bits of the classes between zero and the full width.
        const WIDTHS: [u32; 7] = [3, 6, 9, 12, 18, 25, 56];
        if v == 0 {
            return self.put(0, 1);
        }
        match WIDTHS.iter().zip(1u32..).find(|(n, _)| fits(**n)) {
            Some((n, ones)) => {
                self.put(((1 << ones) - 1) << 1, ones + 1);
                self.put(v, *n);
            }
            None => self.put_class(8, v, 64),
        }
    }
}

/// Whether a number can be written with `n` bits: `-(2^(n-1) - 1) ..= 2^(n-1)`.
fn fits(v: i64, n: u32) -> bool {
    let half = 1i64 << (n - 1);
    (1 - half..=half).contains(&v)
}

/// The state of one stream of XORed values.
#[derive(Clone, Copy, Default)]
struct Xor {
    last: u64,
    /// Leading and trailing zeros of the window, once there is one.
    window: Option<(u32, u32)>,
}

impl Xor {
    fn first(v: f64) -> Self {
        Xor { last: v.to_bits(), window: None }
    }

    fn put(&mut self, bits: &mut Bits, v: f64) {
        let delta = v.to_bits() ^ self.last;
        self.last = v.to_bits();
        if delta == 0 {
            return bits.put(0, 1);
        }
        bits.put(1, 1);
        // Five bits hold the number of leading zeros.
        let (leading, trailing) = (delta.leading_zeros().min(31), delta.trailing_zeros());
        if let Some((l, t)) = self.window
            && leading >= l
            && trailing >= t
        {
            bits.put(0, 1);
            return bits.put(delta >> t, 64 - l - t);
        }
        self.window = Some((leading, trailing));
        let significant = 64 - leading - trailing;
        bits.put(1, 1);
        bits.put(u64::from(leading), 5);
        // 64 does not fit into six bits and is written as 0, which cannot occur otherwise.
        bits.put(u64::from(significant & 63), 6);
        bits.put(delta >> trailing, significant);
    }
}

/// Encodes all samples of a series. Where floats and histograms take turns, so do chunks.
pub fn encode_column(column: &Column) -> Vec<PromChunk> {
    let floats: Vec<(TimestampMs, f64)> = column.t.iter().copied().zip(column.v.iter().copied()).collect();
    let histograms: Vec<(TimestampMs, &FloatHistogram)> =
        column.ht.iter().copied().zip(column.h.iter().map(Arc::as_ref)).collect();
    let mut out = Vec::with_capacity(column.len() / SAMPLES_PER_CHUNK + 2);
    let (mut floats, mut at) = (floats.as_slice(), 0);
    loop {
        let histogram = histograms.get(at).map(|h| h.0);
        let before = histogram.map_or(floats.len(), |h| floats.partition_point(|f| f.0 <= h));
        let (now, later) = floats.split_at(before);
        out.extend(now.chunks(SAMPLES_PER_CHUNK).filter_map(encode_floats));
        floats = later;
        let end = floats.first().map_or(histograms.len(), |f| histograms.partition_point(|h| h.0 < f.0));
        while at < end {
            let previous = at.checked_sub(1).and_then(|i| histograms.get(i)).map(|h| h.1);
            let waiting = histograms.get(at..end).unwrap_or_default();
            let Some((chunk, n)) = encode_histograms(waiting, previous) else { return out };
            out.push(chunk);
            at += n;
        }
        if floats.is_empty() && at >= histograms.len() {
            return out;
        }
    }
}

/// Encodes at most [`SAMPLES_PER_CHUNK`] floats, in order of time; `None` of none.
pub fn encode_floats(samples: &[(TimestampMs, f64)]) -> Option<PromChunk> {
    let ((first_t, first_v), (last_t, _)) = (samples.first()?, samples.last()?);
    let count = u16::try_from(samples.len()).ok()?;
    let mut bits = Bits { out: count.to_be_bytes().to_vec(), free: 0 };
    let mut varint = Vec::with_capacity(10);
    put_i64(&mut varint, *first_t);
    bits.put_bytes(&varint);
    bits.put(first_v.to_bits(), 64);
    let mut xor = Xor::first(*first_v);
    let (mut last, mut delta) = (*first_t, None::<i64>);
    for (t, v) in samples.iter().skip(1) {
        let now = t.wrapping_sub(last);
        match delta {
            None => {
                varint.clear();
                put_u64(&mut varint, now as u64);
                bits.put_bytes(&varint);
            }
            Some(before) => put_change(&mut bits, now.wrapping_sub(before)),
        }
        xor.put(&mut bits, *v);
        (last, delta) = (*t, Some(now));
    }
    Some(PromChunk { mint: *first_t, maxt: *last_t, encoding: Encoding::Xor, data: bits.out })
}

/// The change of the distance of times.
fn put_change(bits: &mut Bits, change: i64) {
    if change == 0 {
        return bits.put(0, 1);
    }
    for (prefix, prefix_len, n) in [(0b10, 2, 14), (0b110, 3, 17), (0b1110, 4, 20)] {
        if fits(change, n) {
            bits.put(prefix, prefix_len);
            return bits.put(change as u64, n);
        }
    }
    bits.put_class(4, change as u64, 64);
}

/// Encodes the longest run of histograms at the front that one chunk can hold: the same buckets, and no counter reset inside. Gives the
/// chunk and how many it holds; `before` is the histogram before the first one, if there is one.
pub fn encode_histograms<'a>(
    samples: &'a [(TimestampMs, &'a FloatHistogram)],
    before: Option<&FloatHistogram>,
) -> Option<(PromChunk, usize)> {
    let (first_t, first) = samples.first()?;
    let mut run = 1;
    while run < SAMPLES_PER_CHUNK
        && let (Some((_, a)), Some((_, b))) = (samples.get(run - 1), samples.get(run))
        && continues(a, b)
    {
        run += 1;
    }
    let samples = samples.get(..run)?;
    let header = match first.counter_reset_hint {
        CounterResetHint::Gauge => 0b1100_0000,
        CounterResetHint::Reset => 0b1000_0000,
        CounterResetHint::Unknown | CounterResetHint::NotReset if is_stale_nan(first.sum) => 0,
        CounterResetHint::Unknown | CounterResetHint::NotReset => match before.filter(|b| !is_stale_nan(b.sum)) {
            Some(before) if first.detect_reset(before) => 0b1000_0000,
            Some(_) => 0b0100_0000,
            None => 0,
        },
    };
    let mut out = u16::try_from(run).ok()?.to_be_bytes().to_vec();
    out.push(header);
    let mut bits = Bits { out, free: 0 };
    let stale_first = FloatHistogram { sum: first.sum, ..FloatHistogram::default() };
    let first = if is_stale_nan(first.sum) { &stale_first } else { *first };
    put_layout(&mut bits, first);
    bits.put_varbit_int(*first_t);
    for v in values(first) {
        bits.put(v.to_bits(), 64);
    }
    let mut streams: Vec<Xor> = values(first).map(Xor::first).collect();
    let (mut last, mut delta) = (*first_t, 0i64);
    for (t, h) in samples.iter().skip(1) {
        let now = t.wrapping_sub(last);
        bits.put_varbit_int(now.wrapping_sub(delta));
        (last, delta) = (*t, now);
        if is_stale_nan(h.sum) {
            // A staleness marker has no buckets; readers stop at its sum.
            for (x, v) in streams.iter_mut().zip([0.0, 0.0, h.sum]) {
                x.put(&mut bits, v);
            }
            continue;
        }
        for (x, v) in streams.iter_mut().zip(values(h)) {
            x.put(&mut bits, v);
        }
    }
    let chunk = PromChunk { mint: *first_t, maxt: last, encoding: Encoding::FloatHistogram, data: bits.out };
    Some((chunk, run))
}

/// Whether `b` may follow `a` in a chunk. Readers take every histogram but the first for one without a reset before it.
fn continues(a: &FloatHistogram, b: &FloatHistogram) -> bool {
    if is_stale_nan(a.sum) {
        return is_stale_nan(b.sum);
    }
    if is_stale_nan(b.sum) {
        return true;
    }
    let gauge = |h: &FloatHistogram| h.counter_reset_hint == CounterResetHint::Gauge;
    a.schema == b.schema
        && a.zero_threshold.to_bits() == b.zero_threshold.to_bits()
        && a.positive_spans == b.positive_spans
        && a.negative_spans == b.negative_spans
        && a.custom_values == b.custom_values
        && gauge(a) == gauge(b)
        && (gauge(a) || (b.counter_reset_hint != CounterResetHint::Reset && !b.detect_reset(a)))
}

/// All numbers of a histogram, in the order of the encoding.
fn values(h: &FloatHistogram) -> impl Iterator<Item = f64> {
    [h.count, h.zero_count, h.sum]
        .into_iter()
        .chain(h.positive_buckets.iter().copied())
        .chain(h.negative_buckets.iter().copied())
}

fn put_layout(bits: &mut Bits, h: &FloatHistogram) {
    put_zero_threshold(bits, h.zero_threshold);
    bits.put_varbit_int(i64::from(h.schema));
    put_spans(bits, &h.positive_spans);
    put_spans(bits, &h.negative_spans);
    if h.schema == CUSTOM_BUCKETS_SCHEMA {
        bits.put_varbit_uint(h.custom_values.len() as u64);
        h.custom_values.iter().for_each(|b| put_custom_bound(bits, *b));
    }
}

fn put_spans(bits: &mut Bits, spans: &[Span]) {
    bits.put_varbit_uint(spans.len() as u64);
    for s in spans {
        bits.put_varbit_uint(u64::from(s.length));
        bits.put_varbit_int(i64::from(s.offset));
    }
}

/// One byte for zero and for powers of two between 2^-243 and 2^10, nine for all others.
fn put_zero_threshold(bits: &mut Bits, threshold: f64) {
    if threshold == 0.0 {
        return bits.put(0, 8);
    }
    let raw = threshold.to_bits();
    let (exponent, fraction) = ((raw >> 52) & 0x7ff, raw & ((1 << 52) - 1));
    // The exponent as `frexp` gives it, with a mantissa of one half: 1022 is the bias of that form.
    let shifted = exponent as i64 - 1022;
    if threshold > 0.0 && fraction == 0 && (-242..=11).contains(&shifted) {
        return bits.put((shifted + 243) as u64, 8);
    }
    bits.put(255, 8);
    bits.put(raw, 64);
}

/// Bounds with at most three decimals as an integer of thousandths and one, all others raw behind a zero bit.
fn put_custom_bound(bits: &mut Bits, bound: f64) {
    /// What fits into four bytes of the classes.
    const MOST: f64 = 33_554_430.0;
    let thousandths = bound * 1000.0;
    let whole = thousandths.round() / 1000.0 == bound;
    if (0.0..=MOST).contains(&thousandths) && whole {
        return bits.put_varbit_uint(thousandths.round() as u64 + 1);
    }
    bits.put(0, 1);
    bits.put(bound.to_bits(), 64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::bits::BitReader;

    /// Reads a float chunk as the format is described; a second pair of eyes on the encoder.
    fn decode(chunk: &[u8]) -> Vec<(i64, f64)> {
        let n = u16::from_be_bytes([chunk[0], chunk[1]]);
        let mut r = BitReader::new(&chunk[2..]);
        let mut varint = || {
            let (mut v, mut shift) = (0u64, 0);
            loop {
                let b = r.take(8).unwrap();
                v |= (b & 0x7f) << shift;
                shift += 7;
                if b < 0x80 {
                    return v;
                }
            }
        };
        let raw = varint();
        let mut t = ((raw >> 1) as i64) ^ -((raw & 1) as i64);
        let mut v = r.take(64).unwrap();
        let mut out = vec![(t, f64::from_bits(v))];
        let (mut delta, mut leading, mut trailing) = (0i64, 0, 0);
        for i in 1..n {
            if i == 1 {
                let (mut d, mut shift) = (0u64, 0);
                loop {
                    let b = r.take(8).unwrap();
                    d |= (b & 0x7f) << shift;
                    shift += 7;
                    if b < 0x80 {
                        break;
                    }
                }
                delta = d as i64;
            } else {
                let change = match r.take_ones(4).unwrap() {
                    0 => 0,
                    4 => r.take(64).unwrap() as i64,
                    class => {
                        let n = [14, 17, 20][class as usize - 1];
                        let raw = r.take(n).unwrap();
                        if raw > 1 << (n - 1) { raw as i64 - (1 << n) } else { raw as i64 }
                    }
                };
                delta += change;
            }
            t += delta;
            if r.take(1).unwrap() == 1 {
                if r.take(1).unwrap() == 1 {
                    leading = r.take(5).unwrap() as u32;
                    let significant = match r.take(6).unwrap() as u32 {
                        0 => 64,
                        s => s,
                    };
                    trailing = 64 - leading - significant;
                }
                v ^= r.take(64 - leading - trailing).unwrap() << trailing;
            }
            out.push((t, f64::from_bits(v)));
        }
        out
    }

    #[test]
    fn floats_come_back() {
        let mut samples: Vec<(i64, f64)> = (0..120).map(|i| (1_700_000_000_000 + i * 15_000, i as f64 * 0.1)).collect();
        samples[7].0 += 8192;
        samples[8].0 -= 8191;
        samples[20].0 += 70_000;
        for s in samples.iter_mut().skip(40) {
            s.0 += 1 << 40;
        }
        samples[60].1 = crate::model::sample::stale_nan();
        samples[61].1 = f64::NEG_INFINITY;
        let chunk = encode_floats(&samples).unwrap();
        assert_eq!((chunk.mint, chunk.maxt), (samples[0].0, samples[119].0));
        let back = decode(&chunk.data);
        assert_eq!(back.len(), samples.len());
        for (a, b) in back.iter().zip(&samples) {
            assert_eq!((a.0, a.1.to_bits()), (b.0, b.1.to_bits()));
        }
        assert_eq!(encode_floats(&[]), None);
    }

    #[test]
    fn histogram_chunks_end_where_a_reader_would_go_wrong() {
        let h = |count: f64, n: u32| FloatHistogram {
            schema: 1,
            count,
            sum: 1.0,
            zero_threshold: 2f64.powi(-128),
            positive_spans: vec![Span { offset: 0, length: n }],
            positive_buckets: vec![count / f64::from(n); n as usize],
            ..FloatHistogram::default()
        };
        let stale = FloatHistogram { sum: crate::model::sample::stale_nan(), ..FloatHistogram::default() };
        let all = [h(4.0, 1), h(5.0, 1), h(2.0, 1), h(8.0, 2), stale.clone(), h(9.0, 2)];
        let samples: Vec<(i64, &FloatHistogram)> = all.iter().enumerate().map(|(i, h)| (i as i64 * 1000, h)).collect();
        let (mut at, mut runs) = (0, Vec::new());
        while let Some((chunk, n)) = encode_histograms(&samples[at..], at.checked_sub(1).map(|i| &all[i])) {
            runs.push((n, chunk.data[2], chunk.mint, chunk.maxt));
            at += n;
        }
        // A reset, other buckets, and the end of staleness begin chunks.
        assert_eq!(runs, [(2, 0, 0, 1000), (1, 0x80, 2000, 2000), (2, 0x40, 3000, 4000), (1, 0, 5000, 5000)]);
        // 2^-128 is 0.5 * 2^-127, so the byte is 116; it follows the header.
        let (chunk, _) = encode_histograms(&samples, None).unwrap();
        assert_eq!(chunk.data[3], 116);
    }

    #[test]
    fn floats_and_histograms_take_turns() {
        let mut column = Column::default();
        let h = Arc::new(FloatHistogram { count: 1.0, ..FloatHistogram::default() });
        (0..130).for_each(|i| column.push_float(i * 10, 1.0, 0));
        (0..3).for_each(|i| column.push_histogram(2000 + i * 10, h.clone(), 0));
        column.push_float(2015, 2.0, 0);
        column.push_float(3000, 2.0, 0);
        let spans: Vec<_> = encode_column(&column).iter().map(|c| (c.encoding, c.mint, c.maxt)).collect();
        let (x, fh) = (Encoding::Xor, Encoding::FloatHistogram);
        assert_eq!(
            spans,
            [(x, 0, 1190), (x, 1200, 1290), (fh, 2000, 2010), (x, 2015, 2015), (fh, 2020, 2020), (x, 3000, 3000)]
        );
        assert_eq!(encode_column(&Column::default()), []);
    }

    #[test]
    fn classes_of_integers() {
        let coded = |f: &dyn Fn(&mut Bits)| {
            let mut bits = Bits { out: Vec::new(), free: 0 };
            f(&mut bits);
            (bits.out.len() * 8 - usize::from(bits.free), bits.out)
        };
        assert_eq!(coded(&|b| b.put_varbit_int(0)).0, 1);
        assert_eq!(coded(&|b| b.put_varbit_int(4)), (5, vec![0b10100000]));
        assert_eq!(coded(&|b| b.put_varbit_int(-4)).0, 9);
        assert_eq!(coded(&|b| b.put_varbit_uint(7)), (5, vec![0b10111000]));
        assert_eq!(coded(&|b| b.put_varbit_int(1 << 55)).0, 64);
        assert_eq!(coded(&|b| b.put_varbit_int(i64::MIN)).0, 72);
        assert_eq!(coded(&|b| put_custom_bound(b, 0.5)).0, 4 + 9);
        assert_eq!(coded(&|b| put_custom_bound(b, 1.0 / 3.0)).0, 65);
        assert_eq!(coded(&|b| put_zero_threshold(b, 0.3)).0, 72);
    }
}
