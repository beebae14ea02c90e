//! What Grafana's alerting pages (M) and its Alertmanager data source (A, and A-H for its health check) ask, and the shapes they need. Each test is
//! named after the lines of the check list it stands for.

use serde_json::{Value, json};

use crate::harness::{Server, eventually, now_ms};

/// Whether a text is a date that Go's RFC 3339 parser takes.
fn is_date(v: &Value) -> bool {
    v.as_str().is_some_and(|t| campanile::model::time::parse_rfc3339_ns(t).is_some())
}

const CONFIG: &str = r#"
self_scrape: false
host: {enabled: false}
alertmanager:
  route: {receiver: ops, group_by: [alertname], routes: [{matchers: [team=db], receiver: db}]}
  receivers: [{name: ops}, {name: db, webhook_configs: [{url: 'http://127.0.0.1:1/secret-token'}]}]
  inhibit_rules: [{source_matchers: [alertname=Root], target_matchers: [alertname=Leaf]}]
"#;

/// Starts a server with these alerts posted.
async fn with_alerts() -> Server {
    let server = Server::start(CONFIG).await;
    let alert = |name: &str, team: &str| json!({"labels": {"alertname": name, "team": team}, "annotations": {"summary": "s"}, "generatorURL": "http://x/"});
    let alerts = json!([alert("Root", "db"), alert("Leaf", "db"), alert("Quiet", "web"), alert("Loud", "web")]);
    assert_eq!(post(&server, "alerts", &alerts).await.0, 200);
    server
}

async fn post(server: &Server, path: &str, body: &Value) -> (u16, Value) {
    let url = server.url(&format!("/alertmanager/api/v2/{path}"));
    let r =
        server.http.post(url).header("content-type", "application/json").body(body.to_string()).send().await.unwrap();
    let status = r.status().as_u16();
    (status, serde_json::from_str(&r.text().await.unwrap()).unwrap_or(Value::Null))
}

fn silence(matcher: &str, value: &str) -> Value {
    json!({
        "matchers": [{"name": matcher, "value": value, "isRegex": false, "isEqual": true}],
        "startsAt": "2026-01-01T00:00:00.000Z", "endsAt": "2099-01-01T00:00:00.000Z", "createdBy": "g", "comment": "c",
    })
}

#[tokio::test]
async fn a_h_m_status_has_all_fields_and_a_configuration() {
    let server = Server::start(CONFIG).await;
    let status = server.get("/alertmanager/api/v2/status", &[]).await;
    assert!(["ready", "settling", "disabled"].contains(&status["cluster"]["status"].as_str().unwrap()), "{status}");
    assert!(status["cluster"]["peers"].is_array(), "{status}");
    for key in ["version", "revision", "branch", "buildUser", "buildDate", "goVersion"] {
        assert!(status["versionInfo"][key].is_string(), "{key}: {status}");
    }
    assert!(is_date(&status["uptime"]), "{status}");
    // Grafana decodes it as a whole configuration, so it must be one; secrets do not show.
    let original = status["config"]["original"].as_str().unwrap();
    assert!(!original.contains("secret-token"), "{original}");
    let dir = tempfile::tempdir().unwrap();
    let (path, whole) = (dir.path().join("am.yml"), dir.path().join("c.yml"));
    std::fs::write(&path, original.replace("<secret>", "http://x/")).unwrap();
    std::fs::write(&whole, format!("alertmanager_file: {}\n", path.display())).unwrap();
    let loaded = campanile::config::load(Some(&whole)).unwrap_or_else(|p| panic!("{original}\n{p:?}"));
    let config = loaded.config.alertmanager.unwrap();
    assert_eq!(config.route.unwrap().receiver.as_deref(), Some("ops"));
    assert_eq!(config.receivers.len(), 2);
}

#[tokio::test]
async fn a_h_there_is_one_layout_only() {
    let server = Server::start(CONFIG).await;
    for path in ["/alertmanager/alertmanager/api/v2/status", "/api/v2/status", "/api/v2/alerts"] {
        assert_eq!(server.try_get(path, &[]).await.0, 404, "{path}");
    }
    // Save & test of an Alertmanager source looks for this first; any answer will do but for another product's features.
    let build = server.try_get("/alertmanager/api/v1/status/buildinfo", &[]).await;
    assert_eq!(build.0, 404);
}

