//! Rule templates: each case is an alerting rule; the label or annotation `out` of its first alert is compared.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use campanile::exec::clock::SystemClock;
use campanile::model::alert::Alert;
use campanile::model::{Labels, Matcher, TimestampMs};
use campanile::promql::ast::{AggregateOp, BinaryOp, Expr, ExprKind};
use campanile::promql::parse;
use campanile::rules::file::{GroupKind, Rule, RuleFile, RuleGroup};
use campanile::rules::{
    AlertSink, AppendReport, GroupSpec, InstantSample, LastSample, RuleAppender, RuleManager, RuleQuerier,
    RuleServices, RuleSettings, RuleSnapshot, RuleStateKeeper, Snapshot,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value as Json;

use super::{compare, pairs};
use crate::report::AreaReport;

pub fn replay(all: &Json, report: &mut AreaReport) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let store = Arc::new(Store { series: read_data(all["data"].as_str().unwrap_or("")), alerts: Mutex::default() });
    let settings = RuleSettings {
        external_url: all["external_url"].as_str().unwrap_or("").to_owned(),
        external_labels: Labels::from_pairs(pairs(&all["external_labels"])),
    };
    let name = all["alert_name"].as_str().unwrap_or("Case");
    for case in all["cases"].as_array().into_iter().flatten() {
        let id = case["id"].as_str().unwrap_or("?");
        if case.get("quirk").is_some() && id == "complex" {
            continue;
        }
        let outcome = runtime.block_on(run(case, name, &store, &settings));
        report.count(format!("prometheus/{id}"), outcome);
    }
}

async fn run(case: &Json, name: &str, store: &Arc<Store>, settings: &RuleSettings) -> Result<(), String> {
    let text = case["template"].as_str().unwrap_or("").to_owned();
    let expect = &case["expect"];
    let mut rule =
        Rule { alert: name.to_owned(), expr: case["expr"].as_str().unwrap_or("").to_owned(), ..Rule::default() };
    let is_label = case["where"] == "label";
    if is_label { &mut rule.labels } else { &mut rule.annotations }.insert("out".to_owned(), text);
    let group = RuleGroup { name: "g".to_owned(), rules: vec![rule], ..RuleGroup::default() };
    let file = RuleFile { groups: vec![group.clone()] };
    let mut problems = campanile::config::Problems::default();
    file.validate(&mut problems);
    let problems = problems.into_vec();
    if let Some(want) = expect["load_error"].as_str() {
        // What comes after the place is the text of the template's parser.
        let want = want.split_once("template: ").map_or(want, |(_, t)| t);
        return match problems.first() {
            Some((_, got)) if got.ends_with(want) => Ok(()),
            Some((_, got)) => Err(format!("refused with {got:?}, want {want:?}")),
            None => Err(format!("accepted, want {want:?}")),
        };
    }
    if let Some((path, message)) = problems.first() {
        return Err(format!("refused: {path}: {message}"));
    }
    let spec = GroupSpec::compile("rules.yml", &group, 1, 0).map_err(|e| e.to_string())?;
    let services = RuleServices {
        querier: store.clone(),
        appender: store.clone(),
        sink: store.clone(),
        keeper: store.clone(),
        observer: Arc::new(()),
        clock: Arc::new(SystemClock),
        ready: campanile::exec::latch::Latch::opened(),
    };
    store.alerts.lock().unwrap_or_else(|e| e.into_inner()).clear();
    let manager = RuleManager::new(services, Some(Snapshot::default()));
    manager.update(vec![spec], settings.clone()).await;
    let alert = tokio::time::timeout(std::time::Duration::from_secs(30), async {
        loop {
            if let Some(a) = store.alerts.lock().unwrap_or_else(|e| e.into_inner()).first().cloned() {
                return Ok(a);
            }
            if let Some(e) = manager.groups().first().and_then(|g| g.rules.first()).filter(|r| !r.last_error.is_empty())
            {
                return Err(e.last_error.clone());
            }
            tokio::time::sleep(std::time::Duration::from_micros(200)).await;
        }
    })
    .await
    .unwrap_or_else(|_| Err("no alert within 30 s".to_owned()));
    manager.stop().await;
    let alert = alert?;
    let got = if is_label { alert.labels.get("out") } else { Some(alert.annotations.value("out")) };
    if expect["exec_error"].is_string() {
        let got = got.unwrap_or("");
        let ok = got.starts_with("<error expanding template:");
        return if ok { Ok(()) } else { Err(format!("got {got:?}, want {expect}")) };
    }
    if expect.get("output").is_some_and(Json::is_null) {
        return if got.is_none() { Ok(()) } else { Err(format!("got {got:?}, want no label")) };
    }
    compare(got.unwrap_or(""), expect)
}

