//! The values templates work on.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::time::GoTime;

/// A value of a template. Clones share text and collections.
#[derive(Clone, Debug)]
pub enum Value {
    /// Go's nil, or no value at all.
    Nil,
    /// A truth value.
    Bool(bool),
    /// Go's `int`.
    Int(i64),
    /// Go's `float64`.
    Float(f64),
    /// Text.
    Str(Arc<str>),
    /// Text that HTML escaping leaves alone where it fits.
    Safe(Safe, Arc<str>),
    /// A list.
    List(List),
    /// A map with text keys, sorted.
    Map(Map),
    /// A point in time with its zone.
    Time(GoTime),
    /// Nanoseconds.
    Duration(i64),
    /// A function.
    Func(Func),
    /// A value of the host program, with fields and methods.
    Object(Arc<dyn Object>),
}

/// What a marked text is safe as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safe {
    /// A piece of HTML.
    Html,
    /// A URL.
    Url,
}

/// A list and the name of its type in Go, which error messages and `%T` show.
#[derive(Clone, Debug)]
pub struct List {
    /// The items.
    pub items: Arc<Vec<Value>>,
    /// `[]string` and the like.
    pub type_name: &'static str,
}

/// A map with text keys.
#[derive(Clone, Debug)]
pub struct Map {
    /// The entries.
    pub entries: Arc<BTreeMap<String, Value>>,
    /// Whether its values are text, so that an absent key reads as empty text; else it reads as no value.
    pub of_text: bool,
}

/// A function that templates may call; it can hold state of its own.
#[derive(Clone)]
pub struct Func(Arc<FuncBody>);

type FuncBody = dyn Fn(&[Value]) -> Result<Value, String> + Send + Sync;

impl Func {
    /// Wraps a closure. It gets the arguments, the piped one last, and checks their number and types itself.
    pub fn new(body: impl Fn(&[Value]) -> Result<Value, String> + Send + Sync + 'static) -> Self {
        Func(Arc::new(body))
    }

    /// Calls it.
    pub fn call(&self, args: &[Value]) -> Result<Value, String> {
        (self.0)(args)
    }
}

impl fmt::Debug for Func {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("func")
    }
}

/// A value of the host program.
pub trait Object: Send + Sync + fmt::Debug {
    /// The name of the type as Go would show it.
    fn type_name(&self) -> &str;

    /// The field of that name.
    fn field(&self, name: &str) -> Option<Value> {
        let _ = name;
        None
    }

    /// Calls the method of that name; `None` if there is none.
    fn method(&self, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
        let _ = (name, args);
        None
    }

    /// The text that printing shows; `None` prints as a list or map if it is one, else `{}` of the type.
    fn text(&self) -> Option<String> {
        None
    }

    /// The fields as JSON names them, if it is written as a JSON object of fields.
    fn json_fields(&self) -> Option<Vec<(&str, Value)>> {
        None
    }

    /// The items, if it is a list.
    fn as_list(&self) -> Option<&[Value]> {
        None
    }

    /// The entries, if it is a map of text.
    fn as_map(&self) -> Option<&BTreeMap<String, Value>> {
        None
    }
}

impl Value {
    /// Text.
    pub fn str(s: impl AsRef<str>) -> Value {
        Value::Str(Arc::from(s.as_ref()))
    }

    /// A list of any values.
    pub fn list(items: Vec<Value>) -> Value {
        Value::List(List { items: Arc::new(items), type_name: "[]interface {}" })
    }

    /// A list of texts.
    pub fn strings<S: AsRef<str>>(items: impl IntoIterator<Item = S>) -> Value {
        Value::List(List { items: Arc::new(items.into_iter().map(Value::str).collect()), type_name: "[]string" })
    }

    /// A map of text to text, as label sets are.
    pub fn text_map<K: Into<String>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (K, V)>) -> Value {
        let entries = pairs.into_iter().map(|(k, v)| (k.into(), Value::str(v))).collect();
        Value::Map(Map { entries: Arc::new(entries), of_text: true })
    }

    /// A map of text to anything.
    pub fn map<K: Into<String>>(pairs: impl IntoIterator<Item = (K, Value)>) -> Value {
        let entries = pairs.into_iter().map(|(k, v)| (k.into(), v)).collect();
        Value::Map(Map { entries: Arc::new(entries), of_text: false })
    }

    /// The type's name in Go.
    pub fn type_name(&self) -> &str {
        match self {
            Value::Nil => "<nil>",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float64",
            Value::Str(_) => "string",
            Value::Safe(Safe::Html, _) => "template.HTML",
            Value::Safe(Safe::Url, _) => "template.URL",
            Value::List(l) => l.type_name,
            Value::Map(m) if m.of_text => "map[string]string",
            Value::Map(_) => "map[string]interface {}",
            Value::Time(_) => "time.Time",
            Value::Duration(_) => "time.Duration",
            Value::Func(_) => "func",
            Value::Object(o) => o.type_name(),
        }
    }

    /// Go's idea of truth: not zero, not empty, not nil.
    pub fn truth(&self) -> bool {
        match self {
            Value::Nil => false,
            Value::Bool(b) => *b,
            Value::Int(i) | Value::Duration(i) => *i != 0,
            Value::Float(f) => *f != 0.0,
            Value::Str(s) | Value::Safe(_, s) => !s.is_empty(),
            Value::Time(_) | Value::Func(_) => true,
            Value::List(_) | Value::Map(_) | Value::Object(_) => match (self.as_list(), self.as_map()) {
                (Some(l), _) => !l.is_empty(),
                (_, Some(m)) => !m.is_empty(),
                (None, None) => true,
            },
        }
    }

    /// The text of a text value.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(s) | Value::Safe(_, s) => Some(s),
            _ => None,
        }
    }

    /// The items of a list.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Value::List(l) => Some(&l.items),
            Value::Object(o) => o.as_list(),
            _ => None,
        }
    }

    /// The entries of a map.
    pub fn as_map(&self) -> Option<&BTreeMap<String, Value>> {
        match self {
            Value::Map(m) => Some(&m.entries),
            Value::Object(o) => o.as_map(),
            _ => None,
        }
    }

    /// What an absent key of this map reads as.
    pub(super) fn zero_of_map(&self) -> Value {
        match self {
            Value::Map(m) if !m.of_text => Value::Nil,
            _ => Value::str(""),
        }
    }
}

impl From<&str> for Value {
    fn from(s: &str) -> Self {
        Value::str(s)
    }
}

impl From<String> for Value {
    fn from(s: String) -> Self {
        Value::str(s)
    }
}

impl From<f64> for Value {
    fn from(f: f64) -> Self {
        Value::Float(f)
    }
}

impl From<i64> for Value {
    fn from(i: i64) -> Self {
        Value::Int(i)
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Value::Bool(b)
    }
}
