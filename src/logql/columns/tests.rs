//! What comes out of columns is what comes out of lines.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;

use super::*;
use crate::logql::engine::{EngineOptions, Output, Query, QueryError, Stats, run};
use crate::logql::storage::{Direction, Entry, Fold, LineHint, Select, Storage};
use crate::model::Matcher;

/// A line in pieces: what its shape says, then what varies, in turn.
#[derive(Clone, Debug)]
struct Cut {
    kind: ShapeKind,
    literals: Vec<String>,
    variables: Vec<(VariableKind, String)>,
}

impl Cut {
    fn line(&self) -> String {
        let mut line = String::new();
        for (i, literal) in self.literals.iter().enumerate() {
            line.push_str(literal);
            line.push_str(self.variables.get(i).map_or("", |v| v.1.as_str()));
        }
        line
    }
}

#[derive(Clone, Debug)]
struct Row {
    stream: u64,
    time: i64,
    cut: Cut,
    metadata: Labels,
}

/// A store of rows in order of stream and time, which can hand them over both ways.
struct Rowed {
    streams: Vec<Labels>,
    rows: Vec<Row>,
    in_columns: bool,
}

fn matches(select: &Select, labels: &Labels) -> bool {
    select.matchers.iter().all(|m: &Matcher| m.matches(labels.value(m.name())))
}

fn satisfies(hint: &LineHint, line: &str) -> bool {
    match hint {
        LineHint::Contains(t) => line.contains(t),
        LineHint::NotContains(t) => !line.contains(t),
        LineHint::Regex(r) => r.is_match(line),
        LineHint::NotRegex(r) => !r.is_match(line),
        LineHint::AnyOf(any) => any.iter().any(|h| satisfies(h, line)),
    }
}

