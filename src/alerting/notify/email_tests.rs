//! Messages as a small SMTP server on loopback gets them: plain, with login, over STARTTLS and over TLS from the first byte.

use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::*;
use crate::alerting::store::test_alert;
use crate::alerting::template_data::{AlertData, Reason};
use crate::exec::SystemClock;
use crate::model::Labels;

/// Everything the server saw: commands, and messages as they came.
type Seen = Arc<Mutex<Vec<String>>>;

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Plain,
    StartTls,
    Implicit,
    /// Refuses every recipient for now.
    Busy,
    /// Says hello and then nothing more.
    Silent,
    /// Offers these ways to log in, which may be none.
    Logins(&'static str),
}

struct Server {
    port: u16,
    seen: Seen,
    ca: String,
}

async fn serve(mode: Mode) -> Server {
    let cert = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(cert.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Seen::default();
    let log = seen.clone();
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            if mode == Mode::Implicit {
                if let Ok(tls) = acceptor.accept(tcp).await {
                    talk(tls, &log, mode, true).await;
                }
            } else if let Some(rest) = talk(tcp, &log, mode, false).await
                && let Ok(tls) = acceptor.accept(rest).await
            {
                log.lock().unwrap().push("(encrypted)".to_owned());
                talk(tls, &log, Mode::StartTls, true).await;
            }
        }
    });
    Server { port, seen, ca: cert.cert.pem() }
}

/// Speaks until the client leaves, or gives the stream back when TLS is to begin.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(stream: S, log: &Seen, mode: Mode, encrypted: bool) -> Option<S> {
    let mut stream = BufReader::new(stream);
    // After STARTTLS there is no second greeting.
    if !(encrypted && mode == Mode::StartTls) {
        stream.write_all(b"220 sink\r\n").await.ok()?;
    }
    let mut message: Option<String> = None;
    // Lines of AUTH that are still to come, with what is asked before the last one.
    let mut auth: Vec<&str> = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        if let Some(text) = &mut message {
            if line == ".\r\n" {
                log.lock().unwrap().push(std::mem::take(text));
                message = None;
                stream.write_all(b"250 kept\r\n").await.ok()?;
            } else {
                text.push_str(&line);
            }
            continue;
        }
        let line = line.trim_end();
        log.lock().unwrap().push(line.to_owned());
        let verb = line.split(' ').next().unwrap().to_ascii_uppercase();
        let answer = match verb.as_str() {
            _ if mode == Mode::Silent => continue,
            _ if !auth.is_empty() => auth.pop().unwrap(),
            "EHLO" if let Mode::Logins(names) = mode => &format!("250-sink{names}\r\n250 8BITMIME"),
            // The challenge of RFC 2195's example.
            "AUTH" if line == "AUTH CRAM-MD5" => {
                auth = vec!["235 welcome"];
                "334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+"
            }
            "AUTH" if line == "AUTH LOGIN" => {
                auth = vec!["235 welcome", "334 UGFzc3dvcmQ6"];
                "334 VXNlcm5hbWU6"
            }
            "AUTH" if matches!(mode, Mode::Logins(_)) => "235 welcome",
            "EHLO" if mode == Mode::StartTls && !encrypted => "250-sink\r\n250 STARTTLS",
            "EHLO" => "250-sink\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN",
            "STARTTLS" => {
                stream.write_all(b"220 go on\r\n").await.ok()?;
                return Some(stream.into_inner());
            }
            "AUTH" if line.contains("AHUAcCB3") => "235 welcome",
            "AUTH" => "535 who are you",
            "RCPT" if mode == Mode::Busy => "450 later",
            "DATA" => {
                message = Some(String::new());
                "354 go on"
            }
            "QUIT" => "221 bye",
            _ => "250 ok",
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await.ok()?;
    }
}

fn data() -> Data {
    let mut alert = test_alert(&[("alertname", "Disk"), ("instance", "h1")], 0, i64::MAX, 0);
    alert.alert.annotations = Labels::from_pairs([("summary", "größer <b>")]);
    let group = Labels::from_pairs([("alertname", "Disk")]);
    Data::new("r", group, vec![AlertData::new(&alert, 1000)], "http://c.example", Reason::First)
}

async fn send(server: &Server, base: &Path, more: &str, possible_repeat: bool) -> Result<(), SendError> {
    let json = format!(
        r#"{{"to":"ann@example.org, Bob <bob@example.org>","from":"bell@example.org","smarthost":"localhost:{}"{more}}}"#,
        server.port
    );
    let config: EmailConfig = serde_json::from_str(&json).unwrap();
    let templates = Arc::new(NotificationTemplates::load(&[], base, Arc::new(SystemClock)).unwrap());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let email = Email::new(config, &Deps { default_http: None, base, templates: &templates, clock: &clock });
    email.send(&Notification { possible_repeat, ..Notification::new(&data(), "{}:{}") }).await
}

