//! The syntax tree of LogQL.

use crate::model::Matcher;
use crate::promql::ast::{BinaryOp, VectorMatching};
use crate::text::span::Span;

/// A whole query.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// Gives log lines.
    Log(LogExpr),
    /// Gives numbers.
    Metric(MetricExpr),
}

/// A stream selector and what is done with each line.
#[derive(Clone, Debug, PartialEq)]
pub struct LogExpr {
    /// Where it stands.
    pub span: Span,
    /// The conditions on stream labels.
    pub matchers: Vec<Matcher>,
    /// The pipeline, in order.
    pub stages: Vec<Stage>,
}

/// One stage of a pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// Where it stands.
    pub span: Span,
    /// What it does.
    pub kind: StageKind,
}

/// The kinds of stages.
#[derive(Clone, Debug, PartialEq)]
pub enum StageKind {
    /// `|= "x" or "y"` and its siblings.
    LineFilter(LineFilter),
    /// `| json` (no extractions: all fields) or `| json a="b.c"`.
    Json(Vec<Extraction>),
    /// `| logfmt`.
    Logfmt {
        /// `--strict`: a malformed pair is an error.
        strict: bool,
        /// `--keep-empty`: a key without a value becomes an empty label.
        keep_empty: bool,
        /// As for `json`.
        extractions: Vec<Extraction>,
    },
    /// `| regexp "(?P<name>...)"`.
    Regexp(String),
    /// `| pattern "<ip> - <_>"`.
    Pattern(String),
    /// `| unpack`.
    Unpack,
    /// `| decolorize`.
    Decolorize,
    /// `| level="error" and duration > 1s`.
    LabelFilter(LabelFilter),
    /// `| line_format "{{.x}}"`.
    LineFormat(String),
    /// `| label_format a=b, c="{{.d}}"`.
    LabelFormat(Vec<LabelFormat>),
    /// `| drop a, b="c"`.
    Drop(Vec<NamedMatcher>),
    /// `| keep a, b="c"`.
    Keep(Vec<NamedMatcher>),
}

/// How a line filter compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LineMatch {
    /// `|=`
    Contains,
    /// `!=`
    NotContains,
    /// `|~`
    Regex,
    /// `!~`
    NotRegex,
    /// `|>`
    Pattern,
    /// `!>`
    NotPattern,
}

impl LineMatch {
    /// The operator as written.
    pub fn as_str(self) -> &'static str {
        match self {
            LineMatch::Contains => "|=",
            LineMatch::NotContains => "!=",
            LineMatch::Regex => "|~",
            LineMatch::NotRegex => "!~",
            LineMatch::Pattern => "|>",
            LineMatch::NotPattern => "!>",
        }
    }

    /// Whether lines that match are dropped.
    pub fn is_negative(self) -> bool {
        matches!(self, LineMatch::NotContains | LineMatch::NotRegex | LineMatch::NotPattern)
    }
}

/// One alternative of a line filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineTerm {
    /// What is looked for.
    pub text: String,
    /// `ip("...")`: an address, range or CIDR.
    pub is_ip: bool,
}

/// A line filter. With several terms a line passes if any term matches (or, for the negative operators, if none does).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineFilter {
    /// See [`LineMatch`].
    pub op: LineMatch,
    /// At least one.
    pub terms: Vec<LineTerm>,
}

/// `name="expression"` behind `json` and `logfmt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extraction {
    /// The label to make.
    pub label: String,
    /// Where its value is found.
    pub expression: String,
}

/// One assignment of `label_format`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelFormat {
    /// The label to set.
    pub label: String,
    /// What it is set to.
    pub source: LabelFormatSource,
}

/// Where `label_format` takes a value from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelFormatSource {
    /// Another label, which is renamed.
    Rename(String),
    /// A template.
    Template(String),
}

/// A label of `drop` or `keep`, with a condition or without.
#[derive(Clone, Debug, PartialEq)]
pub enum NamedMatcher {
    /// Whatever its value.
    Name(String),
    /// Only where it matches.
    Matcher(Matcher),
}

/// How numbers, durations, sizes and addresses compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum CompareOp {
    Equal,
    NotEqual,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
}

