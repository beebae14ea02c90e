//! Splits LogQL into tokens. Words are not sorted into keywords and identifiers here: the parser knows from the place.

use std::borrow::Cow;

use crate::logql::parse::ParseError;
use crate::text::duration;
use crate::text::quote::unquote;
use crate::text::span::Span;

/// A token and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Token<'a> {
    /// Where it stands.
    pub span: Span,
    /// What it is.
    pub kind: TokenKind<'a>,
}

/// The kinds of tokens.
#[derive(Clone, Debug, PartialEq)]
pub enum TokenKind<'a> {
    /// A word.
    Word(&'a str),
    /// A string, unquoted.
    Text(String),
    /// A number.
    Number(f64),
    /// A duration in nanoseconds.
    Duration(i64),
    /// A size in bytes.
    Bytes(u64),
    /// `[5m]`, in nanoseconds.
    Range(i64),
    /// `--strict`.
    Flag(&'a str),
    /// An operator or bracket.
    Symbol(&'static str),
    /// The end of the query.
    End,
}

impl TokenKind<'_> {
    /// The token as Loki's messages name it.
    pub fn describe(&self) -> Cow<'static, str> {
        match self {
            TokenKind::Word(w) => match w.to_ascii_lowercase().as_str() {
                k @ ("unwrap" | "offset" | "by" | "without" | "bool" | "json" | "logfmt" | "regexp" | "pattern"
                | "unpack" | "line_format" | "label_format" | "drop" | "keep" | "on" | "ignoring" | "or"
                | "and" | "unless") => Cow::Owned(k.to_owned()),
                _ => Cow::Borrowed("IDENTIFIER"),
            },
            TokenKind::Text(_) => Cow::Borrowed("STRING"),
            TokenKind::Number(_) => Cow::Borrowed("NUMBER"),
            TokenKind::Duration(_) => Cow::Borrowed("DURATION"),
            TokenKind::Bytes(_) => Cow::Borrowed("BYTES"),
            TokenKind::Range(_) => Cow::Borrowed("RANGE"),
            TokenKind::Flag(_) => Cow::Borrowed("PARSER_FLAG"),
            TokenKind::Symbol(s) => Cow::Borrowed(s),
            TokenKind::End => Cow::Borrowed("$end"),
        }
    }
}

/// Longest first, so that `|=` is not read as `|`.
const SYMBOLS: [&str; 28] = [
    "==", "=~", "!=", "!~", "!>", "|=", "|~", "|>", ">=", "<=", "=", ">", "<", "|", "{", "}", "(", ")", ",", "+", "-",
    "*", "/", "%", "^", ".", "]", "[",
];

/// All tokens of `source`, an [`TokenKind::End`] last.
pub fn tokens(source: &str) -> Result<Vec<Token<'_>>, ParseError> {
    let mut out = Vec::new();
    let mut at = 0;
    loop {
        let rest = source.get(at..).unwrap_or("");
        let Some(c) = rest.chars().next() else {
            out.push(Token { span: Span::new(at, at), kind: TokenKind::End });
            return Ok(out);
        };
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        if c == '#' {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        }
        let (kind, len) = token(source, at, rest, c)?;
        out.push(Token { span: Span::new(at, at + len), kind });
        at += len;
    }
}

fn token<'a>(source: &'a str, at: usize, rest: &'a str, first: char) -> Result<(TokenKind<'a>, usize), ParseError> {
    let fail = |message: String| ParseError::at(source, Span::new(at, at + 1), message);
    match first {
        '"' | '`' => {
            let len = string_len(rest, first).ok_or_else(|| fail("literal not terminated".to_owned()))?;
            let literal = rest.get(..len).unwrap_or("");
            let text = unquote(literal).map_err(|e| fail(format!("invalid string: {e}")))?;
            Ok((TokenKind::Text(text), len))
        }
        '[' => {
            let len = rest.find(']').ok_or_else(|| fail("missing closing ']' in duration".to_owned()))? + 1;
            let inside = rest.get(1..len - 1).unwrap_or("");
            let ns = parse_duration_ns(inside.trim())
                .ok_or_else(|| fail(format!("not a valid duration string: {inside:?}")))?;
            Ok((TokenKind::Range(ns), len))
        }
        '0'..='9' => Ok(number(rest, &fail)?),
        '.' if rest.as_bytes().get(1).is_some_and(u8::is_ascii_digit) => Ok(number(rest, &fail)?),
        '-' if rest.starts_with("--strict") => Ok((TokenKind::Flag("--strict"), "--strict".len())),
        '-' if rest.starts_with("--keep-empty") => Ok((TokenKind::Flag("--keep-empty"), "--keep-empty".len())),
        c if c == '_' || c.is_alphabetic() => {
            let len = rest.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(rest.len());
            Ok((TokenKind::Word(rest.get(..len).unwrap_or("")), len))
        }
        _ => match SYMBOLS.iter().find(|s| rest.starts_with(**s)) {
            Some(s) => Ok((TokenKind::Symbol(s), s.len())),
            None => Err(fail(format!("unexpected character {first:?}"))),
        },
    }
}

/// The length of the string literal at the front, quotes included.
fn string_len(rest: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (i, c) in rest.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' && quote == '"' {
            escaped = true;
        } else if c == quote {
            return Some(i + 1);
        } else if c == '\n' && quote == '"' {
            return None;
        }
    }
    None
}

