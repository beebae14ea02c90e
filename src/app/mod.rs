//! The only place that knows every service: builds them, starts them, reloads them, stops them in order.

mod bridges;
mod history;
mod reload;
mod rule_state;
mod signals;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::alerting::{AlertingHandle, AlertingOptions};
use crate::api::{self, ApiState, Readiness, Reload, Routes};
use crate::config::bytesize::ByteSize;
use crate::config::features::Features;
use crate::config::storage::WalSync;
use crate::config::{ConfigDuration, Loaded, Problem, Problems};
use crate::disk::dir_lock::DirLock;
use crate::exec::permits::Permits;
use crate::exec::throttled_log::Throttle;
use crate::exec::{CancellationToken, Clock, SystemClock};
use crate::ingest::Intake;
use crate::ingest::syslog::SyslogListeners;
use crate::logs;
use crate::notifier::NotifierHandle;
use crate::promql::engine::{Engine, EngineOptions};
use crate::query::active_file::{self, ActiveQueries};
use crate::query::{LogQueries, MetricQueries, QueryLogs};
use crate::rules::{RuleManager, RuleServices};
use crate::scrape::{InProcessTarget, ScrapeHandle};
use crate::state::StateDb;
use crate::telemetry::{metrics, process};
use crate::tsdb;
use history::History;
use reload::Services;
use rule_state::RuleStateFile;
use signals::Signals;

/// Settings of the command line: what needs a restart.
#[derive(Clone, Debug)]
pub struct AppOptions {
    /// The configuration file; it may be missing.
    pub config_file: PathBuf,
    /// The folder of all data.
    pub storage_path: PathBuf,
    /// Host and port.
    pub listen_address: String,
    /// Where people reach this server; the configuration and the listen address are the fallbacks.
    pub external_url: Option<String>,
    /// The longest a query may run.
    pub query_timeout_ms: i64,
    /// Samples a query may hold.
    pub query_max_samples: usize,
    /// Bytes of memory that all PromQL queries may take; 0 for a quarter of what the machine has.
    pub query_max_memory: u64,
    /// Queries at once.
    pub query_max_concurrency: usize,
    /// How far back instant selectors look.
    pub query_lookback_ms: i64,
    /// Names of experimental features, in lists by commas.
    pub enable_feature: Vec<String>,
    /// Whether the API may delete series and make snapshots.
    pub enable_admin_api: bool,
}

/// The longest a stop may take before what is left is given up.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// Probes that `/probe` runs at once, and as many may wait: each holds a connection for up to its timeout.
const PROBES_AT_ONCE: usize = 64;
/// Remote reads that run at once, Prometheus' own number; ten times as many may wait.
const READS_AT_ONCE: usize = 10;

/// The running server.
pub struct App {
    services: Arc<Services>,
    history: History,
    ready: Arc<Readiness>,
    signals: Signals,
    shutdown: CancellationToken,
    server: JoinHandle<()>,
    background: Vec<JoinHandle<()>>,
    _lock: DirLock,
}

/// Loads a configuration and checks what belongs to services that the loader does not know: the templates of notifications.
pub fn load_checked(path: &Path) -> Result<Loaded, Vec<Problem>> {
    let loaded = crate::config::load(Some(path))?;
    let mut problems = Problems::default();
    if let Some(alertmanager) = &loaded.config.alertmanager {
        crate::alerting::validate_templates(alertmanager, &loaded.alertmanager_dir, &mut problems);
    }
    if problems.is_empty() { Ok(loaded) } else { Err(loaded.locate_alertmanager(problems)) }
}

