//! The log store: ingest on one thread, and the queries a dashboard sends, over lines like those of nginx, a JSON service and sshd.

#![allow(missing_docs, reason = "criterion's macros")]
#![allow(clippy::expect_used, reason = "a bench may stop with a word")]

use std::hint::black_box;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};

use campanile::ingest::LogRequest;
use campanile::ingest::loki_push::{self, PushForm};
use campanile::logs::{
    BatchBuilder, CountRequest, Direction, LineFilter, Measure, Options, ScanRequest, Selection, Store,
};
use campanile::model::{Labels, Matcher};
use campanile::text::go_regex::GoRegex;
use campanile::wire::protobuf::{put_field_bytes, put_field_varint};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const START: i64 = 1_768_471_200_000_000_000;
const BATCH: u64 = 2_000;
const STREAMS: u64 = 51;

/// A cheap sequence that looks random and is the same each time.
fn mix(i: u64) -> u64 {
    let x = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (x ^ x >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 16
}

fn line(i: u64) -> String {
    let r = mix(i);
    match i % 3 {
        0 => format!(
            "10.{}.{}.{} - - [15/Jan/2026:10:00:00 +0000] \"GET /api/v1/item/{} HTTP/1.1\" {} {} \"-\" \"Mozilla/5.0 (X11; Linux x86_64)\" {}",
            r & 255,
            r >> 8 & 255,
            r >> 16 & 255,
            r >> 24 & 0xffff,
            [200, 200, 404, 503][(r % 4) as usize],
            r % 10_000,
            r % 997
        ),
        1 => format!(
            "{{\"level\":\"{}\",\"msg\":\"request done\",\"path\":\"/checkout\",\"status\":{},\"duration_ms\":{},\"trace_id\":\"{:016x}\",\"seq\":{i}}}",
            ["info", "warn", "error"][(r % 3) as usize],
            200 + r % 300,
            r % 5_000,
            r
        ),
        _ => format!(
            "level=info msg=\"invalid user admin{}\" from=10.0.{}.{} port={} seq={i}",
            r % 100,
            r & 255,
            r >> 8 & 255,
            r % 65_536
        ),
    }
}

fn labels(stream: u64) -> Labels {
    let app = ["nginx", "api", "sshd"][(stream % 3) as usize];
    Labels::from_pairs([("app", app), ("env", "prod"), ("instance", &format!("host-{stream}"))])
}

fn push(store: &Store, from: u64) {
    let mut builder = store.batch();
    for stream in 0..STREAMS {
        builder.stream(labels(stream));
        for i in (from..from + BATCH).filter(|i| i % STREAMS == stream) {
            builder.entry(START + i as i64 * 1_800_000, &line(i), std::iter::empty::<(&str, &str)>());
        }
    }
    store.push_batch(builder).expect("the disk takes it");
}

fn options() -> Options {
    Options { retention_ns: 0, background: false, max_buffer_bytes: usize::MAX, ..Options::default() }
}

fn ingest(c: &mut Criterion) {
    let mut group = c.benchmark_group("logs_ingest");
    group.throughput(Throughput::Elements(100_000));
    group.sample_size(10);
    group.bench_function("push_and_flush_100k_lines", |b| {
        b.iter(|| {
            let dir = tempfile::tempdir().expect("a temporary folder");
            let store = Store::open(dir.path(), options()).expect("a new store opens");
            for n in 0..100_000 / BATCH {
                push(&store, n * BATCH);
            }
            store.flush().expect("the disk takes it");
        });
    });
    group.finish();
}

/// A request of Loki's push, as its clients send it.
fn push_body(from: u64) -> Vec<u8> {
    let mut request = Vec::new();
    for stream in 0..STREAMS {
        let mut message = Vec::new();
        put_field_bytes(&mut message, 1, labels(stream).to_string().as_bytes());
        for i in (from..from + BATCH).filter(|i| i % STREAMS == stream) {
            let ns = START as u64 + i * 1_800_000;
            let (mut time, mut entry) = (Vec::new(), Vec::new());
            put_field_varint(&mut time, 1, ns / 1_000_000_000);
            put_field_varint(&mut time, 2, ns % 1_000_000_000);
            put_field_bytes(&mut entry, 1, &time);
            put_field_bytes(&mut entry, 2, line(i).as_bytes());
            put_field_bytes(&mut message, 2, &entry);
        }
        put_field_bytes(&mut request, 1, &message);
    }
    snap::raw::Encoder::new().compress_vec(&request).expect("it is small")
}

/// What a push costs before it comes to the store.
fn decode(c: &mut Criterion) {
    let bodies: Vec<Vec<u8>> = (0..10).map(|n| push_body(n * BATCH)).collect();
    let options = options();
    let mut group = c.benchmark_group("logs_decode");
    group.throughput(Throughput::Elements(10 * BATCH));
    group.bench_function("loki_push_20k_lines", |b| {
        b.iter(|| {
            for body in &bodies {
                let request = LogRequest {
                    sender: "bench",
                    content_type: None,
                    content_encoding: None,
                    body,
                    max_body_bytes: 64 << 20,
                };
                let mut builder = BatchBuilder::new(&options);
                loki_push::decode(&mut builder, PushForm::V1, &request).expect("a good request");
                black_box(builder.build());
            }
        });
    });
    group.finish();
}

fn queries(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(dir.path(), options()).expect("a new store opens");
    let lines = 500_000;
    for n in 0..lines / BATCH {
        push(&store, n * BATCH);
        if n % 50 == 49 {
            store.flush().expect("the disk takes it");
        }
    }
    store.merge().expect("segments merge");
    let end = START + lines as i64 * 1_800_000;
    let scan = |matcher: Matcher, filters: Vec<LineFilter>, limit: Option<usize>| ScanRequest {
        selection: Selection::Matchers(vec![matcher]),
        start_ns: START,
        end_ns: end,
        direction: Direction::Backward,
        filters,
        labels: Vec::new(),
        limit,
    };
    let mut group = c.benchmark_group("logs_query_500k_lines");
    group.sample_size(10);
    let contains = |s: &str| vec![LineFilter::Contains(s.to_owned())];
    let prod = || Matcher::equal("env", "prod");
    for (name, request) in [
        ("needle", scan(prod(), contains("seq=250003"), Some(100))),
        ("miss", scan(prod(), contains("no_such_token_zzz"), Some(100))),
        ("newest_100", scan(Matcher::equal("app", "nginx"), vec![], Some(100))),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| {
                let stats = store.scan(&request, &mut |e| {
                    black_box(e.line);
                    ControlFlow::Continue(())
                });
                stats.expect("segments can be read")
            });
        });
    }
    let regex = GoRegex::unanchored("HTTP/1.1\" 50[0-9]").expect("a good regex");
    for (name, request) in [
        ("substring", scan(Matcher::equal("app", "sshd"), contains("alid user ad"), None)),
        ("regex", scan(Matcher::equal("app", "nginx"), vec![LineFilter::Regex(regex)], None)),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| {
                let found = AtomicU64::new(0);
                let stats = store.snapshot().scan_streams(&request, &|_| {
                    found.fetch_add(1, Ordering::Relaxed);
                    ControlFlow::Continue(())
                });
                stats.expect("segments can be read");
                found.into_inner()
            });
        });
    }
    let minutes = (0..=(end - START) / 60_000_000_000 + 1).map(|m| START + m * 60_000_000_000).collect();
    let count = CountRequest {
        selection: Selection::Matchers(vec![prod()]),
        boundaries: minutes,
        filters: vec![],
        measure: Measure::Entries,
        by_level: false,
    };
    group.bench_function("count_by_minute", |b| b.iter(|| store.count(&count).expect("segments can be read")));
    group.finish();
}

criterion_group!(benches, decode, ingest, queries);
criterion_main!(benches);
