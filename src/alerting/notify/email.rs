//! Emails over SMTP: plain, STARTTLS, or TLS from the first byte.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use lettre::Message;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Mailboxes, MultiPart, SinglePart};
use lettre::transport::smtp::client as smtp;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Identity, TlsParameters};

use super::exchange::Exchange;
use super::http_client::tls_material;
use super::http_receiver::Deps;
use super::smtp_session::{Login, Security, Server, deliver};
use super::webhook::{FALLBACK_HEADER, RETRY_HEADER};
use super::{FailureReason, Notification, Notifier, SendError, secret_file};
use crate::alerting::template_data::Data;
use crate::alerting::templates::NotificationTemplates;
use crate::config::Secret;
use crate::config::http_client::tls::TlsMaterial;
use crate::config::http_client::{TlsConfig, TlsVersion};
use crate::config::notify::{DEFAULT_EMAIL_SUBJECT, EmailConfig, ThreadByDate, split_host_port};
use crate::exec::Clock;

/// A whole exchange with the mail server may take so long. lettre's own timeout covers only connecting, so that a server which
/// falls silent would hold the group for ever.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(60);
/// TLS from the first byte by convention.
const SMTPS_PORT: u16 = 465;

/// Sends to one set of addresses through one mail server.
pub struct Email {
    /// With everything filled in from `global`.
    config: EmailConfig,
    base: PathBuf,
    templates: Arc<NotificationTemplates>,
    clock: Arc<dyn Clock>,
}

impl Email {
    /// An email as configured, `global` filled in.
    pub fn new(config: EmailConfig, deps: &Deps<'_>) -> Self {
        Email { config, base: deps.base.to_owned(), templates: deps.templates.clone(), clock: deps.clock.clone() }
    }

    fn text(&self, what: &str, template: &str, data: &Data) -> Result<String, SendError> {
        self.templates
            .text(template, data)
            .map_err(|e| SendError::permanent(FailureReason::Template, format!("template of {what}: {e}")))
    }

    fn header(&self, name: &str, fallback: &str, data: &Data) -> Result<String, SendError> {
        let own = self.config.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        let text = self.text(name, own.map_or(fallback, |(_, t)| t), data)?;
        // A line break would end the header and begin another.
        Ok(text.split(['\r', '\n']).map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join(" "))
    }

    /// Builds the message.
    fn message(&self, n: &Notification<'_>) -> Result<Message, SendError> {
        let data = n.data;
        let bad = |what: &str, e: &dyn std::fmt::Display| {
            SendError::permanent(FailureReason::Template, format!("{what} is no address: {e}"))
        };
        let from_text = self.text("from", self.config.from.as_deref().unwrap_or_default(), data)?;
        let from: Mailbox = from_text.trim().parse().map_err(|e| bad(&format!("from ({from_text})"), &e))?;
        let to_text = self.text("to", &self.config.to, data)?;
        let to: Mailboxes = to_text.trim().parse().map_err(|e| bad(&format!("to ({to_text})"), &e))?;
        let recipients: Vec<_> = to.iter().map(|m| m.email.clone()).collect();
        let envelope =
            lettre::address::Envelope::new(Some(from.email.clone()), recipients).map_err(|e| bad("to", &e))?;
        // The headers may say something else than the envelope, as in Alertmanager.
        let shown_from = self.header("From", &from_text, data)?;
        let shown_from: Mailbox = shown_from.parse().map_err(|e| bad("header From", &e))?;
        let shown_to = self.header("To", &to_text, data)?;
        let shown_to: Mailboxes = shown_to.parse().map_err(|e| bad("header To", &e))?;
        let now = self.clock.now_ms();
        let mut builder = Message::builder()
            .envelope(envelope)
            .mailbox(lettre::message::header::From::from(Mailboxes::from(shown_from)))
            .mailbox(lettre::message::header::To::from(shown_to))
            .subject(self.header("Subject", DEFAULT_EMAIL_SUBJECT, data)?)
            .date(UNIX_EPOCH + Duration::from_millis(now.unsigned_abs()))
            .message_id(Some(format!("<{}@{}>", uuid::Uuid::new_v4(), from.email.domain())))
            .raw_header(raw("Auto-Submitted", "auto-generated")?);
        if n.possible_repeat {
            builder = builder.raw_header(raw(RETRY_HEADER, "1")?);
        }
        if let Some(instead_of) = n.fallback_for {
            builder = builder.raw_header(raw(FALLBACK_HEADER, instead_of)?);
        }
        if self.config.threading.enabled {
            let root = self.thread_root(n.group_key, now, from.email.domain());
            builder = builder.in_reply_to(root.clone()).references(root);
        }
        for name in self.config.headers.keys() {
            if ["from", "to", "subject"].iter().any(|h| name.eq_ignore_ascii_case(h)) {
                continue;
            }
            builder = builder.raw_header(raw(name, &self.header(name, "", data)?)?);
        }
        let failed = |e: lettre::error::Error| {
            SendError::permanent(FailureReason::Template, format!("cannot put the message together: {e}"))
        };
        let html = self
            .templates
            .html(&self.config.html, data)
            .map_err(|e| SendError::permanent(FailureReason::Template, format!("template of html: {e}")))?;
        let text = self.text("text", &self.config.text, data)?;
        match (text.is_empty(), html.is_empty()) {
            (false, false) => builder.multipart(MultiPart::alternative_plain_html(text, html)),
            (true, false) => builder.singlepart(SinglePart::html(html)),
            (_, true) => builder.singlepart(SinglePart::plain(text)),
        }
        .map_err(failed)
    }

