//! Bodies of targets: what a parser yields for them (level `parse` of the area `exposition`).

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a broken case file must end the test")]

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use campanile::config::global::GlobalConfig;
use campanile::config::scrape::{ScrapeConfig, ScrapeJob};
use campanile::model::labels::METRIC_NAME;
use campanile::model::sample::format_value;
use campanile::model::{Labels, Metadata};
use campanile::wire::exposition::protobuf::DecodedBody;
use campanile::wire::exposition::{Entry, Format, Parser, format_of, labels};
use serde::Deserialize;
use serde_json::Value;

use crate::report::AreaReport;

/// How many cases of level `parse` fail. `ct-12` (protobuf) is an error here too, as expected.
pub const KNOWN_FAILURES: usize = 0;

#[derive(Deserialize)]
pub struct Cases {
    pub cases: Vec<Case>,
}

#[derive(Clone, Deserialize)]
pub struct Case {
    pub id: String,
    pub level: String,
    pub content_type: Option<String>,
    pub input: Option<String>,
    pub input_b64: Option<String>,
    pub generate: Option<Generate>,
    pub scrape_config: Option<Value>,
    #[serde(default)]
    pub server: Server,
    pub expect: Expect,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct Server {
    pub status: Option<u16>,
    pub headers: BTreeMap<String, String>,
    pub gzip: Value,
    pub redirect: Value,
    pub delay: f64,
    pub close: bool,
    pub refused: bool,
    pub chunked: bool,
}

#[derive(Clone, Deserialize)]
pub struct Generate {
    pub prefix: String,
    pub line: String,
    pub count: usize,
    pub suffix: String,
}

#[derive(Clone, Deserialize)]
pub struct Expect {
    pub error: Option<String>,
    pub up: f64,
    pub scrape_samples_scraped: f64,
    pub scrape_samples_post_metric_relabeling: f64,
    pub samples: Option<Vec<Sample>>,
    pub exemplars: Option<Vec<Value>>,
    pub metadata: Option<Vec<MetadataEntry>>,
    pub sample_count: Option<usize>,
    pub sum_of_values: Option<f64>,
    pub exemplar_count: Option<usize>,
    pub metadata_count: Option<usize>,
    pub first_samples: Option<Vec<Sample>>,
    pub last_samples: Option<Vec<Sample>>,
    pub request: Option<Value>,
}

#[derive(Clone, Debug, PartialEq, PartialOrd, Deserialize)]
pub struct Exemplar {
    pub labels: BTreeMap<String, String>,
    pub value: String,
    pub timestamp_ms: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, PartialOrd, Deserialize)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: String,
    pub timestamp_ms: Option<i64>,
    pub exemplar: Option<Exemplar>,
}

#[derive(Clone, Debug, PartialEq, PartialOrd, Deserialize)]
pub struct MetadataEntry {
    pub metric: String,
    #[serde(rename = "type")]
    pub metric_type: String,
    pub help: String,
    pub unit: String,
}

pub fn read_cases(folder: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(folder.join("cases.json")).expect("cases.json");
    serde_json::from_str::<Cases>(&text).expect("cases.json is well formed").cases
}

impl Case {
    pub fn body(&self) -> Vec<u8> {
        match (&self.input, &self.input_b64, &self.generate) {
            (Some(text), _, _) => text.clone().into_bytes(),
            (_, Some(b64), _) => base64::engine::general_purpose::STANDARD.decode(b64).expect("base64"),
            (_, _, Some(g)) => {
                let lines = (0..g.count).map(|i| g.line.replace("%d", &i.to_string()));
                std::iter::once(g.prefix.clone())
                    .chain(lines)
                    .chain(std::iter::once(g.suffix.clone()))
                    .collect::<String>()
                    .into_bytes()
            }
            _ => Vec::new(),
        }
    }

    pub fn config(&self) -> ScrapeConfig {
        let mut value = self.scrape_config.clone().unwrap_or_else(|| serde_json::json!({}));
        value["job_name"] = Value::from(self.id.as_str());
        if value.get("honor_labels").is_none() {
            value["honor_labels"] = Value::from(true);
        }
        serde_json::from_value(value).expect("scrape_config is known")
    }
}

pub fn replay(folder: &Path) -> AreaReport {
    let mut report = AreaReport::default();
    for case in read_cases(folder).iter().filter(|c| c.level == "parse") {
        report.count(&case.id, check(case));
    }
    report
}

#[derive(Default)]
struct Parsed {
    samples: Vec<Sample>,
    metadata: BTreeMap<String, Metadata>,
}

impl Parsed {
    fn family(&mut self, name: &[u8]) -> &mut Metadata {
        self.metadata.entry(String::from_utf8_lossy(name).into_owned()).or_default()
    }
}

