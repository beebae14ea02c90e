//! A tree back to YAML, secrets masked: what `/api/v1/status/config` shows.

use crate::config::secret::MASK;
use crate::config::yaml::mask::{is_secret_key, mask_url_passwords};
use crate::config::yaml::{Kind, Node};

/// Writes a tree in block style. Secret values become `<secret>`, environment variables stay as they were written,
/// passwords inside addresses are masked, comments are gone.
pub fn emit_masked(root: &Node) -> String {
    let mut out = String::new();
    match &root.kind {
        Kind::Null | Kind::Pruned => {}
        Kind::Scalar { .. } | Kind::Seq(_) | Kind::Map(_) => emit(root, 0, false, &mut Vec::new(), &mut out),
    }
    out
}

fn emit<'a>(node: &'a Node, indent: usize, secret: bool, above: &mut Vec<&'a str>, out: &mut String) {
    match &node.kind {
        Kind::Null | Kind::Pruned => out.push_str("null\n"),
        Kind::Scalar { text, plain, unexpanded } => {
            if secret && !text.is_empty() {
                out.push_str(MASK);
            } else {
                scalar(&mask_url_passwords(unexpanded.as_deref().unwrap_or(text)), *plain, out);
            }
            out.push('\n');
        }
        Kind::Seq(items) if items.is_empty() => out.push_str("[]\n"),
        Kind::Seq(items) => {
            for (i, item) in items.iter().enumerate() {
                if i > 0 || indent > 0 {
                    start_line(indent, out);
                }
                out.push_str("- ");
                nested(item, indent + 2, secret, above, out);
            }
        }
        Kind::Map(entries) if entries.is_empty() => out.push_str("{}\n"),
        Kind::Map(entries) => {
            for e in entries {
                start_line(indent, out);
                scalar(&e.key, true, out);
                let is_section = matches!(e.value.kind, Kind::Map(_)) && e.key == "authorization";
                let below = secret || (!is_section && is_secret_key(&e.key, above));
                above.push(&e.key);
                match &e.value.kind {
                    Kind::Map(x) if !x.is_empty() => {
                        out.push_str(":\n");
                        emit(&e.value, indent + 2, below, above, out);
                    }
                    Kind::Seq(x) if !x.is_empty() => {
                        out.push_str(":\n");
                        emit(&e.value, indent, below, above, out);
                    }
                    Kind::Null | Kind::Pruned => out.push_str(":\n"),
                    Kind::Scalar { .. } | Kind::Seq(_) | Kind::Map(_) => {
                        out.push_str(": ");
                        emit(&e.value, indent, below, above, out);
                    }
                }
                above.pop();
            }
        }
    }
}

/// An element of a list: its first line stands behind the dash already.
fn nested<'a>(node: &'a Node, indent: usize, secret: bool, above: &mut Vec<&'a str>, out: &mut String) {
    let mut inner = String::new();
    emit(node, indent, secret, above, &mut inner);
    out.push_str(inner.trim_start_matches(' '));
}

fn start_line(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn scalar(text: &str, plain: bool, out: &mut String) {
    let special = |c: char| c.is_control() || "\"'#:{}[],&*!|>%@`\\".contains(c);
    let simple = !text.is_empty()
        && !text.starts_with(['-', '?', '<', '=', ' ', '~'])
        && !text.ends_with(' ')
        && !text.contains(special);
    // What was written plain and could be another type (a number, true) stays plain; a quoted one stays quoted.
    let unquoted_text = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '/')
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "y" | "n"
        );
    if simple && (plain || unquoted_text) {
        out.push_str(text);
        return;
    }
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml::parse;

    #[test]
    fn masks_and_reads_back() {
        let text = "global:\n  scrape_interval: 15s\nscrape_configs:\n- job_name: a # note\n  basic_auth:\n    username: u\n    password: hunter2\n  authorization: {type: Bearer, credentials: abc}\n  static_configs:\n  - targets: ['h:1', \"2\"]\n    labels: {}\nremote_write:\n- url: http://u:p@h/x\nempty:\nnested:\n- - a\n  - b\n- {x: 1, y: [1]}\n";
        let (root, faults) = parse(text);
        assert_eq!(faults, []);
        let out = emit_masked(&root);
        for leak in ["hunter2", "abc", "u:p@"] {
            assert!(!out.contains(leak), "{out}");
        }
        let (again, faults) = parse(&out);
        assert_eq!(faults, [], "{out}");
        // Masks aside, the second pass changes nothing.
        assert_eq!(emit_masked(&again), out);
        assert!(out.contains("targets:\n    - \"h:1\"\n    - \"2\"\n"), "{out}");
        assert_eq!(emit_masked(&parse("").0), "");
        assert_eq!(emit_masked(&parse("- a\n- b\n").0), "- a\n- b\n");
    }
}
