//! Discord: a webhook's message with one embed.

use serde::{Deserialize, Serialize};

use super::{Texts, needs_url};
use crate::config::http_client::HttpClientConfig;
use crate::config::{Problems, Secret};

/// A message. Texts are templates.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiscordConfig {
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
    /// Text above the embed, at most 2000 characters; here mentions work.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub content: String,
    /// Heading of the embed, at most 256 characters.
    pub title: String,
    /// Text of the embed, at most 4096 characters.
    pub message: String,
    /// Name that is shown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// Picture that is shown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub avatar_url: String,
}

impl Default for DiscordConfig {
    fn default() -> Self {
        DiscordConfig {
            // As in Alertmanager.
            send_resolved: true,
            http_config: None,
            webhook_url: None,
            webhook_url_file: None,
            content: String::new(),
            title: r#"{{ template "discord.default.title" . }}"#.to_owned(),
            message: r#"{{ template "discord.default.message" . }}"#.to_owned(),
            username: String::new(),
            avatar_url: String::new(),
        }
    }
}

impl DiscordConfig {
    pub(super) fn validate(&self, path: &str, problems: &mut Problems) {
        needs_url(path, "webhook_url", self.webhook_url.as_ref(), self.webhook_url_file.as_ref(), problems);
    }

    /// Its templates with their keys.
    pub fn templates(&self) -> Texts<'_> {
        [
            ("content", &self.content),
            ("title", &self.title),
            ("message", &self.message),
            ("username", &self.username),
            ("avatar_url", &self.avatar_url),
        ]
        .map(|(k, t)| (k.to_owned(), t.as_str()))
        .into()
    }
}
