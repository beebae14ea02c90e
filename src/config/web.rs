//! `web:` — what the HTTP server says about itself. Addresses and ports are flags, because they need a restart.

use serde::Deserialize;

use crate::config::{Problems, Unsupported};

/// `web:` of the configuration.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Web {
    /// The address under which users reach this server, for links in notifications; empty means the listen address.
    pub external_url: String,
    /// Users and bcrypt hashes, as in Prometheus' web configuration.
    pub basic_auth_users: Unsupported,
    /// Certificate of the server, as in Prometheus' web configuration.
    pub tls_server_config: Unsupported,
    /// HTTP/2 and response headers, as in Prometheus' web configuration.
    pub http_server_config: Unsupported,
}

impl Web {
    /// Checks what types cannot.
    pub fn validate(&self, path: &str, problems: &mut Problems) {
        if self.external_url.is_empty() {
            return;
        }
        let valid = reqwest::Url::parse(&self.external_url)
            .is_ok_and(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
        if !valid {
            problems.add(format!("{path}.external_url"), "is not an address like https://monitoring.example.org/");
        }
    }
}
