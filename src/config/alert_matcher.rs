//! Matchers of the alertmanager: `team="db"`, `{a="1", b=~"x|y"}`, `"größe"=klein`.
//!
//! Two syntaxes are read. The classic one takes classic label names and any value; only `\n`, `\"` and `\\` are escapes and
//! other backslashes stand for themselves. The newer one takes any UTF-8 names, bare or quoted, and Go's escapes. A text that the
//! classic syntax can read means what it means there, so old files keep their sense.
//!
//! Unlike Prometheus' matchers, a `.` in a regex does not match a newline.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::model::labels::{Labels, is_legacy_label_name};
use crate::model::matcher::MatchOp;
use crate::text::go_regex::GoRegex;
use crate::text::quote::{quote, unquote};

/// One compiled condition on one label; regexes are anchored at both ends; an absent label counts as empty.
#[derive(Clone, Debug)]
pub struct AlertMatcher {
    name: String,
    op: MatchOp,
    value: String,
    regex: Option<GoRegex>,
}

impl AlertMatcher {
    /// Makes a matcher; the error says what is wrong with the name or the regex.
    pub fn new(name: impl Into<String>, op: MatchOp, value: impl Into<String>) -> Result<Self, String> {
        let (name, value) = (name.into(), value.into());
        if name.is_empty() {
            return Err("a matcher needs a label name".to_owned());
        }
        let regex = match op {
            MatchOp::Regex | MatchOp::NotRegex => Some(
                GoRegex::unanchored(&format!("^(?:{value})$"))
                    .map_err(|e| format!("invalid regular expression {value:?}: {e}"))?,
            ),
            MatchOp::Equal | MatchOp::NotEqual => None,
        };
        Ok(AlertMatcher { name, op, value, regex })
    }

    /// The label's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The operator.
    pub fn op(&self) -> MatchOp {
        self.op
    }

    /// The value or the regex as written.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether a label of this value satisfies the matcher.
    pub fn matches(&self, value: &str) -> bool {
        let equal = match &self.regex {
            Some(r) => r.is_match(value),
            None => self.value == value,
        };
        equal != self.op.is_negative()
    }

    /// Whether a label set satisfies the matcher.
    pub fn matches_labels(&self, labels: &Labels) -> bool {
        self.matches(labels.value(&self.name))
    }

    /// The order in which Alertmanager lists matchers in the key of a route.
    pub fn sort_key(&self) -> (&str, &str, u8) {
        let rank = match self.op {
            MatchOp::Equal => 0,
            MatchOp::NotEqual => 1,
            MatchOp::Regex => 2,
            MatchOp::NotRegex => 3,
        };
        (&self.name, &self.value, rank)
    }
}

impl PartialEq for AlertMatcher {
    fn eq(&self, other: &Self) -> bool {
        self.sort_key() == other.sort_key()
    }
}

impl Eq for AlertMatcher {}

/// Writes `name="value"` as the classic syntax reads it; names that it cannot read are quoted.
impl fmt::Display for AlertMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !is_legacy_label_name(&self.name) {
            return write!(f, "{}{}{}", quote(&self.name), self.op.as_str(), quote(&self.value));
        }
        write!(f, "{}{}\"", self.name, self.op.as_str())?;
        for c in self.value.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}

/// Matchers that must all hold, as a list of texts in the file; each text may hold several, in braces or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertMatchers(pub Vec<AlertMatcher>);

impl AlertMatchers {
    /// Whether a label set satisfies all.
    pub fn match_all(&self, labels: &Labels) -> bool {
        self.0.iter().all(|m| m.matches_labels(labels))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de> Deserialize<'de> for AlertMatchers {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let mut all = Vec::new();
        for text in Vec::<String>::deserialize(d)? {
            all.extend(parse_matchers(&text).map_err(de::Error::custom)?);
        }
        Ok(AlertMatchers(all))
    }
}

impl Serialize for AlertMatchers {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(self.0.iter().map(ToString::to_string))
    }
}

/// Reads one text that may hold several matchers, in braces or not, separated by commas.
pub fn parse_matchers(text: &str) -> Result<Vec<AlertMatcher>, String> {
    match classic_list(text) {
        Ok(m) => Ok(m),
        Err(classic) => Utf8Parser::parse(text).map_err(|utf8| {
            // A text that holds nothing of the newer syntax gets the plainer message.
            if text.is_ascii() { classic } else { utf8 }
        }),
    }
}

