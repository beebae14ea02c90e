//! The syntax tree as JSON, in the form of Prometheus' `/api/v1/parse_query`.

use serde_json::{Value, json};

use crate::model::Matcher;
use crate::model::sample::format_value;
use crate::promql::ast::{
    AtModifier, Cardinality, DurationExpr, DurationKind, Expr, ExprKind, RangeExtension, TimeModifiers, ValueType,
    VectorMatching, VectorSelector,
};
use crate::promql::format::sign;
use crate::promql::function_table;
use crate::promql::lex::{aggregate_text, operator_text};

/// Turns a tree into JSON. Durations are in milliseconds; one that must be computed is 0, as in Prometheus.
pub fn to_json(expr: &Expr) -> Value {
    match &expr.kind {
        ExprKind::Number(n) => {
            let val = if n.value.is_finite() { format!("{}", n.value) } else { format_value(n.value) };
            json!({"type": "numberLiteral", "val": val})
        }
        ExprKind::String(s) => json!({"type": "stringLiteral", "val": s}),
        ExprKind::Vector(v) => selector("vectorSelector", v, None),
        ExprKind::Matrix(m) => selector("matrixSelector", &m.selector, Some(&m.range)),
        ExprKind::Subquery(s) => json!({
            "type": "subquery",
            "expr": to_json(&s.expr),
            "range": millis(Some(&s.range)),
            "offset": millis(s.time.offset.as_ref()),
            "step": millis(s.step.as_ref()),
            "timestamp": timestamp(&s.time),
            "startOrEnd": start_or_end(&s.time),
        }),
        ExprKind::Call(c) => {
            let function = function_table::find(c.func).map(|f| {
                json!({
                    "name": f.name,
                    "argTypes": f.arg_types.iter().map(|t| type_name(*t)).collect::<Vec<_>>(),
                    "variadic": f.variadic,
                    "returnType": type_name(f.return_type),
                })
            });
            json!({"type": "call", "func": function, "args": c.args.iter().map(to_json).collect::<Vec<_>>()})
        }
        ExprKind::Aggregate(a) => json!({
            "type": "aggregation",
            "op": aggregate_text(a.op),
            "expr": to_json(&a.expr),
            "param": a.param.as_ref().map(to_json),
            "grouping": a.grouping,
            "without": a.without,
        }),
        ExprKind::Binary(b) => json!({
            "type": "binaryExpr",
            "op": operator_text(b.op),
            "lhs": to_json(&b.lhs),
            "rhs": to_json(&b.rhs),
            "matching": b.matching.as_ref().map(matching),
            "bool": b.return_bool,
        }),
        ExprKind::Unary(op, e) => json!({"type": "unaryExpr", "op": sign(*op), "expr": to_json(e)}),
        ExprKind::Paren(e) => json!({"type": "parenExpr", "expr": to_json(e)}),
    }
}

fn selector(kind: &str, v: &VectorSelector, range: Option<&DurationExpr>) -> Value {
    let mut out = json!({
        "type": kind,
        "name": v.name.as_deref().unwrap_or(""),
        "offset": millis(v.time.offset.as_ref()),
        "matchers": v.matchers.iter().map(matcher).collect::<Vec<_>>(),
        "timestamp": timestamp(&v.time),
        "startOrEnd": start_or_end(&v.time),
        "anchored": v.extension == RangeExtension::Anchored,
        "smoothed": v.extension == RangeExtension::Smoothed,
    });
    if let (Some(map), Some(range)) = (out.as_object_mut(), range) {
        map.insert("range".to_owned(), millis(Some(range)).into());
    }
    out
}

fn matcher(m: &Matcher) -> Value {
    json!({"name": m.name(), "value": m.value(), "type": m.op().as_str()})
}

fn matching(m: &VectorMatching) -> Value {
    let card = match m.card {
        Cardinality::OneToOne => "one-to-one",
        Cardinality::ManyToOne => "many-to-one",
        Cardinality::OneToMany => "one-to-many",
        Cardinality::ManyToMany => "many-to-many",
    };
    json!({
        "card": card,
        "labels": m.labels,
        "on": m.on,
        "include": m.include,
        "fillValues": {"lhs": m.fill_left, "rhs": m.fill_right},
    })
}

fn millis(d: Option<&DurationExpr>) -> i64 {
    match d.map(|d| &d.kind) {
        Some(DurationKind::Millis(ms)) => *ms,
        _ => 0,
    }
}

fn timestamp(time: &TimeModifiers) -> Option<i64> {
    match time.at {
        Some(AtModifier::Time(ms)) => Some(ms),
        _ => None,
    }
}

fn start_or_end(time: &TimeModifiers) -> Option<&'static str> {
    match time.at {
        Some(AtModifier::Start) => Some("start"),
        Some(AtModifier::End) => Some("end"),
        _ => None,
    }
}

fn type_name(t: ValueType) -> &'static str {
    match t {
        ValueType::Scalar => "scalar",
        ValueType::String => "string",
        ValueType::Vector => "vector",
        ValueType::Matrix => "matrix",
    }
}
