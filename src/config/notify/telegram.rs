//! Telegram: a message of a bot to a chat.

use super::{Texts, either, http_receiver, url_problem};
use crate::config::alerting::GlobalConfig;
use crate::config::{Problems, Secret};

/// The API of bots.
pub const DEFAULT_TELEGRAM_URL: &str = "https://api.telegram.org";

http_receiver! {
    /// A message. The text is a template.
    pub struct TelegramConfig {
        /// The API; `telegram_api_url` of `global` if not given.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub api_url: Option<String>,
        /// Token of the bot.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub bot_token: Option<Secret>,
        /// File of the same, read again on each use.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub bot_token_file: Option<String>,
        /// Id of the chat; groups have negative ones.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub chat_id: Option<i64>,
        /// File of the same, read again on each use.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub chat_id_file: Option<String>,
        /// Topic inside a group.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub message_thread_id: Option<i64>,
        /// The text, at most 4096 characters.
        pub message: String,
        /// Whether the message comes without a sound.
        pub disable_notifications: bool,
        /// `HTML` (values are escaped), `MarkdownV2`, `Markdown`, or empty for plain text.
        pub parse_mode: String,
    }
}

impl Default for TelegramConfig {
    fn default() -> Self {
        TelegramConfig {
            // As in Alertmanager.
            send_resolved: true,
            http_config: None,
            api_url: None,
            bot_token: None,
            bot_token_file: None,
            chat_id: None,
            chat_id_file: None,
            message_thread_id: None,
            message: r#"{{ template "telegram.default.message" . }}"#.to_owned(),
            disable_notifications: false,
            parse_mode: "HTML".to_owned(),
        }
    }
}

impl TelegramConfig {
    /// This receiver with address and token filled in from `global`.
    pub fn resolved(&self, g: &GlobalConfig) -> TelegramConfig {
        let mut out = self.clone();
        if out.bot_token.is_none() && out.bot_token_file.is_none() {
            out.bot_token.clone_from(&g.telegram_bot_token);
            out.bot_token_file.clone_from(&g.telegram_bot_token_file);
        }
        let url = out.api_url.or_else(|| g.telegram_api_url.clone());
        out.api_url = url.or_else(|| Some(DEFAULT_TELEGRAM_URL.to_owned()));
        out
    }

    pub(super) fn validate(&self, path: &str, g: &GlobalConfig, problems: &mut Problems) {
        either(path, "bot_token", self.bot_token.is_some(), self.bot_token_file.is_some(), problems);
        either(path, "chat_id", self.chat_id.is_some(), self.chat_id_file.is_some(), problems);
        let full = self.resolved(g);
        if full.bot_token.is_none() && full.bot_token_file.is_none() {
            problems.add(
                format!("{path}.bot_token"),
                "telegram needs bot_token or bot_token_file, here or as telegram_bot_token under global",
            );
        }
        if self.chat_id.is_none_or(|c| c == 0) && self.chat_id_file.is_none() {
            problems.add(format!("{path}.chat_id"), "telegram needs the chat_id (or chat_id_file) of the chat");
        }
        if !matches!(self.parse_mode.as_str(), "" | "HTML" | "Markdown" | "MarkdownV2") {
            problems.add(
                format!("{path}.parse_mode"),
                format!("{:?} is no parse mode; use HTML, MarkdownV2, Markdown or nothing", self.parse_mode),
            );
        }
        url_problem(format!("{path}.api_url"), self.api_url.as_deref(), problems);
    }

    /// Its templates with their keys.
    pub fn templates(&self) -> Texts<'_> {
        vec![("message".to_owned(), &self.message)]
    }
}
