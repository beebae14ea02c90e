//! Environment variables in configuration values: `${NAME}`.

use crate::config::yaml::{Fault, Kind, Node, Path, Step};

/// Fills in `${NAME}` in all scalar values (never in keys). `$${` stands for a literal `${`. Only letters, digits and
/// `_` make a name and a digit cannot begin one, so that `$1` and `${1}` of relabel replacements stay as they are.
/// Values of keys that have a `${...}` language of their own (`replacement`, `query_response`) are left alone.
/// A variable that is not set is a fault.
pub fn expand(root: &mut Node, variable: &dyn Fn(&str) -> Option<String>, faults: &mut Vec<Fault>) {
    walk(root, variable, &mut Vec::new(), faults);
}

/// Keys whose values use `${name}` for groups of a regex.
const OWN_LANGUAGE: [&str; 2] = ["replacement", "query_response"];

fn walk(node: &mut Node, variable: &dyn Fn(&str) -> Option<String>, steps: &mut Vec<Step>, faults: &mut Vec<Fault>) {
    match &mut node.kind {
        Kind::Null | Kind::Pruned => {}
        Kind::Scalar { text, plain, unexpanded } => {
            if let Some(expanded) = expand_text(text, variable).transpose() {
                match expanded {
                    Ok(new) => {
                        *unexpanded = Some(std::mem::replace(text, new));
                        // A text from outside is never `null`.
                        *plain &= !text.is_empty();
                    }
                    Err(name) => faults.push(Fault {
                        place: node.place,
                        path: Path::new(steps.clone()),
                        message: format!(
                            "the environment variable {name} is not set; set it, or write $${{{name}}} for the text itself"
                        ),
                    }),
                }
            }
        }
        Kind::Seq(items) => {
            for (i, item) in items.iter_mut().enumerate() {
                steps.push(Step::Index(i));
                walk(item, variable, steps, faults);
                steps.pop();
            }
        }
        Kind::Map(entries) => {
            for e in entries.iter_mut().filter(|e| !OWN_LANGUAGE.contains(&e.key.as_str())) {
                steps.push(Step::Key(e.key.clone()));
                walk(&mut e.value, variable, steps, faults);
                steps.pop();
            }
        }
    }
}

/// The expanded text; `None` if there was nothing to expand, the name of the first variable that is not set as error.
fn expand_text(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<String>, String> {
    if !text.contains("${") {
        return Ok(None);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut changed = false;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        if out.ends_with('$') {
            out.push('{');
            changed = true;
            rest = after;
            continue;
        }
        match after.split_once('}').filter(|(name, _)| crate::model::labels::is_legacy_label_name(name)) {
            Some((name, behind)) => {
                out.push_str(&variable(name).ok_or_else(|| name.to_owned())?);
                changed = true;
                rest = behind;
            }
            None => {
                out.push_str("${");
                rest = after;
            }
        }
    }
    out.push_str(rest);
    Ok(changed.then_some(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml::parse;

    #[test]
    fn expands_names_only() {
        let env = |name: &str| match name {
            "HOME" => Some("/home/ops".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        for (text, want) in [
            ("${HOME}/x", Ok(Some("/home/ops/x"))),
            ("a${HOME}${HOME}", Ok(Some("a/home/ops/home/ops"))),
            ("${1}-$1-$HOME", Ok(None)),
            ("$${HOME}", Ok(Some("${HOME}"))),
            ("${EMPTY}", Ok(Some(""))),
            ("${NOPE}", Err("NOPE")),
            ("${", Ok(None)),
            ("${a b} ${HOME}", Ok(Some("${a b} /home/ops"))),
            ("no $ here", Ok(None)),
        ] {
            let got = expand_text(text, &env);
            assert_eq!(got.as_ref().map(|o| o.as_deref()).map_err(String::as_str), want, "{text}");
        }
    }

    #[test]
    fn unset_variables_have_a_place() {
        let (mut root, _) = parse("a:\n- x: ${NOPE}\n  replacement: ${group}\n");
        let mut faults = Vec::new();
        expand(&mut root, &|_| None, &mut faults);
        assert_eq!(faults.len(), 1);
        assert_eq!((faults[0].place.line, faults[0].path.to_string()), (2, "a[0].x".to_owned()));
    }
}
