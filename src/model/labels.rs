//! Label sets: sorted by name, no duplicates, no empty values, cheap to clone, compare and hash.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

/// The label that holds a metric's name.
pub const METRIC_NAME: &str = "__name__";
/// The label of a classic histogram's bucket bound.
pub const BUCKET_LABEL: &str = "le";

/// A label set, sorted by name, each name once, empty values left out.
///
/// All text lives in one shared allocation, so a clone is a reference count. The layout is, for each label,
/// `length(name) name length(value) value`; a length is written in base 64, least significant digit first, each
/// digit in one byte below 128 with bit 6 marking "more follows", which keeps the whole a valid string.
#[derive(Clone, PartialEq, Eq)]
pub struct Labels(Arc<str>);

static EMPTY: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from(""));

impl Labels {
    /// The empty label set.
    pub fn empty() -> Self {
        Labels(EMPTY.clone())
    }

    /// Builds from pairs in any order. Pairs with an empty value are left out; of equal names the last wins.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut b = LabelsBuilder::new();
        for (n, v) in pairs {
            b.set(n.as_ref(), v.as_ref());
        }
        b.build()
    }

    /// Builds from pairs that are already sorted by name without duplicates or empty values (checked in debug builds).
    pub fn from_sorted<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut packed = String::with_capacity(256);
        #[cfg(debug_assertions)]
        let mut last: Option<String> = None;
        for (n, v) in pairs {
            #[cfg(debug_assertions)]
            {
                assert!(last.as_deref().is_none_or(|l| l < n), "labels not sorted: {last:?} then {n:?}");
                assert!(!v.is_empty(), "label {n:?} is empty");
                last = Some(n.to_owned());
            }
            push_part(&mut packed, n);
            push_part(&mut packed, v);
        }
        if packed.is_empty() { Self::empty() } else { Labels(Arc::from(packed)) }
    }

    /// Builds from packed text that [`push_part`] made of labels in order; used by the stores, which keep such text.
    pub(crate) fn from_packed(packed: &str) -> Self {
        if packed.is_empty() { Self::empty() } else { Labels(Arc::from(packed)) }
    }

    /// Iterates over `(name, value)` in order of names.
    pub fn iter(&self) -> Iter<'_> {
        Iter { rest: &self.0 }
    }

    /// The value of label `name`, if it is there.
    pub fn get(&self, name: &str) -> Option<&str> {
        for (n, v) in self.iter() {
            match n.cmp(name) {
                Ordering::Less => {}
                Ordering::Equal => return Some(v),
                Ordering::Greater => return None,
            }
        }
        None
    }

    /// The value of label `name`, or the empty string, which in PromQL means the same as an absent label.
    pub fn value(&self, name: &str) -> &str {
        self.get(name).unwrap_or("")
    }

    /// The metric name (`__name__`), empty if there is none.
    pub fn metric_name(&self) -> &str {
        self.value(METRIC_NAME)
    }

    /// How many labels there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is no label.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The packed text: equal label sets have equal text, so it can serve as a key.
    pub fn packed(&self) -> &str {
        &self.0
    }

    /// A 64-bit hash of the label set (XXH3 of the packed text); stable inside one process and between runs.
    pub fn hash64(&self) -> u64 {
        xxhash_rust::xxh3::xxh3_64(self.0.as_bytes())
    }

    /// Prometheus' hash of a label set: XXH64 over `name 0xff value 0xff ...` (`limit_ratio` depends on it).
    pub fn prometheus_hash(&self) -> u64 {
        let mut buf = Vec::with_capacity(self.0.len() + 16);
        for (n, v) in self.iter() {
            buf.extend_from_slice(n.as_bytes());
            buf.push(0xff);
            buf.extend_from_slice(v.as_bytes());
            buf.push(0xff);
        }
        xxhash_rust::xxh64::xxh64(&buf, 0)
    }

    /// The fingerprint Alertmanager and Prometheus' client libraries use: 64-bit FNV-1a over names and values, each followed by 0xff.
    pub fn fingerprint(&self) -> u64 {
        let mut h: u64 = 0xcbf2_9ce4_8422_2325;
        let mut add = |bytes: &[u8]| {
            for b in bytes.iter().chain(std::iter::once(&0xff)) {
                h = (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        };
        for (n, v) in self.iter() {
            add(n.as_bytes());
            add(v.as_bytes());
        }
        h
    }

    /// A builder that starts from this set.
    pub fn to_builder(&self) -> LabelsBuilder {
        LabelsBuilder { pairs: self.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect() }
    }

    /// This set without the named labels.
    pub fn without(&self, names: &[impl AsRef<str>]) -> Labels {
        self.filtered(|n| !names.iter().any(|x| x.as_ref() == n))
    }

    /// This set with only the named labels.
    pub fn with_only(&self, names: &[impl AsRef<str>]) -> Labels {
        self.filtered(|n| names.iter().any(|x| x.as_ref() == n))
    }

    /// This set without the metric name.
    pub fn without_name(&self) -> Labels {
        self.filtered(|n| n != METRIC_NAME)
    }

    /// The labels whose name `keep` accepts.
    pub fn filtered(&self, keep: impl Fn(&str) -> bool) -> Labels {
        if self.iter().all(|(n, _)| keep(n)) {
            return self.clone();
        }
        Labels::from_sorted(self.iter().filter(|(n, _)| keep(n)))
    }
}

/// Appends a name or a value to the packed text of a label set (see [`Labels`]).
pub(crate) fn push_part(packed: &mut String, part: &str) {
    let mut n = part.len();
    loop {
        let digit = (n & 63) as u8;
        n >>= 6;
        packed.push(char::from(if n > 0 { digit | 64 } else { digit }));
        if n == 0 {
            break;
        }
    }
    packed.push_str(part);
}

/// Iterator over the labels of a [`Labels`].
pub struct Iter<'a> {
    rest: &'a str,
}

