//! Values of any type, as attributes and bodies hold them.

use std::borrow::Cow;
use std::fmt::Write;

use base64::Engine;

/// Names and values, in the order sent.
pub type Attributes<'a> = Vec<(Cow<'a, str>, AnyValue<'a>)>;

/// `AnyValue` of opentelemetry-proto `common.proto`.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum AnyValue<'a> {
    /// No value.
    #[default]
    Empty,
    /// A text.
    Text(Cow<'a, str>),
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any number.
    Double(f64),
    /// Bytes.
    Bytes(Cow<'a, [u8]>),
    /// Values in a row.
    List(Vec<AnyValue<'a>>),
    /// Values by name.
    Map(Attributes<'a>),
}

impl<'a> AnyValue<'a> {
    /// The value as text: texts as they are, bytes in base64, lists and maps as JSON.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            AnyValue::Empty => Cow::Borrowed(""),
            AnyValue::Text(t) => Cow::Borrowed(t),
            AnyValue::Bytes(b) => Cow::Owned(base64::engine::general_purpose::STANDARD.encode(b)),
            AnyValue::Bool(_) | AnyValue::Int(_) | AnyValue::Double(_) | AnyValue::List(_) | AnyValue::Map(_) => {
                let mut out = String::new();
                self.write_json(&mut out);
                Cow::Owned(out)
            }
        }
    }

    /// Depth is bounded by the decoders.
    fn write_json(&self, out: &mut String) {
        // Writing to a string cannot fail.
        let _infallible = match self {
            AnyValue::Empty => out.write_str("null"),
            AnyValue::Bool(b) => write!(out, "{b}"),
            AnyValue::Int(i) => write!(out, "{i}"),
            AnyValue::Double(d) if d.is_finite() => write!(out, "{d}"),
            AnyValue::Double(d) => write!(out, "\"{d}\""),
            AnyValue::Text(t) => write!(out, "{}", serde_json::Value::from(t.as_ref())),
            AnyValue::Bytes(_) => write!(out, "\"{}\"", self.text()),
            AnyValue::List(values) => {
                out.push('[');
                for (i, v) in values.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    v.write_json(out);
                }
                out.write_str("]")
            }
            AnyValue::Map(pairs) => {
                out.push('{');
                for (i, (n, v)) in pairs.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    let _infallible = write!(out, "{}:", serde_json::Value::from(n.as_ref()));
                    v.write_json(out);
                }
                out.write_str("}")
            }
        };
    }

    /// Calls `take` for the value under `name`; of a map for each value in it, names joined by underscores, as Loki does.
    pub fn flatten(&self, name: &str, take: &mut impl FnMut(&str, &str)) {
        match self {
            AnyValue::Map(pairs) => {
                for (inner, value) in pairs {
                    value.flatten(&format!("{name}_{inner}"), take);
                }
            }
            AnyValue::Empty => {}
            other => take(name, &other.text()),
        }
    }
}
