//! What a Prometheus sends by remote write (version 1.0): snappy over protobuf.

use crate::prompb::{Label, Sample, TimeSeries, WriteRequest, packed};

/// A series: labels in any order, samples as (milliseconds, value).
pub struct Series {
    pub labels: Vec<(String, String)>,
    pub samples: Vec<(i64, f64)>,
}

/// A request body.
pub fn body(series: &[Series]) -> Vec<u8> {
    let timeseries = series
        .iter()
        .map(|s| {
            let mut labels: Vec<Label> =
                s.labels.iter().map(|(name, value)| Label { name: name.clone(), value: value.clone() }).collect();
            labels.sort_by(|a, b| a.name.cmp(&b.name));
            let samples = s.samples.iter().map(|(timestamp, value)| Sample { value: *value, timestamp: *timestamp });
            TimeSeries { labels, samples: samples.collect(), ..TimeSeries::default() }
        })
        .collect();
    packed(&WriteRequest { timeseries, metadata: Vec::new() })
}

/// Sends series and expects them to be taken whole.
pub async fn send(http: &reqwest::Client, url: &str, series: &[Series]) {
    let request = http
        .post(url)
        .header("content-encoding", "snappy")
        .header("content-type", "application/x-protobuf")
        .header("x-prometheus-remote-write-version", "0.1.0")
        .body(body(series));
    let answer = request.send().await.unwrap();
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    assert!(status.is_success(), "{url}: {status}: {text}");
}
