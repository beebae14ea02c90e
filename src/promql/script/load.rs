//! The `load` command: series lines to samples at a fixed step from time zero.

use std::collections::BTreeMap;

use crate::model::histogram::{CUSTOM_BUCKETS_SCHEMA, Span};
use crate::model::labels::{BUCKET_LABEL, METRIC_NAME};
use crate::model::sample::is_stale_nan;
use crate::model::{FloatHistogram, Labels, TimestampMs};
use crate::promql::script::backend::{ScriptSample, ScriptValue, SeriesData};
use crate::promql::script::sample_number::parse_signed;
use crate::promql::script::script_error::ScriptError;
use crate::promql::script::series_desc::{SequenceValue, parse_series_desc, split_metric};
use crate::promql::script::start_timestamps::{StartOffset, parse_start_offsets};
use crate::text::duration::parse_ms;

/// The samples of a `load` command.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// The series, converted classic histograms included.
    pub series: Vec<SeriesData>,
}

/// Reads `load <step>` or `load_with_nhcb <step>` and the series lines under it.
pub(super) fn parse_load(line: usize, head: &str, body: &[(usize, &str)]) -> Result<Load, ScriptError> {
    let mut words = head.split_whitespace();
    let with_nhcb = words.next() == Some("load_with_nhcb");
    let step = words.next().unwrap_or("");
    let step =
        parse_ms(step).map_err(|e| ScriptError { line, message: format!("invalid step definition {step:?}: {e}") })?;
    if words.next().is_some() {
        return Err(ScriptError { line, message: "expected \"load <step>\" or \"load_with_nhcb <step>\"".to_owned() });
    }
    // Of one series described twice the later line counts.
    let mut series: BTreeMap<Labels, Vec<ScriptSample>> = BTreeMap::new();
    let mut default_starts: Vec<StartOffset> = Vec::new();
    let mut pending: Option<(usize, Labels, Vec<StartOffset>)> = None;
    for (line, text) in body {
        let fail = |message: String| ScriptError { line: *line, message };
        let (metric, rest) = split_metric(text);
        if let Some(starts) = rest.strip_prefix("@st") {
            let starts = parse_start_offsets(starts).map_err(fail)?;
            if metric.is_empty() {
                default_starts = starts;
                continue;
            }
            if let Some((line, ..)) = pending {
                return Err(ScriptError { line, message: "no line of samples follows the @st line".to_owned() });
            }
            let (labels, _) = parse_series_desc(metric).map_err(|e| fail(e.to_string()))?;
            pending = Some((*line, labels, starts));
            continue;
        }
        let (labels, values) = parse_series_desc(text).map_err(|e| fail(e.to_string()))?;
        let mut starts = None;
        if let Some((_, of, offsets)) = pending.take() {
            if of != labels {
                return Err(fail(format!("the @st line before is of {of}, not of {labels}")));
            }
            if offsets.len() != values.len() {
                let (n, m) = (offsets.len(), values.len());
                return Err(fail(format!("the @st line has {n} values, the line of samples {m}")));
            }
            starts = Some(offsets);
        }
        let start_of = |i: usize| match &starts {
            Some(offsets) => offsets.get(i).copied().flatten(),
            None if default_starts.is_empty() => None,
            None => default_starts.get(i % default_starts.len()).copied().flatten(),
        };
        series.insert(labels, samples(step, values, start_of));
    }
    if let Some((line, ..)) = pending {
        return Err(ScriptError { line, message: "no line of samples follows the @st line".to_owned() });
    }
    let mut series: Vec<SeriesData> =
        series.into_iter().map(|(labels, samples)| SeriesData { labels, samples }).collect();
    if with_nhcb {
        let converted = convert_classic(&series).map_err(|message| ScriptError { line, message })?;
        series.extend(converted);
    }
    Ok(Load { series })
}

fn samples(step: i64, values: Vec<SequenceValue>, start_of: impl Fn(usize) -> StartOffset) -> Vec<ScriptSample> {
    let mut t = 0_i64;
    let mut out = Vec::with_capacity(values.len());
    for (i, value) in values.into_iter().enumerate() {
        let start = start_of(i).map(|offset| t.saturating_add(offset));
        match value {
            SequenceValue::Omitted => {}
            SequenceValue::Float(v) => out.push(ScriptSample { t, start, value: ScriptValue::Float(v) }),
            SequenceValue::Histogram { histogram, .. } => {
                out.push(ScriptSample { t, start, value: ScriptValue::Histogram(histogram) });
            }
        }
        t = t.saturating_add(step);
    }
    out
}

/// A classic histogram at one time.
#[derive(Default)]
struct Classic {
    /// Upper bounds and cumulative counts.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
}

enum Part {
    Bucket(f64),
    Count,
    Sum,
}

