//! What an unmodified Grafana asks of its three data sources, and the shapes it needs back.

use serde_json::Value;

use crate::harness::{Server, eventually};

/// A server that has scraped itself at least once.
async fn with_data() -> Server {
    let server = Server::start("global: {scrape_interval: 1s}\n").await;
    eventually("a first scrape", 20, async || (!server.instant("up == 1").await.is_empty()).then_some(())).await;
    server
}

/// No `data` in errors, no null `warnings` or `infos` anywhere: Grafana's parser loses the rest of the answer at a null.
fn well_formed(body: &Value) {
    for key in ["warnings", "infos"] {
        assert!(!body.get(key).is_some_and(Value::is_null), "{body}");
    }
    if body["status"] == "error" {
        assert!(body.get("data").is_none(), "{body}");
        assert!(body["errorType"].is_string() && body["error"].is_string(), "{body}");
    }
}

#[tokio::test]
async fn prometheus_health_and_queries() {
    let server = with_data().await;
    let health = server.get("/api/v1/query", &[("query", "1+1"), ("time", "4")]).await;
    well_formed(&health);
    assert_eq!(health["data"]["result"], serde_json::json!([4, "2"]));

    // All parameters in the URL of a POST with an empty form.
    let url = server.url("/api/v1/query?query=up");
    let r = server
        .http
        .post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body("")
        .send()
        .await
        .unwrap();
    let body: Value = serde_json::from_str(&r.text().await.unwrap()).unwrap();
    assert_eq!(body["data"]["resultType"], "vector");
    assert!(!body["data"]["result"].as_array().unwrap().is_empty(), "{body}");

    for (path, params, status) in [
        ("/api/v1/query", vec![("query", "up{")], 400),
        ("/api/v1/query", vec![], 400),
        ("/api/v1/query_range", vec![("query", "up"), ("start", "0"), ("end", "11001"), ("step", "1")], 400),
        ("/api/v1/query_range", vec![("query", "up"), ("start", "10"), ("end", "0"), ("step", "1")], 400),
        ("/api/v1/series", vec![], 400),
        (
            "/api/v1/query",
            vec![(
                "query",
                "vector(1) + on() (label_replace(vector(1), \"a\", \"x\", \"\", \"\") or label_replace(vector(1), \"a\", \"y\", \"\", \"\"))",
            )],
            422,
        ),
    ] {
        let (got, body) = server.try_get(path, &params).await;
        assert_eq!(got, status, "{path} {params:?}: {body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["status"], "error");
        well_formed(&body);
    }

    // Points at start + n * step exactly; special values are strings.
    let params = [("query", "vector(1) / 0"), ("start", "1700000000.123"), ("end", "1700000002"), ("step", "0.5")];
    let range = server.get("/api/v1/query_range", &params).await;
    let values = range["data"]["result"][0]["values"].as_array().unwrap();
    let times: Vec<f64> = values.iter().map(|p| p[0].as_f64().unwrap()).collect();
    assert_eq!(times, [1700000000.123, 1700000000.623, 1700000001.123, 1700000001.623]);
    assert_eq!(values[0][1], "+Inf");
}

#[tokio::test]
async fn prometheus_metadata() {
    let server = with_data().await;
    let names = server.get("/api/v1/labels", &[]).await;
    assert!(names["data"].as_array().unwrap().iter().any(|n| n == "__name__"), "{names}");
    let one = server.get("/api/v1/labels", &[("limit", "1")]).await;
    assert_eq!(one["data"].as_array().unwrap().len(), 1);
    assert_eq!(one["warnings"], serde_json::json!(["results truncated due to limit"]));
    let all = server.get("/api/v1/labels", &[("limit", "0"), ("match[]", "{__name__=~\".+\",}")]).await;
    // New names may have come in between; none that was there may be gone.
    let all_names = all["data"].as_array().unwrap();
    assert!(names["data"].as_array().unwrap().iter().all(|n| all_names.contains(n)), "{all} {names}");
    assert!(all.get("warnings").is_none(), "{all}");
    let values = server.get("/api/v1/label/__name__/values", &[("match[]", "{__name__=~\"(?i).*UP\"}")]).await;
    assert!(values["data"].as_array().unwrap().iter().any(|n| n == "up"), "{values}");
    let series = server.get("/api/v1/series", &[("match[]", "{__name__!=\"\"}"), ("limit", "5")]).await;
    assert_eq!(series["data"].as_array().unwrap().len(), 5);
    assert!(series["data"][0]["__name__"].is_string());

    let metadata = server.get("/api/v1/metadata", &[]).await;
    let metadata = metadata["data"].as_object().unwrap();
    assert!(!metadata.is_empty() && metadata.values().all(|v| !v.as_array().unwrap().is_empty()));
    let (name, first) = metadata.iter().next().unwrap();
    assert!(
        first[0]["type"].is_string() && first[0]["help"].is_string() && first[0]["unit"].is_string(),
        "{name}: {first}"
    );
    assert_eq!(server.get("/api/v1/metadata", &[("metric", name)]).await["data"].as_object().unwrap().len(), 1);

    let build = server.get("/api/v1/status/buildinfo", &[]).await;
    for key in ["version", "revision", "branch", "buildUser", "buildDate", "goVersion"] {
        assert!(build["data"][key].is_string(), "{key}: {build}");
    }
    assert!(build["data"].get("features").is_none(), "{build}");
    assert!(server.get("/api/v1/rules", &[]).await["data"]["groups"].is_array());
    assert!(server.get("/api/v1/alerts", &[]).await["data"]["alerts"].is_array());
    let parsed = server.get("/api/v1/parse_query", &[("query", "sum(rate(up[5m]))")]).await;
    assert_eq!((&parsed["data"]["type"], &parsed["data"]["op"]), (&"aggregation".into(), &"sum".into()), "{parsed}");
    let formatted = server.get("/api/v1/format_query", &[("query", "sum( up )")]).await;
    assert_eq!(formatted["data"], "sum(up)");
    let pools = server.get("/api/v1/scrape_pools", &[]).await;
    assert!(pools["data"]["scrapePools"].as_array().unwrap().iter().any(|p| p == "campanile"), "{pools}");
    let about = [("match_target", "{job=\"campanile\"}"), ("metric", "campanile_build_info")];
    let about = server.get("/api/v1/targets/metadata", &about).await;
    assert_eq!(about["data"][0]["type"], "gauge", "{about}");
    let targets = server.get("/api/v1/targets", &[]).await;
    assert!(
        targets["data"]["activeTargets"].as_array().unwrap().iter().any(|t| t["labels"]["job"] == "campanile"),
        "{targets}"
    );
}

#[tokio::test]
async fn unknown_paths_are_404_and_only_gzip_is_used() {
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
async fn alertmanager_source() {
    let server = Server::start("").await;
    let status = server.get("/alertmanager/api/v2/status", &[]).await;
    assert!(status["config"]["original"].as_str().unwrap().contains("receiver"), "{status}");
    assert!(
        status["cluster"]["status"].is_string()
            && status["versionInfo"]["version"].is_string()
            && status["uptime"].is_string()
    );
    for path in ["alerts", "alerts/groups", "silences", "receivers"] {
        assert!(server.get(&format!("/alertmanager/api/v2/{path}"), &[]).await.is_array(), "{path}");
    }
    let silence = serde_json::json!({
        "matchers": [{"name": "alertname", "value": "X", "isRegex": false, "isEqual": true}],
        "startsAt": "2026-01-01T00:00:00Z", "endsAt": "2099-01-01T00:00:00Z", "createdBy": "test", "comment": "quiet"
    });
    let post = server.http.post(server.url("/alertmanager/api/v2/silences")).header("content-type", "application/json");
    let r = post.body(silence.to_string()).send().await.unwrap();
    assert_eq!(r.status(), 200);
    let id: Value = serde_json::from_str(&r.text().await.unwrap()).unwrap();
    let id = id["silenceID"].as_str().unwrap().to_owned();
    let one = server.get(&format!("/alertmanager/api/v2/silence/{id}"), &[]).await;
    assert_eq!(one["status"]["state"], "active");
    let r = server.http.delete(server.url(&format!("/alertmanager/api/v2/silence/{id}"))).send().await.unwrap();
    assert_eq!(r.status(), 200);
}
