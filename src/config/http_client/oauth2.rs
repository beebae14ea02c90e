//! Access tokens of OAuth 2.0 by client credentials (RFC 6749, section 4.4): `oauth2` of `http_config`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine;
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::client::{ClientError, build, read_secret};
use super::tls::TlsMaterial;
use super::{HttpClientConfig, TlsConfig, with_proxy};
use crate::config::{Problems, Secret};

/// A token is taken anew so long before its end, so that it does not end under way (the same as Go's client).
const EARLIER: Duration = Duration::from_secs(10);
/// Longest time a token is used, whatever the server says; a year.
const LONGEST_LIFE: u64 = 365 * 24 * 3600;
/// How long the server may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// A token and a few words beside it.
const ANSWER_BYTES: usize = 256 * 1024;
/// How much of a refusal is shown.
const SHOWN_CHARS: usize = 300;

with_proxy! {
    /// Where tokens come from. They are used until shortly before they end. The proxy is that of the requests for tokens.
    pub struct OAuth2 {
        /// Who asks.
        pub client_id: String,
        /// The password.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub client_secret: Option<Secret>,
        /// A file with it, read for each token.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub client_secret_file: Option<PathBuf>,
        /// What the token is to be good for.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub scopes: Vec<String>,
        /// Where tokens are asked for.
        pub token_url: String,
        /// Further parameters of the request.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        pub endpoint_params: BTreeMap<String, String>,
        /// TLS to `token_url`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub tls_config: Option<TlsConfig>,
    }
}

impl OAuth2 {
    /// How `token_url` is spoken to.
    fn http_client(&self) -> HttpClientConfig {
        HttpClientConfig {
            tls_config: self.tls_config.clone(),
            proxy_url: self.proxy_url.clone(),
            no_proxy: self.no_proxy.clone(),
            proxy_from_environment: self.proxy_from_environment,
            proxy_connect_header: self.proxy_connect_header.clone(),
            ..HttpClientConfig::default()
        }
    }

    /// The body of a request; with the secret, if it is to be in there.
    fn form(&self, secret: Option<&str>) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if !self.scopes.is_empty() {
            form.append_pair("scope", &self.scopes.join(" "));
        }
        form.extend_pairs(self.endpoint_params.iter().filter(|(name, _)| *name != "grant_type"));
        if let Some(secret) = secret {
            form.append_pair("client_id", &self.client_id).append_pair("client_secret", secret);
        }
        form.finish()
    }

    pub(super) fn resolve_paths(&mut self, dir: &Path) {
        super::absolute(dir, &mut self.client_secret_file);
        if let Some(tls) = &mut self.tls_config {
            tls.resolve_paths(dir);
        }
    }

    pub(super) fn validate(&self, path: &str, problems: &mut Problems) {
        if self.client_id.is_empty() {
            problems.add(format!("{path}.client_id"), "is needed to ask for a token");
        }
        match (&self.client_secret, &self.client_secret_file) {
            (Some(_), Some(_)) => problems.add(
                format!("{path}.client_secret"),
                "at most one of client_secret and client_secret_file may be given",
            ),
            (None, None) => {
                problems.add(format!("{path}.client_secret"), "give client_secret or client_secret_file");
            }
            _ => {}
        }
        let good =
            reqwest::Url::parse(&self.token_url).is_ok_and(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
        if !good {
            problems.add(
                format!("{path}.token_url"),
                "is not an http or https address; write it like https://login.example/token",
            );
        }
        self.http_client().validate(path, problems);
    }
}

/// A token with its end.
struct Token {
    /// The whole `Authorization` header.
    header: String,
    /// When it is not to be used any more; nothing if the server names no end.
    until: Option<Instant>,
}

/// Gets tokens and keeps the newest. Those who ask at the same time wait for one request.
pub struct TokenSource {
    config: OAuth2,
    client: reqwest::Client,
    token: Mutex<Option<Token>>,
}

/// What the server answers (RFC 6749, section 5.1).
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    token_type: String,
    /// Seconds; some servers write the number as a text.
    #[serde(default)]
    expires_in: serde_json::Value,
}

