//! Applies a configuration: at the start, and again when it changes. A bad one changes nothing.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};

use arc_swap::ArcSwap;
use prometheus::IntGauge;
use serde_json::json;

use super::history::History;
use super::{list_problems, load_checked, own_targets, signals};
use crate::alerting::AlertingHandle;
use crate::config::Loaded;
use crate::config::features::Features;
use crate::exec::{Clock, SystemClock};
use crate::ingest::Intake;
use crate::ingest::syslog::SyslogListeners;
use crate::logs;
use crate::model::Labels;
use crate::notifier::NotifierHandle;
use crate::promql::ParseOptions;
use crate::query::QueryLogs;
use crate::rules::load::{GroupDefaults, load_files};
use crate::rules::{GroupSpec, RuleManager, RuleSettings};
use crate::scrape::ScrapeHandle;
use crate::telemetry::metrics;
use crate::tsdb::{Db, SeriesLimits};

static SUCCESSFUL: LazyLock<IntGauge> = LazyLock::new(|| {
    metrics::gauge("campanile_config_last_reload_successful", "Whether the last load of the configuration succeeded.")
});
static LAST_SUCCESS: LazyLock<IntGauge> = LazyLock::new(|| {
    metrics::gauge(
        "campanile_config_last_reload_success_timestamp_seconds",
        "When the configuration in force was loaded.",
    )
});

/// Everything that a configuration changes.
pub(super) struct Services {
    pub(super) config_file: PathBuf,
    pub(super) config: Arc<ArcSwap<Loaded>>,
    pub(super) reload_error: Arc<ArcSwap<String>>,
    /// When the configuration in force was loaded.
    pub(super) config_loaded_ms: Arc<AtomicI64>,
    pub(super) external_url: String,
    pub(super) address: String,
    pub(super) scrape: ScrapeHandle,
    pub(super) probes: crate::probe::manager::Manager,
    pub(super) rules: Arc<RuleManager>,
    pub(super) alerting: AlertingHandle,
    pub(super) notifier: NotifierHandle,
    pub(super) intake: Arc<Intake>,
    pub(super) syslog: SyslogListeners,
    pub(super) history: History,
    pub(super) features: Features,
    pub(super) query_logs: Arc<QueryLogs>,
    pub(super) db: Arc<Db>,
    pub(super) logs: Arc<logs::Store>,
    /// One change at a time.
    pub(super) changing: tokio::sync::Mutex<()>,
}

/// The folder that relative names in the configuration are meant from.
pub(super) fn config_dir(config_file: &Path) -> PathBuf {
    config_file.parent().unwrap_or(Path::new("")).to_owned()
}

/// The store's limits on series that a configuration asks for.
pub(super) fn series_limits(limits: &crate::config::storage::SeriesLimits) -> SeriesLimits {
    SeriesLimits {
        total: limits.series,
        job: limits.series_per_job,
        target: limits.series_per_target,
        metric: limits.series_per_metric,
        target_metric: limits.series_per_target_metric,
    }
}

fn groups(loaded: &Loaded, syntax: ParseOptions) -> Result<Vec<GroupSpec>, String> {
    let global = &loaded.config.global;
    let defaults = GroupDefaults {
        interval_ms: global.evaluation().as_ms(),
        query_offset_ms: global.rule_query_offset.map_or(0, |o| o.as_ms()),
        syntax,
    };
    let rules = load_files(&loaded.rule_files, defaults).map_err(|p| list_problems(&p))?;
    for warning in &rules.warnings {
        tracing::warn!("{warning}");
    }
    Ok(rules.groups)
}

impl Services {
    /// Rule files that the patterns in force name now.
    pub(super) fn matching_rule_files(&self) -> Vec<PathBuf> {
        let loaded = self.config.load();
        let dir = config_dir(&self.config_file);
        crate::config::load::rule_files_now(&loaded.config, &dir)
    }

    /// Brings the services in line with the configuration they were built for. Its rules must be good, too.
    pub(super) async fn apply_first(&self) -> Result<(), String> {
        let loaded = self.config.load_full();
        let groups = groups(&loaded, self.features.syntax).map_err(|p| format!("the rules have problems:\n{p}"))?;
        self.apply(&loaded, groups).await?;
        self.loaded();
        Ok(())
    }

