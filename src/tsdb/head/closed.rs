//! Chunks of the head that take no more samples.

use std::sync::Arc;

use super::chunk_files::FileChunk;
use crate::model::TimestampMs;
use crate::tsdb::chunk::{Chunk, View, is_histograms};
use crate::tsdb::error::Error;

/// A chunk that takes no more samples: in memory until the upkeep has packed it and put it into a file.
#[derive(Clone, Debug)]
pub(crate) enum Closed {
    Memory(Arc<Chunk>),
    File(FileChunk),
}

impl Closed {
    /// Time of its first sample.
    pub(crate) fn mint(&self) -> TimestampMs {
        match self {
            Closed::Memory(c) => c.mint,
            Closed::File(c) => c.mint,
        }
    }

    /// Time of its last sample.
    pub(crate) fn maxt(&self) -> TimestampMs {
        match self {
            Closed::Memory(c) => c.maxt,
            Closed::File(c) => c.mint.saturating_add(c.span.into()),
        }
    }

    /// Whether it holds histograms.
    pub(crate) fn is_histograms(&self) -> bool {
        match self {
            Closed::Memory(c) => is_histograms(&c.data),
            Closed::File(c) => c.histograms,
        }
    }

    /// How many samples it has.
    pub(crate) fn sample_count(&self) -> usize {
        match self {
            Closed::Memory(c) => View::parse(&c.data).map_or(0, |v| v.sample_count()),
            Closed::File(c) => c.samples.into(),
        }
    }

    /// The encoded chunk; `buffer` is memory for one that must be read.
    pub(crate) fn read<'a>(&'a self, buffer: &'a mut Vec<u8>) -> Result<&'a [u8], Error> {
        match self {
            Closed::Memory(c) => Ok(&c.data),
            Closed::File(c) => c.read(buffer),
        }
    }
}

impl From<Chunk> for Closed {
    fn from(c: Chunk) -> Self {
        Closed::Memory(Arc::new(c))
    }
}
