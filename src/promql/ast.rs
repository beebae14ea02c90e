//! The syntax tree of PromQL, with source spans everywhere.

use crate::model::Matcher;
use crate::text::span::Span;

/// An expression and where it stands in the source.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// The bytes of the source that the expression covers.
    pub span: Span,
    /// What it is.
    pub kind: ExprKind,
}

/// The kinds of expressions.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// `1.5`, `0x1f`, `Inf`, and durations used as numbers (`5m` is 300).
    Number(NumberLiteral),
    /// `"text"`.
    String(String),
    /// `metric{a="b"} @ 5 offset 1m`.
    Vector(VectorSelector),
    /// `metric[5m] offset 1m`.
    Matrix(MatrixSelector),
    /// `expr[1h:5m]`.
    Subquery(Box<Subquery>),
    /// `rate(...)`.
    Call(Call),
    /// `sum by (x) (...)`.
    Aggregate(Box<Aggregate>),
    /// `a + b`.
    Binary(Box<Binary>),
    /// `-a`, `+a`.
    Unary(UnaryOp, Box<Expr>),
    /// `(a)`.
    Paren(Box<Expr>),
}

/// A number and how it was written, for the printer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NumberLiteral {
    /// The value.
    pub value: f64,
    /// Whether it was written as a duration, and is printed as one.
    pub is_duration: bool,
}

/// What a selector's values are made of outside its plain samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RangeExtension {
    /// Samples inside the range only.
    #[default]
    None,
    /// `anchored`.
    Anchored,
    /// `smoothed`.
    Smoothed,
}

/// All series selectors of an expression, in the order written.
pub fn selectors(expr: &Expr) -> Vec<&VectorSelector> {
    fn walk<'a>(expr: &'a Expr, out: &mut Vec<&'a VectorSelector>) {
        match &expr.kind {
            ExprKind::Number(_) | ExprKind::String(_) => {}
            ExprKind::Vector(v) => out.push(v),
            ExprKind::Matrix(m) => out.push(&m.selector),
            ExprKind::Subquery(s) => walk(&s.expr, out),
            ExprKind::Call(c) => c.args.iter().for_each(|a| walk(a, out)),
            ExprKind::Aggregate(a) => {
                a.param.iter().for_each(|p| walk(p, out));
                walk(&a.expr, out);
            }
            ExprKind::Binary(b) => {
                walk(&b.lhs, out);
                walk(&b.rhs, out);
            }
            ExprKind::Unary(_, e) | ExprKind::Paren(e) => walk(e, out),
        }
    }
    let mut out = Vec::new();
    walk(expr, &mut out);
    out
}

/// A series selector.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSelector {
    /// The metric name written before the braces; also the last of `matchers` as `__name__="..."`. A name written inside
    /// the braces (`{"my.metric"}`) is only there.
    pub name: Option<String>,
    /// All matchers, that of the name included.
    pub matchers: Vec<Matcher>,
    /// `offset` and `@`.
    pub time: TimeModifiers,
    /// `anchored`, `smoothed`.
    pub extension: RangeExtension,
}

/// `offset` and `@` of a selector or a subquery.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct TimeModifiers {
    /// Duration of `offset`, may be negative.
    pub offset: Option<DurationExpr>,
    /// `@`.
    pub at: Option<AtModifier>,
}

/// What stands behind `@`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AtModifier {
    /// A time in milliseconds.
    Time(i64),
    /// `start()`.
    Start,
    /// `end()`.
    End,
}

/// A range selector.
#[derive(Clone, Debug, PartialEq)]
pub struct MatrixSelector {
    /// The selector before the brackets; carries offset, `@` and extension.
    pub selector: VectorSelector,
    /// Where the selector stands, without the brackets.
    pub selector_span: Span,
    /// The range.
    pub range: DurationExpr,
}

/// A subquery.
#[derive(Clone, Debug, PartialEq)]
pub struct Subquery {
    /// The inner expression.
    pub expr: Expr,
    /// The range.
    pub range: DurationExpr,
    /// The step; the engine's default where absent.
    pub step: Option<DurationExpr>,
    /// `offset` and `@` of the subquery.
    pub time: TimeModifiers,
}

