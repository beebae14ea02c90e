//! Many texts in one allocation.

/// A list of texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strings {
    text: String,
    ends: Vec<u32>,
}

impl Strings {
    /// An empty list with room for so many texts and bytes.
    pub fn with_capacity(texts: usize, bytes: usize) -> Strings {
        Strings { text: String::with_capacity(bytes), ends: Vec::with_capacity(texts) }
    }

    /// The list whose texts have these lengths and stand one after another in `text`; `None` if they do not fit together or
    /// a border lies inside a character.
    pub fn from_parts(text: String, lengths: impl Iterator<Item = u64>) -> Option<Strings> {
        let mut ends = Vec::with_capacity(lengths.size_hint().0);
        let mut end = 0u64;
        for length in lengths {
            end = end.checked_add(length)?;
            ends.push(u32::try_from(end).ok()?);
        }
        let fits = end == text.len() as u64;
        let between = |end: &u32| text.is_char_boundary(*end as usize);
        (fits && (text.is_ascii() || ends.iter().all(between))).then_some(Strings { text, ends })
    }

    /// Appends a text.
    pub fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.ends.push(self.text.len() as u32);
    }

    /// Appends a text that `write` appends to the buffer it is given.
    pub fn push_with(&mut self, write: impl FnOnce(&mut String)) {
        write(&mut self.text);
        self.ends.push(self.text.len() as u32);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all of them together.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// One of them; empty past the end.
    pub fn get(&self, i: usize) -> &str {
        let start = match i.checked_sub(1) {
            None => 0,
            Some(before) => self.ends.get(before).copied().unwrap_or(u32::MAX) as usize,
        };
        let end = self.ends.get(i).copied().unwrap_or(0) as usize;
        self.text.get(start..end).unwrap_or("")
    }

    /// All of them in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let text = self.text.get(start..*end as usize).unwrap_or("");
            start = *end as usize;
            text
        })
    }

    /// All of them without a border between them.
    pub fn joined(&self) -> &str {
        &self.text
    }

    /// Where each one ends in [`Strings::joined`].
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let mut s = Strings::default();
        for t in ["a", "", "ü", "bc"] {
            s.push(t);
        }
        assert_eq!(s.iter().collect::<Vec<_>>(), ["a", "", "ü", "bc"]);
        assert_eq!((s.get(2), s.get(3), s.get(4), s.len()), ("ü", "bc", "", 4));
        assert_eq!(Strings::from_parts("aübc".to_owned(), [1, 0, 2, 2].into_iter()), Some(s));
        assert_eq!(Strings::from_parts("ü".to_owned(), [1, 1].into_iter()), None);
        assert_eq!(Strings::from_parts("ab".to_owned(), [1].into_iter()), None);
    }
}
