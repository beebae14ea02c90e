//! Templates of `line_format` and `label_format`: Go templates over a line's labels, with Loki's functions.

mod arithmetic;
mod times;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::logql::labels::LineLabels;
use crate::text::go_template::value::{Func, Map};
use crate::text::go_template::{FuncMap, GoTime, Limits, MissingKey, Options, Template, Value};

/// The line that is being formatted, as `__line__` and `__timestamp__` see it.
#[derive(Debug, Default)]
struct Current {
    line: String,
    timestamp_ns: i64,
}

/// What templates need while they run; one for each thread of a query.
pub struct Context {
    current: Arc<Mutex<Current>>,
    functions: FuncMap,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}

impl Default for Context {
    fn default() -> Self {
        let current: Arc<Mutex<Current>> = Arc::default();
        let mut functions = functions();
        let line = current.clone();
        let f = Func::new(move |_| Ok(Value::str(&line.lock().unwrap_or_else(PoisonError::into_inner).line)));
        functions.insert("__line__".to_owned(), f);
        let time = current.clone();
        let f = Func::new(move |_| {
            Ok(Value::Time(GoTime::from_ns(time.lock().unwrap_or_else(PoisonError::into_inner).timestamp_ns)))
        });
        functions.insert("__timestamp__".to_owned(), f);
        Context { current, functions }
    }
}

/// The functions that need no line, and placeholders for those that do, so that parsing knows the names.
fn functions() -> FuncMap {
    let mut map = FuncMap::new();
    words::add(&mut map);
    arithmetic::add(&mut map);
    times::add(&mut map);
    map
}

/// A compiled template.
#[derive(Clone, Debug)]
pub struct LineTemplate {
    template: Template,
}

impl LineTemplate {
    /// Compiles; `name` appears in messages (`line` for `line_format`).
    pub fn compile(name: &str, text: &str) -> Result<Self, String> {
        let names = Context::default().functions;
        Ok(LineTemplate { template: Template::parse(name, text, &names).map_err(|e| e.to_string())? })
    }

    /// The labels it speaks of.
    pub fn fields(&self) -> BTreeSet<String> {
        self.template.fields()
    }

    /// Executes over the labels of a line.
    pub fn execute(&self, context: &Context, data: &Value, line: &str, timestamp_ns: i64) -> Result<String, String> {
        /// A line is small; what takes longer than this is a mistake in the template.
        const LIMITS: Limits = Limits { steps: 100_000, output_bytes: 1 << 20, time: Duration::from_secs(1) };
        {
            let mut current = context.current.lock().unwrap_or_else(PoisonError::into_inner);
            current.line.clear();
            current.line.push_str(line);
            current.timestamp_ns = timestamp_ns;
        }
        let options = Options { missing_key: MissingKey::Zero, html: false, limits: LIMITS };
        self.template.execute(data, &context.functions, &options).map_err(|e| e.to_string())
    }
}

/// The labels of a line as a template sees them.
pub fn label_map(labels: &LineLabels) -> Value {
    let mut entries: BTreeMap<String, Value> = BTreeMap::new();
    labels.for_each(|n, v, _| {
        entries.insert(n.to_owned(), Value::str(v));
    });
    Value::Map(Map { entries: Arc::new(entries), of_text: true })
}

/// Registers a function that takes exactly `count` arguments, or at least one where `count` is `None`.
fn register(map: &mut FuncMap, name: &'static str, count: Option<usize>, body: fn(&[Value]) -> Result<Value, String>) {
    let f = Func::new(move |args| match count {
        Some(n) if args.len() != n => Err(format!("wrong number of args for {name}: want {n} got {}", args.len())),
        _ => body(args),
    });
    map.insert(name.to_owned(), f);
}

/// The argument as text.
fn text(args: &[Value], i: usize) -> Result<&str, String> {
    let value = args.get(i).ok_or("too few arguments")?;
    value.as_str().ok_or_else(|| format!("wrong type for value; expected string; got {}", value.type_name()))
}

/// The argument as a whole number, cast as generously as Loki's functions do: text is read, what cannot be read is 0.
fn whole(args: &[Value], i: usize) -> i64 {
    match args.get(i) {
        Some(Value::Int(n)) => *n,
        Some(Value::Float(f)) => *f as i64,
        Some(Value::Bool(b)) => i64::from(*b),
        Some(v) => v
            .as_str()
            .map_or(0, |s| s.trim().parse::<i64>().unwrap_or_else(|_| s.trim().parse::<f64>().map_or(0, |f| f as i64))),
        None => 0,
    }
}

/// The argument as a float, cast as generously.
fn float(args: &[Value], i: usize) -> f64 {
    match args.get(i) {
        Some(Value::Int(n)) => *n as f64,
        Some(Value::Float(f)) => *f,
        Some(Value::Bool(b)) => f64::from(u8::from(*b)),
        Some(v) => v.as_str().and_then(|s| s.trim().parse().ok()).unwrap_or(0.0),
        None => 0.0,
    }
}

#[cfg(test)]
mod tests;
