//! What can go wrong in the store.

use std::path::PathBuf;

use crate::disk::dir_lock::LockError;
use crate::disk::free_space::NoSpace;

use super::chunk::DamagedChunk;

/// What can go wrong with the store as a whole.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Disk trouble.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Another process has the folder.
    #[error(transparent)]
    Locked(#[from] LockError),
    /// The write-ahead log could not be written: nothing of the batch was stored.
    #[error("cannot write the write-ahead log in {dir}: {source}")]
    Wal {
        /// Folder of the log.
        dir: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The disk is nearly full: nothing of the batch was stored.
    #[error(transparent)]
    NoSpace(#[from] NoSpace),
    /// The log of before the start is not replayed yet, so that an answer would lack samples.
    #[error("the metrics log is still being replayed after the start ({percent} %): its samples cannot be read yet")]
    Replaying {
        /// How much has been replayed.
        percent: u64,
    },
    /// A chunk cannot be decoded.
    #[error(transparent)]
    Chunk(#[from] DamagedChunk),
    /// A block cannot be read.
    #[error("block {block} is damaged: {reason}")]
    Block {
        /// Name of the block's folder.
        block: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A chunk in a file of the head cannot be read.
    #[error("the chunk at byte {offset} of {file} is damaged")]
    HeadChunk {
        /// The file.
        file: PathBuf,
        /// Where the chunk's record begins.
        offset: u64,
    },
    /// A file was written by a version that this one does not know.
    #[error(
        "{file} has format {found}, which this version cannot read: start the version that wrote it, or move the file away (samples of the last hours go with it)"
    )]
    Version {
        /// The file.
        file: PathBuf,
        /// Its format.
        found: u64,
    },
}

/// Why one sample was refused; each has its own counter and its own consequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The reference is not (or no longer) known; resolve the labels again.
    #[error("unknown series reference")]
    UnknownRef,
    /// Same time, other value.
    #[error("duplicate sample for timestamp")]
    Duplicate,
    /// Older than the newest sample and outside the out-of-order window.
    #[error("out of order sample")]
    OutOfOrder,
    /// Older than the store takes.
    #[error("out of bounds")]
    TooOld,
    /// Too far in the future.
    #[error("too far in the future")]
    TooNew,
    /// A limit on series was reached; the log and the metric name who made too many.
    #[error("limit on series reached, see the log and campanile_tsdb_series_refused_total")]
    SeriesLimit,
    /// The label set cannot be stored (no metric name, a bad name or value).
    #[error("invalid labels")]
    InvalidLabels,
}

impl AppendError {
    /// The word for it in `campanile_tsdb_samples_refused_total{reason}`.
    pub fn reason(self) -> &'static str {
        match self {
            AppendError::UnknownRef => "unknown_ref",
            AppendError::Duplicate => "duplicate",
            AppendError::OutOfOrder => "out_of_order",
            AppendError::TooOld => "too_old",
            AppendError::TooNew => "too_new",
            AppendError::SeriesLimit => "series_limit",
            AppendError::InvalidLabels => "invalid_labels",
        }
    }
}
