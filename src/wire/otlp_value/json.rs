//! Values in the JSON form: an object with one key that says the type.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use super::{AnyValue, Attributes};
use crate::wire::json_text::Text;

/// A name and its value.
#[derive(Deserialize)]
pub(in crate::wire) struct KeyValue<'a> {
    /// The name.
    #[serde(borrow)]
    pub key: Text<'a>,
    /// The value.
    pub value: Option<JsonValue<'a>>,
}

/// Names and values; a value that is missing is empty.
pub(in crate::wire) fn attributes<'a>(pairs: Option<Vec<KeyValue<'a>>>) -> Attributes<'a> {
    let pair = |p: KeyValue<'a>| (p.key.0, p.value.map_or(AnyValue::Empty, |v| v.0));
    pairs.into_iter().flatten().map(pair).collect()
}

/// An id of hexadecimal digits in the form in which protobuf's ids are shown; one of zeros is none.
pub(in crate::wire) fn id(digits: &str) -> String {
    let id = digits.to_ascii_lowercase();
    if id.bytes().all(|b| b == b'0') { String::new() } else { id }
}

/// A number of any kind, for values.
enum Scalar {
    Int(i64),
    Double(f64),
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct ScalarVisitor;
        impl Visitor<'_> for ScalarVisitor {
            type Value = Scalar;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or its digits in a string")
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<Scalar, E> {
                Ok(i64::try_from(v).map_or(Scalar::Double(v as f64), Scalar::Int))
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<Scalar, E> {
                Ok(Scalar::Int(v))
            }
            fn visit_f64<E: de::Error>(self, v: f64) -> Result<Scalar, E> {
                Ok(Scalar::Double(v))
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Scalar, E> {
                let int = v.parse().map(Scalar::Int);
                // "NaN", "Infinity" and "-Infinity" are what Rust reads, too.
                int.or_else(|_| v.parse().map(Scalar::Double))
                    .map_err(|_| E::invalid_value(de::Unexpected::Str(v), &self))
            }
        }
        d.deserialize_any(ScalarVisitor)
    }
}

/// An object with one key that says the type.
pub(in crate::wire) struct JsonValue<'a>(pub AnyValue<'a>);

#[derive(Deserialize)]
struct JsonList<'a> {
    #[serde(borrow)]
    values: Option<Vec<JsonValue<'a>>>,
}

#[derive(Deserialize)]
struct JsonMap<'a> {
    #[serde(borrow)]
    values: Option<Vec<KeyValue<'a>>>,
}

impl<'de: 'a, 'a> Deserialize<'de> for JsonValue<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct ValueVisitor;
        impl<'de> Visitor<'de> for ValueVisitor {
            type Value = JsonValue<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with a key such as stringValue")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonValue<'de>, A::Error> {
                let mut value = AnyValue::Empty;
                while let Some(key) = map.next_key::<Text<'de>>()? {
                    value = match key.0.as_ref() {
                        "stringValue" => AnyValue::Text(map.next_value::<Text<'de>>()?.0),
                        "boolValue" => AnyValue::Bool(map.next_value()?),
                        "intValue" => match map.next_value()? {
                            Scalar::Int(i) => AnyValue::Int(i),
                            Scalar::Double(d) => AnyValue::Double(d),
                        },
                        "doubleValue" => match map.next_value()? {
                            Scalar::Int(i) => AnyValue::Double(i as f64),
                            Scalar::Double(d) => AnyValue::Double(d),
                        },
                        "bytesValue" => {
                            let text = map.next_value::<Text<'de>>()?.0;
                            let bytes = base64::engine::general_purpose::STANDARD.decode(text.as_bytes());
                            AnyValue::Bytes(Cow::Owned(bytes.map_err(de::Error::custom)?))
                        }
                        "arrayValue" => {
                            let list: JsonList<'de> = map.next_value()?;
                            AnyValue::List(list.values.into_iter().flatten().map(|v| v.0).collect())
                        }
                        "kvlistValue" => AnyValue::Map(attributes(map.next_value::<JsonMap<'de>>()?.values)),
                        _ => {
                            map.next_value::<de::IgnoredAny>()?;
                            value
                        }
                    };
                }
                Ok(JsonValue(value))
            }
            fn visit_unit<E: de::Error>(self) -> Result<JsonValue<'de>, E> {
                Ok(JsonValue(AnyValue::Empty))
            }
        }
        d.deserialize_any(ValueVisitor)
    }
}
