//! Pushover: a message to a user's devices. Form: Pushover's reference of its message API.

use futures_util::future::BoxFuture;

use super::http_receiver::{Call, Deps, HttpReceiver};
use super::{Notification, Notifier, SendError, truncate};
use crate::alerting::template_data::Data;
use crate::config::ConfigDuration;
use crate::config::notify::{DEFAULT_PUSHOVER_URL, PushoverConfig};

/// What Pushover takes at most, in characters.
const TITLE_CHARS: usize = 250;
const MESSAGE_CHARS: usize = 1024;
const URL_CHARS: usize = 512;
const URL_TITLE_CHARS: usize = 100;
/// The priority that comes again until somebody says that it was seen.
const EMERGENCY: &str = "2";

/// Sends to one user or group.
pub struct Pushover {
    config: PushoverConfig,
    http: HttpReceiver,
}

impl Pushover {
    /// For one receiver.
    pub fn new(config: PushoverConfig, deps: &Deps<'_>) -> Self {
        let http = HttpReceiver::new("pushover", config.http_config.as_ref(), ConfigDuration::from_ms(0), deps);
        Pushover { config, http }
    }

    /// The body, with the two secrets filled in.
    fn form(&self, token: &str, user: &str, data: &Data) -> Result<String, SendError> {
        let c = &self.config;
        let text = |key: &str, template: &str| self.http.text(key, template, data);
        let message = if c.html { self.http.html("message", &c.message, data)? } else { text("message", &c.message)? };
        let mut message = truncate::to_chars(&message, MESSAGE_CHARS);
        if message.trim().is_empty() {
            // Pushover refuses a message without text.
            "(no details)".clone_into(&mut message);
        }
        let priority = text("priority", &c.priority)?;
        let priority = priority.trim();
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("token", token);
        form.append_pair("user", user);
        form.append_pair("title", &truncate::to_chars(&text("title", &c.title)?, TITLE_CHARS));
        form.append_pair("message", &message);
        for (key, flag) in [("html", c.html), ("monospace", c.monospace)] {
            if flag {
                form.append_pair(key, "1");
            }
        }
        let url = truncate::to_chars(&text("url", &c.url)?, URL_CHARS);
        let url_title = truncate::to_chars(&text("url_title", &c.url_title)?, URL_TITLE_CHARS);
        let (device, sound) = (text("device", &c.device)?, text("sound", &c.sound)?);
        for (key, value) in [("url", &url), ("url_title", &url_title), ("device", &device), ("sound", &sound)] {
            if !value.is_empty() {
                form.append_pair(key, value);
            }
        }
        form.append_pair("priority", priority);
        if priority == EMERGENCY {
            form.append_pair("retry", &(c.retry.as_ms() / 1000).to_string());
            form.append_pair("expire", &(c.expire.as_ms() / 1000).to_string());
        }
        if c.ttl.as_ms() > 0 {
            form.append_pair("ttl", &(c.ttl.as_ms() / 1000).to_string());
        }
        Ok(form.finish())
    }

    async fn post(&self, n: &Notification<'_>) -> Result<(), SendError> {
        let c = &self.config;
        let token = self.http.secret("token", c.token.as_ref(), c.token_file.as_deref(), n.data).await?;
        let user = self.http.secret("user_key", c.user_key.as_ref(), c.user_key_file.as_deref(), n.data).await?;
        let call = Call {
            url: self.http.url(c.api_url.as_deref().unwrap_or(DEFAULT_PUSHOVER_URL))?,
            method: reqwest::Method::POST,
            authorization: None,
            content_type: "application/x-www-form-urlencoded",
            body: self.form(&token, &user, n.data)?.into_bytes(),
            secrets: vec![token, user],
            secret_path: false,
        };
        self.http.send(call, n).await?;
        Ok(())
    }
}

impl Notifier for Pushover {
    fn send<'a>(&'a self, notification: &'a Notification<'a>) -> BoxFuture<'a, Result<(), SendError>> {
        Box::pin(self.post(notification))
    }
}
