//! What the server does while it replays a long log after a kill: samples and logs are taken, questions and rules wait, and a further kill
//! loses nothing.

use std::path::Path;
use std::time::{Duration, Instant};

use campanile::model::Labels;
use campanile::tsdb::{Db, Options};
use serde_json::Value;

use crate::crash::write_metric;
use crate::harness::{Server, eventually, now_ms};

const SERIES: usize = 500;
/// What a replay of the long log is to take. All that is done in it takes far less.
const REPLAY: Duration = Duration::from_secs(2);
/// The time from the first to the last sample of a log.
const SPAN_MS: i64 = 40 * 60_000;

fn open(dir: &Path) -> Db {
    Db::open(dir, Options { maintenance: false, ..Options::default() }).unwrap()
}

/// How many samples each series must have for a replay of [`REPLAY`] on this machine, going by the replay of a short log. The server is of
/// the same build as this test.
fn rounds_of_a_long_log() -> i64 {
    const SHORT: i64 = 400;
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), now_ms() - SPAN_MS, SHORT);
    let replay = || {
        let begun = Instant::now();
        drop(open(dir.path()));
        begun.elapsed()
    };
    // The best of some: what else the machine does now may be over when the server replays.
    let took = replay().min(replay()).min(replay());
    let rounds = SHORT as f64 * REPLAY.as_secs_f64() / took.as_secs_f64();
    println!("{SHORT} rounds are replayed in {took:?}, {rounds:.0} make a long log");
    // Not so many that they are too much for one query.
    (rounds as i64).clamp(SHORT, 60_000)
}

/// A store as a kill leaves it: everything is in the log, and there is no checkpoint.
fn write_log(dir: &Path, first: i64, rounds: i64) {
    let db = open(dir);
    let labels = |i: usize| Labels::from_pairs([("__name__", "big"), ("i", &i.to_string()), ("job", "before")]);
    let refs: Vec<_> = (0..SERIES).map(|i| db.appender().series(&labels(i)).unwrap()).collect();
    for n in 0..rounds {
        let mut a = db.appender();
        for (i, r) in refs.iter().enumerate() {
            a.float(*r, first + n * SPAN_MS / rounds, (n * 31 % 97) as f64 / 7.0 + i as f64, 0).unwrap();
        }
        a.commit().unwrap();
    }
    db.sync().unwrap();
}

/// Status and body of a GET as soon as the port is open.
async fn first_answer(server: &Server, path: &str) -> (u16, String) {
    eventually("the port is open", 10, async || {
        let r = server.http.get(server.url(path)).send().await.ok()?;
        Some((r.status().as_u16(), r.text().await.ok()?))
    })
    .await
}

