//! Pushover: a message to a user's devices.

use super::{Texts, either, http_receiver, is_zero, url_problem};
use crate::config::{ConfigDuration, Problems, Secret};

/// The API of messages.
pub const DEFAULT_PUSHOVER_URL: &str = "https://api.pushover.net/1/messages.json";

http_receiver! {
    /// A message. Texts are templates.
    pub struct PushoverConfig {
        /// The API; for a server between (campanile's own key).
        #[serde(skip_serializing_if = "Option::is_none")]
        pub api_url: Option<String>,
        /// Key of the user or group.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub user_key: Option<Secret>,
        /// File of the same, read again on each use.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub user_key_file: Option<String>,
        /// Token of the application.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub token: Option<Secret>,
        /// File of the same, read again on each use.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub token_file: Option<String>,
        /// Heading, at most 250 characters.
        pub title: String,
        /// Text, at most 1024 characters.
        pub message: String,
        /// A link, at most 512 characters.
        pub url: String,
        /// What the link says.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub url_title: String,
        /// One device alone.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub device: String,
        /// A sound.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub sound: String,
        /// -2 to 2; 2 must be acknowledged.
        pub priority: String,
        /// How often a message of priority 2 comes again, at least 30s.
        pub retry: ConfigDuration,
        /// For how long it does.
        pub expire: ConfigDuration,
        /// After how long the message goes away by itself; 0 for never.
        #[serde(skip_serializing_if = "is_zero")]
        pub ttl: ConfigDuration,
        /// Whether the text is HTML (values are escaped).
        pub html: bool,
        /// Whether the text is shown in a font of one width.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        pub monospace: bool,
    }
}

impl Default for PushoverConfig {
    fn default() -> Self {
        let named = |what: &str| format!("{{{{ template \"pushover.default.{what}\" . }}}}");
        PushoverConfig {
            // As in Alertmanager: an emergency while it fires, comes again each minute for an hour.
            send_resolved: true,
            http_config: None,
            api_url: None,
            user_key: None,
            user_key_file: None,
            token: None,
            token_file: None,
            title: named("title"),
            message: named("message"),
            url: named("url"),
            url_title: String::new(),
            device: String::new(),
            sound: String::new(),
            priority: r#"{{ if eq .Status "firing" }}2{{ else }}0{{ end }}"#.to_owned(),
            retry: ConfigDuration::from_secs(60),
            expire: ConfigDuration::from_secs(3600),
            ttl: ConfigDuration::from_ms(0),
            html: false,
            monospace: false,
        }
    }
}

impl PushoverConfig {
    pub(super) fn validate(&self, path: &str, problems: &mut Problems) {
        for (key, given, file) in [
            ("user_key", self.user_key.is_some(), self.user_key_file.is_some()),
            ("token", self.token.is_some(), self.token_file.is_some()),
        ] {
            either(path, key, given, file, problems);
            if !given && !file {
                problems.add(format!("{path}.{key}"), format!("pushover needs {key} or {key}_file"));
            }
        }
        if self.html && self.monospace {
            problems.add(format!("{path}.monospace"), "give either html or monospace, not both");
        }
        if self.retry.as_ms() < 30_000 {
            problems.add(format!("{path}.retry"), "must be 30s or longer");
        }
        if self.expire.as_ms() > 10_800_000 {
            problems.add(format!("{path}.expire"), "must be 3h or shorter");
        }
        url_problem(format!("{path}.api_url"), self.api_url.as_deref(), problems);
    }

    /// Its templates with their keys.
    pub fn templates(&self) -> Texts<'_> {
        [
            ("title", &self.title),
            ("message", &self.message),
            ("url", &self.url),
            ("url_title", &self.url_title),
            ("device", &self.device),
            ("sound", &self.sound),
            ("priority", &self.priority),
        ]
        .map(|(k, t)| (k.to_owned(), t.as_str()))
        .into()
    }
}
