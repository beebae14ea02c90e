//! OpenMetrics text 1.0 and 0.0.1, as strictly as Prometheus reads it (one blank between tokens, `# EOF` at the end).

use crate::model::sample::NORMAL_NAN_BITS;
use crate::model::{MetricType, TimestampMs};
use crate::wire::exposition::lexer::{BraceRules, Cursor, is_metric_start, lossy, scan_braces};
use crate::wire::exposition::number::parse_float;
use crate::wire::exposition::{Entry, ParseError, RawExemplar, Series, labels};

/// See the module.
pub struct OpenMetricsParser<'a> {
    c: Cursor<'a>,
    last_type: MetricType,
    done: bool,
}

#[derive(Clone, Copy)]
enum Word {
    Help,
    Type,
    Unit,
}

impl<'a> OpenMetricsParser<'a> {
    /// A parser at the start of `body`. An empty body is a scrape without samples, as in Prometheus.
    pub fn new(body: &'a [u8]) -> Self {
        OpenMetricsParser { c: Cursor::new(body, 0), last_type: MetricType::Unknown, done: body.is_empty() }
    }

    /// The next entry, or `None` after `# EOF`.
    pub fn next_entry(&mut self) -> Result<Option<Entry<'a>>, ParseError> {
        if self.done {
            return Ok(None);
        }
        match self.c.peek() {
            0 => Err(ParseError::NoEof),
            b'#' => self.metadata(),
            b => {
                if b == b'{' || is_metric_start(b) {
                    self.series().map(|s| Some(Entry::Series(s)))
                } else {
                    Err(self.c.expected("a valid start token", self.c.at))
                }
            }
        }
    }

    fn metadata(&mut self) -> Result<Option<Entry<'a>>, ParseError> {
        let start = self.c.at;
        let rest = self.c.rest();
        let (word, no_name, no_text) = if rest.starts_with(b"# HELP ") {
            (Word::Help, "metric name after HELP", "text in HELP")
        } else if rest.starts_with(b"# TYPE ") {
            (Word::Type, "metric name after TYPE", "text in TYPE")
        } else if rest.starts_with(b"# UNIT ") {
            (Word::Unit, "metric name after UNIT", "text in UNIT")
        } else if let Some(after) = rest.strip_prefix(b"# EOF") {
            self.done = true;
            let after = after.strip_prefix(b"\n").unwrap_or(after);
            return if after.is_empty() { Ok(None) } else { Err(ParseError::AfterEof) };
        } else {
            return Err(self.c.expected("a valid start token", start));
        };
        self.c.at += 7;
        let name_start = self.c.at;
        let name = if self.c.peek() == b'"' { self.c.quoted(false) } else { Some(self.c.metric_name()) };
        let name = name.filter(|_| self.c.at > name_start).ok_or_else(|| self.c.expected(no_name, start))?;
        if self.c.peek() != b' ' {
            return Err(self.c.expected(no_text, start));
        }
        self.c.at += 1;
        let text = self.c.take_line();
        if self.c.peek() != b'\n' {
            return Err(ParseError::NoEof);
        }
        self.c.at += 1;
        let utf8 = |what| std::str::from_utf8(text).map_err(|_| ParseError::Utf8 { what, text: lossy(text) });
        Ok(Some(match word {
            Word::Type => {
                let t = type_word(text).ok_or_else(|| ParseError::Type(lossy(text)))?;
                self.last_type = t;
                Entry::Type(name, t)
            }
            Word::Help => Entry::Help(name, labels::unescape(utf8("help text")?)),
            Word::Unit => {
                let fits = text.is_empty() || name.strip_suffix(text).is_some_and(|n| n.ends_with(b"_"));
                if !fits {
                    return Err(ParseError::Unit { unit: lossy(text), metric: lossy(name) });
                }
                Entry::Unit(name, utf8("unit")?.into())
            }
        }))
    }

    fn series(&mut self) -> Result<Series<'a>, ParseError> {
        let c = &mut self.c;
        let start = c.at;
        let mut named = !c.metric_name().is_empty();
        if c.peek() == b'{' {
            c.at += 1;
            named = scan_braces(c, start, named, BraceRules { loose: false, exemplar: false })?;
        }
        if !named {
            return Err(ParseError::NoName(c.context(start)));
        }
        let raw = c.since(start);
        let value = float(c, start, "value after metric")?;
        let mut timestamp = None;
        if c.peek() == b' ' && !c.rest().starts_with(b" # {") {
            timestamp = Some(seconds(c, start, "timestamp")?);
        }
        let mut exemplar = None;
        if c.rest().starts_with(b" # {") {
            exemplar = Some(read_exemplar(c, start)?);
        }
        line_end(c, start, "next entry after sample")?;
        Ok(Series { raw, value, timestamp, start: None, last_type: self.last_type, exemplar })
    }
}

/// ` # {labels} value [timestamp]`
fn read_exemplar<'a>(c: &mut Cursor<'a>, start: usize) -> Result<RawExemplar<'a>, ParseError> {
    c.at += 3;
    let braces = c.at;
    c.at += 1;
    scan_braces(c, start, true, BraceRules { loose: false, exemplar: true })?;
    let labels = c.since(braces);
    let value = float(c, start, "value after exemplar labels")?;
    let timestamp = if c.peek() == b' ' { Some(seconds(c, start, "exemplar timestamp")?) } else { None };
    Ok(RawExemplar { labels, value, timestamp })
}

/// One blank and a word without blanks.
fn word<'a>(c: &mut Cursor<'a>, start: usize, what: &'static str) -> Result<&'a [u8], ParseError> {
    let text = c.rest().get(1..).unwrap_or_default();
    let len = text.iter().position(|b| matches!(b, b' ' | b'\n')).unwrap_or(text.len());
    if c.peek() != b' ' || len == 0 {
        return Err(c.expected(what, start));
    }
    c.at += 1 + len;
    Ok(text.get(..len).unwrap_or_default())
}

fn float(c: &mut Cursor<'_>, start: usize, what: &'static str) -> Result<f64, ParseError> {
    let text = word(c, start, what)?;
    let v = parse_float(text).map_err(|reason| ParseError::Number { reason, context: c.context(start) })?;
    Ok(if v.is_nan() { f64::from_bits(NORMAL_NAN_BITS) } else { v })
}

/// A timestamp in seconds, cut to milliseconds.
fn seconds(c: &mut Cursor<'_>, start: usize, what: &'static str) -> Result<TimestampMs, ParseError> {
    let value = float(c, start, "timestamp")?;
    if value.is_finite() { Ok((value * 1000.0) as i64) } else { Err(ParseError::Timestamp { what, value }) }
}

fn line_end(c: &mut Cursor<'_>, start: usize, what: &'static str) -> Result<(), ParseError> {
    match c.peek() {
        b'\n' => {
            c.at += 1;
            Ok(())
        }
        0 => Err(ParseError::NoEof),
        _ => Err(c.expected(what, start)),
    }
}

fn type_word(word: &[u8]) -> Option<MetricType> {
    Some(match word {
        b"counter" => MetricType::Counter,
        b"gauge" => MetricType::Gauge,
        b"histogram" => MetricType::Histogram,
        b"gaugehistogram" => MetricType::GaugeHistogram,
        b"summary" => MetricType::Summary,
        b"info" => MetricType::Info,
        b"stateset" => MetricType::StateSet,
        b"unknown" => MetricType::Unknown,
        _ => return None,
    })
}
