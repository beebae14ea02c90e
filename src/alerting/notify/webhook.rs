//! Webhooks: a POST of Alertmanager's JSON, version 4.

use futures_util::future::BoxFuture;

use super::http_receiver::{Call, Deps, HttpReceiver};
use super::{FailureReason, Notification, Notifier, SendError};
use crate::alerting::template_data::WebhookMessage;
use crate::config::notify::WebhookConfig;

/// Marks a message that may have been sent before, by a process that was killed before it could note the outcome.
pub const RETRY_HEADER: &str = "X-Campanile-Retry";
/// Names the receiver that could not be told, where another stands in for it.
pub const FALLBACK_HEADER: &str = "X-Campanile-Fallback-For";

/// Sends to one webhook.
pub struct Webhook {
    config: WebhookConfig,
    http: HttpReceiver,
}

impl Webhook {
    /// A webhook as configured.
    pub fn new(config: WebhookConfig, deps: &Deps<'_>) -> Self {
        let http = HttpReceiver::new("webhook", config.http_config.as_ref(), config.timeout, deps);
        Webhook { config, http }
    }

    async fn post(&self, n: &Notification<'_>) -> Result<(), SendError> {
        let limit = usize::try_from(self.config.max_alerts).ok().filter(|m| *m > 0).unwrap_or(usize::MAX);
        let cut = n.data.alerts.len().saturating_sub(limit);
        let truncated = (cut > 0).then(|| n.data.first_alerts(limit));
        let message = WebhookMessage::new(truncated.as_ref().unwrap_or(n.data), n.group_key, cut);
        let url = self.http.secret("url", self.config.url.as_ref(), self.config.url_file.as_deref(), n.data).await?;
        let answer = self.http.ask(Call::json(self.http.url(&url)?, &message)?, n).await?;
        if answer.status.is_success() {
            return Ok(());
        }
        let mut error = self.http.refusal(&answer);
        // As in Alertmanager, 429 waits for the next flush, unless the server says when it may be asked again.
        error.retry &= error.reason != FailureReason::RateLimited || error.retry_after.is_some();
        Err(error)
    }
}

impl Notifier for Webhook {
    fn send<'a>(&'a self, notification: &'a Notification<'a>) -> BoxFuture<'a, Result<(), SendError>> {
        Box::pin(self.post(notification))
    }
}

#[cfg(test)]
#[path = "webhook_tests.rs"]
mod tests;
