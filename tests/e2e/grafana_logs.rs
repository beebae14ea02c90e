//! What an unmodified Grafana asks of its Loki source (L), its health check (L-H), Logs Drilldown (LD) and the alerting pages
//! (M, MD), line by line.

use serde_json::{Value, json};

use crate::harness::{Server, eventually, now_ms};
use crate::loki::Tail;

const SECOND: i64 = 1_000_000_000;

/// Five lines of `web`, one each second, the first ten seconds ago; gives the time of the first.
async fn with_lines() -> (Server, i64) {
    let server = Server::start("").await;
    let base = (now_ms() - 10_000) * 1_000_000;
    let lines: Vec<_> = (0..5).map(|i| (base + i * SECOND, format!("line {i} GET /x took={i}ms level=info"))).collect();
    server.push(json!({"app": "web", "env": "prod"}), &lines).await;
    (server, base)
}

/// A GET with the header that Grafana sends with every query; status and body as text.
async fn with_flag(server: &Server, path: &str, params: &[(&str, &str)]) -> (u16, String) {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
    let r = server
        .http
        .get(server.url(&format!("{path}?{query}")))
        .header("X-Loki-Response-Encoding-Flags", "categorize-labels")
        .header("X-Query-Tags", "Source=logvolhist")
        .header("X-Scope-OrgID", "1");
    let r = r.send().await.unwrap();
    (r.status().as_u16(), r.text().await.unwrap())
}

fn values(answer: &Value) -> Vec<Value> {
    let streams = answer["data"]["result"].as_array().unwrap();
    streams.iter().flat_map(|s| s["values"].as_array().unwrap()).cloned().collect()
}

#[tokio::test]
async fn l_h_save_and_test() {
    let server = Server::start("").await;
    let health = [("query", "vector(1)+vector(1)"), ("time", "4000000000"), ("direction", "backward")];
    // As quick as it wants to be, at least once the machine has time.
    let text = eventually("an answer within three seconds", 20, async || {
        let begun = std::time::Instant::now();
        let (status, text) = with_flag(&server, "/loki/api/v1/query", &health).await;
        assert_eq!(status, 200, "{text}");
        (begun.elapsed().as_secs() < 3).then_some(text)
    })
    .await;
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["data"]["resultType"], "vector");
    assert_eq!(answer["data"]["result"].as_array().unwrap().len(), 1);
    assert_eq!(answer["data"]["result"][0]["value"][1], "2");
}

