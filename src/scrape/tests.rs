use std::collections::BTreeMap;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::config::global::GlobalConfig;
use crate::config::scrape::ScrapeConfig;
use crate::exec::clock::ManualClock;
use crate::exec::{CancellationToken, Clock};
use crate::model::sample::is_stale_nan;
use crate::model::{MatchOp, Matcher, TimestampNs};
use crate::tsdb::{Column, Db, Options, SeriesLimits};

/// A value as the tests write it: staleness markers have a word.
fn shown(v: f64) -> String {
    if is_stale_nan(v) { "stale".to_owned() } else { crate::model::sample::format_value(v) }
}

/// All samples of a metric by its labels without name and target labels.
fn stored(db: &Db, metric: &str) -> BTreeMap<String, Vec<(i64, String)>> {
    let matcher = Matcher::new("__name__", MatchOp::Equal, metric).unwrap();
    let found = db.select(&[matcher], i64::MIN, i64::MAX).unwrap();
    (0..found.len())
        .map(|i| {
            let mut c = Column::default();
            found.read(i, i64::MIN, i64::MAX, &mut c).unwrap();
            let labels = found.labels(i).without(&["__name__", "job", "instance"]);
            (labels.to_string(), c.t.iter().copied().zip(c.v.iter().map(|v| shown(*v))).collect())
        })
        .collect()
}

fn values(db: &Db, metric: &str) -> Vec<String> {
    stored(db, metric).into_values().flatten().map(|(_, v)| v).collect()
}

struct Bench {
    _dir: tempfile::TempDir,
    db: Arc<Db>,
    clock: Arc<ManualClock>,
    handle: ScrapeHandle,
}

fn open(dir: &std::path::Path, clock: Arc<dyn Clock>) -> Arc<Db> {
    Arc::new(Db::open(dir, Options { clock, ..Options::default() }).unwrap())
}

/// A scraper whose clock stands at 2026-01-01 and whose loops wait for hours.
fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at_ms(START_MS));
    let db = open(dir.path(), clock.clone());
    let handle = ScrapeHandle::start(db.clone(), clock.clone(), CancellationToken::new());
    Bench { _dir: dir, db, clock, handle }
}

const START_MS: i64 = 1_767_225_600_000;

impl Bench {
    async fn apply(&self, jobs: &str) {
        let jobs: Vec<ScrapeConfig> = serde_saphyr::from_str(jobs).unwrap();
        self.handle.apply(&hourly(), &jobs).await.unwrap();
    }

    /// Scrapes everything a second later than before.
    async fn scrape(&self) {
        self.clock.advance_ms(1000);
        self.handle.scrape_now().await;
    }
}

fn hourly() -> GlobalConfig {
    serde_saphyr::from_str("{scrape_interval: 1h, scrape_timeout: 5s}").unwrap()
}

/// A target whose answer can be changed.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<(u16, String)>>);

impl Page {
    fn set(&self, status: u16, body: &str) {
        *self.0.lock().unwrap() = (status, body.to_owned());
    }

