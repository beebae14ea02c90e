//! The HTTP client of one receiver: made when it is first used, and again when the files of its certificates change.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{RequestBuilder, StatusCode};
use tokio::sync::Mutex;

use super::{FailureReason, SendError};
use crate::config::http_client::client::{ClientError, HttpClient, chain};
use crate::config::http_client::tls::TlsMaterial;
use crate::config::http_client::{HttpClientConfig, TlsConfig};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// See the module.
pub struct ReceiverClient {
    config: HttpClientConfig,
    made: Mutex<Option<(TlsMaterial, Arc<HttpClient>)>>,
}

impl ReceiverClient {
    /// A client for one receiver; nothing is read or connected before the first use. `base` is the folder of the configuration.
    pub fn new(mut config: HttpClientConfig, base: &Path) -> Self {
        config.resolve_paths(base);
        ReceiverClient { config, made: Mutex::new(None) }
    }

    /// A request with everything but the body.
    pub async fn request(&self, method: reqwest::Method, url: reqwest::Url) -> Result<RequestBuilder, SendError> {
        Ok(self.client().await?.request(method, url).await?)
    }

    /// Takes note of an answer's status.
    pub async fn note_status(&self, status: StatusCode) {
        let made = self.made.lock().await.as_ref().map(|(_, client)| client.clone());
        if let Some(client) = made {
            client.note_status(status).await;
        }
    }

    async fn client(&self) -> Result<Arc<HttpClient>, SendError> {
        let material = tls_material(self.config.tls_config.as_ref()).await?;
        let mut made = self.made.lock().await;
        if let Some((from, client)) = made.as_ref()
            && *from == material
        {
            return Ok(client.clone());
        }
        let client = Arc::new(HttpClient::with_material(&self.config, &material, false, Some(CONNECT_TIMEOUT))?);
        *made = Some((material, client.clone()));
        Ok(client)
    }
}

/// Reads certificates and keys; the paths are absolute.
pub async fn tls_material(config: Option<&TlsConfig>) -> Result<TlsMaterial, SendError> {
    let Some(config) = config.cloned() else { return Ok(TlsMaterial::default()) };
    let read = tokio::task::spawn_blocking(move || TlsMaterial::read(Some(&config)));
    let read = read
        .await
        .map_err(|e| SendError::temporary(FailureReason::File, format!("the certificates could not be read: {e}")))?;
    Ok(read?)
}

impl From<ClientError> for SendError {
    fn from(e: ClientError) -> Self {
        let text = e.to_string();
        match e {
            ClientError::File { .. } => SendError::temporary(FailureReason::File, text),
            ClientError::Header(_) => SendError::permanent(FailureReason::File, text),
            ClientError::Tls(_) | ClientError::Build(_) => SendError::permanent(FailureReason::Tls, text),
            ClientError::Token { passes: true, .. } => SendError::temporary(FailureReason::Token, text),
            ClientError::Token { passes: false, .. } => SendError::permanent(FailureReason::Token, text),
        }
    }
}

/// What a failed request means. The error's address is left out, as it may hold a token.
pub fn request_error(error: reqwest::Error) -> SendError {
    let error = error.without_url();
    let text = chain(&error);
    if error.is_timeout() {
        SendError::temporary(FailureReason::Timeout, text)
    } else if error.is_builder() || error.is_redirect() {
        SendError::permanent(FailureReason::ClientError, text)
    } else {
        SendError::temporary(FailureReason::Connection, text)
    }
}
