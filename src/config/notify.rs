//! Receivers of notifications: email and webhook in full, the other kinds of Alertmanager's schema known by name.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

use super::alerting::GlobalConfig;
use super::{ConfigDuration, Problems, Secret};

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
    /// Known, not supported.
    #[serde(skip_serializing)]
    pub slack_configs: Unsupported,
    /// Known, not supported.
    #[serde(skip_serializing)]
    pub pagerduty_configs: Unsupported,
    /// Known, not supported.
    #[serde(skip_serializing)]
    pub opsgenie_configs: Unsupported,
    /// Known, not supported.
    #[serde(skip_serializing)]
    pub telegram_configs: Unsupported,
    /// Known, not supported.
    #[serde(skip_serializing)]
    pub discord_configs: Unsupported,
    /// Known, not supported.
    #[serde(skip_serializing)]
    pub msteams_configs: Unsupported,
    /// Known, not supported.
    #[serde(skip_serializing)]
    pub msteamsv2_configs: Unsupported,
    /// Known, not supported.
    #[serde(skip_serializing)]
    pub pushover_configs: Unsupported,
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

/// An email to somebody. What is not given is taken from `global`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmailConfig {
    /// Whether the end of alerts is told too.
    pub send_resolved: bool,
    /// Addresses, separated by commas; a template.
    pub to: String,
    /// The sender; a template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// `host:port` of the mail server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smarthost: Option<String>,
    /// Name given in EHLO.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hello: Option<String>,
    /// Login.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_username: Option<String>,
    /// Password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_password: Option<Secret>,
    /// File with the password, read again on each use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_password_file: Option<String>,
    /// Secret of CRAM-MD5, which is not supported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_secret: Option<Secret>,
    /// File of the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_secret_file: Option<String>,
    /// Identity of PLAIN; must be empty or the username.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_identity: Option<String>,
    /// Whether a connection without TLS is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require_tls: Option<bool>,
    /// TLS from the first byte; on by itself for port 465.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub force_implicit_tls: Option<bool>,
    /// TLS options of the mail server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_config: Option<NotifyTlsConfig>,
    /// Headers by name (templates); `Subject`, `To` and `From` replace the usual ones.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The HTML part; a template; empty for none.
    pub html: String,
    /// The plain text part; a template; empty for none.
    pub text: String,
    /// Whether the messages of one group form a thread in mail programs.
    #[serde(skip_serializing_if = "is_default")]
    pub threading: ThreadingConfig,
}

/// How messages of a group are tied together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ThreadingConfig {
    /// Whether at all.
    pub enabled: bool,
    /// `none` for one thread for each group, `daily` for one each day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread_by_date: Option<ThreadByDate>,
}

/// See [`ThreadingConfig`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ThreadByDate {
    /// One thread for each group.
    None,
    /// One for each group and day.
    #[default]
    Daily,
}

/// The template of the default HTML part.
pub const DEFAULT_EMAIL_HTML: &str = r#"{{ template "email.default.html" . }}"#;
/// The template of the default text part.
pub const DEFAULT_EMAIL_TEXT: &str = r#"{{ template "email.default.text" . }}"#;
/// The template of the default subject.
pub const DEFAULT_EMAIL_SUBJECT: &str = r#"{{ template "email.default.subject" . }}"#;

impl Default for EmailConfig {
    fn default() -> Self {
        EmailConfig {
            // As in Alertmanager: mails do not tell the end unless asked to.
            send_resolved: false,
            to: String::new(),
            from: None,
            smarthost: None,
            hello: None,
            auth_username: None,
            auth_password: None,
            auth_password_file: None,
            auth_secret: None,
            auth_secret_file: None,
            auth_identity: None,
            require_tls: None,
            force_implicit_tls: None,
            tls_config: None,
            headers: BTreeMap::new(),
            html: DEFAULT_EMAIL_HTML.to_owned(),
            // Alertmanager sends HTML alone; a text part costs little and every mail program can show it.
            text: DEFAULT_EMAIL_TEXT.to_owned(),
            threading: ThreadingConfig::default(),
        }
    }
}

/// The email settings of `global`, with the built-in defaults behind them.
#[derive(Clone, Copy, Debug)]
pub struct EmailDefaults<'a> {
    /// Where they come from.
    pub global: &'a GlobalConfig,
}