#[tokio::test]
async fn l_query_range_of_logs() {
    let (server, base) = with_lines().await;
    let (start, end) = (base.to_string(), (base + 4 * SECOND).to_string());
    let params =
        [("query", "{app=\"web\"} | logfmt"), ("start", &*start), ("end", &*end), ("limit", "100"), ("step", "500ms")];
    // With the flag: keys in the order that the streaming parser needs, three parts to an entry, nothing but texts.
    let (_, text) = with_flag(&server, "/loki/api/v1/query_range", &params).await;
    let place = |key: &str| text.find(&format!("\"{key}\":")).unwrap_or_else(|| panic!("{key}: {text}"));
    assert!(place("resultType") < place("encodingFlags") && place("encodingFlags") < place("result"), "{text}");
    assert!(place("result") < place("stats") && place("stream") < place("values"), "{text}");
    assert!(!text.contains("null"), "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["data"]["encodingFlags"], json!(["categorize-labels"]));
    for stream in answer["data"]["result"].as_array().unwrap() {
        assert_eq!(stream.as_object().unwrap().keys().collect::<Vec<_>>(), ["stream", "values"]);
        assert_eq!(stream["stream"], json!({"app": "web", "env": "prod", "service_name": "web"}));
        for v in stream["values"].as_array().unwrap() {
            assert_eq!(v.as_array().unwrap().len(), 3);
            assert!(v[0].is_string() && v[1].is_string(), "{v}");
            assert_eq!(v[2]["structuredMetadata"], json!({"detected_level": "info"}));
            assert!(v[2]["parsed"]["took"].as_str().unwrap().ends_with("ms"), "{v}");
            assert_eq!(v[2].as_object().unwrap().len(), 2);
        }
    }
    // The entry at `end` is not part of the answer, so pieces of a range neither overlap nor leave a gap.
    assert_eq!(values(&answer).len(), 4);

    // Forward with a limit: the oldest.
    let params = [params[0], params[1], params[2], ("limit", "2"), ("direction", "forward")];
    let answer = server.get("/loki/api/v1/query_range", &params).await;
    let lines: Vec<_> =
        values(&answer).iter().map(|v| v[1].as_str().unwrap().chars().take(6).collect::<String>()).collect();
    assert_eq!(lines, ["line 0", "line 1"]);
    // And backward: the newest first.
    let answer = server.get("/loki/api/v1/query_range", &[params[0], params[1], params[2], ("limit", "1")]).await;
    assert!(values(&answer)[0][1].as_str().unwrap().starts_with("line 3"), "{answer}");
}

#[tokio::test]
async fn other_clients_send_no_flag() {
    let (server, base) = with_lines().await;
    let start = base.to_string();
    let params = [("query", "{app=\"web\"} | logfmt"), ("start", &*start)];
    let answer = server.get("/loki/api/v1/query_range", &params).await;
    assert!(answer["data"].get("encodingFlags").is_none(), "{answer}");
    assert!(values(&answer).iter().all(|v| v.as_array().unwrap().len() == 2), "{answer}");
    // All labels in one set then.
    let stream = &answer["data"]["result"][0]["stream"];
    assert_eq!((&stream["service_name"], &stream["detected_level"]), (&json!("web"), &json!("info")));
    assert!(stream["took"].is_string(), "{stream}");
}

#[tokio::test]
async fn l_query_range_of_metrics() {
    let (server, base) = with_lines().await;
    let (start, end) = ((base - 60 * SECOND).to_string(), (base + 60 * SECOND).to_string());
    let query = "sum by (app) (count_over_time({env=\"prod\"} |= \"GET\" [1m]))";
    let params = [("query", query), ("start", &*start), ("end", &*end), ("step", "15000ms")];
    let (_, text) = with_flag(&server, "/loki/api/v1/query_range", &params).await;
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["data"]["resultType"], "matrix", "{answer}");
    assert_eq!(answer["data"]["result"][0]["metric"], json!({"app": "web"}));
    let points = answer["data"]["result"][0]["values"].as_array().unwrap();
    for pair in points.windows(2) {
        let time = |p: &Value| p[0].as_f64().unwrap();
        assert!((time(&pair[1]) - time(&pair[0]) - 15.0).abs() < 1e-6, "{answer}");
    }
    assert!(points.iter().all(|p| p[1].is_string()), "{answer}");
    let answer = server.get("/loki/api/v1/query", &[("query", "sum(rate({app=\"web\"}[1m]))")]).await;
    let rate: f64 = answer["data"]["result"][0]["value"][1].as_str().unwrap().parse().unwrap();
    assert!((rate - 5.0 / 60.0).abs() < 1e-9, "{answer}");
}

#[tokio::test]
async fn l_bad_queries() {
    let server = Server::start("").await;
    for (path, query, want) in [
        ("/loki/api/v1/query_range", "{app=", "parse error"),
        ("/loki/api/v1/query_range", "{app=~\".*\"}", "queries require at least one"),
        ("/loki/api/v1/query", "{app=\"web\"}", "not supported as an instant query"),
    ] {
        let url = server.url(path);
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("query", query).finish();
        let r = server.http.get(format!("{url}?{query}")).header("accept-encoding", "gzip").send().await.unwrap();
        let head = |name: &str| r.headers().get(name).map(|v| v.to_str().unwrap().to_owned());
        let (kind, encoding) = (head("content-type"), head("content-encoding"));
        assert_eq!((r.status().as_u16(), encoding), (400, None));
        assert!(kind.unwrap().starts_with("text/plain"));
        let text = r.text().await.unwrap();
        assert!(text.contains(want), "{text}");
    }
    // A limit in Loki's words, which the client knows.
    let params = [("query", "{a=\"b\"}"), ("limit", "100000")];
    let (status, text) = server.try_get("/loki/api/v1/query_range", &params).await;
    let want = "max entries limit per query exceeded, limit > max_entries_limit_per_query (100000 > 5000)";
    assert!(status == 400 && text.contains(want), "{text}");
}

