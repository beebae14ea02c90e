//! The options of each prober, as blackbox_exporter spells them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, de};

use crate::config::http_client::{Authorization, BasicAuth, HttpClientConfig, TlsConfig};
use crate::config::{ByteSize, Problems, Secret, Unsupported};
use crate::text::go_regex::GoRegex;

/// A regex that matches anywhere in its text, compiled.
#[derive(Clone, Debug)]
pub struct Unanchored(pub GoRegex);

impl PartialEq for Unanchored {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl<'de> Deserialize<'de> for Unanchored {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        GoRegex::unanchored(&String::deserialize(d)?).map(Unanchored).map_err(de::Error::custom)
    }
}

/// Which addresses are tried first.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum IpProtocol {
    /// IPv4.
    Ip4,
    /// IPv6, blackbox_exporter's default; IPv4 follows unless `ip_protocol_fallback` is off.
    #[default]
    Ip6,
}

/// A check of one header.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct HeaderMatch {
    /// The header's name, in any case.
    pub header: String,
    /// What a value must match.
    pub regexp: Unanchored,
    /// Whether a header that is not there passes; without it, it fails the probe.
    #[serde(default)]
    pub allow_missing: bool,
}

/// Options of an HTTP probe.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "the names and meanings are those of blackbox_exporter's CONFIGURATION.md, one to one")]
pub struct HttpModule {
    pub valid_status_codes: Vec<u16>,
    pub valid_http_versions: Vec<String>,
    pub preferred_ip_protocol: IpProtocol,
    pub ip_protocol_fallback: bool,
    pub method: String,
    pub headers: BTreeMap<String, String>,
    pub fail_if_ssl: bool,
    pub fail_if_not_ssl: bool,
    pub fail_if_body_matches_regexp: Vec<Unanchored>,
    pub fail_if_body_not_matches_regexp: Vec<Unanchored>,
    pub fail_if_body_json_matches_cel: Unsupported,
    pub fail_if_body_json_not_matches_cel: Unsupported,
    pub fail_if_header_matches: Vec<HeaderMatch>,
    pub fail_if_header_not_matches: Vec<HeaderMatch>,
    pub compression: String,
    pub body: String,
    pub body_file: PathBuf,
    pub body_size_limit: ByteSize,
    pub enable_http2: bool,
    pub enable_http3: Unsupported,
    pub follow_redirects: bool,
    pub no_follow_redirects: bool,
    pub basic_auth: Option<BasicAuth>,
    pub authorization: Option<Authorization>,
    pub bearer_token: Option<Secret>,
    pub bearer_token_file: Option<PathBuf>,
    pub tls_config: TlsConfig,
    pub oauth2: Unsupported,
    pub proxy_url: Unsupported,
    pub no_proxy: Unsupported,
    pub proxy_from_environment: Unsupported,
    pub proxy_connect_header: Unsupported,
    pub skip_resolve_phase_with_proxy: Unsupported,
    pub http_headers: Unsupported,
}

impl Default for HttpModule {
    fn default() -> Self {
        HttpModule {
            // Empty means any 2xx and any version.
            valid_status_codes: Vec::new(),
            valid_http_versions: Vec::new(),
            preferred_ip_protocol: IpProtocol::Ip6,
            ip_protocol_fallback: true,
            method: String::new(),
            headers: BTreeMap::new(),
            fail_if_ssl: false,
            fail_if_not_ssl: false,
            fail_if_body_matches_regexp: Vec::new(),
            fail_if_body_not_matches_regexp: Vec::new(),
            fail_if_body_json_matches_cel: Unsupported,
            fail_if_body_json_not_matches_cel: Unsupported,
            fail_if_header_matches: Vec::new(),
            fail_if_header_not_matches: Vec::new(),
            compression: String::new(),
            body: String::new(),
            body_file: PathBuf::new(),
            // 0 means the prober's own cap.
            body_size_limit: ByteSize(0),
            enable_http2: true,
            enable_http3: Unsupported,
            follow_redirects: true,
            no_follow_redirects: false,
            basic_auth: None,
            authorization: None,
            bearer_token: None,
            bearer_token_file: None,
            tls_config: TlsConfig::default(),
            oauth2: Unsupported,
            proxy_url: Unsupported,
            no_proxy: Unsupported,
            proxy_from_environment: Unsupported,
            proxy_connect_header: Unsupported,
            skip_resolve_phase_with_proxy: Unsupported,
            http_headers: Unsupported,
        }
    }
}

impl HttpModule {
    /// Authentication and TLS, in the form that is shared with scraping.
    pub fn http_client(&self) -> HttpClientConfig {
        HttpClientConfig {
            basic_auth: self.basic_auth.clone(),
            authorization: self.authorization.clone(),
            bearer_token: self.bearer_token.clone(),
            bearer_token_file: self.bearer_token_file.clone(),
            tls_config: Some(self.tls_config.clone()),
            ..HttpClientConfig::default()
        }
    }

