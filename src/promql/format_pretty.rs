//! The printer of PromQL for people: what is too long for a line is broken and indented, as `/api/v1/format_query` does.

use crate::promql::ast::{Expr, ExprKind};
use crate::promql::format::{
    format, sign, write_aggregate_head, write_expr, write_left, write_operator, write_subquery_suffix,
};

/// An expression longer than this is broken into lines; the width that Prometheus uses.
const LINE_WIDTH: usize = 100;

/// Prints an expression over as many lines as it needs.
pub fn format_pretty(expr: &Expr) -> String {
    let mut out = String::with_capacity(256);
    write_pretty(&mut out, expr, 0);
    out
}

fn indent(out: &mut String, level: usize) {
    for _ in 0..level {
        out.push_str("  ");
    }
}

/// Writes an expression, its first line indented by `level`.
fn write_pretty(out: &mut String, expr: &Expr, level: usize) {
    // A sign, and a subquery's suffix, do not decide about breaking what they stand at.
    if let ExprKind::Unary(op, e) = &expr.kind {
        indent(out, level);
        out.push_str(sign(*op));
        let mut inner = String::new();
        write_pretty(&mut inner, e, level);
        out.push_str(inner.trim());
        return;
    }
    if format(expr).len() <= LINE_WIDTH {
        indent(out, level);
        write_expr(out, expr);
        return;
    }
    match &expr.kind {
        ExprKind::Aggregate(a) => {
            indent(out, level);
            write_aggregate_head(out, a);
            out.push_str("(\n");
            if let Some(param) = &a.param {
                write_pretty(out, param, level + 1);
                out.push_str(",\n");
            }
            write_pretty(out, &a.expr, level + 1);
            close(out, level);
        }
        ExprKind::Binary(b) => {
            if matches!(b.lhs.kind, ExprKind::Number(_)) {
                indent(out, level + 1);
                write_left(out, b);
            } else {
                write_pretty(out, &b.lhs, level + 1);
            }
            out.push('\n');
            indent(out, level);
            write_operator(out, b);
            out.push('\n');
            write_pretty(out, &b.rhs, level + 1);
        }
        ExprKind::Call(c) => {
            indent(out, level);
            out.push_str(c.func);
            out.push_str("(\n");
            for (i, arg) in c.args.iter().enumerate() {
                if i > 0 {
                    out.push_str(",\n");
                }
                write_pretty(out, arg, level + 1);
            }
            close(out, level);
        }
        ExprKind::Paren(e) => {
            indent(out, level);
            out.push_str("(\n");
            write_pretty(out, e, level + 1);
            close(out, level);
        }
        ExprKind::Subquery(s) => {
            write_pretty(out, &s.expr, level);
            write_subquery_suffix(out, s);
        }
        ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Vector(_) | ExprKind::Matrix(_) | ExprKind::Unary(..) => {
            indent(out, level);
            write_expr(out, expr);
        }
    }
}

fn close(out: &mut String, level: usize) {
    out.push('\n');
    indent(out, level);
    out.push(')');
}
