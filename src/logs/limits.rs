//! The numbers of the log store, each with its reason.

/// Batches in memory become segments when they hold this much. Larger means fuller row groups and fewer merges, smaller means
/// less memory and a shorter replay: while one lot is being written the next one fills.
pub const FLUSH_BYTES: usize = 48 << 20;
/// Batches in memory become segments at the latest after so many seconds. They are durable and searchable before that, so
/// this only bounds what a restart replays when little comes in; shorter would make many tiny segments.
pub const FLUSH_SECONDS: i64 = 10;
/// Batches in memory become segments before that if they hold this much and little has come for [`QUIET_FOR`]: what a burst brought
/// is soon read from the index and not line by line, and steady senders make no more segments by it.
pub const QUIET_FLUSH_BYTES: usize = 1 << 20;
/// See [`QUIET_FLUSH_BYTES`].
pub const QUIET_FOR: std::time::Duration = std::time::Duration::from_secs(2);
/// So many bytes are little: campanile's own history always comes.
pub const QUIET_BYTES: usize = 64 << 10;
/// Pushes wait, and are refused at last, when this much is in memory: one lot being written, one full.
pub const MAX_BUFFER_BYTES: usize = 2 * FLUSH_BYTES;
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
/// Words are indexed up to this length: what is longer only bloats the dictionary.
pub const MAX_TOKEN_BYTES: usize = 64;
/// Needles match at most this many terms of the dictionary; above it reading lines is cheaper than uniting postings.
pub const MAX_TERMS_PER_FRAGMENT: usize = 512;
/// Dictionaries of words up to this many terms are walked to find a fragment inside terms (about 100 ns a term).
pub const MAX_WALKED_TERMS: usize = 100_000;
/// Rows of a row group. More compress better, fewer are read faster when a query wants a few of them.
pub const GROUP_ROWS: usize = 8192;
/// A row group with more rows than this is damage.
pub const MAX_GROUP_ROWS: usize = 1 << 16;
/// A row group ends when its texts reach this, however few rows it has.
pub const GROUP_BYTES: usize = 4 << 20;
/// Rows of a block, the unit of the token index. Fewer make needles faster and common tokens dearer.
pub const BLOCK_ROWS: u32 = 1024;
/// Blocks of a row group.
pub const BLOCKS_PER_GROUP: u32 = GROUP_ROWS as u32 / BLOCK_ROWS;
/// Skeletons of a row group; lines of further ones are kept whole.
pub const MAX_SKELETONS: usize = 512;
/// A skeleton of a row group has at least so many rows, or [`RARE_SKELETON`]; columns for fewer cost more than they save.
pub const MIN_SKELETON_ROWS: usize = 16;
/// A skeleton is rare if it has less than this part of a group's rows.
pub const RARE_SKELETON: usize = 64;
/// Segments of one size are merged when there are this many.
pub const MERGE_SEGMENTS: usize = 8;
/// Segments with fewer rows than this count as of one size.
pub const SMALLEST_LEVEL_ROWS: u64 = 4096;
/// Segments that are together no larger than this are merged by writing their rows anew, so that row groups become full and
/// streams long; the groups of larger ones are copied.
pub const MAX_REWRITTEN_ROWS: u64 = 256 << 10;
/// Segments are merged up to this many rows: a merge must not run for minutes beside ingest.
pub const MAX_MERGED_ROWS: u64 = 4_000_000;
/// Row groups a query notes as open before it forgets those that are not any more.
pub const OPEN_GROUPS_NOTED: usize = 256;
/// Refusals that are told to the sender in words; the rest is counted only.
pub const MAX_REFUSALS_IN_WORDS: usize = 10;
/// Batches a slow tail may be behind before it loses some.
pub const TAIL_BATCHES: usize = 256;
/// Bytes of the patterns kept with a segment. Streams of one kind have patterns in common, so this is thousands of them; lines
/// of further ones are counted as left out.
pub const MAX_PATTERN_BYTES: usize = 4 << 20;
