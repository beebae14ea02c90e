//! The whole way: targets, logs and probes in, alerts out.

use crate::harness::{Process, Server, eventually, free_port};
use crate::sinks::{SmtpServer, WebServer, WebhookSink};

#[tokio::test]
#[ignore = "needs prometheus-node-exporter and python3-aiosmtpd"]
async fn from_target_to_mailbox() {
    let dir = tempfile::tempdir().unwrap();
    let exporter_port = free_port();
    let listen = format!("--web.listen-address=127.0.0.1:{exporter_port}");
    let _exporter = Process::start("prometheus-node-exporter", &[&listen], &dir.path().join("exporter.log"));
    let smtp = SmtpServer::start(dir.path()).await;
    let hook = WebhookSink::start().await;
    let mut web = WebServer::start().await;

    let rules = r#"
groups:
  - name: site
    interval: 1s
    rules:
      - record: site:up
        expr: sum(probe_success)
      - alert: SiteDown
        expr: probe_success == 0
        for: 1s
        labels: {severity: page}
        annotations: {summary: '{{ $labels.instance }} answers {{ $value }}'}
"#;
    let config = format!(
        r#"
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
scrape_configs:
  - job_name: node
    static_configs: [{{targets: ['127.0.0.1:{exporter_port}']}}]
probes:
  - {{name: site, kind: http, target: 'http://127.0.0.1:{web}/', every: 1s, timeout: 1s}}
alertmanager:
  global: {{smtp_smarthost: '127.0.0.1:{smtp}', smtp_from: 'bell@example.org', smtp_require_tls: false}}
  route: {{receiver: all, group_by: [alertname], group_wait: 1s, group_interval: 2s, repeat_interval: 1h}}
  receivers:
    - name: all
      webhook_configs: [{{url: 'http://127.0.0.1:{hook}/hook'}}]
      email_configs: [{{to: 'ops@example.org', send_resolved: true}}]
"#,
        web = web.port,
        smtp = smtp.port,
        hook = hook.port,
    );
    let server = Server::start_with_rules(&config, rules).await;

    // Scraped: the exporter's series, and what the scrape says about itself.
    for expr in [
        "up{job=\"node\"} == 1",
        "node_cpu_seconds_total{job=\"node\",mode=\"idle\"}",
        "scrape_samples_scraped{job=\"node\"} > 100",
    ] {
        server.until(expr).await;
    }

    // Logs in both formats, searchable at once.
    let now = crate::harness::now_ms() * 1_000_000;
    server.push(serde_json::json!({"app": "shop"}), &[(now, "order 17 placed".to_owned())]).await;
    let lines =
        "{\"message\":\"order 18 placed\",\"level\":\"info\"}\n{\"message\":\"order 19 failed\",\"level\":\"error\"}\n";
    let push = server.http.post(server.url("/api/v1/logs?app=shop")).body(lines).send().await.unwrap();
    assert!(push.status().is_success(), "{}", push.text().await.unwrap());
    let found = server.lines("{app=\"shop\"} |= \"order\"").await;
    assert_eq!(
        found.iter().map(|l| l.1.as_str()).collect::<Vec<_>>(),
        ["order 17 placed", "order 18 placed", "order 19 failed"]
    );

    // The probe is green, as series and as log line; the recording rule sees it.
    eventually("the probe is green", 20, async || {
        (server.instant("probe_success").await.first()?.1 == 1.0).then_some(())
    })
    .await;
    eventually("a probe's log line", 20, async || {
        (!server.lines("{instance=~\".*:.*\"} |= \"phases\"").await.is_empty()).then_some(())
    })
    .await;
    eventually("the recording rule", 20, async || (server.instant("site:up").await.first()?.1 == 1.0).then_some(()))
        .await;

    // It stops: the alert fires and arrives both ways.
    web.stop().await;
    let fired = hook.wait_for("the firing webhook", 30, |b| b["status"] == "firing").await;
    assert_eq!(fired["version"], "4");
    assert_eq!(fired["receiver"], "all");
    assert_eq!(fired["groupLabels"]["alertname"], "SiteDown");
    assert_eq!(fired["alerts"][0]["labels"]["severity"], "page");
    assert!(fired["alerts"][0]["annotations"]["summary"].as_str().unwrap().ends_with("answers 0"), "{fired}");
    smtp.wait_for("SiteDown", 30).await;
    assert_eq!(server.instant("ALERTS{alertname=\"SiteDown\",alertstate=\"firing\"}").await.len(), 1);

    // It comes back: resolved arrives both ways.
    web.start_again().await;
    let resolved = hook.wait_for("the resolved webhook", 30, |b| b["status"] == "resolved").await;
    assert_eq!(resolved["alerts"][0]["fingerprint"], fired["alerts"][0]["fingerprint"]);
    eventually("the resolved mail", 30, async || {
        let mails = std::fs::read_to_string(dir.path().join("mails")).unwrap();
        mails.to_lowercase().contains("resolved").then_some(())
    })
    .await;

    // History is a query.
    let history = server.lines("{job=\"campanile\"} |= \"SiteDown\"").await;
    assert!(!history.is_empty());
}

#[tokio::test]
async fn rules_are_reread_when_their_file_changes() {
    let file = |name: &str| {
        format!("groups:\n  - name: g\n    interval: 1s\n    rules:\n      - record: {name}\n        expr: vector(7)\n")
    };
    let server = Server::start_with_rules("", &file("first:one")).await;
    eventually("the first rule", 20, async || (server.instant("first:one").await.first()?.1 == 7.0).then_some(()))
        .await;
    std::fs::write(server.rules_path(), file("second:one")).unwrap();
    eventually("the second rule", 20, async || (server.instant("second:one").await.first()?.1 == 7.0).then_some(()))
        .await;
    let groups = server.get("/api/v1/rules", &[]).await;
    assert_eq!(groups["data"]["groups"][0]["rules"][0]["name"], "second:one", "{groups}");
}
