//! The functions that Alertmanager adds for the templates of notifications.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::FuncMap;
use super::funcs::{wrong_count, wrong_type};
use super::printf::{format_float, format_value};
use super::prometheus::{humanize_duration, shared_functions, title_words, to_float};
use super::time::{GoTime, parse_time};
use super::value::{Func, Safe, Value};

/// Deepest value that `toJson` writes.
const MAX_JSON_DEPTH: usize = 128;

/// The functions of a notification's templates; `now_ns` is the time of the notification. Those that need its data
/// (`routeLabels`) are added by the caller.
pub fn functions(now_ns: i64) -> FuncMap {
    let mut map = FuncMap::new();
    shared_functions(&mut map);
    let mut add = |name: &'static str, count: Option<usize>, body: fn(&[Value]) -> Result<Value, String>| {
        let f = Func::new(move |args| match count {
            Some(n) if args.len() != n => Err(wrong_count(name, n, args.len())),
            _ => body(args),
        });
        map.insert(name.to_owned(), f);
    };
    add("title", Some(1), |args| Ok(title_words(text(args, 0)?, true).into()));
    add("trimSpace", Some(1), |args| Ok(text(args, 0)?.trim().into()));
    add("join", Some(2), |args| Ok(strings(args, 1)?.join(text(args, 0)?).into()));
    add("stringSlice", None, |args| {
        let items: Result<Vec<&str>, String> = (0..args.len()).map(|i| text(args, i)).collect();
        Ok(Value::strings(items?))
    });
    add("humanizeDuration", Some(1), |args| {
        let seconds = match args.first() {
            // The difference of two times.
            Some(Value::Duration(ns)) => *ns as f64 / 1e9,
            other => to_float(other.unwrap_or(&Value::Nil))?,
        };
        Ok(humanize_duration(seconds).into())
    });
    add("safeUrl", Some(1), |args| Ok(Value::Safe(Safe::Url, Arc::from(text(args, 0)?))));
    add("date", Some(2), |args| Ok(time(args, 1)?.format(text(args, 0)?).into()));
    add("tz", Some(2), |args| time(args, 1)?.in_zone(text(args, 0)?).map(Value::Time));
    add("toDate", Some(2), |args| {
        // The lenient sister of mustToDate: what cannot be read is the zero time.
        Ok(Value::Time(parse_time(text(args, 0)?, text(args, 1)?).unwrap_or_else(|_| GoTime::zero())))
    });
    add("mustToDate", Some(2), |args| parse_time(text(args, 0)?, text(args, 1)?).map(Value::Time));
    add("toJson", Some(1), |args| {
        let mut out = String::new();
        write_json(&mut out, args.first().unwrap_or(&Value::Nil), 0)?;
        Ok(out.into())
    });
    add("base64encode", Some(1), |args| Ok(URL_SAFE.encode(text(args, 0)?).into()));
    add("base64decode", Some(1), |args| {
        let encoded = text(args, 0)?;
        let bytes = URL_SAFE.decode(encoded).or_else(|_| STANDARD.decode(encoded)).map_err(|e| match e {
            base64::DecodeError::InvalidByte(at, _) => format!("illegal base64 data at input byte {at}"),
            _ => format!("illegal base64 data at input byte {}", encoded.len()),
        })?;
        Ok(String::from_utf8_lossy(&bytes).into_owned().into())
    });
    add("list", None, |args| Ok(Value::list(args.to_vec())));
    add("append", None, |args| {
        let (first, rest) = args.split_first().ok_or_else(|| wrong_count("append", 1, 0))?;
        let mut items = first.as_list().ok_or_else(|| wrong_type("[]interface {}", first))?.to_vec();
        items.extend_from_slice(rest);
        Ok(Value::list(items))
    });
    add("dict", None, |args| {
        if !args.len().is_multiple_of(2) {
            return Err("dict requires an even number of arguments".to_owned());
        }
        let pairs: Result<Vec<(String, Value)>, String> = args
            .chunks_exact(2)
            .filter_map(|pair| Some((pair.first()?, pair.last()?)))
            .map(|(k, v)| match k.as_str() {
                Some(k) => Ok((k.to_owned(), v.clone())),
                None => Err(format!("dict keys must be strings, got {}", k.type_name())),
            })
            .collect();
        Ok(Value::map(pairs?))
    });
    map.insert("now".to_owned(), Func::new(move |_| Ok(Value::Time(GoTime::from_ns(now_ns)))));
    map.insert(
        "since".to_owned(),
        Func::new(move |args| {
            if args.len() != 1 {
                return Err(wrong_count("since", 1, args.len()));
            }
            Ok(Value::Duration(now_ns.saturating_sub(time(args, 0)?.unix_ns())))
        }),
    );
    map
}

