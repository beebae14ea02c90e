//! Makes a `reqwest::Client` of an [`HttpClientConfig`], and the headers of each request.

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use crate::config::http_client::{HttpClientConfig, http_header_name, tls};

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
}

/// Makes a client with TLS, proxy and redirects as configured. Certificates are read now; make a new client to read them again. No timeout is
/// set: give one with each request. `gzip` says whether compressed answers are asked for and unpacked.
pub fn build(config: &HttpClientConfig, gzip: bool) -> Result<reqwest::Client, ClientError> {
    let http2 = config.enable_http2.unwrap_or(true);
    let tls = tls::client_config(config.tls_config.as_ref(), http2)?;
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
    if !http2 {
        b = b.http1_only();
    }
    if let Some(url) = &config.proxy_url {
        let no_proxy = config.no_proxy.as_deref().and_then(reqwest::NoProxy::from_string);
        b = b.proxy(reqwest::Proxy::all(url.expose())?.no_proxy(no_proxy));
    } else if config.proxy_from_environment != Some(true) {
        b = b.no_proxy();
    }
    Ok(b.build()?)
}

fn read_secret(path: &Path) -> Result<String, ClientError> {
    let fail = |source| ClientError::File { path: path.to_owned(), source };
    let len = std::fs::metadata(path).map_err(fail)?.len();
    if len > MAX_SECRET_FILE {
        return Err(fail(io::Error::other("the file is too large for a secret (over 64 KiB)")));
    }
    Ok(std::fs::read_to_string(path).map_err(fail)?.trim().to_owned())
}

fn header_value(name: &str, text: &str) -> Result<HeaderValue, ClientError> {
    let mut v = HeaderValue::from_bytes(text.as_bytes()).map_err(|_| ClientError::Header(name.to_owned()))?;
    v.set_sensitive(true);
    Ok(v)
}

/// The headers that go with each request: authentication and `http_headers`. Files with secrets are read here, so that a
/// changed password counts at once.
pub fn request_headers(config: &HttpClientConfig) -> Result<HeaderMap, ClientError> {
    let mut headers = HeaderMap::new();
    if let Some(text) = authorization(config)? {
        headers.insert(AUTHORIZATION, header_value("Authorization", &text)?);
    }
    for (name, values) in &config.http_headers {
        let key: HeaderName = http_header_name(name).ok_or_else(|| ClientError::Header(name.clone()))?;
        for v in values.values.iter().map(String::as_str).chain(values.secrets.iter().map(|s| s.expose())) {
            headers.append(key.clone(), header_value(name, v)?);
        }
        for file in &values.files {
            headers.append(key.clone(), header_value(name, &read_secret(file)?)?);
        }
    }
    Ok(headers)
}

/// The text of the `Authorization` header, if there is to be one.
fn authorization(config: &HttpClientConfig) -> Result<Option<String>, ClientError> {
    if let Some(b) = &config.basic_auth {
        let user = match &b.username_file {
            Some(f) => read_secret(f)?,
            None => b.username.clone().unwrap_or_default(),
        };
        let password = match &b.password_file {
            Some(f) => read_secret(f)?,
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
        (Some(f), _) => read_secret(f)?,
        (None, Some(t)) => t.expose().to_owned(),
        (None, None) => return Ok(None),
    };
    let kind = kind.map(str::trim).filter(|k| !k.is_empty()).unwrap_or("Bearer");
    Ok(Some(format!("{kind} {credentials}")))
}