#[tokio::test]
async fn l_ld_labels_and_series() {
    let server = Server::start("").await;
    let now = now_ms() * 1_000_000;
    for app in ["one", "two"] {
        server.push(json!({"app": app, "odd name": "x"}), &[(now, format!("from {app}"))]).await;
    }
    let (from, to) = ((now - SECOND).to_string(), (now + SECOND).to_string());
    for times in [
        vec![],
        vec![("start", &*from), ("end", &*to)],
        vec![("start", "2020-01-01T00:00:00.000Z"), ("end", "2120-01-01T00:00:00Z")],
    ] {
        let labels = server.get("/loki/api/v1/labels", &times).await;
        assert_eq!(labels["status"], "success");
        assert!(labels["data"].as_array().unwrap().contains(&json!("app")), "{labels}");
        let all = server.get("/loki/api/v1/label/app/values", &times).await;
        assert_eq!(all["data"], json!(["one", "two"]));
        let one: Vec<_> = times.iter().copied().chain([("query", "{app=\"one\"}")]).collect();
        assert_eq!(server.get("/loki/api/v1/label/app/values", &one).await["data"], json!(["one"]));
        let labels = server.get("/loki/api/v1/labels", &one).await;
        assert!(labels["data"].as_array().unwrap().contains(&json!("service_name")), "{labels}");
        let series = server.get("/loki/api/v1/series", &[&times[..], &[("match[]", "{app=~\".+\"}")]].concat()).await;
        let apps: Vec<_> = series["data"].as_array().unwrap().iter().filter_map(|s| s["app"].as_str()).collect();
        assert_eq!(apps, ["one", "two"]);
    }
    // Past times have nothing.
    let old = [("start", "1000000000"), ("end", "1000000001")];
    let none = server.get("/loki/api/v1/label/app/values", &old).await;
    assert!(none.get("data").is_none_or(|d| *d == json!([])), "{none}");
    // Sharding is off: there are no such values.
    let shards = server.get("/loki/api/v1/label/__stream_shard__/values", &[]).await;
    assert!(shards.get("data").is_none_or(|d| *d == json!([])), "{shards}");
}

#[tokio::test]
async fn l_ld_volumes_and_statistics() {
    let (server, _) = with_lines().await;
    server.push(json!({"app": "db"}), &[(now_ms() * 1_000_000, "one line".to_owned())]).await;
    let stats = server.get("/loki/api/v1/index/stats", &[("query", "{app=\"web\"}")]).await;
    let keys = ["streams", "chunks", "bytes", "entries"];
    assert!(keys.iter().all(|k| stats[*k].is_u64()) && stats.as_object().unwrap().len() == 4, "{stats}");
    assert_eq!(stats["entries"], 5);
    let params = [("query", "{service_name=~\".+\"}"), ("limit", "5000")];
    let volume = server.get("/loki/api/v1/index/volume", &params).await;
    assert_eq!(volume["data"]["resultType"], "vector");
    let rows = volume["data"]["result"].as_array().unwrap();
    assert_eq!(
        rows.iter().map(|r| r["metric"].clone()).collect::<Vec<_>>(),
        [json!({"service_name": "web"}), json!({"service_name": "db"})]
    );
    assert!(rows.iter().all(|r| r["value"][1].is_string()), "{volume}");
}

