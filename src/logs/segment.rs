//! A segment opened for reading: its streams as ranges of documents, times from the key column, lines from the store.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use tantivy::columnar::ColumnValues;
use tantivy::index::SegmentId;
use tantivy::store::StoreReader;
use tantivy::{Segment, SegmentReader, TantivyError};

use super::batch::take_labels;
use super::detect;
use super::doubles::Doubles;
use super::schema::{Fields, NS_PER_DAY, StoredEntry, key_ordinal, key_time};
use super::stream_index::StreamId;
use crate::model::{Labels, TimestampNs};

/// The documents of one stream in a segment.
#[derive(Clone, Debug)]
pub struct StreamRun {
    /// Which stream.
    pub stream: StreamId,
    /// Its documents, ascending by time.
    pub docs: Range<u32>,
    /// Time of the first.
    pub first: TimestampNs,
    /// Time of the last.
    pub last: TimestampNs,
}

/// See the module.
pub struct SegmentView {
    reader: SegmentReader,
    fields: Fields,
    keys: Arc<dyn ColumnValues<u64>>,
    levels: Arc<dyn ColumnValues<u64>>,
    sizes: Arc<dyn ColumnValues<u64>>,
    day_start: TimestampNs,
    runs: Vec<StreamRun>,
    doubles: OnceLock<Vec<u32>>,
}

impl fmt::Debug for SegmentView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentView").field("id", &self.id()).field("docs", &self.len()).finish()
    }
}

impl SegmentView {
    /// Opens a segment of the partition of `day`; `streams` are the partition's streams by number.
    pub fn open(segment: &Segment, fields: Fields, day: i32, streams: &[StreamId]) -> tantivy::Result<SegmentView> {
        let reader = SegmentReader::open(segment)?;
        let column = |name| {
            let column = reader.fast_fields().u64(name)?;
            if column.get_cardinality().is_full() && column.values.num_vals() == reader.max_doc() {
                Ok(column.values)
            } else {
                Err(TantivyError::InvalidArgument(format!("column {name} is not complete")))
            }
        };
        let (keys, levels, sizes) = (column("key")?, column("level")?, column("size")?);
        let day_start = i64::from(day).saturating_mul(NS_PER_DAY);
        let mut view =
            SegmentView { fields, keys, levels, sizes, day_start, runs: Vec::new(), doubles: OnceLock::new(), reader };
        let mut doc = 0;
        while doc < view.len() {
            let ordinal = key_ordinal(view.keys.get_val(doc));
            let end = view.first_doc_where(doc..view.len(), |k| key_ordinal(k) > ordinal);
            let stream = streams.get(ordinal as usize).copied().ok_or_else(|| {
                TantivyError::InvalidArgument(format!("stream number {ordinal} is not in the stream table"))
            })?;
            let (first, last) = (view.timestamp(doc), view.timestamp(end - 1));
            view.runs.push(StreamRun { stream, docs: doc..end, first, last });
            doc = end;
        }
        Ok(view)
    }

    /// The segment's id.
    pub fn id(&self) -> SegmentId {
        self.reader.segment_id()
    }

    /// How many documents.
    pub fn len(&self) -> u32 {
        self.reader.max_doc()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tantivy's reader, for the term dictionaries.
    pub fn reader(&self) -> &SegmentReader {
        &self.reader
    }

    /// The fields of the schema.
    pub fn fields(&self) -> Fields {
        self.fields
    }

    /// The streams in it, in the order of their documents.
    pub fn runs(&self) -> &[StreamRun] {
        &self.runs
    }

    /// When the entry of a document was.
    pub fn timestamp(&self, doc: u32) -> TimestampNs {
        self.day_start + key_time(self.keys.get_val(doc))
    }

    /// The code of the entry's level.
    pub fn level(&self, doc: u32) -> u8 {
        u8::try_from(self.levels.get_val(doc)).unwrap_or(detect::NO_LEVEL)
    }

    /// Bytes of the entry's line.
    pub fn line_bytes(&self, doc: u32) -> u64 {
        self.sizes.get_val(doc)
    }

    fn first_doc_where(&self, docs: Range<u32>, past: impl Fn(u64) -> bool) -> u32 {
        let (mut low, mut high) = (docs.start, docs.end);
        while low < high {
            let middle = low + (high - low) / 2;
            if past(self.keys.get_val(middle)) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }

    /// The first document of a run's range at or after a time.
    pub fn seek(&self, docs: Range<u32>, timestamp: TimestampNs) -> u32 {
        let wanted = timestamp.saturating_sub(self.day_start);
        self.first_doc_where(docs, |k| key_time(k) >= wanted)
    }

    /// A reader of lines that keeps so many blocks decompressed. Make one for each scan.
    pub fn lines(&self, cached_blocks: usize) -> std::io::Result<StoreReader> {
        self.reader.get_store_reader(cached_blocks)
    }

    /// Reads an entry: line and metadata, `detected_level` included.
    pub fn read(&self, lines: &StoreReader, doc: u32) -> tantivy::Result<(String, Labels)> {
        let stored: StoredEntry = lines.get(doc)?;
        let metadata = if stored.extra.is_empty() {
            Labels::empty()
        } else {
            take_labels(&mut stored.extra.as_slice())
                .ok_or_else(|| TantivyError::InvalidArgument("stored metadata cannot be read".to_owned()))?
        };
        let line =
            String::from_utf8(stored.line).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
        Ok((line, detect::with_level(&metadata, self.level(doc))))
    }

    /// Documents that repeat one before them exactly (same stream, time, line, metadata), ascending. Found once: only
    /// merges bring doubles together, so there are hardly ever any, and only equal keys make lines be read.
    pub fn doubles(&self) -> tantivy::Result<&[u32]> {
        if let Some(d) = self.doubles.get() {
            return Ok(d);
        }
        let mut found = Vec::new();
        let mut lines = None;
        let mut before = None;
        let mut compared = Doubles::default();
        let mut keys = [0u64; 1024];
        let mut at = 0;
        while at < self.len() {
            let n = keys.len().min((self.len() - at) as usize);
            let chunk = keys.get_mut(..n).unwrap_or_default();
            self.keys.get_range(u64::from(at), chunk);
            for (doc, key) in (at..).zip(chunk.iter()) {
                if before.replace(*key) != Some(*key) {
                    continue;
                }
                if lines.is_none() {
                    lines = Some(self.lines(4)?);
                }
                let Some(lines) = &lines else { continue };
                if !compared.is_at(key) {
                    let (line, metadata) = self.read(lines, doc - 1)?;
                    compared.is_double(*key, &line, &metadata);
                }
                let (line, metadata) = self.read(lines, doc)?;
                if compared.is_double(*key, &line, &metadata) {
                    found.push(doc);
                }
            }
            at += n as u32;
        }
        Ok(self.doubles.get_or_init(|| found))
    }
}
