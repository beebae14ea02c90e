//! The commands of a test script and how they are read from its lines.

use regex::Regex;

use crate::model::{Labels, TimestampMs};
use crate::promql::script::load::{Load, parse_load};
use crate::promql::script::sample_number::parse_signed;
use crate::promql::script::script_error::ScriptError;
use crate::promql::script::series_desc::{SequenceValue, parse_series_desc};
use crate::text::duration::parse_ms;
use crate::text::quote::unquote;

/// A command and the line it begins on.
#[derive(Clone, Debug)]
pub struct Command {
    /// Counted from 1.
    pub line: usize,
    /// What to do.
    pub kind: CommandKind,
}

/// The kinds of commands.
#[derive(Clone, Debug)]
pub enum CommandKind {
    /// Forgets all samples.
    Clear,
    /// Adds samples.
    Load(Load),
    /// Evaluates and compares.
    Eval(Box<Eval>),
}

/// When an expression is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvalTime {
    /// At one time.
    Instant(TimestampMs),
    /// At every step.
    Range(TimeGrid),
}

/// Times from start to end, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeGrid {
    /// The first time.
    pub start: TimestampMs,
    /// The last time is this or less.
    pub end: TimestampMs,
    /// Milliseconds between two times, above zero.
    pub step: i64,
}

/// How a message must look.
#[derive(Clone, Debug)]
pub enum MessagePattern {
    /// Any message will do.
    Any,
    /// Exactly this one.
    Exact(String),
    /// One in which the regex finds something.
    Regex(Regex),
}

impl MessagePattern {
    /// Whether a message is as wanted.
    pub fn matches(&self, message: &str) -> bool {
        match self {
            MessagePattern::Any => true,
            MessagePattern::Exact(want) => want == message,
            MessagePattern::Regex(r) => r.is_match(message),
        }
    }

    /// How messages call what is wanted.
    pub fn describe(&self) -> String {
        match self {
            MessagePattern::Any => "of any text".to_owned(),
            MessagePattern::Exact(want) => format!("{want:?}"),
            MessagePattern::Regex(r) => format!("matching /{r}/"),
        }
    }
}

/// What annotations of one kind must be there.
#[derive(Clone, Debug, Default)]
pub struct ExpectAnnotations {
    /// There must be none.
    pub none: bool,
    /// Where not empty, each must be found and no other may be there.
    pub patterns: Vec<MessagePattern>,
}

/// The value that must come out.
#[derive(Clone, Debug)]
pub enum Expected {
    /// A scalar.
    Scalar(f64),
    /// A string.
    String(String),
    /// Series in the order of the lines: of an instant vector one value each, of a matrix one for each time.
    Series(Vec<(Labels, Vec<SequenceValue>)>),
}

/// An `eval` command.
#[derive(Clone, Debug)]
pub struct Eval {
    /// The expression.
    pub expr: String,
    /// When.
    pub time: EvalTime,
    /// The evaluation must fail with such a message.
    pub fail: Option<MessagePattern>,
    /// The order of the series matters.
    pub ordered: bool,
    /// Warnings.
    pub warnings: ExpectAnnotations,
    /// Infos.
    pub infos: ExpectAnnotations,
    /// The value.
    pub expected: Expected,
    /// The times of the range vector that an instant evaluation returns.
    pub range_vector: Option<TimeGrid>,
}

