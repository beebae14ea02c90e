//! Microsoft Teams: message cards of connectors, and adaptive cards of workflows.

use super::{Texts, hook_receiver};

hook_receiver! {
    /// A message card to a connector. Texts are templates.
    pub struct MsTeamsConfig {
        /// Heading.
        pub title: String,
        /// What notifications of the program show.
        pub summary: String,
        /// Text.
        pub text: String,
    }
}

impl Default for MsTeamsConfig {
    fn default() -> Self {
        let named = |what: &str| format!("{{{{ template \"msteams.default.{what}\" . }}}}");
        MsTeamsConfig {
            // As in Alertmanager.
            send_resolved: true,
            http_config: None,
            webhook_url: None,
            webhook_url_file: None,
            title: named("title"),
            summary: named("summary"),
            text: named("text"),
        }
    }
}

impl MsTeamsConfig {
    /// Its templates with their keys.
    pub fn templates(&self) -> Texts<'_> {
        [("title", &self.title), ("summary", &self.summary), ("text", &self.text)]
            .map(|(k, t)| (k.to_owned(), t.as_str()))
            .into()
    }
}

hook_receiver! {
    /// An adaptive card to a workflow. Texts are templates.
    pub struct MsTeamsV2Config {
        /// Heading.
        pub title: String,
        /// Text.
        pub text: String,
    }
}

impl Default for MsTeamsV2Config {
    fn default() -> Self {
        let named = |what: &str| format!("{{{{ template \"msteamsv2.default.{what}\" . }}}}");
        MsTeamsV2Config {
            // As in Alertmanager.
            send_resolved: true,
            http_config: None,
            webhook_url: None,
            webhook_url_file: None,
            title: named("title"),
            text: named("text"),
        }
    }
}

impl MsTeamsV2Config {
    /// Its templates with their keys.
    pub fn templates(&self) -> Texts<'_> {
        [("title", &self.title), ("text", &self.text)].map(|(k, t)| (k.to_owned(), t.as_str())).into()
    }
}
