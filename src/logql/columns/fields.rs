//! Which labels a parser stage finds in lines of a shape, and which variable holds the value of each.
//!
//! The stage's own parser is run once over the shape with its holes filled in; a value that it finds is a hole, or it stands
//! in the shape itself.

use super::{Shape, ShapeKind, VariableKind};
use crate::logql::ast::Extraction;
use crate::logql::stages::json::{self, JsonError, Step, Value};
use crate::logql::stages::pattern::Pattern;
use crate::logql::stages::{escapes_end, logfmt};

/// Where the value of a label comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// It is the same in all rows.
    Constant(String),
    /// A variable of the line.
    Variable(usize, Decoding),
    /// The name of that place in the set of metadata.
    Metadata(usize),
}

/// How the text of a variable becomes a value, and what it must be like: the parser was run over a filled-in text, and a text
/// that it would read in another way has to be read by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decoding {
    /// As it is.
    Plain,
    /// With the escapes of JSON; it must not end within one, nor hold a quote.
    Escaped,
    /// As it is; without blanks, quotes and `=`.
    Bare,
}

impl Decoding {
    /// The value, or `None` where the line must be read.
    pub fn value<'t>(self, text: &'t str) -> Option<std::borrow::Cow<'t, str>> {
        match self {
            Decoding::Plain => Some(text.into()),
            Decoding::Bare => {
                let odd = |b: u8| b <= b' ' || b == b'=' || b == b'"';
                (!text.bytes().any(odd)).then(|| text.into())
            }
            Decoding::Escaped if !text.contains(['\\', '"']) => Some(text.into()),
            Decoding::Escaped => escapes_end(text).then(|| {
                let mut value = String::with_capacity(text.len());
                json::unescape(text, &mut value);
                value.into()
            }),
        }
    }
}

/// The value of a label in the rows of a shape.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Field {
    /// Where it comes from.
    pub source: Source,
    /// Whether there is no such label where the value is empty.
    pub empty_is_absent: bool,
}

impl Field {
    /// The same everywhere.
    pub fn constant(value: impl Into<String>) -> Self {
        Field { source: Source::Constant(value.into()), empty_is_absent: false }
    }
}

/// Labels in the order in which a parser finds them, with names made valid.
pub type Fields = Vec<(String, Field)>;

/// A shape with its holes filled in.
struct Filled<'s> {
    shape: &'s Shape,
    text: String,
    /// Start and end of each variable.
    holes: Vec<(usize, usize)>,
}

impl<'s> Filled<'s> {
    fn new(shape: &'s Shape) -> Self {
        let mut filled = Filled { shape, text: String::new(), holes: Vec::new() };
        for (i, literal) in shape.literals.iter().enumerate() {
            filled.text.push_str(literal);
            if let Some(kind) = shape.variables.get(i) {
                let start = filled.text.len();
                filled.text.push_str(match kind {
                    VariableKind::JsonNumber => "1",
                    VariableKind::Token => "0",
                    VariableKind::JsonArray => "[]",
                    VariableKind::JsonString
                    | VariableKind::LogfmtBare
                    | VariableKind::LogfmtQuoted
                    | VariableKind::Other => "x",
                });
                filled.holes.push((start, filled.text.len()));
            }
        }
        filled
    }

    /// The hole that a part of the text is; `Err` if it is more or less than a whole hole.
    fn hole(&self, part: &str) -> Result<Option<(usize, VariableKind)>, ()> {
        // An empty text may stand anywhere, and is never a hole.
        if part.is_empty() {
            return Ok(None);
        }
        let start = (part.as_ptr() as usize).checked_sub(self.text.as_ptr() as usize).ok_or(())?;
        let end = start + part.len();
        let found = self.holes.iter().position(|h| *h == (start, end));
        if let Some((i, kind)) = found.and_then(|i| self.shape.variables.get(i).map(|k| (i, *k))) {
            return Ok(Some((i, kind)));
        }
        if self.holes.iter().any(|h| h.0 < end && start < h.1) { Err(()) } else { Ok(None) }
    }

