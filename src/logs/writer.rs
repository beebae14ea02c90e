//! The work behind the store: batches become segments, segments are merged, old days are dropped.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::error::Error;
use super::limits;
use super::metrics;
use super::partition::{DayRun, NS_PER_DAY, Partition, PartitionView, day_of};
use super::store::{Frozen, Shared, lock};
use crate::exec::throttled_log::Throttle;

/// How often the writer looks around, and syncs the WAL.
const TICK: Duration = Duration::from_secs(1);
/// How often retention is applied.
const RETENTION_EVERY: Duration = Duration::from_secs(60);
/// What is added to the niceness of the merging thread.
#[cfg(target_os = "linux")]
const MERGE_NICENESS: i32 = 10;
/// How long a failed flush or merge rests.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Starts the threads. The merging one is not waited for at the end: it gives up by itself when writing has ended.
pub(super) fn start(shared: &Arc<Shared>) -> Result<Option<JoinHandle<()>>, Error> {
    let failed = || Error::io("start its threads");
    let of_merger = Arc::downgrade(shared);
    thread::Builder::new().name("logs-merge".to_owned()).spawn(move || run_merges(&of_merger)).map_err(failed())?;
    let of_writer = shared.clone();
    let handle =
        thread::Builder::new().name("logs-write".to_owned()).spawn(move || run_writer(&of_writer)).map_err(failed())?;
    Ok(Some(handle))
}

fn told(throttle: &Throttle, shared: &Shared, work: &'static str, error: &Error) {
    metrics::FAILURES.with_label_values(&[work]).inc();
    if let Some(more) = throttle.allow(shared.options.clock.now_ms()) {
        tracing::error!(work, %error, suppressed = more, "work of the log store failed; it will be tried again");
    }
}

fn run_writer(shared: &Arc<Shared>) {
    let throttle = Throttle::new(60_000);
    let mut next_retention = Instant::now();
    let mut not_before = Instant::now();
    let (mut seen, mut grew) = (0, Instant::now());
    loop {
        {
            let stop = lock(&shared.signal.stop);
            if *stop {
                return;
            }
            let due = || {
                let state = shared.read();
                state.active_bytes >= shared.options.flush_bytes && Instant::now() >= not_before
            };
            if !due() {
                let waited = shared.signal.changed.wait_timeout(stop, TICK).unwrap_or_else(PoisonError::into_inner);
                if *waited.0 {
                    return;
                }
            }
        }
        check_space(shared);
        if let Err(e) = shared.wal.sync() {
            told(&throttle, shared, "sync", &Error::Io { what: "sync its write-ahead log", source: e });
        }
        let due = {
            let state = shared.read();
            let old = state.active_since.is_some_and(|t| t.elapsed() >= shared.options.flush_interval);
            if state.active_bytes.abs_diff(seen) > limits::QUIET_BYTES {
                (seen, grew) = (state.active_bytes, Instant::now());
            }
            let quiet = state.active_bytes >= limits::QUIET_FLUSH_BYTES && grew.elapsed() >= limits::QUIET_FOR;
            old || quiet || state.active_bytes >= shared.options.flush_bytes || state.frozen.is_some()
        };
        if due && Instant::now() >= not_before {
            // A panic of the index library must not end all writing; what is frozen stays in memory and in the WAL.
            let flushed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| flush(shared)));
            let failed = flushed.unwrap_or_else(|_| {
                Err(Error::Damaged { file: "log segment".to_owned(), what: "the index library panicked".to_owned() })
            });
            if let Err(e) = failed {
                told(&throttle, shared, "flush", &e);
                not_before = Instant::now() + RETRY_AFTER;
            }
            // Whoever waits for room, and the merging thread.
            let _awake = lock(&shared.signal.stop);
            shared.signal.changed.notify_all();
        }
        if Instant::now() >= next_retention {
            next_retention = Instant::now() + RETENTION_EVERY;
            if let Err(e) = apply_retention(shared) {
                told(&throttle, shared, "retention", &e);
            }
        }
    }
}

/// Asks for the room on the disk and tells of changes.
fn check_space(shared: &Shared) {
    let (free, low) = shared.space.look();
    metrics::FREE_BYTES.set(i64::try_from(free).unwrap_or(i64::MAX));
    let before = metrics::SPACE_LOW.get() != 0;
    metrics::SPACE_LOW.set(low.into());
    if low && !before {
        let min = shared.options.min_free_bytes;
        tracing::error!(free, min, "the disk is nearly full: log lines are refused until there is room again");
    } else if before && !low {
        tracing::info!(free, "the disk has room again: log lines are taken");
    }
}

fn run_merges(shared: &Weak<Shared>) {
    yield_to_others();
    let throttle = Throttle::new(60_000);
    loop {
        let Some(shared) = shared.upgrade() else { return };
        let rest = match merge_once(&shared) {
            Ok(true) => continue,
            Ok(false) | Err(Error::Closed) => TICK,
            Err(e) => {
                if *lock(&shared.signal.stop) {
                    return;
                }
                told(&throttle, &shared, "merge", &e);
                RETRY_AFTER
            }
        };
        let stop = lock(&shared.signal.stop);
        if *stop {
            return;
        }
        let waited = shared.signal.changed.wait_timeout(stop, rest).unwrap_or_else(PoisonError::into_inner);
        if *waited.0 {
            return;
        }
    }
}

/// Gives this thread a low priority: a merge has time.
fn yield_to_others() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, MERGE_NICENESS) {
        tracing::debug!(%error, "the merging thread of the log store keeps its priority");
    }
}

