//! Running it: deleting, snapshots, limits on series, a full disk, a clock that steps back.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use crate::crash::{write_body, write_metric};
use crate::harness::{Server, eventually, now_ms, push_body};

const QUIET: &str = "self_scrape: false\nhost: {enabled: false}\n";

async fn write(server: &Server, body: Vec<u8>) -> (u16, String) {
    let r = server.http.post(server.url("/api/v1/write")).header("content-encoding", "snappy").body(body);
    let r = r.send().await.unwrap();
    (r.status().as_u16(), r.text().await.unwrap())
}

async fn post(server: &Server, path: &str) -> (u16, String) {
    let r = server.http.post(server.url(path)).send().await.unwrap();
    (r.status().as_u16(), r.text().await.unwrap())
}

async fn push(server: &Server, n: i64) -> u16 {
    let lines: Vec<(i64, String)> = (0..20).map(|i| (now_ms() * 1_000_000 + i, format!("line {n} {i}"))).collect();
    let body = push_body(serde_json::json!({"app": "full"}), &lines);
    let r = server.http.post(server.url("/loki/api/v1/push")).header("content-type", "application/json").body(body);
    r.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn the_admin_api_deletes_and_makes_snapshots_where_it_is_enabled() {
    let server = Server::start(QUIET).await;
    let words = r#"{"status":"error","errorType":"unavailable","error":"admin APIs disabled"}"#;
    for what in ["delete_series?match[]=up", "clean_tombstones", "snapshot"] {
        let (status, body) = post(&server, &format!("/api/v1/admin/tsdb/{what}")).await;
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&body).unwrap(),
            serde_json::from_str::<serde_json::Value>(words).unwrap()
        );
        assert_eq!(status, 503, "{what}");
    }
    drop(server);

    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start_in(dir, QUIET, &["--web.enable-admin-api"], &[]).await;
    let t = now_ms() - 10_000;
    for n in 0..5 {
        assert_eq!(write(&server, write_body(t + n * 1000, n as u64)).await.0, 204);
    }
    for bad in
        ["delete_series", "delete_series?match[]={}", "delete_series?match[]=a&start=x", "snapshot?skip_head=maybe"]
    {
        assert_eq!(post(&server, &format!("/api/v1/admin/tsdb/{bad}")).await.0, 400, "{bad}");
    }
    let (status, body) = post(&server, "/api/v1/admin/tsdb/snapshot").await;
    let snapshot: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, 200);
    let from = format!("{}", (t + 1000) as f64 / 1000.0);
    let to = format!("{}", (t + 2000) as f64 / 1000.0);
    let path =
        format!("/api/v1/admin/tsdb/delete_series?match[]=crash_test{{series=~%2200.%22}}&start={from}&end={to}");
    assert_eq!(post(&server, &path).await, (204, String::new()));
    let counts = "count_values(\"n\", count_over_time(crash_test[1h]))";
    let shown = |found: Vec<(serde_json::Value, f64)>| {
        let mut all: Vec<String> = found.iter().map(|(m, n)| format!("{} x{n}", m["n"].as_str().unwrap())).collect();
        all.sort();
        all.join(", ")
    };
    assert_eq!(shown(server.instant(counts).await), "3 x10, 5 x40");
    server.crash_and_restart().await;
    assert_eq!(shown(server.instant(counts).await), "3 x10, 5 x40", "after a kill");
    assert_eq!(post(&server, "/api/v1/admin/tsdb/clean_tombstones").await.0, 204);

    let status = server.get("/api/v1/status/tsdb", &[("limit", "1")]).await;
    assert_eq!(status["data"]["headStats"]["numSeries"], 50);
    assert_eq!(status["data"]["seriesCountByMetricName"], serde_json::json!([{"name": "crash_test", "value": 50}]));
    assert_eq!(server.try_get("/api/v1/status/tsdb", &[("limit", "0")]).await.0, 400);

    // A snapshot is a data folder.
    let name = snapshot["data"]["name"].as_str().unwrap().to_owned();
    let snapshot = server.dir.path().join("data/metrics/snapshots").join(name);
    let copy = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(&snapshot, copy.path().join("data")).unwrap();
    let copy = Server::start_in(copy, QUIET, &[], &[]).await;
    assert_eq!(shown(copy.instant(counts).await), "5 x50");
}

