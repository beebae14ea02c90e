//! `campanile query logs`: lines or series of LogQL, how they were found, and lines as they come in.

use std::time::Duration;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use reqwest::StatusCode;
use reqwest::header::{CONNECTION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use serde_json::Value;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::cli::query::{LogsArgs, error_text, get, sample_value, series_text, url_of};
use crate::exec::{Clock, SystemClock};
use crate::model::time::rfc3339_ns;
use crate::text::duration;

/// How long to wait before a lost tail is opened again.
const RETRY: Duration = Duration::from_secs(1);
/// So often in a row; a server that restarts is back by then.
const MAX_RETRIES: u32 = 60;

pub(super) async fn run(args: &LogsArgs) -> anyhow::Result<()> {
    if args.follow {
        return follow(args).await;
    }
    let now = SystemClock.now_ns();
    let mut params = vec![
        ("query", args.expr.clone()),
        ("start", start(args, now)?.to_string()),
        ("end", now.to_string()),
        ("limit", args.limit.to_string()),
        ("direction", "backward".to_owned()),
    ];
    if args.explain {
        params.push(("explain", "true".to_owned()));
    }
    let body = get(&args.server, "/loki/api/v1/query_range", &params).await?;
    if args.server.json {
        println!("{body}");
        return Ok(());
    }
    let answer: Value = serde_json::from_str(&body).context("the server's answer is no JSON")?;
    let result = list(&answer, "/data/result");
    if answer.pointer("/data/resultType").and_then(Value::as_str) == Some("streams") {
        print_lines(lines_of(result));
    } else {
        for series in result {
            println!("{}", series_text(series.get("metric").unwrap_or(&Value::Null)));
            for p in list(series, "/values") {
                println!("  {} {}", p.get(0).unwrap_or(&Value::Null), sample_value(p));
            }
        }
    }
    if args.explain {
        print!("{}", explanation(answer.pointer("/data/stats").unwrap_or(&Value::Null)));
    }
    Ok(())
}

fn start(args: &LogsArgs, now: i64) -> anyhow::Result<i64> {
    Ok(now.saturating_sub(duration::parse_ms(&args.since)?.saturating_mul(1_000_000)))
}

fn list<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Time, labels and text of each entry of some streams, by time.
fn lines_of(streams: &[Value]) -> Vec<(i64, String)> {
    let mut lines = Vec::new();
    for stream in streams {
        let labels = series_text(stream.get("stream").unwrap_or(&Value::Null));
        for entry in list(stream, "/values") {
            let time = entry.get(0).and_then(Value::as_str).and_then(|t| t.parse().ok()).unwrap_or_default();
            lines.push((time, format!("{labels} {}", sample_value(entry))));
        }
    }
    lines.sort_by_key(|l| l.0);
    lines
}

fn print_lines(lines: Vec<(i64, String)>) {
    for (time, line) in lines {
        println!("{} {line}", rfc3339_ns(time));
    }
}

/// The plan and the work of a query in words.
fn explanation(stats: &Value) -> String {
    let number = |v: &Value, key: &str| v.get(key).and_then(Value::as_u64).unwrap_or_default();
    let mut out = String::new();
    let mut tell = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    for plan in list(stats, "/plan") {
        let n = |key: &str| number(plan, key);
        tell(format!("plan of {}", plan.get("selector").and_then(Value::as_str).unwrap_or_default()));
        tell(format!("  {} streams in {} partitions, {} segments", n("streams"), n("partitions"), n("segments")));
        tell(format!(
            "  {} row groups, of which {} are ruled out by the indexes",
            n("rowGroups"),
            n("rowGroupsRuledOut")
        ));
        for term in list(plan, "/terms") {
            let text = term.get("term").and_then(Value::as_str).unwrap_or_default();
            match term.get("blocks").and_then(Value::as_u64) {
                Some(groups) => tell(format!("    {text:?} may be in {groups} blocks")),
                None => tell(format!("    {text:?} is no help: the index cannot tell where it is")),
            }
        }
        tell(format!(
            "  {} rows, of which {} have to be looked at, {} of them line by line",
            n("rows"),
            n("rowsToRead"),
            n("rowsLineByLine")
        ));
    }
    let summary = stats.get("summary").unwrap_or(&Value::Null);
    let seconds = summary.get("execTime").and_then(Value::as_f64).unwrap_or_default();
    let (read, processed) = (number(summary, "linesRead"), number(summary, "totalLinesProcessed"));
    tell(format!(
        "read {read} lines ({} bytes) and {} rows without their lines, in {:.1} ms",
        number(summary, "totalBytesProcessed"),
        processed.saturating_sub(read),
        seconds * 1e3
    ));
    out
}

/// Prints lines as they come in. A tail that is lost is opened again where it ended.
async fn follow(args: &LogsArgs) -> anyhow::Result<()> {
    let mut from = start(args, SystemClock.now_ns())?;
    let mut retries = 0;
    loop {
        let ended = match open(args, from).await {
            Ok(socket) => {
                retries = 0;
                listen(args, socket, &mut from).await?
            }
            // A server that was never there, or does not like the query, will not change its mind.
            Err(e) if retries == 0 => return Err(e),
            Err(e) => e.to_string(),
        };
        retries += 1;
        if retries > MAX_RETRIES {
            bail!("the tail ended and cannot be opened again: {ended}");
        }
        if retries == 1 {
            eprintln!("-- {ended}; trying again");
        }
        tokio::time::sleep(RETRY).await;
    }
}

type Socket = WebSocketStream<reqwest::Upgraded>;

async fn open(args: &LogsArgs, from: i64) -> anyhow::Result<Socket> {
    let params = [("query", args.expr.clone()), ("start", from.to_string()), ("limit", args.limit.to_string())];
    let key = STANDARD.encode(uuid::Uuid::new_v4().as_bytes());
    // The second version of HTTP has another way to upgrade.
    let client = reqwest::Client::builder().http1_only().build()?;
    let response = client
        .get(url_of(&args.server, "/loki/api/v1/tail", &params))
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, key)
        .send()
        .await
        .with_context(|| format!("cannot reach {}", args.server.server))?;
    let status = response.status();
    if status != StatusCode::SWITCHING_PROTOCOLS {
        bail!("{status}: {}", error_text(response.text().await?));
    }
    Ok(WebSocketStream::from_raw_socket(response.upgrade().await?, Role::Client, None).await)
}

