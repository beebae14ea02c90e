//! Prometheus' HTTP API beyond what Grafana asks: remote read and write, federation, statistics, features, status.

use prost::Message;
use serde_json::{Value, json};

use crate::harness::{Server, now_ms};
use crate::prompb::{
    ChunkedReadResponse, LabelMatcher, MetadataV2, Query, ReadRequest, ReadResponse, RequestV2, Sample, TimeSeries,
    TimeSeriesV2, frames, packed,
};

const ALONE: &str = "self_scrape: false\nhost: {enabled: false}\n";

/// A read of everything named `__name__=~"m.*"` in the given form.
pub fn read_request(start: i64, end: i64, form: &[i32], more: &[(i32, &str, &str)]) -> Vec<u8> {
    let matcher =
        |(kind, name, value): (i32, &str, &str)| LabelMatcher { kind, name: name.to_owned(), value: value.to_owned() };
    let mut matchers = vec![matcher((2, "__name__", "m.*"))];
    matchers.extend(more.iter().copied().map(matcher));
    let query = Query { start_timestamp_ms: start, end_timestamp_ms: end, matchers };
    packed(&ReadRequest { queries: vec![query.clone(), query], accepted_response_types: form.to_vec() })
}

/// Posts a remote read to any server; headers and body.
pub async fn remote_read(http: &reqwest::Client, url: String, body: Vec<u8>) -> (u16, String, Vec<u8>) {
    let post = http.post(url).header("content-encoding", "snappy").header("content-type", "application/x-protobuf");
    let r = post.body(body).send().await.unwrap();
    let content_type = r.headers().get("content-type").map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
    (r.status().as_u16(), content_type, r.bytes().await.unwrap().to_vec())
}

fn names(labels: &[crate::prompb::Label]) -> Vec<(&str, &str)> {
    labels.iter().map(|l| (l.name.as_str(), l.value.as_str())).collect()
}

#[tokio::test]
async fn remote_read_in_both_forms_with_external_labels() {
    let server = Server::start(&format!("{ALONE}global: {{external_labels: {{site: north, job: none}}}}\n")).await;
    let now = now_ms() / 1000 * 1000;
    let start = now - 300_000;
    let samples = |k: i64| (0..300).map(move |i| (start + i * 1000, (i * k) as f64));
    server
        .write(vec![
            TimeSeries::of(&[("__name__", "m1"), ("job", "a")], samples(1)),
            TimeSeries::of(&[("__name__", "m2")], samples(2)),
            TimeSeries::of(&[("__name__", "other")], samples(3)),
        ])
        .await;
    let url = server.url("/api/v1/read");
    // Matchers on the labels of this server are satisfied by every series.
    let north = [(0, "site", "north")];
    let body = read_request(start + 10_000, start + 19_000, &[], &north);
    let (status, content_type, answer) = remote_read(&server.http, url.clone(), body).await;
    assert_eq!((status, content_type.as_str()), (200, "application/x-protobuf"));
    let answer = ReadResponse::decode(snap::raw::Decoder::new().decompress_vec(&answer).unwrap().as_slice()).unwrap();
    assert_eq!(answer.results.len(), 2);
    assert_eq!(answer.results[0], answer.results[1]);
    let found = &answer.results[0].timeseries;
    assert_eq!(found.len(), 2);
    assert_eq!(names(&found[0].labels), [("__name__", "m1"), ("job", "a"), ("site", "north")]);
    assert_eq!(names(&found[1].labels), [("__name__", "m2"), ("job", "none"), ("site", "north")]);
    let want: Vec<Sample> = (10..20).map(|i| Sample { value: i as f64, timestamp: start + i * 1000 }).collect();
    assert_eq!(found[0].samples, want);

    let body = read_request(start, now, &[1, 0], &north);
    let (status, content_type, answer) = remote_read(&server.http, url.clone(), body).await;
    assert_eq!(status, 200);
    assert_eq!(content_type, "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse");
    let all: Vec<ChunkedReadResponse> = frames(&answer);
    assert_eq!(all.iter().map(|f| f.query_index).collect::<Vec<_>>(), [0, 0, 1, 1]);
    let series = &all[0].chunked_series[0];
    assert_eq!(names(&series.labels), [("__name__", "m1"), ("job", "a"), ("site", "north")]);
    let chunks: Vec<_> = series.chunks.iter().map(|c| (c.encoding, c.min_time_ms, c.max_time_ms)).collect();
    let at = |i: i64| start + i * 1000;
    assert_eq!(chunks, [(1, at(0), at(119)), (1, at(120), at(239)), (1, at(240), at(299))]);
    // The number of samples leads each chunk; what is behind it is compared with Prometheus' own bytes elsewhere.
    assert_eq!(series.chunks[2].data[..2], 60u16.to_be_bytes());

    let south = read_request(start, now, &[], &[(0, "site", "south")]);
    let (_, _, answer) = remote_read(&server.http, url.clone(), south).await;
    let answer = ReadResponse::decode(snap::raw::Decoder::new().decompress_vec(&answer).unwrap().as_slice()).unwrap();
    assert!(answer.results.iter().all(|r| r.timeseries.is_empty()));
    let (status, _, text) = remote_read(&server.http, url.clone(), read_request(start, now, &[9], &[])).await;
    assert!(status == 400 && String::from_utf8_lossy(&text).contains("does not support any of the requested"));
    assert_eq!(remote_read(&server.http, url.clone(), b"nonsense".to_vec()).await.0, 400);
    let bad = read_request(start, now, &[], &[(2, "x", "(")]);
    assert_eq!(remote_read(&server.http, url, bad).await.0, 400);
}

