//! The exact request of each kind of receiver, as a real server on loopback gets it, and what its answers mean.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::http_receiver::{Deps, group_id};
use super::*;
use crate::alerting::store::test_alert;
use crate::alerting::template_data::{AlertData, Reason};
use crate::alerting::templates::NotificationTemplates;
use crate::config::alerting::GlobalConfig;
use crate::exec::{Clock, SystemClock};
use crate::model::Labels;

const KEY: &str = "{}:{alertname=\"Disk\"}";

/// One request as it came.
#[derive(Clone, Debug)]
struct Got {
    method: String,
    /// With the query.
    path: String,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Status, content type and body of an answer.
type Prepared = (u16, &'static str, &'static str);

/// A server that gives the prepared answers in order, then `200 ok`.
#[derive(Clone, Default)]
struct Sink {
    got: Arc<Mutex<Vec<Got>>>,
    answers: Arc<Mutex<VecDeque<Prepared>>>,
    base: String,
}

impl Sink {
    async fn start(answers: &[Prepared]) -> Sink {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let sink = Sink { base, answers: Arc::new(Mutex::new(answers.iter().copied().collect())), ..Sink::default() };
        let shared = sink.clone();
        let app = Router::new().fallback(move |request: Request| {
            let sink = shared.clone();
            async move { sink.take(request).await }
        });
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        sink
    }

    async fn take(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let body: Bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let headers = parts.headers.iter().map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned())).collect();
        self.got.lock().unwrap().push(Got {
            method: parts.method.to_string(),
            path: parts.uri.to_string(),
            headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        });
        let (status, kind, text) = self.answers.lock().unwrap().pop_front().unwrap_or((200, "text/plain", "ok"));
        let mut answer = (StatusCode::from_u16(status).unwrap(), [(header::CONTENT_TYPE, kind)], text).into_response();
        if status == 429 {
            answer.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("7"));
        }
        answer
    }

    fn requests(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }
}

fn data(resolved: bool) -> Data {
    let end = if resolved { 500 } else { i64::MAX };
    let mut alert = test_alert(&[("alertname", "Disk"), ("instance", "h<1>")], 0, end, 0);
    alert.alert.annotations = Labels::from_pairs([("summary", "nearly full")]);
    alert.alert.generator_url = "http://c.example/graph".to_owned();
    let group = Labels::from_pairs([("alertname", "Disk")]);
    Data::new("r", group, vec![AlertData::new(&alert, 1000)], "http://c.example", Reason::First)
}

/// Makes a notifier of a kind from its JSON, `global` filled in.
fn notifier(kind: &str, config: &Value, global: &Value, base: &Path) -> Arc<dyn Notifier> {
    let global: GlobalConfig = serde_json::from_value(global.clone()).unwrap();
    let templates = Arc::new(NotificationTemplates::load(&[], base, Arc::new(SystemClock)).unwrap());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let deps = Deps { default_http: None, base, templates: &templates, clock: &clock };
    macro_rules! read {
        ($t:ident) => {
            serde_json::from_value::<crate::config::notify::$t>(config.clone()).unwrap()
        };
    }
    match kind {
        "slack" => Arc::new(slack::Slack::new(read!(SlackConfig).resolved(&global), &deps)),
        "pagerduty" => Arc::new(pagerduty::Pagerduty::new(read!(PagerdutyConfig).resolved(&global), &deps)),
        "opsgenie" => Arc::new(opsgenie::Opsgenie::new(read!(OpsgenieConfig).resolved(&global), &deps)),
        "telegram" => Arc::new(telegram::Telegram::new(read!(TelegramConfig).resolved(&global), &deps)),
        "discord" => Arc::new(discord::Discord::new(read!(DiscordConfig), &deps)),
        "msteams" => Arc::new(msteams::MsTeams::new(read!(MsTeamsConfig), &deps)),
        "msteamsv2" => Arc::new(msteams::MsTeamsV2::new(read!(MsTeamsV2Config), &deps)),
        "pushover" => Arc::new(pushover::Pushover::new(read!(PushoverConfig), &deps)),
        "ntfy" => Arc::new(ntfy::Ntfy::new(read!(NtfyConfig), &deps)),
        _ => panic!("no kind {kind}"),
    }
}

async fn send(kind: &str, config: Value, global: Value, resolved: bool) -> Result<(), SendError> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("secret"), "f1le-secret\n").unwrap();
    std::fs::write(dir.path().join("chat"), " -1001234\n").unwrap();
    let data = data(resolved);
    notifier(kind, &config, &global, dir.path()).send(&Notification::new(&data, KEY)).await
}

