//! Makes a rustls client configuration of a [`TlsConfig`].

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate};

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
        (None, Some(path)) => {
            read(path).map(Some).map_err(|source| ClientError::File { path: path.to_owned(), source })
        }
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
        Arc::new(Judged::new(TrustAnything))
    } else {
        let inner = WebJudge::new(authorities(material)?)?;
        match config.server_name.as_deref().filter(|n| !n.is_empty()) {
            Some(name) => {
                let name = ServerName::try_from(name.to_owned()).map_err(tls)?;
                Arc::new(Judged::new(OtherName { inner, name }))
            }
            None => Arc::new(Judged::new(inner)),
        }
    };
    let mut made = with_verifier(config, material, verifier)?;
    made.alpn_protocols = if http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
    Ok(made)
}

/// What a server shows of itself in a handshake; the arguments of [`ServerCertVerifier::verify_server_cert`].
pub struct Presented<'a> {
    /// Its certificate.
    pub leaf: &'a CertificateDer<'a>,
    /// Those between it and an authority.
    pub intermediates: &'a [CertificateDer<'a>],
    /// The name that was connected to.
    pub name: &'a ServerName<'a>,
    /// A stapled OCSP answer; may be empty.
    pub ocsp: &'a [u8],
    /// The time.
    pub now: UnixTime,
}

/// What a client thinks of a server's certificate.
pub trait Judge: std::fmt::Debug + Send + Sync {
    /// Whether it will do.
    fn judge(&self, p: &Presented<'_>) -> Result<ServerCertVerified, rustls::Error>;
}

/// A verifier that asks a judge about the certificate, and checks itself that the server holds its key.
#[derive(Debug)]
pub struct Judged<J> {
    judge: J,
    provider: Arc<CryptoProvider>,
}

impl<J: Judge> Judged<J> {
    /// With the cryptography that is used everywhere.
    pub fn new(judge: J) -> Self {
        Judged { judge, provider: provider() }
    }
}

impl<J: Judge> ServerCertVerifier for Judged<J> {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.judge.judge(&Presented { leaf, intermediates, name, ocsp, now })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Trusts the given authorities, or the public ones if none are given.
#[derive(Debug)]
pub struct WebJudge {
    inner: Arc<WebPkiServerVerifier>,
    own: Vec<CertificateDer<'static>>,
}

impl WebJudge {
    /// With own authorities, or none.
    pub fn new(own: Vec<CertificateDer<'static>>) -> Result<Self, ClientError> {
        let mut roots = RootCertStore::empty();
        if own.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        for c in &own {
            roots.add(c.clone()).map_err(tls)?;
        }
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build().map_err(tls)?;
        Ok(WebJudge { inner, own })
    }
}

impl Judge for WebJudge {
    fn judge(&self, p: &Presented<'_>) -> Result<ServerCertVerified, rustls::Error> {
        if !self.own.iter().any(|c| c.as_ref() == p.leaf.as_ref()) {
            return self.inner.verify_server_cert(p.leaf, p.intermediates, p.name, p.ocsp, p.now);
        }
        // The very certificate is trusted. `openssl req -x509` makes such ones as authorities, which the chain builder does not accept from a
        // server; Go does.
        let parsed = rustls::server::ParsedCertificate::try_from(p.leaf)?;
        rustls::client::verify_server_name(&parsed, p.name)?;
        match validity(p.leaf) {
            Some((from, to)) if (from..=to).contains(&(p.now.as_secs() as i64)) => Ok(ServerCertVerified::assertion()),
            Some(_) | None => Err(rustls::CertificateError::Expired.into()),
        }
    }
}

/// Not before and not after, as Unix time.
pub fn validity(der: &CertificateDer<'_>) -> Option<(i64, i64)> {
    let (_, cert) = X509Certificate::from_der(der).ok()?;
    let v = cert.validity();
    Some((v.not_before.timestamp(), v.not_after.timestamp()))
}

/// Checks the certificate against a configured name instead of that of the address.
#[derive(Debug)]
struct OtherName {
    inner: WebJudge,
    name: ServerName<'static>,
}

impl Judge for OtherName {
    fn judge(&self, p: &Presented<'_>) -> Result<ServerCertVerified, rustls::Error> {
        self.inner.judge(&Presented { name: &self.name, ..*p })
    }
}

/// `insecure_skip_verify`: any certificate will do.
#[derive(Debug)]
struct TrustAnything;

impl Judge for TrustAnything {
    fn judge(&self, _: &Presented<'_>) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
}
