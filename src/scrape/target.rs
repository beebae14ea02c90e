//! From a discovered label set to something that can be scraped.

use std::collections::{BTreeMap, HashMap};

use crate::config::relabel::Relabel;
use crate::config::scrape::ScrapeJob;
use crate::discovery::TargetGroup;
use crate::model::{Labels, LabelsBuilder};
use crate::text::duration::{DurationError, format_ms, parse_ms};

const ADDRESS: &str = "__address__";
const SCHEME: &str = "__scheme__";
const METRICS_PATH: &str = "__metrics_path__";
const INTERVAL: &str = "__scrape_interval__";
const TIMEOUT: &str = "__scrape_timeout__";
const PARAM_PREFIX: &str = "__param_";
const META_PREFIX: &str = "__meta_";
/// Labels that start so are gone once the target is made.
const INTERNAL_PREFIX: &str = "__";
const JOB: &str = "job";
const INSTANCE: &str = "instance";

/// Why a discovered target cannot be scraped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Nothing to connect to.
    #[error("no address")]
    NoAddress,
    /// A URL or path where a host belongs.
    #[error("{0:?} is not a valid hostname")]
    Address(String),
    /// An interval or timeout that is no duration.
    #[error("error parsing scrape {what}: {source}")]
    Duration {
        /// `interval` or `timeout`.
        what: &'static str,
        /// Why.
        source: DurationError,
    },
    /// An interval or timeout of zero.
    #[error("scrape {0} cannot be 0")]
    Zero(&'static str),
    /// A scrape that would run into the next one.
    #[error("scrape timeout cannot be greater than scrape interval ({timeout:?} > {interval:?})")]
    TimeoutOverInterval {
        /// The timeout.
        timeout: String,
        /// The interval.
        interval: String,
    },
    /// A label name outside the configured character set.
    #[error("{0:?} is not a valid label name")]
    LabelName(String),
}

/// A target that can be scraped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its labels before relabelling.
    pub discovered: Labels,
    /// The labels its samples get.
    pub labels: Labels,
    /// Where it is fetched.
    pub url: String,
    /// How often, in milliseconds.
    pub interval_ms: i64,
    /// How long one scrape may take, in milliseconds.
    pub timeout_ms: i64,
}

impl Target {
    /// What makes it the same target after a reload: labels and URL.
    pub fn key(&self) -> TargetKey {
        TargetKey { labels: self.labels.clone(), url: self.url.clone() }
    }

    /// The interval as people write it.
    pub fn interval_text(&self) -> String {
        format_ms(self.interval_ms)
    }

    /// The timeout as people write it.
    pub fn timeout_text(&self) -> String {
        format_ms(self.timeout_ms)
    }

    /// When in its interval the target is scraped, in milliseconds: spread by hash, the same after every restart.
    pub fn offset_ms(&self) -> i64 {
        let hash = xxhash_rust::xxh3::xxh3_64_with_seed(self.url.as_bytes(), self.labels.hash64());
        i64::try_from(hash % self.interval_ms.max(1).unsigned_abs()).unwrap_or(0)
    }
}

/// See [`Target::key`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetKey {
    labels: Labels,
    url: String,
}

/// What a job's target groups come to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Populated {
    /// Targets to scrape; equal ones once, the one found last counts.
    pub active: Vec<Target>,
    /// Labels of those that relabelling dropped.
    pub dropped: Vec<Labels>,
    /// Those that cannot be scraped, and why.
    pub refused: Vec<(Labels, TargetError)>,
}

/// Makes the targets of a job. `rules` are the job's compiled `relabel_configs`.
pub fn populate(job: &ScrapeJob, rules: &[Relabel], groups: &[TargetGroup]) -> Populated {
    let mut out = Populated::default();
    let mut index: HashMap<TargetKey, usize> = HashMap::new();
    for group in groups {
        for target in &group.targets {
            let mut labels = LabelsBuilder::new();
            for (n, v) in group.labels.iter().chain(target) {
                labels.set(n, v.as_str());
            }
            let discovered = discovered_labels(job, &mut labels);
            match make(job, rules, labels, &discovered) {
                Ok(Some(t)) => match index.get(&t.key()).and_then(|i| out.active.get_mut(*i)) {
                    Some(same) => *same = t,
                    None => {
                        index.insert(t.key(), out.active.len());
                        out.active.push(t);
                    }
                },
                Ok(None) => out.dropped.push(discovered),
                Err(e) => out.refused.push((discovered, e)),
            }
        }
    }
    out
}

