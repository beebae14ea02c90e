//! Queries that nobody should ask, many at once: the server stays within its memory, answers all of them, and goes on scraping.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{Server, eventually, now_ms};
use crate::prom_write::{Series, send};

const SERIES: usize = 200_000;
const MEMORY_MIB: u64 = 256;

/// `m` has one value that counts up, `n` one label set for two of them.
async fn fill(server: &Server, t: i64) {
    let url = server.url("/api/v1/write");
    for part in 0..20 {
        let series: Vec<Series> = (0..SERIES / 20)
            .map(|i| {
                let i = part * (SERIES / 20) + i;
                let pairs = [
                    ("__name__", "m".to_owned()),
                    ("i", i.to_string()),
                    ("pair", (i / 2).to_string()),
                    ("shard", format!("shard-{}", i % 17)),
                ];
                Series {
                    labels: pairs.into_iter().map(|(n, v)| (n.to_owned(), v)).collect(),
                    samples: vec![(t - 60_000, i as f64), (t - 30_000, i as f64 * 1.5)],
                }
            })
            .collect();
        send(&server.http, &url, &series).await;
    }
}

fn rss_mib(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process.0.id())).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() >> 10
}

/// Each with its step in seconds over the last hours; 0 for an instant query.
fn worst() -> Vec<(String, u64)> {
    let mut nested = "m".to_owned();
    for _ in 0..30 {
        nested = format!("label_replace({nested}, \"x\", \"$1$1\", \"x\", \"(.*)\")");
    }
    let nested =
        nested.replacen("label_replace(m, \"x\", \"$1$1\", \"x\"", "label_replace(m, \"x\", \"$1$1\", \"i\"", 1);
    vec![
        ("{__name__=~\".+\"}".to_owned(), 1),
        ("rate({__name__=~\"m|n.*\"}[1h])".to_owned(), 1),
        ("quantile_over_time(0.9, {i=~\".+\"}[3h])".to_owned(), 1),
        ("max_over_time(sum_over_time(m[10m:1s])[30m:1s])".to_owned(), 10),
        ("stddev_over_time(rate(m[5m])[2h:1s])".to_owned(), 60),
        ("sum(max_over_time(m[2h:100ms]))".to_owned(), 60),
        (nested, 0),
        ("m * on() group_left() m".to_owned(), 60),
        ("m + on(pair) group_left(i) m".to_owned(), 60),
        ("m / ignoring(i) m".to_owned(), 1),
        ("count_values(\"v\", m * time())".to_owned(), 1),
        ("topk(100000, m)".to_owned(), 1),
        ("m @ end()".to_owned(), 1),
        ("quantile by (pair) (0.5, m)".to_owned(), 1),
        ("m or (m * 2) or (m * 3) or (m * 4)".to_owned(), 1),
        ("sort_desc(m - m)".to_owned(), 0),
        ("m unless on(i) (m > 1e6)".to_owned(), 1),
        ("sum by (i) (m)".to_owned(), 1),
        ("label_join(m, \"y\", \"-\", \"i\", \"pair\", \"shard\", \"i\", \"pair\")".to_owned(), 1),
        ("absent_over_time(m[2h:1s])".to_owned(), 1),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worst_queries_at_once_leave_the_server_well() {
    let app = axum::Router::new().route("/metrics", axum::routing::get(|| async { "heart_beats_total 1\n" }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let config = format!(
        "scrape_configs: [{{job_name: beats, scrape_interval: 1s, scrape_timeout: 1s, \
         static_configs: [{{targets: ['{target}']}}]}}]\n"
    );
    let memory = format!("--query.max-memory={MEMORY_MIB}MiB");
    let server = Server::start_with_flags(&config, &[&memory, "--query.timeout=40s"]).await;
    let t = now_ms();
    fill(&server, t).await;
    let up = "count_over_time(up{job=\"beats\"}[1m]) > 2";
    eventually(up, 20, async || (!server.instant(up).await.is_empty()).then_some(())).await;
    let before = rss_mib(&server);

    let peak = Arc::new(AtomicU64::new(0));
    let watch = {
        let (peak, pid) = (peak.clone(), server.process.0.id());
        tokio::spawn(async move {
            loop {
                let pages = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
                let resident = pages.split(' ').nth(1).and_then(|p| p.parse::<u64>().ok()).unwrap_or(0);
                peak.fetch_max((resident * 4096) >> 20, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
    };
    let begun = now_ms();
    let (end, start) = (t / 1000, t / 1000 - 10_900);
    let asked = worst().into_iter().map(|(query, step)| {
        let (http, url) = (server.http.clone(), server.url(""));
        tokio::spawn(async move {
            let (path, mut params) = ("query", vec![("query", query.clone())]);
            let path = if step == 0 {
                params.push(("time", end.to_string()));
                path
            } else {
                // As many points as the step allows below the bound on points.
                params.extend([("start", start.to_string()), ("end", end.to_string()), ("step", step.to_string())]);
                "query_range"
            };
            let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
            let request = http
                .post(format!("{url}/api/v1/{path}"))
                .header("content-type", "application/x-www-form-urlencoded")
                .body(form);
            let mut answer = request.send().await.unwrap();
            let status = answer.status().as_u16();
            let (mut bytes, mut text) = (0, Vec::new());
            while let Some(part) = answer.chunk().await.unwrap() {
                bytes += part.len();
                if text.len() < 1000 {
                    text.extend_from_slice(&part);
                }
            }
            (query, status, bytes, String::from_utf8_lossy(&text).chars().take(300).collect::<String>())
        })
    });
    let asked: Vec<_> = asked.collect();
    // A small question among them waits for its turn and is answered: the large ones leave room.
    assert_eq!(server.instant("m{i=\"7\"}").await.len(), 1);
    let mut answers = Vec::new();
    for a in asked {
        answers.push(a.await.unwrap());
    }
    let took = Duration::from_millis((now_ms() - begun) as u64);
    watch.abort();
    let peak = peak.load(Ordering::Relaxed);
    for (query, status, bytes, text) in &answers {
        assert!([200, 422, 503].contains(status), "{query}: {status}: {text}");
        let query: String = query.chars().take(60).collect();
        println!("{status} {bytes:9} {query} {}", text.chars().skip(20).take(120).collect::<String>());
        if *status == 422 && text.contains("bytes of memory") {
            assert!(text.contains("select fewer series"), "{text}");
        }
    }
    println!("{took:?}, memory before {before} MiB, at most {peak} MiB");
    // The budget, and as much again for what the allocator has not given back yet and for requests and answers under way.
    assert!(peak <= before + 2 * MEMORY_MIB, "{before} MiB before, {peak} MiB at most");

    // What is too much for one query says so when it is asked alone.
    let span = [("start", start.to_string()), ("end", end.to_string())];
    let params = [("query", "m"), ("start", &span[0].1), ("end", &span[1].1), ("step", "1")];
    let (status, text) = server.try_get("/api/v1/query_range", &params).await;
    assert!(status == 422 && text.contains("bytes of memory: select fewer series"), "{status}: {text}");
    assert_eq!(server.instant("count(m)").await[0].1, SERIES as f64);

    // No scrape was left out meanwhile.
    let seconds = took.as_secs() + 2;
    let scraped = server.get("/api/v1/query", &[("query", &format!("up{{job=\"beats\"}}[{seconds}s]"))]).await;
    let points = scraped["data"]["result"][0]["values"].as_array().unwrap().clone();
    let times: Vec<f64> = points.iter().map(|p| p[0].as_f64().unwrap()).collect();
    assert!(points.iter().all(|p| p[1] == "1"), "{points:?}");
    assert!(times.windows(2).all(|w| w[1] - w[0] < 2.1), "{times:?}");
    assert!(times.len() as u64 + 3 >= seconds, "{seconds} s: {times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_ends_when_its_client_has_gone() {
    let server = Server::start("").await;
    let t = now_ms();
    let samples: Vec<(i64, f64)> = (0..1000).map(|k| (t - 500_000 + k * 500, k as f64)).collect();
    let series = Series { labels: vec![("__name__".to_owned(), "m".to_owned())], samples };
    send(&server.http, &server.url("/api/v1/write"), &[series]).await;
    let end = (t / 1000).to_string();
    // One series, one function: a loop of minutes without a natural end.
    let params = [
        ("query", "quantile_over_time(0.5, m[8m:1ms])"),
        ("start", &(t / 1000 - 300).to_string()),
        ("end", &end),
        ("step", "30ms"),
    ];
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
    let url = server.url(&format!("/api/v1/query_range?{query}"));
    let impatient = reqwest::Client::builder().timeout(Duration::from_millis(2000)).build().unwrap();
    let running = async || {
        let (_, text) = server.try_get("/metrics", &[]).await;
        let line = text.lines().find_map(|l| l.strip_prefix("campanile_query_metrics_running ")).map(str::to_owned);
        line.unwrap_or_default() == "1"
    };
    let asked = tokio::spawn(async move { impatient.get(url).send().await.is_err() });
    eventually("the query runs", 10, async || running().await.then_some(())).await;
    assert!(asked.await.unwrap(), "the query was answered before its client went away");
    let gone = Instant::now();
    eventually("the query has ended", 10, async || (!running().await).then_some(())).await;
    // Mostly below 50 ms, where the query by itself would go on for minutes; a test machine may be slow.
    assert!(gone.elapsed() < Duration::from_secs(15), "{:?}", gone.elapsed());
}
