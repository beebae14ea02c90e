//! `variants(a, b) of ({...} | ... [5m])`: several metric queries about the same lines. Each series of the first has the label
//! `__variant__="0"`, each of the second `"1"`, and so on.
//!
//! A variant is about the lines that the common part selects and lets through, and with its own selector and stages says
//! which of these it means. So a variant that repeats the common part means the same as it does by itself.

use crate::logql::ast::{LogExpr, MetricExpr, MetricKind, RangeAggregation, Variants};

/// The label that holds the number of a variant.
pub const LABEL: &str = "__variant__";

/// The variants as queries of their own.
pub fn queries(variants: &Variants) -> impl Iterator<Item = MetricExpr> + '_ {
    variants.list.iter().map(|v| {
        let mut query = v.clone();
        narrow(&mut query, &variants.of);
        query
    })
}

/// Puts the common part in front of each selector of a query.
fn narrow(query: &mut MetricExpr, of: &LogExpr) {
    match &mut query.kind {
        MetricKind::Range(r) => narrow_range(r, of),
        MetricKind::Vector { expr, .. } | MetricKind::LabelReplace { expr, .. } => narrow(expr, of),
        MetricKind::Binary(b) => {
            narrow(&mut b.lhs, of);
            narrow(&mut b.rhs, of);
        }
        // The grammar has them at the top only.
        MetricKind::Variants(_) | MetricKind::Literal(_) | MetricKind::VectorLiteral(_) => {}
    }
}

fn narrow_range(r: &mut RangeAggregation, of: &LogExpr) {
    for m in &of.matchers {
        if !r.log.matchers.contains(m) {
            r.log.matchers.push(m.clone());
        }
    }
    let same = |(a, b): (&crate::logql::ast::Stage, &crate::logql::ast::Stage)| a.kind == b.kind;
    let repeated = r.log.stages.len() >= of.stages.len() && r.log.stages.iter().zip(&of.stages).all(same);
    if !repeated {
        r.log.stages.splice(0..0, of.stages.iter().cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logql::ast::Expr;
    use crate::logql::format::{one_line, pretty};
    use crate::logql::parse;

    #[test]
    fn the_common_part_comes_first() {
        for (query, wanted) in [
            (
                r#"variants(count_over_time({a="b"}[1m]), bytes_over_time({a="b"}[1m])) of ({a="b"}[1m])"#,
                vec![r#"count_over_time({a="b"}[1m])"#, r#"bytes_over_time({a="b"}[1m])"#],
            ),
            (
                r#"variants(sum by (x) (rate({a="b"} | json | x="y" [1m])), max_over_time({c="d"} | unwrap n [5m])) of ({a="b"} | json [1m])"#,
                vec![
                    r#"sum by (x)(rate({a="b"} | json | x="y"[1m]))"#,
                    r#"max_over_time({c="d", a="b"} | json | unwrap n[5m])"#,
                ],
            ),
            (
                r#"variants(count_over_time({a="b"} |= "x" [1m]) / 2, vector(1)) of ({a="b"} |= "z" [1m])"#,
                vec![r#"(count_over_time({a="b"} |= "z" |= "x"[1m]) / 2)"#, "vector(1.000000)"],
            ),
        ] {
            let Expr::Metric(m) = parse(query).unwrap() else { panic!("{query}") };
            let MetricKind::Variants(v) = &m.kind else { panic!("{query}") };
            let found: Vec<String> = queries(v).map(|q| one_line(&Expr::Metric(q))).collect();
            assert_eq!(found, wanted, "{query}");
        }
    }

    #[test]
    fn printed_as_written() {
        let query = r#"variants(count_over_time({a="b"}[5m]), sum by (x)(rate({a="b"}[5m]))) of ({a="b"} | json[5m] offset 1m0s)"#;
        let printed = one_line(&parse(query).unwrap());
        assert_eq!(printed, query);
        assert_eq!(one_line(&parse(&pretty(&parse(query).unwrap())).unwrap()), query);
    }

    #[test]
    fn what_is_no_variant_is_refused() {
        for (query, why) in [
            (r#"variants() of ({a="b"}[1m])"#, "unexpected )"),
            (r#"variants(count_over_time({a="b"}[1m]))"#, "unexpected $end, expecting of"),
            (r#"variants(count_over_time({a="b"}[1m])) of ({a="b"})"#, "expecting RANGE"),
            (r#"variants({a="b"}) of ({a="b"}[1m])"#, "a metric expression"),
            (r#"sum(variants(count_over_time({a="b"}[1m])) of ({a="b"}[1m]))"#, "unexpected IDENTIFIER"),
            (r#"variants(count_over_time({a="b"}[1m])) of ({a="b"} | unwrap x [1m])"#, "unwrap"),
            (r#"variants(count_over_time({a="b"}[1m])) of ({a=~".*"}[1m])"#, "at least one"),
        ] {
            let e = parse(query).unwrap_err().to_string();
            assert!(e.contains(why), "{query}: {e}");
        }
    }
}
