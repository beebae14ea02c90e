//! kill -9 under load, restart, count: nothing acknowledged missing, nothing doubled.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prost::Message;

use crate::flow::push_body;
use crate::harness::{Server, eventually, now_ms};

#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

const SERIES: usize = 50;

/// One remote-write body: a sample at `t` with value `v` for each series.
fn write_body(t: i64, v: u64) -> Vec<u8> {
    let series: Vec<_> = (0..SERIES)
        .map(|i| (vec![("__name__", "crash_test".to_owned()), ("series", format!("{i:03}"))], v as f64))
        .collect();
    write_series(&series, t)
}

/// One remote-write body: a sample at `t` for each series, labels in order of names.
pub fn write_series(series: &[(Vec<(&str, String)>, f64)], t: i64) -> Vec<u8> {
    let label = |(name, value): &(&str, String)| Label { name: (*name).to_owned(), value: value.clone() };
    let timeseries = series
        .iter()
        .map(|(labels, value)| TimeSeries {
            labels: labels.iter().map(label).collect(),
            samples: vec![Sample { value: *value, timestamp: t }],
        })
        .collect();
    snap::raw::Encoder::new().compress_vec(&WriteRequest { timeseries }.encode_to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_loses_and_doubles_nothing() {
    let mut server = Server::start("self_scrape: false\nhost: {enabled: false}\n").await;
    let base = now_ms() - 60_000;
    // What was acknowledged: samples by time, and log lines.
    let samples: Arc<Mutex<BTreeMap<i64, u64>>> = Arc::default();
    let lines: Arc<Mutex<Vec<(i64, String)>>> = Arc::default();
    let counter = Arc::new(AtomicU64::new(0));
    for round in 0..4u64 {
        let http = server.http.clone();
        let (write, push) = (server.url("/api/v1/write"), server.url("/loki/api/v1/push"));
        let writer = tokio::spawn({
            let (http, samples, counter) = (http.clone(), samples.clone(), counter.clone());
            async move {
                loop {
                    let n = counter.fetch_add(1, Ordering::SeqCst);
                    let t = base + n as i64;
                    let answer =
                        http.post(&write).header("content-encoding", "snappy").body(write_body(t, n)).send().await;
                    match answer {
                        Ok(r) if r.status().is_success() => {
                            samples.lock().unwrap().insert(t, n);
                        }
                        Ok(r) => panic!("remote write: {} {}", r.status(), r.text().await.unwrap_or_default()),
                        Err(_) => return,
                    }
                }
            }
        });
        let pusher = tokio::spawn({
            let lines = lines.clone();
            async move {
                for n in 0u64.. {
                    let t = (base + n as i64) * 1_000_000 + round as i64;
                    let batch: Vec<(i64, String)> =
                        (0..5).map(|i| (t + i * 1000, format!("round {round} batch {n} line {i}"))).collect();
                    let body = push_body(serde_json::json!({"app": "crash", "round": round.to_string()}), &batch);
                    match http.post(&push).header("content-type", "application/json").body(body).send().await {
                        Ok(r) if r.status().is_success() => lines.lock().unwrap().extend(batch),
                        Ok(r) => panic!("push: {} {}", r.status(), r.text().await.unwrap_or_default()),
                        Err(_) => return,
                    }
                }
            }
        });
        // Different moments in the life of buffers, commits and segments.
        tokio::time::sleep(Duration::from_millis(700 + 900 * round)).await;
        server.crash_and_restart().await;
        writer.await.unwrap();
        pusher.await.unwrap();
    }
    let samples = samples.lock().unwrap().clone();
    let mut lines = lines.lock().unwrap().clone();
    assert!(samples.len() > 50 && lines.len() > 100, "too little load: {} {}", samples.len(), lines.len());

    for series in ["000", "049"] {
        let expr = format!("crash_test{{series=\"{series}\"}}[10m]");
        let answer = server.get("/api/v1/query", &[("query", &expr)]).await;
        let stored: BTreeMap<i64, u64> = answer["data"]["result"][0]["values"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| ((p[0].as_f64().unwrap() * 1000.0).round() as i64, p[1].as_str().unwrap().parse().unwrap()))
            .collect();
        for (t, v) in &samples {
            assert_eq!(stored.get(t), Some(v), "series {series}: the sample of {t} was acknowledged");
        }
        // What was written and not acknowledged may be there, but only what was written.
        assert!(stored.iter().all(|(t, v)| *t == base + *v as i64));
    }

    lines.sort();
    for round in 0..4 {
        let wanted: Vec<_> = lines.iter().filter(|l| l.1.starts_with(&format!("round {round} "))).cloned().collect();
        let mut stored = server.lines(&format!("{{app=\"crash\",round=\"{round}\"}}")).await;
        let total = stored.len();
        stored.dedup();
        assert_eq!(stored.len(), total, "round {round}: lines are doubled");
        for l in &wanted {
            assert!(stored.binary_search(l).is_ok(), "round {round}: {l:?} was acknowledged");
        }
    }
    eventually("new data is taken", 10, async || {
        let r = server
            .http
            .post(server.url("/api/v1/write"))
            .header("content-encoding", "snappy")
            .body(write_body(now_ms(), 1));
        r.send().await.ok().filter(|r| r.status().is_success())
    })
    .await;
}
