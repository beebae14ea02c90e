//! Emails.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Texts, either};
use crate::config::alerting::GlobalConfig;
use crate::config::http_client::{TlsConfig, TlsVersion};
use crate::config::{Problems, Secret};

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
    /// Secret of CRAM-MD5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_secret: Option<Secret>,
    /// File of the same, read again on each use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_secret_file: Option<String>,
    /// In whose name PLAIN logs in, where that is not the username.
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
    pub tls_config: Option<TlsConfig>,
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
        let own_secret = self.auth_secret.is_some() || self.auth_secret_file.is_some();
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
            auth_secret: if own_secret { self.auth_secret.clone() } else { g.smtp_auth_secret.clone() },
            auth_secret_file: if own_secret { self.auth_secret_file.clone() } else { g.smtp_auth_secret_file.clone() },
            auth_identity: self.auth_identity.clone().or_else(|| g.smtp_auth_identity.clone()),
            require_tls: Some(self.require_tls.unwrap_or(g.smtp_require_tls)),
            force_implicit_tls: self.force_implicit_tls.or(g.smtp_force_implicit_tls),
            tls_config: self.tls_config.clone().or_else(|| g.smtp_tls_config.clone()),
            ..self.clone()
        }
    }

    /// Its templates with their keys.
    pub fn templates(&self) -> Texts<'_> {
        let mut out: Texts<'_> = vec![
            ("to".to_owned(), &self.to),
            ("from".to_owned(), self.from.as_deref().unwrap_or_default()),
            ("html".to_owned(), &self.html),
            ("text".to_owned(), &self.text),
        ];
        out.extend(self.headers.iter().map(|(name, text)| (format!("headers.{name}"), text.as_str())));
        out
    }

    pub(super) fn validate(&self, path: &str, defaults: &EmailDefaults<'_>, problems: &mut Problems) {
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
        either(path, "auth_password", self.auth_password.is_some(), self.auth_password_file.is_some(), problems);
        either(path, "auth_secret", self.auth_secret.is_some(), self.auth_secret_file.is_some(), problems);
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
        if full.tls_config.is_some_and(|t| t.max_version.is_some_and(|v| v < TlsVersion::Tls13)) {
            problems.add(
                format!("{path}.tls_config.max_version"),
                "cannot be below TLS13 for mail servers, where campanile always offers the newest version; remove it",
            );
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

fn is_default(t: &ThreadingConfig) -> bool {
    *t == ThreadingConfig::default()
}
