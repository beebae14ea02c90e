//! Tests of the runner with an engine that knows nothing but the answers it was given.

use std::collections::HashMap;

use proptest::prelude::*;

use super::command::{CommandKind, EvalTime, Expected, parse_script};
use super::*;
use crate::model::Labels;

/// Answers by expression; loads are counted.
#[derive(Default)]
struct Canned {
    answers: HashMap<String, Result<EvalOutput, String>>,
    loaded: Vec<SeriesData>,
    clears: usize,
}

impl Canned {
    fn answer(&self, expr: &str) -> Result<EvalOutput, String> {
        self.answers.get(expr).cloned().unwrap_or_else(|| Err(format!("no answer to {expr}")))
    }
}

impl ScriptBackend for Canned {
    fn clear(&mut self) {
        self.clears += 1;
        self.loaded.clear();
    }

    fn load(&mut self, series: Vec<SeriesData>) -> Result<(), String> {
        self.loaded.extend(series);
        Ok(())
    }

    fn instant(&mut self, expr: &str, _t: i64) -> Result<EvalOutput, String> {
        self.answer(expr)
    }

    fn range(&mut self, expr: &str, start: i64, _end: i64, step: i64) -> Result<EvalOutput, String> {
        if let Ok(out) = self.answer(&format!("range {expr}")) {
            return Ok(out);
        }
        // What an engine does: the value of the instant at every step, here at the middle one.
        let mut out = self.answer(expr)?;
        let t = start + step;
        out.value = match out.value {
            EvalValue::Scalar(v) => EvalValue::Matrix(vec![SeriesData {
                labels: Labels::empty(),
                samples: vec![ScriptSample::float(t, v)],
            }]),
            EvalValue::Vector(v) => {
                let mut series: Vec<SeriesData> = v
                    .into_iter()
                    .map(|(labels, s)| SeriesData { labels, samples: vec![ScriptSample { t, ..s }] })
                    .collect();
                series.sort_by(|a, b| a.labels.cmp(&b.labels));
                EvalValue::Matrix(series)
            }
            other => other,
        };
        Ok(out)
    }
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied())
}

fn vector(samples: &[(&str, f64)]) -> EvalOutput {
    let value =
        EvalValue::Vector(samples.iter().map(|(a, v)| (labels(&[("a", a)]), ScriptSample::float(0, *v))).collect());
    EvalOutput { value, warnings: Vec::new(), infos: Vec::new() }
}

/// Runs a script with one answer to `x` and returns the messages of its failures.
fn messages(answer: Result<EvalOutput, String>, script: &str) -> Vec<String> {
    let mut backend = Canned { answers: HashMap::from([("x".to_owned(), answer)]), ..Canned::default() };
    run("t", script, &mut backend).failures.into_iter().map(|f| f.message).collect()
}

#[test]
fn compares_vectors() {
    let two = || Ok(vector(&[("2", 20.0), ("1", 10.0)]));
    let eval = |lines: &str| messages(two(), &format!("eval instant at 0 x\n{lines}"));
    assert!(eval("  {a=\"1\"} 10\n  {a=\"2\"} 20.00001").is_empty());
    for (lines, want) in [
        ("  {a=\"1\"} 10", "unexpected series {a=\"2\"} with 20"),
        ("  {a=\"1\"} 10\n {a=\"2\"} 20.001", "expected 20.001 for {a=\"2\"}, got 20"),
        ("  {a=\"1\"} 10\n {a=\"2\"} 20\n {a=\"3\"} 30", "expected series {a=\"3\"} is missing"),
        ("  expect ordered\n {a=\"1\"} 10\n {a=\"2\"} 20", "expected series {a=\"2\"} at position 2, it is at 1"),
        ("  5", "expected a scalar, got a vector of 2 series"),
        ("  expect fail\n", "expected an error, got none"),
        ("  {a=\"1\"} {{count:1}}\n {a=\"2\"} 20", "expected {{count:1}} for {a=\"1\"}, got 10"),
    ] {
        let got = eval(lines);
        assert!(got.len() == 1 && got[0].starts_with(want), "{lines}: {got:?}");
    }
    assert!(messages(two(), "eval_ordered instant at 0 x\n {a=\"2\"} 20\n {a=\"1\"} 10").is_empty());
    let twice = Ok(vector(&[("1", 10.0), ("1", 10.0)]));
    assert_eq!(messages(twice, "eval instant at 0 x\n {a=\"1\"} 10"), ["series {a=\"1\"} is in the result twice"]);
}

