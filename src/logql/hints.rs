//! What of a line a metric query needs: parser stages extract those labels only, and stop as soon as they have them all.
//!
//! This is part of what queries mean, not only of how fast they are: Loki stops there too, so damage behind the last label
//! that is needed is no error, and `sum(count_over_time({...} | json [5m]))` parses nothing at all.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::logql::ast::{LabelFilter, LabelFormatSource, RangeAggregation, RangeOp, StageKind};
use crate::logql::labels::{ERROR, EXTRACTED};
use crate::logql::template::LineTemplate;

/// The labels that parser stages are to extract.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// Whatever they find.
    #[default]
    All,
    /// None: parsers have nothing to do.
    Nothing,
    /// These; once all are there parsers stop.
    Only(Arc<[String]>),
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// What parsers are to extract.
    pub wanted: Wanted,
    /// Whether lines that a parser failed on make series with their errors in the labels, as the query asks for
    /// `__error__`. Otherwise they end the query.
    pub keeps_errors: bool,
}

impl Hints {
    /// What a range function needs, its grouping (that of a `sum` around it included) taken into account.
    pub fn of(r: &RangeAggregation) -> Self {
        let without_labels =
            r.op == RangeOp::AbsentOverTime || r.grouping.as_ref().is_some_and(|g| g.labels.is_empty());
        let by_some = r.grouping.as_ref().is_some_and(|g| !g.without && !g.labels.is_empty());
        if !without_labels && !by_some {
            return Hints::default();
        }
        let names = needed(r);
        let keeps_errors = names.contains(ERROR);
        let wanted = if names.is_empty() { Wanted::Nothing } else { Wanted::Only(names.into_iter().collect()) };
        Hints { wanted, keeps_errors }
    }
}

/// The names that stages, `unwrap` and the grouping speak of. A name that ends with `_extracted` may stand for a field without
/// that ending, so both are needed.
fn needed(r: &RangeAggregation) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for stage in &r.log.stages {
        match &stage.kind {
            StageKind::LabelFilter(f) => of_filter(f, &mut names),
            // What does not compile was refused by the checker.
            StageKind::LineFormat(text) => {
                names.extend(LineTemplate::compile("line", text).map(|t| t.fields()).unwrap_or_default());
            }
            StageKind::LabelFormat(formats) => {
                for f in formats {
                    match &f.source {
                        LabelFormatSource::Rename(from) => {
                            names.insert(from.clone());
                        }
                        LabelFormatSource::Template(text) => {
                            names.extend(LineTemplate::compile("label", text).map(|t| t.fields()).unwrap_or_default());
                        }
                    }
                }
            }
            _ => {}
        }
    }
    if let Some(u) = &r.unwrap {
        names.insert(u.label.clone());
        u.filters.iter().for_each(|f| of_filter(f, &mut names));
    }
    names.extend(r.grouping.iter().flat_map(|g| &g.labels).cloned());
    let plain: Vec<String> = names.iter().filter_map(|n| n.strip_suffix(EXTRACTED)).map(str::to_owned).collect();
    names.extend(plain);
    names
}

fn of_filter(filter: &LabelFilter, names: &mut BTreeSet<String>) {
    match filter {
        LabelFilter::And(a, b) | LabelFilter::Or(a, b) => {
            of_filter(a, names);
            of_filter(b, names);
        }
        LabelFilter::Text(m) => {
            names.insert(m.name().to_owned());
        }
        LabelFilter::Number { label, .. }
        | LabelFilter::Duration { label, .. }
        | LabelFilter::Bytes { label, .. }
        | LabelFilter::Ip { label, .. } => {
            names.insert(label.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logql::ast::{Expr, MetricKind};
    use crate::logql::parse;

    fn hints(query: &str) -> (String, bool) {
        let Expr::Metric(m) = parse(query).unwrap() else { panic!("{query}") };
        let MetricKind::Range(r) = m.kind else { panic!("{query}") };
        let h = Hints::of(&r);
        let wanted = match h.wanted {
            Wanted::All => "all".to_owned(),
            Wanted::Nothing => "nothing".to_owned(),
            Wanted::Only(names) => names.join(" "),
        };
        (wanted, h.keeps_errors)
    }

    #[test]
    fn what_queries_need() {
        for (query, want, errors) in [
            (r#"count_over_time({a="b"} | json [1m])"#, "all", false),
            (r#"count_over_time({a="b"} | json | __error__!="" [1m])"#, "all", false),
            (r#"absent_over_time({a="b"} | json [1m])"#, "nothing", false),
            (r#"avg_over_time({a="b"} | json | unwrap x [1m])"#, "all", false),
            (r#"avg_over_time({a="b"} | json | unwrap x [1m]) by ()"#, "x", false),
            (
                r#"avg_over_time({a="b"} | json | y_extracted > 1 | unwrap x | __error__="" [1m]) by (z)"#,
                "__error__ x y y_extracted z",
                true,
            ),
            (r#"max_over_time({a="b"} | json | unwrap x [1m]) without (z)"#, "all", false),
            (
                r#"max_over_time({a="b"} | json | label_format n=m, o="{{if .p}}{{.q | ToLower}}{{end}}" | line_format "{{.r}}" | unwrap x [1m]) by (z)"#,
                "m p q r x z",
                false,
            ),
        ] {
            assert_eq!(hints(query), (want.to_owned(), errors), "{query}");
        }
    }
}
