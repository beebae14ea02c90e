//! `probes:` — campanile's own short list — and `probe_modules:`, the `modules` of a blackbox.yml.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Deserializer, de};

use crate::config::probe_module::{DnsModule, HttpModule, IcmpModule, TcpModule};
use crate::config::{ConfigDuration, Problems, Unsupported};
use crate::model::LabelsBuilder;
use crate::model::labels::is_legacy_label_name;

/// What a probe speaks.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "lowercase")]
pub enum ProbeKind {
    /// An HTTP request.
    #[default]
    Http,
    /// A TCP connection, with or without a dialogue.
    Tcp,
    /// A ping.
    Icmp,
    /// A DNS query.
    Dns,
}

impl ProbeKind {
    /// The word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            ProbeKind::Http => "http",
            ProbeKind::Tcp => "tcp",
            ProbeKind::Icmp => "icmp",
            ProbeKind::Dns => "dns",
        }
    }
}

/// One probe of `probes:`: what is asked of which target, how often.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Probe {
    /// Its name, which becomes the label `job`.
    pub name: String,
    /// One target: an address with scheme for HTTP, `host:port` for TCP, a host for ICMP, a server for DNS.
    pub target: String,
    /// Several targets that are asked alike.
    pub targets: Vec<String>,
    /// What is spoken; nothing means what the target or the module says.
    pub kind: Option<ProbeKind>,
    /// A module of `probe_modules` or one of the built-in ones, instead of options given here.
    pub module: Option<String>,
    /// How often; nothing means once a minute.
    pub every: Option<ConfigDuration>,
    /// How long one run may take; nothing means the module's timeout, else 10 s, at most `every`.
    pub timeout: Option<ConfigDuration>,
    /// Labels of all series and log lines of this probe, beside `job` and `instance`.
    pub labels: BTreeMap<String, String>,
    /// Options of an HTTP probe.
    pub http: Option<HttpModule>,
    /// Options of a TCP probe.
    pub tcp: Option<TcpModule>,
    /// Options of a ping.
    pub icmp: Option<IcmpModule>,
    /// Options of a DNS probe.
    pub dns: Option<DnsModule>,
}

/// How a module of blackbox.yml names its prober.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prober(pub ProbeKind);

impl<'de> Deserialize<'de> for Prober {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        match text.as_str() {
            "http" => Ok(Prober(ProbeKind::Http)),
            "tcp" => Ok(Prober(ProbeKind::Tcp)),
            "icmp" => Ok(Prober(ProbeKind::Icmp)),
            "dns" => Ok(Prober(ProbeKind::Dns)),
            "grpc" | "unix" => {
                Err(de::Error::custom(format!("the prober {text} is known but not supported by campanile yet")))
            }
            _ => Err(de::Error::custom(format!("{text:?} is not a prober; write http, tcp, icmp or dns"))),
        }
    }
}

/// A module: how to ask, without whom. The schema of blackbox_exporter's `modules`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ProbeModule {
    /// What is spoken.
    pub prober: Prober,
    /// How long one run may take; 0 means as long as the caller gives.
    #[serde(default)]
    pub timeout: ConfigDuration,
    /// Options where the prober is HTTP.
    #[serde(default)]
    pub http: HttpModule,
    /// Options where the prober is TCP.
    #[serde(default)]
    pub tcp: TcpModule,
    /// Options where the prober is ICMP.
    #[serde(default)]
    pub icmp: IcmpModule,
    /// Options where the prober is DNS.
    #[serde(default)]
    pub dns: DnsModule,
    /// blackbox_exporter's gRPC options.
    #[serde(default)]
    pub grpc: Unsupported,
    /// blackbox_exporter's options for unix sockets.
    #[serde(default)]
    pub unix: Unsupported,
}

impl ProbeModule {
    /// A module of this kind with all options at their defaults.
    pub fn of(kind: ProbeKind) -> Self {
        ProbeModule {
            prober: Prober(kind),
            timeout: ConfigDuration::default(),
            http: HttpModule::default(),
            tcp: TcpModule::default(),
            icmp: IcmpModule::default(),
            dns: DnsModule::default(),
            grpc: Unsupported,
            unix: Unsupported,
        }
    }

