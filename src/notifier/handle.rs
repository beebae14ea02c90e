//! What the rest of the program holds of the notifier.
//!
//! Lock order: `changing` (over a reload and a stop), then `entries`. Neither is held while a request is under way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::JoinHandle;

use super::endpoint::endpoints;
use super::metrics;
use super::queue::CAPACITY;
use super::send_loop::{self, Manner, Outbox};
use crate::config::http_client::client::{ClientError, HttpClient};
use crate::config::outside::{Outside, OutsideAlertmanagers};
use crate::config::relabel::{Relabel, RelabelConfig, RelabelError, compile_all};
use crate::config::scrape::NameValidation;
use crate::discovery::{POLL, Sources, TargetGroup};
use crate::exec::{CancellationToken, Clock};
use crate::model::alert::Alert;

/// Why a configuration was not taken; nothing has changed then.
#[derive(Debug, thiserror::Error)]
#[error("alerting.alertmanagers[{entry}]: {source}")]
pub struct ApplyError {
    /// Which entry.
    pub entry: usize,
    /// What is wrong with it.
    #[source]
    pub source: PrepareError,
}

/// Why an entry cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// A relabelling rule.
    #[error(transparent)]
    Relabel(#[from] RelabelError),
    /// Certificates, keys or headers.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// The Alertmanagers outside, by address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutsideStatus {
    /// Those that alerts are sent to.
    pub active: Vec<String>,
    /// Those that relabelling dropped.
    pub dropped: Vec<String>,
}

/// What an entry is made of; two equal ones need no restart.
#[derive(Clone, PartialEq)]
struct Definition {
    config: OutsideAlertmanagers,
    /// The rules for alerts of all entries, which come before its own.
    common: Vec<Option<RelabelConfig>>,
}

struct Loop {
    outbox: Arc<Outbox>,
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

struct Entry {
    definition: Definition,
    manner: Arc<Manner>,
    target_rules: Vec<Relabel>,
    loops: BTreeMap<String, Loop>,
    dropped: Vec<String>,
    /// Ends its discovery.
    cancel: CancellationToken,
}

/// An entry of the next configuration.
enum Next {
    /// The one at this place of the present one.
    Kept(usize),
    Made(Box<Entry>),
}

struct Inner {
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    entries: Mutex<Vec<Entry>>,
    changing: tokio::sync::Mutex<()>,
}

/// The door to the outside Alertmanagers. Clones share everything.
#[derive(Clone)]
pub struct NotifierHandle {
    inner: Arc<Inner>,
}

impl NotifierHandle {
    /// One that sends nowhere until [`NotifierHandle::apply`].
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        metrics::CAPACITY.set(i64::try_from(CAPACITY).unwrap_or(i64::MAX));
        let (entries, changing) = (Mutex::default(), tokio::sync::Mutex::default());
        NotifierHandle { inner: Arc::new(Inner { clock, stop: CancellationToken::new(), entries, changing }) }
    }

    /// Takes alerts for all Alertmanagers. Never blocks on anything but short locks; what does not fit is dropped, the oldest first,
    /// and counted.
    pub fn send(&self, alerts: &[Alert]) {
        for entry in self.inner.entries().iter() {
            for (url, running) in &entry.loops {
                running.outbox.push(url, alerts.iter().cloned());
            }
        }
    }

    /// Whether there is nobody to send to.
    pub fn is_idle(&self) -> bool {
        self.inner.entries().iter().all(|e| e.loops.is_empty())
    }

    /// Brings everything in line with a validated configuration. Entries that did not change go on undisturbed, and what waits for an
    /// address that is still there stays queued. On an error (a certificate that cannot be read) everything stays as it was.
    pub async fn apply(&self, config: &Outside) -> Result<(), ApplyError> {
        let _one_at_a_time = self.inner.changing.lock().await;
        let wanted = config
            .alertmanagers
            .iter()
            .map(|c| Definition { config: c.clone(), common: config.alert_relabel_configs.clone() });
        let mut prepared = Vec::new();
        {
            let entries = self.inner.entries();
            let mut taken = vec![false; entries.len()];
            for (i, definition) in wanted.enumerate() {
                let same = entries.iter().zip(&mut taken).position(|(e, taken)| !*taken && e.definition == definition);
                match same {
                    Some(at) => {
                        if let Some(t) = taken.get_mut(at) {
                            *t = true;
                        }
                        prepared.push(Next::Kept(at));
                    }
                    None => {
                        let made = Entry::prepare(definition).map_err(|source| ApplyError { entry: i, source })?;
                        prepared.push(Next::Made(Box::new(made)));
                    }
                }
            }
        }
        // From here on nothing can fail.
        let mut before: Vec<Option<Entry>> = std::mem::take(&mut *self.inner.entries()).into_iter().map(Some).collect();
        let mut fresh = Vec::new();
        let mut next = Vec::new();
        for p in prepared {
            match p {
                Next::Kept(at) => next.extend(before.get_mut(at).and_then(Option::take)),
                Next::Made(entry) => {
                    fresh.push(entry.definition.clone());
                    next.push(*entry);
                }
            }
        }
        let mut outboxes = BTreeMap::new();
        for entry in before.into_iter().flatten() {
            entry.cancel.cancel();
            for (url, running) in entry.loops {
                running.cancel.cancel();
                // The loop ends at its next await; a panic in it has been told by the runtime.
                let _ended = running.task.await;
                outboxes.insert(url, running.outbox);
            }
        }
        *self.inner.entries() = next;
        for definition in fresh {
            self.discover(definition, &mut outboxes).await;
        }
        for url in outboxes.keys() {
            metrics::forget(url);
        }
        self.inner.count();
        Ok(())
    }

