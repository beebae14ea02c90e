//! Functions on text.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::{register, text, whole};
use crate::text::go_regex::GoRegex;
use crate::text::go_template::{FuncMap, Value};

/// Reads base64 with padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The most text that `repeat` and `indent` make; output is bounded anyway, this keeps memory flat on the way.
const MAX_TEXT: usize = 1 << 20;

pub(super) fn add(map: &mut FuncMap) {
    for (name, f) in [
        ("ToLower", (|s| s.to_lowercase()) as fn(&str) -> String),
        ("lower", |s| s.to_lowercase()),
        ("ToUpper", upper),
        ("upper", upper),
        ("TrimSpace", |s| s.trim().to_owned()),
        ("trim", |s| s.trim().to_owned()),
        ("title", title),
        ("b64enc", |s| BASE64.encode(s)),
        ("urlencode", |s| form_urlencoded::byte_serialize(s.as_bytes()).collect()),
    ] {
        let g = crate::text::go_template::value::Func::new(move |args| match args {
            [_] => Ok(Value::str(f(text(args, 0)?))),
            _ => Err(format!("wrong number of args for {name}: want 1 got {}", args.len())),
        });
        map.insert(name.to_owned(), g);
    }
    register(map, "b64dec", Some(1), |a| {
        let bytes = BASE64.decode(text(a, 0)?).map_err(|e| format!("illegal base64 data: {e}"))?;
        Ok(Value::str(String::from_utf8_lossy(&bytes)))
    });
    register(map, "urldecode", Some(1), |a| {
        let decoded = form_urlencoded::parse(format!("x={}", text(a, 0)?.replace('&', "%26")).as_bytes())
            .next()
            .map(|(_, v)| v.into_owned());
        Ok(Value::str(decoded.unwrap_or_default()))
    });
    // The argument orders differ: the capitalised ones are Go's, the others are made for pipelines.
    register(map, "Replace", Some(4), |a| {
        let (s, from, to) = (text(a, 0)?, text(a, 1)?, text(a, 2)?);
        Ok(Value::str(match usize::try_from(whole(a, 3)) {
            Ok(n) => s.replacen(from, to, n),
            Err(_) => s.replace(from, to),
        }))
    });
    register(map, "replace", Some(3), |a| Ok(Value::str(text(a, 2)?.replace(text(a, 0)?, text(a, 1)?))));
    register(map, "Trim", Some(2), |a| Ok(Value::str(text(a, 0)?.trim_matches(among(text(a, 1)?)))));
    register(map, "TrimLeft", Some(2), |a| Ok(Value::str(text(a, 0)?.trim_start_matches(among(text(a, 1)?)))));
    register(map, "TrimRight", Some(2), |a| Ok(Value::str(text(a, 0)?.trim_end_matches(among(text(a, 1)?)))));
    register(map, "trimAll", Some(2), |a| Ok(Value::str(text(a, 1)?.trim_matches(among(text(a, 0)?)))));
    register(map, "TrimPrefix", Some(2), |a| prefix(text(a, 0)?, text(a, 1)?));
    register(map, "trimPrefix", Some(2), |a| prefix(text(a, 1)?, text(a, 0)?));
    register(map, "TrimSuffix", Some(2), |a| suffix(text(a, 0)?, text(a, 1)?));
    register(map, "trimSuffix", Some(2), |a| suffix(text(a, 1)?, text(a, 0)?));
    register(map, "contains", Some(2), |a| Ok(Value::Bool(text(a, 1)?.contains(text(a, 0)?))));
    register(map, "hasPrefix", Some(2), |a| Ok(Value::Bool(text(a, 1)?.starts_with(text(a, 0)?))));
    register(map, "hasSuffix", Some(2), |a| Ok(Value::Bool(text(a, 1)?.ends_with(text(a, 0)?))));
    register(map, "trunc", Some(2), |a| {
        let (n, s) = (whole(a, 0), text(a, 1)?);
        let len = s.chars().count() as i64;
        Ok(Value::str(if n < 0 { characters(s, len + n, len) } else { characters(s, 0, n) }))
    });
    register(map, "substr", Some(3), |a| {
        let (start, end, s) = (whole(a, 0), whole(a, 1), text(a, 2)?);
        let len = s.chars().count() as i64;
        Ok(Value::str(if start < 0 {
            characters(s, 0, end)
        } else if end < 0 || end > len {
            characters(s, start, len)
        } else {
            characters(s, start, end)
        }))
    });
    register(map, "alignLeft", Some(2), |a| Ok(Value::str(align(whole(a, 0), text(a, 1)?, true))));
    register(map, "alignRight", Some(2), |a| Ok(Value::str(align(whole(a, 0), text(a, 1)?, false))));
    register(map, "repeat", Some(2), |a| {
        let s = text(a, 1)?;
        let n = usize::try_from(whole(a, 0)).unwrap_or(0);
        if s.len().saturating_mul(n) > MAX_TEXT {
            return Err(format!("repeat makes more than {MAX_TEXT} bytes"));
        }
        Ok(Value::str(s.repeat(n)))
    });
    register(map, "indent", Some(2), |a| indent(whole(a, 0), text(a, 1)?).map(Value::str));
    register(map, "nindent", Some(2), |a| Ok(Value::str(format!("\n{}", indent(whole(a, 0), text(a, 1)?)?))));
    register(map, "default", Some(2), |a| {
        let given = a.get(1).filter(|v| v.truth());
        Ok(given.or(a.first()).cloned().unwrap_or(Value::Nil))
    });
    register(map, "count", Some(2), |a| {
        let regex = GoRegex::unanchored(text(a, 0)?).map_err(|e| e.to_string())?;
        Ok(Value::Int(regex.regex().find_iter(text(a, 1)?).count() as i64))
    });
    register(map, "regexReplaceAll", Some(3), |a| {
        let regex = GoRegex::unanchored(text(a, 0)?).map_err(|e| e.to_string())?;
        Ok(Value::str(regex.regex().replace_all(text(a, 1)?, text(a, 2)?)))
    });
    register(map, "regexReplaceAllLiteral", Some(3), |a| {
        let regex = GoRegex::unanchored(text(a, 0)?).map_err(|e| e.to_string())?;
        Ok(Value::str(regex.regex().replace_all(text(a, 1)?, regex::NoExpand(text(a, 2)?))))
    });
    register(map, "fromJson", Some(1), |a| {
        // What is no JSON is no value, so that a template can ask `if`.
        Ok(serde_json::from_str(text(a, 0)?).map_or(Value::Nil, |parsed: serde_json::Value| from_json(&parsed)))
    });
}