    /// The built-in modules, named as in blackbox_exporter's example: `http_2xx`, `http_post_2xx`, `tcp_connect`, `icmp`.
    pub fn built_in(name: &str) -> Option<Self> {
        match name {
            "http_2xx" => Some(Self::of(ProbeKind::Http)),
            "http_post_2xx" => {
                let mut m = Self::of(ProbeKind::Http);
                m.http.method = "POST".to_owned();
                Some(m)
            }
            "tcp_connect" => Some(Self::of(ProbeKind::Tcp)),
            "icmp" => Some(Self::of(ProbeKind::Icmp)),
            _ => None,
        }
    }

    /// Makes the paths of its files relative to `dir`.
    pub fn resolve_paths(&mut self, dir: &Path) {
        self.http.resolve_paths(dir);
        self.tcp.tls_config.resolve_paths(dir);
        self.dns.tls_config.resolve_paths(dir);
    }

    /// Checks what types cannot.
    pub fn validate(&self, path: &str, problems: &mut Problems) {
        match self.prober.0 {
            ProbeKind::Http => self.http.validate(&format!("{path}.http"), problems),
            ProbeKind::Tcp => self.tcp.validate(&format!("{path}.tcp"), problems),
            ProbeKind::Icmp => self.icmp.validate(&format!("{path}.icmp"), problems),
            ProbeKind::Dns => self.dns.validate(&format!("{path}.dns"), problems),
        }
    }
}

/// How often a probe runs where it does not say: often enough for an alert within minutes, rare enough to be no load.
const DEFAULT_EVERY: ConfigDuration = ConfigDuration::from_secs(60);
/// How long a run may take where nobody says, as Prometheus' default scrape timeout.
const DEFAULT_TIMEOUT: ConfigDuration = ConfigDuration::from_secs(10);
/// Labels a probe sets itself.
const OWN_LABELS: [&str; 3] = ["__name__", "job", "instance"];

impl Probe {
    /// All its targets.
    pub fn all_targets(&self) -> impl Iterator<Item = &str> {
        let one = Some(self.target.as_str()).filter(|t| !t.is_empty());
        one.into_iter().chain(self.targets.iter().map(String::as_str))
    }

    /// How often it runs.
    pub fn every(&self) -> ConfigDuration {
        self.every.unwrap_or(DEFAULT_EVERY)
    }

    /// The module that it runs and its timeout, or why there is none.
    pub fn module(&self, modules: &BTreeMap<String, ProbeModule>) -> Result<ProbeModule, String> {
        let mut module = match &self.module {
            Some(name) => modules.get(name).cloned().or_else(|| ProbeModule::built_in(name)).ok_or_else(|| {
                let mut known: Vec<&str> = modules.keys().map(String::as_str).collect();
                known.extend(["http_2xx", "http_post_2xx", "tcp_connect", "icmp"]);
                format!("there is no module {name:?}; there are {}", known.join(", "))
            })?,
            None => ProbeModule::of(self.effective_kind()),
        };
        if let Some(o) = &self.http {
            module.http = o.clone();
        }
        if let Some(o) = &self.tcp {
            module.tcp = o.clone();
        }
        if let Some(o) = &self.icmp {
            module.icmp = o.clone();
        }
        if let Some(o) = &self.dns {
            module.dns = o.clone();
        }
        let own = Some(module.timeout).filter(|t| t.as_ms() > 0);
        module.timeout = self.timeout.or(own).unwrap_or(DEFAULT_TIMEOUT).min(self.every());
        Ok(module)
    }

    /// The kind given, else what the options are for, else HTTP for an address with a scheme, TCP for one with a port,
    /// ICMP for a bare host.
    fn effective_kind(&self) -> ProbeKind {
        let target = self.all_targets().next().unwrap_or("");
        match self.kind {
            Some(kind) => kind,
            None if self.http.is_some() => ProbeKind::Http,
            None if self.tcp.is_some() => ProbeKind::Tcp,
            None if self.icmp.is_some() => ProbeKind::Icmp,
            None if self.dns.is_some() => ProbeKind::Dns,
            None if target.contains("://") => ProbeKind::Http,
            None if target.rsplit_once(':').is_some_and(|(_, p)| p.parse::<u16>().is_ok()) => ProbeKind::Tcp,
            None => ProbeKind::Icmp,
        }
    }

