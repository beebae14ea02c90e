//! Which format a body is in, from its Content-Type and the fallback of the configuration.

/// The formats that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Prometheus text, any version.
    PrometheusText,
    /// OpenMetrics text, any version.
    OpenMetrics,
    /// Protobuf messages behind their lengths.
    Protobuf,
}

/// Why no format was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentTypeError {
    /// No header, or an empty one.
    #[error(
        "non-compliant scrape target sending blank Content-Type and no fallback_scrape_protocol specified for target"
    )]
    Blank,
    /// Not a media type.
    #[error("cannot parse Content-Type {0:?} and no fallback_scrape_protocol for target")]
    Malformed(String),
    /// A media type that is no exposition format.
    #[error("received unsupported Content-Type {0:?} and no fallback_scrape_protocol specified for target")]
    Unsupported(String),
}

/// Finds the format of a body. The fallback counts where the header says nothing usable.
pub fn format_of(content_type: Option<&str>, fallback: Option<Format>) -> Result<Format, ContentTypeError> {
    let header = content_type.unwrap_or("");
    if header.trim().is_empty() {
        return fallback.ok_or(ContentTypeError::Blank);
    }
    let Some(media_type) = media_type(header) else {
        return fallback.ok_or_else(|| ContentTypeError::Malformed(header.to_owned()));
    };
    match media_type.as_str() {
        "text/plain" => Ok(Format::PrometheusText),
        "application/openmetrics-text" => Ok(Format::OpenMetrics),
        "application/vnd.google.protobuf" => Ok(Format::Protobuf),
        _ => fallback.ok_or_else(|| ContentTypeError::Unsupported(header.to_owned())),
    }
}

/// The `type/subtype` in front of the parameters, in lower case; `None` if the header is malformed (RFC 9110, 8.3.1).
fn media_type(header: &str) -> Option<String> {
    let mut parts = header.split(';');
    let essence = parts.next()?.trim().to_ascii_lowercase();
    if let Some((kind, subtype)) = essence.split_once('/') {
        if !is_token(kind) || !is_token(subtype) {
            return None;
        }
    } else if !is_token(&essence) {
        return None;
    }
    let parameters: Vec<_> = parts.map(str::trim).collect();
    let last = parameters.len().wrapping_sub(1);
    for (i, p) in parameters.iter().enumerate() {
        // A lone semicolon at the end is fine.
        if p.is_empty() && i == last {
            continue;
        }
        let (name, value) = p.split_once('=')?;
        let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).map_or(value, |_| "quoted");
        if !is_token(name.trim()) || !is_token(value) {
            return None;
        }
    }
    Some(essence)
}

fn is_token(s: &str) -> bool {
    !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
