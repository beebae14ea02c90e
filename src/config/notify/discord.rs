//! Discord: a webhook's message with one embed.

use super::{Texts, hook_receiver};

hook_receiver! {
    /// A message. Texts are templates.
    pub struct DiscordConfig {
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
