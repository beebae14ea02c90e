//! Real clients of the Prometheus API: promtool, and a Prometheus that reads from campanile, federates it and writes to it; and the bytes of
//! chunks beside those of a real Prometheus.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use campanile::model::histogram::{CounterResetHint, Span};
use campanile::model::{Column, FloatHistogram};
use campanile::wire::prom_chunk::{encode_column, encode_floats};
use serde_json::{Value, json};

use crate::harness::{Process, Server, client, eventually, free_port, now_ms};
use crate::prometheus_api::{read_request, remote_read};
use crate::prompb::{BucketSpan, Histogram, TimeSeries, WriteRequest, frames, packed};

/// A Prometheus on a port of its own.
struct Prometheus {
    port: u16,
    http: reqwest::Client,
    _process: Process,
}

impl Prometheus {
    async fn start(dir: &Path, config: &str) -> Self {
        let port = free_port();
        let file = dir.join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        let args = [
            format!("--config.file={}", file.display()),
            format!("--storage.tsdb.path={}", dir.join("prometheus").display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
            "--web.enable-remote-write-receiver".to_owned(),
            "--enable-feature=native-histograms".to_owned(),
        ];
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let process = Process::start("prometheus", &args, &dir.join("prometheus.log"));
        let prometheus = Prometheus { port, http: client(), _process: process };
        eventually("Prometheus is ready", 30, async || {
            let r = prometheus.http.get(prometheus.url("/-/ready")).send().await.ok()?;
            r.status().is_success().then_some(())
        })
        .await;
        prometheus
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    async fn get(&self, path: &str, params: &[(&str, &str)]) -> Value {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
        let r = self.http.get(self.url(&format!("{path}?{query}"))).send().await.unwrap();
        serde_json::from_str(&r.text().await.unwrap()).unwrap()
    }
}

const ALONE: &str = "self_scrape: false\nhost: {enabled: false}\n";

/// Counters with a reset and gauges, a sample each second, half a second after the full one.
fn data(start: i64) -> Vec<TimeSeries> {
    let counter = |k: i64| (0..300).map(move |i| (start + i * 1000, ((i % 170) * k) as f64 + 0.25));
    let gauge = (0..300).map(move |i| (start + i * 1000, (i as f64 / 7.0).sin()));
    vec![
        TimeSeries::of(&[("__name__", "m_total"), ("job", "a")], counter(3)),
        TimeSeries::of(&[("__name__", "m_total"), ("job", "b")], counter(5)),
        TimeSeries::of(&[("__name__", "m_gauge"), ("job", "a")], gauge),
        TimeSeries::of(&[("__name__", "fed_gauge"), ("job", "a"), ("instance", "x:1")], [(start + 299_000, 4.5)]),
    ]
}

fn half_second() -> i64 {
    (now_ms() - 300_000) / 1000 * 1000 + 500
}

/// The series of an answer, sorted, values as numbers.
fn series(answer: &Value) -> Vec<(String, Vec<(f64, f64)>)> {
    let point = |p: &Value| (p[0].as_f64().unwrap(), p[1].as_str().unwrap().parse().unwrap());
    let list = answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let mut out: Vec<_> = list
        .iter()
        .map(|s| {
            let points = match s.get("values") {
                Some(values) => values.as_array().unwrap().iter().map(point).collect(),
                None => vec![point(&s["value"])],
            };
            (s["metric"].to_string(), points)
        })
        .collect();
    out.sort_by(|a, b| a.0.cmp(&b.0));
    out
}

fn same(a: &Value, b: &Value, what: &str) {
    let (a, b) = (series(a), series(b));
    assert!(!a.is_empty(), "{what}: nothing");
    assert_eq!(a.iter().map(|s| &s.0).collect::<Vec<_>>(), b.iter().map(|s| &s.0).collect::<Vec<_>>(), "{what}");
    for ((name, a), (_, b)) in a.iter().zip(&b) {
        assert_eq!(a.len(), b.len(), "{what} {name}");
        for (p, q) in a.iter().zip(b) {
            assert!(p.0 == q.0 && (p.1 - q.1).abs() <= 1e-9 * p.1.abs().max(1.0), "{what} {name}: {p:?} {q:?}");
        }
    }
}

#[tokio::test]
#[ignore = "needs prometheus"]
async fn promtool_asks() {
    let server = Server::start(ALONE).await;
    let start = half_second();
    server.write(data(start)).await;
    let base = server.url("");
    let promtool = |args: &[&str]| {
        let out = Command::new("promtool").args(["query", "-o", "json"]).args(args).output().unwrap();
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    let (from, to) = (start / 1000 + 100, start / 1000 + 200);
    let (from, to) = (from.to_string(), to.to_string());
    let shown: Value =
        serde_json::from_str(&promtool(&["instant", "--time", &to, &base, "sum by (job) (m_total)"])).unwrap();
    let own = server.get("/api/v1/query", &[("query", "sum by (job) (m_total)"), ("time", &to)]).await;
    same(&json!({"data": {"result": shown}}), &own, "instant");
    let range = ["range", "--start", &from, "--end", &to, "--step", "10s", &base, "rate(m_total[1m])"];
    let shown: Value = serde_json::from_str(&promtool(&range)).unwrap();
    let params = [("query", "rate(m_total[1m])"), ("start", &from), ("end", &to), ("step", "10")];
    let own = server.get("/api/v1/query_range", &params).await;
    same(&json!({"data": {"result": shown}}), &own, "range");
    let found = promtool(&["series", "--match", "m_total", "--start", &from, "--end", &to, &base]);
    let found: Value = serde_json::from_str(&found).unwrap();
    let want = json!([{"__name__": "m_total", "job": "a"}, {"__name__": "m_total", "job": "b"}]);
    assert_eq!(found, want);
    let found: Value = serde_json::from_str(&promtool(&["labels", &base, "job"])).unwrap();
    assert_eq!(found, json!(["a", "b"]));
}

#[tokio::test]
#[ignore = "needs prometheus"]
async fn a_prometheus_reads_federates_and_writes() {
    let server = Server::start(ALONE).await;
    let start = half_second();
    server.write(data(start)).await;
    let dir = tempfile::tempdir().unwrap();
    let config = format!(
        r#"
global: {{scrape_interval: 1s}}
remote_read:
  - {{url: 'http://127.0.0.1:{port}/api/v1/read', read_recent: true}}
remote_write:
  - {{url: 'http://127.0.0.1:{port}/api/v1/write', queue_config: {{batch_send_deadline: 100ms}}}}
scrape_configs:
  - job_name: federate
    honor_labels: true
    metrics_path: /federate
    params: {{'match[]': ['{{__name__=~"fed_.*"}}']}}
    static_configs: [{{targets: ['127.0.0.1:{port}'], labels: {{via: federation}}}}]
"#,
        port = server.port
    );
    let prometheus = Prometheus::start(dir.path(), &config).await;
    // Nobody gave Prometheus these series: it reads them here.
    let (from, to) = ((start / 1000 + 100).to_string(), (start / 1000 + 290).to_string());
    for query in
        ["m_total", "sum by (job) (rate(m_total[1m]))", "max_over_time(m_gauge[30s]) - m_gauge", "m_total > 300"]
    {
        let params = [("query", query), ("start", &from), ("end", &to), ("step", "10")];
        let theirs = prometheus.get("/api/v1/query_range", &params).await;
        same(&theirs, &server.get("/api/v1/query_range", &params).await, query);
    }
    // Scraped from /federate under the labels that it has here, then written back with the label of the scrape.
    // Prometheus sends on only what is newer than its own start.
    let back = eventually("what was federated comes back", 30, async || {
        let fresh = TimeSeries::of(&[("__name__", "fed_gauge"), ("job", "a"), ("instance", "x:1")], [(now_ms(), 4.5)]);
        server.write(vec![fresh]).await;
        server.instant("fed_gauge{via=\"federation\"}").await.into_iter().next()
    })
    .await;
    let labels = json!({"__name__": "fed_gauge", "instance": "x:1", "job": "a", "via": "federation"});
    assert_eq!(back, (labels, 4.5));
    let up = eventually("the scrape of /federate", 20, async || {
        let up = server.instant("up{job=\"federate\"}").await.into_iter().next()?;
        (up.1 == 1.0).then_some(up)
    })
    .await;
    assert_eq!(up.0["via"], "federation");
    // Metadata comes with remote write, too, if a little later.
    let theirs = prometheus.get("/api/v1/query", &[("query", "scrape_samples_scraped")]).await;
    assert_eq!(theirs["data"]["result"][0]["metric"]["job"], "federate", "{theirs}");
}

#[tokio::test]
#[ignore = "needs prometheus"]
async fn chunks_are_prometheus_own() {
    let dir = tempfile::tempdir().unwrap();
    let prometheus = Prometheus::start(dir.path(), "global: {}\n").await;
    let start = half_second();
    let mut floats: Vec<(i64, f64)> = (0..290).map(|i| (start + i * 1000, (i as f64 / 9.0).sin())).collect();
    // Irregular times and special values.
    for (i, s) in floats.iter_mut().enumerate() {
        s.0 += [0, 3, 0, -200, 170][i % 5];
        if i % 40 == 7 {
            s.1 =
                [f64::INFINITY, f64::MIN_POSITIVE, f64::MAX, 5e-324, f64::from_bits(0x7ff8_0000_0000_0001)][i / 40 % 5];
        }
    }
    let histogram = |i: i64| Histogram {
        count_float: Some(11.0 + 6.0 * i as f64),
        sum: 0.5 + i as f64,
        schema: 2,
        zero_threshold: if i < 50 { 2f64.powi(-128) } else { 0.3 },
        zero_count_float: Some(1.0),
        positive_spans: vec![BucketSpan { offset: -3, length: 2 }, BucketSpan { offset: 4, length: 1 }],
        positive_counts: vec![2.5 + i as f64, 3.5 + 2.0 * i as f64, 1.0 + i as f64],
        negative_spans: vec![BucketSpan { offset: 1, length: 1 }],
        negative_counts: vec![3.0 + 2.0 * i as f64],
        timestamp: start + i * 1000,
        ..Histogram::default()
    };
    let mut with_histograms = TimeSeries::of(&[("__name__", "m_histogram")], []);
    with_histograms.histograms = (0..90).map(histogram).collect();
    let timeseries = vec![TimeSeries::of(&[("__name__", "m_float")], floats.clone()), with_histograms.clone()];
    let body = packed(&WriteRequest { timeseries, metadata: Vec::new() });
    let post = prometheus.http.post(prometheus.url("/api/v1/write")).header("content-encoding", "snappy");
    let r = post.header("content-type", "application/x-protobuf").body(body).send().await.unwrap();
    assert_eq!(r.status(), 204, "{}", r.text().await.unwrap());

    let body = read_request(start - 60_000, start + 600_000, &[1], &[]);
    let (status, _, answer) = remote_read(&prometheus.http, prometheus.url("/api/v1/read"), body).await;
    assert_eq!(status, 200);
    let theirs: Vec<_> =
        frames(&answer).into_iter().filter(|f| f.query_index == 0).flat_map(|f| f.chunked_series).collect();
    let chunks = |name: &str| {
        let of_name = theirs.iter().filter(|s| s.labels.iter().any(|l| l.value == name));
        of_name.flat_map(|s| &s.chunks).collect::<Vec<_>>()
    };
    let mut seen = 0;
    for theirs in chunks("m_float") {
        let inside: Vec<(i64, f64)> =
            floats.iter().copied().filter(|s| (theirs.min_time_ms..=theirs.max_time_ms).contains(&s.0)).collect();
        seen += inside.len();
        let ours = encode_floats(&inside).unwrap();
        assert_eq!(ours.encoding as i32, theirs.encoding);
        // Prometheus leaves one zero byte where its last write ended with a byte.
        let same = theirs.data.strip_prefix(ours.data.as_slice()).is_some_and(|rest| matches!(rest, [] | [0]));
        assert!(same, "floats from {}: {:?}, not {:?}", theirs.min_time_ms, ours.data, theirs.data);
    }
    assert_eq!(seen, floats.len());

    let mut seen = 0;
    let spans = |s: &[BucketSpan]| s.iter().map(|s| Span { offset: s.offset, length: s.length }).collect::<Vec<_>>();
    let mut before = None;
    for theirs in chunks("m_histogram") {
        let mut column = Column::default();
        for h in &with_histograms.histograms {
            if (theirs.min_time_ms..=theirs.max_time_ms).contains(&h.timestamp) {
                let h = (
                    h.timestamp,
                    FloatHistogram {
                        counter_reset_hint: CounterResetHint::Unknown,
                        schema: h.schema,
                        zero_threshold: h.zero_threshold,
                        zero_count: h.zero_count_float.unwrap(),
                        count: h.count_float.unwrap(),
                        sum: h.sum,
                        positive_spans: spans(&h.positive_spans),
                        negative_spans: spans(&h.negative_spans),
                        positive_buckets: h.positive_counts.clone(),
                        negative_buckets: h.negative_counts.clone(),
                        custom_values: Vec::new(),
                    },
                );
                column.push_histogram(h.0, Arc::new(h.1), 0);
            }
        }
        seen += column.len();
        let ours = encode_column(&column);
        assert_eq!(ours.len(), 1);
        assert_eq!(ours[0].encoding as i32, theirs.encoding);
        // What the header says of a reset before the chunk is known only with the chunk before it.
        assert_eq!(ours[0].data[..2], theirs.data[..2]);
        assert_eq!(ours[0].data[3..], theirs.data[3..], "histograms from {}", theirs.min_time_ms);
        before = Some(theirs.max_time_ms);
    }
    assert_eq!(seen, 90);
    assert_eq!(before, Some(start + 89_000));
}
