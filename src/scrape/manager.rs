//! Starts, changes and stops the pools.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinHandle;

use crate::config::global::GlobalConfig;
use crate::config::scrape::{Limits, NameValidation, ScrapeConfig};
use crate::exec::{CancellationToken, Clock};
use crate::scrape::append::StoreRules;
use crate::scrape::client::Source;
use crate::scrape::pool::{Carried, Pool, PrepareError, Prepared};
use crate::scrape::self_target::InProcessTarget;
use crate::scrape::status::{TargetMetadata, TargetsStatus};
use crate::scrape::target_loop::{Shared, TargetLoop};
use crate::tsdb::Db;
use crate::wire::exposition::protobuf::Histograms;

/// Why a configuration was not taken; nothing has changed then.
#[derive(Debug, thiserror::Error)]
#[error("scrape job {job:?}: {source}")]
pub struct ApplyError {
    /// The job.
    pub job: String,
    /// What is wrong with it.
    #[source]
    pub source: PrepareError,
}

struct InProcess {
    target: InProcessTarget,
    scraper: Arc<TargetLoop>,
    token: CancellationToken,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Services {
    pools: BTreeMap<String, Pool>,
    in_process: Vec<InProcess>,
    global: GlobalConfig,
}

struct Inner {
    shared: Shared,
    token: CancellationToken,
    services: Mutex<Services>,
    /// Held while pools are changed, so that two reloads do not mix. Taken before `services`, which is never held across an await.
    changing: tokio::sync::Mutex<()>,
}

/// The door to scraping. Cheap to clone.
#[derive(Clone)]
pub struct ScrapeHandle {
    inner: Arc<Inner>,
}

impl ScrapeHandle {
    /// A manager without pools. Loops end when `token` is cancelled; call [`ScrapeHandle::stop`] to wait for them. Must be called inside a tokio runtime.
    pub fn start(db: Arc<Db>, clock: Arc<dyn Clock>, token: CancellationToken) -> Self {
        let shared = Shared { db, clock };
        let (services, changing) = (Mutex::default(), tokio::sync::Mutex::default());
        ScrapeHandle { inner: Arc::new(Inner { shared, token, services, changing }) }
    }

    fn services(&self) -> MutexGuard<'_, Services> {
        self.inner.services.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Scrapes a target of this process at the interval of `global`, now and after every [`ScrapeHandle::apply`].
    pub fn register(&self, target: InProcessTarget) {
        let mut services = self.services();
        let started = self.start_in_process(target, &services.global, None);
        services.in_process.push(started);
    }

    /// Makes the targets of this process those given: new ones are started, others stopped, and those that stay go on.
    pub fn set_in_process(&self, targets: Vec<InProcessTarget>) {
        let same = |a: &InProcessTarget, b: &InProcessTarget| {
            a.job == b.job && a.instance == b.instance && a.interval_ms == b.interval_ms
        };
        let mut services = self.services();
        let before = std::mem::take(&mut services.in_process);
        let (stay, go): (Vec<_>, Vec<_>) = before.into_iter().partition(|p| targets.iter().any(|t| same(t, &p.target)));
        for p in go {
            p.token.cancel();
            tokio::spawn(async move {
                finish(p.task).await;
                p.scraper.end().await;
            });
        }
        services.in_process = stay;
        for target in targets {
            if !services.in_process.iter().any(|p| same(&target, &p.target)) {
                let started = self.start_in_process(target, &services.global, None);
                services.in_process.push(started);
            }
        }
    }

    fn start_in_process(
        &self,
        target: InProcessTarget,
        global: &GlobalConfig,
        before: Option<&TargetLoop>,
    ) -> InProcess {
        let rules = StoreRules {
            honor_labels: false,
            honor_timestamps: true,
            track_timestamps_staleness: false,
            limits: Limits::default(),
            names: NameValidation::Utf8,
            relabel: Vec::new(),
            extra_metrics: false,
            vital: true,
            histograms: Histograms::default(),
        };
        let scraper = Arc::new(TargetLoop::new(
            self.inner.shared.clone(),
            target.target(global.interval().as_ms(), global.timeout().as_ms()),
            Source::InProcess(target.render.clone()),
            Arc::new(rules),
            before.map(TargetLoop::state),
        ));
        let token = self.inner.token.child_token();
        let first = before.is_none().then(|| self.inner.shared.clock.now_ms());
        let task = tokio::spawn({
            let (scraper, token) = (scraper.clone(), token.clone());
            async move {
                // It costs no other machine anything, so a fresh server has data at once.
                if let Some(t) = first {
                    scraper.scrape(t, &token).await;
                }
                scraper.run(token).await;
            }
        });
        InProcess { target, scraper, token, task }
    }

