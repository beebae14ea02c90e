//! What queries find through the index, and how much it rules out.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::exec::clock::ManualClock;
use crate::logs::partition::NS_PER_DAY;
use crate::logs::{Direction, LineFilter, Options, ScanRequest, Selection, Store, limits};
use crate::model::{Labels, LogEntry, LogStream};

const NOON: i64 = 20_000 * NS_PER_DAY + NS_PER_DAY / 2;

#[test]
fn an_id_is_found_however_it_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at_ms((NOON + NS_PER_DAY) / 1_000_000));
    let options = Options { retention_ns: 0, background: false, clock, ..Options::default() };
    let store = Store::open(dir.path(), options).unwrap();
    let id = |i: i64| format!("{:032x}", (i as u128 + 1) * 0x1234_5678_9abc_def0_1357_9bdf);
    let rows = 3 * limits::GROUP_ROWS as i64;
    // One block has a longer id.
    let line = |i: i64| if i == 5 { format!("x{}", id(i)) } else { format!("trace={} took {i}ms", id(i)) };
    let entry = |i: i64| LogEntry { timestamp: NOON + i, line: line(i), metadata: Labels::empty() };
    let entries = (0..rows).map(entry).collect();
    store.push(vec![LogStream { labels: Labels::from_pairs([("app", "a")]), entries }]).unwrap();
    store.flush().unwrap();
    let ask = |needle: &str| {
        let wanted = ScanRequest {
            selection: Selection::Matchers(vec![]),
            start_ns: i64::MIN,
            end_ns: i64::MAX,
            direction: Direction::Forward,
            filters: vec![LineFilter::Contains(needle.to_owned())],
            labels: vec![],
            limit: None,
        };
        let snapshot = store.snapshot();
        let facts = snapshot.pieces(&wanted).unwrap().facts().clone();
        let mut found = Vec::new();
        let each = &mut |e: crate::logs::ScannedEntry<'_>| {
            found.push(e.timestamp - NOON);
            ControlFlow::Continue(())
        };
        snapshot.scan(&wanted, each).unwrap();
        (found, facts.terms[0].1)
    };
    for i in [0, 5, 9000, rows - 1] {
        // The block it is in as it stands, and the one where it could be a part of a longer one.
        assert_eq!(ask(&id(i)), (vec![i], Some(if i == 5 { 1 } else { 2 })), "{i}");
        assert_eq!(ask(&format!("={} ", id(i))).0.len(), usize::from(i != 5), "{i}");
        let (found, told) = ask(id(i).get(3..20).unwrap());
        assert!(found.contains(&i) && told.is_none(), "{i}: {found:?} {told:?}");
    }
}