#[tokio::test]
async fn m_a_random_paths_are_404_and_no_page() {
    let server = Server::start(CONFIG).await;
    for path in [
        "/alertmanager/nothing",
        "/alertmanager/api/v2/nothing",
        "/alertmanager/api/v1/alerts",
        "/rules/test/test",
        "/config/v1/rules",
        "/config/v1/rules/test/test",
        "/api/prom/rules/test/test",
        "/loki/api/v1/rules/test/test",
    ] {
        let r = server.http.get(server.url(path)).send().await.unwrap();
        let kind = r.headers().get("content-type").map(|v| v.to_str().unwrap().to_owned()).unwrap_or_default();
        assert_eq!(r.status(), 404, "{path}");
        assert!(!kind.contains("html"), "{path}: {kind}");
        // These words would make Grafana take the server for one whose rules can be edited.
        let text = r.text().await.unwrap();
        assert!(!text.contains("group does not exist") && !text.contains("no rule groups found"), "{path}: {text}");
    }
}

#[tokio::test]
async fn m_alerts_and_groups_with_filters_and_states() {
    let server = with_alerts().await;
    let id =
        post(&server, "silences", &silence("alertname", "Quiet")).await.1["silenceID"].as_str().unwrap().to_owned();
    let names = async |path: &str, params: &[(&str, &str)]| {
        let answer = server.get(&format!("/alertmanager/api/v2/{path}"), params).await;
        let alerts: Vec<Value> = match path {
            "alerts" => answer.as_array().unwrap().clone(),
            _ => answer.as_array().unwrap().iter().flat_map(|g| g["alerts"].as_array().unwrap().clone()).collect(),
        };
        let mut names: Vec<String> =
            alerts.iter().map(|a| a["labels"]["alertname"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names.join(" ")
    };
    for path in ["alerts", "alerts/groups"] {
        for (params, want) in [
            (vec![], "Leaf Loud Quiet Root"),
            (vec![("silenced", "false")], "Leaf Loud Root"),
            (vec![("inhibited", "false")], "Loud Quiet Root"),
            (vec![("active", "false")], "Leaf Quiet"),
            (vec![("silenced", "false"), ("inhibited", "false"), ("unprocessed", "true")], "Loud Root"),
            (vec![("filter", "team=\"db\"")], "Leaf Root"),
            (vec![("filter", "team=~\"d.*\""), ("filter", "alertname!=\"Root\"")], "Leaf"),
            (vec![("filter", "team!~\"d.*\"")], "Loud Quiet"),
            (vec![("receiver", "db")], "Leaf Root"),
            (vec![("receiver", "o.*")], "Loud Quiet"),
            (vec![("receiver", "o")], ""),
        ] {
            assert_eq!(names(path, &params).await, want, "{path} {params:?}");
        }
        let bad = server.try_get(&format!("/alertmanager/api/v2/{path}"), &[("filter", "team=~\"(\"")]).await;
        assert_eq!(bad.0, 400, "{}", bad.1);
    }
    let r = server.http.get(server.url("/alertmanager/api/v2/alerts")).send().await.unwrap();
    assert!(r.headers()["content-type"].to_str().unwrap().contains("json"));
    let all: Vec<Value> = serde_json::from_str(&r.text().await.unwrap()).unwrap();
    for a in &all {
        assert!(["startsAt", "endsAt", "updatedAt"].iter().all(|k| is_date(&a[*k])), "{a}");
        assert!(a["labels"].is_object() && a["annotations"].is_object() && a["fingerprint"].is_string(), "{a}");
        assert!(a["receivers"][0]["name"].is_string() && a["generatorURL"].is_string(), "{a}");
        assert!(["silencedBy", "inhibitedBy", "mutedBy"].iter().all(|k| a["status"][*k].is_array()), "{a}");
        let state = match a["labels"]["alertname"].as_str().unwrap() {
            "Quiet" | "Leaf" => "suppressed",
            _ => "active",
        };
        assert_eq!(a["status"]["state"], state, "{a}");
    }
    let of = |name: &str| all.iter().find(|a| a["labels"]["alertname"] == name).unwrap();
    assert_eq!(of("Quiet")["status"]["silencedBy"], json!([id]));
    assert_eq!(of("Leaf")["status"]["inhibitedBy"], json!([of("Root")["fingerprint"]]));
    let groups = server.get("/alertmanager/api/v2/alerts/groups", &[("filter", "alertname=Root")]).await;
    assert_eq!((&groups[0]["labels"], &groups[0]["receiver"]), (&json!({"alertname": "Root"}), &json!({"name": "db"})));
}

#[tokio::test]
async fn a_alerts_are_taken_as_grafana_and_prometheus_post_them() {
    let server = Server::start(CONFIG).await;
    let now = campanile::model::time::rfc3339_ms(now_ms());
    for (body, status) in [
        (json!([{"labels": {"alertname": "A"}}]), 200),
        (json!([]), 200),
        // Grafana sends Go's zero time for what it does not know.
        (
            json!([{"labels": {"alertname": "B"}, "startsAt": now, "endsAt": "0001-01-01T00:00:00.000Z", "generatorURL": ""}]),
            200,
        ),
        (json!([{"labels": {"alertname": "C", "empty": ""}, "annotations": null, "unknown": 1}]), 200),
        (json!([{"annotations": {"a": "b"}}]), 422),
        (json!([{"labels": {}}]), 400),
        (json!([{"labels": {"alertname": 1}}]), 400),
        (json!([{"labels": {"alertname": "D"}, "startsAt": "soon"}]), 400),
        (json!({"labels": {}}), 400),
    ] {
        let (got, text) = post(&server, "alerts", &body).await;
        assert_eq!(got, status, "{body}: {text}");
        assert!(status == 200 || text.is_string() || text["message"].is_string(), "{body}: {text}");
    }
    let shown = server.get("/alertmanager/api/v2/alerts", &[]).await;
    let names: Vec<&str> =
        shown.as_array().unwrap().iter().map(|a| a["labels"]["alertname"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    let receivers = server.get("/alertmanager/api/v2/receivers", &[]).await;
    assert_eq!(receivers, json!([{"name": "ops"}, {"name": "db"}]));
}

#[tokio::test]
async fn m_silences_are_made_changed_listed_and_ended() {
    let server = Server::start(CONFIG).await;
    let (status, made) = post(&server, "silences", &silence("alertname", "X")).await;
    assert_eq!(status, 200);
    let id = made["silenceID"].as_str().unwrap().to_owned();
    let path = format!("/alertmanager/api/v2/silence/{id}");
    let one = server.get(&path, &[]).await;
    assert!(["startsAt", "endsAt", "updatedAt"].iter().all(|k| is_date(&one[*k])), "{one}");
    assert_eq!((&one["id"], &one["status"]["state"], &one["createdBy"]), (&json!(id), &json!("active"), &json!("g")));
    assert_eq!(one["matchers"], json!([{"name": "alertname", "value": "X", "isRegex": false, "isEqual": true}]));
    // What Grafana adds for itself does not matter.
    let params = [("filter", "alertname=\"X\""), ("ruleMetadata", "true"), ("accesscontrol", "true")];
    assert_eq!(server.get("/alertmanager/api/v2/silences", &params).await.as_array().map(Vec::len), Some(1));
    let none = server.get("/alertmanager/api/v2/silences", &[("filter", "alertname=\"Y\"")]).await;
    assert_eq!(none, json!([]));

    let mut other = silence("alertname", "Z");
    other["id"] = json!(id);
    let changed = post(&server, "silences", &other).await;
    let new = changed.1["silenceID"].as_str().unwrap().to_owned();
    assert!(changed.0 == 200 && new != id, "other matchers make another silence");
    assert_eq!(server.get(&path, &[]).await["status"]["state"], "expired");
    let r = server.http.delete(server.url(&format!("/alertmanager/api/v2/silence/{new}"))).send().await.unwrap();
    assert_eq!((r.status().as_u16(), r.text().await.unwrap().as_str()), (200, ""));
    let unknown = "/alertmanager/api/v2/silence/11111111-2222-3333-4444-555555555555";
    assert_eq!(server.try_get(unknown, &[]).await.0, 404);
    assert_eq!(server.http.delete(server.url(unknown)).send().await.unwrap().status(), 404);
    assert_eq!(server.try_get("/alertmanager/api/v2/silence/nonsense", &[]).await.0, 422);
    for (body, status) in [
        (json!({"comment": "c"}), 422),
        (
            json!({"comment": "c", "createdBy": "g", "matchers": [], "startsAt": "2026-01-01T00:00:00Z", "endsAt": "2099-01-01T00:00:00Z"}),
            422,
        ),
        (
            json!({"comment": "c", "createdBy": "g", "matchers": [{"name": "a", "value": "", "isRegex": false}], "startsAt": "2026-01-01T00:00:00Z", "endsAt": "2099-01-01T00:00:00Z"}),
            400,
        ),
        (
            json!({"comment": "c", "createdBy": "g", "matchers": [{"name": "a", "value": "b", "isRegex": false}], "startsAt": "2026-01-01T00:00:00Z", "endsAt": "2020-01-01T00:00:00Z"}),
            400,
        ),
    ] {
        let (got, text) = post(&server, "silences", &body).await;
        assert_eq!(got, status, "{body}: {text}");
    }
}

/// The lists of rules and alerts, of both languages.
#[tokio::test]
async fn m_md_rules_and_alerts_of_metrics_and_of_logs() {
    let rules = r#"
groups:
  - name: numbers
    interval: 1s
    rules:
      - {record: 'one:up', expr: vector(1), labels: {a: b}}
      - {alert: Always, expr: vector(1) > 0, labels: {severity: page}, annotations: {summary: 'is {{ $value }}'}, keep_firing_for: 1m}
      - {alert: Never, expr: vector(0) > 0, for: 5m}
      - {alert: Broken, expr: 'vector(1) + on() (label_replace(vector(1), "a", "x", "", "") or label_replace(vector(1), "a", "y", "", ""))'}
  - name: words
    type: logs
    interval: 1s
    rules:
      - {alert: Quiet, expr: 'absent_over_time({app="none"}[1m])'}
"#;
    let server = Server::start_with_rules("self_scrape: false\nhost: {enabled: false}\n", rules).await;
    eventually("both fire", 20, async || {
        let metrics = server.get("/api/v1/alerts", &[]).await["data"]["alerts"].as_array()?.len();
        let logs = server.get("/prometheus/api/v1/alerts", &[]).await["data"]["alerts"].as_array()?.len();
        (metrics == 2 && logs == 1).then_some(())
    })
    .await;
    let alerts = server.get("/api/v1/alerts", &[]).await;
    let always =
        alerts["data"]["alerts"].as_array().unwrap().iter().find(|a| a["labels"]["alertname"] == "Always").unwrap();
    assert_eq!((&always["state"], &always["annotations"]["summary"]), (&json!("firing"), &json!("is 1")));
    assert!(
        is_date(&always["activeAt"]) && always["value"].as_str().unwrap().parse::<f64>().unwrap() == 1.0,
        "{always}"
    );

    let r = server.http.get(server.url("/api/v1/rules")).send().await.unwrap();
    assert!(r.headers()["content-type"].to_str().unwrap().contains("json"));
    let body: Value = serde_json::from_str(&r.text().await.unwrap()).unwrap();
    let group = body["data"]["groups"].as_array().unwrap().iter().find(|g| g["name"] == "numbers").unwrap();
    assert_eq!((&group["interval"], &group["limit"]), (&json!(1.0), &json!(0)), "{group}");
    assert!(is_date(&group["lastEvaluation"]) && group["evaluationTime"].is_number() && group["file"].is_string());
    let rules = group["rules"].as_array().unwrap();
    for rule in rules {
        assert!(is_date(&rule["lastEvaluation"]) && rule["evaluationTime"].is_number(), "{rule}");
        assert!(rule["query"].is_string() && rule["labels"].is_object(), "{rule}");
        assert!(["ok", "err", "unknown"].contains(&rule["health"].as_str().unwrap()), "{rule}");
    }
    assert_eq!((&rules[0]["type"], &rules[0]["labels"]), (&json!("recording"), &json!({"a": "b"})));
    assert_eq!(
        (&rules[1]["type"], &rules[1]["state"], &rules[1]["keepFiringFor"]),
        (&json!("alerting"), &json!("firing"), &json!(60.0))
    );
    assert_eq!(
        (&rules[2]["state"], &rules[2]["duration"], &rules[2]["alerts"]),
        (&json!("inactive"), &json!(300.0), &json!([]))
    );
    assert!(rules[3]["health"] == "err" && rules[3]["lastError"].as_str().unwrap().contains("many"), "{}", rules[3]);

    // Log rules stand under the path that a Loki source asks, alone.
    let logs = server.get("/prometheus/api/v1/rules", &[]).await;
    let groups = logs["data"]["groups"].as_array().unwrap();
    assert_eq!(
        (groups.len(), &groups[0]["name"], &groups[0]["rules"][0]["state"]),
        (1, &json!("words"), &json!("firing"))
    );
    // The marks on dashboards come from these series.
    eventually("the series of alerts", 10, async || {
        let firing = server.instant("ALERTS{alertstate=\"firing\",alertname=\"Always\"}").await;
        let since = server.instant("ALERTS_FOR_STATE{alertname=\"Always\"}").await;
        (firing.len() == 1 && since.len() == 1).then_some(())
    })
    .await;
}
