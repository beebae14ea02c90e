//! Metrics by OpenTelemetry's protocol in: decode, translate as Prometheus does by default, append, one commit. Blocking: run it on a
//! blocking thread.

mod names;
mod points;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use prometheus::{IntCounter, IntCounterVec};

use crate::model::labels::METRIC_NAME;
use crate::model::{Exemplar, Labels, Metadata, MetricType, TimestampMs};
use crate::telemetry::metrics;
use crate::tsdb::{AppendError, Appender, Db, SeriesRef};
use crate::wire::otlp_metrics::{Attributes, Data, Metric, PointExemplar, ResourceMetrics, Temporality};

static POINTS: LazyLock<IntCounter> = LazyLock::new(|| {
    metrics::counter("campanile_ingest_otlp_metric_points_total", "Data points of OTLP metrics that were stored.")
});
static REFUSED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    metrics::counter_vec(
        "campanile_ingest_otlp_metric_refused_total",
        "Data points of OTLP metrics that were not stored, by reason.",
        &["reason"],
    )
});

/// What became of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Points stored.
    pub stored: u64,
    /// Points refused.
    pub refused: u64,
    /// Why the first was refused, and how many others; empty where none was.
    pub message: String,
}

/// Stores a request. The good points of it are stored beside bad ones; the error is the store's, which can write nothing.
pub fn write(db: &Db, request: &[ResourceMetrics]) -> Result<Outcome, crate::tsdb::Error> {
    let mut batch = Batch { app: db.appender(), outcome: Outcome::default() };
    for resource in request {
        batch.resource(resource);
    }
    let Batch { app, mut outcome } = batch;
    app.commit()?;
    POINTS.inc_by(outcome.stored);
    if outcome.refused > 1 {
        outcome.message.push_str(&format!(" (and {} more)", outcome.refused - 1));
    }
    Ok(outcome)
}

/// Attributes that become the labels `job` and `instance` and tell the resource.
const SERVICE: [&str; 3] = ["service.name", "service.namespace", "service.instance.id"];

/// The labels of a resource.
struct Resource {
    job: String,
    instance: String,
}

impl Resource {
    fn of(attributes: &Attributes) -> Self {
        let value = |name: &str| attributes.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v.as_str());
        let (name, namespace) = (value("service.name"), value("service.namespace"));
        let job = if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") };
        Resource { job, instance: value("service.instance.id").to_owned() }
    }

    /// The labels of a series; attributes whose names become the same are joined, in order of the names they had.
    fn labels(&self, name: &str, attributes: &Attributes, more: &[(&str, &str)]) -> Labels {
        let mut sorted: Vec<&(String, String)> = attributes.iter().filter(|(_, v)| !v.is_empty()).collect();
        sorted.sort();
        let mut labels: BTreeMap<String, String> = BTreeMap::new();
        for (n, v) in sorted {
            labels
                .entry(names::label_name(n))
                .and_modify(|joined| {
                    joined.push(';');
                    joined.push_str(v);
                })
                .or_insert_with(|| v.clone());
        }
        let own = [("job", self.job.as_str()), ("instance", self.instance.as_str()), (METRIC_NAME, name)];
        for (n, v) in own.iter().chain(more).filter(|(_, v)| !v.is_empty()) {
            labels.insert((*n).to_owned(), (*v).to_owned());
        }
        Labels::from_pairs(&labels)
    }
}

struct Batch<'a> {
    app: Appender<'a>,
    outcome: Outcome,
}

fn ms(ns: u64) -> TimestampMs {
    i64::try_from(ns / 1_000_000).unwrap_or(i64::MAX)
}

