//! What an unmodified Grafana asks of a Prometheus source (P), of its alerting pages (M) and in Metrics Drilldown (MD): one test for each
//! kind of question, named after it. The shapes are those that its plugins' parsers take.

use serde_json::{Value, json};

use crate::harness::{Server, eventually, now_ms};
use crate::prompb::{BucketSpan, Exemplar, Histogram, Label, MetricMetadata, TimeSeries, WriteRequest};

const FORM: &str = "application/x-www-form-urlencoded";

/// No `data` in errors, no null `warnings` or `infos` anywhere: Grafana's parser loses the rest of the answer at a null.
fn well_formed(body: &Value) {
    for key in ["warnings", "infos"] {
        assert!(!body.get(key).is_some_and(Value::is_null), "{body}");
    }
    if body["status"] == "error" {
        assert!(body.get("data").is_none(), "{body}");
        assert!(body["errorType"].is_string() && body["error"].is_string(), "{body}");
    } else {
        assert_eq!(body["status"], "success", "{body}");
    }
}

/// A server with a few known series of the last minutes and nothing else.
async fn with_data() -> (Server, i64) {
    let server = Server::start("self_scrape: false\nhost: {enabled: false}\n").await;
    let now = now_ms();
    let minute = |v: f64| (0..5).map(move |i| (now - i * 15_000, v)).collect::<Vec<_>>().into_iter().rev();
    let mut latency = TimeSeries::of(&[("__name__", "latency"), ("job", "shop")], []);
    latency.histograms.push(Histogram {
        count_float: Some(6.0),
        sum: 10.0,
        schema: 0,
        zero_threshold: 0.001,
        zero_count_float: Some(1.0),
        positive_spans: vec![BucketSpan { offset: 0, length: 2 }],
        positive_counts: vec![2.0, 3.0],
        timestamp: now,
        ..Histogram::default()
    });
    let mut requests = TimeSeries::of(&[("__name__", "requests_total"), ("job", "shop")], minute(7.0));
    requests.exemplars.push(Exemplar {
        labels: vec![Label { name: "traceID".to_owned(), value: "abc".to_owned() }],
        value: 6.0,
        timestamp: now,
    });
    let series = vec![
        TimeSeries::of(&[("__name__", "up"), ("job", "shop"), ("instance", "a:1")], minute(1.0)),
        TimeSeries::of(&[("__name__", "up"), ("job", "shop"), ("instance", "b:1")], minute(0.0)),
        TimeSeries::of(&[("__name__", "my.metric"), ("a.b", "x")], minute(2.0)),
        requests,
        latency,
    ];
    let metadata = |name: &str, metric_type, help: &str| MetricMetadata {
        metric_type,
        metric_family_name: name.to_owned(),
        help: help.to_owned(),
        unit: String::new(),
    };
    let metadata = vec![metadata("up", 2, "Whether it is there."), metadata("requests_total", 1, "Requests.")];
    server.write_request(&WriteRequest { timeseries: series, metadata }).await;
    (server, now)
}

/// Asks by GET and by POST form; both must give the same.
async fn both(server: &Server, path: &str, params: &[(&str, &str)]) -> Value {
    let got = server.get(path, params).await;
    let posted = server.post_form(path, params).await;
    well_formed(&got);
    assert_eq!(got, posted, "{path} {params:?}");
    got
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap_or_else(|| panic!("{list}")).iter().map(|v| v.as_str().unwrap()).collect()
}

#[tokio::test]
async fn p1_health_check() {
    let (server, _) = with_data().await;
    let answer = both(&server, "/api/v1/query", &[("query", "1+1"), ("time", "4")]).await;
    assert_eq!(answer["data"], json!({"resultType": "scalar", "result": [4, "2"]}));
}