    async fn serve(&self) -> u16 {
        let page = self.clone();
        let app = Router::new().route(
            "/metrics",
            get(move || async move {
                let (status, body) = page.0.lock().unwrap().clone();
                (StatusCode::from_u16(status).unwrap(), [(header::CONTENT_TYPE, "text/plain; version=0.0.4")], body)
            }),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, app).await });
        port
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn series_that_vanish_and_targets_that_fail_go_stale() {
    let b = bench();
    let page = Page::default();
    let port = page.serve().await;
    b.apply(&format!("[{{job_name: j, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]")).await;
    page.set(200, "# HELP a Words.\n# TYPE a counter\na 1\nb{x=\"1\"} 2\nb{x=\"2\"} 3\n");
    b.scrape().await;
    page.set(200, "a 4\nb{x=\"2\"} 5\n");
    b.scrape().await;
    page.set(500, "");
    b.scrape().await;
    b.scrape().await;
    page.set(200, "a 6\n");
    b.scrape().await;
    assert_eq!(values(&b.db, "a"), ["1", "4", "stale", "6"]);
    assert_eq!(
        stored(&b.db, "b").into_iter().collect::<Vec<_>>(),
        [
            ("{x=\"1\"}".to_owned(), vec![(START_MS + 1000, "2".to_owned()), (START_MS + 2000, "stale".to_owned())]),
            (
                "{x=\"2\"}".to_owned(),
                vec![
                    (START_MS + 1000, "3".to_owned()),
                    (START_MS + 2000, "5".to_owned()),
                    (START_MS + 3000, "stale".to_owned())
                ]
            )
        ]
    );
    assert_eq!(values(&b.db, "up"), ["1", "1", "0", "0", "1"]);
    assert_eq!(values(&b.db, "scrape_samples_scraped"), ["3", "2", "0", "0", "1"]);
    assert_eq!(values(&b.db, "scrape_series_added"), ["3", "0", "0", "0", "0"]);
    let metadata = b.handle.metadata();
    assert_eq!((metadata[0].metric.as_str(), metadata[0].metadata.help.as_str()), ("a", "Words."));
    // Help and type come in lines of their own and are one version.
    let known = b.db.metadata(Some("a"), 9);
    assert!(known.len() == 1 && known[0].1 == [metadata[0].metadata.clone()], "{known:?}");
    b.handle.stop().await;
    assert_eq!(values(&b.db, "up").len(), 5, "stopping the process writes no markers");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_keeps_what_stays_and_ends_what_goes() {
    let b = bench();
    let page = Page::default();
    let port = page.serve().await;
    page.set(200, "a 1\n");
    let job = |name: &str, more: &str| {
        format!(
            "{{job_name: {name}, static_configs: [{{targets: ['127.0.0.1:{port}'], labels: {{from: {name}}}}}]{more}}}"
        )
    };
    b.apply(&format!("[{}, {}, {}]", job("same", ""), job("changed", ""), job("gone", ""))).await;
    b.scrape().await;
    b.apply(&format!("[{}, {}]", job("same", ""), job("changed", ", sample_limit: 7"))).await;
    b.scrape().await;
    let a: Vec<_> =
        stored(&b.db, "a").into_iter().map(|(l, v)| (l, v.into_iter().map(|(_, v)| v).collect::<Vec<_>>())).collect();
    let case = |name: &str, v: [&str; 2]| (format!("{{from=\"{name}\"}}"), v.map(str::to_owned).to_vec());
    assert_eq!(a, [case("changed", ["1", "1"]), case("gone", ["1", "stale"]), case("same", ["1", "1"])]);
    assert_eq!(b.handle.scrape_pools(), ["changed", "same"]);
    // The changed job found its series in the cache it was handed.
    let added: Vec<_> = stored(&b.db, "scrape_series_added").into_values().flatten().map(|(_, v)| v).collect();
    assert_eq!(added, ["1", "0", "1", "stale", "1", "0"]);
    b.handle.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_are_one_series_share_its_fate() {
    let b = bench();
    let page = Page::default();
    let port = page.serve().await;
    b.apply(&format!(
        "[{{job_name: j, static_configs: [{{targets: ['127.0.0.1:{port}']}}], \
         metric_relabel_configs: [{{action: labeldrop, regex: host}}, {{action: drop, source_labels: [__name__], regex: junk}}]}}]"
    ))
    .await;
    page.set(200, "a{host=\"x\"} 1\njunk 5\n");
    b.scrape().await;
    page.set(200, "a{host=\"y\"} 2\na{host=\"x\"} 3\njunk 5\n");
    b.scrape().await;
    page.set(200, "a{host=\"y\"} 4\n");
    b.scrape().await;
    assert_eq!(values(&b.db, "a"), ["1", "2", "4"], "the first of two stays, and no marker while one is there");
    assert_eq!(values(&b.db, "junk"), [] as [&str; 0]);
    assert_eq!(values(&b.db, "scrape_samples_scraped"), ["2", "3", "1"]);
    assert_eq!(values(&b.db, "scrape_samples_post_metric_relabeling"), ["1", "2", "1"]);
    b.handle.stop().await;
}

async fn answer_once(mut stream: impl AsyncRead + AsyncWrite + Unpin, head: &str, body: &[u8]) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.unwrap());
    }
    stream
        .write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{head}\r\n", body.len()).as_bytes())
        .await
        .unwrap();
    stream.write_all(body).await.unwrap();
    stream.shutdown().await.unwrap();
    String::from_utf8(request).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_an_own_ca_basic_auth_and_gzip() {
    crate::config::http_client::tls::install_crypto();
    let b = bench();
    let dir = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = rcgen::CertificateParams::new(vec!["metrics.example".to_owned()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(dir.path().join("ca.pem"), cert.pem()).unwrap();
    std::fs::write(dir.path().join("password"), "p w\n").unwrap();
    let server = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![cert.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let requests = tokio::spawn(async move {
        let mut requests = Vec::new();
        // The first client does not trust us and leaves; the second one stays.
        while requests.is_empty() {
            let (tcp, _) = listener.accept().await.unwrap();
            if let Ok(tls) = acceptor.accept(tcp).await {
                let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                gz.write_all(b"a 1\n").unwrap();
                let head = "Content-Type: text/plain\r\nContent-Encoding: gzip\r\n";
                requests.push(answer_once(tls, head, &gz.finish().unwrap()).await);
            }
        }
        requests
    });
    let job = |tls: &str| {
        format!(
            "[{{job_name: j, scheme: https, static_configs: [{{targets: ['127.0.0.1:{port}']}}], \
             basic_auth: {{username: u, password_file: '{dir}/password'}}, tls_config: {tls}}}]",
            dir = dir.path().display()
        )
    };
    b.apply(&job(&format!("{{ca_file: '{}/ca.pem'}}", dir.path().display()))).await;
    b.scrape().await;
    assert_eq!(values(&b.db, "up"), ["0"], "the certificate is not for this address");
    assert!(b.handle.targets().active_targets[0].last_error.contains("certificate"));
    b.apply(&job(&format!("{{ca_file: '{}/ca.pem', server_name: metrics.example}}", dir.path().display()))).await;
    b.scrape().await;
    assert_eq!(b.handle.targets().active_targets[0].last_error, "");
    assert_eq!(values(&b.db, "a"), ["1"]);
    let requests = requests.await.unwrap();
    assert!(requests[0].contains("authorization: Basic dTpwIHc=\r\n"), "{requests:?}");
    assert!(requests[0].contains("accept-encoding: gzip\r\n"), "{requests:?}");
    // A file that is gone leaves the old configuration in force.
    let bad: Vec<ScrapeConfig> = serde_saphyr::from_str(&job("{ca_file: /nowhere/ca.pem}")).unwrap();
    let error = b.handle.apply(&hourly(), &bad).await.unwrap_err();
    assert!(error.source.to_string().starts_with("cannot read /nowhere/ca.pem"), "{}", error.source);
    assert_eq!(b.handle.scrape_pools(), ["j"]);
    b.handle.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_over_the_limit_are_cut_off_while_they_stream() {
    let b = bench();
    let app = Router::new().route(
        "/metrics",
        get(|headers: HeaderMap| async move {
            assert!(headers.get(header::ACCEPT_ENCODING).is_some());
            // A bomb: little to send, a lot to unpack.
            let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            gz.write_all(&vec![b'\n'; 64 << 20]).unwrap();
            ([(header::CONTENT_TYPE, "text/plain"), (header::CONTENT_ENCODING, "gzip")], gz.finish().unwrap())
                .into_response()
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, app).await });
    b.apply(&format!(
        "[{{job_name: j, body_size_limit: 1MB, scrape_timeout: 60s, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]"
    ))
    .await;
    b.scrape().await;
    assert_eq!(b.handle.targets().active_targets[0].last_error, "body size limit exceeded");
    b.handle.stop().await;
}

/// Wall-clock time that follows tokio's, so that a paused runtime moves both.
struct RuntimeClock(tokio::time::Instant);

impl Clock for RuntimeClock {
    fn now_ns(&self) -> TimestampNs {
        START_MS * 1_000_000 + i64::try_from(self.0.elapsed().as_nanos()).unwrap()
    }
}

/// Scrapes one target inside the process every 15 s. Its series `rounds` is how often that was done before, which is also given back.
async fn counting_rounds(db: &Arc<Db>, clock: Arc<dyn Clock>) -> (ScrapeHandle, Arc<AtomicUsize>) {
    let handle = ScrapeHandle::start(db.clone(), clock, CancellationToken::new());
    let global: GlobalConfig = serde_saphyr::from_str("{scrape_interval: 15s}").unwrap();
    handle.apply(&global, &[]).await.unwrap();
    let rounds = Arc::new(AtomicUsize::new(0));
    let seen = rounds.clone();
    handle.register(InProcessTarget {
        job: "campanile".to_owned(),
        instance: "here".to_owned(),
        interval_ms: None,
        render: Arc::new(move || format!("rounds {}\n", seen.fetch_add(1, Ordering::SeqCst))),
    });
    (handle, rounds)
}

#[tokio::test(start_paused = true)]
async fn loops_keep_their_rhythm() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(RuntimeClock(tokio::time::Instant::now()));
    let db = open(dir.path(), clock.clone());
    let (handle, _) = counting_rounds(&db, clock).await;
    tokio::time::sleep(Duration::from_secs(61)).await;
    handle.stop().await;
    let times: Vec<i64> = stored(&db, "rounds").into_values().flatten().map(|(t, _)| t).collect();
    // Once at the start, then in rhythm.
    let (first, rhythm) = times.split_first().unwrap();
    assert_eq!((*first, rhythm.len()), (START_MS, 4), "{times:?}");
    assert!(rhythm.windows(2).all(|w| w[1] - w[0] == 15_000), "{times:?}");
    assert!((0..15_000).contains(&(rhythm[0] - START_MS)));
    assert_eq!(handle.scrape_pools(), [] as [&str; 0]);
}

/// [`RuntimeClock`] that is an hour back from some moment on.
struct SetBack {
    clock: RuntimeClock,
    at_s: u64,
}

impl Clock for SetBack {
    fn now_ns(&self) -> TimestampNs {
        let back = if self.clock.0.elapsed().as_secs() >= self.at_s { 3_600_000_000_000 } else { 0 };
        self.clock.now_ns() - back
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_stops_no_loop() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(SetBack { clock: RuntimeClock(tokio::time::Instant::now()), at_s: 100 });
    // Late samples are taken, so that the store shows what the loop does.
    let options =
        Options { clock: clock.clone(), maintenance: false, out_of_order_window_ms: 7_200_000, ..Options::default() };
    let db = Arc::new(Db::open(dir.path(), options).unwrap());
    let (handle, rounds) = counting_rounds(&db, clock).await;
    tokio::time::sleep(Duration::from_secs(99)).await;
    let before = rounds.load(Ordering::SeqCst);
    assert!((6..=8).contains(&before), "{before}");
    tokio::time::sleep(Duration::from_secs(90)).await;
    handle.stop().await;
    let after = rounds.load(Ordering::SeqCst) - before;
    assert!((5..=7).contains(&after), "{after} rounds after the clock was set back");
    let times: Vec<i64> = stored(&db, "rounds").into_values().flatten().map(|(t, _)| t).collect();
    assert_eq!(times.len(), before + after, "{times:?}");
    let back = times.iter().filter(|t| **t < START_MS).count();
    assert!(back + 1 >= after, "{times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn native_histograms_are_asked_for_and_stored() {
    use crate::wire::protobuf::{put_field_bytes, put_field_varint};
    let mut histogram = Vec::new();
    put_field_varint(&mut histogram, 1, 3);
    histogram.extend([2 << 3 | 1]);
    histogram.extend(4.5f64.to_le_bytes());
    // One span of two buckets with counts 2 and 1, as zigzag differences.
    put_field_bytes(&mut histogram, 12, &[1 << 3, 0, 2 << 3, 2]);
    put_field_bytes(&mut histogram, 13, &[4, 1]);
    let (mut metric, mut family, mut body) = (Vec::new(), Vec::new(), Vec::new());
    put_field_bytes(&mut metric, 7, &histogram);
    put_field_bytes(&mut family, 1, b"latency");
    put_field_varint(&mut family, 3, 4);
    put_field_bytes(&mut family, 4, &metric);
    crate::disk::varint::put_bytes(&mut body, &family);
    let accepts: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = accepts.clone();
    let app = Router::new().route(
        "/metrics",
        get(move |headers: HeaderMap| async move {
            seen.lock().unwrap().push(headers[header::ACCEPT].to_str().unwrap().to_owned());
            let kind = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
            ([(header::CONTENT_TYPE, kind)], body)
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let b = bench();
    let job = |native: bool| {
        format!(
            "[{{job_name: a, scrape_native_histograms: {native}, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]"
        )
    };
    b.apply(&job(true)).await;
    b.scrape().await;
    let found = b.db.select(&[Matcher::equal("__name__", "latency")], i64::MIN, i64::MAX).unwrap();
    let mut c = Column::default();
    found.read(0, i64::MIN, i64::MAX, &mut c).unwrap();
    assert_eq!((found.len(), c.h.len()), (1, 1));
    assert_eq!((c.h[0].count, c.h[0].sum, &*c.h[0].positive_buckets), (3.0, 4.5, &[2.0, 1.0][..]));
    assert!(accepts.lock().unwrap()[0].starts_with("application/vnd.google.protobuf;"), "{accepts:?}");
    // Its two buckets lie on both sides of 1, where none join: with fewer allowed the scrape fails.
    b.apply(&job(true).replace("histograms: true", "histograms: true, native_histogram_bucket_limit: 1")).await;
    b.scrape().await;
    assert_eq!(values(&b.db, "up"), ["1", "0"]);
    let error = b.handle.targets().active_targets[0].last_error.clone();
    assert!(error.contains("native_histogram_bucket_limit exceeded (metric: latency, buckets"), "{error}");
    // The same body without: its classic side, which has the count alone.
    b.apply(&job(false)).await;
    b.scrape().await;
    assert_eq!(values(&b.db, "latency_bucket"), ["3"]);
    assert!(accepts.lock().unwrap()[2].starts_with("application/openmetrics-text;"), "{accepts:?}");
    b.handle.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exploding_metric_leaves_its_target_up() {
    let page = Page::default();
    let lines = |metric: &str, n: usize| (0..n).map(|i| format!("{metric}{{user=\"{i}\"}} {i}\n")).collect::<String>();
    page.set(200, &(lines("good", 20) + &lines("bad", 20)));
    let port = page.serve().await;
    let b = bench();
    b.db.set_series_limits(SeriesLimits { target_metric: 50, ..SeriesLimits::NONE });
    b.apply(&format!("[{{job_name: a, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]")).await;
    b.scrape().await;
    page.set(200, &(lines("bad", 500) + &lines("good", 40)));
    b.scrape().await;
    b.scrape().await;
    assert_eq!(values(&b.db, "up"), ["1", "1", "1"]);
    assert_eq!((stored(&b.db, "bad").len(), stored(&b.db, "good").len()), (50, 40));
    assert!(stored(&b.db, "bad").values().all(|samples| samples.len() >= 2));
    b.handle.stop().await;
}
