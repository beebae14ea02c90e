//! What is wrong with a file of the user: one problem each, all of them at once.

use std::fmt;

/// One problem, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file as it was named.
    pub file: String,
    /// Line, from 1; 0 where the whole file is meant.
    pub line: usize,
    /// Column, from 1; 0 where the whole file is meant.
    pub column: usize,
    /// The key's path, such as `scrape_configs[2].scrape_timeout`; may be empty.
    pub path: String,
    /// What was found and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if self.path.is_empty() {
            write!(f, ": {}", self.message)
        } else if self.message.starts_with('(') {
            // `scrape_timeout (30s) is longer than ...`: the message goes on where the path ends.
            write!(f, ": {} {}", self.path, self.message)
        } else {
            write!(f, ": {}: {}", self.path, self.message)
        }
    }
}

/// Collects what checks find, by the path of the key; the loader finds the lines afterwards.
#[derive(Clone, Debug, Default)]
pub struct Problems {
    found: Vec<(String, String)>,
}

impl Problems {
    /// Notes a problem at a path such as `scrape_configs[2].scrape_timeout` (relative to the file's root).
    pub fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.found.push((path.into(), message.into()));
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All pairs of path and message, in the order found.
    pub fn into_vec(self) -> Vec<(String, String)> {
        self.found
    }
}
