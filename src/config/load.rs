//! Reads the configuration file and everything it includes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::config::probe::ProbeModule;
use crate::config::scrape::{self, ScrapeConfig};
use crate::config::tree::sort;
use crate::config::yaml::MAX_BYTES;
use crate::config::{AlertmanagerConfig, Config, Expand, Problem, Problems, Tree, cross_checks, glob};

/// A configuration that passed all checks.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration, paths resolved and included files merged in.
    pub config: Config,
    /// The main file's tree, for places of later problems and for showing it.
    pub tree: Tree,
    /// The tree of `alertmanager_file`, if there is one.
    pub alertmanager_tree: Option<Tree>,
    /// The folder where relative paths of the alertmanager part (templates, password files) begin.
    pub alertmanager_dir: PathBuf,
    /// The files behind `rule_files`, patterns resolved, sorted, each once.
    pub rule_files: Vec<PathBuf>,
    /// Every file whose change means a reload, rule files included.
    pub files: Vec<FileRead>,
    /// Things that are no error but worth a line in the log.
    pub warnings: Vec<Problem>,
}

/// A file that was read, or looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRead {
    /// Its path.
    pub path: PathBuf,
    /// XXH3 of its content; nothing if it is not there.
    pub hash: Option<u64>,
}

impl FileRead {
    /// The file's present state.
    pub fn now(path: &Path) -> Self {
        let hash = std::fs::read(path).ok().map(|bytes| xxhash_rust::xxh3::xxh3_64(&bytes));
        FileRead { path: path.to_owned(), hash }
    }

    /// Whether the file is another than when it was read.
    pub fn changed(&self) -> bool {
        FileRead::now(&self.path) != *self
    }
}

impl Loaded {
    /// Finds the places of what is wrong with the alertmanager part, in the file where it stands.
    pub fn locate_alertmanager(&self, problems: Problems) -> Vec<Problem> {
        match &self.alertmanager_tree {
            Some(tree) => tree.locate(problems),
            None => {
                let inside =
                    |(path, message): (String, String)| self.tree.problem_at(&format!("alertmanager.{path}"), &message);
                problems.into_vec().into_iter().map(inside).collect()
            }
        }
    }

    /// The running configuration as YAML, secrets masked: what `/api/v1/status/config` shows.
    pub fn masked_yaml(&self) -> String {
        self.tree.masked_yaml()
    }
}

/// blackbox.yml as a file of its own.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct BlackboxFile {
    modules: BTreeMap<String, ProbeModule>,
}

/// A file of `scrape_config_files`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ScrapeFile {
    scrape_configs: Vec<ScrapeConfig>,
}

/// Loads the configuration. Without a path, or with the path of a file that does not exist or is empty, everything has
/// its default. All problems of all files come at once, in the order of the files.
pub fn load(path: Option<&Path>) -> Result<Loaded, Vec<Problem>> {
    let Some(path) = path else { return from_text("(defaults)", "", Path::new("")) };
    let name = path.display().to_string();
    let dir = path.parent().unwrap_or(Path::new(""));
    match read(path) {
        Ok(Some(text)) => {
            let mut loaded = from_text(&name, &text, dir)?;
            loaded.files.insert(0, FileRead::now(path));
            Ok(loaded)
        }
        Ok(None) => {
            let mut loaded = from_text(&name, "", dir)?;
            loaded.files.insert(0, FileRead { path: path.to_owned(), hash: None });
            loaded.warnings.push(whole_file(&name, "does not exist; everything has its default"));
            Ok(loaded)
        }
        Err(problem) => Err(vec![problem]),
    }
}

