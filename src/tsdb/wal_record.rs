//! The payload of one record of the store's log, which is one commit: sections of a tag byte and a body.
//!
//! Sections: `1` definitions (labels used, then series as reference and label numbers of this record), `2` start timestamps of the
//! floats that follow, `3` floats of one time, `4` floats, `5` histograms, `6` exemplars, `7` metadata, `8` the time
//! before which the samples of the batch had to come in order. References are differences to
//! the one before, times too, values as in `chunk::number`: four to six bytes for a sample of an ordinary counter.

use std::collections::HashMap;

use super::SeriesRef;
use super::chunk::histogram::{put_row, take_row};
use super::chunk::number::{put_f64, take_f64};
use super::exemplars::StoredExemplar;
use super::label_index::LabelIndex;
use crate::disk::varint::{put_bytes, put_i64, put_u64, take_i64, take_str, take_u64};
use crate::model::{FloatHistogram, Labels, Metadata, MetricType, TimestampMs};

const DEFINITIONS: u8 = 1;
const STARTS: u8 = 2;
const FLOATS_AT: u8 = 3;
const FLOATS: u8 = 4;
const HISTOGRAMS: u8 = 5;
const EXEMPLARS: u8 = 6;
const METADATA: u8 = 7;
const FLOOR: u8 = 8;

/// A float sample on its way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct FloatSample {
    pub series: SeriesRef,
    pub t: TimestampMs,
    pub v: f64,
}

/// A histogram sample on its way.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HistogramSample {
    pub series: SeriesRef,
    pub t: TimestampMs,
    pub start: TimestampMs,
    pub h: std::sync::Arc<FloatHistogram>,
}

/// Everything one commit holds; also what a record decodes to.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Samples before this must come in order. Kept in the log, so that a replay takes and refuses what the commit did.
    pub floor: TimestampMs,
    /// Series defined, with their labels in packed form.
    pub definitions: Vec<(SeriesRef, String)>,
    pub floats: Vec<FloatSample>,
    /// Start timestamps: index into `floats`, and the start. Ascending; only those that are not 0.
    pub starts: Vec<(u32, TimestampMs)>,
    pub histograms: Vec<HistogramSample>,
    pub exemplars: Vec<(SeriesRef, StoredExemplar)>,
    pub metadata: Vec<(String, Metadata)>,
}

impl Batch {
    pub(crate) fn clear(&mut self) {
        self.floor = TimestampMs::MIN;
        self.definitions.clear();
        self.floats.clear();
        self.starts.clear();
        self.histograms.clear();
        self.exemplars.clear();
        self.metadata.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.floats.is_empty() && self.histograms.is_empty() && self.exemplars.is_empty() && self.metadata.is_empty()
    }

    /// Keeps only what belongs to series for which `keep` holds; exemplars and metadata stay.
    pub(crate) fn retain_series(&mut self, keep: impl Fn(SeriesRef) -> bool) {
        self.definitions.retain(|d| keep(d.0));
        self.histograms.retain(|h| keep(h.series));
        let mut starts = std::mem::take(&mut self.starts).into_iter().peekable();
        let (mut seen, mut kept) = (0u32, 0u32);
        self.floats.retain(|f| {
            let start = starts.next_if(|s| s.0 == seen);
            seen += 1;
            let stays = keep(f.series);
            if stays {
                self.starts.extend(start.map(|s| (kept, s.1)));
                kept += 1;
            }
            stays
        });
    }
}

/// A section of definitions taken apart: labels, and series as their references and numbers of labels.
#[derive(Debug, Default)]
pub(crate) struct Definitions {
    /// Labels in packed form.
    pub texts: Vec<String>,
    /// References, and where their numbers end in `pairs`.
    refs: Vec<(SeriesRef, u32)>,
    pairs: Vec<u32>,
}

impl Definitions {
    /// Decodes a payload that is one section of definitions. `None` if it is not.
    pub(crate) fn decode(payload: &[u8]) -> Option<Definitions> {
        let mut rest = payload.strip_prefix(&[DEFINITIONS])?;
        let input = &mut rest;
        let texts =
            (0..take_u64(input)?).map(|_| Some(take_str(input)?.to_owned())).collect::<Option<Vec<String>>>()?;
        let mut found = Definitions { texts, ..Definitions::default() };
        let mut last = 0;
        for _ in 0..take_u64(input)? {
            let r = take_ref(input, &mut last)?;
            for _ in 0..take_u64(input)? {
                let number = u32::try_from(take_u64(input)?).ok()?;
                found.texts.get(number as usize)?;
                found.pairs.push(number);
            }
            found.refs.push((r, u32::try_from(found.pairs.len()).ok()?));
        }
        input.is_empty().then_some(found)
    }

