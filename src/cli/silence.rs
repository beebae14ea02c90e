//! `campanile silence`: makes, lists, ends and imports silences of a running server, with amtool's words and flags.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::{Value, json};

use crate::cli::alertmanager_client::{ServerArgs, call};
use crate::cli::{fail, runtime};
use crate::config::AlertMatcher;
use crate::config::alert_matcher::parse_matchers;
use crate::exec::{Clock, SystemClock};
use crate::model::time::{parse_rfc3339_ns, rfc3339_ms};
use crate::model::{MatchOp, TimestampMs};
use crate::text::duration;

/// The longest file that `import` reads.
const MAX_IMPORT_BYTES: u64 = 64 << 20;

/// What is done.
#[derive(Subcommand)]
pub enum SilenceCommand {
    /// Make a silence; prints its id.
    Add(AddArgs),
    /// List silences.
    Query(QueryArgs),
    /// End silences now.
    Expire(ExpireArgs),
    /// Make silences of the JSON that `query -o json` prints.
    Import(ImportArgs),
}

/// Arguments of `silence add`.
#[derive(Args)]
pub struct AddArgs {
    /// Matchers such as severity=page or 'instance=~db.*'; a first one without an operator is the alert's name.
    #[arg(required = true, value_name = "MATCHER")]
    matchers: Vec<String>,
    #[command(flatten)]
    server: ServerArgs,
    /// Who makes it; the user's name if not given.
    #[arg(short, long)]
    author: Option<String>,
    /// How long it holds.
    #[arg(short, long, value_name = "DURATION", default_value = "1h")]
    duration: String,
    /// From when, such as 2026-01-31T12:00:00Z; now if not given.
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// Until when; wins over --duration.
    #[arg(short, long, value_name = "TIME")]
    end: Option<String>,
    /// Why.
    #[arg(short, long)]
    comment: String,
}