#[tokio::test]
async fn remote_write_2() {
    let server = Server::start_with_flags(ALONE, &["--enable-feature=promql-experimental-functions"]).await;
    let now = now_ms();
    let symbols = ["", "__name__", "jobs_total", "job", "a", "Jobs done.", "seconds"].map(str::to_owned).to_vec();
    let good = TimeSeriesV2 {
        labels_refs: vec![1, 2, 3, 4],
        samples: vec![Sample { value: 4.0, timestamp: now }],
        metadata: Some(MetadataV2 { metric_type: 1, help_ref: 5, unit_ref: 6 }),
        created_timestamp: now - 1000,
    };
    let bad = TimeSeriesV2 { labels_refs: vec![3, 4], samples: good.samples.clone(), ..TimeSeriesV2::default() };
    let send = async |timeseries: Vec<TimeSeriesV2>| {
        let post = server.http.post(server.url("/api/v1/write")).header("content-encoding", "snappy");
        let post = post.header("x-prometheus-remote-write-version", "2.0.0");
        let post = post.header("content-type", "application/x-protobuf;proto=io.prometheus.write.v2.Request");
        let request = RequestV2 { symbols: symbols.clone(), timeseries };
        let r = post.body(packed(&request)).send().await.unwrap();
        let written = |what: &str| {
            let name = format!("x-prometheus-remote-write-{what}-written");
            r.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned)
        };
        let counts = ["samples", "histograms", "exemplars"].map(|w| written(w).unwrap_or_default());
        (r.status().as_u16(), counts.join(" "), r.text().await.unwrap())
    };
    assert_eq!(send(vec![good.clone()]).await, (204, "1 0 0".to_owned(), String::new()));
    assert_eq!(server.instant("jobs_total{job=\"a\"}").await[0].1, 4.0);
    assert_eq!(server.instant("start_timestamp(jobs_total)").await[0].1, (now - 1000) as f64 / 1000.0);
    let about = server.get("/api/v1/metadata", &[("metric", "jobs_total")]).await;
    assert_eq!(about["data"]["jobs_total"], json!([{"type": "counter", "unit": "seconds", "help": "Jobs done."}]));
    // The good part of a bad request is stored, and the sender learns how much that was.
    let later = TimeSeriesV2 { samples: vec![Sample { value: 5.0, timestamp: now + 1 }], ..good };
    let (status, counts, text) = send(vec![bad, later]).await;
    assert_eq!((status, counts.as_str()), (400, "1 0 0"));
    assert!(text.contains("missing metric name"), "{text}");
    assert_eq!(server.instant("jobs_total offset -10s").await[0].1, 5.0);
    let dangling = TimeSeriesV2 { labels_refs: vec![1, 77], ..TimeSeriesV2::default() };
    assert_eq!(send(vec![dangling]).await.0, 400);
}