impl<'a> Iter<'a> {
    fn part(&mut self) -> Option<&'a str> {
        let bytes = self.rest.as_bytes();
        let mut len = 0usize;
        for (i, b) in bytes.iter().enumerate().take(10) {
            len |= usize::from(b & 63) << (6 * i);
            if b & 64 == 0 {
                let part = self.rest.get(i + 1..i + 1 + len)?;
                self.rest = self.rest.get(i + 1 + len..)?;
                return Some(part);
            }
        }
        None
    }
}

/// Iterates over packed text as `(packed label, name, value)`.
pub(crate) fn packed_labels(packed: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    let mut iter = Iter { rest: packed };
    std::iter::from_fn(move || {
        let before = iter.rest;
        let (name, value) = iter.next()?;
        Some((before.get(..before.len() - iter.rest.len())?, name, value))
    })
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);
    fn next(&mut self) -> Option<Self::Item> {
        Some((self.part()?, self.part()?))
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self::empty()
    }
}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Borrow<str> for Labels {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Orders by the labels one after another: name, then value; a prefix comes first (Prometheus' order).
impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

/// Writes `{a="b", c="d"}` with Go-style quoting of values; the metric name is an ordinary label here.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (n, v)) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            if is_legacy_label_name(n) {
                write!(f, "{n}={}", crate::text::quote::quote(v))?;
            } else {
                write!(f, "{}={}", crate::text::quote::quote(n), crate::text::quote::quote(v))?;
            }
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a str, &'a str);
    type IntoIter = Iter<'a>;
    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl serde::Serialize for Labels {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(self.iter())
    }
}

impl<'de> serde::Deserialize<'de> for Labels {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let map = std::collections::BTreeMap::<String, String>::deserialize(d)?;
        Ok(Labels::from_pairs(map))
    }
}

/// Whether `name` is a label name of the classic character set, `[a-zA-Z_][a-zA-Z0-9_]*`.
pub fn is_legacy_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Whether `name` is a metric name of the classic character set, `[a-zA-Z_:][a-zA-Z0-9_:]*`.
pub fn is_legacy_metric_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_' || b == b':')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

/// Collects labels in any order and makes a [`Labels`] of them.
#[derive(Clone, Debug, Default)]
pub struct LabelsBuilder {
    /// Sorted by name, no duplicates, no empty values.
    pairs: Vec<(String, String)>,
}

impl LabelsBuilder {
    /// An empty builder.
    pub fn new() -> Self {
        Self::default()
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.pairs.binary_search_by(|(n, _)| n.as_str().cmp(name))
    }

    /// Sets a label; an empty value removes it.
    pub fn set(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        let value = value.into();
        match (self.find(name), value.is_empty()) {
            (Ok(i), true) => drop(self.pairs.remove(i)),
            (Ok(i), false) => {
                if let Some(p) = self.pairs.get_mut(i) {
                    p.1 = value;
                }
            }
            (Err(_), true) => {}
            (Err(i), false) => self.pairs.insert(i, (name.to_owned(), value)),
        }
        self
    }

    /// Removes a label if it is there.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        if let Ok(i) = self.find(name) {
            self.pairs.remove(i);
        }
        self
    }

    /// Keeps the labels whose `(name, value)` `keep` accepts.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &str) -> bool) {
        self.pairs.retain(|(n, v)| keep(n, v));
    }

    /// The value of a label, empty if it is not there.
    pub fn get(&self, name: &str) -> &str {
        self.find(name).ok().and_then(|i| self.pairs.get(i)).map_or("", |p| &p.1)
    }

    /// The labels collected so far, in order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// Makes the label set.
    pub fn build(&self) -> Labels {
        Labels::from_sorted(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_and_drops_empty_values() {
        let l = Labels::from_pairs([("b", "2"), ("a", "1"), ("c", "")]);
        assert_eq!(l.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
        assert_eq!(l.to_string(), r#"{a="1", b="2"}"#);
        assert_eq!((l.value("b"), l.get("x")), ("2", None));
    }

    #[test]
    fn long_and_unicode_values_survive_packing() {
        let long = "é".repeat(5000);
        let l = Labels::from_pairs([("x", long.as_str()), ("ключ", "значение")]);
        assert_eq!((l.value("x"), l.value("ключ")), (long.as_str(), "значение"));
    }

    #[test]
    fn fingerprint_matches_alertmanager() {
        assert_eq!(Labels::empty().fingerprint(), 14695981039346656037);
    }

    #[test]
    fn order_is_label_by_label() {
        let a = Labels::from_pairs([("a", "1")]);
        let ab = Labels::from_pairs([("a", "1"), ("b", "1")]);
        let b = Labels::from_pairs([("a", "11")]);
        assert!(a < ab && ab < b);
    }
}
