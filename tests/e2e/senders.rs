//! Logs from the clients that people use: Elasticsearch's, OpenTelemetry's SDK, a handler made for Loki. They are Python packages
//! of fixed versions in `target/senders`, where `.ci/run` installs them.

use std::path::Path;

use crate::harness::{Process, Server};

const CONFIG: &str = "logs: {retention_time: 0}\nself_scrape: false\nhost: {enabled: false}\n";

/// Runs one of the scripts, which fails where its client is not content.
async fn run(server: &Server, script: &str, argument: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/senders/bin/python").display().to_string();
    let file = root.join("tests/e2e/senders").join(script).display().to_string();
    let log = server.dir.path().join("sender.log");
    let exit = Process::start(&python, &[&file, argument], &log).wait(60).await;
    assert_eq!(exit, Some(0), "{script}: {}", std::fs::read_to_string(&log).unwrap());
}

async fn count(server: &Server, selector: &str) -> usize {
    server.lines(selector).await.len()
}

#[tokio::test]
#[ignore = "needs the Python packages in target/senders"]
async fn elasticsearch() {
    let server = Server::start(CONFIG).await;
    run(&server, "elastic.py", &server.url("")).await;
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
    run(&server, "otlp.py", &format!("127.0.0.1:{}", server.port)).await;
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
    run(&server, "loki.py", &server.url("")).await;
    let stream = r#"{app="shop", kind="order", severity="info", logger="orders"}"#;
    assert_eq!(count(&server, stream).await, 20);
}