#[tokio::test]
async fn a_plain_message_has_all_its_parts() {
    let server = serve(Mode::Plain).await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("pass"), "p w\n").unwrap();
    let more = r#","require_tls":false,"hello":"c.example","auth_username":"u","auth_password_file":"pass","threading":{"enabled":true},
        "headers":{"subject":"{{ .Status }} größe\r\nBcc: evil@example.org","X-Team":"{{ .GroupLabels.alertname }}"}"#;
    send(&server, dir.path(), more, true).await.unwrap();
    let seen = server.seen.lock().unwrap().clone();
    for command in
        ["EHLO c.example", "MAIL FROM:<bell@example.org>", "RCPT TO:<ann@example.org>", "RCPT TO:<bob@example.org>"]
    {
        assert!(seen.iter().any(|l| l.starts_with(command)), "{command} in {seen:?}");
    }
    let message = seen.iter().find(|m| m.contains("Subject:")).unwrap();
    for part in [
        "From: bell@example.org",
        "To: ann@example.org, Bob <bob@example.org>",
        "X-Team: Disk\r\n",
        "X-Campanile-Retry: 1\r\n",
        "Auto-Submitted: auto-generated\r\n",
        "References: <campanile-",
        "Content-Type: multipart/alternative",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Type: text/html; charset=utf-8",
        "Message-ID: <",
        "Date: ",
    ] {
        assert!(message.contains(part), "{part} in {message}");
    }
    assert!(!message.contains("\r\nBcc:"), "a value cannot begin a header: {message}");
}

#[tokio::test]
async fn tls_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    for (mode, more) in [(Mode::StartTls, ""), (Mode::Implicit, r#","force_implicit_tls":true"#)] {
        let server = serve(mode).await;
        std::fs::write(dir.path().join("ca.pem"), &server.ca).unwrap();
        let trusted =
            format!(r#"{more},"tls_config":{{"ca_file":"ca.pem"}},"auth_username":"u","auth_password":"p w""#);
        send(&server, dir.path(), &trusted, false).await.unwrap();
        let seen = server.seen.lock().unwrap().clone();
        assert!(seen.iter().any(|m| m.contains("Subject: [FIRING:1] Disk (h1)")), "{seen:?}");
        for other in [more.to_owned(), trusted.replace("ca.pem\"", "ca.pem\",\"server_name\":\"other.example\"")] {
            let e = send(&server, dir.path(), &other, false).await.unwrap_err();
            assert!(e.message.to_lowercase().contains("certificate"), "{e}");
        }
    }
}

#[tokio::test]
async fn what_goes_wrong_and_whether_to_retry() {
    let dir = tempfile::tempdir().unwrap();
    for (mode, more, reason, retry) in [
        (Mode::Plain, "", FailureReason::ClientError, false), // no STARTTLS there, but required
        (
            Mode::Plain,
            r#","require_tls":false,"auth_username":"u","auth_password":"bad""#,
            FailureReason::ClientError,
            false,
        ),
        (Mode::Busy, r#","require_tls":false"#, FailureReason::ServerError, true),
        (Mode::Plain, r#","require_tls":false,"text":"{{ .Nope }}""#, FailureReason::Template, false),
        (
            Mode::Plain,
            r#","require_tls":false,"auth_username":"u","auth_password_file":"none""#,
            FailureReason::File,
            true,
        ),
    ] {
        let server = serve(mode).await;
        let e = send(&server, dir.path(), more, false).await.unwrap_err();
        assert_eq!((e.reason, e.retry), (reason, retry), "{more}: {e}");
        assert!(!server.seen.lock().unwrap().iter().any(|m| m.contains("Subject:")), "{more}");
    }
    let server = serve(Mode::Silent).await;
    let silent = send(&server, dir.path(), r#","require_tls":false"#, false);
    // The group's patience ends the attempt; here a test's does.
    assert!(tokio::time::timeout(Duration::from_millis(200), silent).await.is_err());
}

#[tokio::test]
async fn every_way_to_log_in() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("secret"), "tanstaaftanstaaf\n").unwrap();
    let both = r#""auth_username":"tim","auth_secret_file":"secret","auth_password":"pw""#;
    let secret = r#""auth_username":"tim","auth_secret":"tanstaaftanstaaf""#;
    let password = r#""auth_username":"tim","auth_password":"pw","auth_identity":"boss""#;
    // RFC 2195's answer to its challenge.
    let proof = "dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw";
    for (offered, keys, wanted) in [
        ("\r\n250-AUTH LOGIN PLAIN CRAM-MD5", both, &["AUTH CRAM-MD5", proof][..]),
        ("\r\n250-AUTH CRAM-MD5 PLAIN", secret, &["AUTH CRAM-MD5", proof]),
        ("\r\n250-AUTH CRAM-MD5 LOGIN PLAIN", password, &["AUTH PLAIN Ym9zcwB0aW0AcHc="]),
        ("\r\n250-AUTH LOGIN", password, &["AUTH LOGIN", "dGlt", "cHc="]),
        ("", both, &[]),
    ] {
        let server = serve(Mode::Logins(offered)).await;
        send(&server, dir.path(), &format!(r#","require_tls":false,{keys}"#), false).await.unwrap();
        let seen = server.seen.lock().unwrap().clone();
        let from = seen.iter().rposition(|l| l.starts_with("EHLO")).unwrap() + 1;
        let to = seen.iter().position(|l| l.starts_with("MAIL")).unwrap();
        assert_eq!(seen[from..to], *wanted, "{offered}");
    }
    let server = serve(Mode::Logins("\r\n250-AUTH PLAIN XOAUTH2")).await;
    let e = send(&server, dir.path(), &format!(r#","require_tls":false,{secret}"#), false).await.unwrap_err();
    assert_eq!((e.reason, e.retry), (FailureReason::ClientError, false));
    assert!(e.message.contains("offers PLAIN, XOAUTH2, configured is CRAM-MD5"), "{e}");
}
