//! A serde deserializer over a [`Node`] tree that notes where it failed, and the loop that collects all failures.

use std::fmt::{self, Display};

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{self, DeserializeOwned, DeserializeSeed, Expected, IntoDeserializer, Unexpected, Visitor};

use crate::config::yaml::suggest::nearest;
use crate::config::yaml::{Entry, Fault, Kind, MAX_FAULTS, Node, Path, Place, Step, mask_message};

/// Decodes a tree. On a problem the offending entry is left out and decoding begins again, until it succeeds or
/// [`MAX_FAULTS`] were found. The value is there when what is left could be decoded; with faults it is only good for
/// finding more of them.
pub fn decode<T: DeserializeOwned>(root: &Node) -> (Option<T>, Vec<Fault>) {
    let mut tree = root.clone();
    let mut faults: Vec<Fault> = Vec::new();
    while faults.len() < MAX_FAULTS {
        let failure = match T::deserialize(De { node: &tree }) {
            Ok(value) => return (Some(value), faults),
            Err(e) => *e.0,
        };
        let path = Path::new(failure.steps_up.into_iter().rev().collect());
        let node = tree.nearest(&path);
        // A required key that was taken out because of its own problem is not missing.
        let told = matches!(&failure.what, What::Missing(key) if was_pruned(node, key));
        if !told {
            let place = failure.place.unwrap_or(node.place);
            let message = mask_message(root, &path, &failure.what.to_string());
            faults.push(Fault { place, path: path.clone(), message });
        }
        match tree.at_mut(&path) {
            Some(n) if !path.steps().is_empty() && n.kind != Kind::Pruned => n.kind = Kind::Pruned,
            // The root itself does not fit, or the failing entry is out already: going on would not end.
            _ => break,
        }
    }
    (None, faults)
}

fn was_pruned(node: &Node, key: &str) -> bool {
    node.get(key).is_some_and(|n| n.kind == Kind::Pruned)
}

enum What {
    Message(String),
    UnknownKey { found: String, known: &'static [&'static str] },
    Missing(&'static str),
}

impl Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Message(m) => f.write_str(m),
            What::Missing(key) => write!(f, "the key {key} is missing"),
            What::UnknownKey { found, known } => {
                f.write_str("unknown key")?;
                match nearest(found, known) {
                    Some(near) => write!(f, "; did you mean {near}?"),
                    None if known.is_empty() => f.write_str("; nothing can be set here"),
                    None => {
                        let mut names = known.to_vec();
                        names.sort_unstable();
                        write!(f, "; known here are {}", names.join(", "))
                    }
                }
            }
        }
    }
}

struct Failure {
    what: What,
    /// From the innermost to the root.
    steps_up: Vec<Step>,
    place: Option<Place>,
}

/// A failure on its way up to the root; each level adds its step.
struct Error(Box<Failure>);

impl Error {
    fn of(what: What) -> Self {
        Error(Box::new(Failure { what, steps_up: Vec::new(), place: None }))
    }

    fn within(mut self, step: Step, place: Place) -> Self {
        self.0.place.get_or_insert(place);
        self.0.steps_up.push(step);
        self
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.what.fmt(f)
    }
}

impl std::error::Error for Error {}

fn expected(e: &dyn Expected) -> String {
    let text = e.to_string();
    let known = match text.as_str() {
        "a boolean" => "true or false",
        "a string" | "a borrowed string" => "a text",
        "a sequence" => "a list",
        "a map" => "a map of keys and values",
        "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" | "usize" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        t if t.starts_with("struct ") => "a map of keys and values",
        t if t.starts_with("enum ") || t.starts_with("variant ") => "one of the known words",
        t => t,
    };
    known.to_owned()
}

fn found(u: &Unexpected<'_>) -> String {
    match u {
        Unexpected::Str(s) => format!("{s:?}"),
        Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map | Unexpected::StructVariant => "a map".to_owned(),
        Unexpected::Unsigned(n) => n.to_string(),
        Unexpected::Signed(n) => n.to_string(),
        Unexpected::Float(n) => n.to_string(),
        Unexpected::Bool(b) => b.to_string(),
        other => other.to_string(),
    }
}

