//! The functions that Prometheus adds for the templates of alerting rules.

use std::sync::Arc;

use super::FuncMap;
pub use super::funcs::escape_query as query_escape;
use super::funcs::{escape_query, wrong_count, wrong_type};
use super::printf::{format_float, format_value};
use super::time::GoTime;
use super::value::{Func, Object, Safe, Value};
use crate::text::duration::parse_ms;
use crate::text::go_regex::GoRegex;

/// One element of a query's result, as templates see it.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The labels, the metric's name included.
    pub labels: Value,
    /// The value.
    pub value: f64,
}

impl Object for Sample {
    fn type_name(&self) -> &str {
        "*template.sample"
    }

    fn field(&self, name: &str) -> Option<Value> {
        match name {
            "Labels" => Some(self.labels.clone()),
            "Value" => Some(Value::Float(self.value)),
            _ => None,
        }
    }

    fn text(&self) -> Option<String> {
        Some(format!("{{{} {}}}", format_value(&self.labels), format_float(self.value, 'g', None)))
    }
}

const QUERY_RESULT: &str = "template.queryResult";

/// A query's result as a list that `first`, `value` and the others take.
pub fn query_result(samples: impl IntoIterator<Item = Sample>) -> Value {
    let items = samples.into_iter().map(|s| Value::Object(Arc::new(s))).collect();
    Value::List(super::value::List { items: Arc::new(items), type_name: QUERY_RESULT })
}

/// Runs a query.
pub type QueryFn = dyn Fn(&str) -> Result<Vec<Sample>, String> + Send + Sync;

/// What the functions need to know of the server.
#[derive(Clone)]
pub struct Context {
    /// Runs a query at the time of the evaluation; blocking is allowed. Without it `query` fails.
    pub query: Option<Arc<QueryFn>>,
    /// Where users reach this server.
    pub external_url: String,
    /// Seconds since the epoch.
    pub now_s: f64,
}

/// The functions of a rule's templates.
pub fn functions(context: &Context) -> FuncMap {
    let mut map = pure_functions();
    let mut add = |name: &str, f: Func| drop(map.insert(name.to_owned(), f));
    let query = context.query.clone();
    add(
        "query",
        Func::new(move |args| {
            let [q] = args else { return Err(wrong_count("query", 1, args.len())) };
            let q = q.as_str().ok_or_else(|| wrong_type("string", q))?;
            match &query {
                Some(run) => run(q).map(query_result),
                None => Err("queries are not available here".to_owned()),
            }
        }),
    );
    let url = context.external_url.clone();
    add("pathPrefix", Func::new(move |_| Ok(url_path(&url).into())));
    let url = context.external_url.clone();
    add("externalURL", Func::new(move |_| Ok(url.as_str().into())));
    let now = context.now_s;
    add("now", Func::new(move |_| Ok(Value::Float(now))));
    map
}

/// The names of all functions, for parsing.
pub fn function_names() -> FuncMap {
    functions(&Context { query: None, external_url: String::new(), now_s: 0.0 })
}

fn url_path(url: &str) -> &str {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = after_scheme.find('/').and_then(|i| after_scheme.get(i..)).unwrap_or("");
    path.split(['?', '#']).next().unwrap_or("")
}

fn text_arg(args: &[Value], i: usize) -> Result<&str, String> {
    let v = args.get(i).unwrap_or(&Value::Nil);
    v.as_str().ok_or_else(|| wrong_type("string", v))
}

/// Registers a function with a fixed number of arguments.
fn fixed(
    map: &mut FuncMap,
    name: &'static str,
    count: usize,
    body: impl Fn(&[Value]) -> Result<Value, String> + Send + Sync + 'static,
) {
    let f = Func::new(move |args| {
        if args.len() != count {
            return Err(wrong_count(name, count, args.len()));
        }
        body(args)
    });
    map.insert(name.to_owned(), f);
}

/// Registers a function of one text.
fn of_text(map: &mut FuncMap, name: &'static str, body: impl Fn(&str) -> String + Send + Sync + 'static) {
    fixed(map, name, 1, move |args| Ok(body(text_arg(args, 0)?).into()));
}