#[tokio::test]
async fn md1_everything_in_the_url_of_a_post_with_an_empty_form() {
    let (server, _) = with_data().await;
    let post = server.http.post(server.url("/api/v1/query?query=up")).header("content-type", FORM).body("");
    let answer: Value = serde_json::from_str(&post.send().await.unwrap().text().await.unwrap()).unwrap();
    assert_eq!(answer["data"]["resultType"], "vector");
    assert_eq!(answer["data"]["result"].as_array().unwrap().len(), 2, "{answer}");
    // Names that appeared lately, as Drilldown asks for them.
    let new = "group by (__name__) ({__name__!=\"\"}) unless (group by (__name__) ({__name__!=\"\"} offset 3h))";
    let answer = server.get("/api/v1/query", &[("query", new)]).await;
    let names: Vec<&str> =
        answer["data"]["result"].as_array().unwrap().iter().filter_map(|s| s["metric"]["__name__"].as_str()).collect();
    assert!(names.contains(&"up") && names.contains(&"my.metric"), "{answer}");
}

#[tokio::test]
async fn p2_errors() {
    let (server, now) = with_data().await;
    let many = "vector(1) + on() (label_replace(vector(1), \"a\", \"x\", \"\", \"\") or label_replace(vector(1), \"a\", \"y\", \"\", \"\"))";
    let time = (now / 1000).to_string();
    for (path, params, status, kind) in [
        ("/api/v1/query", vec![("query", "up{")], 400, "bad_data"),
        ("/api/v1/query", vec![], 400, "bad_data"),
        ("/api/v1/query", vec![("query", "up"), ("time", "yesterday")], 400, "bad_data"),
        ("/api/v1/query", vec![("query", "up"), ("limit", "-1")], 400, "bad_data"),
        ("/api/v1/query", vec![("query", many)], 422, "execution"),
        ("/api/v1/query", vec![("query", "up"), ("timeout", "1ns"), ("time", time.as_str())], 400, "bad_data"),
        ("/api/v1/query_range", vec![("query", "up"), ("start", "10"), ("end", "0"), ("step", "1")], 400, "bad_data"),
        ("/api/v1/query_range", vec![("query", "up"), ("start", "0"), ("end", "10"), ("step", "0")], 400, "bad_data"),
        ("/api/v1/label//values", vec![], 400, "bad_data"),
        ("/api/v1/series", vec![("match[]", "{}")], 400, "bad_data"),
    ] {
        let (got, body) = server.try_get(path, &params).await;
        assert_eq!(got, status, "{path} {params:?}: {body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["errorType"], kind, "{body}");
        well_formed(&body);
    }
}

#[tokio::test]
async fn p3_points_lie_at_start_plus_n_steps() {
    let (server, _) = with_data().await;
    let params = [("query", "vector(1) / 0"), ("start", "1700000000.123"), ("end", "1700000002"), ("step", "0.5")];
    let range = both(&server, "/api/v1/query_range", &params).await;
    let values = range["data"]["result"][0]["values"].as_array().unwrap();
    let times: Vec<f64> = values.iter().map(|p| p[0].as_f64().unwrap()).collect();
    assert_eq!(times, [1700000000.123, 1700000000.623, 1700000001.123, 1700000001.623]);
    assert_eq!(values[0][1], "+Inf");
    let nan = both(&server, "/api/v1/query", &[("query", "vector(0) / 0"), ("time", "4")]).await;
    assert_eq!(nan["data"]["result"], json!([{"metric": {}, "value": [4, "NaN"]}]));
}

#[tokio::test]
async fn p4_too_many_points() {
    let (server, _) = with_data().await;
    let ask = |end: &'static str| [("query", "up"), ("start", "0"), ("end", end), ("step", "1")];
    let (status, body) = server.try_get("/api/v1/query_range", &ask("11001")).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["errorType"]), (400, &json!("bad_data")));
    assert!(body["error"].as_str().unwrap().contains("11,000 points"), "{body}");
    both(&server, "/api/v1/query_range", &ask("11000")).await;
}

