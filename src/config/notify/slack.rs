//! Slack: messages with one attachment, by incoming webhook or by `chat.postMessage` with an app token.

use serde::{Deserialize, Serialize};

use super::{Texts, either, http_receiver, is_zero, url_problem};
use crate::config::alerting::GlobalConfig;
use crate::config::{ConfigDuration, Problems, Secret};

/// Where messages with an app token go.
pub const DEFAULT_SLACK_APP_URL: &str = "https://slack.com/api/chat.postMessage";

/// The end of the address of the method that posts messages and says where they lie.
pub const SLACK_POST: &str = "/chat.postMessage";

http_receiver! {
    /// A message to a channel. Texts are templates.
    pub struct SlackConfig {
        /// Address of the incoming webhook, which is a secret.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub api_url: Option<Secret>,
        /// File of the same, read again on each use.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub api_url_file: Option<String>,
        /// Token of an app (`xoxb-...`); instead of a webhook.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub app_token: Option<Secret>,
        /// File of the same, read again on each use.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub app_token_file: Option<String>,
        /// Where messages with a token go.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub app_url: Option<String>,
        /// Channel or user.
        pub channel: String,
        /// Name that is shown.
        pub username: String,
        /// Colour of the bar: `good`, `warning`, `danger` or `#rrggbb`.
        pub color: String,
        /// Heading, at most 1024 characters.
        pub title: String,
        /// Where the heading leads.
        pub title_link: String,
        /// Text above the attachment.
        pub pretext: String,
        /// Text of the attachment.
        pub text: String,
        /// Text of the message itself, above all attachments.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub message_text: String,
        /// Title and value pairs.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub fields: Vec<SlackField>,
        /// Whether fields that do not say it stand side by side.
        pub short_fields: bool,
        /// Small print.
        pub footer: String,
        /// Text for clients that show no attachments.
        pub fallback: String,
        /// Id of actions.
        pub callback_id: String,
        /// An emoji as picture.
        pub icon_emoji: String,
        /// Address of a picture.
        pub icon_url: String,
        /// Address of an image in the message.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub image_url: String,
        /// Address of a small image.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub thumb_url: String,
        /// Whether names become links.
        pub link_names: bool,
        /// Which texts have markup; `fallback`, `pretext` and `text` if none are named.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub mrkdwn_in: Vec<String>,
        /// Buttons.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub actions: Vec<SlackAction>,
        /// Whether the message of a group is changed instead of sending another, until all is over. Needs `chat.postMessage`.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        pub update_message: bool,
        /// How long one attempt may take; 0 for as long as the retries last.
        #[serde(skip_serializing_if = "is_zero")]
        pub timeout: ConfigDuration,
    }
}

/// A title and a value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SlackField {
    /// Title.
    pub title: String,
    /// Value.
    pub value: String,
    /// Whether it may stand beside another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub short: Option<bool>,
}

/// A button.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SlackAction {
    /// Kind, such as `button`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it says.
    pub text: String,
    /// Where it leads.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// `primary` or `danger`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub style: String,
    /// Name for the app that hears of a click.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Value for that app.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// A question before it works.
    #[serde(rename = "confirm", skip_serializing_if = "Option::is_none")]
    pub confirm: Option<SlackConfirm>,
}

/// A question before a button works.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SlackConfirm {
    /// The question.
    pub text: String,
    /// Its heading.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// The word for yes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ok_text: String,
    /// The word for no.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub dismiss_text: String,
}

impl Default for SlackConfig {
    fn default() -> Self {
        let named = |what: &str| format!("{{{{ template \"slack.default.{what}\" . }}}}");
        SlackConfig {
            // As in Alertmanager: the end is not told unless asked for.
            send_resolved: false,
            http_config: None,
            api_url: None,
            api_url_file: None,
            app_token: None,
            app_token_file: None,
            app_url: None,
            channel: String::new(),
            username: named("username"),
            color: named("color"),
            title: named("title"),
            title_link: named("titlelink"),
            pretext: named("pretext"),
            text: named("text"),
            message_text: String::new(),
            fields: Vec::new(),
            short_fields: false,
            footer: named("footer"),
            fallback: named("fallback"),
            callback_id: named("callbackid"),
            icon_emoji: named("iconemoji"),
            icon_url: named("iconurl"),
            image_url: String::new(),
            thumb_url: String::new(),
            link_names: false,
            mrkdwn_in: Vec::new(),
            actions: Vec::new(),
            update_message: false,
            timeout: ConfigDuration::from_ms(0),
        }
    }
}

