//! Makes a rustls client configuration of a [`TlsConfig`].

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::config::http_client::client::ClientError;
use crate::config::http_client::{TlsConfig, TlsVersion};

/// Makes ring the cryptography of the process where nothing else was chosen; may be called any number of times.
pub fn install_crypto() {
    // An error means that one is installed already, which is fine.
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
}

fn tls(e: impl std::fmt::Display) -> ClientError {
    ClientError::Tls(e.to_string())
}

/// A bundle of authorities has a few hundred kilobytes; more is a wrong file.
const MAX_PEM_FILE: u64 = 4 << 20;

/// PEM texts of a [`TlsConfig`], read from where they stand.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct TlsMaterial {
    /// Authorities.
    pub ca: Option<Vec<u8>>,
    /// Own certificate.
    pub cert: Option<Vec<u8>>,
    /// Its key.
    pub key: Option<Vec<u8>>,
}

impl TlsMaterial {
    /// Reads the files that are named. Blocks.
    pub fn read(config: Option<&TlsConfig>) -> Result<Self, ClientError> {
        let Some(c) = config else { return Ok(Self::default()) };
        Ok(TlsMaterial {
            ca: pem(c.ca.as_deref(), c.ca_file.as_deref())?,
            cert: pem(c.cert.as_deref(), c.cert_file.as_deref())?,
            key: pem(c.key.as_ref().map(|k| k.expose()), c.key_file.as_deref())?,
        })
    }
}

fn pem(text: Option<&str>, file: Option<&Path>) -> Result<Option<Vec<u8>>, ClientError> {
    let read = |path: &Path| {
        if std::fs::metadata(path)?.len() > MAX_PEM_FILE {
            return Err(std::io::Error::other("the file is too large for certificates (over 4 MiB)"));
        }
        std::fs::read(path)
    };
    match (text, file) {
        (Some(t), _) => Ok(Some(t.as_bytes().to_vec())),
        (None, Some(path)) => read(path).map(Some).map_err(|source| ClientError::File { path: path.to_owned(), source }),
        (None, None) => Ok(None),
    }
}

fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let mut reader = pem;
    let found: Result<Vec<_>, _> = rustls_pemfile::certs(&mut reader).collect();
    let found = found.map_err(tls)?;
    if found.is_empty() { Err(tls(format!("no certificate in {what}"))) } else { Ok(found) }
}

/// The authorities that are given; none means the public ones.
pub fn authorities(material: &TlsMaterial) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    material.ca.as_ref().map_or(Ok(Vec::new()), |ca| certificates(ca, "ca"))
}

/// A verifier that trusts these authorities, or the public ones if there are none.
pub fn web_verifier(own: &[CertificateDer<'static>]) -> Result<Arc<WebPkiServerVerifier>, ClientError> {
    let mut roots = RootCertStore::empty();
    if own.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    for c in own {
        roots.add(c.clone()).map_err(tls)?;
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().map_err(tls)
}

/// The cryptography that is used.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The configuration of a client: versions and own certificate as configured; `verifier` decides about the server's.
pub fn with_verifier(
    config: &TlsConfig,
    material: &TlsMaterial,
    verifier: Arc<dyn ServerCertVerifier>,
) -> Result<ClientConfig, ClientError> {
    let versions: Vec<_> = [(TlsVersion::Tls12, &rustls::version::TLS12), (TlsVersion::Tls13, &rustls::version::TLS13)]
        .into_iter()
        .filter(|(v, _)| config.min_version.is_none_or(|m| m <= *v) && config.max_version.is_none_or(|m| m >= *v))
        .map(|(_, v)| v)
        .collect();
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&versions)
        .map_err(tls)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let (Some(cert), Some(key)) = (&material.cert, &material.key) else { return Ok(builder.with_no_client_auth()) };
    let mut reader = key.as_slice();
    let key: PrivateKeyDer<'static> =
        rustls_pemfile::private_key(&mut reader).map_err(tls)?.ok_or_else(|| tls("no private key in key"))?;
    builder.with_client_auth_cert(certificates(cert, "cert")?, key).map_err(tls)
}

/// The configuration of an HTTP client. `server_name` is what the certificate is checked against; the name in the handshake stays that of the
/// address, as the HTTP library gives it.
pub fn client_config(
    config: Option<&TlsConfig>,
    material: &TlsMaterial,
    http2: bool,
) -> Result<ClientConfig, ClientError> {
    install_crypto();
    let default = TlsConfig::default();
    let config = config.unwrap_or(&default);
    let verifier: Arc<dyn ServerCertVerifier> = if config.insecure_skip_verify == Some(true) {
        Arc::new(TrustAnything(provider()))
    } else {
        let inner = web_verifier(&authorities(material)?)?;
        match config.server_name.as_deref().filter(|n| !n.is_empty()) {
            Some(name) => {
                let name = ServerName::try_from(name.to_owned()).map_err(tls)?;
                Arc::new(OtherName { inner, name })
            }
            None => inner,
        }
    };
    let mut made = with_verifier(config, material, verifier)?;
    made.alpn_protocols = if http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
    Ok(made)
}

/// Checks the certificate against a configured name instead of that of the address.
#[derive(Debug)]
struct OtherName {
    inner: Arc<WebPkiServerVerifier>,
    name: ServerName<'static>,
}

impl ServerCertVerifier for OtherName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.inner.verify_server_cert(end_entity, intermediates, &self.name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// `insecure_skip_verify`: any certificate will do; the handshake's signatures are still checked.
#[derive(Debug)]
struct TrustAnything(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAnything {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
