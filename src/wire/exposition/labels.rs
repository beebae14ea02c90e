//! Takes the raw text of a series apart into its labels.

use std::borrow::Cow;

use crate::model::labels::{BUCKET_LABEL, METRIC_NAME};
use crate::model::{Labels, MetricType};
use crate::wire::exposition::lexer::{Cursor, lossy};
use crate::wire::exposition::number::{canonical_float, parse_float};

/// The label of a summary's quantile.
const QUANTILE_LABEL: &str = "quantile";
/// OpenMetrics 1.0 allows so many characters in all names and values of an exemplar together.
const EXEMPLAR_MAX_CHARS: usize = 128;

/// One label, borrowed from the body where nothing is escaped.
pub type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// Why the labels of a series cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// A name or value that is not UTF-8.
    #[error("invalid UTF-8 label {0:?}")]
    Utf8(String),
    /// A name that stands twice.
    #[error("label name {0:?} is not unique: invalid sample")]
    Duplicate(String),
    /// An empty metric name or label name.
    #[error("invalid metric name or label names: {0}")]
    EmptyName(String),
    /// Not the text of a series; the parser gives no such text.
    #[error("not the text of a series: {0:?}")]
    Malformed(String),
}

fn malformed(raw: &[u8]) -> LabelError {
    LabelError::Malformed(lossy(raw))
}

fn text(bytes: &[u8]) -> Result<Cow<'_, str>, LabelError> {
    std::str::from_utf8(bytes).map(unescape).map_err(|_| LabelError::Utf8(lossy(bytes)))
}

/// Replaces `\"`, `\\` and `\n`; other escapes stay as they are.
pub fn unescape(s: &str) -> Cow<'_, str> {
    unescape_with(s, true)
}

pub(super) fn unescape_with(s: &str, quotes: bool) -> Cow<'_, str> {
    if memchr::memchr(b'\\', s.as_bytes()).is_none() {
        return Cow::Borrowed(s);
    }
    let mut out = String::with_capacity(s.len());
    let mut chars = s.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.clone().next() {
            Some('\\') => out.push('\\'),
            Some('n') => out.push('\n'),
            Some('"') if quotes => out.push('"'),
            _ => {
                out.push('\\');
                continue;
            }
        }
        chars.next();
    }
    Cow::Owned(out)
}

/// Reads the labels of a series into `out` (emptied first): sorted by name, `__name__` among them. Labels with an empty value
/// are kept: with `honor_labels` they keep the target's label away; storing leaves them out. `last_type` decides whether `le` and `quantile` are rewritten as canonical floats, as Prometheus does.
pub fn parse<'a>(raw: &'a [u8], last_type: MetricType, out: &mut Vec<Pair<'a>>) -> Result<(), LabelError> {
    out.clear();
    let mut c = Cursor::new(raw, 0);
    c.skip_blanks();
    let name = c.metric_name();
    if !name.is_empty() {
        out.push((Cow::Borrowed(METRIC_NAME), text(name)?));
    }
    c.skip_blanks();
    match c.peek() {
        0 => {}
        b'{' => {
            c.at += 1;
            braces(&mut c, out)?;
        }
        _ => return Err(malformed(raw)),
    }
    let canonical = match last_type {
        MetricType::Histogram => Some(BUCKET_LABEL),
        MetricType::Summary => Some(QUANTILE_LABEL),
        MetricType::Unknown
        | MetricType::Counter
        | MetricType::Gauge
        | MetricType::GaugeHistogram
        | MetricType::Info
        | MetricType::StateSet => None,
    };
    for (n, v) in out.iter_mut() {
        if canonical == Some(&**n)
            && let Ok(f) = parse_float(v.as_bytes())
        {
            *v = Cow::Owned(canonical_float(f));
        }
    }
    finish(out)
}

/// Reads `name="value",...}` after the opening brace; a lone quoted text is the metric name.
fn braces<'a>(c: &mut Cursor<'a>, out: &mut Vec<Pair<'a>>) -> Result<(), LabelError> {
    loop {
        while matches!(c.peek(), b' ' | b'\t' | b',') {
            c.at += 1;
        }
        let name = match c.peek() {
            b'}' => return Ok(()),
            b'"' => c.quoted(false).ok_or_else(|| malformed(c.body))?,
            _ => {
                let start = c.at;
                while !matches!(c.peek(), b'=' | b' ' | b'\t' | b'}' | b',' | 0) {
                    c.at += 1;
                }
                c.since(start)
            }
        };
        c.skip_blanks();
        if c.peek() != b'=' {
            out.push((Cow::Borrowed(METRIC_NAME), text(name)?));
            if matches!(c.peek(), b',' | b'}') {
                continue;
            }
            return Err(malformed(c.body));
        }
        c.at += 1;
        c.skip_blanks();
        if c.peek() != b'"' {
            return Err(malformed(c.body));
        }
        let value = c.quoted(false).ok_or_else(|| malformed(c.body))?;
        out.push((text(name)?, text(value)?));
    }
}

fn finish(out: &mut Vec<Pair<'_>>) -> Result<(), LabelError> {
    out.sort_by(|a, b| a.0.cmp(&b.0));
    if let Some((name, _)) = out.windows(2).find_map(|w| match w {
        [a, b] if a.0 == b.0 => Some(a),
        _ => None,
    }) {
        return Err(LabelError::Duplicate(name.clone().into_owned()));
    }
    if out.iter().any(|(n, v)| n.is_empty() || (n == METRIC_NAME && v.is_empty())) {
        let shown = Labels::from_pairs(out.iter().map(|(n, v)| (n.as_ref(), v.as_ref())));
        return Err(LabelError::EmptyName(shown.to_string()));
    }
    Ok(())
}

/// Reads the labels of an exemplar (`{...}`, braces included); of equal names the last wins. `Ok(None)` if they are longer than
/// OpenMetrics allows: such an exemplar is refused, its sample is not.
pub fn parse_exemplar(raw: &[u8]) -> Result<Option<Labels>, LabelError> {
    let mut pairs = Vec::new();
    let mut c = Cursor::new(raw, 0);
    if c.peek() != b'{' {
        return Err(malformed(raw));
    }
    c.at = 1;
    braces(&mut c, &mut pairs)?;
    let chars: usize = pairs.iter().map(|(n, v)| n.chars().count() + v.chars().count()).sum();
    if chars > EXEMPLAR_MAX_CHARS {
        return Ok(None);
    }
    Ok(Some(Labels::from_pairs(pairs)))
}