impl Storage for Rowed {
    fn scan(&self, select: &Select, each: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<(), StorageError> {
        for row in &self.rows {
            let labels = &self.streams[row.stream as usize];
            if !matches(select, labels) || row.time < select.start_ns || row.time >= select.end_ns {
                continue;
            }
            let line = row.cut.line();
            let entry = Entry { stream: row.stream, labels, timestamp: row.time, line: &line, metadata: &row.metadata };
            if each(entry).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn fold(&self, select: &Select, fold: &dyn Fold) -> Result<(), StorageError> {
        if !self.in_columns {
            let mut part = fold.part(0);
            self.scan(select, &mut |e| part.line(&e))?;
            part.finish();
            return Ok(());
        }
        // Two blocks, two parts.
        for (i, rows) in self.rows.chunks(self.rows.len().div_ceil(2).max(1)).enumerate() {
            let mut part = fold.part(i);
            if part.rows(&Block::new(self, rows, select))?.is_break() {
                break;
            }
            part.finish();
        }
        Ok(())
    }
}

struct Block<'a> {
    rows: &'a [Row],
    parts: Vec<StreamRows>,
    selected: Option<Vec<u32>>,
    times: Vec<i64>,
    shapes: Vec<ShapeRows>,
    sets: Vec<MetadataRows>,
}

/// Rows by a key, in order of the keys.
fn grouped<K: Ord>(rows: &[Row], key: impl Fn(&Row) -> K) -> Vec<(K, Rows)> {
    let mut groups: BTreeMap<K, Vec<u32>> = BTreeMap::new();
    for (i, row) in rows.iter().enumerate() {
        groups.entry(key(row)).or_default().push(i as u32);
    }
    let single = groups.len() == 1;
    groups.into_iter().map(|(k, list)| (k, if single { Rows::All } else { Rows::Some(list) })).collect()
}

impl<'a> Block<'a> {
    fn new(store: &'a Rowed, rows: &'a [Row], select: &Select) -> Self {
        let mut parts: Vec<StreamRows> = Vec::new();
        for (i, row) in (0u32..).zip(rows) {
            let labels = &store.streams[row.stream as usize];
            if !matches(select, labels) || row.time < select.start_ns || row.time >= select.end_ns {
                continue;
            }
            match parts.last_mut().filter(|p| p.stream == row.stream && p.rows.end == i) {
                Some(p) => p.rows.end = i + 1,
                None => parts.push(StreamRows { stream: row.stream, labels: labels.clone(), rows: i..i + 1 }),
            }
        }
        let selected = (!select.hints.is_empty()).then(|| {
            let all = parts.iter().flat_map(|p| p.rows.clone());
            all.filter(|r| select.hints.iter().all(|h| satisfies(h, &rows[*r as usize].cut.line()))).collect()
        });
        let shapes = grouped(rows, |r| {
            let kinds: Vec<u8> = r.cut.variables.iter().map(|v| v.0 as u8).collect();
            (r.cut.literals.clone(), kinds, r.cut.kind as u8)
        });
        let shapes = shapes.into_iter().enumerate().map(|(id, ((literals, ..), list))| {
            let first = match &list {
                Rows::All => 0,
                Rows::Some(l) => l[0] as usize,
            };
            let cut = &rows[first].cut;
            let variables = cut.variables.iter().map(|v| v.0).collect();
            ShapeRows { shape: Arc::new(Shape { id: id as u64, kind: cut.kind, variables, literals }), rows: list }
        });
        let sets = grouped(rows, |r| r.metadata.iter().map(|(n, _)| n.to_owned()).collect::<Vec<_>>());
        Block {
            rows,
            parts,
            selected,
            times: rows.iter().map(|r| r.time).collect(),
            shapes: shapes.collect(),
            sets: sets.into_iter().map(|(names, rows)| MetadataRows { names, rows }).collect(),
        }
    }

    fn of(&self, list: &Rows) -> Vec<&Row> {
        match list {
            Rows::All => self.rows.iter().collect(),
            Rows::Some(l) => l.iter().map(|i| &self.rows[*i as usize]).collect(),
        }
    }
}

/// The tightest form that the values fit, or by chance another.
fn column(values: Vec<String>) -> Column {
    if values.iter().all(|v| *v == values[0]) {
        return Column::Constant(values[0].clone());
    }
    let integers: Option<Vec<i64>> =
        values.iter().map(|v| v.parse().ok().filter(|n: &i64| n.to_string() == *v)).collect();
    if let Some(values) = integers {
        return Column::Integers { values, width: 0 };
    }
    if values.len().is_multiple_of(2) {
        return Column::Texts(Arc::new(values));
    }
    let mut distinct: Vec<String> = values.clone();
    distinct.sort();
    distinct.dedup();
    let codes = values.iter().map(|v| distinct.binary_search(v).unwrap() as u32).collect();
    Column::Dictionary { values: Arc::new(distinct), codes }
}

impl RowBlock for Block<'_> {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn parts(&self) -> &[StreamRows] {
        &self.parts
    }

    fn selected(&self) -> Result<Option<Vec<u32>>, StorageError> {
        Ok(self.selected.clone())
    }

    fn timestamps(&self) -> Result<&[TimestampNs], StorageError> {
        Ok(&self.times)
    }

    fn line_bytes(&self) -> Result<Vec<u32>, StorageError> {
        Ok(self.rows.iter().map(|r| r.cut.line().len() as u32).collect())
    }

    fn shapes(&self) -> Result<Vec<ShapeRows>, StorageError> {
        Ok(self.shapes.clone())
    }

    fn column(&self, shape: usize, variable: usize) -> Result<Column, StorageError> {
        let rows = self.of(&self.shapes[shape].rows);
        Ok(column(rows.iter().map(|r| r.cut.variables[variable].1.clone()).collect()))
    }

    fn metadata(&self) -> Result<Vec<MetadataRows>, StorageError> {
        Ok(self.sets.clone())
    }

    fn metadata_column(&self, set: usize, name: usize) -> Result<Column, StorageError> {
        let set = &self.sets[set];
        Ok(column(self.of(&set.rows).iter().map(|r| r.metadata.value(&set.names[name]).to_owned()).collect()))
    }

    fn line_into(&self, row: u32, line: &mut String) -> Result<(), StorageError> {
        line.push_str(&self.rows[row as usize].cut.line());
        Ok(())
    }

    fn metadata_of(&self, row: u32) -> Result<Labels, StorageError> {
        Ok(self.rows[row as usize].metadata.clone())
    }
}

/// Takes one of several.
fn pick<'t>(choices: &[&'t str], n: u8) -> &'t str {
    choices[usize::from(n) % choices.len()]
}

