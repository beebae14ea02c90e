//! Every endpoint of Prometheus' HTTP API by name: with parameters in the URL and in a posted form, and what it says when they are wrong.

use serde_json::Value;

use crate::harness::Server;

/// Asks with the parameters in the URL or in a form; status and body, which is null where it is no JSON.
async fn ask(server: &Server, form: bool, path: &str, params: &[(&str, &str)]) -> (u16, Value) {
    let encoded = form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
    let url = server.url(&format!("/api/v1/{path}"));
    let request = if form {
        server.http.post(url).header("content-type", "application/x-www-form-urlencoded").body(encoded)
    } else {
        server.http.get(format!("{url}?{encoded}"))
    };
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or(Value::Null))
}

/// Names and values.
type Params = &'static [(&'static str, &'static str)];

/// Paths that are asked by GET and by POST, then those of GET alone. Of each answer `data` must have this kind.
const ENDPOINTS: &[(bool, &str, Params, &str)] = &[
    (
        true,
        "query",
        &[("query", "up"), ("limit", "1"), ("stats", "all"), ("timeout", "5s"), ("lookback_delta", "1m")],
        "object",
    ),
    (true, "query_range", &[("query", "up"), ("start", "1"), ("end", "9"), ("step", "1"), ("limit", "1")], "object"),
    (true, "query_exemplars", &[("query", "up"), ("start", "1"), ("end", "2")], "array"),
    (true, "series", &[("match[]", "up"), ("limit", "5")], "array"),
    (true, "labels", &[("match[]", "up")], "array"),
    (true, "label/job/values", &[("match[]", "up")], "array"),
    (true, "format_query", &[("query", "sum(up)by(job)")], "string"),
    (true, "parse_query", &[("query", "sum(up)by(job)")], "object"),
    (false, "metadata", &[("limit", "3"), ("limit_per_metric", "1")], "object"),
    (false, "targets", &[("state", "active"), ("scrapePool", "campanile")], "object"),
    (false, "targets/metadata", &[("match_target", "{job=\"campanile\"}"), ("limit", "2")], "array"),
    (false, "scrape_pools", &[], "object"),
    (false, "rules", &[("type", "alert"), ("exclude_alerts", "true"), ("group_limit", "1")], "object"),
    (false, "alerts", &[], "object"),
    (false, "alertmanagers", &[], "object"),
    (false, "status/config", &[], "object"),
    (false, "status/flags", &[], "object"),
    (false, "status/runtimeinfo", &[], "object"),
    (false, "status/buildinfo", &[], "object"),
    (false, "status/tsdb", &[("limit", "1")], "object"),
    (false, "status/walreplay", &[], "object"),
    (false, "features", &[], "object"),
];

/// Requests that are wrong, and what the error names.
const WRONG: &[(&str, Params, &str)] = &[
    ("query", &[], "no expression found"),
    ("query", &[("query", "up{")], "unexpected end of input inside braces"),
    ("query", &[("query", "up"), ("time", "x")], "\"time\""),
    ("query", &[("query", "up"), ("timeout", "x")], "\"timeout\""),
    ("query", &[("query", "up"), ("limit", "-1")], "\"limit\""),
    ("query", &[("query", "up"), ("lookback_delta", "-1")], "\"lookback_delta\""),
    ("query_range", &[("query", "up"), ("end", "9"), ("step", "1")], "\"start\""),
    ("query_range", &[("query", "up"), ("start", "9"), ("end", "1"), ("step", "1")], "must not be before start"),
    ("query_range", &[("query", "up"), ("start", "1"), ("end", "2"), ("step", "0")], "\"step\""),
    ("query_range", &[("query", "up"), ("start", "1"), ("end", "99999"), ("step", "1")], "11,000 points"),
    ("query_exemplars", &[("query", "up"), ("start", "2"), ("end", "1")], "must not be before start"),
    ("series", &[], "no match[]"),
    ("series", &[("match[]", "{}")], "at least one non-empty matcher"),
    ("series", &[("match[]", "up"), ("start", "x")], "\"start\""),
    ("labels", &[("limit", "x")], "\"limit\""),
    ("label/job/values", &[("match[]", "{")], "match[]"),
    ("format_query", &[("query", "sum(")], "unclosed left parenthesis"),
    ("parse_query", &[], "no expression found"),
    ("metadata", &[("limit", "x")], "\"limit\""),
    ("targets/metadata", &[("match_target", "{")], "match_target"),
    ("rules", &[("type", "x")], "not supported value"),
    ("rules", &[("exclude_alerts", "x")], "exclude_alerts"),
    ("rules", &[("group_next_token", "x")], "group_limit"),
    ("rules", &[("group_limit", "1"), ("group_next_token", "x")], "group_next_token"),
    ("rules", &[("match[]", "{")], "match[]"),
    ("status/tsdb", &[("limit", "0")], "limit must be a positive number"),
];