/// Writes the frozen batches to segments; freezes the active ones first if none are frozen. What could be written stays so
/// when a later day fails, and the next call goes on with the rest.
pub(super) fn flush(shared: &Shared) -> Result<(), Error> {
    let _one_at_a_time = lock(&shared.flushing);
    let Some((batches, position, wal_segment, done)) = freeze(shared)? else { return Ok(()) };
    let started = Instant::now();
    let mut days: BTreeMap<i32, Vec<DayRun<'_>>> = BTreeMap::new();
    for batch in batches.iter() {
        for group in batch.groups() {
            DayRun::cut(batch, group, |day, run| days.entry(day).or_default().push(run));
        }
    }
    for (day, runs) in days.into_iter().filter(|(day, _)| !done.contains(day)) {
        let partition = shared.partition(day)?;
        let _no_other_shows_it = lock(&shared.publish);
        partition.commit(&runs, position, &shared.streams)?;
        let view = new_view(shared, &partition)?;
        let mut state = shared.write();
        state.views.insert(day, Arc::new(view));
        if let Some(frozen) = &mut state.frozen {
            frozen.done.push(day);
        }
    }
    {
        let mut state = shared.write();
        state.frozen = None;
        metrics::BUFFERED.set(state.active_bytes as i64);
    }
    drop(batches);
    shared.wal.truncate_before(wal_segment).map_err(Error::io("remove old segments of its write-ahead log"))?;
    metrics::FLUSH.observe(started.elapsed().as_secs_f64());
    Ok(())
}

type FrozenParts = (Arc<Vec<Arc<super::batch::Batch>>>, crate::disk::wal::WalPosition, u64, Vec<i32>);

fn freeze(shared: &Shared) -> Result<Option<FrozenParts>, Error> {
    let parts = |f: &Frozen| (f.batches.clone(), f.position, f.wal_segment, f.done.clone());
    if let Some(frozen) = &shared.read().frozen {
        return Ok(Some(parts(frozen)));
    }
    let _no_pushes = lock(&shared.ingest);
    let Some(position) = shared.read().active.iter().map(|b| b.position).max() else { return Ok(None) };
    // From here on the WAL goes to a new segment; when this lot is written, the ones before it are not needed.
    let wal_segment = shared.wal.roll().map_err(Error::io("begin a segment of its write-ahead log"))?;
    let mut state = shared.write();
    let batches = Arc::new(std::mem::take(&mut state.active));
    let bytes = std::mem::take(&mut state.active_bytes);
    state.active_since = None;
    let frozen = Frozen { batches, bytes, position, wal_segment, done: Vec::new() };
    let found = parts(&frozen);
    state.frozen = Some(frozen);
    Ok(Some(found))
}

fn new_view(shared: &Shared, partition: &Partition) -> Result<PartitionView, Error> {
    let before = shared.read().views.get(&partition.day()).cloned();
    partition.view(before.as_deref())
}

/// Does one merge, if one is due; says whether it did.
pub(super) fn merge_once(shared: &Shared) -> Result<bool, Error> {
    let partitions: Vec<Arc<Partition>> = lock(&shared.partitions).values().cloned().collect();
    let today = day_of(shared.options.clock.now_ns());
    for partition in partitions {
        if *lock(&shared.signal.stop) {
            return Ok(false);
        }
        let Some(view) = shared.read().views.get(&partition.day()).cloned() else { continue };
        let past = partition.day() < today;
        let Some(segments) = partition.merge_candidate(&view, past) else { continue };
        partition.merge(&segments)?;
        metrics::MERGES.inc();
        let _no_other_shows_it = lock(&shared.publish);
        // The day may have been dropped meanwhile.
        if lock(&shared.partitions).contains_key(&partition.day()) {
            let view = new_view(shared, &partition)?;
            shared.write().views.insert(partition.day(), Arc::new(view));
        }
        return Ok(true);
    }
    Ok(false)
}

/// Drops days that are over, and the oldest ones while there are too many bytes.
pub(super) fn apply_retention(shared: &Shared) -> Result<(), Error> {
    let options = &shared.options;
    if options.retention_ns > 0 {
        let limit = options.clock.now_ns().saturating_sub(options.retention_ns);
        let over = |day: i32| i64::from(day).saturating_add(1).saturating_mul(NS_PER_DAY) <= limit;
        let days: Vec<i32> = lock(&shared.partitions).keys().copied().filter(|d| over(*d)).collect();
        for day in days {
            drop_day(shared, day, "time")?;
        }
    }
    if options.retention_bytes > 0 {
        let partitions: Vec<Arc<Partition>> = lock(&shared.partitions).values().cloned().collect();
        let mut sizes = Vec::new();
        for p in partitions {
            sizes.push((p.day(), p.size_bytes().map_err(Error::io("measure its days"))?));
        }
        let mut sum: u64 = sizes.iter().map(|(_, s)| s).sum();
        // The newest day always stays.
        sizes.pop();
        for (day, size) in sizes {
            if sum <= options.retention_bytes {
                break;
            }
            drop_day(shared, day, "size")?;
            sum -= size;
        }
    }
    Ok(())
}

fn drop_day(shared: &Shared, day: i32, reason: &'static str) -> Result<(), Error> {
    let _no_other_shows_it = lock(&shared.publish);
    let partition = {
        let mut partitions = lock(&shared.partitions);
        let partition = partitions.remove(&day);
        metrics::PARTITIONS.set(partitions.len() as i64);
        partition
    };
    shared.write().views.remove(&day);
    let Some(partition) = partition else { return Ok(()) };
    tracing::info!(partition = partition.name(), reason, "day of the log store dropped by retention");
    metrics::DROPPED.with_label_values(&[reason]).inc();
    partition.remove().map_err(Error::io("remove an old day"))
}