#[tokio::test]
async fn p5_native_histograms() {
    let (server, now) = with_data().await;
    let time = (now as f64 / 1000.0).to_string();
    let answer = both(&server, "/api/v1/query", &[("query", "latency"), ("time", &time)]).await;
    let shown = &answer["data"]["result"][0]["histogram"][1];
    assert_eq!((&shown["count"], &shown["sum"]), (&json!("6"), &json!("10")), "{answer}");
    assert_eq!(shown["buckets"], json!([[3, "-0.001", "0.001", "1"], [0, "0.5", "1", "2"], [0, "1", "2", "3"]]));
    let params = [("query", "latency"), ("start", &time), ("end", &time), ("step", "15")];
    let answer = both(&server, "/api/v1/query_range", &params).await;
    let series = &answer["data"]["result"][0];
    assert!(series["histograms"][0][1]["buckets"].is_array() && series.get("values").is_none(), "{answer}");
}

#[tokio::test]
async fn p6_exemplars_between_times_in_milliseconds() {
    let (server, _) = with_data().await;
    let params = [("query", "test"), ("start", "1764000000000"), ("end", "1764003600000")];
    let answer = both(&server, "/api/v1/query_exemplars", &params).await;
    assert_eq!(answer, json!({"status": "success", "data": []}));
}

#[tokio::test]
async fn p7_exemplars() {
    let (server, now) = with_data().await;
    let (start, end) = ((now / 1000 - 60).to_string(), (now / 1000 + 60).to_string());
    let params = [("query", "rate(requests_total[5m])"), ("start", &start), ("end", &end)];
    let answer = both(&server, "/api/v1/query_exemplars", &params).await;
    let want = json!([{
        "seriesLabels": {"__name__": "requests_total", "job": "shop"},
        "exemplars": [{"labels": {"traceID": "abc"}, "value": "6", "timestamp": now as f64 / 1000.0}],
    }]);
    assert_eq!(answer["data"], want);
}

#[tokio::test]
async fn p8_md2_label_names() {
    let (server, _) = with_data().await;
    let all = both(&server, "/api/v1/labels", &[("limit", "0")]).await;
    assert_eq!(texts(&all["data"]), ["__name__", "a.b", "instance", "job"]);
    assert!(all.get("warnings").is_none(), "{all}");
    let one = both(&server, "/api/v1/labels", &[("limit", "1")]).await;
    assert_eq!(one["data"].as_array().unwrap().len(), 1);
    assert_eq!(one["warnings"], json!(["results truncated due to limit"]));
    let of_up = both(&server, "/api/v1/labels", &[("match[]", "up")]).await;
    assert_eq!(texts(&of_up["data"]), ["__name__", "instance", "job"]);
    let long_ago = both(&server, "/api/v1/labels", &[("start", "1"), ("end", "2")]).await;
    assert_eq!(long_ago["data"], json!([]));
}

#[tokio::test]
async fn md3_a_comma_at_the_end_of_a_selector() {
    let (server, _) = with_data().await;
    let answer = both(&server, "/api/v1/labels", &[("match[]", "{__name__=~\".+\",}")]).await;
    assert_eq!(texts(&answer["data"]), ["__name__", "a.b", "instance", "job"]);
}

#[tokio::test]
async fn p9_label_values() {
    let (server, _) = with_data().await;
    let answer = both(&server, "/api/v1/label/__name__/values", &[("match[]", "{__name__=~\"(?i).*UP\"}")]).await;
    assert_eq!(texts(&answer["data"]), ["up"]);
    let two = [("match[]", "up"), ("match[]", "{\"my.metric\",\"a.b\"=\"x\"}")];
    let answer = both(&server, "/api/v1/label/__name__/values", &two).await;
    assert_eq!(texts(&answer["data"]), ["my.metric", "up"]);
    let cut = both(&server, "/api/v1/label/instance/values", &[("limit", "1")]).await;
    assert_eq!((texts(&cut["data"]), cut["warnings"].as_array().map(Vec::len)), (vec!["a:1"], Some(1)));
}

#[tokio::test]
async fn p10_escaped_label_names() {
    let (server, _) = with_data().await;
    let answer = both(&server, "/api/v1/label/U__a_2e_b/values", &[]).await;
    assert_eq!(texts(&answer["data"]), ["x"]);
}

