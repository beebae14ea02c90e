//! Slack: one attachment by incoming webhook, or by `chat.postMessage` with an app token. Form of the message: Slack's reference of
//! legacy attachments.

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::http_receiver::{Answer, Call, Deps, HttpReceiver};
use super::{FailureReason, Notification, Notifier, SendError, truncate};
use crate::alerting::template_data::Data;
use crate::config::notify::{DEFAULT_SLACK_APP_URL, SlackAction, SlackConfig, SlackConfirm};

/// The longest heading that Slack takes.
const TITLE_CHARS: usize = 1024;

/// Sends to one channel.
pub struct Slack {
    /// With everything filled in from `global`.
    config: SlackConfig,
    http: HttpReceiver,
}

#[derive(Serialize)]
struct Message {
    #[serde(skip_serializing_if = "String::is_empty")]
    channel: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    icon_emoji: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    icon_url: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    link_names: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    text: String,
    attachments: [Attachment; 1],
}

#[derive(Serialize)]
struct Attachment {
    #[serde(skip_serializing_if = "String::is_empty")]
    title: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    title_link: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pretext: String,
    text: String,
    fallback: String,
    callback_id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<Field>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<SlackAction>,
    #[serde(skip_serializing_if = "String::is_empty")]
    image_url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    thumb_url: String,
    footer: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    color: String,
    mrkdwn_in: Vec<String>,
}

#[derive(Serialize)]
struct Field {
    title: String,
    value: String,
    short: bool,
}

impl Slack {
    /// For one receiver, `global` filled in.
    pub fn new(config: SlackConfig, deps: &Deps<'_>) -> Self {
        let http = HttpReceiver::new("slack", config.http_config.as_ref(), config.timeout, deps);
        Slack { config, http }
    }

    fn message(&self, data: &Data) -> Result<Message, SendError> {
        let c = &self.config;
        let text = |key: &str, template: &str| self.http.text(key, template, data);
        let mut fields = Vec::with_capacity(c.fields.len());
        for f in &c.fields {
            fields.push(Field {
                title: text("fields.title", &f.title)?,
                value: text("fields.value", &f.value)?,
                short: f.short.unwrap_or(c.short_fields),
            });
        }
        let mut actions = Vec::with_capacity(c.actions.len());
        for a in &c.actions {
            let confirm = match &a.confirm {
                Some(q) => Some(SlackConfirm {
                    text: text("actions.confirm.text", &q.text)?,
                    title: text("actions.confirm.title", &q.title)?,
                    ok_text: text("actions.confirm.ok_text", &q.ok_text)?,
                    dismiss_text: text("actions.confirm.dismiss_text", &q.dismiss_text)?,
                }),
                None => None,
            };
            actions.push(SlackAction {
                kind: text("actions.type", &a.kind)?,
                text: text("actions.text", &a.text)?,
                url: text("actions.url", &a.url)?,
                style: text("actions.style", &a.style)?,
                name: text("actions.name", &a.name)?,
                value: text("actions.value", &a.value)?,
                confirm,
            });
        }
        let usual = || ["fallback", "pretext", "text"].map(str::to_owned).to_vec();
        Ok(Message {
            channel: text("channel", &c.channel)?,
            username: text("username", &c.username)?,
            icon_emoji: text("icon_emoji", &c.icon_emoji)?,
            icon_url: text("icon_url", &c.icon_url)?,
            link_names: c.link_names,
            text: text("message_text", &c.message_text)?,
            attachments: [Attachment {
                title: truncate::to_chars(&text("title", &c.title)?, TITLE_CHARS),
                title_link: text("title_link", &c.title_link)?,
                pretext: text("pretext", &c.pretext)?,
                text: text("text", &c.text)?,
                fallback: text("fallback", &c.fallback)?,
                callback_id: text("callback_id", &c.callback_id)?,
                fields,
                actions,
                image_url: text("image_url", &c.image_url)?,
                thumb_url: text("thumb_url", &c.thumb_url)?,
                footer: text("footer", &c.footer)?,
                color: text("color", &c.color)?,
                mrkdwn_in: if c.mrkdwn_in.is_empty() { usual() } else { c.mrkdwn_in.clone() },
            }],
        })
    }

    async fn post(&self, n: &Notification<'_>) -> Result<(), SendError> {
        let c = &self.config;
        let message = self.message(n.data)?;
        let call = if c.api_url.is_some() || c.api_url_file.is_some() {
            let url = self.http.secret("api_url", c.api_url.as_ref(), c.api_url_file.as_deref(), n.data).await?;
            Call::json(self.http.url(&url)?, &message)?
        } else {
            let file = c.app_token_file.as_deref();
            let token = self.http.secret("app_token", c.app_token.as_ref(), file, n.data).await?;
            let url = self.http.url(c.app_url.as_deref().unwrap_or(DEFAULT_SLACK_APP_URL))?;
            Call {
                authorization: Some(format!("Bearer {token}")),
                secret_path: false,
                secrets: vec![token],
                ..Call::json(url, &message)?
            }
        };
        let answer = self.http.send(call, n).await?;
        verdict(&answer)
    }
}

/// Slack says what went wrong in an answer of status 200: JSON with `ok`, or plain text that is not `ok`.
fn verdict(answer: &Answer) -> Result<(), SendError> {
    #[derive(Deserialize)]
    struct Said {
        ok: bool,
        #[serde(default)]
        error: String,
    }
    if !answer.is_json() {
        return if answer.body.trim_ascii() == b"ok" {
            Ok(())
        } else {
            Err(SendError::permanent(FailureReason::ClientError, format!("slack refused: {}", answer.shown())))
        };
    }
    match serde_json::from_slice::<Said>(&answer.body) {
        Ok(Said { ok: true, .. }) => Ok(()),
        Ok(Said { error, .. }) => {
            let text = format!("slack refused: {error}");
            // Its own trouble and its limits pass; a wrong channel or token does not.
            let passes = [
                "ratelimited",
                "rate_limited",
                "internal_error",
                "fatal_error",
                "service_unavailable",
                "request_timeout",
            ];
            Err(if passes.contains(&error.as_str()) {
                SendError::temporary(FailureReason::ServerError, text)
            } else {
                SendError::permanent(FailureReason::ClientError, text)
            })
        }
        Err(e) => Err(SendError::temporary(
            FailureReason::ServerError,
            format!("slack's answer is no JSON ({e}): {}", answer.shown()),
        )),
    }
}

impl Notifier for Slack {
    fn send<'a>(&'a self, notification: &'a Notification<'a>) -> BoxFuture<'a, Result<(), SendError>> {
        Box::pin(self.post(notification))
    }
}
