//! OpenTelemetry's metrics in, with messages declared once more and encoded by a library.

use prost::Message;
use serde_json::json;

use crate::harness::{Server, now_ms};

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "any_value::Value", tags = "1, 3, 5")]
    value: Option<any_value::Value>,
}

mod any_value {
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Value {
        #[prost(string, tag = "1")]
        Text(String),
        #[prost(int64, tag = "3")]
        Int(i64),
        #[prost(message, tag = "5")]
        List(super::ArrayValue),
    }
}

#[derive(Clone, PartialEq, Message)]
struct ArrayValue {
    #[prost(message, repeated, tag = "1")]
    values: Vec<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(any_value::Value::Text(value.to_owned())) }) }
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct NumberPoint {
    #[prost(fixed64, tag = "2")]
    start: u64,
    #[prost(fixed64, tag = "3")]
    time: u64,
    #[prost(double, optional, tag = "4")]
    as_double: Option<f64>,
    #[prost(sfixed64, optional, tag = "6")]
    as_int: Option<i64>,
    #[prost(message, repeated, tag = "7")]
    attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "8")]
    flags: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Sum {
    #[prost(message, repeated, tag = "1")]
    points: Vec<NumberPoint>,
    #[prost(int32, tag = "2")]
    temporality: i32,
    #[prost(bool, tag = "3")]
    monotonic: bool,
}

#[derive(Clone, PartialEq, Message)]
struct HistogramPoint {
    #[prost(fixed64, tag = "3")]
    time: u64,
    #[prost(fixed64, tag = "4")]
    count: u64,
    #[prost(double, optional, tag = "5")]
    sum: Option<f64>,
    #[prost(fixed64, repeated, tag = "6")]
    bucket_counts: Vec<u64>,
    #[prost(double, repeated, tag = "7")]
    bounds: Vec<f64>,
}

#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(message, repeated, tag = "1")]
    points: Vec<HistogramPoint>,
    #[prost(int32, tag = "2")]
    temporality: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Buckets {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint64, repeated, tag = "2")]
    counts: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct ExponentialPoint {
    #[prost(fixed64, tag = "3")]
    time: u64,
    #[prost(fixed64, tag = "4")]
    count: u64,
    #[prost(double, optional, tag = "5")]
    sum: Option<f64>,
    #[prost(sint32, tag = "6")]
    scale: i32,
    #[prost(fixed64, tag = "7")]
    zero_count: u64,
    #[prost(message, optional, tag = "8")]
    positive: Option<Buckets>,
    #[prost(message, optional, tag = "9")]
    negative: Option<Buckets>,
}

#[derive(Clone, PartialEq, Message)]
struct Exponential {
    #[prost(message, repeated, tag = "1")]
    points: Vec<ExponentialPoint>,
    #[prost(int32, tag = "2")]
    temporality: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    description: String,
    #[prost(string, tag = "3")]
    unit: String,
    #[prost(message, optional, tag = "7")]
    sum: Option<Sum>,
    #[prost(message, optional, tag = "9")]
    histogram: Option<Histogram>,
    #[prost(message, optional, tag = "10")]
    exponential: Option<Exponential>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeMetrics {
    #[prost(message, repeated, tag = "2")]
    metrics: Vec<Metric>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceMetrics {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<ScopeMetrics>,
}

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<ResourceMetrics>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    message: String,
}

#[derive(Clone, PartialEq, Message)]
struct Answer {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn protobuf_and_json_become_series() {
    let server = Server::start("self_scrape: false\nhost: {enabled: false}\n").await;
    let now = now_ms() as u64 * 1_000_000;
    let list = AnyValue {
        value: Some(any_value::Value::List(ArrayValue {
            values: vec![AnyValue { value: Some(any_value::Value::Int(7)) }],
        })),
    };
    let point = |as_double, as_int, kind: &str| NumberPoint {
        start: now - 1_000_000_000,
        time: now,
        as_double,
        as_int,
        attributes: vec![text("http.method", kind)],
        flags: 0,
    };
    let sum = |temporality| Sum {
        points: vec![point(Some(1.5), None, "GET"), point(None, Some(-3), "PUT")],
        temporality,
        monotonic: true,
    };
    let named = |name: &str, unit: &str| Metric {
        name: name.to_owned(),
        unit: unit.to_owned(),
        description: "What it says.".to_owned(),
        ..Metric::default()
    };
    let histogram =
        HistogramPoint { time: now, count: 6, sum: Some(9.5), bucket_counts: vec![1, 2, 3], bounds: vec![0.005, 1.0] };
    let exponential = ExponentialPoint {
        time: now,
        count: 10,
        sum: Some(20.0),
        scale: 0,
        zero_count: 4,
        positive: Some(Buckets { offset: -1, counts: vec![2, 0, 3] }),
        negative: Some(Buckets { offset: 0, counts: vec![1] }),
    };
    let request = Request {
        resources: vec![ResourceMetrics {
            resource: Some(Resource {
                attributes: vec![
                    text("service.name", "shop"),
                    text("service.instance.id", "i1"),
                    KeyValue { key: "ports".to_owned(), value: Some(list) },
                ],
            }),
            scopes: vec![ScopeMetrics {
                metrics: vec![
                    Metric { sum: Some(sum(2)), ..named("http.requests", "") },
                    Metric { sum: Some(sum(1)), ..named("http.deltas", "") },
                    Metric {
                        histogram: Some(Histogram { points: vec![histogram], temporality: 2 }),
                        ..named("latency", "s")
                    },
                    Metric {
                        exponential: Some(Exponential { points: vec![exponential], temporality: 2 }),
                        ..named("size", "By")
                    },
                ],
            }],
        }],
    };
    let post = server.http.post(server.url("/api/v1/otlp/v1/metrics")).header("content-type", "application/x-protobuf");
    let r = post.header("content-encoding", "gzip").body(gzip(&request.encode_to_vec())).send().await.unwrap();
    assert_eq!(r.status(), 200);
    assert_eq!(r.headers()["content-type"], "application/x-protobuf");
    let answer = Answer::decode(r.bytes().await.unwrap()).unwrap().partial_success.unwrap();
    assert_eq!(answer.rejected, 2);
    assert!(answer.message.contains("invalid temporality") && answer.message.contains("http.deltas"), "{answer:?}");

