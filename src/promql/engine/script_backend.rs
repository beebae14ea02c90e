//! The engine as the runner of test scripts drives it: over a store in memory, with all features on.

use crate::model::TimestampMs;
use crate::promql::engine::{Engine, EngineOptions, QueryOptions};
use crate::promql::script::{EvalOutput, EvalValue, ScriptBackend, ScriptSample, ScriptValue, SeriesData};
use crate::promql::storage::MemoryStorage;
use crate::promql::value::{MatrixSeries, QueryResult, SampleValue, Value, VectorSample};

/// See the module.
pub struct EngineBackend {
    engine: Engine,
    storage: MemoryStorage,
}

impl Default for EngineBackend {
    fn default() -> Self {
        let options = EngineOptions { delayed_name_removal: true, ..EngineOptions::default() };
        EngineBackend { engine: Engine::new(options), storage: MemoryStorage::new() }
    }
}

fn histogram_sample(t: TimestampMs, h: &crate::model::FloatHistogram) -> ScriptSample {
    ScriptSample { t, start: None, value: ScriptValue::Histogram(Box::new(h.clone())) }
}

fn vector_sample(s: &VectorSample) -> ScriptSample {
    match &s.value {
        SampleValue::Float(v) => ScriptSample::float(s.t, *v),
        SampleValue::Histogram(h) => histogram_sample(s.t, h),
    }
}

fn series_data(m: MatrixSeries) -> SeriesData {
    let mut samples: Vec<ScriptSample> = m.floats.iter().map(|(t, v)| ScriptSample::float(*t, *v)).collect();
    samples.extend(m.histograms.iter().map(|(t, h)| histogram_sample(*t, h)));
    samples.sort_by_key(|s| s.t);
    SeriesData { labels: m.labels, samples }
}

fn output(r: QueryResult) -> EvalOutput {
    let value = match r.value {
        Value::Scalar { v, .. } => EvalValue::Scalar(v),
        Value::String { v, .. } => EvalValue::String(v),
        Value::Vector(all) => EvalValue::Vector(all.iter().map(|s| (s.labels.clone(), vector_sample(s))).collect()),
        Value::Matrix(all) => EvalValue::Matrix(all.into_iter().map(series_data).collect()),
    };
    EvalOutput { value, warnings: r.warnings, infos: r.infos }
}

impl ScriptBackend for EngineBackend {
    fn clear(&mut self) {
        self.storage.clear();
    }

    fn load(&mut self, series: Vec<SeriesData>) -> Result<(), String> {
        for s in series {
            for sample in s.samples {
                let start = sample.start.unwrap_or(0);
                match sample.value {
                    ScriptValue::Float(v) => self.storage.add_float(&s.labels, sample.t, v, start),
                    ScriptValue::Histogram(h) => self.storage.add_histogram(&s.labels, sample.t, *h, start),
                }
            }
        }
        Ok(())
    }

    fn instant(&mut self, expr: &str, t: TimestampMs) -> Result<EvalOutput, String> {
        let result = self.engine.instant(&self.storage, expr, t, QueryOptions::default());
        result.map(output).map_err(|e| e.to_string())
    }

    fn range(
        &mut self,
        expr: &str,
        start: TimestampMs,
        end: TimestampMs,
        step: TimestampMs,
    ) -> Result<EvalOutput, String> {
        let result = self.engine.range(&self.storage, expr, start, end, step, QueryOptions::default());
        result.map(output).map_err(|e| e.to_string())
    }
}
