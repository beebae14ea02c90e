//! The labels of one line while it runs through a pipeline.
//!
//! Stream labels and structured metadata stay where they are; what stages extract, set or delete is noted on top of them, in
//! one buffer that is reused from line to line, so that a line which fails a filter costs no allocation.

use std::ops::Range;

use crate::logql::hints::Wanted;
use crate::model::{Labels, LabelsBuilder};

/// The label that says which stage failed on a line.
pub const ERROR: &str = "__error__";
/// The label that says how it failed.
pub const ERROR_DETAILS: &str = "__error_details__";
/// What is appended to an extracted name that is taken by a stream label or by metadata.
pub const EXTRACTED: &str = "_extracted";

/// Where a label comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// The stream's own.
    Stream,
    /// Structured metadata of the entry.
    Metadata,
    /// Extracted or made by a stage.
    Parsed,
}

#[derive(Clone, Debug)]
struct Change {
    name: Range<usize>,
    /// `None`: deleted.
    value: Option<Range<usize>>,
    category: Category,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct LineLabels {
    stream: Labels,
    metadata: Labels,
    changes: Vec<Change>,
    text: String,
    /// Whether a stage failed; a quick answer for the many lines without.
    has_error: bool,
    /// What parsers are to extract.
    wanted: Wanted,
    /// Which of the first 64 names of `wanted` a stage has set, by bit.
    found: u64,
}

impl LineLabels {
    /// For queries that need only some of the labels which parsers find.
    pub fn wanting(wanted: Wanted) -> Self {
        LineLabels { wanted, ..LineLabels::default() }
    }

    /// Begins a new line.
    pub fn reset(&mut self, stream: &Labels, metadata: &Labels) {
        self.found = 0;
        self.stream = stream.clone();
        self.metadata = if metadata.iter().any(|(n, _)| stream.get(n).is_some()) {
            // A name that the stream has makes way, as a parsed one does.
            Labels::from_pairs(metadata.iter().map(|(n, v)| match stream.get(n) {
                Some(_) => (format!("{n}{EXTRACTED}"), v),
                None => (n.to_owned(), v),
            }))
        } else {
            metadata.clone()
        };
        self.changes.clear();
        self.text.clear();
        self.has_error = false;
    }

    fn slice(&self, range: &Range<usize>) -> &str {
        self.text.get(range.clone()).unwrap_or("")
    }

    fn change(&self, name: &str) -> Option<&Change> {
        self.changes.iter().rev().find(|c| self.slice(&c.name) == name)
    }

    /// The value of a label and where it comes from.
    pub fn find(&self, name: &str) -> Option<(&str, Category)> {
        if let Some(c) = self.change(name) {
            return c.value.as_ref().map(|v| (self.slice(v), c.category));
        }
        if let Some(v) = self.metadata.get(name) {
            return Some((v, Category::Metadata));
        }
        self.stream.get(name).map(|v| (v, Category::Stream))
    }

    /// The value of a label.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.find(name).map(|f| f.0)
    }

    /// Whether the stream or the metadata brought a label of this name.
    pub fn is_base(&self, name: &str) -> bool {
        self.metadata.get(name).is_some() || self.stream.get(name).is_some()
    }

    /// Whether a stage has set a label of this name.
    pub fn is_parsed(&self, name: &str) -> bool {
        self.change(name).is_some_and(|c| c.value.is_some() && c.category == Category::Parsed)
    }

    fn push_text(&mut self, text: &str) -> Range<usize> {
        let start = self.text.len();
        self.text.push_str(text);
        start..self.text.len()
    }

    /// Whether parsers have nothing (more) to do on this line.
    pub fn is_complete(&self) -> bool {
        match &self.wanted {
            Wanted::All => false,
            Wanted::Nothing => true,
            Wanted::Only(names) => names.len() <= 64 && self.found.count_ones() as usize == names.len(),
        }
    }

    /// Whether a field of this name may be needed.
    pub fn wants(&self, name: &str) -> bool {
        match &self.wanted {
            Wanted::All | Wanted::Nothing => true,
            Wanted::Only(names) => names.iter().any(|n| n == name || n.strip_suffix(EXTRACTED) == Some(name)),
        }
    }

    /// Whether a field whose name begins like this may be needed.
    pub fn wants_prefix(&self, prefix: &str) -> bool {
        match &self.wanted {
            Wanted::All | Wanted::Nothing => true,
            Wanted::Only(names) => names.iter().any(|n| n.starts_with(prefix)),
        }
    }

    fn note_found(&mut self, name: &str) {
        if let Wanted::Only(names) = &self.wanted
            && let Some(i) = names.iter().take(64).position(|n| n == name)
        {
            self.found |= 1 << i;
        }
    }

    /// Sets a label of a category.
    pub fn set(&mut self, category: Category, name: &str, value: &str) {
        if category == Category::Parsed {
            self.note_found(name);
        }
        self.put(category, name, value);
    }

    fn put(&mut self, category: Category, name: &str, value: &str) {
        let at = self.changes.iter().rposition(|c| self.slice(&c.name) == name);
        let value = Some(self.push_text(value));
        match at.and_then(|i| self.changes.get_mut(i)) {
            Some(c) => {
                c.value = value;
                c.category = category;
            }
            None => {
                let name = self.push_text(name);
                self.changes.push(Change { name, value, category });
            }
        }
    }

