//! What a listener's configuration means, ready for use.

use std::path::Path;
use std::sync::Arc;

use chrono_tz::Tz;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::config::logs::{SyslogListener, SyslogTls};
use crate::model::Labels;

/// See the module.
pub(super) struct Settings {
    pub config: SyslogListener,
    /// Labels of all lines.
    pub labels: Labels,
    /// Where clocks without a zone stand.
    pub zone: Tz,
    pub tls: Option<TlsAcceptor>,
}

impl Settings {
    /// Reads certificates; blocks.
    pub(super) fn new(config: SyslogListener) -> Result<Self, String> {
        let tls = config.tls.as_ref().map(acceptor).transpose()?;
        let zone = config.timezone.parse().map_err(|_| format!("{:?} is no time zone", config.timezone))?;
        Ok(Settings { labels: Labels::from_pairs(&config.labels), zone, tls, config })
    }

    pub(super) fn max_message_bytes(&self) -> usize {
        usize::try_from(self.config.max_message_bytes.0).unwrap_or(usize::MAX)
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed = |e: &dyn std::fmt::Display| format!("cannot read the certificates in {}: {e}", path.display());
    let read = CertificateDer::pem_file_iter(path).map_err(|e| failed(&e))?;
    let found: Vec<_> = read.collect::<Result<_, _>>().map_err(|e| failed(&e))?;
    if found.is_empty() { Err(failed(&"there are none")) } else { Ok(found) }
}

fn acceptor(tls: &SyslogTls) -> Result<TlsAcceptor, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("tls: {e}"))?;
    let builder = if tls.client_ca_file.as_os_str().is_empty() {
        builder.with_no_client_auth()
    } else {
        let mut roots = RootCertStore::empty();
        for c in certificates(&tls.client_ca_file)? {
            roots.add(c).map_err(|e| format!("{}: {e}", tls.client_ca_file.display()))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|e| format!("{}: {e}", tls.client_ca_file.display()))?;
        builder.with_client_cert_verifier(verifier)
    };
    let key = PrivateKeyDer::from_pem_file(&tls.key_file)
        .map_err(|e| format!("cannot read the key in {}: {e}", tls.key_file.display()))?;
    let config = builder
        .with_single_cert(certificates(&tls.cert_file)?, key)
        .map_err(|e| format!("{} and {}: {e}", tls.cert_file.display(), tls.key_file.display()))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