impl SlackConfig {
    /// This receiver with address or token filled in from `global`: its own come first, then the webhook of `global`, then its token.
    pub fn resolved(&self, g: &GlobalConfig) -> SlackConfig {
        let mut out = self.clone();
        let own = [self.api_url.is_some(), self.api_url_file.is_some()];
        let own_token = [self.app_token.is_some(), self.app_token_file.is_some()];
        if !own.contains(&true) && !own_token.contains(&true) {
            out.api_url.clone_from(&g.slack_api_url);
            out.api_url_file.clone_from(&g.slack_api_url_file);
            if out.api_url.is_none() && out.api_url_file.is_none() {
                out.app_token.clone_from(&g.slack_app_token);
                out.app_token_file.clone_from(&g.slack_app_token_file);
            }
        }
        out.app_url = out.app_url.or_else(|| g.slack_app_url.clone());
        out
    }

    pub(super) fn validate(&self, path: &str, g: &GlobalConfig, problems: &mut Problems) {
        either(path, "api_url", self.api_url.is_some(), self.api_url_file.is_some(), problems);
        either(path, "app_token", self.app_token.is_some(), self.app_token_file.is_some(), problems);
        if (self.api_url.is_some() || self.api_url_file.is_some())
            && (self.app_token.is_some() || self.app_token_file.is_some())
        {
            problems.add(path, "give either api_url or app_token, not both");
        }
        let full = self.resolved(g);
        let token = full.app_token.is_some() || full.app_token_file.is_some();
        if full.api_url.is_none() && full.api_url_file.is_none() && !token {
            problems.add(
                format!("{path}.api_url"),
                "slack needs api_url or app_token, here or as slack_api_url or slack_app_token under global",
            );
        }
        if token && self.channel.is_empty() {
            problems.add(format!("{path}.channel"), "an app token needs the channel to post to");
        }
        let hook = full.api_url.as_ref().map(Secret::expose).filter(|u| *u != crate::config::secret::MASK);
        if self.update_message && hook.is_some_and(|u| !u.ends_with(SLACK_POST)) {
            problems.add(
                format!("{path}.update_message"),
                "incoming webhooks cannot change messages; use app_token, or api_url https://slack.com/api/chat.postMessage \
                 with the bot's token as authorization in http_config",
            );
        }
        url_problem(format!("{path}.api_url"), self.api_url.as_ref().map(Secret::expose), problems);
        url_problem(format!("{path}.app_url"), self.app_url.as_deref(), problems);
        for (i, f) in self.fields.iter().enumerate() {
            for (key, v) in [("title", &f.title), ("value", &f.value)] {
                if v.is_empty() {
                    problems.add(format!("{path}.fields[{i}].{key}"), "a field needs title and value");
                }
            }
        }
        for (i, a) in self.actions.iter().enumerate() {
            let here = format!("{path}.actions[{i}]");
            if a.kind.is_empty() || a.text.is_empty() {
                problems.add(&here, "an action needs type and text");
            }
            if a.url.is_empty() && a.name.is_empty() {
                problems.add(&here, "an action needs url or name");
            }
            if a.confirm.as_ref().is_some_and(|c| c.text.is_empty()) {
                problems.add(format!("{here}.confirm.text"), "a confirmation needs a text");
            }
        }
    }

    /// Its templates with their keys.
    pub fn templates(&self) -> Texts<'_> {
        let mut out: Texts<'_> = [
            ("channel", &self.channel),
            ("username", &self.username),
            ("color", &self.color),
            ("title", &self.title),
            ("title_link", &self.title_link),
            ("pretext", &self.pretext),
            ("text", &self.text),
            ("message_text", &self.message_text),
            ("footer", &self.footer),
            ("fallback", &self.fallback),
            ("callback_id", &self.callback_id),
            ("icon_emoji", &self.icon_emoji),
            ("icon_url", &self.icon_url),
            ("image_url", &self.image_url),
            ("thumb_url", &self.thumb_url),
        ]
        .map(|(k, t)| (k.to_owned(), t.as_str()))
        .into();
        for (i, f) in self.fields.iter().enumerate() {
            out.push((format!("fields[{i}].title"), &f.title));
            out.push((format!("fields[{i}].value"), &f.value));
        }
        for (i, a) in self.actions.iter().enumerate() {
            let parts = [
                ("type", &a.kind),
                ("text", &a.text),
                ("url", &a.url),
                ("style", &a.style),
                ("name", &a.name),
                ("value", &a.value),
            ];
            out.extend(parts.map(|(k, t)| (format!("actions[{i}].{k}"), t.as_str())));
            if let Some(c) = &a.confirm {
                let parts = [
                    ("text", &c.text),
                    ("title", &c.title),
                    ("ok_text", &c.ok_text),
                    ("dismiss_text", &c.dismiss_text),
                ];
                out.extend(parts.map(|(k, t)| (format!("actions[{i}].confirm.{k}"), t.as_str())));
            }
        }
        out
    }
}
