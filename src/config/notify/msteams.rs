//! Microsoft Teams: message cards of connectors, and adaptive cards of workflows.

use serde::{Deserialize, Serialize};

use super::{Texts, needs_url};
use crate::config::http_client::HttpClientConfig;
use crate::config::{Problems, Secret};

/// A message card to a connector. Texts are templates.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct MsTeamsConfig {
    /// Whether the end of alerts is told too.
    pub send_resolved: bool,
    /// HTTP options; those of `global` if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_config: Option<HttpClientConfig>,
    /// The webhook, which is a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<Secret>,
    /// File of the same, read again on each use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook_url_file: Option<String>,
    /// Heading.
    pub title: String,
    /// What notifications of the program show.
    pub summary: String,
    /// Text.
    pub text: String,
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
    pub(super) fn validate(&self, path: &str, problems: &mut Problems) {
        needs_url(path, "webhook_url", self.webhook_url.as_ref(), self.webhook_url_file.as_ref(), problems);
    }

    /// Its templates with their keys.
    pub fn templates(&self) -> Texts<'_> {
        [("title", &self.title), ("summary", &self.summary), ("text", &self.text)]
            .map(|(k, t)| (k.to_owned(), t.as_str()))
            .into()
    }
}

/// An adaptive card to a workflow. Texts are templates.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct MsTeamsV2Config {
    /// Whether the end of alerts is told too.
    pub send_resolved: bool,
    /// HTTP options; those of `global` if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_config: Option<HttpClientConfig>,
    /// The webhook of the workflow, which is a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<Secret>,
    /// File of the same, read again on each use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook_url_file: Option<String>,
    /// Heading.
    pub title: String,
    /// Text.
    pub text: String,
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
    pub(super) fn validate(&self, path: &str, problems: &mut Problems) {
        needs_url(path, "webhook_url", self.webhook_url.as_ref(), self.webhook_url_file.as_ref(), problems);
    }

    /// Its templates with their keys.
    pub fn templates(&self) -> Texts<'_> {
        [("title", &self.title), ("text", &self.text)].map(|(k, t)| (k.to_owned(), t.as_str())).into()
    }
}