    /// The series with their numbers of labels.
    pub(crate) fn series(&self) -> impl Iterator<Item = (SeriesRef, &[u32])> {
        let starts = std::iter::once(0).chain(self.refs.iter().map(|r| r.1));
        starts
            .zip(&self.refs)
            .map(|(from, (r, to))| (*r, self.pairs.get(from as usize..*to as usize).unwrap_or_default()))
    }
}

/// Appends definitions of series, given as their references and label numbers.
pub(crate) fn put_definitions<'a>(
    out: &mut Vec<u8>,
    index: &LabelIndex,
    series: impl Iterator<Item = (SeriesRef, &'a [u32])> + Clone,
) {
    let mut local: HashMap<u32, u64> = HashMap::new();
    let mut texts: Vec<&str> = Vec::new();
    let mut count = 0u64;
    for (_, pairs) in series.clone() {
        count += 1;
        for p in pairs {
            local.entry(*p).or_insert_with(|| {
                texts.push(index.pair(*p).map_or("", |p| &p.text));
                texts.len() as u64 - 1
            });
        }
    }
    if count == 0 {
        return;
    }
    out.push(DEFINITIONS);
    put_u64(out, texts.len() as u64);
    for t in texts {
        put_bytes(out, t.as_bytes());
    }
    put_u64(out, count);
    let mut last = 0;
    for (r, pairs) in series {
        put_ref(out, &mut last, r);
        put_u64(out, pairs.len() as u64);
        for p in pairs {
            put_u64(out, local.get(p).copied().unwrap_or_default());
        }
    }
}

fn put_ref(out: &mut Vec<u8>, last: &mut u64, r: SeriesRef) {
    put_i64(out, r.0.wrapping_sub(*last) as i64);
    *last = r.0;
}

/// Appends everything of a batch but its definitions.
pub(crate) fn put_batch(out: &mut Vec<u8>, batch: &Batch) {
    if !batch.floats.is_empty() || !batch.histograms.is_empty() {
        out.push(FLOOR);
        put_i64(out, batch.floor);
    }
    if !batch.starts.is_empty() {
        out.push(STARTS);
        put_u64(out, batch.starts.len() as u64);
        let mut last = 0;
        for (i, start) in &batch.starts {
            put_u64(out, u64::from(i - last));
            put_i64(out, *start);
            last = *i;
        }
    }
    put_floats(out, &batch.floats);
    if !batch.histograms.is_empty() {
        out.push(HISTOGRAMS);
        put_u64(out, batch.histograms.len() as u64);
        let mut last = 0;
        for h in &batch.histograms {
            put_ref(out, &mut last, h.series);
            put_i64(out, h.start);
            put_row(out, None, h.t, &h.h);
        }
    }
    put_exemplars(out, batch.exemplars.iter().map(|(r, e)| (*r, e)));
    put_metadata(out, batch.metadata.iter().map(|(n, m)| (n.as_str(), m)));
}

fn put_floats(out: &mut Vec<u8>, floats: &[FloatSample]) {
    let Some(first) = floats.first() else { return };
    let one_time = floats.iter().all(|f| f.t == first.t);
    out.push(if one_time { FLOATS_AT } else { FLOATS });
    put_u64(out, floats.len() as u64);
    let (mut last, mut t) = (0, 0);
    if one_time {
        put_i64(out, first.t);
    }
    for f in floats {
        put_ref(out, &mut last, f.series);
        if !one_time {
            put_i64(out, f.t.wrapping_sub(t));
            t = f.t;
        }
        put_f64(out, f.v);
    }
}

/// Appends exemplars.
pub(crate) fn put_exemplars<'a>(
    out: &mut Vec<u8>,
    exemplars: impl ExactSizeIterator<Item = (SeriesRef, &'a StoredExemplar)>,
) {
    if exemplars.len() == 0 {
        return;
    }
    out.push(EXEMPLARS);
    put_u64(out, exemplars.len() as u64);
    for (r, e) in exemplars {
        put_u64(out, r.0);
        put_i64(out, e.t);
        put_f64(out, e.value);
        put_bytes(out, e.labels.packed().as_bytes());
    }
}

