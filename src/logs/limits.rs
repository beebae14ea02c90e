//! The numbers of the log store, each with its reason.

/// Batches in memory become segments when they hold this much. Larger means fewer merges, smaller means less memory: while
/// one lot is being written the next one fills, and indexing takes about twice the lot on top.
pub const FLUSH_BYTES: usize = 24 << 20;
/// Batches in memory become segments at the latest after so many seconds. They are durable and searchable before that, so
/// this only bounds what a restart replays when little comes in; shorter would make many tiny segments.
pub const FLUSH_SECONDS: i64 = 10;
/// Pushes wait, and are refused at last, when this much is in memory: one lot being written, one full, one filling.
pub const MAX_BUFFER_BYTES: usize = 3 * FLUSH_BYTES;
/// The largest batch; the caps of the wire are below it, and offsets inside a batch are 32 bits.
pub const MAX_BATCH_BYTES: usize = 64 << 20;
/// Bytes an entry takes up in memory beside its line.
pub const ENTRY_OVERHEAD_BYTES: usize = 40;
/// Loki's limit of a line.
pub const MAX_LINE_BYTES: usize = 256 << 10;
/// Streams of one UTC day; the number of a stream inside its partition has 17 bits.
pub const MAX_STREAMS_PER_DAY: usize = 1 << 17;
/// Label names of one stream. Loki allows 15; Kubernetes and OTLP resources easily have more.
pub const MAX_LABEL_NAMES: usize = 64;
/// Loki's limit of a label name.
pub const MAX_LABEL_NAME_BYTES: usize = 1024;
/// Loki's limit of a label value.
pub const MAX_LABEL_VALUE_BYTES: usize = 2048;
/// Bytes of structured metadata of one entry; Loki's limit.
pub const MAX_METADATA_BYTES: usize = 64 << 10;
/// Pairs of structured metadata of one entry; Loki's limit.
pub const MAX_METADATA_PAIRS: usize = 128;
/// How far in the future an entry may lie; Loki's grace period.
pub const MAX_FUTURE_NS: i64 = 600 * 1_000_000_000;
/// Tokens are indexed up to this length: what is longer (base64, hashes of hashes) only bloats the dictionary.
pub const MAX_TOKEN_BYTES: usize = 64;
/// Needles match at most this many terms of the dictionary; above it reading lines is cheaper than uniting postings.
pub const MAX_TERMS_PER_FRAGMENT: usize = 512;
/// Dictionaries up to this many terms are walked to find a fragment inside terms (about 150 ns a term).
pub const MAX_WALKED_TERMS: usize = 20_000;
/// Segments of one level are merged when there are this many.
pub const MERGE_SEGMENTS: usize = 8;
/// Segments of more documents are not merged further: a merge must not run for minutes beside ingest.
pub const MAX_MERGED_DOCS: usize = 4_000_000;
/// Decompressed size of a block of stored lines.
pub const LINE_BLOCK_BYTES: usize = 16 << 10;
/// zstd level of stored lines: level 1 costs half the time of level 3 for about a tenth more bytes.
pub const LINE_ZSTD_LEVEL: i32 = 1;
/// Refusals that are told to the sender in words; the rest is counted only.
pub const MAX_REFUSALS_IN_WORDS: usize = 10;
/// Batches a slow tail may be behind before it loses some.
pub const TAIL_BATCHES: usize = 256;
/// A writer of a partition that had nothing to commit for so many flushes gives its threads back.
pub const IDLE_FLUSHES_BEFORE_CLOSE: u32 = 6;
