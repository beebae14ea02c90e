//! The alertmanager as a whole: timers under a paused clock, a receiver that is a list, restarts over one state file.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep};

use super::compiled::BuildIntegrations;
use super::notify::{FailureReason, Integration, Notification, Notifier, SendError};
use super::template_data::{Reason, Status};
use super::*;
use crate::config::AlertmanagerConfig;
use crate::exec::Clock;
use crate::model::alert::Alert;
use crate::model::{Labels, TimestampMs};
use crate::state::{StateDb, Table};

const EPOCH_MS: i64 = 1_800_000_000_000;

/// Wall time that goes with tokio's paused time.
struct TokioClock(Instant, TimestampMs);

impl Clock for TokioClock {
    fn now_ns(&self) -> i64 {
        (self.1 + i64::try_from(self.0.elapsed().as_millis()).unwrap()) * 1_000_000
    }
}

/// How the sink answers; `Err(None)` never does.
type Answer = Result<(), Option<SendError>>;

/// What one attempt saw.
#[derive(Clone, Debug, PartialEq)]
struct Told {
    at_ms: i64,
    receiver: String,
    status: Status,
    alerts: Vec<String>,
    reason: Reason,
    possible_repeat: bool,
}

#[derive(Clone)]
struct Sink {
    clock: Arc<dyn Clock>,
    told: Arc<Mutex<Vec<Told>>>,
    /// Answers in turn; when none is left, all is well. `Err(None)` never answers.
    script: Arc<Mutex<Vec<Answer>>>,
}

impl Notifier for Sink {
    fn send<'a>(&'a self, n: &'a Notification<'a>) -> BoxFuture<'a, Result<(), SendError>> {
        let alerts = n.data.alerts.iter().map(|a| format!("{}:{}", a.labels.value("i"), a.status.as_str())).collect();
        self.told.lock().unwrap().push(Told {
            at_ms: self.clock.now_ms() - EPOCH_MS,
            receiver: n.data.receiver.clone(),
            status: n.data.status,
            alerts,
            reason: n.data.reason,
            possible_repeat: n.possible_repeat,
        });
        let attempts = self.told.lock().unwrap().len();
        assert!(!(n.group_key.contains("Panics") && attempts == 1), "a receiver's code that panics");
        let answer = {
            let mut script = self.script.lock().unwrap();
            if script.is_empty() { Ok(()) } else { script.remove(0) }
        };
        Box::pin(async move {
            match answer {
                Ok(()) => Ok(()),
                Err(Some(e)) => Err(e),
                Err(None) => std::future::pending().await,
            }
        })
    }
}

struct Bell {
    handle: AlertingHandle,
    sink: Sink,
    clock: Arc<dyn Clock>,
    events: Arc<Mutex<Vec<String>>>,
}

const CONFIG: &str = r#"{"route":{"receiver":"r","group_by":["alertname"],"group_wait":"1s","group_interval":"2s","repeat_interval":"1h"},"receivers":[{"name":"r"},{"name":"s"}]}"#;

fn config(json: &str) -> AlertmanagerConfig {
    let config: AlertmanagerConfig = serde_json::from_str(json).unwrap();
    let mut problems = crate::config::Problems::default();
    config.validate("", &mut problems);
    assert!(problems.is_empty(), "{problems:?}");
    config
}

async fn start(dir: &Path, json: &str) -> Bell {
    start_at(dir, json, EPOCH_MS, Vec::new()).await
}

async fn start_at(dir: &Path, json: &str, now: i64, script: Vec<Answer>) -> Bell {
    let clock: Arc<dyn Clock> = Arc::new(TokioClock(Instant::now(), now));
    let sink = Sink { clock: clock.clone(), told: Arc::default(), script: Arc::new(Mutex::new(script)) };
    let notifier: Arc<dyn Notifier> = Arc::new(sink.clone());
    let build: BuildIntegrations = Arc::new(move |_, _, _| {
        vec![Integration { kind: "list", index: 0, send_resolved: true, notifier: notifier.clone() }]
    });
    let events: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = events.clone();
    let options = AlertingOptions {
        clock: clock.clone(),
        state: Arc::new(StateDb::open(&dir.join("state.redb")).unwrap().db),
        external_url: "http://c.example".to_owned(),
        config_dir: dir.to_owned(),
        observer: Arc::new(move |e| seen.lock().unwrap().push(format!("{e:?}"))),
    };
    let handle = AlertingHandle::start_with(options, config(json), build).await.unwrap();
    Bell { handle, sink, clock, events }
}

