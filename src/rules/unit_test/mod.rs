//! Unit tests of rules: series go in, alerts and samples must come out. The rules are evaluated by the code that
//! evaluates them in the server, over a store in memory.
//!
//! All groups are evaluated one after the other at the start and then every `evaluation_interval`, whatever their own
//! interval. The series have samples up to the evaluation, no later ones. Alerts are compared after the last evaluation
//! at or before their `eval_time`; expressions at the end, when all evaluations are over.

mod failure;
mod file;
mod world;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use crate::config::{Expand, Problem, Problems, Tree, decode, glob};
use crate::exec::clock::ManualClock;
use crate::model::time::parse_rfc3339_ns;
use crate::model::{Labels, TimestampMs};
use crate::promql::parse::{ParseOptions, parse_metric};
use crate::promql::script::histogram_literal::format_histogram;
use crate::promql::script::{SequenceValue, parse_series_desc, parse_values};
use crate::rules::alerting::{ALERT_NAME, AlertState};
use crate::rules::file::GroupKind;
use crate::rules::group::{GroupRunner, Restore};
use crate::rules::interfaces::InstantSample;
use crate::rules::load::{GroupDefaults, load_files};
use crate::rules::manager::{RuleServices, RuleSettings};
use crate::rules::spec::GroupSpec;

pub use failure::{Failure, FiringAlert, ShownSample};
pub use file::{AlertTest, ExpectedAlert, ExpectedSample, ExprTest, InputSeries, TestGroup, UnitTestFile};
use world::World;

/// `evaluation_interval` of a file that names none.
const DEFAULT_INTERVAL_MS: i64 = 60_000;
/// Most evaluations of one test: twenty years of minutes. A slip of the finger must not run for ever.
const MAX_EVALUATIONS: i64 = 10_000_000;

/// What came of a test file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UnitTestReport {
    /// What is worth knowing and no failure.
    pub warnings: Vec<String>,
    /// What failed; nothing if the file passes.
    pub failures: Vec<Failure>,
}

impl UnitTestReport {
    fn refused(problems: Vec<Problem>) -> Self {
        UnitTestReport { warnings: Vec::new(), failures: problems.into_iter().map(Failure::File).collect() }
    }
}

/// A test with everything parsed.
struct Test<'a> {
    group: &'a TestGroup,
    series: Vec<(Labels, Vec<SequenceValue>)>,
    start: TimestampMs,
    step_ms: i64,
    /// One list for each of `promql_expr_test`.
    expected: Vec<Vec<ShownSample>>,
}

/// Runs a test file. Blocks; must not be called from a task of a tokio runtime.
pub fn run_file(path: &Path) -> UnitTestReport {
    let name = path.display().to_string();
    let whole = |message: String| Problem { file: name.clone(), line: 0, column: 0, path: String::new(), message };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) => return UnitTestReport::refused(vec![whole(format!("cannot be read: {e}"))]),
    };
    let (file, tree): (UnitTestFile, Tree) = match decode(&name, &text, Expand::Nothing) {
        Ok(decoded) => decoded,
        Err(problems) => return UnitTestReport::refused(problems),
    };
    let mut problems = Problems::default();
    let eval_ms = match file.evaluation_interval.as_ms() {
        0 => DEFAULT_INTERVAL_MS,
        ms => ms,
    };
    let order = eval_order(&file, &mut problems);
    let mut report = UnitTestReport::default();
    let rule_files =
        find_rule_files(&file, path.parent().unwrap_or(Path::new("")), &mut problems, &mut report.warnings);
    let tests: Vec<Test<'_>> = file
        .tests
        .iter()
        .enumerate()
        .map(|(i, t)| prepare(t, eval_ms, &format!("tests[{i}]"), &mut problems))
        .collect();
    if !problems.is_empty() {
        return UnitTestReport::refused(tree.locate(problems));
    }
    let mut groups = match load_files(
        &rule_files,
        GroupDefaults { interval_ms: eval_ms, query_offset_ms: 0, syntax: ParseOptions::default() },
    ) {
        Ok(loaded) => {
            report.warnings.extend(loaded.warnings.iter().map(Problem::to_string));
            loaded.groups
        }
        Err(problems) => return UnitTestReport::refused(problems),
    };
    groups.sort_by_key(|g| order.get(g.name.as_str()).copied().unwrap_or(0));
    groups.retain(|g| {
        let testable = g.kind == GroupKind::Metrics;
        if !testable {
            report.warnings.push(format!("{}: group {:?} is of type logs and is not tested", g.file, g.name));
        }
        testable
    });
    let runtime = match tokio::runtime::Builder::new_current_thread().build() {
        Ok(runtime) => runtime,
        Err(e) => return UnitTestReport::refused(vec![whole(format!("cannot start a runtime for the tests: {e}"))]),
    };
    for test in tests {
        report.failures.extend(runtime.block_on(run_test(test, &groups, eval_ms, file.fuzzy_compare)));
    }
    report
}

