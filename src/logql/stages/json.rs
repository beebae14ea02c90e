//! `| json`: flattens objects into labels, or picks single values by path.
//!
//! The scanner works from left to right and keeps what it found before any damage, as Loki does: a truncated line still gives
//! its first fields, but nothing of an object that does not end. Nested objects are joined with `_`, arrays and nulls are passed over.

use crate::logql::labels::LineLabels;

/// Deeper objects are passed over; the scanner recurses.
const MAX_DEPTH: usize = 128;

/// A value as it stands in the text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// A string without its quotes, escapes still in place.
    String(&'a str),
    /// A number, `true` or `false`.
    Literal(&'a str),
    /// `null`
    Null,
    /// An object, braces included.
    Object(&'a str),
    /// An array, brackets included.
    Array(&'a str),
}

/// Why a line is no JSON object.
pub type JsonError = &'static str;

/// A position in a JSON text.
pub struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    /// Begins at the front of `text`.
    pub fn new(text: &'a str) -> Self {
        Scanner { text, at: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        self.space();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// The inside of a string whose opening quote is next.
    fn string(&mut self) -> Result<&'a str, JsonError> {
        if !self.take(b'"') {
            return Err("expected a string");
        }
        let start = self.at;
        let bytes = self.text.as_bytes();
        loop {
            let rest = bytes.get(self.at..).unwrap_or_default();
            match memchr::memchr2(b'"', b'\\', rest) {
                Some(i) if rest.get(i) == Some(&b'"') => {
                    let end = self.at + i;
                    self.at = end + 1;
                    return self.text.get(start..end).ok_or("string is not UTF-8");
                }
                Some(i) => self.at += i + 2,
                None => return Err("string is not closed"),
            }
        }
    }

    /// The value that is next. Objects and arrays are only stepped over here, with brackets counted.
    pub fn value(&mut self) -> Result<Value<'a>, JsonError> {
        self.space();
        let start = self.at;
        match self.peek() {
            Some(b'"') => self.string().map(Value::String),
            Some(open @ (b'{' | b'[')) => {
                self.skip_nested()?;
                let text = self.text.get(start..self.at).unwrap_or("");
                Ok(if open == b'{' { Value::Object(text) } else { Value::Array(text) })
            }
            Some(_) => {
                let bytes = self.text.as_bytes();
                while bytes.get(self.at).is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.')) {
                    self.at += 1;
                }
                match self.text.get(start..self.at).unwrap_or("") {
                    "null" => Ok(Value::Null),
                    t @ ("true" | "false") => Ok(Value::Literal(t)),
                    t if t.starts_with(|c: char| c.is_ascii_digit() || c == '-') => Ok(Value::Literal(t)),
                    _ => Err("unknown value type"),
                }
            }
            None => Err("value expected"),
        }
    }

    fn skip_nested(&mut self) -> Result<(), JsonError> {
        let mut depth = 0usize;
        loop {
            match self.peek() {
                Some(b'{' | b'[') => {
                    depth += 1;
                    self.at += 1;
                }
                Some(b'}' | b']') => {
                    depth -= 1;
                    self.at += 1;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                Some(b'"') => {
                    self.string()?;
                }
                Some(_) => self.at += 1,
                None => return Err("value looks like an object or array, but its end is missing"),
            }
        }
    }
}

/// Calls `each` with key (escapes in place) and value for each member of the object at the front of `scanner`, in order.
/// What stands before damage has been given when the error comes.
pub fn members<'a>(
    scanner: &mut Scanner<'a>,
    each: &mut dyn FnMut(&'a str, &mut Scanner<'a>) -> Result<(), JsonError>,
) -> Result<(), JsonError> {
    if !scanner.take(b'{') {
        return Err("the line is no JSON object");
    }
    if scanner.take(b'}') {
        return Ok(());
    }
    loop {
        // A comma before the closing brace is forgiven.
        if scanner.take(b'}') {
            return Ok(());
        }
        let key = scanner.string()?;
        if !scanner.take(b':') {
            return Err("colon missing after a key");
        }
        each(key, scanner)?;
        if scanner.take(b'}') {
            return Ok(());
        }
        if !scanner.take(b',') {
            return Err("comma or closing brace missing");
        }
    }
}

/// Appends a string with its escapes resolved; bad escapes stay as they are.
pub fn unescape(raw: &str, out: &mut String) {
    if !raw.contains('\\') {
        out.push_str(raw);
        return;
    }
    let mut rest = raw;
    while let Some(i) = rest.find('\\') {
        out.push_str(rest.get(..i).unwrap_or(""));
        let after = rest.get(i + 1..).unwrap_or("");
        let mut used = 1;
        match after.as_bytes().first() {
            Some(b'n') => out.push('\n'),
            Some(b't') => out.push('\t'),
            Some(b'r') => out.push('\r'),
            Some(b'b') => out.push('\u{8}'),
            Some(b'f') => out.push('\u{c}'),
            Some(c @ (b'"' | b'\\' | b'/')) => out.push(char::from(*c)),
            Some(b'u') => {
                let (c, n) = unicode_escape(after);
                out.push(c);
                used = n;
            }
            _ => {
                out.push('\\');
                used = 0;
            }
        }
        rest = after.get(used..).unwrap_or("");
    }
    out.push_str(rest);
}

/// The character of `uXXXX`, or of a surrogate pair, and how many bytes it took.
fn unicode_escape(after: &str) -> (char, usize) {
    let unit = |from: usize| after.get(from..from + 4).and_then(|h| u32::from_str_radix(h, 16).ok());
    let Some(high) = unit(1) else { return (char::REPLACEMENT_CHARACTER, 1) };
    if (0xd800..0xdc00).contains(&high)
        && after.get(5..7) == Some("\\u")
        && let Some(low) = unit(7).filter(|l| (0xdc00..0xe000).contains(l))
    {
        let c = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
        return (char::from_u32(c).unwrap_or(char::REPLACEMENT_CHARACTER), 11);
    }
    (char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER), 5)
}