#[tokio::test]
async fn p11_series() {
    let (server, _) = with_data().await;
    let params = [("match[]", "{__name__!=\"\"}"), ("limit", "3")];
    let answer = both(&server, "/api/v1/series", &params).await;
    let found = answer["data"].as_array().unwrap();
    assert!(found.len() == 3 && found.iter().all(|s| s["__name__"].is_string()), "{answer}");
    assert_eq!(answer["warnings"], json!(["results truncated due to limit"]));
    let (status, body) = server.try_get("/api/v1/series", &[]).await;
    assert!(status == 400 && body.contains("no match[] parameter provided"), "{status} {body}");
}

#[tokio::test]
async fn p12_md4_metadata() {
    let (server, _) = with_data().await;
    let all = server.get("/api/v1/metadata", &[]).await;
    let up = json!([{"type": "gauge", "unit": "", "help": "Whether it is there."}]);
    assert_eq!(all["data"]["up"], up);
    assert!(all["data"].as_object().unwrap().values().all(|v| !v.as_array().unwrap().is_empty()));
    assert_eq!(server.get("/api/v1/metadata", &[("metric", "up")]).await["data"], json!({"up": up}));
    assert_eq!(server.get("/api/v1/metadata", &[("limit", "1")]).await["data"].as_object().unwrap().len(), 1);
    assert_eq!(server.get("/api/v1/metadata", &[("metric", "none")]).await["data"], json!({}));
}

/// A server with three groups of rules, one of which fires.
async fn with_rules() -> Server {
    let rules = r#"
groups:
  - name: a
    interval: 1s
    rules:
      - {record: one, expr: vector(1), labels: {team: x}}
      - {alert: Always, expr: vector(3) > 1, labels: {team: y}, annotations: {summary: 'is {{ $value }}'}}
  - name: b
    interval: 1s
    rules:
      - {record: two, expr: vector(2)}
  - name: c
    interval: 1s
    rules:
      - {alert: Never, expr: vector(0) > 1, for: 5m}
"#;
    let server = Server::start_with_rules("", rules).await;
    eventually("the alert fires", 20, async || {
        (!server.get("/api/v1/alerts", &[]).await["data"]["alerts"].as_array()?.is_empty()).then_some(())
    })
    .await;
    server
}

