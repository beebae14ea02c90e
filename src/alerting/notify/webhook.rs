//! Webhooks: a POST of Alertmanager's JSON, version 4.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use reqwest::header::CONTENT_TYPE;

use super::http_client::{ReceiverClient, request_error};
use super::{FailureReason, Notification, Notifier, SendError, secret_file};
use crate::alerting::template_data::{Data, WebhookMessage};
use crate::alerting::templates::NotificationTemplates;
use crate::config::notify::{NotifyHttpConfig, WebhookConfig};

/// Marks a message that may have been sent before, by a process that was killed before it could note the outcome.
pub const RETRY_HEADER: &str = "X-Campanile-Retry";

/// How much of an answer is shown in an error.
const SHOWN_BYTES: usize = 512;

/// Sends to one webhook.
pub struct Webhook {
    config: WebhookConfig,
    base: PathBuf,
    client: ReceiverClient,
    templates: Arc<NotificationTemplates>,
}

impl Webhook {
    /// A webhook as configured; `default_http` is that of `global`, `base` the folder of the configuration.
    pub fn new(
        config: WebhookConfig,
        default_http: Option<&NotifyHttpConfig>,
        base: PathBuf,
        templates: Arc<NotificationTemplates>,
    ) -> Self {
        let http = config.http_config.clone().or_else(|| default_http.cloned()).unwrap_or_default();
        let client = ReceiverClient::new(http, base.clone());
        Webhook { config, base, client, templates }
    }

    async fn url(&self, data: &Data) -> Result<reqwest::Url, SendError> {
        let text = secret_file::secret(&self.base, self.config.url.as_ref(), self.config.url_file.as_deref()).await?;
        let mut text = text.unwrap_or_default();
        if text.contains("{{") {
            // The error could show the address, so it is not passed on.
            text = self
                .templates
                .text(&text, data)
                .map_err(|_| SendError::permanent(FailureReason::Template, "the template of the address fails"))?;
        }
        reqwest::Url::parse(text.trim()).ok().filter(|u| matches!(u.scheme(), "http" | "https")).ok_or_else(|| {
            SendError::permanent(FailureReason::ClientError, "the address is not an http or https address")
        })
    }

    async fn post(&self, n: &Notification<'_>) -> Result<(), SendError> {
        let limit = usize::try_from(self.config.max_alerts).ok().filter(|m| *m > 0).unwrap_or(usize::MAX);
        let cut = n.data.alerts.len().saturating_sub(limit);
        let truncated = (cut > 0).then(|| n.data.first_alerts(limit));
        let message = WebhookMessage::new(truncated.as_ref().unwrap_or(n.data), n.group_key, cut);
        let body = serde_json::to_vec(&message)
            .map_err(|e| SendError::permanent(FailureReason::Template, format!("cannot write the JSON: {e}")))?;
        let url = self.url(n.data).await?;
        let mut request = self.client.post(url).await?.header(CONTENT_TYPE, "application/json").body(body);
        if n.possible_repeat {
            request = request.header(RETRY_HEADER, "1");
        }
        if self.config.timeout.as_ms() > 0 {
            request = request.timeout(self.config.timeout.as_duration());
        }
        let answer = request.send().await.map_err(request_error)?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let shown = start_of(answer).await;
        let text = format!("the webhook answered {status}{}{shown}", if shown.is_empty() { "" } else { ": " });
        Err(if status.is_server_error() {
            SendError::temporary(FailureReason::ServerError, text)
        } else {
            SendError::permanent(FailureReason::ClientError, text)
        })
    }
}

async fn start_of(mut answer: reqwest::Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < SHOWN_BYTES {
        match answer.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            // What is there is shown; the status is what counts.
            Ok(None) | Err(_) => break,
        }
    }
    bytes.truncate(SHOWN_BYTES);
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

impl Notifier for Webhook {
    fn send<'a>(&'a self, notification: &'a Notification<'a>) -> BoxFuture<'a, Result<(), SendError>> {
        Box::pin(self.post(notification))
    }
}

#[cfg(test)]
#[path = "webhook_tests.rs"]
mod tests;