    fn json_source(&self, value: &Value<'_>) -> Option<Source> {
        let (Value::String(part) | Value::Literal(part) | Value::Array(part) | Value::Object(part)) = value else {
            return Some(Source::Constant(String::new()));
        };
        match (self.hole(part).ok()?, value) {
            (Some((i, VariableKind::JsonString)), Value::String(_)) => Some(Source::Variable(i, Decoding::Escaped)),
            (Some((i, VariableKind::JsonNumber)), Value::Literal(_))
            | (Some((i, VariableKind::JsonArray)), Value::Array(_)) => Some(Source::Variable(i, Decoding::Plain)),
            (Some(_), _) => None,
            (None, Value::String(raw)) => {
                let mut text = String::new();
                json::unescape(raw, &mut text);
                Some(Source::Constant(text))
            }
            (None, _) => Some(Source::Constant((*part).to_owned())),
        }
    }
}

/// Collects what the JSON parser finds.
struct Collect<'f, 'w> {
    filled: &'f Filled<'f>,
    wants_prefix: &'w dyn Fn(&str) -> bool,
    fields: Fields,
    unsure: bool,
}

impl json::Sink for Collect<'_, '_> {
    fn wants_prefix(&self, prefix: &str) -> bool {
        (self.wants_prefix)(prefix)
    }

    fn value(&mut self, name: &str, value: &Value<'_>) -> Result<(), JsonError> {
        if matches!(value, Value::String(_) | Value::Literal(_)) && !name.is_empty() {
            match self.filled.json_source(value) {
                Some(source) => self.fields.push((name.to_owned(), Field { source, empty_is_absent: false })),
                None => self.unsure = true,
            }
        }
        Ok(())
    }
}

/// What `| json` finds; `None` if only the lines can tell.
pub fn json_all(shape: &Shape, wants_prefix: &dyn Fn(&str) -> bool) -> Option<Fields> {
    if shape.kind != ShapeKind::Json {
        return None;
    }
    let filled = Filled::new(shape);
    let mut collect = Collect { filled: &filled, wants_prefix, fields: Fields::new(), unsure: false };
    json::walk(&filled.text, &mut collect).ok()?;
    (!collect.unsure).then_some(collect.fields)
}

/// What `| json a="x.y"` finds.
pub fn json_paths(shape: &Shape, paths: &[(String, Vec<Step>)]) -> Option<Fields> {
    // What comes before the brace would be told as an error.
    if shape.kind != ShapeKind::Json || !shape.literals.first()?.starts_with('{') {
        return None;
    }
    let filled = Filled::new(shape);
    let mut fields = Fields::new();
    for (label, path) in paths {
        // What is inside an array is known to the line only.
        for n in 1..path.len() {
            if let Ok(Some(Value::Array(_))) = json::lookup(&filled.text, path.get(..n)?) {
                return None;
            }
        }
        let source = match json::lookup(&filled.text, path) {
            Ok(Some(value)) => filled.json_source(&value)?,
            Ok(None) => Source::Constant(String::new()),
            Err(_) => return None,
        };
        fields.push((label.clone(), Field { source, empty_is_absent: false }));
    }
    Some(fields)
}

