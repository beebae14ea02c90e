//! Slack: one attachment by incoming webhook, or by `chat.postMessage` with a token, which can be changed later by `chat.update`. Form of the
//! message: Slack's reference of legacy attachments.

use futures_util::future::BoxFuture;
use reqwest::Url;
use serde::{Deserialize, Serialize};

use super::http_receiver::{Answer, Call, Deps, HttpReceiver};
use super::{FailureReason, Notification, Notifier, SendError, truncate};
use crate::alerting::template_data::Data;
use crate::config::notify::{DEFAULT_SLACK_APP_URL, SLACK_POST, SlackAction, SlackConfig, SlackConfirm};

/// The longest heading that Slack takes.
const TITLE_CHARS: usize = 1024;

/// The end of the address of the method that changes messages.
const UPDATE: &str = "/chat.update";
/// Slack's names of channels and messages are shorter; something longer is not kept.
const KEPT_BYTES: usize = 128;
/// Under these names it is kept where the last message lies.
const CHANNEL: &str = "channel";
const TIME: &str = "ts";
/// Refusals that say that a message cannot be changed any more; another is sent then.
const NOT_CHANGEABLE: [&str; 5] =
    ["message_not_found", "cant_update_message", "edit_window_closed", "channel_not_found", "is_inactive"];

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
    /// Which message is to be changed.
    #[serde(skip_serializing_if = "String::is_empty")]
    ts: String,
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
            ts: String::new(),
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

    /// Where to, and the app token, if there is one.
    async fn target(&self, n: &Notification<'_>) -> Result<(Url, Option<String>), SendError> {
        let c = &self.config;
        if c.api_url.is_some() || c.api_url_file.is_some() {
            let url = self.http.secret("api_url", c.api_url.as_ref(), c.api_url_file.as_deref(), n.data).await?;
            return Ok((self.http.url(&url)?, None));
        }
        let file = c.app_token_file.as_deref();
        let token = self.http.secret("app_token", c.app_token.as_ref(), file, n.data).await?;
        Ok((self.http.url(c.app_url.as_deref().unwrap_or(DEFAULT_SLACK_APP_URL))?, Some(token)))
    }

    async fn say(
        &self,
        url: Url,
        token: Option<&String>,
        message: &Message,
        n: &Notification<'_>,
    ) -> Result<Said, SendError> {
        let mut call = Call::json(url, message)?;
        if let Some(token) = token {
            call = Call {
                authorization: Some(format!("Bearer {token}")),
                secret_path: false,
                secrets: vec![token.clone()],
                ..call
            };
        }
        read(&self.http.send(call, n).await?)
    }

    async fn post(&self, n: &Notification<'_>) -> Result<(), SendError> {
        let mut message = self.message(n.data)?;
        let (url, token) = self.target(n).await?;
        let kept = n.kept.filter(|_| self.config.update_message);
        let last = kept.and_then(|k| Some((k.get(CHANNEL)?, k.get(TIME)?)));
        if let Some((channel, time)) = last
            && let Some(update) = update_url(&url)
        {
            // The method wants the number of the channel, which Slack gave with the first message.
            let named = std::mem::replace(&mut message.channel, channel.to_owned());
            time.clone_into(&mut message.ts);
            let said = self.say(update, token.as_ref(), &message, n).await?;
            if !NOT_CHANGEABLE.contains(&said.error.as_str()) {
                return said.verdict();
            }
            (message.channel, message.ts) = (named, String::new());
        }
        let said = self.say(url, token.as_ref(), &message, n).await?;
        let sane = |s: &str| !s.is_empty() && s.len() <= KEPT_BYTES;
        if let Some(kept) = kept.filter(|_| said.ok && sane(&said.ts) && sane(&said.channel)) {
            kept.put(CHANNEL, said.channel.clone());
            kept.put(TIME, said.ts.clone());
        }
        said.verdict()
    }
}

/// The address for changing a message; nothing if the address is not that for posting one.
fn update_url(post: &Url) -> Option<Url> {
    let path = format!("{}{UPDATE}", post.path().strip_suffix(SLACK_POST)?);
    let mut url = post.clone();
    url.set_path(&path);
    Some(url)
}

/// What Slack says in an answer of status 200.
#[derive(Default, Deserialize)]
struct Said {
    ok: bool,
    #[serde(default)]
    error: String,
    /// Where a posted message lies: the number of the channel,
    #[serde(default)]
    channel: String,
    /// and its time, which is its name there.
    #[serde(default)]
    ts: String,
}

impl Said {
    fn verdict(self) -> Result<(), SendError> {
        if self.ok {
            return Ok(());
        }
        let text = format!("slack refused: {}", self.error);
        // Its own trouble and its limits pass; a wrong channel or token does not.
        let passes =
            ["ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"];
        Err(if passes.contains(&self.error.as_str()) {
            SendError::temporary(FailureReason::ServerError, text)
        } else {
            SendError::permanent(FailureReason::ClientError, text)
        })
    }
}

/// JSON with `ok` from a method, plain text that is `ok` or a refusal from a webhook.
fn read(answer: &Answer) -> Result<Said, SendError> {
    if !answer.is_json() {
        let ok = answer.body.trim_ascii() == b"ok";
        let error = if ok { String::new() } else { answer.shown() };
        return Ok(Said { ok, error, ..Said::default() });
    }
    serde_json::from_slice(&answer.body).map_err(|e| {
        let text = format!("slack's answer is no JSON ({e}): {}", answer.shown());
        SendError::temporary(FailureReason::ServerError, text)
    })
}

impl Notifier for Slack {
    fn send<'a>(&'a self, notification: &'a Notification<'a>) -> BoxFuture<'a, Result<(), SendError>> {
        Box::pin(self.post(notification))
    }
}
