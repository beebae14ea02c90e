//! The rules against a made-up world: a querier that answers from a table, a store that remembers, paused time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::alerting::AlertState;
use super::*;
use crate::config::{ConfigDuration, Problems};
use crate::exec::clock::Clock;
use crate::model::alert::Alert;
use crate::model::sample::is_stale_nan;
use crate::model::{Labels, Matcher, TimestampMs};

/// Shows the time of tokio's paused clock.
struct TokioClock(tokio::time::Instant);

const START_MS: i64 = 1_700_000_000_000;

impl Clock for TokioClock {
    fn now_ns(&self) -> i64 {
        START_MS * 1_000_000 + i64::try_from(self.0.elapsed().as_nanos()).unwrap()
    }
}

type Answer = Result<Vec<InstantSample>, String>;

#[derive(Default)]
struct World {
    /// Answers by expression; an absent one is empty.
    answers: Mutex<HashMap<String, Answer>>,
    /// How long a query takes.
    slow: Mutex<Duration>,
    queries: Mutex<Vec<(String, TimestampMs)>>,
    written: Mutex<Vec<(Labels, f64, TimestampMs)>>,
    sent: Mutex<Vec<Alert>>,
    seen: Mutex<Vec<(AlertState, AlertState)>>,
    last: Mutex<Vec<LastSample>>,
    kept: Mutex<Vec<RuleSnapshot>>,
    /// Queries under way, and the most there were at once.
    running: Mutex<(usize, usize)>,
}

impl World {
    fn answer(&self, expr: &str, samples: &[(&[(&str, &str)], f64)]) {
        let samples =
            samples.iter().map(|(l, v)| InstantSample::float(Labels::from_pairs(l.iter().copied()), *v)).collect();
        self.answers.lock().unwrap().insert(expr.to_owned(), Ok(samples));
    }

    fn fail(&self, expr: &str) {
        self.answers.lock().unwrap().insert(expr.to_owned(), Err("no such luck".to_owned()));
    }

    fn take_written(&self) -> Vec<String> {
        let mut all: Vec<String> = std::mem::take(&mut *self.written.lock().unwrap())
            .into_iter()
            .map(|(l, v, _)| if is_stale_nan(v) { format!("{l} stale") } else { format!("{l} {v}") })
            .collect();
        all.sort();
        all
    }

    fn take_seen(&self) -> Vec<(AlertState, AlertState)> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

impl RuleQuerier for World {
    fn instant<'a>(&'a self, _: GroupKind, expr: &'a str, t: TimestampMs) -> BoxFuture<'a, Answer> {
        async move {
            let slow = *self.slow.lock().unwrap();
            if !slow.is_zero() {
                {
                    let mut running = self.running.lock().unwrap();
                    running.0 += 1;
                    running.1 = running.1.max(running.0);
                }
                tokio::time::sleep(slow).await;
                self.running.lock().unwrap().0 -= 1;
            }
            self.queries.lock().unwrap().push((expr.to_owned(), t));
            self.answers.lock().unwrap().get(expr).cloned().unwrap_or(Ok(Vec::new()))
        }
        .boxed()
    }

    fn last_samples<'a>(
        &'a self,
        _: &'a [Matcher],
        _: TimestampMs,
        _: TimestampMs,
    ) -> BoxFuture<'a, Result<Vec<LastSample>, String>> {
        std::future::ready(Ok(self.last.lock().unwrap().clone())).boxed()
    }
}

impl RuleAppender for World {
    fn append(
        &self,
        results: Vec<Vec<InstantSample>>,
        t: TimestampMs,
    ) -> BoxFuture<'_, Result<Vec<AppendReport>, String>> {
        let reports = results.iter().map(|_| AppendReport::default()).collect();
        self.written.lock().unwrap().extend(results.into_iter().flatten().map(|s| (s.labels, s.value, t)));
        std::future::ready(Ok(reports)).boxed()
    }
}