/// Registers a function of one number, which may come as text.
fn of_number(
    map: &mut FuncMap,
    name: &'static str,
    body: impl Fn(f64) -> Result<Value, String> + Send + Sync + 'static,
) {
    fixed(map, name, 1, move |args| body(to_float(args.first().unwrap_or(&Value::Nil))?));
}

fn pure_functions() -> FuncMap {
    let mut map = FuncMap::new();
    let m = &mut map;
    shared_functions(m);
    fixed(m, "first", 1, |args| match samples(args.first())? {
        [first, ..] => Ok(first.clone()),
        [] => Err("first() called on vector with no elements".to_owned()),
    });
    fixed(m, "label", 2, |args| {
        let name = text_arg(args, 0)?;
        Ok(sample_label(args.get(1), name)?.into())
    });
    fixed(m, "strvalue", 1, |args| Ok(sample_label(args.first(), "__value__")?.into()));
    fixed(m, "value", 1, |args| match args.first() {
        Some(Value::Object(o)) => {
            o.field("Value").ok_or_else(|| wrong_type("*template.sample", &Value::Object(o.clone())))
        }
        other => Err(wrong_type("*template.sample", other.unwrap_or(&Value::Nil))),
    });
    fixed(m, "sortByLabel", 2, |args| {
        let label = text_arg(args, 0)?;
        let mut items = samples(args.get(1))?.to_vec();
        items.sort_by_key(|s| sample_label(Some(s), label).unwrap_or_default());
        Ok(Value::List(super::value::List { items: Arc::new(items), type_name: QUERY_RESULT }))
    });
    m.insert(
        "args".to_owned(),
        Func::new(|args| Ok(Value::map(args.iter().enumerate().map(|(i, v)| (format!("arg{i}"), v.clone()))))),
    );
    // In HTML only; rules are text, where it has nothing to render.
    m.insert("tmpl".to_owned(), Func::new(|_| Err("tmpl is only available in console templates".to_owned())));
    of_text(m, "title", title_keeping_capitals);
    of_text(m, "graphLink", |e| format!("/graph?g0.expr={}&g0.tab=0", escape_query(e)));
    of_text(m, "tableLink", |e| format!("/graph?g0.expr={}&g0.tab=1", escape_query(e)));
    of_text(m, "stripPort", strip_port);
    of_text(m, "stripDomain", strip_domain);
    of_text(m, "urlQueryEscape", escape_query);
    of_number(m, "humanize", |v| Ok(humanize(v).into()));
    of_number(m, "humanize1024", |v| Ok(humanize1024(v).into()));
    of_number(m, "humanizeDuration", |v| Ok(humanize_duration(v).into()));
    of_number(m, "humanizePercentage", |v| Ok(format!("{}%", g4(v * 100.0)).into()));
    of_number(m, "humanizeTimestamp", |v| {
        if v.is_nan() || v.is_infinite() {
            return Ok(g4(v).into());
        }
        Ok(time_of_seconds(v)?.to_string().into())
    });
    of_number(m, "toTime", |v| {
        if v.is_nan() || v.is_infinite() {
            return Err("value is NaN or Inf".to_owned());
        }
        time_of_seconds(v).map(Value::Time)
    });
    of_number(m, "toDuration", |v| {
        if v.is_nan() || v.is_infinite() {
            return Err("value is NaN or Inf".to_owned());
        }
        let ns = v * 1e9;
        if ns.abs() >= i64::MAX as f64 {
            return Err(format!("{} cannot be represented as a duration", format_float(v, 'g', None)));
        }
        Ok(Value::Duration(ns as i64))
    });
    fixed(m, "parseDuration", 1, |args| {
        let text = text_arg(args, 0)?;
        let (sign, body) = text.strip_prefix('-').map_or((1.0, text), |b| (-1.0, b));
        let ms = parse_ms(body).map_err(|_| format!("not a valid duration string: {text:?}"))?;
        Ok(Value::Float(sign * ms as f64 / 1000.0))
    });
    map
}

