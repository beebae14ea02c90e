//! The type check of PromQL. Knows the type of every expression and what each may be made of.

use crate::model::labels::METRIC_NAME;
use crate::promql::ast::{
    Aggregate, AggregateOp, Binary, BinaryOp, Call, Cardinality, Expr, ExprKind, ValueType, VectorSelector,
};
use crate::promql::function_table;
use crate::promql::lex::operator_text;
use crate::promql::parse_error::ParseError;
use crate::text::quote::quote;
use crate::text::span::Span;

impl Expr {
    /// The type of the expression's value.
    pub fn value_type(&self) -> ValueType {
        match &self.kind {
            ExprKind::Number(_) => ValueType::Scalar,
            ExprKind::String(_) => ValueType::String,
            ExprKind::Vector(_) | ExprKind::Aggregate(_) => ValueType::Vector,
            ExprKind::Matrix(_) | ExprKind::Subquery(_) => ValueType::Matrix,
            ExprKind::Call(c) => function_table::find(c.func).map_or(ValueType::Vector, |f| f.return_type),
            ExprKind::Binary(b) => match (b.lhs.value_type(), b.rhs.value_type()) {
                (ValueType::Scalar, ValueType::Scalar) => ValueType::Scalar,
                _ => ValueType::Vector,
            },
            ExprKind::Unary(_, e) => e.value_type(),
            ExprKind::Paren(e) => e.value_type(),
        }
    }

    /// The expression inside any number of parentheses.
    pub fn unwrap_parens(&self) -> &Expr {
        let mut expr = self;
        while let ExprKind::Paren(inner) = &expr.kind {
            expr = inner;
        }
        expr
    }
}

impl BinaryOp {
    /// Whether it is one of `== != > < >= <=`.
    pub fn is_comparison(self) -> bool {
        matches!(
            self,
            BinaryOp::Equal
                | BinaryOp::NotEqual
                | BinaryOp::Greater
                | BinaryOp::Less
                | BinaryOp::GreaterEqual
                | BinaryOp::LessEqual
        )
    }

    /// Whether it is `and`, `or` or `unless`.
    pub fn is_set_operator(self) -> bool {
        matches!(self, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless)
    }
}

impl AggregateOp {
    /// Whether it takes a parameter before the vector.
    pub fn has_param(self) -> bool {
        matches!(
            self,
            AggregateOp::Topk
                | AggregateOp::Bottomk
                | AggregateOp::CountValues
                | AggregateOp::Quantile
                | AggregateOp::Limitk
                | AggregateOp::LimitRatio
        )
    }
}

/// Checks an expression. Adds what is wrong with it to `errors`, and settles the vector matching of its binary
/// operations: none where a side is a scalar, many-to-many for set operators.
pub(super) fn check(expr: &mut Expr, errors: &mut Vec<ParseError>) {
    Checker { errors }.expr(expr);
}

struct Checker<'a> {
    errors: &'a mut Vec<ParseError>,
}

/// The word of a type in messages that do not use the documented name.
fn type_word(t: ValueType) -> &'static str {
    match t {
        ValueType::Scalar => "scalar",
        ValueType::String => "string",
        ValueType::Vector => "vector",
        ValueType::Matrix => "matrix",
    }
}

