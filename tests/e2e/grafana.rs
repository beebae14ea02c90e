//! What an unmodified Grafana asks of its three data sources, and the shapes it needs back.

use serde_json::Value;

use crate::flow::push_body;
use crate::harness::{Server, eventually, now_ms};

/// A server that has scraped itself at least once.
async fn with_data() -> Server {
    let server = Server::start("global: {scrape_interval: 1s}\n").await;
    eventually("a first scrape", 20, async || (!server.instant("up == 1").await.is_empty()).then_some(())).await;
    server
}

#[tokio::test]
async fn m4_p15_unknown_paths_are_404_and_only_gzip_is_used() {
    let server = with_data().await;
    for path in [
        "/nothing",
        "/rules/test/test",
        "/config/v1/rules",
        "/api/prom/rules/test/test",
        "/alertmanager/alertmanager/api/v2/status",
        "/loki/api/v1/nothing",
        "/alertmanager/nothing",
    ] {
        assert_eq!(server.try_get(path, &[]).await.0, 404, "{path}");
    }
    let ask =
        |path: &str, accept: &'static str| server.http.get(server.url(path)).header("accept-encoding", accept).send();
    let r = ask("/metrics", "zstd, deflate, br, gzip").await.unwrap();
    assert_eq!(r.headers().get("content-encoding").map(|v| v.as_bytes()), Some(b"gzip".as_slice()));
    let r = ask("/metrics", "zstd, br").await.unwrap();
    assert_eq!(r.headers().get("content-encoding"), None);
    let r = ask("/loki/api/v1/query_range?query=%7B", "gzip").await.unwrap();
    assert_eq!((r.status().as_u16(), r.headers().get("content-encoding")), (400, None));
}

#[tokio::test]
async fn loki_queries() {
    let server = Server::start("").await;
    let health = [("query", "vector(1)+vector(1)"), ("time", "4000000000"), ("direction", "backward")];
    let answer = server.get("/loki/api/v1/query", &health).await;
    assert_eq!(answer["data"]["resultType"], "vector");
    assert_eq!(answer["data"]["result"].as_array().unwrap().len(), 1);
    assert_eq!(answer["data"]["result"][0]["value"][1], "2");

    let base = (now_ms() - 10_000) * 1_000_000;
    let lines: Vec<(i64, String)> = (0..5).map(|i| (base + i * 1_000_000_000, format!("line {i} GET /x"))).collect();
    let body = push_body(serde_json::json!({"app": "web", "env": "prod"}), &lines);
    let push = server.http.post(server.url("/loki/api/v1/push")).header("content-type", "application/json").body(body);
    assert_eq!(push.send().await.unwrap().status(), 204);

    let (start, end) = (base.to_string(), (base + 4_000_000_000).to_string());
    let params = [
        ("query", "{app=\"web\"}"),
        ("start", start.as_str()),
        ("end", end.as_str()),
        ("limit", "2"),
        ("direction", "forward"),
    ];
    let (_, plain) = server.try_get("/loki/api/v1/query_range", &params).await;
    let answer: Value = serde_json::from_str(&plain).unwrap();
    let values = answer["data"]["result"][0]["values"].as_array().unwrap();
    assert_eq!(values.iter().map(|v| v[1].as_str().unwrap()).collect::<Vec<_>>(), ["line 0 GET /x", "line 1 GET /x"]);
    assert!(values.iter().all(|v| v.as_array().unwrap().len() == 2));
    assert!(answer["data"].get("encodingFlags").is_none());
    assert_eq!(answer["data"]["result"][0]["stream"]["service_name"], "web");

    // The entry at `end` is not part of the answer.
    let all = server.get("/loki/api/v1/query_range", &[params[0], params[1], params[2], ("limit", "100")]).await;
    let count: usize =
        all["data"]["result"].as_array().unwrap().iter().map(|s| s["values"].as_array().unwrap().len()).sum();
    assert_eq!(count, 4);

    // With the flag: three parts, and keys in the order that Grafana's streaming parser needs.
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
    let r = server
        .http
        .get(server.url(&format!("/loki/api/v1/query_range?{query}")))
        .header("X-Loki-Response-Encoding-Flags", "categorize-labels");
    let text = r.send().await.unwrap().text().await.unwrap();
    let place = |key: &str| text.find(&format!("\"{key}\":")).unwrap_or_else(|| panic!("{key}: {text}"));
    assert!(place("resultType") < place("encodingFlags") && place("encodingFlags") < place("result"), "{text}");
    assert!(place("result") < place("stats") && place("stream") < place("values"), "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    for stream in answer["data"]["result"].as_array().unwrap() {
        assert!(stream["stream"].get("detected_level").is_none(), "{stream}");
        for v in stream["values"].as_array().unwrap() {
            assert_eq!(v[2]["structuredMetadata"]["detected_level"], "unknown", "{v}");
        }
    }

    // Metric queries, at the steps asked for.
    let params = [
        ("query", "sum by (app) (count_over_time({env=\"prod\"} |= \"GET\" [1m]))"),
        ("start", start.as_str()),
        ("end", end.as_str()),
        ("step", "15000ms"),
    ];
    let answer = server.get("/loki/api/v1/query_range", &params).await;
    assert_eq!(answer["data"]["resultType"], "matrix", "{answer}");
    assert_eq!(answer["data"]["result"][0]["metric"], serde_json::json!({"app": "web"}));
    let params = [("query", "sum(rate({app=\"web\"}[1m]))")];
    let answer = server.get("/loki/api/v1/query", &params).await;
    let rate: f64 = answer["data"]["result"][0]["value"][1].as_str().unwrap().parse().unwrap();
    assert!((rate - 5.0 / 60.0).abs() < 1e-9, "{answer}");

    let (status, text) = server.try_get("/loki/api/v1/query_range", &[("query", "{app=")]).await;
    assert!(status == 400 && text.contains("parse error"), "{status} {text}");
    let (status, text) = server.try_get("/loki/api/v1/query", &[("query", "{app=\"web\"}")]).await;
    assert!(status == 400 && text.contains("not supported as an instant query"), "{status} {text}");
}

#[tokio::test]
async fn loki_metadata() {
    let server = Server::start("").await;
    let now = now_ms() * 1_000_000;
    for app in ["one", "two"] {
        let body = push_body(serde_json::json!({"app": app}), &[(now, format!("from {app}"))]);
        let push =
            server.http.post(server.url("/loki/api/v1/push")).header("content-type", "application/json").body(body);
        assert_eq!(push.send().await.unwrap().status(), 204);
    }
    let labels = server.get("/loki/api/v1/labels", &[]).await;
    assert!(labels["data"].as_array().unwrap().iter().any(|l| l == "app"), "{labels}");
    let values = server.get("/loki/api/v1/label/app/values", &[]).await;
    assert_eq!(values["data"], serde_json::json!(["one", "two"]));
    let times = [("start", "2020-01-01T00:00:00.000Z"), ("end", "2120-01-01T00:00:00Z"), ("query", "{app=\"one\"}")];
    assert_eq!(server.get("/loki/api/v1/label/app/values", &times).await["data"], serde_json::json!(["one"]));
    let series = server.get("/loki/api/v1/series", &[("match[]", "{app=~\".+\"}")]).await;
    assert!(series["data"].as_array().unwrap().iter().any(|s| s["app"] == "two"), "{series}");
    assert_eq!(server.get("/prometheus/api/v1/rules", &[]).await["data"]["groups"], serde_json::json!([]));
    assert_eq!(server.get("/prometheus/api/v1/alerts", &[]).await["data"]["alerts"], serde_json::json!([]));
}