/// Arguments of `silence query`.
#[derive(Args)]
pub struct QueryArgs {
    /// Only silences with these matchers; a first one without an operator is the alert's name.
    #[arg(value_name = "MATCHER")]
    matchers: Vec<String>,
    #[command(flatten)]
    server: ServerArgs,
    /// Those that are over instead of those in force or to come.
    #[arg(long)]
    expired: bool,
    /// Only ids.
    #[arg(short, long)]
    quiet: bool,
    /// Only those of this author.
    #[arg(long, value_name = "AUTHOR")]
    created_by: Option<String>,
    /// Only those that end (or with --expired ended) within that time.
    #[arg(long, value_name = "DURATION")]
    within: Option<String>,
    /// How they are printed.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// Arguments of `silence expire`.
#[derive(Args)]
pub struct ExpireArgs {
    /// Ids.
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Arguments of `silence import`.
#[derive(Args)]
pub struct ImportArgs {
    /// A JSON array of silences; standard input if not given.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
    /// Make new silences even where the file names ids.
    #[arg(short, long)]
    force: bool,
}

/// How silences are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A table of the essentials.
    #[default]
    Simple,
    /// A table of everything.
    Extended,
    /// What the server says.
    Json,
}

pub(super) fn run(command: &SilenceCommand) -> ExitCode {
    let result = runtime().context("cannot start the runtime").and_then(|r| {
        r.block_on(async {
            match command {
                SilenceCommand::Add(a) => add(a).await,
                SilenceCommand::Query(a) => query(a).await,
                SilenceCommand::Expire(a) => expire(a).await,
                SilenceCommand::Import(a) => import(a).await,
            }
        })
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => fail(&e),
    }
}

/// Matchers as amtool reads them: a first one without an operator is the alert's name.
fn read_matchers(texts: &[String]) -> anyhow::Result<Vec<AlertMatcher>> {
    let mut matchers = Vec::new();
    for (i, text) in texts.iter().enumerate() {
        if i == 0 && !text.contains(['=', '~']) {
            matchers.push(AlertMatcher::new("alertname", MatchOp::Equal, text.as_str()).map_err(anyhow::Error::msg)?);
        } else {
            matchers.extend(parse_matchers(text).map_err(|e| anyhow::anyhow!("bad matcher {text:?}: {e}"))?);
        }
    }
    Ok(matchers)
}

fn read_time(text: &str) -> anyhow::Result<TimestampMs> {
    let ns = parse_rfc3339_ns(text).with_context(|| format!("{text:?} is no time like 2026-01-31T12:00:00Z"))?;
    Ok(ns / 1_000_000)
}

async fn add(args: &AddArgs) -> anyhow::Result<()> {
    let matchers = read_matchers(&args.matchers)?;
    let now = SystemClock.now_ms();
    let start = args.start.as_deref().map(read_time).transpose()?.unwrap_or(now);
    let end = match &args.end {
        Some(end) => read_time(end)?,
        None => {
            let long = duration::parse_ms(&args.duration).with_context(|| format!("--duration {:?}", args.duration))?;
            if long == 0 {
                bail!("--duration is zero: the silence would never hold");
            }
            start + long
        }
    };
    if end <= start {
        bail!("the silence ends ({}) before it begins ({})", rfc3339_ms(end), rfc3339_ms(start));
    }
    let author = args.author.clone().or_else(|| std::env::var("USER").ok()).unwrap_or_default();
    let shown = matchers.iter().map(|m| {
        let regex = matches!(m.op(), MatchOp::Regex | MatchOp::NotRegex);
        json!({"name": m.name(), "value": m.value(), "isRegex": regex, "isEqual": !m.op().is_negative()})
    });
    let body = json!({
        "matchers": shown.collect::<Vec<_>>(), "startsAt": rfc3339_ms(start), "endsAt": rfc3339_ms(end),
        "createdBy": author, "comment": args.comment,
    });
    let answer = call(&args.server, Method::POST, "silences", &[], Some(&body)).await?;
    println!("{}", text_of(&answer, "silenceID"));
    Ok(())
}

async fn query(args: &QueryArgs) -> anyhow::Result<()> {
    let filters: Vec<_> = read_matchers(&args.matchers)?.iter().map(|m| ("filter", m.to_string())).collect();
    let answer = call(&args.server, Method::GET, "silences", &filters, None).await?;
    let now = SystemClock.now_ms();
    let within = args.within.as_deref().map(duration::parse_ms).transpose().context("--within")?;
    let wanted = |s: &&Value| {
        let ends = read_time(&text_of(s, "endsAt")).unwrap_or(now);
        let over = s.pointer("/status/state").and_then(Value::as_str) == Some("expired");
        over == args.expired
            && args.created_by.as_ref().is_none_or(|by| text_of(s, "createdBy") == *by)
            && within.is_none_or(|w| if over { ends >= now - w } else { ends <= now + w })
    };
    let mut silences: Vec<&Value> = answer.as_array().into_iter().flatten().filter(wanted).collect();
    silences.sort_by_key(|s| text_of(s, "endsAt"));
    if args.quiet {
        silences.iter().for_each(|s| println!("{}", text_of(s, "id")));
        return Ok(());
    }
    match args.output {
        Output::Json => println!("{}", Value::Array(silences.into_iter().cloned().collect())),
        Output::Simple => {
            let rows = silences.iter().map(|s| {
                [
                    text_of(s, "id"),
                    matchers_text(s),
                    text_of(s, "endsAt"),
                    text_of(s, "createdBy"),
                    text_of(s, "comment"),
                ]
            });
            print_table(["ID", "Matchers", "Ends At", "Created By", "Comment"], rows.collect());
        }
        Output::Extended => {
            let rows = silences.iter().map(|s| {
                [
                    text_of(s, "id"),
                    matchers_text(s),
                    text_of(s, "startsAt"),
                    text_of(s, "endsAt"),
                    text_of(s, "updatedAt"),
                    text_of(s, "createdBy"),
                    text_of(s, "comment"),
                ]
            });
            print_table(
                ["ID", "Matchers", "Starts At", "Ends At", "Updated At", "Created By", "Comment"],
                rows.collect(),
            );
        }
    }
    Ok(())
}

async fn expire(args: &ExpireArgs) -> anyhow::Result<()> {
    let mut failed = Vec::new();
    for id in &args.ids {
        if let Err(e) = call(&args.server, Method::DELETE, &format!("silence/{id}"), &[], None).await {
            failed.push(format!("{id}: {e:#}"));
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("{}", failed.join("\n")) }
}

async fn import(args: &ImportArgs) -> anyhow::Result<()> {
    let text = match &args.file {
        Some(path) => read_file(path)?,
        None => {
            let mut text = String::new();
            std::io::stdin().take(MAX_IMPORT_BYTES).read_to_string(&mut text).context("cannot read standard input")?;
            text
        }
    };
    let silences: Vec<Value> = serde_json::from_str(&text).context("the input is no JSON array of silences")?;
    let mut failed = Vec::new();
    for (i, mut silence) in silences.into_iter().enumerate() {
        if args.force
            && let Some(object) = silence.as_object_mut()
        {
            object.remove("id");
        }
        match call(&args.server, Method::POST, "silences", &[], Some(&silence)).await {
            Ok(answer) => println!("{}", text_of(&answer, "silenceID")),
            // One that is over cannot be made again; the others still can.
            Err(e) => failed.push(format!("silence {i}: {e:#}")),
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("{} could not be imported:\n{}", failed.len(), failed.join("\n")) }
}

fn read_file(path: &Path) -> anyhow::Result<String> {
    let size = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
    if size > MAX_IMPORT_BYTES {
        bail!("{} has {size} bytes, at most {MAX_IMPORT_BYTES} are read", path.display());
    }
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn text_of(object: &Value, key: &str) -> String {
    object.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The matchers of a silence as they would be typed.
fn matchers_text(silence: &Value) -> String {
    let one = |m: &Value| {
        let flag = |key: &str, default| m.get(key).and_then(Value::as_bool).unwrap_or(default);
        let op = match (flag("isEqual", true), flag("isRegex", false)) {
            (true, false) => MatchOp::Equal,
            (false, false) => MatchOp::NotEqual,
            (true, true) => MatchOp::Regex,
            (false, true) => MatchOp::NotRegex,
        };
        AlertMatcher::new(text_of(m, "name"), op, text_of(m, "value")).map_or_else(|e| e, |m| m.to_string())
    };
    silence.get("matchers").and_then(Value::as_array).into_iter().flatten().map(one).collect::<Vec<_>>().join(" ")
}

fn print_table<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) {
    let mut widths = head.map(|h| h.chars().count());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        println!("{}", padded.collect::<Vec<_>>().join("  ").trim_end());
    };
    line(&head.map(str::to_owned));
    rows.iter().for_each(|row| line(row));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_as_amtool_takes_them() {
        let read = |texts: &[&str]| {
            let owned: Vec<String> = texts.iter().map(|t| (*t).to_owned()).collect();
            read_matchers(&owned).map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
        };
        assert_eq!(read(&["Down", "a=~b.*"]).unwrap(), r#"alertname="Down",a=~"b.*""#);
        assert_eq!(read(&["a!=b", r#"c="d e""#]).unwrap(), r#"a!="b",c="d e""#);
        assert!(read(&["a=b", "nonsense"]).is_err());
        assert!(read(&["a=~("]).is_err());
    }
}
