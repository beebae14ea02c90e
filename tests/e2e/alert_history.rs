//! Who was told what, when and how fast: asked in LogQL and PromQL.

use serde_json::{Value, json};

use crate::harness::{Server, eventually};
use crate::sinks::WebhookSink;

/// The result of an instant LogQL query, by one label.
async fn counted(server: &Server, query: &str, label: &str) -> Vec<(String, f64)> {
    let answer = server.get("/loki/api/v1/query", &[("query", query)]).await;
    let mut found: Vec<(String, f64)> = answer["data"]["result"]
        .as_array()
        .unwrap_or_else(|| panic!("{query}: {answer}"))
        .iter()
        .map(|s| {
            let name = s["metric"][label].as_str().unwrap_or_default().to_owned();
            (name, s["value"][1].as_str().unwrap().parse().unwrap())
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

/// Waits until the result is that: the history is written behind what it tells of.
async fn becomes(server: &Server, query: &str, label: &str, wanted: &[(&str, f64)]) {
    let mut last = None;
    eventually(query, 20, async || {
        let found = counted(server, query, label).await;
        let done = found.iter().map(|(name, n)| (name.as_str(), *n)).eq(wanted.iter().copied());
        if last.as_ref() != Some(&found) {
            println!("{query}: {found:?}");
            last = Some(found);
        }
        done.then_some(())
    })
    .await;
}

/// The lines of a LogQL query as JSON, as soon as there are so many.
async fn so_many_lines(server: &Server, wanted: usize, query: &str) -> Vec<Value> {
    eventually(query, 20, async || Some(lines(server, query).await).filter(|l| l.len() >= wanted)).await
}

/// The lines of a LogQL query as JSON.
async fn lines(server: &Server, query: &str) -> Vec<Value> {
    server
        .lines(query)
        .await
        .iter()
        .map(|(_, l)| serde_json::from_str(l).unwrap_or_else(|e| panic!("{l}: {e}")))
        .collect()
}

#[tokio::test]
async fn who_was_told_what_when_and_how_fast() {
    let hook = WebhookSink::start().await;
    let rules = |on: &str| {
        format!(
            "groups:\n  - name: g\n    interval: 1s\n    rules:\n      - {{alert: Rings, expr: 'vector(1) == {on}', for: 1s, labels: {{severity: page}}}}\n      - {{alert: Leaf, expr: 'vector(1) == 1'}}\n"
        )
    };
    let config = format!(
        r#"
global: {{scrape_interval: 1s}}
host: {{enabled: false}}
alertmanager:
  route:
    receiver: hook
    group_by: [alertname]
    group_wait: 100ms
    group_interval: 1s
    routes:
      - {{matchers: [alertname=Dead], receiver: dead}}
      - {{matchers: [alertname=Muted], receiver: hook, mute_time_intervals: [always]}}
  receivers:
    - {{name: hook, webhook_configs: [{{url: 'http://127.0.0.1:{port}/hook'}}]}}
    - {{name: dead, webhook_configs: [{{url: 'http://127.0.0.1:1/'}}]}}
  inhibit_rules: [{{source_matchers: [alertname=Rings], target_matchers: [alertname=Leaf]}}]
  time_intervals: [{{name: always, time_intervals: [{{}}]}}]
"#,
        port = hook.port
    );
    let server = Server::start_with_rules(&config, &rules("1")).await;
    let post = async |path: &str, body: Value| {
        let url = server.url(&format!("/alertmanager/api/v2/{path}"));
        let r = server.http.post(url).header("content-type", "application/json").body(body.to_string());
        let r = r.send().await.unwrap();
        assert_eq!(r.status(), 200);
        serde_json::from_str::<Value>(&r.text().await.unwrap()).unwrap_or(Value::Null)
    };
    let silence = json!({
        "matchers": [{"name": "alertname", "value": "Hushed", "isRegex": false, "isEqual": true}],
        "startsAt": "2026-01-01T00:00:00Z", "endsAt": "2099-01-01T00:00:00Z", "createdBy": "ann", "comment": "c",
    });
    let id = post("silences", silence).await["silenceID"].as_str().unwrap().to_owned();
    let alert = |name: &str| json!({"labels": {"alertname": name}});
    post("alerts", json!([alert("Hushed"), alert("Muted"), alert("Dead")])).await;
    hook.wait_for("it rings", 20, |b| b["groupLabels"]["alertname"] == "Rings").await;
    std::fs::write(server.rules_path(), rules("2")).unwrap();
    hook.wait_for("it ends", 30, |b| b["groupLabels"]["alertname"] == "Rings" && b["status"] == "resolved").await;
    let r = server.http.delete(server.url(&format!("/alertmanager/api/v2/silence/{id}"))).send().await.unwrap();
    assert_eq!(r.status(), 200);

    // Transitions: pending, firing, resolved, each with its fingerprint.
    let transitions = "sum by (to) (count_over_time({job=\"campanile\", event=\"alert\"} | alertname=\"Rings\" [1h]))";
    becomes(&server, transitions, "to", &[("firing", 1.0), ("pending", 1.0), ("resolved", 1.0)]).await;
    let posted = "sum by (alertname) (count_over_time({job=\"campanile\", event=\"alert\"} | because=\"posted\" | to=\"firing\" [1h]))";
    becomes(&server, posted, "alertname", &[("Dead", 1.0), ("Hushed", 1.0), ("Muted", 1.0)]).await;

    // Who was told of Rings, and how late.
    let told =
        so_many_lines(&server, 2, "{job=\"campanile\", event=\"told\"} | alertname=\"Rings\" | receiver=\"hook\"")
            .await;
    let statuses: Vec<&str> = told.iter().map(|l| l["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["firing", "resolved"]);
    let fingerprint = server.get("/loki/api/v1/series", &[("match[]", "{event=\"told\"}")]).await;
    assert_eq!(fingerprint["status"], "success");
    let slowest = counted(&server, "max by (receiver) (max_over_time({job=\"campanile\", event=\"told\"} | alertname=\"Rings\" | unwrap delay_seconds [1h]))", "receiver").await;
    assert!(slowest.len() == 1 && slowest[0].0 == "hook" && (0.0..30.0).contains(&slowest[0].1), "{slowest:?}");

    // Attempts: those that failed say why, with latency and number.
    eventually("a failed attempt", 20, async || {
        let failed = "sum by (receiver) (count_over_time({job=\"campanile\", event=\"notification\"} | outcome=\"failed\" | error=~\".+\" | attempt>=1 | latency_seconds>=0 [1h]))";
        let found = counted(&server, failed, "receiver").await;
        (found.first()?.0 == "dead").then_some(())
    })
    .await;
    let sent = so_many_lines(&server, 2, "{job=\"campanile\", event=\"notification\"} | outcome=\"sent\" | integration=\"webhook\" | alertname=\"Rings\" | group_key=~\".*Rings.*\"").await;
    assert!(sent[0]["firing"][0]["fingerprint"].as_str().unwrap().len() == 16, "{sent:?}");
    assert_eq!((&sent[0]["reason"], &sent[0]["possible_repeat"]), (&json!("first notification"), &json!(false)));

    // What was kept quiet, and by what.
    let quiet = "sum by (alertname, by) (count_over_time({job=\"campanile\", event=\"suppressed\"} [1h]))";
    for kind in ["inhibition", "silence", "time_interval"] {
        eventually(kind, 20, async || {
            counted(&server, quiet, "by").await.iter().any(|(by, _)| by == kind).then_some(())
        })
        .await;
    }
    let hushed = lines(&server, "{job=\"campanile\", event=\"suppressed\"} | alertname=\"Hushed\"").await;
    assert_eq!(hushed[0]["details"], json!(id));
    let muted = lines(&server, "{job=\"campanile\", event=\"suppressed\"} | alertname=\"Muted\"").await;
    assert_eq!(muted[0]["details"], "always");
    let changes = "sum by (change) (count_over_time({job=\"campanile\", event=\"silence\"} | created_by=\"ann\" [1h]))";
    becomes(&server, changes, "change", &[("created", 1.0), ("expired", 1.0)]).await;

    // The same as numbers.
    for expr in [
        "sum(campanile_alerting_notifications_total{receiver=\"hook\",outcome=\"ok\"}) >= 2",
        "sum(campanile_alerting_notification_attempts_failed_total{integration=\"webhook\"}) >= 1",
        "sum(campanile_alerting_told_delay_seconds_count{receiver=\"hook\",status=\"resolved\"}) >= 1",
        "histogram_quantile(0.9, sum by (le) (campanile_alerting_told_delay_seconds_bucket{receiver=\"hook\"})) < 60",
        "sum(campanile_alerting_notification_latency_seconds_count) >= 3",
        "campanile_alerting_silence_events_total{event=\"created\"} == 1",
        "campanile_rules_alert_transitions_total{to=\"firing\"} >= 2",
        "min_over_time(campanile_history_lines_dropped_total[5m]) == 0 or absent(campanile_history_lines_dropped_total)",
        "campanile_alerting_suppressed_total{by=\"inhibition\"} >= 1",
        "campanile_alerting_alert_transitions_total{to=\"firing\",because=\"posted\"} == 3",
        "campanile_alerting_suppression_changes_total{by=\"inhibition\",change=\"began\"} >= 1",
        "campanile_alerting_suppression_changes_total{by=\"inhibition\",change=\"ended\"} >= 1",
        "campanile_alerting_suppression_changes_total{by=\"silence\",change=\"ended\"} == 1",
        "campanile_alerting_suppression_changes_total{by=\"time_interval\",change=\"began\"} == 1",
        "campanile_alerting_notification_attempts_total{receiver=\"dead\",outcome=\"failed\"} >= 1",
        "campanile_alerting_notification_attempts_total{receiver=\"hook\",outcome=\"sent\"} >= 2",
    ] {
        server.until(expr).await;
    }
}
