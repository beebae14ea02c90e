//! Receivers of notifications: one file for each kind, keys of many kinds in `shared_keys`; kinds of Alertmanager's schema that are not
//! supported are known by name.

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

use super::{ConfigDuration, Problems, Secret};

mod discord;
mod email;
mod msteams;
mod ntfy;
mod opsgenie;
mod pagerduty;
mod pushover;
mod shared_keys;
mod slack;
mod telegram;
mod webhook;

pub use discord::DiscordConfig;
pub use email::{
    DEFAULT_EMAIL_HTML, DEFAULT_EMAIL_SUBJECT, DEFAULT_EMAIL_TEXT, EmailConfig, EmailDefaults, ThreadByDate,
    ThreadingConfig, split_host_port,
};
pub use msteams::{MsTeamsConfig, MsTeamsV2Config};
pub use ntfy::{NtfyAction, NtfyConfig};
pub use opsgenie::{OpsgenieConfig, OpsgenieResponder};
pub use pagerduty::{PagerdutyConfig, PagerdutyImage, PagerdutyLink};
pub use pushover::{DEFAULT_PUSHOVER_URL, PushoverConfig};
use shared_keys::{hook_receiver, http_receiver};
pub use slack::{DEFAULT_SLACK_APP_URL, SLACK_POST, SlackAction, SlackConfig, SlackConfirm, SlackField};
pub use telegram::TelegramConfig;
pub use webhook::WebhookConfig;

/// The kinds there are, for errors.
const SUPPORTED: &str =
    "email, webhook, slack, pagerduty, opsgenie, telegram, discord, msteams, msteamsv2, pushover and ntfy";

/// A receiver: a name and the ways in which it is told. One without any is allowed; it swallows its alerts.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Receiver {
    /// The name that routes use.
    pub name: String,
    /// Emails.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub email_configs: Vec<EmailConfig>,
    /// Webhooks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub webhook_configs: Vec<WebhookConfig>,
    /// Slack messages.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub slack_configs: Vec<SlackConfig>,
    /// PagerDuty events.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pagerduty_configs: Vec<PagerdutyConfig>,
    /// Opsgenie alerts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub opsgenie_configs: Vec<OpsgenieConfig>,
    /// Telegram messages.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub telegram_configs: Vec<TelegramConfig>,
    /// Discord messages.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub discord_configs: Vec<DiscordConfig>,
    /// Microsoft Teams, connectors.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub msteams_configs: Vec<MsTeamsConfig>,
    /// Microsoft Teams, workflows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub msteamsv2_configs: Vec<MsTeamsV2Config>,
    /// Pushover messages.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pushover_configs: Vec<PushoverConfig>,
    /// ntfy messages.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ntfy_configs: Vec<NtfyConfig>,
    /// Who is told instead when this receiver keeps failing; `fallback` of the alertmanager part if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<FallbackConfig>,
    /// Known, not supported.
    #[serde(skip_serializing)]
    pub wechat_configs: Unsupported,
    /// Known, not supported.
    #[serde(skip_serializing)]
    pub victorops_configs: Unsupported,
    /// Known, not supported.
    #[serde(skip_serializing)]
    pub sns_configs: Unsupported,
    /// Known, not supported.
    #[serde(skip_serializing)]
    pub webex_configs: Unsupported,
    /// Known, not supported.
    #[serde(skip_serializing)]
    pub jira_configs: Unsupported,
    /// Known, not supported.
    #[serde(skip_serializing)]
    pub rocketchat_configs: Unsupported,
    /// Known, not supported.
    #[serde(skip_serializing)]
    pub mattermost_configs: Unsupported,
    /// Known, not supported.
    #[serde(skip_serializing)]
    pub incidentio_configs: Unsupported,
}

/// A key that is known and whose content is not read; `true` if it is there with anything in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsupported(pub bool);

impl<'de> Deserialize<'de> for Unsupported {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let entries = Option::<Vec<IgnoredAny>>::deserialize(d)?;
        Ok(Unsupported(entries.is_some_and(|e| !e.is_empty())))
    }
}

// Keys that older clients of the API do not know are shown only where they say something.

pub(super) fn is_zero(d: &ConfigDuration) -> bool {
    d.as_ms() == 0
}

