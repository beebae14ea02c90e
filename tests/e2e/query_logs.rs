//! Slow queries are told, with who asked; queries that a kill cut short are named at the next start; the file of all queries.

use serde_json::{Value, json};

use crate::harness::{Server, client, eventually, now_ms};

/// The lines of one kind of event in the server's own history.
async fn history(server: &Server, event: &str) -> Vec<Value> {
    let lines = server.lines(&format!("{{job=\"campanile\", event=\"{event}\"}}")).await;
    lines.iter().map(|l| serde_json::from_str(&l.1).unwrap()).collect()
}

fn instant_url(server: &Server, query: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("query", query).finish();
    server.url(&format!("/api/v1/query?{query}"))
}

#[tokio::test]
async fn slow_queries_are_told_with_who_asked() {
    let dir = tempfile::tempdir().unwrap();
    let all = dir.path().join("queries.log");
    let config = format!(
        "self_scrape: false\nhost: {{enabled: false}}\nquery: {{log_slow: 1ms}}\nglobal: {{query_log_file: '{}'}}\n",
        all.display()
    );
    let server = Server::start(&config).await;
    let slow = "count_over_time(vector(1)[1d:100ms])";
    let ask = server.http.get(instant_url(&server, slow));
    let ask = ask.header("x-dashboard-uid", "dash").header("x-panel-id", "7").header("user-agent", "Grafana/12");
    assert_eq!(ask.send().await.unwrap().status(), 200);
    server.push(json!({"app": "a"}), &[(now_ms() * 1_000_000, "one".to_owned())]).await;

    let told = eventually("the slow query in the history", 20, async || {
        history(&server, "slow_query").await.into_iter().find(|l| l["query"] == slow)
    })
    .await;
    for (key, want) in [("language", json!("promql")), ("level", json!("warn")), ("error", Value::Null)] {
        assert_eq!(told[key], want, "{told}");
    }
    assert!(told["seconds"].as_f64().unwrap() >= 0.001, "{told}");
    let by = &told["asked_by"];
    assert_eq!(
        (&by["dashboard"], &by["panel"], &by["user_agent"], &by["address"], &by["path"]),
        (&json!("dash"), &json!("7"), &json!("Grafana/12"), &json!("127.0.0.1"), &json!("/api/v1/query")),
        "{told}"
    );
    assert!(server.log().contains("slow query"), "{}", server.log());
    let found = server.lines("{job=\"campanile\", event=\"slow_query\"} | dashboard=\"dash\"").await;
    assert!(!found.is_empty());
    // Queries that fail are in the file of all queries, too, and so is LogQL.
    assert_eq!(server.try_get("/api/v1/query", &[("query", "up{")]).await.0, 400);
    let logged = eventually("all queries in the file", 20, async || {
        let text = std::fs::read_to_string(&all).unwrap();
        let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let has = |query: &str| lines.iter().any(|l| l["params"]["query"] == query);
        (has(slow) && has("up{") && has("{job=\"campanile\", event=\"slow_query\"}")).then_some(lines)
    })
    .await;
    let one = logged.iter().find(|l| l["params"]["query"] == slow).unwrap();
    assert_eq!(one["httpRequest"], json!({"clientIP": "127.0.0.1", "method": "GET", "path": "/api/v1/query"}));
    assert!(one["stats"]["timings"]["execTotalTime"].as_f64().unwrap() > 0.0, "{one}");
    let failed = logged.iter().find(|l| l["params"]["query"] == "up{").unwrap();
    assert!(failed["error"].as_str().unwrap().contains("parse error"), "{failed}");
}

#[tokio::test]
async fn a_killed_process_tells_what_it_was_doing() {
    let mut server = Server::start("self_scrape: false\nhost: {enabled: false}\n").await;
    // Long enough to be running when the kill comes; it needs little memory.
    let long = "quantile_over_time(0.5, quantile_over_time(0.5, vector(1)[3h:1s])[3h:1s])";
    let (url, http) = (instant_url(&server, long), client());
    let asking = tokio::spawn(async move {
        let ask = async || http.get(&url).header("x-dashboard-uid", "killer").send().await;
        // Again and again, until the server is gone.
        while ask().await.is_ok() {}
    });
    let file = server.dir.path().join("data/queries.active");
    eventually("the query runs", 20, async || {
        let bytes = std::fs::read(&file).unwrap();
        bytes.windows(19).any(|w| w == b"quantile_over_time(").then_some(())
    })
    .await;
    server.crash_and_restart().await;
    asking.abort();
    let told = eventually("the interrupted query in the history", 20, async || {
        history(&server, "interrupted_query").await.into_iter().next()
    })
    .await;
    assert_eq!((&told["query"], &told["language"]), (&json!(long), &json!("promql")), "{told}");
    assert_eq!(told["asked_by"]["dashboard"], "killer");
    assert!(server.log().contains("ran when the process before ended"), "{}", server.log());
    // Told once.
    server.crash_and_restart().await;
    assert_eq!(history(&server, "interrupted_query").await.len(), 1);
}