/// Reads exactly one matcher without braces, as the API's `filter` parameters hold it.
pub fn parse_matcher(text: &str) -> Result<AlertMatcher, String> {
    let trimmed = text.trim();
    if trimmed.starts_with('{') || trimmed.ends_with('}') && !trimmed.ends_with("\\}") && !trimmed.contains('"') {
        return Err(format!("unexpected open or close brace: {text}"));
    }
    classic_one(text).or_else(|classic| match Utf8Parser::parse(text) {
        Ok(mut one) if one.len() == 1 => one.pop().ok_or(classic),
        _ => Err(classic),
    })
}

fn classic_list(text: &str) -> Result<Vec<AlertMatcher>, String> {
    let mut inner = text.trim();
    inner = inner.strip_prefix('{').unwrap_or(inner);
    inner = inner.strip_suffix('}').unwrap_or(inner);
    split_outside_quotes(inner).into_iter().filter(|p| !p.trim().is_empty()).map(classic_one).collect()
}

fn split_outside_quotes(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                parts.push(text.get(start..i).unwrap_or(""));
                start = i + 1;
            }
            _ => {}
        }
    }
    parts.push(text.get(start..).unwrap_or(""));
    parts
}

fn operator(text: &str) -> Option<(MatchOp, &str)> {
    const OPS: [(&str, MatchOp); 4] =
        [("=~", MatchOp::Regex), ("!~", MatchOp::NotRegex), ("!=", MatchOp::NotEqual), ("=", MatchOp::Equal)];
    OPS.iter().find_map(|(s, op)| Some((*op, text.strip_prefix(s)?)))
}

fn classic_one(text: &str) -> Result<AlertMatcher, String> {
    let bad = || format!("bad matcher format: {text}");
    let trimmed = text.trim();
    let end = trimmed.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).ok_or_else(bad)?;
    let (name, rest) = trimmed.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(bad());
    }
    let (op, value) = operator(rest.trim_start()).ok_or_else(bad)?;
    let value = value.trim();
    let quoted = value.starts_with('"');
    let body = value.strip_prefix('"').unwrap_or(value);
    let mut out = String::with_capacity(body.len());
    let (mut escaped, mut closed) = (false, false);
    for c in body.chars() {
        if closed {
            return Err(format!("matcher value contains an unescaped double quote: {value}"));
        }
        match (escaped, c) {
            (true, 'n') => out.push('\n'),
            (true, '"' | '\\') => out.push(c),
            (true, c) => {
                out.push('\\');
                out.push(c);
            }
            (false, '\\') => {}
            (false, '"') if quoted => closed = true,
            (false, '"') => return Err(format!("matcher value contains an unescaped double quote: {value}")),
            (false, c) => out.push(c),
        }
        escaped = !escaped && c == '\\';
    }
    if escaped {
        out.push('\\');
    }
    if quoted && !closed {
        return Err(format!("matcher value is not closed by a double quote: {value}"));
    }
    AlertMatcher::new(name, op, out)
}

/// The newer syntax: a small recursive-free parser over the rest of the text.
struct Utf8Parser<'a> {
    all: &'a str,
    rest: &'a str,
}

impl<'a> Utf8Parser<'a> {
    fn parse(text: &'a str) -> Result<Vec<AlertMatcher>, String> {
        let mut p = Utf8Parser { all: text, rest: text.trim() };
        let braced = p.take('{');
        let mut out = Vec::new();
        loop {
            p.skip_space();
            if p.rest.is_empty() || (braced && p.rest.starts_with('}')) {
                break;
            }
            out.push(p.one()?);
            p.skip_space();
            if !p.take(',') {
                break;
            }
        }
        p.skip_space();
        if braced && !p.take('}') {
            return Err(p.bad("the closing brace is missing"));
        }
        p.skip_space();
        if !p.rest.is_empty() {
            return Err(p.bad("expected a comma or the end"));
        }
        if out.is_empty() && !braced {
            return Err(p.bad("no matcher found"));
        }
        Ok(out)
    }