/// All problems as lines, under a heading.
pub fn list_problems(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl App {
    /// Starts everything. When it returns, samples and logs are taken; queries of metrics may still have to wait for the replay of their log.
    pub async fn start(options: AppOptions) -> anyhow::Result<App> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let started_ms = clock.now_ms();
        own_metrics();
        let (features, remarks) = Features::parse(&options.enable_feature);
        for remark in remarks {
            tracing::warn!("{remark}");
        }
        let lock = DirLock::acquire(&options.storage_path, &format!("listening on {}", options.listen_address))?;
        let path = options.config_file.clone();
        let loaded = tokio::task::spawn_blocking(move || load_checked(&path))
            .await?
            .map_err(|p| anyhow!("the configuration has problems:\n{}", list_problems(&p)))?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let listener = TcpListener::bind(&options.listen_address)
            .await
            .with_context(|| format!("cannot listen on {}", options.listen_address))?;
        let address = listener.local_addr()?;
        let external_url = options
            .external_url
            .clone()
            .or_else(|| Some(loaded.config.web.external_url.clone()).filter(|u| !u.is_empty()))
            .unwrap_or_else(|| format!("http://{address}"))
            .trim_end_matches('/')
            .to_owned();

        let shutdown = CancellationToken::new();
        let routes: Arc<Routes> = Arc::default();
        let server =
            tokio::spawn(api::serve::serve(listener, routes.clone(), shutdown.child_token(), api::serve::DRAIN));
        let stores = open_stores(&options, &loaded, clock.clone()).await?;
        let state = stores.state.clone();
        let history = History::start(stores.logs.clone(), clock.clone());

        let engine = Engine::new(EngineOptions {
            max_samples: options.query_max_samples as u64,
            memory_budget_bytes: query_memory(options.query_max_memory),
            timeout: Duration::from_millis(options.query_timeout_ms.unsigned_abs()),
            lookback_delta_ms: options.query_lookback_ms,
            subquery_step_ms: loaded.config.global.evaluation().as_ms(),
            syntax: features.syntax,
            delayed_name_removal: features.delayed_name_removal,
            per_step_stats: features.per_step_stats,
            use_start_timestamps: features.use_start_timestamps,
            ..EngineOptions::default()
        });
        let query_logs = Arc::new(query_logs(&options, &history, clock.clone()));
        let metric_queries =
            MetricQueries::new(stores.db.clone(), engine, options.query_max_concurrency, query_logs.clone());
        let log_options = crate::logql::engine::EngineOptions {
            timeout: Duration::from_millis(options.query_timeout_ms.unsigned_abs()),
            ..Default::default()
        };
        let log_queries =
            LogQueries::new(stores.logs.clone(), log_options, options.query_max_concurrency, query_logs.clone());

        let alerting = AlertingHandle::start(
            AlertingOptions {
                clock: clock.clone(),
                state: state.clone(),
                external_url: external_url.clone(),
                config_dir: loaded.alertmanager_dir.clone(),
                observer: history.alerting_observer(),
            },
            loaded.config.alertmanager.clone().unwrap_or_default(),
        )
        .await
        .context("cannot start the alertmanager")?;
        let notifier = NotifierHandle::new(clock.clone());
        // What waits for a permit of the rules is bounded by their groups, each of which asks for a few at a time.
        let rule_state = RuleStateFile(state.clone());
        let kept_rules = if stores.state_is_lost { None } else { rule_state.load().await };
        let rules = Arc::new(RuleManager::new(
            RuleServices {
                querier: Arc::new(bridges::RuleQueries {
                    metrics: metric_queries.with_own_permits(options.query_max_concurrency, usize::MAX),
                    logs: log_queries.with_own_permits(options.query_max_concurrency, usize::MAX),
                }),
                appender: Arc::new(bridges::RuleResults { db: stores.db.clone() }),
                sink: Arc::new(bridges::Bell { alerting: alerting.clone(), outside: notifier.clone() }),
                keeper: Arc::new(rule_state),
                observer: Arc::new(history.clone()),
                clock: clock.clone(),
                ready: stores.db.replay().over().clone(),
            },
            kept_rules,
        ));
        let scrape = ScrapeHandle::start(stores.db.clone(), clock.clone(), shutdown.clone());
        let probe_stores =
            crate::probe::manager::Stores { db: stores.db.clone(), logs: stores.logs.clone(), clock: clock.clone() };
        let probes = crate::probe::manager::Manager::new(probe_stores, shutdown.clone());

        let intake = Arc::new(Intake::new(stores.logs.clone(), &loaded.config.logs.limits));
        let syslog = SyslogListeners::new(intake.clone(), shutdown.clone());

        let services = Arc::new(Services {
            config_file: options.config_file.clone(),
            config: Arc::new(ArcSwap::from_pointee(loaded)),
            reload_error: Arc::default(),
            config_loaded_ms: Arc::default(),
            external_url,
            address: address.to_string(),
            scrape: scrape.clone(),
            probes,
            rules: rules.clone(),
            alerting: alerting.clone(),
            notifier: notifier.clone(),
            intake: intake.clone(),
            syslog,
            history: history.clone(),
            features,
            query_logs,
            db: stores.db.clone(),
            logs: stores.logs.clone(),
            changing: tokio::sync::Mutex::default(),
        });
        services.apply_first().await.map_err(|e| anyhow!(e))?;

        let ready: Arc<Readiness> = Arc::default();
        let reload: Reload = {
            let services = services.clone();
            Arc::new(move || {
                let services = services.clone();
                Box::pin(async move { services.reload("request").await })
            })
        };
        let api_state = ApiState {
            clock,
            db: stores.db.clone(),
            metrics: metric_queries,
            logs: log_queries,
            intake,
            scrape,
            rules,
            alerting,
            notifier,
            config: services.config.clone(),
            reload_error: services.reload_error.clone(),
            config_loaded_ms: services.config_loaded_ms.clone(),
            reload,
            flags: Arc::new(flags(&options)),
            features,
            admin_api: options.enable_admin_api,
            started_ms,
            ready: ready.clone(),
            read_permits: Permits::new(READS_AT_ONCE, READS_AT_ONCE * 10),
            probe_permits: Permits::new(PROBES_AT_ONCE, PROBES_AT_ONCE),
            shutdown: shutdown.clone(),
        };
        let signals = Signals::listen()?;
        routes.give(api::router(api_state));
        tracing::info!(%address, data = %options.storage_path.display(), "campanile takes samples and logs");
        let background = vec![
            tokio::spawn(sync_stores(services.clone(), shutdown.clone())),
            tokio::spawn(watch::watch(services.clone(), shutdown.clone())),
        ];
        Ok(App { services, history, ready, signals, shutdown, server, background, _lock: lock })
    }

    /// Serves until SIGTERM or SIGINT, then stops everything in order: first what brings data in, then what tells of it, then
    /// the stores. What is not done within ten seconds is given up, which loses nothing that was acknowledged.
    pub async fn run_until_stopped(mut self) -> anyhow::Result<()> {
        let failed = tokio::select! {
            () = self.signals.until_stop(&self.services) => None,
            why = until_replay_fails(&self.services, &self.ready) => Some(why),
        };
        if let Some(why) = &failed {
            tracing::error!(error = why, "the metrics log cannot be replayed; what came in since the start is in it");
        }
        tracing::info!("stopping");
        signals::notify(&[sd_notify::NotifyState::Stopping]);
        self.ready.set(false);
        self.shutdown.cancel();
        if tokio::time::timeout(STOP_WITHIN, self.stop()).await.is_err() {
            tracing::warn!("not everything ended within 10 s; the write-ahead logs hold what was acknowledged");
        }
        match failed {
            None => Ok(()),
            Some(why) => Err(anyhow!(why).context("cannot replay the log of the metrics store")),
        }
    }

    async fn stop(self) {
        let services = &self.services;
        services.scrape.stop().await;
        services.probes.stop().await;
        services.syslog.stop().await;
        services.rules.stop().await;
        services.notifier.stop().await;
        services.alerting.shutdown().await;
        if let Err(e) = self.server.await {
            tracing::error!(error = %e, "the HTTP server ended badly");
        }
        for task in self.background {
            if let Err(e) = task.await {
                tracing::error!(error = %e, "a task ended badly");
            }
        }
        self.history.finish().await;
        let (db, logs) = (services.db.clone(), services.logs.clone());
        let closed = tokio::task::spawn_blocking(move || {
            if let Err(e) = logs.close() {
                tracing::error!(error = %e, "the log store was not closed cleanly");
            }
            if let Err(e) = db.close() {
                tracing::error!(error = %e, "the metrics store was not closed cleanly");
            }
        });
        if let Err(e) = closed.await {
            tracing::error!(error = %e, "closing the stores ended badly");
        }
        tracing::info!("stopped");
    }
}