/// Fills in what the job says where discovery said nothing.
fn discovered_labels(job: &ScrapeJob, labels: &mut LabelsBuilder) -> Labels {
    let mut fallback = |name: &str, value: &str| {
        if labels.get(name).is_empty() {
            labels.set(name, value);
        }
    };
    fallback(JOB, &job.job_name);
    fallback(INTERVAL, &job.interval.to_string());
    fallback(TIMEOUT, &job.timeout.to_string());
    fallback(METRICS_PATH, &job.metrics_path);
    fallback(SCHEME, &job.scheme);
    for (name, values) in &job.params {
        if let Some(first) = values.first() {
            fallback(&format!("{PARAM_PREFIX}{name}"), first);
        }
    }
    labels.build()
}

fn make(
    job: &ScrapeJob,
    rules: &[Relabel],
    mut labels: LabelsBuilder,
    discovered: &Labels,
) -> Result<Option<Target>, TargetError> {
    if !Relabel::apply_all(rules, &mut labels) {
        return Ok(None);
    }
    let address = labels.get(ADDRESS).to_owned();
    if address.is_empty() {
        return Err(TargetError::NoAddress);
    }
    if address.contains('/') {
        return Err(TargetError::Address(address));
    }
    let duration = |name, what| match parse_ms(labels.get(name)) {
        Ok(0) => Err(TargetError::Zero(what)),
        Ok(ms) => Ok(ms),
        Err(source) => Err(TargetError::Duration { what, source }),
    };
    let interval_ms = duration(INTERVAL, "interval")?;
    let timeout_ms = duration(TIMEOUT, "timeout")?;
    if timeout_ms > interval_ms {
        return Err(TargetError::TimeoutOverInterval {
            timeout: labels.get(TIMEOUT).to_owned(),
            interval: labels.get(INTERVAL).to_owned(),
        });
    }
    if labels.get(INSTANCE).is_empty() {
        labels.set(INSTANCE, address.as_str());
    }
    labels.retain(|n, _| !n.starts_with(META_PREFIX));
    if let Some((bad, _)) = labels.iter().find(|(n, _)| !job.names.is_label_name(n)) {
        return Err(TargetError::LabelName(bad.to_owned()));
    }
    let url = url(job, &labels, &address);
    labels.retain(|n, _| !n.starts_with(INTERNAL_PREFIX));
    Ok(Some(Target { discovered: discovered.clone(), labels: labels.build(), url, interval_ms, timeout_ms }))
}

/// The URL as Go's `url.URL` would write it: path escaped, parameters sorted by name. A `__param_` label replaces the first value only.
fn url(job: &ScrapeJob, labels: &LabelsBuilder, address: &str) -> String {
    let mut params: BTreeMap<&str, Vec<&str>> =
        job.params.iter().map(|(k, v)| (k.as_str(), v.iter().map(String::as_str).collect())).collect();
    for (name, value) in labels.iter() {
        if let Some(name) = name.strip_prefix(PARAM_PREFIX) {
            let values = params.entry(name).or_default();
            match values.first_mut() {
                Some(first) => *first = value,
                None => values.push(value),
            }
        }
    }
    let mut out = format!("{}://{address}", labels.get(SCHEME));
    let path = labels.get(METRICS_PATH);
    if !path.is_empty() && !path.starts_with('/') {
        out.push('/');
    }
    escape(&mut out, path, b"-_.~$&+,/:;=@");
    let mut separator = '?';
    for (name, value) in params.iter().flat_map(|(n, vs)| vs.iter().map(move |v| (n, v))) {
        out.push(separator);
        escape_form(&mut out, name);
        out.push('=');
        escape_form(&mut out, value);
        separator = '&';
    }
    out
}

fn escape(out: &mut String, text: &str, plain: &[u8]) {
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || plain.contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
}

fn escape_form(out: &mut String, text: &str) {
    for (i, part) in text.split(' ').enumerate() {
        if i > 0 {
            out.push('+');
        }
        escape(out, part, b"-_.~");
    }
}
