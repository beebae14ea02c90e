//! Tests of the store through its public API.

mod checkpoint;
mod crash;
mod deletion;
mod disk;
mod guard;
mod kill;
mod model;
mod replay;
mod rules;
mod stored_format;
mod threads;

use std::path::Path;
use std::sync::Arc;

use super::{Column, Db, Options};
use crate::exec::clock::ManualClock;
use crate::model::{FloatHistogram, Labels, Matcher};

/// A moment at the start of a block's range.
pub(super) const T0: i64 = 236_111 * 7_200_000;

pub(super) fn options(clock: &Arc<ManualClock>) -> Options {
    // Small, so that most rounds of upkeep write a checkpoint.
    Options { clock: clock.clone(), maintenance: false, checkpoint_log_bytes: 64, ..Options::default() }
}

pub(super) fn open(dir: &Path, clock: &Arc<ManualClock>) -> Db {
    Db::open(dir, options(clock)).unwrap()
}

pub(super) fn labels(i: usize) -> Labels {
    Labels::from_pairs([("__name__", "m"), ("i", &i.to_string()), ("job", "test")])
}

pub(super) fn histogram(n: u64) -> FloatHistogram {
    FloatHistogram {
        count: n as f64,
        sum: n as f64 / 3.0,
        positive_buckets: vec![n as f64, 1.0],
        ..FloatHistogram::default()
    }
}

/// All series of metric `m` with the bits of their floats and the counts of their histograms.
pub(super) type Content = Vec<(Labels, Vec<(i64, u64)>, Vec<(i64, u64)>)>;

pub(super) fn content(db: &Db, mint: i64, maxt: i64) -> Content {
    let selection = db.select(&[Matcher::equal("__name__", "m")], mint, maxt).unwrap();
    (0..selection.len())
        .map(|i| {
            let mut c = Column::default();
            selection.read(i, mint, maxt, &mut c).unwrap();
            let floats = c.t.iter().copied().zip(c.v.iter().map(|v| v.to_bits())).collect();
            (selection.labels(i), floats, c.ht.iter().copied().zip(c.h.iter().map(|h| h.count as u64)).collect())
        })
        // A series whose chunks overlap the range may turn out to have no sample in it.
        .filter(|(_, floats, histograms): &(_, Vec<_>, Vec<_>)| !floats.is_empty() || !histograms.is_empty())
        .collect()
}

pub(super) fn put(db: &Db, i: usize, t: i64, v: f64) {
    let mut a = db.appender();
    let r = a.series(&labels(i)).unwrap();
    a.float(r, t, v, 0).unwrap();
    assert_eq!(a.commit().unwrap().samples, 1);
}

/// Copies a folder with all that is in it.
pub(super) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}