/// Loads the configuration from a text; `dir` is where relative paths begin.
pub fn from_text(name: &str, text: &str, dir: &Path) -> Result<Loaded, Vec<Problem>> {
    let (tree, mut problems, second_document) = Tree::parse_first(name, text, Expand::Environment);
    let (config, more) = tree.decode::<Config>();
    problems.extend(more);
    let Some(mut config) = config else {
        sort(&mut problems);
        return Err(problems);
    };
    config.resolve_paths(dir);
    let mut files = Vec::new();
    let mut warnings: Vec<Problem> = second_document.into_iter().collect();

    let modules = include_probe_modules(&mut config, &tree, &mut files, &mut problems);
    let (rule_files, missing) = find_files("rule_files", &config.rule_files, &tree, dir, &mut problems, &mut warnings);
    problems.extend(missing.into_iter().map(|(_, problem)| problem));
    let alertmanager_dir = config.alertmanager_file.parent().unwrap_or(dir).to_owned();
    let own_alertmanager = config.alertmanager.is_some();
    if let Some(a) = &config.alertmanager {
        let mut doubts = Problems::default();
        a.doubts("alertmanager", &mut doubts);
        warnings.extend(tree.locate(doubts));
    }
    let alertmanager_tree = include_alertmanager(&mut config, &tree, &mut files, &mut problems, &mut warnings);
    files.extend(rule_files.iter().map(|p| FileRead::now(p)));
    let own_jobs = config.scrape_configs.len();
    let (scrape_files, missing) =
        find_files("scrape_config_files", &config.scrape_config_files, &tree, dir, &mut problems, &mut warnings);
    // Prometheus takes these names for patterns, too, and starts without the files; they are read when they appear.
    for (path, problem) in missing {
        files.push(FileRead { path, hash: None });
        warnings.push(problem);
    }
    let more_jobs = include_scrape_files(&scrape_files, &config, &mut files, &mut problems);

    let broken: Vec<crate::config::yaml::Path> =
        problems.iter().map(|p| crate::config::yaml::Path::parse(&p.path)).collect();
    let mut found = Problems::default();
    config.validate(&mut found);
    if own_alertmanager && alertmanager_tree.is_some() {
        found.add("alertmanager_file", "is given beside alertmanager; remove one");
    }
    if problems.is_empty() {
        cross_checks::check(&config, &mut found);
    }
    warnings.extend(tree.locate(config.doubts()));
    let found = tree.locate(found);
    problems.extend(found.into_iter().filter(|p| is_sound(&p.path, &broken)));
    if let Some((tree, names)) = modules {
        // Their problems belong to the file they stand in.
        for p in problems.iter_mut().filter(|p| section(&p.path).as_deref() == Some("probe_modules")) {
            let inside = p.path.replacen("probe_modules", "modules", 1);
            if names.iter().any(|n| inside.starts_with(&module_path(n))) {
                *p = tree.problem_at(&inside, &p.message);
            }
        }
    }
    // Checked in their own files already.
    config.scrape_configs.truncate(own_jobs);
    config.scrape_configs.extend(more_jobs);
    if config.runtime.gogc.is_some() {
        warnings.push(tree.problem_at("runtime.gogc", "has no effect: there is no garbage collector to set"));
    }
    if problems.is_empty() {
        Ok(Loaded { config, tree, alertmanager_tree, alertmanager_dir, rule_files, files, warnings })
    } else {
        sort(&mut problems);
        Err(problems)
    }
}

fn module_path(name: &str) -> String {
    use crate::config::yaml::{Path, Step};
    Path::new(vec![Step::Key("modules".to_owned()), Step::Key(name.to_owned())]).to_string()
}

/// Whether a check's finding can be trusted although entries were left out for problems of their own: an entry that was
/// left out must not be missed, be it where it stood, in a list (whose numbers have shifted) or as what others refer to.
fn is_sound(path: &str, broken: &[crate::config::yaml::Path]) -> bool {
    let found = crate::config::yaml::Path::parse(path);
    broken.iter().all(|fault| match (found.section(), fault.section()) {
        (Some("scrape_configs"), Some("global" | "scrape_configs")) => false,
        (Some("probes"), Some("probe_modules" | "probe_modules_file" | "probes")) => false,
        (Some(a @ ("alertmanager" | "alerting" | "rule_files")), Some(b)) if a == b => false,
        // One above the other, or the same.
        _ => found.steps().iter().zip(fault.steps()).any(|(a, b)| a != b),
    })
}

fn section(path: &str) -> Option<String> {
    crate::config::yaml::Path::parse(path).section().map(str::to_owned)
}

fn whole_file(file: &str, message: impl Into<String>) -> Problem {
    Problem { file: file.to_owned(), line: 0, column: 0, path: String::new(), message: message.into() }
}

/// The text of a file; nothing if there is no such file.
fn read(path: &Path) -> Result<Option<String>, Problem> {
    let problem = |message: String| whole_file(&path.display().to_string(), message);
    match std::fs::metadata(path) {
        Ok(m) if m.len() > MAX_BYTES as u64 => {
            return Err(problem(format!("is larger than {} MiB", MAX_BYTES >> 20)));
        }
        Ok(_) => {}
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(problem(format!("cannot be read: {e}"))),
    }
    let bytes = std::fs::read(path).map_err(|e| problem(format!("cannot be read: {e}")))?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(e) => {
            let good = e.utf8_error().valid_up_to();
            let line = e.as_bytes().iter().take(good).filter(|b| **b == b'\n').count() + 1;
            let mut p = problem("is not UTF-8 from here on".to_owned());
            (p.line, p.column) = (line, 1);
            Err(p)
        }
    }
}

