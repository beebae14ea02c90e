//! Relabelling rules as they are configured, and compiled. They serve scraping, alerts and remote write alike, which is why they live here and
//! not with one of them. What a rule does to labels is in [`Relabel::apply`].

mod apply;

use serde::{Deserialize, Serialize};

use crate::config::Problems;
use crate::config::scrape::NameValidation;
use crate::text::go_regex::{GoRegex, RegexError};

/// Regex of a rule that names none: everything, as group 1.
const DEFAULT_REGEX: &str = "(.*)";
/// Replacement of a rule that names none.
const DEFAULT_REPLACEMENT: &str = "$1";
/// What joins the values of several source labels.
const DEFAULT_SEPARATOR: &str = ";";

/// One entry of `relabel_configs` as written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RelabelConfig {
    /// Labels whose values are joined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_labels: Option<Vec<String>>,
    /// What joins them; default `;`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
    /// What the joined value (or a label's name) must match as a whole; default `(.*)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// For `hashmod`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modulus: Option<u64>,
    /// The label to set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_label: Option<String>,
    /// Its value, with `$1` and `${name}` for groups; default `$1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replacement: Option<String>,
    /// What to do; default `replace`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelabelAction {
    /// Sets the target label if the regex matches.
    Replace,
    /// Drops what does not match.
    Keep,
    /// Drops what matches.
    Drop,
    /// Drops where the joined value differs from the target label's.
    KeepEqual,
    /// Drops where they are equal.
    DropEqual,
    /// Sets the target label to a hash modulo a number.
    HashMod,
    /// Copies labels to names made from theirs.
    LabelMap,
    /// Removes labels whose name matches.
    LabelDrop,
    /// Removes labels whose name does not match.
    LabelKeep,
    /// Sets the target label to the joined value in lower case.
    Lowercase,
    /// The same in upper case.
    Uppercase,
}

impl RelabelAction {
    const ALL: [(&'static str, RelabelAction); 11] = [
        ("replace", RelabelAction::Replace),
        ("keep", RelabelAction::Keep),
        ("drop", RelabelAction::Drop),
        ("keepequal", RelabelAction::KeepEqual),
        ("dropequal", RelabelAction::DropEqual),
        ("hashmod", RelabelAction::HashMod),
        ("labelmap", RelabelAction::LabelMap),
        ("labeldrop", RelabelAction::LabelDrop),
        ("labelkeep", RelabelAction::LabelKeep),
        ("lowercase", RelabelAction::Lowercase),
        ("uppercase", RelabelAction::Uppercase),
    ];

    /// The word of the configuration.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, a)| *a == self).map_or("", |(w, _)| w)
    }

    fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(w, _)| w.eq_ignore_ascii_case(word)).map(|(_, a)| *a)
    }

    fn needs_target(self) -> bool {
        use RelabelAction::{DropEqual, HashMod, KeepEqual, Lowercase, Replace, Uppercase};
        matches!(self, Replace | KeepEqual | DropEqual | HashMod | Lowercase | Uppercase)
    }

    fn refuses_replacement(self) -> bool {
        use RelabelAction::{DropEqual, KeepEqual, Lowercase, Uppercase};
        matches!(self, KeepEqual | DropEqual | Lowercase | Uppercase)
    }
}

