//! `campanile query`: asks a running server and prints the answer.

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::Value;

use crate::cli::{fail, query_logs, runtime};
use crate::exec::{Clock, SystemClock};
use crate::text::duration;

/// What is asked.
#[derive(Subcommand)]
pub enum QueryCommand {
    /// Evaluate PromQL, now or over the last while.
    Metrics(MetricsArgs),
    /// Run LogQL over the last while, newest lines last.
    Logs(LogsArgs),
}

/// Where the server is.
#[derive(Args)]
pub struct ServerArgs {
    /// The server's URL.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    pub(super) server: String,
    /// Print the server's JSON as it is.
    #[arg(long)]
    pub(super) json: bool,
}

/// Arguments of `query metrics`.
#[derive(Args)]
pub struct MetricsArgs {
    /// The PromQL expression.
    expr: String,
    #[command(flatten)]
    server: ServerArgs,
    /// Evaluate over the last so long instead of now.
    #[arg(long, value_name = "DURATION")]
    since: Option<String>,
    /// Resolution with --since.
    #[arg(long, value_name = "DURATION", default_value = "15s")]
    step: String,
}

/// Arguments of `query logs`.
#[derive(Args)]
pub struct LogsArgs {
    /// The LogQL expression.
    pub(super) expr: String,
    #[command(flatten)]
    pub(super) server: ServerArgs,
    /// How far back to look.
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    pub(super) since: String,
    /// The most lines to print; with --follow, of those that are there already.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(super) limit: usize,
    /// Print how the query was answered: what was looked at, what was ruled out, how many lines were read.
    #[arg(long, conflicts_with = "follow")]
    pub(super) explain: bool,
    /// Go on with lines as they come in, until interrupted.
    #[arg(long, short)]
    pub(super) follow: bool,
}

pub(super) fn run(command: &QueryCommand) -> ExitCode {
    let result = runtime().context("cannot start the runtime").and_then(|r| {
        r.block_on(async {
            match command {
                QueryCommand::Metrics(a) => metrics(a).await,
                QueryCommand::Logs(a) => query_logs::run(a).await,
            }
        })
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => fail(&e),
    }
}

/// The URL of a path with parameters.
pub(super) fn url_of(server: &ServerArgs, path: &str, params: &[(&str, String)]) -> String {
    let query: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
    format!("{}{path}?{query}", server.server.trim_end_matches('/'))
}

/// What an error answer says.
pub(super) fn error_text(body: String) -> String {
    serde_json::from_str::<Value>(&body)
        .ok()
        .and_then(|v| v.get("error").and_then(Value::as_str).map(str::to_owned))
        .unwrap_or(body)
}

/// Sends a GET and gives the body of a success; a failure's text becomes the error.
pub(super) async fn get(server: &ServerArgs, path: &str, params: &[(&str, String)]) -> anyhow::Result<String> {
    let response =
        reqwest::get(url_of(server, path, params)).await.with_context(|| format!("cannot reach {}", server.server))?;
    let status = response.status();
    let body = response.text().await?;
    if status.is_success() {
        return Ok(body);
    }
    bail!("{status}: {}", error_text(body))
}

async fn metrics(args: &MetricsArgs) -> anyhow::Result<()> {
    let now = SystemClock.now_ms();
    let body = match &args.since {
        None => get(&args.server, "/api/v1/query", &[("query", args.expr.clone())]).await?,
        Some(since) => {
            let params = [
                ("query", args.expr.clone()),
                ("start", seconds(now - duration::parse_ms(since)?)),
                ("end", seconds(now)),
                ("step", args.step.clone()),
            ];
            get(&args.server, "/api/v1/query_range", &params).await?
        }
    };
    if args.server.json {
        println!("{body}");
        return Ok(());
    }
    let answer: Value = serde_json::from_str(&body).context("the server's answer is no JSON")?;
    for notice in ["warnings", "infos"].iter().filter_map(|k| answer.get(k)?.as_array()).flatten() {
        eprintln!("{}", notice.as_str().unwrap_or_default());
    }
    let result = answer.pointer("/data/result").unwrap_or(&Value::Null);
    match answer.pointer("/data/resultType").and_then(Value::as_str) {
        Some("scalar" | "string") => println!("{}", sample_value(result)),
        _ => {
            for series in result.as_array().map(Vec::as_slice).unwrap_or_default() {
                let name = series_text(series.get("metric").unwrap_or(&Value::Null));
                if let Some(value) = series.get("value") {
                    println!("{name} {}", sample_value(value));
                } else if let Some(h) = series.get("histogram") {
                    println!("{name} {}", h.get(1).unwrap_or(&Value::Null));
                } else {
                    println!("{name}");
                    let points = ["values", "histograms"].iter().filter_map(|k| series.get(k)?.as_array()).flatten();
                    for p in points {
                        println!("  {} {}", p.get(0).unwrap_or(&Value::Null), sample_value(p));
                    }
                }
            }
        }
    }
    Ok(())
}

/// Milliseconds as the API's decimal seconds.
fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

/// The second part of `[time, "value"]`.
pub(super) fn sample_value(pair: &Value) -> String {
    match pair.get(1) {
        Some(Value::String(s)) => s.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

/// `name{label="value"}` of a JSON object of labels.
pub(super) fn series_text(metric: &Value) -> String {
    let labels = crate::model::Labels::from_pairs(
        metric.as_object().into_iter().flatten().map(|(k, v)| (k.as_str(), v.as_str().unwrap_or_default())),
    );
    let rest = labels.without_name();
    if rest.is_empty() && !labels.is_empty() {
        labels.metric_name().to_owned()
    } else {
        format!("{}{rest}", labels.metric_name())
    }
}