/// Reads an included file; a file that is not there is a problem at the key that names it.
fn include(path: &Path, key: &str, tree: &Tree, files: &mut Vec<FileRead>) -> Result<(Tree, Vec<Problem>), Problem> {
    files.push(FileRead::now(path));
    match read(path) {
        Ok(Some(text)) => Ok(Tree::parse(&path.display().to_string(), &text, Expand::Environment)),
        Ok(None) => Err(tree.problem_at(key, &format!("there is no file {}", path.display()))),
        Err(problem) => Err(problem),
    }
}

/// Merges `probe_modules_file` into `probe_modules`; gives the file's tree and the names that came from it.
fn include_probe_modules(
    config: &mut Config,
    tree: &Tree,
    files: &mut Vec<FileRead>,
    problems: &mut Vec<Problem>,
) -> Option<(Tree, Vec<String>)> {
    const KEY: &str = "probe_modules_file";
    let path = config.probe_modules_file.clone();
    if path.as_os_str().is_empty() {
        return None;
    }
    let (included, parse_problems) = match include(&path, KEY, tree, files) {
        Ok(x) => x,
        Err(problem) => {
            problems.push(problem);
            return None;
        }
    };
    problems.extend(parse_problems);
    let (file, decode_problems) = included.decode::<BlackboxFile>();
    problems.extend(decode_problems);
    let mut names = Vec::new();
    for (name, mut module) in file.unwrap_or_default().modules {
        if config.probe_modules.contains_key(&name) {
            problems.push(
                included.problem_at(&module_path(&name), "is defined in the configuration file, too; remove one"),
            );
            continue;
        }
        module.resolve_paths(path.parent().unwrap_or(Path::new("")));
        names.push(name.clone());
        config.probe_modules.insert(name, module);
    }
    Some((included, names))
}

/// Reads `alertmanager_file`; gives its tree if it gave a configuration. Its problems are told with its own lines.
fn include_alertmanager(
    config: &mut Config,
    tree: &Tree,
    files: &mut Vec<FileRead>,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<Problem>,
) -> Option<Tree> {
    let path = config.alertmanager_file.clone();
    if path.as_os_str().is_empty() {
        return None;
    }
    let (included, parse_problems) = match include(&path, "alertmanager_file", tree, files) {
        Ok(x) => x,
        Err(problem) => {
            problems.push(problem);
            return None;
        }
    };
    let (decoded, decode_problems) = included.decode::<AlertmanagerConfig>();
    let clean = parse_problems.is_empty() && decode_problems.is_empty();
    problems.extend(parse_problems);
    problems.extend(decode_problems);
    let decoded = decoded.filter(|_| clean)?;
    let (mut found, mut doubts) = (Problems::default(), Problems::default());
    decoded.validate("", &mut found);
    decoded.doubts("", &mut doubts);
    warnings.extend(included.locate(doubts));
    let valid = found.is_empty();
    problems.extend(included.locate(found));
    if valid && config.alertmanager.is_none() {
        config.alertmanager = Some(decoded);
    }
    valid.then_some(included)
}