struct Store {
    series: Vec<InstantSample>,
    alerts: Mutex<Vec<Alert>>,
}

impl RuleQuerier for Store {
    fn instant<'a>(
        &'a self,
        _: GroupKind,
        expr: &'a str,
        _: TimestampMs,
    ) -> BoxFuture<'a, Result<Vec<InstantSample>, String>> {
        std::future::ready(parse(expr).map_err(|e| e.to_string()).and_then(|e| self.evaluate(&e))).boxed()
    }

    fn last_samples<'a>(
        &'a self,
        _: &'a [Matcher],
        _: TimestampMs,
        _: TimestampMs,
    ) -> BoxFuture<'a, Result<Vec<LastSample>, String>> {
        std::future::ready(Ok(Vec::new())).boxed()
    }
}

impl RuleAppender for Store {
    fn append(
        &self,
        results: Vec<Vec<InstantSample>>,
        _: TimestampMs,
    ) -> BoxFuture<'_, Result<Vec<AppendReport>, String>> {
        let reports = results.iter().map(|_| AppendReport::default()).collect();
        std::future::ready(Ok(reports)).boxed()
    }
}

impl RuleStateKeeper for Store {
    fn keep(&self, _: Vec<RuleSnapshot>) -> BoxFuture<'_, Result<(), String>> {
        std::future::ready(Ok(())).boxed()
    }
}

impl AlertSink for Store {
    fn send(&self, alerts: Vec<Alert>) {
        self.alerts.lock().unwrap_or_else(|e| e.into_inner()).extend(alerts);
    }
}

impl Store {
    /// As much PromQL as templates show: selectors, sums, sorting, arithmetic with numbers. The templates are what is
    /// tested here, not the engine.
    fn evaluate(&self, expr: &Expr) -> Result<Vec<InstantSample>, String> {
        match &expr.kind {
            ExprKind::Number(n) => Ok(vec![InstantSample::float(Labels::empty(), n.value)]),
            ExprKind::Paren(inner) => self.evaluate(inner),
            ExprKind::Vector(v) => {
                let all = self.series.iter().filter(|s| v.matchers.iter().all(|m| m.matches_labels(&s.labels)));
                Ok(all.cloned().collect())
            }
            ExprKind::String(_) | ExprKind::Matrix(_) => Err("rule result is not a vector or scalar".to_owned()),
            ExprKind::Call(call) => {
                let mut samples = self.evaluate(call.args.first().ok_or("no argument")?)?;
                samples.sort_by(|a, b| a.value.total_cmp(&b.value));
                match call.func {
                    "sort" => {}
                    "sort_desc" => samples.reverse(),
                    other => return Err(format!("{other} is not known to this test")),
                }
                Ok(samples)
            }
            ExprKind::Aggregate(a) if a.op == AggregateOp::Sum => {
                let mut sums: BTreeMap<Labels, f64> = BTreeMap::new();
                for s in self.evaluate(&a.expr)? {
                    let labels = if a.without {
                        s.labels.without_name().without(&a.grouping)
                    } else {
                        s.labels.with_only(&a.grouping)
                    };
                    *sums.entry(labels).or_default() += s.value;
                }
                Ok(sums.into_iter().map(|(l, v)| InstantSample::float(l, v)).collect())
            }
            ExprKind::Binary(b) => {
                let (left, right) = (self.evaluate(&b.lhs)?, self.evaluate(&b.rhs)?);
                let [right] = right.as_slice() else { return Err("only numbers to the right".to_owned()) };
                let op = match b.op {
                    BinaryOp::Add => (|x, y| x + y) as fn(f64, f64) -> f64,
                    BinaryOp::Mul => |x, y| x * y,
                    _ => return Err("only + and *".to_owned()),
                };
                let apply = |s: InstantSample| InstantSample::float(s.labels.without_name(), op(s.value, right.value));
                Ok(left.into_iter().map(apply).collect())
            }
            _ => Err(format!("{:?} is not known to this test", expr.kind)),
        }
    }
}

/// Reads exposition text, each line as the selector that it also is in PromQL.
fn read_data(text: &str) -> Vec<InstantSample> {
    let mut series = Vec::new();
    for line in text.lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
        let (selector, value) = line.rsplit_once(' ').expect("a series and a value");
        // `nan` and `inf` are numbers in front of braces, and names inside.
        let (name, rest) = selector.split_once('{').expect("labels");
        let comma = if name.is_empty() { String::new() } else { format!("__name__=\"{name}\",") };
        let matchers = campanile::promql::parse_selector(&format!("{{{comma}{rest}"))
            .unwrap_or_else(|e| panic!("{selector}: {e}"));
        let labels = Labels::from_pairs(matchers.iter().map(|m| (m.name(), m.value())));
        series.push(InstantSample::float(labels, value.parse().expect("a number")));
    }
    series
}
