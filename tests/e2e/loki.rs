//! The metadata of logs that Explore and Logs Drilldown ask for, and live tails.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::harness::{CAMPANILE, Process, Server, eventually, now_ms};

/// How long a frame of a tail may take to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Five JSON lines of `web` and one logfmt line of `db`, the last few seconds.
async fn with_lines() -> Server {
    let server = Server::start("").await;
    let base = (now_ms() - 10_000) * 1_000_000;
    let line = |i: i64| format!(r#"{{"level":"info","user":{{"name":"u{i}"}},"took":"{i}ms"}}"#);
    let lines: Vec<_> = (0..5).map(|i| (base + i * 1_000_000_000, line(i))).collect();
    server.push(json!({"app": "web", "env": "prod"}), &lines).await;
    server.push(json!({"app": "db", "shard": "7"}), &[(base, "level=warn size=5kB".to_owned())]).await;
    server
}

#[tokio::test]
async fn volumes_and_statistics() {
    let server = with_lines().await;
    let stats = server.get("/loki/api/v1/index/stats", &[("query", "{app=\"web\"}")]).await;
    assert_eq!((&stats["streams"], &stats["entries"]), (&json!(1), &json!(5)));
    assert!(stats["bytes"].as_u64().unwrap() > 200 && stats["chunks"].is_u64(), "{stats}");
    assert!(stats.get("status").is_none() && stats.get("data").is_none(), "{stats}");
    let (status, text) = server.try_get("/loki/api/v1/index/stats", &[("query", "{app=\"web\"} |= \"x\"")]).await;
    assert!(status == 400 && text.contains("only label matchers are supported"), "{status} {text}");

    let volume = server.get("/loki/api/v1/index/volume", &[("query", "{service_name=~\".+\"}")]).await;
    assert_eq!(volume["data"]["resultType"], "vector");
    let names: Vec<_> = volume["data"]["result"].as_array().unwrap().iter().map(|r| r["metric"].clone()).collect();
    assert_eq!(names, [json!({"service_name": "web"}), json!({"service_name": "db"})]);
    assert!(volume["data"]["result"][0]["value"][1].as_str().unwrap().parse::<u64>().unwrap() > 200, "{volume}");
    let params = [("query", "{app=~\".+\"}"), ("targetLabels", "shard"), ("limit", "5000")];
    let volume = server.get("/loki/api/v1/index/volume", &params).await;
    assert_eq!(volume["data"]["result"].as_array().unwrap().len(), 1);
    assert_eq!(volume["data"]["result"][0]["metric"], json!({"shard": "7"}));
    let params = [("query", "{app=~\".+\"}"), ("targetLabels", "app,env"), ("aggregateBy", "labels")];
    let volume = server.get("/loki/api/v1/index/volume", &params).await;
    let metrics: Vec<_> = volume["data"]["result"].as_array().unwrap().iter().map(|r| r["metric"].clone()).collect();
    assert_eq!(metrics, [json!({"app": ""}), json!({"env": ""})]);
    assert_eq!(volume["data"]["result"][0]["value"], volume["data"]["result"][1]["value"], "of web only");
    let range = server.get("/loki/api/v1/index/volume_range", &[("query", "{app=\"web\"}"), ("step", "60s")]).await;
    assert_eq!(range["data"]["resultType"], "matrix");
    assert_eq!(range["data"]["result"][0]["metric"], json!({"app": "web"}));
}

#[tokio::test]
async fn detected_fields_and_labels() {
    let server = with_lines().await;
    let labels = server.get("/loki/api/v1/detected_labels", &[("query", "")]).await;
    let labels = labels["detectedLabels"].as_array().unwrap();
    assert!(labels.contains(&json!({"label": "service_name", "cardinality": 2})), "{labels:?}");
    // Numbers are no labels that a person picks.
    assert!(!labels.iter().any(|l| l["label"] == "shard"), "{labels:?}");

    let params = [("query", "{app=\"web\"} | json | took != \"\""), ("limit", "1000")];
    let fields = server.get("/loki/api/v1/detected_fields", &params).await;
    assert!(fields.get("data").is_none() && fields["limit"] == 1000, "{fields}");
    let field = |name: &str| fields["fields"].as_array().unwrap().iter().find(|f| f["label"] == name).unwrap();
    // Null and not an empty list: Grafana takes a list for a parsed field.
    assert_eq!(field("detected_level")["parsers"], Value::Null);
    assert_eq!(field("took")["type"], "duration");
    assert_eq!(
        *field("user_name"),
        json!({"label": "user_name", "type": "string", "cardinality": 5, "parsers": ["json"], "jsonPath": ["user", "name"]})
    );
    let values = server.get("/loki/api/v1/detected_field/user_name/values", &[("query", "{app=\"web\"}")]).await;
    assert_eq!(values["values"], json!(["u0", "u1", "u2", "u3", "u4"]));
    assert!(values.get("data").is_none(), "{values}");
}

#[tokio::test]
async fn patterns_limits_and_printer() {
    let server = with_lines().await;
    let patterns = server.get("/loki/api/v1/patterns", &[("query", "{app=\"web\"}"), ("step", "3600s")]).await;
    assert_eq!(patterns["status"], "success");
    let first = &patterns["data"][0];
    assert_eq!(first["pattern"], r#"{"level":"info","user":{"name":"<_>"},"took":"<_>"}"#);
    assert_eq!(first["level"], "info");
    let counted: u64 = first["samples"].as_array().unwrap().iter().map(|s| s[1].as_u64().unwrap()).sum();
    assert_eq!(counted, 5);
    let none = server.get("/loki/api/v1/patterns", &[("query", "{app=\"none\"}")]).await;
    assert_eq!(none["data"], json!([]));

    let query = "variants(sum(count_over_time({app=\"web\"}[1h])), sum(bytes_over_time({app=\"web\"}[1h]))) of ({app=\"web\"}[1h])";
    let answer = server.get("/loki/api/v1/query", &[("query", query)]).await;
    let labels: Vec<&Value> = answer["data"]["result"].as_array().unwrap().iter().map(|s| &s["metric"]).collect();
    assert_eq!(labels, [&json!({"__variant__": "0"}), &json!({"__variant__": "1"})], "{answer}");

    let limits = server.get("/loki/api/v1/drilldown-limits", &[]).await;
    assert!(limits["limits"]["max_entries_limit_per_query"].is_u64(), "{limits}");
    assert_eq!(limits["limits"]["retention_period"], "30d");
    assert!(limits["pattern_ingester_enabled"].is_boolean() && limits["version"].is_string(), "{limits}");

    let query = [("query", "sum(rate({a=\"b\"}|json[5m]))by(c)")];
    let printed = server.get("/loki/api/v1/format_query", &query).await;
    assert_eq!(printed, json!({"status": "success", "data": "sum by (c)(rate({a=\"b\"} | json[5m]))"}));
    let (status, body) = server.try_get("/loki/api/v1/format_query", &[("query", "sum(a")]).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["status"]), (400, &json!("invalid-query")));
    assert!(body["error"].is_string(), "{body}");

    assert_eq!(server.http.post(server.url("/flush")).send().await.unwrap().status(), 204);
    assert_eq!(server.lines("{app=\"web\"}").await.len(), 5);
}