/// Shows an address without name, password, path and query. It stays an address, because clients of the API parse it.
pub(super) fn show_host<S: serde::Serializer>(url: &Option<Secret>, s: S) -> Result<S::Ok, S::Error> {
    let parsed = url.as_ref().and_then(|u| reqwest::Url::parse(u.expose()).ok()).filter(|u| u.has_host());
    match parsed {
        Some(u) => {
            let port = u.port().map(|p| format!(":{p}")).unwrap_or_default();
            s.serialize_str(&format!("{}://{}{port}/<secret>", u.scheme(), u.host_str().unwrap_or_default()))
        }
        None => s.serialize_str("http://secret.invalid/<secret>"),
    }
}

/// Who is told instead of a receiver that keeps failing.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FallbackConfig {
    /// The receiver that is told.
    pub receiver: String,
    /// How long the first one must have been failing for a group.
    #[serde(default = "FallbackConfig::default_after")]
    pub after: ConfigDuration,
}

impl FallbackConfig {
    /// Time for a short outage to pass; longer, and somebody should hear of it in another way.
    fn default_after() -> ConfigDuration {
        ConfigDuration::from_secs(300)
    }
}

/// Templates with the keys under which they stand.
pub type Texts<'a> = Vec<(String, &'a str)>;

/// A value and the file of it exclude each other.
fn either(path: &str, key: &str, given: bool, file: bool, problems: &mut Problems) {
    if given && file {
        problems.add(format!("{path}.{key}_file"), format!("give either {key} or {key}_file, not both"));
    }
}

/// An address must be there, itself or in a file.
fn needs_url(path: &str, key: &str, given: Option<&Secret>, file: Option<&String>, problems: &mut Problems) {
    either(path, key, given.is_some(), file.is_some(), problems);
    if given.is_none() && file.is_none() {
        problems.add(format!("{path}.{key}"), format!("needs {key} or {key}_file"));
    }
    url_problem(format!("{path}.{key}"), given.map(Secret::expose), problems);
}

/// An address, if there is one, must be of http or https. It is not shown, as it may be a secret. The mask is taken, because clients of
/// the API give back what they were shown.
fn url_problem(path: String, url: Option<&str>, problems: &mut Problems) {
    let good = |u: &str| {
        u == crate::config::secret::MASK
            || reqwest::Url::parse(u).is_ok_and(|u| matches!(u.scheme(), "http" | "https") && u.has_host())
    };
    if url.is_some_and(|u| !good(u)) {
        problems.add(path, "not an http or https address");
    }
}

impl Receiver {
    pub(super) fn validate(&self, path: &str, defaults: &EmailDefaults<'_>, problems: &mut Problems) {
        for (i, e) in self.email_configs.iter().enumerate() {
            e.validate(&format!("{path}.email_configs[{i}]"), defaults, problems);
        }
        let g = defaults.global;
        macro_rules! each {
            ($($key:ident($($more:expr),*)),* $(,)?) => {$(
                for (i, c) in self.$key.iter().enumerate() {
                    let here = format!("{path}.{}[{i}]", stringify!($key));
                    c.validate(&here, $($more,)* problems);
                    if let Some(h) = &c.http_config {
                        h.validate(&format!("{here}.http_config"), problems);
                    }
                }
            )*};
        }
        each!(
            webhook_configs(),
            slack_configs(g),
            pagerduty_configs(),
            opsgenie_configs(g),
            telegram_configs(g),
            discord_configs(),
            msteams_configs(),
            msteamsv2_configs(),
            pushover_configs(),
            ntfy_configs(),
        );
        for (key, kind) in [
            ("wechat", self.wechat_configs),
            ("victorops", self.victorops_configs),
            ("sns", self.sns_configs),
            ("webex", self.webex_configs),
            ("jira", self.jira_configs),
            ("rocketchat", self.rocketchat_configs),
            ("mattermost", self.mattermost_configs),
            ("incidentio", self.incidentio_configs),
        ] {
            if kind.0 {
                problems.add(
                    format!("{path}.{key}_configs"),
                    format!("{key} receivers are not supported yet; supported are {SUPPORTED}"),
                );
            }
        }
    }
}
