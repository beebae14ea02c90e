//! The alertmanager's part of the configuration, in Alertmanager's own schema: `alertmanager:` or a file of its own.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use super::alert_matcher::AlertMatchers;
use super::http_client::{HttpClientConfig, TlsConfig};
use super::inhibit::InhibitRuleConfig;
use super::notify::{EmailDefaults, FallbackConfig, Receiver};
use super::time_interval::NamedTimeIntervals;
use super::{ConfigDuration, Problems, Secret};

/// How deep routes may be nested; a tree made by hand stays under ten.
const MAX_ROUTE_DEPTH: usize = 128;

/// The whole part. The default has no route: alerts are kept and shown, and nobody is told.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertmanagerConfig {
    /// Settings that receivers share.
    pub global: GlobalConfig,
    /// The root of the route tree; it takes every alert.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<RouteConfig>,
    /// Who can be told.
    pub receivers: Vec<Receiver>,
    /// Who is told instead when a receiver that names nobody itself keeps failing (campanile's own key).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<FallbackConfig>,
    /// Which alerts keep which others quiet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inhibit_rules: Vec<InhibitRuleConfig>,
    /// Named intervals that routes refer to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub time_intervals: Vec<NamedTimeIntervals>,
    /// The old name of `time_intervals`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mute_time_intervals: Vec<NamedTimeIntervals>,
    /// Globs of files with notification templates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub templates: Vec<String>,
    /// Alertmanager's traces of itself: known, so that an existing file loads, and without effect.
    #[serde(skip_serializing)]
    pub tracing: Option<serde_json::Value>,
}

/// Settings that receivers share.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct GlobalConfig {
    /// After how long an alert that was sent without an end counts as resolved when it is not sent again.
    pub resolve_timeout: ConfigDuration,
    /// HTTP options of receivers that have none of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_config: Option<HttpClientConfig>,
    /// Sender of emails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smtp_from: Option<String>,
    /// Name given in EHLO.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smtp_hello: Option<String>,
    /// `host:port` of the mail server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smtp_smarthost: Option<String>,
    /// Login.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smtp_auth_username: Option<String>,
    /// Password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smtp_auth_password: Option<Secret>,
    /// File with the password, read again on each use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smtp_auth_password_file: Option<String>,
    /// Secret of CRAM-MD5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smtp_auth_secret: Option<Secret>,
    /// File of the same, read again on each use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smtp_auth_secret_file: Option<String>,
    /// Identity of PLAIN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smtp_auth_identity: Option<String>,
    /// Whether a connection without TLS is refused.
    pub smtp_require_tls: bool,
    /// TLS from the first byte, whatever the port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smtp_force_implicit_tls: Option<bool>,
    /// TLS options of the mail server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smtp_tls_config: Option<TlsConfig>,
    /// Incoming webhook of Slack.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slack_api_url: Option<Secret>,
    /// File of the same, read again on each use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slack_api_url_file: Option<String>,
    /// Token of a Slack app.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slack_app_token: Option<Secret>,
    /// File of the same, read again on each use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slack_app_token_file: Option<String>,
    /// Where messages with a token go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slack_app_url: Option<String>,
    /// Where PagerDuty events of version 2 go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pagerduty_url: Option<String>,
    /// Opsgenie's API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opsgenie_api_url: Option<String>,
    /// Key of Opsgenie's API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opsgenie_api_key: Option<Secret>,
    /// File of the same, read again on each use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opsgenie_api_key_file: Option<String>,
    /// Telegram's API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub telegram_api_url: Option<String>,
    /// Token of a Telegram bot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub telegram_bot_token: Option<Secret>,
    /// File of the same, read again on each use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub telegram_bot_token_file: Option<String>,
    /// The addresses and keys of receiver kinds that campanile has not: known, so that an existing file loads. They have an effect
    /// only on receivers of these kinds, and those are refused.
    #[serde(skip_serializing)]
    pub wechat_api_url: Option<String>,
    /// See `wechat_api_url`.
    #[serde(skip_serializing)]
    pub wechat_api_secret: Option<Secret>,
    /// See `wechat_api_url`.
    #[serde(skip_serializing)]
    pub wechat_api_secret_file: Option<String>,
    /// See `wechat_api_url`.
    #[serde(skip_serializing)]
    pub wechat_api_corp_id: Option<String>,
    /// See `wechat_api_url`.
    #[serde(skip_serializing)]
    pub victorops_api_url: Option<String>,
    /// See `wechat_api_url`.
    #[serde(skip_serializing)]
    pub victorops_api_key: Option<Secret>,
    /// See `wechat_api_url`.
    #[serde(skip_serializing)]
    pub victorops_api_key_file: Option<String>,
    /// See `wechat_api_url`.
    #[serde(skip_serializing)]
    pub webex_api_url: Option<String>,
    /// See `wechat_api_url`.
    #[serde(skip_serializing)]
    pub jira_api_url: Option<String>,
    /// See `wechat_api_url`.
    #[serde(skip_serializing)]
    pub rocketchat_api_url: Option<String>,
    /// See `wechat_api_url`.
    #[serde(skip_serializing)]
    pub rocketchat_token: Option<Secret>,
    /// See `wechat_api_url`.
    #[serde(skip_serializing)]
    pub rocketchat_token_file: Option<String>,
    /// See `wechat_api_url`.
    #[serde(skip_serializing)]
    pub rocketchat_token_id: Option<Secret>,
    /// See `wechat_api_url`.
    #[serde(skip_serializing)]
    pub rocketchat_token_id_file: Option<String>,
    /// See `wechat_api_url`.
    #[serde(skip_serializing)]
    pub mattermost_webhook_url: Option<Secret>,
    /// See `wechat_api_url`.
    #[serde(skip_serializing)]
    pub mattermost_webhook_url_file: Option<String>,
}

