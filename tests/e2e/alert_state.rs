//! The state of alerts across kills.

use serde_json::{Value, json};

use crate::harness::{Server, eventually, now_ms};

/// Starts a server with two rules that hold: one fires at once, one waits for an hour.
async fn start() -> Server {
    let rules = "groups:\n  - name: g\n    interval: 1s\n    rules:\n      - {alert: Fires, expr: 'vector(1) == 1', labels: {l: '{{ $value }}'}}\n      - {alert: Waits, expr: 'vector(1) == 1', for: 1h}\n";
    Server::start_with_rules("self_scrape: false\nhost: {enabled: false}\n", rules).await
}

/// The active alerts by name: state and since when, in milliseconds.
async fn active(server: &Server) -> Option<(Value, i64, i64)> {
    let alerts = server.get("/api/v1/alerts", &[]).await;
    let of = |name: &str| {
        let alert = alerts["data"]["alerts"].as_array()?.iter().find(|a| a["labels"]["alertname"] == name)?.clone();
        let at = campanile::model::time::parse_rfc3339_ns(alert["activeAt"].as_str()?)? / 1_000_000;
        Some((alert["state"].clone(), at))
    };
    let (fires, waits) = (of("Fires")?, of("Waits")?);
    Some((json!([fires.0, waits.0]), fires.1, waits.1))
}

#[tokio::test]
async fn firing_and_pending_survive_kills() {
    let mut server = start().await;
    let begun = now_ms();
    let before = eventually("both are active", 20, async || {
        active(&server).await.filter(|a| a.0 == json!(["firing", "pending"]))
    })
    .await;
    for _ in 0..2 {
        server.crash_and_restart().await;
        // Known before the first evaluation, and the same: what fired fires since then, what waited does not count the time away.
        let after = active(&server).await.expect("both are known at once");
        assert_eq!((&after.0, after.1), (&before.0, before.1));
        let away = after.2 - before.2;
        assert!((0..=now_ms() - begun).contains(&away), "{away}");
    }
    let restored = active(&server).await.unwrap();
    eventually("an evaluation", 20, async || {
        let rules = server.get("/api/v1/rules", &[]).await;
        (rules["data"]["groups"][0]["lastEvaluation"].as_str()? > "2").then_some(())
    })
    .await;
    assert_eq!(active(&server).await.unwrap(), restored, "an evaluation changes nothing");
}

#[tokio::test]
async fn without_the_state_file_the_series_tell() {
    let begun = now_ms();
    let mut server = start().await;
    let starting = now_ms() - begun;
    server.until("ALERTS_FOR_STATE{alertname=\"Waits\"}").await;
    // Shown behind what is written.
    let before = eventually("both are active", 20, async || active(&server).await).await;
    // Long enough that the time which a restart takes here cannot be mistaken for the time before it.
    let long = 4000 + 4 * starting;
    eventually("some time", 30, async || (now_ms() - before.2 > long).then_some(())).await;
    server.crash().await;
    std::fs::remove_file(server.dir.path().join("data/state.redb")).unwrap();
    let killed = now_ms();
    server.restart().await;
    // After three evaluations the time from before is there again, but for what was lost between the last sample and the first one.
    let after = eventually("the time is restored", 30, async || active(&server).await.filter(|a| a.2 < killed)).await;
    assert!(after.2 >= before.2 - 1000, "{} {}", after.2, before.2);
}
