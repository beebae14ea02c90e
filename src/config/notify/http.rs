//! HTTP and TLS options of receivers.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

use crate::config::{Problems, Secret};

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
    pub(in crate::config) fn validate(&self, path: &str, problems: &mut Problems) {
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
    pub(in crate::config) fn validate(&self, path: &str, problems: &mut Problems) {
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