/// A number, or a duration or size that begins with one.
fn number<'a>(rest: &'a str, fail: &dyn Fn(String) -> ParseError) -> Result<(TokenKind<'a>, usize), ParseError> {
    let end = rest
        .char_indices()
        .find(|(_, c)| !c.is_ascii_digit() && *c != '.' && !"nuµmshdwyBikKMGTP".contains(*c))
        .map_or(rest.len(), |(i, _)| i);
    let word = rest.get(..end).unwrap_or("");
    if word.bytes().any(|b| !b.is_ascii_digit() && b != b'.') {
        if let Some(ns) = parse_duration_ns(word) {
            return Ok((TokenKind::Duration(ns), end));
        }
        if let Some(b) = parse_bytes(word) {
            return Ok((TokenKind::Bytes(b), end));
        }
    }
    let bytes = rest.as_bytes();
    let digits = |from: usize| bytes.iter().skip(from).take_while(|b| b.is_ascii_digit()).count();
    if rest.starts_with("0x") || rest.starts_with("0X") {
        let len = bytes.iter().skip(2).take_while(|b| b.is_ascii_hexdigit()).count();
        let value = rest.get(2..2 + len).and_then(|h| u64::from_str_radix(h, 16).ok());
        return match value {
            Some(v) => Ok((TokenKind::Number(v as f64), 2 + len)),
            None => Err(fail("invalid hexadecimal number".to_owned())),
        };
    }
    let mut len = digits(0);
    if bytes.get(len) == Some(&b'.') {
        len += 1 + digits(len + 1);
    }
    if matches!(bytes.get(len), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(len + 1), Some(b'+' | b'-')));
        let exponent = digits(len + 1 + sign);
        if exponent > 0 {
            len += 1 + sign + exponent;
        }
    }
    match rest.get(..len).and_then(|n| n.parse().ok()) {
        Some(v) => Ok((TokenKind::Number(v), len)),
        None => Err(fail("invalid number".to_owned())),
    }
}

/// Reads a duration in nanoseconds: Prometheus' form first, else Go's (`1.5h`, `300us`, `-1m`).
pub fn parse_duration_ns(text: &str) -> Option<i64> {
    if let Ok(ms) = duration::parse_ms(text) {
        return ms.checked_mul(1_000_000);
    }
    parse_go_duration_ns(text)
}

/// Reads Go's `time.ParseDuration` form: decimal numbers with units ns, us, µs, ms, s, m, h, in any order, maybe signed.
pub fn parse_go_duration_ns(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0f64;
    let mut exact: i64 = 0;
    while !rest.is_empty() {
        let number_len = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let (number, tail) = rest.split_at_checked(number_len)?;
        let unit_len = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(unit_len)?;
        let factor: i64 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        exact = exact.checked_add(whole.checked_mul(factor)?)?;
        if !fraction.is_empty() {
            total += format!("0.{fraction}").parse::<f64>().ok()? * factor as f64;
        }
        rest = tail;
    }
    let sum = exact.checked_add(total as i64)?;
    Some(if negative { -sum } else { sum })
}

/// Reads a size as the library behind Loki does: `1.5MB` counts in thousands, `1MiB` in 1024s, units in any case, `B` optional.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let end = text.bytes().take_while(|b| b.is_ascii_digit() || matches!(b, b'.' | b',')).count();
    let (number, unit) = text.split_at_checked(end)?;
    let number: f64 = number.replace(',', "").parse().ok()?;
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "t" | "tb" => 1e12,
        "p" | "pb" => 1e15,
        "e" | "eb" => 1e18,
        "ki" | "kib" => 1024.0,
        "mi" | "mib" => 1024f64.powi(2),
        "gi" | "gib" => 1024f64.powi(3),
        "ti" | "tib" => 1024f64.powi(4),
        "pi" | "pib" => 1024f64.powi(5),
        "ei" | "eib" => 1024f64.powi(6),
        _ => return None,
    };
    let bytes = number * factor;
    (bytes < 1.8e19).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes() {
        for (text, want) in [
            ("5m", Some(300_000_000_000)),
            ("1h30m", Some(5_400_000_000_000)),
            ("1.5h", Some(5_400_000_000_000)),
            ("300us", Some(300_000)),
            ("-1m", Some(-60_000_000_000)),
            ("1d", Some(86_400_000_000_000)),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(parse_duration_ns(text), want, "{text}");
        }
        for (text, want) in [("5B", Some(5)), ("1kB", Some(1000)), ("1.5KiB", Some(1536)), ("2", Some(2)), ("x", None)]
        {
            assert_eq!(parse_bytes(text), want, "{text}");
        }
    }

    #[test]
    fn splits() {
        let kinds: Vec<_> = tokens("{a=\"b\"} |= `x` != 5m 1.5e3 20MB [1h] # c\n--strict")
            .unwrap()
            .into_iter()
            .map(|t| t.kind)
            .collect();
        use TokenKind::*;
        assert_eq!(
            kinds,
            [
                Symbol("{"),
                Word("a"),
                Symbol("="),
                Text("b".into()),
                Symbol("}"),
                Symbol("|="),
                Text("x".into()),
                Symbol("!="),
                Duration(300_000_000_000),
                Number(1500.0),
                Bytes(20_000_000),
                Range(3_600_000_000_000),
                Flag("--strict"),
                End
            ]
        );
        assert!(tokens("\"abc").is_err() && tokens("[5").is_err() && tokens("§").is_err());
    }
}