/// Tells that everything is there once the metrics store has replayed its log; returns only if it cannot.
async fn until_replay_fails(services: &Services, ready: &Readiness) -> String {
    let replay = services.db.replay();
    replay.over().wait().await;
    if let Some(Err(why)) = replay.outcome() {
        return why.clone();
    }
    ready.set(true);
    signals::notify(&[sd_notify::NotifyState::Ready]);
    tracing::info!(address = services.address, "campanile is ready");
    std::future::pending().await
}

struct StoreHandles {
    state: Arc<StateDb>,
    db: Arc<tsdb::Db>,
    logs: Arc<logs::Store>,
    /// Whether there are metrics of an earlier run but not its state.
    state_is_lost: bool,
}

async fn open_stores(options: &AppOptions, loaded: &Loaded, clock: Arc<dyn Clock>) -> anyhow::Result<StoreHandles> {
    let dir = options.storage_path.clone();
    let storage = loaded.config.storage.clone();
    let log_options = crate::ingest::log_store_options(&loaded.config.logs, storage.min_free.0, clock.clone());
    let defaults = tsdb::Options::default();
    let db_options = tsdb::Options {
        clock,
        out_of_order_window_ms: storage.out_of_order_ms(),
        retention_ms: storage.retention_ms().unwrap_or(i64::MAX),
        retention_bytes: storage.retention_bytes().unwrap_or(0),
        series_limits: reload::series_limits(&storage.limits),
        min_free_bytes: storage.min_free.0,
        wal_sync_always: storage.wal_sync == WalSync::Always,
        ..defaults
    };
    let opened = tokio::task::spawn_blocking(move || -> anyhow::Result<StoreHandles> {
        let state_file = dir.join("state.redb");
        let metrics = dir.join("metrics");
        let fresh = !state_file.try_exists()?;
        let ran_before = metrics.try_exists()?;
        let state = StateDb::open(&state_file).context("cannot open the state file")?;
        let state_is_lost = ran_before && (fresh || state.set_aside.is_some());
        if let Some((path, why)) = &state.set_aside {
            tracing::error!(path = %path.display(), why, "the state file is damaged and set aside; silences and alert state begin empty");
        }
        // Both are opened at once; each store keeps to one core for most of it. The metrics store goes on with its log behind our backs.
        let (db, logs) = std::thread::scope(|s| {
            let logs = s.spawn(|| logs::Store::open(&dir.join("logs"), log_options));
            let db = tsdb::Db::open_early(&metrics, db_options);
            (db, logs.join())
        });
        let logs = logs.map_err(|_| anyhow!("opening the log store panicked"))?.context("cannot open the log store")?;
        let db = db.context("cannot open the metrics store")?;
        Ok(StoreHandles { state: Arc::new(state.db), db: Arc::new(db), logs: Arc::new(logs), state_is_lost })
    });
    opened.await?
}

