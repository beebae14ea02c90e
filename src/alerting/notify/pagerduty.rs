//! PagerDuty: events of version 2, or of version 1 where there is a service key. Form: PagerDuty's reference of its events API.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::http_receiver::{Answer, Call, Deps, HttpReceiver, group_id};
use super::{FailureReason, Notification, Notifier, SendError, truncate};
use crate::alerting::template_data::{Data, Status};
use crate::config::notify::{PagerdutyConfig, PagerdutyImage, PagerdutyLink};

/// The longest summary that PagerDuty takes.
const SUMMARY_CHARS: usize = 1024;
/// The largest event it takes.
const EVENT_BYTES: usize = 512_000;

/// Sends to one service.
pub struct Pagerduty {
    /// With everything filled in from `global`.
    config: PagerdutyConfig,
    http: HttpReceiver,
}

#[derive(Serialize)]
struct EventV2 {
    routing_key: String,
    dedup_key: String,
    event_action: &'static str,
    payload: Payload,
    #[serde(skip_serializing_if = "String::is_empty")]
    client: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    client_url: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<PagerdutyImage>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<PagerdutyLink>,
}

#[derive(Serialize)]
struct Payload {
    summary: String,
    source: String,
    severity: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    class: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    component: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    group: String,
    custom_details: BTreeMap<String, Value>,
}

#[derive(Serialize)]
struct EventV1 {
    service_key: String,
    event_type: &'static str,
    incident_key: String,
    description: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    client: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    client_url: String,
    details: BTreeMap<String, Value>,
}

impl Pagerduty {
    /// For one receiver, `global` filled in.
    pub fn new(config: PagerdutyConfig, deps: &Deps<'_>) -> Self {
        let http = HttpReceiver::new("pagerduty", config.http_config.as_ref(), config.timeout, deps);
        Pagerduty { config, http }
    }

    fn details(&self, data: &Data) -> Result<BTreeMap<String, Value>, SendError> {
        let filled = self.config.details.iter();
        filled.map(|(k, v)| Ok((k.clone(), self.filled(&format!("details.{k}"), v, data)?))).collect()
    }

    /// A value with the texts in it filled in.
    fn filled(&self, path: &str, value: &Value, data: &Data) -> Result<Value, SendError> {
        Ok(match value {
            Value::String(text) => self.http.text(path, text, data)?.into(),
            Value::Array(items) => {
                let filled = items.iter().map(|v| self.filled(path, v, data));
                Value::Array(filled.collect::<Result<_, _>>()?)
            }
            Value::Object(map) => {
                let filled = map.iter().map(|(k, v)| Ok((k.clone(), self.filled(&format!("{path}.{k}"), v, data)?)));
                Value::Object(filled.collect::<Result<_, SendError>>()?)
            }
            other => other.clone(),
        })
    }

    async fn post(&self, n: &Notification<'_>) -> Result<(), SendError> {
        let (c, data) = (&self.config, n.data);
        let text = |key: &str, template: &str| self.http.text(key, template, data);
        let action = if data.status == Status::Firing { "trigger" } else { "resolve" };
        let summary = truncate::to_chars(&text("description", &c.description)?, SUMMARY_CHARS);
        let url = self.http.url(c.url.as_deref().unwrap_or_default())?;
        let (body, key) = if c.is_v1() {
            let key =
                self.http.secret("service_key", c.service_key.as_ref(), c.service_key_file.as_deref(), data).await?;
            let triggered = action == "trigger";
            let mut event = EventV1 {
                service_key: key.clone(),
                event_type: action,
                incident_key: group_id(n.group_key),
                description: summary,
                client: if triggered { text("client", &c.client)? } else { String::new() },
                client_url: if triggered { text("client_url", &c.client_url)? } else { String::new() },
                details: self.details(data)?,
            };
            let mut call = Call::json(url, &event)?;
            if call.body.len() > EVENT_BYTES {
                event.details = too_large(call.body.len());
                call = Call::json(call.url, &event)?;
            }
            (call, key)
        } else {
            let key =
                self.http.secret("routing_key", c.routing_key.as_ref(), c.routing_key_file.as_deref(), data).await?;
            let mut images = Vec::new();
            for i in &c.images {
                let image = PagerdutyImage {
                    src: text("images.src", &i.src)?,
                    alt: text("images.alt", &i.alt)?,
                    href: text("images.href", &i.href)?,
                };
                images.extend((!image.src.is_empty()).then_some(image));
            }
            let mut links = Vec::new();
            for l in &c.links {
                let link = PagerdutyLink { href: text("links.href", &l.href)?, text: text("links.text", &l.text)? };
                links.extend((!link.href.is_empty()).then_some(link));
            }
            let mut event = EventV2 {
                routing_key: key.clone(),
                dedup_key: group_id(n.group_key),
                event_action: action,
                payload: Payload {
                    summary,
                    source: text("source", &c.source)?,
                    severity: text("severity", &c.severity)?,
                    class: text("class", &c.class)?,
                    component: text("component", &c.component)?,
                    group: text("group", &c.group)?,
                    custom_details: self.details(data)?,
                },
                client: text("client", &c.client)?,
                client_url: text("client_url", &c.client_url)?,
                images,
                links,
            };
            let mut call = Call::json(url, &event)?;
            if call.body.len() > EVENT_BYTES {
                event.payload.custom_details = too_large(call.body.len());
                call = Call::json(call.url, &event)?;
            }
            (call, key)
        };
        let answer = self.http.ask(Call { secret_path: false, secrets: vec![key], ..body }, n).await?;
        if answer.status.is_success() {
            return Ok(());
        }
        let mut error = self.http.refusal(&answer);
        // Version 1 says 403 when it is asked too often.
        if c.is_v1() && answer.status == StatusCode::FORBIDDEN {
            error = SendError { retry: true, reason: FailureReason::RateLimited, ..error };
        }
        if let Some(why) = said(&answer) {
            error.message = format!("pagerduty answered {}: {why}", answer.status);
        }
        Err(error)
    }
}

/// An event without its details is worth more than none.
fn too_large(bytes: usize) -> BTreeMap<String, Value> {
    let text = format!(
        "The details are left out: with them the event has {bytes} bytes, more than the {EVENT_BYTES} that are taken."
    );
    BTreeMap::from([("error".to_owned(), text.into())])
}

/// What PagerDuty finds wrong with an event.
fn said(answer: &Answer) -> Option<String> {
    #[derive(Deserialize)]
    struct Said {
        message: String,
        #[serde(default)]
        errors: Vec<String>,
    }
    if answer.status != StatusCode::BAD_REQUEST {
        return None;
    }
    let said: Said = serde_json::from_slice(&answer.body).ok()?;
    Some(format!("{}: {}", said.message, said.errors.join(", ")))
}

impl Notifier for Pagerduty {
    fn send<'a>(&'a self, notification: &'a Notification<'a>) -> BoxFuture<'a, Result<(), SendError>> {
        Box::pin(self.post(notification))
    }
}
