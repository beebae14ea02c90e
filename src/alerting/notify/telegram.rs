//! Telegram: `sendMessage` of a bot. Form: Telegram's reference of its bot API.

use std::time::Duration;

use futures_util::future::BoxFuture;
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};

use super::http_receiver::{Answer, Call, Deps, HttpReceiver};
use super::{FailureReason, Notification, Notifier, SendError, secret_file, truncate};
use crate::config::ConfigDuration;
use crate::config::notify::TelegramConfig;

/// The longest text that Telegram takes.
const TEXT_CHARS: usize = 4096;

/// Sends to one chat.
pub struct Telegram {
    /// With everything filled in from `global`.
    config: TelegramConfig,
    base: std::path::PathBuf,
    http: HttpReceiver,
}

#[derive(Serialize)]
struct Message<'a> {
    chat_id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_thread_id: Option<i64>,
    text: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    parse_mode: &'a str,
    disable_web_page_preview: bool,
    disable_notification: bool,
}

impl Telegram {
    /// For one receiver, `global` filled in.
    pub fn new(config: TelegramConfig, deps: &Deps<'_>) -> Self {
        let http = HttpReceiver::new("telegram", config.http_config.as_ref(), ConfigDuration::from_ms(0), deps);
        Telegram { config, base: deps.base.to_owned(), http }
    }

    async fn chat(&self) -> Result<i64, SendError> {
        match (self.config.chat_id, &self.config.chat_id_file) {
            (Some(id), _) => Ok(id),
            (None, Some(file)) => secret_file::read(&self.base, file).await?.trim().parse().map_err(|_| {
                SendError::permanent(
                    FailureReason::File,
                    format!("{file} does not hold the id of a chat, which is a number"),
                )
            }),
            (None, None) => Err(SendError::permanent(FailureReason::File, "there is no chat_id")),
        }
    }

    async fn post(&self, n: &Notification<'_>) -> Result<(), SendError> {
        let c = &self.config;
        let text = if c.parse_mode == "HTML" {
            self.http.html("message", &c.message, n.data)?
        } else {
            self.http.text("message", &c.message, n.data)?
        };
        let text = truncate::to_chars(&text, TEXT_CHARS);
        let token = self.http.secret("bot_token", c.bot_token.as_ref(), c.bot_token_file.as_deref(), n.data).await?;
        let base = c.api_url.as_deref().unwrap_or_default().trim_end_matches('/');
        let url = self.http.url(&format!("{base}/bot{token}/sendMessage"))?;
        let mut message = Message {
            chat_id: self.chat().await?,
            message_thread_id: c.message_thread_id.filter(|t| *t != 0),
            text: &text,
            parse_mode: &c.parse_mode,
            disable_web_page_preview: true,
            disable_notification: c.disable_notifications,
        };
        let call = |message: &Message<'_>| {
            Ok::<_, SendError>(Call { secrets: vec![token.clone()], ..Call::json(url.clone(), message)? })
        };
        let mut answer = self.http.ask(call(&message)?, n).await?;
        // A tag that was cut off, or a sign that Markdown takes for markup: the message is told without markup rather than not at all.
        if answer.status == StatusCode::BAD_REQUEST
            && !message.parse_mode.is_empty()
            && answer.shown().contains("parse entities")
        {
            message.parse_mode = "";
            answer = self.http.ask(call(&message)?, n).await?;
        }
        if answer.status.is_success() {
            return Ok(());
        }
        let mut error = self.http.refusal(&answer);
        error.retry_after = error.retry_after.or_else(|| asked_pause(&answer));
        Err(error)
    }
}

/// The pause that Telegram asks for, which stands in the body.
fn asked_pause(answer: &Answer) -> Option<Duration> {
    #[derive(Deserialize)]
    struct Said {
        parameters: Parameters,
    }
    #[derive(Deserialize)]
    struct Parameters {
        retry_after: u32,
    }
    let said: Said = serde_json::from_slice(&answer.body).ok()?;
    Some(Duration::from_secs(said.parameters.retry_after.into()))
}

impl Notifier for Telegram {
    fn send<'a>(&'a self, notification: &'a Notification<'a>) -> BoxFuture<'a, Result<(), SendError>> {
        Box::pin(self.post(notification))
    }
}
