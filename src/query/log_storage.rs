//! The log store as LogQL sees it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use rayon::prelude::*;

use crate::exec::cpu_pool;
use crate::logql::columns::StreamRows;
use crate::logql::storage::{
    Count, Direction, Entry, Fold, FoldPart, LabelHint, LineHint, Plan, PlanTerm, Select, Storage, StorageError,
    StoredPattern, StreamCount,
};
use crate::logs::pieces::{GroupPiece, Part, Piece};
use crate::logs::{
    self, CountRequest, LabelCondition, LineFilter, Measure, PatternRequest, ScanRequest, ScannedEntry, Selection,
    Snapshot, Store, StreamId,
};
use crate::model::Labels;
use crate::query::log_rows::{GroupRows, Shapes};

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
        let row = |r: logs::CountRow| StreamCount {
            labels: snapshot.labels(r.stream),
            level: r.level.map(Cow::Borrowed),
            counts: r.counts,
        };
        Ok(Some(snapshot.count(&request).map_err(failed)?.into_iter().map(row).collect()))
    }

    fn scan(&self, select: &Select, each: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<(), StorageError> {
        let snapshot = self.0.snapshot();
        let mut labels: HashMap<StreamId, Labels> = HashMap::new();
        snapshot
            .scan(&request(select), &mut |e| {
                let labels = labels.entry(e.stream).or_insert_with(|| snapshot.labels(e.stream));
                each(entry(&e, labels))
            })
            .map(|_| ())
            .map_err(failed)
    }

    fn fold(&self, select: &Select, fold: &dyn Fold) -> Result<(), StorageError> {
        fold_of(&self.0.snapshot(), select, fold)
    }

    fn patterns(&self, select: &Select, step_ns: i64, fold: &dyn Fold) -> Result<Vec<StoredPattern>, StorageError> {
        let request = PatternRequest {
            selection: Selection::Matchers(select.matchers.clone()),
            start_ns: select.start_ns,
            end_ns: select.end_ns,
            step_ns,
        };
        let (found, rest) = self.0.snapshot().patterns(&request);
        fold_of(&rest, select, fold)?;
        let stored = |p: logs::FoundPattern| StoredPattern { level: p.level, line: p.line, samples: p.samples };
        Ok(found.into_iter().map(stored).collect())
    }

    fn plan(&self, select: &Select) -> Result<Plan, StorageError> {
        let snapshot = self.0.snapshot();
        let pieces = snapshot.pieces(&request(select)).map_err(failed)?;
        let facts = pieces.facts();
        Ok(Plan {
            partitions: facts.partitions as u64,
            streams: facts.streams as u64,
            segments: facts.segments as u64,
            blocks: facts.groups as u64,
            blocks_ruled_out: facts.groups_ruled_out as u64,
            rows: facts.rows,
            rows_to_read: facts.rows_to_read,
            rows_line_by_line: facts.rows_line_by_line,
            terms: facts.terms.iter().map(|(text, blocks)| PlanTerm { text: text.clone(), blocks: *blocks }).collect(),
        })
    }
}

/// Gives what is selected of a snapshot in parts that are worked on side by side.
fn fold_of(snapshot: &Snapshot, select: &Select, fold: &dyn Fold) -> Result<(), StorageError> {
    let pieces = snapshot.pieces(&request(select)).map_err(failed)?;
    let reading = Reading {
        snapshot,
        filtered: !(select.hints.is_empty() && select.labels.is_empty()),
        shapes: Shapes::default(),
    };
    let mut list: Vec<&Piece<'_>> = pieces.list().iter().collect();
    // In order of time, so that parts are the same each time.
    list.sort_by_key(|p| (p.first(), p.last(), p.rows()));
    let parts = parts_of(&list);
    cpu_pool::pool().install(|| {
        parts.par_iter().enumerate().try_for_each(|(i, pieces)| {
            let mut part = fold.part(i);
            for piece in *pieces {
                if reading.give(piece, part.as_mut())?.is_break() {
                    break;
                }
            }
            part.finish();
            Ok(())
        })
    })
}

/// Parts for each thread: so many that none waits long for another, so few that putting them together costs nothing.
const PARTS_PER_THREAD: usize = 4;