impl EmailConfig {
    /// This email with everything filled in from `global`.
    pub fn resolved(&self, defaults: &EmailDefaults<'_>) -> EmailConfig {
        let g = defaults.global;
        let own_password = self.auth_password.is_some() || self.auth_password_file.is_some();
        EmailConfig {
            from: self.from.clone().or_else(|| g.smtp_from.clone()),
            smarthost: self.smarthost.clone().or_else(|| g.smtp_smarthost.clone()),
            hello: self.hello.clone().or_else(|| g.smtp_hello.clone()),
            auth_username: self.auth_username.clone().or_else(|| g.smtp_auth_username.clone()),
            auth_password: if own_password { self.auth_password.clone() } else { g.smtp_auth_password.clone() },
            auth_password_file: if own_password {
                self.auth_password_file.clone()
            } else {
                g.smtp_auth_password_file.clone()
            },
            auth_secret: self.auth_secret.clone().or_else(|| g.smtp_auth_secret.clone()),
            auth_secret_file: self.auth_secret_file.clone().or_else(|| g.smtp_auth_secret_file.clone()),
            auth_identity: self.auth_identity.clone().or_else(|| g.smtp_auth_identity.clone()),
            require_tls: Some(self.require_tls.unwrap_or(g.smtp_require_tls)),
            force_implicit_tls: self.force_implicit_tls.or(g.smtp_force_implicit_tls),
            tls_config: self.tls_config.clone().or_else(|| g.smtp_tls_config.clone()),
            ..self.clone()
        }
    }

    fn validate(&self, path: &str, defaults: &EmailDefaults<'_>, problems: &mut Problems) {
        let full = self.resolved(defaults);
        if full.to.trim().is_empty() {
            problems.add(format!("{path}.to"), "an email needs an address to go to");
        }
        if full.from.as_deref().is_none_or(str::is_empty) {
            problems.add(format!("{path}.from"), "an email needs a sender: set from here or smtp_from under global");
        }
        match full.smarthost.as_deref() {
            None | Some("") => problems.add(
                format!("{path}.smarthost"),
                "an email needs a mail server: set smarthost here or smtp_smarthost under global, like mail.example.org:587",
            ),
            Some(host) => {
                if split_host_port(host).is_none() {
                    problems.add(
                        format!("{path}.smarthost"),
                        format!("{host:?} is not host:port; write it like mail.example.org:587"),
                    );
                }
            }
        }
        if self.auth_password.is_some() && self.auth_password_file.is_some() {
            problems
                .add(format!("{path}.auth_password_file"), "give either auth_password or auth_password_file, not both");
        }
        if full.auth_password.is_none()
            && full.auth_password_file.is_none()
            && (full.auth_secret.is_some() || full.auth_secret_file.is_some())
        {
            problems.add(
                format!("{path}.auth_secret"),
                "CRAM-MD5 is not supported; use auth_username with auth_password or auth_password_file",
            );
        }
        let mut seen = std::collections::HashSet::new();
        for name in self.headers.keys() {
            if !seen.insert(name.to_ascii_lowercase()) {
                problems.add(format!("{path}.headers"), format!("header {name:?} is there twice, in another case"));
            }
            if name.is_empty() || !name.bytes().all(|b| (33..=126).contains(&b) && b != b':') {
                problems.add(format!("{path}.headers"), format!("{name:?} is not the name of a header"));
            }
        }
        if let Some(t) = &self.tls_config {
            t.validate(&format!("{path}.tls_config"), problems);
        }
    }
}

/// Splits `host:port`; an IPv6 address stands in brackets, which are taken off.
pub fn split_host_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = match port {
        "smtp" => 25,
        "smtps" => 465,
        "submission" => 587,
        p => p.parse().ok()?,
    };
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    match bare {
        Some(h) if !h.is_empty() => Some((h, port)),
        None if !host.is_empty() && !host.contains(':') => Some((host, port)),
        _ => None,
    }
}

/// A POST of Alertmanager's JSON, version 4.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebhookConfig {
    /// Whether the end of alerts is told too.
    pub send_resolved: bool,
    /// Where to; it may hold a token, so it is a secret of which only the host is shown. A template.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "show_host")]
    pub url: Option<Secret>,
    /// File with the address, read again on each use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_file: Option<String>,
    /// HTTP options; those of `global` if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_config: Option<NotifyHttpConfig>,
    /// At most so many alerts in one message, the rest is counted in `truncatedAlerts`; 0 for all.
    pub max_alerts: u64,
    /// How long one attempt may take; 0 for as long as the retries last.
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: ConfigDuration,
}

// Keys that older clients of the API do not know are shown only where they say something.

fn is_zero(d: &ConfigDuration) -> bool {
    d.as_ms() == 0
}

fn is_default(t: &ThreadingConfig) -> bool {
    *t == ThreadingConfig::default()
}