/// The places of the groups that `group_eval_order` names.
fn eval_order<'a>(file: &'a UnitTestFile, problems: &mut Problems) -> HashMap<&'a str, usize> {
    let mut order = HashMap::new();
    for (i, name) in file.group_eval_order.iter().enumerate() {
        if order.insert(name.as_str(), i).is_some() {
            problems.add(format!("group_eval_order[{i}]"), format!("group name repeated in evaluation order: {name}"));
        }
    }
    order
}

fn find_rule_files(
    file: &UnitTestFile,
    dir: &Path,
    problems: &mut Problems,
    warnings: &mut Vec<String>,
) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for (i, pattern) in file.rule_files.iter().enumerate() {
        match glob::expand(dir, pattern) {
            Ok(mut found) => {
                found.retain(|p| p.is_file());
                if found.is_empty() {
                    warnings.push(format!("no file matches the pattern {pattern}"));
                }
                all.extend(found);
            }
            Err(e) => problems.add(format!("rule_files[{i}]"), format!("cannot be searched: {e}")),
        }
    }
    // A group exists once, however many patterns lead to its file.
    let mut seen = std::collections::HashSet::new();
    all.retain(|p| seen.insert(p.clone()));
    all
}

/// Parses everything in a test that is a language of its own.
fn prepare<'a>(group: &'a TestGroup, eval_ms: i64, path: &str, problems: &mut Problems) -> Test<'a> {
    let mut series = Vec::with_capacity(group.input_series.len());
    for (i, s) in group.input_series.iter().enumerate() {
        let path = format!("{path}.input_series[{i}]");
        match (parse_series_desc(&s.series), parse_values(&s.values)) {
            (Ok((labels, first)), Ok(values)) if first.is_empty() => series.push((labels, values)),
            (Ok(_), Ok(_)) => problems.add(format!("{path}.series"), "holds samples; they belong into values"),
            (labels, values) => {
                if let Err(e) = labels {
                    problems.add(format!("{path}.series"), e.to_string());
                }
                if let Err(e) = values {
                    problems.add(format!("{path}.values"), e.to_string());
                }
            }
        }
    }
    for (i, test) in group.alert_rule_test.iter().enumerate() {
        if test.alertname.is_empty() {
            problems.add(
                format!("{path}.alert_rule_test[{i}]"),
                format!("misses the required attribute alertname at eval_time {}", test.eval_time),
            );
        }
    }
    let start = parse_start(&group.start_timestamp).unwrap_or_else(|reason| {
        problems.add(format!("{path}.start_timestamp"), reason);
        0
    });
    if end_of(group) / eval_ms.max(1) > MAX_EVALUATIONS {
        problems.add(path, format!("needs more than {MAX_EVALUATIONS} evaluations; raise evaluation_interval"));
    }
    let expected = group
        .promql_expr_test
        .iter()
        .enumerate()
        .map(|(i, test)| {
            let samples = test.exp_samples.iter().enumerate();
            samples
                .filter_map(|(j, s)| {
                    let parsed = expected_sample(s);
                    let path = || format!("{path}.promql_expr_test[{i}].exp_samples[{j}]");
                    parsed.map_err(|reason| problems.add(path(), reason)).ok()
                })
                .collect()
        })
        .collect();
    let step_ms = match group.interval.as_ms() {
        0 => eval_ms,
        ms => ms,
    };
    Test { group, series, start, step_ms, expected }
}