impl de::Error for Error {
    fn custom<T: Display>(msg: T) -> Self {
        Error::of(What::Message(msg.to_string()))
    }

    fn invalid_type(unexp: Unexpected<'_>, exp: &dyn Expected) -> Self {
        Error::of(What::Message(format!("expected {}, found {}", expected(exp), found(&unexp))))
    }

    fn invalid_value(unexp: Unexpected<'_>, exp: &dyn Expected) -> Self {
        Self::invalid_type(unexp, exp)
    }

    fn invalid_length(len: usize, exp: &dyn Expected) -> Self {
        Error::of(What::Message(format!("expected {}, found {len} values", expected(exp))))
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        Error::of(What::UnknownKey { found: field.to_owned(), known })
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        let near = nearest(variant, known).map(|n| format!("; did you mean {n}?")).unwrap_or_default();
        Error::of(What::Message(format!("{variant:?} is not one of {}{near}", known.join(", "))))
    }

    fn missing_field(field: &'static str) -> Self {
        Error::of(What::Missing(field))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Error::of(What::Message(format!("the key {field} is given twice (once under an older name)")))
    }
}

#[derive(Clone, Copy)]
struct De<'a> {
    node: &'a Node,
}

impl<'a> De<'a> {
    fn unexpected(self) -> Unexpected<'a> {
        match &self.node.kind {
            Kind::Null | Kind::Pruned => Unexpected::Unit,
            Kind::Scalar { text, .. } => Unexpected::Str(text),
            Kind::Seq(_) => Unexpected::Seq,
            Kind::Map(_) => Unexpected::Map,
        }
    }

    fn scalar(self) -> Option<&'a str> {
        match &self.node.kind {
            Kind::Scalar { text, .. } => Some(text),
            Kind::Null | Kind::Pruned | Kind::Seq(_) | Kind::Map(_) => None,
        }
    }

    fn mismatch<'de, V: Visitor<'de>>(self, visitor: V) -> Error {
        de::Error::invalid_type(self.unexpected(), &visitor)
    }

    fn number<'de, N: std::str::FromStr, V: Visitor<'de>>(self, visitor: &V) -> Result<N, Error> {
        let number = self.scalar().and_then(|t| {
            let digits = t.replace('_', "");
            digits.parse::<N>().ok()
        });
        number.ok_or_else(|| de::Error::invalid_type(self.unexpected(), visitor))
    }
}

/// Booleans as YAML 1.1 spells them.
fn as_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" => Some(true),
        "false" | "no" | "off" | "n" => Some(false),
        _ => None,
    }
}

fn as_float(text: &str) -> Option<f64> {
    match text.to_ascii_lowercase().as_str() {
        ".inf" | "+.inf" => Some(f64::INFINITY),
        "-.inf" => Some(f64::NEG_INFINITY),
        ".nan" => Some(f64::NAN),
        _ => text.parse().ok(),
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $t:ty),*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            let n = self.number::<$t, V>(&visitor)?;
            visitor.$visit(n)
        }
    )*};
}

impl<'de> de::Deserializer<'de> for De<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.kind {
            Kind::Null | Kind::Pruned => visitor.visit_unit(),
            Kind::Scalar { text, plain: true, .. } => {
                if let Ok(n) = text.parse::<u64>() {
                    visitor.visit_u64(n)
                } else if let Ok(n) = text.parse::<i64>() {
                    visitor.visit_i64(n)
                } else if let Some(n) = as_float(text).filter(|_| !text.starts_with(|c: char| c.is_alphabetic())) {
                    visitor.visit_f64(n)
                } else {
                    match text.as_str() {
                        "true" | "True" | "TRUE" => visitor.visit_bool(true),
                        "false" | "False" | "FALSE" => visitor.visit_bool(false),
                        t => visitor.visit_str(t),
                    }
                }
            }
            Kind::Scalar { text, plain: false, .. } => visitor.visit_str(text),
            Kind::Seq(_) => self.deserialize_seq(visitor),
            Kind::Map(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.scalar().and_then(as_bool) {
            Some(b) => visitor.visit_bool(b),
            None => Err(self.mismatch(visitor)),
        }
    }

