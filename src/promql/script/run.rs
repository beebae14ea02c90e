//! Runs a test script against an engine.

use crate::model::TimestampMs;
use crate::promql::script::backend::{EvalOutput, EvalValue, ScriptBackend};
use crate::promql::script::command::{CommandKind, Eval, EvalTime, ExpectAnnotations, TimeGrid, parse_script};
use crate::promql::script::compare::compare;

/// What came of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The script's name.
    pub file: String,
    /// How many evaluations were as expected.
    pub passed: usize,
    /// Those that were not, and loads that failed.
    pub failures: Vec<Failure>,
}

/// An evaluation that was not as expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The line of the command, counted from 1.
    pub line: usize,
    /// The expression; empty if it is not an evaluation that failed.
    pub expr: String,
    /// What was wrong.
    pub message: String,
}

/// Runs all commands of a script. Goes on after a failure; a script that cannot be read is one failure.
pub fn run(file_name: &str, text: &str, backend: &mut dyn ScriptBackend) -> Report {
    let mut report = Report { file: file_name.to_owned(), passed: 0, failures: Vec::new() };
    let mut fail = |line, expr: &str, message| report.failures.push(Failure { line, expr: expr.to_owned(), message });
    let commands = match parse_script(text) {
        Ok(commands) => commands,
        Err(e) => {
            fail(e.line, "", e.message);
            return report;
        }
    };
    backend.clear();
    for command in commands {
        match command.kind {
            CommandKind::Clear => backend.clear(),
            CommandKind::Load(load) => {
                if let Err(e) = backend.load(load.series) {
                    fail(command.line, "", format!("load failed: {e}"));
                }
            }
            CommandKind::Eval(eval) => match evaluate(&eval, backend) {
                Ok(()) => report.passed += 1,
                Err(message) => fail(command.line, &eval.expr, message),
            },
        }
    }
    report
}

fn evaluate(eval: &Eval, backend: &mut dyn ScriptBackend) -> Result<(), String> {
    let (outcome, grid) = match eval.time {
        EvalTime::Instant(t) => (backend.instant(&eval.expr, t), eval.range_vector),
        EvalTime::Range(g) => (backend.range(&eval.expr, g.start, g.end, g.step), Some(g)),
    };
    let output = match (&eval.fail, outcome) {
        (Some(pattern), Err(message)) if pattern.matches(&message) => return Ok(()),
        (Some(pattern), Err(message)) => {
            return Err(format!("expected an error {}, got {message:?}", pattern.describe()));
        }
        (Some(_), Ok(_)) => return Err("expected an error, got none".to_owned()),
        (None, Err(message)) => return Err(format!("evaluation failed: {message}")),
        (None, Ok(output)) => output,
    };
    compare(&eval.expected, grid, eval.ordered, &output.value)?;
    check_annotations("warning", &eval.warnings, &output.warnings)?;
    check_annotations("info", &eval.infos, &output.infos)?;
    match eval.time {
        EvalTime::Instant(t) if stays_the_same_in_a_range(eval, &output) => {
            compare_in_range(eval, t, matches!(output.value, EvalValue::Scalar(_)), backend)
                .map_err(|e| format!("as a step of a range query: {e}"))
        }
        _ => Ok(()),
    }
}

fn check_annotations(kind: &str, expected: &ExpectAnnotations, got: &[String]) -> Result<(), String> {
    if expected.none && !got.is_empty() {
        return Err(format!("expected no {kind}, got {got:?}"));
    }
    for pattern in &expected.patterns {
        if !got.iter().any(|m| pattern.matches(m)) {
            return Err(format!("expected a {kind} {}, got {got:?}", pattern.describe()));
        }
    }
    if !expected.patterns.is_empty()
        && let Some(more) = got.iter().find(|m| !expected.patterns.iter().any(|p| p.matches(m)))
    {
        return Err(format!("unexpected {kind} {more:?}"));
    }
    Ok(())
}

/// Whether an instant evaluation must give the same as the middle step of a range query. Not so where the expression asks
/// for the times of the query, returns no vector, or sorts.
fn stays_the_same_in_a_range(eval: &Eval, output: &EvalOutput) -> bool {
    let lower = eval.expr.to_ascii_lowercase().replace(' ', "");
    let asks_for_times = ["start()", "end()", "step()", "range()"].iter().any(|w| lower.contains(w));
    let vector = matches!(output.value, EvalValue::Vector(_) | EvalValue::Scalar(_));
    vector && !asks_for_times && !eval.ordered
}

/// Evaluates from a minute before to a minute after `t`, and compares the step in the middle.
fn compare_in_range(eval: &Eval, t: TimestampMs, scalar: bool, backend: &mut dyn ScriptBackend) -> Result<(), String> {
    const MINUTE: i64 = 60_000;
    let grid = TimeGrid { start: t.saturating_sub(MINUTE), end: t.saturating_add(MINUTE), step: MINUTE };
    let output = backend.range(&eval.expr, grid.start, grid.end, grid.step).map_err(|e| format!("failed: {e}"))?;
    let EvalValue::Matrix(matrix) = output.value else {
        return Err("the result is no matrix".to_owned());
    };
    let mut vector = Vec::with_capacity(matrix.len());
    for series in matrix {
        if let Some(sample) = series.samples.into_iter().find(|s| s.t == t) {
            vector.push((series.labels, sample));
        }
    }
    let value = if scalar {
        match vector.first().map(|(_, s)| &s.value) {
            Some(crate::promql::script::backend::ScriptValue::Float(v)) => EvalValue::Scalar(*v),
            _ => return Err("the scalar has no value".to_owned()),
        }
    } else {
        EvalValue::Vector(vector)
    };
    compare(&eval.expected, None, false, &value)
}
