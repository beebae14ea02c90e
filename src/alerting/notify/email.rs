//! Emails over SMTP: plain, STARTTLS, or TLS from the first byte.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Mailboxes, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate, CertificateStore, Identity, Tls, TlsParameters, TlsVersion};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use super::exchange::Exchange;
use super::http_client::TlsMaterial;
use super::http_receiver::Deps;
use super::webhook::{FALLBACK_HEADER, RETRY_HEADER};
use super::{FailureReason, Notification, Notifier, SendError, secret_file};
use crate::alerting::template_data::Data;
use crate::alerting::templates::NotificationTemplates;
use crate::config::notify::{DEFAULT_EMAIL_SUBJECT, EmailConfig, NotifyTlsConfig, ThreadByDate, split_host_port};
use crate::exec::Clock;

/// A whole exchange with the mail server may take so long. lettre's own timeout covers only connecting, so that a server which
/// falls silent would hold the group for ever.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
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

    async fn transport(&self) -> Result<AsyncSmtpTransport<Tokio1Executor>, SendError> {
        let c = &self.config;
        let smarthost = c.smarthost.as_deref().unwrap_or_default();
        let (host, port) = split_host_port(smarthost).ok_or_else(|| {
            SendError::permanent(FailureReason::ClientError, format!("smarthost {smarthost:?} is not host:port"))
        })?;
        let implicit = c.force_implicit_tls.unwrap_or(port == SMTPS_PORT);
        let tls = if implicit {
            Tls::Wrapper(self.tls(host).await?)
        } else if c.require_tls.unwrap_or(true) {
            Tls::Required(self.tls(host).await?)
        } else {
            Tls::None
        };
        let hello = c.hello.clone().filter(|h| !h.is_empty()).unwrap_or_else(|| "localhost".to_owned());
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(port)
            .tls(tls)
            .hello_name(ClientId::Domain(hello))
            .timeout(Some(CONNECT_TIMEOUT));
        if let Some(name) = c.auth_username.as_ref().filter(|n| !n.is_empty()) {
            let password =
                secret_file::secret(&self.base, c.auth_password.as_ref(), c.auth_password_file.as_deref()).await?;
            builder = builder
                .credentials(Credentials::new(name.clone(), password.unwrap_or_default()))
                .authentication(vec![Mechanism::Plain, Mechanism::Login]);
        }
        Ok(builder.build())
    }

    async fn tls(&self, host: &str) -> Result<TlsParameters, SendError> {
        let config = self.config.tls_config.clone().unwrap_or_default();
        let material = TlsMaterial::read(&self.base, &config).await?;
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
        let transport = self.transport().await?;
        if let Some(exchange) = n.exchange {
            self.show(exchange, &message);
        }
        match tokio::time::timeout(EXCHANGE_TIMEOUT, transport.send(message)).await {
            Ok(Ok(said)) => {
                if let Some(exchange) = n.exchange {
                    let lines = said.message().collect::<Vec<_>>().join("\n");
                    exchange.note('<', &format!("{} {lines}", said.code()), &[]);
                }
                Ok(())
            }
            Ok(Err(e)) => Err(smtp_error(&e)),
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

fn tls_parameters(
    host: &str,
    config: &NotifyTlsConfig,
    material: &TlsMaterial,
) -> Result<TlsParameters, lettre::transport::smtp::Error> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(pem) = &material.ca {
        builder = builder.certificate_store(CertificateStore::None);
        builder = builder.add_root_certificate(Certificate::from_pem(pem.as_bytes())?);
    }
    if let (Some(cert), Some(key)) = (&material.cert, &material.key) {
        builder = builder.identify_with(Identity::from_pem(cert.as_bytes(), key.as_bytes())?);
    }
    if config.min_version.as_deref() == Some("TLS13") {
        builder = builder.set_min_tls_version(TlsVersion::Tlsv13);
    }
    if config.insecure_skip_verify {
        builder = builder.dangerous_accept_invalid_certs(true).dangerous_accept_invalid_hostnames(true);
    }
    builder.build_rustls()
}

fn smtp_error(e: &lettre::transport::smtp::Error) -> SendError {
    let mut text = e.to_string();
    let mut source = std::error::Error::source(e);
    while let Some(s) = source {
        let more = s.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = s.source();
    }
    if e.is_permanent() {
        SendError::permanent(FailureReason::ClientError, text)
    } else if e.is_transient() {
        SendError::temporary(FailureReason::ServerError, text)
    } else if e.is_timeout() {
        SendError::temporary(FailureReason::Timeout, text)
    } else if e.is_tls() {
        SendError::temporary(FailureReason::Tls, text)
    } else if e.is_client() {
        // The server lacks what was asked for: STARTTLS or a known way to log in.
        SendError::permanent(FailureReason::ClientError, text)
    } else {
        SendError::temporary(FailureReason::Connection, text)
    }
}

impl Notifier for Email {
    fn send<'a>(&'a self, notification: &'a Notification<'a>) -> BoxFuture<'a, Result<(), SendError>> {
        Box::pin(self.exchange(notification))
    }
}

#[cfg(test)]
#[path = "email_tests.rs"]
mod tests;
