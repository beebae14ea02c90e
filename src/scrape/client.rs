//! Fetches the body of a target over HTTP, or from this process.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::Method;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderValue};

use crate::config::http_client::client::{ClientError, HttpClient, chain};
use crate::config::scrape::ScrapeJob;
use crate::wire::exposition::content_type::ContentTypeError;
use crate::wire::exposition::{Format, format_of};

/// What a target sent.
pub struct Body {
    /// Decompressed.
    pub bytes: Vec<u8>,
    /// How to read it.
    pub format: Format,
}

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The client or its secrets.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Name resolution, connection, TLS, HTTP, decompression.
    #[error("{0}")]
    Http(String),
    /// Any status but 200.
    #[error("server returned HTTP status {0}")]
    Status(reqwest::StatusCode),
    /// Too large.
    #[error("body size limit exceeded")]
    BodySize,
    /// Too slow.
    #[error("context deadline exceeded: no complete answer within {0:?}")]
    Timeout(Duration),
    /// A format that cannot be read.
    #[error(transparent)]
    ContentType(#[from] ContentTypeError),
    /// The function of an in-process target panicked.
    #[error("the in-process target failed")]
    InProcess,
}

/// What all targets of a job share: one client (connections, TLS), headers, limits.
pub struct JobClient {
    client: HttpClient,
    accept: HeaderValue,
    compression: bool,
    fallback: Option<Format>,
    /// 0 means no bound.
    body_limit: u64,
}

impl JobClient {
    /// Makes the client of a job; reads certificates.
    pub fn new(job: &ScrapeJob) -> Result<Self, ClientError> {
        Ok(JobClient {
            client: HttpClient::new(&job.http, job.enable_compression)?,
            accept: HeaderValue::from_str(&job.accept).map_err(|_| ClientError::Header("Accept".to_owned()))?,
            compression: job.enable_compression,
            fallback: job.fallback,
            body_limit: job.limits.body_size.0,
        })
    }

    /// Fetches `url` within `timeout`.
    pub async fn fetch(&self, url: &str, timeout: Duration) -> Result<Body, FetchError> {
        match tokio::time::timeout(timeout, self.fetch_unbounded(url, timeout)).await {
            Ok(result) => result,
            Err(_) => Err(FetchError::Timeout(timeout)),
        }
    }

    async fn fetch_unbounded(&self, url: &str, timeout: Duration) -> Result<Body, FetchError> {
        let http = |e: reqwest::Error| FetchError::Http(chain(&e));
        let mut request = self
            .client
            .request(Method::GET, url)
            .await?
            .header(ACCEPT, self.accept.clone())
            .header("X-Prometheus-Scrape-Timeout-Seconds", timeout.as_secs_f64().to_string());
        if !self.compression {
            request = request.header(ACCEPT_ENCODING, "identity");
        }
        let response = request.send().await.map_err(http)?;
        self.client.note_status(response.status()).await;
        if response.status() != reqwest::StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let content_type =
            response.headers().get(CONTENT_TYPE).map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
        let mut bytes = Vec::new();
        let mut stream = response.bytes_stream();
        while let Some(chunk) = stream.next().await {
            bytes.extend_from_slice(&chunk.map_err(http)?);
            // Counted while it streams and after decompression, so that a small bomb stays small. Exactly the limit is too much.
            if self.body_limit > 0 && bytes.len() as u64 >= self.body_limit {
                return Err(FetchError::BodySize);
            }
        }
        let format = format_of(content_type.as_deref(), self.fallback)?;
        Ok(Body { bytes, format })
    }
}

/// Where a loop gets its bodies.
pub enum Source {
    /// From the target's URL.
    Http(Arc<JobClient>),
    /// From a function of this process, in Prometheus text.
    InProcess(Arc<dyn Fn() -> String + Send + Sync>),
}

impl Source {
    /// Fetches one body.
    pub async fn fetch(&self, url: &str, timeout: Duration) -> Result<Body, FetchError> {
        match self {
            Source::Http(c) => c.fetch(url, timeout).await,
            Source::InProcess(render) => {
                let render = render.clone();
                let text = tokio::task::spawn_blocking(move || render());
                match tokio::time::timeout(timeout, text).await {
                    Ok(Ok(text)) => Ok(Body { bytes: text.into_bytes(), format: Format::PrometheusText }),
                    Ok(Err(_panicked)) => Err(FetchError::InProcess),
                    Err(_) => Err(FetchError::Timeout(timeout)),
                }
            }
        }
    }
}