    fn bad(&self, why: &str) -> String {
        if self.rest.is_empty() {
            format!("bad matcher format: {}: {why}", self.all)
        } else {
            format!("bad matcher format: {}: {why} at {:?}", self.all, self.rest)
        }
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, c: char) -> bool {
        match self.rest.strip_prefix(c) {
            Some(r) => {
                self.rest = r;
                true
            }
            None => false,
        }
    }

    fn one(&mut self) -> Result<AlertMatcher, String> {
        let name = self.word("expected a label name")?;
        self.skip_space();
        let (op, rest) = operator(self.rest).ok_or_else(|| self.bad("expected one of = != =~ !~"))?;
        self.rest = rest;
        self.skip_space();
        let value = self.word("expected a value")?;
        AlertMatcher::new(name, op, value)
    }

    /// A quoted text or a run of characters that mean nothing to the syntax.
    fn word(&mut self, missing: &str) -> Result<String, String> {
        if self.rest.starts_with('"') {
            let mut escaped = false;
            let end = self.rest.char_indices().skip(1).find(|(_, c)| {
                let closes = *c == '"' && !escaped;
                escaped = !escaped && *c == '\\';
                closes
            });
            let (end, _) = end.ok_or_else(|| self.bad("the closing quote is missing"))?;
            let (literal, rest) = self.rest.split_at(end + 1);
            let word = unquote(literal).map_err(|e| self.bad(e.message))?;
            self.rest = rest;
            return Ok(word);
        }
        let end = self.rest.find(|c: char| c.is_whitespace() || "{}!=~,\\\"'`".contains(c)).unwrap_or(self.rest.len());
        if end == 0 {
            return Err(self.bad(missing));
        }
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Ok(word.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_syntaxes() {
        for (text, want) in [
            (r#"team="db""#, r#"team="db""#),
            ("team=db", r#"team="db""#),
            (r#" b =~ "x|y" "#, r#"b=~"x|y""#),
            (r#"{a="1",b!="2"}"#, r#"a="1",b!="2""#),
            (r#"a="with \"quote\"""#, r#"a="with \"quote\"""#),
            (r#"a="comma,brace}""#, r#"a="comma,brace}""#),
            (r#"h=~"web-\d+""#, r#"h=~"web-\\d+""#),
            (r#"a="line\nfeed""#, r#"a="line\nfeed""#),
            (r#"a="""#, r#"a="""#),
            ("a=", r#"a="""#),
            (r#""my.label"="x""#, r#""my.label"="x""#),
            ("größe=klein", "\"größe\"=\"klein\""),
            (r#"{"a.b"="1", c="2"}"#, r#""a.b"="1",c="2""#),
            ("foo=bar🙂baz", "foo=\"bar🙂baz\""),
            ("1a=x", r#""1a"="x""#),
        ] {
            let got = parse_matchers(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            let got = got.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            assert_eq!(got, want, "{text}");
        }
        for bad in ["alertname", "=x", "a=~\"(\"", "a=\"x", "a=\"x\"y\"", "größe", "\"a\"=\"b\" c"] {
            assert!(parse_matchers(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn one_matcher_of_the_api() {
        assert_eq!(parse_matcher("alertname").unwrap_err(), "bad matcher format: alertname");
        assert_eq!(parse_matcher("").unwrap_err(), "bad matcher format: ");
        let braces = r#"{alertname="Disk"}"#;
        assert_eq!(parse_matcher(braces).unwrap_err(), format!("unexpected open or close brace: {braces}"));
        assert_eq!(parse_matcher(r#"path="/a b=\"c\"""#).unwrap().value(), r#"/a b="c""#);
        assert_eq!(parse_matcher("größe=\"x\"").unwrap().name(), "größe");
    }

    #[test]
    fn matches() {
        let l = Labels::from_pairs([("a", "x\ny"), ("b", "web1")]);
        for (text, want) in [
            ("a=~\"x.y\"", false),
            ("b=~\"web\"", false),
            ("b=~\"web.\"", true),
            ("c=\"\"", true),
            ("c!~\".+\"", true),
            ("b!=web1", false),
        ] {
            assert_eq!(parse_matcher(text).unwrap().matches_labels(&l), want, "{text}");
        }
    }
}
