//! Targets from JSON and YAML files, read again when they change.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::SystemTime;

use prometheus::IntCounter;

use crate::config::scrape::{FILE_SD_REFRESH, FileSdConfig, StaticConfig};
use crate::config::{Expand, decode};
use crate::discovery::{TargetGroup, static_config};
use crate::telemetry::metrics;

/// A list of targets is text written by people or programs; 64 MiB is far beyond any of them.
const MAX_FILE: u64 = 64 << 20;

static READ_ERRORS: LazyLock<IntCounter> = LazyLock::new(|| {
    metrics::counter("campanile_discovery_file_read_errors_total", "Files of file discovery that could not be read.")
});

/// Why a file gives no targets.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no list of target groups.
    #[error("{path}: {message}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
}

#[derive(Clone, Debug, Default)]
struct Known {
    /// Time and length when it was last read.
    stamp: Option<(SystemTime, u64)>,
    /// What it said when it was last good.
    groups: Vec<TargetGroup>,
}

/// The files of one `file_sd_configs` entry.
#[derive(Debug)]
pub struct FileDiscovery {
    patterns: Vec<PathBuf>,
    refresh_ms: i64,
    read_at: Option<i64>,
    files: BTreeMap<PathBuf, Known>,
}

impl FileDiscovery {
    /// Nothing is read yet.
    pub fn new(config: &FileSdConfig) -> Self {
        FileDiscovery {
            patterns: config.files.clone(),
            refresh_ms: config.refresh_interval.unwrap_or(FILE_SD_REFRESH).as_ms(),
            read_at: None,
            files: BTreeMap::new(),
        }
    }

    /// Reads what is new or changed (everything once for each refresh interval); whether the groups may have changed. A file that cannot be
    /// read keeps the groups it had; one that is gone loses them. Blocking.
    pub fn poll(&mut self, now_ms: i64) -> bool {
        let all = self.read_at.is_none_or(|t| now_ms - t >= self.refresh_ms);
        if all {
            self.read_at = Some(now_ms);
        }
        let found: Vec<PathBuf> = self.patterns.iter().flat_map(|p| expand(p)).collect();
        let before = self.files.len();
        self.files.retain(|path, _| found.contains(path));
        let mut changed = all || self.files.len() != before;
        for path in found {
            let known = self.files.entry(path.clone()).or_default();
            let stamp = fs::metadata(&path).ok().and_then(|m| Some((m.modified().ok()?, m.len())));
            if !all && known.stamp.is_some() && known.stamp == stamp {
                continue;
            }
            known.stamp = stamp;
            changed = true;
            match read(&path) {
                Ok(groups) => known.groups = groups,
                Err(e) => {
                    READ_ERRORS.inc();
                    tracing::warn!(error = %e, "targets of a file stay as they were");
                }
            }
        }
        changed
    }

    /// The groups of all files.
    pub fn groups(&self) -> impl Iterator<Item = &TargetGroup> {
        self.files.values().flat_map(|k| k.groups.iter())
    }
}

/// Reads one file of target groups; each group gets the label `__meta_filepath`.
pub fn read(path: &Path) -> Result<Vec<TargetGroup>, FileError> {
    let io = |source| FileError::Io { path: path.to_owned(), source };
    if fs::metadata(path).map_err(io)?.len() > MAX_FILE {
        return Err(io(io::Error::other("the file is over 64 MiB")));
    }
    let text = fs::read_to_string(path).map_err(io)?;
    let content = |message: String| FileError::Content { path: path.to_owned(), message };
    let list: Vec<StaticConfig> = if path.extension().is_some_and(|e| e == "json") {
        serde_json::from_str(&text).map_err(|e| content(e.to_string()))?
    } else if text.trim().is_empty() {
        Vec::new()
    } else {
        let name = path.display().to_string();
        match decode(&name, &text, Expand::Nothing) {
            Ok((list, _)) => list,
            Err(problems) => {
                let all: Vec<String> =
                    problems.iter().map(|p| format!("{}:{}: {} {}", p.line, p.column, p.path, p.message)).collect();
                return Err(content(all.join("; ")));
            }
        }
    };
    let mut groups = static_config::groups(&list);
    for g in &mut groups {
        g.labels.insert("__meta_filepath".to_owned(), path.to_string_lossy().into_owned());
    }
    Ok(groups)
}

/// The files a pattern stands for, sorted; a path without wildcards stands for itself if it is there.
fn expand(pattern: &Path) -> Vec<PathBuf> {
    let name = pattern.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    if !name.contains(['*', '?']) {
        return if fs::metadata(pattern).is_ok() { vec![pattern.to_owned()] } else { Vec::new() };
    }
    let folder = pattern.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|e| wildcard(name.as_bytes(), e.file_name().to_string_lossy().as_bytes()))
        .map(|e| e.path())
        .collect();
    found.sort();
    found
}

/// Whether a name fits a pattern with `*` and `?`. Remembers the last star only, which is enough and never slow.
fn wildcard(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == b'?' || Some(c) == name.get(n) => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((sp, sn)) => {
                    star = Some((sp, sn + 1));
                    p = sp + 1;
                    n = sn + 1;
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|b| *b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        for (pattern, name, want) in [
            ("*.yml", "a.yml", true),
            ("*.yml", "a.yaml", false),
            ("t?-*.json", "t1-x.json", true),
            ("t?-*.json", "t-x.json", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*", "a", true),
        ] {
            assert_eq!(wildcard(pattern.as_bytes(), name.as_bytes()), want, "{pattern} {name}");
        }
    }

    #[test]
    fn follows_files() {
        let dir = tempfile::tempdir().unwrap();
        let config =
            FileSdConfig { files: vec![dir.path().join("t*.yml"), dir.path().join("x.json")], refresh_interval: None };
        let mut d = FileDiscovery::new(&config);
        assert!(d.poll(0));
        assert_eq!(d.groups().count(), 0);
        fs::write(dir.path().join("t1.yml"), "- targets: ['a:1', 'b:1']\n  labels:\n    env: p\n").unwrap();
        fs::write(dir.path().join("x.json"), r#"[{"targets": ["c:1"]}]"#).unwrap();
        assert!(d.poll(1));
        let all: Vec<_> = d.groups().cloned().collect();
        assert_eq!(all.iter().map(|g| g.targets.len()).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(all[0].labels["env"], "p");
        assert!(all[1].labels["__meta_filepath"].ends_with("x.json"));
        assert!(!d.poll(2), "nothing changed");
        // A broken file keeps what it said before.
        fs::write(dir.path().join("t1.yml"), "- targets: 5\n  more: x").unwrap();
        assert!(d.poll(3));
        assert_eq!(d.groups().cloned().collect::<Vec<_>>(), all);
        fs::remove_file(dir.path().join("t1.yml")).unwrap();
        assert!(d.poll(4));
        assert_eq!(d.groups().count(), 1);
    }
}