    /// Makes the paths of its files relative to `dir`.
    pub fn resolve_paths(&mut self, dir: &Path) {
        if !self.body_file.as_os_str().is_empty() {
            self.body_file = dir.join(&self.body_file);
        }
        let mut http = self.http_client();
        http.resolve_paths(dir);
        self.basic_auth = http.basic_auth;
        self.authorization = http.authorization;
        self.bearer_token_file = http.bearer_token_file;
        self.tls_config = http.tls_config.unwrap_or_default();
    }

    /// Checks what types cannot.
    pub fn validate(&self, path: &str, problems: &mut Problems) {
        self.http_client().validate(path, problems);
        for (i, code) in self.valid_status_codes.iter().enumerate() {
            if !(100..=999).contains(code) {
                problems.add(format!("{path}.valid_status_codes[{i}]"), format!("{code} is not an HTTP status"));
            }
        }
        for (i, version) in self.valid_http_versions.iter().enumerate() {
            if !matches!(version.as_str(), "HTTP/1.0" | "HTTP/1.1" | "HTTP/2.0" | "HTTP/2") {
                problems.add(
                    format!("{path}.valid_http_versions[{i}]"),
                    format!("{version:?} is not one of HTTP/1.0, HTTP/1.1, HTTP/2.0"),
                );
            }
        }
        if hyper::Method::from_bytes(self.method.as_bytes()).is_err() && !self.method.is_empty() {
            problems.add(format!("{path}.method"), format!("{:?} is not an HTTP method", self.method));
        }
        for (name, value) in &self.headers {
            if hyper::header::HeaderName::try_from(name).is_err()
                || hyper::header::HeaderValue::try_from(value).is_err()
            {
                problems.add(
                    format!("{path}.headers"),
                    format!("the header {name:?} has a name or value that cannot be sent"),
                );
            }
        }
        if !matches!(self.compression.as_str(), "" | "gzip" | "deflate" | "identity") {
            let message = match self.compression.as_str() {
                "br" => "br is known but not supported by campanile yet; use gzip".to_owned(),
                other => format!("{other:?} is not one of gzip, deflate, identity"),
            };
            problems.add(format!("{path}.compression"), message);
        }
        let accept = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case("accept-encoding")).map(|(_, v)| v);
        if let Some(accept) = accept
            && !self.compression.is_empty()
            && self.compression != "identity"
            && !accepts(accept, &self.compression)
        {
            problems.add(
                format!("{path}.headers"),
                format!("Accept-Encoding {accept:?} does not allow the compression {:?}", self.compression),
            );
        }
        if !self.body.is_empty() && !self.body_file.as_os_str().is_empty() {
            problems.add(format!("{path}.body_file"), "is given beside body; remove one");
        }
        if self.fail_if_ssl && self.fail_if_not_ssl {
            problems.add(format!("{path}.fail_if_not_ssl"), "together with fail_if_ssl nothing can succeed");
        }
    }
}

/// Whether an Accept-Encoding header allows an encoding (or anything, `*`) with a weight above 0.
fn accepts(header: &str, encoding: &str) -> bool {
    header.split(',').any(|part| {
        let (name, weight) = part.split_once(';').unwrap_or((part, "q=1"));
        let weight = weight.trim().strip_prefix("q=").and_then(|q| q.trim().parse::<f64>().ok()).unwrap_or(1.0);
        weight > 0.0 && matches!(name.trim(), n if n == "*" || n.eq_ignore_ascii_case(encoding))
    })
}

/// One step of a TCP dialogue.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct QueryResponse {
    /// Read lines until one matches.
    pub expect: Option<Unanchored>,
    /// Read until these bytes came.
    pub expect_bytes: String,
    /// Labels of the series `probe_expect_info`, from groups of the regex.
    pub labels: Vec<ExpectLabel>,
    /// Send this line; `${1}` is a group of the regex of this step.
    pub send: String,
    /// Go on with TLS.
    pub starttls: bool,
}

/// A label made of what a step's regex found.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ExpectLabel {
    /// Its name.
    pub name: String,
    /// Its value; `${1}` is a group of the regex.
    pub value: String,
}

/// Options of a TCP probe.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct TcpModule {
    /// Which addresses are tried first.
    pub preferred_ip_protocol: IpProtocol,
    /// Whether the other kind of address will do.
    pub ip_protocol_fallback: bool,
    /// A local address to connect from.
    pub source_ip_address: Unsupported,
    /// The dialogue.
    pub query_response: Vec<QueryResponse>,
    /// Whether the connection begins with TLS.
    pub tls: bool,
    /// How.
    pub tls_config: TlsConfig,
}

impl Default for TcpModule {
    fn default() -> Self {
        TcpModule {
            preferred_ip_protocol: IpProtocol::Ip6,
            ip_protocol_fallback: true,
            source_ip_address: Unsupported,
            query_response: Vec::new(),
            tls: false,
            tls_config: TlsConfig::default(),
        }
    }
}