/// Upper case character by character, as Go does: `ß` stays.
fn upper(s: &str) -> String {
    s.chars()
        .map(|c| {
            let mut up = c.to_uppercase();
            match (up.next(), up.next()) {
                (Some(u), None) => u,
                _ => c,
            }
        })
        .collect()
}

/// The first letter of each word in upper case.
fn title(s: &str) -> String {
    let mut start = true;
    s.chars()
        .flat_map(|c| {
            let out: Vec<char> = if start { c.to_uppercase().collect() } else { vec![c] };
            start = !(c.is_alphanumeric() || c == '_' || c == '\'');
            out
        })
        .collect()
}

fn among(set: &str) -> impl Fn(char) -> bool + Copy + '_ {
    move |c| set.contains(c)
}

fn prefix(s: &str, p: &str) -> Result<Value, String> {
    Ok(Value::str(s.strip_prefix(p).unwrap_or(s)))
}

fn suffix(s: &str, p: &str) -> Result<Value, String> {
    Ok(Value::str(s.strip_suffix(p).unwrap_or(s)))
}

/// The characters from `start` to before `end`.
fn characters(s: &str, start: i64, end: i64) -> String {
    let start = usize::try_from(start).unwrap_or(0);
    let end = usize::try_from(end).unwrap_or(0);
    s.chars().take(end).skip(start).collect()
}

/// Pads with blanks to `n` characters, or cuts: at the end when aligned left, at the front when aligned right.
fn align(n: i64, s: &str, left: bool) -> String {
    let n = usize::try_from(n).unwrap_or(0).min(MAX_TEXT);
    let len = s.chars().count();
    match (left, len >= n) {
        (true, true) => s.chars().take(n).collect(),
        (false, true) => s.chars().skip(len - n).collect(),
        (true, false) => format!("{s}{}", " ".repeat(n - len)),
        (false, false) => format!("{}{s}", " ".repeat(n - len)),
    }
}

fn indent(n: i64, s: &str) -> Result<String, String> {
    let pad = " ".repeat(usize::try_from(n).unwrap_or(0).min(1000));
    let out = format!("{pad}{}", s.replace('\n', &format!("\n{pad}")));
    if out.len() > MAX_TEXT { Err(format!("indent makes more than {MAX_TEXT} bytes")) } else { Ok(out) }
}

/// A JSON value as Go's `encoding/json` decodes it: all numbers are floats.
fn from_json(v: &serde_json::Value) -> Value {
    match v {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(b) => Value::Bool(*b),
        serde_json::Value::Number(n) => Value::Float(n.as_f64().unwrap_or(f64::NAN)),
        serde_json::Value::String(s) => Value::str(s),
        serde_json::Value::Array(a) => Value::list(a.iter().map(from_json).collect()),
        serde_json::Value::Object(o) => Value::map(o.iter().map(|(k, v)| (k.clone(), from_json(v)))),
    }
}
