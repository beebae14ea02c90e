//! The metrics store: a head in memory with a write-ahead log beside it, and immutable blocks of older samples on disk.
//!
//! The life of a sample: an [`Appender`] resolves its labels to a [`SeriesRef`] and checks that it may go in; `commit` writes the batch to the
//! log and then stores it in the head, where each series compresses its samples as they come. Full chunks are packed again in the
//! background. When the head holds more than a block's range and the margin, the oldest two hours become a block, and segments of the log whose
//! samples are all in blocks are removed. Blocks are merged into larger ones and removed when retention says so.
//!
//! The head never gives up a range that late samples may still fall into, so blocks never overlap.

mod appender;
mod block;
mod cardinality;
mod checkpoint;
mod chunk;
mod db;
mod delete;
mod error;
mod exemplars;
mod filenames;
mod gather;
mod head;
mod head_status;
mod id_table;
mod label_index;
mod label_queries;
mod limits;
mod maintenance;
mod matching;
mod metadata;
mod options;
mod postings;
mod querier;
mod replay;
mod selection;
mod self_metrics;
mod shared;
mod snapshot;
#[cfg(test)]
mod tests;
mod tombstones;
mod wal_record;

pub use crate::model::Column;
pub use appender::{Appender, Committed};
pub use cardinality::SeriesLimits;
pub use chunk::DamagedChunk;
pub use db::Db;
pub use error::{AppendError, Error};
pub use head_status::{HeadStatus, Ranking};
pub use label_queries::HeadStats;
pub use options::Options;
pub use replay::Replay;
pub use selection::Selection;

/// Identity of a series inside one open database: a place in the low half, and in the high half an epoch that tells apart the series that
/// held the place one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesRef(pub u64);

impl SeriesRef {
    pub(crate) fn new(slot: u32, epoch: u32) -> Self {
        SeriesRef((u64::from(epoch) << 32) | u64::from(slot))
    }

    pub(crate) fn slot(self) -> u32 {
        self.0 as u32
    }

    pub(crate) fn epoch(self) -> u32 {
        (self.0 >> 32) as u32
    }
}