/// Milliseconds since 1970 of RFC 3339 or of decimal seconds; of an empty text, 0.
fn parse_start(text: &str) -> Result<TimestampMs, String> {
    if text.is_empty() {
        return Ok(0);
    }
    if let Some(ns) = parse_rfc3339_ns(text) {
        return Ok(ns.div_euclid(1_000_000));
    }
    match text.parse::<f64>() {
        // The bound keeps the nanoseconds inside 64 bits.
        Ok(seconds) if seconds.abs() < 9e9 => Ok((seconds * 1000.0).round() as TimestampMs),
        _ => Err(format!("{text:?} is no time; write 2026-01-31T12:00:00Z or seconds since 1970")),
    }
}

fn expected_sample(s: &ExpectedSample) -> Result<ShownSample, String> {
    let labels = parse_metric(&s.labels).map_err(|e| format!("labels {:?}: {e}", s.labels))?;
    let mut histogram = String::new();
    if !s.histogram.is_empty() {
        let mut values = parse_values(&s.histogram).map_err(|e| format!("histogram: {e}"))?;
        match (values.pop(), values.is_empty()) {
            (Some(SequenceValue::Histogram { histogram: h, .. }), true) => histogram = format_histogram(&h),
            _ => return Err(format!("{:?} is not one histogram", s.histogram)),
        }
    }
    Ok(ShownSample { labels, value: s.value, histogram })
}

/// The latest time a test looks at, in milliseconds since its start.
fn end_of(group: &TestGroup) -> i64 {
    let alerts = group.alert_rule_test.iter().map(|t| t.eval_time.as_ms());
    alerts.chain(group.promql_expr_test.iter().map(|t| t.eval_time.as_ms())).max().unwrap_or(0)
}

async fn run_test(test: Test<'_>, groups: &[GroupSpec], eval_ms: i64, fuzzy: bool) -> Vec<Failure> {
    let Test { group, series, start, step_ms, expected } = test;
    let world = Arc::new(World::new(series, start, step_ms, eval_ms));
    let clock = Arc::new(ManualClock::at_ms(start));
    let services = Arc::new(RuleServices {
        querier: world.clone(),
        appender: world.clone(),
        sink: world.clone(),
        keeper: world.clone(),
        observer: Arc::new(()),
        clock: clock.clone(),
        ready: crate::exec::latch::Latch::opened(),
    });
    let settings = Arc::new(RuleSettings {
        external_url: group.external_url.clone(),
        external_labels: Labels::from_pairs(&group.external_labels),
    });
    let mut runners: Vec<GroupRunner> = groups
        .iter()
        .map(|g| GroupRunner::new(Arc::new(g.clone()), settings.clone(), services.clone(), Restore::Done))
        .collect();
    let mut by_time: BTreeMap<i64, Vec<&AlertTest>> = BTreeMap::new();
    for t in &group.alert_rule_test {
        by_time.entry(t.eval_time.as_ms()).or_default().push(t);
    }
    let mut failures = Vec::new();
    let end = end_of(group);
    let mut since_start = 0;
    while since_start <= end {
        let t = start.saturating_add(since_start);
        clock.set_ms(t);
        world.load_until(t);
        let before = failures.len();
        for runner in &mut runners {
            runner.evaluate(t).await;
            failures.extend(rule_errors(runner, &group.name, since_start));
        }
        // Whatever would be compared after a rule failed is not worth reading.
        if failures.len() > before {
            return failures;
        }
        let next = since_start.saturating_add(eval_ms);
        for test in by_time.range(since_start..next).flat_map(|(_, tests)| tests) {
            failures.extend(compare_alerts(test, &runners, &group.name));
        }
        since_start = next;
    }
    for (test, expected) in group.promql_expr_test.iter().zip(expected) {
        failures.extend(compare_samples(test, expected, &world, start, &group.name, fuzzy));
    }
    failures
}