/// Reads a script. Lines that are empty or begin with `#` separate nothing but commands.
pub fn parse_script(text: &str) -> Result<Vec<Command>, ScriptError> {
    let lines: Vec<&str> = text
        .split('\n')
        .map(|l| {
            let l = l.trim();
            if l.starts_with('#') { "" } else { l }
        })
        .collect();
    let mut commands = Vec::new();
    let mut at = 0;
    while let Some(head) = lines.get(at) {
        let line = at + 1;
        at += 1;
        if head.is_empty() {
            continue;
        }
        let word = head.split_whitespace().next().unwrap_or("").to_ascii_lowercase();
        // A command goes on up to an empty line or the next command; the first word decides.
        let body_end = (at..lines.len()).find(|i| lines.get(*i).is_none_or(|l| ends_command(l))).unwrap_or(lines.len());
        let body: Vec<(usize, &str)> = (at..body_end).filter_map(|i| lines.get(i).map(|l| (i + 1, *l))).collect();
        let kind = match word.as_str() {
            "clear" => CommandKind::Clear,
            "load" | "load_with_nhcb" => CommandKind::Load(parse_load(line, head, &body)?),
            w if w.starts_with("eval") => CommandKind::Eval(Box::new(parse_eval(line, head, &body)?)),
            _ => return Err(ScriptError { line, message: format!("invalid command {head:?}") }),
        };
        if word == "clear" && !body.is_empty() {
            return Err(ScriptError {
                line: line + 1,
                message: "clear is followed by an empty line or a command".into(),
            });
        }
        at = body_end;
        commands.push(Command { line, kind });
    }
    Ok(commands)
}

/// Whether a line ends the command before it: an empty one, or one that begins a command.
fn ends_command(line: &str) -> bool {
    let mut words = line.split_whitespace();
    match words.next() {
        None => true,
        Some("clear") => words.next().is_none(),
        Some("load" | "load_with_nhcb") => words.next().is_some_and(|w| parse_ms(w).is_ok()) && words.next().is_none(),
        Some("eval" | "eval_fail" | "eval_warn" | "eval_info" | "eval_ordered") => {
            matches!(words.next(), Some("instant" | "range"))
        }
        Some(_) => false,
    }
}

/// Cuts the first word off a text.
fn split_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    match text.split_once(char::is_whitespace) {
        Some((word, rest)) => (word, rest.trim_start()),
        None => (text, ""),
    }
}

fn time(line: usize, what: &str, text: &str) -> Result<i64, ScriptError> {
    // Negative times are not in Prometheus' scripts, but make sense.
    let (sign, unsigned) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    match parse_ms(unsigned) {
        Ok(ms) => Ok(sign * ms),
        Err(e) => Err(ScriptError { line, message: format!("invalid {what} {text:?}: {e}") }),
    }
}

/// Reads `from A to B step C` and returns what follows.
fn grid(line: usize, text: &str) -> Result<(TimeGrid, &str), ScriptError> {
    let mut rest = text;
    let mut take = |word: &str| -> Result<i64, ScriptError> {
        let (found, after) = split_word(rest);
        if found != word {
            let message = format!("expected \"from <start> to <end> step <step>\", got {text:?}");
            return Err(ScriptError { line, message });
        }
        let (value, after) = split_word(after);
        rest = after;
        time(line, word, value)
    };
    let (start, end, step) = (take("from")?, take("to")?, take("step")?);
    if end < start || step <= 0 {
        let message = "the end lies before the start, or the step is not above zero".to_owned();
        return Err(ScriptError { line, message });
    }
    Ok((TimeGrid { start, end, step }, rest))
}

