//! The printer of PromQL: an expression in one line, in the spelling of Prometheus' own printer.
//!
//! Reading what was printed gives the same tree, spans and the order of matchers aside (they are printed sorted).

use std::fmt::Write;

use crate::model::labels::{METRIC_NAME, is_legacy_label_name};
use crate::model::sample::write_value;
use crate::model::{MatchOp, Matcher};
use crate::promql::ast::{
    Aggregate, AtModifier, Binary, BinaryOp, Cardinality, DurationExpr, DurationKind, Expr, ExprKind, NumberLiteral,
    RangeExtension, Subquery, TimeModifiers, UnaryOp, VectorMatching, VectorSelector,
};
use crate::promql::lex::{aggregate_text, operator_text};
use crate::text::duration::format_ms;
use crate::text::quote::quote;

/// Prints an expression in one line.
pub fn format(expr: &Expr) -> String {
    let mut out = String::with_capacity(128);
    write_expr(&mut out, expr);
    out
}

impl std::fmt::Display for Expr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&format(self))
    }
}

pub(super) fn write_expr(out: &mut String, expr: &Expr) {
    match &expr.kind {
        ExprKind::Number(n) => write_number(out, *n),
        ExprKind::String(s) => out.push_str(&quote(s)),
        ExprKind::Vector(v) => write_vector(out, v),
        ExprKind::Matrix(m) => {
            write_matchers(out, &m.selector);
            out.push('[');
            write_duration(out, &m.range);
            out.push(']');
            write_extension(out, m.selector.extension);
            write_time(out, &m.selector.time);
        }
        ExprKind::Subquery(s) => {
            write_expr(out, &s.expr);
            write_subquery_suffix(out, s);
        }
        ExprKind::Call(c) => {
            out.push_str(c.func);
            out.push('(');
            for (i, arg) in c.args.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                write_expr(out, arg);
            }
            out.push(')');
        }
        ExprKind::Aggregate(a) => {
            write_aggregate_head(out, a);
            out.push('(');
            if let Some(param) = &a.param {
                write_expr(out, param);
                out.push_str(", ");
            }
            write_expr(out, &a.expr);
            out.push(')');
        }
        ExprKind::Binary(b) => {
            write_left(out, b);
            out.push(' ');
            write_operator(out, b);
            out.push(' ');
            write_expr(out, &b.rhs);
        }
        ExprKind::Unary(op, e) => {
            out.push_str(sign(*op));
            write_expr(out, e);
        }
        ExprKind::Paren(e) => {
            out.push('(');
            write_expr(out, e);
            out.push(')');
        }
    }
}

/// Writes the left side of an operation. Before `^` infinity goes without its plus, which would bind less tightly.
pub(super) fn write_left(out: &mut String, b: &Binary) {
    match b.lhs.kind {
        ExprKind::Number(n) if b.op == BinaryOp::Pow && n.value == f64::INFINITY => out.push_str("Inf"),
        _ => write_expr(out, &b.lhs),
    }
}

pub(super) fn sign(op: UnaryOp) -> &'static str {
    match op {
        UnaryOp::Plus => "+",
        UnaryOp::Minus => "-",
    }
}

fn write_number(out: &mut String, n: NumberLiteral) {
    // A literal was read from whole milliseconds, so that rounding only takes away the error of the division.
    let ms = (n.value * 1000.0).round();
    if n.is_duration && ms.is_finite() && ms != 0.0 {
        out.push_str(&format_ms(ms as i64));
    } else if n.is_duration && ms == 0.0 {
        out.push_str(if n.value.is_sign_negative() { "-0s" } else { "0s" });
    } else if n.value.is_finite() {
        // Never an exponent, as Go's 'f' format.
        let _ok = write!(out, "{}", n.value);
    } else {
        write_value(out, n.value);
    }
}

/// Writes labels as in `by (...)`, quoting what is no classic label name.
fn write_labels(out: &mut String, labels: &[String]) {
    out.push('(');
    for (i, label) in labels.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        if is_legacy_label_name(label) {
            out.push_str(label);
        } else {
            out.push_str(&quote(label));
        }
    }
    out.push(')');
}

pub(super) fn write_aggregate_head(out: &mut String, a: &Aggregate) {
    out.push_str(aggregate_text(a.op));
    if a.without || !a.grouping.is_empty() {
        out.push_str(if a.without { " without " } else { " by " });
        write_labels(out, &a.grouping);
        out.push(' ');
    }
}

/// Writes the operator with `bool` and the vector matching.
pub(super) fn write_operator(out: &mut String, b: &Binary) {
    out.push_str(operator_text(b.op));
    if b.return_bool {
        out.push_str(" bool");
    }
    if let Some(m) = &b.matching {
        write_matching(out, m);
    }
}

