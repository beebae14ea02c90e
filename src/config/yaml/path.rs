//! Paths of keys: `scrape_configs[2].relabel_configs[0].regex`.

use std::fmt;

/// One step down the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Into the value of a key.
    Key(String),
    /// Into an element of a list, from 0.
    Index(usize),
}

/// A way from the root to a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(Vec<Step>);

impl Path {
    /// The path of these steps, the root's first.
    pub fn new(steps: Vec<Step>) -> Self {
        Path(steps)
    }

    /// Reads the form that [`fmt::Display`] writes. What cannot be read is taken as a key as it stands.
    pub fn parse(text: &str) -> Self {
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(r) = rest.strip_prefix('.') {
                rest = r;
            } else if let Some((key, r)) = rest.strip_prefix("[\"").and_then(|r| r.split_once("\"]")) {
                steps.push(Step::Key(key.to_owned()));
                rest = r;
            } else if let Some((n, r)) = rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
                steps.push(n.parse().map_or_else(|_| Step::Key(n.to_owned()), Step::Index));
                rest = r;
            } else {
                let end = rest.char_indices().skip(1).find(|(_, c)| matches!(c, '.' | '[')).map_or(rest.len(), |p| p.0);
                let (key, r) = rest.split_at(end);
                steps.push(Step::Key(key.to_owned()));
                rest = r;
            }
        }
        Path(steps)
    }

    /// The steps, the root's first.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The first key.
    pub fn section(&self) -> Option<&str> {
        match self.0.first() {
            Some(Step::Key(k)) => Some(k),
            Some(Step::Index(_)) | None => None,
        }
    }

    /// This path without its last step; nothing at the root.
    pub fn parent(&self) -> Option<Path> {
        let (_, parent) = self.0.split_last()?;
        Some(Path(parent.to_vec()))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(n) => write!(f, "[{n}]")?,
                Step::Key(k) if k.is_empty() || k.contains(['.', '[', ']', '"', ' ']) => write!(f, "[\"{k}\"]")?,
                Step::Key(k) if i == 0 => f.write_str(k)?,
                Step::Key(k) => write!(f, ".{k}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for text in ["", "a", "a[2].b", "a.b[0][1]", r#"labels["x.y"].z"#] {
            assert_eq!(Path::parse(text).to_string(), text);
        }
        assert_eq!(Path::parse("a[2].b").steps().len(), 3);
        assert_eq!(Path::parse("a[2].b").section(), Some("a"));
    }
}
