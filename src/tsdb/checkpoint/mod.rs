//! The head without what stands elsewhere: series, places of their full chunks, open chunks, late samples, exemplars, metadata. Once
//! it is on disk the segments of the log before it go, so that a start reads it and a short log.
//!
//! File: records as in the log (checksummed, compressed). The first holds the version, the end of the last block cut and the first
//! segment to replay. Then for each stretch of places of the head a record of definitions (as in the log) and a record of what those
//! series hold, with the position of the log up to which it stands: commits go on between stretches, and a replay leaves out what a
//! stretch has already. Then exemplars and metadata, with their position, and a record that says that it is whole.

mod load;
mod retry;
mod write;

pub(crate) use load::{Covered, Loaded, find_chunks, load};
pub(crate) use retry::Retry;
pub(crate) use write::write;

use crate::model::TimestampMs;

/// Version of the file. The first had definitions, exemplars and metadata only.
const VERSION: u64 = 2;
/// Places of the head in one stretch: commits wait while one is taken, well below a millisecond.
const STRETCH: u32 = 1024;

/// First bytes of records; those of the sections of a log record stand for themselves.
const TAG_DEFINITIONS: u8 = 1;
const TAG_SERIES: u8 = 9;
const TAG_ANNOTATIONS: u8 = 10;
const TAG_END: u8 = 11;

/// Where the log goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// Samples before this are in blocks.
    pub cut: TimestampMs,
    /// The first segment of the log to replay.
    pub first_segment: u64,
}
