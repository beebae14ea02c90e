//! The formats in which targets expose metrics. A parser borrows from the body and yields one entry at a time.
//!
//! A series comes as the raw text of `name{labels}`, checked but not taken apart, so that a scraper can look it up in its
//! cache; [`labels::parse`] takes it apart for the few that are new.

pub mod content_type;
pub mod labels;
mod lexer;
pub mod number;
mod openmetrics;
mod prometheus_text;
pub mod protobuf;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use crate::model::{FloatHistogram, MetricType, TimestampMs};
use crate::wire::protobuf::ProtobufError;

pub use content_type::{Format, format_of};
pub use openmetrics::OpenMetricsParser;
pub use prometheus_text::PrometheusTextParser;

/// One thing a body says.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry<'a> {
    /// `# TYPE name type`; the name as written, quotes taken off.
    Type(&'a [u8], MetricType),
    /// `# HELP name text`, unescaped.
    Help(&'a [u8], Cow<'a, str>),
    /// `# UNIT name unit` (OpenMetrics).
    Unit(&'a [u8], Cow<'a, str>),
    /// A sample.
    Series(Series<'a>),
    /// A native histogram (protobuf).
    Histogram(Box<HistogramSeries<'a>>),
}

/// A line with a sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Series<'a> {
    /// The text of `name{labels}`.
    pub raw: &'a [u8],
    /// The value; every NaN is the ordinary one, so that a target cannot write staleness markers.
    pub value: f64,
    /// The timestamp of the line, if it has one.
    pub timestamp: Option<TimestampMs>,
    /// When the counter began, where the format says so (protobuf).
    pub start: Option<TimestampMs>,
    /// The type given last, on which the spelling of `le` and `quantile` depends (see [`labels::parse`]).
    pub last_type: MetricType,
    /// The exemplar of the line (OpenMetrics).
    pub exemplar: Option<RawExemplar<'a>>,
}

/// A native histogram of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramSeries<'a> {
    /// The text of `name{labels}`, as text formats would write it.
    pub raw: &'a [u8],
    /// The sample.
    pub histogram: Cow<'a, FloatHistogram>,
    /// Its timestamp, if it has one.
    pub timestamp: Option<TimestampMs>,
    /// When it began to count, if the target says so.
    pub start: Option<TimestampMs>,
    /// Its exemplars, oldest first; all have a time.
    pub exemplars: Vec<RawExemplar<'a>>,
}

/// An exemplar whose labels are still text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RawExemplar<'a> {
    /// The text between the braces, both included; [`labels::parse_exemplar`] reads it.
    pub labels: &'a [u8],
    /// The observed value.
    pub value: f64,
    /// When it was observed.
    pub timestamp: Option<TimestampMs>,
}

/// Why a body cannot be read. The words stay near those of Prometheus, because people search for them.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ParseError {
    /// Something else stands where `what` should.
    #[error("expected {what}, got {got:?} while parsing: {context:?}")]
    Expected {
        /// What should be there.
        what: &'static str,
        /// What is there.
        got: String,
        /// The line up to there.
        context: String,
    },
    /// A number that is none.
    #[error("{reason} while parsing: {context:?}")]
    Number {
        /// What is wrong with it.
        reason: number::NumberError,
        /// The line up to there.
        context: String,
    },
    /// A word that is no type in this format.
    #[error("invalid metric type {0:?}")]
    Type(String),
    /// A unit that is not the end of the name.
    #[error("unit {unit:?} not a suffix of metric {metric:?}")]
    Unit {
        /// The unit.
        unit: String,
        /// The metric.
        metric: String,
    },
    /// Text that is not UTF-8.
    #[error("{what} {text:?} is not valid utf-8")]
    Utf8 {
        /// Where it stands.
        what: &'static str,
        /// The text, with what cannot be shown replaced.
        text: String,
    },
    /// Braces without a metric name in front of or inside them.
    #[error("metric name not set while parsing: {0:?}")]
    NoName(String),
    /// A second metric name inside the braces.
    #[error("metric name already set while parsing: {0:?}")]
    SecondName(String),
    /// A timestamp that is no point in time.
    #[error("invalid {what} {value}")]
    Timestamp {
        /// Which one.
        what: &'static str,
        /// What was read.
        value: f64,
    },
    /// A protobuf body that is none.
    #[error("cannot read the protobuf body: {0}")]
    Protobuf(#[from] ProtobufError),
    /// An OpenMetrics body that stops early.
    #[error("data does not end with # EOF")]
    NoEof,
    /// An OpenMetrics body that goes on after its end.
    #[error("unexpected data after # EOF")]
    AfterEof,
}

/// A parser of one of the formats.
pub enum Parser<'a> {
    /// Prometheus text 0.0.4 and 1.0.0.
    Text(PrometheusTextParser<'a>),
    /// OpenMetrics text.
    OpenMetrics(OpenMetricsParser<'a>),
    /// Protobuf, read already.
    Protobuf(protobuf::ProtobufEntries<'a>),
}

impl<'a> Parser<'a> {
    /// A parser for a body in `format`. A protobuf body is read into `decoded`, from which its entries borrow.
    pub fn new(
        body: &'a [u8],
        format: Format,
        histograms: protobuf::Histograms,
        decoded: &'a mut protobuf::DecodedBody,
    ) -> Result<Self, ParseError> {
        Ok(match format {
            Format::PrometheusText => Parser::Text(PrometheusTextParser::new(body)),
            Format::OpenMetrics => Parser::OpenMetrics(OpenMetricsParser::new(body)),
            Format::Protobuf => {
                *decoded = protobuf::decode(body, histograms)?;
                Parser::Protobuf(protobuf::ProtobufEntries::new(decoded))
            }
        })
    }

    /// The next entry, or `None` at the end. After an error nothing sensible follows.
    pub fn next_entry(&mut self) -> Result<Option<Entry<'a>>, ParseError> {
        self.next_entry_expecting(&[])
    }

    /// The same; `expected` is what [`Series::raw`] of the next series may be, so that it is found faster.
    pub fn next_entry_expecting(&mut self, expected: &[u8]) -> Result<Option<Entry<'a>>, ParseError> {
        match self {
            Parser::Text(p) => p.next_entry_expecting(expected),
            Parser::OpenMetrics(p) => p.next_entry(),
            Parser::Protobuf(p) => Ok(p.next_entry()),
        }
    }
}