    /// Notes that the configuration in force was loaded now.
    fn loaded(&self) {
        let now = SystemClock.now_ms();
        SUCCESSFUL.set(1);
        LAST_SUCCESS.set(now / 1000);
        self.config_loaded_ms.store(now, Ordering::Relaxed);
    }

    async fn apply(&self, loaded: &Loaded, groups: Vec<GroupSpec>) -> Result<(), String> {
        let config = &loaded.config;
        // What can refuse comes first: listeners are bound and not yet used; if the last of them does, the one before goes back.
        let syslog = self.syslog.prepare(&config.logs.syslog).await.map_err(|e| e.to_string())?;
        let alerting_before = self.alerting.config();
        let outside_before = self.config.load().config.alerting.clone();
        self.alerting.reload(config.alertmanager.clone().unwrap_or_default()).map_err(|e| e.to_string())?;
        let mut refused = self.notifier.apply(&config.alerting).await.map_err(|e| e.to_string());
        if refused.is_ok() {
            refused = self.scrape.apply(&config.global, &config.scrape_configs).await.map_err(|e| e.to_string());
        }
        if let Err(e) = refused {
            self.alerting
                .reload(alerting_before)
                .map_err(|back| format!("{e}; and the alertmanager cannot go back: {back}"))?;
            self.notifier
                .apply(&outside_before)
                .await
                .map_err(|back| format!("{e}; and the senders of alerts cannot go back: {back}"))?;
            return Err(e);
        }
        self.query_logs.set_slow(config.query.log_slow.as_duration());
        let query_log = config.global.query_log_file.as_deref().filter(|f| !f.is_empty()).map(Path::new);
        if let Err(e) = self.query_logs.set_file(query_log) {
            let file = query_log.unwrap_or(Path::new("")).display();
            tracing::error!(%file, error = %e, "the query log cannot be opened; the one before stays in use");
        }
        self.scrape.set_in_process(own_targets(loaded, &self.address));
        self.intake.set_limits(&config.logs.limits);
        self.syslog.apply(syslog);
        self.probes.apply(&config.probes, &config.probe_modules);
        let settings = RuleSettings {
            external_url: self.external_url.clone(),
            external_labels: Labels::from_pairs(&config.global.external_labels),
        };
        self.rules.update(groups, settings).await;
        Ok(())
    }

    /// Loads the configuration again. The outcome is in the log, the metrics, the history and the API; the error is all problems.
    pub(super) async fn reload(&self, why: &str) -> Result<(), String> {
        let _one_at_a_time = self.changing.lock().await;
        signals::notify(&[sd_notify::NotifyState::Reloading]);
        let outcome = self.try_reload().await;
        signals::notify(&[sd_notify::NotifyState::Ready]);
        match &outcome {
            Ok(()) => {
                self.loaded();
                self.reload_error.store(Arc::default());
                tracing::info!(why, "configuration reloaded");
                self.history.event("reload", "info", json!({"why": why, "outcome": "ok"}), &[("outcome", "ok")]);
            }
            Err(text) => {
                SUCCESSFUL.set(0);
                self.reload_error.store(Arc::new(text.clone()));
                tracing::error!(why, "the configuration was not reloaded, the old one is in force:\n{text}");
                let fields = json!({"why": why, "outcome": "failed", "error": text});
                self.history.event("reload", "error", fields, &[("outcome", "failed")]);
            }
        }
        outcome
    }

    async fn try_reload(&self) -> Result<(), String> {
        let path = self.config_file.clone();
        let syntax = self.features.syntax;
        let read = tokio::task::spawn_blocking(move || {
            let loaded = load_checked(&path).map_err(|p| list_problems(&p))?;
            let groups = groups(&loaded, syntax)?;
            Ok::<_, String>((loaded, groups))
        });
        let (loaded, groups) = read.await.map_err(|e| e.to_string())??;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let before = self.config.load_full();
        let limits = loaded.config.storage.limits;
        let mut storage = loaded.config.storage.clone();
        storage.limits = before.config.storage.limits;
        let restart = before.config.storage != storage
            || before.config.logs.needs_restart(&loaded.config.logs)
            || before.config.web.external_url != loaded.config.web.external_url;
        if restart {
            tracing::warn!(
                "changes under storage: (but for its limits), logs: and of web.external_url take effect at the next start"
            );
        }
        let loaded = Arc::new(loaded);
        self.apply(&loaded, groups).await?;
        self.db.set_series_limits(series_limits(&limits));
        self.config.store(loaded);
        Ok(())
    }
}
