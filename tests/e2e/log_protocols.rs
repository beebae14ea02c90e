//! What senders of logs are told, protocol by protocol: encodings, bodies that are too large, limits, answers before the first bulk.

use std::io::Write;

use reqwest::Response;
use serde_json::Value;

use crate::harness::Server;

const CONFIG: &str = r#"
logs:
  retention_time: 0
  max_body_bytes: 1MiB
  limits: {sender_rate: 64KiB, sender_burst: 512KiB}
self_scrape: false
host: {enabled: false}
"#;

fn packed(encoding: &str, body: &[u8]) -> Vec<u8> {
    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    match encoding {
        "gzip" => {
            let mut e = GzEncoder::new(Vec::new(), Compression::fast());
            e.write_all(body).unwrap();
            e.finish().unwrap()
        }
        "deflate" => {
            let mut e = ZlibEncoder::new(Vec::new(), Compression::fast());
            e.write_all(body).unwrap();
            e.finish().unwrap()
        }
        "zstd" => zstd::bulk::compress(body, 1).unwrap(),
        "snappy" => snap::raw::Encoder::new().compress_vec(body).unwrap(),
        _ => body.to_vec(),
    }
}

async fn post(server: &Server, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Response {
    let mut request = server.http.post(server.url(path)).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

/// A request of each protocol that brings one line to the stream `app="..."`.
fn requests(app: &str, line: &str) -> [(&'static str, String); 4] {
    // Times of their own: an entry that is the same in all is stored once.
    let t = |protocol: i64| 1_768_482_001_000_000_000 + protocol;
    let [loki, ndjson, elastic, otlp] = [0, 1, 2, 3].map(t);
    [
        (
            "/loki/api/v1/push",
            format!(r#"{{"streams":[{{"stream":{{"app":"{app}"}},"values":[["{loki}","{line}"]]}}]}}"#),
        ),
        ("/api/v1/logs", format!(r#"{{"_time":{ndjson},"_msg":"{line}","app":"{app}"}}"#)),
        (
            "/_bulk",
            format!("{{\"index\":{{}}}}\n{{\"@timestamp\":{elastic},\"message\":\"{line}\",\"app\":\"{app}\"}}\n"),
        ),
        (
            "/v1/logs",
            format!(
                r#"{{"resourceLogs":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"{app}"}}}}]}},"scopeLogs":[{{"logRecords":[{{"timeUnixNano":"{otlp}","body":{{"stringValue":"{line}"}}}}]}}]}}]}}"#
            ),
        ),
    ]
}

#[tokio::test]
async fn every_encoding_with_a_cap() {
    let server = Server::start(CONFIG).await;
    for encoding in ["identity", "gzip", "deflate", "zstd", "snappy"] {
        for (path, body) in requests(encoding, &format!("by {encoding}")) {
            let headers = [("content-type", "application/json"), ("content-encoding", encoding)];
            let answer = post(&server, path, &headers, packed(encoding, body.as_bytes())).await;
            let status = answer.status();
            assert!(status.is_success(), "{path} {encoding}: {status} {}", answer.text().await.unwrap());
            // Snappy begins with the length; one that is too large is another error.
            let noise = if encoding == "snappy" { b"\x14 not packed" } else { b"\xff not packed" };
            let damaged = post(&server, path, &headers, noise.to_vec()).await;
            assert_eq!(damaged.status(), 400, "{path} {encoding}");
        }
        let lines = server.lines(&format!("{{service_name=\"{encoding}\"}}")).await;
        assert_eq!(lines.len(), 4, "{encoding}: {lines:?}");
        // Small as it comes and large when unpacked: refused without unpacking more than allowed.
        for (path, body) in requests(encoding, &"v".repeat(2 << 20)) {
            let headers = [("content-type", "application/json"), ("content-encoding", encoding)];
            let answer = post(&server, path, &headers, packed(encoding, body.as_bytes())).await;
            assert_eq!(answer.status(), 413, "{path} {encoding}");
        }
    }
    for (path, body) in requests("x", "x") {
        let headers = [("content-type", "application/json"), ("content-encoding", "br")];
        assert_eq!(post(&server, path, &headers, body.into_bytes()).await.status(), 400, "{path}");
    }
}

#[tokio::test]
async fn each_sender_has_a_rate() {
    let server = Server::start(CONFIG).await;
    let line = "v".repeat(200 << 10);
    let json = ("content-type", "application/json");
    for (path, body) in requests("rate", &line) {
        let tenant = ("x-scope-orgid", path);
        let mut refused = None;
        for _ in 0..40 {
            let answer = post(&server, path, &[json, tenant], body.clone().into_bytes()).await;
            if answer.status() == 429 {
                refused = Some(answer);
                break;
            }
            assert!(answer.status().is_success(), "{path}: {}", answer.status());
        }
        let refused = refused.unwrap_or_else(|| panic!("{path}: never refused"));
        let seconds: u32 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=4).contains(&seconds), "{path}: {seconds}");
        let text = refused.text().await.unwrap();
        let words = format!("Ingestion rate limit exceeded for user {path} (limit: 65536 bytes/sec)");
        assert!(text.contains(&words), "{path}: {text}");
        let other = post(&server, path, &[json, ("x-scope-orgid", "another")], b"{}".to_vec()).await;
        assert_ne!(other.status(), 429, "{path}");
    }
    let metrics = server.http.get(server.url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("campanile_logs_refused_entries_total{reason=\"rate_limited\"} 4"), "{metrics}");
}

#[tokio::test]
async fn what_elasticsearch_clients_ask_first() {
    let server = Server::start("").await;
    for base in ["", "/elasticsearch"] {
        for (path, pointer, expected) in [
            ("/", "/tagline", "You Know, for Search"),
            ("/_license", "/license/status", "active"),
            ("/_xpack", "/license/type", "basic"),
            ("/_cluster/health", "/status", "green"),
            ("/_nodes/http", "/cluster_name", "campanile"),
            ("/_index_template/shop", "/index_templates/0/name", "shop"),
            ("/_component_template/shop", "/component_templates/0/name", "shop"),
            ("/_data_stream/shop", "/data_streams/0/name", "shop"),
            ("/_ilm/policy/shop", "/shop/modified_date", "2026-01-01T00:00:00.000Z"),
        ] {
            let answer = server.http.get(server.url(&format!("{base}{path}"))).send().await.unwrap();
            assert_eq!(answer.headers()["x-elastic-product"], "Elasticsearch", "{base}{path}");
            let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
            assert_eq!(body.pointer(pointer).and_then(Value::as_str), Some(expected), "{base}{path}: {body}");
            let head = server.http.head(server.url(&format!("{base}{path}"))).send().await.unwrap();
            assert_eq!(head.status(), 200, "{base}{path}");
        }
        for path in ["/_index_template/a", "/_template/a", "/_ilm/policy/a", "/_ingest/pipeline/a", "/_data_stream/a"] {
            let answer = server.http.put(server.url(&format!("{base}{path}"))).body("{}").send().await.unwrap();
            assert_eq!(answer.text().await.unwrap(), r#"{"acknowledged":true}"#, "{base}{path}");
        }
        let malformed = post(&server, &format!("{base}/_bulk"), &[], b"{\"frob\":{}}\n{}\n".to_vec()).await;
        assert_eq!(malformed.status(), 400);
        let body: Value = serde_json::from_str(&malformed.text().await.unwrap()).unwrap();
        assert_eq!(body["error"]["type"], "illegal_argument_exception", "{body}");
        assert!(body["error"]["reason"].as_str().unwrap().starts_with("Malformed action/metadata line [1]"), "{body}");
    }
    let search = post(&server, "/elasticsearch/shop/_search", &[], b"{}".to_vec()).await;
    assert_eq!(
        (search.status().as_u16(), &search.headers()["x-elastic-product"]),
        (400, &"Elasticsearch".parse().unwrap())
    );
    // The root belongs to browsers.
    let page = server.http.get(server.url("/")).header("accept", "text/html").send().await.unwrap();
    assert!(page.headers().get("x-elastic-product").is_none());
}

#[tokio::test]
async fn opentelemetry_senders_are_told_what_was_refused() {
    let server = Server::start("").await;
    let now = crate::harness::now_ms() * 1_000_000;
    let body = |t: i64| {
        format!(
            r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"timeUnixNano":"{now}","body":{{"stringValue":"good"}}}},{{"timeUnixNano":"{t}","body":{{"stringValue":"bad"}}}}]}}]}}]}}"#
        )
    };
    for path in ["/v1/logs", "/otlp/v1/logs"] {
        let json = [("content-type", "application/json")];
        let partly = post(&server, path, &json, body(now + 3_600_000_000_000).into_bytes()).await;
        assert_eq!(partly.status(), 200, "{path}");
        let answer: Value = serde_json::from_str(&partly.text().await.unwrap()).unwrap();
        assert_eq!(answer["partialSuccess"]["rejectedLogRecords"], "1", "{path}: {answer}");
        assert!(answer["partialSuccess"]["errorMessage"].as_str().unwrap().contains("too new"), "{path}: {answer}");
        let unreadable = post(&server, path, &json, b"{".to_vec()).await;
        assert_eq!(unreadable.status(), 400, "{path}");
        assert_eq!(serde_json::from_str::<Value>(&unreadable.text().await.unwrap()).unwrap()["code"], 3, "{path}");
        let binary = post(&server, path, &[("content-type", "application/x-protobuf")], vec![0xff; 9]).await;
        assert_eq!(
            (binary.status().as_u16(), &binary.headers()["content-type"]),
            (400, &"application/x-protobuf".parse().unwrap())
        );
        assert_eq!(post(&server, path, &[("content-type", "text/xml")], vec![]).await.status(), 415, "{path}");
    }
    assert_eq!(server.lines(r#"{service_name="unknown_service"}"#).await.len(), 1, "sent again, stored once");
}