#[tokio::test]
async fn federation() {
    let server = Server::start(&format!("{ALONE}global: {{external_labels: {{site: north}}}}\n")).await;
    let now = now_ms();
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    server
        .write(vec![
            TimeSeries::of(&[("__name__", "up"), ("instance", "a:1")], [(now - 2000, 0.0), (now - 1000, 1.0)]),
            TimeSeries::of(&[("__name__", "up"), ("site", "own")], [(now - 1000, 0.5)]),
            TimeSeries::of(&[("__name__", "gone")], [(now - 2000, 1.0), (now - 1000, stale)]),
            TimeSeries::of(&[("__name__", "old")], [(now - 400_000, 1.0)]),
            TimeSeries::of(&[("__name__", "other")], [(now - 1000, 1.0)]),
        ])
        .await;
    let params = [("match[]", "up"), ("match[]", "{__name__=~\"up|gone|old\"}")];
    let (status, text) = server.try_get("/federate", &params).await;
    assert_eq!(status, 200);
    let t = now - 1000;
    let want = format!(
        "# TYPE up untyped\nup{{instance=\"a:1\",site=\"north\"}} 1 {t}\nup{{site=\"own\",instance=\"\"}} 0.5 {t}\n"
    );
    assert_eq!(text, want);
    assert_eq!(server.try_get("/federate", &[]).await, (200, String::new()));
    assert_eq!(server.try_get("/federate", &[("match[]", "{")]).await.0, 400);
}

#[tokio::test]
async fn statistics() {
    let flags = ["--enable-feature=promql-per-step-stats"];
    let server = Server::start_with_flags(ALONE, &flags).await;
    let now = now_ms() / 1000 * 1000;
    let series = |job: &str| {
        TimeSeries::of(&[("__name__", "m"), ("job", job)], (0..61).map(|i| (now - 600_000 + i * 10_000, i as f64)))
    };
    server.write(vec![series("a"), series("b")]).await;
    let (start, end) = ((now / 1000 - 60).to_string(), (now / 1000).to_string());
    let ask = async |query: &str, stats: &str| {
        let params = [("query", query), ("start", &start), ("end", &end), ("step", "30"), ("stats", stats)];
        server.get("/api/v1/query_range", &params).await
    };
    // Two series, three steps; six samples in each window of a minute, as its left end is open.
    let plain = ask("m", "true").await;
    assert_eq!(plain["data"]["stats"]["samples"]["totalQueryableSamples"], 6, "{plain}");
    assert!(plain["data"]["stats"]["samples"].get("totalQueryableSamplesPerStep").is_none());
    let all = ask("sum(rate(m[1m]))", "all").await;
    let t = now / 1000;
    let steps = json!([[t - 60, 12], [t - 30, 12], [t, 12]]);
    assert_eq!(all["data"]["stats"]["samples"]["totalQueryableSamplesPerStep"], steps, "{all}");
    assert_eq!(all["data"]["stats"]["samples"]["totalQueryableSamples"], 36);
    let timings = all["data"]["stats"]["timings"].as_object().unwrap();
    for key in
        ["evalTotalTime", "resultSortTime", "queryPreparationTime", "innerEvalTime", "execQueueTime", "execTotalTime"]
    {
        assert!(timings[key].as_f64().is_some_and(|v| v >= 0.0), "{key}: {all}");
    }
    assert!(ask("m", "").await["data"].get("stats").is_none());
    // Subqueries count the points they give: two in each window, for two series.
    let sub = ask("max_over_time(m[1m:30s])", "all").await;
    assert_eq!(sub["data"]["stats"]["samples"]["totalQueryableSamples"], 12, "{sub}");
    // `@` is looked at once.
    assert_eq!(ask("m @ 1700000000", "all").await["data"]["stats"]["samples"]["totalQueryableSamples"], 0);
}

