//! What appending, making series, and reading cost in the metrics store.

#![allow(clippy::expect_used, missing_docs, reason = "a benchmark that cannot set itself up has nothing to measure")]

use std::hint::black_box;
use std::sync::Arc;

use campanile::exec::clock::ManualClock;
use campanile::model::{Labels, Matcher};
use campanile::tsdb::{Column, Db, Options, SeriesRef};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const T0: i64 = 1_700_000_000_000;
const SERIES: usize = 5000;

fn open(dir: &std::path::Path, clock: &Arc<ManualClock>) -> Db {
    let options = Options { clock: clock.clone(), maintenance: false, ..Options::default() };
    Db::open(dir, options).expect("a store in an empty folder opens")
}

fn labels(i: usize) -> Labels {
    Labels::from_pairs([
        ("__name__", ["node_cpu_seconds_total", "node_load1", "http_requests_total"][i % 3]),
        ("instance", &format!("host-{}.eu-west.example.com:9100", i / 100)),
        ("job", "node"),
        ("cluster", &format!("c{}", i % 5)),
        ("id", &(i % 100).to_string()),
    ])
}

fn make(db: &Db) -> Vec<SeriesRef> {
    let mut a = db.appender();
    (0..SERIES).map(|i| a.series(&labels(i)).expect("the labels are valid")).collect()
}

fn value(i: usize, n: i64) -> f64 {
    match i % 3 {
        0 => 1.0,
        1 => (n * 31 + (n * n * (i as i64)) % 17) as f64,
        _ => ((n * 7919 + i as i64) % 1000) as f64 / 100.0,
    }
}

fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("append");
    group.throughput(Throughput::Elements(SERIES as u64)).sample_size(40);
    let dir = tempfile::tempdir().expect("a temporary folder");
    let clock = Arc::new(ManualClock::at_ms(T0));
    let db = open(dir.path(), &clock);
    let refs = make(&db);
    let mut n = 0;
    group.bench_function("by ref, batch of 5000", |b| {
        b.iter(|| {
            n += 1;
            let t = T0 + n * 15_000;
            clock.set_ms(t);
            let mut a = db.appender();
            for (i, r) in refs.iter().enumerate() {
                a.float(*r, t, value(i, n), 0).expect("newer than all before");
            }
            a.commit().expect("the log can be written")
        });
    });
    let texts: Vec<Vec<(String, String)>> =
        (0..SERIES).map(|i| labels(i).iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect()).collect();
    group.bench_function("by label pairs, batch of 5000", |b| {
        let mut pairs = Vec::new();
        b.iter(|| {
            n += 1;
            let t = T0 + n * 15_000;
            clock.set_ms(t);
            let mut a = db.appender();
            for (i, text) in texts.iter().enumerate() {
                pairs.clear();
                pairs.extend(text.iter().map(|(n, v)| (n.as_str(), v.as_str())));
                let r = a.series_from_pairs(&pairs).expect("the labels are valid");
                a.float(r, t, value(i, n), 0).expect("newer than all before");
            }
            a.commit().expect("the log can be written")
        });
    });
    group.bench_function("new series, batch of 5000", |b| {
        let sets: Vec<Labels> = (0..SERIES).map(labels).collect();
        b.iter_batched(
            || {
                let dir = tempfile::tempdir().expect("a temporary folder");
                (open(dir.path(), &clock), dir)
            },
            |(db, dir)| {
                let mut a = db.appender();
                for l in &sets {
                    let r = a.series(l).expect("the labels are valid");
                    a.float(r, T0, 1.0, 0).expect("the first sample");
                }
                a.commit().expect("the log can be written");
                (db, dir)
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn read(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let clock = Arc::new(ManualClock::at_ms(T0));
    let db = open(dir.path(), &clock);
    let refs = make(&db);
    for n in 0..480 {
        let t = T0 + n * 15_000;
        clock.set_ms(t);
        let mut a = db.appender();
        for (i, r) in refs.iter().enumerate() {
            a.float(*r, t, value(i, n), 0).expect("newer than all before");
        }
        a.commit().expect("the log can be written");
    }
    db.maintain().expect("upkeep succeeds");
    let mut group = c.benchmark_group("read");
    let job = [Matcher::equal("job", "node")];
    group.bench_function("select 5000 series and their labels, newest five minutes", |b| {
        b.iter(|| {
            let s = db.select(&job, T0 + 475 * 15_000, T0 + 480 * 15_000).expect("selects");
            (0..s.len()).map(|i| s.labels(i).packed().len()).sum::<usize>()
        });
    });
    group.throughput(Throughput::Elements(5000 * 480)).sample_size(20);
    group.bench_function("select and read 5000 series of 480 samples", |b| {
        let mut column = Column::default();
        b.iter(|| {
            let s = db.select(&job, i64::MIN, i64::MAX).expect("selects");
            for i in 0..s.len() {
                column.clear();
                s.read(i, i64::MIN, i64::MAX, &mut column).expect("reads");
                black_box(&column);
            }
        });
    });
    group.finish();
}

criterion_group!(benches, append, read);
criterion_main!(benches);
