//! The structured metadata of one entry while it is put together. Its buffers serve for all entries of a batch.

use super::detect;
use crate::model::Labels;
use crate::model::labels::push_part;

/// Pairs in the order they came; of equal names the last counts, and an empty value means that there is none.
#[derive(Debug, Default)]
pub struct MetadataBuffer {
    text: String,
    /// Where names end and where values end; each name begins where the value before it ends.
    ends: Vec<(usize, usize)>,
    packed: String,
    /// The places of the pairs by name, for [`MetadataBuffer::labels`].
    order: Vec<usize>,
}

impl MetadataBuffer {
    /// Forgets all pairs.
    pub fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    /// Adds a pair; the name is made valid.
    pub fn add(&mut self, name: &str, value: &str) {
        self.text.push_str(&detect::valid_name(name));
        let name_end = self.text.len();
        self.text.push_str(value);
        self.ends.push((name_end, self.text.len()));
    }

    /// How many pairs were added.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all names and values.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    fn pair(&self, i: usize) -> (&str, &str) {
        let start = i.checked_sub(1).and_then(|p| self.ends.get(p)).map_or(0, |(_, end)| *end);
        let (name_end, end) = self.ends.get(i).copied().unwrap_or((start, start));
        (self.text.get(start..name_end).unwrap_or(""), self.text.get(name_end..end).unwrap_or(""))
    }

    /// The pairs in the order they came.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        (0..self.ends.len()).map(|i| self.pair(i))
    }

    /// The pairs as a label set.
    pub fn labels(&mut self) -> Labels {
        if self.ends.is_empty() {
            return Labels::empty();
        }
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        order.extend(0..self.ends.len());
        // Stable, so that the last of equal names stays the last.
        order.sort_by(|a, b| self.pair(*a).0.cmp(self.pair(*b).0));
        let mut packed = std::mem::take(&mut self.packed);
        packed.clear();
        for (i, at) in order.iter().enumerate() {
            let (name, value) = self.pair(*at);
            let overruled = order.get(i + 1).is_some_and(|next| self.pair(*next).0 == name);
            if !overruled && !value.is_empty() {
                push_part(&mut packed, name);
                push_part(&mut packed, value);
            }
        }
        let labels = Labels::from_packed(&packed);
        (self.order, self.packed) = (order, packed);
        labels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_equal_names_counts() {
        let mut m = MetadataBuffer::default();
        assert_eq!(m.labels(), Labels::empty());
        for (n, v) in [("b", "1"), ("a.x", "2"), ("b", "3"), ("c", "4"), ("c", ""), ("d", "")] {
            m.add(n, v);
        }
        assert_eq!((m.len(), m.bytes()), (6, 12));
        assert_eq!(m.labels(), Labels::from_pairs([("a_x", "2"), ("b", "3")]));
        m.clear();
        m.add("z", "1");
        assert_eq!(m.labels(), Labels::from_pairs([("z", "1")]));
    }
}