#[test]
fn compares_failures_and_annotations() {
    let failed = || Err("it went wrong".to_owned());
    for script in [
        "eval instant at 0 x\n expect fail",
        "eval instant at 0 x\n expect fail msg: it went wrong",
        "eval instant at 0 x\n expect fail regex: went .*",
        "eval_fail instant at 0 x",
        "eval_fail instant at 0 x\n expected_fail_message it went wrong",
        "eval_fail range from 0 to 1m step 1m x\n expected_fail_regexp ^it",
    ] {
        assert_eq!(messages(failed(), script), [""; 0], "{script}");
    }
    assert_eq!(
        messages(failed(), "eval instant at 0 x\n expect fail msg: it went"),
        ["expected an error \"it went\", got \"it went wrong\""]
    );
    assert_eq!(messages(failed(), "eval instant at 0 x"), ["evaluation failed: it went wrong"]);
    let warned = || Ok(EvalOutput { warnings: vec!["w (1:1)".into()], ..vector(&[]) });
    for (line, ok) in [
        ("", true),
        ("expect warn", true),
        ("expect warn msg: w (1:1)", true),
        ("expect warn regex: ^w \\(", true),
        ("expect no_info", true),
        ("expect warn msg: w", false),
        ("expect no_warn", false),
        ("expect info", false),
        ("expect warn msg: w (1:1)\n expect warn msg: v", false),
    ] {
        let got = messages(warned(), &format!("eval instant at 0 x\n {line}"));
        assert_eq!(got.is_empty(), ok, "{line}: {got:?}");
    }
    let two = Ok(EvalOutput { infos: vec!["a".into(), "b".into()], ..vector(&[]) });
    assert_eq!(messages(two, "eval instant at 0 x\n expect info msg: a"), ["unexpected info \"b\""]);
}

#[test]
fn compares_matrices_scalars_and_strings() {
    let sample = ScriptSample::float;
    let matrix = |samples: Vec<ScriptSample>| {
        Ok(EvalOutput {
            value: EvalValue::Matrix(vec![SeriesData { labels: labels(&[("a", "1")]), samples }]),
            warnings: Vec::new(),
            infos: Vec::new(),
        })
    };
    let range = |samples, line: &str| messages(matrix(samples), &format!("eval range from 0 to 2m step 1m x\n {line}"));
    let full = || vec![sample(0, 1.0), sample(120_000, 3.0)];
    assert!(range(full(), "{a=\"1\"} 1 _ 3").is_empty());
    for line in ["{a=\"1\"} 1 3", "{a=\"1\"} 1 2 3", "{a=\"1\"} 1", "{a=\"1\"} 1 _ 3 4", "{b=\"1\"} 1 _ 3", "", "5"] {
        assert_eq!(range(full(), line).len(), 1, "{line}");
    }
    let instant = "eval instant at 2m x\n expect range vector from 0 to 2m step 1m\n {a=\"1\"} 1 _ 3";
    assert!(messages(matrix(full()), instant).is_empty());
    assert_eq!(messages(matrix(full()), "eval instant at 2m x\n {a=\"1\"} 1").len(), 1);
    let value = |value| Ok(EvalOutput { value, warnings: Vec::new(), infos: Vec::new() });
    assert!(messages(value(EvalValue::Scalar(f64::NAN)), "eval instant at 0 x\n NaN").is_empty());
    assert_eq!(messages(value(EvalValue::Scalar(1.0)), "eval instant at 0 x\n 2"), ["expected scalar 2, got 1"]);
    assert!(messages(value(EvalValue::String(" é".into())), "eval instant at 0 x\n expect string \" é\"").is_empty());
    assert_eq!(messages(value(EvalValue::String("b".into())), "eval instant at 0 x\n expect string `a`").len(), 1);
}