/// The logs of queries. Queries that the process before had not ended when it was killed are told first.
fn query_logs(options: &AppOptions, history: &History, clock: Arc<dyn Clock>) -> QueryLogs {
    let path = options.storage_path.join(active_file::FILE_NAME);
    // PromQL and LogQL have as many places each.
    let places = options.query_max_concurrency.max(1).saturating_mul(2);
    let active = match ActiveQueries::open(&path, places) {
        Ok((active, interrupted)) => {
            for query in interrupted {
                tracing::warn!(record = %query.record, "this query ran when the process before ended without a stop");
                history.interrupted_query(&query);
            }
            Some(active)
        }
        Err(e) => {
            tracing::error!(path = %path.display(), error = %e, "queries that run are not written down");
            None
        }
    };
    let history = history.clone();
    QueryLogs::new(active, Arc::new(move |ended| history.slow_query(ended)), clock)
}

/// Metrics that belong to the program as a whole.
fn own_metrics() {
    process::register();
    let build = metrics::gauge_vec("campanile_build_info", "The version that runs; always 1.", &["version"]);
    build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
}

/// What queries may take of the machine's memory where nothing is said: the stores, the page cache and the answers need the rest.
fn query_memory(asked: u64) -> u64 {
    /// Enough for a dashboard over some hundred thousand series; less makes no sense on a machine that can hold them.
    const LEAST: u64 = 256 << 20;
    match asked {
        0 => (crate::host::usable_memory_bytes() / 4).max(LEAST),
        asked => asked,
    }
}