impl CompareOp {
    /// The operator as Loki prints it.
    pub fn as_str(self) -> &'static str {
        match self {
            CompareOp::Equal => "==",
            CompareOp::NotEqual => "!=",
            CompareOp::Greater => ">",
            CompareOp::GreaterEqual => ">=",
            CompareOp::Less => "<",
            CompareOp::LessEqual => "<=",
        }
    }

    /// Whether `a op b`.
    pub fn holds<T: PartialOrd>(self, a: &T, b: &T) -> bool {
        match self {
            CompareOp::Equal => a == b,
            CompareOp::NotEqual => a != b,
            CompareOp::Greater => a > b,
            CompareOp::GreaterEqual => a >= b,
            CompareOp::Less => a < b,
            CompareOp::LessEqual => a <= b,
        }
    }
}

/// A condition on labels.
#[derive(Clone, Debug, PartialEq)]
pub enum LabelFilter {
    /// Both.
    And(Box<LabelFilter>, Box<LabelFilter>),
    /// Either.
    Or(Box<LabelFilter>, Box<LabelFilter>),
    /// A text comparison.
    Text(Matcher),
    /// A comparison with a number.
    Number {
        /// The label.
        label: String,
        /// How.
        op: CompareOp,
        /// With what.
        value: f64,
    },
    /// A comparison with a duration, in nanoseconds.
    Duration {
        /// The label.
        label: String,
        /// How.
        op: CompareOp,
        /// With what.
        nanos: i64,
    },
    /// A comparison with a size, in bytes.
    Bytes {
        /// The label.
        label: String,
        /// How.
        op: CompareOp,
        /// With what.
        bytes: u64,
    },
    /// `addr = ip("10.0.0.0/8")`.
    Ip {
        /// The label.
        label: String,
        /// Whether it is `!=`.
        negative: bool,
        /// An address, range or CIDR.
        pattern: String,
    },
}

/// How `unwrap` reads a label as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversion {
    /// A plain number.
    None,
    /// `bytes(x)`.
    Bytes,
    /// `duration(x)`, in seconds.
    Duration,
    /// `duration_seconds(x)`, the same.
    DurationSeconds,
}

/// `| unwrap x`, and the label filters behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct Unwrap {
    /// Where it stands.
    pub span: Span,
    /// The label that holds the number.
    pub label: String,
    /// See [`Conversion`].
    pub conversion: Conversion,
    /// Filters applied after the conversion.
    pub filters: Vec<LabelFilter>,
}

/// `by (...)` or `without (...)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grouping {
    /// Whether `labels` are dropped rather than kept.
    pub without: bool,
    /// The labels.
    pub labels: Vec<String>,
}

/// The functions over a range of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are LogQL's own")]
pub enum RangeOp {
    CountOverTime,
    Rate,
    RateCounter,
    BytesOverTime,
    BytesRate,
    SumOverTime,
    AvgOverTime,
    MinOverTime,
    MaxOverTime,
    StddevOverTime,
    StdvarOverTime,
    QuantileOverTime,
    FirstOverTime,
    LastOverTime,
    AbsentOverTime,
}

/// Every range function with its name.
pub const RANGE_OPS: [(RangeOp, &str); 15] = [
    (RangeOp::CountOverTime, "count_over_time"),
    (RangeOp::Rate, "rate"),
    (RangeOp::RateCounter, "rate_counter"),
    (RangeOp::BytesOverTime, "bytes_over_time"),
    (RangeOp::BytesRate, "bytes_rate"),
    (RangeOp::SumOverTime, "sum_over_time"),
    (RangeOp::AvgOverTime, "avg_over_time"),
    (RangeOp::MinOverTime, "min_over_time"),
    (RangeOp::MaxOverTime, "max_over_time"),
    (RangeOp::StddevOverTime, "stddev_over_time"),
    (RangeOp::StdvarOverTime, "stdvar_over_time"),
    (RangeOp::QuantileOverTime, "quantile_over_time"),
    (RangeOp::FirstOverTime, "first_over_time"),
    (RangeOp::LastOverTime, "last_over_time"),
    (RangeOp::AbsentOverTime, "absent_over_time"),
];