/// A duration that may have to be computed (`5m`, `300`, `step()`, `2 * range() + 1m`).
#[derive(Clone, Debug, PartialEq)]
pub struct DurationExpr {
    /// Where it stands.
    pub span: Span,
    /// What it is.
    pub kind: DurationKind,
}

/// The kinds of duration expressions.
#[derive(Clone, Debug, PartialEq)]
pub enum DurationKind {
    /// A literal in milliseconds.
    Millis(i64),
    /// A plain number, of seconds where a duration is asked for.
    Number(f64),
    /// `step()`.
    Step,
    /// `range()`.
    Range,
    /// A sign.
    Unary(UnaryOp, Box<DurationExpr>),
    /// `+ - * / % ^`.
    Binary(BinaryOp, Box<DurationExpr>, Box<DurationExpr>),
    /// `min_of(a, b)`.
    MinOf(Box<DurationExpr>, Box<DurationExpr>),
    /// `max_of(a, b)`.
    MaxOf(Box<DurationExpr>, Box<DurationExpr>),
    /// `(a)`.
    Paren(Box<DurationExpr>),
}

/// A function call.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The function's name, which the checker knows.
    pub func: &'static str,
    /// Where the name stands.
    pub name_span: Span,
    /// The arguments.
    pub args: Vec<Expr>,
}

/// An aggregation operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are PromQL's own")]
pub enum AggregateOp {
    Sum,
    Avg,
    Count,
    Min,
    Max,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    CountValues,
    Quantile,
    Limitk,
    LimitRatio,
}

/// An aggregation.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// The operator.
    pub op: AggregateOp,
    /// Where the operator's word stands.
    pub op_span: Span,
    /// The parameter of `topk`, `quantile`, `count_values` and their like.
    pub param: Option<Expr>,
    /// What is aggregated.
    pub expr: Expr,
    /// Whether `grouping` names the labels to drop (`without`) or to keep (`by`, also where neither was written).
    pub without: bool,
    /// The labels of `by` or `without`.
    pub grouping: Vec<String>,
}

/// A sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnaryOp {
    /// `+`
    Plus,
    /// `-`
    Minus,
}

/// A binary operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterEqual,
    LessEqual,
    And,
    Or,
    Unless,
    /// `</`: keeps what of a histogram lies below the bound.
    TrimUpper,
    /// `>/`: keeps what of a histogram lies above the bound.
    TrimLower,
}

/// How many series of one side may match one of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cardinality {
    /// The default.
    OneToOne,
    /// `group_left`.
    ManyToOne,
    /// `group_right`.
    OneToMany,
    /// Set operators.
    ManyToMany,
}

/// `on`, `ignoring`, `group_left`, `group_right`, fill modifiers.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorMatching {
    /// See [`Cardinality`].
    pub card: Cardinality,
    /// Whether `labels` are those of `on` (else of `ignoring`, also where neither was written).
    pub on: bool,
    /// The labels of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// The labels in the parentheses of `group_left` or `group_right`.
    pub include: Vec<String>,
    /// The value that stands in for a missing series of the left side (`fill`, `fill_left`).
    pub fill_left: Option<f64>,
    /// The same for the right side (`fill`, `fill_right`).
    pub fill_right: Option<f64>,
}

/// A binary operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Binary {
    /// The operator.
    pub op: BinaryOp,
    /// Where the operator stands.
    pub op_span: Span,
    /// The left side.
    pub lhs: Expr,
    /// The right side.
    pub rhs: Expr,
    /// Whether a comparison was written with `bool`.
    pub return_bool: bool,
    /// Present when both sides are instant vectors.
    pub matching: Option<VectorMatching>,
}

/// The type of an expression's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// A float.
    Scalar,
    /// A text.
    String,
    /// One sample for each series.
    Vector,
    /// A range of samples for each series.
    Matrix,
}

impl ValueType {
    /// The words of Prometheus' error messages.
    pub fn documented_name(self) -> &'static str {
        match self {
            ValueType::Scalar => "scalar",
            ValueType::String => "string",
            ValueType::Vector => "instant vector",
            ValueType::Matrix => "range vector",
        }
    }
}
