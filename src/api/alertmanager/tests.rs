//! Requests and answers over a real socket.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::alerting::AlertingOptions;
use crate::exec::SystemClock;
use crate::state::StateDb;

struct Server {
    base: String,
    client: reqwest::Client,
    _dir: tempfile::TempDir,
}

async fn start() -> Server {
    let dir = tempfile::tempdir().unwrap();
    let config = r#"{"route":{"receiver":"r","group_by":["alertname"],"routes":[{"matchers":["team=x"],"receiver":"team-x"}]},"receivers":[{"name":"r"},{"name":"team-x"}]}"#;
    let options = AlertingOptions {
        clock: Arc::new(SystemClock),
        state: Arc::new(StateDb::open(&dir.path().join("state.redb")).unwrap().db),
        external_url: "http://c.example".to_owned(),
        config_dir: dir.path().to_owned(),
        observer: Arc::new(|_| {}),
    };
    let handle = AlertingHandle::start(options, serde_json::from_str(config).unwrap()).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}{MOUNT}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router(handle)).await.unwrap() });
    let _installed = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .tls_certs_only(std::iter::empty::<reqwest::Certificate>())
        .no_proxy()
        .build()
        .unwrap();
    Server { base, client, _dir: dir }
}

impl Server {
    async fn get(&self, path: &str) -> (u16, Value) {
        let r = self.client.get(format!("{}{path}", self.base)).send().await.unwrap();
        let status = r.status().as_u16();
        (status, serde_json::from_slice(&r.bytes().await.unwrap()).unwrap_or_default())
    }

    async fn post(&self, path: &str, body: impl ToString) -> (u16, Value) {
        let request = self.client.post(format!("{}{path}", self.base)).body(body.to_string());
        let r = request.header("content-type", "application/json").send().await.unwrap();
        let status = r.status().as_u16();
        (status, serde_json::from_slice(&r.bytes().await.unwrap()).unwrap_or_default())
    }
}

#[tokio::test]
async fn alerts_in_and_out() {
    let s = start().await;
    let alerts = json!([
        { "labels": { "alertname": "Disk", "team": "x", "empty": "" }, "annotations": { "summary": "full" } },
        { "labels": { "alertname": "Cpu" }, "generatorURL": "http://g.example" },
    ]);
    assert_eq!(s.post("/alerts", alerts).await.0, 200);
    let (status, all) = s.get("/alerts").await;
    assert_eq!((status, all.as_array().unwrap().len()), (200, 2));
    let (_, one) = s.get("/alerts?filter=team%3Dx&filter=alertname%3D~%22Di.%2B%22&receiver=team-.%2A").await;
    let a = &one[0];
    assert_eq!(a["labels"], json!({ "alertname": "Disk", "team": "x" }));
    assert_eq!(a["status"], json!({ "state": "active", "silencedBy": [], "inhibitedBy": [], "mutedBy": [] }));
    assert_eq!(a["receivers"], json!([{ "name": "team-x" }]));
    assert!(a.get("generatorURL").is_none() && a["fingerprint"].as_str().unwrap().len() == 16);
    assert_eq!(s.get("/alerts?receiver=team").await.1, json!([]));
    let (_, groups) = s.get("/alerts/groups?receiver=r").await;
    assert_eq!(
        (groups[0]["labels"].clone(), groups[0]["receiver"].clone()),
        (json!({ "alertname": "Cpu" }), json!({ "name": "r" }))
    );
}

#[tokio::test]
async fn silences_come_and_go() {
    let s = start().await;
    let body = |value: &str, id: &str| {
        json!({ "id": id, "matchers": [{ "name": "a", "value": value, "isRegex": false }], "startsAt": "2020-01-01T00:00:00Z",
            "endsAt": "2999-01-01T00:00:00Z", "createdBy": "ann", "comment": "" })
    };
    let (status, made) = s.post("/silences", body("1", "")).await;
    let id = made["silenceID"].as_str().unwrap().to_owned();
    assert_eq!(status, 200);
    assert_eq!(s.get(&format!("/silence/{id}")).await.1["matchers"][0]["isEqual"], true);
    s.post("/alerts", json!([{ "labels": { "a": "1" } }])).await;
    assert_eq!(s.get("/alerts?active=false").await.1[0]["status"]["silencedBy"], json!([id]));
    let (_, other) = s.post("/silences", body("2", &id)).await;
    assert_ne!(other["silenceID"], id.as_str());
    assert_eq!(s.get(&format!("/silence/{id}")).await.1["status"]["state"], "expired");
    assert_eq!(s.get("/silences?expired=false").await.1.as_array().unwrap().len(), 1);
    assert_eq!(s.get("/silences?filter=a%3D2").await.1.as_array().unwrap().len(), 1);
    let url = format!("{}/silence/{}", s.base, other["silenceID"].as_str().unwrap());
    assert_eq!(s.client.delete(&url).send().await.unwrap().status(), 200);
    assert_eq!(s.get("/silences").await.1[0]["status"]["state"], "expired");
}

#[tokio::test]
async fn errors_have_their_shapes() {
    let s = start().await;
    for (path, body, want, code) in [
        ("/alerts", "{nope", 400, Some(400)),
        ("/alerts", "", 422, Some(602)),
        ("/alerts", "{}", 400, Some(400)),
        ("/alerts", "null", 200, None),
        ("/alerts", r#"[{"annotations":{}}]"#, 422, Some(602)),
        ("/alerts", r#"[{"labels":{}}]"#, 400, None),
        ("/alerts", r#"[{"labels":{"a":1}}]"#, 400, Some(400)),
        ("/alerts", r#"[{"labels":{"a":"\ud800"}}]"#, 200, None),
        ("/silences", r#"{"matchers":[]}"#, 422, Some(602)),
        ("/silences", "[]", 400, Some(400)),
        ("/status", "{}", 405, Some(405)),
        ("/nope", "{}", 404, Some(404)),
    ] {
        let (status, answer) = s.post(path, body).await;
        assert_eq!((status, answer["code"].as_u64()), (want, code), "{path} {body}: {answer}");
    }
    for (path, want) in [
        ("/alerts?filter=x", 400),
        ("/alerts?receiver=%28", 400),
        ("/silence/xyz", 422),
        ("/silence/2f6ae1b4-5d0c-4a35-9d63-6a1f8c1d9e57", 404),
        ("/nope", 404),
    ] {
        assert_eq!(s.get(path).await.0, want, "{path}");
    }
    let text = s.client.post(format!("{}/alerts", s.base)).header("content-type", "text/plain").body("[]");
    assert_eq!(text.send().await.unwrap().status(), 415);
}

#[tokio::test]
async fn status_shows_a_configuration_that_clients_can_read() {
    let s = start().await;
    let (status, answer) = s.get("/status").await;
    assert_eq!((status, answer["cluster"].clone()), (200, json!({ "status": "disabled", "peers": [] })));
    let original = answer["config"]["original"].as_str().unwrap();
    let config: crate::config::AlertmanagerConfig = serde_saphyr::from_str(original).unwrap();
    assert_eq!(config.receivers.len(), 2);
    assert_eq!(s.get("/receivers").await.1, json!([{ "name": "r" }, { "name": "team-x" }]));
}