impl Batch<'_> {
    fn resource(&mut self, r: &ResourceMetrics) {
        let resource = Resource::of(&r.attributes);
        let mut newest = None;
        for m in &r.metrics {
            self.metric(&resource, m);
            newest = newest.max(points::newest(&m.data));
        }
        self.target_info(&resource, &r.attributes, newest);
    }

    /// What else is known of the resource, as one series that can be joined with the others.
    fn target_info(&mut self, resource: &Resource, attributes: &Attributes, at_ns: Option<u64>) {
        let others: Attributes = attributes.iter().filter(|(n, _)| !SERVICE.contains(&n.as_str())).cloned().collect();
        let Some(at) = at_ns.filter(|_| !others.is_empty() && (resource.job.len() + resource.instance.len()) > 0)
        else {
            return;
        };
        let labels = resource.labels("target_info", &others, &[]);
        let stored = self.app.series(&labels).and_then(|s| self.app.float(s, ms(at), 1.0, 0));
        match stored {
            // Several requests of one moment say the same.
            Ok(()) | Err(AppendError::Duplicate) => {}
            Err(e) => REFUSED.with_label_values(&[e.reason()]).inc(),
        }
        let help = "Target metadata".to_owned();
        self.app.metadata("target_info", &Metadata { metric_type: MetricType::Gauge, help, unit: String::new() });
    }

    fn metric(&mut self, resource: &Resource, m: &Metric) {
        let name = names::metric_name(m);
        let count = points::count(&m.data);
        let delta = match &m.data {
            Data::Sum(_, t, _) | Data::Histogram(_, t) | Data::Exponential(_, t) => *t != Temporality::Cumulative,
            Data::None | Data::Gauge(_) | Data::Summary(_) => false,
        };
        if name.is_empty() {
            return self.refuse("invalid_name", count, || format!("metric {:?} has no usable name", m.name));
        }
        if delta {
            return self.refuse("temporality", count, || {
                format!("invalid temporality and type combination for metric {:?}: send cumulative points", m.name)
            });
        }
        let metric_type = match &m.data {
            Data::None => return,
            Data::Sum(_, _, true) => MetricType::Counter,
            Data::Gauge(_) | Data::Sum(..) => MetricType::Gauge,
            Data::Histogram(..) | Data::Exponential(..) => MetricType::Histogram,
            Data::Summary(_) => MetricType::Summary,
        };
        self.app.metadata(&name, &Metadata { metric_type, help: m.description.clone(), unit: names::unit(m) });
        match &m.data {
            Data::None => {}
            Data::Gauge(all) | Data::Sum(all, ..) => all.iter().for_each(|p| self.number(resource, &name, p)),
            Data::Histogram(all, _) => all.iter().for_each(|p| self.histogram(resource, &name, p)),
            Data::Exponential(all, _) => all.iter().for_each(|p| self.exponential(resource, &name, p)),
            Data::Summary(all) => all.iter().for_each(|p| self.summary(resource, &name, p)),
        }
    }

    fn refuse(&mut self, reason: &str, points: u64, message: impl FnOnce() -> String) {
        REFUSED.with_label_values(&[reason]).inc_by(points);
        self.outcome.refused += points;
        if self.outcome.message.is_empty() {
            self.outcome.message = message();
        }
    }

    /// Stores one float; the series, for exemplars.
    fn float(&mut self, labels: &Labels, t: TimestampMs, v: f64, start: TimestampMs) -> Result<SeriesRef, AppendError> {
        let series = self.app.series(labels)?;
        self.app.float(series, t, v, start)?;
        Ok(series)
    }

    /// Counts a point that is made of what `stored` tried to store.
    fn point(&mut self, labels: &Labels, t: TimestampMs, stored: Result<(), AppendError>) {
        match stored {
            Ok(()) => self.outcome.stored += 1,
            Err(e) => self.refuse(e.reason(), 1, || format!("{e}: series {labels} at {t}")),
        }
    }

    /// Exemplars are extra: one that is refused is counted and fails nothing.
    fn exemplar(&mut self, series: SeriesRef, e: &PointExemplar) {
        let mut labels: Vec<(String, &str)> =
            e.attributes.iter().map(|(n, v)| (names::label_name(n), v.as_str())).collect();
        for (name, id) in [("trace_id", &e.trace_id), ("span_id", &e.span_id)] {
            if !id.is_empty() {
                labels.push((name.to_owned(), id));
            }
        }
        let timestamp = (e.time_ns != 0).then(|| ms(e.time_ns));
        let exemplar = Exemplar { labels: Labels::from_pairs(labels), value: e.value, timestamp };
        if self.app.exemplar(series, &exemplar).is_err() {
            REFUSED.with_label_values(&["exemplar"]).inc();
        }
    }
}

#[cfg(test)]
mod tests;