    /// The message that all messages of the thread answer to. It does not exist; mail programs thread by the reference alone.
    fn thread_root(&self, group_key: &str, now: i64, domain: &str) -> String {
        let day = match self.config.threading.thread_by_date.unwrap_or_default() {
            ThreadByDate::None => String::new(),
            ThreadByDate::Daily => crate::model::time::rfc3339_ms(now).chars().take(10).collect(),
        };
        let hash = xxhash_rust::xxh3::xxh3_128(format!("{group_key}\n{day}").as_bytes());
        format!("<campanile-{hash:032x}@{domain}>")
    }

    /// The server, with what is needed to speak to it. Secrets and certificates are read now.
    async fn server(&self) -> Result<Server<'_>, SendError> {
        let c = &self.config;
        let smarthost = c.smarthost.as_deref().unwrap_or_default();
        let (host, port) = split_host_port(smarthost).ok_or_else(|| {
            SendError::permanent(FailureReason::ClientError, format!("smarthost {smarthost:?} is not host:port"))
        })?;
        let security = match (c.force_implicit_tls.unwrap_or(port == SMTPS_PORT), c.require_tls.unwrap_or(true)) {
            (true, _) => Security::Implicit(self.tls(host).await?),
            (false, true) => Security::StartTls(self.tls(host).await?),
            (false, false) => Security::None,
        };
        let login = match c.auth_username.as_ref().filter(|n| !n.is_empty()) {
            Some(name) => Some(Login {
                username: name.clone(),
                password: self.secret(c.auth_password.as_ref(), c.auth_password_file.as_deref()).await?,
                secret: self.secret(c.auth_secret.as_ref(), c.auth_secret_file.as_deref()).await?,
                identity: c.auth_identity.clone().unwrap_or_default(),
            }),
            None => None,
        };
        let hello = c.hello.as_deref().filter(|h| !h.is_empty()).unwrap_or("localhost");
        Ok(Server { host, port, hello, security, login })
    }

    /// A secret; an empty one is none.
    async fn secret(&self, given: Option<&Secret>, file: Option<&str>) -> Result<Option<String>, SendError> {
        Ok(secret_file::secret(&self.base, given, file).await?.filter(|s| !s.is_empty()))
    }

    async fn tls(&self, host: &str) -> Result<TlsParameters, SendError> {
        let mut config = self.config.tls_config.clone().unwrap_or_default();
        config.resolve_paths(&self.base);
        let material = tls_material(Some(&config)).await?;
        tls_parameters(host, &config, &material)
            .map_err(|e| SendError::permanent(FailureReason::Tls, format!("cannot set up TLS: {e}")))
    }

    /// Takes down how the server is spoken to and the message. The password is in neither.
    fn show(&self, exchange: &Exchange, message: &Message) {
        let c = &self.config;
        let smarthost = c.smarthost.as_deref().unwrap_or_default();
        let implicit = c.force_implicit_tls.unwrap_or(split_host_port(smarthost).is_some_and(|(_, p)| p == SMTPS_PORT));
        let tls = match (implicit, c.require_tls.unwrap_or(true)) {
            (true, _) => "TLS from the first byte",
            (false, true) => "STARTTLS",
            (false, false) => "no TLS",
        };
        let login = c.auth_username.as_deref().filter(|n| !n.is_empty());
        let login = login.map_or_else(|| "no login".to_owned(), |n| format!("login as {n}"));
        exchange.note('*', &format!("mail server {smarthost}, {tls}, {login}"), &[]);
        let envelope = message.envelope();
        let from = envelope.from().map(ToString::to_string).unwrap_or_default();
        exchange.note('>', &format!("MAIL FROM:<{from}>"), &[]);
        for to in envelope.to() {
            exchange.note('>', &format!("RCPT TO:<{to}>"), &[]);
        }
        exchange.note('>', "DATA", &[]);
        exchange.note('>', &String::from_utf8_lossy(&message.formatted()), &[]);
    }

    async fn exchange(&self, n: &Notification<'_>) -> Result<(), SendError> {
        let message = self.message(n)?;
        let server = self.server().await?;
        if let Some(exchange) = n.exchange {
            self.show(exchange, &message);
        }
        match tokio::time::timeout(EXCHANGE_TIMEOUT, deliver(server, &message)).await {
            Ok(Ok(said)) => {
                if let Some(exchange) = n.exchange {
                    let lines = said.message().collect::<Vec<_>>().join("\n");
                    exchange.note('<', &format!("{} {lines}", said.code()), &[]);
                }
                Ok(())
            }
            Ok(Err(e)) => Err(e),
            Err(_) => Err(SendError::temporary(
                FailureReason::Timeout,
                format!("the mail server did not finish within {} s", EXCHANGE_TIMEOUT.as_secs()),
            )),
        }
    }
}

