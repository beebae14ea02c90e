//! Row groups as a whole: what is written comes back, and what is selected is what a look at each line selects.

use proptest::prelude::*;
use tantivy::directory::OwnedBytes;

use super::group_writer::{GroupEntry, GroupWriter};
use super::select;
use super::*;
use crate::logs::LineFilter;
use crate::logs::detect;
use crate::logs::filter::CompiledFilters;
use crate::logs::index::BlockTokens;
use crate::logs::stream_index::StreamId;
use crate::model::Labels;
use crate::text::go_regex::GoRegex;

#[derive(Clone, Debug, PartialEq)]
struct Row {
    ordinal: u32,
    timestamp: i64,
    level: u8,
    line: String,
    metadata: Labels,
}

fn written(rows: &[Row]) -> (Vec<u8>, GroupEntry) {
    let mut writer = GroupWriter::default();
    for r in rows {
        writer.add(r.ordinal, r.timestamp, r.level, &r.line, &r.metadata);
    }
    let mut bytes = Vec::new();
    let entry = writer.finish(&mut bytes, &mut BlockTokens::default());
    (bytes, entry)
}

fn opened(bytes: &[u8], entry: &GroupEntry) -> Result<RowGroup, crate::logs::Error> {
    let streams: Vec<StreamId> = (0..10).map(StreamId).collect();
    RowGroup::open(OwnedBytes::new(bytes.to_vec()), entry, &streams, "a test")
}

fn read(group: &RowGroup) -> Result<Vec<Row>, crate::logs::Error> {
    let mut rows = Vec::new();
    for run in group.streams() {
        for row in run.rows.clone() {
            let mut line = String::new();
            group.line_into(row, &mut line)?;
            assert_eq!(group.line_bytes()?.get(row) as usize, line.len());
            rows.push(Row {
                ordinal: run.stream.0,
                timestamp: group.timestamps()?[row as usize],
                level: group.levels()?.get(row),
                line,
                metadata: group.metadata_of(row)?,
            });
        }
    }
    Ok(rows)
}

/// Lines of one of some templates, filled from small and large pools.
fn line() -> impl Strategy<Value = String> {
    let ip = (0..4u8, 0..255u8).prop_map(|(a, b)| format!("10.0.{a}.{b}"));
    prop_oneof![
        (ip.clone(), 0..99u32, 200..204u32)
            .prop_map(|(ip, q, s)| format!("{ip} - - \"GET /a?q={q} HTTP/1.1\" {s} 0{q}")),
        (any::<u128>(), ip, 0..5u32, prop::sample::select(vec!["a b", "", "x\\\"y", "ünï 7"])).prop_map(
            |(id, ip, n, msg)| format!(
                "{{\"id\":\"{id:032x}\",\"ip\":\"{ip}\",\"n\":{n},\"msg\":\"{msg}\",\"l\":[{n}]}}"
            )
        ),
        (0..9u32, any::<i64>()).prop_map(|(a, b)| format!("level=info a={a} msg=\"took {a}ms for user{b}\" b={b}")),
        (any::<f32>(), 0..9u32).prop_map(|(f, w)| format!("value {f} {}", "w".repeat(w as usize))),
        ".{0,30}",
        "[ -~\n]{0,20}",
    ]
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let metadata = prop::sample::select(vec![
        Labels::empty(),
        Labels::from_pairs([("trace_id", "abc"), ("user", "ü")]),
        Labels::from_pairs([("trace_id", "def")]),
    ]);
    let row = (0..3u32, -50..50i64, 0..9u8, line(), metadata);
    prop::collection::vec(row, 1..120).prop_map(|rows| {
        let mut rows: Vec<Row> = rows
            .into_iter()
            .map(|(ordinal, timestamp, level, line, metadata)| {
                let metadata = if level == detect::NO_LEVEL { metadata } else { detect::with_level(&metadata, level) };
                Row { ordinal, timestamp, level, line, metadata }
            })
            .collect();
        rows.sort_by_key(|r| (r.ordinal, r.timestamp));
        rows
    })
}