#[tokio::test]
async fn limits_timeouts_and_lookback() {
    let server = Server::start(ALONE).await;
    let now = now_ms();
    let series = |i: usize| {
        TimeSeries::of(
            &[("__name__", "m"), ("i", &i.to_string())],
            [(now - 90_000, i as f64), (now - 60_000, i as f64)],
        )
    };
    server.write((0..5).map(series).collect()).await;
    for (path, more) in [("/api/v1/query", None), ("/api/v1/query_range", Some(("step", "10")))] {
        let (start, end) = ((now / 1000 - 30).to_string(), (now / 1000).to_string());
        let mut params = vec![("query", "m"), ("limit", "2"), ("start", start.as_str()), ("end", end.as_str())];
        params.extend(more);
        let cut = server.get(path, &params).await;
        assert_eq!(cut["data"]["result"].as_array().unwrap().len(), 2, "{cut}");
        assert_eq!(cut["warnings"], json!(["results truncated due to limit"]));
        params[1].1 = "5";
        let whole = server.get(path, &params).await;
        assert!(whole["data"]["result"].as_array().unwrap().len() == 5 && whole.get("warnings").is_none(), "{whole}");
        params[1].1 = "0";
        assert_eq!(server.get(path, &params).await["data"]["result"].as_array().unwrap().len(), 5);
    }
    let short = server.get("/api/v1/query", &[("query", "m"), ("lookback_delta", "30s")]).await;
    assert_eq!(short["data"]["result"], json!([]));
    let (status, body) = server.try_get("/api/v1/query", &[("query", "m"), ("lookback_delta", "-1")]).await;
    assert_eq!(status, 400, "{body}");
    let long = "sum(count_over_time(m[1d:1s]) + on() group_left() sum(count_over_time(m[1d:1s])))";
    let (status, body) = server.try_get("/api/v1/query", &[("query", long), ("timeout", "1ms")]).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["errorType"]), (503, &json!("timeout")), "{body}");
    // Warnings and infos come with positions.
    let answer = server.get("/api/v1/query", &[("query", "rate(m[10m]) or quantile(2, m)")]).await;
    assert!(answer["warnings"][0].as_str().unwrap().contains("quantile value should be between 0 and 1"), "{answer}");
    assert!(answer["infos"][0].as_str().unwrap().contains("(1:6)"), "{answer}");
}