fn check(case: &Case) -> Result<(), String> {
    let job = case.config().job(&GlobalConfig::default());
    let body = case.body();
    let parsed = match (parse(case, &body, &job), &case.expect.error) {
        (Err(_), Some(_)) => return Ok(()),
        (Err(e), None) => return Err(format!("refused: {e}")),
        (Ok(p), Some(want)) => return Err(format!("accepted {} samples, must be refused: {want}", p.samples.len())),
        (Ok(p), None) => p,
    };
    let mut samples = parsed.samples;
    if let Some(want) = &case.expect.samples {
        compare("samples", &mut samples, &mut trimmed(want))?;
    }
    let exemplars = samples.iter().filter(|s| s.exemplar.is_some()).count();
    let want_exemplars = case.expect.exemplar_count.or(case.expect.exemplars.as_ref().map(Vec::len));
    if want_exemplars.is_some_and(|n| n != exemplars) {
        return Err(format!("{exemplars} exemplars, want {want_exemplars:?}"));
    }
    if let Some(want) = &case.expect.metadata {
        let mut got: Vec<_> = parsed
            .metadata
            .iter()
            .map(|(metric, m)| MetadataEntry {
                metric: metric.clone(),
                metric_type: m.metric_type.as_str().to_owned(),
                help: m.help.clone(),
                unit: m.unit.clone(),
            })
            .collect();
        compare("metadata", &mut got, &mut want.clone())?;
    }
    check_large(case, &samples, parsed.metadata.len())
}

fn check_large(case: &Case, samples: &[Sample], families: usize) -> Result<(), String> {
    let e = &case.expect;
    if e.sample_count.is_some_and(|n| n != samples.len()) {
        return Err(format!("{} samples, want {:?}", samples.len(), e.sample_count));
    }
    if e.metadata_count.is_some_and(|n| n != families) {
        return Err(format!("{families} families, want {:?}", e.metadata_count));
    }
    let sum: f64 = samples.iter().filter_map(|s| s.value.parse::<f64>().ok()).sum();
    if e.sum_of_values.is_some_and(|want| want != sum) {
        return Err(format!("the values add up to {sum}, want {:?}", e.sum_of_values));
    }
    for want in e.first_samples.iter().chain(&e.last_samples).flatten() {
        if !samples.contains(want) {
            return Err(format!("missing {want:?}"));
        }
    }
    Ok(())
}

/// The recording has white space before a name as part of it; without it is right too.
fn trimmed(samples: &[Sample]) -> Vec<Sample> {
    samples.iter().map(|s| Sample { name: s.name.trim_start().to_owned(), ..s.clone() }).collect()
}

pub fn compare<T: PartialOrd + PartialEq + std::fmt::Debug>(
    what: &str,
    got: &mut [T],
    want: &mut [T],
) -> Result<(), String> {
    let order = |a: &T, b: &T| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal);
    got.sort_by(order);
    want.sort_by(order);
    if got == want { Ok(()) } else { Err(format!("{what}: got {got:?}, want {want:?}")) }
}

fn parse(case: &Case, body: &[u8], job: &ScrapeJob) -> Result<Parsed, String> {
    let format: Format = format_of(case.content_type.as_deref(), job.fallback).map_err(|e| e.to_string())?;
    let mut decoded = DecodedBody::default();
    let mut parser = Parser::new(body, format, job.histograms, &mut decoded).map_err(|e| e.to_string())?;
    let mut out = Parsed::default();
    let mut pairs = Vec::new();
    while let Some(entry) = parser.next_entry().map_err(|e| e.to_string())? {
        match entry {
            Entry::Type(name, t) => out.family(name).metric_type = t,
            Entry::Help(name, help) => out.family(name).help = help.into_owned(),
            Entry::Unit(name, unit) => out.family(name).unit = unit.into_owned(),
            // Text has none.
            Entry::Histogram(h) => return Err(format!("a native histogram: {h:?}")),
            Entry::Series(s) => {
                labels::parse(s.raw, s.last_type, &mut pairs).map_err(|e| e.to_string())?;
                let set = Labels::from_pairs(pairs.iter().map(|(n, v)| (n.as_ref(), v.as_ref())));
                let names = job.names;
                if !names.is_metric_name(set.metric_name())
                    || set.iter().any(|(n, _)| n != METRIC_NAME && !names.is_label_name(n))
                {
                    return Err("invalid metric name or label names".to_owned());
                }
                let exemplar = match s.exemplar {
                    None => None,
                    Some(e) => labels::parse_exemplar(e.labels).map_err(|e| e.to_string())?.map(|l| Exemplar {
                        labels: to_map(&l),
                        value: format_value(e.value),
                        // Storing gives an exemplar without a time that of its sample.
                        timestamp_ms: e.timestamp.or(s.timestamp),
                    }),
                };
                out.samples.push(Sample {
                    name: set.metric_name().to_owned(),
                    labels: to_map(&set.without_name()),
                    value: format_value(s.value),
                    timestamp_ms: s.timestamp,
                    exemplar,
                });
            }
        }
    }
    Ok(out)
}

pub fn to_map(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}