    /// Brings the pools in line with a configuration that was validated. Jobs that did not change go on undisturbed; targets that are gone get
    /// staleness markers. On an error (a certificate that cannot be read) everything stays as it was.
    pub async fn apply(&self, global: &GlobalConfig, jobs: &[ScrapeConfig]) -> Result<(), ApplyError> {
        let _one_at_a_time = self.inner.changing.lock().await;
        let mut wanted = BTreeMap::new();
        for config in jobs {
            wanted.insert(config.job_name.clone(), config.job(global));
        }
        let unchanged: Vec<String> = {
            let services = self.services();
            let same = services.pools.iter().filter(|(name, p)| wanted.get(*name) == Some(p.job()));
            same.map(|(name, _)| name.clone()).collect()
        };
        let mut prepared = Vec::new();
        for (name, job) in wanted.iter().filter(|(n, _)| !unchanged.contains(n)) {
            let p = Prepared::new(job.clone()).map_err(|source| ApplyError { job: name.clone(), source })?;
            prepared.push((name.clone(), p));
        }
        // From here on nothing can fail.
        let mut stopped = Vec::new();
        let restart = {
            let mut services = self.services();
            let names: Vec<String> = services.pools.keys().filter(|n| !unchanged.contains(n)).cloned().collect();
            for name in names {
                if let Some(pool) = services.pools.remove(&name) {
                    stopped.push((name, pool));
                }
            }
            let times = |g: &GlobalConfig| (g.interval(), g.timeout());
            let restart = times(&services.global) != times(global);
            services.global = global.clone();
            if restart { std::mem::take(&mut services.in_process) } else { Vec::new() }
        };
        let mut carried: BTreeMap<String, Carried> = BTreeMap::new();
        for (name, pool) in stopped {
            carried.insert(name, pool.stop().await);
        }
        for (name, p) in prepared {
            let state = carried.remove(&name).unwrap_or_default();
            let pool = Pool::start(self.inner.shared.clone(), p, &self.inner.token, state).await;
            self.services().pools.insert(name, pool);
        }
        for old in restart {
            old.token.cancel();
            finish(old.task).await;
            let new = self.start_in_process(old.target, global, Some(&old.scraper));
            self.services().in_process.push(new);
        }
        for scraper in carried.into_values().flat_map(Carried::into_values) {
            scraper.end().await;
        }
        Ok(())
    }

    /// Scrapes every target now, beside its schedule, and waits until all is stored.
    pub async fn scrape_now(&self) {
        let loops: Vec<Arc<TargetLoop>> = {
            let services = self.services();
            let pools = services.pools.values().flat_map(Pool::loops);
            pools.chain(services.in_process.iter().map(|p| p.scraper.clone())).collect()
        };
        let t = self.inner.shared.clock.now_ms();
        futures_util::future::join_all(loops.iter().map(|l| l.scrape(t, &self.inner.token))).await;
    }

    /// What `/api/v1/targets` shows.
    pub fn targets(&self) -> TargetsStatus {
        let services = self.services();
        let mut out = TargetsStatus::default();
        for (name, pool) in &services.pools {
            let dropped = pool.status(&mut out.active_targets, &mut out.dropped_targets);
            out.dropped_target_counts.insert(name.clone(), dropped);
        }
        for p in &services.in_process {
            out.active_targets.push(p.scraper.status(&p.target.job));
        }
        out
    }

    /// The metadata targets gave, target by target.
    pub fn metadata(&self) -> Vec<TargetMetadata> {
        let services = self.services();
        let mut out = Vec::new();
        for pool in services.pools.values() {
            pool.metadata(&mut out);
        }
        for p in &services.in_process {
            out.extend(p.scraper.metadata());
        }
        out
    }

    /// The names of all pools.
    pub fn scrape_pools(&self) -> Vec<String> {
        let services = self.services();
        let mut names: Vec<String> = services.pools.keys().cloned().collect();
        names.extend(services.in_process.iter().map(|p| p.target.job.clone()));
        names.sort();
        names.dedup();
        names
    }

    /// Stops all loops and waits for what is being stored. No staleness markers are written: after a restart the series go on.
    pub async fn stop(&self) {
        let _one_at_a_time = self.inner.changing.lock().await;
        self.inner.token.cancel();
        let services = std::mem::take(&mut *self.services());
        for pool in services.pools.into_values() {
            pool.stop().await;
        }
        for p in services.in_process {
            finish(p.task).await;
        }
    }
}

async fn finish(task: JoinHandle<()>) {
    if let Err(e) = task.await {
        tracing::warn!(error = %e, "a scrape loop ended badly");
    }
}