    /// Looks for the Alertmanagers of an entry, now and again.
    async fn discover(&self, definition: Definition, outboxes: &mut BTreeMap<String, Arc<Outbox>>) {
        let config = &definition.config;
        let mut sources = Sources::new(&config.static_configs, &config.file_sd_configs);
        let groups = sources.look(self.inner.clock.now_ms(), true).await;
        let Some(cancel) = self.inner.sync(&definition, groups.ok().flatten().unwrap_or_default(), outboxes) else {
            return;
        };
        if !sources.can_change() {
            return;
        }
        let inner = self.inner.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = cancel.cancelled() => return,
                    () = tokio::time::sleep(POLL) => {}
                }
                match sources.look(inner.clock.now_ms(), false).await {
                    Ok(Some(groups)) => {
                        let _one_at_a_time = inner.changing.lock().await;
                        if cancel.is_cancelled() {
                            return;
                        }
                        inner.sync(&definition, groups, &mut BTreeMap::new());
                        inner.count();
                    }
                    Ok(None) => {}
                    Err(error) => {
                        tracing::error!(%error, "file discovery ended; the outside Alertmanagers stay as they are");
                        return;
                    }
                }
            }
        });
    }

    /// What `/api/v1/alertmanagers` shows.
    pub fn status(&self) -> OutsideStatus {
        let mut status = OutsideStatus::default();
        for entry in self.inner.entries().iter() {
            status.active.extend(entry.loops.keys().cloned());
            status.dropped.extend(entry.dropped.iter().cloned());
        }
        status
    }

    /// Stops: what is queued is sent if that goes quickly, the rest is dropped and counted.
    pub async fn stop(&self) {
        let _one_at_a_time = self.inner.changing.lock().await;
        self.inner.stop.cancel();
        let entries = std::mem::take(&mut *self.inner.entries());
        let clock = self.inner.clock.as_ref();
        let mut ends = Vec::new();
        for entry in entries {
            entry.cancel.cancel();
            for (url, running) in entry.loops {
                let manner = entry.manner.clone();
                ends.push(async move {
                    running.cancel.cancel();
                    // See `apply`.
                    let _ended = running.task.await;
                    send_loop::last_words(&url, &running.outbox, &manner, clock).await;
                });
            }
        }
        futures_util::future::join_all(ends).await;
    }
}

impl Entry {
    /// Compiles rules and makes the client.
    fn prepare(definition: Definition) -> Result<Self, PrepareError> {
        let config = &definition.config;
        let all: Vec<_> = definition.common.iter().chain(&config.alert_relabel_configs).cloned().collect();
        let manner = Manner {
            client: HttpClient::new(&config.http_client(), false)?,
            timeout: config.timeout().as_duration(),
            relabel: compile_all(&all, NameValidation::Utf8)?,
        };
        Ok(Entry {
            target_rules: compile_all(&config.relabel_configs, NameValidation::Utf8)?,
            manner: Arc::new(manner),
            loops: BTreeMap::new(),
            dropped: Vec::new(),
            cancel: CancellationToken::new(),
            definition,
        })
    }
}

impl Inner {
    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts and ends loops so that they are those of `groups`; gives what ends the entry's discovery, or nothing if the entry is gone.
    fn sync(
        &self,
        definition: &Definition,
        groups: Vec<TargetGroup>,
        outboxes: &mut BTreeMap<String, Arc<Outbox>>,
    ) -> Option<CancellationToken> {
        let mut entries = self.entries();
        let entry = entries.iter_mut().find(|e| e.definition == *definition)?;
        let found = endpoints(&entry.definition.config, &entry.target_rules, &groups);
        for address in &found.refused {
            tracing::warn!(address, "not the address of an Alertmanager; write host:port");
        }
        entry.dropped = found.dropped.into_iter().collect();
        entry.loops.retain(|url, running| {
            let stays = found.active.contains(url);
            if !stays {
                running.cancel.cancel();
                metrics::forget(url);
            }
            stays
        });
        for url in found.active {
            if entry.loops.contains_key(&url) {
                continue;
            }
            let outbox = outboxes.remove(&url).unwrap_or_default();
            let cancel = self.stop.child_token();
            let task =
                send_loop::run(url.clone(), outbox.clone(), entry.manner.clone(), self.clock.clone(), cancel.clone());
            entry.loops.insert(url, Loop { outbox, cancel, task: tokio::spawn(task) });
        }
        Some(entry.cancel.clone())
    }

    fn count(&self) {
        let n: usize = self.entries().iter().map(|e| e.loops.len()).sum();
        metrics::DISCOVERED.set(i64::try_from(n).unwrap_or(i64::MAX));
    }
}
