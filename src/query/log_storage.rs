//! The log store as LogQL sees it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use crate::exec::cpu_pool;
use crate::logql::storage::{
    Count, Counted, Direction, Entry, Fold, LineHint, Plan, Select, Storage, StorageError, StreamCount,
};
use crate::logs::detect::DETECTED_LEVEL;
use crate::logs::{self, CountRequest, LineFilter, Measure, ScanRequest, Selection, Snapshot, Store, StreamId};
use crate::model::Labels;

/// See the module.
pub struct LogStorage(pub Arc<Store>);

impl Storage for LogStorage {
    fn count(&self, count: &Count, go_on: &(dyn Fn() -> bool + Sync)) -> Result<Option<Counted>, StorageError> {
        let snapshot = self.0.snapshot();
        if !count.filters.is_empty() {
            return count_by_reading(&snapshot, count, go_on).map(Some);
        }
        let request = CountRequest {
            selection: Selection::Matchers(count.matchers.clone()),
            boundaries: count.boundaries.clone(),
            filters: Vec::new(),
            measure: if count.bytes { Measure::Bytes } else { Measure::Entries },
            by_level: count.by_level,
        };
        let rows = snapshot.count(&request).map_err(failed)?;
        let row = |r: logs::CountRow| StreamCount {
            labels: snapshot.labels(r.stream),
            level: r.level.map(Cow::Borrowed),
            counts: r.counts,
        };
        Ok(Some(Counted { rows: rows.into_iter().map(row).collect(), ..Counted::default() }))
    }