fn flags(options: &AppOptions) -> Vec<(String, String)> {
    let duration = crate::text::duration::format_ms;
    vec![
        ("config.file".to_owned(), options.config_file.display().to_string()),
        ("storage.path".to_owned(), options.storage_path.display().to_string()),
        ("web.listen-address".to_owned(), options.listen_address.clone()),
        ("web.external-url".to_owned(), options.external_url.clone().unwrap_or_default()),
        ("web.enable-admin-api".to_owned(), options.enable_admin_api.to_string()),
        ("query.timeout".to_owned(), duration(options.query_timeout_ms)),
        ("query.max-samples".to_owned(), options.query_max_samples.to_string()),
        ("query.max-memory".to_owned(), ByteSize(options.query_max_memory).to_string()),
        ("query.max-concurrency".to_owned(), options.query_max_concurrency.to_string()),
        ("query.lookback-delta".to_owned(), duration(options.query_lookback_ms)),
        ("enable-feature".to_owned(), options.enable_feature.join(",")),
    ]
}

/// Targets that are scraped without being named: campanile itself, and this host.
fn own_targets(loaded: &Loaded, address: &str) -> Vec<InProcessTarget> {
    /// Prometheus' minute is for fleets; a look at oneself costs little and is worth more when it is fresh.
    const OWN_INTERVAL: ConfigDuration = ConfigDuration::from_secs(15);
    let often = loaded.config.global.scrape_interval.unwrap_or(OWN_INTERVAL);
    let mut targets = Vec::new();
    if loaded.config.self_scrape {
        let render = Arc::new(metrics::render);
        let interval_ms = Some(often.as_ms());
        targets.push(InProcessTarget {
            job: "campanile".to_owned(),
            instance: address.to_owned(),
            interval_ms,
            render,
        });
    }
    if loaded.config.host.enabled {
        let render = Arc::new(|| {
            let mut out = String::with_capacity(64 << 10);
            crate::host::render(&mut out);
            out
        });
        let instance = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let interval_ms = Some(loaded.config.host.interval.unwrap_or(often).as_ms());
        targets.push(InProcessTarget { job: "node".to_owned(), instance, interval_ms, render });
    }
    targets
}

static COMPLAINTS: Throttle = Throttle::new(10_000);

/// Syncs the write-ahead logs as often as the configuration says.
async fn sync_stores(services: Arc<Services>, stop: CancellationToken) {
    loop {
        let every = match services.config.load().config.storage.wal_sync {
            WalSync::Every(d) => d,
            // Each batch is synced before it is acknowledged; logs have a setting of their own.
            WalSync::Always => Duration::from_secs(1),
        };
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = stop.cancelled() => return,
        }
        let (db, logs) = (services.db.clone(), services.logs.clone());
        let synced = tokio::task::spawn_blocking(move || (db.sync(), logs.sync())).await;
        match synced {
            Ok((Ok(()), Ok(()))) => {}
            Ok((metrics, logs)) => {
                if let Some(before) = COMPLAINTS.allow(SystemClock.now_ms()) {
                    tracing::error!(
                        ?metrics,
                        ?logs,
                        before,
                        "a write-ahead log cannot be synced: a power cut would lose what is not on disk"
                    );
                }
            }
            Err(e) => tracing::error!(error = %e, "syncing the write-ahead logs ended badly"),
        }
    }
}
