//! Syslog from raw sockets, and from rsyslog as Debian has it: both protocols, both framings, both forms, TLS, and its output for
//! Elasticsearch.

use std::os::unix::net::UnixDatagram;
use std::path::Path;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};

use crate::harness::{Process, Server, eventually, free_port};

fn config(listeners: &[String]) -> String {
    let listed: String = listeners.iter().map(|l| format!("    - {{{l}}}\n")).collect();
    format!(
        "logs:\n  retention_time: 0\n  syslog:{}\n{listed}self_scrape: false\nhost: {{enabled: false}}\n",
        if listed.is_empty() { " []" } else { "" }
    )
}

/// Waits until a query has so many lines, and gives them.
async fn wait_lines(server: &Server, query: &str, wanted: usize) -> Vec<(i64, String)> {
    eventually(&format!("{wanted} lines of {query}"), 20, async || {
        let lines = server.lines(query).await;
        assert!(lines.len() <= wanted, "{query}: more than {wanted}: {lines:?}");
        (lines.len() == wanted).then_some(lines)
    })
    .await
}

#[tokio::test]
async fn from_sockets_and_through_a_reload() {
    let (udp, tcp) = (free_port(), free_port());
    let udp_listener =
        format!("listen: '127.0.0.1:{udp}', protocol: udp, labels: {{job: net}}, timezone: Europe/Berlin");
    let tcp_listener = |job: &str| format!("listen: '127.0.0.1:{tcp}', protocol: tcp, labels: {{job: {job}}}");
    let server = Server::start(&config(&[udp_listener.clone(), tcp_listener("tcp")])).await;

    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let messages = [
        "<165>1 2026-01-15T12:59:58.003Z db1 postgres 812 ID47 [meta@1 user=\"ana\"] deadlock detected",
        "<34>1 2026-01-15T12:59:59Z db1 sshd 7 - - same",
        "<34>1 2026-01-15T12:59:59Z db1 sshd 7 - - same",
        "plain text without a header",
    ];
    for m in messages {
        socket.send_to(m.as_bytes(), ("127.0.0.1", udp)).await.unwrap();
    }
    let stream = r#"{job="net", hostname="db1", app_name="postgres"}"#;
    let lines = wait_lines(&server, stream, 1).await;
    assert_eq!(lines, [(1_768_481_998_003_000_000, "deadlock detected".to_owned())]);
    let metadata = r#" | facility="local4" | severity="notice" | proc_id="812" | msg_id="ID47" | sd_meta_1_user="ana" | connection_ip_address="127.0.0.1" | detected_level="info""#;
    wait_lines(&server, &format!("{stream}{metadata}"), 1).await;
    // Equal messages in the same whole second are two.
    wait_lines(&server, r#"{job="net", app_name="sshd"} | detected_level="critical""#, 2).await;
    wait_lines(&server, r#"{job="net", hostname=""} |= "plain text""#, 1).await;

    // Both framings on one connection, in pieces that end anywhere.
    let mut connection = TcpStream::connect(("127.0.0.1", tcp)).await.unwrap();
    connection.write_all(b"<13>Jan 15 13:00:00 web nginx[3]: one\n48 <13>1 2026-01-15T13:00:01").await.unwrap();
    connection.flush().await.unwrap();
    connection.write_all(b".5Z web nginx - - - two<13>Jan 15 13:00:02 web nginx: three\n").await.unwrap();
    let lines = wait_lines(&server, r#"{job="tcp", hostname="web", app_name="nginx"}"#, 3).await;
    // Two of them come without a year, so their order depends on the day.
    let mut texts: Vec<&str> = lines.iter().map(|l| l.1.as_str()).collect();
    texts.sort();
    assert_eq!(texts, ["one", "three", "two"]);

    // The listener's labels change; the connection goes on. Another listener goes away and gives its port back.
    std::fs::write(server.config_path(), config(&[tcp_listener("changed")])).unwrap();
    let reloaded = server.http.post(server.url("/-/reload")).send().await.unwrap();
    assert!(reloaded.status().is_success(), "{}", reloaded.text().await.unwrap());
    connection.write_all(b"<13>Jan 15 13:00:03 web nginx: four\n").await.unwrap();
    wait_lines(&server, r#"{job="changed", app_name="nginx"}"#, 1).await;
    eventually("the port is free", 10, async || UdpSocket::bind(("127.0.0.1", udp)).await.ok()).await;

    // An address that is taken: the reload is refused and everything stays.
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bad = format!("listen: '{}', protocol: tcp", taken.local_addr().unwrap());
    std::fs::write(server.config_path(), config(&[bad])).unwrap();
    let refused = server.http.post(server.url("/-/reload")).send().await.unwrap();
    assert!(!refused.status().is_success());
    let text = refused.text().await.unwrap();
    assert!(text.contains("logs.syslog[0]: cannot listen on 127.0.0.1:"), "{text}");
    connection.write_all(b"<13>Jan 15 13:00:04 web nginx: five\n").await.unwrap();
    wait_lines(&server, r#"{job="changed", app_name="nginx"}"#, 2).await;
}

/// Certificates of an authority and of a server on 127.0.0.1, as files.
fn certificates(dir: &Path) {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(vec![]).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_cert = authority.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let server = rcgen::CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let cert = server.signed_by(&key, &issuer).unwrap();
    for (name, text) in [("ca.pem", authority_cert.pem()), ("cert.pem", cert.pem()), ("key.pem", key.serialize_pem())] {
        std::fs::write(dir.join(name), text).unwrap();
    }
}

#[tokio::test]
#[ignore = "needs rsyslog with rsyslog-elasticsearch and rsyslog-openssl"]
async fn from_rsyslog() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let (udp, tcp, tls) = (free_port(), free_port(), free_port());
    let path = |name: &str| dir.path().join(name).display().to_string();
    let server = Server::start(&config(&[
        format!("listen: '127.0.0.1:{udp}', protocol: udp, labels: {{job: udp}}"),
        format!("listen: '127.0.0.1:{tcp}', protocol: tcp, labels: {{job: tcp}}, stream_fields: [hostname, app_name, severity]"),
        format!(
            "listen: '127.0.0.1:{tls}', protocol: tcp, labels: {{job: tls}}, tls: {{cert_file: '{}', key_file: '{}'}}",
            path("cert.pem"),
            path("key.pem")
        ),
    ]))
    .await;

    let input = path("log.sock");
    let forward = |port: u16, rest: &str| {
        format!("action(type=\"omfwd\" target=\"127.0.0.1\" port=\"{port}\" queue.type=\"LinkedList\" {rest})\n")
    };
    let tagged = |tag: &str, action: String| format!("if $programname == '{tag}' then {{ {action} }}\n");
    let rsyslog = [
        format!("global(workDirectory=\"{}\" DefaultNetstreamDriverCAFile=\"{}\" localHostname=\"web1\")\n", path(""), path("ca.pem")),
        "module(load=\"imuxsock\" SysSock.Use=\"off\")\nmodule(load=\"omelasticsearch\")\n".to_owned(),
        format!("input(type=\"imuxsock\" Socket=\"{input}\" RateLimit.Interval=\"0\" useSysTimeStamp=\"off\")\n"),
        "template(name=\"doc\" type=\"list\" option.json=\"on\") { constant(value=\"{\\\"@timestamp\\\":\\\"\") property(name=\"timereported\" dateFormat=\"rfc3339\") constant(value=\"\\\",\\\"host\\\":\\\"\") property(name=\"hostname\") constant(value=\"\\\",\\\"message\\\":\\\"\") property(name=\"msg\" format=\"json\") constant(value=\"\\\",\\\"app\\\":\\\"\") property(name=\"programname\") constant(value=\"\\\"}\") }\n".to_owned(),
        tagged("udp5424", forward(udp, "protocol=\"udp\" template=\"RSYSLOG_SyslogProtocol23Format\"")),
        tagged("udp3164", forward(udp, "protocol=\"udp\" template=\"RSYSLOG_TraditionalForwardFormat\"")),
        tagged("lines", forward(tcp, "protocol=\"tcp\" template=\"RSYSLOG_ForwardFormat\" TCP_Framing=\"traditional\"")),
        tagged("octets", forward(tcp, "protocol=\"tcp\" template=\"RSYSLOG_SyslogProtocol23Format\" TCP_Framing=\"octet-counted\"")),
        tagged(
            "tls",
            forward(
                tls,
                "protocol=\"tcp\" TCP_Framing=\"octet-counted\" StreamDriver=\"ossl\" StreamDriverMode=\"1\" StreamDriverAuthMode=\"anon\" template=\"RSYSLOG_SyslogProtocol23Format\"",
            ),
        ),
        tagged(
            "elastic",
            format!(
                "action(type=\"omelasticsearch\" server=\"127.0.0.1\" serverport=\"{}\" template=\"doc\" searchIndex=\"rsyslog\" searchType=\"\" bulkmode=\"on\" esVersion.major=\"8\" errorFile=\"{}\")",
                server.port,
                path("elastic.errors")
            ),
        ),
    ]
    .concat();
    std::fs::write(path("rsyslog.conf"), &rsyslog).unwrap();
    let log = dir.path().join("rsyslog.log");
    let (conf, pid) = (path("rsyslog.conf"), path("rsyslog.pid"));
    let _rsyslog = Process::start("/usr/sbin/rsyslogd", &["-n", "-f", &conf, "-i", &pid], &log);
    let sender = UnixDatagram::unbound().unwrap();
    eventually("rsyslog listens", 20, async || sender.connect(&input).ok()).await;

    let ways = ["udp5424", "udp3164", "lines", "octets", "tls", "elastic"];
    for i in 0..50 {
        for way in ways {
            sender.send(format!("<11>Jan 15 13:00:{:02} {way}[42]: message {i}", i % 60).as_bytes()).unwrap();
        }
    }
    for (job, way) in [("udp", "udp5424"), ("udp", "udp3164"), ("tcp", "lines"), ("tcp", "octets"), ("tls", "tls")] {
        let query =
            format!(r#"{{job="{job}", hostname="web1", app_name="{way}"}} | proc_id="42" | detected_level="error""#);
        let lines = wait_lines(&server, &query, 50).await;
        let mut texts: Vec<&str> = lines.iter().map(|l| l.1.trim()).collect();
        texts.sort_by_key(|t| t.rsplit(' ').next().unwrap().parse::<u32>().unwrap());
        assert_eq!((texts[0], texts[49]), ("message 0", "message 49"), "{way}");
    }
    wait_lines(&server, r#"{job="tcp", severity="error"}"#, 100).await;
    wait_lines(&server, r#"{index="rsyslog", app="elastic", host="web1"} |= "message""#, 50).await;
    let errors = std::fs::read_to_string(path("elastic.errors")).unwrap_or_default();
    assert_eq!(errors, "", "{}", std::fs::read_to_string(&log).unwrap());
}
