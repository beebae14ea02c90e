//! A configuration made ready: the tree, the receivers' integrations, the intervals.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::notify::discord::Discord;
use super::notify::email::Email;
use super::notify::http_receiver::Deps;
use super::notify::msteams::{MsTeams, MsTeamsV2};
use super::notify::mute_stage::Intervals;
use super::notify::ntfy::Ntfy;
use super::notify::opsgenie::Opsgenie;
use super::notify::pagerduty::Pagerduty;
use super::notify::pushover::Pushover;
use super::notify::slack::Slack;
use super::notify::telegram::Telegram;
use super::notify::webhook::Webhook;
use super::notify::{Integration, Notifier};
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
        for t in texts(receiver) {
            check(format!("receivers[{r}].{}[{}].{}", t.integration, t.index, t.field), t.text);
        }
    }
}

/// A template of a receiver and where it stands.
pub(super) struct ReceiverText<'a> {
    /// Such as `email_configs`.
    pub integration: &'static str,
    /// Which of them.
    pub index: usize,
    /// The key.
    pub field: String,
    /// The template.
    pub text: &'a str,
}

/// All templates of a receiver.
pub(super) fn texts(receiver: &Receiver) -> Vec<ReceiverText<'_>> {
    let mut out = Vec::new();
    macro_rules! each {
        ($($key:ident),* $(,)?) => {$(
            for (index, c) in receiver.$key.iter().enumerate() {
                let own = c.templates().into_iter();
                out.extend(own.map(|(field, text)| ReceiverText { integration: stringify!($key), index, field, text }));
            }
        )*};
    }
    each!(
        email_configs,
        webhook_configs,
        slack_configs,
        pagerduty_configs,
        opsgenie_configs,
        telegram_configs,
        discord_configs,
        msteams_configs,
        msteamsv2_configs,
        pushover_configs,
        ntfy_configs,
    );
    out
}

/// The real integrations.
pub(super) fn real_integrations(base: PathBuf, clock: Arc<dyn Clock>) -> BuildIntegrations {
    Arc::new(move |config, receiver, templates| {
        let global = &config.global;
        let deps = Deps { default_http: global.http_config.as_ref(), base: &base, templates, clock: &clock };
        let mut out = Vec::new();
        macro_rules! each {
            ($($kind:literal $key:ident |$c:ident| $made:expr),* $(,)?) => {$(
                for (index, $c) in receiver.$key.iter().enumerate() {
                    let notifier: Arc<dyn Notifier> = Arc::new($made);
                    out.push(Integration { kind: $kind, index, send_resolved: $c.send_resolved, notifier });
                }
            )*};
        }
        each!(
            "email" email_configs |c| Email::new(c.resolved(&config.email_defaults()), &deps),
            "webhook" webhook_configs |c| Webhook::new(c.clone(), &deps),
            "slack" slack_configs |c| Slack::new(c.resolved(global), &deps),
            "pagerduty" pagerduty_configs |c| Pagerduty::new(c.resolved(global), &deps),
            "opsgenie" opsgenie_configs |c| Opsgenie::new(c.resolved(global), &deps),
            "telegram" telegram_configs |c| Telegram::new(c.resolved(global), &deps),
            "discord" discord_configs |c| Discord::new(c.clone(), &deps),
            "msteams" msteams_configs |c| MsTeams::new(c.clone(), &deps),
            "msteamsv2" msteamsv2_configs |c| MsTeamsV2::new(c.clone(), &deps),
            "pushover" pushover_configs |c| Pushover::new(c.clone(), &deps),
            "ntfy" ntfy_configs |c| Ntfy::new(c.clone(), &deps),
        );
        out
    })
}
