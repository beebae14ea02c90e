//! Whole scrapes over HTTP (levels `ingest` and `scrape` of the area `exposition`): the body is served on a loopback port, the
//! scraper runs with the case's options, and what is in the store afterwards is compared.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a broken case file must end the test")]

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use campanile::config::ConfigDuration;
use campanile::config::global::GlobalConfig;
use campanile::config::scrape::{ScrapeConfig, StaticConfig};
use campanile::exec::{CancellationToken, SystemClock};
use campanile::model::labels::METRIC_NAME;
use campanile::model::sample::format_value;
use campanile::model::{MatchOp, Matcher};
use campanile::scrape::{Health, ScrapeHandle};
use campanile::tsdb::{Column, Db, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::exposition::{Case, Sample, compare, read_cases};
use crate::report::AreaReport;

/// How many cases of these levels fail: `suite-timestamps`, where a timestamp overflows; Prometheus'
/// fails the whole scrape for it, campanile refuses and counts that sample.
pub const KNOWN_FAILURES: usize = 1;

pub fn replay(folder: &Path) -> AreaReport {
    let cases: Vec<Case> = read_cases(folder).into_iter().filter(|c| c.level != "parse").collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    runtime.block_on(async {
        let server = Targets::start(&cases).await;
        let mut report = AreaReport::default();
        for case in &cases {
            report.count(&case.id, check(case, &server).await);
        }
        report
    })
}

/// The path and the headers of one request.
type Request = (String, BTreeMap<String, Vec<String>>);

/// A server that plays every target. Its HTTP is written by hand, because some cases break it on purpose.
struct Targets {
    port: u16,
    requests: Arc<Mutex<HashMap<String, Request>>>,
}

impl Targets {
    async fn start(cases: &[Case]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("address").port();
        let requests: Arc<Mutex<HashMap<String, Request>>> = Arc::default();
        let cases: Arc<HashMap<String, Case>> = Arc::new(cases.iter().map(|c| (c.id.clone(), c.clone())).collect());
        let seen = requests.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, cases.clone(), seen.clone()));
            }
        });
        Targets { port, requests }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in lines.filter_map(|l| l.split_once(':')) {
        headers.entry(name.to_ascii_lowercase()).or_default().push(value.trim().to_owned());
    }
    Some((path, headers))
}

async fn answer(
    mut stream: TcpStream,
    cases: Arc<HashMap<String, Case>>,
    seen: Arc<Mutex<HashMap<String, Request>>>,
) -> Option<()> {
    let request = read_request(&mut stream).await?;
    let path = request.0.split('?').next()?.to_owned();
    let (place, id) = path.trim_start_matches('/').split_once('/')?;
    let case = cases.get(id)?;
    let accepts_gzip = request.1.get("accept-encoding").is_some_and(|v| v.iter().any(|v| v.contains("gzip")));
    seen.lock().unwrap().insert(id.to_owned(), request);
    let server = &case.server;
    if server.close {
        return None;
    }
    tokio::time::sleep(Duration::from_secs_f64(server.delay)).await;
    let mut body = case.body();
    let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", server.status.unwrap_or(200));
    if place == "case" && server.redirect.as_bool() == Some(true) {
        head = format!("HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: /redirected/{id}\r\n");
        body.clear();
    }
    if let Some(t) = &case.content_type {
        head.push_str(&format!("Content-Type: {t}\r\n"));
    }
    for (n, v) in &server.headers {
        head.push_str(&format!("{n}: {v}\r\n"));
    }
    let gzip = match &server.gzip {
        serde_json::Value::Bool(yes) => *yes,
        serde_json::Value::String(s) if s == "if-accepted" => accepts_gzip,
        serde_json::Value::String(_) => {
            head.push_str("Content-Encoding: gzip\r\n");
            false
        }
        _ => false,
    };
    if gzip {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&body).ok()?;
        body = packed.finish().ok()?;
        head.push_str("Content-Encoding: gzip\r\n");
    }
    if server.chunked {
        head.push_str("Transfer-Encoding: chunked\r\n\r\n");
        stream.write_all(head.as_bytes()).await.ok()?;
        for chunk in body.chunks(7) {
            stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).await.ok()?;
            stream.write_all(chunk).await.ok()?;
            stream.write_all(b"\r\n").await.ok()?;
        }
        stream.write_all(b"0\r\n\r\n").await.ok()?;
    } else {
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        stream.write_all(head.as_bytes()).await.ok()?;
        stream.write_all(&body).await.ok()?;
    }
    stream.flush().await.ok()
}

fn config(case: &Case, port: u16) -> ScrapeConfig {
    let mut config = case.config();
    config.metrics_path = Some(format!("/case/{}", case.id));
    config.scrape_timeout = config.scrape_timeout.or(Some(ConfigDuration::from_secs(2)));
    config.static_configs = vec![StaticConfig {
        targets: vec![format!("127.0.0.1:{port}")],
        labels: BTreeMap::from([("zz_case".to_owned(), case.id.clone())]),
    }];
    config
}

