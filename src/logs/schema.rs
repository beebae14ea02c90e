//! The fields of a partition's index, and an entry as a document of it.
//!
//! | field | kind | holds |
//! |---|---|---|
//! | `key` | fast, sorted by | the stream's number in the partition (17 bits) and the nanosecond of the day (47 bits) |
//! | `level` | fast | the code of `detected_level`, 0 if it has none |
//! | `size` | fast | bytes of the line |
//! | `line` | stored | the line |
//! | `extra` | stored | structured metadata but for a coded level, if there is any |
//! | `words`, `ids` | indexed, no positions, no norms | tokens of the line, see [`super::tokens`] |
//! | `metadata` | JSON, indexed raw, fast | the same as `extra`, for lookups and grouping |

use std::sync::Arc;

use tantivy::indexer::SegmentWriter;
use tantivy::schema::document::{
    DeserializeError, DocumentDeserialize, DocumentDeserializer, ReferenceValue, ReferenceValueLeaf, Value,
    ValueDeserialize, ValueDeserializer,
};
use tantivy::schema::{
    BytesOptions, FAST, Field, IndexRecordOption, JsonObjectOptions, Schema, SchemaBuilder, TextFieldIndexing,
    TextOptions,
};
use tantivy::store::{Compressor, ZstdCompressor};
use tantivy::tokenizer::TokenizerManager;
use tantivy::{Document, IndexSettings, IndexSortByField, Order};

use super::batch::{Batch, Entry, put_labels};
use super::detect::{DETECTED_LEVEL, NO_LEVEL};
use super::limits;
use super::tokens::{KindTokenizer, TokenKind};
use crate::model::labels::Iter as LabelsIter;
use crate::model::{Labels, TimestampNs};

/// The format of a partition; raised when an older program could not read it any more.
pub const FORMAT: u32 = 1;
/// Nanoseconds of a day.
pub const NS_PER_DAY: i64 = 86_400 * 1_000_000_000;
/// Bits of the key that hold the nanosecond of the day.
const TIME_BITS: u32 = 47;

/// The UTC day of a time, counted from the epoch.
pub fn day_of(timestamp: TimestampNs) -> i32 {
    timestamp.div_euclid(NS_PER_DAY) as i32
}

/// The sort key of an entry.
pub fn key(ordinal: u32, timestamp: TimestampNs) -> u64 {
    u64::from(ordinal) << TIME_BITS | timestamp.rem_euclid(NS_PER_DAY) as u64
}

/// The stream's number in a key.
pub fn key_ordinal(key: u64) -> u32 {
    (key >> TIME_BITS) as u32
}

/// The nanosecond of the day in a key.
pub fn key_time(key: u64) -> i64 {
    (key & ((1 << TIME_BITS) - 1)) as i64
}

/// The fields by name.
#[derive(Clone, Copy, Debug)]
pub struct Fields {
    /// See the module.
    pub key: Field,
    /// See the module.
    pub level: Field,
    /// See the module.
    pub size: Field,
    /// See the module.
    pub line: Field,
    /// See the module.
    pub extra: Field,
    /// See the module.
    pub words: Field,
    /// See the module.
    pub ids: Field,
    /// See the module.
    pub metadata: Field,
}

fn indexing(tokenizer: &str) -> TextFieldIndexing {
    TextFieldIndexing::default()
        .set_tokenizer(tokenizer)
        .set_fieldnorms(false)
        .set_index_option(IndexRecordOption::Basic)
}

/// Makes the schema.
pub fn schema() -> (Schema, Fields) {
    let mut b = SchemaBuilder::default();
    let fields = Fields {
        key: b.add_u64_field("key", FAST),
        level: b.add_u64_field("level", FAST),
        size: b.add_u64_field("size", FAST),
        line: b.add_bytes_field("line", BytesOptions::default().set_stored()),
        extra: b.add_bytes_field("extra", BytesOptions::default().set_stored()),
        words: b.add_text_field("words", TextOptions::default().set_indexing_options(indexing("words"))),
        ids: b.add_text_field("ids", TextOptions::default().set_indexing_options(indexing("ids"))),
        metadata: b.add_json_field("metadata", JsonObjectOptions::from(FAST).set_indexing_options(indexing("raw"))),
    };
    (b.build(), fields)
}

/// The settings of a partition's index.
pub fn settings() -> IndexSettings {
    IndexSettings {
        // Segments are written sorted; this keeps them so when they are merged.
        sort_by_field: Some(IndexSortByField { field: "key".to_owned(), order: Order::Asc }),
        docstore_compression: Compressor::Zstd(ZstdCompressor { compression_level: Some(limits::LINE_ZSTD_LEVEL) }),
        docstore_compress_dedicated_thread: false,
        docstore_blocksize: limits::LINE_BLOCK_BYTES,
        ..IndexSettings::default()
    }
}

/// The tokenizers the schema names.
pub fn tokenizers() -> TokenizerManager {
    let manager = TokenizerManager::default();
    manager.register("words", KindTokenizer::new(TokenKind::Word));
    manager.register("ids", KindTokenizer::new(TokenKind::Id));
    manager
}

/// An entry of a batch as Tantivy sees it; the line is not copied.
pub struct LogDocument {
    fields: Fields,
    key: u64,
    batch: Arc<Batch>,
    group: usize,
    entry: usize,
    extra: Vec<u8>,
}

