//! TLS of probes: the handshake, the certificates that were shown (also when they are not trusted), their metrics.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Name};

use crate::config::probe_module::{ProbeTls, TlsVersion};
use crate::probe::Failure;
use crate::probe::result::Recorder;

/// What Go writes for the time of "no chain was verified" (the zero time, year 1).
const GO_ZERO_TIME: f64 = -62_135_596_800.0;

/// The certificates a server showed, leaf first.
#[derive(Debug, Default)]
struct Shown {
    chain: Vec<CertificateDer<'static>>,
}

/// Verifies as configured and keeps what was shown.
#[derive(Debug)]
struct Recording {
    inner: Option<Arc<WebPkiServerVerifier>>,
    /// Own authorities; a server may show one of them itself.
    own: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
    shown: Arc<Mutex<Shown>>,
}

impl ServerCertVerifier for Recording {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        {
            let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
            shown.chain = std::iter::once(leaf).chain(intermediates).map(|c| c.clone().into_owned()).collect();
        }
        let Some(inner) = &self.inner else { return Ok(ServerCertVerified::assertion()) };
        if self.own.iter().any(|c| c.as_ref() == leaf.as_ref()) {
            // The very certificate is trusted, which the chain builder does not accept for an authority.
            let parsed = rustls::server::ParsedCertificate::try_from(leaf)?;
            rustls::client::verify_server_name(&parsed, name)?;
            return match validity(leaf) {
                Some((from, to)) if (from..=to).contains(&(now.as_secs() as i64)) => {
                    Ok(ServerCertVerified::assertion())
                }
                Some(_) | None => Err(rustls::CertificateError::Expired.into()),
            };
        }
        inner.verify_server_cert(leaf, intermediates, name, ocsp, now)
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

/// A finished handshake.
pub struct Session {
    /// The connection.
    pub stream: TlsStream<TcpStream>,
    shown: Arc<Mutex<Shown>>,
    own: Vec<CertificateDer<'static>>,
    verified: bool,
}

/// Reads what `tls_config` names and shakes hands. `name` is the server's name unless the configuration has another.
/// The certificates that were shown are noted for the log line, also when the handshake failed because of them.
pub async fn connect(
    tcp: TcpStream,
    options: &ProbeTls,
    name: &str,
    alpn: &[&[u8]],
    r: &mut Recorder,
) -> Result<Session, Failure> {
    let shown = Arc::new(Mutex::new(Shown::default()));
    let (mut config, own) = client_config(options, shown.clone()).await?;
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    let name = if options.server_name.is_empty() { name } else { &options.server_name };
    let server = ServerName::try_from(name.trim_matches(['[', ']']).to_owned())
        .map_err(|_| Failure(format!("{name:?} is not a name a certificate can be for")))?;
    r.now("shaking hands (TLS)");
    let connected = TlsConnector::from(Arc::new(config)).connect(server, tcp).await;
    note_certificate(&shown, r);
    let stream = connected.map_err(|e| Failure(format!("TLS handshake failed: {e}")))?;
    Ok(Session { stream, shown, own, verified: !options.insecure_skip_verify })
}

async fn client_config(
    options: &ProbeTls,
    shown: Arc<Mutex<Shown>>,
) -> Result<(ClientConfig, Vec<CertificateDer<'static>>), Failure> {
    let provider = Arc::new(ring::default_provider());
    let mut own = Vec::new();
    let ca = text_or_file(&options.ca, &options.ca_file).await?;
    let mut roots = RootCertStore::empty();
    match &ca {
        Some(pem) => {
            for cert in CertificateDer::pem_slice_iter(pem) {
                let cert = cert.map_err(|e| Failure(format!("the authorities of tls_config cannot be read: {e}")))?;
                roots
                    .add(cert.clone())
                    .map_err(|e| Failure(format!("an authority of tls_config cannot be used: {e}")))?;
                own.push(cert);
            }
            if roots.is_empty() {
                return Err(Failure::new("the authorities of tls_config hold no certificate"));
            }
        }
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    let inner = if options.insecure_skip_verify {
        None
    } else {
        let built = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        Some(built.map_err(|e| Failure(format!("tls_config cannot be used: {e}")))?)
    };
    let verifier = Recording { inner, own: own.clone(), provider: provider.clone(), shown };
    let versions: Vec<&'static rustls::SupportedProtocolVersion> =
        [(TlsVersion::Tls12, &rustls::version::TLS12), (TlsVersion::Tls13, &rustls::version::TLS13)]
            .into_iter()
            .filter(|(v, _)| options.min_version.is_none_or(|m| *v >= m) && options.max_version.is_none_or(|m| *v <= m))
            .map(|(_, v)| v)
            .collect();
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|e| Failure(format!("tls_config allows no TLS version: {e}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let cert = text_or_file(&options.cert, &options.cert_file).await?;
    let key = text_or_file(options.key.expose(), &options.key_file).await?;
    let config = match (cert, key) {
        (Some(cert), Some(key)) => {
            let chain: Vec<_> = CertificateDer::pem_slice_iter(&cert)
                .collect::<Result<_, _>>()
                .map_err(|e| Failure(format!("the client certificate of tls_config cannot be read: {e}")))?;
            let key = PrivateKeyDer::from_pem_slice(&key)
                .map_err(|_| Failure::new("the client key of tls_config cannot be read: it is not a PEM key"))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|e| Failure(format!("the client certificate of tls_config cannot be used: {e}")))?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok((config, own))
}

/// The bytes of an inline text or of a file; nothing if neither is given.
async fn text_or_file(text: &str, file: &std::path::Path) -> Result<Option<Vec<u8>>, Failure> {
    if !text.is_empty() {
        return Ok(Some(text.as_bytes().to_vec()));
    }
    if file.as_os_str().is_empty() {
        return Ok(None);
    }
    match tokio::fs::read(file).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) => Err(Failure(format!("{} cannot be read: {e}", file.display()))),
    }
}

/// What is to be told about a session; outlives the stream, which HTTP takes for itself.
pub struct CipherRecord {
    version: &'static str,
    cipher: String,
    shown: Arc<Mutex<Shown>>,
    own: Vec<CertificateDer<'static>>,
    verified: bool,
}

impl Session {
    /// What there is to tell, the stream, and whether HTTP/2 was agreed on.
    pub fn into_parts(self) -> (CipherRecord, TlsStream<TcpStream>, bool) {
        let connection = self.stream.get_ref().1;
        let version = match connection.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
            Some(_) | None => "unknown",
        };
        // Go writes TLS_..., the library TLS13_... for the suites of 1.3.
        let cipher = connection.negotiated_cipher_suite().and_then(|s| s.suite().as_str()).unwrap_or("unknown");
        let cipher = cipher.replacen("TLS13_", "TLS_", 1);
        let http2 = connection.alpn_protocol() == Some(b"h2");
        let record = CipherRecord { version, cipher, shown: self.shown, own: self.own, verified: self.verified };
        (record, self.stream, http2)
    }
}

impl CipherRecord {
    /// Sets the gauges about certificates and version; the cipher as well if `cipher` (blackbox_exporter's TCP prober
    /// leaves it out).
    pub fn record(&self, cipher: bool, r: &mut Recorder) {
        r.set_with("probe_tls_version_info", &[("version", self.version)], 1.0);
        r.note("tls_version", self.version);
        if cipher {
            r.set_with("probe_tls_cipher_info", &[("cipher", &self.cipher)], 1.0);
        }
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = shown.chain.iter().filter_map(validity).map(|(_, to)| to).min();
        if let Some(earliest) = earliest {
            r.set("probe_ssl_earliest_cert_expiry", earliest as f64);
        }
        let chain = if self.verified { chain_expiry(&shown.chain, &self.own) } else { None };
        r.set("probe_ssl_last_chain_expiry_timestamp_seconds", chain.map_or(GO_ZERO_TIME, |t| t as f64));
        if let Some(leaf) = shown.chain.first()
            && let Some(s) = summary(leaf)
        {
            let labels = [
                ("fingerprint_sha256", s.fingerprint.as_str()),
                ("issuer", s.issuer.as_str()),
                ("serialnumber", s.serial.as_str()),
                ("subject", s.subject.as_str()),
                ("subjectalternative", s.names.as_str()),
            ];
            r.set_with("probe_ssl_last_chain_info", &labels, 1.0);
        }
    }
}

/// Not before and not after, as Unix time.
fn validity(der: &CertificateDer<'_>) -> Option<(i64, i64)> {
    let (_, cert) = X509Certificate::from_der(der).ok()?;
    let v = cert.validity();
    Some((v.not_before.timestamp(), v.not_after.timestamp()))
}

/// When the chain from the leaf to its authority expires: the earliest end along the issuers.
fn chain_expiry(shown: &[CertificateDer<'_>], own: &[CertificateDer<'_>]) -> Option<i64> {
    let all: Vec<X509Certificate<'_>> =
        shown.iter().chain(own).filter_map(|d| X509Certificate::from_der(d).ok().map(|(_, c)| c)).collect();
    let mut at = all.first()?;
    let mut earliest = at.validity().not_after.timestamp();
    // A chain longer than this is no chain; names could also go in circles.
    for _ in 0..10 {
        if at.issuer().as_raw() == at.subject().as_raw() {
            break;
        }
        match all.iter().find(|c| c.subject().as_raw() == at.issuer().as_raw()) {
            Some(next) => {
                earliest = earliest.min(next.validity().not_after.timestamp());
                at = next;
            }
            None => break,
        }
    }
    Some(earliest)
}

struct Summary {
    subject: String,
    issuer: String,
    names: String,
    serial: String,
    fingerprint: String,
    from: i64,
    to: i64,
}

fn summary(der: &CertificateDer<'_>) -> Option<Summary> {
    let (_, cert) = X509Certificate::from_der(der).ok()?;
    let names = match cert.subject_alternative_name() {
        Ok(Some(ext)) => {
            let dns = ext.value.general_names.iter().filter_map(|n| match n {
                GeneralName::DNSName(d) => Some(*d),
                _ => None,
            });
            dns.collect::<Vec<_>>().join(",")
        }
        Ok(None) | Err(_) => String::new(),
    };
    let v = cert.validity();
    Some(Summary {
        subject: go_name(cert.subject()),
        issuer: go_name(cert.issuer()),
        names,
        serial: hex(cert.raw_serial()),
        fingerprint: hex(&sha256(der)),
        from: v.not_before.timestamp(),
        to: v.not_after.timestamp(),
    })
}

fn note_certificate(shown: &Mutex<Shown>, r: &mut Recorder) {
    let shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(s) = shown.chain.first().and_then(summary) {
        let time = |t: i64| crate::model::time::rfc3339_ns(t.saturating_mul(1_000_000_000));
        r.note(
            "certificate",
            json!({
                "subject": s.subject, "issuer": s.issuer, "names": s.names, "fingerprint_sha256": s.fingerprint,
                "not_before": time(s.from), "not_after": time(s.to),
            }),
        );
    }
}

/// A distinguished name as Go's `pkix.Name.String` writes it: RFC 2253, the last part first.
fn go_name(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = name
        .iter_rdn()
        .map(|rdn| {
            let attributes: Vec<String> = rdn
                .iter()
                .map(|a| {
                    let oid = a.attr_type().to_id_string();
                    let key = match oid.as_str() {
                        "2.5.4.3" => "CN",
                        "2.5.4.5" => "SERIALNUMBER",
                        "2.5.4.6" => "C",
                        "2.5.4.7" => "L",
                        "2.5.4.8" => "ST",
                        "2.5.4.9" => "STREET",
                        "2.5.4.10" => "O",
                        "2.5.4.11" => "OU",
                        "2.5.4.17" => "POSTALCODE",
                        other => other,
                    };
                    format!("{key}={}", escape(a.as_str().unwrap_or("?")))
                })
                .collect();
            attributes.join("+")
        })
        .collect();
    parts.reverse();
    parts.join(",")
}

fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for (i, c) in value.chars().enumerate() {
        let edge = (i == 0 && matches!(c, ' ' | '#')) || (i + 1 == value.chars().count() && c == ' ');
        if edge || matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// SHA-256 from the TLS library's own provider, so that no further crate is needed.
fn sha256(bytes: &[u8]) -> Vec<u8> {
    match rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256.tls13() {
        Some(suite) => suite.common.hash_provider.hash(bytes).as_ref().to_vec(),
        None => Vec::new(),
    }
}