/// Pieces in order, in parts of about the same number of rows.
fn parts_of<'p, 's>(pieces: &'p [&'p Piece<'s>]) -> Vec<&'p [&'p Piece<'s>]> {
    let rows: usize = pieces.iter().map(|p| p.rows()).sum();
    let wanted = rows.div_ceil(PARTS_PER_THREAD * cpu_pool::pool().current_num_threads()).max(1);
    let mut parts = Vec::new();
    let (mut from, mut collected) = (0, 0);
    for (i, piece) in pieces.iter().enumerate() {
        collected += piece.rows();
        if collected >= wanted || i + 1 == pieces.len() {
            parts.extend(pieces.get(from..=i));
            (from, collected) = (i + 1, 0);
        }
    }
    parts
}

/// What is shared by the threads of a reading.
struct Reading<'s> {
    snapshot: &'s Snapshot,
    filtered: bool,
    shapes: Shapes,
}

impl Reading<'_> {
    /// Gives a piece to a part. What is damaged is told and left out.
    fn give(&self, piece: &Piece<'_>, part: &mut dyn FoldPart) -> Result<ControlFlow<()>, StorageError> {
        match piece {
            Piece::Lines(lines) => {
                let labels = self.snapshot.labels(lines.stream());
                let mut flow = ControlFlow::Continue(());
                let scanned = lines.scan(&mut |e| {
                    flow = part.line(&entry(&e, &labels));
                    flow
                });
                scanned.map_err(failed)?;
                Ok(flow)
            }
            Piece::Group(group) => {
                let rows = match self.open(group) {
                    Ok(rows) => rows,
                    Err(e) => return left_out(e),
                };
                match part.rows(&rows) {
                    Ok(flow) => Ok(flow),
                    Err(e) => rows.failure().map_or(Err(e), left_out),
                }
            }
        }
    }

    fn open(&self, piece: &GroupPiece) -> Result<GroupRows<'_>, logs::Error> {
        let group = piece.open()?;
        let part = |p: &Part| StreamRows {
            stream: u64::from(p.stream.0),
            labels: self.snapshot.labels(p.stream),
            rows: p.rows.clone(),
        };
        let parts = piece.parts().iter().map(part).collect();
        let selected = if self.filtered { Some(piece.select(&group)?) } else { None };
        GroupRows::new(group, parts, selected, &self.shapes)
    }
}

fn left_out(e: logs::Error) -> Result<ControlFlow<()>, StorageError> {
    logs::damage::leave_out(e).map_err(failed)?;
    Ok(ControlFlow::Continue(()))
}

fn request(select: &Select) -> ScanRequest {
    ScanRequest {
        selection: Selection::Matchers(select.matchers.clone()),
        start_ns: select.start_ns,
        end_ns: select.end_ns,
        direction: match select.direction {
            Direction::Backward => logs::Direction::Backward,
            Direction::Forward => logs::Direction::Forward,
        },
        filters: line_filters(&select.hints),
        labels: label_conditions(&select.labels),
        limit: None,
    }
}