/// A WebSocket as far as a tail needs it: the server's frames are not masked.
pub struct Tail(BufReader<TcpStream>);

impl Tail {
    /// Opens one; the status if it is refused.
    pub async fn open(server: &Server, query: &str) -> Result<Tail, u16> {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("query", query).finish();
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
        let head = format!(
            "GET /loki/api/v1/tail?{query} HTTP/1.1\r\nHost: x\r\nOrigin: http://grafana\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut stream = BufReader::new(stream);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        match head.split(' ').nth(1).unwrap().parse().unwrap() {
            101 => Ok(Tail(stream)),
            status => Err(status),
        }
    }

    /// The next text frame; `None` at the end. Pings are passed over.
    pub async fn frame(&mut self) -> Option<Value> {
        loop {
            let opcode = self.0.read_u8().await.ok()? & 0x0f;
            let len = match self.0.read_u8().await.ok()? {
                126 => u64::from(self.0.read_u16().await.ok()?),
                127 => self.0.read_u64().await.ok()?,
                n => u64::from(n),
            };
            let mut payload = vec![0; usize::try_from(len).unwrap()];
            self.0.read_exact(&mut payload).await.ok()?;
            match opcode {
                1 => return Some(serde_json::from_slice(&payload).unwrap()),
                8 => panic!("closed: {payload:?}"),
                _ => {}
            }
        }
    }

