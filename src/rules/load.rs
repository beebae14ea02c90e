//! Rule files to groups: read, decoded, checked, compiled. The server and `campanile check rules` share it.

use std::path::{Path, PathBuf};

use crate::config::tree::sort;
use crate::config::{Expand, Problem, Problems, Tree};
use crate::promql::{ParseOptions, parse_with};
use crate::rules::file::{GroupKind, RuleFile};
use crate::rules::spec::GroupSpec;

/// What groups have where they name nothing of their own, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupDefaults {
    /// Between evaluations.
    pub interval_ms: i64,
    /// How far back evaluations look.
    pub query_offset_ms: i64,
    /// Which experimental parts of PromQL they may use.
    pub syntax: ParseOptions,
}

/// Rule files that passed all checks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadedRules {
    /// Their groups, in order.
    pub groups: Vec<GroupSpec>,
    /// Things that are no error but worth a line in the log.
    pub warnings: Vec<Problem>,
}

/// Reads one file. All its problems come at once.
pub fn load_file(path: &Path, defaults: GroupDefaults) -> Result<LoadedRules, Vec<Problem>> {
    let name = path.display().to_string();
    let whole =
        |message: String| vec![Problem { file: name.clone(), line: 0, column: 0, path: String::new(), message }];
    let text = std::fs::read_to_string(path).map_err(|e| whole(format!("cannot be read: {e}")))?;
    let (tree, mut faults, second_document) = Tree::parse_first(&name, &text, Expand::Nothing);
    let (decoded, more) = tree.decode::<RuleFile>();
    faults.extend(more);
    let Some(file) = decoded.filter(|_| faults.is_empty()) else {
        sort(&mut faults);
        return Err(faults);
    };
    let mut problems = Problems::default();
    file.validate_with(&mut problems, &|kind, expr| match kind {
        GroupKind::Metrics => parse_with(expr, defaults.syntax).map(drop).map_err(|e| e.to_string()),
        GroupKind::Logs => crate::logql::parse(expr).map(drop).map_err(|e| e.to_string()),
    });
    if !problems.is_empty() {
        return Err(tree.locate(problems));
    }
    let mut warnings: Vec<Problem> = second_document.into_iter().collect();
    warnings.extend(file.duplicates().iter().map(|(path, name)| {
        let message = format!("{name:?} stands in this file before with the same labels; their results mix");
        tree.problem_at(path, &message)
    }));
    let groups = file
        .groups
        .iter()
        .map(|g| GroupSpec::compile(&name, g, defaults.interval_ms, defaults.query_offset_ms))
        .collect::<Result<_, _>>()
        .map_err(|e| whole(e.to_string()))?;
    Ok(LoadedRules { groups, warnings })
}

/// Reads all files. The problems of all of them come at once.
pub fn load_files(paths: &[PathBuf], defaults: GroupDefaults) -> Result<LoadedRules, Vec<Problem>> {
    let mut all = LoadedRules::default();
    let mut problems = Vec::new();
    for path in paths {
        match load_file(path, defaults) {
            Ok(loaded) => {
                all.groups.extend(loaded.groups);
                all.warnings.extend(loaded.warnings);
            }
            Err(p) => problems.extend(p),
        }
    }
    if problems.is_empty() { Ok(all) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_name_their_places() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.yml");
        let text = "groups:\n- name: g\n  rules:\n  - {record: a, expr: b}\n  - {record: a, expr: c}\n---\ngroups: [\n";
        std::fs::write(&path, text).unwrap();
        let loaded = load_files(
            &[path],
            GroupDefaults { interval_ms: 60_000, query_offset_ms: 0, syntax: ParseOptions::default() },
        )
        .unwrap();
        assert_eq!(loaded.groups.len(), 1);
        let folder = format!("{}/", dir.path().display());
        let shown: Vec<String> = loaded.warnings.iter().map(|w| w.to_string().replace(&folder, "")).collect();
        assert_eq!(
            shown,
            [
                "r.yml:6:1: a second document begins here; only the first one counts",
                "r.yml:5:5: groups[0].rules[1]: \"a\" stands in this file before with the same labels; their results mix",
            ]
        );
    }
}
