//! What a run gave: gauges under blackbox_exporter's names, and details for the log line.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::model::sample::write_value;
use crate::probe::Failure;

/// One value of one gauge.
#[derive(Clone, Debug, PartialEq)]
pub struct Gauge {
    /// The metric's name.
    pub name: &'static str,
    /// Its labels, without those of the target.
    pub labels: Vec<(String, String)>,
    /// Its value.
    pub value: f64,
}

/// Collects what a run finds while it goes on; what is there when time runs out is what is reported.
#[derive(Debug, Default)]
pub struct Recorder {
    gauges: Vec<Gauge>,
    details: Map<String, Value>,
    step: &'static str,
}

/// The end of a run.
#[derive(Clone, Debug)]
pub struct ProbeResult {
    /// Whether everything asked for held.
    pub success: bool,
    /// Why not.
    pub failure: Option<String>,
    /// How long it took.
    pub duration: Duration,
    /// What was measured, `probe_success` and `probe_duration_seconds` included, sorted by name.
    pub gauges: Vec<Gauge>,
    /// What was seen: address, status, certificate, start of the body.
    pub details: Map<String, Value>,
}

impl Recorder {
    /// An empty one.
    pub fn new() -> Self {
        Recorder { step: "starting", ..Recorder::default() }
    }

    /// Sets a gauge without labels.
    pub fn set(&mut self, name: &'static str, value: f64) {
        self.set_with(name, &[], value);
    }

    /// Sets a gauge; the same name and labels again replace the value.
    pub fn set_with(&mut self, name: &'static str, labels: &[(&str, &str)], value: f64) {
        let same = |g: &&mut Gauge| {
            g.name == name
                && g.labels.len() == labels.len()
                && g.labels.iter().zip(labels).all(|(a, b)| (a.0.as_str(), a.1.as_str()) == *b)
        };
        match self.gauges.iter_mut().find(same) {
            Some(g) => g.value = value,
            None => {
                let labels = labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
                self.gauges.push(Gauge { name, labels, value });
            }
        }
    }

    /// The value of a gauge without labels.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.gauges.iter().find(|g| g.name == name && g.labels.is_empty()).map(|g| g.value)
    }

    /// Notes something for the log line; null forgets it.
    pub fn note(&mut self, key: &str, value: impl Into<Value>) {
        match value.into() {
            Value::Null => drop(self.details.remove(key)),
            value => drop(self.details.insert(key.to_owned(), value)),
        }
    }

    /// Says what is being done now ("connecting"), for the message when time runs out.
    pub fn now(&mut self, step: &'static str) {
        self.step = step;
    }

    /// What was being done last.
    pub fn step(&self) -> &'static str {
        self.step
    }

    /// Ends the run.
    pub fn finish(mut self, outcome: Result<(), Failure>, duration: Duration) -> ProbeResult {
        let success = outcome.is_ok();
        self.set("probe_success", if success { 1.0 } else { 0.0 });
        self.set("probe_duration_seconds", duration.as_secs_f64());
        self.gauges.sort_by(|a, b| (a.name, &a.labels).cmp(&(b.name, &b.labels)));
        ProbeResult {
            success,
            failure: outcome.err().map(|f| f.0),
            duration,
            gauges: self.gauges,
            details: self.details,
        }
    }
}

impl ProbeResult {
    /// The gauges in the Prometheus text format 0.0.4, as `/probe` answers.
    pub fn render(&self) -> String {
        let mut out = String::with_capacity(2048);
        let mut last = "";
        for g in &self.gauges {
            if g.name != last {
                last = g.name;
                // Writing to a String cannot fail.
                let _ok = write!(out, "# HELP {last} {}\n# TYPE {last} gauge\n", help(last));
            }
            out.push_str(g.name);
            for (i, (n, v)) in g.labels.iter().enumerate() {
                out.push(if i == 0 { '{' } else { ',' });
                out.push_str(n);
                out.push_str("=\"");
                for c in v.chars() {
                    match c {
                        '\\' => out.push_str("\\\\"),
                        '"' => out.push_str("\\\""),
                        '\n' => out.push_str("\\n"),
                        c => out.push(c),
                    }
                }
                out.push('"');
            }
            if !g.labels.is_empty() {
                out.push('}');
            }
            out.push(' ');
            write_value(&mut out, g.value);
            out.push('\n');
        }
        out
    }
}

/// A sentence about each gauge.
pub fn help(name: &str) -> &'static str {
    match name {
        "probe_success" => "Whether everything the probe asked for held.",
        "probe_duration_seconds" => "How long the whole probe took.",
        "probe_timeout_seconds" => "How long the probe was allowed to take.",
        "probe_dns_lookup_time_seconds" => "How long it took to find the target's address.",
        "probe_ip_protocol" => "The IP version that was used, 4 or 6.",
        "probe_ip_addr_hash" => "FNV-1a hash of the address that was used; tells when it changed.",
        "probe_failed_due_to_regex" => "Whether a regex made the probe fail.",
        "probe_failed_due_to_bytes" => "Whether bytes that did not come made the probe fail.",
        "probe_http_status_code" => "The status of the last answer.",
        "probe_http_duration_seconds" => "Time spent in each phase, summed over redirects.",
        "probe_http_version" => "The HTTP version of the answer.",
        "probe_http_content_length" => "The length of the body as the answer's header says, -1 if it does not.",
        "probe_http_uncompressed_body_length" => "The length of the body after decompression.",
        "probe_http_redirects" => "The number of redirects.",
        "probe_http_ssl" => "Whether the last answer came over TLS.",
        "probe_http_last_modified_timestamp_seconds" => "The answer's Last-Modified header as Unix time.",
        "probe_ssl_earliest_cert_expiry" => "When the first of the certificates shown expires, as Unix time.",
        "probe_ssl_last_chain_expiry_timestamp_seconds" => "When the chain that was verified expires, as Unix time.",
        "probe_ssl_last_chain_info" => "The server's certificate.",
        "probe_tls_version_info" => "The TLS version that was agreed on.",
        "probe_tls_cipher_info" => "The TLS cipher that was agreed on.",
        "probe_expect_info" => "What a step of the dialogue found.",
        "probe_icmp_duration_seconds" => "Time spent in each phase of the ping.",
        "probe_icmp_reply_hop_limit" => "The hop limit (TTL) of the reply.",
        "probe_dns_duration_seconds" => "Time spent in each phase of the query.",
        "probe_dns_query_succeeded" => "Whether there was an answer.",
        "probe_dns_answer_rrs" => "The number of records in the answer section.",
        "probe_dns_authority_rrs" => "The number of records in the authority section.",
        "probe_dns_additional_rrs" => "The number of records in the additional section.",
        "probe_dns_serial" => "The serial number of the zone.",
        _ => "A measurement of a probe.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_in_order_with_escapes() {
        let mut r = Recorder::new();
        r.set("probe_ip_protocol", 4.0);
        r.set("probe_ip_protocol", 6.0);
        r.set_with("probe_expect_info", &[("a", "x\"\\\n")], 1.0);
        let text = r.finish(Err(Failure::new("no")), Duration::from_millis(1500)).render();
        let lines: Vec<_> = text.lines().filter(|l| !l.starts_with('#')).collect();
        assert_eq!(
            lines,
            [
                "probe_duration_seconds 1.5",
                "probe_expect_info{a=\"x\\\"\\\\\\n\"} 1",
                "probe_ip_protocol 6",
                "probe_success 0"
            ]
        );
    }
}