/// Appends a key as a label name: every byte outside `[a-zA-Z0-9_]` becomes `_` (one for each character), a leading digit gets
/// one in front. A key of only such characters or blanks gives nothing.
pub fn push_sanitized(key: &str, prefix_is_empty: bool, out: &mut String) {
    let key = key.trim();
    if key.is_empty() {
        return;
    }
    if prefix_is_empty && key.starts_with(|c: char| c.is_ascii_digit()) {
        out.push('_');
    }
    out.extend(key.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }));
}

/// Ends the walk once all wanted labels are there; no error.
const COMPLETE: JsonError = "complete";

/// What takes the fields of a line.
pub trait Sink {
    /// Whether fields whose names begin like this may be needed.
    fn wants_prefix(&self, prefix: &str) -> bool;

    /// Takes a value that is no object, with its name made valid (empty if nothing is left of it). An error ends the walk.
    fn value(&mut self, name: &str, value: &Value<'_>) -> Result<(), JsonError>;
}

/// Gives all fields of a line in order, those of nested objects with joined names. What stands before damage has been given
/// when the error comes.
pub fn walk(line: &str, sink: &mut impl Sink) -> Result<(), JsonError> {
    object(&mut Scanner::new(line), sink, &mut String::new(), &mut String::new(), 0)
}

/// Puts the wanted fields into labels.
struct Extract<'a> {
    labels: &'a mut LineLabels,
    value: &'a mut String,
}

impl Sink for Extract<'_> {
    fn wants_prefix(&self, prefix: &str) -> bool {
        self.labels.wants_prefix(prefix)
    }

    fn value(&mut self, name: &str, value: &Value<'_>) -> Result<(), JsonError> {
        if !name.is_empty() && self.labels.wants(name) {
            match value {
                Value::String(raw) => {
                    self.value.clear();
                    unescape(raw, self.value);
                    self.labels.extract(name, self.value);
                }
                Value::Literal(text) => {
                    self.labels.extract(name, text);
                }
                Value::Null | Value::Object(_) | Value::Array(_) => {}
            }
        }
        if self.labels.is_complete() { Err(COMPLETE) } else { Ok(()) }
    }
}

/// Extracts the wanted fields of a line. On damage the line is marked, with what was found before it kept.
pub fn extract_all(line: &str, labels: &mut LineLabels, name: &mut String, value: &mut String) {
    let mut key = String::new();
    name.clear();
    let mut sink = Extract { labels, value };
    match object(&mut Scanner::new(line), &mut sink, name, &mut key, 0) {
        Ok(()) | Err(COMPLETE) => {}
        Err(e) => labels.fail("JSONParserErr", e),
    }
}

