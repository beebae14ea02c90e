//! What all receivers over HTTP share: texts from templates, secrets, one request, and what its answer means.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, StatusCode, Url};
use serde::Serialize;

use super::http_client::{ReceiverClient, request_error};
use super::webhook::{FALLBACK_HEADER, RETRY_HEADER};
use super::{FailureReason, Notification, SendError, secret_file};
use crate::alerting::template_data::Data;
use crate::alerting::templates::NotificationTemplates;
use crate::config::http_client::HttpClientConfig;
use crate::config::{ConfigDuration, Secret};
use crate::exec::Clock;

/// How much of an answer is read.
const ANSWER_BYTES: usize = 64 * 1024;
/// How much of an answer is shown in an error.
const SHOWN_BYTES: usize = 512;
/// A server that asks for a longer pause is tried again at the next flush.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// What notifiers are made from.
pub struct Deps<'a> {
    /// HTTP options of `global`.
    pub default_http: Option<&'a HttpClientConfig>,
    /// Folder of the configuration; relative names of files begin there.
    pub base: &'a Path,
    /// The templates.
    pub templates: &'a Arc<NotificationTemplates>,
    /// The time.
    pub clock: &'a Arc<dyn Clock>,
}

/// See the module.
pub struct HttpReceiver {
    /// As in `slack_configs`, without the end.
    kind: &'static str,
    client: ReceiverClient,
    base: PathBuf,
    templates: Arc<NotificationTemplates>,
    /// How long one attempt may take.
    timeout: Option<Duration>,
}

/// One request.
pub struct Call {
    /// Where to.
    pub url: Url,
    /// How.
    pub method: Method,
    /// The header `Authorization`, instead of what the HTTP options say.
    pub authorization: Option<String>,
    /// Form of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
    /// What must not be shown.
    pub secrets: Vec<String>,
    /// Whether the path is a secret.
    pub secret_path: bool,
}

impl Call {
    /// A POST of JSON to an address that is itself a secret.
    pub fn json(url: Url, body: &impl Serialize) -> Result<Self, SendError> {
        let body = serde_json::to_vec(body)
            .map_err(|e| SendError::permanent(FailureReason::Template, format!("cannot write the JSON: {e}")))?;
        Ok(Call {
            url,
            method: Method::POST,
            authorization: None,
            content_type: "application/json",
            body,
            secrets: Vec::new(),
            secret_path: true,
        })
    }

    /// The address as it may be shown.
    fn shown_url(&self) -> String {
        if !self.secret_path {
            return self.url.to_string();
        }
        let port = self.url.port().map(|p| format!(":{p}")).unwrap_or_default();
        format!("{}://{}{port}/<secret>", self.url.scheme(), self.url.host_str().unwrap_or_default())
    }
}

/// What came back.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// The start of its body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Whether the body is JSON.
    pub fn is_json(&self) -> bool {
        let kind = self.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
        kind.is_some_and(|k| k.starts_with("application/json"))
    }

    /// The start of the body for an error.
    pub fn shown(&self) -> String {
        let start = self.body.get(..SHOWN_BYTES).unwrap_or(&self.body);
        String::from_utf8_lossy(start).trim().to_owned()
    }

    /// The pause that the server asks for, in seconds (its other form, a date, is not used by the services here).
    fn retry_after(&self) -> Option<Duration> {
        let seconds: u64 = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER))
    }
}

impl HttpReceiver {
    /// For one receiver of a kind; `http` are its own HTTP options, `timeout` that of one attempt (0 for none).
    pub fn new(kind: &'static str, http: Option<&HttpClientConfig>, timeout: ConfigDuration, deps: &Deps<'_>) -> Self {
        let http = http.or(deps.default_http).cloned().unwrap_or_default();
        HttpReceiver {
            kind,
            client: ReceiverClient::new(http, deps.base),
            base: deps.base.to_owned(),
            templates: deps.templates.clone(),
            timeout: (timeout.as_ms() > 0).then(|| timeout.as_duration()),
        }
    }

    /// A text filled in.
    pub fn text(&self, key: &str, template: &str, data: &Data) -> Result<String, SendError> {
        let filled = self.templates.text(template, data);
        filled.map_err(|e| SendError::permanent(FailureReason::Template, format!("template of {key}: {e}")))
    }

    /// HTML filled in; values are escaped.
    pub fn html(&self, key: &str, template: &str, data: &Data) -> Result<String, SendError> {
        let filled = self.templates.html(template, data);
        filled.map_err(|e| SendError::permanent(FailureReason::Template, format!("template of {key}: {e}")))
    }

