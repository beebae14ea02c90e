//! kill -9 at random moments while alerts fire and resolve and the receiver is unreliable: everybody is told of everything, and only what may
//! have been told before comes twice, marked. A reload in the middle of it changes nothing.
//!
//! `NOTHING_LOST_KILLS`, `NOTHING_LOST_ALERTS` and `NOTHING_LOST_SEED` make the run larger; 100 kills and 1,000 alerts take some ten minutes:
//! `NOTHING_LOST_KILLS=100 NOTHING_LOST_ALERTS=1000 cargo test --test e2e -- nothing_lost::kills --nocapture`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use campanile::model::time::rfc3339_ms;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::crash::write_series;
use crate::harness::{Server, eventually, now_ms};
use crate::sinks::WebhookSink;

/// A number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |v| v.parse().unwrap_or_else(|_| panic!("{name}={v} is no number")))
}

/// xorshift64*: enough for picking moments and answers, and the same for the same seed.
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % below
    }
}

/// A message that was taken, which is when its sender was told 200.
#[derive(Clone, Debug)]
struct Message {
    at: Instant,
    marked: bool,
    /// Alert and whether it fired.
    alerts: Vec<(String, bool)>,
}

#[derive(Default)]
struct Counts {
    taken: u64,
    errors: u64,
    hangs: u64,
    resets: u64,
}

/// A webhook that takes most messages, answers some with 500, some never, and breaks some connections off.
struct FlakySink {
    port: u16,
    taken: Arc<Mutex<Vec<Message>>>,
    counts: Arc<Mutex<Counts>>,
}

impl FlakySink {
    async fn start(mut dice: Dice) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (taken, counts): (Arc<Mutex<Vec<Message>>>, Arc<Mutex<Counts>>) = Default::default();
        let sink = FlakySink { port, taken: taken.clone(), counts: counts.clone() };
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let dice = Dice(dice.roll(u64::MAX >> 1) | 1);
                tokio::spawn(serve(stream, dice, taken.clone(), counts.clone()));
            }
        });
        sink
    }
}