    fn scan(&self, select: &Select, each: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<(), StorageError> {
        let selection = Selection::Matchers(select.matchers.clone());
        read(&self.0.snapshot(), &request(select, selection), each)
    }

    fn fold(&self, select: &Select, fold: &dyn Fold) -> Result<(), StorageError> {
        let snapshot = self.0.snapshot();
        let streams: Vec<StreamId> =
            snapshot.streams(&select.matchers, select.start_ns, select.end_ns).into_iter().map(|s| s.0).collect();
        let parts = PARTS_PER_THREAD * cpu_pool::pool().current_num_threads();
        let parts: Vec<&[StreamId]> = streams.chunks(streams.len().div_ceil(parts).max(1)).collect();
        cpu_pool::pool().install(|| {
            parts.par_iter().enumerate().try_for_each(|(i, streams)| {
                let mut part = fold.part(i);
                let request = request(select, Selection::Streams(streams.to_vec()));
                read(&snapshot, &request, &mut |e| part.line(&e))?;
                part.finish();
                Ok(())
            })
        })
    }

    fn plan(&self, select: &Select) -> Result<Plan, StorageError> {
        let snapshot = self.0.snapshot();
        let streams = snapshot.streams(&select.matchers, select.start_ns, select.end_ns);
        let request = CountRequest {
            selection: Selection::Streams(streams.iter().map(|s| s.0).collect()),
            boundaries: vec![select.start_ns, select.end_ns.max(select.start_ns)],
            filters: Vec::new(),
            measure: Measure::Entries,
            by_level: false,
        };
        let rows = snapshot.count(&request).map_err(failed)?.iter().flat_map(|r| &r.counts).sum();
        Ok(Plan { streams: streams.len() as u64, rows, rows_to_read: rows, ..Plan::default() })
    }
}

/// Parts for each thread: so many that none waits long for another, so few that putting them together costs nothing.
const PARTS_PER_THREAD: usize = 4;

fn request(select: &Select, selection: Selection) -> ScanRequest {
    ScanRequest {
        selection,
        start_ns: select.start_ns,
        end_ns: select.end_ns,
        direction: match select.direction {
            Direction::Backward => logs::Direction::Backward,
            Direction::Forward => logs::Direction::Forward,
        },
        filters: line_filters(&select.hints),
        limit: None,
    }
}

fn read(
    snapshot: &Snapshot,
    request: &ScanRequest,
    each: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
) -> Result<(), StorageError> {
    let mut labels: HashMap<StreamId, Labels> = HashMap::new();
    snapshot
        .scan(request, &mut |e| {
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
        .map_err(failed)
}

fn failed(e: logs::Error) -> StorageError {
    StorageError(e.to_string())
}

fn line_filters(hints: &[LineHint]) -> Vec<LineFilter> {
    let filter = |h: &LineHint| match h {
        LineHint::Contains(t) => LineFilter::Contains(t.clone()),
        LineHint::NotContains(t) => LineFilter::NotContains(t.clone()),
        LineHint::Regex(r) => LineFilter::Regex(r.clone()),
        LineHint::NotRegex(r) => LineFilter::NotRegex(r.clone()),
        LineHint::AnyOf(any) => LineFilter::AnyOf(line_filters(any)),
    };
    hints.iter().map(filter).collect()
}

/// The counts of one stream by level.
type Levels = Vec<(String, Vec<u64>)>;

/// Reads the lines, several streams at once.
fn count_by_reading(
    snapshot: &Snapshot,
    count: &Count,
    go_on: &(dyn Fn() -> bool + Sync),
) -> Result<Counted, StorageError> {
    /// How many lines are counted between two looks at the clock.
    const CHECK_EVERY: u64 = 4096;
    let (Some(start), Some(end)) = (count.boundaries.first(), count.boundaries.last()) else {
        return Ok(Counted::default());
    };
    let request = ScanRequest {
        selection: Selection::Matchers(count.matchers.clone()),
        start_ns: *start,
        end_ns: *end,
        direction: logs::Direction::Forward,
        filters: line_filters(&count.filters),
        limit: None,
    };
    let buckets = count.boundaries.len().saturating_sub(1);
    let streams: Mutex<HashMap<StreamId, Levels>> = Mutex::new(HashMap::new());
    let seen = AtomicU64::new(0);
    let stats = snapshot
        .scan_streams(&request, &|e| {
            if seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(CHECK_EVERY) && !go_on() {
                return ControlFlow::Break(());
            }
            let level = if count.by_level { e.metadata.value(DETECTED_LEVEL) } else { "" };
            let n = if count.bytes { e.line.len() as u64 } else { 1 };
            let after = count.boundaries.partition_point(|b| *b <= e.timestamp);
            let mut streams = streams.lock().unwrap_or_else(PoisonError::into_inner);
            let levels = streams.entry(e.stream).or_default();
            let at = levels.iter().position(|(l, _)| l == level).unwrap_or_else(|| {
                levels.push((level.to_owned(), vec![0; buckets]));
                levels.len() - 1
            });
            let counts = levels.get_mut(at).map(|(_, c)| c);
            if let Some(bucket) = counts.zip(after.checked_sub(1)).and_then(|(c, i)| c.get_mut(i)) {
                *bucket += n;
            }
            ControlFlow::Continue(())
        })
        .map_err(failed)?;
    let streams = streams.into_inner().unwrap_or_else(PoisonError::into_inner);
    let rows = streams.into_iter().flat_map(|(id, levels)| {
        let labels = snapshot.labels(id);
        // Entries without a level are left to those who read.
        levels.into_iter().map(move |(level, counts)| StreamCount {
            labels: labels.clone(),
            level: (!level.is_empty()).then_some(Cow::Owned(level)),
            counts,
        })
    });
    Ok(Counted { rows: rows.collect(), lines_read: stats.lines_read, bytes_read: stats.bytes_read })
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
            "sum by (app, detected_level) (rate({app=~\".+\"} |= \"error\" |~ \"h.re\" [1m]))",
            "sum by (app, env) (rate({app=~\"a|b\"} |~ \"(?i)ERR\" [1m]))",
            "sum by (app) (count_over_time({app=~\".+\"} != \"error\" [1m]))",
        ] {
            let query = Query {
                expr: expr.to_owned(),
                start_ns: START,
                end_ns: START + 600 * SECOND,
                step_ns: 60 * SECOND,
                limit: 0,
                direction: Direction::Backward,
                interval_ns: 0,
                explain: false,
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
