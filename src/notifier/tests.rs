//! Against a small HTTP server that answers as it is told.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::{Value, json};

use super::NotifierHandle;
use crate::config::outside::Outside;
use crate::exec::SystemClock;
use crate::model::Labels;
use crate::model::alert::Alert;

#[derive(Default)]
struct Receiver {
    status: AtomicU16,
    requests: Mutex<Vec<(Option<String>, Value)>>,
}

impl Receiver {
    async fn start() -> (Arc<Receiver>, u16) {
        let receiver = Arc::new(Receiver { status: AtomicU16::new(200), ..Receiver::default() });
        let take = async |State(r): State<Arc<Receiver>>, headers: HeaderMap, body: String| {
            let auth = headers.get("authorization").map(|v| v.to_str().unwrap().to_owned());
            r.requests.lock().unwrap().push((auth, serde_json::from_str(&body).unwrap()));
            StatusCode::from_u16(r.status.load(Ordering::SeqCst)).unwrap()
        };
        let app = Router::new().route("/am/api/v2/alerts", post(take)).with_state(receiver.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        (receiver, port)
    }

    async fn wait(&self, n: usize) -> Vec<(Option<String>, Value)> {
        let enough = async {
            loop {
                let seen = self.requests.lock().unwrap().clone();
                if seen.len() >= n {
                    return seen;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), enough).await.expect("requests")
    }
}

fn alert(name: &str, severity: &str) -> Alert {
    Alert {
        labels: Labels::from_pairs([("alertname", name), ("severity", severity), ("replica", "a")]),
        annotations: Labels::from_pairs([("summary", "s")]),
        starts_at: 1_000,
        ends_at: 61_000,
        updated_at: 0,
        generator_url: "http://x/graph".to_owned(),
    }
}

fn config(json: Value) -> Outside {
    serde_json::from_value(json).unwrap()
}

fn handle() -> NotifierHandle {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    NotifierHandle::new(Arc::new(SystemClock))
}

#[tokio::test]
async fn sends_relabelled_alerts_with_credentials() {
    let (receiver, port) = Receiver::start().await;
    let handle = handle();
    let outside = config(json!({
        "alert_relabel_configs": [{"action": "labeldrop", "regex": "replica"}],
        "alertmanagers": [{
            "path_prefix": "/am/",
            "basic_auth": {"username": "u", "password": "p"},
            "alert_relabel_configs": [{"source_labels": ["severity"], "regex": "info", "action": "drop"}],
            "relabel_configs": [{"source_labels": ["__address__"], "regex": "gone.*", "action": "drop"}],
            "static_configs": [{"targets": [format!("127.0.0.1:{port}"), "gone:9093"]}],
        }],
    }));
    handle.apply(&outside).await.unwrap();
    let status = handle.status();
    assert_eq!(status.active, [format!("http://127.0.0.1:{port}/am/api/v2/alerts")]);
    assert_eq!(status.dropped, ["http://gone:9093/am/api/v2/alerts"]);
    handle.send(&[alert("a", "page"), alert("b", "info")]);
    let seen = receiver.wait(1).await;
    assert_eq!(seen[0].0.as_deref(), Some("Basic dTpw"));
    let want = json!([{
        "labels": {"alertname": "a", "severity": "page"}, "annotations": {"summary": "s"},
        "startsAt": "1970-01-01T00:00:01.000Z", "endsAt": "1970-01-01T00:01:01.000Z", "generatorURL": "http://x/graph",
    }]);
    assert_eq!(seen[0].1, want);
}

#[tokio::test]
async fn an_outage_and_a_reload_lose_nothing() {
    let (receiver, port) = Receiver::start().await;
    receiver.status.store(503, Ordering::SeqCst);
    let handle = handle();
    let with_timeout = |timeout: &str| {
        config(json!({"alertmanagers": [{
            "path_prefix": "am", "timeout": timeout, "static_configs": [{"targets": [format!("127.0.0.1:{port}")]}],
        }]}))
    };
    handle.apply(&with_timeout("5s")).await.unwrap();
    handle.send(&[alert("a", "page")]);
    receiver.wait(1).await;
    // Another configuration for the same address takes over what waits.
    handle.apply(&with_timeout("6s")).await.unwrap();
    let before = receiver.wait(2).await.len();
    receiver.status.store(200, Ordering::SeqCst);
    let seen = receiver.wait(before + 1).await;
    assert_eq!(seen.last().unwrap().1[0]["labels"]["alertname"], "a");
    // A wrong request is not repeated: the next one has only what came later.
    receiver.status.store(400, Ordering::SeqCst);
    handle.send(&[alert("b", "page")]);
    let refused = receiver.wait(seen.len() + 1).await.len();
    tokio::time::sleep(Duration::from_millis(50)).await;
    receiver.status.store(200, Ordering::SeqCst);
    handle.send(&[alert("c", "page")]);
    let last = receiver.wait(refused + 1).await.last().unwrap().1.clone();
    assert_eq!((last.as_array().unwrap().len(), &last[0]["labels"]["alertname"]), (1, &json!("c")));
    handle.apply(&Outside::default()).await.unwrap();
    assert!(handle.is_idle());
    handle.stop().await;
}

#[tokio::test]
async fn files_bring_alertmanagers_and_a_stop_sends_what_is_left() {
    let (receiver, port) = Receiver::start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("am.json");
    std::fs::write(&file, json!([{"targets": [format!("127.0.0.1:{port}")]}]).to_string()).unwrap();
    let handle = handle();
    let outside = config(json!({"alertmanagers": [{"path_prefix": "/am", "file_sd_configs": [{"files": [file]}]}]}));
    handle.apply(&outside).await.unwrap();
    assert_eq!(handle.status().active.len(), 1);
    let many: Vec<_> = (0..600).map(|i| alert(&i.to_string(), "page")).collect();
    handle.send(&many);
    handle.stop().await;
    let seen = receiver.requests.lock().unwrap().clone();
    let mut names: Vec<String> = seen
        .iter()
        .flat_map(|(_, body)| body.as_array().unwrap().iter().map(|a| a["labels"]["alertname"].to_string()))
        .collect();
    assert!(seen.iter().all(|(_, body)| body.as_array().unwrap().len() <= 256), "batches are bounded");
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 600);
}