fn object<'a>(
    scanner: &mut Scanner<'a>,
    sink: &mut impl Sink,
    name: &mut String,
    unescaped: &mut String,
    depth: usize,
) -> Result<(), JsonError> {
    let prefix = name.len();
    let result = members(scanner, &mut |key, scanner| {
        name.truncate(prefix);
        if prefix > 0 {
            name.push('_');
        }
        let before = name.len();
        if key.contains('\\') {
            unescaped.clear();
            unescape(key, unescaped);
            push_sanitized(unescaped, prefix == 0, name);
        } else {
            push_sanitized(key, prefix == 0, name);
        }
        let named = name.len() > before;
        scanner.space();
        if scanner.peek() == Some(b'{') && depth < MAX_DEPTH {
            if !named {
                name.truncate(prefix);
            }
            if !sink.wants_prefix(name) {
                return scanner.skip_nested();
            }
            // An object that does not end gives nothing. Inside one that does, all brackets are closed.
            if depth == 0 {
                Scanner { text: scanner.text, at: scanner.at }.skip_nested()?;
            }
            return object(scanner, sink, name, unescaped, depth + 1);
        }
        let found = scanner.value()?;
        sink.value(if named { name } else { "" }, &found)
    });
    name.truncate(prefix);
    result
}

/// The keys that lead to the value which [`extract_all`] gives as the label `name`.
pub fn path_of(line: &str, name: &str) -> Option<Vec<String>> {
    let mut path = Vec::new();
    let mut found = None;
    // What stands before damage counts; the error was told when the line was parsed.
    let _damage = search(&mut Scanner::new(line), name, "", &mut path, &mut found);
    found
}

fn search<'a>(
    scanner: &mut Scanner<'a>,
    name: &str,
    prefix: &str,
    path: &mut Vec<String>,
    found: &mut Option<Vec<String>>,
) -> Result<(), JsonError> {
    members(scanner, &mut |raw, scanner| {
        let mut key = String::new();
        unescape(raw, &mut key);
        let mut label = prefix.to_owned();
        if !prefix.is_empty() {
            label.push('_');
        }
        push_sanitized(&key, prefix.is_empty(), &mut label);
        path.push(key);
        scanner.space();
        if scanner.peek() == Some(b'{') && path.len() < MAX_DEPTH {
            search(scanner, name, &label, path, found)?;
        } else {
            scanner.value()?;
            if found.is_none() && (label == name || name.strip_suffix("_extracted") == Some(label.as_str())) {
                *found = Some(path.clone());
            }
        }
        path.pop();
        Ok(())
    })
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A member of an object.
    Key(String),
    /// An element of an array.
    Index(usize),
}

/// Reads a path such as `a.b[0]["c d"]`.
pub fn parse_path(expression: &str) -> Result<Vec<Step>, String> {
    let bad = |what: &str| format!("cannot parse expression [{expression}]: {what}");
    let mut steps = Vec::new();
    let mut rest = expression.trim();
    if rest.is_empty() {
        return Err(bad("it is empty"));
    }
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            if inside.starts_with('"') {
                let end = inside.get(1..).and_then(|t| t.find('"')).ok_or_else(|| bad("a quote is not closed"))? + 2;
                let key =
                    crate::text::quote::unquote(inside.get(..end).unwrap_or("")).map_err(|e| bad(&e.to_string()))?;
                steps.push(Step::Key(key));
                rest = inside
                    .get(end..)
                    .and_then(|t| t.strip_prefix(']'))
                    .ok_or_else(|| bad("a bracket is not closed"))?;
            } else {
                let end = inside.find(']').ok_or_else(|| bad("a bracket is not closed"))?;
                let index =
                    inside.get(..end).and_then(|n| n.parse().ok()).ok_or_else(|| bad("an index is no number"))?;
                steps.push(Step::Index(index));
                rest = inside.get(end + 1..).unwrap_or("");
            }
        } else {
            let from = match rest.strip_prefix('.') {
                Some(after) if !steps.is_empty() => after,
                Some(_) => return Err(bad("it begins with a dot")),
                None if steps.is_empty() => rest,
                None => return Err(bad("a dot or bracket is missing")),
            };
            let end = from.find(['.', '[']).unwrap_or(from.len());
            let key = from.get(..end).unwrap_or("");
            if key.is_empty() || key.contains(|c: char| c != '_' && c != '-' && !c.is_alphanumeric()) {
                return Err(bad("a field name is wanted"));
            }
            steps.push(Step::Key(key.to_owned()));
            rest = from.get(end..).unwrap_or("");
        }
    }
    Ok(steps)
}