/// Cuts `template` at `$`, which stand for values of the kind.
fn cut(kind: ShapeKind, template: &str, variables: Vec<(VariableKind, &str)>) -> Cut {
    let literals: Vec<String> = template.split('$').map(str::to_owned).collect();
    assert_eq!(literals.len(), variables.len() + 1, "{template}");
    Cut { kind, literals, variables: variables.into_iter().map(|(k, v)| (k, v.to_owned())).collect() }
}

const STRINGS: [&str; 10] =
    ["x", "", "GET", r#"a\"b"#, r"tab\t", r"\u00e9", "1.5s", "5kB", "10.0.0.7", "a fairly long value of words"];
const NUMBERS: [&str; 8] = ["0", "200", "404", "503", "-7", "1.5", "2e3", "007"];
const BARE: [&str; 7] = ["x", "", "200", "503", "1m30s", "4MB", "10.0.0.9"];
const TOKENS: [&str; 6] = ["200", "503", "POST1", "5ms", "1GET", "x9x"];

/// A line from three numbers.
fn some_line((template, a, b): (u8, u8, u8)) -> Cut {
    use VariableKind::{JsonArray, JsonNumber, JsonString, LogfmtBare, LogfmtQuoted, Other, Token};
    let (s, t, n, bare) = (pick(&STRINGS, a), pick(&STRINGS, b), pick(&NUMBERS, b), pick(&BARE, a));
    match template % 16 {
        0 | 1 => cut(
            ShapeKind::Json,
            r#"{"level":"$","status":$,"path":"$"}"#,
            vec![(JsonString, s), (JsonNumber, n), (JsonString, t)],
        ),
        2 => cut(
            ShapeKind::Json,
            r#"{"app":"$","http":{"status":$,"odd-key":"$"},"list":$,"ok":true,"no":null}"#,
            vec![(JsonString, s), (JsonNumber, n), (JsonString, t), (JsonArray, "[1,{\"a\":2}]")],
        ),
        // The same key twice, and a key that sounds like another.
        3 => {
            cut(ShapeKind::Json, r#"{"status":"$","status":$,"a.b":1,"a_b":2}"#, vec![(JsonString, s), (JsonNumber, n)])
        }
        4 => cut(
            ShapeKind::Json,
            r#" {"status":$,"l\u0065vel":"$","took":"$"}"#,
            vec![(JsonNumber, n), (JsonString, s), (JsonString, t)],
        ),
        5 => cut(
            ShapeKind::Json,
            r#"{"trace":"$","level":"","env":"$","msg":"fixed"}"#,
            vec![(JsonString, s), (JsonString, t)],
        ),
        6 | 7 => cut(
            ShapeKind::Logfmt,
            "level=$ status=$ path=\"$\"",
            vec![(LogfmtBare, bare), (LogfmtBare, n), (LogfmtQuoted, t)],
        ),
        8 => cut(
            ShapeKind::Logfmt,
            "app=$ alone level= status=\"$\" level=second",
            vec![(LogfmtBare, bare), (LogfmtQuoted, s)],
        ),
        9 => cut(
            ShapeKind::Logfmt,
            "status=$ status=$ took=$ =bad a\"b",
            vec![(LogfmtBare, bare), (LogfmtBare, n), (LogfmtBare, "2s")],
        ),
        10 => cut(
            ShapeKind::Other,
            "$",
            vec![(Other, pick(&["plain words 200", "{\"level\":\"x\",\"status\":5", ""], a))],
        ),
        11 => cut(ShapeKind::Other, "GET /x?id=$ status $", vec![(Other, n), (Other, bare)]),
        // Something that calls itself JSON and is a text.
        12 => cut(ShapeKind::Other, r#"{"level":"$","status":$}"#, vec![(Other, s), (Other, n)]),
        13 => cut(
            ShapeKind::Other,
            "$.$ - \"GET /a/$?level=x\" $ took: POST $",
            vec![(Token, "10"), (Token, pick(&TOKENS, a)), (Token, "ü1"), (Token, pick(&TOKENS, b)), (Token, "5ms")],
        ),
        14 => cut(ShapeKind::Other, "$ - level=x \"$", vec![(Token, pick(&TOKENS, a)), (Token, pick(&TOKENS, b))]),
        _ => cut(ShapeKind::Json, "{}", vec![]),
    }
}

fn some_row((line, stream, time, meta): ((u8, u8, u8), u8, u8, u8)) -> Row {
    let metadata = match meta % 6 {
        0 => Labels::empty(),
        1 | 2 => Labels::from_pairs([("detected_level", pick(&["info", "error"], time))]),
        3 => Labels::from_pairs([("detected_level", "warn"), ("trace", pick(&["t1", "t2", "t3"], time))]),
        4 => Labels::from_pairs([("env", "meta"), ("level", "m")]),
        _ => Labels::from_pairs([("status", "9")]),
    };
    Row { stream: u64::from(stream % 3), time: i64::from(time) * 1_000_000_000, cut: some_line(line), metadata }
}

const STAGES: [&str; 39] = [
    "",
    "| pattern `<ip> - \"<level> <path>\" <status> <took>`",
    "| pattern `<ip> - \"<method> <_>\" <status> <_>`",
    "| pattern `<_>: POST <took>`",
    "| pattern `<status> - level=<level> \"<http_status>`",
    "| pattern `1<status> - <level>`",
    "| json",
    "| json",
    "| json",
    "| logfmt",
    "| logfmt",
    "| logfmt --strict",
    "| logfmt --keep-empty",
    r#"| json s="status", p="http.status", l="list", i="list[1].a", m="nope""#,
    r#"| logfmt s="status", x="nope""#,
    "| json | logfmt",
    "|= \"2\"",
    "!= \"x\" or \"404\"",
    "|~ \"stat.s\"",
    "|> \"<_>status<_>\"",
    "| status >= 200",
    "| status = 503",
    "| status != \"200\"",
    "| status_extracted > 5",
    "| level =~ \"x|GET|info|\"",
    "| level != \"\"",
    "| detected_level = \"info\" or status < 300",
    "| took > 1s",
    "| path = ip(\"10.0.0.0/8\")",
    "| __error__ = \"\"",
    "| __error__ != \"\"",
    "| drop level",
    "| drop __error__, __error_details__",
    "| drop level = \"x\"",
    "| keep status, app",
    "| keep status = \"200\"",
    "| label_format code=status",
    "| label_format code=\"{{.status}}\"",
    "| line_format \"{{.level}}\"",
];

const HEADS: [(&str, &str); 16] = [
    ("count_over_time(", " [30s])"),
    ("sum(count_over_time(", " [30s]))"),
    ("sum by (status) (count_over_time(", " [30s]))"),
    ("sum by (level, detected_level) (rate(", " [20s]))"),
    ("sum by (app, env, trace) (bytes_over_time(", " [30s]))"),
    ("sum by (__error__) (count_over_time(", " [30s]))"),
    ("sum without (level, env) (count_over_time(", " [30s]))"),
    ("bytes_rate(", " [1m])"),
    ("absent_over_time(", " [10s])"),
    ("sum by (level) (sum_over_time(", " | unwrap status [40s]))"),
    ("quantile_over_time(0.5, ", " | unwrap status [30s]) by (level)"),
    ("avg_over_time(", " | unwrap duration(took) | __error__=\"\" [30s]) by (app)"),
    ("max_over_time(", " | unwrap bytes(level) | status > 100 [30s]) without (path, trace)"),
    ("last_over_time(", " | unwrap status_extracted [30s])"),
    ("min_over_time(", " | unwrap status | __error__=\"\" [30s]) by ()"),
    ("rate(", " | unwrap http_status [30s])"),
];

fn ask(store: &Rowed, expr: &str) -> Result<(Output, Stats), QueryError> {
    let query = Query {
        expr: expr.to_owned(),
        start_ns: 10_000_000_000,
        end_ns: 260_000_000_000,
        step_ns: 20_000_000_000,
        limit: 0,
        direction: Direction::Backward,
        interval_ns: 0,
        explain: false,
    };
    run(store, &EngineOptions::default(), &query, &AtomicBool::new(false))
}

/// Both answers; equal, or both a failure of the same kind.
fn compare(rows: &[Row], expr: &str) -> Result<(Stats, bool), TestCaseError> {
    let streams = vec![
        Labels::from_pairs([("app", "a"), ("env", "prod")]),
        Labels::from_pairs([("app", "b")]),
        Labels::from_pairs([("app", "c"), ("level", "fixed"), ("status", "1")]),
    ];
    let mut rows = rows.to_vec();
    rows.sort_by_key(|r| (r.stream, r.time));
    // Of lines of one stream and time the first and the last are whichever comes first; one is enough.
    rows.dedup_by_key(|r| (r.stream, r.time));
    let mut store = Rowed { streams, rows, in_columns: false };
    let by_lines = ask(&store, expr);
    store.in_columns = true;
    let by_columns = ask(&store, expr);
    match (by_lines, by_columns) {
        (Ok((lines, _)), Ok((columns, stats))) => {
            prop_assert_eq!(format!("{lines:?}"), format!("{columns:?}"), "{}", expr);
            Ok((stats, true))
        }
        (Err(a), Err(b)) => {
            prop_assert_eq!(std::mem::discriminant(&a), std::mem::discriminant(&b), "{}: {} {}", expr, a, b);
            Ok((Stats::default(), false))
        }
        (a, b) => Err(TestCaseError::fail(format!("{expr}:\n{a:?}\n{b:?}"))),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn columns_give_what_lines_give(
        rows in prop::collection::vec((any::<(u8, u8, u8)>(), any::<u8>(), any::<u8>(), any::<u8>()), 0..40),
        only in any::<u8>(),
        head in 0..HEADS.len(),
        stages in prop::collection::vec(0..STAGES.len(), 0..4),
    ) {
        // Often lines of few kinds, as in life.
        let rows: Vec<Row> = rows
            .into_iter()
            .map(|(line, s, t, m)| some_row((if only % 3 == 0 { line } else { (only, line.1, line.2) }, s, t, m)))
            .collect();
        let stages: Vec<&str> = stages.iter().map(|i| STAGES[*i]).collect();
        let (before, after) = HEADS[head];
        compare(&rows, &format!("{before}{{app=~\".+\"}} {}{after}", stages.join(" ")))?;
    }
}

/// The queries that matter most are answered without lines.
#[test]
fn common_queries_read_no_line() {
    let rows: Vec<Row> = (0..100u8)
        .map(|i| {
            some_row((
                (
                    if i < 33 {
                        13
                    } else if i < 67 {
                        0
                    } else {
                        6
                    },
                    2 + i % 2 * 6,
                    1 + i % 3,
                ),
                1,
                i,
                1,
            ))
        })
        .collect();
    for (expr, most_lines) in [
        ("sum by (status) (count_over_time({app=\"b\"} | json | status >= 404 [1m]))", 66),
        ("sum by (level) (rate({app=\"b\"} | logfmt [1m]))", 67),
        ("sum by (level, detected_level) (count_over_time({app=\"b\"} | drop __error__ [1m]))", 0),
        ("sum(count_over_time({app=\"b\"} | json [1m]))", 0),
        ("sum by (app) (bytes_over_time({app=\"b\"} |= \"2\" != \"nothing\" [1m]))", 0),
        ("sum by (status) (count_over_time({app=\"b\"} | pattern `<_> - \"<m> <_>\" <status> <_>` [1m]))", 67),
    ] {
        let (stats, ok) = compare(&rows, expr).unwrap();
        assert!(ok && stats.lines <= most_lines && stats.rows + stats.lines > 0, "{expr}: {stats:?}");
    }
}

/// Every kind of line by itself under conditions that may fail, and conditions on the failure.
#[test]
fn errors_of_single_lines_are_the_same() {
    for query in [
        "count_over_time({app=~\".+\"} | json | status >= 200 | __error__ != \"\" [30s])",
        "count_over_time({app=~\".+\"} | logfmt | status >= 200 | __error__ = \"\" [30s])",
    ] {
        for n in 0..16 * 12 * 4 * 2u32 {
            let [kind, a, b, meta] = [n % 16, n / 16 % 12, n / 192 % 4, n / 768 * 3].map(|v| v as u8);
            compare(&[some_row(((kind, a, b), 0, 0, meta))], query).unwrap();
        }
    }
}