    /// The lines of the next frame.
    pub async fn lines(&mut self) -> Vec<String> {
        let frame = tokio::time::timeout(PATIENCE, self.frame()).await.expect("a frame").expect("open");
        let streams = frame["streams"].as_array().unwrap();
        let values = streams.iter().flat_map(|s| s["values"].as_array().unwrap());
        values
            .map(|v| {
                assert!(v[0].as_str().unwrap().parse::<i64>().is_ok() && v.as_array().unwrap().len() == 2, "{frame}");
                v[1].as_str().unwrap().to_owned()
            })
            .collect()
    }
}

#[tokio::test]
async fn tails_give_old_and_new_lines_and_end_with_the_server() {
    let mut server = Server::start("").await;
    let now = now_ms() * 1_000_000;
    let line = |i: i64, text: &str| (now + i, text.to_owned());
    server.push(json!({"app": "web"}), &[line(0, "old keep"), line(1, "old drop"), line(2, "older keep")]).await;
    let mut tail =
        Tail::open(&server, "{app=\"web\"} |= \"keep\" | line_format \"{{.app}} {{__line__}}\"").await.unwrap();
    assert_eq!(tail.lines().await, ["web old keep", "web older keep"]);
    server.push(json!({"app": "other"}), &[line(10, "keep of others")]).await;
    // The double of an old line is no new line.
    server.push(json!({"app": "web"}), &[line(0, "old keep"), line(11, "new keep"), line(12, "new drop")]).await;
    assert_eq!(tail.lines().await, ["web new keep"]);

    for bad in ["{app=", "rate({app=\"web\"}[1m])", ""] {
        assert_eq!(Tail::open(&server, bad).await.err(), Some(400), "{bad}");
    }
    server.process.signal("TERM");
    let end = tokio::time::timeout(PATIENCE, tail.frame()).await.expect("the tail ends");
    assert_eq!(end, None, "no close frame: clients come back after a restart");
    assert_eq!(server.process.wait(20).await, Some(0));
}

/// A client that does not read loses lines, not the server its memory; and it is told which.
#[tokio::test]
async fn slow_tails_are_told_what_they_lost() {
    let server = Server::start("").await;
    let mut tail = Tail::open(&server, "{app=\"web\"}").await.unwrap();
    let now = now_ms() * 1_000_000;
    let mut pushed = 0;
    for batch in 0..40i64 {
        let line = |i: i64| (now + batch * 1000 + i, format!("{batch} {i} {}", "x".repeat(20_000)));
        let lines: Vec<_> = (0..50).map(line).collect();
        pushed += lines.len();
        server.push(json!({"app": "web"}), &lines).await;
    }
    let (mut came, mut lost) = (0, 0);
    while came + lost < pushed {
        let frame = tokio::time::timeout(PATIENCE, tail.frame()).await.expect("a frame").expect("open");
        came +=
            frame["streams"].as_array().unwrap().iter().map(|s| s["values"].as_array().unwrap().len()).sum::<usize>();
        for d in frame["dropped_entries"].as_array().into_iter().flatten() {
            assert_eq!(d["labels"]["app"], "web", "{d}");
            assert!(d["timestamp"].as_str().unwrap().parse::<i64>().unwrap() >= now, "{d}");
            lost += 1;
        }
        // Of very many not each is told; then a last frame shows that the tail lives.
        if lost >= 1000 {
            break;
        }
    }
    assert!(came > 0 && lost > 0, "{came} {lost}");
}

