use super::*;
use crate::config::ByteSize;
use crate::config::logs::LogLimits;
use crate::ingest::test_store::{entries, intake, options, request};

#[test]
fn each_item_has_its_fate() {
    let dir = tempfile::tempdir().unwrap();
    let intake = intake(dir.path(), options(), &LogLimits::default());
    let parameters = [("pipeline", "geo"), ("refresh", "true"), ("team", "blue")];
    let target = Target::read(&ElasticConfig::default(), parameters, Some("app-2026.01.15".to_owned()));
    let body = br#"{"create":{"_id":"7"}}
{"@timestamp":"2026-01-15T13:00:01.000Z","message":"one","service":{"name":"shop"},"log":{"level":"WARN","offset":12}}
{"index":{"_index":"other"}}
{"@timestamp":"2026-01-15T13:00:01.000Z","message":"same"}
{"index":{"_index":"other"}}
{"@timestamp":"2026-01-15T13:00:01.000Z","message":"same"}
{"delete":{"_id":"1"}}
{"index":{}}
{"@timestamp":"yesterday","message":"x"}
{"index":{}}
not json
{"update":{"_id":"2"}}
{"doc":{}}
"#;
    let answer: Value = serde_json::from_str(&bulk(&intake, &target, &request(body)).unwrap()).unwrap();
    assert_eq!(answer["errors"], true);
    let fates: Vec<String> = answer["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| {
            let (verb, item) = i.as_object().unwrap().iter().next().unwrap();
            format!("{verb} {} {} {}", item["_index"], item["status"], item["error"]["type"])
        })
        .collect();
    let app = "\"app-2026.01.15\"";
    let expected = [
        format!("create {app} 201 null"),
        "index \"other\" 201 null".to_owned(),
        "index \"other\" 201 null".to_owned(),
        format!("delete {app} 400 \"illegal_argument_exception\""),
        format!("index {app} 400 \"document_parsing_exception\""),
        format!("index {app} 400 \"document_parsing_exception\""),
        format!("update {app} 400 \"illegal_argument_exception\""),
    ];
    assert_eq!(fates, expected);
    assert_eq!(answer["items"][0]["create"]["_id"], "7");
    // Sent again it changes nothing: the same documents have the same times.
    bulk(&intake, &target, &request(body)).unwrap();
    let t = 1_768_482_001_000_000_000;
    let other = Labels::from_pairs([("index", "other"), ("service_name", "unknown_service"), ("team", "blue")]);
    let unknown = Labels::from_pairs([("detected_level", "unknown"), ("pipeline", "geo")]);
    let expected = [
        (
            t,
            "one".to_owned(),
            Labels::from_pairs([("index", "app"), ("service_name", "shop"), ("team", "blue")]),
            Labels::from_pairs([
                ("detected_level", "warn"),
                ("log_level", "WARN"),
                ("log_offset", "12"),
                ("pipeline", "geo"),
            ]),
        ),
        (t, "same".to_owned(), other.clone(), unknown.clone()),
        (t + 1, "same".to_owned(), other, unknown),
    ];
    let mut found = entries(intake.store());
    found.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    assert_eq!(found, expected);
}

#[test]
fn brief_answers_and_single_documents() {
    let dir = tempfile::tempdir().unwrap();
    let intake = intake(dir.path(), options(), &LogLimits::default());
    let parameters = [("filter_path", "errors,items.*.error,items.*.status")];
    let target = Target::read(&ElasticConfig::default(), parameters, None);
    let answer = bulk(&intake, &target, &request(b"{\"create\":{}}\n{\"message\":\"x\"}\n")).unwrap();
    assert!(answer.contains(r#""items":[{"create":{"status":201}}]"#), "{answer}");
    let target = Target::read(&ElasticConfig::default(), [], Some("i".to_owned()));
    let (status, body) = document(&intake, &target, Verb::Index, None, &request(b"{\"message\":\"y\"}")).unwrap();
    assert!(status == 201 && body.contains(r#""result":"created""#), "{body}");
    let (status, body) = document(&intake, &target, Verb::Index, None, &request(b"[1]")).unwrap();
    assert!(status == 400 && body.contains("document_parsing_exception"), "{body}");
    assert_eq!(entries(intake.store()).len(), 2);
}

#[test]
fn documents_of_very_many_fields_stay_whole() {
    let dir = tempfile::tempdir().unwrap();
    let intake = intake(dir.path(), options(), &LogLimits::default());
    let target = Target::read(&ElasticConfig::default(), [], None);
    let fields: Vec<String> = (0..200).map(|i| format!("\"f{i}\":{i}")).collect();
    let document = format!("{{\"message\":\"m\",{}}}", fields.join(","));
    bulk(&intake, &target, &request(format!("{{\"index\":{{}}}}\n{document}\n").as_bytes())).unwrap();
    let found = entries(intake.store());
    assert_eq!((found[0].1.as_str(), found[0].3.len()), (document.as_str(), 1));
}

#[test]
fn a_sender_over_its_rate_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let limits = LogLimits { sender_rate: ByteSize(1024), sender_burst: ByteSize(1024), ..LogLimits::default() };
    let intake = intake(dir.path(), options(), &limits);
    let target = Target::read(&ElasticConfig::default(), [], None);
    let line = "v".repeat(2000);
    let body = format!("{{\"index\":{{}}}}\n{{\"message\":\"{line}\"}}\n");
    bulk(&intake, &target, &request(body.as_bytes())).unwrap();
    let error = bulk(&intake, &target, &request(body.as_bytes())).unwrap_err();
    assert_eq!((error.status, error.retry_after_seconds), (429, Some(1)));
    assert!(error_of(&error).contains("es_rejected_execution_exception"));
    let other = LogRequest { sender: "b", ..request(body.as_bytes()) };
    assert!(bulk(&intake, &target, &other).is_ok());
}

#[test]
fn dates_of_index_names() {
    for (index, name) in [
        ("logstash-2026.01.15", "logstash"),
        ("a-2026-01-15", "a"),
        ("app-2", "app-2"),
        ("filebeat-9.0.0-2026.01.15", "filebeat-9.0.0"),
        ("-2026.01.15", "-2026.01.15"),
        ("x", "x"),
    ] {
        assert_eq!(without_date(index), name, "{index}");
    }
}