impl RuleStateKeeper for World {
    fn keep(&self, rules: Vec<RuleSnapshot>) -> BoxFuture<'_, Result<(), String>> {
        let mut kept = self.kept.lock().unwrap();
        for rule in rules {
            kept.retain(|k| k.key() != rule.key());
            if !rule.alerts.is_empty() {
                kept.push(rule);
            }
        }
        std::future::ready(Ok(())).boxed()
    }
}

impl AlertSink for World {
    fn send(&self, alerts: Vec<Alert>) {
        self.sent.lock().unwrap().extend(alerts);
    }
}

impl TransitionObserver for World {
    fn transition(&self, t: &Transition) {
        self.seen.lock().unwrap().push((t.from, t.to));
    }
}

fn parse(text: &str) -> RuleFile {
    serde_saphyr::from_str(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn groups(text: &str) -> Vec<GroupSpec> {
    let file = parse(text);
    file.groups.iter().map(|g| GroupSpec::compile("rules.yml", g, 60_000, 0).unwrap()).collect()
}

fn settings() -> RuleSettings {
    RuleSettings {
        external_url: "http://c.example/p".to_owned(),
        external_labels: Labels::from_pairs([("region", "eu"), ("job", "no")]),
    }
}

fn manager(world: &Arc<World>, snapshot: Option<Snapshot>) -> RuleManager {
    manager_at(world, snapshot, Arc::new(TokioClock(tokio::time::Instant::now())))
}

fn manager_at(world: &Arc<World>, snapshot: Option<Snapshot>, clock: Arc<dyn Clock>) -> RuleManager {
    let services = RuleServices {
        querier: world.clone(),
        appender: world.clone(),
        sink: world.clone(),
        keeper: world.clone(),
        observer: world.clone(),
        clock,
        ready: crate::exec::latch::Latch::opened(),
    };
    RuleManager::new(services, snapshot)
}

async fn minutes(n: u64) {
    tokio::time::sleep(Duration::from_secs(60 * n)).await;
}

const FIRING: &str = "
groups:
- name: g
  labels: {team: all}
  rules:
  - alert: Down
    expr: up == 0
    for: 2m
    labels: {severity: page, who: '{{ $labels.job }}-team'}
    annotations: {summary: '{{ $labels.job }} is {{ $value }} in {{ $externalLabels.region }}'}
";

#[tokio::test(start_paused = true)]
async fn an_alert_waits_fires_and_resolves() {
    use AlertState::{Firing, Inactive, Pending};
    let world = Arc::new(World::default());
    let manager = manager(&world, Some(Snapshot::default()));
    world.answer("up == 0", &[(&[("__name__", "up"), ("job", "web")], 0.0)]);
    manager.update(groups(FIRING), settings()).await;
    minutes(1).await;
    assert_eq!(world.take_seen(), [(Inactive, Pending)]);
    assert!(world.sent.lock().unwrap().is_empty());
    let active = r#"alertname="Down""#;
    let rest = r#"job="web", severity="page", team="all", who="web-team""#;
    let written = world.take_written();
    assert_eq!(written[0], format!(r#"{{__name__="ALERTS", {active}, alertstate="pending", {rest}}} 1"#));
    assert!(written[1].starts_with(&format!(r#"{{__name__="ALERTS_FOR_STATE", {active}, {rest}}} 17000"#)));

    minutes(2).await;
    assert_eq!(world.take_seen(), [(Pending, Firing)]);
    let sent = std::mem::take(&mut *world.sent.lock().unwrap());
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].labels.value("region"), "eu");
    assert_eq!(sent[0].labels.value("job"), "web");
    assert_eq!(sent[0].annotations.value("summary"), "web is 0 in eu");
    assert_eq!(sent[0].generator_url, "http://c.example/p/graph?g0.expr=up+%3D%3D+0&g0.tab=1");
    assert_eq!(sent[0].ends_at - sent[0].starts_at, 240_000);
    assert!(world.take_written().iter().any(|w| w.contains("alertstate=\"pending\"") && w.ends_with("stale")));
    let group = &manager.groups()[0];
    assert_eq!(group.rules[0].health, Health::Ok);
    assert!(matches!(group.rules[0].detail, RuleDetail::Alerting { state: Firing, .. }));
    assert_eq!(manager.active_alerts().len(), 1);

    world.answer("up == 0", &[]);
    minutes(1).await;
    assert_eq!(world.take_seen(), [(Firing, Inactive)]);
    let sent = std::mem::take(&mut *world.sent.lock().unwrap());
    assert!(sent.iter().any(|a| a.ends_at == a.updated_at), "{sent:?}");
    assert_eq!(world.take_written().iter().filter(|w| w.ends_with("stale")).count(), 2);
    assert!(manager.active_alerts().is_empty());
    // Sent again for a quarter of an hour, then forgotten.
    minutes(20).await;
    let sent = std::mem::take(&mut *world.sent.lock().unwrap());
    assert!((5..=8).contains(&sent.len()), "{}", sent.len());
    assert!(world.kept.lock().unwrap().is_empty());
    manager.stop().await;
}

#[tokio::test(start_paused = true)]
async fn keeps_firing_for_and_limits() {
    let world = Arc::new(World::default());
    let manager = manager(&world, Some(Snapshot::default()));
    world.answer("x", &[(&[("a", "1")], 1.0)]);
    world.answer("many", &[(&[("a", "1")], 1.0), (&[("a", "2")], 1.0)]);
    world.answer("twice", &[(&[("__name__", "a")], 1.0), (&[("__name__", "b")], 1.0)]);
    world.fail("broken");
    let text = "
groups:
- name: g
  limit: 1
  rules:
  - {alert: K, expr: x, keep_firing_for: 3m}
  - {alert: L, expr: many}
  - {record: r, expr: many}
  - {record: twice, expr: twice}
  - {alert: B, expr: broken}
";
    manager.update(groups(text), settings()).await;
    minutes(1).await;
    let states = |i: usize| manager.groups()[0].rules[i].clone();
    assert!(matches!(states(0).detail, RuleDetail::Alerting { state: AlertState::Firing, .. }));
    assert_eq!(states(1).last_error, "exceeded limit of 1 with 2 alerts");
    assert_eq!(states(2).last_error, "exceeded limit of 1 with 2 series");
    assert_eq!(states(3).last_error, "vector contains metrics with the same labelset after applying rule labels");
    assert_eq!((states(4).last_error.as_str(), states(4).health), ("no such luck", Health::Err));
    world.answer("x", &[]);
    minutes(3).await;
    assert!(matches!(states(0).detail, RuleDetail::Alerting { state: AlertState::Firing, .. }));
    minutes(1).await;
    assert!(matches!(states(0).detail, RuleDetail::Alerting { state: AlertState::Inactive, .. }));
    manager.stop().await;
}

#[tokio::test(start_paused = true)]
async fn records_and_ends_series() {
    let world = Arc::new(World::default());
    let manager = manager(&world, Some(Snapshot::default()));
    world.answer(
        "up",
        &[(&[("__name__", "up"), ("job", "a"), ("x", "1")], 1.0), (&[("__name__", "up"), ("job", "b")], 2.0)],
    );
    let text = |name: &str| {
        format!(
            "groups: [{{name: g, query_offset: 10s, rules: [{{record: '{name}', expr: up, labels: {{x: '', y: z}}}}]}}]"
        )
    };
    manager.update(groups(&text("r")), settings()).await;
    minutes(1).await;
    assert_eq!(world.take_written(), [r#"{__name__="r", job="a", y="z"} 1"#, r#"{__name__="r", job="b", y="z"} 2"#]);
    let (_, at) = world.queries.lock().unwrap()[0].clone();
    assert_eq!(Some(at + 10_000), manager.groups()[0].last_evaluation);
    world.answer("up", &[(&[("job", "a")], 1.0)]);
    minutes(1).await;
    assert_eq!(
        world.take_written(),
        [r#"{__name__="r", job="a", y="z"} 1"#, r#"{__name__="r", job="b", y="z"} stale"#]
    );
    // A renamed rule ends the series of the old name.
    manager.update(groups(&text("s")), settings()).await;
    minutes(1).await;
    assert_eq!(
        world.take_written(),
        [r#"{__name__="r", job="a", y="z"} stale"#, r#"{__name__="s", job="a", y="z"} 1"#]
    );
    // So does a removed group, a little later.
    manager.update(Vec::new(), settings()).await;
    minutes(3).await;
    assert_eq!(world.take_written(), [r#"{__name__="s", job="a", y="z"} stale"#]);
    assert!(manager.groups().is_empty());
    manager.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_what_is_the_same() {
    let world = Arc::new(World::default());
    let manager = manager(&world, Some(Snapshot::default()));
    world.answer("up == 0", &[(&[("job", "web")], 0.0)]);
    manager.update(groups(FIRING), settings()).await;
    minutes(2).await;
    // The same rule with other texts keeps waiting where it was.
    manager.update(groups(&FIRING.replace("is {{", "was {{")), settings()).await;
    minutes(1).await;
    assert_eq!(manager.active_alerts()[0].state, AlertState::Firing);
    assert_eq!(manager.active_alerts()[0].annotations.value("summary"), "web was 0 in eu");
    // An unchanged group is not even stopped.
    let before = manager.groups();
    manager.update(groups(&FIRING.replace("is {{", "was {{")), settings()).await;
    assert_eq!(manager.groups(), before);
    manager.stop().await;
}

#[tokio::test(start_paused = true)]
async fn alerts_survive_a_restart() {
    let world = Arc::new(World::default());
    let first = manager(&world, Some(Snapshot::default()));
    world.answer("up == 0", &[(&[("job", "web")], 0.0)]);
    first.update(groups(FIRING), settings()).await;
    minutes(3).await;
    first.stop().await;
    let snapshot = Snapshot { rules: world.kept.lock().unwrap().clone() };
    let before = first.active_alerts();
    assert_eq!(before[0].state, AlertState::Firing);
    world.take_seen();
    // At first the scrapes are missing: that is no reason to resolve.
    world.answer("up == 0", &[]);
    let second = manager(&world, Some(snapshot.clone()));
    second.update(groups(FIRING), settings()).await;
    minutes(1).await;
    assert_eq!(second.active_alerts()[0].fired_at, before[0].fired_at);
    world.answer("up == 0", &[(&[("job", "web")], 0.0)]);
    minutes(2).await;
    assert_eq!(second.active_alerts()[0].fired_at, before[0].fired_at);
    assert!(world.take_seen().is_empty());
    second.stop().await;
    // What stays away resolves.
    world.answer("up == 0", &[]);
    let third = manager(&world, Some(snapshot));
    third.update(groups(FIRING), settings()).await;
    minutes(4).await;
    assert_eq!(world.take_seen(), [(AlertState::Firing, AlertState::Inactive)]);
    third.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_snapshot_the_series_tell() {
    let world = Arc::new(World::default());
    let manager = manager(&world, None);
    world.answer("x", &[(&[("a", "1")], 1.0)]);
    let labels = Labels::from_pairs([("__name__", "ALERTS_FOR_STATE"), ("alertname", "A"), ("a", "1")]);
    let t = START_MS - 60_000;
    world.last.lock().unwrap().push(LastSample { labels, t, value: ((t - 3_600_000) / 1000) as f64 });
    manager.update(groups("groups: [{name: g, rules: [{alert: A, expr: x, for: 30m}]}]"), settings()).await;
    minutes(2).await;
    assert!(world.take_written().is_empty());
    minutes(1).await;
    assert_eq!(manager.active_alerts()[0].state, AlertState::Firing);
    assert_eq!(manager.active_alerts()[0].active_at, t - 3_600_000);
    manager.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_is_what_is() {
    let world = Arc::new(World::default());
    let clock: Arc<dyn Clock> = Arc::new(TokioClock(tokio::time::Instant::now()));
    let manager = manager_at(&world, Some(Snapshot::default()), clock.clone());
    world.answer("up == 0", &[(&[("job", "web")], 0.0)]);
    manager.update(groups(FIRING), settings()).await;
    for want in [AlertState::Pending, AlertState::Pending, AlertState::Firing] {
        minutes(1).await;
        let kept = world.kept.lock().unwrap().clone();
        let [rule] = kept.as_slice() else { panic!("{kept:?}") };
        assert_eq!((rule.name.as_str(), rule.group.as_str(), rule.alerts[0].state), ("Down", "g", want));
        assert_eq!(Some(rule.evaluated_at), manager.groups()[0].last_evaluation);
    }
    // Of a rule that is gone nothing is kept.
    manager.update(groups("groups: [{name: g, rules: [{record: r, expr: x}]}]"), settings()).await;
    assert!(world.kept.lock().unwrap().is_empty());
    // A pending alert does not count the time in which nobody looked.
    manager.update(groups(FIRING), settings()).await;
    minutes(1).await;
    let snapshot = Snapshot { rules: world.kept.lock().unwrap().clone() };
    let before = manager.active_alerts()[0].active_at;
    manager.stop().await;
    minutes(60).await;
    let again = manager_at(&world, Some(snapshot), clock.clone());
    again.update(groups(FIRING), settings()).await;
    minutes(1).await;
    let after = again.active_alerts()[0].active_at;
    assert!((59 * 60_000..=60 * 60_000).contains(&(after - before)), "{}", after - before);
    // Without any rules at a start nothing stays behind.
    again.stop().await;
    let snapshot = Snapshot { rules: world.kept.lock().unwrap().clone() };
    assert!(!snapshot.rules.is_empty());
    let third = manager_at(&world, Some(snapshot), clock.clone());
    third.update(Vec::new(), settings()).await;
    assert!(world.kept.lock().unwrap().is_empty());
    third.stop().await;
}

#[tokio::test(start_paused = true)]
async fn independent_rules_are_asked_at_once_and_dependent_ones_in_turn() {
    let world = Arc::new(World::default());
    *world.slow.lock().unwrap() = Duration::from_secs(10);
    let manager = manager(&world, Some(Snapshot::default()));
    let rules: Vec<String> = (0..8).map(|i| format!("{{record: r{i}, expr: x{i}}}")).collect();
    let text = format!("groups: [{{name: g, rules: [{}, {{record: s, expr: r0}}]}}]", rules.join(","));
    manager.update(groups(&text), settings()).await;
    minutes(2).await;
    assert_eq!(world.running.lock().unwrap().1, 4, "so many at once");
    let queries = world.queries.lock().unwrap().clone();
    assert_eq!(queries[8].0, "r0");
    // Nine rules of ten seconds each are done within a minute.
    assert_eq!(super::metrics::MISSED.with_label_values(&["rules.yml;g"]).get(), 0);
    manager.stop().await;
}

#[tokio::test(start_paused = true)]
async fn evaluates_at_even_times_and_counts_missed_ones() {
    let world = Arc::new(World::default());
    *world.slow.lock().unwrap() = Duration::from_secs(150);
    let manager = manager(&world, Some(Snapshot::default()));
    manager.update(groups("groups: [{name: slow, rules: [{record: r, expr: x}]}]"), settings()).await;
    minutes(12).await;
    let times: Vec<i64> = world.queries.lock().unwrap().iter().map(|(_, t)| *t).collect();
    assert!(times.len() >= 3, "{times:?}");
    for pair in times.windows(2) {
        assert_eq!((pair[1] - pair[0]) % 60_000, 0);
        assert!(pair[1] - pair[0] >= 120_000);
    }
    let missed = super::metrics::MISSED.with_label_values(&["rules.yml;slow"]).get();
    assert!(missed >= 2, "{missed}");
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn templates_may_query() {
    let world = Arc::new(World::default());
    world.answer("up", &[(&[("job", "web")], 0.0)]);
    world.answer("load", &[(&[("host", "h1")], 1.5)]);
    let text = "groups: [{name: g, interval: 1ms, rules: [{alert: A, expr: up, annotations: {q: '{{ with query \"load\" }}{{ . | first | label \"host\" }}={{ . | first | value }}{{ end }}', bad: '{{ .Nope }}'}}]}]";
    let manager = manager(&world, Some(Snapshot::default()));
    manager.update(groups(text), settings()).await;
    let alert = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            if let Some(a) = manager.active_alerts().into_iter().next() {
                return a;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!(alert.annotations.value("q"), "h1=1.5");
    assert!(
        alert
            .annotations
            .value("bad")
            .starts_with("<error expanding template: error executing template __alert_A: template: __alert_A:1:115: ")
    );
    manager.stop().await;
}

#[test]
fn evaluation_times_are_those_of_prometheus() {
    let spec = &groups("groups: [{name: g, interval: 15s, rules: []}]")[0];
    let hash = Labels::from_pairs([("file", "rules.yml"), ("name", "g")]).prometheus_hash();
    let offset = (hash % 15_000_000_000) as i64;
    for now in [0, 1, START_MS * 1_000_000, START_MS * 1_000_000 + 14_999_999_999] {
        let slot = spec.slot_before_ns(now);
        assert!(slot <= now && now - slot < 15_000_000_000, "{now} {slot}");
        assert_eq!((slot - offset).rem_euclid(15_000_000_000), 0);
    }
}

#[test]
fn finds_what_is_wrong_with_a_file() {
    let text = r#"
groups:
- name: a
- name: a
  rules:
  - {record: r, alert: b, expr: up}
  - {expr: up}
  - {record: 'r{x="y"}', expr: up, for: 5m, annotations: {a: b}}
  - {alert: A, expr: 'sum('}
  - {alert: A, expr: up, labels: {__name__: x, l: '{{ nope }}'}, annotations: {s: '{{ $x }}'}}
  - {alert: A}
- name: ""
  type: logs
  rules: [{alert: L, expr: '{job="x"} |= "y"'}]
"#;
    let mut problems = Problems::default();
    parse(text).validate(&mut problems);
    let found: Vec<String> = problems.into_vec().into_iter().map(|(p, m)| format!("{p}: {m}")).collect();
    let want = [
        "groups[1].name: group name \"a\" is repeated in the same file",
        "groups[1].rules[0]: only one of 'record' and 'alert' must be set",
        "groups[1].rules[1]: one of 'record' or 'alert' must be set",
        "groups[1].rules[2].annotations: invalid field 'annotations' in recording rule",
        "groups[1].rules[2].for: invalid field 'for' in recording rule",
        "groups[1].rules[2].record: braces present in the recording rule name; should it be in expr?: r{x=\"y\"}",
        "groups[1].rules[3].expr: could not parse expression: 1:5: parse error: unclosed left parenthesis",
        "groups[1].rules[4].labels: invalid label name: __name__",
        "groups[1].rules[4].labels.l: label \"l\": template: __alert_A:1: function \"nope\" not defined",
        "groups[1].rules[4].annotations.s: annotation \"s\": template: __alert_A:1: undefined variable \"$x\"",
        "groups[1].rules[5]: field 'expr' must be set in rule",
        "groups[2].name: group name must not be empty",
    ];
    assert_eq!(found, want);
    let duplicated =
        parse("groups: [{name: g, rules: [{record: a, expr: x}, {record: a, expr: y}, {alert: a, expr: x}]}]");
    assert_eq!(duplicated.duplicates(), [("groups[0].rules[1]".to_owned(), "a".to_owned())]);
    let full = parse(
        "groups: [{name: g, interval: 30s, query_offset: 1m, limit: 10, rules: [{alert: A, expr: 1, for: 0, labels: {x: 1}, keep_firing_for: 90s}]}]",
    );
    let mut problems = Problems::default();
    full.validate(&mut problems);
    assert!(problems.is_empty());
    assert_eq!(full.groups[0].rules[0].keep_firing_for, ConfigDuration::from_secs(90));
    assert_eq!(full.groups[0].rules[0].labels["x"], "1");
}