impl LogDocument {
    /// The document of entry `entry` of group `group`; `None` if there is none.
    pub fn new(fields: Fields, ordinal: u32, batch: &Arc<Batch>, group: usize, entry: usize) -> Option<Self> {
        let e = batch.groups().get(group)?.entries.get(entry)?;
        let coded = e.level != NO_LEVEL;
        let mut extra = Vec::new();
        if e.metadata.iter().any(|(n, _)| !coded || n != DETECTED_LEVEL) {
            put_labels(&mut extra, &e.metadata, coded.then_some(DETECTED_LEVEL));
        }
        Some(LogDocument { fields, key: key(ordinal, e.timestamp), batch: batch.clone(), group, entry, extra })
    }

    fn entry(&self) -> Option<&Entry> {
        self.batch.groups().get(self.group)?.entries.get(self.entry)
    }
}

/// Adds a document to a segment under construction.
pub fn add(writer: &mut SegmentWriter, document: LogDocument) -> tantivy::Result<()> {
    writer.add_document(tantivy::indexer::AddOperation { opstamp: 0, document })
}

/// A value of a [`LogDocument`].
#[derive(Clone, Copy, Debug)]
pub enum LogValue<'a> {
    /// A number.
    Number(u64),
    /// Text to be cut into tokens, or a metadata value.
    Text(&'a str),
    /// Bytes to be stored.
    Bytes(&'a [u8]),
    /// Metadata; the flag says that `detected_level` is left out.
    Metadata(&'a Labels, bool),
}

/// Walks through metadata as through a JSON object.
pub struct MetadataIter<'a> {
    labels: LabelsIter<'a>,
    without_level: bool,
}

impl<'a> Iterator for MetadataIter<'a> {
    type Item = (&'a str, LogValue<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let skip = self.without_level;
        self.labels.find(|(n, _)| !skip || *n != DETECTED_LEVEL).map(|(n, v)| (n, LogValue::Text(v)))
    }
}

impl<'a> Value<'a> for LogValue<'a> {
    type ArrayIter = std::iter::Empty<Self>;
    type ObjectIter = MetadataIter<'a>;

    fn as_value(&self) -> ReferenceValue<'a, Self> {
        match *self {
            LogValue::Number(n) => ReferenceValue::Leaf(ReferenceValueLeaf::U64(n)),
            LogValue::Text(s) => ReferenceValue::Leaf(ReferenceValueLeaf::Str(s)),
            LogValue::Bytes(b) => ReferenceValue::Leaf(ReferenceValueLeaf::Bytes(b)),
            LogValue::Metadata(labels, without_level) => {
                ReferenceValue::Object(MetadataIter { labels: labels.iter(), without_level })
            }
        }
    }
}

impl Document for LogDocument {
    type Value<'a> = LogValue<'a>;
    type FieldsValuesIter<'a> = std::iter::Flatten<std::array::IntoIter<Option<(Field, LogValue<'a>)>, 8>>;

    fn iter_fields_and_values(&self) -> Self::FieldsValuesIter<'_> {
        let f = self.fields;
        let entry = self.entry();
        let line = entry.map_or("", |e| self.batch.line(e));
        let level = entry.map_or(NO_LEVEL, |e| e.level);
        let extra = (!self.extra.is_empty()).then_some(self.extra.as_slice());
        let metadata = entry.filter(|_| extra.is_some()).map(|e| &e.metadata);
        [
            Some((f.key, LogValue::Number(self.key))),
            Some((f.level, LogValue::Number(u64::from(level)))),
            Some((f.size, LogValue::Number(line.len() as u64))),
            Some((f.line, LogValue::Bytes(line.as_bytes()))),
            extra.map(|x| (f.extra, LogValue::Bytes(x))),
            Some((f.words, LogValue::Text(line))),
            Some((f.ids, LogValue::Text(line))),
            metadata.map(|m| (f.metadata, LogValue::Metadata(m, level != NO_LEVEL))),
        ]
        .into_iter()
        .flatten()
    }
}

/// What is stored of an entry.
#[derive(Debug, Default)]
pub struct StoredEntry {
    /// The line.
    pub line: Vec<u8>,
    /// Metadata as [`put_labels`] wrote it; empty if there is none.
    pub extra: Vec<u8>,
}

struct StoredBytes(Vec<u8>);

impl ValueDeserialize for StoredBytes {
    fn deserialize<'de, D: ValueDeserializer<'de>>(deserializer: D) -> Result<Self, DeserializeError> {
        deserializer.deserialize_bytes().map(StoredBytes)
    }
}

impl DocumentDeserialize for StoredEntry {
    fn deserialize<'de, D: DocumentDeserializer<'de>>(mut deserializer: D) -> Result<Self, DeserializeError> {
        // The order of the fields is that of `iter_fields_and_values`: the line, then perhaps the metadata.
        let mut entry = StoredEntry::default();
        if let Some((_, StoredBytes(line))) = deserializer.next_field()? {
            entry.line = line;
        }
        if let Some((_, StoredBytes(extra))) = deserializer.next_field()? {
            entry.extra = extra;
        }
        Ok(entry)
    }
}