impl RangeOp {
    /// The function's name.
    pub fn as_str(self) -> &'static str {
        RANGE_OPS.iter().find(|(op, _)| *op == self).map_or("", |(_, n)| n)
    }
}

/// The aggregations over series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are LogQL's own")]
pub enum VectorOp {
    Sum,
    Avg,
    Count,
    Min,
    Max,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    ApproxTopk,
    Sort,
    SortDesc,
}

/// Every aggregation with its name.
pub const VECTOR_OPS: [(VectorOp, &str); 12] = [
    (VectorOp::Sum, "sum"),
    (VectorOp::Avg, "avg"),
    (VectorOp::Count, "count"),
    (VectorOp::Min, "min"),
    (VectorOp::Max, "max"),
    (VectorOp::Stddev, "stddev"),
    (VectorOp::Stdvar, "stdvar"),
    (VectorOp::Topk, "topk"),
    (VectorOp::Bottomk, "bottomk"),
    (VectorOp::ApproxTopk, "approx_topk"),
    (VectorOp::Sort, "sort"),
    (VectorOp::SortDesc, "sort_desc"),
];

impl VectorOp {
    /// The operator's name.
    pub fn as_str(self) -> &'static str {
        VECTOR_OPS.iter().find(|(op, _)| *op == self).map_or("", |(_, n)| n)
    }

    /// Whether it takes a number of series as its first argument.
    pub fn takes_count(self) -> bool {
        matches!(self, VectorOp::Topk | VectorOp::Bottomk | VectorOp::ApproxTopk)
    }
}

/// A metric expression and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricExpr {
    /// Where it stands.
    pub span: Span,
    /// What it is.
    pub kind: MetricKind,
}

/// The kinds of metric expressions.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricKind {
    /// `rate({...}[5m])`.
    Range(Box<RangeAggregation>),
    /// `sum by (x) (...)`.
    Vector {
        /// The operator.
        op: VectorOp,
        /// The count of `topk` and its like.
        param: Option<f64>,
        /// `by` or `without`.
        grouping: Option<Grouping>,
        /// What is aggregated.
        expr: Box<MetricExpr>,
    },
    /// `a + b`.
    Binary(Box<Binary>),
    /// A number.
    Literal(f64),
    /// `vector(1)`.
    VectorLiteral(f64),
    /// `label_replace(v, dst, replacement, src, regex)`.
    LabelReplace {
        /// What is relabelled.
        expr: Box<MetricExpr>,
        /// The label to set.
        dst: String,
        /// The replacement, with `$1`.
        replacement: String,
        /// The label to read.
        src: String,
        /// The regex.
        regex: String,
    },
    /// `variants(a, b) of ({...}[5m])`; at the top of a query only.
    Variants(Box<Variants>),
}

/// Several metric expressions about the same lines.
#[derive(Clone, Debug, PartialEq)]
pub struct Variants {
    /// The expressions.
    pub list: Vec<MetricExpr>,
    /// The lines.
    pub of: LogExpr,
    /// The range written behind them, in nanoseconds. The ranges of the expressions are what counts.
    pub range_ns: i64,
    /// `offset` in nanoseconds, may be negative; likewise.
    pub offset_ns: i64,
}

/// A function over a range of lines.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeAggregation {
    /// The function.
    pub op: RangeOp,
    /// The quantile of `quantile_over_time`.
    pub param: Option<f64>,
    /// The lines.
    pub log: LogExpr,
    /// `| unwrap`.
    pub unwrap: Option<Unwrap>,
    /// The range in nanoseconds.
    pub range_ns: i64,
    /// `offset` in nanoseconds, may be negative.
    pub offset_ns: i64,
    /// `by` or `without`.
    pub grouping: Option<Grouping>,
}

/// An operation on two metric expressions.
#[derive(Clone, Debug, PartialEq)]
pub struct Binary {
    /// The operator.
    pub op: BinaryOp,
    /// Where the operator stands.
    pub op_span: Span,
    /// The left side.
    pub lhs: MetricExpr,
    /// The right side.
    pub rhs: MetricExpr,
    /// Whether a comparison was written with `bool`.
    pub return_bool: bool,
    /// `on`, `ignoring`, `group_left`, `group_right`.
    pub matching: VectorMatching,
}
