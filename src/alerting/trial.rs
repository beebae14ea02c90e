//! Receivers and templates tried out by hand: a made-up alert is sent or shown, without groups, silences or notification log.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::compiled::{CompileError, Compiled, real_integrations, texts};
use super::notify::exchange::Exchange;
use super::notify::{Integration, Notification, SendError};
use super::store::StoredAlert;
use super::template_data::{AlertData, Data, Reason};
use super::templates::NotificationTemplates;
use crate::config::AlertmanagerConfig;
use crate::exec::Clock;
use crate::model::Labels;
use crate::model::alert::Alert;
use crate::text::go_template::TemplateError;

/// How long before now a made-up alert began, and before when it ended if it is over.
const BEGAN_MS: i64 = 600_000;

/// The receivers of a configuration, ready to be tried.
pub struct Trial {
    config: AlertmanagerConfig,
    receivers: HashMap<String, Vec<Integration>>,
    templates: NotificationTemplates,
    clock: Arc<dyn Clock>,
}

/// The key of a template, such as `slack_configs[0].title`, and what it gives.
pub type Rendered = (String, Result<String, TemplateError>);

/// What came of one integration.
pub struct Tried {
    /// Such as `slack[0]`.
    pub integration: String,
    /// What went over the wire, masked.
    pub lines: Vec<String>,
    /// How it ended.
    pub outcome: Result<(), SendError>,
}

/// A made-up alert.
#[derive(Clone, Debug)]
pub struct MadeUp {
    /// Its labels.
    pub labels: Labels,
    /// Its annotations.
    pub annotations: Labels,
    /// Whether it is over.
    pub resolved: bool,
    /// Where campanile is reached from outside.
    pub external_url: String,
}

impl Trial {
    /// Compiles a validated configuration. `base` is the folder of the configuration file.
    pub fn new(config: AlertmanagerConfig, base: &Path, clock: Arc<dyn Clock>) -> Result<Self, CompileError> {
        let build = real_integrations(base.to_owned(), clock.clone());
        let templates = NotificationTemplates::load(&config.templates, base, clock.clone())?;
        let compiled = Compiled::new(config, base, &clock, &build)?;
        Ok(Trial { config: compiled.config, receivers: compiled.receivers, templates, clock })
    }

    /// The names of the receivers.
    pub fn receivers(&self) -> Vec<&str> {
        self.config.receivers.iter().map(|r| r.name.as_str()).collect()
    }

    fn data(&self, receiver: &str, alert: &MadeUp) -> Data {
        let now = self.clock.now_ms();
        let ends_at = if alert.resolved { now } else { now.saturating_add(BEGAN_MS) };
        let stored = StoredAlert::new(
            Alert {
                labels: alert.labels.clone(),
                annotations: alert.annotations.clone(),
                starts_at: now - BEGAN_MS,
                ends_at,
                updated_at: now,
                generator_url: alert.external_url.clone(),
            },
            false,
        );
        let group = alert.labels.get("alertname").map(|n| Labels::from_pairs([("alertname", n)]));
        let alerts = vec![AlertData::new(&stored, now)];
        Data::new(receiver, group.unwrap_or_else(Labels::empty), alerts, &alert.external_url, Reason::First)
    }

    /// Sends the alert to every integration of a receiver, one attempt each. `None` if there is no such receiver.
    pub async fn send(&self, receiver: &str, alert: &MadeUp) -> Option<Vec<Tried>> {
        let data = self.data(receiver, alert);
        let mut tried = Vec::new();
        for integration in self.receivers.get(receiver)? {
            let exchange = Exchange::default();
            // A key of its own, so that no incident of a real group is touched.
            let key = format!("campanile-test:{}", uuid::Uuid::new_v4());
            let notification = Notification { exchange: Some(&exchange), ..Notification::new(&data, &key) };
            let outcome = integration.notifier.send(&notification).await;
            tried.push(Tried { integration: format!("{integration:?}"), lines: exchange.lines(), outcome });
        }
        Some(tried)
    }

    /// Fills in a template text.
    pub fn render(&self, text: &str, html: bool, alert: &MadeUp) -> Result<String, TemplateError> {
        let data = self.data("test", alert);
        if html { self.templates.html(text, &data) } else { self.templates.text(text, &data) }
    }

    /// Fills in all templates of a receiver. `None` if there is no such
    /// receiver.
    pub fn render_receiver(&self, name: &str, alert: &MadeUp) -> Option<Vec<Rendered>> {
        let receiver = self.config.receivers.iter().find(|r| r.name == name)?;
        let data = self.data(name, alert);
        let shown = texts(receiver).into_iter().filter(|t| !t.text.is_empty()).map(|t| {
            let html = t.integration == "email_configs" && t.field == "html";
            let filled = if html { self.templates.html(t.text, &data) } else { self.templates.text(t.text, &data) };
            (format!("{}[{}].{}", t.integration, t.index, t.field), filled)
        });
        Some(shown.collect())
    }
}
