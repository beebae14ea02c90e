//! Logs from the clients that people use: Elasticsearch's, OpenTelemetry's SDK, a handler made for Loki. They are Python packages
//! of fixed versions in `target/senders`, where `.ci/run` installs them.

use std::path::Path;
use std::process::Stdio;

use crate::harness::Server;

const CONFIG: &str = "logs: {retention_time: 0}\nself_scrape: false\nhost: {enabled: false}\n";

/// Runs one of the scripts, which fails where its client is not content.
async fn run(script: &str, argument: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/senders/bin/python");
    let script = root.join("tests/e2e/senders").join(script);
    let child = tokio::process::Command::new(&python)
        .args([script.as_os_str(), argument.as_ref()])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let out = tokio::time::timeout(std::time::Duration::from_secs(60), child).await.expect("within a minute");
    let out = out.unwrap_or_else(|e| panic!("cannot start {}: {e}", python.display()));
    let text = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{}: {}\n{text}", script.display(), String::from_utf8_lossy(&out.stdout));
}

async fn count(server: &Server, selector: &str) -> usize {
    server.lines(selector).await.len()
}

#[tokio::test]
#[ignore = "needs the Python packages in target/senders"]
async fn elasticsearch() {
    let server = Server::start(CONFIG).await;
    run("elastic.py", &server.url("")).await;
    // What the client counted as stored is there, under the labels of its fields, everything else as structured metadata.
    assert_eq!(count(&server, r#"{service_name="shop", index="shop"} |= "placed""#).await, 1000);
    assert_eq!(count(&server, r#"{index="shop"} | detected_level="error" | log_level="error""#).await, 10);
    assert_eq!(count(&server, r#"{index="shop"} | user_id="u-17""#).await, 1);
    let odd: Vec<String> = server.lines(r#"{index="odd"}"#).await.into_iter().map(|l| l.1).collect();
    assert_eq!(odd, ["good", "alone"]);
}

#[tokio::test]
#[ignore = "needs the Python packages in target/senders"]
async fn opentelemetry() {
    let server = Server::start(CONFIG).await;
    run("otlp.py", &format!("127.0.0.1:{}", server.port)).await;
    for way in ["http", "http-gzip", "grpc", "grpc-gzip"] {
        let stream = format!(r#"{{service_name="shop-{way}", k8s_pod_name="shop-1"}}"#);
        let lines = server.lines(&stream).await;
        assert_eq!(lines.len(), 500, "{way}");
        assert_eq!(lines[7].1, format!("order 7 placed by way of {way}"));
        assert_eq!(count(&server, &format!(r#"{stream} | detected_level="error" | team="blue""#)).await, 5, "{way}");
        assert_eq!(count(&server, &format!(r#"{stream} | order_id="499" | scope_name="orders.{way}""#)).await, 1);
    }
}

#[tokio::test]
#[ignore = "needs the Python packages in target/senders"]
async fn loki_handler() {
    let server = Server::start(CONFIG).await;
    run("loki.py", &server.url("")).await;
    let stream = r#"{app="shop", kind="order", severity="info", logger="orders"}"#;
    assert_eq!(count(&server, stream).await, 20);
}
