//! The HTTP edge: protocols in, bytes out.

pub mod alertmanager;
mod asker;
mod elastic;
pub mod error;
mod grpc;
mod health;
mod logs_in;
mod loki;
mod not_now;
mod otlp_logs;
mod otlp_metrics;
pub mod params;
mod probe;
mod prom;
mod router;
pub mod serve;
mod starting;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;

pub use router::router;
pub use starting::Routes;

use crate::alerting::AlertingHandle;
use crate::config::Loaded;
use crate::config::features::Features;
use crate::exec::permits::Permits;
use crate::exec::{CancellationToken, Clock};
use crate::ingest::Intake;
use crate::notifier::NotifierHandle;
use crate::query::{LogQueries, MetricQueries};
use crate::rules::RuleManager;
use crate::scrape::ScrapeHandle;
use crate::tsdb::Db;

/// Reloads the configuration; the error is what the client is shown.
pub type Reload = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// What the handlers work with. Clones share everything.
#[derive(Clone)]
pub struct ApiState {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The metrics store.
    pub db: Arc<Db>,
    /// PromQL.
    pub metrics: MetricQueries,
    /// LogQL, and the log store.
    pub logs: LogQueries,
    /// The way of pushed logs into the store.
    pub intake: Arc<Intake>,
    /// The targets.
    pub scrape: ScrapeHandle,
    /// The rules.
    pub rules: Arc<RuleManager>,
    /// The bell.
    pub alerting: AlertingHandle,
    /// The Alertmanagers outside.
    pub notifier: NotifierHandle,
    /// The configuration in force.
    pub config: Arc<ArcSwap<Loaded>>,
    /// Why the last reload failed; empty if it did not.
    pub reload_error: Arc<ArcSwap<String>>,
    /// When the configuration in force was loaded, in milliseconds.
    pub config_loaded_ms: Arc<AtomicI64>,
    /// Reloads.
    pub reload: Reload,
    /// The command line's settings, for `status/flags`.
    pub flags: Arc<Vec<(String, String)>>,
    /// Which experimental features are on.
    pub features: Features,
    /// Whether series may be deleted and snapshots made.
    pub admin_api: bool,
    /// When the process started.
    pub started_ms: i64,
    /// Whether everything is up, and the log of the metrics store replayed.
    pub ready: Arc<Readiness>,
    /// Remote reads at once.
    pub read_permits: Permits,
    /// Probes on request at once.
    pub probe_permits: Permits,
    /// Ends long-lived responses.
    pub shutdown: CancellationToken,
}

/// Whether the server answers queries, and why not.
#[derive(Debug, Default)]
pub struct Readiness {
    ready: AtomicBool,
}

impl Readiness {
    /// From now on queries are answered, or no longer.
    pub fn set(&self, ready: bool) {
        self.ready.store(ready, Ordering::SeqCst);
    }

    /// Whether they are.
    pub fn get(&self) -> bool {
        self.ready.load(Ordering::SeqCst)
    }
}