/// The functions that Prometheus and Alertmanager have in common.
pub(super) fn shared_functions(m: &mut FuncMap) {
    of_text(m, "toUpper", upper);
    of_text(m, "toLower", lower);
    fixed(m, "safeHtml", 1, |args| Ok(Value::Safe(Safe::Html, Arc::from(text_arg(args, 0)?))));
    fixed(m, "match", 2, |args| {
        let re = GoRegex::unanchored(text_arg(args, 0)?).map_err(|e| e.to_string())?;
        Ok(Value::Bool(re.is_match(text_arg(args, 1)?)))
    });
    fixed(m, "reReplaceAll", 3, |args| {
        let pattern = text_arg(args, 0)?;
        let re = GoRegex::unanchored(pattern).map_err(|e| format!("regexp: Compile(`{pattern}`): {e}"))?;
        Ok(re.regex().replace_all(text_arg(args, 2)?, text_arg(args, 1)?).into_owned().into())
    });
}

fn samples(v: Option<&Value>) -> Result<&[Value], String> {
    match v {
        Some(Value::List(l)) if l.type_name == QUERY_RESULT => Ok(&l.items),
        other => Err(wrong_type(QUERY_RESULT, other.unwrap_or(&Value::Nil))),
    }
}

fn sample_label(v: Option<&Value>, name: &str) -> Result<String, String> {
    let labels = match v {
        Some(Value::Object(o)) => o.field("Labels"),
        _ => None,
    };
    let labels = labels.ok_or_else(|| wrong_type("*template.sample", v.unwrap_or(&Value::Nil)))?;
    Ok(labels.as_map().and_then(|m| m.get(name)).and_then(Value::as_str).unwrap_or("").to_owned())
}

/// A number, or text that is one.
pub(super) fn to_float(v: &Value) -> Result<f64, String> {
    match v {
        Value::Float(f) => Ok(*f),
        Value::Int(i) => Ok(*i as f64),
        Value::Str(s) => parse_float(s).ok_or_else(|| format!("strconv.ParseFloat: parsing {s:?}: invalid syntax")),
        Value::Duration(_) => Err("can't convert *time.Duration to float".to_owned()),
        other => Err(format!("can't convert {} to float", other.type_name())),
    }
}

/// Go's `ParseFloat` for what people write: decimals, exponents, `inf`, `nan`.
fn parse_float(s: &str) -> Option<f64> {
    let body = s.strip_prefix(['+', '-']).unwrap_or(s);
    let negative = s.starts_with('-');
    match body.to_ascii_lowercase().as_str() {
        "inf" | "infinity" => Some(if negative { f64::NEG_INFINITY } else { f64::INFINITY }),
        "nan" => Some(f64::NAN),
        b if b.starts_with(|c: char| c.is_ascii_digit() || c == '.') => s.parse().ok(),
        _ => None,
    }
}

/// `%.4g`.
fn g4(v: f64) -> String {
    format_float(v, 'g', Some(4))
}

fn scaled(mut v: f64, factor: f64, prefixes: &[&str]) -> String {
    let mut prefix = "";
    for p in prefixes {
        if v.abs() < factor {
            break;
        }
        prefix = p;
        v /= factor;
    }
    format!("{}{prefix}", g4(v))
}

fn scaled_down(mut v: f64) -> String {
    let mut prefix = "";
    for p in ["m", "u", "n", "p", "f", "a", "z", "y"] {
        if v.abs() >= 1.0 {
            break;
        }
        prefix = p;
        v *= 1000.0;
    }
    format!("{}{prefix}", g4(v))
}

fn humanize(v: f64) -> String {
    if v == 0.0 || v.is_nan() || v.is_infinite() {
        g4(v)
    } else if v.abs() >= 1.0 {
        scaled(v, 1000.0, &["k", "M", "G", "T", "P", "E", "Z", "Y"])
    } else {
        scaled_down(v)
    }
}

fn humanize1024(v: f64) -> String {
    if v.abs() <= 1.0 || v.is_nan() || v.is_infinite() {
        g4(v)
    } else {
        scaled(v, 1024.0, &["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"])
    }
}

