//! A syslog message as an entry. Names are those Promtail gives, without what it puts in front of them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;

use super::settings::Settings;
use crate::logs::{BatchBuilder, detect};
use crate::model::{Labels, TimestampNs};
use crate::wire::syslog::{Form, Message, parse};

/// Times in whole seconds get the place of the message in nanoseconds, up to a millisecond: the order of arrival stays, and equal
/// messages within a second stay apart.
const PLACES_IN_A_SECOND: u64 = 1_000_000;

/// Puts messages into a batch.
pub(super) struct Entries<'s, 'b> {
    settings: &'s Settings,
    batch: BatchBuilder<'b>,
    sequence: u64,
    /// The labels of streams by the values they are made of.
    streams: HashMap<String, Labels>,
    current: String,
    forms: [u64; 3],
}

impl<'s, 'b> Entries<'s, 'b> {
    /// `sequence` counts the messages of the listener.
    pub(super) fn new(settings: &'s Settings, batch: BatchBuilder<'b>, sequence: u64) -> Self {
        let streams = HashMap::new();
        Entries { settings, batch, sequence, streams, current: "\u{1}".to_owned(), forms: [0; 3] }
    }

    /// How many messages of each form there were.
    pub(super) fn forms(&self) -> [(&'static str, u64); 3] {
        let [rfc5424, rfc3164, plain] = self.forms;
        [("rfc5424", rfc5424), ("rfc3164", rfc3164), ("plain", plain)]
    }

    pub(super) fn into_batch(self) -> BatchBuilder<'b> {
        self.batch
    }

    /// Adds one message.
    pub(super) fn add(&mut self, message: &[u8], from: IpAddr, received_ns: TimestampNs) {
        let text = String::from_utf8_lossy(message);
        let message = parse(&text, received_ns, self.settings.zone);
        let form = match message.form {
            Form::Rfc5424 => 0,
            Form::Rfc3164 => 1,
            Form::Plain => 2,
        };
        if let Some(count) = self.forms.get_mut(form) {
            *count += 1;
        }
        self.sequence = self.sequence.wrapping_add(1);
        let from = from.to_string();
        let fields = fields(&message, &from);
        self.stream(&fields);
        let own = &self.settings.config.stream_fields;
        let mut metadata: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::with_capacity(12);
        for (name, value) in fields {
            if !value.is_empty() && !own.iter().any(|f| f == name) {
                metadata.push((name.into(), value.into()));
            }
        }
        for (element, name, value) in &message.structured_data {
            metadata.push((format!("sd_{element}_{name}").into(), Cow::Borrowed(value.as_ref())));
        }
        if message.priority.is_some() {
            metadata.push((detect::DETECTED_LEVEL.into(), level_of(message.severity()).into()));
        }
        let (timestamp, unused) = self.time(&message, received_ns);
        if let Some(unused) = unused {
            metadata.push(("incoming_timestamp".into(), crate::model::time::rfc3339_ns(unused).into()));
        }
        let metadata = metadata.iter().map(|(n, v)| (n.as_ref(), v.as_ref()));
        self.batch.entry(timestamp, message.text, metadata);
    }

    /// Begins the stream of a message, unless it is the one under way.
    fn stream(&mut self, fields: &[(&'static str, &str)]) {
        let named = |f: &String| fields.iter().find(|(n, _)| n == f).copied();
        let mut key = String::new();
        for (_, value) in self.settings.config.stream_fields.iter().filter_map(named) {
            key.push_str(value);
            key.push('\u{0}');
        }
        if key == self.current {
            return;
        }
        let labels = self.streams.entry(key.clone()).or_insert_with(|| {
            let mut labels = self.settings.labels.to_builder();
            for (name, value) in self.settings.config.stream_fields.iter().filter_map(named) {
                labels.set(name, value);
            }
            labels.build()
        });
        self.batch.stream(labels.clone());
        self.current = key;
    }

    /// The time of the entry, and that of the message where it cannot be used.
    fn time(&self, message: &Message<'_>, received_ns: TimestampNs) -> (TimestampNs, Option<TimestampNs>) {
        // Those that came together did not come in the same nanosecond.
        let arrival = received_ns + (self.sequence % PLACES_IN_A_SECOND) as i64;
        match message.time {
            None => (arrival, None),
            Some(_) if !self.settings.config.use_incoming_timestamp => (arrival, None),
            Some(t) if !self.batch.takes_time(t.ns) => (arrival, Some(t.ns)),
            Some(t) if t.whole_seconds => (t.ns + (self.sequence % PLACES_IN_A_SECOND) as i64, None),
            Some(t) => (t.ns, None),
        }
    }
}

fn fields<'m>(message: &Message<'m>, from: &'m str) -> [(&'static str, &'m str); 7] {
    [
        ("hostname", message.hostname),
        ("app_name", message.app_name),
        ("facility", message.facility()),
        ("severity", message.severity()),
        ("proc_id", message.proc_id),
        ("msg_id", message.msg_id),
        ("connection_ip_address", from),
    ]
}

/// Syslog's severities in the words of the other sources of logs.
fn level_of(severity: &str) -> &'static str {
    match severity {
        "emergency" => "fatal",
        "alert" | "critical" => "critical",
        "error" => "error",
        "warning" => "warn",
        "notice" | "informational" => "info",
        _ => "debug",
    }
}