#[tokio::test]
async fn an_exploding_metric_is_stopped_and_named() {
    let config = "global: {scrape_interval: 1s, scrape_timeout: 1s}\nhost: {enabled: false}\n\
                  storage: {limits: {series_per_target_metric: 100}}\n";
    let server = Server::start(config).await;
    let t = now_ms() - 60_000;
    assert_eq!(write(&server, write_metric("good", 0..50, t, 1.0)).await.0, 204);
    let (status, text) = write(&server, write_metric("bad", 0..300, t, 1.0)).await;
    assert_eq!(status, 400);
    assert!(text.contains("limit on series") && text.contains("campanile_tsdb_series_refused_total"), "{text}");
    // The series that are there go on, and so does the rest of the target.
    assert_eq!(write(&server, write_metric("bad", 0..100, t + 1000, 2.0)).await.0, 204);
    assert_eq!(write(&server, write_metric("good", 0..80, t + 1000, 2.0)).await.0, 204);
    let log = server.log();
    let line = log.lines().find(|l| l.contains("too many series")).unwrap_or_else(|| panic!("{log}"));
    for word in ["writer:1", "bad", "series", "100"] {
        assert!(line.contains(word), "{word} in {line}");
    }
    let wanted = "campanile_tsdb_series_refused_total{reason=\"series_per_target_metric\",metric=\"bad\"}";
    eventually("the refusals can be alerted on", 20, async || {
        let found = server.instant(wanted).await;
        // A scrape may come in the middle of the request.
        let (m, n) = found.first().filter(|(_, n)| *n >= 200.0)?;
        assert!(m["label"] == "series" && m["exported_instance"] == "writer:1", "{m} {n}");
        assert!(m["examples"].as_str().unwrap().contains("00"), "{m}");
        Some(())
    })
    .await;
    // A higher limit comes with a reload.
    std::fs::write(server.config_path(), config.replace("100", "1000")).unwrap();
    assert_eq!(server.http.post(server.url("/-/reload")).send().await.unwrap().status(), 200);
    eventually("new series are taken again", 10, async || {
        (write(&server, write_metric("bad", 0..300, now_ms(), 3.0)).await.0 == 204).then_some(())
    })
    .await;
}

fn mounted(program: &str, args: &[&str], dir: &Path) -> bool {
    Command::new(program).args(args).arg(dir).stderr(std::process::Stdio::null()).status().is_ok_and(|s| s.success())
}

struct Unmount(std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        mounted("umount", &["-l"], &self.0);
    }
}

/// Fills the disk but for some bytes.
fn fill_up(data: &Path, leave: u64) {
    // It only ever grows: room for a moment would be noticed.
    let mut ballast = std::fs::File::options().create(true).append(true).open(data.join("ballast")).unwrap();
    let s = rustix::fs::statvfs(data).unwrap();
    let free = (s.f_bavail * s.f_frsize).saturating_sub(leave);
    // The server writes as well, so that the last bytes may be gone already.
    if let Err(e) = ballast.write_all(&vec![1u8; usize::try_from(free).unwrap()]) {
        assert_eq!(e.kind(), std::io::ErrorKind::StorageFull);
    }
}

/// A sender of samples that counts what was taken.
struct Load {
    t: i64,
    stored: i64,
    told: String,
}

impl Load {
    async fn put(&mut self, server: &Server) -> u16 {
        self.t += 10;
        let (status, told) = write(server, write_body(self.t, 1)).await;
        self.stored += i64::from(status == 204);
        self.told = told;
        status
    }
}

#[tokio::test]
async fn a_full_disk_refuses_metrics_and_logs_and_heals_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    if !mounted("mount", &["-t", "tmpfs", "-o", "size=64m", "tmpfs"], &data) {
        eprintln!("SKIPPED: a small file system cannot be mounted here (it takes root)");
        return;
    }
    let _unmount = Unmount(data.clone());
    let config = "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\nhost: {enabled: false}\n\
                  storage: {min_free: 16MB}\nrule_files: [rules.yml]\n";
    let rules = "groups: [{name: disk, rules: [{alert: Full, expr: campanile_tsdb_disk_low == 1}]}]\n";
    std::fs::write(dir.path().join("rules.yml"), rules).unwrap();
    let mut server = Server::start_in(dir, config, &[], &[]).await;
    let mut load = Load { t: now_ms() - 120_000, stored: 0, told: String::new() };
    assert_eq!((load.put(&server).await, push(&server, 0).await), (204, 204));

    // Nearly full: what comes from outside is refused, alerting goes on.
    fill_up(&data, 12 << 20);
    eventually("samples and lines are refused", 10, async || {
        let (metrics, logs) = (load.put(&server).await, push(&server, 1).await);
        assert!([204, 503].contains(&metrics) && [204, 503].contains(&logs), "{metrics} {logs}");
        (metrics == 503 && logs == 503).then_some(())
    })
    .await;
    server.until("ALERTS{alertname=\"Full\",alertstate=\"firing\"}").await;
    assert_eq!(load.put(&server).await, 503);
    assert!(load.told.contains("nearly full"), "{}", load.told);

    // Quite full: not even that can be stored, and a start is a start.
    fill_up(&data, 0);
    let lines = server.lines("{app=\"full\"}").await.len();
    assert_eq!(load.put(&server).await, 503);
    let count = |n: i64| format!("sum(count_over_time(crash_test[1h])) == {}", n * 50);
    assert_eq!(server.instant(&count(load.stored)).await.len(), 1);
    server.crash_and_restart().await;
    assert_eq!(server.instant(&count(load.stored)).await.len(), 1, "after a kill on the full disk");
    assert_eq!(server.lines("{app=\"full\"}").await.len(), lines, "after a kill on the full disk");

    // Room again.
    std::fs::remove_file(data.join("ballast")).unwrap();
    eventually("it goes on by itself", 15, async || {
        (load.put(&server).await == 204 && push(&server, 2).await == 204).then_some(())
    })
    .await;
    assert_eq!(load.put(&server).await, 204);
    assert_eq!(server.instant(&count(load.stored)).await.len(), 1);
    assert!(!server.log().contains("panicked"), "{}", server.log());
}
