//! Test files that pass, that fail, and that are wrong.

use super::*;

const RULES: &str = "
groups:
- name: g
  rules:
  - record: job:up:sum
    expr: sum by (job) (up)
  - alert: Down
    expr: up == 0
    for: 2m
    labels: {severity: page}
    annotations: {summary: '{{ $labels.job }} is down, {{ query \"count(up)\" | first | value }} known'}
";

/// Runs a test file beside [`RULES`] and gives the warnings and failures as printed.
fn run(test: &str) -> (Vec<String>, Vec<String>) {
    run_with(RULES, test)
}

fn run_with(rules: &str, test: &str) -> (Vec<String>, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("rules.yml"), rules).unwrap();
    let path = dir.path().join("test.yml");
    std::fs::write(&path, test).unwrap();
    let report = run_file(&path);
    let dir = format!("{}/", dir.path().display());
    let failures = report.failures.iter().map(|f| f.to_string().replace(&dir, "")).collect();
    (report.warnings, failures)
}

fn one_test(body: &str) -> String {
    format!(
        "rule_files: ['*les.yml']\ntests:\n- interval: 1m\n  name: n\n  input_series:\n  - series: up{{job=\"a\"}}\n    \
         values: 1 0x10\n{body}"
    )
}

#[test]
fn passes() {
    let cases = [
        ("pending is not firing", "  alert_rule_test:\n  - {alertname: Down, eval_time: 2m59s, exp_alerts: []}\n"),
        (
            "fires",
            "  alert_rule_test:\n  - alertname: Down\n    eval_time: 3m\n    exp_alerts:\n    - exp_labels: {severity: \
             page, job: a}\n      exp_annotations: {summary: 'a is down, 1 known'}\n",
        ),
        (
            "records",
            "  promql_expr_test:\n  - expr: job:up:sum\n    eval_time: 1m\n    exp_samples: [{labels: \
             'job:up:sum{job=\"a\"}', value: 0}]\n",
        ),
        ("scalars", "  promql_expr_test:\n  - {expr: 1 + 1, eval_time: 1m, exp_samples: [{labels: '{}', value: 2}]}\n"),
        (
            "time begins where it is told to",
            "  start_timestamp: 2026-01-01T00:00:00Z\n  promql_expr_test:\n  - {expr: time(), eval_time: 1m, \
             exp_samples: [{labels: '{}', value: 1767225660}]}\n",
        ),
        (
            "later samples are not known yet",
            "  promql_expr_test:\n  - {expr: 'count_over_time(up[5m] offset -4m)', eval_time: 1m, \
             exp_samples: [{labels: '{job=\"a\"}', value: 1}]}\n",
        ),
    ];
    for (name, body) in cases {
        assert_eq!(run(&one_test(body)), (vec![], vec![]), "{name}");
    }
}

#[test]
fn failures_show_what_was_expected_and_what_came() {
    let cases = [
        (
            "  alert_rule_test:\n  - {alertname: Down, eval_time: 3m, exp_alerts: []}\n",
            "    name: n,\n    alertname: Down, time: 3m,\n        exp:[],\n        got:[\n            0:\n              \
             Labels:{alertname=\"Down\", job=\"a\", severity=\"page\"}\n              Annotations:{summary=\"a is down, 1 \
             known\"}\n            ]",
        ),
        (
            "  promql_expr_test:\n  - {expr: up, eval_time: 1m, exp_samples: [{labels: up, value: 7}]}\n",
            "    name: n,\n    expr: \"up\", time: 1m,\n        exp: {__name__=\"up\"} 7\n        got: \
             {__name__=\"up\", job=\"a\"} 0",
        ),
        (
            "  promql_expr_test:\n  - {expr: absent(up), eval_time: 1m, exp_samples: [{labels: '{}', value: 1}]}\n",
            "    name: n,\n    expr: \"absent(up)\", time: 1m,\n        exp: {} 1\n        got: nil",
        ),
        (
            "  promql_expr_test:\n  - {expr: up / 0, eval_time: 1m, exp_samples: [{labels: '{job=\"a\"}', value: .nan}]}\n",
            "    name: n,\n    expr: \"up / 0\", time: 1m,\n        exp: {job=\"a\"} NaN\n        got: {job=\"a\"} NaN",
        ),
        (
            "  promql_expr_test:\n  - {expr: '\"text\"', eval_time: 1m}\n",
            "    name: n,\n    expr: \"\\\"text\\\"\", time: 1m, err: rule result is not a vector or scalar",
        ),
    ];
    for (body, want) in cases {
        assert_eq!(run(&one_test(body)), (vec![], vec![want.to_owned()]), "{body}");
    }
}

