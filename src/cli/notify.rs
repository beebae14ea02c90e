//! `campanile notify`: tries receivers and templates with a made-up alert, without a running server.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::{fail, runtime};
use crate::alerting::trial::{MadeUp, Trial};
use crate::config::load;
use crate::exec::SystemClock;
use crate::model::Labels;

/// What is tried.
#[derive(Subcommand)]
pub enum NotifyCommand {
    /// Send a marked test message to every integration of a receiver and print the exchange.
    Test {
        /// The receiver's name.
        receiver: String,
        #[command(flatten)]
        alert: AlertArgs,
    },
    /// Show what a template makes of a made-up alert.
    Render {
        /// Name of a template, such as slack.default.title.
        #[arg(required_unless_present_any = ["text", "receiver"], conflicts_with_all = ["text", "receiver"])]
        template: Option<String>,
        /// A template text instead of a name.
        #[arg(long, conflicts_with = "receiver")]
        text: Option<String>,
        /// All templates of this receiver.
        #[arg(long)]
        receiver: Option<String>,
        /// Escape values for HTML, as for the HTML part of emails.
        #[arg(long)]
        html: bool,
        #[command(flatten)]
        alert: AlertArgs,
    },
}

/// The configuration and the alert.
#[derive(Args)]
pub struct AlertArgs {
    /// The configuration file.
    #[arg(long = "config.file", default_value = "campanile.yml", value_name = "FILE")]
    config_file: PathBuf,
    /// A label of the alert, NAME=VALUE; can be repeated.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,
    /// An annotation of the alert, NAME=VALUE; can be repeated.
    #[arg(long = "annotation", value_name = "NAME=VALUE", value_parser = pair)]
    annotations: Vec<(String, String)>,
    /// The alert is over.
    #[arg(long)]
    resolved: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it like name=value".to_owned()),
    }
}

impl AlertArgs {
    /// Reads the configuration; problems are printed.
    fn load(&self) -> Result<(Trial, MadeUp), ExitCode> {
        let loaded = load(Some(&self.config_file)).map_err(|problems| {
            problems.iter().for_each(|p| eprintln!("{p}"));
            ExitCode::FAILURE
        })?;
        let external = loaded.config.web.external_url.trim_end_matches('/').to_owned();
        let external_url = if external.is_empty() { "http://127.0.0.1:9090".to_owned() } else { external };
        let config = loaded.config.alertmanager.unwrap_or_default();
        let trial = Trial::new(config, &loaded.alertmanager_dir, Arc::new(SystemClock)).map_err(|e| fail(&e.into()))?;
        // Given ones come last and win.
        let given = |usual: &[(&str, &str)], own: &[(String, String)]| {
            let mut all: std::collections::BTreeMap<String, String> =
                usual.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            all.extend(own.iter().cloned());
            Labels::from_pairs(all.iter().map(|(n, v)| (n.as_str(), v.as_str())))
        };
        let labels = given(&[("alertname", "CampanileTest"), ("severity", "info")], &self.labels);
        let text = "Test message of campanile: nothing is wrong, somebody tries this receiver.";
        let annotations = given(&[("summary", text), ("campanile_test", "true")], &self.annotations);
        Ok((trial, MadeUp { labels, annotations, resolved: self.resolved, external_url }))
    }
}

pub(super) fn run(command: &NotifyCommand) -> ExitCode {
    let (NotifyCommand::Test { alert, .. } | NotifyCommand::Render { alert, .. }) = command;
    let (trial, made_up) = match alert.load() {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    match command {
        NotifyCommand::Test { receiver, .. } => match runtime() {
            Ok(runtime) => runtime.block_on(test(&trial, receiver, &made_up)),
            Err(e) => fail(&e.into()),
        },
        NotifyCommand::Render { template, text, receiver, html, .. } => {
            if let Some(name) = receiver {
                return render_receiver(&trial, name, &made_up);
            }
            let quoted = template.as_ref().map(|t| format!("{{{{ template {t:?} . }}}}"));
            match trial.render(text.as_deref().or(quoted.as_deref()).unwrap_or_default(), *html, &made_up) {
                Ok(shown) => {
                    println!("{shown}");
                    ExitCode::SUCCESS
                }
                Err(e) => fail(&e.into()),
            }
        }
    }
}

async fn test(trial: &Trial, receiver: &str, alert: &MadeUp) -> ExitCode {
    let Some(tried) = trial.send(receiver, alert).await else {
        return unknown(trial, receiver);
    };
    if tried.is_empty() {
        println!("receiver {receiver:?} tells nobody: it has no integration");
    }
    let mut failed = false;
    for one in tried {
        println!("== {}", one.integration);
        one.lines.iter().for_each(|l| println!("{l}"));
        match one.outcome {
            Ok(()) => println!("== {}: sent", one.integration),
            Err(e) => {
                failed = true;
                let hint = if e.retry { "; campanile would try again" } else { "" };
                println!("== {}: failed ({}): {e}{hint}", one.integration, e.reason.as_str());
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn render_receiver(trial: &Trial, name: &str, alert: &MadeUp) -> ExitCode {
    let Some(texts) = trial.render_receiver(name, alert) else {
        return unknown(trial, name);
    };
    let mut failed = false;
    for (key, text) in texts {
        match text {
            Ok(text) => println!("{key}:\n{}", text.lines().map(|l| format!("    {l}\n")).collect::<String>()),
            Err(e) => {
                failed = true;
                eprintln!("{key}: {e}");
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn unknown(trial: &Trial, name: &str) -> ExitCode {
    fail(&anyhow::anyhow!("there is no receiver {name:?}; receivers: {}", trial.receivers().join(", ")))
}
