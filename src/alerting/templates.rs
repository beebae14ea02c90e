//! The templates of notifications: the built-in ones, the user's files over them, and the texts of receivers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::default_templates;
use super::template_data::Data;
use super::template_values::data_value;
use crate::exec::Clock;
use crate::text::go_template::{Func, MissingKey, Options, Template, TemplateError, Value, alertmanager};

/// How large a template file may be.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// How many files one glob may name.
const MAX_FILES: usize = 1000;

/// Why the template files could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum TemplatesError {
    /// A file or folder cannot be read.
    #[error("cannot read template file {path}: {why}", path = path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// A file is no template.
    #[error("template file {path}: {source}", path = path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its line.
        source: Box<TemplateError>,
    },
}

/// The parsed set; receivers share it.
pub struct NotificationTemplates {
    set: Template,
    clock: Arc<dyn Clock>,
}

impl NotificationTemplates {
    /// Loads the built-in templates and then the files that `globs` name, relative to `base`. A definition of a file replaces a
    /// built-in one of the same name. A glob that names no file is fine, as in Alertmanager.
    pub fn load(globs: &[String], base: &Path, clock: Arc<dyn Clock>) -> Result<Self, TemplatesError> {
        let funcs = alertmanager_functions(0);
        let mut set = Template::empty("");
        let parse = |set: &mut Template, path: &Path, text: &str| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            set.add(&name, text, &funcs)
                .map_err(|source| TemplatesError::Parse { path: path.to_owned(), source: Box::new(source) })
        };
        parse(&mut set, Path::new("default.tmpl"), default_templates::DEFAULT)?;
        for glob in globs {
            for path in expand(base, glob)? {
                let failed = |why: String| TemplatesError::File { path: path.clone(), why };
                let length = std::fs::metadata(&path).map_err(|e| failed(e.to_string()))?.len();
                if length > MAX_FILE_BYTES {
                    return Err(failed(format!("it has {length} bytes, at most {MAX_FILE_BYTES} are read")));
                }
                let text = std::fs::read_to_string(&path).map_err(|e| failed(e.to_string()))?;
                parse(&mut set, &path, &text)?;
            }
        }
        Ok(NotificationTemplates { set, clock })
    }

    /// Checks the syntax of a text of the configuration.
    pub fn check(&self, template: &str) -> Result<(), TemplateError> {
        self.set.clone().add("", template, &alertmanager_functions(0))
    }

    /// Fills in a text.
    pub fn text(&self, template: &str, data: &Data) -> Result<String, TemplateError> {
        self.render(template, data, false)
    }

    /// Fills in HTML; values are escaped for the place where they stand.
    pub fn html(&self, template: &str, data: &Data) -> Result<String, TemplateError> {
        self.render(template, data, true)
    }

    fn render(&self, template: &str, data: &Data, html: bool) -> Result<String, TemplateError> {
        if !template.contains("{{") {
            return Ok(template.to_owned());
        }
        let funcs = alertmanager_functions(self.clock.now_ns());
        let mut set = self.set.clone();
        set.add("", template, &funcs)?;
        set.execute(&data_value(data), &funcs, &Options { missing_key: MissingKey::Zero, html, ..Options::default() })
    }
}

fn alertmanager_functions(now_ns: i64) -> crate::text::go_template::FuncMap {
    let mut funcs = alertmanager::functions(now_ns);
    // Routes have no labels of their own here, so every one of them is empty.
    funcs.insert("routeLabels".to_owned(), Func::new(|_| Ok(Value::str(""))));
    funcs
}

/// The files that a glob names, sorted. `*` and `?` may stand in the last part of the path.
fn expand(base: &Path, glob: &str) -> Result<Vec<PathBuf>, TemplatesError> {
    let path = base.join(glob);
    let pattern = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let failed = |path: &Path, e: &std::io::Error| TemplatesError::File { path: path.to_owned(), why: e.to_string() };
    if !pattern.contains(['*', '?']) {
        // A plain name must exist: it was meant.
        return Ok(vec![path]);
    }
    let dir = path.parent().unwrap_or(base);
    let entries = match std::fs::read_dir(dir) {
        Ok(e) => e,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(failed(dir, &e)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| failed(dir, &e))?;
        if wildcard(pattern.as_bytes(), entry.file_name().as_encoded_bytes()) {
            found.push(entry.path());
        }
        if found.len() > MAX_FILES {
            return Err(TemplatesError::File { path, why: format!("the glob names more than {MAX_FILES} files") });
        }
    }
    found.sort();
    Ok(found)
}

/// Matches `*` and `?`, going back at most to the last star.
fn wildcard(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                back = Some((p, n));
                p += 1;
            }
            Some(c) if *c == b'?' || Some(c) == name.get(n) => {
                p += 1;
                n += 1;
            }
            _ => match back {
                Some((star, from)) => {
                    back = Some((star, from + 1));
                    p = star + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_none_or(|rest| rest.iter().all(|c| *c == b'*'))
}

#[cfg(test)]
#[path = "templates_tests.rs"]
mod tests;