impl Default for GlobalConfig {
    fn default() -> Self {
        GlobalConfig {
            // Alertmanager's defaults: an alert not heard of for five minutes is over; a mail server must offer TLS.
            resolve_timeout: ConfigDuration::from_secs(300),
            smtp_require_tls: true,
            http_config: None,
            smtp_from: None,
            smtp_hello: None,
            smtp_smarthost: None,
            smtp_auth_username: None,
            smtp_auth_password: None,
            smtp_auth_password_file: None,
            smtp_auth_secret: None,
            smtp_auth_secret_file: None,
            smtp_auth_identity: None,
            smtp_force_implicit_tls: None,
            smtp_tls_config: None,
            slack_api_url: None,
            slack_api_url_file: None,
            slack_app_token: None,
            slack_app_token_file: None,
            slack_app_url: None,
            pagerduty_url: None,
            opsgenie_api_url: None,
            opsgenie_api_key: None,
            opsgenie_api_key_file: None,
            wechat_api_url: None,
            wechat_api_secret: None,
            wechat_api_secret_file: None,
            wechat_api_corp_id: None,
            victorops_api_url: None,
            victorops_api_key: None,
            victorops_api_key_file: None,
            telegram_api_url: None,
            telegram_bot_token: None,
            telegram_bot_token_file: None,
            webex_api_url: None,
            jira_api_url: None,
            rocketchat_api_url: None,
            rocketchat_token: None,
            rocketchat_token_file: None,
            rocketchat_token_id: None,
            rocketchat_token_id_file: None,
            mattermost_webhook_url: None,
            mattermost_webhook_url_file: None,
        }
    }
}

/// One node of the route tree. What is not given is taken from the parent; the root has Alertmanager's defaults.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouteConfig {
    /// Who is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receiver: Option<String>,
    /// Labels that make a group; `...` alone means all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_by: Option<Vec<String>>,
    /// Old form: labels with these values.
    #[serde(rename = "match", skip_serializing_if = "BTreeMap::is_empty")]
    pub match_equal: BTreeMap<String, String>,
    /// Old form: labels that match these regexes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub match_re: BTreeMap<String, String>,
    /// Conditions that must all hold.
    #[serde(skip_serializing_if = "AlertMatchers::is_empty")]
    pub matchers: AlertMatchers,
    /// Whether the siblings after this one are tried too.
    #[serde(rename = "continue", skip_serializing_if = "std::ops::Not::not")]
    pub continue_matching: bool,
    /// Children.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RouteConfig>,
    /// How long the first notification of a group waits for more alerts (30s).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_wait: Option<ConfigDuration>,
    /// How often changes of a group are told (5m).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_interval: Option<ConfigDuration>,
    /// After how long an unchanged group is told again (4h).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat_interval: Option<ConfigDuration>,
    /// Intervals in which this route is quiet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mute_time_intervals: Vec<String>,
    /// Intervals outside of which this route is quiet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub active_time_intervals: Vec<String>,
}

