//! What label filters ask of the labels that a line brings: those of its stream, and structured metadata.
//!
//! A filter is told from these alone only while no stage before it can have made the label it asks for. Conditions that a missing label
//! satisfies (`!=`, `=""`) say nothing, nor do comparisons with numbers, which keep lines whose values they cannot read.

use std::collections::BTreeSet;

use crate::logql::ast::{LabelFilter, LogExpr, StageKind};
use crate::logql::labels::{ERROR, ERROR_DETAILS, EXTRACTED};
use crate::logql::stages::pattern::Pattern;
use crate::logql::storage::LabelHint;
use crate::model::Matcher;
use crate::text::go_regex::GoRegex;

/// The labels that stages may have made or set so far.
#[derive(Debug)]
enum Made {
    /// These.
    Names(BTreeSet<String>),
    /// Any.
    Any,
}

impl Made {
    fn add<S: Into<String>>(&mut self, names: impl IntoIterator<Item = S>) {
        if let Made::Names(made) = self {
            for name in names {
                let name = name.into();
                // Where it finds the name taken a parser appends this.
                made.insert(format!("{name}{EXTRACTED}"));
                made.insert(name);
            }
        }
    }

    fn may_be(&self, name: &str) -> bool {
        match self {
            Made::Names(made) => made.contains(name),
            Made::Any => true,
        }
    }
}

/// The conditions without which no line passes the label filters of a pipeline; all of them hold.
pub fn label_hints(log: &LogExpr) -> Vec<LabelHint> {
    // Failures set these.
    let mut made = Made::Names([ERROR, ERROR_DETAILS].map(str::to_owned).into());
    let mut hints = Vec::new();
    for stage in &log.stages {
        match &stage.kind {
            StageKind::LabelFilter(f) => hints.extend(hint_of(f, &made)),
            // They look at lines, or rewrite them, or take labels away, and a filter finds no more labels by that.
            StageKind::LineFilter(_)
            | StageKind::LineFormat(_)
            | StageKind::Decolorize
            | StageKind::Drop(_)
            | StageKind::Keep(_) => {}
            StageKind::Unpack => made = Made::Any,
            StageKind::Json(extractions) | StageKind::Logfmt { extractions, .. } => match extractions.as_slice() {
                [] => made = Made::Any,
                some => made.add(some.iter().map(|e| e.label.as_str())),
            },
            StageKind::LabelFormat(formats) => made.add(formats.iter().map(|f| f.label.as_str())),
            // What does not compile was refused by the checker.
            StageKind::Regexp(text) => match GoRegex::unanchored(text) {
                Ok(regex) => made.add(regex.regex().capture_names().flatten()),
                Err(_) => made = Made::Any,
            },
            StageKind::Pattern(text) => match Pattern::parser(text) {
                Ok(pattern) => made.add(pattern.names()),
                Err(_) => made = Made::Any,
            },
        }
    }
    hints
}

fn hint_of(filter: &LabelFilter, made: &Made) -> Option<LabelHint> {
    match filter {
        LabelFilter::And(a, b) => match (hint_of(a, made), hint_of(b, made)) {
            (Some(a), Some(b)) => Some(LabelHint::AllOf(vec![a, b])),
            (one, other) => one.or(other),
        },
        LabelFilter::Or(a, b) => Some(LabelHint::AnyOf(vec![hint_of(a, made)?, hint_of(b, made)?])),
        LabelFilter::Text(m) if m.matches_empty() || made.may_be(m.name()) => None,
        LabelFilter::Text(m) => {
            let own = LabelHint::Matches(m.clone());
            // Metadata whose name the stream has goes by a longer one.
            let Some(short) = m.name().strip_suffix(EXTRACTED) else { return Some(own) };
            let brought = Matcher::new(short, m.op(), m.value()).ok()?;
            Some(LabelHint::AnyOf(vec![own, LabelHint::Matches(brought)]))
        }
        LabelFilter::Number { .. }
        | LabelFilter::Duration { .. }
        | LabelFilter::Bytes { .. }
        | LabelFilter::Ip { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logql::ast::Expr;
    use crate::logql::parse;

    fn shown(hint: &LabelHint) -> String {
        let all = |parts: &[LabelHint], sign| parts.iter().map(shown).collect::<Vec<_>>().join(sign);
        match hint {
            LabelHint::Matches(m) => m.to_string(),
            LabelHint::AllOf(parts) => format!("({})", all(parts, " and ")),
            LabelHint::AnyOf(parts) => format!("({})", all(parts, " or ")),
        }
    }

    #[test]
    fn what_filters_ask_of_labels() {
        for (stages, wanted) in [
            (r#"| id="1""#, vec![r#"id="1""#]),
            (
                r#"|= "x" | id=~"1|2" != "y" | b="2" | drop id | decolorize | line_format "z" | c="3""#,
                vec![r#"id=~"1|2""#, r#"b="2""#, r#"c="3""#],
            ),
            (r#"| id!="1" | b="" | c!~"x" | d=~".*" | e > 5 | f=ip("10.0.0.1") | g="1" or h!="2""#, vec![]),
            (r#"| id="1" or b="2" and c>3"#, vec![r#"(id="1" or b="2")"#]),
            (r#"| id="1" or b>2"#, vec![]),
            (r#"| id="1", b="2""#, vec![r#"(id="1" and b="2")"#]),
            (r#"| id="1" | json | b="2""#, vec![r#"id="1""#]),
            (r#"| logfmt | b="2""#, vec![]),
            (r#"| unpack | b="2""#, vec![]),
            (r#"| json id="x" | id="1" | id_extracted="1" | b="2""#, vec![r#"b="2""#]),
            (r#"| logfmt id | id="1" | b="2""#, vec![r#"b="2""#]),
            (r#"| regexp "(?P<id>.)" | id="1" | b="2""#, vec![r#"b="2""#]),
            (r#"| pattern "<id> <_>" | id="1" | b="2""#, vec![r#"b="2""#]),
            (r#"| label_format id=c, d="x" | id="1" | d="x" | c="1""#, vec![r#"c="1""#]),
            (r#"| __error__="" | __error__="x" | __error_details__="y""#, vec![]),
            (r#"| id_extracted="1""#, vec![r#"(id_extracted="1" or id="1")"#]),
        ] {
            let Expr::Log(log) = parse(&format!("{{a=\"b\"}} {stages}")).unwrap() else { panic!("{stages}") };
            assert_eq!(label_hints(&log).iter().map(shown).collect::<Vec<_>>(), wanted, "{stages}");
        }
    }
}
