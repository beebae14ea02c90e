//! ntfy: a message to a topic. campanile's own kind; Alertmanager has none.

use serde::{Deserialize, Serialize};

use super::{Texts, either, http_receiver, url_problem};
use crate::config::{Problems, Secret};

/// The public server.
pub const DEFAULT_NTFY_URL: &str = "https://ntfy.sh";

http_receiver! {
    /// A message. Texts are templates. A user's name and password are `basic_auth` of `http_config`.
    pub struct NtfyConfig {
        /// The server.
        pub url: String,
        /// Access token (`tk_...`).
        #[serde(skip_serializing_if = "Option::is_none")]
        pub token: Option<Secret>,
        /// File of the same, read again on each use.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub token_file: Option<String>,
        /// The topic.
        pub topic: String,
        /// Heading.
        pub title: String,
        /// Text, at most 4096 bytes.
        pub message: String,
        /// 1 to 5, or `min`, `low`, `default`, `high`, `max`.
        pub priority: String,
        /// Tags and emojis, separated by commas.
        pub tags: String,
        /// Where a tap leads.
        pub click: String,
        /// Picture.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub icon: String,
        /// Whether the text is Markdown.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        pub markdown: bool,
        /// Buttons that open a page, three at most.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub actions: Vec<NtfyAction>,
    }
}

/// A button that opens a page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct NtfyAction {
    /// What it says.
    pub label: String,
    /// Where it leads.
    pub url: String,
}

impl Default for NtfyConfig {
    fn default() -> Self {
        let named = |what: &str| format!("{{{{ template \"ntfy.default.{what}\" . }}}}");
        NtfyConfig {
            // A phone that rang is told when it is over.
            send_resolved: true,
            http_config: None,
            url: DEFAULT_NTFY_URL.to_owned(),
            token: None,
            token_file: None,
            topic: String::new(),
            title: named("title"),
            message: named("message"),
            priority: r#"{{ if eq .Status "firing" }}high{{ else }}default{{ end }}"#.to_owned(),
            tags: r#"{{ if eq .Status "firing" }}rotating_light{{ else }}white_check_mark{{ end }}"#.to_owned(),
            click: named("click"),
            icon: String::new(),
            markdown: false,
            actions: Vec::new(),
        }
    }
}

impl NtfyConfig {
    pub(super) fn validate(&self, path: &str, problems: &mut Problems) {
        either(path, "token", self.token.is_some(), self.token_file.is_some(), problems);
        if self.topic.is_empty() {
            problems.add(format!("{path}.topic"), "ntfy needs a topic");
        }
        url_problem(format!("{path}.url"), Some(&self.url), problems);
        if self.actions.len() > 3 {
            problems.add(format!("{path}.actions"), "ntfy shows three actions at most");
        }
        for (i, a) in self.actions.iter().enumerate() {
            if a.label.is_empty() || a.url.is_empty() {
                problems.add(format!("{path}.actions[{i}]"), "an action needs label and url");
            }
        }
    }

    /// Its templates with their keys.
    pub fn templates(&self) -> Texts<'_> {
        let mut out: Texts<'_> = [
            ("topic", &self.topic),
            ("title", &self.title),
            ("message", &self.message),
            ("priority", &self.priority),
            ("tags", &self.tags),
            ("click", &self.click),
            ("icon", &self.icon),
        ]
        .map(|(k, t)| (k.to_owned(), t.as_str()))
        .into();
        for (i, a) in self.actions.iter().enumerate() {
            out.push((format!("actions[{i}].label"), &a.label));
            out.push((format!("actions[{i}].url"), &a.url));
        }
        out
    }
}