/// Answers the requests of one connection.
async fn serve(mut stream: TcpStream, mut dice: Dice, taken: Arc<Mutex<Vec<Message>>>, counts: Arc<Mutex<Counts>>) {
    let mut data = Vec::new();
    loop {
        let Some((marked, body)) = Box::pin(read_request(&mut stream, &mut data)).await else { return };
        let answer = match dice.roll(100) {
            0..10 => {
                counts.lock().unwrap().errors += 1;
                "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"
            }
            10..14 => {
                counts.lock().unwrap().hangs += 1;
                tokio::time::sleep(Duration::from_secs(30)).await;
                return;
            }
            14..20 => {
                counts.lock().unwrap().resets += 1;
                return;
            }
            _ => {
                let body: Value = serde_json::from_slice(&body).unwrap();
                let alerts = body["alerts"].as_array().unwrap().iter();
                let alerts = alerts
                    .map(|a| (a["labels"]["which"].as_str().unwrap().to_owned(), a["status"] == "firing"))
                    .collect();
                taken.lock().unwrap().push(Message { at: Instant::now(), marked, alerts });
                counts.lock().unwrap().taken += 1;
                "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
            }
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// One request: whether it says to be a possible repeat, and its body. `None` at the end of the connection.
async fn read_request(stream: &mut TcpStream, data: &mut Vec<u8>) -> Option<(bool, Vec<u8>)> {
    loop {
        if let Some(end) = data.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&data[..end]).to_lowercase();
            let length = head.lines().find_map(|l| l.strip_prefix("content-length:"))?.trim().parse::<usize>().ok()?;
            if data.len() >= end + 4 + length {
                let body = data[end + 4..end + 4 + length].to_vec();
                data.drain(..end + 4 + length);
                return Some((head.contains("x-campanile-retry: 1"), body));
            }
        }
        let mut chunk = [0; 16384];
        match stream.read(&mut chunk).await {
            Ok(n) if n > 0 => data.extend_from_slice(&chunk[..n]),
            _ => return None,
        }
    }
}

/// What one alert is to be, and what was told of it.
#[derive(Clone, Debug)]
struct Alert {
    name: String,
    /// Whether a rule makes it of a sample; the others are posted.
    by_rule: bool,
    firing: bool,
    /// How many messages of it were looked at.
    seen: usize,
    /// Whether what it is now was told.
    told: bool,
    /// When it went over into this state, and into the one before.
    since: i64,
    before: i64,
    cycles: u64,
}

impl Alert {
    /// From firing to not, or back.
    fn go_over(&mut self) {
        (self.before, self.since) = (self.since, now_ms());
        self.firing = !self.firing;
        self.told = false;
        self.cycles += 1;
    }
}

struct Run {
    alerts: Vec<Alert>,
    sink: FlakySink,
    /// Messages of each alert in the order of arrival.
    messages: BTreeMap<String, Vec<Message>>,
    read: usize,
}

impl Run {
    /// Takes in what came, and notes for which alerts the wanted message has come.
    fn look(&mut self) {
        let new: Vec<Message> = self.sink.taken.lock().unwrap()[self.read..].to_vec();
        self.read += new.len();
        for message in new {
            for (name, firing) in &message.alerts {
                let message = Message { alerts: vec![(name.clone(), *firing)], ..message.clone() };
                self.messages.entry(name.clone()).or_default().push(message);
            }
        }
        for alert in &mut self.alerts {
            let all = self.messages.get(&alert.name).map_or(&[][..], Vec::as_slice);
            if all[alert.seen..].iter().any(|m| m.alerts[0].1 == alert.firing) {
                alert.told = true;
            }
            alert.seen = all.len();
        }
    }

    /// Says what fires and what does not. Whatever is not acknowledged is said again at the next turn.
    async fn say(&self, server: &Server) {
        let now = now_ms();
        let posted: Vec<Value> = self
            .alerts
            .iter()
            .filter(|a| !a.by_rule && !a.told)
            .map(|a| {
                let (start, end) = if a.firing { (a.since, now + 3_600_000) } else { (a.before, a.since) };
                json!({
                    "labels": {"alertname": "posted", "which": a.name},
                    "startsAt": rfc3339_ms(start), "endsAt": rfc3339_ms(end),
                })
            })
            .collect();
        let url = server.url("/alertmanager/api/v2/alerts");
        let post = server.http.post(url).header("content-type", "application/json");
        // A server that is just being killed takes nothing; the next turn says it again.
        let _refused = post.body(Value::Array(posted).to_string()).send().await;
        let samples: Vec<(Vec<(&str, String)>, f64)> = self
            .alerts
            .iter()
            .filter(|a| a.by_rule && a.cycles > 0)
            .map(|a| {
                let labels = vec![("__name__", "nothing_lost_input".to_owned()), ("which", a.name.clone())];
                (labels, f64::from(u8::from(a.firing)))
            })
            .collect();
        let write = server.http.post(server.url("/api/v1/write")).header("content-encoding", "snappy");
        let _refused = write.body(write_series(&samples, now)).send().await;
    }

    /// Every alert whose state was told, and that may, goes over into the other state.
    fn turn(&mut self, dice: &mut Dice, may: impl Fn(&Alert) -> bool) {
        for alert in self.alerts.iter_mut().filter(|a| a.told && may(a)) {
            // Not all at the same moment.
            if dice.roll(3) > 0 {
                alert.go_over();
            }
        }
    }

    fn untold(&self) -> Vec<&Alert> {
        self.alerts.iter().filter(|a| !a.told).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kills() {
    let kills = setting("NOTHING_LOST_KILLS", 4);
    let alerts = setting("NOTHING_LOST_ALERTS", 60);
    let seed = setting("NOTHING_LOST_SEED", 1);
    let whole = kills >= 50;
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let sink = FlakySink::start(Dice(dice.roll(u64::MAX >> 1) | 1)).await;
    let rules = "groups:\n  - name: g\n    interval: 1s\n    rules:\n      - alert: ByRule\n        expr: nothing_lost_input == 1\n";
    let config = format!(
        r#"
self_scrape: false
host: {{enabled: false}}
alertmanager:
  route: {{receiver: hook, group_by: ['...'], group_wait: 100ms, group_interval: 1s, repeat_interval: 24h}}
  receivers: [{{name: hook, webhook_configs: [{{url: 'http://127.0.0.1:{port}/', timeout: 2s}}]}}]
"#,
        port = sink.port
    );
    let mut server = Server::start_with_rules(&config, rules).await;
    let mut run = Run {
        alerts: (0..alerts)
            .map(|i| Alert {
                name: format!("alert{i}"),
                by_rule: i % 2 == 0,
                firing: false,
                seen: 0,
                told: true,
                since: 0,
                before: 0,
                cycles: 0,
            })
            .collect(),
        sink,
        messages: BTreeMap::new(),
        read: 0,
    };
    // When the server was down, from the kill to readiness.
    let mut downs: Vec<(Instant, Instant)> = Vec::new();
    let begun = Instant::now();
    for _ in 0..kills {
        let life = Duration::from_millis(300 + dice.roll(2700));
        let born = Instant::now();
        while born.elapsed() < life {
            run.look();
            // After a restart an alert of a rule fires on for a minute at least, so that with kills coming faster than that it does not end.
            run.turn(&mut dice, |a| !a.by_rule || !a.firing);
            run.say(&server).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let killed = Instant::now();
        server.crash_and_restart().await;
        downs.push((killed, Instant::now()));
    }
    // The end: everything that is under way is told, for a repeat of the state before last says nothing of a new one. Then everything
    // fires, then, in the whole run, everything resolves; in the short one what is posted does.
    for goal in [None, Some(true), Some(false)] {
        let concerned = |a: &Alert| goal.is_some_and(|firing| a.firing != firing && (firing || whole || !a.by_rule));
        for alert in run.alerts.iter_mut().filter(|a| concerned(a)) {
            alert.go_over();
        }
        let since = Instant::now();
        let patience = Duration::from_secs(if whole { 240 } else { 120 });
        loop {
            run.look();
            if run.untold().is_empty() {
                break;
            }
            assert!(
                since.elapsed() < patience,
                "lost: {:?} of {} alerts; messages of the first: {:?}",
                run.untold().iter().take(5).collect::<Vec<_>>(),
                run.untold().len(),
                run.untold().first().and_then(|a| run.messages.get(&a.name))
            );
            run.say(&server).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    // A repeat is the same state told twice in a row. It is marked, and the process was killed between the two, or the answer was lost.
    let (mut repeats, mut unmarked) = (0, Vec::new());
    for (name, messages) in &run.messages {
        for pair in messages.windows(2) {
            if pair[0].alerts[0].1 == pair[1].alerts[0].1 {
                repeats += 1;
                if !pair[1].marked {
                    unmarked.push((name.clone(), pair[0].at - begun, pair[1].at - begun, pair[1].alerts[0].1));
                }
            }
        }
    }
    let counts = run.sink.counts.lock().unwrap();
    let transitions: u64 = run.alerts.iter().map(|a| a.cycles).sum();
    let down: Duration = downs.iter().map(|(from, to)| *to - *from).sum();
    println!(
        "{kills} kills in {:.0?} (down {:.1?} in all), {alerts} alerts, {transitions} changes told; the receiver took {}, refused {}, \
         hung {}, broke off {}; {repeats} repeats, {} of them unmarked",
        begun.elapsed(),
        down,
        counts.taken,
        counts.errors,
        counts.hangs,
        counts.resets,
        unmarked.len()
    );
    assert!(unmarked.is_empty(), "repeats without a mark: {:?}", &unmarked[..unmarked.len().min(10)]);
    assert!(transitions >= alerts, "too little happened");
}

/// Reloads while flushes are under way: everything is told once, and the group's timer goes on.
#[tokio::test(flavor = "multi_thread")]
async fn reloads() {
    let sink = WebhookSink::start_slow(Duration::from_millis(400)).await;
    let config = |repeat: &str| {
        format!(
            r#"
self_scrape: false
host: {{enabled: false}}
alertmanager:
  route:
    receiver: hook
    group_by: [alertname]
    group_wait: 500ms
    group_interval: 6s
    repeat_interval: {repeat}
    routes: [{{matchers: ['team="other"'], receiver: hook}}]
  receivers: [{{name: hook, webhook_configs: [{{url: 'http://127.0.0.1:{}/hook'}}]}}]
"#,
            sink.port
        )
    };
    let server = Server::start(&config("10h")).await;
    let post = async |which: std::ops::Range<u32>| {
        let alerts: Vec<Value> =
            which.map(|i| json!({"labels": {"alertname": format!("a{}", i % 20), "i": i.to_string()}})).collect();
        let url = server.url("/alertmanager/api/v2/alerts");
        let r = server.http.post(url).header("content-type", "application/json").body(Value::Array(alerts).to_string());
        assert_eq!(r.send().await.unwrap().status(), 200);
    };
    post(0..20).await;
    let reload = async |i: u32| {
        std::fs::write(server.config_path(), config(&format!("{}h", 10 + i))).unwrap();
        let r = server.http.post(server.url("/-/reload")).send().await.unwrap();
        assert_eq!(r.status(), 200, "{}", r.text().await.unwrap());
    };
    // The first flush comes after half a second and takes nearly as long again.
    for i in 0..6 {
        reload(i).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    eventually("all groups are told", 20, async || (sink.bodies().len() >= 20).then_some(())).await;
    let first = sink.times()[0];
    // A second alert for each group: told at the group's next time, however often the configuration changes until then.
    post(20..40).await;
    // They go on until shortly before that time, so that a timer that began anew would be late by almost as much again.
    for i in 6.. {
        reload(i).await;
        if first.elapsed() > Duration::from_secs(5) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let reloaded = Instant::now();
    eventually("all groups are told again", 20, async || (sink.bodies().len() >= 40).then_some(())).await;
    let second = sink.times()[20];
    assert!(second - first > Duration::from_secs(4), "the timers moved forward: {:?}", second - first);
    assert!(second < reloaded + Duration::from_secs(6), "the timers began anew: {:?}", second - first);
    // Nothing more comes for a whole interval.
    tokio::time::sleep(Duration::from_millis(6500)).await;
    let bodies = sink.bodies();
    assert_eq!(bodies.len(), 40, "something was told twice");
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    for alert in bodies.iter().flat_map(|b| b["alerts"].as_array().unwrap()) {
        *told.entry(alert["labels"]["i"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    // The first alert of a group is told alone, then beside the second one.
    assert_eq!(told.len(), 40);
    assert!(told.iter().all(|(i, n)| *n == if i.parse::<u32>().unwrap() < 20 { 2 } else { 1 }), "{told:?}");
}