#[test]
fn instants_are_also_steps() {
    let mut backend = Canned::default();
    backend.answers.insert("x".into(), Ok(vector(&[("1", 1.0)])));
    let empty = EvalOutput { value: EvalValue::Matrix(Vec::new()), warnings: Vec::new(), infos: Vec::new() };
    backend.answers.insert("range x".into(), Ok(empty));
    let report = run("t", "eval instant at 0 x\n {a=\"1\"} 1", &mut backend);
    assert_eq!(report.failures.len(), 1);
    assert!(report.failures[0].message.starts_with("as a step of a range query: expected series"), "{report:?}");
}

#[test]
fn commands_are_read() {
    let script = "# comment\nload 5m\n  a 1 2\n  b{c=\"d\"} 3\n\nclear\nload_with_nhcb 10s53ms\n\teval_like 1\n\
                  eval instant at 1h30m  sum(a)  \n  5\neval range from 0 to 10m step 1m50s a or b\n  a 1x2\n";
    let commands = parse_script(script).unwrap();
    let lines: Vec<usize> = commands.iter().map(|c| c.line).collect();
    assert_eq!(lines, [2, 6, 7, 9, 11]);
    let CommandKind::Load(load) = &commands[0].kind else { panic!() };
    assert_eq!(load.series.len(), 2);
    let CommandKind::Eval(eval) = &commands[3].kind else { panic!() };
    assert_eq!((eval.expr.as_str(), eval.time), ("sum(a)", EvalTime::Instant(5_400_000)));
    let CommandKind::Eval(eval) = &commands[4].kind else { panic!() };
    assert_eq!(eval.expr, "a or b");
    assert!(matches!(&eval.expected, Expected::Series(s) if s[0].1.len() == 3));
    for (script, line) in [
        ("foo", 1),
        ("load", 1),
        ("eval instant 5m x", 1),
        ("eval instant at 5x x", 1),
        ("eval range from 5m to 0 step 1m x", 1),
        ("eval range from 0 to 5m step 0 x", 1),
        ("eval instant at 0", 1),
        ("clear\n\neval instant at 0 x\n expect maybe", 4),
        ("eval instant at 0 x\n expect fail msg it", 2),
        ("eval instant at 0 x\n expect warn\n expect no_warn", 3),
        ("eval instant at 0 x\n a 1 2", 1),
        ("eval instant at 0 x\n expect string foo", 2),
        ("load 1m\n a{", 2),
    ] {
        assert_eq!(parse_script(script).unwrap_err().line, line, "{script}");
    }
}

#[test]
fn loads_and_clears_reach_the_engine() {
    let mut backend = Canned::default();
    let report = run("t", "load 1m\n a 1\nclear\nload 1m\n b 1 2\n", &mut backend);
    assert_eq!((report.passed, report.failures.len(), backend.clears), (0, 0, 2));
    assert_eq!(backend.loaded.len(), 1);
    let broken = run("t", "nonsense", &mut backend);
    assert_eq!((broken.failures.len(), broken.failures[0].line), (1, 1));
}

proptest! {
    #[test]
    fn any_script_is_survived(parts in prop::collection::vec(prop::sample::select(vec![
        "load 5m", "load_with_nhcb 1m", "clear", "eval", "eval_fail", " instant at ", " range from ", "0 to 1m step 10s ",
        "5m", " x", "\n", "\n  ", "a{b=\"c\"} 1+1x3", "{{count:1}}x2", "expect ", "warn", "fail ", "msg:", "regex: (",
        "string \"", "@st -1s", "é", "5",
    ]), 0..30)) {
        let _report = run("t", &parts.concat(), &mut Canned::default());
    }

    #[test]
    fn any_text_is_survived(text in "\\PC*") {
        let _outcome = parse_script(&text);
    }
}
