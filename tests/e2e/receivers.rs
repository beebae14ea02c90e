//! Receivers tried from the command line, and a fallback that stands in for a dead one.

use std::process::Command;

use crate::harness::{CAMPANILE, Server};
use crate::sinks::WebhookSink;

/// Runs `campanile notify` in a thread of its own; exit code and everything that was printed.
async fn notify(args: &[&str]) -> (i32, String) {
    let mut command = Command::new(CAMPANILE);
    command.arg("notify").args(args);
    let out = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = [out.stdout, out.stderr].concat();
    (out.status.code().unwrap(), String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn a_receiver_is_tried_by_hand() {
    let hook = WebhookSink::start().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.yml");
    let config = format!(
        r#"
alertmanager:
  route: {{receiver: chat}}
  receivers:
    - name: chat
      webhook_configs: [{{url: 'http://127.0.0.1:{port}/hook', http_config: {{authorization: {{credentials: hush-hush}}}}}}]
      slack_configs: [{{api_url: 'http://127.0.0.1:{port}/none', title: 'about {{{{ .CommonLabels.team }}}}'}}]
"#,
        port = hook.port
    );
    std::fs::write(&path, config).unwrap();
    let file = format!("--config.file={}", path.display());

    let (code, out) = notify(&["test", "chat", &file, "--label", "team=a"]).await;
    assert_eq!(code, 1, "one of the two integrations fails: {out}");
    let sent = hook.bodies();
    assert_eq!((sent.len(), sent[0]["commonLabels"]["team"].as_str()), (1, Some("a")));
    assert_eq!(sent[0]["commonAnnotations"]["campanile_test"], "true");
    for part in [
        "== webhook[0]: sent",
        "> authorization: <secret>",
        "< 200 OK",
        "== slack[0]: failed (client_error): slack answered 404 Not Found",
        "\"title\":\"about a\"",
    ] {
        assert!(out.contains(part), "{part} is not in {out}");
    }
    assert!(!out.contains("hush-hush"), "{out}");

    let (code, out) = notify(&["test", "nobody", &file]).await;
    assert!(code == 1 && out.contains("there is no receiver \"nobody\"; receivers: chat"), "{out}");
    let (code, out) = notify(&["render", "slack.default.fallback", &file, "--label", "alertname=Disk"]).await;
    assert_eq!((code, out.contains("[FIRING:1] Disk (info) | http://127.0.0.1:9090/#/alerts")), (0, true), "{out}");
    let (code, out) = notify(&["render", "--text", "{{ .Nothing | toUpper }}{{ if }}", &file]).await;
    assert_eq!(code, 1, "{out}");
    let (code, out) = notify(&["render", "--receiver", "chat", &file, "--label", "team=b", "--resolved"]).await;
    assert!(code == 0 && out.contains("slack_configs[0].title:\n    about b"), "{out}");
}

#[tokio::test]
async fn a_fallback_stands_in_for_a_dead_receiver() {
    let hook = WebhookSink::start().await;
    let config = format!(
        r#"
alertmanager:
  route: {{receiver: dead, group_wait: 0s, group_interval: 1s}}
  fallback: {{receiver: spare, after: 1s}}
  receivers:
    - name: dead
      webhook_configs: [{{url: 'http://127.0.0.1:{port}/nothing-here'}}]
    - name: spare
      webhook_configs: [{{url: 'http://127.0.0.1:{port}/hook'}}]
"#,
        port = hook.port
    );
    let server = Server::start(&config).await;
    let post = async |ends: Option<&str>| {
        let mut alert = serde_json::json!({"labels": {"alertname": "Disk"}});
        if let Some(ends) = ends {
            alert["endsAt"] = ends.into();
        }
        let request = server.http.post(server.url("/alertmanager/api/v2/alerts"));
        let request = request.header("content-type", "application/json").body(serde_json::json!([alert]).to_string());
        assert_eq!(request.send().await.unwrap().status(), 200);
    };
    post(None).await;
    let told = hook.wait_for("the fallback is told", 20, |b| b["status"] == "firing").await;
    assert_eq!(
        (told["receiver"].as_str(), told["commonAnnotations"]["fallback_for"].as_str()),
        (Some("spare"), Some("dead"))
    );
    post(Some("2020-01-01T00:00:00Z")).await;
    hook.wait_for("the fallback is told the end", 20, |b| b["status"] == "resolved").await;
    assert_eq!(hook.bodies().len(), 2, "each once");
}