/// Shows an address without name, password, path and query. It stays an address, because clients of the API parse it.
fn show_host<S: serde::Serializer>(url: &Option<Secret>, s: S) -> Result<S::Ok, S::Error> {
    let parsed = url.as_ref().and_then(|u| reqwest::Url::parse(u.expose()).ok()).filter(|u| u.has_host());
    match parsed {
        Some(u) => {
            let port = u.port().map(|p| format!(":{p}")).unwrap_or_default();
            s.serialize_str(&format!("{}://{}{port}/<secret>", u.scheme(), u.host_str().unwrap_or_default()))
        }
        None => s.serialize_str("http://secret.invalid/<secret>"),
    }
}

impl Default for WebhookConfig {
    fn default() -> Self {
        WebhookConfig {
            // As in Alertmanager.
            send_resolved: true,
            url: None,
            url_file: None,
            http_config: None,
            max_alerts: 0,
            timeout: ConfigDuration::from_ms(0),
        }
    }
}

impl WebhookConfig {
    fn validate(&self, path: &str, problems: &mut Problems) {
        match (&self.url, &self.url_file) {
            (None, None) => problems.add(format!("{path}.url"), "a webhook needs url or url_file"),
            (Some(_), Some(_)) => problems.add(format!("{path}.url_file"), "give either url or url_file, not both"),
            (Some(u), None) => {
                let text = u.expose();
                let templated = text.contains("{{");
                let good =
                    reqwest::Url::parse(text).is_ok_and(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
                if !templated && !good {
                    problems.add(
                        format!("{path}.url"),
                        "not an http or https address; write it like https://example.org/hook",
                    );
                }
            }
            (None, Some(_)) => {}
        }
        if let Some(h) = &self.http_config {
            h.validate(&format!("{path}.http_config"), problems);
        }
    }
}

/// HTTP options of a receiver, as in Prometheus' common HTTP configuration.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct NotifyHttpConfig {
    /// Name and password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<NotifyBasicAuth>,
    /// Any other `Authorization` header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<NotifyAuthorization>,
    /// Old form of `authorization.credentials`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer_token: Option<Secret>,
    /// Old form of `authorization.credentials_file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer_token_file: Option<String>,
    /// TLS options.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_config: Option<NotifyTlsConfig>,
    /// Whether redirects are followed (307 and 308 keep the body).
    pub follow_redirects: bool,
    /// Whether HTTP/2 may be used.
    pub enable_http2: bool,
    /// A proxy for all requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_url: Option<Secret>,
    /// Whether `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` count.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub proxy_from_environment: bool,
    /// Known, not supported.
    #[serde(skip_serializing)]
    pub no_proxy: Option<String>,
    /// Known, not supported.
    #[serde(skip_serializing)]
    pub proxy_connect_header: UnsupportedMap,
    /// Known, not supported.
    #[serde(skip_serializing)]
    pub oauth2: UnsupportedMap,
    /// Further headers by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub http_headers: BTreeMap<String, NotifyHeaderValues>,
}

/// A map that is known and whose content is not read; `true` if it is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnsupportedMap(pub bool);

impl<'de> Deserialize<'de> for UnsupportedMap {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let entries = Option::<BTreeMap<String, IgnoredAny>>::deserialize(d)?;
        Ok(UnsupportedMap(entries.is_some()))
    }
}

/// Values of one further header.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct NotifyHeaderValues {
    /// As they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// Not shown back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Secret>,
    /// Read from files on each use.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
}

impl Default for NotifyHttpConfig {
    fn default() -> Self {
        NotifyHttpConfig {
            basic_auth: None,
            authorization: None,
            bearer_token: None,
            bearer_token_file: None,
            tls_config: None,
            // Both as in Prometheus' common HTTP configuration.
            follow_redirects: true,
            enable_http2: true,
            proxy_url: None,
            proxy_from_environment: false,
            no_proxy: None,
            proxy_connect_header: UnsupportedMap(false),
            oauth2: UnsupportedMap(false),
            http_headers: BTreeMap::new(),
        }
    }
}

/// Name and password of HTTP basic authentication; the `*_file` forms are read again on each use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct NotifyBasicAuth {
    /// Name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// File with the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username_file: Option<String>,
    /// Password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// File with the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<String>,
}

/// An `Authorization` header: a type and credentials.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct NotifyAuthorization {
    /// `Bearer` if not given.
    #[serde(rename = "type")]
    pub kind: String,
    /// Credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Secret>,
    /// File with the credentials, read again on each use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_file: Option<String>,
}

impl Default for NotifyAuthorization {
    fn default() -> Self {
        // What nearly every service that takes a token wants.
        NotifyAuthorization { kind: "Bearer".to_owned(), credentials: None, credentials_file: None }
    }
}