/// The pairs of a logfmt shape, keys as they stand.
fn pairs(shape: &Shape, strict: bool) -> Option<Vec<(String, Source)>> {
    if shape.kind != ShapeKind::Logfmt {
        return None;
    }
    let filled = Filled::new(shape);
    let mut found = Vec::new();
    let mut sure = true;
    logfmt::pairs(&filled.text, |pair| {
        match pair {
            Ok(pair) => {
                // A hole in a key, or a value that is part of one, is for the line.
                let source = match (filled.hole(pair.key), filled.hole(pair.value)) {
                    (Ok(None), Ok(None)) => {
                        let mut value = String::new();
                        logfmt::push_value(&pair, &mut value);
                        Some(Source::Constant(value))
                    }
                    (Ok(None), Ok(Some((i, VariableKind::LogfmtBare)))) if !pair.quoted => {
                        Some(Source::Variable(i, Decoding::Bare))
                    }
                    (Ok(None), Ok(Some((i, VariableKind::LogfmtQuoted)))) if pair.quoted => {
                        Some(Source::Variable(i, Decoding::Escaped))
                    }
                    _ => None,
                };
                match source {
                    Some(source) => found.push((pair.key.to_owned(), source)),
                    None => sure = false,
                }
            }
            Err(_) => sure &= !strict,
        }
        sure
    });
    sure.then_some(found)
}

/// What `| logfmt` finds.
pub fn logfmt_all(shape: &Shape, strict: bool, keep_empty: bool) -> Option<Fields> {
    let fields = pairs(shape, strict)?.into_iter().map(|(key, source)| {
        let mut name = String::new();
        json::push_sanitized(&key, true, &mut name);
        (name, Field { source, empty_is_absent: !keep_empty })
    });
    Some(
        fields
            .filter(|(name, f)| !(name.is_empty() || f.empty_is_absent && f.source == Source::Constant(String::new())))
            .collect(),
    )
}

/// What `| logfmt a="x"` finds: in the order of the line, then what is not there.
pub fn logfmt_keys(shape: &Shape, strict: bool, keys: &[Extraction]) -> Option<Fields> {
    let mut fields = Fields::new();
    let mut seen = vec![false; keys.len()];
    for (key, source) in pairs(shape, strict)? {
        for (k, seen) in keys.iter().zip(&mut seen).filter(|(k, seen)| !**seen && k.expression == key) {
            *seen = true;
            fields.push((k.label.clone(), Field { source: source.clone(), empty_is_absent: false }));
        }
    }
    fields.extend(keys.iter().zip(seen).filter(|(_, s)| !s).map(|(k, _)| (k.label.clone(), Field::constant(""))));
    Some(fields)
}