#[tokio::test]
async fn each_is_there_and_says_what_is_wrong() {
    let server = Server::start("global: {scrape_interval: 1s}\nhost: {enabled: false}\n").await;
    server.until("count_over_time(up[1m]) > 1").await;
    let kind = |v: &Value| match v {
        Value::Object(_) => "object",
        Value::Array(_) => "array",
        Value::String(_) => "string",
        _ => "something else",
    };
    for (posted, path, params, wanted) in ENDPOINTS {
        for form in [false, true] {
            let (status, body) = ask(&server, form, path, params).await;
            if form && !posted {
                assert_eq!(status, 405, "{path}");
                continue;
            }
            assert_eq!((status, &body["status"]), (200, &Value::from("success")), "{path}: {body}");
            assert_eq!(kind(&body["data"]), *wanted, "{path}: {body}");
            assert!(["warnings", "infos"].iter().all(|k| body.get(*k).is_none_or(Value::is_array)), "{path}: {body}");
        }
    }
    for (path, params, part) in WRONG {
        let posted = ENDPOINTS.iter().any(|(posted, p, ..)| p == path && *posted);
        for form in [false, true].into_iter().take(1 + usize::from(posted)) {
            let (status, body) = ask(&server, form, path, params).await;
            assert_eq!((status, &body["errorType"]), (400, &Value::from("bad_data")), "{path} {params:?}: {body}");
            assert!(body["error"].as_str().unwrap().contains(part), "{path} {params:?}: {body}");
            assert!(body["status"] == "error" && body.get("data").is_none(), "{path} {params:?}: {body}");
        }
    }
    // What a limit cuts off is told, and what the language has to remark as well.
    for (path, params, key, part) in [
        ("labels", [("limit", "1"), ("", "")], "warnings", "truncated due to limit"),
        ("label/__name__/values", [("limit", "1"), ("", "")], "warnings", "truncated due to limit"),
        ("series", [("limit", "1"), ("match[]", "{job=\"campanile\"}")], "warnings", "truncated due to limit"),
        ("query", [("limit", "1"), ("query", "{job=\"campanile\"}")], "warnings", "truncated due to limit"),
        ("query", [("query", "quantile(2, up)"), ("", "")], "warnings", "quantile value should be between 0 and 1"),
        ("query", [("query", "rate(up[1m])"), ("", "")], "infos", "might not be a counter"),
    ] {
        for form in [false, true] {
            let (status, body) = ask(&server, form, path, &params).await;
            assert_eq!(status, 200, "{path}: {body}");
            assert!(body[key][0].as_str().is_some_and(|w| w.contains(part)), "{path} {params:?}: {body}");
        }
    }
    let (_, body) = ask(&server, false, "query", &[("query", "up"), ("stats", "all")]).await;
    assert!(body["data"]["stats"]["samples"]["totalQueryableSamples"].is_number(), "{body}");
    // One target, one version of each family: help and type come in two lines.
    let (_, body) = ask(&server, false, "metadata", &[]).await;
    let families = body["data"].as_object().unwrap();
    let twice: Vec<_> = families.iter().filter(|(_, v)| v.as_array().unwrap().len() != 1).collect();
    assert!(families.len() > 20 && twice.is_empty(), "{} families, {twice:?}", families.len());
    let (_, body) = ask(&server, false, "targets", &[("state", "nonsense")]).await;
    assert_eq!(body["data"]["activeTargets"].as_array().unwrap().len(), 0, "{body}");
}