    numbers!(deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16, deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64, deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32, deserialize_u64 visit_u64 u64);

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.scalar().and_then(as_float) {
            Some(n) => visitor.visit_f64(n),
            None => Err(self.mismatch(visitor)),
        }
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.kind {
            Kind::Scalar { text, .. } => visitor.visit_str(text),
            Kind::Null | Kind::Pruned => visitor.visit_str(""),
            Kind::Seq(_) | Kind::Map(_) => Err(self.mismatch(visitor)),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.node.kind {
            Kind::Null | Kind::Pruned => visitor.visit_none(),
            Kind::Scalar { .. } | Kind::Seq(_) | Kind::Map(_) => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.node.kind {
            Kind::Null | Kind::Pruned => visitor.visit_unit(),
            Kind::Scalar { .. } | Kind::Seq(_) | Kind::Map(_) => Err(self.mismatch(visitor)),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.kind {
            Kind::Seq(items) => visitor.visit_seq(Items { items: items.iter().enumerate() }),
            Kind::Null | Kind::Pruned => visitor.visit_seq(Items { items: [].iter().enumerate() }),
            Kind::Scalar { .. } | Kind::Map(_) => Err(self.mismatch(visitor)),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.map(visitor, &[])
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.map(visitor, fields)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.node.kind {
            Kind::Scalar { text, .. } => visitor.visit_enum(StrDeserializer::<Error>::new(text)),
            Kind::Map(entries) => visitor.visit_enum(MapAccessDeserializer::new(Entries {
                rest: entries.iter(),
                fields: &[],
                current: None,
            })),
            Kind::Null | Kind::Pruned => visitor.visit_enum(StrDeserializer::<Error>::new("")),
            Kind::Seq(_) => Err(self.mismatch(visitor)),
        }
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }
}

impl<'de> De<'de> {
    fn map<V: Visitor<'de>>(self, visitor: V, fields: &'static [&'static str]) -> Result<V::Value, Error> {
        match &self.node.kind {
            Kind::Map(entries) => visitor.visit_map(Entries { rest: entries.iter(), fields, current: None }),
            Kind::Null | Kind::Pruned => visitor.visit_map(Entries { rest: [].iter(), fields, current: None }),
            Kind::Scalar { .. } | Kind::Seq(_) => Err(self.mismatch(visitor)),
        }
    }
}

struct Items<'a> {
    items: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
}

impl<'de> de::SeqAccess<'de> for Items<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        match self.items.find(|(_, n)| n.kind != Kind::Pruned) {
            Some((i, node)) => {
                seed.deserialize(De { node }).map(Some).map_err(|e| e.within(Step::Index(i), node.place))
            }
            None => Ok(None),
        }
    }
}

struct Entries<'a> {
    rest: std::slice::Iter<'a, Entry>,
    /// The keys of the struct; empty for a map.
    fields: &'static [&'static str],
    current: Option<&'a Entry>,
}