fn entry<'e>(e: &ScannedEntry<'e>, labels: &'e Labels) -> Entry<'e> {
    Entry { stream: u64::from(e.stream.0), labels, timestamp: e.timestamp, line: e.line, metadata: e.metadata }
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

fn label_conditions(hints: &[LabelHint]) -> Vec<LabelCondition> {
    let condition = |h: &LabelHint| match h {
        LabelHint::Matches(m) => LabelCondition::Matches(m.clone()),
        LabelHint::AllOf(all) => LabelCondition::AllOf(label_conditions(all)),
        LabelHint::AnyOf(any) => LabelCondition::AnyOf(label_conditions(any)),
    };
    hints.iter().map(condition).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::logql::engine::{EngineOptions, Output, Query, run};
    use crate::logs::Options;
    use crate::model::{LogEntry, LogStream};

    /// The same store without its short ways.
    struct Scanning<'a>(&'a LogStorage);

    impl Storage for Scanning<'_> {
        fn scan(
            &self,
            select: &Select,
            each: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
        ) -> Result<(), StorageError> {
            self.0.scan(&Select { hints: Vec::new(), labels: Vec::new(), ..select.clone() }, each)
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
            "sum by (app) (count_over_time({app=~\".+\"} |> \"<_> here\" [1m]))",
            "sum by (app) (count_over_time({app=~\".+\"} |> \"an <_> line\" or \"level=<_>\" [1m]))",
            "sum by (app) (count_over_time({app=~\".+\"} | env=\"x\" [1m]))",
            "sum by (app) (count_over_time({app=~\".+\"} | env_extracted=\"shadow\" |= \"e\" [1m]))",
            "sum by (app, env) (bytes_over_time({app=~\".+\"} | env=~\"from metadata|y\" [1m]))",
            "sum by (app) (rate({app=~\".+\"} | trace=\"2\" or env=\"y\" and detected_level=\"error\" [1m]))",
            "sum by (app) (rate({app=~\".+\"} | detected_level=~\"odd|err.*\" | trace!=\"2\" [1m]))",
            "sum by (app) (count_over_time({app=~\".+\"} | logfmt | level=\"warn\" [1m]))",
            "sum by (app) (count_over_time({app=~\".+\"} | label_format trace=\"9\" | trace=\"9\" [1m]))",
            "sum by (app) (count_over_time({app=~\".+\"} | regexp \"(?P<trace>h.re)\" | trace=~\"here|1\" [1m]))",
            "sum by (app) (count_over_time({app=~\".+\"} | drop trace | trace=\"\" | app=\"b\" [1m]))",
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
        assert!(short >= 7, "queries that were answered without reading: {short}");
    }

    #[test]
    fn lines_found_by_their_metadata_are_those_that_reading_finds() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { background: false, retention_ns: 0, ..Options::default() };
        let store = Arc::new(Store::open(dir.path(), options).unwrap());
        push(&store, &[("app", "a"), ("env", "x")], 0, &[("trace", "1")]);
        push(&store, &[("app", "b")], 7, &[("trace", "2"), ("env", "x")]);
        store.flush().unwrap();
        push(&store, &[("app", "a"), ("env", "x")], 100, &[("trace", "2"), ("env", "y")]);
        let storage = LogStorage(store);
        for (stages, lines) in [
            ("| trace=\"1\"", 20),
            ("| trace=\"2\"", 40),
            ("| trace=~\"2|3\" | app=\"b\"", 20),
            ("| env=\"x\"", 60),
            ("| env_extracted=\"y\" or trace=\"1\"", 40),
            ("| trace=\"3\"", 0),
            ("| trace=\"1\" | drop trace | trace=\"1\"", 0),
            ("| detected_level=\"warn\" | trace=\"2\"", 10),
            ("| logfmt | trace=\"2\" | level=\"warn\"", 10),
            ("| label_format trace=app | trace=\"b\"", 20),
        ] {
            let query = Query {
                expr: format!("{{app=~\".+\"}} {stages}"),
                start_ns: START,
                end_ns: START + 600 * SECOND,
                step_ns: 0,
                limit: 1000,
                direction: Direction::Forward,
                interval_ns: 0,
                explain: true,
            };
            let ask = |storage: &dyn Storage| {
                run(storage, &EngineOptions::default(), &query, &AtomicBool::new(false)).unwrap()
            };
            let ((short, stats), (scanned, _)) = (ask(&storage), ask(&Scanning(&storage)));
            assert_eq!(short, scanned, "{stages}");
            assert!(matches!(&short, Output::Lines(l) if l.len() == lines), "{stages}: {short:?}");
            let (_, plan) = &stats.plans[0];
            if stages == "| trace=\"1\"" {
                let asked = [PlanTerm { text: "trace=1".to_owned(), blocks: Some(1) }];
                assert_eq!((plan.blocks, plan.blocks_ruled_out, plan.terms.as_slice()), (1, 0, &asked[..]));
                assert!(stats.lines <= 40, "{stats:?}");
            }
        }
    }

    #[test]
    fn kept_patterns_are_those_of_the_lines() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { background: false, retention_ns: 0, ..Options::default() };
        let store = Arc::new(Store::open(dir.path(), options).unwrap());
        let push = |app: &str, from: i64| {
            let line = |i: i64| match i % 4 {
                0 => format!(r#"{{"level":"info","n":{i},"msg":"took {i}ms for user u{}"}}"#, i % 7),
                1 => format!("level=warn n={i} msg=\"disk {i} is full\" host=a"),
                2 => format!("10.0.0.{i} GET /path/{i} done"),
                _ => "plain words only".to_owned(),
            };
            let entries = (from..from + 200)
                .map(|i| LogEntry { timestamp: START + i * SECOND, line: line(i), metadata: Labels::empty() })
                .collect();
            store.push(vec![LogStream { labels: Labels::from_pairs([("app", app)]), entries }]).unwrap();
        };
        push("a", 0);
        push("b", 100);
        store.flush().unwrap();
        push("a", 200);
        let storage = LogStorage(store);
        for selector in ["{app=\"a\"}", "{app=~\".+\"}"] {
            let query = Query {
                expr: selector.to_owned(),
                start_ns: START,
                end_ns: START + 600 * SECOND,
                step_ns: 60 * SECOND,
                limit: 0,
                direction: Direction::Forward,
                interval_ns: 0,
                explain: false,
            };
            let ask = |storage: &dyn Storage| {
                let no = AtomicBool::new(false);
                let (found, _) =
                    crate::logql::engine::patterns(storage, &EngineOptions::default(), &query, &no).unwrap();
                found.into_iter().map(|(level, p)| (level, p.text(), p.samples)).collect::<Vec<_>>()
            };
            let (kept, mined) = (ask(&storage), ask(&Scanning(&storage)));
            assert_eq!(kept, mined, "{selector}");
            let texts: Vec<&str> = kept.iter().map(|(_, t, _)| t.as_str()).collect();
            assert_eq!(kept.len(), 4, "{texts:?}");
            assert!(texts.contains(&r#"{"level":"info","n":<_>,"msg":"took <_> for user <_>"}"#), "{texts:?}");
            let filtered = Query { expr: format!("{selector} |= \"disk\""), ..query.clone() };
            let no = AtomicBool::new(false);
            let (found, _) =
                crate::logql::engine::patterns(&storage, &EngineOptions::default(), &filtered, &no).unwrap();
            let lines: u64 = found.iter().map(|(_, p)| p.lines()).sum();
            assert_eq!((found.len(), lines), (1, if selector.contains('~') { 150 } else { 100 }));
        }
    }

    #[test]
    fn variants_are_told_by_their_label() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { background: false, retention_ns: 0, ..Options::default() };
        let store = Arc::new(Store::open(dir.path(), options).unwrap());
        push(&store, &[("app", "a")], 0, &[]);
        push(&store, &[("app", "b")], 0, &[]);
        let storage = LogStorage(store);
        let ask = |expr: &str| {
            let query = Query {
                expr: expr.to_owned(),
                start_ns: START,
                end_ns: START + 600 * SECOND,
                step_ns: 0,
                limit: 0,
                direction: Direction::Backward,
                interval_ns: 0,
                explain: false,
            };
            match run(&storage, &EngineOptions::default(), &query, &AtomicBool::new(false)).unwrap().0 {
                Output::Vector(series) => {
                    series.into_iter().map(|s| (s.labels.to_string(), s.points[0].1)).collect::<Vec<_>>()
                }
                other => panic!("{expr}: {other:?}"),
            }
        };
        let by_itself = |expr: &str, variant: usize| {
            let (labels, value) = ask(expr).remove(0);
            let sign = if labels == "{}" { "" } else { ", " };
            (format!("{{__variant__=\"{variant}\"{sign}{}", labels.trim_start_matches('{')), value)
        };
        let found = ask("variants(sum by (app) (count_over_time({app=\"a\"} |= \"error\" [10m])), \
             sum(bytes_over_time({app=~\".+\"}[10m])) * 2) of ({app=\"a\"} != \"info\" [10m])");
        let wanted = [
            by_itself("sum by (app) (count_over_time({app=\"a\"} != \"info\" |= \"error\" [10m]))", 0),
            by_itself("sum(bytes_over_time({app=\"a\"} != \"info\" [10m])) * 2", 1),
        ];
        assert_eq!(found, wanted);
        assert!(found.iter().all(|(_, value)| *value > 0.0));
    }
}