fn raw(name: &str, value: &str) -> Result<HeaderValue, SendError> {
    let header = HeaderName::new_from_ascii(name.to_owned())
        .map_err(|_| SendError::permanent(FailureReason::Template, format!("{name:?} is not the name of a header")))?;
    Ok(HeaderValue::new(header, value.to_owned()))
}

/// `server_name` is the name in the handshake and the one that the certificate must carry.
fn tls_parameters(
    host: &str,
    config: &TlsConfig,
    material: &TlsMaterial,
) -> Result<TlsParameters, lettre::transport::smtp::Error> {
    let name = config.server_name.as_deref().filter(|n| !n.is_empty()).unwrap_or(host);
    let mut builder = TlsParameters::builder(name.to_owned());
    if let Some(pem) = &material.ca {
        builder = builder.certificate_store(CertificateStore::None);
        builder = builder.add_root_certificate(Certificate::from_pem(pem)?);
    }
    if let (Some(cert), Some(key)) = (&material.cert, &material.key) {
        builder = builder.identify_with(Identity::from_pem(cert, key)?);
    }
    if config.min_version == Some(TlsVersion::Tls13) {
        builder = builder.set_min_tls_version(smtp::TlsVersion::Tlsv13);
    }
    if config.insecure_skip_verify == Some(true) {
        builder = builder.dangerous_accept_invalid_certs(true).dangerous_accept_invalid_hostnames(true);
    }
    builder.build_rustls()
}

impl Notifier for Email {
    fn send<'a>(&'a self, notification: &'a Notification<'a>) -> BoxFuture<'a, Result<(), SendError>> {
        Box::pin(self.exchange(notification))
    }
}

#[cfg(test)]
#[path = "email_tests.rs"]
mod tests;
