//! TLS of probes: the handshake, the certificates that were shown (also when they are not trusted), their metrics.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerified;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Name};

use crate::config::http_client::TlsConfig;
use crate::config::http_client::client::ClientError;
use crate::config::http_client::tls::{self as client_tls, Judge, Judged, Presented, TlsMaterial, WebJudge};
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
    inner: Option<WebJudge>,
    shown: Arc<Mutex<Shown>>,
}

impl Judge for Recording {
    fn judge(&self, p: &Presented<'_>) -> Result<ServerCertVerified, rustls::Error> {
        {
            let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
            shown.chain = std::iter::once(p.leaf).chain(p.intermediates).map(|c| c.clone().into_owned()).collect();
        }
        match &self.inner {
            Some(inner) => inner.judge(p),
            None => Ok(ServerCertVerified::assertion()),
        }
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
    options: &TlsConfig,
    name: &str,
    alpn: &[&[u8]],
    r: &mut Recorder,
) -> Result<Session, Failure> {
    let shown = Arc::new(Mutex::new(Shown::default()));
    let (mut config, own) = client_config(options, shown.clone()).await?;
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    let name = options.server_name.as_deref().filter(|n| !n.is_empty()).unwrap_or(name);
    let server = ServerName::try_from(name.trim_matches(['[', ']']).to_owned())
        .map_err(|_| Failure(format!("{name:?} is not a name a certificate can be for")))?;
    r.now("shaking hands (TLS)");
    let connected = TlsConnector::from(Arc::new(config)).connect(server, tcp).await;
    note_certificate(&shown, r);
    let stream = connected.map_err(|e| Failure(format!("TLS handshake failed: {e}")))?;
    Ok(Session { stream, shown, own, verified: options.insecure_skip_verify != Some(true) })
}

async fn client_config(
    options: &TlsConfig,
    shown: Arc<Mutex<Shown>>,
) -> Result<(ClientConfig, Vec<CertificateDer<'static>>), Failure> {
    let failed = |e: ClientError| Failure(e.to_string());
    let config = options.clone();
    let read = tokio::task::spawn_blocking(move || TlsMaterial::read(Some(&config))).await;
    let material = read.map_err(|e| Failure(format!("the certificates could not be read: {e}")))?.map_err(failed)?;
    let own = client_tls::authorities(&material).map_err(failed)?;
    let inner = match options.insecure_skip_verify {
        Some(true) => None,
        _ => Some(WebJudge::new(own.clone()).map_err(failed)?),
    };
    let verifier = Judged::new(Recording { inner, shown });
    let made = client_tls::with_verifier(options, &material, Arc::new(verifier)).map_err(failed)?;
    Ok((made, own))
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
        let earliest = shown.chain.iter().filter_map(client_tls::validity).map(|(_, to)| to).min();
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
