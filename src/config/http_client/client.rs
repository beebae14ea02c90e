//! Makes clients of an [`HttpClientConfig`], and requests with what it wants in their headers.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{IntoUrl, Method, RequestBuilder, StatusCode};

use crate::config::http_client::oauth2::TokenSource;
use crate::config::http_client::tls::{self, TlsMaterial};
use crate::config::http_client::{HttpClientConfig, http_header_name};

/// How campanile names itself to others.
pub const USER_AGENT: &str = concat!("campanile/", env!("CARGO_PKG_VERSION"));
/// Redirects followed before giving up, as in Go's client.
const MAX_REDIRECTS: usize = 10;
/// Secrets are short; a larger file is a mistake (64 KiB).
const MAX_SECRET_FILE: u64 = 1 << 16;

/// Why a client or a request could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A file with a secret or certificate cannot be read.
    #[error("cannot read {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Certificates or keys that cannot be used.
    #[error("tls_config: {0}")]
    Tls(String),
    /// A text that cannot be sent as a header.
    #[error("the value of header {0} has characters that cannot be sent")]
    Header(String),
    /// The HTTP library refuses the settings.
    #[error("cannot make the http client: {0}")]
    Build(#[from] reqwest::Error),
    /// No token of `oauth2`.
    #[error("oauth2: no token: {message}")]
    Token {
        /// What happened; holds no secret.
        message: String,
        /// Whether trying again can help.
        passes: bool,
    },
}

/// An error of the HTTP library with the errors below it, which tell the actual cause.
pub fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// Makes a client with TLS, proxy and redirects as configured. No timeout is set: give one with each request. `gzip` says whether
/// compressed answers are asked for and unpacked, `connect` how long a connection may take to be made.
pub(super) fn build(
    config: &HttpClientConfig,
    material: &TlsMaterial,
    gzip: bool,
    connect: Option<Duration>,
) -> Result<reqwest::Client, ClientError> {
    let http2 = config.enable_http2.unwrap_or(true);
    let tls = tls::client_config(config.tls_config.as_ref(), material, http2)?;
    let mut b = reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .gzip(gzip)
        .referer(false)
        .tls_backend_preconfigured(tls)
        .redirect(if config.follow_redirects.unwrap_or(true) {
            reqwest::redirect::Policy::limited(MAX_REDIRECTS)
        } else {
            reqwest::redirect::Policy::none()
        });
    if let Some(t) = connect {
        b = b.connect_timeout(t);
    }
    if !http2 {
        b = b.http1_only();
    }
    if let Some(url) = &config.proxy_url {
        let mut headers = HeaderMap::new();
        for (name, values) in &config.proxy_connect_header {
            let key = http_header_name(name).ok_or_else(|| ClientError::Header(name.clone()))?;
            for v in values {
                headers.append(key.clone(), header_value(name, v.expose())?);
            }
        }
        let no_proxy = config.no_proxy.as_deref().and_then(reqwest::NoProxy::from_string);
        b = b.proxy(reqwest::Proxy::all(url.expose())?.headers(headers).no_proxy(no_proxy));
    } else if config.proxy_from_environment != Some(true) {
        b = b.no_proxy();
    }
    Ok(b.build()?)
}

/// The client of one configuration: its connections, its headers, its tokens.
pub struct HttpClient {
    client: reqwest::Client,
    config: HttpClientConfig,
    tokens: Option<TokenSource>,
}

impl HttpClient {
    /// Makes a client; `gzip` says whether compressed answers are asked for and unpacked. Certificates are read now; make a new client to read them again.
    pub fn new(config: &HttpClientConfig, gzip: bool) -> Result<Self, ClientError> {
        Self::with_material(config, &TlsMaterial::read(config.tls_config.as_ref())?, gzip, None)
    }

