//! The numbers the store is built around, each with its reason.

use crate::model::TimestampMs;

/// Length of the smallest block. Two hours as in Prometheus: the head stays small, and a block has some hundred samples a series.
pub(crate) const BLOCK_RANGE_MS: i64 = 2 * 3600 * 1000;
/// Samples in a chunk. At 15 s two chunks fill a block's range; longer ones compress no better and cost more to read in part.
pub(crate) const CHUNK_SAMPLES: u16 = 240;
/// Late samples a series collects before they are merged into its chunks.
pub(crate) const LATE_SAMPLES: usize = 480;
/// The head keeps at least this much beyond a block's end, so that slow senders still find their window open.
pub(crate) const HEAD_MARGIN_MS: i64 = 3600 * 1000;
/// What part of the log that calls for a checkpoint is worth one already when nothing is being written: one in so many.
pub(crate) const QUIET_SHARE: u64 = 32;
/// What part of the log that calls for a checkpoint is little for one round of the upkeep: one in so many. A host's own scrapes are.
pub(crate) const LITTLE_SHARE: u64 = 2048;
/// Rounds of the upkeep (seconds) with little after which the store counts as quiet.
pub(crate) const QUIET_ROUNDS: u32 = 5;
/// How far the clock must be past the newest sample of a series before its chunk is closed because nobody writes, if that is more than
/// [`STOPPED_INTERVALS`]: the longest usual interval of scrapes.
pub(crate) const REST_MS: i64 = 60 * 1000;
/// How often it is looked, while the store is quiet, for chunks that were too young to close when it became so: rounds of the upkeep
/// (seconds). Series scraped every half minute are past [`STOPPED_INTERVALS`] the first time.
pub(crate) const REST_ROUNDS: u32 = 121;
/// Samples from which an open chunk is closed by a checkpoint while nobody writes: packed it takes half the space, and blocks put short
/// chunks together again.
pub(crate) const EARLY_SAMPLES: u16 = 60;
/// The same for a series that has stopped: nothing will be put together, and an open chunk is as large as a packed one with so many.
pub(crate) const STOPPED_SAMPLES: u16 = 10;
/// A series has stopped when the store has samples that are newer by so many of its own intervals.
pub(crate) const STOPPED_INTERVALS: i64 = 4;
/// Metric families whose metadata is kept; far more than any fleet has, but an end to abuse.
pub(crate) const MAX_METADATA: usize = 200_000;
/// Different metadata kept for one metric family (targets disagree while versions roll out).
pub(crate) const METADATA_VERSIONS: usize = 4;

/// The number of the block range a time falls into.
pub(crate) fn block_number(t: TimestampMs) -> i64 {
    t.div_euclid(BLOCK_RANGE_MS)
}