/// Runs the program and gives what it prints.
fn campanile(args: &[&str]) -> String {
    let out = std::process::Command::new(CAMPANILE).args(args).output().unwrap();
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

#[tokio::test]
async fn query_logs_explains() {
    let server = with_lines().await;
    assert_eq!(server.http.post(server.url("/flush")).send().await.unwrap().status(), 204);
    let url = server.url("");
    let out = campanile(&["query", "logs", "--server", &url, "--explain", "{app=\"web\"} |= \"u3\" | json"]);
    assert!(out.contains("\"u3\"") && out.contains("plan of {app=\"web\"} |= \"u3\" | json"), "{out}");
    assert!(out.contains("  1 streams in") && out.contains("  5 rows, of which"), "{out}");
    assert!(out.contains("read 1 lines"), "{out}");
    let query = "sum by (level) (count_over_time({app=\"web\"} | json [1m]))";
    let out = campanile(&["query", "logs", "--server", &url, "--explain", query]);
    assert!(out.contains("read 0 lines (0 bytes) and 5 rows without their lines"), "{out}");
}

#[tokio::test]
async fn lines_are_found_by_their_metadata() {
    let mut server = Server::start("").await;
    let base = (now_ms() - 60_000) * 1_000_000;
    let value = |i: i64| json!([(base + i * 1_000_000).to_string(), format!("request {}", i % 7), {"trace_id": format!("t{i}")}]);
    let values: Vec<Value> = (0..3000).map(value).collect();
    let body = json!({"streams": [{"stream": {"app": "web"}, "values": values}]}).to_string();
    let push = server.http.post(server.url("/loki/api/v1/push")).header("content-type", "application/json").body(body);
    assert_eq!(push.send().await.unwrap().status(), 204);
    let explained =
        |server: &Server, query: &str| campanile(&["query", "logs", "--server", &server.url(""), "--explain", query]);
    let needle = "{app=\"web\"} | trace_id=\"t2345\"";
    assert!(explained(&server, needle).contains("request 0"), "found in memory");
    for restarted in [false, true] {
        if restarted {
            server.crash_and_restart().await;
        } else {
            assert_eq!(server.http.post(server.url("/flush")).send().await.unwrap().status(), 204);
        }
        let out = explained(&server, needle);
        assert!(out.contains("\"trace_id=t2345\" may be in 1 blocks") && out.contains("read 1 lines"), "{out}");
        assert!(out.contains("request 0"), "{out}");
        let out = explained(&server, "{app=\"web\"} | trace_id=~\"t7|t2999|t9999\" |= \"request\"");
        assert!(out.contains("read 2 lines"), "{out}");
        let out = explained(&server, "{app=\"web\"} | trace_id=\"t9999\" or trace_id=\"\"");
        assert!(out.contains("read 3000 lines"), "a missing name counts as empty: {out}");
        let out = explained(&server, "{app=\"web\"} | trace_id=\"t9999\"");
        assert!(out.contains("1 row groups, of which 1 are ruled out") && out.contains("read 0 lines"), "{out}");
        let out = explained(&server, "sum(count_over_time({app=\"web\"} | trace_id=\"t2345\" [5m]))");
        assert!(out.contains("may be in 1 blocks"), "{out}");
    }
}

#[tokio::test]
async fn query_logs_follows() {
    let mut server = with_lines().await;
    let out = server.dir.path().join("followed");
    let url = server.url("");
    let args = ["query", "logs", "--follow", "--server", &*url, "{app=\"db\"} != \"old\""];
    let _following = Process::start(CAMPANILE, &args, &out);
    let followed = || std::fs::read_to_string(&out).unwrap_or_default();
    eventually("the old line", 20, async || followed().contains("level=warn size=5kB").then_some(())).await;
    let now = now_ms() * 1_000_000;
    server.push(json!({"app": "db"}), &[(now, "a new line".to_owned()), (now + 1, "an old line".to_owned())]).await;
    eventually("the new line", 20, async || followed().contains("a new line").then_some(())).await;
    // It goes on when the server comes back.
    server.crash_and_restart().await;
    server.push(json!({"app": "db"}), &[(now_ms() * 1_000_000, "after the crash".to_owned())]).await;
    eventually("a line after the crash", 20, async || followed().contains("after the crash").then_some(())).await;
    let text = followed();
    assert!(!text.contains("an old line") && text.matches("a new line").count() == 1, "{text}");
}
