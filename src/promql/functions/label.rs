//! `label_replace`, `label_join`.

use crate::model::labels::METRIC_NAME;
use crate::promql::ast::Call;
use crate::promql::engine::{Context, QueryError};
use crate::promql::functions::{arg, string_arg};
use crate::promql::limits::{Charge, Pace};
use crate::promql::series_set::{SeriesSet, StepSeries, Steps};
use crate::text::go_regex::GoRegex;

/// Argument `i` as a label name: any text except the empty one and what is no UTF-8.
fn name_arg<'c>(cx: &Context<'_>, call: &'c Call, i: usize, role: &str) -> Result<&'c str, QueryError> {
    let name = string_arg(call, i)?;
    match cx.not_utf8(arg(call, i)?) {
        None if !name.is_empty() => Ok(name),
        _ => Err(QueryError::Execution(format!("invalid {role} label name in {}(): {name}", call.func))),
    }
}

/// Replaces `$1`, `${1}`, `$name`, `${name}` and `$$` as Go's `Expand` does.
fn expand(template: &str, captures: &regex::Captures<'_>, out: &mut String) {
    let mut rest = template;
    // What is too long is refused by the caller, so the rest need not be made.
    while let Some((before, after)) = rest.split_once('$').filter(|_| out.len() <= MAX_VALUE_BYTES) {
        out.push_str(before);
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
            continue;
        }
        let (name, tail) = match after.strip_prefix('{').and_then(|b| b.split_once('}')) {
            Some((name, tail)) => (name, tail),
            None => {
                let end = after.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(after.len());
                after.split_at(end)
            }
        };
        if name.is_empty() {
            // Not a reference, so it is taken as it stands.
            out.push('$');
            rest = after;
            continue;
        }
        let found = match name.parse::<usize>() {
            Ok(i) => captures.get(i),
            Err(_) => captures.name(name),
        };
        out.push_str(found.map_or("", |m| m.as_str()));
        rest = tail;
    }
    out.push_str(rest);
}

/// The longest value that is made: stored ones are far shorter, and nested calls can double it each time.
const MAX_VALUE_BYTES: usize = 1 << 20;

/// Sets a label of one series after another.
struct Setting<'a> {
    call: &'a Call,
    name: &'a str,
    pace: Pace<'a>,
    /// The labels are new memory.
    growing: Charge,
}

impl<'a> Setting<'a> {
    fn new(cx: &'a Context<'_>, call: &'a Call, name: &'a str) -> Result<Self, QueryError> {
        Ok(Setting { call, name, pace: Pace::new(&cx.limits), growing: cx.limits.charge(0, 0)? })
    }

    fn set(&mut self, s: &mut StepSeries, value: String) -> Result<(), QueryError> {
        if value.len() > MAX_VALUE_BYTES {
            let text = format!(
                "{}() would make a value of {:?} longer than {MAX_VALUE_BYTES} bytes",
                self.call.func, self.name
            );
            return Err(QueryError::Execution(text));
        }
        self.growing.grow(0, value.len() as u64)?;
        self.pace.step(s.labels.packed().len() + value.len())?;
        let mut b = s.labels.to_builder();
        b.set(self.name, value);
        s.labels = b.build();
        if self.name == METRIC_NAME {
            s.drop_name = false;
        }
        Ok(())
    }
}

pub(super) fn replace(cx: &Context<'_>, call: &Call, steps: &Steps) -> Result<SeriesSet, QueryError> {
    let replacement = string_arg(call, 2)?;
    let (source, pattern) = (string_arg(call, 3)?, string_arg(call, 4)?);
    let regex = GoRegex::anchored(pattern)
        .map_err(|_| QueryError::Execution(format!("invalid regular expression in label_replace(): {pattern}")))?;
    let destination = name_arg(cx, call, 1, "destination")?;
    let mut set = cx.vector(arg(call, 0)?, steps)?;
    let mut setting = Setting::new(cx, call, destination)?;
    for s in &mut set.series {
        let mut value = String::new();
        match regex.regex().captures(s.labels.value(source)) {
            Some(captures) => expand(replacement, &captures, &mut value),
            None => continue,
        }
        setting.set(s, value)?;
    }
    let _joining = cx.limits.charge(0, set.joining_bytes())?;
    set.merge_same_labels()?;
    Ok(set)
}

pub(super) fn join(cx: &Context<'_>, call: &Call, steps: &Steps) -> Result<SeriesSet, QueryError> {
    let separator = string_arg(call, 2)?;
    let sources: Vec<&str> = (3..call.args.len()).map(|i| name_arg(cx, call, i, "source")).collect::<Result<_, _>>()?;
    let destination = name_arg(cx, call, 1, "destination")?;
    let mut set = cx.vector(arg(call, 0)?, steps)?;
    let mut setting = Setting::new(cx, call, destination)?;
    for s in &mut set.series {
        let mut value = String::new();
        for (k, source) in sources.iter().enumerate() {
            if value.len() > MAX_VALUE_BYTES {
                break;
            }
            value.push_str(if k > 0 { separator } else { "" });
            value.push_str(s.labels.value(source));
        }
        setting.set(s, value)?;
    }
    let _joining = cx.limits.charge(0, set.joining_bytes())?;
    set.merge_same_labels()?;
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_expanded_as_in_go() {
        let re = regex::Regex::new("^(?P<first>[a-z]+)-(.*)$").unwrap();
        let captures = re.captures("ab-cd").unwrap();
        for (template, want) in
            [("$2", "cd"), ("${2}x", "cdx"), ("$first", "ab"), ("$firstx", ""), ("$$1", "$1"), ("a$", "a$"), ("$9", "")]
        {
            let mut out = String::new();
            expand(template, &captures, &mut out);
            assert_eq!(out, want, "{template}");
        }
    }
}
