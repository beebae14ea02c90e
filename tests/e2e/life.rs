//! Start, stop, reload, and what happens when they go wrong.

use std::process::Command;

use crate::harness::{CAMPANILE, Server, eventually};

#[tokio::test]
async fn serves_without_a_config_file_and_scrapes_itself_and_the_host() {
    let server = Server::start("").await;
    for expr in ["up{job=\"campanile\"} == 1", "node_load1", "campanile_build_info"] {
        server.until(expr).await;
    }
    assert_eq!(server.get("/api/v1/status/buildinfo", &[]).await["status"], "success");
}

#[tokio::test]
async fn stops_cleanly_on_sigterm() {
    let mut server = Server::start("").await;
    server.process.signal("TERM");
    assert_eq!(server.process.wait(10).await, Some(0));
}

#[tokio::test]
async fn a_second_start_says_who_holds_the_folder() {
    let server = Server::start("").await;
    let out = Command::new(CAMPANILE)
        .args(["serve", "--config.file", "/nonexistent.yml", "--web.listen-address", "127.0.0.1:0"])
        .arg(format!("--storage.path={}", server.dir.path().join("data").display()))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success());
    assert!(text.contains(&format!("pid {}", server.process.0.id())), "{text}");
}

#[tokio::test]
async fn a_bad_reload_keeps_the_old_configuration_and_says_so() {
    let server = Server::start("global: {external_labels: {site: one}}\n").await;
    std::fs::write(server.config_path(), "global:\n  scrape_intervall: 5s\n").unwrap();
    let r = server.http.post(server.url("/-/reload")).send().await.unwrap();
    assert_eq!(r.status(), 500);
    let text = r.text().await.unwrap();
    assert!(text.contains("campanile.yml:2:3") && text.contains("scrape_intervall"), "{text}");
    let shown = server.get("/api/v1/status/config", &[]).await;
    assert!(shown["data"]["yaml"].as_str().unwrap().contains("site: one"), "{shown}");
    assert!(shown["data"]["lastReloadError"].as_str().unwrap().contains("scrape_intervall"), "{shown}");
    let (_, metrics) = server.try_get("/metrics", &[]).await;
    assert!(metrics.contains("\ncampanile_config_last_reload_successful 0\n"), "{metrics}");
    assert!(server.log().contains("scrape_intervall"));

    // Made good again, the change of the file alone is enough.
    std::fs::write(server.config_path(), "global: {external_labels: {site: two}}\n").unwrap();
    eventually("the good file is loaded", 20, async || {
        let shown = server.get("/api/v1/status/config", &[]).await;
        shown["data"]["yaml"].as_str().unwrap().contains("site: two").then_some(())
    })
    .await;
    let (_, metrics) = server.try_get("/metrics", &[]).await;
    assert!(metrics.contains("\ncampanile_config_last_reload_successful 1\n"), "{metrics}");
}

#[tokio::test]
async fn sighup_reloads() {
    let server = Server::start("global: {external_labels: {site: one}}\n").await;
    std::fs::write(server.config_path(), "global: {external_labels: {site: hup}}\n").unwrap();
    server.process.signal("HUP");
    eventually("the new file is loaded", 10, async || {
        let shown = server.get("/api/v1/status/config", &[]).await;
        shown["data"]["yaml"].as_str().unwrap().contains("site: hup").then_some(())
    })
    .await;
}

#[test]
fn check_names_every_problem_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bad.yml");
    std::fs::write(
        &path,
        "global:\n  scrape_intervall: 5s\nscrape_configs:\n  - job_name: a\n    scrape_timeout: soon\n",
    )
    .unwrap();
    let out = Command::new(CAMPANILE).args(["check", "config"]).arg(&path).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert_eq!(out.status.code(), Some(1), "{text}");
    assert!(text.contains("bad.yml:2:3") && text.contains("bad.yml:5:21"), "{text}");
}

#[tokio::test]
async fn own_traces_go_to_an_otlp_endpoint() {
    let (tx, mut rx) = tokio::sync::mpsc::channel::<Vec<u8>>(100);
    let sink = axum::Router::new().route(
        "/v1/traces",
        axum::routing::post(move |body: axum::body::Bytes| {
            let tx = tx.clone();
            async move { drop(tx.try_send(body.to_vec())) }
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, sink).await.unwrap() });
    let mut server = Server::start_with("", &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]).await;
    server.get("/api/v1/query", &[("query", "1+1")]).await;
    server.process.signal("TERM");
    assert_eq!(server.process.wait(10).await, Some(0));
    let mut seen = String::new();
    while let Ok(Some(body)) = tokio::time::timeout(std::time::Duration::from_secs(60), rx.recv()).await {
        seen.push_str(&String::from_utf8_lossy(&body));
        if seen.contains("/api/v1/query") && seen.contains("campanile") {
            return;
        }
    }
    panic!("no span of the request arrived: {seen:?}");
}

#[tokio::test]
async fn the_log_can_be_json() {
    let dir = tempfile::tempdir().unwrap();
    let out = Command::new(CAMPANILE)
        .args(["serve", "--log.format", "json", "--config.file"])
        .arg(dir.path().join("none.yml"))
        .args(["--web.listen-address", "not-an-address", "--storage.path"])
        .arg(dir.path().join("data"))
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(1));
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    let lines: Vec<serde_json::Value> = text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
    assert!(
        lines.iter().any(|l| l["level"] == "ERROR" && l["error"].as_str().unwrap_or("").contains("not-an-address")),
        "{text}"
    );
}
