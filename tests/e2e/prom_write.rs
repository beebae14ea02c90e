//! What a Prometheus sends by remote write (version 1.0): snappy over protobuf.

use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

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
            TimeSeries { labels, samples: samples.collect() }
        })
        .collect();
    let raw = WriteRequest { timeseries }.encode_to_vec();
    snap::raw::Encoder::new().compress_vec(&raw).unwrap()
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