/// Reads the jobs of `scrape_config_files`. Their problems are told with their own lines.
fn include_scrape_files(
    paths: &[PathBuf],
    config: &Config,
    files: &mut Vec<FileRead>,
    problems: &mut Vec<Problem>,
) -> Vec<ScrapeConfig> {
    let mut jobs = Vec::new();
    let mut names: std::collections::HashSet<String> =
        config.scrape_configs.iter().map(|j| j.job_name.clone()).collect();
    for path in paths {
        files.push(FileRead::now(path));
        let text = match read(path) {
            Ok(text) => text.unwrap_or_default(),
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        let (tree, mut faults) = Tree::parse(&path.display().to_string(), &text, Expand::Environment);
        let (decoded, more) = tree.decode::<ScrapeFile>();
        faults.extend(more);
        if let Some(mut decoded) = decoded.filter(|_| faults.is_empty()) {
            decoded.scrape_configs.iter_mut().for_each(|j| j.resolve_paths(path.parent().unwrap_or(Path::new(""))));
            let mut found = Problems::default();
            scrape::validate_all(&decoded.scrape_configs, &config.global, "scrape_configs", &mut found);
            for (i, job) in decoded.scrape_configs.iter().enumerate() {
                if !names.insert(job.job_name.clone()) {
                    let message =
                        format!("{:?} is the name of a job in another file; give each job its own", job.job_name);
                    found.add(format!("scrape_configs[{i}].job_name"), message);
                }
            }
            faults.extend(tree.locate(found));
            jobs.extend(decoded.scrape_configs);
        }
        problems.extend(faults);
    }
    jobs
}

/// The files that the patterns of `rule_files` name now; patterns that cannot be searched name none.
pub fn rule_files_now(config: &Config, dir: &Path) -> Vec<PathBuf> {
    config.rule_files.iter().flat_map(|pattern| glob::expand(dir, pattern).unwrap_or_default()).collect()
}

/// Resolves the patterns of a list of files, sorted, each file once. A pattern that finds nothing is a warning, as a folder
/// of rules may be empty. Files that are named without wildcards and are not there come second, for the caller to judge.
fn find_files(
    key: &str,
    patterns: &[String],
    tree: &Tree,
    dir: &Path,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<Problem>,
) -> (Vec<PathBuf>, Vec<(PathBuf, Problem)>) {
    let mut all = Vec::new();
    let mut missing = Vec::new();
    for (i, pattern) in patterns.iter().enumerate() {
        let key = format!("{key}[{i}]");
        match glob::expand(dir, pattern) {
            Ok(found) if found.is_empty() => warnings.push(tree.problem_at(&key, "matches no file")),
            Ok(found) => {
                for path in found {
                    if path.is_file() {
                        all.push(path);
                    } else {
                        let problem = tree.problem_at(&key, &format!("there is no file {}", path.display()));
                        missing.push((path, problem));
                    }
                }
            }
            Err(e) => problems.push(tree.problem_at(&key, &format!("cannot be searched: {e}"))),
        }
    }
    all.sort();
    all.dedup();
    (all, missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_without_a_file() {
        let loaded = load(None).unwrap();
        assert!(loaded.config.self_scrape && loaded.config.host.enabled && loaded.warnings.is_empty());
        let dir = tempfile::tempdir().unwrap();
        let missing = load(Some(&dir.path().join("none.yml"))).unwrap();
        assert_eq!((missing.warnings.len(), missing.files.len()), (1, 1));
        assert!(!missing.files[0].changed());
        std::fs::write(dir.path().join("none.yml"), "").unwrap();
        assert!(missing.files[0].changed());
        assert!(load(Some(&dir.path().join("none.yml"))).unwrap().warnings.is_empty());
    }

    #[test]
    fn includes_files_and_finds_rules() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("r1.yml", "groups: []");
        write("r2.yml", "groups: []");
        write("bb.yml", "modules:\n  web:\n    prober: http\n    http:\n      tls_config: {ca_file: ca.pem}\n");
        write(
            "c.yml",
            "rule_files: ['r*.yml', r1.yml]\nprobe_modules_file: bb.yml\nprobes:\n- target: http://h/\n  module: web\n",
        );
        let loaded = load(Some(&dir.path().join("c.yml"))).unwrap();
        assert_eq!(loaded.rule_files, [dir.path().join("r1.yml"), dir.path().join("r2.yml")]);
        assert_eq!(loaded.files.len(), 4);
        let module = loaded.config.probes[0].module(&loaded.config.probe_modules).unwrap();
        assert_eq!(module.http.tls_config.ca_file, Some(dir.path().join("ca.pem")));

        write("bb.yml", "modules:\n  web:\n    prober: http\n    http:\n      method: 'A B'\n");
        let problems = load(Some(&dir.path().join("c.yml"))).unwrap_err();
        let shown: Vec<_> = problems.iter().map(ToString::to_string).collect();
        let file = dir.path().join("bb.yml").display().to_string();
        assert_eq!(shown, [format!("{file}:5:15: modules.web.http.method: \"A B\" is not an HTTP method")]);
    }

    #[test]
    fn what_prometheus_passes_over_is_a_warning() {
        let text = "scrape_config_files: [none.yml]\n---\nglobal: {}\n";
        let loaded = from_text("c.yml", text, Path::new("/nowhere")).unwrap();
        let shown: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "c.yml:2:1: a second document begins here; only the first one counts",
                "c.yml:1:23: scrape_config_files[0]: there is no file /nowhere/none.yml",
            ]
        );
        let missing = FileRead { path: PathBuf::from("/nowhere/none.yml"), hash: None };
        assert_eq!(loaded.files, [missing]);
    }
}
