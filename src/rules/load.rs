//! Rule files to groups: read, decoded, checked, compiled. The server and `campanile check rules` share it.

use std::path::{Path, PathBuf};

use crate::config::{Expand, Problem, Problems, decode};
use crate::rules::file::RuleFile;
use crate::rules::spec::GroupSpec;

/// What groups have where they name nothing of their own, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupDefaults {
    /// Between evaluations.
    pub interval_ms: i64,
    /// How far back evaluations look.
    pub query_offset_ms: i64,
}

/// Reads one file. All its problems come at once.
pub fn load_file(path: &Path, defaults: GroupDefaults) -> Result<Vec<GroupSpec>, Vec<Problem>> {
    let name = path.display().to_string();
    let whole =
        |message: String| vec![Problem { file: name.clone(), line: 0, column: 0, path: String::new(), message }];
    let text = std::fs::read_to_string(path).map_err(|e| whole(format!("cannot be read: {e}")))?;
    let (file, tree): (RuleFile, _) = decode(&name, &text, Expand::Nothing)?;
    let mut problems = Problems::default();
    file.validate_with(&mut problems, &|expr| crate::logql::parse(expr).map(|_| ()).map_err(|e| e.to_string()));
    if !problems.is_empty() {
        return Err(tree.locate(problems));
    }
    file.groups
        .iter()
        .map(|g| GroupSpec::compile(&name, g, defaults.interval_ms, defaults.query_offset_ms))
        .collect::<Result<_, _>>()
        .map_err(|e| whole(e.to_string()))
}

/// Reads all files. The problems of all of them come at once.
pub fn load_files(paths: &[PathBuf], defaults: GroupDefaults) -> Result<Vec<GroupSpec>, Vec<Problem>> {
    let mut groups = Vec::new();
    let mut problems = Vec::new();
    for path in paths {
        match load_file(path, defaults) {
            Ok(g) => groups.extend(g),
            Err(p) => problems.extend(p),
        }
    }
    if problems.is_empty() { Ok(groups) } else { Err(problems) }
}
