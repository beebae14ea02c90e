//! For tests of the protocols: what the log store holds.

use std::ops::ControlFlow;

use crate::logs::{Direction, ScanRequest, Selection, Store};
use crate::model::Labels;

/// All entries, oldest first: time, line, labels of the stream, structured metadata.
pub(super) fn entries(store: &Store) -> Vec<(i64, String, Labels, Labels)> {
    let request = ScanRequest {
        selection: Selection::Matchers(vec![]),
        start_ns: 0,
        end_ns: i64::MAX,
        direction: Direction::Forward,
        filters: vec![],
        labels: vec![],
        limit: None,
    };
    let snapshot = store.snapshot();
    let mut found = Vec::new();
    snapshot
        .scan(&request, &mut |e| {
            found.push((e.timestamp, e.line.to_owned(), snapshot.labels(e.stream), e.metadata.clone()));
            ControlFlow::Continue(())
        })
        .unwrap();
    found
}

/// Their lines.
pub(super) fn lines(store: &Store) -> Vec<String> {
    entries(store).into_iter().map(|e| e.1).collect()
}
