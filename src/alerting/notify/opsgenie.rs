//! Opsgenie: creates an alert for a group, brings it up to date if asked to, and closes it. Form: Opsgenie's reference of its alert API.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use reqwest::{Method, Url};
use serde::Serialize;
use serde_json::json;

use super::http_receiver::{Call, Deps, HttpReceiver, group_id};
use super::{Notification, Notifier, SendError, truncate};
use crate::alerting::template_data::{Data, Status};
use crate::config::ConfigDuration;
use crate::config::notify::{OpsgenieConfig, OpsgenieResponder};

/// The longest message that Opsgenie takes.
const MESSAGE_CHARS: usize = 130;

/// Sends to one account.
pub struct Opsgenie {
    /// With everything filled in from `global`.
    config: OpsgenieConfig,
    http: HttpReceiver,
}

#[derive(Serialize)]
struct Create<'a> {
    alias: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    details: BTreeMap<String, String>,
    source: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    responders: Vec<OpsgenieResponder>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    note: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    priority: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    entity: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<String>,
}

impl Opsgenie {
    /// For one receiver, `global` filled in.
    pub fn new(config: OpsgenieConfig, deps: &Deps<'_>) -> Self {
        let http = HttpReceiver::new("opsgenie", config.http_config.as_ref(), ConfigDuration::from_ms(0), deps);
        Opsgenie { config, http }
    }

    fn text(&self, key: &str, template: &str, data: &Data) -> Result<String, SendError> {
        self.http.text(key, template, data)
    }

    /// Those who are to act; one that comes out empty is left out, so that labels can name them.
    fn responders(&self, data: &Data) -> Result<Vec<OpsgenieResponder>, SendError> {
        let mut out = Vec::new();
        for r in &self.config.responders {
            let one = OpsgenieResponder {
                id: self.text("responders.id", &r.id, data)?,
                name: self.text("responders.name", &r.name, data)?,
                username: self.text("responders.username", &r.username, data)?,
                kind: self.text("responders.type", &r.kind, data)?,
            };
            if one.id.is_empty() && one.name.is_empty() && one.username.is_empty() {
                continue;
            }
            if one.kind == "teams" {
                let team = |name| OpsgenieResponder { name, kind: "team".to_owned(), ..OpsgenieResponder::default() };
                out.extend(listed(&one.name).into_iter().map(team));
            } else {
                out.push(one);
            }
        }
        Ok(out)
    }

    /// `v2/alerts` of the API, with what follows.
    fn address(&self, rest: &str) -> Result<Url, SendError> {
        let base = self.config.api_url.as_deref().unwrap_or_default();
        self.http.url(&format!("{}/v2/alerts{rest}", base.trim_end_matches('/')))
    }

    async fn post(&self, n: &Notification<'_>) -> Result<(), SendError> {
        let (c, data) = (&self.config, n.data);
        let alias = group_id(n.group_key);
        let source = self.text("source", &c.source, data)?;
        let mut calls = Vec::new();
        if data.status == Status::Resolved {
            let url = self.address(&format!("/{alias}/close?identifierType=alias"))?;
            calls.push(Call::json(url, &json!({ "source": source }))?);
        } else {
            let message = truncate::to_chars(&self.text("message", &c.message, data)?, MESSAGE_CHARS);
            let description = self.text("description", &c.description, data)?;
            let mut details: BTreeMap<String, String> =
                data.common_labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            for (k, t) in &c.details {
                details.insert(k.clone(), self.text(&format!("details.{k}"), t, data)?);
            }
            let create = Create {
                alias: &alias,
                message: &message,
                description: &description,
                details,
                source,
                responders: self.responders(data)?,
                tags: listed(&self.text("tags", &c.tags, data)?),
                note: self.text("note", &c.note, data)?,
                priority: self.text("priority", &c.priority, data)?,
                entity: self.text("entity", &c.entity, data)?,
                actions: listed(&self.text("actions", &c.actions, data)?),
            };
            calls.push(Call::json(self.address("")?, &create)?);
            if c.update_alerts {
                for (what, value) in [("message", &message), ("description", &description)] {
                    let url = self.address(&format!("/{alias}/{what}?identifierType=alias"))?;
                    calls.push(Call { method: Method::PUT, ..Call::json(url, &json!({ what: value }))? });
                }
            }
        }
        let key = self.http.secret("api_key", c.api_key.as_ref(), c.api_key_file.as_deref(), data).await?;
        for call in calls {
            let call = Call {
                authorization: Some(format!("GenieKey {key}")),
                secret_path: false,
                secrets: vec![key.clone()],
                ..call
            };
            self.http.send(call, n).await?;
        }
        Ok(())
    }
}

/// What stands between commas.
fn listed(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned).collect()
}

impl Notifier for Opsgenie {
    fn send<'a>(&'a self, notification: &'a Notification<'a>) -> BoxFuture<'a, Result<(), SendError>> {
        Box::pin(self.post(notification))
    }
}
