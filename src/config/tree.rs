//! One YAML file in memory: its name, its tree, its problems.

use serde::de::DeserializeOwned;

use crate::config::error::{Problem, Problems};
use crate::config::yaml::{self, Fault, Node, Path};

/// Whether `${NAME}` is filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expand {
    /// Environment variables are filled in: the configuration and what belongs to it.
    Environment,
    /// Texts stay as they are: rule files, discovery files.
    Nothing,
}

/// A parsed file.
#[derive(Clone, Debug)]
pub struct Tree {
    file: String,
    root: Node,
}

impl Tree {
    /// Parses a text. Problems that leave the rest readable come beside the tree.
    pub fn parse(file: &str, text: &str, expand: Expand) -> (Tree, Vec<Problem>) {
        Tree::build(file, yaml::parse(text), expand)
    }

    /// [`Tree::parse`] of the first document only, as Prometheus reads its files; a second one is a warning.
    pub fn parse_first(file: &str, text: &str, expand: Expand) -> (Tree, Vec<Problem>, Option<Problem>) {
        let (root, faults, second) = yaml::parse_first(text);
        let (tree, problems) = Tree::build(file, (root, faults), expand);
        let warning = second.map(|place| {
            let message = "a second document begins here; only the first one counts".to_owned();
            tree.problem(Fault { place, path: Path::default(), message })
        });
        (tree, problems, warning)
    }

    fn build(file: &str, (mut root, mut faults): (Node, Vec<Fault>), expand: Expand) -> (Tree, Vec<Problem>) {
        if expand == Expand::Environment {
            crate::config::env::expand(&mut root, &|name| std::env::var(name).ok(), &mut faults);
        }
        let tree = Tree { file: file.to_owned(), root };
        let problems = faults.into_iter().map(|f| tree.problem(f)).collect();
        (tree, problems)
    }

    /// The name of the file, as it was given.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The root of the tree.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// Decodes the whole tree; see [`yaml::decode`].
    pub fn decode<T: DeserializeOwned>(&self) -> (Option<T>, Vec<Problem>) {
        let (value, faults) = yaml::decode(&self.root);
        (value, faults.into_iter().map(|f| self.problem(f)).collect())
    }

    /// A problem at a key's path; the nearest place that exists is named. Secrets at the place are masked.
    pub fn problem_at(&self, path: &str, message: &str) -> Problem {
        let path = Path::parse(path);
        let place = self.root.nearest(&path).place;
        let message = yaml::mask_message(&self.root, &path, message);
        self.problem(Fault { place, path, message })
    }

    /// Finds the places of what checks found.
    pub fn locate(&self, problems: Problems) -> Vec<Problem> {
        problems.into_vec().iter().map(|(path, message)| self.problem_at(path, message)).collect()
    }

    /// The tree as YAML with its secrets masked.
    pub fn masked_yaml(&self) -> String {
        yaml::emit_masked(&self.root)
    }

    fn problem(&self, fault: Fault) -> Problem {
        Problem {
            file: self.file.clone(),
            line: fault.place.line,
            column: fault.place.column,
            path: fault.path.to_string(),
            message: fault.message,
        }
    }
}

/// Parses and decodes a text in one go; all problems at once, in the order of the file.
pub fn decode<T: DeserializeOwned>(file: &str, text: &str, expand: Expand) -> Result<(T, Tree), Vec<Problem>> {
    let (tree, mut problems) = Tree::parse(file, text, expand);
    let (value, more) = tree.decode();
    problems.extend(more);
    match value {
        Some(value) if problems.is_empty() => Ok((value, tree)),
        Some(_) | None => {
            sort(&mut problems);
            Err(problems)
        }
    }
}

/// Puts problems in the order in which their files are read, and takes out doubles.
pub fn sort(problems: &mut Vec<Problem>) {
    problems.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    problems.dedup();
}