/// What `| pattern` finds in lines whose variables are tokens. A value of several parts is for the line, unless nobody wants it.
pub fn pattern(shape: &Shape, pattern: &Pattern, wants: &dyn Fn(&str) -> bool) -> Option<Fields> {
    let tokens = shape.kind == ShapeKind::Other && shape.variables.iter().all(|v| *v == VariableKind::Token);
    // Then the literals stand where they stand in the filled-in text.
    if !tokens || !pattern.avoids_tokens() {
        return None;
    }
    let filled = Filled::new(shape);
    let mut fields = Fields::new();
    let mut sure = true;
    pattern.captures(&filled.text, |name, part| {
        let source = match filled.hole(part) {
            Ok(Some((i, _))) => Source::Variable(i, Decoding::Plain),
            Ok(None) => Source::Constant(part.to_owned()),
            Err(()) => {
                sure &= !wants(name);
                return;
            }
        };
        fields.push((name.to_owned(), Field { source, empty_is_absent: false }));
    });
    sure.then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(kind: ShapeKind, literals: &[&str], variables: &[VariableKind]) -> Shape {
        let literals = literals.iter().map(|l| (*l).to_owned()).collect();
        Shape { id: 0, kind, literals, variables: variables.to_vec() }
    }

    fn rows(fields: Option<Fields>) -> Option<Vec<String>> {
        let row = |(n, f): (String, Field)| match f.source {
            Source::Constant(c) => format!("{n}='{c}'"),
            Source::Variable(i, d) => format!("{n}={i}{d:?}"),
            Source::Metadata(i) => format!("{n}=m{i}"),
        };
        fields.map(|f| f.into_iter().map(row).collect())
    }

    #[test]
    fn json_shapes() {
        let s = shape(
            ShapeKind::Json,
            &[r#"{"a":""#, r#"","b":{"c-d":"#, r#","t":true,"n":null},"l":"#, "}"],
            &[VariableKind::JsonString, VariableKind::JsonNumber, VariableKind::JsonArray],
        );
        assert_eq!(rows(json_all(&s, &|_| true)).unwrap(), ["a=0Escaped", "b_c_d=1Plain", "b_t='true'"]);
        assert_eq!(rows(json_all(&s, &|p| p == "x")).unwrap(), ["a=0Escaped"]);
        let path = |p: &str| vec![("x".to_owned(), json::parse_path(p).unwrap())];
        for (p, want) in [
            ("a", Some(vec!["x=0Escaped"])),
            (r#"b["c-d"]"#, Some(vec!["x=1Plain"])),
            ("l", Some(vec!["x=2Plain"])),
            ("l[0]", None),
            ("b", None),
            ("b.n", Some(vec!["x=''"])),
            ("z", Some(vec!["x=''"])),
        ] {
            assert_eq!(rows(json_paths(&s, &path(p))), want.map(|w| w.into_iter().map(str::to_owned).collect()), "{p}");
        }
        assert_eq!(json_all(&shape(ShapeKind::Other, &["{}"], &[]), &|_| true), None);
    }

    #[test]
    fn logfmt_shapes() {
        let s = shape(
            ShapeKind::Logfmt,
            &["a.b=", " c=\"", "\" d=\"lit\" e= f"],
            &[VariableKind::LogfmtBare, VariableKind::LogfmtQuoted],
        );
        assert_eq!(rows(logfmt_all(&s, false, false)).unwrap(), ["a_b=0Bare", "c=1Escaped", "d='lit'"]);
        assert_eq!(rows(logfmt_all(&s, true, true)).unwrap(), ["a_b=0Bare", "c=1Escaped", "d='lit'", "e=''", "f=''"]);
        let keys = [("x", "c"), ("y", "z")].map(|(l, e)| Extraction { label: l.to_owned(), expression: e.to_owned() });
        assert_eq!(rows(logfmt_keys(&s, false, &keys)).unwrap(), ["x=1Escaped", "y=''"]);
    }

    #[test]
    fn text_shapes() {
        let s = shape(
            ShapeKind::Other,
            &["", ".", " - [", "/Jan] \"GET /x", " HTTP\" ", " end"],
            &[VariableKind::Token; 5],
        );
        let found =
            |text: &str, wanted: &[&str]| rows(pattern(&s, &Pattern::parser(text).unwrap(), &|n| wanted.contains(&n)));
        assert_eq!(
            found("<ip> - [<ts>] \"<method> <path> <_>\" <status> <rest>", &["status"]).unwrap(),
            ["method='GET'", "status=4Plain", "rest='end'"]
        );
        assert_eq!(found("<ip> - [<_>", &["ip"]), None);
        // Literals that could be part of a token, or be one.
        assert_eq!(found("<_> HTTP\" <status> e<_>", &["status"]), None);
        assert_eq!(found("<_> HTTP1\" <status> <_>", &["status"]), None);
        assert_eq!(found("<_> HTTP\" <status> <_>", &["status"]).unwrap(), ["status=4Plain"]);
        assert_eq!(found("other <a>", &["a"]).unwrap(), Vec::<String>::new());
        let whole = shape(ShapeKind::Other, &["", ""], &[VariableKind::Other]);
        assert_eq!(pattern(&whole, &Pattern::parser("<a> b").unwrap(), &|_| true), None);
    }

    #[test]
    fn values_that_need_their_line() {
        for (decoding, text, want) in [
            (Decoding::Escaped, r#"a\"b"#, Some(r#"a"b"#)),
            (Decoding::Escaped, r"a\", None),
            (Decoding::Escaped, r#"a"b"#, None),
            (Decoding::Bare, "a=b", None),
            (Decoding::Bare, "", Some("")),
            (Decoding::Plain, "a b", Some("a b")),
        ] {
            assert_eq!(decoding.value(text).as_deref(), want, "{text}");
        }
    }
}