fn needle(rows: &[Row], from: usize, at: usize, len: usize) -> String {
    let line = rows.get(from % rows.len()).map_or("", |r| r.line.as_str());
    let chars: Vec<char> = line.chars().collect();
    let at = if chars.is_empty() { 0 } else { at % chars.len() };
    chars.iter().skip(at).take(len).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_come_back_and_are_selected_as_line_by_line(
        rows in rows(),
        needles in prop::collection::vec((0..120usize, 0..80usize, 1..14usize, 0..10u8, any::<bool>()), 1..12),
    ) {
        let (bytes, entry) = written(&rows);
        let group = opened(&bytes, &entry).unwrap();
        prop_assert_eq!(&read(&group).unwrap(), &rows);
        for (from, at, len, kind, changed) in needles {
            let mut text = needle(&rows, from, at, len);
            if changed {
                text.push('7');
            }
            let filter = match kind {
                0..=2 => LineFilter::Contains(text.clone()),
                3 => LineFilter::NotContains(text.clone()),
                4 => LineFilter::Regex(GoRegex::unanchored(&format!("{}.?", regex::escape(&text))).unwrap()),
                5 => LineFilter::Regex(GoRegex::unanchored(&format!("{}[0-4x]", regex::escape(&text))).unwrap()),
                6 => LineFilter::NotRegex(GoRegex::unanchored(&format!("(a|1|=){}", regex::escape(&text))).unwrap()),
                7 => LineFilter::Regex(GoRegex::unanchored(&format!("(?i){}", regex::escape(&text.to_uppercase()))).unwrap()),
                8 => {
                    let chars = || text.chars();
                    let half = chars().count() / 2;
                    let (a, b): (String, String) = (chars().take(half).collect(), chars().skip(half + 1).collect());
                    LineFilter::Regex(GoRegex::unanchored(&format!("{}.{}", regex::escape(&a), regex::escape(&b))).unwrap())
                }
                _ => LineFilter::AnyOf(vec![LineFilter::Contains(text.clone()), LineFilter::Contains("10.0".to_owned())]),
            };
            let compiled = CompiledFilters::new(std::slice::from_ref(&filter));
            // Another opening, so that columns are looked at before they are decoded for lines.
            let group = opened(&bytes, &entry).unwrap();
            let found = select(&group, &compiled, RowSet::all(rows.len())).unwrap();
            let expected: Vec<u32> =
                (0..).zip(&rows).filter(|(_, r)| compiled.accept(&r.line)).map(|(i, _)| i).collect();
            prop_assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{:?}", filter);
        }
    }

    #[test]
    fn a_changed_byte_is_noticed(rows in rows(), at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let (mut bytes, entry) = written(&rows);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        // Either the group, or a column of it, says that it is damaged; rows that are given are right.
        let Ok(group) = opened(&bytes, &entry) else { return Ok(()) };
        prop_assert!(read(&group).is_err());
    }
}

#[test]
fn columns_have_the_form_that_suits_them() {
    let line = |i: usize| {
        format!(
            "{{\"level\":\"{}\",\"status\":{},\"ms\":{},\"id\":\"{:032x}\",\"ip\":\"10.0.{}.{}\",\"k\":\"same\",\"w\":\"{:04}\"}}",
            ["info", "error"][i % 2],
            [200, 404, 503][i % 3],
            i * 7 % 1000,
            i as u128 * 0x1234_5678_9abc_def1_1111,
            i % 4,
            i * 3 % 250,
            i
        )
    };
    let rows: Vec<Row> = (0..1000)
        .map(|i| Row {
            ordinal: 0,
            timestamp: i as i64,
            level: 3,
            line: line(i),
            metadata: detect::with_level(&Labels::empty(), 3),
        })
        .collect();
    let (bytes, entry) = written(&rows);
    let group = opened(&bytes, &entry).unwrap();
    assert_eq!(group.levels().unwrap().constant(), Some(3));
    let shapes = group.skeletons().unwrap();
    assert_eq!((shapes.len(), shapes[0].skeleton().kind(), shapes[0].len()), (1, Kind::Json, 1000));
    assert!(shapes[0].rows().is_all());
    let column = |v| shapes[0].column(v).unwrap().clone();
    assert!(matches!(&*column(0), Column::Dictionary { values, .. } if values.len() == 2));
    assert!(matches!(&*column(1), Column::Dictionary { values, .. } if values.len() == 3));
    assert!(matches!(&*column(2), Column::Integers { width: 0, values } if values[1] == 7));
    assert!(matches!(&*column(3), Column::Strings(_)));
    assert!(matches!(&*column(5), Column::Constant { value, .. } if &**value == "same"));
    assert!(matches!(&*column(6), Column::Integers { width: 4, .. }));
    // Ids are 16 bytes, the rest is small: far below the 130 bytes of a line.
    assert!(bytes.len() < 1000 * 28, "{}", bytes.len());
}

#[test]
fn rare_shapes_are_kept_whole() {
    let rows: Vec<Row> = (0..3000)
        .map(|i| {
            let line = if i == 77 { "odd {} one".to_owned() } else { format!("n={i}") };
            Row { ordinal: 0, timestamp: i, level: 0, line, metadata: Labels::empty() }
        })
        .collect();
    let (bytes, entry) = written(&rows);
    let group = opened(&bytes, &entry).unwrap();
    let kinds: Vec<Kind> = group.skeletons().unwrap().iter().map(|s| s.skeleton().kind()).collect();
    assert_eq!(kinds, [Kind::Logfmt, Kind::Raw]);
    assert_eq!(read(&group).unwrap(), rows);
}