#[tokio::test]
async fn ld_start_and_service_page() {
    let (server, base) = with_lines().await;
    let labels = server.get("/loki/api/v1/detected_labels", &[("query", "")]).await;
    let labels = labels["detectedLabels"].as_array().unwrap();
    assert!(labels.contains(&json!({"label": "service_name", "cardinality": 1})), "{labels:?}");

    let params = [("query", "{app=\"web\"} | logfmt"), ("limit", "1000")];
    let fields = server.get("/loki/api/v1/detected_fields", &params).await;
    assert!(fields.get("data").is_none() && fields["limit"] == 1000, "{fields}");
    let field = |name: &str| fields["fields"].as_array().unwrap().iter().find(|f| f["label"] == name).unwrap();
    assert_eq!(field("detected_level")["parsers"], Value::Null);
    assert_eq!((&field("took")["type"], &field("took")["parsers"]), (&json!("duration"), &json!(["logfmt"])));
    let levels = server.get("/loki/api/v1/detected_field/detected_level/values", &[("query", "{app=\"web\"}")]).await;
    assert_eq!(levels["values"], json!(["info"]));
    assert!(levels.get("data").is_none() && levels["limit"].is_u64(), "{levels}");

    let none = server.get("/loki/api/v1/patterns", &[("query", "{app=\"none\"}"), ("step", "30s")]).await;
    assert_eq!(none, json!({"status": "success", "data": []}));
    let limits = server.get("/loki/api/v1/drilldown-limits", &[]).await;
    assert!(limits["limits"].is_object() && limits["pattern_ingester_enabled"] == true, "{limits}");
    assert!(limits["version"].is_string(), "{limits}");

    // The queries of the service page.
    let start = base.to_string();
    for (query, want) in [
        ("sum by (detected_level) (count_over_time({ service_name=\"web\" }  [5m]))", "info"),
        (
            "sum by (level, detected_level) (count_over_time({service_name=`web`} | json | logfmt | drop __error__, __error_details__ [5m]))",
            "info",
        ),
        ("sum by (took) (count_over_time({service_name=~\"(?i).*WEB.*\"}   | logfmt | took != \"\" [5m]))", "4ms"),
        ("avg_over_time({app=\"web\"} | logfmt | unwrap duration(took) | __error__=\"\" [5m]) by ()", "0.002"),
        (
            "sum(count_over_time({app=\"web\"} |~ \"(?i)get\" !~ \"(?i)nothing\" | detected_level=\"info\" or detected_level=\"warn\" [5m]))",
            "\"5\"",
        ),
        (
            "sum(count_over_time({app=\"web\"} |> \"line <_> GET <_>\" or \"other <_>\" !> \"<_>POST<_>\" [5m]))",
            "\"5\"",
        ),
    ] {
        let end = (base + 59 * SECOND).to_string();
        let params = [("query", query), ("start", &*start), ("end", &*end), ("step", "60s")];
        let answer = server.get("/loki/api/v1/query_range", &params).await;
        assert!(answer["data"]["result"].to_string().contains(want), "{query}: {answer}");
    }
}

#[tokio::test]
async fn ld_patterns_count_all_lines() {
    let mut server = Server::start("").await;
    let base = (now_ms() / 10_000 * 10_000 - 60_000) * 1_000_000;
    // More lines than a log query may give, half of them in segments and half in memory.
    for half in 0..2i64 {
        let line = |i: i64| {
            (base + half * 10 * SECOND + i * 1000, format!("user u{} logged in from 10.0.0.{}", i % 7, i % 250))
        };
        server.push(json!({"app": "auth"}), &(0..4000).map(line).collect::<Vec<_>>()).await;
        server.push(json!({"app": "auth"}), &[(base + half, format!("disk {half} is full"))]).await;
        if half == 0 {
            assert_eq!(server.http.post(server.url("/flush")).send().await.unwrap().status(), 204);
        }
    }
    let start = (base - SECOND).to_string();
    let params = [("query", "{app=\"auth\"}"), ("start", &*start), ("step", "10s")];
    let found = server.get("/loki/api/v1/patterns", &params).await;
    let first = &found["data"][0];
    assert_eq!(first["pattern"], "user <_> logged in from <_>", "{found}");
    let seconds = base / SECOND;
    assert_eq!(first["samples"], json!([[seconds, 4000], [seconds + 10, 4000]]), "{found}");
    assert!(found["data"].as_array().unwrap().iter().any(|p| p["pattern"] == "disk <_> is full"), "{found}");
    // Those of the segment are kept in it, those of the lines in memory come back with the lines.
    server.crash_and_restart().await;
    assert_eq!(server.get("/loki/api/v1/patterns", &params).await, found);
}

#[tokio::test]
async fn l_tail() {
    let (server, _) = with_lines().await;
    // From a page of another origin, with nothing but the query.
    let mut tail = Tail::open(&server, "{app=\"web\"} |= \"line 4\"").await.unwrap();
    assert_eq!(tail.lines().await.len(), 1);
    assert_eq!(Tail::open(&server, "{app=").await.err(), Some(400));
}

