//! Exact doubles among entries that come ordered by a key (time, or stream and time).

use std::hash::{Hash, Hasher};

use xxhash_rust::xxh3::Xxh3Default;

use crate::model::Labels;

/// Remembers the entries of the current key. Entries are told apart by a 128-bit hash of line and metadata, so nothing has to
/// be kept; a chance collision is not to be expected in the age of the universe.
pub struct Doubles<K> {
    key: Option<K>,
    seen: std::collections::HashSet<u128>,
    /// The first entry of a key is only hashed when a second one comes.
    hasher: Xxh3Default,
}

impl<K> Default for Doubles<K> {
    fn default() -> Self {
        Doubles { key: None, seen: std::collections::HashSet::new(), hasher: Xxh3Default::new() }
    }
}

impl<K: PartialEq> Doubles<K> {
    /// Whether the last entry had this key.
    pub fn is_at(&self, key: &K) -> bool {
        self.key.as_ref() == Some(key)
    }

    /// Whether an entry of the same key, line and metadata came before. Entries of one key must come one after another.
    pub fn is_double(&mut self, key: K, line: &str, metadata: &Labels) -> bool {
        if !self.is_at(&key) {
            self.key = Some(key);
            self.seen.clear();
        }
        self.hasher.reset();
        line.hash(&mut self.hasher);
        metadata.packed().hash(&mut self.hasher);
        // Hash writes a terminator after each text, so the two cannot run into each other.
        let _short = self.hasher.finish();
        !self.seen.insert(self.hasher.digest128())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_within_a_key() {
        let mut d = Doubles::default();
        let (none, some) = (Labels::empty(), Labels::from_pairs([("a", "b")]));
        let seen =
            [(1, "x", &none), (1, "y", &none), (1, "x", &some), (1, "x", &none), (2, "x", &none), (2, "x", &none)];
        assert_eq!(seen.map(|(k, l, m)| d.is_double(k, l, m)), [false, false, false, true, false, true]);
    }
}
