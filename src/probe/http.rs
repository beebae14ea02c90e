//! The HTTP prober: one request by hand, so that every phase can be timed.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::{Response, Version, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::config::probe_module::HttpModule;
use crate::probe::http_checks::{self, MAX_BODY};
use crate::probe::http_request::Outgoing;
use crate::probe::phases::Phases;
use crate::probe::resolve::{Preference, choose, lookup, resolve};
use crate::probe::result::Recorder;
use crate::probe::{Failure, Question, tls};

/// Redirects that are followed, as in Go's client.
const MAX_REDIRECTS: usize = 10;
/// Bytes of the body's start that the log line keeps.
const BODY_START: usize = 256;

enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

/// A connection and the task that drives it; the task ends with it.
struct Connection {
    sender: Sender,
    session: Option<tls::CipherRecord>,
    _driver: AbortOnDropHandle<()>,
}

/// Asks once, following redirects if wanted, and checks the last answer.
pub async fn run(question: &Question<'_>, m: &HttpModule, r: &mut Recorder) -> Result<(), Failure> {
    for name in [
        "probe_dns_lookup_time_seconds",
        "probe_failed_due_to_regex",
        "probe_http_content_length",
        "probe_http_redirects",
        "probe_http_ssl",
        "probe_http_status_code",
        "probe_http_uncompressed_body_length",
        "probe_http_version",
        "probe_ip_addr_hash",
        "probe_ip_protocol",
    ] {
        r.set(name, 0.0);
    }
    let mut phases = Phases::new("probe_http_duration_seconds", "resolve", r);
    let mut out = Outgoing::new(question, m).await?;
    let want = Preference { protocol: m.preferred_ip_protocol, fallback: m.ip_protocol_fallback };
    let mut redirects = 0;
    loop {
        r.note("url", out.url.as_str());
        let (host, port) = out.address();
        let start = Instant::now();
        let address = if redirects == 0 {
            let (address, took) = resolve(&host, want, r).await?;
            phases.add("resolve", took, r);
            address
        } else {
            r.now("looking up the address of a redirect");
            let found = lookup(&host).await?;
            phases.until_now("resolve", start, r);
            choose(&found, want).ok_or_else(|| Failure(format!("{host} has no address of the wanted protocol")))?
        };
        phases.show(&["connect", "tls", "processing", "transfer"], r);
        let name = out.server_name(question.hostname, redirects);
        let mut connection = connect((address, port).into(), &out, &name, m, &mut phases, r).await?;
        let start = Instant::now();
        r.now("waiting for the answer");
        let response = connection.ask(&out).await?;
        let start = phases.until_now("processing", start, r);
        let status = response.status().as_u16();
        let location = response.headers().get(header::LOCATION).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let location = location.filter(|_| matches!(status, 301 | 302 | 303 | 307 | 308));
        if location.is_some() {
            redirects += 1;
            r.set("probe_http_redirects", redirects as f64);
        }
        let follow = m.follow_redirects && !m.no_follow_redirects;
        if let Some(location) = location.filter(|_| follow && redirects <= MAX_REDIRECTS) {
            out.redirect(status, &location)?;
            r.note("redirects", redirects);
            continue;
        }
        note_answer(&response, &connection, r);
        if follow && redirects > MAX_REDIRECTS {
            return Err(Failure(format!("more than {MAX_REDIRECTS} redirects")));
        }
        let verdict = check(response, &out, m, r).await;
        phases.until_now("transfer", start, r);
        return verdict;
    }
}

async fn connect(
    address: std::net::SocketAddr,
    out: &Outgoing,
    name: &str,
    m: &HttpModule,
    phases: &mut Phases,
    r: &mut Recorder,
) -> Result<Connection, Failure> {
    r.now("connecting");
    let start = Instant::now();
    let tcp = TcpStream::connect(address).await;
    let start = phases.until_now("connect", start, r);
    let tcp = tcp.map_err(|e| Failure(format!("cannot connect to {address}: {e}")))?;
    // One small request; waiting for more to send would only add to the time measured.
    tcp.set_nodelay(true).map_err(|e| Failure(format!("cannot set up the connection: {e}")))?;
    if !out.is_tls() {
        return handshake1(TokioIo::new(tcp), None).await;
    }
    let alpn: &[&[u8]] = if m.enable_http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
    let session = tls::connect(tcp, &m.tls_config, name, alpn, r).await;
    phases.until_now("tls", start, r);
    let (record, stream, http2) = session?.into_parts();
    if http2 {
        let (sender, driver) = http2::Builder::new(TokioExecutor::new())
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|e| Failure(format!("HTTP/2 handshake failed: {}", chain(&e))))?;
        let driver = AbortOnDropHandle::new(tokio::spawn(async move {
            // What ends the connection is told to the one who asked.
            let _told_elsewhere = driver.await;
        }));
        return Ok(Connection { sender: Sender::Two(sender), session: Some(record), _driver: driver });
    }
    handshake1(TokioIo::new(stream), Some(record)).await
}