/// Prints what a tail gives until it ends, and says how it ended. `from` is kept behind the newest line.
async fn listen(args: &LogsArgs, mut socket: Socket, from: &mut i64) -> anyhow::Result<String> {
    loop {
        let frame = match socket.next().await {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Close(Some(frame)))) if !frame.reason.is_empty() => {
                bail!("the server ended the tail: {}", frame.reason)
            }
            Some(Ok(Message::Close(_))) | None => return Ok("the server ended the tail".to_owned()),
            Some(Ok(_)) => continue,
            Some(Err(e)) => return Ok(format!("the tail was lost: {e}")),
        };
        if args.server.json {
            println!("{frame}");
        }
        let frame: Value = serde_json::from_str(&frame).context("the server sent a frame that is no JSON")?;
        let lines = lines_of(list(&frame, "/streams"));
        if let Some((newest, _)) = lines.last() {
            *from = (*from).max(newest.saturating_add(1));
        }
        if !args.server.json {
            print_lines(lines);
        }
        let dropped = list(&frame, "/dropped_entries");
        if !dropped.is_empty() {
            eprintln!("-- {} lines were left out: they came faster than they could be sent", dropped.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_in_words() {
        let stats = serde_json::json!({
            "summary": {"linesRead": 3, "totalLinesProcessed": 10, "totalBytesProcessed": 99, "execTime": 0.0015},
            "plan": [{"selector": "{a=\"b\"}", "streams": 2, "rowGroups": 7, "terms": [{"term": "x", "blocks": 1}]}],
        });
        let text = explanation(&stats);
        assert!(text.starts_with("plan of {a=\"b\"}\n  2 streams"), "{text}");
        assert!(text.contains("\"x\" may be in 1 blocks"), "{text}");
        assert!(text.ends_with("read 3 lines (99 bytes) and 7 rows without their lines, in 1.5 ms\n"), "{text}");
    }
}