pub(super) fn humanize_duration(v: f64) -> String {
    if v.is_nan() || v.is_infinite() {
        return g4(v);
    }
    if v == 0.0 {
        return "0s".to_owned();
    }
    if v.abs() < 1.0 {
        return format!("{}s", scaled_down(v));
    }
    let sign = if v < 0.0 { "-" } else { "" };
    let v = v.abs();
    // The cast saturates for absurd spans of time.
    let whole = v as i64;
    let (days, hours, minutes, seconds) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60, whole % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{}s", g4(v)),
        (0, 0, m) => format!("{sign}{m}m {seconds}s"),
        (0, h, m) => format!("{sign}{h}h {m}m {seconds}s"),
        (d, h, m) => format!("{sign}{d}d {h}h {m}m {seconds}s"),
    }
}

/// A time from seconds, cut to milliseconds as Prometheus' own times are.
fn time_of_seconds(v: f64) -> Result<GoTime, String> {
    let ns = v * 1e9;
    if ns >= i64::MAX as f64 || ns <= i64::MIN as f64 {
        return Err(format!(
            "{} cannot be represented as a nanoseconds timestamp since it overflows int64",
            format_float(v, 'g', None)
        ));
    }
    Ok(GoTime::from_ms((ns as i64) / 1_000_000))
}

/// Upper case by single characters, as Go maps: `ß` stays.
fn upper(s: &str) -> String {
    s.chars().map(|c| single(c, c.to_uppercase())).collect()
}

/// Lower case by single characters, as Go maps: `İ` becomes `i`.
fn lower(s: &str) -> String {
    s.chars().map(|c| if c == 'İ' { 'i' } else { single(c, c.to_lowercase()) }).collect()
}

fn single(c: char, mut mapped: impl Iterator<Item = char>) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(m), None) => m,
        _ => c,
    }
}

/// Title case of one character where it differs from upper case.
fn title_char(c: char, out: &mut String) {
    match c {
        'Ǆ' | 'ǅ' | 'ǆ' => out.push('ǅ'),
        'Ǉ' | 'ǈ' | 'ǉ' => out.push('ǈ'),
        'Ǌ' | 'ǋ' | 'ǌ' => out.push('ǋ'),
        'Ǳ' | 'ǲ' | 'ǳ' => out.push('ǲ'),
        'ß' => out.push_str("Ss"),
        c => out.extend(c.to_uppercase()),
    }
}

/// Makes the first letter of each word a title letter and leaves the others; a word goes on over apostrophes,
/// digits and underscores.
fn title_keeping_capitals(s: &str) -> String {
    title_words(s, false)
}

/// Title case by the rules of Unicode words; `lower_rest` turns the other letters to lower case.
pub(super) fn title_words(s: &str, lower_rest: bool) -> String {
    let mut out = String::with_capacity(s.len());
    let mut cased = false;
    let mut chars = s.chars().peekable();
    let mut previous_letter = false;
    while let Some(c) = chars.next() {
        if c.is_alphabetic() {
            if cased {
                if lower_rest { out.extend(c.to_lowercase()) } else { out.push(c) }
            } else {
                title_char(c, &mut out);
                cased = true;
            }
            previous_letter = true;
            continue;
        }
        out.push(c);
        // An apostrophe, a point or a colon between letters does not end a word; digits and underscores never do.
        let joins = matches!(c, '\'' | '’' | '.' | ':' | '·')
            && previous_letter
            && chars.peek().is_some_and(|n| n.is_alphabetic());
        if !(joins || c.is_numeric() || c == '_') {
            cased = false;
        }
        previous_letter = false;
    }
    out
}

/// Splits `host:port` and `[v6]:port`.
fn split_host_port(s: &str) -> Option<(&str, &str)> {
    let (host, port) = s.rsplit_once(':')?;
    match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']').filter(|h| !h.contains(['[', ']'])).map(|h| (h, port)),
        None if host.contains([':', '[', ']']) => None,
        None => Some((host, port)),
    }
}

fn strip_port(s: &str) -> String {
    split_host_port(s).map_or(s, |(host, _)| host).to_owned()
}

fn strip_domain(s: &str) -> String {
    let (host, port) = split_host_port(s).map_or((s, None), |(h, p)| (h, Some(p)));
    if host.parse::<std::net::IpAddr>().is_ok() {
        return s.to_owned();
    }
    let short = host.split('.').next().unwrap_or(host);
    match port {
        Some(p) => format!("{short}:{p}"),
        None => short.to_owned(),
    }
}
