//! The HTTP client of one receiver: TLS, proxy and authorization as configured.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use reqwest::{Certificate, Client, ClientBuilder, Identity, RequestBuilder, redirect};
use tokio::sync::Mutex;

use super::{FailureReason, SendError, secret_file};
use crate::config::notify::{NotifyHttpConfig, NotifyTlsConfig};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// As many hops as Go follows.
const MAX_REDIRECTS: usize = 10;

/// PEM texts of a TLS configuration, read from where they stand.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct TlsMaterial {
    /// Authorities.
    pub ca: Option<String>,
    /// Client certificate.
    pub cert: Option<String>,
    /// Its key.
    pub key: Option<String>,
}

impl TlsMaterial {
    /// Reads the files that are named.
    pub async fn read(base: &Path, tls: &NotifyTlsConfig) -> Result<Self, SendError> {
        let one = async |text: Option<&str>, file: Option<&String>| match (text, file) {
            (Some(t), _) => Ok(Some(t.to_owned())),
            (None, Some(f)) => secret_file::read(base, f).await.map(Some),
            (None, None) => Ok(None),
        };
        Ok(TlsMaterial {
            ca: one(tls.ca.as_deref(), tls.ca_file.as_ref()).await?,
            cert: one(tls.cert.as_deref(), tls.cert_file.as_ref()).await?,
            key: one(tls.key.as_ref().map(|k| k.expose()), tls.key_file.as_ref()).await?,
        })
    }
}

/// A client that is made again when the files of its TLS options change.
pub struct ReceiverClient {
    config: NotifyHttpConfig,
    base: PathBuf,
    made: Mutex<Option<(TlsMaterial, Client)>>,
}

impl ReceiverClient {
    /// A client for one receiver; nothing is read or connected before the first use. `base` is the folder of the configuration.
    pub fn new(config: NotifyHttpConfig, base: PathBuf) -> Self {
        // Fails only if a provider is installed already, which is what is wanted.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        ReceiverClient { config, base, made: Mutex::new(None) }
    }

