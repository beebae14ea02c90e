//! Opsgenie: an alert for each group, by the alert API.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Texts, either, http_receiver, url_problem};
use crate::config::alerting::GlobalConfig;
use crate::config::{Problems, Secret};

/// The API.
pub const DEFAULT_OPSGENIE_URL: &str = "https://api.opsgenie.com/";

http_receiver! {
    /// An alert, which the end of what it tells closes. Texts are templates.
    pub struct OpsgenieConfig {
        /// Key of the API.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub api_key: Option<Secret>,
        /// File of the same, read again on each use.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub api_key_file: Option<String>,
        /// The API; `opsgenie_api_url` of `global` if not given.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub api_url: Option<String>,
        /// What it says, at most 130 characters.
        pub message: String,
        /// The long form.
        pub description: String,
        /// Where it comes from.
        pub source: String,
        /// Further details; the common labels are always there.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        pub details: BTreeMap<String, String>,
        /// What is affected.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub entity: String,
        /// Who is to act.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub responders: Vec<OpsgenieResponder>,
        /// Names of actions, separated by commas.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub actions: String,
        /// Tags, separated by commas.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub tags: String,
        /// A note.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub note: String,
        /// `P1` to `P5`.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub priority: String,
        /// Whether message and description of an alert that is open are brought up to date.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        pub update_alerts: bool,
    }
}

/// Somebody who is to act: one of id, name and username, and a type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct OpsgenieResponder {
    /// Id.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Name; of the type `teams` several, separated by commas.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Name of a user.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// `team`, `teams`, `user`, `escalation` or `schedule`.
    #[serde(rename = "type")]
    pub kind: String,
}

impl Default for OpsgenieConfig {
    fn default() -> Self {
        let named = |what: &str| format!("{{{{ template \"opsgenie.default.{what}\" . }}}}");
        OpsgenieConfig {
            // As in Alertmanager.
            send_resolved: true,
            http_config: None,
            api_key: None,
            api_key_file: None,
            api_url: None,
            message: named("message"),
            description: named("description"),
            source: named("source"),
            details: BTreeMap::new(),
            entity: String::new(),
            responders: Vec::new(),
            actions: String::new(),
            tags: String::new(),
            note: String::new(),
            priority: String::new(),
            update_alerts: false,
        }
    }
}

impl OpsgenieConfig {
    /// This receiver with address and key filled in from `global`.
    pub fn resolved(&self, g: &GlobalConfig) -> OpsgenieConfig {
        let mut out = self.clone();
        if out.api_key.is_none() && out.api_key_file.is_none() {
            out.api_key.clone_from(&g.opsgenie_api_key);
            out.api_key_file.clone_from(&g.opsgenie_api_key_file);
        }
        let url = out.api_url.or_else(|| g.opsgenie_api_url.clone());
        out.api_url = url.or_else(|| Some(DEFAULT_OPSGENIE_URL.to_owned()));
        out
    }

    pub(super) fn validate(&self, path: &str, g: &GlobalConfig, problems: &mut Problems) {
        either(path, "api_key", self.api_key.is_some(), self.api_key_file.is_some(), problems);
        let full = self.resolved(g);
        if full.api_key.is_none() && full.api_key_file.is_none() {
            problems.add(
                format!("{path}.api_key"),
                "opsgenie needs api_key or api_key_file, here or as opsgenie_api_key under global",
            );
        }
        url_problem(format!("{path}.api_url"), self.api_url.as_deref(), problems);
        for (i, r) in self.responders.iter().enumerate() {
            let here = format!("{path}.responders[{i}]");
            if r.id.is_empty() && r.name.is_empty() && r.username.is_empty() {
                problems.add(&here, "a responder needs id, name or username");
            }
            let known = ["team", "teams", "user", "escalation", "schedule"];
            if !r.kind.contains("{{") && !known.contains(&r.kind.to_ascii_lowercase().as_str()) {
                problems.add(
                    format!("{here}.type"),
                    format!("{:?} is no type of responder; use one of {}", r.kind, known.join(", ")),
                );
            }
        }
    }

    /// Its templates with their keys.
    pub fn templates(&self) -> Texts<'_> {
        let mut out: Texts<'_> = [
            ("message", &self.message),
            ("description", &self.description),
            ("source", &self.source),
            ("entity", &self.entity),
            ("actions", &self.actions),
            ("tags", &self.tags),
            ("note", &self.note),
            ("priority", &self.priority),
        ]
        .map(|(k, t)| (k.to_owned(), t.as_str()))
        .into();
        out.extend(self.details.iter().map(|(k, t)| (format!("details.{k}"), t.as_str())));
        for (i, r) in self.responders.iter().enumerate() {
            let parts = [("id", &r.id), ("name", &r.name), ("username", &r.username), ("type", &r.kind)];
            out.extend(parts.map(|(k, t)| (format!("responders[{i}].{k}"), t.as_str())));
        }
        out
    }
}
