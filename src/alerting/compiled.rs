//! A configuration made ready: the tree, the receivers' integrations, the intervals.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::notify::Integration;
use super::notify::email::Email;
use super::notify::mute_stage::Intervals;
use super::notify::webhook::Webhook;
use super::route::RouteTree;
use super::templates::{NotificationTemplates, TemplatesError};
use crate::config::notify::Receiver;
use crate::config::{AlertmanagerConfig, Problems};
use crate::exec::{Clock, SystemClock};

/// Why a configuration cannot be put in force. The one in force stays.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// Found by validation before, so only tests and faulty callers see it.
    #[error("the alertmanager's configuration is not valid: {0}")]
    Invalid(String),
    /// Template files.
    #[error(transparent)]
    Templates(#[from] TemplatesError),
    /// Templates inside the configuration, by path.
    #[error("{}", .0.join("\n"))]
    Template(Vec<String>),
}

/// Makes the integrations of one receiver; tests put their own in.
pub(super) type BuildIntegrations =
    Arc<dyn Fn(&AlertmanagerConfig, &Receiver, &Arc<NotificationTemplates>) -> Vec<Integration> + Send + Sync>;

/// See the module.
pub(super) struct Compiled {
    pub config: AlertmanagerConfig,
    pub tree: RouteTree,
    pub receivers: HashMap<String, Vec<Integration>>,
    pub intervals: Intervals,
}

impl Compiled {
    /// Compiles a validated configuration. `base` is the folder of the configuration file.
    pub fn new(
        config: AlertmanagerConfig,
        base: &Path,
        clock: &Arc<dyn Clock>,
        build: &BuildIntegrations,
    ) -> Result<Self, CompileError> {
        let tree = RouteTree::compile(config.route.as_ref()).map_err(CompileError::Invalid)?;
        let templates = Arc::new(NotificationTemplates::load(&config.templates, base, clock.clone())?);
        let mut receivers = HashMap::new();
        let mut problems = Problems::default();
        check_templates(&config, &templates, &mut problems);
        if !problems.is_empty() {
            return Err(CompileError::Template(
                problems.into_vec().into_iter().map(|(path, message)| format!("{path}: {message}")).collect(),
            ));
        }
        for receiver in &config.receivers {
            receivers.insert(receiver.name.clone(), build(&config, receiver, &templates));
        }
        let named = config.time_intervals.iter().chain(&config.mute_time_intervals);
        let intervals = named.map(|n| (n.name.clone(), n.time_intervals.clone())).collect();
        Ok(Compiled { tree, receivers, intervals, config })
    }
}

/// Notes what is wrong with the template files and with the templates inside a valid configuration, by path; `base` is the folder
/// that relative names are meant from. Reads files.
pub fn validate_templates(config: &AlertmanagerConfig, base: &Path, problems: &mut Problems) {
    match NotificationTemplates::load(&config.templates, base, Arc::new(SystemClock)) {
        Ok(templates) => check_templates(config, &templates, problems),
        Err(e) => problems.add("templates", e.to_string()),
    }
}

fn check_templates(config: &AlertmanagerConfig, templates: &NotificationTemplates, problems: &mut Problems) {
    let mut check = |path: String, text: &str| {
        if let Err(e) = templates.check(text) {
            problems.add(path, e.to_string());
        }
    };
    for (r, receiver) in config.receivers.iter().enumerate() {
        for (i, e) in receiver.email_configs.iter().enumerate() {
            let path = format!("receivers[{r}].email_configs[{i}]");
            for (field, text) in [
                ("to", e.to.as_str()),
                ("from", e.from.as_deref().unwrap_or_default()),
                ("html", &e.html),
                ("text", &e.text),
            ] {
                check(format!("{path}.{field}"), text);
            }
            for (name, text) in &e.headers {
                check(format!("{path}.headers.{name}"), text);
            }
        }
        for (i, w) in receiver.webhook_configs.iter().enumerate() {
            let url = w.url.as_ref().map(|u| u.expose()).unwrap_or_default();
            check(format!("receivers[{r}].webhook_configs[{i}].url"), url);
        }
    }
}

/// The real integrations.
pub(super) fn real_integrations(base: PathBuf, clock: Arc<dyn Clock>) -> BuildIntegrations {
    Arc::new(move |config, receiver, templates| {
        let mut out = Vec::new();
        for (index, e) in receiver.email_configs.iter().enumerate() {
            let full = e.resolved(&config.email_defaults());
            let notifier = Arc::new(Email::new(full, base.clone(), templates.clone(), clock.clone()));
            out.push(Integration { kind: "email", index, send_resolved: e.send_resolved, notifier });
        }
        for (index, w) in receiver.webhook_configs.iter().enumerate() {
            let http = config.global.http_config.as_ref();
            let notifier = Arc::new(Webhook::new(w.clone(), http, base.clone(), templates.clone()));
            out.push(Integration { kind: "webhook", index, send_resolved: w.send_resolved, notifier });
        }
        out
    })
}
