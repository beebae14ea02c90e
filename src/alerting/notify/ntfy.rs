//! ntfy: a message to a topic, published as JSON. Form: ntfy's reference of publishing.

use futures_util::future::BoxFuture;
use serde::Serialize;

use super::http_receiver::{Call, Deps, HttpReceiver};
use super::{FailureReason, Notification, Notifier, SendError, secret_file, truncate};
use crate::config::ConfigDuration;
use crate::config::notify::NtfyConfig;

/// A longer message is turned into a file by the server.
const MESSAGE_BYTES: usize = 4096;
/// What a line on a phone can show.
const TITLE_CHARS: usize = 250;

/// Sends to one topic.
pub struct Ntfy {
    config: NtfyConfig,
    base: std::path::PathBuf,
    http: HttpReceiver,
}

#[derive(Serialize)]
struct Message {
    topic: String,
    title: String,
    message: String,
    priority: u8,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    click: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    icon: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    markdown: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<Action>,
}

#[derive(Serialize)]
struct Action {
    action: &'static str,
    label: String,
    url: String,
}

impl Ntfy {
    /// For one receiver.
    pub fn new(config: NtfyConfig, deps: &Deps<'_>) -> Self {
        let http = HttpReceiver::new("ntfy", config.http_config.as_ref(), ConfigDuration::from_ms(0), deps);
        Ntfy { config, base: deps.base.to_owned(), http }
    }

    async fn post(&self, n: &Notification<'_>) -> Result<(), SendError> {
        let c = &self.config;
        let text = |key: &str, template: &str| self.http.text(key, template, n.data);
        let priority = text("priority", &c.priority)?;
        let mut actions = Vec::new();
        for a in &c.actions {
            let (label, url) = (text("actions.label", &a.label)?, text("actions.url", &a.url)?);
            actions.push(Action { action: "view", label, url });
        }
        let tags = text("tags", &c.tags)?;
        let message = Message {
            topic: text("topic", &c.topic)?,
            title: truncate::to_chars(&text("title", &c.title)?, TITLE_CHARS),
            message: truncate::to_bytes(&text("message", &c.message)?, MESSAGE_BYTES),
            priority: level(priority.trim()).ok_or_else(|| {
                SendError::permanent(
                    FailureReason::Template,
                    format!("{priority:?} is no priority of ntfy; use 1 to 5"),
                )
            })?,
            tags: tags.split(',').map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned).collect(),
            click: text("click", &c.click)?,
            icon: text("icon", &c.icon)?,
            markdown: c.markdown,
            actions,
        };
        let token = secret_file::secret(&self.base, c.token.as_ref(), c.token_file.as_deref()).await?;
        let call = Call {
            authorization: token.as_ref().map(|t| format!("Bearer {t}")),
            secret_path: false,
            secrets: token.into_iter().collect(),
            ..Call::json(self.http.url(&c.url)?, &message)?
        };
        self.http.send(call, n).await?;
        Ok(())
    }
}

/// A priority by number or by name.
fn level(text: &str) -> Option<u8> {
    match text {
        "1" | "min" => Some(1),
        "2" | "low" => Some(2),
        "" | "3" | "default" => Some(3),
        "4" | "high" => Some(4),
        "5" | "max" | "urgent" => Some(5),
        _ => None,
    }
}

impl Notifier for Ntfy {
    fn send<'a>(&'a self, notification: &'a Notification<'a>) -> BoxFuture<'a, Result<(), SendError>> {
        Box::pin(self.post(notification))
    }
}
