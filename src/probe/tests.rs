//! Probes of servers on the loopback.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::config::probe::{Probe, ProbeKind, ProbeModule};
use crate::config::{Expand, Tree};
use crate::exec::clock::ManualClock;
use crate::exec::{CancellationToken, Clock};
use crate::model::sample::is_stale_nan;
use crate::model::{MatchOp, Matcher};
use crate::probe::manager::{Manager, Stores};
use crate::probe::result::ProbeResult;
use crate::probe::{Question, probe_once};
use crate::tsdb::{Column, Db};

fn module(yaml: &str) -> ProbeModule {
    let (tree, problems) = Tree::parse("test", yaml, Expand::Nothing);
    let (module, more) = tree.decode();
    assert_eq!((problems, more), (vec![], vec![]));
    module.unwrap()
}

async fn ask(module: &ProbeModule, target: &str) -> ProbeResult {
    probe_once(Question { module, target, hostname: None, timeout: Duration::from_secs(5) }).await
}

fn gauge(result: &ProbeResult, name: &str) -> Option<f64> {
    result.gauges.iter().find(|g| g.name == name).map(|g| g.value)
}

/// Answers the request that `stream` holds with the text that `answer` gives for its first line.
async fn answer_one<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, answer: fn(&str) -> String) {
    let mut request = Vec::new();
    while !request.windows(4).any(|w| w == b"\r\n\r\n") {
        if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let _closed = stream.write_all(answer(&request).as_bytes()).await;
    let _closed = stream.shutdown().await;
}

async fn http_server(answer: fn(&str) -> String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer_one(stream, answer));
        }
    });
    format!("http://{address}/")
}

fn page(request: &str) -> String {
    let reply = |status: &str, headers: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len())
    };
    match request.split(' ').nth(1).unwrap_or("") {
        "/" => reply("200 OK", "", "all is well"),
        "/moved" => reply("302 Found", "Location: /\r\n", ""),
        "/broken" => reply("500 Oh No", "", "secret trouble"),
        _ => reply("404 Not Found", "", ""),
    }
}

#[tokio::test]
async fn http_answers() {
    let url = http_server(page).await;
    let plain = ProbeModule::of(ProbeKind::Http);
    let r = ask(&plain, &url).await;
    assert!(r.success, "{:?}", r.failure);
    assert_eq!(gauge(&r, "probe_http_status_code"), Some(200.0));
    assert_eq!(gauge(&r, "probe_http_content_length"), Some(11.0));
    assert_eq!(r.gauges.iter().filter(|g| g.name == "probe_http_duration_seconds").count(), 5);
    assert_eq!(r.details.get("body").and_then(|b| b.as_str()), Some("all is well"));

    let r = ask(&plain, &format!("{url}moved")).await;
    assert_eq!((r.success, gauge(&r, "probe_http_redirects")), (true, Some(1.0)));

    let r = ask(&plain, &format!("{url}broken")).await;
    assert_eq!((r.success, r.failure.as_deref()), (false, Some("status 500 is not 2xx")));
    assert_eq!(gauge(&r, "probe_success"), Some(0.0));

    let picky = module("prober: http\nhttp:\n  fail_if_body_not_matches_regexp: [unwell]\n");
    let r = ask(&picky, &url).await;
    assert_eq!((r.success, gauge(&r, "probe_failed_due_to_regex")), (false, Some(1.0)));

    let refused = ask(&plain, "http://127.0.0.1:1/").await;
    assert!(refused.failure.unwrap().starts_with("cannot connect to 127.0.0.1:1"));
}

#[tokio::test]
async fn time_runs_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("http://{}/", listener.local_addr().unwrap());
    let module = ProbeModule::of(ProbeKind::Http);
    let question = Question { module: &module, target: &target, hostname: None, timeout: Duration::from_millis(200) };
    let r = probe_once(question).await;
    assert_eq!(r.failure.as_deref(), Some("no answer within 200ms while waiting for the answer"));
    assert!(r.duration >= Duration::from_millis(200) && r.duration < Duration::from_secs(3));
}

