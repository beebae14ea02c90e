//! What the engine asks of a store.

mod memory;

pub use memory::MemoryStorage;

use std::sync::Arc;

use crate::model::{Column, LabelTable, Matcher, TimestampMs};
use crate::promql::engine::QueryError;

/// Why a store could not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("reading from storage: {message}")]
pub struct StorageError {
    /// What happened.
    pub message: String,
}

/// What will be read, so that a store can leave out the rest.
#[derive(Clone, Debug, Default)]
pub struct SelectHints {
    /// The first time of interest, inclusive.
    pub start: TimestampMs,
    /// The last time of interest, inclusive.
    pub end: TimestampMs,
    /// The step of the query in milliseconds.
    pub step: i64,
    /// The function or aggregation around the selector, empty for none.
    pub func: &'static str,
    /// The range of a range selector in milliseconds, 0 for an instant selector.
    pub range: i64,
    /// Whether the samples' start timestamps are wanted.
    pub starts: bool,
}

/// Asked before memory is taken: by how many bytes a selection is about to grow. An error ends it.
pub type Admit<'a> = &'a mut dyn FnMut(u64) -> Result<(), QueryError>;

/// A store of series. The second implementation beside [`MemoryStorage`] is the one over the tsdb.
pub trait Storage: Send + Sync {
    /// The series that satisfy all matchers and may have samples in the hinted time, sorted by labels.
    fn select(
        &self,
        hints: &SelectHints,
        matchers: &[Matcher],
        admit: Admit<'_>,
    ) -> Result<Box<dyn SelectedSeries>, QueryError>;
}

/// The series found. It is read from several threads at once and holds what it needs.
pub trait SelectedSeries: Send + Sync {
    /// How many series were found.
    fn len(&self) -> usize {
        self.labels().len()
    }

    /// Whether none was found.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The labels of all series; row `i` is series `i`.
    fn labels(&self) -> &Arc<LabelTable>;

    /// Roughly the memory the selection holds by itself, in bytes.
    fn size_bytes(&self) -> usize;

    /// Appends the samples of series `i` in `[mint, maxt]` to `out`, staleness markers included.
    fn read(&self, i: usize, mint: TimestampMs, maxt: TimestampMs, out: &mut Column) -> Result<(), StorageError>;
}