    /// Takes a label that a parser found: a name that the stream or the metadata has gets `_extracted`; of equal names in one
    /// line the first wins. Says whether it was taken; what nobody wants is not.
    pub fn extract(&mut self, name: &str, value: &str) -> bool {
        if name.is_empty() || !self.wants(name) {
            return false;
        }
        if !self.is_base(name) {
            if self.is_parsed(name) || !self.is_listed(name) {
                return false;
            }
            self.set(Category::Parsed, name, value);
            return true;
        }
        let start = self.text.len();
        self.text.push_str(name);
        self.text.push_str(EXTRACTED);
        let name = start..self.text.len();
        let suffixed = self.slice(&name);
        let taken = self.changes.iter().any(|c| c.value.is_some() && self.slice(&c.name) == suffixed);
        if taken || !self.is_listed(suffixed) {
            self.text.truncate(start);
            return false;
        }
        if let Wanted::Only(names) = &self.wanted
            && let Some(i) = names.iter().take(64).position(|n| n == suffixed)
        {
            self.found |= 1 << i;
        }
        let value = Some(self.push_text(value));
        self.changes.push(Change { name, value, category: Category::Parsed });
        true
    }

    fn is_listed(&self, name: &str) -> bool {
        match &self.wanted {
            Wanted::All | Wanted::Nothing => true,
            Wanted::Only(names) => names.iter().any(|n| n == name),
        }
    }

    /// Removes a label, wherever it comes from.
    pub fn delete(&mut self, name: &str) {
        self.has_error &= name != ERROR;
        let at = self.changes.iter().rposition(|c| self.slice(&c.name) == name);
        match at.and_then(|i| self.changes.get_mut(i)) {
            Some(c) => c.value = None,
            None => {
                let name = self.push_text(name);
                self.changes.push(Change { name, value: None, category: Category::Parsed });
            }
        }
    }

    /// Notes that a stage failed on this line. The first failure stays.
    pub fn fail(&mut self, kind: &str, details: &str) {
        if self.has_error {
            return;
        }
        self.has_error = true;
        self.put(Category::Parsed, ERROR, kind);
        self.put(Category::Parsed, ERROR_DETAILS, details);
    }

    /// Whether a stage failed on this line and nothing has taken the mark away.
    pub fn has_error(&self) -> bool {
        self.has_error
    }

    /// Calls `each` with every label that is left, in no order.
    pub fn for_each(&self, mut each: impl FnMut(&str, &str, Category)) {
        for (n, v) in self.stream.iter() {
            if self.changes.is_empty() || self.change(n).is_none() {
                each(n, v, Category::Stream);
            }
        }
        for (n, v) in self.metadata.iter() {
            if self.changes.is_empty() || self.change(n).is_none() {
                each(n, v, Category::Metadata);
            }
        }
        for c in &self.changes {
            if let Some(v) = &c.value {
                each(self.slice(&c.name), self.slice(v), c.category);
            }
        }
    }

    /// Whether the labels are just those of the stream and the metadata.
    pub fn is_unchanged(&self) -> bool {
        self.changes.is_empty()
    }

    /// The labels that are left and `keep` accepts, as a set. Unlike a series' labels they may be empty texts in LogQL;
    /// those are reported by [`LineLabels::for_each`] and left out here.
    pub fn collect(&self, keep: impl Fn(&str, Category) -> bool) -> Labels {
        let mut b = LabelsBuilder::new();
        self.for_each(|n, v, c| {
            if keep(n, c) {
                b.set(n, v);
            }
        });
        b.build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extracted_names_make_way() {
        let mut l = LineLabels::default();
        l.reset(&Labels::from_pairs([("env", "prod")]), &Labels::from_pairs([("trace", "1")]));
        assert!(l.extract("env", "x") && l.extract("trace", "y") && l.extract("a", "1") && !l.extract("a", "2"));
        let all = l.collect(|_, _| true);
        assert_eq!(all.to_string(), r#"{a="1", env="prod", env_extracted="x", trace="1", trace_extracted="y"}"#);
        l.delete("env");
        l.delete("a");
        l.set(Category::Parsed, "b", "2");
        assert_eq!((l.get("env"), l.get("a"), l.find("b")), (None, None, Some(("2", Category::Parsed))));
    }

    #[test]
    fn metadata_makes_way_for_stream_labels() {
        let mut l = LineLabels::default();
        l.reset(&Labels::from_pairs([("env", "prod")]), &Labels::from_pairs([("env", "x"), ("k", "1")]));
        assert_eq!(l.collect(|_, _| true).to_string(), r#"{env="prod", env_extracted="x", k="1"}"#);
        assert_eq!(l.find("env"), Some(("prod", Category::Stream)));
    }

    #[test]
    fn the_first_error_stays() {
        let mut l = LineLabels::default();
        l.fail("JSONParserErr", "first");
        l.fail("LabelFilterErr", "second");
        assert_eq!((l.get(ERROR), l.get(ERROR_DETAILS)), (Some("JSONParserErr"), Some("first")));
        l.delete(ERROR);
        assert!(!l.has_error());
    }
}