/// TLS options of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct NotifyTlsConfig {
    /// Certificates of authorities, PEM; they are then the only ones trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// File of the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// Client certificate, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<String>,
    /// File of the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<String>,
    /// Key of the client certificate, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Secret>,
    /// File of the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<String>,
    /// Known, not supported: the name to check the certificate against.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Takes any certificate; for tests.
    pub insecure_skip_verify: bool,
    /// `TLS12` or `TLS13`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_version: Option<String>,
    /// `TLS12` or `TLS13`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_version: Option<String>,
}

impl NotifyTlsConfig {
    fn validate(&self, path: &str, problems: &mut Problems) {
        if self.ca.is_some() && self.ca_file.is_some() {
            problems.add(format!("{path}.ca_file"), "give either ca or ca_file, not both");
        }
        if self.cert.is_some() && self.cert_file.is_some() {
            problems.add(format!("{path}.cert_file"), "give either cert or cert_file, not both");
        }
        if self.key.is_some() && self.key_file.is_some() {
            problems.add(format!("{path}.key_file"), "give either key or key_file, not both");
        }
        if (self.cert.is_some() || self.cert_file.is_some()) != (self.key.is_some() || self.key_file.is_some()) {
            problems.add(path, "a client certificate needs both cert and key");
        }
        if self.server_name.is_some() {
            problems.add(
                format!("{path}.server_name"),
                "server_name of receivers is not supported yet; use the host's real name",
            );
        }
        for (key, v) in [("min_version", &self.min_version), ("max_version", &self.max_version)] {
            if let Some(v) = v.as_deref().filter(|v| !matches!(*v, "TLS12" | "TLS13")) {
                problems.add(format!("{path}.{key}"), format!("{v:?} is not supported; use TLS12 or TLS13"));
            }
        }
    }
}

impl NotifyHttpConfig {
    pub(super) fn validate(&self, path: &str, problems: &mut Problems) {
        let ways = [
            self.basic_auth.is_some(),
            self.authorization.is_some(),
            self.bearer_token.is_some(),
            self.bearer_token_file.is_some(),
        ];
        if ways.iter().filter(|w| **w).count() > 1 {
            problems.add(path, "give only one of basic_auth, authorization, bearer_token and bearer_token_file");
        }
        if let Some(b) = &self.basic_auth {
            if b.password.is_some() && b.password_file.is_some() {
                problems
                    .add(format!("{path}.basic_auth.password_file"), "give either password or password_file, not both");
            }
            if !b.username.is_empty() && b.username_file.is_some() {
                problems
                    .add(format!("{path}.basic_auth.username_file"), "give either username or username_file, not both");
            }
        }
        if let Some(a) = &self.authorization {
            if a.kind.eq_ignore_ascii_case("basic") {
                problems.add(format!("{path}.authorization.type"), "use basic_auth for the type Basic");
            }
            if a.credentials.is_some() && a.credentials_file.is_some() {
                problems.add(
                    format!("{path}.authorization.credentials_file"),
                    "give either credentials or credentials_file, not both",
                );
            }
        }
        for (key, there) in [
            ("oauth2", self.oauth2.0),
            ("no_proxy", self.no_proxy.is_some()),
            ("proxy_connect_header", self.proxy_connect_header.0),
        ] {
            if there {
                problems.add(format!("{path}.{key}"), format!("{key} of receivers is not supported yet"));
            }
        }
        for name in self.http_headers.keys() {
            if name.parse::<reqwest::header::HeaderName>().is_err() {
                problems.add(format!("{path}.http_headers"), format!("{name:?} is not the name of a header"));
            }
        }
        if let Some(t) = &self.tls_config {
            t.validate(&format!("{path}.tls_config"), problems);
        }
    }
}

impl Receiver {
    pub(super) fn validate(&self, path: &str, defaults: &EmailDefaults<'_>, problems: &mut Problems) {
        for (i, e) in self.email_configs.iter().enumerate() {
            e.validate(&format!("{path}.email_configs[{i}]"), defaults, problems);
        }
        for (i, w) in self.webhook_configs.iter().enumerate() {
            w.validate(&format!("{path}.webhook_configs[{i}]"), problems);
        }
        for (key, kind) in [
            ("slack", self.slack_configs),
            ("pagerduty", self.pagerduty_configs),
            ("opsgenie", self.opsgenie_configs),
            ("telegram", self.telegram_configs),
            ("discord", self.discord_configs),
            ("msteams", self.msteams_configs),
            ("msteamsv2", self.msteamsv2_configs),
            ("pushover", self.pushover_configs),
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
                    format!("{key} receivers are not supported yet; supported are email_configs and webhook_configs"),
                );
            }
        }
    }
}
