//! `logs.syslog`: where syslog is listened for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::{ByteSize, ConfigDuration, Problems};

/// How syslog comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyslogProtocol {
    /// One message in each datagram (RFC 5426).
    Udp,
    /// A stream of frames, counted or ended by line feeds (RFC 6587).
    #[default]
    Tcp,
}

impl SyslogProtocol {
    /// The word in the configuration and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            SyslogProtocol::Udp => "udp",
            SyslogProtocol::Tcp => "tcp",
        }
    }
}

/// TLS of a listener (RFC 5425).
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SyslogTls {
    /// The server's certificate and those between it and its authority, as PEM.
    pub cert_file: PathBuf,
    /// Its key, as PEM.
    pub key_file: PathBuf,
    /// If given, senders must show a certificate of these authorities.
    pub client_ca_file: PathBuf,
}

/// The fields of a message that can be labels.
pub const SYSLOG_FIELDS: [&str; 7] =
    ["hostname", "app_name", "facility", "severity", "proc_id", "msg_id", "connection_ip_address"];

/// One entry of `logs.syslog`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SyslogListener {
    /// Host and port.
    pub listen: String,
    /// How it comes.
    pub protocol: SyslogProtocol,
    /// Labels of all lines.
    pub labels: BTreeMap<String, String>,
    /// Fields of messages that become labels; all others are structured metadata.
    pub stream_fields: Vec<String>,
    /// Where the clocks of RFC 3164 senders stand, by the name of the time zone database.
    pub timezone: String,
    /// Whether lines get the time of the message; else that of their arrival.
    pub use_incoming_timestamp: bool,
    /// Longer messages are cut.
    pub max_message_bytes: ByteSize,
    /// TCP: a connection that says nothing for so long is closed; 0 for never.
    pub idle_timeout: ConfigDuration,
    /// TCP: connections at once.
    pub max_connections: usize,
    /// TCP: with TLS.
    pub tls: Option<SyslogTls>,
}

impl Default for SyslogListener {
    fn default() -> Self {
        SyslogListener {
            listen: String::new(),
            protocol: SyslogProtocol::Tcp,
            labels: BTreeMap::from([("job".to_owned(), "syslog".to_owned())]),
            // Who says it; the rest has too many values, or is found as detected_level.
            stream_fields: vec!["hostname".to_owned(), "app_name".to_owned()],
            timezone: "UTC".to_owned(),
            use_incoming_timestamp: true,
            // The largest datagram; rsyslog's own default is an eighth of it.
            max_message_bytes: ByteSize(64 << 10),
            // Quiet hosts are normal; connections whose other end is gone are not kept for ever.
            idle_timeout: ConfigDuration::from_secs(3600),
            max_connections: 1000,
            tls: None,
        }
    }
}

impl SyslogListener {
    /// Makes the paths of files relative to the folder of the configuration file.
    pub fn resolve_paths(&mut self, dir: &Path) {
        if let Some(tls) = &mut self.tls {
            for path in [&mut tls.cert_file, &mut tls.key_file, &mut tls.client_ca_file] {
                if !path.as_os_str().is_empty() {
                    *path = dir.join(&*path);
                }
            }
        }
    }

    pub(super) fn check(&self, path: &str, problems: &mut Problems) {
        let mut add = |key: &str, message: String| problems.add(format!("{path}.{key}"), message);
        let port = self.listen.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
        if port.is_none_or(|(host, _)| host.is_empty()) {
            add("listen", format!("{:?} is no address; write host:port, such as 0.0.0.0:1514", self.listen));
        }
        if self.timezone.parse::<chrono_tz::Tz>().is_err() {
            add("timezone", format!("{:?} is no time zone; write UTC or a name such as Europe/Berlin", self.timezone));
        }
        if !(480..=(1 << 20)).contains(&self.max_message_bytes.0) {
            add("max_message_bytes", format!("{} is out of range; use 480B to 1MiB", self.max_message_bytes));
        }
        if self.max_connections == 0 {
            add("max_connections", "0 would take no connection; use at least 1".to_owned());
        }
        for (i, field) in self.stream_fields.iter().enumerate() {
            if !SYSLOG_FIELDS.contains(&field.as_str()) {
                add(&format!("stream_fields[{i}]"), format!("{field:?} is not one of {}", SYSLOG_FIELDS.join(", ")));
            }
        }
        for name in self.labels.keys() {
            if !crate::model::labels::is_legacy_label_name(name) {
                add("labels", format!("{name:?} is no label name; use letters, digits and underscores"));
            }
        }
        if let Some(tls) = &self.tls {
            if self.protocol == SyslogProtocol::Udp {
                add("tls", "goes with tcp only; remove it or set protocol: tcp".to_owned());
            }
            for (key, file) in [("cert_file", &tls.cert_file), ("key_file", &tls.key_file)] {
                if file.as_os_str().is_empty() {
                    add(&format!("tls.{key}"), "is required; name a PEM file".to_owned());
                }
            }
        }
    }
}

/// Checks the listeners together: each has an address of its own.
pub(super) fn check_all(listeners: &[SyslogListener], path: &str, problems: &mut Problems) {
    for (i, l) in listeners.iter().enumerate() {
        l.check(&format!("{path}[{i}]"), problems);
        let same = |o: &SyslogListener| o.protocol == l.protocol && o.listen == l.listen && !l.listen.ends_with(":0");
        if let Some(first) = listeners.iter().take(i).position(same) {
            let message = format!("{:?} over {} is taken by {path}[{first}]", l.listen, l.protocol.as_str());
            problems.add(format!("{path}[{i}].listen"), message);
        }
    }
}