/// Why a rule is refused. The words stay near those of promtool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RelabelError {
    /// A list entry without a rule.
    #[error("empty or null relabeling rule; remove the entry or write a rule")]
    Null,
    /// `action:` without a word.
    #[error("relabel action cannot be empty; leave the key out for replace")]
    EmptyAction,
    /// A word that is no action.
    #[error(
        "unknown relabel action {0:?}; one of replace, keep, drop, keepequal, dropequal, hashmod, labelmap, labeldrop, labelkeep, lowercase, uppercase"
    )]
    Action(String),
    /// A regex that cannot be compiled.
    #[error(transparent)]
    Regex(#[from] RegexError),
    /// `hashmod` without a modulus.
    #[error("relabel configuration for hashmod requires non-zero modulus")]
    Modulus,
    /// An action that needs a target.
    #[error("relabel configuration for {0} action requires 'target_label' value")]
    NoTarget(&'static str),
    /// A target that is no label name.
    #[error("{0:?} is invalid 'target_label' for {1} action")]
    Target(String, &'static str),
    /// A replacement that is no label name.
    #[error("{0:?} is invalid 'replacement' for {1} action")]
    Replacement(String, &'static str),
    /// A source label that is no label name.
    #[error("{0:?} is not a valid label name in 'source_labels'")]
    Source(String),
    /// A replacement where none belongs.
    #[error("'replacement' can not be set for {0} action")]
    NoReplacement(&'static str),
    /// More fields than the action takes.
    #[error("{0} action requires only {1}, and no other fields")]
    OtherFields(&'static str, &'static str),
}

/// A compiled rule.
#[derive(Clone, Debug)]
pub struct Relabel {
    source_labels: Vec<String>,
    separator: String,
    regex: GoRegex,
    modulus: u64,
    target_label: String,
    replacement: String,
    action: RelabelAction,
    scheme: NameValidation,
}

impl RelabelConfig {
    /// Checks and compiles a rule for the given rules on names.
    pub fn compile(&self, scheme: NameValidation) -> Result<Relabel, RelabelError> {
        let action = match self.action.as_deref() {
            None => RelabelAction::Replace,
            Some("") => return Err(RelabelError::EmptyAction),
            Some(w) => RelabelAction::from_word(w).ok_or_else(|| RelabelError::Action(w.to_owned()))?,
        };
        let word = action.as_str();
        let regex = self.regex.as_deref().unwrap_or(DEFAULT_REGEX);
        let rule = Relabel {
            source_labels: self.source_labels.clone().unwrap_or_default(),
            separator: self.separator.clone().unwrap_or_else(|| DEFAULT_SEPARATOR.to_owned()),
            regex: GoRegex::anchored(regex)?,
            modulus: self.modulus.unwrap_or(0),
            target_label: self.target_label.clone().unwrap_or_default(),
            replacement: self.replacement.clone().unwrap_or_else(|| DEFAULT_REPLACEMENT.to_owned()),
            action,
            scheme,
        };
        if let Some(bad) = rule.source_labels.iter().find(|n| !scheme.is_label_name(n)) {
            return Err(RelabelError::Source(bad.clone()));
        }
        if action == RelabelAction::HashMod && rule.modulus == 0 {
            return Err(RelabelError::Modulus);
        }
        if action.needs_target() {
            if rule.target_label.is_empty() {
                return Err(RelabelError::NoTarget(word));
            }
            let fits = if action == RelabelAction::Replace && rule.target_label.contains('$') {
                is_label_template(&rule.target_label, scheme)
            } else {
                scheme.is_label_name(&rule.target_label)
            };
            if !fits {
                return Err(RelabelError::Target(rule.target_label, word));
            }
        }
        let own_replacement = rule.replacement != DEFAULT_REPLACEMENT;
        if action.refuses_replacement() && own_replacement {
            return Err(RelabelError::NoReplacement(word));
        }
        if action == RelabelAction::LabelMap && !is_label_template(&rule.replacement, scheme) {
            return Err(RelabelError::Replacement(rule.replacement, word));
        }
        let others = rule.modulus != 0 || rule.separator != DEFAULT_SEPARATOR || own_replacement;
        match action {
            RelabelAction::KeepEqual | RelabelAction::DropEqual if others || regex != DEFAULT_REGEX => {
                Err(RelabelError::OtherFields(word, "'source_labels' and 'target_label'"))
            }
            RelabelAction::LabelDrop | RelabelAction::LabelKeep
                if others || self.source_labels.is_some() || !rule.target_label.is_empty() =>
            {
                Err(RelabelError::OtherFields(word, "'regex'"))
            }
            _ => Ok(rule),
        }
    }
}

/// Whether a text with `$1` or `${name}` in it can become a label name.
fn is_label_template(template: &str, scheme: NameValidation) -> bool {
    match scheme {
        NameValidation::Utf8 => !template.is_empty(),
        // The classic character set with references; what they expand to is checked when the rule runs.
        NameValidation::Legacy => {
            let mut first = true;
            let mut rest = template;
            while let Some(c) = rest.chars().next() {
                rest = match rest.strip_prefix('$') {
                    Some(r) => {
                        let (inner, closed) = match r.strip_prefix('{') {
                            Some(braced) => (braced, true),
                            None => (r, false),
                        };
                        let n = inner.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
                        let (name, tail) = inner.split_at(n);
                        let tail = if closed { tail.strip_prefix('}') } else { Some(tail) };
                        match tail {
                            Some(tail) if !name.is_empty() => tail,
                            _ => return false,
                        }
                    }
                    None if c == '_' || c.is_ascii_alphabetic() || (!first && c.is_ascii_digit()) => {
                        rest.get(1..).unwrap_or_default()
                    }
                    None => return false,
                };
                first = false;
            }
            !first
        }
    }
}

/// Compiles a list; a null entry is an error as well. Stops at the first bad rule.
pub fn compile_all(list: &[Option<RelabelConfig>], scheme: NameValidation) -> Result<Vec<Relabel>, RelabelError> {
    list.iter().map(|r| r.as_ref().ok_or(RelabelError::Null)?.compile(scheme)).collect()
}

/// Notes what is wrong with each rule of a list.
pub fn validate_all(list: &[Option<RelabelConfig>], scheme: NameValidation, path: &str, problems: &mut Problems) {
    for (i, rule) in list.iter().enumerate() {
        if let Err(e) = rule.as_ref().ok_or(RelabelError::Null).and_then(|r| r.compile(scheme)) {
            problems.add(format!("{path}[{i}]"), e.to_string());
        }
    }
}