/// Appends metadata.
pub(crate) fn put_metadata<'a>(out: &mut Vec<u8>, metadata: impl ExactSizeIterator<Item = (&'a str, &'a Metadata)>) {
    if metadata.len() == 0 {
        return;
    }
    out.push(METADATA);
    put_u64(out, metadata.len() as u64);
    for (name, m) in metadata {
        put_bytes(out, name.as_bytes());
        out.push(type_code(m.metric_type));
        put_bytes(out, m.help.as_bytes());
        put_bytes(out, m.unit.as_bytes());
    }
}

const TYPES: [MetricType; 8] = [
    MetricType::Unknown,
    MetricType::Counter,
    MetricType::Gauge,
    MetricType::Histogram,
    MetricType::GaugeHistogram,
    MetricType::Summary,
    MetricType::Info,
    MetricType::StateSet,
];

fn type_code(t: MetricType) -> u8 {
    TYPES.iter().position(|x| *x == t).unwrap_or(0) as u8
}

/// Decodes a payload into `batch` (cleared first). `None` if it is not one of ours.
pub(crate) fn decode(mut input: &[u8], batch: &mut Batch) -> Option<()> {
    batch.clear();
    let input = &mut input;
    while let Some((tag, rest)) = input.split_first() {
        *input = rest;
        match *tag {
            FLOOR => batch.floor = take_i64(input)?,
            DEFINITIONS => take_definitions(input, batch)?,
            STARTS => {
                let mut i = u32::try_from(batch.floats.len()).ok()?;
                for _ in 0..take_u64(input)? {
                    i = i.checked_add(u32::try_from(take_u64(input)?).ok()?)?;
                    batch.starts.push((i, take_i64(input)?));
                }
            }
            FLOATS_AT | FLOATS => take_floats(input, *tag == FLOATS_AT, &mut batch.floats)?,
            HISTOGRAMS => {
                let mut last = 0;
                for _ in 0..take_u64(input)? {
                    let series = take_ref(input, &mut last)?;
                    let start = take_i64(input)?;
                    let (t, h) = take_row(input, None)?;
                    batch.histograms.push(HistogramSample { series, t, start, h: h.into() });
                }
            }
            EXEMPLARS => {
                for _ in 0..take_u64(input)? {
                    let series = SeriesRef(take_u64(input)?);
                    let (t, value) = (take_i64(input)?, take_f64(input)?);
                    let labels = Labels::from_packed(take_str(input)?);
                    batch.exemplars.push((series, StoredExemplar { labels, value, t }));
                }
            }
            METADATA => {
                for _ in 0..take_u64(input)? {
                    let name = take_str(input)?.to_owned();
                    let (code, rest) = input.split_first()?;
                    *input = rest;
                    let metric_type = *TYPES.get(usize::from(*code))?;
                    let (help, unit) = (take_str(input)?.to_owned(), take_str(input)?.to_owned());
                    batch.metadata.push((name, Metadata { metric_type, help, unit }));
                }
            }
            _ => return None,
        }
    }
    Some(())
}

/// Decodes the definitions of a payload into `batch` (cleared first), nothing else. `None` if they cannot be.
pub(crate) fn decode_definitions(mut input: &[u8], batch: &mut Batch) -> Option<()> {
    batch.clear();
    // A commit writes them before what uses them.
    while let Some(rest) = input.strip_prefix(&[DEFINITIONS]) {
        input = rest;
        take_definitions(&mut input, batch)?;
    }
    Some(())
}

/// Decodes a payload into `batch` (cleared first), but for its definitions. `None` if it is not one of ours.
pub(crate) fn decode_beyond_definitions(mut input: &[u8], batch: &mut Batch) -> Option<()> {
    batch.clear();
    while let Some(rest) = input.strip_prefix(&[DEFINITIONS]) {
        input = rest;
        skip_definitions(&mut input)?;
    }
    decode(input, batch)
}

fn skip_definitions(input: &mut &[u8]) -> Option<()> {
    for _ in 0..take_u64(input)? {
        take_str(input)?;
    }
    let mut last = 0;
    for _ in 0..take_u64(input)? {
        take_ref(input, &mut last)?;
        for _ in 0..take_u64(input)? {
            take_u64(input)?;
        }
    }
    Some(())
}

fn take_ref(input: &mut &[u8], last: &mut u64) -> Option<SeriesRef> {
    *last = last.wrapping_add(take_i64(input)? as u64);
    Some(SeriesRef(*last))
}