impl TcpModule {
    /// Checks what types cannot.
    pub fn validate(&self, path: &str, problems: &mut Problems) {
        self.tls_config.validate(&format!("{path}.tls_config"), problems);
        for (i, step) in self.query_response.iter().enumerate() {
            if step.expect.is_some() && !step.expect_bytes.is_empty() {
                problems.add(format!("{path}.query_response[{i}].expect_bytes"), "is given beside expect; remove one");
            }
            for (j, label) in step.labels.iter().enumerate() {
                if !crate::model::labels::is_legacy_label_name(&label.name) {
                    problems.add(format!("{path}.query_response[{i}].labels[{j}].name"), "is not a label name");
                }
            }
        }
    }
}

/// Options of a ping.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct IcmpModule {
    /// Which addresses are tried first.
    pub preferred_ip_protocol: IpProtocol,
    /// Whether the other kind of address will do.
    pub ip_protocol_fallback: bool,
    /// A local address to send from.
    pub source_ip_address: Unsupported,
    /// Bytes of payload; 0 means the prober's own.
    pub payload_size: usize,
    /// Whether routers must not split the packet (IPv4).
    pub dont_fragment: bool,
    /// How many routers it may pass; 0 means the system's number.
    pub ttl: u8,
}

impl Default for IcmpModule {
    fn default() -> Self {
        IcmpModule {
            preferred_ip_protocol: IpProtocol::Ip6,
            ip_protocol_fallback: true,
            source_ip_address: Unsupported,
            payload_size: 0,
            dont_fragment: false,
            ttl: 0,
        }
    }
}

impl IcmpModule {
    /// Checks what types cannot.
    pub fn validate(&self, path: &str, problems: &mut Problems) {
        // The largest IPv4 packet less both headers.
        if self.payload_size > 65_507 {
            problems.add(format!("{path}.payload_size"), "is larger than 65507, the most a packet can hold");
        }
    }
}

/// Which records of one section of an answer fail the probe.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct RecordChecks {
    /// Fails if one matches.
    pub fail_if_matches_regexp: Vec<Unanchored>,
    /// Fails if all match.
    pub fail_if_all_match_regexp: Vec<Unanchored>,
    /// Fails if one does not match.
    pub fail_if_not_matches_regexp: Vec<Unanchored>,
    /// Fails if none matches.
    pub fail_if_none_matches_regexp: Vec<Unanchored>,
}

/// How DNS is carried.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum DnsTransport {
    /// Datagrams.
    #[default]
    Udp,
    /// A connection.
    Tcp,
}

/// Options of a DNS probe.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "the names and meanings are those of blackbox_exporter's CONFIGURATION.md, one to one")]
pub struct DnsModule {
    pub preferred_ip_protocol: IpProtocol,
    pub ip_protocol_fallback: bool,
    pub source_ip_address: Unsupported,
    pub transport_protocol: DnsTransport,
    pub dns_over_tls: bool,
    pub tls_config: TlsConfig,
    pub query_name: String,
    pub query_type: String,
    pub query_class: String,
    pub recursion_desired: bool,
    pub valid_rcodes: Vec<String>,
    pub validate_answer_rrs: RecordChecks,
    pub validate_authority_rrs: RecordChecks,
    pub validate_additional_rrs: RecordChecks,
}

impl Default for DnsModule {
    fn default() -> Self {
        DnsModule {
            preferred_ip_protocol: IpProtocol::Ip6,
            ip_protocol_fallback: true,
            source_ip_address: Unsupported,
            transport_protocol: DnsTransport::Udp,
            dns_over_tls: false,
            tls_config: TlsConfig::default(),
            query_name: String::new(),
            query_type: "ANY".to_owned(),
            query_class: "IN".to_owned(),
            recursion_desired: true,
            // Empty means NOERROR.
            valid_rcodes: Vec::new(),
            validate_answer_rrs: RecordChecks::default(),
            validate_authority_rrs: RecordChecks::default(),
            validate_additional_rrs: RecordChecks::default(),
        }
    }
}

impl DnsModule {
    /// Checks what types cannot.
    pub fn validate(&self, path: &str, problems: &mut Problems) {
        self.tls_config.validate(&format!("{path}.tls_config"), problems);
        if self.query_name.is_empty() {
            problems.add(path, "a dns probe needs a query_name");
        }
        if self.dns_over_tls && self.transport_protocol == DnsTransport::Udp {
            problems.add(format!("{path}.dns_over_tls"), "needs transport_protocol: tcp");
        }
        if crate::config::dns_names::record_type(&self.query_type).is_none() {
            problems.add(format!("{path}.query_type"), format!("{:?} is not a DNS record type", self.query_type));
        }
        if crate::config::dns_names::class(&self.query_class).is_none() {
            problems.add(format!("{path}.query_class"), format!("{:?} is not a DNS class", self.query_class));
        }
        for (i, code) in self.valid_rcodes.iter().enumerate() {
            if crate::config::dns_names::rcode(code).is_none() {
                problems.add(format!("{path}.valid_rcodes[{i}]"), format!("{code:?} is not a DNS response code"));
            }
        }
    }
}