/// The value at a path, if it is there. Damage behind it is not looked at.
pub fn lookup<'a>(line: &'a str, path: &[Step]) -> Result<Option<Value<'a>>, JsonError> {
    let Some((step, rest)) = path.split_first() else {
        return Scanner::new(line).value().map(Some);
    };
    let mut scanner = Scanner::new(line);
    let mut found = None;
    match step {
        Step::Key(wanted) => {
            let mut key_text = String::new();
            let result = members(&mut scanner, &mut |key, scanner| {
                let matches = if key.contains('\\') {
                    key_text.clear();
                    unescape(key, &mut key_text);
                    key_text == *wanted
                } else {
                    key == wanted
                };
                scanner.space();
                if matches {
                    let from = scanner.text.get(scanner.at..).unwrap_or("");
                    found = Some(lookup(from, rest)?);
                    // Any error ends the walk; this one is not shown.
                    return Err("found");
                }
                scanner.value().map(|_| ())
            });
            match (found, result) {
                (Some(v), _) => Ok(v),
                (None, r) => r.map(|()| None),
            }
        }
        Step::Index(wanted) => {
            if !scanner.take(b'[') {
                return Ok(None);
            }
            for i in 0.. {
                if scanner.take(b']') {
                    return Ok(None);
                }
                if i == *wanted {
                    let from = scanner.text.get(scanner.at..).unwrap_or("");
                    return lookup(from.trim_start(), rest);
                }
                scanner.value()?;
                if !scanner.take(b',') {
                    return Ok(None);
                }
            }
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;

    fn fields(line: &str) -> String {
        let mut labels = LineLabels::default();
        labels.reset(&Labels::empty(), &Labels::empty());
        extract_all(line, &mut labels, &mut String::new(), &mut String::new());
        labels.collect(|n, _| n != crate::logql::labels::ERROR_DETAILS).to_string()
    }

    #[test]
    fn flattens_and_forgives() {
        for (line, want) in [
            (r#"{"a":"x","b":{"c":1.50,"d":[1]},"e":null,"f":true}"#, r#"{a="x", b_c="1.50", f="true"}"#),
            (
                r#"{"level":"info","msg":"t","user":{"id":7,"na"#,
                r#"{__error__="JSONParserErr", level="info", msg="t"}"#,
            ),
            (r#"{"a":1,}"#, r#"{a="1"}"#),
            (r#"{"a":1} tail"#, r#"{a="1"}"#),
            (r#"{"a":"x" "b":1}"#, r#"{__error__="JSONParserErr", a="x"}"#),
            ("[1]", r#"{__error__="JSONParserErr"}"#),
            (r#"{"http.status-code":200,"0a":1,"mü":2,"":3,"  ":4}"#, r#"{_0a="1", http_status_code="200", m_="2"}"#),
            (r#"{"u":"caf\u00e9 \ud83d\ude00\n"}"#, "{u=\"café 😀\\n\"}"),
            ("{}", "{}"),
        ] {
            assert_eq!(fields(line), want, "{line}");
        }
    }

    #[test]
    fn paths() {
        let line = r#"{"a":{"b":[1,{"c":"x"}],"d.e":true},"s":"q"}"#;
        for (path, want) in [
            ("a.b[1].c", Some(Value::String("x"))),
            ("a.b[0]", Some(Value::Literal("1"))),
            (r#"a["d.e"]"#, Some(Value::Literal("true"))),
            ("a.b[9]", None),
            ("nope", None),
            ("a.b", Some(Value::Array(r#"[1,{"c":"x"}]"#))),
        ] {
            assert_eq!(lookup(line, &parse_path(path).unwrap()), Ok(want), "{path}");
        }
        for bad in ["", "a[", ".a", "a..b", "a b", "a[x]"] {
            assert!(parse_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn deep_nesting_does_not_overflow() {
        let line = "{\"a\":".repeat(100_000);
        assert!(fields(&line).contains("JSONParserErr"));
    }
}
