//! Files by pattern, as `rule_files` and `scrape_config_files` name them: `*`, `?` and `[a-z]` in any part of a path.

use std::path::{Component, Path, PathBuf};

/// The files a pattern names, sorted. A pattern without wildcards names its file whether it exists or not. Folders
/// that cannot be read are an error, because a rule that silently vanished is worse than a refused reload.
pub fn expand(base: &Path, pattern: &str) -> std::io::Result<Vec<PathBuf>> {
    let full = base.join(pattern);
    if !has_wildcard(pattern) {
        return Ok(vec![full]);
    }
    let mut found = vec![PathBuf::new()];
    for part in full.components() {
        let Component::Normal(name) = part else {
            found.iter_mut().for_each(|p| p.push(part));
            continue;
        };
        let name = name.to_string_lossy();
        if !has_wildcard(&name) {
            found.iter_mut().for_each(|p| p.push(&*name));
            continue;
        }
        let mut next = Vec::new();
        for dir in &found {
            let shown = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
            match std::fs::read_dir(shown) {
                Ok(entries) => {
                    for entry in entries {
                        let file = entry?.file_name();
                        let file = file.to_string_lossy();
                        if matches(&name, &file) {
                            next.push(dir.join(&*file));
                        }
                    }
                }
                Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {}
                Err(e) => return Err(e),
            }
        }
        found = next;
    }
    found.retain(|p| p.is_file());
    found.sort();
    Ok(found)
}

fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Whether a name fits a pattern. `*` and `?` do not match a leading dot only where the pattern begins with them,
/// as a shell has it.
fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    // Where to go on after a mismatch: behind the last star, one character later.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        let step = match pattern.get(p) {
            Some('*') => {
                star = Some((p + 1, n));
                p += 1;
                continue;
            }
            Some('?') => Some(p + 1),
            Some('[') => class(&pattern, p, name.get(n).copied().unwrap_or('\0')),
            Some(c) if name.get(n) == Some(c) => Some(p + 1),
            Some(_) | None => None,
        };
        match (step, star) {
            (Some(next), _) => {
                p = next;
                n += 1;
            }
            (None, Some((after, at))) => {
                p = after;
                n = at + 1;
                star = Some((after, at + 1));
            }
            (None, None) => return false,
        }
    }
    pattern.get(p..).is_none_or(|rest| rest.iter().all(|c| *c == '*'))
}

/// The index behind a class `[...]` that begins at `at`, if it holds `c`. A class that is not closed is a literal.
fn class(pattern: &[char], at: usize, c: char) -> Option<usize> {
    let rest = pattern.get(at + 1..)?;
    let negated = matches!(rest.first(), Some('!' | '^'));
    let body_start = usize::from(negated);
    let Some(close) = rest.iter().skip(body_start + 1).position(|x| *x == ']').map(|i| i + body_start + 1) else {
        return (c == '[').then_some(at + 1);
    };
    let body = rest.get(body_start..close)?;
    let mut inside = false;
    let mut i = 0;
    while let Some(low) = body.get(i) {
        match (body.get(i + 1), body.get(i + 2)) {
            (Some('-'), Some(high)) => {
                inside |= (*low..=*high).contains(&c);
                i += 3;
            }
            _ => {
                inside |= *low == c;
                i += 1;
            }
        }
    }
    (inside != negated).then_some(at + 1 + close + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits() {
        for (pattern, name, want) in [
            ("*.yml", "a.yml", true),
            ("*.yml", ".a.yml", false),
            ("*.yml", "a.yaml", false),
            ("a*b*c", "aXbYbZc", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[a", "[a", true),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, name), want, "{pattern} {name}");
        }
    }

    #[test]
    fn finds_files_in_order() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.yml", "a.yml", "c.txt", "sub/d.yml"] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let names = |pattern: &str| -> Vec<String> {
            let found = expand(dir.path(), pattern).unwrap();
            found.iter().map(|p| p.strip_prefix(dir.path()).unwrap().display().to_string()).collect()
        };
        assert_eq!(names("*.yml"), ["a.yml", "b.yml"]);
        assert_eq!(names("*/*.yml"), ["sub/d.yml"]);
        assert_eq!(names("none.yml"), ["none.yml"]);
        assert_eq!(names("none/*.yml"), [""; 0]);
    }
}