#[tokio::test]
async fn tls_certificates() {
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2050, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = params.self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![cert.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                tokio::spawn(answer_one(stream, page));
            }
        }
    });
    let target = format!("https://localhost:{port}/");
    let untrusting = ask(&module("prober: http\nhttp: {preferred_ip_protocol: ip4}\n"), &target).await;
    assert!(untrusting.failure.clone().unwrap().contains("TLS handshake failed"), "{:?}", untrusting.failure);
    // The certificate that was refused is what one wants to see.
    let seen = untrusting.details.get("certificate").and_then(|c| c.get("not_after")).and_then(|t| t.as_str());
    assert_eq!(seen, Some("2050-01-01T00:00:00Z"));

    let mut trusting = module("prober: http\nhttp: {preferred_ip_protocol: ip4}\n");
    trusting.http.tls_config.ca = Some(cert.pem());
    let r = ask(&trusting, &target).await;
    assert!(r.success, "{:?}", r.failure);
    assert_eq!(gauge(&r, "probe_ssl_earliest_cert_expiry"), Some(2_524_608_000.0));
    assert_eq!(gauge(&r, "probe_http_ssl"), Some(1.0));
}

#[tokio::test]
async fn tcp_dialogue() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut s, _)) = listener.accept().await {
            let _closed = s.write_all(b"noise\r\n220 mail.test ready\r\n").await;
            let mut heard = [0; 64];
            let n = s.read(&mut heard).await.unwrap_or(0);
            let _closed = s.write_all(&[b"heard ", &heard[..n]].concat()).await;
        }
    });
    let talk = "prober: tcp\ntcp:\n  query_response:\n  - {expect: '^220 (\\S+)', send: 'hi ${1}'}\n  - {expect: '^heard hi mail.test$'}\n";
    let r = ask(&module(talk), &target).await;
    assert!(r.success, "{:?}", r.failure);
    let never = module("prober: tcp\ntcp:\n  query_response: [{expect: '^221'}]\n");
    let timeout = Duration::from_millis(200);
    let r = probe_once(Question { module: &never, target: &target, hostname: None, timeout }).await;
    assert_eq!(r.failure.as_deref(), Some("no answer within 200ms while waiting for a line that matches"));
    assert_eq!(
        ask(&module("prober: tcp\n"), "127.0.0.1:1").await.gauges.iter().find(|g| g.name.contains("regex")),
        None
    );
}

#[tokio::test]
async fn manager_writes_series_and_lines() {
    let url = http_server(page).await;
    let dir = tempfile::tempdir().unwrap();
    let db = Arc::new(Db::open(&dir.path().join("m"), crate::tsdb::Options::default()).unwrap());
    let logs = Arc::new(crate::logs::Store::open(&dir.path().join("l"), crate::logs::Options::default()).unwrap());
    let now = crate::exec::SystemClock.now_ms();
    let clock = Arc::new(ManualClock::at_ms(now));
    let stores = Stores { db: db.clone(), logs, clock: clock.clone() };
    let manager = Manager::new(stores, CancellationToken::new());
    let (tree, _) = Tree::parse("t", &format!("name: web\ntarget: {url}\nlabels: {{team: a}}\n"), Expand::Nothing);
    let probe: Probe = tree.decode().0.unwrap();
    manager.apply(std::slice::from_ref(&probe), &Default::default());
    let before = manager.status();
    assert_eq!(before.len(), 1);
    // The first run comes within seconds; its end is the event to wait for.
    tokio::time::timeout(Duration::from_secs(20), async {
        while manager.status().iter().any(|s| s.last.is_none()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    let select = |name: &str| {
        let wanted = [
            Matcher::new("__name__", MatchOp::Equal, name).unwrap(),
            Matcher::new("job", MatchOp::Equal, "web").unwrap(),
            Matcher::new("team", MatchOp::Equal, "a").unwrap(),
        ];
        let found = db.select(&wanted, i64::MIN, i64::MAX).unwrap();
        let mut column = Column::default();
        if !found.is_empty() {
            found.read(0, i64::MIN, i64::MAX, &mut column).unwrap();
        }
        column.v
    };
    assert_eq!(select("probe_success"), [1.0]);
    // The same configuration again changes nothing; a probe that is gone leaves stale series.
    manager.apply(&[probe], &Default::default());
    clock.advance_ms(1000);
    let tasks_before = manager.status().len();
    manager.apply(&[], &Default::default());
    assert_eq!((tasks_before, manager.status().len()), (1, 0));
    tokio::time::timeout(Duration::from_secs(20), async {
        while select("probe_success").len() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    assert!(is_stale_nan(select("probe_success")[1]));
    manager.stop().await;
}