#[tokio::test]
async fn m_md_log_rules() {
    let rules = r#"
groups:
  - name: lines
    type: logs
    interval: 1s
    rules:
      - record: app:errors:count10m
        expr: 'sum by (app) (count_over_time({app="shop"} |= "error" [10m]))'
        labels: {team: web}
      - alert: ShopErrors
        expr: 'sum by (app) (count_over_time({app="shop"} | json | level="error" [10m])) > 1'
        labels: {severity: page}
        annotations: {summary: '{{ $value }} errors of {{ $labels.app }}'}
  - name: metrics
    rules:
      - record: one
        expr: vector(1)
"#;
    let server = Server::start_with_rules("", rules).await;
    let groups = |answer: &Value| -> Vec<String> {
        answer["data"]["groups"].as_array().unwrap().iter().map(|g| g["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(groups(&server.get("/prometheus/api/v1/rules", &[]).await), ["lines"]);
    let now = now_ms() * 1_000_000;
    let line = |i: i64, level: &str| (now - i, format!(r#"{{"level":"{level}","n":{i}}}"#));
    server.push(json!({"app": "shop"}), &[line(1, "error"), line(2, "error"), line(3, "info")]).await;

    // The recorded series are in the metrics store.
    let found = eventually("the recorded series", 20, async || {
        let found = server.instant("app:errors:count10m").await;
        found.first().filter(|f| f.1 == 2.0).cloned()
    })
    .await;
    assert_eq!(found.0, json!({"__name__": "app:errors:count10m", "app": "shop", "team": "web"}));
    // The alert fires: in the API of log rules, as a series, and at the alertmanager.
    let alert = eventually("the alert", 20, async || {
        let answer = server.get("/prometheus/api/v1/alerts", &[]).await;
        answer["data"]["alerts"].as_array().unwrap().iter().find(|a| a["state"] == "firing").cloned()
    })
    .await;
    assert_eq!(alert["labels"], json!({"alertname": "ShopErrors", "app": "shop", "severity": "page"}));
    assert_eq!(alert["annotations"]["summary"], "2 errors of shop");
    server.until("ALERTS{alertname=\"ShopErrors\",alertstate=\"firing\"}").await;
    eventually("the alertmanager", 20, async || {
        let alerts = server.get("/alertmanager/api/v2/alerts", &[]).await;
        alerts.as_array().unwrap().iter().any(|a| a["labels"]["alertname"] == "ShopErrors").then_some(())
    })
    .await;
    let rules = server.get("/prometheus/api/v1/rules", &[]).await;
    let rules = &rules["data"]["groups"][0]["rules"];
    assert_eq!((&rules[0]["type"], &rules[1]["type"]), (&json!("recording"), &json!("alerting")));
    assert!(rules.as_array().unwrap().iter().all(|r| r["health"] == "ok"), "{rules}");
}

/// The panel over each log query of Explore: the store has counts of levels, so no line is read for it.
#[tokio::test]
async fn l_log_volume_reads_no_lines() {
    let (server, base) = with_lines().await;
    server.push(json!({"app": "web", "level": "warn"}), &[(base, "a line with a level".to_owned())]).await;
    assert_eq!(server.http.post(server.url("/flush")).send().await.unwrap().status(), 204);
    let start = base.to_string();
    let query = "sum by (level, detected_level) (count_over_time({app=\"web\"} | drop __error__[1m]))";
    let params = [("query", query), ("start", &*start), ("step", "60s")];
    let answer = server.get("/loki/api/v1/query_range", &params).await;
    let mut levels: Vec<_> =
        answer["data"]["result"].as_array().unwrap().iter().map(|s| s["metric"].to_string()).collect();
    levels.sort();
    assert_eq!(levels, [r#"{"detected_level":"info"}"#, r#"{"detected_level":"warn","level":"warn"}"#], "{answer}");
    assert_eq!(answer["data"]["stats"]["summary"]["linesRead"], 0, "{answer}");
}

/// A dashboard opens: nobody is told that there are too many outstanding requests.
#[tokio::test]
async fn l_thirty_panels_at_once() {
    let (server, base) = with_lines().await;
    let (start, end) = ((base - 3600 * SECOND).to_string(), (base + 60 * SECOND).to_string());
    let panels = (0..30 * 10).map(|i| {
        let query = format!("sum by (app) (count_over_time({{app=\"web\"}} |= \"line {}\" | logfmt [1m]))", i % 5);
        let params = [("query", query.as_str()), ("start", &*start), ("end", &*end), ("step", "30s")];
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
        server.http.get(server.url(&format!("/loki/api/v1/query_range?{query}"))).send()
    });
    for r in futures_util::future::join_all(panels).await {
        assert_eq!(r.unwrap().status(), 200);
    }
}