    /// The same with certificates that were read before.
    pub fn with_material(
        config: &HttpClientConfig,
        material: &TlsMaterial,
        gzip: bool,
        connect: Option<Duration>,
    ) -> Result<Self, ClientError> {
        Ok(HttpClient {
            client: build(config, material, gzip, connect)?,
            tokens: config.oauth2.as_ref().map(TokenSource::new).transpose()?,
            config: config.clone(),
        })
    }

    /// A request with authentication and `http_headers`. Files with secrets are read now, so that a changed password counts at once; a token of
    /// `oauth2` is fetched if there is none that is good.
    pub async fn request(&self, method: Method, url: impl IntoUrl) -> Result<RequestBuilder, ClientError> {
        Ok(self.client.request(method, url).headers(self.headers().await?))
    }

    /// Takes note of an answer: a token that was refused (401) is not used again.
    pub async fn note_status(&self, status: StatusCode) {
        if let Some(tokens) = self.tokens.as_ref().filter(|_| status == StatusCode::UNAUTHORIZED) {
            tokens.forget().await;
        }
    }

    async fn headers(&self) -> Result<HeaderMap, ClientError> {
        let mut headers = HeaderMap::new();
        let text = match &self.tokens {
            Some(tokens) => Some(tokens.authorization().await?),
            None => authorization(&self.config).await?,
        };
        if let Some(text) = text {
            headers.insert(AUTHORIZATION, header_value("Authorization", &text)?);
        }
        for (name, values) in &self.config.http_headers {
            let key: HeaderName = http_header_name(name).ok_or_else(|| ClientError::Header(name.clone()))?;
            for v in &values.values {
                let v = HeaderValue::from_bytes(v.as_bytes()).map_err(|_| ClientError::Header(name.clone()))?;
                headers.append(key.clone(), v);
            }
            for v in &values.secrets {
                headers.append(key.clone(), header_value(name, v.expose())?);
            }
            for file in &values.files {
                headers.append(key.clone(), header_value(name, &read_secret(file).await?)?);
            }
        }
        Ok(headers)
    }
}

/// Reads a secret; the white space around it is not part of it.
pub(super) async fn read_secret(path: &Path) -> Result<String, ClientError> {
    let fail = |source| ClientError::File { path: path.to_owned(), source };
    let len = tokio::fs::metadata(path).await.map_err(fail)?.len();
    if len > MAX_SECRET_FILE {
        return Err(fail(io::Error::other("the file is too large for a secret (over 64 KiB)")));
    }
    Ok(tokio::fs::read_to_string(path).await.map_err(fail)?.trim().to_owned())
}

/// A value that is not shown.
fn header_value(name: &str, text: &str) -> Result<HeaderValue, ClientError> {
    let mut v = HeaderValue::from_bytes(text.as_bytes()).map_err(|_| ClientError::Header(name.to_owned()))?;
    v.set_sensitive(true);
    Ok(v)
}

/// The text of the `Authorization` header, if there is to be one without asking anybody. Files are read now.
pub async fn authorization(config: &HttpClientConfig) -> Result<Option<String>, ClientError> {
    if let Some(b) = &config.basic_auth {
        let user = match &b.username_file {
            Some(f) => read_secret(f).await?,
            None => b.username.clone().unwrap_or_default(),
        };
        let password = match &b.password_file {
            Some(f) => read_secret(f).await?,
            None => b.password.as_ref().map_or(String::new(), |p| p.expose().to_owned()),
        };
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        return Ok(Some(format!("Basic {encoded}")));
    }
    let (kind, text, file) = match &config.authorization {
        Some(a) => (a.kind.as_deref(), &a.credentials, &a.credentials_file),
        None => (None, &config.bearer_token, &config.bearer_token_file),
    };
    let credentials = match (file, text) {
        (Some(f), _) => read_secret(f).await?,
        (None, Some(t)) => t.expose().to_owned(),
        (None, None) => return Ok(None),
    };
    let kind = kind.map(str::trim).filter(|k| !k.is_empty()).unwrap_or("Bearer");
    Ok(Some(format!("{kind} {credentials}")))
}