    /// A request with everything but the body.
    pub async fn request(&self, method: reqwest::Method, url: reqwest::Url) -> Result<RequestBuilder, SendError> {
        let client = self.client().await?;
        let mut request = client.request(method, url);
        for (name, values) in &self.config.http_headers {
            let bad =
                || SendError::permanent(FailureReason::File, format!("header {name} has a value that cannot be sent"));
            let header: HeaderName = name.parse().map_err(|_| bad())?;
            let mut all = values.values.clone();
            all.extend(values.secrets.iter().map(|s| s.expose().to_owned()));
            for file in &values.files {
                all.push(secret_file::read(&self.base, file).await?.trim().to_owned());
            }
            for value in all {
                request = request.header(&header, HeaderValue::from_str(&value).map_err(|_| bad())?);
            }
        }
        if let Some(value) = self.authorization().await? {
            let mut value = HeaderValue::from_str(&value).map_err(|_| {
                SendError::permanent(FailureReason::File, "the credentials hold bytes that a header cannot")
            })?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        Ok(request)
    }

    async fn authorization(&self) -> Result<Option<String>, SendError> {
        let c = &self.config;
        if let Some(basic) = &c.basic_auth {
            let name = match &basic.username_file {
                Some(f) => secret_file::read(&self.base, f).await?.trim().to_owned(),
                None => basic.username.clone(),
            };
            let password =
                secret_file::secret(&self.base, basic.password.as_ref(), basic.password_file.as_deref()).await?;
            let pair = format!("{name}:{}", password.unwrap_or_default());
            use base64::Engine;
            return Ok(Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))));
        }
        let (kind, given, file) = match &c.authorization {
            Some(a) => (a.kind.as_str(), a.credentials.as_ref(), a.credentials_file.as_deref()),
            None => ("Bearer", c.bearer_token.as_ref(), c.bearer_token_file.as_deref()),
        };
        let credentials = secret_file::secret(&self.base, given, file).await?;
        Ok(credentials.map(|c| format!("{kind} {c}")))
    }

    async fn client(&self) -> Result<Client, SendError> {
        let tls = self.config.tls_config.clone().unwrap_or_default();
        let material = TlsMaterial::read(&self.base, &tls).await?;
        let mut made = self.made.lock().await;
        if let Some((from, client)) = made.as_ref()
            && *from == material
        {
            return Ok(client.clone());
        }
        let client = self.build(&tls, &material)?;
        *made = Some((material, client.clone()));
        Ok(client)
    }

    fn build(&self, tls: &NotifyTlsConfig, material: &TlsMaterial) -> Result<Client, SendError> {
        let bad =
            |e: &dyn std::fmt::Display| SendError::permanent(FailureReason::Tls, format!("cannot set up TLS: {e}"));
        let mut builder = ClientBuilder::new()
            .user_agent(concat!("campanile/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(if self.config.follow_redirects {
                redirect::Policy::limited(MAX_REDIRECTS)
            } else {
                redirect::Policy::none()
            });
        // The roots are given, not taken from the system: the same result on every machine, and no verifier of the platform.
        let roots = match &material.ca {
            Some(pem) => Certificate::from_pem_bundle(pem.as_bytes()).map_err(|e| bad(&e))?,
            None => Vec::new(),
        };
        builder = if roots.is_empty() {
            builder.tls_backend_preconfigured(web_tls(tls, material).map_err(|e| bad(&e))?)
        } else {
            let mut b = builder.tls_certs_only(roots);
            if let (Some(cert), Some(key)) = (&material.cert, &material.key) {
                b = b.identity(Identity::from_pem(format!("{cert}\n{key}").as_bytes()).map_err(|e| bad(&e))?);
            }
            if tls.insecure_skip_verify {
                b = b.tls_danger_accept_invalid_certs(true);
            }
            b
        };
        if !self.config.enable_http2 {
            builder = builder.http1_only();
        }
        if let Some(proxy) = &self.config.proxy_url {
            let proxy = reqwest::Proxy::all(proxy.expose())
                .map_err(|_| SendError::permanent(FailureReason::Connection, "proxy_url is not an address"))?;
            builder = builder.proxy(proxy);
        } else if !self.config.proxy_from_environment {
            builder = builder.no_proxy();
        }
        builder.build().map_err(|e| bad(&e))
    }
}

/// TLS with the roots of Mozilla, or with none checked where the configuration says so.
fn web_tls(tls: &NotifyTlsConfig, material: &TlsMaterial) -> Result<rustls::ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions: &[&rustls::SupportedProtocolVersion] = match (tls.min_version.as_deref(), tls.max_version.as_deref())
    {
        (Some("TLS13"), _) => &[&rustls::version::TLS13],
        (_, Some("TLS12")) => &[&rustls::version::TLS12],
        _ => rustls::ALL_VERSIONS,
    };
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .map_err(|e| e.to_string())?;
    let builder = if tls.insecure_skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
    } else {
        builder.with_root_certificates(rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })
    };
    let (Some(cert), Some(key)) = (&material.cert, &material.key) else {
        return Ok(builder.with_no_client_auth());
    };
    let chain: Result<Vec<_>, _> = rustls_pemfile::certs(&mut cert.as_bytes()).collect();
    let key = rustls_pemfile::private_key(&mut key.as_bytes()).map_err(|e| e.to_string())?;
    let key = key.ok_or("the key file holds no private key")?;
    builder.with_client_auth_cert(chain.map_err(|e| e.to_string())?, key).map_err(|e| e.to_string())
}

/// Takes any certificate (`insecure_skip_verify`), but still checks that the server holds its key.
#[derive(Debug)]
struct AnyCertificate(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &rustls::pki_types::CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &rustls::pki_types::CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// What a failed request means. The error's address is left out, as it may hold a token.
pub fn request_error(error: reqwest::Error) -> SendError {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(s) = source {
        text = format!("{text}: {s}");
        source = s.source();
    }
    if error.is_timeout() {
        SendError::temporary(FailureReason::Timeout, text)
    } else if error.is_builder() || error.is_redirect() {
        SendError::permanent(FailureReason::ClientError, text)
    } else {
        SendError::temporary(FailureReason::Connection, text)
    }
}
