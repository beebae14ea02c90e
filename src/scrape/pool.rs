//! The targets of one job: keeps discovery going and one loop for each target.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinHandle;

use crate::config::http_client::client::ClientError;
use crate::config::relabel::{Relabel, RelabelError, compile_all};
use crate::config::scrape::ScrapeJob;
use crate::discovery::{Sources, TargetGroup};
use crate::exec::CancellationToken;
use crate::model::Labels;
use crate::scrape::append::{StoreRules, TargetState};
use crate::scrape::client::{JobClient, Source};
use crate::scrape::metrics;
use crate::scrape::status::{DroppedTarget, TargetMetadata, TargetStatus};
use crate::scrape::target::{TargetKey, populate};
use crate::scrape::target_loop::{Shared, TargetLoop};

/// What targets of a stopped pool remember, for the pool that comes after it; by labels, because the URL may have changed.
pub type Carried = HashMap<Labels, Arc<TargetLoop>>;

/// Why a job cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// A relabelling rule.
    #[error(transparent)]
    Relabel(#[from] RelabelError),
    /// Certificates, keys or headers.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Everything of a job that can fail to be made, made before anything is touched.
pub struct Prepared {
    job: Arc<ScrapeJob>,
    client: Arc<JobClient>,
    target_rules: Vec<Relabel>,
    store_rules: Arc<StoreRules>,
}

impl Prepared {
    /// Compiles rules and makes the client.
    pub fn new(job: ScrapeJob) -> Result<Self, PrepareError> {
        let store_rules = StoreRules {
            honor_labels: job.honor_labels,
            honor_timestamps: job.honor_timestamps,
            track_timestamps_staleness: job.track_timestamps_staleness,
            limits: job.limits,
            names: job.names,
            relabel: compile_all(&job.metric_relabel_configs, job.names)?,
            extra_metrics: job.extra_metrics,
            vital: false,
            histograms: job.histograms,
        };
        Ok(Prepared {
            client: Arc::new(JobClient::new(&job)?),
            target_rules: compile_all(&job.relabel_configs, job.names)?,
            store_rules: Arc::new(store_rules),
            job: Arc::new(job),
        })
    }
}

struct Running {
    scraper: Arc<TargetLoop>,
    token: CancellationToken,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Targets {
    active: BTreeMap<TargetKey, Running>,
    dropped: Vec<Labels>,
    dropped_count: usize,
}

struct Inner {
    shared: Shared,
    prepared: Prepared,
    /// Cancelled when the pool is to end, however.
    token: CancellationToken,
    targets: Mutex<Targets>,
    carried: Mutex<Carried>,
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

/// See the module.
pub struct Pool {
    inner: Arc<Inner>,
    discovery: JoinHandle<()>,
}

impl Pool {
    /// Looks for targets once, then starts scraping and goes on looking. Targets found in `carried` go on where they were; what is left of it after the first round of discovery is ended with
    /// staleness markers.
    pub async fn start(shared: Shared, prepared: Prepared, parent: &CancellationToken, carried: Carried) -> Self {
        let inner = Arc::new(Inner {
            shared,
            prepared,
            token: parent.child_token(),
            targets: Mutex::default(),
            carried: Mutex::new(carried),
        });
        let mut discovery = Discovery::new(inner.clone());
        discovery.look(true).await;
        let discovery = tokio::spawn(discovery.run());
        Pool { inner, discovery }
    }

    /// The job as it runs.
    pub fn job(&self) -> &ScrapeJob {
        &self.inner.prepared.job
    }

    /// Stops all loops and hands out what they remember, without staleness markers.
    pub async fn stop(self) -> Carried {
        self.inner.token.cancel();
        if let Err(e) = self.discovery.await {
            tracing::warn!(error = %e, pool = %self.inner.prepared.job.job_name, "discovery ended badly");
        }
        let targets = std::mem::take(&mut *lock(&self.inner.targets));
        let mut carried = std::mem::take(&mut *lock(&self.inner.carried));
        for (_, r) in targets.active {
            if r.task.await.is_ok() {
                carried.insert(r.scraper.target().labels.clone(), r.scraper);
            }
        }
        drop_gauges(&self.inner.prepared.job.job_name);
        carried
    }

    /// Adds the status of all targets to what the API shows.
    pub fn status(&self, active: &mut Vec<TargetStatus>, dropped: &mut Vec<DroppedTarget>) -> usize {
        let pool = &self.inner.prepared.job.job_name;
        let targets = lock(&self.inner.targets);
        active.extend(targets.active.values().map(|r| r.scraper.status(pool)));
        dropped.extend(
            targets.dropped.iter().map(|l| DroppedTarget { discovered_labels: l.clone(), scrape_pool: pool.clone() }),
        );
        targets.dropped_count
    }

    /// The loops of all targets.
    pub fn loops(&self) -> Vec<Arc<TargetLoop>> {
        lock(&self.inner.targets).active.values().map(|r| r.scraper.clone()).collect()
    }

    /// The metadata of all targets.
    pub fn metadata(&self, out: &mut Vec<TargetMetadata>) {
        for s in self.loops() {
            out.extend(s.metadata());
        }
    }
}

fn drop_gauges(pool: &str) {
    for gauge in [&metrics::TARGETS, &metrics::BAD_TARGETS] {
        // An error means that the pool never set it.
        let _absent = gauge.remove_label_values(&[pool]);
    }
}

/// Finds the targets of a job.
struct Discovery {
    inner: Arc<Inner>,
    sources: Sources,
}

impl Discovery {
    fn new(inner: Arc<Inner>) -> Self {
        let job = &inner.prepared.job;
        let sources = Sources::new(&job.static_configs, &job.file_sd_configs);
        Discovery { inner, sources }
    }

    /// Looks once; brings the loops in line if anything changed, or if `always`.
    async fn look(&mut self, always: bool) {
        match self.sources.look(self.inner.shared.clock.now_ms(), always).await {
            Ok(Some(groups)) => sync(&self.inner, &groups).await,
            Ok(None) => {}
            Err(e) => {
                let pool = &self.inner.prepared.job.job_name;
                tracing::error!(error = %e, pool = %pool, "file discovery ended; its targets stay as they are");
            }
        }
    }

    /// Goes on looking until the pool ends.
    async fn run(mut self) {
        let token = self.inner.token.clone();
        while self.sources.can_change() {
            tokio::select! {
                () = token.cancelled() => return,
                () = tokio::time::sleep(crate::discovery::POLL) => {}
            }
            self.look(false).await;
        }
    }
}

/// Brings the loops in line with the groups.
async fn sync(inner: &Arc<Inner>, groups: &[TargetGroup]) {
    let job = &inner.prepared.job;
    let found = populate(job, &inner.prepared.target_rules, groups);
    for (labels, error) in &found.refused {
        tracing::warn!(pool = %job.job_name, target = %labels, error = %error, "target cannot be scraped");
    }
    metrics::BAD_TARGETS.with_label_values(&[&job.job_name]).set(count(found.refused.len()));
    let limit = job.limits.targets;
    let forced = (limit > 0 && found.active.len() as u64 > limit)
        .then(|| format!("target_limit exceeded (number of targets: {}, limit: {limit})", found.active.len()));
    let mut gone = Vec::new();
    {
        let mut targets = lock(&inner.targets);
        let mut carried = lock(&inner.carried);
        let mut before = std::mem::take(&mut targets.active);
        for target in found.active {
            let key = target.key();
            let running = match before.remove(&key) {
                Some(r) => {
                    let same = {
                        let old = r.scraper.target();
                        old.interval_ms == target.interval_ms && old.timeout_ms == target.timeout_ms
                    };
                    if same {
                        r.scraper.set_target(target);
                        r
                    } else {
                        r.token.cancel();
                        start(inner, target, Some(r.scraper.state()))
                    }
                }
                None => {
                    let state = carried.remove(&target.labels).map(|old| old.state());
                    start(inner, target, state)
                }
            };
            running.scraper.force_error(forced.clone());
            targets.active.insert(key, running);
        }
        targets.dropped_count = found.dropped.len();
        targets.dropped = found.dropped;
        if job.limits.dropped_targets > 0 {
            targets.dropped.truncate(usize::try_from(job.limits.dropped_targets).unwrap_or(usize::MAX));
        }
        metrics::TARGETS.with_label_values(&[&job.job_name]).set(count(targets.active.len()));
        for r in before.into_values() {
            r.token.cancel();
            gone.push((r.scraper, Some(r.task)));
        }
        gone.extend(carried.drain().map(|(_, scraper)| (scraper, None)));
    }
    for (scraper, task) in gone {
        if let Some(task) = task
            && let Err(e) = task.await
        {
            tracing::warn!(error = %e, "a scrape loop ended badly");
        }
        scraper.end().await;
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn start(inner: &Arc<Inner>, target: crate::scrape::target::Target, state: Option<Arc<Mutex<TargetState>>>) -> Running {
    let source = Source::Http(inner.prepared.client.clone());
    let rules = inner.prepared.store_rules.clone();
    let scraper = Arc::new(TargetLoop::new(inner.shared.clone(), target, source, rules, state));
    let token = inner.token.child_token();
    let task = tokio::spawn(scraper.clone().run(token.clone()));
    Running { scraper, token, task }
}
