//! The TCP prober: a connection, TLS if wanted, and a dialogue of lines.

use regex::Captures;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::config::probe_module::{QueryResponse, TcpModule};
use crate::probe::resolve::{Preference, host_port, resolve};
use crate::probe::result::Recorder;
use crate::probe::{Failure, Question, tls};

/// The longest line that is waited for; a peer that sends more without a line break does not speak the protocol.
const MAX_LINE: usize = 64 << 10;

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// While one becomes the other.
    Nothing,
}

struct Dialogue {
    stream: Stream,
    /// What came and was not looked at yet.
    buffer: Vec<u8>,
    ended: bool,
}

/// Connects and holds the dialogue.
pub async fn run(question: &Question<'_>, m: &TcpModule, r: &mut Recorder) -> Result<(), Failure> {
    let (host, port) = host_port(question.target)?;
    let want = Preference { protocol: m.preferred_ip_protocol, fallback: m.ip_protocol_fallback };
    let (address, _) = resolve(host, want, r).await?;
    r.now("connecting");
    let tcp = TcpStream::connect((address, port))
        .await
        .map_err(|e| Failure(format!("cannot connect to {}: {e}", std::net::SocketAddr::from((address, port)))))?;
    let name = question.hostname.unwrap_or(host);
    let mut dialogue = Dialogue { stream: Stream::Plain(tcp), buffer: Vec::new(), ended: false };
    if m.tls {
        dialogue.start_tls(m, name, r).await?;
    }
    r.set("probe_failed_due_to_regex", 0.0);
    r.set("probe_failed_due_to_bytes", 0.0);
    for (i, step) in m.query_response.iter().enumerate() {
        dialogue.step(i, step, m, name, r).await?;
    }
    Ok(())
}

impl Dialogue {
    async fn step(
        &mut self,
        i: usize,
        step: &QueryResponse,
        m: &TcpModule,
        name: &str,
        r: &mut Recorder,
    ) -> Result<(), Failure> {
        let mut send = step.send.clone();
        if let Some(regex) = &step.expect {
            r.now("waiting for a line that matches");
            loop {
                let Some(line) = self.line().await? else {
                    r.set("probe_failed_due_to_regex", 1.0);
                    let text = regex.0.as_str();
                    return Err(Failure(format!("step {i}: the connection ended before a line matched /{text}/")));
                };
                r.note("last_line", line.chars().take(256).collect::<String>());
                if let Some(found) = regex.0.regex().captures(&line) {
                    send = expand(&found, &step.send);
                    record_labels(&found, step, r);
                    break;
                }
            }
        }
        if !step.expect_bytes.is_empty() {
            r.now("waiting for bytes");
            if !self.bytes(step.expect_bytes.as_bytes()).await? {
                r.set("probe_failed_due_to_bytes", 1.0);
                return Err(Failure(format!("step {i}: the connection ended before the expected bytes came")));
            }
        }
        if !send.is_empty() {
            r.now("sending");
            send.push('\n');
            let sent = match &mut self.stream {
                Stream::Plain(s) => s.write_all(send.as_bytes()).await,
                Stream::Tls(s) => match s.write_all(send.as_bytes()).await {
                    Ok(()) => s.flush().await,
                    Err(e) => Err(e),
                },
                Stream::Nothing => return Err(gone()),
            };
            sent.map_err(|e| Failure(format!("step {i}: cannot send: {e}")))?;
        }
        if step.starttls {
            self.start_tls(m, name, r).await?;
        }
        Ok(())
    }

    async fn start_tls(&mut self, m: &TcpModule, name: &str, r: &mut Recorder) -> Result<(), Failure> {
        let Stream::Plain(tcp) = std::mem::replace(&mut self.stream, Stream::Nothing) else {
            return Err(Failure::new("TLS is spoken already"));
        };
        // Nothing sent before TLS may be taken as sent inside it.
        self.buffer.clear();
        let session = tls::connect(tcp, &m.tls_config, name, &[], r).await?;
        let (record, stream, _) = session.into_parts();
        record.record(false, r);
        self.stream = Stream::Tls(Box::new(stream));
        Ok(())
    }

    /// Reads more; false at the end of the connection.
    async fn fill(&mut self) -> Result<bool, Failure> {
        if self.ended {
            return Ok(false);
        }
        let read = match &mut self.stream {
            Stream::Plain(s) => s.read_buf(&mut self.buffer).await,
            Stream::Tls(s) => s.read_buf(&mut self.buffer).await,
            Stream::Nothing => return Err(gone()),
        };
        match read {
            Ok(0) => self.ended = true,
            Ok(_) => {}
            // A peer that goes without the goodbye of TLS has still said what it said.
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => self.ended = true,
            Err(e) => return Err(Failure(format!("cannot read: {e}"))),
        }
        Ok(!self.ended)
    }

    /// The next line without its end; nothing when the connection has ended.
    async fn line(&mut self) -> Result<Option<String>, Failure> {
        loop {
            let end = memchr::memchr(b'\n', &self.buffer);
            if let Some(end) = end.or((self.ended && !self.buffer.is_empty()).then_some(self.buffer.len())) {
                let rest = self.buffer.split_off((end + 1).min(self.buffer.len()));
                let line = std::mem::replace(&mut self.buffer, rest);
                let line = String::from_utf8_lossy(&line);
                return Ok(Some(line.trim_end_matches('\n').trim_end_matches('\r').to_owned()));
            }
            if self.buffer.len() > MAX_LINE {
                return Err(Failure(format!("a line is longer than {MAX_LINE} bytes")));
            }
            if !self.fill().await? && self.buffer.is_empty() {
                return Ok(None);
            }
        }
    }

    /// Reads until `wanted` came; false when the connection ended before.
    async fn bytes(&mut self, wanted: &[u8]) -> Result<bool, Failure> {
        loop {
            if let Some(at) = memchr::memmem::find(&self.buffer, wanted) {
                self.buffer.drain(..at + wanted.len());
                return Ok(true);
            }
            // What cannot be part of a match any more is not kept.
            let keep = self.buffer.len().min(wanted.len().saturating_sub(1));
            self.buffer.drain(..self.buffer.len() - keep);
            if !self.fill().await? {
                return Ok(false);
            }
        }
    }
}

fn gone() -> Failure {
    Failure::new("the connection is gone")
}

fn expand(found: &Captures<'_>, template: &str) -> String {
    let mut out = String::with_capacity(template.len());
    found.expand(template, &mut out);
    out
}

fn record_labels(found: &Captures<'_>, step: &QueryResponse, r: &mut Recorder) {
    if step.labels.is_empty() {
        return;
    }
    let labels: Vec<(String, String)> = step.labels.iter().map(|l| (l.name.clone(), expand(found, &l.value))).collect();
    let labels: Vec<(&str, &str)> = labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    r.set_with("probe_expect_info", &labels, 1.0);
}
