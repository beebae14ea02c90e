//! `campanile serve`: runs the server until a signal stops it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::app::{App, AppOptions};
use crate::cli::{fail, runtime};
use crate::config::bytesize::ByteSize;
use crate::telemetry::tracing_setup::{self, LogFormat};

/// Paths and addresses; everything else stands in the configuration file, which can be reloaded.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// Configuration file; where it is missing or empty the defaults hold.
    #[arg(long = "config.file", value_name = "FILE", default_value = "campanile.yml")]
    pub config_file: PathBuf,
    /// Folder for all data.
    #[arg(long = "storage.path", value_name = "DIR", default_value = "data")]
    pub storage_path: PathBuf,
    /// Address and port to listen on.
    #[arg(long = "web.listen-address", value_name = "HOST:PORT", default_value = "127.0.0.1:9090")]
    pub listen_address: String,
    /// The URL under which people reach this server; links in notifications begin with it.
    #[arg(long = "web.external-url", value_name = "URL")]
    pub external_url: Option<String>,
    /// Lets the API delete series and make snapshots.
    #[arg(long = "web.enable-admin-api")]
    pub enable_admin_api: bool,
    /// How log lines look.
    #[arg(long = "log.format", value_enum, default_value_t)]
    pub log_format: LogFormat,
    /// The longest a query may run.
    #[arg(long = "query.timeout", value_name = "DURATION", default_value = "2m", value_parser = parse_duration)]
    pub query_timeout: i64,
    /// How many samples a query may hold in memory at once.
    #[arg(long = "query.max-samples", value_name = "N", default_value_t = 50_000_000)]
    pub query_max_samples: usize,
    /// How much memory all PromQL queries together may take; one may take half of it. 0 for a quarter of what the machine has.
    #[arg(long = "query.max-memory", value_name = "SIZE", default_value = "0", value_parser = ByteSize::parse)]
    pub query_max_memory: ByteSize,
    /// How many queries may run at once.
    #[arg(long = "query.max-concurrency", value_name = "N", default_value_t = 20)]
    pub query_max_concurrency: usize,
    /// How far back an instant selector looks for a sample.
    #[arg(long = "query.lookback-delta", value_name = "DURATION", default_value = "5m", value_parser = parse_duration)]
    pub query_lookback_delta: i64,
    /// Experimental features, by commas, as in Prometheus: promql-experimental-functions, promql-duration-expr,
    /// promql-extended-range-selectors, promql-binop-fill-modifiers, promql-delayed-name-removal, promql-per-step-stats.
    #[arg(long = "enable-feature", value_name = "NAMES")]
    pub enable_feature: Vec<String>,
}

fn parse_duration(text: &str) -> Result<i64, String> {
    crate::text::duration::parse_ms(text).map_err(|e| e.to_string())
}

pub(super) fn run(args: &ServeArgs) -> ExitCode {
    let runtime = match runtime() {
        Ok(r) => r,
        Err(e) => return fail(&anyhow::Error::new(e).context("cannot start the runtime")),
    };
    runtime.block_on(async {
        let _telemetry = tracing_setup::init(args.log_format);
        match serve(args).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) => {
                tracing::error!(error = format!("{e:#}"), "campanile cannot go on");
                fail(&e)
            }
        }
    })
}

async fn serve(args: &ServeArgs) -> anyhow::Result<()> {
    let app = App::start(AppOptions {
        config_file: args.config_file.clone(),
        storage_path: args.storage_path.clone(),
        listen_address: args.listen_address.clone(),
        external_url: args.external_url.clone(),
        query_timeout_ms: args.query_timeout,
        query_max_samples: args.query_max_samples,
        query_max_memory: args.query_max_memory.0,
        query_max_concurrency: args.query_max_concurrency,
        query_lookback_ms: args.query_lookback_delta,
        enable_feature: args.enable_feature.clone(),
        enable_admin_api: args.enable_admin_api,
    })
    .await?;
    app.run_until_stopped().await
}
