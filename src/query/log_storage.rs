//! The log store as LogQL sees it.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::logql::storage::{Direction, Entry, LineHint, Select, Storage, StorageError};
use crate::logs::{self, LineFilter, ScanRequest, Selection, Store, StreamId};
use crate::model::Labels;

/// See the module.
pub struct LogStorage(pub Arc<Store>);

impl Storage for LogStorage {
    fn scan(&self, select: &Select, each: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<(), StorageError> {
        let request = ScanRequest {
            selection: Selection::Matchers(select.matchers.clone()),
            start_ns: select.start_ns,
            end_ns: select.end_ns,
            direction: match select.direction {
                Direction::Backward => logs::Direction::Backward,
                Direction::Forward => logs::Direction::Forward,
            },
            filters: select
                .hints
                .iter()
                .map(|h| match h {
                    LineHint::Contains(t) => LineFilter::Contains(t.clone()),
                    LineHint::Regex(r) => LineFilter::Regex(r.clone()),
                })
                .collect(),
            limit: None,
        };
        let snapshot = self.0.snapshot();
        let mut labels: HashMap<StreamId, Labels> = HashMap::new();
        snapshot
            .scan(&request, &mut |e| {
                let labels = labels.entry(e.stream).or_insert_with(|| snapshot.labels(e.stream));
                each(Entry {
                    stream: u64::from(e.stream.0),
                    labels,
                    timestamp: e.timestamp,
                    line: e.line,
                    metadata: e.metadata,
                })
            })
            .map(|_| ())
            .map_err(|e| StorageError(e.to_string()))
    }
}
