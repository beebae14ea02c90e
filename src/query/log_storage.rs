//! The log store as LogQL sees it.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::logql::storage::{Count, Direction, Entry, LineHint, Select, Storage, StorageError, StreamCount};
use crate::logs::{self, CountRequest, LineFilter, Measure, ScanRequest, Selection, Store, StreamId};
use crate::model::Labels;

/// See the module.
pub struct LogStorage(pub Arc<Store>);

impl Storage for LogStorage {
    fn count(&self, count: &Count) -> Result<Option<Vec<StreamCount>>, StorageError> {
        let snapshot = self.0.snapshot();
        let request = CountRequest {
            selection: Selection::Matchers(count.matchers.clone()),
            boundaries: count.boundaries.clone(),
            filters: Vec::new(),
            measure: if count.bytes { Measure::Bytes } else { Measure::Entries },
            by_level: count.by_level,
        };
        let rows = snapshot.count(&request).map_err(|e| StorageError(e.to_string()))?;
        let row =
            |r: logs::CountRow| StreamCount { labels: snapshot.labels(r.stream), level: r.level, counts: r.counts };
        Ok(Some(rows.into_iter().map(row).collect()))
    }

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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::logql::engine::{EngineOptions, Output, Query, run};
    use crate::logs::Options;
    use crate::model::{LogEntry, LogStream};

    /// The same store without its short way.
    struct Scanning<'a>(&'a LogStorage);

    impl Storage for Scanning<'_> {
        fn scan(
            &self,
            select: &Select,
            each: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
        ) -> Result<(), StorageError> {
            self.0.scan(select, each)
        }
    }

    const SECOND: i64 = 1_000_000_000;
    const START: i64 = 1_768_471_200 * SECOND;

    fn push(store: &Store, labels: &[(&str, &str)], from: i64, metadata: &[(&str, &str)]) {
        let entries = (0..40)
            .map(|i| LogEntry {
                // Some exactly on full minutes, some twice.
                timestamp: START + (from + i / 2 * 20) * SECOND,
                line: ["", "error here", "an info line", "level=warn x"]
                    .iter()
                    .cycle()
                    .nth(i as usize / 2 % 4)
                    .map(|l| (*l).to_owned())
                    .unwrap_or_default(),
                metadata: Labels::from_pairs(metadata.iter().copied()),
            })
            .collect();
        store.push(vec![LogStream { labels: Labels::from_pairs(labels.iter().copied()), entries }]).unwrap();
    }

    #[test]
    fn counting_gives_what_scanning_gives() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { background: false, retention_ns: 0, ..Options::default() };
        let store = Arc::new(Store::open(dir.path(), options).unwrap());
        push(&store, &[("app", "a"), ("env", "x")], 0, &[]);
        push(&store, &[("app", "b"), ("env", "y")], 7, &[("trace", "1"), ("env", "shadow")]);
        store.flush().unwrap();
        push(&store, &[("app", "a"), ("env", "x")], 100, &[("trace", "2")]);
        push(&store, &[("app", "c")], 60, &[("env", "from metadata"), ("detected_level", "odd")]);
        let storage = LogStorage(store);
        let mut short = 0;
        for expr in [
            "sum(count_over_time({app=~\".+\"}[1m]))",
            "sum by (app) (count_over_time({app=~\".+\"}[45s]))",
            "sum by (app) (rate({app=~\".+\"} | drop __error__ [2m] offset 30s))",
            "sum by (app) (bytes_over_time({app=~\".+\"} |= \"\" [1m]))",
            "sum(bytes_rate({app=~\".+\"}[10s]))",
            "sum by (app, env) (count_over_time({app=~\"a|b\"}[1m]))",
            "sum by (app, env) (count_over_time({app=~\".+\"}[1m]))",
            "sum by (app, detected_level) (count_over_time({app=~\"a|b\"}[1m]))",
            "sum by (app, detected_level) (count_over_time({app=~\".+\"}[1m]))",
            "sum by (trace) (count_over_time({app=~\".+\"}[1m]))",
            "sum by (app) (count_over_time({app=~\".+\"} | drop app [1m]))",
            "sum without (app) (count_over_time({app=~\".+\"}[1m]))",
            "count_over_time({app=~\".+\"}[1m])",
            "max(count_over_time({app=~\".+\"}[1m]))",
            "sum(count_over_time({app=~\".+\"} |= \"error\" [1m]))",
        ] {
            let query = Query {
                expr: expr.to_owned(),
                start_ns: START,
                end_ns: START + 600 * SECOND,
                step_ns: 60 * SECOND,
                limit: 0,
                direction: Direction::Backward,
                interval_ns: 0,
            };
            let ask = |storage: &dyn Storage| {
                run(storage, &EngineOptions::default(), &query, &AtomicBool::new(false)).unwrap()
            };
            let ((counted, stats), (scanned, _)) = (ask(&storage), ask(&Scanning(&storage)));
            assert!(matches!(&scanned, Output::Matrix(m) if !m.is_empty()), "{expr}");
            assert_eq!(counted, scanned, "{expr}");
            short += usize::from(stats.lines == 0);
        }
        assert_eq!(short, 7, "queries that were answered without reading");
    }
}