impl Checker<'_> {
    fn report(&mut self, span: Span, message: impl Into<String>) {
        self.errors.push(ParseError { span, message: message.into() });
    }

    fn expr(&mut self, expr: &mut Expr) -> ValueType {
        let span = expr.span;
        match &mut expr.kind {
            ExprKind::Number(_) => ValueType::Scalar,
            ExprKind::String(_) => ValueType::String,
            ExprKind::Vector(v) => {
                self.selector(v, span, true);
                ValueType::Vector
            }
            ExprKind::Matrix(m) => {
                self.selector(&m.selector, m.selector_span, true);
                ValueType::Matrix
            }
            ExprKind::Subquery(s) => {
                let t = self.expr(&mut s.expr);
                if t != ValueType::Vector {
                    self.report(
                        span,
                        format!("subquery is only allowed on instant vector, got {} instead", type_word(t)),
                    );
                }
                ValueType::Matrix
            }
            ExprKind::Paren(e) => self.expr(e),
            ExprKind::Unary(_, e) => {
                let t = self.expr(e);
                if !matches!(t, ValueType::Scalar | ValueType::Vector) {
                    self.report(
                        span,
                        format!(
                            "unary expression only allowed on expressions of type scalar or instant vector, got {}",
                            quote(t.documented_name())
                        ),
                    );
                }
                t
            }
            ExprKind::Aggregate(a) => self.aggregate(a),
            ExprKind::Binary(b) => self.binary(b, span),
            ExprKind::Call(c) => self.call(c, span),
        }
    }

    fn expect(&mut self, expr: &mut Expr, wanted: ValueType, context: &str) {
        let got = self.expr(expr);
        if got != wanted {
            let (wanted, got) = (wanted.documented_name(), got.documented_name());
            self.report(expr.span, format!("expected type {wanted} in {context}, got {got}"));
        }
    }

    fn selector(&mut self, v: &VectorSelector, span: Span, must_select: bool) {
        if let Some(name) = &v.name {
            // The matcher of the name before the braces is the last one.
            let inside = v.matchers.split_last().map_or(&[][..], |(_, inside)| inside);
            for m in inside.iter().filter(|m| m.name() == METRIC_NAME) {
                let (a, b) = (quote(name), quote(m.value()));
                self.report(span, format!("metric name must not be set twice: {a} or {b}"));
            }
        } else if must_select && v.matchers.iter().all(|m| m.matches_empty()) {
            self.report(span, "vector selector must contain at least one non-empty matcher");
        }
    }

    fn aggregate(&mut self, a: &mut Aggregate) -> ValueType {
        self.expect(&mut a.expr, ValueType::Vector, "aggregation expression");
        let wanted = if a.op == AggregateOp::CountValues { ValueType::String } else { ValueType::Scalar };
        if let Some(param) = &mut a.param {
            self.expect(param, wanted, "aggregation parameter");
        }
        ValueType::Vector
    }

    fn binary(&mut self, b: &mut Binary, span: Span) -> ValueType {
        let (left, right) = (self.expr(&mut b.lhs), self.expr(&mut b.rhs));
        if b.return_bool && !b.op.is_comparison() {
            self.report(b.op_span, "bool modifier can only be used on comparison operators");
        }
        let both_scalar = left == ValueType::Scalar && right == ValueType::Scalar;
        if b.op.is_comparison() && !b.return_bool && both_scalar {
            self.report(b.op_span, "comparisons between scalars must use BOOL modifier");
        }
        for (t, side) in [(left, &b.lhs), (right, &b.rhs)] {
            if !matches!(t, ValueType::Scalar | ValueType::Vector) {
                self.report(side.span, "binary expression must contain only scalar and instant vector types");
            }
        }
        let both_vectors = left == ValueType::Vector && right == ValueType::Vector;
        if let Some(m) = &mut b.matching {
            let filled = m.fill_left.is_some() || m.fill_right.is_some();
            if m.on {
                for label in m.labels.iter().filter(|l| m.include.contains(l)) {
                    let label = quote(label);
                    self.report(b.op_span, format!("label {label} must not occur in ON and GROUP clause at once"));
                }
            }
            if !both_vectors {
                if !m.labels.is_empty() {
                    self.report(span, "vector matching only allowed between instant vectors");
                }
                if filled {
                    self.report(span, "filling in missing series only allowed between instant vectors");
                }
            } else if b.op.is_set_operator() {
                if m.card != Cardinality::OneToOne {
                    let op = quote(operator_text(b.op));
                    self.report(span, format!("no grouping allowed for {op} operation"));
                }
                m.card = Cardinality::ManyToMany;
                if filled {
                    self.report(span, "filling in missing series not allowed for set operators");
                }
            }
        }
        if !both_vectors {
            b.matching = None;
        }
        if (left == ValueType::Scalar || right == ValueType::Scalar) && b.op.is_set_operator() {
            let op = quote(operator_text(b.op));
            self.report(span, format!("set operator {op} not allowed in binary scalar expression"));
        }
        if both_scalar { ValueType::Scalar } else { ValueType::Vector }
    }

    fn call(&mut self, c: &mut Call, span: Span) -> ValueType {
        let Some(f) = function_table::find(c.func) else {
            self.report(c.name_span, format!("unknown function with name {}", quote(c.func)));
            return ValueType::Vector;
        };
        let (name, got) = (quote(f.name), c.args.len());
        let all = f.arg_types.len();
        let required = if f.variadic == 0 { all } else { all.saturating_sub(1) };
        let most = usize::try_from(f.variadic).ok().map(|n| required + n);
        if f.variadic == 0 && got != all {
            self.report(span, format!("expected {all} argument(s) in call to {name}, got {got}"));
        } else if got < required {
            self.report(span, format!("expected at least {required} argument(s) in call to {name}, got {got}"));
        } else if let Some(most) = most.filter(|m| got > *m) {
            self.report(span, format!("expected at most {most} argument(s) in call to {name}, got {got}"));
        }
        let is_info = f.name == "info";
        for (i, arg) in c.args.iter_mut().enumerate() {
            let wanted = match f.arg_types.get(i).or(f.arg_types.last().filter(|_| f.variadic != 0)) {
                Some(t) => *t,
                // Too many arguments, which was said above.
                None => break,
            };
            if is_info && i == 1 {
                self.info_labels(arg);
                continue;
            }
            self.expect(arg, wanted, &format!("call to function {name}"));
        }
        f.return_type
    }

    /// The second argument of `info` is a set of label matchers in the form of a selector.
    fn info_labels(&mut self, arg: &mut Expr) {
        let span = arg.span;
        match &arg.kind {
            ExprKind::Vector(v) if v.name.is_some() => {
                self.report(span, "expected label selectors only, got vector selector instead");
            }
            ExprKind::Vector(v) => self.selector(v, span, false),
            _ => {
                let t = self.expr(arg);
                if t != ValueType::Vector {
                    let t = t.documented_name();
                    self.report(span, format!("expected type instant vector in call to function \"info\", got {t}"));
                } else {
                    self.report(span, "expected label selectors only");
                }
            }
        }
    }
}
