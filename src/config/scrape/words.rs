//! The closed sets of words in scrape jobs.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::model::labels::{is_legacy_label_name, is_legacy_metric_name};
use crate::wire::exposition::Format;

/// A key that Prometheus has and campanile does not (yet): whatever its value, the check says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsupported;

impl<'de> Deserialize<'de> for Unsupported {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        de::IgnoredAny::deserialize(d).map(|_| Unsupported)
    }
}

impl Serialize for Unsupported {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str("<unsupported>")
    }
}

/// Which metric and label names are valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NameValidation {
    /// Any text.
    #[default]
    Utf8,
    /// Letters, digits, underscores (and colons in metric names).
    Legacy,
}

impl NameValidation {
    /// Whether a label may have this name.
    pub fn is_label_name(self, name: &str) -> bool {
        match self {
            NameValidation::Utf8 => !name.is_empty(),
            NameValidation::Legacy => is_legacy_label_name(name),
        }
    }

    /// Whether a metric may have this name.
    pub fn is_metric_name(self, name: &str) -> bool {
        match self {
            NameValidation::Utf8 => !name.is_empty(),
            NameValidation::Legacy => is_legacy_metric_name(name),
        }
    }
}

/// How a target is asked to write names outside the classic character set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EscapingScheme {
    /// As they are, in quotes.
    #[serde(rename = "allow-utf-8")]
    AllowUtf8,
    /// With underscores.
    #[serde(rename = "underscores")]
    Underscores,
    /// Dots as `_dot_`.
    #[serde(rename = "dots")]
    Dots,
    /// As `U__` with code points.
    #[serde(rename = "values")]
    Values,
}

impl EscapingScheme {
    /// The word in the Accept header.
    pub fn as_str(self) -> &'static str {
        match self {
            EscapingScheme::AllowUtf8 => "allow-utf-8",
            EscapingScheme::Underscores => "underscores",
            EscapingScheme::Dots => "dots",
            EscapingScheme::Values => "values",
        }
    }
}

/// A format and version to ask a target for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ScrapeProtocol {
    /// Protobuf, the only one with native histograms.
    #[serde(rename = "PrometheusProto")]
    PrometheusProto,
    /// Text 0.0.4.
    #[serde(rename = "PrometheusText0.0.4")]
    PrometheusText004,
    /// Text 1.0.0.
    #[serde(rename = "PrometheusText1.0.0")]
    PrometheusText100,
    /// OpenMetrics 0.0.1.
    #[serde(rename = "OpenMetricsText0.0.1")]
    OpenMetricsText001,
    /// OpenMetrics 1.0.0.
    #[serde(rename = "OpenMetricsText1.0.0")]
    OpenMetricsText100,
}

/// The protocols asked for when none are configured, most wanted first.
pub const DEFAULT_PROTOCOLS: [ScrapeProtocol; 4] = [
    ScrapeProtocol::OpenMetricsText100,
    ScrapeProtocol::OpenMetricsText001,
    ScrapeProtocol::PrometheusText100,
    ScrapeProtocol::PrometheusText004,
];

/// The same where native histograms are wanted, which only protobuf has.
pub const PROTOBUF_FIRST_PROTOCOLS: [ScrapeProtocol; 5] = [
    ScrapeProtocol::PrometheusProto,
    ScrapeProtocol::OpenMetricsText100,
    ScrapeProtocol::OpenMetricsText001,
    ScrapeProtocol::PrometheusText100,
    ScrapeProtocol::PrometheusText004,
];

impl ScrapeProtocol {
    /// The format a body in this protocol is read with.
    pub fn format(self) -> Format {
        match self {
            ScrapeProtocol::PrometheusProto => Format::Protobuf,
            ScrapeProtocol::PrometheusText004 | ScrapeProtocol::PrometheusText100 => Format::PrometheusText,
            ScrapeProtocol::OpenMetricsText001 | ScrapeProtocol::OpenMetricsText100 => Format::OpenMetrics,
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            ScrapeProtocol::PrometheusProto => {
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
            }
            ScrapeProtocol::PrometheusText004 => "text/plain;version=0.0.4",
            ScrapeProtocol::PrometheusText100 => "text/plain;version=1.0.0",
            ScrapeProtocol::OpenMetricsText001 => "application/openmetrics-text;version=0.0.1",
            ScrapeProtocol::OpenMetricsText100 => "application/openmetrics-text;version=1.0.0",
        }
    }
}

/// The Accept header for a list of protocols: falling weights from 0.6, then anything, as Prometheus sends it.
pub fn accept_header(protocols: &[ScrapeProtocol], escaping: EscapingScheme) -> String {
    let mut out = String::new();
    let mut weight = 6u32;
    for p in protocols {
        out.push_str(p.media_type());
        if matches!(p, ScrapeProtocol::PrometheusText100 | ScrapeProtocol::OpenMetricsText100) {
            out.push_str(";escaping=");
            out.push_str(escaping.as_str());
        }
        out.push_str(&format!(";q=0.{weight},"));
        weight = weight.saturating_sub(1).max(1);
    }
    out.push_str(&format!("*/*;q=0.{weight}"));
    out
}
