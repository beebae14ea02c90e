//! `inhibit_rules`: which alerts keep which others quiet.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Problems;
use super::alert_matcher::AlertMatchers;
use super::alerting::check_regexes;

/// While an alert that matches the source fires, alerts that match the target and agree in `equal` are not told.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct InhibitRuleConfig {
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Old form.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub source_match: BTreeMap<String, String>,
    /// Old form.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub source_match_re: BTreeMap<String, String>,
    /// Conditions on the alert that keeps others quiet.
    #[serde(skip_serializing_if = "AlertMatchers::is_empty")]
    pub source_matchers: AlertMatchers,
    /// Several conditions in place of the one above, which must all be met.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<InhibitSourceConfig>,
    /// Old form.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub target_match: BTreeMap<String, String>,
    /// Old form.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub target_match_re: BTreeMap<String, String>,
    /// Conditions on the alerts that are kept quiet.
    #[serde(skip_serializing_if = "AlertMatchers::is_empty")]
    pub target_matchers: AlertMatchers,
    /// Labels that must have the same value on both sides; absent on both sides counts as the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub equal: Vec<String>,
}

/// One of several conditions of a rule.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct InhibitSourceConfig {
    /// Conditions on the alert that keeps others quiet.
    pub matchers: AlertMatchers,
    /// Labels that must have the same value on both sides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub equal: Vec<String>,
}

impl InhibitRuleConfig {
    pub(super) fn validate(&self, path: &str, problems: &mut Problems) {
        check_regexes(&self.source_match_re, &format!("{path}.source_match_re"), problems);
        check_regexes(&self.target_match_re, &format!("{path}.target_match_re"), problems);
        let one = !self.source_match.is_empty()
            || !self.source_match_re.is_empty()
            || !self.source_matchers.is_empty()
            || !self.equal.is_empty();
        if one && !self.sources.is_empty() {
            problems.add(
                format!("{path}.sources"),
                "cannot be used beside source_match, source_match_re, source_matchers and equal; move them into sources",
            );
        }
        for (i, source) in self.sources.iter().enumerate() {
            if source.matchers.0.iter().all(|m| m.matches("")) {
                problems.add(
                    format!("{path}.sources[{i}].matchers"),
                    "at least one matcher must not match the empty text, or every alert would be a source",
                );
            }
        }
    }
}
