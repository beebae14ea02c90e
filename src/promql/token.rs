//! The tokens of PromQL: what they are, which words are more than names, and how messages call them.

use crate::promql::ast::{AggregateOp, BinaryOp};
use crate::text::quote::quote;
use crate::text::span::Span;

/// The words that mean something besides aggregations and word operators. All are read in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are PromQL's own")]
pub enum Keyword {
    Offset,
    Smoothed,
    Anchored,
    By,
    Without,
    On,
    Ignoring,
    GroupLeft,
    GroupRight,
    Fill,
    FillLeft,
    FillRight,
    Bool,
    Start,
    End,
    Step,
    Range,
    MinOf,
    MaxOf,
}

impl Keyword {
    /// Whether the word may stand as a metric name at the start of a selector.
    fn is_metric_name(self) -> bool {
        !matches!(self, Keyword::On | Keyword::Ignoring | Keyword::GroupLeft | Keyword::GroupRight | Keyword::Bool)
    }

    /// Whether the word is written like a function (`start()`), not like a modifier.
    fn is_call_like(self) -> bool {
        matches!(self, Keyword::Start | Keyword::End | Keyword::Step | Keyword::Range | Keyword::MinOf | Keyword::MaxOf)
    }
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// The end of the text.
    Eof,
    /// The lexer could not go on; the message is in [`crate::promql::lex::Tokens::error`].
    Error,
    /// `,`
    Comma,
    /// `:` inside square brackets.
    Colon,
    /// `(`
    LeftParen,
    /// `)`
    RightParen,
    /// `{`
    LeftBrace,
    /// `}`
    RightBrace,
    /// `[`
    LeftBracket,
    /// `]`
    RightBracket,
    /// `=`
    Assign,
    /// `=~`
    EqualRegex,
    /// `!~`
    NotEqualRegex,
    /// `@`
    At,
    /// An operator; `!=` is also the matcher's.
    Operator(BinaryOp),
    /// An aggregation.
    Aggregate(AggregateOp),
    /// A keyword.
    Keyword(Keyword),
    /// A word without a colon.
    Identifier,
    /// A word with a colon.
    MetricIdentifier,
    /// A number, `Inf` and `NaN` included.
    Number,
    /// A duration such as `1h30m`.
    Duration,
    /// A string in any of the three quotings, quotes included.
    String,
}

/// A token and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Where it stands.
    pub span: Span,
}

/// How an operator or aggregation is written, also in messages.
pub fn operator_text(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "+",
        BinaryOp::Sub => "-",
        BinaryOp::Mul => "*",
        BinaryOp::Div => "/",
        BinaryOp::Mod => "%",
        BinaryOp::Pow => "^",
        BinaryOp::Atan2 => "atan2",
        BinaryOp::Equal => "==",
        BinaryOp::NotEqual => "!=",
        BinaryOp::Greater => ">",
        BinaryOp::Less => "<",
        BinaryOp::GreaterEqual => ">=",
        BinaryOp::LessEqual => "<=",
        BinaryOp::And => "and",
        BinaryOp::Or => "or",
        BinaryOp::Unless => "unless",
        BinaryOp::TrimUpper => "</",
        BinaryOp::TrimLower => ">/",
    }
}

/// How an aggregation is written.
pub fn aggregate_text(op: AggregateOp) -> &'static str {
    match op {
        AggregateOp::Sum => "sum",
        AggregateOp::Avg => "avg",
        AggregateOp::Count => "count",
        AggregateOp::Min => "min",
        AggregateOp::Max => "max",
        AggregateOp::Group => "group",
        AggregateOp::Stddev => "stddev",
        AggregateOp::Stdvar => "stdvar",
        AggregateOp::Topk => "topk",
        AggregateOp::Bottomk => "bottomk",
        AggregateOp::CountValues => "count_values",
        AggregateOp::Quantile => "quantile",
        AggregateOp::Limitk => "limitk",
        AggregateOp::LimitRatio => "limit_ratio",
    }
}