fn text(args: &[Value], i: usize) -> Result<&str, String> {
    let v = args.get(i).unwrap_or(&Value::Nil);
    v.as_str().ok_or_else(|| wrong_type("string", v))
}

fn time(args: &[Value], i: usize) -> Result<GoTime, String> {
    match args.get(i) {
        Some(Value::Time(t)) => Ok(*t),
        other => Err(wrong_type("time.Time", other.unwrap_or(&Value::Nil))),
    }
}

fn strings(args: &[Value], i: usize) -> Result<Vec<&str>, String> {
    let v = args.get(i).unwrap_or(&Value::Nil);
    let items: Option<Vec<&str>> = v.as_list().and_then(|l| l.iter().map(Value::as_str).collect());
    items.ok_or_else(|| wrong_type("[]string", v))
}

/// Writes JSON as Go does: keys sorted, `<`, `>` and `&` escaped.
pub(super) fn write_json(out: &mut String, v: &Value, depth: usize) -> Result<(), String> {
    if depth > MAX_JSON_DEPTH {
        return Err(format!("value is nested deeper than {MAX_JSON_DEPTH}"));
    }
    match v {
        Value::Nil => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Int(i) | Value::Duration(i) => out.push_str(&i.to_string()),
        Value::Float(f) if f.is_finite() => {
            let a = f.abs();
            if a != 0.0 && !(1e-6..1e21).contains(&a) {
                out.push_str(&format_float(*f, 'e', None));
            } else {
                out.push_str(&f.to_string());
            }
        }
        Value::Float(f) => return Err(format!("json: unsupported value: {}", format_value(&Value::Float(*f)))),
        Value::Str(s) | Value::Safe(_, s) => json_string(out, s),
        Value::Time(t) => json_string(out, &t.format("2006-01-02T15:04:05.999999999Z07:00")),
        Value::Func(_) => return Err("json: unsupported type: func".to_owned()),
        Value::List(_) | Value::Map(_) | Value::Object(_) => {
            if let Some(items) = v.as_list() {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    write_json(out, item, depth + 1)?;
                }
                out.push(']');
            } else if let Some(map) = v.as_map() {
                write_members(out, map.iter().map(|(k, item)| (k.as_str(), item)), depth)?;
            } else if let Some(fields) = match v {
                Value::Object(o) => o.json_fields(),
                _ => None,
            } {
                write_members(out, fields.iter().map(|(k, item)| (*k, item)), depth)?;
            } else {
                json_string(out, &format_value(v));
            }
        }
    }
    Ok(())
}

fn write_members<'a>(
    out: &mut String,
    members: impl Iterator<Item = (&'a str, &'a Value)>,
    depth: usize,
) -> Result<(), String> {
    out.push('{');
    for (i, (k, item)) in members.enumerate() {
        if i > 0 {
            out.push(',');
        }
        json_string(out, k);
        out.push(':');
        write_json(out, item, depth + 1)?;
    }
    out.push('}');
    Ok(())
}

/// A JSON string that is also safe inside HTML.
pub(super) fn json_string(out: &mut String, s: &str) {
    out.push('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c if u32::from(c) < 0x20 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}