fn rule_errors(runner: &GroupRunner, test: &str, time: i64) -> Vec<Failure> {
    let status = runner.status.lock().unwrap_or_else(PoisonError::into_inner);
    let failed = status.rules.iter().filter(|r| !r.last_error.is_empty());
    failed
        .map(|r| Failure::Rule { test: test.to_owned(), rule: r.name.clone(), time, reason: r.last_error.clone() })
        .collect()
}

fn compare_alerts(test: &AlertTest, runners: &[GroupRunner], name: &str) -> Option<Failure> {
    let mut got = Vec::new();
    for runner in runners {
        let status = runner.status.lock().unwrap_or_else(PoisonError::into_inner);
        for rule in status.rules.iter().filter(|r| r.name == test.alertname) {
            let firing = rule.active_alerts().filter(|a| a.state == AlertState::Firing);
            got.extend(firing.map(|a| FiringAlert { labels: a.labels.clone(), annotations: a.annotations.clone() }));
        }
    }
    let mut expected: Vec<FiringAlert> = test
        .exp_alerts
        .iter()
        .map(|a| {
            let mut labels = Labels::from_pairs(&a.exp_labels).to_builder();
            labels.set(ALERT_NAME, test.alertname.as_str());
            FiringAlert { labels: labels.build(), annotations: Labels::from_pairs(&a.exp_annotations) }
        })
        .collect();
    for alerts in [&mut got, &mut expected] {
        alerts.sort_by(|a, b| a.labels.cmp(&b.labels).then_with(|| a.annotations.cmp(&b.annotations)));
    }
    if got == expected {
        return None;
    }
    let (test, alertname, time) = (name.to_owned(), test.alertname.clone(), test.eval_time.as_ms());
    Some(Failure::Alerts { test, alertname, time, expected, got })
}

fn compare_samples(
    test: &ExprTest,
    mut expected: Vec<ShownSample>,
    world: &World,
    start: TimestampMs,
    name: &str,
    fuzzy: bool,
) -> Option<Failure> {
    let time = test.eval_time.as_ms();
    let (name, expr) = (name.to_owned(), test.expr.clone());
    let mut got: Vec<ShownSample> = match world.query(&test.expr, start.saturating_add(time)) {
        Ok(result) => result.into_iter().map(shown).collect(),
        Err(reason) => return Some(Failure::Query { test: name, expr, time, reason }),
    };
    for samples in [&mut got, &mut expected] {
        samples.sort_by(|a, b| a.labels.cmp(&b.labels));
    }
    let same = got.len() == expected.len() && got.iter().zip(&expected).all(|(g, e)| same_sample(g, e, fuzzy));
    (!same).then_some(Failure::Samples { test: name, expr, time, expected, got })
}

fn shown(s: InstantSample) -> ShownSample {
    let histogram = s.histogram.map(|h| format_histogram(&h)).unwrap_or_default();
    ShownSample { labels: s.labels, value: s.value, histogram }
}

/// NaN is never equal, as in promtool. Fuzzy comparison takes the neighbouring floats for equal, too.
fn same_sample(got: &ShownSample, expected: &ShownSample, fuzzy: bool) -> bool {
    let (a, b) = (got.value, expected.value);
    let same_value = a == b || fuzzy && (a.next_down() == b || a.next_up() == b);
    same_value && got.labels == expected.labels && got.histogram == expected.histogram
}

#[cfg(test)]
mod tests;