#[tokio::test]
async fn experimental_parts_are_off_unless_enabled() {
    let off = Server::start(ALONE).await;
    let flags = [
        "--enable-feature=promql-experimental-functions,promql-duration-expr,promql-binop-fill-modifiers",
        "--enable-feature=promql-extended-range-selectors,no-such-thing,native-histograms",
    ];
    let on = Server::start_with_flags(ALONE, &flags).await;
    for (query, flag) in [
        ("sort_by_label(up, \"job\")", "promql-experimental-functions"),
        ("limitk(1, up)", "promql-experimental-functions"),
        ("info(up)", "promql-experimental-functions"),
        ("rate(up[5m * 2])", "promql-duration-expr"),
        ("up + fill(0) up", "promql-binop-fill-modifiers"),
        ("rate(up[5m] smoothed)", "promql-extended-range-selectors"),
    ] {
        for path in ["/api/v1/query", "/api/v1/format_query", "/api/v1/parse_query"] {
            let (status, body) = off.try_get(path, &[("query", query)]).await;
            assert_eq!(status, 400, "{path} {query}: {body}");
            assert!(body.contains(&format!("--enable-feature={flag}")), "{path} {query}: {body}");
            on.get(path, &[("query", query)]).await;
        }
    }
    assert!(on.log().contains("unknown option for --enable-feature"), "{}", on.log());
    for (server, enabled) in [(&off, false), (&on, true)] {
        let features = server.get("/api/v1/features", &[]).await;
        for (category, name) in [
            ("promql", "anchored"),
            ("promql", "duration_expr"),
            ("promql", "fill"),
            ("promql_functions", "info"),
            ("promql_operators", "limitk"),
        ] {
            assert_eq!(features["data"][category][name], enabled, "{category} {name}: {features}");
        }
        assert_eq!(features["data"]["promql_functions"]["rate"], true);
        assert_eq!(features["data"]["promql"]["per_step_stats"], false);
    }
    // Rules may use what is enabled, and nothing else.
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("r.yml");
    std::fs::write(&rules, "groups: [{name: g, rules: [{record: a, expr: 'limitk(1, up)'}]}]\n").unwrap();
    for (flag, ok) in [("--enable-feature=promql-experimental-functions", true), ("--enable-feature=", false)] {
        let out = std::process::Command::new(crate::harness::CAMPANILE)
            .args(["check", "rules", flag])
            .arg(&rules)
            .output()
            .unwrap();
        assert_eq!(out.status.success(), ok, "{}", String::from_utf8_lossy(&out.stderr));
    }
}

#[tokio::test]
async fn status_and_targets() {
    let server = Server::start("global: {scrape_interval: 1s}\n").await;
    let replay = server.get("/api/v1/status/walreplay", &[]).await;
    assert_eq!(replay["data"]["state"], "done", "{replay}");
    assert!(["min", "max", "current"].iter().all(|k| replay["data"][k].is_number()), "{replay}");
    let flags = server.get("/api/v1/status/flags", &[]).await;
    assert!(flags["data"]["enable-feature"].is_string() && flags["data"]["query.timeout"] == "2m", "{flags}");
    let runtime = server.get("/api/v1/status/runtimeinfo", &[]).await;
    for key in ["startTime", "CWD", "reloadConfigSuccess", "lastConfigTime", "storageRetention", "serverTime"] {
        assert!(!runtime["data"][key].is_null(), "{key}: {runtime}");
    }
    assert!(server.get("/api/v1/status/config", &[]).await["data"]["yaml"].is_string());
    let managers = server.get("/api/v1/alertmanagers", &[]).await;
    assert!(managers["data"]["activeAlertmanagers"].is_array(), "{managers}");
    let formatted = server.post_form("/api/v1/format_query", &[("query", "sum( up )")]).await;
    assert_eq!(formatted["data"], "sum(up)");
    let parsed = server.post_form("/api/v1/parse_query", &[("query", "sum(rate(up[5m]))")]).await;
    assert_eq!((&parsed["data"]["type"], &parsed["data"]["op"]), (&"aggregation".into(), &"sum".into()), "{parsed}");
    let pools = server.get("/api/v1/scrape_pools", &[]).await;
    assert!(pools["data"]["scrapePools"].as_array().unwrap().iter().any(|p| p == "campanile"), "{pools}");
    server.until("up == 1").await;
    let about = [("match_target", "{job=\"campanile\"}"), ("metric", "campanile_build_info")];
    let about = server.get("/api/v1/targets/metadata", &about).await;
    assert_eq!(about["data"][0]["type"], "gauge", "{about}");
    let targets = server.get("/api/v1/targets", &[("state", "active"), ("scrapePool", "campanile")]).await;
    let active = targets["data"]["activeTargets"].as_array().unwrap();
    assert!(active.len() == 1 && active[0]["health"] == "up", "{targets}");
}
