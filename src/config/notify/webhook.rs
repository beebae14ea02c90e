//! Webhooks.

use super::{Texts, http_receiver, is_zero, show_host};
use crate::config::{ConfigDuration, Problems, Secret};

http_receiver! {
    /// A POST of Alertmanager's JSON, version 4.
    pub struct WebhookConfig {
        /// Where to; it may hold a token, so it is a secret of which only the host is shown. A template.
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "show_host")]
        pub url: Option<Secret>,
        /// File with the address, read again on each use.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub url_file: Option<String>,
        /// At most so many alerts in one message, the rest is counted in `truncatedAlerts`; 0 for all.
        pub max_alerts: u64,
        /// How long one attempt may take; 0 for as long as the retries last.
        #[serde(skip_serializing_if = "is_zero")]
        pub timeout: ConfigDuration,
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
    /// Its templates with their keys.
    pub fn templates(&self) -> Texts<'_> {
        vec![("url".to_owned(), self.url.as_ref().map(Secret::expose).unwrap_or_default())]
    }

    pub(super) fn validate(&self, path: &str, problems: &mut Problems) {
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
    }
}
