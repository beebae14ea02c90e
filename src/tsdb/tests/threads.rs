//! Several threads at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};

use super::{T0, content, open, options};
use crate::exec::clock::ManualClock;
use crate::model::{Labels, Matcher};
use crate::tsdb::{Appender, Column, Db, Options, Selection};

fn is_send_and_sync<T: Send + Sync>() {}
fn is_send<T: Send>() {}

#[test]
fn can_be_shared() {
    is_send_and_sync::<Db>();
    is_send_and_sync::<Selection>();
    is_send::<Appender<'_>>();
}

#[test]
fn a_batch_is_seen_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at_ms(T0 + 86_400_000));
    // With the upkeep thread: blocks are cut and chunks packed meanwhile.
    let db = Db::open(dir.path(), Options { maintenance: true, ..options(&clock) }).unwrap();
    let running = AtomicBool::new(true);
    // The writers go in step: blocks are cut meanwhile, and one that lags behind would be too old.
    let step = Barrier::new(3);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|w: usize| {
                let (db, step) = (&db, &step);
                scope.spawn(move || {
                    for n in 0..600i64 {
                        let mut a = db.appender();
                        for i in 0..10 {
                            let l = Labels::from_pairs([
                                ("__name__", "m"),
                                ("writer", &w.to_string()),
                                ("i", &i.to_string()),
                                ("part", &(n / 200).to_string()),
                            ]);
                            let r = a.series(&l).unwrap();
                            a.float(r, T0 + n * 30_000, n as f64, 0).unwrap();
                        }
                        let committed = a.commit().unwrap();
                        step.wait();
                        assert_eq!(committed.samples, 10);
                    }
                })
            })
            .collect();
        let reader = scope.spawn(|| {
            let mut looks = 0;
            while running.load(Ordering::Relaxed) || looks == 0 {
                let writer = Matcher::equal("writer", (looks % 3).to_string());
                let s = db.select(&[writer], i64::MIN, i64::MAX).unwrap();
                let mut newest = [0; 3];
                for i in 0..s.len() {
                    let mut c = Column::default();
                    s.read(i, i64::MIN, i64::MAX, &mut c).unwrap();
                    let part: usize = s.labels(i).value("part").parse().unwrap();
                    let len = c.t.len();
                    assert!(newest[part] == 0 || newest[part] == len, "a batch was seen in part");
                    newest[part] = len;
                }
                looks += 1;
            }
            looks
        });
        for w in writers {
            w.join().unwrap();
        }
        running.store(false, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 0);
    });
    db.close().unwrap();
    db.maintain().unwrap();
    let before = content(&db, i64::MIN, i64::MAX);
    assert_eq!(before.iter().map(|s| s.1.len()).sum::<usize>(), 3 * 600 * 10);
    drop(db);
    assert_eq!(content(&open(dir.path(), &clock), i64::MIN, i64::MAX), before);
}