/// Writes one sample of three series at `t`; one of them was in no log before. Says whether the answer came before the replay was over.
async fn write(server: &Server, t: i64, value: f64) -> bool {
    let post = server.http.post(server.url("/api/v1/write")).header("content-encoding", "snappy");
    let r = post.body(write_metric("during", 0..3, t, value)).send().await.unwrap();
    assert_eq!(r.status(), 204, "{:?}", r.text().await);
    server.try_get("/-/ready", &[]).await.0 == 503
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_are_taken_during_a_replay_and_survive_a_kill_in_it() {
    let rules =
        "groups: [{name: g, interval: 1s, rules: [{record: recorded, expr: 'count(last_over_time(big[2h]))'}]}]\n";
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("r.yml"), rules).unwrap();
    let config = "global: {scrape_interval: 1s}\nhost: {enabled: false}\nrule_files: [r.yml]\n";
    let mut server = Server::start_in(dir, config, &[], &[]).await;
    server.crash().await;
    let metrics = server.dir.path().join("data/metrics");
    std::fs::remove_dir_all(&metrics).unwrap();
    let filled = tokio::task::spawn_blocking(move || {
        let rounds = rounds_of_a_long_log();
        write_log(&metrics, now_ms() - SPAN_MS - 5 * 60_000, rounds);
        rounds
    });
    let rounds = filled.await.unwrap();

    // The first start is killed in the middle of the replay.
    server.restart_early();
    assert_eq!(first_answer(&server, "/-/healthy").await.0, 200);
    let (status, words) = first_answer(&server, "/-/ready").await;
    assert!(status == 503 && words.starts_with("campanile is starting: "), "{status} {words}");
    let t0 = now_ms();
    let mut in_time = 0;
    for n in 0..10 {
        in_time += usize::from(write(&server, t0 + n, n as f64).await);
    }
    assert!(in_time > 0, "the replay was over before a sample was taken: {words}");
    server.crash().await;

    // The second goes on to its end.
    server.restart_early();
    let begun = now_ms();
    assert_eq!(first_answer(&server, "/-/healthy").await.0, 200);
    let mut early = 0;
    for n in 10..20 {
        early += usize::from(write(&server, t0 + n, n as f64).await);
    }
    let r = server.http.get(server.url("/-/ready")).send().await.unwrap();
    assert!(r.headers().contains_key("retry-after"), "{r:?}");
    let words = r.text().await.unwrap();
    assert!(early > 0 && words.contains("% of the metrics log are replayed"), "{early} {words}");
    let replay = server.get("/api/v1/status/walreplay", &[]).await;
    assert_eq!(replay["data"]["state"], "in progress", "{replay}");
    let bytes = |key: &str| replay["data"][key].as_u64().unwrap();
    assert!(bytes("min") <= bytes("current") && bytes("current") < bytes("max"), "{replay}");
    let line = (t0 * 1_000_000, "taken during the replay".to_owned());
    server.push(serde_json::json!({"app": "early"}), std::slice::from_ref(&line)).await;
    assert_eq!(server.lines("{app=\"early\"}").await, [line]);
    // One question does not want to wait, one does.
    let (status, body) = server.try_get("/api/v1/query", &[("query", "big"), ("timeout", "1ms")]).await;
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &answer["errorType"]), (503, &"unavailable".into()), "{body}");
    assert!(answer["error"].as_str().unwrap().contains("still replaying its log"), "{body}");
    assert_eq!(server.try_get("/-/ready", &[]).await.0, 503, "the replay was over too soon for this test");
    let counts = server.instant("sum(count_over_time(big[2h]))").await;
    let ready = now_ms();
    assert_eq!(counts[0].1, (rounds * SERIES as i64) as f64);
    assert_eq!(server.try_get("/-/ready", &[]).await.0, 200);

    let expr = "during[10m]";
    let answer = server.get("/api/v1/query", &[("query", expr)]).await;
    let series = answer["data"]["result"].as_array().unwrap();
    assert_eq!(series.len(), 3, "{answer}");
    for s in series {
        let values: Vec<&str> = s["values"].as_array().unwrap().iter().map(|v| v[1].as_str().unwrap()).collect();
        assert_eq!(values, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
    }
    // Scrapes of the time of the replay are there, rules began after it.
    let answer = server.get("/api/v1/query", &[("query", "up{job=\"campanile\"}[10m]")]).await;
    let scraped = answer["data"]["result"][0]["values"].as_array().unwrap();
    let during =
        scraped.iter().map(|v| (v[0].as_f64().unwrap() * 1000.0) as i64).filter(|t| (begun..ready).contains(t));
    assert!(during.count() > 0, "no scrape between {begun} and {ready}: {answer}");
    eventually("rules are evaluated", 10, async || {
        let found = server.instant("min_over_time(recorded[10m])").await;
        assert!(found.iter().all(|r| r.1 == SERIES as f64), "a rule saw less than there is: {found:?}");
        (!found.is_empty()).then_some(())
    })
    .await;
    server.until("campanile_tsdb_samples_held_total > 0").await;

    // A stop in the middle of a replay leaves everything as it was.
    server.crash().await;
    server.restart_early();
    assert!(first_answer(&server, "/-/healthy").await.0 == 200);
    write(&server, t0 + 20, 20.0).await;
    server.process.signal("TERM");
    assert_eq!(server.process.wait(15).await, Some(0));
    server.restart().await;
    let counts = server.instant("sum(count_over_time(big[2h]))").await;
    assert_eq!(counts[0].1, (rounds * SERIES as i64) as f64);
    assert_eq!(server.instant("count_over_time(during[10m])").await.iter().map(|s| s.1).collect::<Vec<_>>(), [21.0; 3]);
    // Being asked too early is no failure.
    let log = server.log();
    let failures: Vec<&str> = log.lines().filter(|l| l.contains("ERROR") && l.contains("request")).collect();
    assert!(failures.is_empty(), "{failures:?}");
}