/// Makes a native histogram with custom buckets of each classic histogram among the series.
fn convert_classic(series: &[SeriesData]) -> Result<Vec<SeriesData>, String> {
    let mut found: BTreeMap<Labels, BTreeMap<TimestampMs, Classic>> = BTreeMap::new();
    for s in series {
        let name = s.labels.metric_name();
        let (base, part) = if let Some(base) = name.strip_suffix("_bucket") {
            match s.labels.get(BUCKET_LABEL).and_then(parse_signed) {
                Some(le) if !le.is_nan() => (base, Part::Bucket(le)),
                // Malformed bounds stay what they are, series of their own.
                _ => continue,
            }
        } else if let Some(base) = name.strip_suffix("_count") {
            (base, Part::Count)
        } else if let Some(base) = name.strip_suffix("_sum") {
            (base, Part::Sum)
        } else {
            continue;
        };
        let mut labels = s.labels.to_builder();
        labels.remove(BUCKET_LABEL).set(METRIC_NAME, base);
        let by_time = found.entry(labels.build()).or_default();
        for sample in &s.samples {
            let ScriptValue::Float(v) = sample.value else { continue };
            if is_stale_nan(v) {
                continue;
            }
            let classic = by_time.entry(sample.t).or_default();
            match part {
                Part::Bucket(le) => classic.buckets.push((le, v)),
                Part::Count => classic.count = Some(v),
                Part::Sum => classic.sum = v,
            }
        }
    }
    let mut out = Vec::with_capacity(found.len());
    for (labels, by_time) in found {
        let mut samples = Vec::with_capacity(by_time.len());
        for (t, classic) in by_time {
            let h = classic.convert().map_err(|e| format!("{labels} at {t} ms: {e}"))?;
            samples.push(ScriptSample { t, start: None, value: ScriptValue::Histogram(Box::new(h)) });
        }
        out.push(SeriesData { labels, samples });
    }
    Ok(out)
}

impl Classic {
    fn convert(mut self) -> Result<FloatHistogram, String> {
        self.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let highest = self.buckets.last().map_or(0.0, |b| b.1);
        let count = self.count.unwrap_or(highest);
        if self.buckets.last().is_none_or(|b| b.0 != f64::INFINITY) {
            self.buckets.push((f64::INFINITY, count));
        }
        let mut below = 0.0;
        let mut counts = Vec::with_capacity(self.buckets.len());
        for (le, cumulative) in &self.buckets {
            let own = cumulative - below;
            if own < 0.0 {
                return Err(format!("the count of bucket {le} is below that of the bucket before it"));
            }
            counts.push(own);
            below = *cumulative;
        }
        let length = u32::try_from(counts.len()).map_err(|_| "too many buckets".to_owned())?;
        self.buckets.pop();
        Ok(FloatHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count,
            sum: self.sum,
            positive_spans: vec![Span { offset: 0, length }],
            positive_buckets: counts,
            custom_values: self.buckets.iter().map(|b| b.0).collect(),
            ..FloatHistogram::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::script::histogram_literal::format_histogram;

    fn load(head: &str, lines: &[&str]) -> Result<Vec<String>, ScriptError> {
        let body: Vec<(usize, &str)> = lines.iter().enumerate().map(|(i, l)| (i + 2, *l)).collect();
        let load = parse_load(1, head, &body)?;
        let sample = |s: &ScriptSample| {
            let start = s.start.map_or(String::new(), |st| format!("/{st}"));
            let value = match &s.value {
                ScriptValue::Float(v) => v.to_string(),
                ScriptValue::Histogram(h) => format_histogram(h),
            };
            format!("{value}@{}{start}", s.t)
        };
        let show =
            |s: &SeriesData| format!("{} {}", s.labels, s.samples.iter().map(sample).collect::<Vec<_>>().join(" "));
        Ok(load.series.iter().map(show).collect())
    }

    #[test]
    fn places_samples_in_time() {
        assert_eq!(load("load 10s", &["a 1 _ 3"]).unwrap(), ["{__name__=\"a\"} 1@0 3@20000"]);
        assert_eq!(
            load("load 1m", &["a{b=\"c\"}@st _ -30s", "a{b=\"c\"} 1 2"]).unwrap(),
            ["{__name__=\"a\", b=\"c\"} 1@0 2@60000/30000"]
        );
        assert_eq!(
            load("load 1m", &["@st -1s _", "a 1 2 3"]).unwrap(),
            ["{__name__=\"a\"} 1@0/-1000 2@60000 3@120000/119000"]
        );
    }

    #[test]
    fn converts_classic_histograms() {
        let got = load(
            "load_with_nhcb 1m",
            &[
                "h_bucket{le=\"+Inf\"} 4",
                "h_bucket{le=\"1\"} 1",
                "h_bucket{le=\"2\"} 3",
                "h_count 4",
                "h_sum 5",
                "x_bucket{le=\"foo\"} 1",
            ],
        );
        let got = got.unwrap();
        assert_eq!(
            got.last().unwrap(),
            "{__name__=\"h\"} {{schema:-53 count:4 sum:5 custom_values:[1 2] buckets:[1 2 1]}}@0"
        );
        assert_eq!(got.len(), 7);
        assert!(load("load_with_nhcb 1m", &["h_bucket{le=\"1\"} 3", "h_bucket{le=\"2\"} 1"]).is_err());
    }

    #[test]
    fn refuses() {
        for (head, lines, line) in [
            ("load x", &["a 1"][..], 1),
            ("load 1m 2m", &["a 1"], 1),
            ("load 1m", &["a 1", "b{ 1"], 3),
            ("load 1m", &["a@st -1s"], 2),
            ("load 1m", &["a@st -1s", "b 1"], 3),
            ("load 1m", &["a@st -1s", "a 1 2"], 3),
            ("load 1m", &["a@st -1s", "a@st -1s", "a 1"], 2),
        ] {
            let e = load(head, lines).unwrap_err();
            assert_eq!(e.line, line, "{head} {lines:?}: {e}");
        }
    }
}