impl<'de> de::MapAccess<'de> for Entries<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let fields = self.fields;
        // `key:` without a value leaves a struct's default as it is, as in the programs whose files we read.
        let next = self.rest.find(|e| match e.value.kind {
            Kind::Pruned => false,
            Kind::Null => !fields.contains(&e.key.as_str()),
            Kind::Scalar { .. } | Kind::Seq(_) | Kind::Map(_) => true,
        });
        self.current = next;
        let Some(entry) = next else { return Ok(None) };
        let key: StrDeserializer<'_, Error> = entry.key.as_str().into_deserializer();
        seed.deserialize(key).map(Some).map_err(|e| e.within(Step::Key(entry.key.clone()), entry.key_place))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let Some(entry) = self.current.take() else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        seed.deserialize(De { node: &entry.value })
            .map_err(|e| e.within(Step::Key(entry.key.clone()), entry.value.place))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;
    use crate::config::yaml::parse;
    use crate::config::{ConfigDuration, Secret};

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields, default)]
    struct Root {
        interval: ConfigDuration,
        version: String,
        flag: bool,
        ports: Vec<u16>,
        labels: BTreeMap<String, String>,
        jobs: Vec<Job>,
        kind: Kind2,
        password: Secret,
        maybe: Option<f64>,
    }

    impl Default for Root {
        fn default() -> Self {
            Root {
                interval: ConfigDuration::from_secs(15),
                version: String::new(),
                flag: true,
                ports: vec![],
                labels: BTreeMap::new(),
                jobs: vec![],
                kind: Kind2::Http,
                password: Secret::default(),
                maybe: None,
            }
        }
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "snake_case")]
    enum Kind2 {
        Http,
        Tcp,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Job {
        job_name: String,
        #[serde(default)]
        port: u16,
    }

    fn faults(text: &str) -> Vec<String> {
        decode::<Root>(&parse(text).0)
            .1
            .into_iter()
            .map(|f| format!("{}:{}: {}: {}", f.place.line, f.place.column, f.path, f.message))
            .collect()
    }

    #[test]
    fn decodes() {
        let text = "interval:\nversion: 1.10\nflag: no\nports: [80, '443']\nlabels: {a: 1, b: yes, c: }\njobs:\n- job_name: x\nkind: tcp\nmaybe: .5\n";
        let (value, faults) = decode::<Root>(&parse(text).0);
        assert_eq!(faults, []);
        let v = value.unwrap();
        assert_eq!((v.interval, v.version.as_str(), v.flag), (ConfigDuration::from_secs(15), "1.10", false));
        assert_eq!((v.ports, v.kind, v.maybe), (vec![80, 443], Kind2::Tcp, Some(0.5)));
        assert_eq!(v.labels.get("b").map(String::as_str), Some("yes"));
        assert_eq!(v.jobs, [Job { job_name: "x".into(), port: 0 }]);
        assert_eq!(decode::<Root>(&parse("").0).0, Some(Root::default()));
    }

    #[test]
    fn all_problems_at_once() {
        let text = "intervall: 5s\ninterval: 5 bananas\nflag: maybe\nports: [80, x, 99999, 1]\njobs:\n- job_name: [a]\n- port: 1\n- job_name: b\n  prot: 3\nkind: htp\npassword: {a: 1}\n";
        assert_eq!(
            faults(text),
            [
                "1:1: intervall: unknown key; did you mean interval?",
                "2:11: interval: not a valid duration string: \"5 bananas\"; write it like 15s, 5m or 1h30m",
                "3:7: flag: expected true or false, found \"maybe\"",
                "4:13: ports[1]: expected a whole number, found \"x\"",
                "4:16: ports[2]: expected a whole number, found \"99999\"",
                "6:13: jobs[0].job_name: expected a text, found a list",
                "7:3: jobs[1]: the key job_name is missing",
                "9:3: jobs[2].prot: unknown key; did you mean port?",
                "10:7: kind: \"htp\" is not one of http, tcp; did you mean http?",
                "11:11: password: expected a text, found a map",
            ]
        );
        assert_eq!(faults("[1]\n"), ["1:1: : expected a map of keys and values, found a list"]);
    }

    #[test]
    fn secrets_stay_out_of_messages() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct S {
            #[allow(dead_code)]
            password: u32,
        }
        let (_, faults) = decode::<S>(&parse("password: hunter2").0);
        assert_eq!(faults.first().map(|f| f.message.as_str()), Some("expected a whole number, found \"<secret>\""));
    }
}