    /// A secret that must be there; it may be a template, as in Alertmanager.
    pub async fn secret(
        &self,
        key: &str,
        given: Option<&Secret>,
        file: Option<&str>,
        data: &Data,
    ) -> Result<String, SendError> {
        let text = secret_file::secret(&self.base, given, file).await?.unwrap_or_default();
        // The error could show the secret, so it is not passed on.
        let failed = |_| SendError::permanent(FailureReason::Template, format!("the template of {key} fails"));
        let text = self.templates.text(&text, data).map_err(failed)?;
        match text.trim() {
            "" => Err(SendError::permanent(FailureReason::File, format!("{key} is empty"))),
            t => Ok(t.to_owned()),
        }
    }

    /// An address; the error does not show it.
    pub fn url(&self, text: &str) -> Result<Url, SendError> {
        Url::parse(text.trim()).ok().filter(|u| matches!(u.scheme(), "http" | "https")).ok_or_else(|| {
            SendError::permanent(FailureReason::ClientError, "the address is not an http or https address")
        })
    }

    /// Sends one request. An answer of 2xx is given back; 429 and 5xx may be tried again.
    pub async fn send(&self, call: Call, n: &Notification<'_>) -> Result<Answer, SendError> {
        let answer = self.ask(call, n).await?;
        if answer.status.is_success() { Ok(answer) } else { Err(self.refusal(&answer)) }
    }

    /// Sends one request and gives back the answer, whatever its status.
    pub async fn ask(&self, call: Call, n: &Notification<'_>) -> Result<Answer, SendError> {
        let (shown_url, secrets) = (call.shown_url(), call.secrets);
        let mut request =
            self.client.request(call.method, call.url).await?.header(CONTENT_TYPE, call.content_type).body(call.body);
        if n.possible_repeat {
            request = request.header(RETRY_HEADER, "1");
        }
        if let Some(instead_of) = n.fallback_for.and_then(|r| HeaderValue::from_str(r).ok()) {
            request = request.header(FALLBACK_HEADER, instead_of);
        }
        if let Some(t) = self.timeout {
            request = request.timeout(t);
        }
        let (client, request) = request.build_split();
        let mut request = request.map_err(request_error)?;
        if let Some(text) = call.authorization {
            let mut value = HeaderValue::from_str(&text).map_err(|_| {
                SendError::permanent(FailureReason::File, "the credentials hold bytes that a header cannot")
            })?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        if let Some(exchange) = n.exchange {
            exchange.note('>', &format!("{} {shown_url}", request.method()), &secrets);
            show_headers(exchange, '>', request.headers(), &secrets);
            let body = request.body().and_then(|b| b.as_bytes()).unwrap_or_default();
            exchange.note('>', &format!("\n{}", String::from_utf8_lossy(body)), &secrets);
        }
        let mut response = client.execute(request).await.map_err(request_error)?;
        let (status, headers) = (response.status(), response.headers().clone());
        self.client.note_status(status).await;
        let mut body = Vec::new();
        while body.len() < ANSWER_BYTES {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                // What is there is shown; the status is what counts.
                Ok(None) | Err(_) => break,
            }
        }
        body.truncate(ANSWER_BYTES);
        if let Some(exchange) = n.exchange {
            exchange.note('<', &status.to_string(), &secrets);
            show_headers(exchange, '<', &headers, &secrets);
            exchange.note('<', &format!("\n{}", String::from_utf8_lossy(&body)), &secrets);
        }
        Ok(Answer { status, headers, body })
    }

    /// The error of an answer that is none of success.
    pub fn refusal(&self, answer: &Answer) -> SendError {
        let shown = answer.shown();
        let text =
            format!("{} answered {}{}{shown}", self.kind, answer.status, if shown.is_empty() { "" } else { ": " });
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            SendError { retry_after: answer.retry_after(), ..SendError::temporary(FailureReason::RateLimited, text) }
        } else if answer.status.is_server_error() {
            SendError { retry_after: answer.retry_after(), ..SendError::temporary(FailureReason::ServerError, text) }
        } else {
            SendError::permanent(FailureReason::ClientError, text)
        }
    }
}

fn show_headers(exchange: &super::exchange::Exchange, mark: char, headers: &HeaderMap, secrets: &[String]) {
    for (name, value) in headers {
        let shown = if value.is_sensitive() {
            crate::config::secret::MASK.into()
        } else {
            String::from_utf8_lossy(value.as_bytes())
        };
        exchange.note(mark, &format!("{name}: {shown}"), secrets);
    }
}

/// The identity of a group as services want it: SHA-256 of its key in hexadecimal digits, as Alertmanager's, so that an incident that
/// Alertmanager opened is closed by campanile.
pub fn group_id(group_key: &str) -> String {
    use std::fmt::Write;
    let hash = ring::digest::digest(&ring::digest::SHA256, group_key.as_bytes());
    hash.as_ref().iter().fold(String::with_capacity(64), |mut out, b| {
        // Writing to a string cannot fail.
        let _written = write!(out, "{b:02x}");
        out
    })
}
