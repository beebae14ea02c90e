//! The functions that every template of Go has.

use std::cmp::Ordering;

use super::printf;
use super::value::{List, Value};

const NAMES: [&str; 19] = [
    "and", "call", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or", "print", "printf",
    "println", "slice", "urlquery",
];

/// Whether the language itself has a function of that name.
pub(super) fn is_builtin(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Calls a function of the language; `None` if there is none of that name.
pub(super) fn call_builtin(name: &str, args: &[Value]) -> Option<Result<Value, String>> {
    Some(match name {
        "not" => one(name, args).map(|v| Value::Bool(!v.truth())),
        "len" => one(name, args).and_then(len),
        "index" => index(args),
        "slice" => slice(args),
        "call" => match args {
            [Value::Func(f), rest @ ..] => f.call(rest),
            [other, ..] => Err(format!("non-function {} of type {}", printf::format_value(other), other.type_name())),
            [] => Err("call of nil".to_owned()),
        },
        "print" => Ok(printf::sprint(args).into()),
        "println" => Ok(printf::sprintln(args).into()),
        "printf" => match args.split_first() {
            Some((format, rest)) => match format.as_str() {
                Some(f) => Ok(printf::sprintf(f, rest).into()),
                None => Err(wrong_type("string", format)),
            },
            None => Err("wrong number of args for printf: want at least 1 got 0".to_owned()),
        },
        "html" => Ok(escape_html(&joined(args)).into()),
        "js" => Ok(escape_js(&joined(args)).into()),
        "urlquery" => Ok(escape_query(&joined(args)).into()),
        "eq" => eq(args).map(Value::Bool),
        "ne" => two(args).and_then(|(a, b)| Ok(Value::Bool(!equal(a, b)?))),
        "lt" => two(args).and_then(|(a, b)| Ok(Value::Bool(less(a, b)?))),
        "le" => two(args).and_then(|(a, b)| Ok(Value::Bool(less(a, b)? || equal(a, b)?))),
        "gt" => two(args).and_then(|(a, b)| Ok(Value::Bool(!(less(a, b)? || equal(a, b)?)))),
        "ge" => two(args).and_then(|(a, b)| Ok(Value::Bool(!less(a, b)?))),
        _ => return None,
    })
}

/// The message for an argument of the wrong type.
pub(super) fn wrong_type(want: &str, got: &Value) -> String {
    format!("wrong type for value; expected {want}; got {}", got.type_name())
}

/// The message for the wrong number of arguments.
pub(super) fn wrong_count(name: &str, want: usize, got: usize) -> String {
    format!("wrong number of args for {name}: want {want} got {got}")
}

fn one<'a>(name: &str, args: &'a [Value]) -> Result<&'a Value, String> {
    match args {
        [v] => Ok(v),
        _ => Err(wrong_count(name, 1, args.len())),
    }
}

fn two(args: &[Value]) -> Result<(&Value, &Value), String> {
    match args {
        [a, b] => Ok((a, b)),
        [_] | [] => Err("missing argument for comparison".to_owned()),
        _ => Err(format!("wrong number of args: want 2 got {}", args.len())),
    }
}

fn len(v: &Value) -> Result<Value, String> {
    let n = match (v, v.as_list(), v.as_map()) {
        (Value::Str(s) | Value::Safe(_, s), _, _) => s.len(),
        (_, Some(l), _) => l.len(),
        (_, _, Some(m)) => m.len(),
        (Value::Nil, _, _) => return Err("len of nil pointer".to_owned()),
        _ => return Err(format!("len of type {}", v.type_name())),
    };
    Ok(Value::Int(i64::try_from(n).unwrap_or(i64::MAX)))
}

fn index(args: &[Value]) -> Result<Value, String> {
    let (first, keys) = args.split_first().ok_or("wrong number of args for index: want at least 1 got 0")?;
    let mut value = first.clone();
    for key in keys {
        value = if let Some(map) = value.as_map() {
            let key = key.as_str().ok_or_else(|| format!("value has type {}; should be string", key.type_name()))?;
            map.get(key).cloned().unwrap_or_else(|| value.zero_of_map())
        } else if let Some(list) = value.as_list() {
            position(key, list.len(), false)
                .and_then(|i| list.get(i).cloned().ok_or(format!("index out of range: {i}")))?
        } else if let Value::Str(s) = &value {
            let i = position(key, s.len(), false)?;
            Value::Int(i64::from(s.as_bytes().get(i).copied().unwrap_or(0)))
        } else if let Value::Nil = value {
            return Err("index of untyped nil".to_owned());
        } else {
            return Err(format!("can't index item of type {}", value.type_name()));
        };
    }
    Ok(value)
}

/// An index as a number inside `len`, which itself is allowed where a slice ends.
fn position(key: &Value, len: usize, or_end: bool) -> Result<usize, String> {
    let Value::Int(i) = key else {
        return Err(format!("cannot index slice/array with type {}", key.type_name()));
    };
    usize::try_from(*i)
        .ok()
        .filter(|i| *i < len || (or_end && *i == len))
        .ok_or_else(|| format!("index out of range: {i}"))
}