fn write_matching(out: &mut String, m: &VectorMatching) {
    let group = match m.card {
        Cardinality::ManyToOne => Some(" group_left "),
        Cardinality::OneToMany => Some(" group_right "),
        Cardinality::OneToOne | Cardinality::ManyToMany => None,
    };
    if !m.labels.is_empty() || m.on || group.is_some() {
        out.push_str(if m.on { " on " } else { " ignoring " });
        write_labels(out, &m.labels);
    }
    if let Some(group) = group {
        out.push_str(group);
        write_labels(out, &m.include);
    }
    let mut fill = |word: &str, value: f64| {
        out.push_str(word);
        out.push_str(" (");
        write_value(out, value);
        out.push(')');
    };
    match (m.fill_left, m.fill_right) {
        (Some(l), Some(r)) if l.to_bits() == r.to_bits() => fill(" fill", l),
        (l, r) => {
            if let Some(l) = l {
                fill(" fill_left", l);
            }
            if let Some(r) = r {
                fill(" fill_right", r);
            }
        }
    }
}

pub(super) fn write_vector(out: &mut String, v: &VectorSelector) {
    write_matchers(out, v);
    if let Some(at) = v.time.at {
        write_at(out, at);
    }
    write_extension(out, v.extension);
    write_offset(out, v.time.offset.as_ref());
}

fn write_matchers(out: &mut String, v: &VectorSelector) {
    let name = v.name.as_deref().unwrap_or("");
    let is_name =
        |m: &Matcher| m.name() == METRIC_NAME && m.op() == MatchOp::Equal && m.value() == name && !name.is_empty();
    let mut matchers: Vec<String> = v.matchers.iter().filter(|m| !is_name(m)).map(Matcher::to_string).collect();
    matchers.sort();
    out.push_str(name);
    if !matchers.is_empty() || name.is_empty() {
        out.push('{');
        out.push_str(&matchers.join(","));
        out.push('}');
    }
}

fn write_extension(out: &mut String, extension: RangeExtension) {
    out.push_str(match extension {
        RangeExtension::None => "",
        RangeExtension::Anchored => " anchored",
        RangeExtension::Smoothed => " smoothed",
    });
}

fn write_time(out: &mut String, time: &TimeModifiers) {
    if let Some(at) = time.at {
        write_at(out, at);
    }
    write_offset(out, time.offset.as_ref());
}

fn write_at(out: &mut String, at: AtModifier) {
    match at {
        AtModifier::Start => out.push_str(" @ start()"),
        AtModifier::End => out.push_str(" @ end()"),
        AtModifier::Time(ms) => {
            let (sign, ms) = (if ms < 0 { "-" } else { "" }, ms.unsigned_abs());
            let _ok = write!(out, " @ {sign}{}.{:03}", ms / 1000, ms % 1000);
        }
    }
}

fn write_offset(out: &mut String, offset: Option<&DurationExpr>) {
    if let Some(offset) = offset {
        out.push_str(" offset ");
        write_duration(out, offset);
    }
}

/// Writes `[range:step] @ ... offset ...`.
pub(super) fn write_subquery_suffix(out: &mut String, s: &Subquery) {
    out.push('[');
    write_duration(out, &s.range);
    out.push(':');
    if let Some(step) = &s.step {
        write_duration(out, step);
    }
    out.push(']');
    write_time(out, &s.time);
}

fn write_duration(out: &mut String, d: &DurationExpr) {
    match &d.kind {
        DurationKind::Millis(ms) => out.push_str(&format_ms(*ms)),
        DurationKind::Number(n) => write_number(out, NumberLiteral { value: *n, is_duration: false }),
        DurationKind::Step => out.push_str("step()"),
        DurationKind::Range => out.push_str("range()"),
        DurationKind::Unary(op, e) => {
            out.push_str(sign(*op));
            write_duration(out, e);
        }
        DurationKind::Binary(op, a, b) => {
            write_duration(out, a);
            let _ok = write!(out, " {} ", operator_text(*op));
            write_duration(out, b);
        }
        DurationKind::MinOf(a, b) => write_duration_pair(out, "min_of(", a, b),
        DurationKind::MaxOf(a, b) => write_duration_pair(out, "max_of(", a, b),
        DurationKind::Paren(e) => {
            out.push('(');
            write_duration(out, e);
            out.push(')');
        }
    }
}

fn write_duration_pair(out: &mut String, head: &str, a: &DurationExpr, b: &DurationExpr) {
    out.push_str(head);
    write_duration(out, a);
    out.push_str(", ");
    write_duration(out, b);
    out.push(')');
}
