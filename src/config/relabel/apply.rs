//! What a relabelling rule does to a label set (prometheus.io/docs, configuration, `relabel_config`).

use md5::{Digest, Md5};
use regex::Captures;

use crate::config::relabel::{DEFAULT_REGEX, Relabel, RelabelAction};
use crate::model::LabelsBuilder;

impl Relabel {
    /// Applies rules one after another; `false` as soon as one says to drop the labels, which then are in no defined state.
    pub fn apply_all(rules: &[Relabel], labels: &mut LabelsBuilder) -> bool {
        rules.iter().all(|r| r.apply(labels))
    }

    /// Applies this rule; `false` says to drop the labels.
    pub fn apply(&self, labels: &mut LabelsBuilder) -> bool {
        match self.action {
            RelabelAction::Keep => return self.regex.is_match(&self.joined(labels)),
            RelabelAction::Drop => return !self.regex.is_match(&self.joined(labels)),
            RelabelAction::KeepEqual => return self.joined(labels) == labels.get(&self.target_label),
            RelabelAction::DropEqual => return self.joined(labels) != labels.get(&self.target_label),
            RelabelAction::Replace => self.replace(labels),
            RelabelAction::Lowercase => {
                let value = self.joined(labels).chars().map(lower).collect::<String>();
                labels.set(&self.target_label, value);
            }
            RelabelAction::Uppercase => {
                let value = self.joined(labels).chars().map(upper).collect::<String>();
                labels.set(&self.target_label, value);
            }
            RelabelAction::HashMod => {
                let hash = Md5::digest(self.joined(labels).as_bytes());
                let tail = hash.last_chunk::<8>().map_or(0, |b| u64::from_be_bytes(*b));
                // The modulus is not zero; that was checked when the rule was compiled.
                labels.set(&self.target_label, tail.checked_rem(self.modulus).unwrap_or(0).to_string());
            }
            RelabelAction::LabelMap => {
                // Over a snapshot: a label made here is not mapped again.
                let made: Vec<_> = labels
                    .iter()
                    .filter_map(|(n, v)| {
                        let c = self.regex.regex().captures(n)?;
                        Some((expand(&self.replacement, &c), v.to_owned()))
                    })
                    .collect();
                for (name, value) in made {
                    labels.set(&name, value);
                }
            }
            RelabelAction::LabelDrop => labels.retain(|n, _| !self.regex.is_match(n)),
            RelabelAction::LabelKeep => labels.retain(|n, _| self.regex.is_match(n)),
        }
        true
    }

    fn joined(&self, labels: &LabelsBuilder) -> String {
        let mut joined = String::new();
        for (i, name) in self.source_labels.iter().enumerate() {
            if i > 0 {
                joined.push_str(&self.separator);
            }
            joined.push_str(labels.get(name));
        }
        joined
    }

    fn replace(&self, labels: &mut LabelsBuilder) {
        let value = self.joined(labels);
        let constant = !self.target_label.contains('$') && !self.replacement.contains('$');
        if value.is_empty() && constant && self.regex.as_str() == DEFAULT_REGEX {
            labels.set(&self.target_label, self.replacement.as_str());
            return;
        }
        let Some(captures) = self.regex.regex().captures(&value) else { return };
        let target = expand(&self.target_label, &captures);
        if self.scheme.is_label_name(&target) {
            // An empty value removes the label.
            labels.set(&target, expand(&self.replacement, &captures));
        }
    }
}

/// Replaces `$name`, `${name}`, `$1`, `$$` as Go's `Regexp.Expand` does: the longest name counts, an unknown group is empty, a dollar that starts
/// no reference stays.
fn expand(template: &str, captures: &Captures<'_>) -> String {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        match reference(rest) {
            Some((name, after)) => {
                let group = match name.parse::<usize>() {
                    Ok(n) if name.bytes().all(|b| b.is_ascii_digit()) => captures.get(n),
                    _ => captures.name(name),
                };
                out.push_str(group.map_or("", |g| g.as_str()));
                rest = after;
            }
            None => out.push('$'),
        }
    }
    out.push_str(rest);
    out
}

/// The name of a reference and what follows it; `text` starts after the dollar.
fn reference(text: &str) -> Option<(&str, &str)> {
    let (inner, braced) = match text.strip_prefix('{') {
        Some(inner) => (inner, true),
        None => (text, false),
    };
    let end = inner.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(inner.len());
    let (name, after) = inner.split_at(end);
    if name.is_empty() {
        return None;
    }
    Some((name, if braced { after.strip_prefix('}')? } else { after }))
}

/// Lower case of one character without special casing, as Go's `unicode.ToLower`.
fn lower(c: char) -> char {
    let mut mapped = c.to_lowercase();
    // The Turkish dotted capital I is the only one whose full mapping has two characters; its simple one is the plain i.
    match (mapped.next(), mapped.next()) {
        (Some(l), None) => l,
        _ if c == 'İ' => 'i',
        _ => c,
    }
}

/// Upper case of one character without special casing, as Go's `unicode.ToUpper`.
fn upper(c: char) -> char {
    let mut mapped = c.to_uppercase();
    match (mapped.next(), mapped.next()) {
        (Some(u), None) => u,
        // Greek letters with iota subscript have a simple mapping beside the full one (UnicodeData.txt, field 12).
        _ => match c {
            '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => {
                char::from_u32(c as u32 + 8).unwrap_or(c)
            }
            '\u{1fb3}' => '\u{1fbc}',
            '\u{1fc3}' => '\u{1fcc}',
            '\u{1ff3}' => '\u{1ffc}',
            _ => c,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_as_in_go() {
        let re = regex::Regex::new("(?P<word>[a-z]+)-([0-9]+)").unwrap();
        let c = re.captures("abc-12").unwrap();
        for (template, want) in [
            ("$1x", ""),
            ("${1}x", "abcx"),
            ("$word.$2", "abc.12"),
            ("$$1", "$1"),
            ("${1", "${1"),
            ("$", "$"),
            ("a$-b", "a$-b"),
            ("$9", ""),
        ] {
            assert_eq!(expand(template, &c), want, "{template}");
        }
    }

    #[test]
    fn case_is_mapped_character_by_character() {
        assert_eq!("Straße ﬁ ᾳ".chars().map(upper).collect::<String>(), "STRAßE ﬁ ᾼ");
        assert_eq!("İX".chars().map(lower).collect::<String>(), "ix");
    }
}