fn slice(args: &[Value]) -> Result<Value, String> {
    let (value, bounds) = args.split_first().ok_or("wrong number of args for slice: want at least 1 got 0")?;
    let len = match (value, value.as_list()) {
        (Value::Str(s), _) => s.len(),
        (_, Some(l)) => l.len(),
        _ => return Err(format!("can't slice item of type {}", value.type_name())),
    };
    if bounds.len() > 3 || (bounds.len() == 3 && value.as_str().is_some()) {
        return Err(format!("too many slice indexes: {}", bounds.len()));
    }
    let start = bounds.first().map_or(Ok(0), |b| position(b, len, true))?;
    let end = bounds.get(1).map_or(Ok(len), |b| position(b, len, true))?;
    if start > end {
        return Err(format!("invalid slice index: {start} > {end}"));
    }
    match value {
        // Bytes, as in Go; a cut inside a character leaves a replacement character.
        Value::Str(s) => Ok(String::from_utf8_lossy(s.as_bytes().get(start..end).unwrap_or(&[])).into_owned().into()),
        _ => {
            let items = value.as_list().and_then(|l| l.get(start..end)).unwrap_or(&[]).to_vec();
            let type_name = if let Value::List(l) = value { l.type_name } else { "[]interface {}" };
            Ok(Value::List(List { items: std::sync::Arc::new(items), type_name }))
        }
    }
}

fn eq(args: &[Value]) -> Result<bool, String> {
    let (first, rest) = args.split_first().ok_or("missing argument for comparison")?;
    if rest.is_empty() {
        return Err("missing argument for comparison".to_owned());
    }
    for other in rest {
        if equal(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn incompatible(a: &Value, b: &Value) -> String {
    format!("incompatible types for comparison: {} and {}", a.type_name(), b.type_name())
}

fn equal(a: &Value, b: &Value) -> Result<bool, String> {
    Ok(match (a, b) {
        (Value::Bool(x), Value::Bool(y)) => x == y,
        (Value::Int(x) | Value::Duration(x), Value::Int(y) | Value::Duration(y)) => x == y,
        (Value::Float(x), Value::Float(y)) => x == y,
        (Value::Str(x) | Value::Safe(_, x), Value::Str(y) | Value::Safe(_, y)) => x == y,
        (Value::Time(x), Value::Time(y)) => x == y,
        (Value::Nil, Value::Nil) => true,
        (Value::Nil, Value::Object(_) | Value::Map(_) | Value::List(_) | Value::Func(_))
        | (Value::Object(_) | Value::Map(_) | Value::List(_) | Value::Func(_), Value::Nil) => false,
        (Value::Map(_) | Value::List(_) | Value::Func(_) | Value::Object(_), _) => {
            return Err(format!("non-comparable type {}", a.type_name()));
        }
        _ => return Err(incompatible(a, b)),
    })
}

fn less(a: &Value, b: &Value) -> Result<bool, String> {
    let order = match (a, b) {
        (Value::Int(x) | Value::Duration(x), Value::Int(y) | Value::Duration(y)) => x.cmp(y),
        (Value::Float(x), Value::Float(y)) => return Ok(x < y),
        (Value::Str(x) | Value::Safe(_, x), Value::Str(y) | Value::Safe(_, y)) => x.cmp(y),
        (Value::Bool(_), Value::Bool(_)) | (Value::Nil, _) | (_, Value::Nil) => {
            return Err("invalid type for comparison".to_owned());
        }
        _ => return Err(incompatible(a, b)),
    };
    Ok(order == Ordering::Less)
}

/// The arguments as one text, as `html`, `js` and `urlquery` take them.
fn joined(args: &[Value]) -> String {
    match args {
        [one] => one.as_str().map_or_else(|| printf::format_value(one), str::to_owned),
        _ => printf::sprint(args),
    }
}

/// Escapes for HTML text and quoted attributes.
pub(super) fn escape_html(s: &str) -> String {
    let mut out = String::with_capacity(s.len() + 8);
    for c in s.chars() {
        match c {
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\0' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// Escapes for a JavaScript string.
fn escape_js(s: &str) -> String {
    let mut out = String::with_capacity(s.len() + 8);
    for c in s.chars() {
        match c {
            '\\' => out.push_str(r"\\"),
            '\'' => out.push_str(r"\'"),
            '"' => out.push_str("\\\""),
            '<' => out.push_str(r"\u003C"),
            '>' => out.push_str(r"\u003E"),
            '&' => out.push_str(r"\u0026"),
            '=' => out.push_str(r"\u003D"),
            c if u32::from(c) < 0x20 => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// Escapes for the query part of a URL, a space as `+`.
pub fn escape_query(s: &str) -> String {
    let mut out = String::with_capacity(s.len() + 8);
    for b in s.bytes() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(b)),
            b' ' => out.push('+'),
            b => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}
