//! YAML as a tree that knows where everything stands, and its decoding into plain serde structs.
//!
//! Text becomes a [`Node`] tree (`parse`), `${NAME}` is filled in (`crate::config::env`), and the tree is decoded
//! into structs (`decode`). A problem is noted with its place, the offending entry is taken out, and decoding goes
//! on, so that one run tells all problems of a file. `emit` writes a tree back with its secrets masked.

mod decode;
mod emit;
mod mask;
mod parse;
mod path;
mod suggest;

pub use decode::decode;
pub use emit::emit_masked;
pub use mask::{is_secret_key, mask_message};
pub use parse::{MAX_BYTES, parse, parse_first};
pub use path::{Path, Step};

/// Where a node stands in its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Line, from 1; 0 where there is no place.
    pub line: usize,
    /// Column in characters, from 1; 0 where there is no place.
    pub column: usize,
    /// Byte offset of the first character.
    pub offset: usize,
}

/// A node of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub kind: Kind,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing: `key:`, `~` or `null`.
    Null,
    /// A scalar. Its type is decided by who reads it, so that `version: 1.10` stays `1.10`.
    Scalar {
        /// The text after YAML's own escapes and after environment variables were filled in.
        text: String,
        /// Whether it was written without quotes.
        plain: bool,
        /// The text before environment variables were filled in, if there were any.
        unexpanded: Option<String>,
    },
    /// A list.
    Seq(Vec<Node>),
    /// A map, in the order written; keys are unique.
    Map(Vec<Entry>),
    /// An entry that had a problem and is left out of further decoding; keeps the indexes of its neighbours true.
    Pruned,
}

/// One entry of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key begins.
    pub key_place: Place,
    /// The value.
    pub value: Node,
}

/// Something wrong at a place of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// The path of the key, such as `scrape_configs[2].scrape_timeout`.
    pub path: Path,
    /// What.
    pub message: String,
}

/// More problems than this are not collected from one file; a file that bad needs another look anyway.
pub const MAX_FAULTS: usize = 50;

impl Node {
    /// An empty document.
    pub fn null() -> Node {
        Node { place: Place { line: 1, column: 1, offset: 0 }, kind: Kind::Null }
    }

    /// The value of a key, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|e| e.key == key).map(|e| &e.value),
            Kind::Null | Kind::Scalar { .. } | Kind::Seq(_) | Kind::Pruned => None,
        }
    }

    fn child(&self, step: &Step) -> Option<&Node> {
        match (step, &self.kind) {
            (Step::Key(key), _) => self.get(key),
            (Step::Index(i), Kind::Seq(items)) => items.get(*i),
            (Step::Index(_), _) => None,
        }
    }

    fn child_mut(&mut self, step: &Step) -> Option<&mut Node> {
        match (step, &mut self.kind) {
            (Step::Key(key), Kind::Map(entries)) => entries.iter_mut().find(|e| e.key == *key).map(|e| &mut e.value),
            (Step::Index(i), Kind::Seq(items)) => items.get_mut(*i),
            _ => None,
        }
    }

    /// The node at a path, or the deepest one on the way there.
    pub fn nearest(&self, path: &Path) -> &Node {
        let mut node = self;
        for step in path.steps() {
            match node.child(step) {
                Some(child) => node = child,
                None => break,
            }
        }
        node
    }

    /// The node at a path.
    pub fn at(&self, path: &Path) -> Option<&Node> {
        path.steps().iter().try_fold(self, |node, step| node.child(step))
    }

    fn at_mut(&mut self, path: &Path) -> Option<&mut Node> {
        path.steps().iter().try_fold(self, |node, step| node.child_mut(step))
    }
}
