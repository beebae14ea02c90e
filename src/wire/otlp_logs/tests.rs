use prost::Message;

use super::*;

/// What protobuf's own library writes, for comparison.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(oneof = "any::Value", tags = "1, 2, 3, 4, 5, 6, 7")]
    value: Option<any::Value>,
}

mod any {
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Value {
        #[prost(string, tag = "1")]
        Text(String),
        #[prost(bool, tag = "2")]
        Bool(bool),
        #[prost(int64, tag = "3")]
        Int(i64),
        #[prost(double, tag = "4")]
        Double(f64),
        #[prost(message, tag = "5")]
        List(super::List),
        #[prost(message, tag = "6")]
        Map(super::Map),
        #[prost(bytes, tag = "7")]
        Bytes(Vec<u8>),
    }
}

#[derive(Clone, PartialEq, Message)]
struct List {
    #[prost(message, repeated, tag = "1")]
    values: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Map {
    #[prost(message, repeated, tag = "1")]
    values: Vec<Pair>,
}

#[derive(Clone, PartialEq, Message)]
struct Pair {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(fixed64, tag = "1")]
    time: u64,
    #[prost(int32, tag = "2")]
    severity: i32,
    #[prost(message, optional, tag = "5")]
    body: Option<Any>,
    #[prost(message, repeated, tag = "6")]
    attributes: Vec<Pair>,
    #[prost(fixed32, tag = "8")]
    flags: u32,
    #[prost(bytes, tag = "9")]
    trace_id: Vec<u8>,
    #[prost(fixed64, tag = "11")]
    observed: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(message, repeated, tag = "2")]
    records: Vec<Record>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<Pair>,
}

#[derive(Clone, PartialEq, Message)]
struct Resources {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<Scope>,
}

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<Resources>,
}

fn any(value: any::Value) -> Option<Any> {
    Some(Any { value: Some(value) })
}

fn pair(key: &str, value: any::Value) -> Pair {
    Pair { key: key.to_owned(), value: any(value) }
}

fn request() -> Vec<u8> {
    let nested = any::Value::Map(Map {
        values: vec![
            pair("a", any::Value::Int(-7)),
            pair("l", any::Value::List(List { values: vec![any(any::Value::Double(1.5)).unwrap(), Any::default()] })),
            pair("b", any::Value::Bytes(vec![1, 2])),
        ],
    });
    let record = Record {
        time: 1_768_482_001_000_000_000,
        severity: 17,
        body: any(nested.clone()),
        attributes: vec![pair("ok", any::Value::Bool(true)), pair("deep", nested)],
        flags: 1,
        trace_id: (0..16).collect(),
        observed: 1_768_482_001_000_000_001,
    };
    let resource = Resource { attributes: vec![pair("service.name", any::Value::Text("shop".to_owned()))] };
    let scopes = vec![Scope { records: vec![record] }];
    Request { resources: vec![Resources { resource: Some(resource), scopes }] }.encode_to_vec()
}

#[test]
fn protobuf() {
    let body = request();
    let resources = decode_protobuf(&body).unwrap();
    assert_eq!(resources[0].attributes[0], ("service.name".into(), AnyValue::Text("shop".into())));
    let record = &resources[0].scopes[0].records[0];
    assert_eq!((record.severity_number, record.flags, record.observed_ns % 10), (17, 1, 1));
    assert_eq!(record.trace_id, "000102030405060708090a0b0c0d0e0f");
    assert_eq!(record.body.text(), r#"{"a":-7,"l":[1.5,null],"b":"AQI="}"#);
    let mut flat = Vec::new();
    for (name, value) in &record.attributes {
        value.flatten(name, &mut |n, v| flat.push(format!("{n}={v}")));
    }
    assert_eq!(flat, ["ok=true", "deep_a=-7", "deep_l=[1.5,null]", "deep_b=AQI="]);
    for cut in 1..body.len() {
        // Any prefix is an error or a shorter request, never a panic.
        let _either = decode_protobuf(&body[..cut]);
    }
}

#[test]
fn depth_is_bounded() {
    let mut value = any::Value::Int(1);
    for _ in 0..200 {
        value = any::Value::List(List { values: vec![Any { value: Some(value) }] });
    }
    let record = Record { body: any(value), ..Record::default() };
    let scopes = vec![Scope { records: vec![record] }];
    let body = Request { resources: vec![Resources { resource: None, scopes }] }.encode_to_vec();
    assert_eq!(decode_protobuf(&body), Err(OtlpError::Protobuf(ProtobufError::Depth)));
}

#[test]
fn json_means_the_same() {
    let body = br#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},
        "scopeLogs":[{"logRecords":[{"timeUnixNano":"1768482001000000000","observedTimeUnixNano":1768482001000000001,
        "severityNumber":17,"flags":1,"traceId":"000102030405060708090A0B0C0D0E0F","spanId":"","unknown":[1],
        "body":{"kvlistValue":{"values":[{"key":"a","value":{"intValue":"-7"}},
        {"key":"l","value":{"arrayValue":{"values":[{"doubleValue":1.5},{}]}}},{"key":"b","value":{"bytesValue":"AQI="}}]}},
        "attributes":[{"key":"ok","value":{"boolValue":true}},{"key":"deep","value":{"kvlistValue":{"values":[
        {"key":"a","value":{"intValue":-7}},{"key":"l","value":{"arrayValue":{"values":[{"doubleValue":"1.5"},{}]}}},
        {"key":"b","value":{"bytesValue":"AQI="}}]}}}]}]}]}]}"#;
    assert_eq!(decode_json(body).unwrap(), decode_protobuf(&request()).unwrap());
    assert_eq!(decode_json(b"{}").unwrap(), []);
    for bad in ["", "[]", r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"x"}]}]}]}"#] {
        assert!(matches!(decode_json(bad.as_bytes()), Err(OtlpError::Json(_))), "{bad}");
    }
}

#[test]
fn answers() {
    assert_eq!((response_protobuf(None), response_json(None)), (Vec::new(), "{}".to_owned()));
    let refused = Refused { records: 2, message: "too old".to_owned() };
    assert_eq!(response_protobuf(Some(&refused)), b"\x0a\x0b\x08\x02\x12\x07too old");
    assert!(response_json(Some(&refused)).contains(r#""rejectedLogRecords":"2""#));
    let status = Status { code: 14, message: "busy".to_owned(), retry_after_seconds: Some(5) };
    let bytes = status_protobuf(&status);
    assert!(bytes.starts_with(b"\x08\x0e\x12\x04busy\x1a") && bytes.ends_with(b"RetryInfo\x12\x04\x0a\x02\x08\x05"));
}
