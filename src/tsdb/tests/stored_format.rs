//! A folder that the first version of the format left behind (a block, a checkpoint of version 1, two segments of the log, killed while
//! running) opens with everything in it.

use std::path::Path;
use std::sync::Arc;

use super::{content, copy, open, put};
use crate::exec::clock::ManualClock;
use crate::model::Matcher;
use crate::tsdb::Db;

/// Time of the first sample; they come every 30 s.
const FIRST: i64 = 1_795_248_000_000;
const STEPS: i64 = 560;

fn value(series: i64, n: i64) -> f64 {
    let f = n as f64;
    match series {
        0 => f,
        1 => f * 2.0 / 8.0,
        2 => f / 3.0,
        3 => 42.0,
        4 => (n * 7919 % 97) as f64 / 100.0,
        _ => f * 1000.0 + (n * 31 % 7) as f64,
    }
}

fn check(db: &Db, when: &str) {
    let got = content(db, FIRST, FIRST + STEPS * 30_000);
    assert_eq!(got.len(), 7, "{when}");
    for (labels, floats, histograms) in &got {
        let Some(i) = labels.get("i").and_then(|i| i.parse::<i64>().ok()) else {
            let want: Vec<(i64, u64)> = (0..STEPS).map(|n| (FIRST + n * 30_000, n as u64 * 3)).collect();
            assert_eq!(histograms, &want, "{when}: histograms");
            continue;
        };
        let mut want: Vec<(i64, u64)> = (0..STEPS).map(|n| (FIRST + n * 30_000, value(i, n).to_bits())).collect();
        if i == 3 {
            want.remove(200);
            let late = FIRST + (STEPS - 20) * 30_000 + 1;
            want.insert(want.partition_point(|w| w.0 < late), (late, 0.5f64.to_bits()));
        }
        assert_eq!(floats, &want, "{when}: series {i}");
    }
}

fn check_annotations(db: &Db, when: &str) {
    let exemplars = db.exemplars(&[vec![Matcher::equal("i", "0")]], i64::MIN, i64::MAX).unwrap();
    let times: Vec<Option<i64>> = exemplars.iter().flat_map(|e| e.1.iter().map(|e| e.timestamp)).collect();
    assert_eq!(times, (0..6).map(|n| Some(FIRST + (50 + n * 100) * 30_000)).collect::<Vec<_>>(), "{when}");
    assert_eq!(db.metadata(Some("m"), 5)[0].1[0].help, "counts what was there before", "{when}");
}

#[test]
fn a_folder_of_the_first_version_opens_with_all_its_samples() {
    let dir = tempfile::tempdir().unwrap();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tsdb/tests/data/version-1"), dir.path());
    let clock = Arc::new(ManualClock::at_ms(FIRST + STEPS * 30_000));
    let db = open(dir.path(), &clock);
    check(&db, "opened");
    check_annotations(&db, "opened");
    db.checkpoint().unwrap();
    check(&db, "after a checkpoint");
    check_annotations(&db, "after a checkpoint");
    drop(db);
    let db = open(dir.path(), &clock);
    check(&db, "opened again");
    check_annotations(&db, "opened again");
    // Everything becomes blocks, and those of both versions are merged.
    for hours in [9, 13] {
        let later = FIRST + hours * 3_600_000;
        clock.set_ms(later);
        put(&db, 0, later, 1.0);
    }
    db.maintain().unwrap();
    check(&db, "in blocks");
    let names: Vec<_> = std::fs::read_dir(dir.path().join("blocks")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}