impl AlertmanagerConfig {
    /// Checks what serde cannot: references, ranges, kinds that are not supported. `path` is where this part stands, such as `alertmanager`.
    pub fn validate(&self, path: &str, problems: &mut Problems) {
        let at = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        let mut receivers = HashSet::new();
        for (i, r) in self.receivers.iter().enumerate() {
            let here = at(&format!("receivers[{i}]"));
            if r.name.is_empty() {
                problems.add(format!("{here}.name"), "a receiver needs a name");
            } else if !receivers.insert(r.name.as_str()) {
                problems
                    .add(format!("{here}.name"), format!("receiver {:?} is there twice; give it another name", r.name));
            }
            r.validate(&here, &self.email_defaults(), problems);
        }
        let own = self.receivers.iter().enumerate();
        let named = own
            .filter_map(|(i, r)| Some((at(&format!("receivers[{i}].fallback")), r.fallback.as_ref()?, Some(&r.name))));
        for (here, fallback, of) in named.chain(self.fallback.iter().map(|f| (at("fallback"), f, None))) {
            if !receivers.contains(fallback.receiver.as_str()) {
                problems.add(
                    format!("{here}.receiver"),
                    format!("there is no receiver {:?}; receivers: {}", fallback.receiver, listed(&receivers)),
                );
            } else if of == Some(&fallback.receiver) {
                problems.add(format!("{here}.receiver"), "a receiver cannot stand in for itself");
            }
        }
        self.global.validate(&at("global"), problems);
        let mut intervals = HashSet::new();
        for (key, list) in
            [("time_intervals", &self.time_intervals), ("mute_time_intervals", &self.mute_time_intervals)]
        {
            for (i, t) in list.iter().enumerate() {
                let here = at(&format!("{key}[{i}].name"));
                if t.name.is_empty() {
                    problems.add(here, "a time interval needs a name");
                } else if !intervals.insert(t.name.as_str()) {
                    problems.add(here, format!("time interval {:?} is there twice; give it another name", t.name));
                }
            }
        }
        for (i, rule) in self.inhibit_rules.iter().enumerate() {
            rule.validate(&at(&format!("inhibit_rules[{i}]")), problems);
        }
        match &self.route {
            Some(root) => {
                let here = at("route");
                if root.receiver.as_ref().is_none_or(String::is_empty) {
                    problems.add(format!("{here}.receiver"), "the root route needs a receiver");
                }
                if !root.match_equal.is_empty() || !root.match_re.is_empty() || !root.matchers.is_empty() {
                    problems.add(&here, "the root route takes every alert, so it must have no matchers");
                }
                for (key, list) in [
                    ("mute_time_intervals", &root.mute_time_intervals),
                    ("active_time_intervals", &root.active_time_intervals),
                ] {
                    if !list.is_empty() {
                        problems.add(
                            format!("{here}.{key}"),
                            "the root route cannot have time intervals; put them on its routes",
                        );
                    }
                }
                if root.continue_matching {
                    problems.add(format!("{here}.continue"), "the root route has no siblings to continue with");
                }
                root.validate(&here, 0, &receivers, &intervals, problems);
            }
            None if !self.receivers.is_empty() => {
                problems
                    .add(at("route"), "there are receivers but no route that leads to them; add route with a receiver");
            }
            None => {}
        }
    }

    /// What is no error and has no effect: for warnings. `path` is where this part stands.
    pub fn doubts(&self, path: &str, doubts: &mut Problems) {
        if self.tracing.is_some() {
            let key = if path.is_empty() { "tracing".to_owned() } else { format!("{path}.tracing") };
            doubts.add(key, "has no effect: where campanile's own traces go is said by OTEL_EXPORTER_OTLP_ENDPOINT");
        }
    }

    /// Who is told instead of a receiver that keeps failing. A fallback has none itself, or two of them could call each other for ever.
    pub fn fallback_of(&self, receiver: &str) -> Option<&FallbackConfig> {
        let own = self.receivers.iter().find(|r| r.name == receiver)?.fallback.as_ref();
        own.or(self.fallback.as_ref()).filter(|f| f.receiver != receiver)
    }

