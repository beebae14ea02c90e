//! The label index of the head or of a block: labels as numbers, and for each the series that carry it.

use std::sync::Arc;

use roaring::RoaringBitmap;
use xxhash_rust::xxh3::xxh3_64;

use super::id_table::IdTable;
use super::postings::Postings;

/// A label (name and value) that some series carry.
#[derive(Debug, Default)]
pub(crate) struct Pair {
    /// Name and value in the packed form of [`crate::model::Labels`]; empty if the number is free.
    pub text: Arc<str>,
    /// Number of the name.
    name: u32,
    /// Length of the value, which ends the text.
    value_len: u32,
    /// The series that carry it.
    pub postings: Postings,
}

impl Pair {
    /// The number of its name among [`LabelIndex::names`].
    pub(crate) fn name_number(&self) -> u32 {
        self.name
    }

    /// The value of the label.
    pub(crate) fn value(&self) -> &str {
        self.text.get(self.text.len() - self.value_len as usize..).unwrap_or_default()
    }
}

/// A label name.
#[derive(Debug)]
pub(crate) struct Name {
    /// The name itself.
    pub text: Arc<str>,
    /// The pairs of this name, in no order.
    pub pairs: Vec<u32>,
    /// All series that carry the name.
    pub having: RoaringBitmap,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct LabelIndex {
    names: Vec<Name>,
    name_table: IdTable,
    pairs: Vec<Pair>,
    pair_table: IdTable,
    free_pairs: Vec<u32>,
    all: RoaringBitmap,
}

impl LabelIndex {
    /// All series.
    pub(crate) fn all(&self) -> &RoaringBitmap {
        &self.all
    }

    /// All names ever seen; those without series have an empty `having`.
    pub(crate) fn names(&self) -> &[Name] {
        &self.names
    }

    pub(crate) fn name(&self, name: &str) -> Option<&Name> {
        self.names.get(self.name_number(name)? as usize)
    }

    fn name_is(&self, id: u32, name: &str) -> bool {
        self.names.get(id as usize).is_some_and(|n| &*n.text == name)
    }

    /// The number of a name among [`Self::names`].
    pub(crate) fn name_number(&self, name: &str) -> Option<u32> {
        self.name_table.find(xxh3_64(name.as_bytes()), |i| self.name_is(i, name))
    }

    /// The pairs from a number on, free ones included.
    pub(crate) fn pairs_from(&self, from: usize) -> impl Iterator<Item = &Pair> {
        self.pairs.get(from..).unwrap_or_default().iter()
    }

    pub(crate) fn pair(&self, id: u32) -> Option<&Pair> {
        self.pairs.get(id as usize)
    }

    /// Pairs have numbers below this.
    pub(crate) fn pair_numbers(&self) -> usize {
        self.pairs.len()
    }

    /// The name of a pair.
    pub(crate) fn name_of(&self, pair: &Pair) -> &str {
        self.names.get(pair.name as usize).map_or("", |n| &n.text)
    }

    /// The pair `name="value"`, if some series has it.
    pub(crate) fn find(&self, name: &str, value: &str) -> Option<&Pair> {
        let mut text = String::with_capacity(name.len() + value.len() + 4);
        crate::model::labels::push_part(&mut text, name);
        crate::model::labels::push_part(&mut text, value);
        self.pair(self.find_packed(&text)?)
    }

    fn find_packed(&self, text: &str) -> Option<u32> {
        self.pair_table.find(xxh3_64(text.as_bytes()), |i| self.pair(i).is_some_and(|p| &*p.text == text))
    }

    /// The number of a label, given its packed text and its parts.
    pub(crate) fn intern(&mut self, text: &str, name: &str, value: &str) -> u32 {
        if let Some(id) = self.find_packed(text) {
            return id;
        }
        let name_hash = xxh3_64(name.as_bytes());
        let name_id = self.name_table.find(name_hash, |i| self.name_is(i, name)).unwrap_or_else(|| {
            let id = self.names.len() as u32;
            self.names.push(Name { text: Arc::from(name), pairs: Vec::new(), having: RoaringBitmap::new() });
            self.name_table.insert(name_hash, id);
            id
        });
        // A single label value is far below 4 GiB: requests are capped long before.
        let pair =
            Pair { text: Arc::from(text), name: name_id, value_len: value.len() as u32, postings: Postings::Empty };
        let id = match self.free_pairs.pop() {
            Some(id) => {
                if let Some(p) = self.pairs.get_mut(id as usize) {
                    *p = pair;
                }
                id
            }
            None => {
                self.pairs.push(pair);
                (self.pairs.len() - 1) as u32
            }
        };
        self.pair_table.insert(xxh3_64(text.as_bytes()), id);
        if let Some(n) = self.names.get_mut(name_id as usize) {
            n.pairs.push(id);
        }
        id
    }

    /// Enters a series under its labels.
    pub(crate) fn add(&mut self, series: u32, pairs: &[u32]) {
        self.all.insert(series);
        for id in pairs {
            if let Some(p) = self.pairs.get_mut(*id as usize) {
                p.postings.insert(series);
                if let Some(n) = self.names.get_mut(p.name as usize) {
                    n.having.insert(series);
                }
            }
        }
    }

    /// Takes a series out. Labels nobody carries any more stay until [`Self::sweep`].
    pub(crate) fn remove(&mut self, series: u32, pairs: &[u32]) {
        self.all.remove(series);
        for id in pairs {
            if let Some(p) = self.pairs.get_mut(*id as usize) {
                p.postings.remove(series);
                if let Some(n) = self.names.get_mut(p.name as usize) {
                    n.having.remove(series);
                }
            }
        }
    }

    /// Frees the labels that no series carries.
    pub(crate) fn sweep(&mut self) {
        let mut freed = false;
        for (id, p) in self.pairs.iter_mut().enumerate() {
            if p.postings.is_empty() && !p.text.is_empty() {
                self.pair_table.remove(xxh3_64(p.text.as_bytes()), id as u32);
                p.text = Arc::default();
                p.value_len = 0;
                self.free_pairs.push(id as u32);
                freed = true;
            }
        }
        if freed {
            let pairs = &self.pairs;
            for n in &mut self.names {
                n.pairs.retain(|id| pairs.get(*id as usize).is_some_and(|p| !p.text.is_empty()));
            }
        }
    }

    /// The packed text of a label set.
    pub(crate) fn packed(&self, pairs: &[u32], out: &mut String) {
        for id in pairs {
            out.push_str(self.pair(*id).map_or("", |p| &p.text));
        }
    }
}