/// The meaning of a word, if it is not just a name.
pub(super) fn word_kind(word: &str) -> Option<TokenKind> {
    use TokenKind::{Aggregate, Keyword as Kw, Operator};
    // No keyword is longer; names mostly are, and skip the lowering.
    if word.len() > 12 {
        return None;
    }
    Some(match word.to_ascii_lowercase().as_str() {
        "and" => Operator(BinaryOp::And),
        "or" => Operator(BinaryOp::Or),
        "unless" => Operator(BinaryOp::Unless),
        "atan2" => Operator(BinaryOp::Atan2),
        "sum" => Aggregate(AggregateOp::Sum),
        "avg" => Aggregate(AggregateOp::Avg),
        "count" => Aggregate(AggregateOp::Count),
        "min" => Aggregate(AggregateOp::Min),
        "max" => Aggregate(AggregateOp::Max),
        "group" => Aggregate(AggregateOp::Group),
        "stddev" => Aggregate(AggregateOp::Stddev),
        "stdvar" => Aggregate(AggregateOp::Stdvar),
        "topk" => Aggregate(AggregateOp::Topk),
        "bottomk" => Aggregate(AggregateOp::Bottomk),
        "count_values" => Aggregate(AggregateOp::CountValues),
        "quantile" => Aggregate(AggregateOp::Quantile),
        "limitk" => Aggregate(AggregateOp::Limitk),
        "limit_ratio" => Aggregate(AggregateOp::LimitRatio),
        "offset" => Kw(Keyword::Offset),
        "smoothed" => Kw(Keyword::Smoothed),
        "anchored" => Kw(Keyword::Anchored),
        "by" => Kw(Keyword::By),
        "without" => Kw(Keyword::Without),
        "on" => Kw(Keyword::On),
        "ignoring" => Kw(Keyword::Ignoring),
        "group_left" => Kw(Keyword::GroupLeft),
        "group_right" => Kw(Keyword::GroupRight),
        "fill" => Kw(Keyword::Fill),
        "fill_left" => Kw(Keyword::FillLeft),
        "fill_right" => Kw(Keyword::FillRight),
        "bool" => Kw(Keyword::Bool),
        "start" => Kw(Keyword::Start),
        "end" => Kw(Keyword::End),
        "step" => Kw(Keyword::Step),
        "range" => Kw(Keyword::Range),
        "min_of" => Kw(Keyword::MinOf),
        "max_of" => Kw(Keyword::MaxOf),
        "inf" | "nan" => TokenKind::Number,
        _ => return None,
    })
}

impl TokenKind {
    /// Whether a selector may begin with this token as the metric's name.
    pub fn is_metric_name(self) -> bool {
        match self {
            TokenKind::Identifier | TokenKind::MetricIdentifier | TokenKind::Aggregate(_) => true,
            TokenKind::Operator(op) => matches!(op, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless),
            TokenKind::Keyword(k) => k.is_metric_name(),
            _ => false,
        }
    }

    /// Whether the token can name a label in `by (...)` and its like.
    pub fn is_label_name(self) -> bool {
        matches!(
            self,
            TokenKind::Identifier
                | TokenKind::MetricIdentifier
                | TokenKind::Aggregate(_)
                | TokenKind::Keyword(_)
                | TokenKind::Operator(BinaryOp::And | BinaryOp::Or | BinaryOp::Unless | BinaryOp::Atan2)
        )
    }

    /// How messages call the token, whose text is given.
    pub fn describe(self, text: &str) -> String {
        match self {
            TokenKind::Eof => "end of input".to_owned(),
            TokenKind::Error => "error".to_owned(),
            TokenKind::Identifier => format!("identifier {}", quote(text)),
            TokenKind::MetricIdentifier => format!("metric identifier {}", quote(text)),
            TokenKind::Number => format!("number {}", shortened(text)),
            TokenKind::Duration => format!("duration {}", shortened(text)),
            TokenKind::String => format!("string {}", shortened(text)),
            TokenKind::Keyword(k) if k.is_call_like() => quote(text),
            TokenKind::Keyword(_) => format!("<{text}>"),
            TokenKind::Operator(_) | TokenKind::At | TokenKind::EqualRegex | TokenKind::NotEqualRegex => {
                format!("<op:{text}>")
            }
            TokenKind::Aggregate(_) => format!("<aggr:{text}>"),
            TokenKind::Comma
            | TokenKind::Colon
            | TokenKind::LeftParen
            | TokenKind::RightParen
            | TokenKind::LeftBrace
            | TokenKind::RightBrace
            | TokenKind::LeftBracket
            | TokenKind::RightBracket
            | TokenKind::Assign => quote(text),
        }
    }
}

/// Quotes a text, of which only the first ten characters are shown.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(10) {
        Some((end, _)) => format!("{}...", quote(text.get(..end).unwrap_or(text))),
        None => quote(text),
    }
}
