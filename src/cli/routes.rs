//! `campanile routes`: shows the route tree, and who is told of an alert with given labels; prints what amtool prints.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;

use crate::alerting::route::{Route, RouteTree};
use crate::cli::alertmanager_client::{ServerArgs, call};
use crate::cli::{fail, runtime};
use crate::config::{AlertmanagerConfig, Expand, Problem, Problems, Tree};
use crate::model::Labels;

/// What is asked.
#[derive(Subcommand)]
pub enum RoutesCommand {
    /// Print the route tree.
    Show(Source),
    /// Print who is told of an alert with these labels.
    Test(TestArgs),
}

/// Where the tree comes from.
#[derive(Args)]
pub struct Source {
    /// A campanile.yml or an alertmanager.yml; without one the running server is asked.
    #[arg(long = "config.file", value_name = "FILE")]
    config_file: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Arguments of `routes test`.
#[derive(Args)]
pub struct TestArgs {
    #[command(flatten)]
    source: Source,
    /// Print the routes that match as a tree, too.
    #[arg(long)]
    tree: bool,
    /// Exit with 1 unless exactly these receivers are told, by commas, in order.
    #[arg(long = "verify.receivers", value_name = "NAMES")]
    verify_receivers: Option<String>,
    /// Labels of the alert.
    #[arg(value_name = "NAME=VALUE")]
    labels: Vec<String>,
}

pub(super) fn run(command: &RoutesCommand) -> ExitCode {
    let result = runtime().context("cannot start the runtime").and_then(|r| {
        r.block_on(async {
            match command {
                RoutesCommand::Show(source) => show(source).await,
                RoutesCommand::Test(args) => test(args).await,
            }
        })
    });
    match result {
        Ok(code) => code,
        Err(e) => fail(&e),
    }
}

async fn show(source: &Source) -> anyhow::Result<ExitCode> {
    let tree = load(source).await?;
    println!("Routing tree:");
    let root = root(&tree)?;
    println!("{}", draw(&branch(&root)));
    Ok(ExitCode::SUCCESS)
}

async fn test(args: &TestArgs) -> anyhow::Result<ExitCode> {
    let mut pairs = Vec::new();
    for text in &args.labels {
        let Some((name, value)) = text.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            bail!("bad label {text:?}; write name=value");
        };
        let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
        pairs.push((name, value));
    }
    let labels = Labels::from_pairs(pairs);
    let tree = load(&args.source).await?;
    let root = root(&tree)?;
    if args.tree {
        println!("Matching routes:");
        println!("{}\n", draw(&matching_branch(&root, &labels)));
    }
    let names: Vec<String> = tree.matching(&labels).iter().map(|r| r.options.receiver.clone()).collect();
    let told = names.join(",");
    println!("{told}");
    if args.verify_receivers.as_ref().is_some_and(|wanted| *wanted != told) {
        println!("WARNING: Expected receivers did not match resolved receivers.");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn root(tree: &RouteTree) -> anyhow::Result<std::sync::Arc<Route>> {
    tree.root().cloned().context("the configuration has no route: nobody is told of anything")
}

async fn load(source: &Source) -> anyhow::Result<RouteTree> {
    let config = match &source.config_file {
        Some(path) => from_file(path)?,
        None => {
            let status = call(&source.server, Method::GET, "status", &[], None).await?;
            let text = status.pointer("/config/original").and_then(Value::as_str).unwrap_or_default().to_owned();
            // Secrets are masked in it, which routes do not need.
            decode("the server's configuration", &text)?
        }
    };
    RouteTree::compile(config.route.as_ref()).map_err(anyhow::Error::msg)
}

fn from_file(path: &Path) -> anyhow::Result<AlertmanagerConfig> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {name}"))?;
    let (tree, _) = Tree::parse(&name, &text, Expand::Environment);
    // An alertmanager.yml has its route at the top.
    if tree.root().get("route").is_some() {
        return decode(&name, &text);
    }
    let loaded = crate::config::load(Some(path)).map_err(|p| listed(&p))?;
    Ok(loaded.config.alertmanager.unwrap_or_default())
}

fn decode(name: &str, text: &str) -> anyhow::Result<AlertmanagerConfig> {
    let (config, tree) =
        crate::config::decode::<AlertmanagerConfig>(name, text, Expand::Environment).map_err(|p| listed(&p))?;
    let mut found = Problems::default();
    config.validate("", &mut found);
    let found = tree.locate(found);
    if found.is_empty() { Ok(config) } else { Err(listed(&found)) }
}

fn listed(problems: &[Problem]) -> anyhow::Error {
    anyhow::anyhow!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

/// A node of a drawn tree.
struct Branch {
    text: String,
    branches: Vec<Branch>,
}

/// How a route is named: its matchers, or that it has none.
fn name(route: &Route) -> String {
    if route.matchers().is_empty() {
        return "default-route".to_owned();
    }
    let all: Vec<String> = route.matchers().iter().map(ToString::to_string).collect();
    format!("{{{}}}", all.join(","))
}

fn branch(route: &Route) -> Branch {
    let mut text = name(route);
    if route.continues() {
        text.push_str("  continue: true");
    }
    text.push_str(&format!("  receiver: {}", route.options.receiver));
    Branch { text, branches: route.children().iter().map(|c| branch(c)).collect() }
}

/// The routes that an alert reaches, each end with its receiver.
fn matching_branch(route: &Route, labels: &Labels) -> Branch {
    let mut branches = Vec::new();
    for child in route.children().iter().filter(|c| c.matches(labels)) {
        branches.push(matching_branch(child, labels));
        if !child.continues() {
            break;
        }
    }
    let mut text = name(route);
    if branches.is_empty() {
        text.push_str(&format!("  receiver: {}", route.options.receiver));
    }
    Branch { text, branches }
}

/// The tree in lines; the last one is empty.
fn draw(root: &Branch) -> String {
    fn lines(branch: &Branch, before: &str, last: bool, out: &mut String) {
        out.push_str(before);
        out.push_str(if last { "└── " } else { "├── " });
        out.push_str(&branch.text);
        out.push('\n');
        // The spaces after the line are no-break spaces, as in amtool's output.
        let inner = format!("{before}{}", if last { "    " } else { "│\u{a0}\u{a0} " });
        for (i, b) in branch.branches.iter().enumerate() {
            lines(b, &inner, i + 1 == branch.branches.len(), out);
        }
    }
    let mut out = String::from(".\n");
    lines(root, "", true, &mut out);
    out
}