fn group_names(answer: &Value) -> Vec<&str> {
    answer["data"]["groups"].as_array().unwrap().iter().map(|g| g["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn p13_m1_rules_with_filters_and_pages() {
    let server = with_rules().await;
    let file = server.rules_path().display().to_string();
    let r = server.http.get(server.url("/api/v1/rules")).send().await.unwrap();
    assert_eq!(r.headers()["content-type"], "application/json");
    let all = server.get("/api/v1/rules", &[]).await;
    assert_eq!(group_names(&all), ["a", "b", "c"]);
    let group = &all["data"]["groups"][0];
    assert_eq!((&group["file"], &group["interval"], &group["limit"]), (&json!(file), &json!(1.0), &json!(0)));
    assert!(group["evaluationTime"].is_number());
    let alert = &group["rules"][1];
    for (key, want) in [
        ("type", json!("alerting")),
        ("state", json!("firing")),
        ("name", json!("Always")),
        ("duration", json!(0.0)),
        ("keepFiringFor", json!(0.0)),
        ("health", json!("ok")),
    ] {
        assert_eq!(alert[key], want, "{key}: {alert}");
    }
    for date in [&group["lastEvaluation"], &alert["lastEvaluation"], &alert["alerts"][0]["activeAt"]] {
        assert!(chrono::DateTime::parse_from_rfc3339(date.as_str().unwrap()).is_ok(), "{date}");
    }
    assert_eq!(alert["alerts"][0]["value"], "3e+00");
    assert_eq!(alert["alerts"][0]["annotations"]["summary"], "is 3");
    assert_eq!(group["rules"][0]["type"], "recording");

    for (params, want) in [
        (vec![("rule_group[]", "b"), ("rule_group", "b")], vec!["b"]),
        (vec![("rule_group", "a"), ("rule_group[]", "c")], vec!["a", "c"]),
        (vec![("rule_name[]", "Never")], vec!["c"]),
        (vec![("rule_name", "one"), ("rule_name[]", "two")], vec!["a", "b"]),
        (vec![("file[]", file.as_str()), ("file", file.as_str())], vec!["a", "b", "c"]),
        (vec![("file[]", "other.yml")], vec![]),
        (vec![("type", "alert")], vec!["a", "c"]),
        (vec![("type", "record")], vec!["a", "b"]),
        (vec![("match[]", "{team=\"x\"}")], vec!["a"]),
        (vec![("match[]", "{team=~\"x|y\"}"), ("type", "alert")], vec!["a"]),
    ] {
        assert_eq!(group_names(&server.get("/api/v1/rules", &params).await), want, "{params:?}");
    }
    let without = server.get("/api/v1/rules", &[("exclude_alerts", "true"), ("rule_name[]", "Always")]).await;
    assert_eq!(without["data"]["groups"][0]["rules"][0]["alerts"], json!([]), "{without}");

    let (mut token, mut pages) = (None::<String>, Vec::new());
    loop {
        let mut params = vec![("group_limit", "1")];
        params.extend(token.as_deref().map(|t| ("group_next_token", t)));
        let page = server.get("/api/v1/rules", &params).await;
        pages.extend(group_names(&page).into_iter().map(str::to_owned));
        match page["data"].get("groupNextToken") {
            Some(next) => token = Some(next.as_str().unwrap().to_owned()),
            None => break,
        }
    }
    assert_eq!(pages, ["a", "b", "c"]);
    assert_eq!(server.try_get("/api/v1/rules", &[("group_next_token", "x")]).await.0, 400);
    assert_eq!(server.try_get("/api/v1/rules", &[("group_limit", "1"), ("group_next_token", "x")]).await.0, 400);
    assert_eq!(server.try_get("/api/v1/rules", &[("type", "other")]).await.0, 400);
}

#[tokio::test]
async fn m2_alerts_and_m6_those_of_log_rules() {
    let server = with_rules().await;
    let answer = server.get("/api/v1/alerts", &[]).await;
    let alert = &answer["data"]["alerts"][0];
    assert_eq!((&alert["labels"]["alertname"], &alert["state"]), (&json!("Always"), &json!("firing")), "{answer}");
    assert!(alert["annotations"].is_object() && alert["value"].is_string() && alert["activeAt"].is_string());
    // The rules of a Loki source are those of log groups, of which there are none.
    assert_eq!(server.get("/prometheus/api/v1/rules", &[]).await["data"]["groups"], json!([]));
    assert_eq!(server.get("/prometheus/api/v1/alerts", &[]).await["data"]["alerts"], json!([]));
}

#[tokio::test]
async fn p14_m3_md5_buildinfo() {
    let (server, _) = with_data().await;
    let build = server.get("/api/v1/status/buildinfo", &[]).await;
    for key in ["version", "revision", "branch", "buildUser", "buildDate", "goVersion", "application"] {
        assert!(build["data"][key].is_string(), "{key}: {build}");
    }
    // With this key Grafana would take the source for Mimir.
    assert!(build["data"].get("features").is_none(), "{build}");
    let date = build["data"]["buildDate"].as_str().unwrap();
    assert!(date.len() > 9 && date.bytes().take(8).all(|b| b.is_ascii_digit()) && date.as_bytes()[8] == b'-', "{date}");
}

#[tokio::test]
async fn m5_grafana_writes_recording_rules() {
    let (server, _) = with_data().await;
    let t = now_ms();
    server.write(vec![TimeSeries::of(&[("__name__", "grafana:rule"), ("grafana_folder", "x")], [(t, 3.5)])]).await;
    let found = server.instant("grafana:rule").await;
    assert_eq!(found[0].1, 3.5);
    // The same time with another value is refused with words that Grafana looks for.
    let again = WriteRequest {
        timeseries: vec![TimeSeries::of(&[("__name__", "grafana:rule"), ("grafana_folder", "x")], [(t, 4.5)])],
        metadata: Vec::new(),
    };
    let post = server.http.post(server.url("/api/v1/write")).header("content-encoding", "snappy");
    let r = post.body(crate::prompb::packed(&again)).send().await.unwrap();
    assert_eq!(r.status(), 400);
    assert!(r.text().await.unwrap().contains("duplicate sample for timestamp"));
}