#[test]
fn a_failing_rule_ends_its_test() {
    let rules = "groups: [{name: g, limit: 1, rules: [{record: r, expr: a}]}]";
    let test = "
rule_files: [rules.yml]
evaluation_interval: 30s
tests:
- input_series: [{series: 'a{i=\"1\"}', values: _ 1}, {series: 'a{i=\"2\"}', values: _ 1}]
  promql_expr_test: [{expr: r, eval_time: 5m}]
- promql_expr_test: [{expr: r, eval_time: 5m}]
";
    let want = "    rule: r, time: 30s, err: exceeded limit of 1 with 2 series".to_owned();
    assert_eq!(run_with(rules, test), (vec![], vec![want]));
}

#[test]
fn a_rule_may_not_write_over_an_input_series() {
    let rules = "groups: [{name: g, rules: [{record: r, expr: a}]}]";
    let test = "
rule_files: [rules.yml]
tests:
- input_series: [{series: a, values: 1}, {series: r, values: 2}]
  promql_expr_test: [{expr: r, eval_time: 0s}]
";
    let (_, failures) = run_with(rules, test);
    assert!(failures[0].contains("duplicate sample for timestamp"), "{failures:?}");
    assert_eq!(
        run_with(
            rules,
            &test.replace("values: 2", "values: 1").replace("0s}", "0s, exp_samples: [{labels: r, value: 1}]}")
        )
        .1,
        [""; 0]
    );
}

#[test]
fn fuzzy_comparison_allows_the_last_bit() {
    let test = |fuzzy: bool, value: &str| {
        format!(
            "fuzzy_compare: {fuzzy}\ntests:\n- promql_expr_test:\n  - {{expr: 0.1 + 0.2, eval_time: 0s, exp_samples: \
             [{{labels: '{{}}', value: {value}}}]}}\n"
        )
    };
    for (fuzzy, value, failures) in [(true, "0.3", 0), (false, "0.3", 1), (true, "0.2999999999999999", 1)] {
        assert_eq!(run(&test(fuzzy, value)).1.len(), failures, "{fuzzy} {value}");
    }
}

#[test]
fn wrong_files_are_refused_with_places() {
    let cases = [
        ("tests: [{inputs: []}]", "test.yml:1:10: tests[0].inputs: unknown key"),
        ("group_eval_order: [a, a]", "test.yml:1:23: group_eval_order[1]: group name repeated in evaluation order: a"),
        ("tests: [{input_series: [{series: 'up{job=}', values: 1}]}]", "tests[0].input_series[0].series: "),
        ("tests: [{input_series: [{series: up 1, values: 1}]}]", "holds samples"),
        ("tests: [{input_series: [{series: up, values: 1 two}]}]", "tests[0].input_series[0].values: sample \"two\""),
        ("tests: [{alert_rule_test: [{eval_time: 3m}]}]", "misses the required attribute alertname at eval_time 3m"),
        ("tests: [{start_timestamp: noon}]", "tests[0].start_timestamp: \"noon\" is no time"),
        (
            "tests: [{promql_expr_test: [{expr: up, exp_samples: [{labels: 'up{'}]}]}]",
            "tests[0].promql_expr_test[0].exp_samples[0]: labels \"up{\"",
        ),
        (
            "tests: [{promql_expr_test: [{expr: up, exp_samples: [{labels: up, histogram: 1}]}]}]",
            "is not one histogram",
        ),
        (
            "evaluation_interval: 1ms\ntests: [{promql_expr_test: [{expr: up, eval_time: 1y}]}]",
            "needs more than 10000000 evaluations",
        ),
    ];
    for (text, want) in cases {
        let (_, failures) = run(text);
        assert!(failures.len() == 1 && failures[0].contains(want), "{text}: {failures:?}");
    }
    let (_, failures) = run_with("groups: [{name: g, rules: [{record: r, expr: a ==}]}]", "rule_files: [rules.yml]");
    assert!(failures[0].starts_with("rules.yml:1:"), "{failures:?}");
    assert_eq!(run_file(Path::new("/nonexistent/test.yml")).failures.len(), 1);
}

#[test]
fn what_is_not_tested_is_told() {
    let rules = "groups: [{name: l, type: logs, rules: [{record: r, expr: 'count_over_time({a=\"b\"}[1m])'}]}]";
    let (warnings, failures) = run_with(rules, "rule_files: [rules.yml, none.yml]\ntests: [{}]");
    assert_eq!(failures, [""; 0]);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings.iter().any(|w| w.contains("none.yml")) && warnings.iter().any(|w| w.contains("type logs")));
}
