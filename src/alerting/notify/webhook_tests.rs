//! Requests as a real server on loopback gets them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::post;
use serde_json::Value;

use super::*;
use crate::alerting::notify::FailureReason;
use crate::alerting::store::test_alert;
use crate::alerting::template_data::Data;
use crate::alerting::template_data::{AlertData, Reason};
use crate::alerting::templates::NotificationTemplates;
use crate::exec::{Clock, SystemClock};
use crate::model::Labels;

type Got = Arc<Mutex<Vec<(HashMap<String, String>, Value)>>>;

fn router(got: Got) -> Router {
    let keep = move |headers: HeaderMap, body: Bytes| {
        let got = got.clone();
        async move {
            let headers = headers.iter().map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned())).collect();
            got.lock().unwrap().push((headers, serde_json::from_slice(&body).unwrap()));
        }
    };
    Router::new()
        .route("/hook", post(keep))
        .route("/busy", post(|| async { (StatusCode::SERVICE_UNAVAILABLE, "later\n") }))
        .route("/wrong", post(|| async { (StatusCode::CONFLICT, "no") }))
        .route(
            "/moved",
            post(|| async { (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, "/hook")]).into_response() }),
        )
        .route("/often", post(|| async { (StatusCode::TOO_MANY_REQUESTS, [("Retry-After", "3")], "slower") }))
        .route("/slow", post(std::future::pending::<()>))
}

async fn sink() -> (String, Got) {
    let got = Got::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let app = router(got.clone());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (base, got)
}

fn data() -> Data {
    let alert = |i: &str| AlertData::new(&test_alert(&[("alertname", "A"), ("i", i)], 0, i64::MAX, 0), 1000);
    let group = Labels::from_pairs([("alertname", "A")]);
    Data::new("r", group, vec![alert("1"), alert("2"), alert("3")], "http://c.example", Reason::First)
}

async fn send(config: &str, base: &Path, possible_repeat: bool) -> Result<(), SendError> {
    let config: WebhookConfig = serde_json::from_str(config).unwrap();
    let templates = Arc::new(NotificationTemplates::load(&[], base, Arc::new(SystemClock)).unwrap());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let webhook = Webhook::new(config, &Deps { default_http: None, base, templates: &templates, clock: &clock });
    webhook.send(&Notification { possible_repeat, ..Notification::new(&data(), "{}:{}") }).await
}

#[tokio::test]
async fn the_exact_request() {
    let (base, got) = sink().await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("url"), format!("{base}/hook\n")).unwrap();
    std::fs::write(dir.path().join("token"), "s3cret\n").unwrap();
    let basic =
        r#""http_config":{"basic_auth":{"username":"u","password":"p w"},"http_headers":{"X-Team":{"values":["a"]}}}"#;
    send(&format!(r#"{{"url":"{base}/hook","max_alerts":2,{basic}}}"#), dir.path(), true).await.unwrap();
    send(r#"{"url_file":"url","http_config":{"authorization":{"credentials_file":"token"}}}"#, dir.path(), false)
        .await
        .unwrap();
    send(&format!(r#"{{"url":"{base}/{{{{ \"hook\" }}}}"}}"#), dir.path(), false).await.unwrap();
    let got = got.lock().unwrap();
    let (headers, body) = &got[0];
    for (name, value) in [
        ("content-type", "application/json"),
        ("authorization", "Basic dTpwIHc="),
        ("x-campanile-retry", "1"),
        ("x-team", "a"),
        ("user-agent", concat!("campanile/", env!("CARGO_PKG_VERSION"))),
    ] {
        assert_eq!(headers.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert_eq!((body["version"].as_str(), body["truncatedAlerts"].as_u64()), (Some("4"), Some(1)));
    assert_eq!((body["alerts"].as_array().unwrap().len(), body["groupKey"].as_str()), (2, Some("{}:{}")));
    assert_eq!(got[1].0.get("authorization").map(String::as_str), Some("Bearer s3cret"));
    assert!(!got[1].0.contains_key("x-campanile-retry"));
    assert_eq!((got.len(), got[2].1["alerts"].as_array().unwrap().len()), (3, 3));
}

#[tokio::test]
async fn answers_and_what_they_mean() {
    let (base, got) = sink().await;
    let dir = tempfile::tempdir().unwrap();
    let refused = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}/hush", listener.local_addr().unwrap())
    };
    for (url, more, reason, retry, part) in [
        (format!("{base}/busy"), "", FailureReason::ServerError, true, "503 Service Unavailable: later"),
        (format!("{base}/wrong"), "", FailureReason::ClientError, false, "409"),
        (format!("{base}/often"), "", FailureReason::RateLimited, true, "429 Too Many Requests: slower"),
        (format!("{base}/slow"), r#","timeout":"50ms""#, FailureReason::Timeout, true, "timed out"),
        (
            format!("{base}/moved"),
            r#","http_config":{"follow_redirects":false}"#,
            FailureReason::ClientError,
            false,
            "307",
        ),
        (refused, "", FailureReason::Connection, true, "refused"),
    ] {
        let e = send(&format!(r#"{{"url":"{url}"{more}}}"#), dir.path(), false).await.unwrap_err();
        assert_eq!((e.reason, e.retry), (reason, retry), "{url}: {e}");
        assert!(e.message.contains(part) && !e.message.contains("hush"), "{url}: {e}");
    }
    send(&format!(r#"{{"url":"{base}/moved"}}"#), dir.path(), false).await.unwrap();
    assert_eq!(got.lock().unwrap().len(), 1);
    let e = send(r#"{"url_file":"none"}"#, dir.path(), false).await.unwrap_err();
    assert_eq!((e.reason, e.retry), (FailureReason::File, true));
}

#[tokio::test]
async fn https_with_an_own_authority() {
    for is_ca in [rcgen::IsCa::NoCa, rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained)] {
        https_with_certificate(is_ca).await;
    }
}

/// With a certificate that signed itself, and that may be one of an authority, as `openssl req -x509` makes them.
async fn https_with_certificate(is_ca: rcgen::IsCa) {
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.is_ca = is_ca;
    let key = rcgen::KeyPair::generate().unwrap();
    let (cert, got) = (params.self_signed(&key).unwrap(), Got::default());
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ca.pem"), cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let app = router(got.clone());
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            // A client that does not trust the certificate goes away here.
            let Ok(tls) = acceptor.accept(tcp).await else { continue };
            let service = hyper_util::service::TowerToHyperService::new(app.clone());
            let io = hyper_util::rt::TokioIo::new(tls);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service).into_future());
        }
    });
    let url = format!("https://localhost:{port}/hook");
    let to = |url: &str, tls: &str| {
        format!(r#"{{"url":"{url}","http_config":{{"enable_http2":false,"tls_config":{tls}}}}}"#)
    };
    let with = |tls: &str| to(&url, tls);
    assert!(send(&with("{}"), dir.path(), false).await.is_err(), "a certificate nobody vouches for");
    send(&with(r#"{"ca_file":"ca.pem"}"#), dir.path(), false).await.unwrap();
    send(&with(r#"{"insecure_skip_verify":true}"#), dir.path(), false).await.unwrap();
    // The certificate is for another name than that of the address.
    let numbers = format!("https://127.0.0.1:{port}/hook");
    assert!(send(&to(&numbers, r#"{"ca_file":"ca.pem"}"#), dir.path(), false).await.is_err());
    send(&to(&numbers, r#"{"ca_file":"ca.pem","server_name":"localhost"}"#), dir.path(), false).await.unwrap();
    assert_eq!(got.lock().unwrap().len(), 3);
}
