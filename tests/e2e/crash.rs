//! kill -9 under load, restart, count: nothing acknowledged missing, nothing doubled.
//!
//! `scripts/kills` runs the same with many more kills; their number is in `CAMPANILE_KILLS`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::harness::{Server, eventually, now_ms, push_body};
use crate::prom_write;

const SERIES: usize = 50;

/// How often each test kills.
fn kills() -> u64 {
    std::env::var("CAMPANILE_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(3)
}

/// Different moments in the life of buffers, commits and segments.
async fn some_time(round: u64) {
    tokio::time::sleep(Duration::from_millis(300 + round * 7919 % 1900)).await;
}

/// One remote-write body: a sample at `t` with value `v` for each series.
pub fn write_body(t: i64, v: u64) -> Vec<u8> {
    write_metric("crash_test", 0..SERIES, t, v as f64)
}

/// One remote-write body: a sample of some series of a metric.
pub fn write_metric(metric: &str, series: std::ops::Range<usize>, t: i64, value: f64) -> Vec<u8> {
    let of_one = |i: usize| {
        let labels = vec![
            ("__name__", metric.to_owned()),
            ("instance", "writer:1".to_owned()),
            ("job", "writer".to_owned()),
            ("series", format!("{i:03}")),
        ];
        (labels, value)
    };
    write_series(&series.map(of_one).collect::<Vec<_>>(), t)
}

/// One remote-write body: a sample at `t` for each series, labels in order of names.
pub fn write_series(series: &[(Vec<(&str, String)>, f64)], t: i64) -> Vec<u8> {
    let owned = |labels: &[(&str, String)]| labels.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect();
    let series: Vec<_> = series
        .iter()
        .map(|(labels, value)| prom_write::Series { labels: owned(labels), samples: vec![(t, *value)] })
        .collect();
    prom_write::body(&series)
}

/// Samples that were acknowledged, by time.
type Acknowledged = Arc<Mutex<BTreeMap<i64, u64>>>;

/// Writes until the server is gone: the sample number `n` has the time `base + n * step`.
fn writer(server: &Server, base: i64, step: i64, counter: &Arc<AtomicU64>, samples: &Acknowledged) -> JoinHandle<()> {
    let (http, url) = (server.http.clone(), server.url("/api/v1/write"));
    let (counter, samples) = (counter.clone(), samples.clone());
    tokio::spawn(async move {
        loop {
            let n = counter.fetch_add(1, Ordering::SeqCst);
            let t = base + n as i64 * step;
            match http.post(&url).header("content-encoding", "snappy").body(write_body(t, n)).send().await {
                Ok(r) if r.status().is_success() => {
                    samples.lock().unwrap().insert(t, n);
                }
                Ok(r) => panic!("remote write: {} {}", r.status(), r.text().await.unwrap_or_default()),
                Err(_) => return,
            }
        }
    })
}

/// Every acknowledged sample is there, and nothing that was not written; a batch is there for all series or for none.
async fn check_samples(server: &Server, series: usize, base: i64, step: i64, samples: &Acknowledged) {
    let samples = samples.lock().unwrap().clone();
    let expr = format!("crash_test{{series=\"{series:03}\"}}[29d]");
    let answer = server.get("/api/v1/query", &[("query", &expr)]).await;
    let stored: BTreeMap<i64, u64> = answer["data"]["result"][0]["values"]
        .as_array()
        .unwrap_or_else(|| panic!("nothing stored: {answer}"))
        .iter()
        .map(|p| ((p[0].as_f64().unwrap() * 1000.0).round() as i64, p[1].as_str().unwrap().parse().unwrap()))
        .collect();
    for (t, v) in &samples {
        assert_eq!(stored.get(t), Some(v), "series {series}: the sample of {t} was acknowledged");
    }
    // What was written and not acknowledged may be there, but only what was written.
    assert!(stored.iter().all(|(t, v)| *t == base + *v as i64 * step));
    let counts = server.instant("count_over_time(crash_test[29d])").await;
    assert_eq!(counts.len(), SERIES);
    assert!(counts.iter().all(|c| c.1 == stored.len() as f64), "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_loses_and_doubles_nothing() {
    let mut server = Server::start("global: {scrape_interval: 1s, scrape_timeout: 1s}\n").await;
    // Each write is a millisecond after the one before, which a fast machine does in less: not into the future for all that.
    let base = now_ms() - 30 * 60_000;
    let samples = Acknowledged::default();
    let lines: Arc<Mutex<Vec<(i64, String)>>> = Arc::default();
    let counter = Arc::new(AtomicU64::new(0));
    let mut scraped = 0.0;
    for round in 0..kills() {
        let writer = writer(&server, base, 1, &counter, &samples);
        let (http, push) = (server.http.clone(), server.url("/loki/api/v1/push"));
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
        // Enough of both, however slow the machine is.
        let counts = || (samples.lock().unwrap().len(), lines.lock().unwrap().len());
        let (written, pushed) = counts();
        eventually("samples and lines are taken", 30, async || {
            let (w, p) = counts();
            (w > written + 50 && p > pushed + 100).then_some(())
        })
        .await;
        some_time(round).await;
        let seen = "sum(count_over_time(up[1h])) or vector(0)";
        let before = server.instant(seen).await[0].1;
        server.crash_and_restart().await;
        writer.await.unwrap();
        pusher.await.unwrap();
        check_samples(&server, (round as usize * 7) % SERIES, base, 1, &samples).await;
        // Scrapes acknowledge nothing, but what was shown stays.
        scraped = server.instant(seen).await[0].1;
        assert!(scraped >= before, "{before} samples of scrapes were there, {scraped} are left");
    }
    let mut lines = lines.lock().unwrap().clone();
    let written = samples.lock().unwrap().len();
    assert!(written > 50 && lines.len() > 100, "too little load: {written} {}", lines.len());
    assert!(scraped > 0.0, "nothing was scraped");
    lines.sort();
    for round in 0..kills() {
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

/// Samples whose times run through weeks within seconds, so that kills meet blocks being cut and merged, checkpoints and removed segments.
#[tokio::test(flavor = "multi_thread")]
async fn kill_9_while_blocks_are_cut_and_merged() {
    const STEP: i64 = 20_000;
    let mut server = Server::start("self_scrape: false\nhost: {enabled: false}\n").await;
    let base = now_ms() - 28 * 86_400_000;
    let samples = Acknowledged::default();
    let counter = Arc::new(AtomicU64::new(0));
    for round in 0..kills() {
        let writers: Vec<_> = (0..3).map(|_| writer(&server, base, STEP, &counter, &samples)).collect();
        let cut = counter.load(Ordering::SeqCst) + 3 * 3600 * 1000 / STEP as u64;
        // Long enough for a block at least, in most rounds for more.
        eventually("a block is due", 30, async || (counter.load(Ordering::SeqCst) > cut).then_some(())).await;
        some_time(round).await;
        server.crash_and_restart().await;
        for w in writers {
            w.await.unwrap();
        }
        check_samples(&server, (round as usize * 11) % SERIES, base, STEP, &samples).await;
    }
    // On a fast machine the kills come before the first block does.
    let blocks = server.dir.path().join("data/metrics/blocks");
    eventually("a block is written", 20, async || std::fs::read_dir(&blocks).ok()?.next().map(|_| ())).await;
}