impl Bell {
    fn alert(&self, name: &str, i: &str, ends_in_ms: i64) -> Alert {
        let now = self.clock.now_ms();
        Alert {
            labels: Labels::from_pairs([("alertname", name), ("i", i)]),
            annotations: Labels::empty(),
            starts_at: now.min(now + ends_in_ms),
            ends_at: now + ends_in_ms,
            updated_at: now,
            generator_url: String::new(),
        }
    }

    fn send(&self, name: &str, i: &str, ends_in_ms: i64) {
        assert_eq!(self.handle.send(vec![self.alert(name, i, ends_in_ms)]), 0);
    }

    fn told(&self) -> Vec<(i64, String)> {
        self.sink.told.lock().unwrap().iter().map(|t| (t.at_ms, t.alerts.join(" "))).collect()
    }
}

async fn run(ms: u64) {
    sleep(Duration::from_millis(ms)).await;
}

fn expect(bell: &Bell, want: &[(i64, &str)]) {
    let got = bell.told();
    let fits = got.len() == want.len()
        && got.iter().zip(want).all(|((at, alerts), (want_at, want))| (at - want_at).abs() <= 20 && alerts == want);
    assert!(fits, "want {want:?}, got {got:?}");
}

const LONG: i64 = 3_600_000;

#[tokio::test(start_paused = true)]
async fn a_group_waits_and_then_tells_changes() {
    let dir = tempfile::tempdir().unwrap();
    let bell = start(dir.path(), CONFIG).await;
    bell.send("A", "1", LONG);
    run(500).await;
    bell.send("A", "2", LONG);
    run(1500).await; // 2.0
    bell.send("A", "3", LONG);
    run(2000).await; // 4.0
    bell.send("A", "1", -1);
    run(10_000).await;
    expect(
        &bell,
        &[(1000, "1:firing 2:firing"), (3000, "1:firing 2:firing 3:firing"), (5000, "1:resolved 2:firing 3:firing")],
    );
    assert_eq!(bell.sink.told.lock().unwrap()[2].reason, Reason::SomeResolved);
    bell.handle.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn an_old_alert_does_not_wait_and_an_unheard_one_is_not_told() {
    let dir = tempfile::tempdir().unwrap();
    let bell = start(dir.path(), CONFIG).await;
    let mut old = bell.alert("Old", "1", LONG);
    old.starts_at -= 5000;
    bell.handle.send(vec![old]);
    let mut over = bell.alert("Over", "1", -100);
    over.starts_at -= 5000;
    bell.handle.send(vec![over]);
    run(400).await;
    bell.send("Over", "1", LONG);
    run(5000).await;
    // The second group flushed at once with nothing to tell, so its next flush came a group_interval later.
    expect(&bell, &[(0, "1:firing"), (2000, "1:firing")]);
    bell.handle.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn repeats_come_at_flushes_after_the_repeat_interval() {
    let dir = tempfile::tempdir().unwrap();
    let json = CONFIG.replace("1h", "3s");
    let bell = start(dir.path(), &json).await;
    bell.send("A", "1", LONG);
    run(9500).await;
    expect(&bell, &[(1000, "1:firing"), (5000, "1:firing"), (9000, "1:firing")]);
    bell.handle.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn an_alert_that_is_not_sent_again_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let bell = start(dir.path(), CONFIG).await;
    bell.send("A", "1", 2500);
    run(1500).await;
    bell.handle
        .post(vec![PostedAlert { labels: Labels::from_pairs([("alertname", "B")]), ..PostedAlert::default() }])
        .await
        .unwrap();
    run(310_000).await;
    let told = bell.told();
    assert_eq!(told[0].1, "1:firing");
    assert_eq!((told[1].1.as_str(), told[2].1.as_str()), (":firing", "1:resolved"));
    assert_eq!(told[3].1, ":resolved", "after resolve_timeout");
    assert!(told[3].0 > 301_500 && told.len() == 4, "{told:?}");
    bell.handle.core().clear_world(bell.clock.now_ms() + 400_000);
    assert!(bell.handle.groups(|_| true, |_| true).is_empty() && bell.handle.core().world().groups.is_empty());
    bell.handle.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn silences_and_inhibition_keep_quiet_and_are_told_to_watchers() {
    let dir = tempfile::tempdir().unwrap();
    let json = CONFIG.replace(
        r#""receivers""#,
        r#""inhibit_rules":[{"source_matchers":["alertname=Down"],"target_matchers":["alertname=Slow"],"equal":["i"]}],"receivers""#,
    );
    let bell = start(dir.path(), &json).await;
    let silence = silence::Silence {
        id: String::new(),
        matchers: vec![crate::config::alert_matcher::parse_matcher("i=2").unwrap()],
        starts_at: bell.clock.now_ms(),
        ends_at: bell.clock.now_ms() + LONG,
        updated_at: 0,
        created_by: "ann".to_owned(),
        comment: String::new(),
    };
    let id = bell.handle.set_silence(silence).await.unwrap();
    bell.send("Down", "1", LONG);
    bell.send("Slow", "1", LONG);
    bell.send("Slow", "2", LONG);
    bell.send("Slow", "3", LONG);
    run(1500).await;
    let mut first = bell.told();
    first.sort();
    assert_eq!(first, [(1000, "1:firing".to_owned()), (1000, "3:firing".to_owned())]);
    let shown = bell.handle.alerts(|a| a.suppressed());
    assert_eq!(shown.len(), 2);
    bell.handle.expire_silence(&id).await.unwrap();
    run(2000).await;
    assert_eq!(bell.told().last().unwrap(), &(3000, "2:firing 3:firing".to_owned()));
    let events = bell.events.lock().unwrap().join("\n");
    for part in [
        "Suppressed { labels: {alertname=\"Slow\", i=\"1\"}",
        "Silenced([",
        "Unsuppressed",
        "state: Expired",
        "Attempt {",
    ] {
        assert!(events.contains(part), "{part} in {events}");
    }
    bell.handle.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_receiver_refuses_is_told_at_the_next_flush() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = || Err(Some(SendError::permanent(FailureReason::ClientError, "400")));
    let busy = || Err(Some(SendError::temporary(FailureReason::ServerError, "503")));
    let bell = start_at(dir.path(), CONFIG, EPOCH_MS, vec![wrong(), busy(), busy()]).await;
    bell.send("A", "1", LONG);
    run(20_000).await;
    let told = bell.told();
    // 1.0 is refused; at 3.0 the retries begin and the third attempt works.
    assert_eq!((told.len(), told[0].0, told[1].0), (4, 1000, 3000), "{told:?}");
    assert!(bell.handle.core().state.read_all(Table::Intents).unwrap().is_empty());
    bell.handle.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_receiver_does_not_end_the_group() {
    let dir = tempfile::tempdir().unwrap();
    let bell = start(dir.path(), CONFIG).await;
    bell.send("Panics", "1", LONG);
    run(6000).await;
    expect(&bell, &[(1000, "1:firing"), (3000, "1:firing")]);
    bell.handle.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_timers_and_what_was_told() {
    let dir = tempfile::tempdir().unwrap();
    let bell = start(dir.path(), CONFIG).await;
    bell.send("A", "1", LONG);
    bell.send("B", "1", LONG);
    run(1800).await;
    let with_route = CONFIG.replace(
        r#""repeat_interval":"1h""#,
        r#""repeat_interval":"1h","routes":[{"matchers":["alertname=B"],"receiver":"s"}]"#,
    );
    bell.handle.reload(config(&with_route)).unwrap();
    bell.send("A", "2", LONG);
    run(10_000).await;
    let told = bell.sink.told.lock().unwrap().clone();
    let a: Vec<_> = told.iter().filter(|t| t.receiver == "r").map(|t| (t.at_ms, t.alerts.join(" "))).collect();
    let b: Vec<_> = told.iter().filter(|t| t.receiver == "s").map(|t| (t.at_ms, t.reason)).collect();
    // A keeps its timer (3.0); B moved to another receiver, which hears of it at once because B is older than group_wait.
    assert_eq!(a[a.len() - 1], (3000, "1:firing 2:firing".to_owned()), "{told:?}");
    assert_eq!((a.len(), b), (3, vec![(1800, Reason::First)]), "{told:?}");
    bell.handle.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn after_a_kill_nothing_is_lost_and_repeats_are_marked() {
    let dir = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    // The first attempt never ends: the process is killed in the middle of it.
    let bell = start_at(dir.path(), CONFIG, EPOCH_MS, vec![Err(None)]).await;
    let labels = Labels::from_pairs([("alertname", "A"), ("i", "1")]);
    let posted = PostedAlert { labels, ..PostedAlert::default() };
    bell.handle.post(vec![posted.clone()]).await.unwrap();
    run(1500).await;
    assert_eq!(bell.told(), [(1000, "1:firing".to_owned())]);
    assert_eq!(bell.handle.core().state.read_all(Table::Intents).unwrap().len(), 1);
    // What is on disk now is what a kill leaves behind.
    std::fs::copy(dir.path().join("state.redb"), copy.path().join("state.redb")).unwrap();

    let again = start_at(copy.path(), CONFIG, EPOCH_MS + 5000, Vec::new()).await;
    run(10_000).await;
    let told = again.sink.told.lock().unwrap().clone();
    assert_eq!((told.len(), told[0].possible_repeat, told[0].alerts.join(" ")), (1, true, "1:firing".to_owned()));
    assert!(again.handle.core().state.read_all(Table::Intents).unwrap().is_empty());
    // The alert itself is known as well: its end is told without anybody posting it as firing again.
    assert_eq!(again.handle.alerts(|_| true).len(), 1);
    let over = PostedAlert { ends_at: Some(again.clock.now_ms()), ..posted };
    again.handle.post(vec![over]).await.unwrap();
    run(3000).await;
    let told = again.sink.told.lock().unwrap().clone();
    assert_eq!((told.len(), told[1].possible_repeat, told[1].alerts.join(" ")), (2, false, "1:resolved".to_owned()));
    again.handle.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_repeats_nothing_and_forgets_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let bell = start(dir.path(), CONFIG).await;
    bell.send("A", "1", 120_000);
    bell.send("B", "1", 120_000);
    let silence = silence::Silence {
        id: String::new(),
        matchers: vec![crate::config::alert_matcher::parse_matcher("alertname=B").unwrap()],
        starts_at: bell.clock.now_ms(),
        ends_at: bell.clock.now_ms() + LONG,
        updated_at: 0,
        created_by: "ann".to_owned(),
        comment: "c".to_owned(),
    };
    let id = bell.handle.set_silence(silence).await.unwrap();
    run(1500).await;
    bell.handle.shutdown().await;
    expect(&bell, &[(1000, "1:firing")]);
    drop(bell);
    // Down for ten minutes: the alert ran out of time only because nobody could send it.
    let again = start_at(dir.path(), CONFIG, EPOCH_MS + 600_000, Vec::new()).await;
    run(60_000).await;
    assert_eq!(again.told(), []);
    assert_eq!(again.handle.silence(&id).unwrap().comment, "c");
    assert_eq!(again.handle.alerts(|_| true).len(), 2);
    run(300_000).await;
    // Nobody sent it for resolve_timeout after the start: now it is over, and that is told once.
    assert_eq!(again.told().into_iter().map(|t| t.1).collect::<Vec<_>>(), ["1:resolved"]);
    again.handle.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn posts_are_checked_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let bell = start(dir.path(), CONFIG).await;
    let good = PostedAlert { labels: Labels::from_pairs([("a", "1")]), ..PostedAlert::default() };
    let backwards = PostedAlert { starts_at: Some(10), ends_at: Some(5), ..good.clone() };
    let e = bell.handle.post(vec![good, PostedAlert::default(), backwards]).await.unwrap_err();
    assert_eq!(
        e,
        PostError::Invalid(vec![
            "at least one label pair required".to_owned(),
            "start time must be before end time".to_owned()
        ])
    );
    assert_eq!(bell.handle.alerts(|_| true).len(), 1);
    bell.handle.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_fallback_is_told_what_a_dead_receiver_cannot_be() {
    let dir = tempfile::tempdir().unwrap();
    let json = CONFIG.replace(r#"{"name":"r"}"#, r#"{"name":"r","fallback":{"receiver":"s","after":"3s"}}"#);
    let dead = || Err(Some(SendError::permanent(FailureReason::ClientError, "gone")));
    // In order: three flushes to r that fail, the fallback, r fails once more and then works.
    let script = vec![dead(), dead(), dead(), Ok(()), dead()];
    let bell = start_at(dir.path(), &json, EPOCH_MS, script).await;
    bell.send("A", "1", LONG);
    run(12_000).await;
    bell.send("A", "1", -1);
    run(3000).await;
    let told: Vec<_> = bell.sink.told.lock().unwrap().iter().map(|t| (t.at_ms, t.receiver.clone(), t.status)).collect();
    let (f, o) = (Status::Firing, Status::Resolved);
    let want = [
        (1000, "r", f),
        (3000, "r", f),
        (5000, "r", f),
        (5000, "s", f),
        (7000, "r", f),
        (9000, "r", f),
        (13000, "r", o),
        (13000, "s", o),
    ];
    let near = |a: &(i64, String, Status), b: &(i64, &str, Status)| (a.0 - b.0).abs() <= 30 && a.1 == b.1 && a.2 == b.2;
    assert!(told.len() == want.len() && told.iter().zip(&want).all(|(a, b)| near(a, b)), "{told:?}");
    bell.handle.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_follows_an_attempt_without_an_answer_is_marked() {
    let dir = tempfile::tempdir().unwrap();
    let busy = SendError::temporary(FailureReason::ServerError, "503");
    // The first attempt gets no answer until the patience is over; the second, at the next flush, gets one that says no.
    let bell = start_at(dir.path(), CONFIG, EPOCH_MS, vec![Err(None), Err(Some(busy))]).await;
    bell.send("A", "1", LONG);
    run(30_000).await;
    let marks = |bell: &Bell| bell.sink.told.lock().unwrap().iter().map(|t| t.possible_repeat).collect::<Vec<_>>();
    assert_eq!(marks(&bell), [false, true, true]);
    // What comes after a success is none.
    bell.send("A", "2", LONG);
    run(5000).await;
    assert_eq!(marks(&bell), [false, true, true, false]);
    let events = bell.events.lock().unwrap().join("\n");
    assert_eq!(events.matches("Told {").count(), 2, "{events}");
    bell.handle.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn what_time_does_is_told_too() {
    let dir = tempfile::tempdir().unwrap();
    let bell = start(dir.path(), CONFIG).await;
    let silence = silence::Silence {
        id: String::new(),
        matchers: vec![crate::config::alert_matcher::parse_matcher("alertname=B").unwrap()],
        starts_at: bell.clock.now_ms() + 60_000,
        ends_at: bell.clock.now_ms() + 120_000,
        updated_at: 0,
        created_by: "ann".to_owned(),
        comment: String::new(),
    };
    bell.handle.set_silence(silence).await.unwrap();
    let labels = Labels::from_pairs([("alertname", "A")]);
    bell.handle.post(vec![PostedAlert { labels, ..PostedAlert::default() }]).await.unwrap();
    // Nobody posts it again for resolve_timeout.
    run(400_000).await;
    let events = bell.events.lock().unwrap().clone();
    let count = |parts: &[&str]| events.iter().filter(|e| parts.iter().all(|p| e.contains(p))).count();
    for change in ["Created", "Began", "Ended"] {
        assert_eq!(count(&["Silence {", &format!("change: {change}")]), 1, "{change}: {events:#?}");
    }
    assert_eq!(count(&["Alert {", "firing: true", "because: Posted"]), 1, "{events:#?}");
    assert_eq!(count(&["Alert {", "firing: false", "because: Timeout"]), 1, "{events:#?}");
    bell.handle.shutdown().await;
}
