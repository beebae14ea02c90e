//! For tests of the protocols: a door to a log store, requests to it, and what the store holds then.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use super::{Intake, LogRequest};
use crate::config::logs::LogLimits;
use crate::logs::{Direction, Options, ScanRequest, Selection, Store};
use crate::model::Labels;

/// Of a store that does nothing by itself and keeps entries of any age.
pub(super) fn options() -> Options {
    Options { background: false, retention_ns: 0, ..Options::default() }
}

/// The door to a new store.
pub(super) fn intake(dir: &Path, options: Options, limits: &LogLimits) -> Intake {
    Intake::new(Arc::new(Store::open(dir, options).unwrap()), limits)
}

/// A request of the sender `a` without headers.
pub(super) fn request(body: &[u8]) -> LogRequest<'_> {
    LogRequest { sender: "a", content_type: None, content_encoding: None, body, max_body_bytes: 64 << 20 }
}

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