async fn handshake1<S>(io: TokioIo<S>, session: Option<tls::CipherRecord>) -> Result<Connection, Failure>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, driver) = http1::Builder::new()
        .title_case_headers(true)
        .handshake(io)
        .await
        .map_err(|e| Failure(format!("HTTP handshake failed: {}", chain(&e))))?;
    let driver = AbortOnDropHandle::new(tokio::spawn(async move {
        // What ends the connection is told to the one who asked.
        let _told_elsewhere = driver.await;
    }));
    Ok(Connection { sender: Sender::One(sender), session, _driver: driver })
}

impl Connection {
    async fn ask(&mut self, out: &Outgoing) -> Result<Response<Incoming>, Failure> {
        let answer = match &mut self.sender {
            Sender::One(s) => s.send_request(out.request(false)?).await,
            Sender::Two(s) => s.send_request(out.request(true)?).await,
        };
        answer.map_err(|e| Failure(format!("no valid answer: {}", chain(&e))))
    }
}

/// An error with its causes, which this library's own text leaves out.
fn chain(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut source = e.source();
    while let Some(s) = source {
        text.push_str(": ");
        text.push_str(&s.to_string());
        source = s.source();
    }
    text
}

fn note_answer(response: &Response<Incoming>, connection: &Connection, r: &mut Recorder) {
    let status = response.status().as_u16();
    let version = match response.version() {
        Version::HTTP_10 => 1.0,
        Version::HTTP_2 => 2.0,
        _ => 1.1,
    };
    r.set("probe_http_status_code", f64::from(status));
    r.set("probe_http_version", version);
    r.set("probe_http_content_length", http_checks::content_length(status, response.headers()));
    r.note("status", status);
    if let Some(time) = http_checks::last_modified(response.headers()) {
        r.set("probe_http_last_modified_timestamp_seconds", time as f64);
    }
    if let Some(session) = &connection.session {
        r.set("probe_http_ssl", 1.0);
        session.record(true, r);
    }
}

/// Checks the answer; the first thing that does not hold is the failure. The body is read to its end in any case, as
/// far as the limit goes, because its length and transfer time are measurements, too.
async fn check(response: Response<Incoming>, out: &Outgoing, m: &HttpModule, r: &mut Recorder) -> Result<(), Failure> {
    r.now("reading the body");
    let status = response.status().as_u16();
    let is_tls = out.is_tls();
    let version = format!("{:?}", response.version());
    let mut verdict = http_checks::status(status, m);
    if verdict.is_ok() {
        verdict = http_checks::headers(response.headers(), m, r);
    }
    let checks_body = !m.fail_if_body_matches_regexp.is_empty() || !m.fail_if_body_not_matches_regexp.is_empty();
    let packed = !matches!(m.compression.as_str(), "" | "identity") && !out.is_head();
    let limit = usize::try_from(m.body_size_limit.0).unwrap_or(usize::MAX);
    let body = read_body(response.into_body(), checks_body || packed, if packed { 0 } else { limit }, r).await;
    let (mut bytes, read) = body;
    if packed {
        let limit = if limit == 0 { MAX_BODY } else { limit };
        let (plain, unpacked) = http_checks::decompress(&m.compression, &bytes, limit);
        r.set("probe_http_uncompressed_body_length", plain.len() as f64);
        bytes = plain;
        verdict = verdict.and(read).and(unpacked);
    } else {
        verdict = verdict.and(read);
    }
    let start = bytes.get(..BODY_START).unwrap_or(&bytes);
    r.note("body", String::from_utf8_lossy(start).into_owned());
    if verdict.is_ok() && checks_body {
        verdict = http_checks::body(&bytes, m, r);
    }
    verdict?;
    let known = |v: &String| *v == version || (v == "HTTP/2" && version == "HTTP/2.0");
    if !m.valid_http_versions.is_empty() && !m.valid_http_versions.iter().any(known) {
        return Err(Failure(format!("the answer is {version}, not one of {}", m.valid_http_versions.join(", "))));
    }
    if is_tls && m.fail_if_ssl {
        return Err(Failure::new("the last answer came over TLS"));
    }
    if !is_tls && m.fail_if_not_ssl {
        return Err(Failure::new("the last answer did not come over TLS"));
    }
    Ok(())
}

/// Reads the body, counting its bytes; keeps all of it if `keep`, else its start. `limit` 0 means no limit.
async fn read_body(mut body: Incoming, keep: bool, limit: usize, r: &mut Recorder) -> (Vec<u8>, Result<(), Failure>) {
    let mut kept: Vec<u8> = Vec::new();
    let mut length = 0usize;
    while let Some(frame) = body.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(e) => return (kept, Err(Failure(format!("the body ended early: {}", chain(&e))))),
        };
        let Ok(data) = frame.into_data() else { continue };
        let mut data = &data[..];
        let over = limit > 0 && length + data.len() > limit;
        if over {
            data = data.get(..limit - length).unwrap_or(data);
        }
        length += data.len();
        r.set("probe_http_uncompressed_body_length", length as f64);
        let room = if keep { MAX_BODY } else { BODY_START };
        let room = room.saturating_sub(kept.len()).min(data.len());
        kept.extend_from_slice(data.get(..room).unwrap_or(data));
        if over {
            return (kept, Err(Failure(format!("the body is larger than body_size_limit ({limit} bytes)"))));
        }
        if keep && room < data.len() {
            return (kept, Err(Failure(format!("the body is larger than {MAX_BODY} bytes and cannot be checked"))));
        }
    }
    (kept, Ok(()))
}
