//! Prometheus' text format 0.0.4, and 1.0.0 with quoted names (prometheus.io/docs/instrumenting/exposition_formats).

use crate::model::sample::NORMAL_NAN_BITS;
use crate::model::{MetricType, TimestampMs};
use crate::wire::exposition::lexer::{BraceRules, Cursor, lossy, scan_braces};
use crate::wire::exposition::number::{parse_digits, parse_float, simple_prefix};
use crate::wire::exposition::{Entry, ParseError, Series, labels};

/// See the module.
pub struct PrometheusTextParser<'a> {
    c: Cursor<'a>,
    last_type: MetricType,
}

impl<'a> PrometheusTextParser<'a> {
    /// A parser at the start of `body`.
    pub fn new(body: &'a [u8]) -> Self {
        PrometheusTextParser { c: Cursor::new(body, b'\n'), last_type: MetricType::Unknown }
    }

    /// The next entry, or `None` at the end. Comments and blank lines are passed over.
    pub fn next_entry(&mut self) -> Result<Option<Entry<'a>>, ParseError> {
        self.next_entry_expecting(&[])
    }

    /// The same; if the next series is named by the bytes `expected`, which were [`Series::raw`] before, they are not taken apart again.
    pub fn next_entry_expecting(&mut self, expected: &[u8]) -> Result<Option<Entry<'a>>, ParseError> {
        loop {
            self.c.skip_blanks();
            if self.c.at >= self.c.body.len() {
                return Ok(None);
            }
            match self.c.peek() {
                b'\n' => self.c.at += 1,
                b'#' => {
                    if let Some(entry) = self.comment()? {
                        return Ok(Some(entry));
                    }
                }
                _ => return self.series(expected).map(|s| Some(Entry::Series(s))),
            }
        }
    }

    /// A line that starts with `#`: metadata, or words for people.
    fn comment(&mut self) -> Result<Option<Entry<'a>>, ParseError> {
        let start = self.c.at;
        self.c.at += 1;
        let blank = matches!(self.c.peek(), b' ' | b'\t');
        self.c.skip_blanks();
        let rest = self.c.rest();
        let keyword = |word: &[u8]| blank && rest.starts_with(word) && matches!(rest.get(4), Some(b' ' | b'\t'));
        let (is_type, what) = if keyword(b"HELP") {
            (false, "metric name after HELP")
        } else if keyword(b"TYPE") {
            (true, "metric name after TYPE")
        } else {
            self.c.take_line();
            return Ok(None);
        };
        self.c.at += 4;
        self.c.skip_blanks();
        let name = if self.c.peek() == b'"' { self.c.quoted(false) } else { Some(self.c.metric_name()) };
        let name = name
            .filter(|n| !n.is_empty() || self.c.since(start).ends_with(b"\""))
            .ok_or_else(|| self.c.expected(what, start))?;
        // One byte between the name and the text is passed over, whatever it is.
        let text = self.c.take_line().get(1..).unwrap_or_default();
        self.c.at += 1;
        if is_type {
            let t = type_word(text).ok_or_else(|| ParseError::Type(lossy(text)))?;
            self.last_type = t;
            return Ok(Some(Entry::Type(name, t)));
        }
        let text = std::str::from_utf8(text).map_err(|_| ParseError::Utf8 { what: "help text", text: lossy(text) })?;
        Ok(Some(Entry::Help(name, labels::unescape_with(text, false))))
    }

    fn series(&mut self, expected: &[u8]) -> Result<Series<'a>, ParseError> {
        let c = &mut self.c;
        let start = c.at;
        let mut raw_end = start;
        let mut named = false;
        // Of a bare name the labels may follow behind blanks.
        let ends = |rest: &[u8]| matches!(rest, [b' ', next, ..] if !matches!(next, b' ' | b'\t' | b'{'));
        if !expected.is_empty() && c.rest().strip_prefix(expected).is_some_and(ends) {
            named = true;
            c.at += expected.len();
            raw_end = c.at;
            c.skip_blanks();
        } else if c.peek() != b'{' {
            if c.metric_name().is_empty() {
                return Err(c.expected("a valid start token", start));
            }
            named = true;
            raw_end = c.at;
            c.skip_blanks();
        }
        if c.peek() == b'{' {
            c.at += 1;
            named = scan_braces(c, start, named, BraceRules { loose: true, exemplar: false })?;
            raw_end = c.at;
            c.skip_blanks();
        }
        if !named {
            return Err(ParseError::NoName(c.context(start)));
        }
        let raw = c.body.get(start..raw_end).unwrap_or_default();
        let value = value(c, start)?;
        let timestamp = timestamp(c, start)?;
        Ok(Series { raw, value, timestamp, start: None, last_type: self.last_type, exemplar: None })
    }
}

fn ends_value(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | b'{')
}

fn value(c: &mut Cursor<'_>, start: usize) -> Result<f64, ParseError> {
    let rest = c.rest();
    if let Some((v, used)) = simple_prefix(rest)
        && rest.get(used).is_none_or(|b| ends_value(*b))
    {
        c.at += used;
        return Ok(v);
    }
    let len = rest.iter().position(|b| ends_value(*b)).unwrap_or(rest.len());
    if len == 0 {
        return Err(c.expected("value after metric", start));
    }
    c.at += len;
    let v = parse_float(rest.get(..len).unwrap_or_default())
        .map_err(|reason| ParseError::Number { reason, context: c.context(start) })?;
    Ok(if v.is_nan() { f64::from_bits(NORMAL_NAN_BITS) } else { v })
}

/// What may follow the value: a timestamp, then the end of the line, which is taken.
fn timestamp(c: &mut Cursor<'_>, start: usize) -> Result<Option<TimestampMs>, ParseError> {
    c.skip_blanks();
    let mut timestamp = None;
    if c.peek() != b'\n' {
        let rest = c.rest();
        let len = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        if len == 0 {
            return Err(c.expected("timestamp or new record", start));
        }
        c.at += len;
        let t = parse_digits(rest.get(..len).unwrap_or_default())
            .map_err(|reason| ParseError::Number { reason, context: c.context(start) })?;
        timestamp = Some(t);
        c.skip_blanks();
        if c.peek() != b'\n' {
            return Err(c.expected("next entry after timestamp", start));
        }
    }
    c.at += 1;
    Ok(timestamp)
}

fn type_word(word: &[u8]) -> Option<MetricType> {
    Some(match word {
        b"counter" => MetricType::Counter,
        b"gauge" => MetricType::Gauge,
        b"histogram" => MetricType::Histogram,
        b"summary" => MetricType::Summary,
        b"untyped" => MetricType::Unknown,
        _ => return None,
    })
}

/// Keeps the entry type small enough to be returned by value on the hot path.
const _: () = assert!(std::mem::size_of::<Option<Entry<'static>>>() <= 128);