fn take_definitions(input: &mut &[u8], batch: &mut Batch) -> Option<()> {
    let texts = (0..take_u64(input)?).map(|_| take_str(input)).collect::<Option<Vec<&str>>>()?;
    let mut last = 0;
    for _ in 0..take_u64(input)? {
        let r = take_ref(input, &mut last)?;
        let mut packed = String::with_capacity(128);
        for _ in 0..take_u64(input)? {
            packed.push_str(texts.get(usize::try_from(take_u64(input)?).ok()?)?);
        }
        batch.definitions.push((r, packed));
    }
    Some(())
}

fn take_floats(input: &mut &[u8], one_time: bool, out: &mut Vec<FloatSample>) -> Option<()> {
    let n = usize::try_from(take_u64(input)?).ok()?;
    // Each sample takes two bytes at least, so that a damaged count cannot make us reserve the world.
    out.reserve(n.min(input.len() / 2));
    let (mut last, mut t) = (0, 0);
    if one_time {
        t = take_i64(input)?;
    }
    for _ in 0..n {
        let series = take_ref(input, &mut last)?;
        if !one_time {
            t = t.wrapping_add(take_i64(input)?);
        }
        out.push(FloatSample { series, t, v: take_f64(input)? });
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::labels::packed_labels;

    #[test]
    fn a_batch_comes_back_and_its_damage_is_noticed() {
        let labels =
            [Labels::from_pairs([("__name__", "a"), ("x", "1")]), Labels::from_pairs([("__name__", "a"), ("x", "2")])];
        let mut index = LabelIndex::default();
        let pairs: Vec<Vec<u32>> =
            labels.iter().map(|l| packed_labels(l.packed()).map(|(t, n, v)| index.intern(t, n, v)).collect()).collect();
        let refs = [SeriesRef::new(7, 3), SeriesRef::new(2, 1)];
        let h = FloatHistogram { count: 3.0, positive_buckets: vec![1.0, 2.0], ..FloatHistogram::default() };
        let batch = Batch {
            floor: 990,
            definitions: vec![],
            floats: vec![
                FloatSample { series: refs[0], t: 1000, v: 1.5 },
                FloatSample { series: refs[1], t: 990, v: -0.0 },
            ],
            starts: vec![(1, 77)],
            histograms: vec![HistogramSample { series: refs[1], t: 5, start: -1, h: Arc::new(h) }],
            exemplars: vec![(
                refs[0],
                StoredExemplar { labels: Labels::from_pairs([("trace_id", "ab")]), value: 2.0, t: 9 },
            )],
            metadata: vec![(
                "a".into(),
                Metadata { metric_type: MetricType::StateSet, help: "h".into(), unit: "u".into() },
            )],
        };
        let mut out = Vec::new();
        put_definitions(&mut out, &index, refs.iter().copied().zip(pairs.iter().map(Vec::as_slice)));
        put_batch(&mut out, &batch);
        let mut got = Batch::default();
        decode(&out, &mut got).unwrap();
        let definitions: Vec<_> = refs.iter().copied().zip(labels.iter().map(|l| l.packed().to_owned())).collect();
        assert_eq!((got.floor, &got.definitions), (990, &definitions));
        assert_eq!((&got.floats, &got.starts), (&batch.floats, &batch.starts));
        assert_eq!(got.floats[1].v.to_bits(), (-0.0f64).to_bits());
        let mut rest = Vec::new();
        put_batch(&mut rest, &batch);
        assert_eq!((got.histograms, got.exemplars, got.metadata), (batch.histograms, batch.exemplars, batch.metadata));
        let section = out.len() - rest.len();
        let apart = Definitions::decode(&out[..section]).unwrap();
        let packed = |pairs: &[u32]| pairs.iter().map(|p| apart.texts[*p as usize].as_str()).collect::<String>();
        assert_eq!(apart.series().map(|(r, p)| (r, packed(p))).collect::<Vec<_>>(), definitions);
        let mut part = Batch::default();
        decode(&out, &mut part).unwrap();
        part.retain_series(|r| r == refs[1]);
        assert_eq!(
            (part.floats.len(), &part.starts, part.definitions.len(), part.histograms.len()),
            (1, &vec![(0, 77)], 1, 1)
        );
        let whole = (1..out.len()).filter(|n| decode(&out[..*n], &mut Batch::default()).is_some()).count();
        assert!(whole <= 7, "only cuts between sections may pass");
    }
}