    /// The email settings of `global` that receivers inherit.
    pub fn email_defaults(&self) -> EmailDefaults<'_> {
        EmailDefaults { global: &self.global }
    }
}

impl GlobalConfig {
    fn validate(&self, path: &str, problems: &mut Problems) {
        if self.resolve_timeout.as_ms() <= 0 {
            problems.add(format!("{path}.resolve_timeout"), "must be longer than zero");
        }
        if let Some(h) = &self.http_config {
            h.validate(&format!("{path}.http_config"), problems);
        }
        if let Some(t) = &self.smtp_tls_config {
            t.validate(&format!("{path}.smtp_tls_config"), problems);
        }
        for (key, given, file) in [
            ("slack_api_url", self.slack_api_url.is_some(), self.slack_api_url_file.is_some()),
            ("slack_app_token", self.slack_app_token.is_some(), self.slack_app_token_file.is_some()),
            ("opsgenie_api_key", self.opsgenie_api_key.is_some(), self.opsgenie_api_key_file.is_some()),
            ("telegram_bot_token", self.telegram_bot_token.is_some(), self.telegram_bot_token_file.is_some()),
            ("smtp_auth_password", self.smtp_auth_password.is_some(), self.smtp_auth_password_file.is_some()),
            ("smtp_auth_secret", self.smtp_auth_secret.is_some(), self.smtp_auth_secret_file.is_some()),
        ] {
            if given && file {
                problems.add(format!("{path}.{key}_file"), format!("give either {key} or {key}_file, not both"));
            }
        }
    }
}

impl RouteConfig {
    fn validate(
        &self,
        path: &str,
        depth: usize,
        receivers: &HashSet<&str>,
        intervals: &HashSet<&str>,
        problems: &mut Problems,
    ) {
        if depth >= MAX_ROUTE_DEPTH {
            problems.add(path, format!("routes are nested more than {MAX_ROUTE_DEPTH} deep"));
            return;
        }
        if let Some(r) = self.receiver.as_deref().filter(|r| !r.is_empty() && !receivers.contains(r)) {
            problems.add(
                format!("{path}.receiver"),
                format!("there is no receiver {r:?}; receivers: {}", listed(receivers)),
            );
        }
        check_regexes(&self.match_re, &format!("{path}.match_re"), problems);
        if let Some(by) = &self.group_by {
            let mut seen = HashSet::new();
            for name in by {
                if name == "..." && by.len() > 1 {
                    problems.add(format!("{path}.group_by"), "... means all labels and must stand alone");
                } else if name.is_empty() {
                    problems.add(format!("{path}.group_by"), "a label name is empty");
                } else if !seen.insert(name) {
                    problems.add(format!("{path}.group_by"), format!("label {name:?} is there twice"));
                }
            }
        }
        for (key, value) in [("group_interval", self.group_interval), ("repeat_interval", self.repeat_interval)] {
            if value.is_some_and(|v| v.as_ms() <= 0) {
                problems.add(format!("{path}.{key}"), "must be longer than zero");
            }
        }
        for (key, list) in
            [("mute_time_intervals", &self.mute_time_intervals), ("active_time_intervals", &self.active_time_intervals)]
        {
            for (i, name) in list.iter().enumerate().filter(|(_, n)| !intervals.contains(n.as_str())) {
                problems.add(
                    format!("{path}.{key}[{i}]"),
                    format!("there is no time interval {name:?}; time_intervals: {}", listed(intervals)),
                );
            }
        }
        for (i, child) in self.routes.iter().enumerate() {
            child.validate(&format!("{path}.routes[{i}]"), depth + 1, receivers, intervals, problems);
        }
    }
}

pub(super) fn check_regexes(regexes: &BTreeMap<String, String>, path: &str, problems: &mut Problems) {
    for (name, regex) in regexes {
        if let Err(e) = super::alert_matcher::AlertMatcher::new(name, crate::model::MatchOp::Regex, regex) {
            problems.add(format!("{path}.{name}"), e);
        }
    }
}

fn listed(names: &HashSet<&str>) -> String {
    let mut names: Vec<_> = names.iter().copied().collect();
    names.sort_unstable();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
#[path = "alerting_tests.rs"]
mod tests;
