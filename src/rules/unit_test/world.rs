//! The world in which rules are tested: a store in memory that learns its samples as time goes by, the real engine over
//! it, and nobody to notify.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::model::alert::Alert;
use crate::model::{Column, FloatHistogram, Labels, Matcher, TimestampMs};
use crate::promql::MemoryStorage;
use crate::promql::engine::{Engine, EngineOptions, QueryOptions};
use crate::promql::script::SequenceValue;
use crate::promql::storage::{SelectHints, Storage};
use crate::rules::file::GroupKind;
use crate::rules::interfaces::{
    AlertSink, AppendReport, InstantSample, LastSample, RuleAppender, RuleQuerier, RuleStateKeeper,
};
use crate::rules::restore::RuleSnapshot;

/// See the module.
pub(super) struct World {
    engine: Engine,
    data: RwLock<Data>,
}

#[derive(Default)]
struct Data {
    storage: MemoryStorage,
    /// Of each series the newest time, and the value if it is a float.
    newest: HashMap<Labels, (TimestampMs, Option<f64>)>,
    /// Samples to come of the input series, the next one last.
    to_come: Vec<(Labels, Vec<(TimestampMs, SequenceValue)>)>,
}

impl World {
    /// A world with input series whose first samples are at `start` and then every `step_ms`. Of a series that is given
    /// twice the later one counts. `eval_ms` is the step of subqueries that name none.
    pub fn new(series: Vec<(Labels, Vec<SequenceValue>)>, start: TimestampMs, step_ms: i64, eval_ms: i64) -> Self {
        let mut by_labels: HashMap<Labels, Vec<SequenceValue>> = HashMap::new();
        by_labels.extend(series);
        let to_come = by_labels
            .into_iter()
            .map(|(labels, values)| {
                let times = (0_i64..).map(|i| start.saturating_add(i.saturating_mul(step_ms)));
                let mut samples: Vec<_> = times.zip(values).collect();
                samples.reverse();
                (labels, samples)
            })
            .collect();
        let options = EngineOptions { subquery_step_ms: eval_ms, ..EngineOptions::default() };
        let data = Data { to_come, ..Data::default() };
        World { engine: Engine::new(options), data: RwLock::new(data) }
    }

    /// Lets the input series have their samples up to `t`.
    pub fn load_until(&self, t: TimestampMs) {
        let mut data = self.data.write().unwrap_or_else(PoisonError::into_inner);
        let mut to_come = std::mem::take(&mut data.to_come);
        for (labels, samples) in &mut to_come {
            while let Some((at, value)) = samples.pop_if(|(at, _)| *at <= t) {
                match value {
                    SequenceValue::Omitted => {}
                    SequenceValue::Float(v) => data.add(labels, at, v, None),
                    SequenceValue::Histogram { histogram, .. } => data.add(labels, at, 0.0, Some(*histogram)),
                }
            }
        }
        data.to_come = to_come;
    }

    /// Evaluates an expression.
    pub fn query(&self, expr: &str, t: TimestampMs) -> Result<Vec<InstantSample>, String> {
        let data = self.data.read().unwrap_or_else(PoisonError::into_inner);
        let result = self.engine.instant(&data.storage, expr, t, QueryOptions::default()).map_err(|e| e.to_string())?;
        InstantSample::from_result(result.value)
    }
}

impl Data {
    fn add(&mut self, labels: &Labels, t: TimestampMs, value: f64, histogram: Option<FloatHistogram>) {
        let float = histogram.is_none().then_some(value);
        match histogram {
            None => self.storage.add_float(labels, t, value, 0),
            Some(h) => self.storage.add_histogram(labels, t, h, 0),
        }
        self.newest.insert(labels.clone(), (t, float));
    }

    /// Why a sample cannot be written; `Ok(false)` if it is there already.
    fn is_new(&self, sample: &InstantSample, t: TimestampMs) -> Result<bool, String> {
        match self.newest.get(&sample.labels) {
            Some((newest, _)) if *newest > t => Err(format!("out of order sample: {}", sample.labels)),
            Some((newest, float)) if *newest == t => {
                let same = sample.histogram.is_none() && float.is_some_and(|v| v.to_bits() == sample.value.to_bits());
                if same {
                    return Ok(false);
                }
                Err(format!("duplicate sample for timestamp: {}", sample.labels))
            }
            _ => Ok(true),
        }
    }
}

impl RuleQuerier for World {
    fn instant<'a>(
        &'a self,
        kind: GroupKind,
        expr: &'a str,
        t: TimestampMs,
    ) -> BoxFuture<'a, Result<Vec<InstantSample>, String>> {
        let result = match kind {
            GroupKind::Metrics => self.query(expr, t),
            GroupKind::Logs => Err("unit tests have no logs to evaluate rules over".to_owned()),
        };
        std::future::ready(result).boxed()
    }

    fn last_samples<'a>(
        &'a self,
        matchers: &'a [Matcher],
        from: TimestampMs,
        to: TimestampMs,
    ) -> BoxFuture<'a, Result<Vec<LastSample>, String>> {
        let data = self.data.read().unwrap_or_else(PoisonError::into_inner);
        let hints = SelectHints { start: from, end: to, ..SelectHints::default() };
        let read = data.storage.select(&hints, matchers, &mut |_| Ok(())).and_then(|found| {
            let mut out = Vec::new();
            for i in 0..found.len() {
                let mut column = Column::default();
                found.read(i, from, to, &mut column)?;
                if let (Some(t), Some(value)) = (column.t.last(), column.v.last()) {
                    out.push(LastSample { labels: found.labels().labels(i), t: *t, value: *value });
                }
            }
            Ok(out)
        });
        std::future::ready(read.map_err(|e| e.to_string())).boxed()
    }
}

impl RuleAppender for World {
    fn append(
        &self,
        results: Vec<Vec<InstantSample>>,
        t: TimestampMs,
    ) -> BoxFuture<'_, Result<Vec<AppendReport>, String>> {
        let mut data = self.data.write().unwrap_or_else(PoisonError::into_inner);
        let mut reports = Vec::with_capacity(results.len());
        for samples in results {
            let mut report = AppendReport::default();
            for sample in samples {
                match data.is_new(&sample, t) {
                    Ok(true) => data.add(&sample.labels, t, sample.value, sample.histogram.map(|h| *h)),
                    Ok(false) => {}
                    Err(reason) => {
                        report.refused += 1;
                        report.first_reason.get_or_insert(reason);
                    }
                }
            }
            reports.push(report);
        }
        std::future::ready(Ok(reports)).boxed()
    }
}

impl RuleStateKeeper for World {
    /// A test begins and ends with the world.
    fn keep(&self, _: Vec<RuleSnapshot>) -> BoxFuture<'_, Result<(), String>> {
        std::future::ready(Ok(())).boxed()
    }
}

impl AlertSink for World {
    /// Tests look at the alerts of the groups; nobody is told.
    fn send(&self, _: Vec<Alert>) {}
}
