//! What can go wrong with the store as a whole.

use std::io;

use crate::disk::free_space::NoSpace;

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk refused; `what` says what was being done. A later attempt may succeed again.
    #[error("log store cannot {what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The disk is nearly full: nothing of the push was stored.
    #[error(transparent)]
    NoSpace(#[from] NoSpace),
    /// Tantivy refused.
    #[error("log index of {partition} cannot be {what}: {source}")]
    Index {
        /// The partition's folder name.
        partition: String,
        /// What was being done, as a participle.
        what: &'static str,
        /// Why it failed.
        source: tantivy::TantivyError,
    },
    /// Entries come faster than they can be written to segments, or the disk does not take them.
    #[error("{waiting_bytes} bytes of log entries wait to be written; try again later")]
    Busy {
        /// Bytes held in memory.
        waiting_bytes: usize,
    },
    /// One batch is larger than the store takes at once.
    #[error(
        "batch of {bytes} bytes is larger than the {limit} bytes the log store takes at once; send smaller batches"
    )]
    BatchTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A file of the store holds something that cannot be.
    #[error("damaged {file}: {what}")]
    Damaged {
        /// Which file.
        file: String,
        /// What is wrong with it.
        what: String,
    },
    /// The store was closed.
    #[error("the log store is closed")]
    Closed,
}

impl Error {
    /// Wraps an I/O error; made for `map_err`.
    pub fn io(what: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { what, source }
    }
}