fn parse_eval(line: usize, head: &str, body: &[(usize, &str)]) -> Result<Eval, ScriptError> {
    let fail = |message: String| ScriptError { line, message };
    let (word, rest) = split_word(head);
    let (kind, rest) = split_word(rest);
    let (time, expr) = match kind {
        "instant" => {
            let (at, rest) = split_word(rest);
            if at != "at" {
                return Err(fail("expected \"eval instant at <time> <expression>\"".into()));
            }
            let (t, expr) = split_word(rest);
            (EvalTime::Instant(self::time(line, "time", t)?), expr)
        }
        "range" => {
            let (grid, expr) = grid(line, rest)?;
            (EvalTime::Range(grid), expr)
        }
        _ => return Err(fail(format!("invalid evaluation command {head:?}"))),
    };
    if expr.is_empty() {
        return Err(fail("the expression is missing".into()));
    }
    let mut eval = Eval {
        expr: expr.to_owned(),
        time,
        fail: None,
        ordered: false,
        warnings: ExpectAnnotations::default(),
        infos: ExpectAnnotations::default(),
        expected: Expected::Series(Vec::new()),
        range_vector: None,
    };
    match word {
        "eval" => {}
        "eval_fail" => eval.fail = Some(MessagePattern::Any),
        "eval_warn" => eval.warnings.patterns.push(MessagePattern::Any),
        "eval_info" => eval.infos.patterns.push(MessagePattern::Any),
        "eval_ordered" => eval.ordered = true,
        _ => return Err(fail(format!("invalid evaluation command {head:?}"))),
    }
    let mut series = Vec::new();
    for (line, text) in body {
        parse_expectation(&mut eval, &mut series, *line, text)?;
    }
    if !series.is_empty() {
        let several = series.iter().any(|(_, v): &(Labels, Vec<SequenceValue>)| v.len() > 1);
        if several && matches!(eval.time, EvalTime::Instant(_)) && eval.range_vector.is_none() {
            return Err(fail(
                "an instant evaluation expects one value of each series, or \"expect range vector\"".into(),
            ));
        }
        eval.expected = Expected::Series(series);
    }
    Ok(eval)
}

fn parse_expectation(
    eval: &mut Eval,
    series: &mut Vec<(Labels, Vec<SequenceValue>)>,
    line: usize,
    text: &str,
) -> Result<(), ScriptError> {
    let fail = |message: String| ScriptError { line, message };
    let (word, rest) = split_word(text);
    match word {
        "expected_fail_message" => eval.fail = Some(MessagePattern::Exact(rest.trim().to_owned())),
        "expected_fail_regexp" => eval.fail = Some(regex(line, rest)?),
        "expect" => {
            let (what, rest) = split_word(rest);
            match what {
                "string" => {
                    let text = unquote(rest).map_err(|e| fail(format!("expected string is not valid: {e}")))?;
                    eval.expected = Expected::String(text);
                }
                "range" => {
                    let (word, rest) = split_word(rest);
                    let (grid, rest) = grid(line, rest)?;
                    if word != "vector" || !rest.is_empty() {
                        return Err(fail(format!("invalid expectation {text:?}")));
                    }
                    eval.range_vector = Some(grid);
                }
                "ordered" => eval.ordered = true,
                "no_warn" => eval.warnings.none = true,
                "no_info" => eval.infos.none = true,
                "fail" => eval.fail = Some(pattern(line, rest)?),
                "warn" => eval.warnings.patterns.push(pattern(line, rest)?),
                "info" => eval.infos.patterns.push(pattern(line, rest)?),
                _ => return Err(fail(format!("invalid expectation {text:?}"))),
            }
            let clash = |e: &ExpectAnnotations| e.none && !e.patterns.is_empty();
            if clash(&eval.warnings) || clash(&eval.infos) {
                return Err(fail("an annotation is expected and expected to be missing".into()));
            }
        }
        _ => {
            if let Some(v) = parse_signed(text) {
                eval.expected = Expected::Scalar(v);
            } else {
                series.push(parse_series_desc(text).map_err(|e| fail(e.to_string()))?);
            }
        }
    }
    Ok(())
}

/// Reads nothing, `msg: text` or `regex: text`.
fn pattern(line: usize, text: &str) -> Result<MessagePattern, ScriptError> {
    if text.is_empty() {
        return Ok(MessagePattern::Any);
    }
    match text.split_once(':') {
        Some(("msg", message)) => Ok(MessagePattern::Exact(message.trim().to_owned())),
        Some(("regex", source)) => regex(line, source),
        _ => Err(ScriptError { line, message: format!("expected \"msg: ...\" or \"regex: ...\", got {text:?}") }),
    }
}

fn regex(line: usize, source: &str) -> Result<MessagePattern, ScriptError> {
    match Regex::new(source.trim()) {
        Ok(r) => Ok(MessagePattern::Regex(r)),
        Err(e) => Err(ScriptError { line, message: format!("invalid regex: {e}") }),
    }
}
