//! The DNS prober: one query to one server, and checks of what it answers.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::Instant;

use crate::config::dns_names;
use crate::config::probe_module::{DnsModule, DnsTransport, RecordChecks};
use crate::probe::dns_message::{self, Answer};
use crate::probe::phases::Phases;
use crate::probe::resolve::{Preference, host_port, resolve};
use crate::probe::result::Recorder;
use crate::probe::{Failure, Question, tls};

/// Asks and checks.
pub async fn run(question: &Question<'_>, m: &DnsModule, r: &mut Recorder) -> Result<(), Failure> {
    for name in ["answer_rrs", "authority_rrs", "additional_rrs", "query_succeeded"] {
        r.set(count_name(name), 0.0);
    }
    let mut phases = Phases::new("probe_dns_duration_seconds", "resolve", r);
    phases.show(&["connect", "request"], r);
    let default_port = if m.dns_over_tls { 853 } else { 53 };
    let (host, port) = match host_port(question.target) {
        Ok(both) => both,
        Err(_) => (question.target, default_port),
    };
    let want = Preference { protocol: m.preferred_ip_protocol, fallback: m.ip_protocol_fallback };
    let (address, took) = resolve(host, want, r).await?;
    phases.add("resolve", took, r);

    let unknown = |what: &str, name: &str| Failure(format!("{name:?} is not a DNS {what}"));
    let kind = dns_names::record_type(&m.query_type).ok_or_else(|| unknown("record type", &m.query_type))?;
    let class = dns_names::class(&m.query_class).ok_or_else(|| unknown("class", &m.query_class))?;
    // Any number will do; it must only differ from the last question's.
    let id = (Instant::now().elapsed().subsec_nanos() ^ std::process::id() ^ next_id()) as u16;
    let message = dns_message::question(id, &m.query_name, kind, class, m.recursion_desired)?;

    let start = Instant::now();
    r.now("connecting");
    let failed = |e: std::io::Error| Failure(format!("cannot ask {address}: {e}"));
    let answer = match m.transport_protocol {
        DnsTransport::Udp => {
            let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(any).await.map_err(failed)?;
            socket.connect((address, port)).await.map_err(failed)?;
            let start = phases.until_now("connect", start, r);
            r.now("waiting for the answer");
            let answer = ask_udp(&socket, &message, id).await;
            phases.until_now("request", start, r);
            answer?
        }
        DnsTransport::Tcp => {
            let tcp = TcpStream::connect((address, port)).await.map_err(failed)?;
            if m.dns_over_tls {
                let session = tls::connect(tcp, &m.tls_config, host, &[], r).await?;
                let (record, mut stream, _) = session.into_parts();
                record.record(false, r);
                let start = phases.until_now("connect", start, r);
                let answer = ask_stream(&mut stream, &message, id, r).await;
                phases.until_now("request", start, r);
                answer?
            } else {
                let mut tcp = tcp;
                let start = phases.until_now("connect", start, r);
                let answer = ask_stream(&mut tcp, &message, id, r).await;
                phases.until_now("request", start, r);
                answer?
            }
        }
    };
    record(&answer, m, r);
    check(&answer, m)
}

fn next_id() -> u32 {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
    NEXT.fetch_add(0x9e37, std::sync::atomic::Ordering::Relaxed)
}

fn count_name(section: &str) -> &'static str {
    match section {
        "answer_rrs" => "probe_dns_answer_rrs",
        "authority_rrs" => "probe_dns_authority_rrs",
        "additional_rrs" => "probe_dns_additional_rrs",
        _ => "probe_dns_query_succeeded",
    }
}

async fn ask_udp(socket: &UdpSocket, message: &[u8], id: u16) -> Result<Answer, Failure> {
    let failed = |e: std::io::Error| Failure(format!("no answer: {e}"));
    socket.send(message).await.map_err(failed)?;
    let mut buffer = vec![0; 65_535];
    loop {
        let n = socket.recv(&mut buffer).await.map_err(failed)?;
        if let Some(answer) = dns_message::answer(buffer.get(..n).unwrap_or(&[]), id)? {
            return Ok(answer);
        }
    }
}

async fn ask_stream<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    message: &[u8],
    id: u16,
    r: &mut Recorder,
) -> Result<Answer, Failure> {
    r.now("waiting for the answer");
    let failed = |e: std::io::Error| Failure(format!("no answer: {e}"));
    let length = u16::try_from(message.len()).map_err(|_| Failure::new("the question is too long"))?;
    let framed: Vec<u8> = length.to_be_bytes().iter().chain(message).copied().collect();
    stream.write_all(&framed).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;
    let n = stream.read_u16().await.map_err(failed)?;
    let mut buffer = vec![0; usize::from(n)];
    stream.read_exact(&mut buffer).await.map_err(failed)?;
    dns_message::answer(&buffer, id)?.ok_or_else(|| Failure::new("the answer is to another question"))
}

fn record(a: &Answer, m: &DnsModule, r: &mut Recorder) {
    r.set("probe_dns_query_succeeded", 1.0);
    r.set("probe_dns_answer_rrs", a.answer.len() as f64);
    r.set("probe_dns_authority_rrs", a.authority.len() as f64);
    r.set("probe_dns_additional_rrs", a.additional.len() as f64);
    // A zone's serial is only a result where it was asked for.
    if let Some(serial) = a.serial.filter(|_| m.query_type == "SOA") {
        r.set("probe_dns_serial", f64::from(serial));
    }
    r.note("rcode", dns_names::rcode_name(a.rcode));
    // Enough to see what was said; an answer may hold hundreds.
    r.note("records", a.answer.iter().take(10).cloned().collect::<Vec<_>>());
}

fn check(a: &Answer, m: &DnsModule) -> Result<(), Failure> {
    let rcode = dns_names::rcode_name(a.rcode);
    let valid = if m.valid_rcodes.is_empty() { a.rcode == 0 } else { m.valid_rcodes.contains(&rcode) };
    if !valid {
        return Err(Failure(format!("the server answered {rcode}")));
    }
    check_records("answer", &a.answer, &m.validate_answer_rrs)?;
    check_records("authority", &a.authority, &m.validate_authority_rrs)?;
    check_records("additional", &a.additional, &m.validate_additional_rrs)
}

fn check_records(section: &str, records: &[String], c: &RecordChecks) -> Result<(), Failure> {
    let fail =
        |record: &str, how: &str, regex: &str| Err(Failure(format!("{section} record {record:?} {how} /{regex}/")));
    for x in &c.fail_if_matches_regexp {
        if let Some(record) = records.iter().find(|r| x.0.is_match(r)) {
            return fail(record, "matches", x.0.as_str());
        }
    }
    for x in &c.fail_if_all_match_regexp {
        if !records.is_empty() && records.iter().all(|r| x.0.is_match(r)) {
            return Err(Failure(format!("all {section} records match /{}/", x.0.as_str())));
        }
    }
    for x in &c.fail_if_not_matches_regexp {
        match records.iter().find(|r| !x.0.is_match(r)) {
            Some(record) => return fail(record, "does not match", x.0.as_str()),
            None if records.is_empty() => {
                return Err(Failure(format!("there is no {section} record to match /{}/", x.0.as_str())));
            }
            None => {}
        }
    }
    for x in &c.fail_if_none_matches_regexp {
        if !records.iter().any(|r| x.0.is_match(r)) {
            return Err(Failure(format!("no {section} record matches /{}/", x.0.as_str())));
        }
    }
    Ok(())
}