    /// The labels of one target's series: `job` (the probe's name, `probes` without one), `instance` and its own.
    pub fn labels_of(&self, target: &str) -> LabelsBuilder {
        let mut b = LabelsBuilder::new();
        for (name, value) in &self.labels {
            b.set(name, value.as_str());
        }
        b.set("job", if self.name.is_empty() { "probes" } else { &self.name }).set("instance", target);
        b
    }

    /// Makes the paths of its files relative to `dir`.
    pub fn resolve_paths(&mut self, dir: &Path) {
        if let Some(http) = &mut self.http {
            http.resolve_paths(dir);
        }
        let tcp = self.tcp.as_mut().map(|o| &mut o.tls_config);
        let dns = self.dns.as_mut().map(|o| &mut o.tls_config);
        for tls in tcp.into_iter().chain(dns) {
            tls.resolve_paths(dir);
        }
    }

    /// Checks what types cannot.
    pub fn validate(&self, path: &str, modules: &BTreeMap<String, ProbeModule>, problems: &mut Problems) {
        if self.all_targets().next().is_none() {
            problems.add(path, "a probe needs a target (or targets)");
        }
        let every = self.every();
        if every.as_ms() < 1000 {
            problems.add(format!("{path}.every"), "is shorter than 1s; raise it");
        }
        match self.timeout {
            Some(t) if t.as_ms() == 0 => problems.add(format!("{path}.timeout"), "must be above 0"),
            Some(t) if t > every => problems.add(
                format!("{path}.timeout"),
                format!("({t}) is longer than every ({every}); lower it or raise every"),
            ),
            Some(_) | None => {}
        }
        for name in self.labels.keys() {
            if !is_legacy_label_name(name) || OWN_LABELS.contains(&name.as_str()) {
                let what =
                    if is_legacy_label_name(name) { "is set by the probe itself" } else { "is not a label name" };
                problems.add(format!("{path}.labels.{name}"), what);
            }
        }
        let given = [
            (ProbeKind::Http, self.http.is_some()),
            (ProbeKind::Tcp, self.tcp.is_some()),
            (ProbeKind::Icmp, self.icmp.is_some()),
            (ProbeKind::Dns, self.dns.is_some()),
        ];
        let kind = match &self.module {
            None => self.effective_kind(),
            Some(name) => match self.module(modules) {
                Err(e) => {
                    problems.add(format!("{path}.module"), e);
                    return;
                }
                Ok(m) => {
                    let is = m.prober.0;
                    if let Some(asked) = self.kind.filter(|k| *k != is) {
                        let message = format!(
                            "is {} but the module {name:?} is for {}; leave kind out",
                            asked.as_str(),
                            is.as_str()
                        );
                        problems.add(format!("{path}.kind"), message);
                    }
                    is
                }
            },
        };
        for (of, _) in given.into_iter().filter(|(of, set)| *set && *of != kind) {
            problems.add(
                format!("{path}.{}", of.as_str()),
                format!("has no effect, because this is a probe of kind {}", kind.as_str()),
            );
        }
        // Options given here are checked here; those of a named module where it stands.
        let own_options = given.iter().any(|(of, set)| *set && *of == kind);
        if let (true, Ok(module)) = (own_options || self.module.is_none(), self.module(modules)) {
            module.validate(path, problems);
        }
        for target in self.all_targets() {
            if let Err(e) = check_target(kind, target) {
                let key = if self.target == target { "target" } else { "targets" };
                problems.add(format!("{path}.{key}"), e);
            }
        }
    }
}

/// Whether a target can be one of this kind.
fn check_target(kind: ProbeKind, target: &str) -> Result<(), String> {
    match kind {
        ProbeKind::Http => {
            let with_scheme = if target.contains("://") { target.to_owned() } else { format!("http://{target}") };
            match reqwest::Url::parse(&with_scheme) {
                Ok(u) if matches!(u.scheme(), "http" | "https") && u.has_host() => Ok(()),
                Ok(u) => Err(format!("has the scheme {:?}; an http probe takes http:// or https://", u.scheme())),
                Err(e) => Err(format!("is not an address: {e}")),
            }
        }
        ProbeKind::Tcp => match target.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() && !target.contains("://") => Ok(()),
            Some(_) | None => Err(format!("{target:?} is not host:port, which a tcp probe needs")),
        },
        ProbeKind::Icmp if target.contains("://") => Err(format!("{target:?} is not a host, which a ping needs")),
        ProbeKind::Icmp | ProbeKind::Dns => Ok(()),
    }
}
