//! Alerts over the border, both ways: to an outside Alertmanager, and from an outside Prometheus.

use serde_json::Value;

use crate::harness::{Process, Server, client, eventually, free_port};
use crate::sinks::WebhookSink;

const RULES: &str = "groups:\n  - name: g\n    interval: 1s\n    rules:\n      - alert: Bell\n        expr: vector(1) == 1\n        labels: {severity: page, replica: a}\n        annotations: {summary: rings}\n";

#[tokio::test]
#[ignore = "needs prometheus-alertmanager"]
async fn to_an_outside_alertmanager() {
    let dir = tempfile::tempdir().unwrap();
    let hook = WebhookSink::start().await;
    let port = free_port();
    let am_config = dir.path().join("am.yml");
    let text = format!(
        "route: {{receiver: hook, group_wait: 100ms, group_interval: 1s}}\nreceivers: [{{name: hook, webhook_configs: [{{url: 'http://127.0.0.1:{}/hook'}}]}}]\n",
        hook.port
    );
    std::fs::write(&am_config, text).unwrap();
    let args = [
        format!("--config.file={}", am_config.display()),
        format!("--storage.path={}", dir.path().join("am").display()),
        format!("--web.listen-address=127.0.0.1:{port}"),
        "--web.route-prefix=/bell".to_owned(),
        "--cluster.listen-address=".to_owned(),
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let _alertmanager = Process::start("prometheus-alertmanager", &args, &dir.path().join("am.log"));
    let targets = dir.path().join("am.json");
    std::fs::write(&targets, format!(r#"[{{"targets": ["127.0.0.1:{port}"]}}]"#)).unwrap();
    let config = format!(
        r#"
global: {{external_labels: {{site: tower}}}}
self_scrape: false
host: {{enabled: false}}
alerting:
  alert_relabel_configs: [{{action: labeldrop, regex: replica}}]
  alertmanagers:
    - path_prefix: /bell
      file_sd_configs: [{{files: ['{targets}']}}]
      static_configs: [{{targets: ['gone.example:9093']}}]
      relabel_configs: [{{source_labels: [__address__], regex: 'gone.*', action: drop}}]
"#,
        targets = targets.display()
    );
    let server = Server::start_with_rules(&config, RULES).await;
    let status = server.get("/api/v1/alertmanagers", &[]).await;
    let url = format!("http://127.0.0.1:{port}/bell/api/v2/alerts");
    assert_eq!(status["data"]["activeAlertmanagers"], serde_json::json!([{"url": url}]), "{status}");
    let dropped = serde_json::json!([{"url": "http://gone.example:9093/bell/api/v2/alerts"}]);
    assert_eq!(status["data"]["droppedAlertmanagers"], dropped, "{status}");

    let told = hook.wait_for("the outside Alertmanager tells", 30, |b| b["status"] == "firing").await;
    let labels = serde_json::json!({"alertname": "Bell", "severity": "page", "site": "tower"});
    assert_eq!(told["alerts"][0]["labels"], labels, "{told}");
    assert_eq!(told["alerts"][0]["annotations"]["summary"], "rings");
    let (_, metrics) = server.try_get("/metrics", &[]).await;
    let sent = metrics.lines().find(|l| l.starts_with("campanile_notifier_sent_total{")).unwrap();
    assert!(sent.rsplit(' ').next().unwrap().parse::<f64>().unwrap() >= 1.0, "{sent}");

    // The end is told, too.
    std::fs::write(server.rules_path(), RULES.replace("vector(1) == 1", "vector(0) == 1")).unwrap();
    hook.wait_for("the end", 30, |b| b["status"] == "resolved").await;
}

#[tokio::test]
#[ignore = "needs prometheus"]
async fn from_an_outside_prometheus() {
    let dir = tempfile::tempdir().unwrap();
    let hook = WebhookSink::start().await;
    let config = format!(
        "self_scrape: false\nhost: {{enabled: false}}\nalertmanager:\n  route: {{receiver: hook, group_wait: 100ms, group_interval: 1s}}\n  receivers: [{{name: hook, webhook_configs: [{{url: 'http://127.0.0.1:{}/hook'}}]}}]\n",
        hook.port
    );
    let server = Server::start(&config).await;
    let rules = dir.path().join("rules.yml");
    std::fs::write(&rules, RULES).unwrap();
    let prometheus_config = dir.path().join("prometheus.yml");
    let text = format!(
        "global: {{external_labels: {{site: outside}}}}\nrule_files: ['{}']\nalerting:\n  alertmanagers:\n    - path_prefix: /alertmanager\n      static_configs: [{{targets: ['127.0.0.1:{}']}}]\n",
        rules.display(),
        server.port
    );
    std::fs::write(&prometheus_config, text).unwrap();
    let port = free_port();
    let args = [
        format!("--config.file={}", prometheus_config.display()),
        format!("--storage.tsdb.path={}", dir.path().join("data").display()),
        format!("--web.listen-address=127.0.0.1:{port}"),
        "--web.enable-lifecycle".to_owned(),
        // The first alert comes before it has discovered where to send it.
        "--rules.alert.resend-delay=1s".to_owned(),
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let _prometheus = Process::start("prometheus", &args, &dir.path().join("prometheus.log"));
    let told = hook.wait_for("campanile tells", 40, |b| b["status"] == "firing").await;
    let labels = serde_json::json!({"alertname": "Bell", "replica": "a", "severity": "page", "site": "outside"});
    assert_eq!(told["alerts"][0]["labels"], labels, "{told}");
    let shown = server.get("/alertmanager/api/v2/alerts", &[]).await;
    assert_eq!(shown.as_array().map(Vec::len), Some(1), "{shown}");

    std::fs::write(&rules, RULES.replace("vector(1) == 1", "vector(0) == 1")).unwrap();
    let http = client();
    eventually("prometheus reloads", 20, async || {
        let r = http.post(format!("http://127.0.0.1:{port}/-/reload")).send().await.ok()?;
        r.status().is_success().then_some(())
    })
    .await;
    let told: Value = hook.wait_for("the end", 30, |b| b["status"] == "resolved").await;
    assert_eq!(told["alerts"][0]["labels"], labels);
}
