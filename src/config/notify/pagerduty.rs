//! PagerDuty: events of version 2 (`routing_key`) or 1 (`service_key`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Texts, either, http_receiver, is_zero, url_problem};
use crate::config::alerting::GlobalConfig;
use crate::config::{ConfigDuration, Problems, Secret};

/// Where events of version 2 go.
pub const DEFAULT_PAGERDUTY_URL: &str = "https://events.pagerduty.com/v2/enqueue";
/// Where events of version 1 go.
pub const DEFAULT_PAGERDUTY_V1_URL: &str = "https://events.pagerduty.com/generic/2010-04-15/create_event.json";

/// Details that each event has unless they are given otherwise.
const DEFAULT_DETAILS: [(&str, &str); 4] = [
    ("firing", r#"{{ template "pagerduty.default.instances" .Alerts.Firing }}"#),
    ("resolved", r#"{{ template "pagerduty.default.instances" .Alerts.Resolved }}"#),
    ("num_firing", "{{ .Alerts.Firing | len }}"),
    ("num_resolved", "{{ .Alerts.Resolved | len }}"),
];

http_receiver! {
    /// An event to a service. Texts are templates, keys too.
    pub struct PagerdutyConfig {
        /// Integration key of events of version 2.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub routing_key: Option<Secret>,
        /// File of the same, read again on each use.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub routing_key_file: Option<String>,
        /// Key of events of version 1.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub service_key: Option<Secret>,
        /// File of the same, read again on each use.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub service_key_file: Option<String>,
        /// Where events go; `pagerduty_url` of `global` if not given.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub url: Option<String>,
        /// Name of the program that tells.
        pub client: String,
        /// Where it is.
        pub client_url: String,
        /// Summary, at most 1024 characters.
        pub description: String,
        /// `critical`, `error`, `warning` or `info`; empty means `error`.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub severity: String,
        /// What is affected; the client if empty.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub source: String,
        /// Kind of event.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub class: String,
        /// Part of the source.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub component: String,
        /// Cluster of sources.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub group: String,
        /// Further details, nested as wanted; texts in them are templates. `firing`, `resolved`, `num_firing` and `num_resolved` are there unless given
        /// otherwise.
        pub details: BTreeMap<String, Value>,
        /// Pictures; one whose `src` comes out empty is left out.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub images: Vec<PagerdutyImage>,
        /// Links; one whose `href` comes out empty is left out.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub links: Vec<PagerdutyLink>,
        /// How long one attempt may take; 0 for as long as the retries last.
        #[serde(skip_serializing_if = "is_zero")]
        pub timeout: ConfigDuration,
    }
}

/// A picture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct PagerdutyImage {
    /// Address.
    pub src: String,
    /// Text in its place.
    pub alt: String,
    /// Where it leads.
    pub href: String,
}

/// A link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct PagerdutyLink {
    /// Address.
    pub href: String,
    /// What it says.
    pub text: String,
}

impl Default for PagerdutyConfig {
    fn default() -> Self {
        let named = |what: &str| format!("{{{{ template \"pagerduty.default.{what}\" . }}}}");
        PagerdutyConfig {
            // As in Alertmanager.
            send_resolved: true,
            http_config: None,
            routing_key: None,
            routing_key_file: None,
            service_key: None,
            service_key_file: None,
            url: None,
            client: named("client"),
            client_url: named("clientURL"),
            description: named("description"),
            severity: String::new(),
            source: String::new(),
            class: String::new(),
            component: String::new(),
            group: String::new(),
            details: BTreeMap::new(),
            images: Vec::new(),
            links: Vec::new(),
            timeout: ConfigDuration::from_ms(0),
        }
    }
}

impl PagerdutyConfig {
    /// Whether events of version 1 are sent.
    pub fn is_v1(&self) -> bool {
        self.service_key.is_some() || self.service_key_file.is_some()
    }

    /// This receiver with the address filled in from `global` and the details that are always there.
    pub fn resolved(&self, g: &GlobalConfig) -> PagerdutyConfig {
        let mut out = self.clone();
        let usual = if self.is_v1() { DEFAULT_PAGERDUTY_V1_URL } else { DEFAULT_PAGERDUTY_URL };
        let from_global = if self.is_v1() { None } else { g.pagerduty_url.clone() };
        out.url = out.url.or(from_global).or_else(|| Some(usual.to_owned()));
        for (key, text) in DEFAULT_DETAILS {
            out.details.entry(key.to_owned()).or_insert_with(|| text.into());
        }
        if out.severity.is_empty() {
            out.severity = "error".to_owned();
        }
        if out.source.is_empty() {
            out.source.clone_from(&out.client);
        }
        out
    }

    pub(super) fn validate(&self, path: &str, problems: &mut Problems) {
        either(path, "routing_key", self.routing_key.is_some(), self.routing_key_file.is_some(), problems);
        either(path, "service_key", self.service_key.is_some(), self.service_key_file.is_some(), problems);
        let routing = self.routing_key.is_some() || self.routing_key_file.is_some();
        match (routing, self.is_v1()) {
            (false, false) => problems.add(
                format!("{path}.routing_key"),
                "pagerduty needs routing_key (events of version 2) or service_key (version 1)",
            ),
            (true, true) => problems.add(path, "give either routing_key or service_key, not both"),
            _ => {}
        }
        url_problem(format!("{path}.url"), self.url.as_deref(), problems);
    }

    /// Its templates with their keys.
    pub fn templates(&self) -> Texts<'_> {
        let mut out: Texts<'_> = [
            ("client", &self.client),
            ("client_url", &self.client_url),
            ("description", &self.description),
            ("severity", &self.severity),
            ("source", &self.source),
            ("class", &self.class),
            ("component", &self.component),
            ("group", &self.group),
        ]
        .map(|(k, t)| (k.to_owned(), t.as_str()))
        .into();
        for (k, v) in &self.details {
            texts_inside(format!("details.{k}"), v, &mut out);
        }
        for (i, m) in self.images.iter().enumerate() {
            let parts = [("src", &m.src), ("alt", &m.alt), ("href", &m.href)];
            out.extend(parts.map(|(k, t)| (format!("images[{i}].{k}"), t.as_str())));
        }
        for (i, l) in self.links.iter().enumerate() {
            out.extend([("href", &l.href), ("text", &l.text)].map(|(k, t)| (format!("links[{i}].{k}"), t.as_str())));
        }
        out
    }
}

/// The texts inside a value, with their paths. How deep values may be nested is bounded where they are read.
fn texts_inside<'a>(path: String, value: &'a Value, out: &mut Texts<'a>) {
    match value {
        Value::String(text) => out.push((path, text)),
        Value::Array(items) => {
            for (i, v) in items.iter().enumerate() {
                texts_inside(format!("{path}[{i}]"), v, out);
            }
        }
        Value::Object(map) => {
            for (k, v) in map {
                texts_inside(format!("{path}.{k}"), v, out);
            }
        }
        _ => {}
    }
}
