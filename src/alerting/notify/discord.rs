//! Discord: a webhook's message with one embed. Form: Discord's reference of webhooks.

use futures_util::future::BoxFuture;
use serde::Serialize;

use super::http_receiver::{Call, Deps, HttpReceiver};
use super::{Notification, Notifier, SendError, truncate};
use crate::alerting::template_data::Status;
use crate::config::ConfigDuration;
use crate::config::notify::DiscordConfig;

/// What Discord takes at most, in characters.
const TITLE_CHARS: usize = 256;
const DESCRIPTION_CHARS: usize = 4096;
const CONTENT_CHARS: usize = 2000;
/// Colours of the bar, those that Alertmanager's users know.
const RED: u32 = 0x99_2D_22;
const GREEN: u32 = 0x2E_CC_71;

/// Sends to one channel.
pub struct Discord {
    config: DiscordConfig,
    http: HttpReceiver,
}

#[derive(Serialize)]
struct Message {
    content: String,
    embeds: [Embed; 1],
    #[serde(skip_serializing_if = "String::is_empty")]
    username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    avatar_url: String,
}

#[derive(Serialize)]
struct Embed {
    title: String,
    description: String,
    color: u32,
}

impl Discord {
    /// For one receiver.
    pub fn new(config: DiscordConfig, deps: &Deps<'_>) -> Self {
        let http = HttpReceiver::new("discord", config.http_config.as_ref(), ConfigDuration::from_ms(0), deps);
        Discord { config, http }
    }

    async fn post(&self, n: &Notification<'_>) -> Result<(), SendError> {
        let c = &self.config;
        let text = |key: &str, template: &str| self.http.text(key, template, n.data);
        let message = Message {
            content: truncate::to_chars(&text("content", &c.content)?, CONTENT_CHARS),
            embeds: [Embed {
                title: truncate::to_chars(&text("title", &c.title)?, TITLE_CHARS),
                description: truncate::to_chars(&text("message", &c.message)?, DESCRIPTION_CHARS),
                color: if n.data.status == Status::Firing { RED } else { GREEN },
            }],
            username: text("username", &c.username)?,
            avatar_url: text("avatar_url", &c.avatar_url)?,
        };
        let file = c.webhook_url_file.as_deref();
        let url = self.http.secret("webhook_url", c.webhook_url.as_ref(), file, n.data).await?;
        self.http.send(Call::json(self.http.url(&url)?, &message)?, n).await?;
        Ok(())
    }
}

impl Notifier for Discord {
    fn send<'a>(&'a self, notification: &'a Notification<'a>) -> BoxFuture<'a, Result<(), SendError>> {
        Box::pin(self.post(notification))
    }
}