    let who = |name: &str, more: &[(&str, &str)]| {
        let mut labels = json!({"__name__": name, "job": "shop", "instance": "i1"});
        more.iter().for_each(|(n, v)| labels[*n] = json!(v));
        labels
    };
    let found = server.instant("{__name__=~\"http_.*|latency_.*|target_info\"}").await;
    for (labels, v) in [
        (who("http_requests_total", &[("http_method", "GET")]), 1.5),
        (who("http_requests_total", &[("http_method", "PUT")]), -3.0),
        (who("latency_seconds_bucket", &[("le", "0.005")]), 1.0),
        (who("latency_seconds_bucket", &[("le", "1")]), 3.0),
        (who("latency_seconds_bucket", &[("le", "+Inf")]), 6.0),
        (who("latency_seconds_sum", &[]), 9.5),
        (who("target_info", &[("ports", "[7]")]), 1.0),
    ] {
        assert!(found.contains(&(labels.clone(), v)), "{labels} {v}: {found:?}");
    }
    assert_eq!(found.len(), 8);
    let answer = server.get("/api/v1/query", &[("query", "size_bytes")]).await;
    let shown = &answer["data"]["result"][0]["histogram"][1];
    assert_eq!((&shown["count"], &shown["sum"]), (&json!("10"), &json!("20")), "{answer}");
    let buckets = shown["buckets"].as_array().unwrap();
    assert_eq!(buckets[0], json!([1, "-2", "-1", "1"]), "{answer}");
    assert_eq!(buckets[2..], [json!([0, "0.5", "1", "2"]), json!([0, "2", "4", "3"])], "{answer}");
    let about = server.get("/api/v1/metadata", &[("metric", "latency_seconds")]).await;
    let want = json!([{"type": "histogram", "unit": "seconds", "help": "What it says."}]);
    assert_eq!(about["data"]["latency_seconds"], want);

    let body = json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [
        {"name": "free", "unit": "1", "gauge": {"dataPoints": [{"timeUnixNano": now.to_string(), "asDouble": 0.25}]}},
    ]}]}]});
    let post = server.http.post(server.url("/v1/metrics")).header("content-type", "application/json; charset=utf-8");
    let r = post.body(body.to_string()).send().await.unwrap();
    assert_eq!((r.status().as_u16(), r.text().await.unwrap()), (200, "{}".to_owned()));
    assert_eq!(server.instant("free_ratio").await, [(json!({"__name__": "free_ratio"}), 0.25)]);

    // Refusals are google.rpc.Status in the form of the request.
    for (content_type, encoding, body, status, code) in [
        ("application/json", "identity", "[]", 400, 3),
        ("application/json; charset=utf-8", "gzip", "no gzip", 400, 3),
        ("application/x-protobuf", "identity", "\u{1}x", 400, 3),
        ("application/x-protobuf", "br", "x", 400, 3),
        ("text/plain", "identity", "x", 415, 3),
    ] {
        let post = server.http.post(server.url("/v1/metrics")).header("content-type", content_type);
        let r = post.header("content-encoding", encoding).body(body).send().await.unwrap();
        assert_eq!(r.status(), status, "{content_type} {encoding}");
        let form =
            if content_type.starts_with("application/json") { "application/json" } else { "application/x-protobuf" };
        assert_eq!(r.headers()["content-type"], form, "{content_type} {encoding}");
        let bytes = r.bytes().await.unwrap();
        let said = if form == "application/json" {
            let v: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            Status {
                code: i32::try_from(v["code"].as_i64().unwrap()).unwrap(),
                message: v["message"].as_str().unwrap().to_owned(),
            }
        } else {
            Status::decode(bytes).unwrap()
        };
        assert!(said.code == code && said.message.len() > 5, "{content_type} {encoding}: {said:?}");
    }
    let large = server.http.post(server.url("/v1/metrics")).header("content-type", "application/json");
    let large = large.header("content-encoding", "gzip").body(gzip(&vec![b' '; (32 << 20) + 1]));
    let r = large.send().await.unwrap();
    assert_eq!(r.status(), 413);
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&r.bytes().await.unwrap()).unwrap()["code"], 8);
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}
