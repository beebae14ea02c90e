//! The metrics store as PromQL sees it.

use std::sync::Arc;

use crate::model::{Column, LabelTable, Matcher, TimestampMs};
use crate::promql::engine::QueryError;
use crate::promql::storage::{Admit, SelectHints, SelectedSeries, Storage, StorageError};
use crate::tsdb::{Db, Selection};

/// See the module.
pub struct MetricStorage(pub Arc<Db>);

struct Selected {
    selection: Selection,
    /// Whether samples are read with their start timestamps.
    starts: bool,
}

fn failed(e: impl ToString) -> StorageError {
    StorageError { message: e.to_string() }
}

impl Storage for MetricStorage {
    fn select(
        &self,
        hints: &SelectHints,
        matchers: &[Matcher],
        admit: Admit<'_>,
    ) -> Result<Box<dyn SelectedSeries>, QueryError> {
        let mut refused = None;
        let mut ask = |bytes| admit(bytes).map_err(|e| refused = Some(e)).is_ok();
        let selection = self.0.select_within(matchers, hints.start, hints.end, &mut ask);
        match (selection.map_err(failed)?, refused) {
            (_, Some(e)) => Err(e),
            (selection, None) => {
                Ok(Box::new(Selected { selection: selection.unwrap_or_default(), starts: hints.starts }))
            }
        }
    }
}

impl SelectedSeries for Selected {
    fn labels(&self) -> &Arc<LabelTable> {
        self.selection.label_table()
    }

    fn size_bytes(&self) -> usize {
        self.selection.size_bytes()
    }

    fn read(&self, i: usize, mint: TimestampMs, maxt: TimestampMs, out: &mut Column) -> Result<(), StorageError> {
        let read = if self.starts { Selection::read_with_starts } else { Selection::read };
        read(&self.selection, i, mint, maxt, out).map_err(failed)
    }
}