/// The list that default texts end with.
const LIST: &str = "\nAlerts Firing:\nLabels:\n - alertname = Disk\n - instance = h<1>\nAnnotations:\n - summary = nearly full\nSource: http://c.example/graph\n";
const LINK: &str = "http://c.example/#/alerts?receiver=r";

/// One message for a group while it fires: posted, changed, posted anew where it cannot be changed.
#[tokio::test]
async fn slack_changes_its_message() {
    const JSON: &str = "application/json; charset=utf-8";
    let sink = Sink::start(&[
        (200, JSON, r#"{"ok":true,"channel":"C7","ts":"1.5"}"#),
        (200, JSON, r#"{"ok":true,"channel":"C7","ts":"1.5"}"#),
        (200, JSON, r#"{"ok":false,"error":"message_not_found"}"#),
        (200, JSON, r#"{"ok":true,"channel":"C7","ts":"2.5"}"#),
        (200, JSON, r#"{"ok":false,"error":"invalid_auth"}"#),
    ])
    .await;
    let dir = tempfile::tempdir().unwrap();
    let config = json!({"app_token": "xoxb-1", "app_url": format!("{}/api/chat.postMessage", sink.base), "channel": "#ops", "update_message": true});
    let slack = notifier("slack", &config, &json!({}), dir.path());
    let data = data(false);
    let mut before = BTreeMap::new();
    let mut outcomes = Vec::new();
    for _ in 0..4 {
        let kept = Kept::new(before);
        let sent = slack.send(&Notification { kept: Some(&kept), ..Notification::new(&data, KEY) }).await;
        outcomes.push(sent.map_err(|e| e.to_string()));
        before = kept.into_after();
    }
    assert_eq!(outcomes, [Ok(()), Ok(()), Ok(()), Err("slack refused: invalid_auth".to_owned())]);
    assert_eq!(before, BTreeMap::from([("channel".to_owned(), "C7".to_owned()), ("ts".to_owned(), "2.5".to_owned())]));
    let asked: Vec<_> = sink
        .requests()
        .iter()
        .map(|r| {
            (
                r.path.clone(),
                r.json()["channel"].clone(),
                r.json().get("ts").cloned(),
                r.headers["authorization"].clone(),
            )
        })
        .collect();
    let bearer = || "Bearer xoxb-1".to_owned();
    let post = || ("/api/chat.postMessage".to_owned(), json!("#ops"), None, bearer());
    let update = |ts: &str| ("/api/chat.update".to_owned(), json!("C7"), Some(json!(ts)), bearer());
    assert_eq!(asked, [post(), update("1.5"), update("1.5"), post(), update("2.5")]);
}

#[tokio::test]
async fn slack_by_webhook_and_by_token() {
    let sink =
        Sink::start(&[(200, "text/plain", "ok"), (200, "application/json; charset=utf-8", r#"{"ok":true}"#)]).await;
    let fields = json!([{"title": "host", "value": "{{ .CommonLabels.instance }}", "short": true}, {"title": "a", "value": "b"}]);
    let actions =
        json!([{"type": "button", "text": "look", "url": "{{ .ExternalURL }}", "confirm": {"text": "sure?"}}]);
    let config = json!({"channel": "#ops", "fields": fields, "actions": actions, "title": "x".repeat(2000), "message_text": "hey"});
    send("slack", config, json!({"slack_api_url": format!("{}/hook", sink.base)}), false).await.unwrap();
    let own = json!({"channel": "#ops", "app_token_file": "secret", "app_url": format!("{}/post", sink.base)});
    send("slack", own, json!({"slack_api_url": "http://unused.example"}), true).await.unwrap();
    let got = sink.requests();
    assert_eq!((got[0].method.as_str(), got[0].path.as_str()), ("POST", "/hook"));
    assert!(!got[0].headers.contains_key("authorization"));
    let title = format!("{}\u{2026}", "x".repeat(1023));
    assert_eq!(
        got[0].json(),
        json!({
            "channel": "#ops", "username": "Alertmanager", "text": "hey",
            "attachments": [{
                "title": title, "title_link": LINK, "text": "", "fallback": format!("[FIRING:1] Disk (h<1>) | {LINK}"),
                "callback_id": "", "footer": "", "color": "danger", "mrkdwn_in": ["fallback", "pretext", "text"],
                "fields": [{"title": "host", "value": "h<1>", "short": true}, {"title": "a", "value": "b", "short": false}],
                "actions": [{"type": "button", "text": "look", "url": "http://c.example", "confirm": {"text": "sure?"}}],
            }],
        })
    );
    assert_eq!((got[1].path.as_str(), got[1].headers["authorization"].as_str()), ("/post", "Bearer f1le-secret"));
    assert_eq!(got[1].json()["attachments"][0]["color"], "good");
}

#[tokio::test]
async fn slack_refuses_with_status_200() {
    for (answer, reason, retry) in [
        ((200, "text/plain", "no_team"), FailureReason::ClientError, false),
        ((200, "application/json", r#"{"ok":false,"error":"channel_not_found"}"#), FailureReason::ClientError, false),
        ((200, "application/json", r#"{"ok":false,"error":"ratelimited"}"#), FailureReason::ServerError, true),
        ((200, "application/json", "<html>"), FailureReason::ServerError, true),
        ((404, "text/plain", "no_service"), FailureReason::ClientError, false),
        ((500, "text/plain", ""), FailureReason::ServerError, true),
    ] {
        let sink = Sink::start(&[answer]).await;
        let e = send("slack", json!({"api_url": sink.base}), json!({}), false).await.unwrap_err();
        assert_eq!((e.reason, e.retry), (reason, retry), "{answer:?}: {e}");
    }
}

#[tokio::test]
async fn pagerduty_of_both_versions() {
    let sink = Sink::start(&[]).await;
    let global = json!({"pagerduty_url": format!("{}/v2/enqueue", sink.base)});
    let config = json!({"routing_key": "r0uting", "severity": "{{ \"critical\" }}", "class": "disk", "details": {"host": "{{ .CommonLabels.instance }}", "resolved": "", "more": {"list": ["{{ .Status }}", 7]}},
        "images": [{"src": "", "alt": "gone"}, {"src": "http://i.example/1.png"}], "links": [{"href": "http://l.example", "text": "l"}]});
    send("pagerduty", config.clone(), global.clone(), false).await.unwrap();
    send("pagerduty", json!({"routing_key_file": "secret"}), global.clone(), true).await.unwrap();
    send("pagerduty", json!({"service_key": "s3rvice", "url": format!("{}/v1", sink.base)}), global, false)
        .await
        .unwrap();
    let got = sink.requests();
    let list = LIST.strip_prefix("\nAlerts Firing:\n").unwrap();
    assert_eq!(got[0].path, "/v2/enqueue");
    assert_eq!(
        got[0].json(),
        json!({
            "routing_key": "r0uting", "dedup_key": group_id(KEY), "event_action": "trigger",
            "payload": {
                "summary": "[FIRING:1] Disk (h<1>)", "source": "Alertmanager", "severity": "critical", "class": "disk",
                "custom_details": {"host": "h<1>", "more": {"list": ["firing", 7]}, "firing": list, "resolved": "", "num_firing": "1", "num_resolved": "0"},
            },
            "client": "Alertmanager", "client_url": LINK,
            "images": [{"src": "http://i.example/1.png", "alt": "", "href": ""}], "links": [{"href": "http://l.example", "text": "l"}],
        })
    );
    // The digest that other programs compute as well.
    assert_eq!(group_id("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    let end = got[1].json();
    assert_eq!(
        (&end["event_action"], &end["routing_key"], &end["payload"]["severity"]),
        (&json!("resolve"), &json!("f1le-secret"), &json!("error"))
    );
    assert_eq!(
        got[2].json(),
        json!({
            "service_key": "s3rvice", "event_type": "trigger", "incident_key": group_id(KEY), "description": "[FIRING:1] Disk (h<1>)",
            "client": "Alertmanager", "client_url": LINK,
            "details": {"firing": list, "resolved": "", "num_firing": "1", "num_resolved": "0"},
        })
    );
    for (config, answer, retry, part) in [
        (
            json!({"routing_key": "k"}),
            (400, "application/json", r#"{"message":"bad","errors":["no source"]}"#),
            false,
            "bad: no source",
        ),
        (json!({"routing_key": "k"}), (403, "text/plain", ""), false, "403"),
        (json!({"routing_key": "k"}), (429, "text/plain", ""), true, "429"),
        (json!({"service_key": "k"}), (403, "text/plain", ""), true, "403"),
    ] {
        let sink = Sink::start(&[answer]).await;
        let mut config = config;
        config["url"] = json!(sink.base);
        let e = send("pagerduty", config, json!({}), false).await.unwrap_err();
        assert_eq!(e.retry, retry, "{e}");
        assert!(e.message.contains(part), "{e}");
    }
    // An event that is too large goes without its details.
    let sink = Sink::start(&[]).await;
    let big = json!({"routing_key": "k", "url": sink.base, "details": {"all": "y".repeat(600_000)}});
    send("pagerduty", big, json!({}), false).await.unwrap();
    let got = sink.requests()[0].json();
    assert!(got["payload"]["custom_details"]["error"].as_str().unwrap().contains("left out"));
}

#[tokio::test]
async fn opsgenie_creates_updates_and_closes() {
    let sink = Sink::start(&[]).await;
    let global = json!({"opsgenie_api_url": format!("{}/", sink.base), "opsgenie_api_key": "g3nie"});
    let config = json!({"update_alerts": true, "tags": "a, {{ .CommonLabels.instance }},", "priority": "P2", "note": "n", "entity": "e", "actions": "ping",
        "message": "m".repeat(200), "description": "d", "details": {"k": "v"},
        "responders": [{"name": "one,two", "type": "teams"}, {"name": "{{ .CommonLabels.none }}", "type": "team"}, {"username": "u", "type": "user"}]});
    send("opsgenie", config, global.clone(), false).await.unwrap();
    send("opsgenie", json!({"api_key_file": "secret"}), global, true).await.unwrap();
    let got = sink.requests();
    let id = group_id(KEY);
    let message = format!("{}\u{2026}", "m".repeat(129));
    let seen: Vec<_> = got.iter().map(|g| (g.method.as_str(), g.path.clone())).collect();
    assert_eq!(
        seen,
        [
            ("POST", "/v2/alerts".to_owned()),
            ("PUT", format!("/v2/alerts/{id}/message?identifierType=alias")),
            ("PUT", format!("/v2/alerts/{id}/description?identifierType=alias")),
            ("POST", format!("/v2/alerts/{id}/close?identifierType=alias")),
        ]
    );
    assert_eq!(got[0].headers["authorization"], "GenieKey g3nie");
    assert_eq!(
        got[0].json(),
        json!({
            "alias": id, "message": message, "description": "d", "source": LINK,
            "details": {"alertname": "Disk", "instance": "h<1>", "k": "v"},
            "responders": [{"name": "one", "type": "team"}, {"name": "two", "type": "team"}, {"username": "u", "type": "user"}],
            "tags": ["a", "h<1>"], "note": "n", "priority": "P2", "entity": "e", "actions": ["ping"],
        })
    );
    assert_eq!((got[1].json(), got[2].json()), (json!({"message": message}), json!({"description": "d"})));
    assert_eq!(
        (got[3].json(), got[3].headers["authorization"].as_str()),
        (json!({"source": LINK}), "GenieKey f1le-secret")
    );
    let sink = Sink::start(&[(429, "text/plain", "slow")]).await;
    let e = send("opsgenie", json!({"api_url": sink.base, "api_key": "key1"}), json!({}), false).await.unwrap_err();
    assert_eq!((e.reason, e.retry, e.retry_after), (FailureReason::RateLimited, true, Some(Duration::from_secs(7))));
}

#[tokio::test]
async fn telegram_escapes_and_falls_back_to_plain_text() {
    let broken = (400, "application/json", r#"{"ok":false,"description":"Bad Request: can't parse entities: x"}"#);
    let sink = Sink::start(&[(200, "application/json", r#"{"ok":true}"#), broken]).await;
    let global = json!({"telegram_api_url": sink.base, "telegram_bot_token": "77:abc"});
    send(
        "telegram",
        json!({"chat_id": -42, "message_thread_id": 3, "disable_notifications": true}),
        global.clone(),
        false,
    )
    .await
    .unwrap();
    send("telegram", json!({"chat_id_file": "chat", "message": "<b>x", "bot_token_file": "secret"}), global, false)
        .await
        .unwrap();
    let got = sink.requests();
    assert_eq!(got[0].path, "/bot77:abc/sendMessage");
    assert_eq!(
        got[0].json(),
        json!({
            "chat_id": -42, "message_thread_id": 3, "text": LIST.replace('<', "&lt;").replace('>', "&gt;"), "parse_mode": "HTML",
            "disable_web_page_preview": true, "disable_notification": true,
        })
    );
    assert_eq!(
        (got.len(), got[1].json()["chat_id"].as_i64(), got[1].json()["parse_mode"].as_str()),
        (3, Some(-1_001_234), Some("HTML"))
    );
    assert_eq!((got[2].json().get("parse_mode"), got[2].json()["text"].as_str()), (None, Some("<b>x")));
    assert_eq!(got[1].path, "/botf1le-secret/sendMessage");
    for (answer, retry, pause) in [
        ((429, "application/json", r#"{"ok":false,"parameters":{"retry_after":9}}"#), true, Some(7)),
        ((502, "application/json", r#"{"ok":false,"parameters":{"retry_after":9}}"#), true, Some(9)),
        ((401, "application/json", r#"{"ok":false}"#), false, None),
    ] {
        let sink = Sink::start(&[answer]).await;
        let config = json!({"api_url": sink.base, "bot_token": "1:hush", "chat_id": 1});
        let e = send("telegram", config, json!({}), false).await.unwrap_err();
        assert_eq!((e.retry, e.retry_after.map(|p| p.as_secs())), (retry, pause), "{e}");
        assert!(!e.message.contains("hush"), "{e}");
    }
    // The token is part of the address; an error of the connection must not show it.
    let config = json!({"api_url": "http://127.0.0.1:9", "bot_token": "1:hush", "chat_id": 1});
    let e = send("telegram", config, json!({}), false).await.unwrap_err();
    assert!(e.retry && !e.message.contains("hush"), "{e}");
}

#[tokio::test]
async fn discord_keeps_its_limits() {
    let sink = Sink::start(&[(204, "text/plain", "")]).await;
    let config = json!({"webhook_url": format!("{}/w/tok", sink.base), "content": "c".repeat(3000), "title": "t".repeat(300), "username": "bell"});
    send("discord", config, json!({}), false).await.unwrap();
    send("discord", json!({"webhook_url": sink.base, "message": "d".repeat(5000)}), json!({}), true).await.unwrap();
    let got = sink.requests();
    assert_eq!(
        got[0].json(),
        json!({
            "content": format!("{}\u{2026}", "c".repeat(1999)), "username": "bell",
            "embeds": [{"title": format!("{}\u{2026}", "t".repeat(255)), "description": LIST, "color": 10_038_562}],
        })
    );
    let end = got[1].json();
    assert_eq!((end["embeds"][0]["color"].as_u64(), end["content"].as_str()), (Some(3_066_993), Some("")));
    assert_eq!(end["embeds"][0]["description"].as_str().unwrap().chars().count(), 4096);
}

#[tokio::test]
async fn teams_of_both_kinds() {
    let sink = Sink::start(&[]).await;
    send("msteams", json!({"webhook_url": format!("{}/old", sink.base), "text": "t"}), json!({}), false).await.unwrap();
    send("msteamsv2", json!({"webhook_url": format!("{}/new", sink.base), "text": "t"}), json!({}), true)
        .await
        .unwrap();
    let got = sink.requests();
    let subject = "[FIRING:1] Disk (h<1>)";
    assert_eq!(
        got[0].json(),
        json!({
            "@context": "http://schema.org/extensions", "@type": "MessageCard", "title": subject, "summary": subject, "text": "t",
            "themeColor": "8C1A1A",
        })
    );
    assert_eq!(
        got[1].json(),
        json!({
            "type": "message",
            "attachments": [{
                "contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": null,
                "content": {
                    "$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.2",
                    "body": [
                        {"type": "TextBlock", "text": "[RESOLVED] Disk (h<1>)", "weight": "Bolder", "size": "Medium", "wrap": true, "style": "heading", "color": "Good"},
                        {"type": "TextBlock", "text": "t", "wrap": true},
                    ],
                    "msteams": {"width": "full"},
                },
            }],
        })
    );
    let sink =
        Sink::start(&[(200, "text/plain", "Webhook message delivery failed with error: HTTP error 429 returned")])
            .await;
    let e = send("msteams", json!({"webhook_url": sink.base}), json!({}), false).await.unwrap_err();
    assert!(e.retry, "{e}");
}

#[tokio::test]
async fn pushover_sends_a_form() {
    let sink = Sink::start(&[]).await;
    let api = format!("{}/1/messages.json", sink.base);
    let config = json!({"api_url": api, "token": "app-token", "user_key_file": "secret", "retry": "30s", "ttl": "1h", "sound": "siren", "html": true, "message": "<b>{{ .CommonLabels.instance }}</b>"});
    send("pushover", config, json!({}), false).await.unwrap();
    send(
        "pushover",
        json!({"api_url": api, "token": "app-token", "user_key": "user", "message": " "}),
        json!({}),
        true,
    )
    .await
    .unwrap();
    let got = sink.requests();
    let form = |g: &Got| form_urlencoded::parse(g.body.as_bytes()).into_owned().collect::<BTreeMap<String, String>>();
    let pairs =
        |p: &[(&str, &str)]| p.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<BTreeMap<_, _>>();
    assert_eq!(got[0].headers["content-type"], "application/x-www-form-urlencoded");
    assert_eq!(
        form(&got[0]),
        pairs(&[
            ("token", "app-token"),
            ("user", "f1le-secret"),
            ("title", "[FIRING:1] Disk (h<1>)"),
            ("message", "<b>h&lt;1&gt;</b>"),
            ("html", "1"),
            ("url", LINK),
            ("sound", "siren"),
            ("priority", "2"),
            ("retry", "30"),
            ("expire", "3600"),
            ("ttl", "3600"),
        ])
    );
    let end = form(&got[1]);
    assert_eq!((end["priority"].as_str(), end["message"].as_str(), end.get("retry")), ("0", "(no details)", None));
    let sink = Sink::start(&[(400, "application/json", r#"{"errors":["user is invalid"]}"#)]).await;
    let e = send("pushover", json!({"api_url": sink.base, "token": "t", "user_key": "u"}), json!({}), false)
        .await
        .unwrap_err();
    assert!(!e.retry && e.message.contains("user is invalid"), "{e}");
}

#[tokio::test]
async fn ntfy_publishes_json() {
    let sink = Sink::start(&[]).await;
    let config = json!({"url": sink.base, "topic": "ops", "token_file": "secret", "actions": [{"label": "open", "url": "{{ .ExternalURL }}"}]});
    send("ntfy", config, json!({}), false).await.unwrap();
    let http = json!({"basic_auth": {"username": "u", "password": "p w"}});
    send(
        "ntfy",
        json!({"url": sink.base, "topic": "ops", "message": "é".repeat(3000), "priority": "max", "http_config": http}),
        json!({}),
        true,
    )
    .await
    .unwrap();
    let got = sink.requests();
    assert_eq!((got[0].path.as_str(), got[0].headers["authorization"].as_str()), ("/", "Bearer f1le-secret"));
    assert_eq!(
        got[0].json(),
        json!({
            "topic": "ops", "title": "[FIRING:1] Disk (h<1>)", "message": "Disk on h<1>: nearly full\n", "priority": 4,
            "tags": ["rotating_light"], "click": LINK, "actions": [{"action": "view", "label": "open", "url": "http://c.example"}],
        })
    );
    let end = got[1].json();
    assert_eq!((end["priority"].as_u64(), end["tags"][0].as_str()), (Some(5), Some("white_check_mark")));
    assert!(end["message"].as_str().unwrap().len() <= 4096);
    assert_eq!(got[1].headers["authorization"], "Basic dTpwIHc=");
    let e = send("ntfy", json!({"url": sink.base, "topic": "ops", "priority": "soon"}), json!({}), false)
        .await
        .unwrap_err();
    assert_eq!((e.reason, e.retry), (FailureReason::Template, false));
}

#[tokio::test]
async fn an_exchange_shows_everything_but_secrets() {
    let sink = Sink::start(&[(200, "text/plain", "ok")]).await;
    let data = data(false);
    let config = json!({"routing_key": "r0uting-key", "url": format!("{}/v2", sink.base), "http_config": {"authorization": {"credentials": "t0psecret"}}});
    let dir = tempfile::tempdir().unwrap();
    let exchange = exchange::Exchange::default();
    let notification = Notification {
        exchange: Some(&exchange),
        fallback_for: Some("ops"),
        possible_repeat: true,
        ..Notification::new(&data, KEY)
    };
    notifier("pagerduty", &config, &json!({}), dir.path()).send(&notification).await.unwrap();
    let lines = exchange.lines().join("\n");
    for part in [
        &format!("> POST {}/v2", sink.base),
        "> authorization: <secret>",
        "\"routing_key\":\"<secret>\"",
        "< 200 OK",
        "< ok",
    ] {
        assert!(lines.contains(part), "{part} is not in {lines}");
    }
    assert!(!lines.contains("t0psecret") && !lines.contains("r0uting-key"), "{lines}");
    let got = &sink.requests()[0];
    assert_eq!(
        (got.headers["x-campanile-fallback-for"].as_str(), got.headers["x-campanile-retry"].as_str()),
        ("ops", "1")
    );
}
