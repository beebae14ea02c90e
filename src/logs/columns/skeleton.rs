//! The shape of lines: what stays the same, with holes for what varies.

use std::hash::{Hash, Hasher};
use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

/// Stands before the kind of a variable in a key; no UTF-8 text holds it.
pub(super) const HOLE: u8 = 0xff;

/// How a line was taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// The whole line is one variable.
    Raw = 0,
    /// Tokens with a digit are variables.
    Text = 1,
    /// One JSON object: the contents of strings, numbers and whole arrays are variables.
    Json = 2,
    /// Items `key=value`: the values are variables.
    Logfmt = 3,
}

impl Kind {
    fn from_byte(b: u8) -> Option<Kind> {
        [Kind::Raw, Kind::Text, Kind::Json, Kind::Logfmt].into_iter().find(|k| *k as u8 == b)
    }
}

/// What a variable is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum VariableKind {
    /// The whole line.
    Line = 0,
    /// A token with a digit.
    Token = 1,
    /// What stands between the quotes of a JSON string, escapes as they were.
    JsonString = 2,
    /// A JSON number as it was written.
    JsonNumber = 3,
    /// A JSON array with its brackets, as it was written.
    JsonArray = 4,
    /// A logfmt value without quotes; holds no `=`, `"`, backslash or blank.
    LogfmtBare = 5,
    /// What stands between the quotes of a logfmt value, escapes as they were.
    LogfmtQuoted = 6,
}

impl VariableKind {
    pub(super) fn from_byte(b: u8) -> Option<VariableKind> {
        use VariableKind::*;
        [Line, Token, JsonString, JsonNumber, JsonArray, LogfmtBare, LogfmtQuoted].into_iter().find(|k| *k as u8 == b)
    }
}

/// See the module. Equal skeletons are equal in every row group and segment, so one makes a key for what was found out about it.
#[derive(Clone, Debug)]
pub struct Skeleton {
    kind: Kind,
    variables: Vec<VariableKind>,
    /// All literals one after another, and where each one lies.
    text: String,
    literals: Vec<Range<usize>>,
    hash: u64,
}

impl PartialEq for Skeleton {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
            && self.kind == other.kind
            && self.variables == other.variables
            && self.literals == other.literals
            && self.text == other.text
    }
}

impl Eq for Skeleton {}

impl Hash for Skeleton {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Skeleton {
    /// Reads a key: the kind, then the literals with [`HOLE`] and the variable's kind between them. `None` if it is not one.
    pub(super) fn from_key(key: &[u8]) -> Option<Skeleton> {
        let (kind, mut rest) = key.split_first()?;
        let mut skeleton = Skeleton {
            kind: Kind::from_byte(*kind)?,
            variables: Vec::new(),
            text: String::with_capacity(key.len()),
            literals: Vec::new(),
            hash: xxh3_64(key),
        };
        loop {
            let hole = memchr::memchr(HOLE, rest);
            let literal = rest.get(..hole.unwrap_or(rest.len()))?;
            let start = skeleton.text.len();
            skeleton.text.push_str(std::str::from_utf8(literal).ok()?);
            skeleton.literals.push(start..skeleton.text.len());
            let Some(at) = hole else { return Some(skeleton) };
            skeleton.variables.push(VariableKind::from_byte(*rest.get(at + 1)?)?);
            rest = rest.get(at + 2..)?;
        }
    }

    /// How its lines were taken apart.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its variables, in order.
    pub fn variables(&self) -> &[VariableKind] {
        &self.variables
    }

    /// The text before variable `i`; with `i` the number of variables, the text after the last.
    pub fn literal(&self, i: usize) -> &str {
        self.literals.get(i).and_then(|r| self.text.get(r.clone())).unwrap_or("")
    }

    /// Bytes of all literals.
    pub fn literal_bytes(&self) -> usize {
        self.text.len()
    }

    /// Appends a line to `out`; `variable` appends the value of the variable it is given.
    pub fn fill<E>(
        &self,
        out: &mut String,
        mut variable: impl FnMut(usize, &mut String) -> Result<(), E>,
    ) -> Result<(), E> {
        for i in 0..self.variables.len() {
            out.push_str(self.literal(i));
            variable(i, out)?;
        }
        out.push_str(self.literal(self.variables.len()));
        Ok(())
    }
}

/// Gives `each` the literals of a key.
pub(in crate::logs) fn literals(key: &[u8], mut each: impl FnMut(&[u8])) {
    let mut rest = key.get(1..).unwrap_or_default();
    while let Some(hole) = memchr::memchr(HOLE, rest) {
        each(rest.get(..hole).unwrap_or_default());
        rest = rest.get(hole + 2..).unwrap_or_default();
    }
    each(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        let s = Skeleton::from_key(b"\x01a=\xff\x01 b\xff\x01").unwrap();
        assert_eq!((s.kind(), s.variables()), (Kind::Text, &[VariableKind::Token; 2][..]));
        assert_eq!((s.literal(0), s.literal(1), s.literal(2)), ("a=", " b", ""));
        let mut line = String::new();
        s.fill(&mut line, |i, out| {
            out.push_str(&i.to_string());
            Ok::<_, ()>(())
        })
        .unwrap();
        assert_eq!(line, "a=0 b1");
        for bad in [&b""[..], b"\x09", b"\x01a\xff", b"\x01\xff\x20", b"\x01\xc3\xff\x01"] {
            assert!(Skeleton::from_key(bad).is_none(), "{bad:?}");
        }
    }
}
