//! Microsoft Teams: message cards of connectors, and adaptive cards of workflows. Forms: Microsoft's references of both cards.

use futures_util::future::BoxFuture;
use serde_json::json;

use super::http_receiver::{Call, Deps, HttpReceiver};
use super::{FailureReason, Notification, Notifier, SendError};
use crate::alerting::template_data::Status;
use crate::config::ConfigDuration;
use crate::config::notify::{MsTeamsConfig, MsTeamsV2Config};

/// Colours of message cards, those that Alertmanager's users know.
const RED: &str = "8C1A1A";
const GREEN: &str = "2DC72D";

/// Sends message cards to one connector.
pub struct MsTeams {
    config: MsTeamsConfig,
    http: HttpReceiver,
}

impl MsTeams {
    /// For one receiver.
    pub fn new(config: MsTeamsConfig, deps: &Deps<'_>) -> Self {
        let http = HttpReceiver::new("msteams", config.http_config.as_ref(), ConfigDuration::from_ms(0), deps);
        MsTeams { config, http }
    }

    async fn post(&self, n: &Notification<'_>) -> Result<(), SendError> {
        let c = &self.config;
        let text = |key: &str, template: &str| self.http.text(key, template, n.data);
        let card = json!({
            "@context": "http://schema.org/extensions",
            "@type": "MessageCard",
            "title": text("title", &c.title)?,
            "summary": text("summary", &c.summary)?,
            "text": text("text", &c.text)?,
            "themeColor": if n.data.status == Status::Firing { RED } else { GREEN },
        });
        let file = c.webhook_url_file.as_deref();
        let url = self.http.secret("webhook_url", c.webhook_url.as_ref(), file, n.data).await?;
        let answer = self.http.send(Call::json(self.http.url(&url)?, &card)?, n).await?;
        // Connectors say 200 and put the refusal of the service behind them into the body.
        let said = answer.shown();
        if said.contains("HTTP error 429") {
            return Err(SendError::temporary(FailureReason::RateLimited, format!("msteams refused: {said}")));
        }
        Ok(())
    }
}

impl Notifier for MsTeams {
    fn send<'a>(&'a self, notification: &'a Notification<'a>) -> BoxFuture<'a, Result<(), SendError>> {
        Box::pin(self.post(notification))
    }
}

/// Sends adaptive cards to one workflow.
pub struct MsTeamsV2 {
    config: MsTeamsV2Config,
    http: HttpReceiver,
}

impl MsTeamsV2 {
    /// For one receiver.
    pub fn new(config: MsTeamsV2Config, deps: &Deps<'_>) -> Self {
        let http = HttpReceiver::new("msteamsv2", config.http_config.as_ref(), ConfigDuration::from_ms(0), deps);
        MsTeamsV2 { config, http }
    }

    async fn post(&self, n: &Notification<'_>) -> Result<(), SendError> {
        let c = &self.config;
        let text = |key: &str, template: &str| self.http.text(key, template, n.data);
        let heading = json!({
            "type": "TextBlock",
            "text": text("title", &c.title)?,
            "weight": "Bolder",
            "size": "Medium",
            "wrap": true,
            "style": "heading",
            "color": if n.data.status == Status::Firing { "Attention" } else { "Good" },
        });
        let message = json!({
            "type": "message",
            "attachments": [{
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": null,
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                    "type": "AdaptiveCard",
                    "version": "1.2",
                    "body": [heading, { "type": "TextBlock", "text": text("text", &c.text)?, "wrap": true }],
                    "msteams": { "width": "full" },
                },
            }],
        });
        let file = c.webhook_url_file.as_deref();
        let url = self.http.secret("webhook_url", c.webhook_url.as_ref(), file, n.data).await?;
        self.http.send(Call::json(self.http.url(&url)?, &message)?, n).await?;
        Ok(())
    }
}

impl Notifier for MsTeamsV2 {
    fn send<'a>(&'a self, notification: &'a Notification<'a>) -> BoxFuture<'a, Result<(), SendError>> {
        Box::pin(self.post(notification))
    }
}