async fn check(case: &Case, server: &Targets) -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    // The bodies hold timestamps of all ages, and the recording server took them.
    let forever = i64::MAX / 2;
    let options = Options { retention_ms: forever, out_of_order_window_ms: forever, ..Options::default() };
    let db = Arc::new(Db::open(dir.path(), options).map_err(|e| e.to_string())?);
    // Nobody listens on port 1.
    let port = if case.server.refused { 1 } else { server.port };
    let handle = ScrapeHandle::start(db.clone(), Arc::new(SystemClock), CancellationToken::new());
    let hourly = GlobalConfig { scrape_interval: Some(ConfigDuration::from_secs(3600)), ..GlobalConfig::default() };
    handle.apply(&hourly, &[config(case, port)]).await.map_err(|e| e.to_string())?;
    handle.scrape_now().await;
    let target = handle.targets().active_targets.pop().ok_or("no target")?;
    handle.stop().await;
    let want_health = if case.expect.error.is_none() { Health::Up } else { Health::Down };
    if target.health != want_health {
        return Err(format!("health {:?} ({}), want {:?}", target.health, target.last_error, case.expect.error));
    }
    let (report, mut samples) = stored(case, &db, port)?;
    for (name, want) in [
        ("up", case.expect.up),
        ("scrape_samples_scraped", case.expect.scrape_samples_scraped),
        ("scrape_samples_post_metric_relabeling", case.expect.scrape_samples_post_metric_relabeling),
    ] {
        if report.get(name) != Some(&format_value(want)) {
            return Err(format!("{name} is {:?}, want {want}", report.get(name)));
        }
    }
    let mut want = case.expect.samples.clone().unwrap_or_default();
    want.iter_mut().for_each(|s| s.exemplar = None);
    compare("samples", &mut samples, &mut want)?;
    check_request(case, server)
}

/// What the store holds: the report series by name, and the samples of the body as the recording writes them.
fn stored(case: &Case, db: &Db, port: u16) -> Result<(BTreeMap<String, String>, Vec<Sample>), String> {
    let everything = Matcher::new(METRIC_NAME, MatchOp::Regex, ".+").map_err(|e| e.to_string())?;
    let found = db.select(&[everything], i64::MIN, i64::MAX).map_err(|e| e.to_string())?;
    let own = [
        ("job", case.id.clone(), "<job>"),
        ("instance", format!("127.0.0.1:{port}"), "<instance>"),
        ("zz_case", case.id.clone(), "<id>"),
    ];
    let mut report = BTreeMap::new();
    let mut samples = Vec::new();
    let mut scrape_time = None;
    for pass in 0..2 {
        for i in 0..found.len() {
            let labels = found.labels(i);
            let mut column = Column::default();
            found.read(i, i64::MIN, i64::MAX, &mut column).map_err(|e| e.to_string())?;
            let name = labels.metric_name().to_owned();
            let synthetic = name == "up" || name.starts_with("scrape_");
            if pass == 0 && synthetic {
                scrape_time = column.t.first().copied();
                report.insert(name, column.v.first().copied().map(format_value).unwrap_or_default());
            } else if pass == 1 && !synthetic {
                let mut map: BTreeMap<String, String> =
                    labels.iter().filter(|(n, _)| *n != METRIC_NAME).map(|(n, v)| (n.into(), v.into())).collect();
                for (n, value, shown) in &own {
                    if map.get(*n) == Some(value) {
                        if case.id.starts_with("honor-labels") && *n != "zz_case" {
                            map.insert((*n).to_owned(), (*shown).to_owned());
                        } else {
                            map.remove(*n);
                        }
                    }
                }
                for (t, v) in column.t.iter().zip(&column.v) {
                    samples.push(Sample {
                        name: name.clone(),
                        labels: map.clone(),
                        value: format_value(*v),
                        timestamp_ms: (Some(*t) != scrape_time).then_some(*t),
                        exemplar: None,
                    });
                }
            }
        }
    }
    Ok((report, samples))
}

fn check_request(case: &Case, server: &Targets) -> Result<(), String> {
    let Some(want) = &case.expect.request else { return Ok(()) };
    let requests = server.requests.lock().unwrap();
    let (path, headers) = requests.get(&case.id).ok_or("no request came")?;
    let want_path = want["path"].as_str().unwrap_or("").replace("<id>", &case.id);
    if *path != want_path {
        return Err(format!("asked for {path}, want {want_path}"));
    }
    for (name, value) in want["headers"].as_object().into_iter().flatten() {
        let value: Vec<String> = match value {
            serde_json::Value::Array(list) => list.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect(),
            v => vec![v.as_str().unwrap_or("").to_owned()],
        };
        let got = headers.get(&name.to_ascii_lowercase());
        // campanile gives its own name.
        if name != "User-Agent" && got != Some(&value) {
            return Err(format!("header {name} is {got:?}, want {value:?}"));
        }
    }
    Ok(())
}