impl TokenSource {
    /// Prepares the client; nothing is asked for before the first use. Certificates are read now.
    pub fn new(config: &OAuth2) -> Result<Self, ClientError> {
        let http = config.http_client();
        let material = TlsMaterial::read(http.tls_config.as_ref())?;
        let client = build(&http, &material, false, None)?;
        Ok(TokenSource { config: config.clone(), client, token: Mutex::new(None) })
    }

    /// The `Authorization` header of a token that is good now.
    pub async fn authorization(&self) -> Result<String, ClientError> {
        let mut token = self.token.lock().await;
        if let Some(t) = token.as_ref()
            && t.until.is_none_or(|u| Instant::now() < u)
        {
            return Ok(t.header.clone());
        }
        *token = None;
        let new = self.fetch().await?;
        let header = new.header.clone();
        *token = Some(new);
        Ok(header)
    }

    /// Gives the token up, because somebody did not take it; the next one who asks gets a new one.
    pub async fn forget(&self) {
        *self.token.lock().await = None;
    }

    /// Asks for a token: with name and password in the header first, as the standard wants it, then in the body for servers that know
    /// only that.
    async fn fetch(&self) -> Result<Token, ClientError> {
        let c = &self.config;
        let secret = match &c.client_secret_file {
            Some(f) => read_secret(f).await?,
            None => c.client_secret.as_ref().map_or(String::new(), |s| s.expose().to_owned()),
        };
        let (status, body) = self.ask(&secret, true).await?;
        let (status, body) = if status.is_client_error() { self.ask(&secret, false).await? } else { (status, body) };
        if !status.is_success() {
            let said: String = String::from_utf8_lossy(&body).trim().chars().take(SHOWN_CHARS).collect();
            let passes = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
            return Err(ClientError::Token { message: format!("the server answered {status}: {said}"), passes });
        }
        // What the server sent may be the token, so it is not shown.
        let refused = |why: &str| ClientError::Token { message: why.to_owned(), passes: false };
        let answer: Answer = serde_json::from_slice(&body).map_err(|_| refused("the server's answer is not JSON"))?;
        if answer.access_token.is_empty() {
            return Err(refused("the server's answer has no access_token"));
        }
        let seconds = match &answer.expires_in {
            serde_json::Value::Number(n) => n.as_u64(),
            serde_json::Value::String(s) => s.parse().ok(),
            _ => None,
        };
        let life = seconds.filter(|s| *s > 0).map(|s| Duration::from_secs(s.min(LONGEST_LIFE)));
        Ok(Token {
            header: format!("{} {}", scheme(&answer.token_type), answer.access_token),
            until: life.map(|l| Instant::now() + l.saturating_sub(EARLIER)),
        })
    }

    async fn ask(&self, secret: &str, in_header: bool) -> Result<(StatusCode, Vec<u8>), ClientError> {
        let c = &self.config;
        let mut request = self.client.post(&c.token_url).timeout(TIMEOUT);
        if in_header {
            // Both are encoded as in a form before they are put together (RFC 6749, section 2.3.1).
            let encoded = |s: &str| form_urlencoded::byte_serialize(s.as_bytes()).collect::<String>();
            let pair = format!("{}:{}", encoded(&c.client_id), encoded(secret));
            let basic = base64::engine::general_purpose::STANDARD.encode(pair);
            request = request.header(AUTHORIZATION, format!("Basic {basic}"));
        }
        let form = c.form((!in_header).then_some(secret));
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
        let failed =
            |e: reqwest::Error| ClientError::Token { message: super::client::chain(&e.without_url()), passes: true };
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > ANSWER_BYTES {
                return Err(ClientError::Token {
                    message: "the server's answer is too large".to_owned(),
                    passes: false,
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok((status, body))
    }
}

/// The scheme of the header for a type of token: servers write `bearer` in any case, and clients of the token want it capital.
fn scheme(token_type: &str) -> &str {
    match token_type {
        "" => "Bearer",
        t if t.eq_ignore_ascii_case("bearer") => "Bearer",
        t if t.eq_ignore_ascii_case("mac") => "MAC",
        t if t.eq_ignore_ascii_case("basic") => "Basic",
        t => t,
    }
}

#[cfg(test)]
#[path = "oauth2_tests.rs"]
mod tests;
