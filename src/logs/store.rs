//! The store: opening with replay, taking batches, snapshots for queries, the feed for tails.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::broadcast;

use super::batch::{Batch, BatchBuilder};
use super::count::{CountRequest, CountRow};
use super::error::Error;
use super::limits;
use super::metrics;
use super::migrate;
use super::partition::{NS_PER_DAY, Partition, PartitionView, day_of, day_of_name};
use super::scan::{ScanRequest, ScanStats, ScannedEntry};
use super::snapshot::Snapshot;
use super::stream_index::{StreamId, StreamIndex};
use super::writer;
use crate::disk::free_space::SpaceGuard;
use crate::disk::wal::record::Compression;
use crate::disk::wal::{self, Wal, WalOptions, WalPosition};
use crate::exec::throttled_log::Throttle;
use crate::exec::{Clock, SystemClock};
use crate::model::{Labels, LogStream, Matcher, TimestampNs};

/// Every push fails while the log cannot be written.
static COMPLAINTS: Throttle = Throttle::new(60_000);

/// What happens to lines over the size limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oversize {
    /// They are cut to the limit.
    Cut,
    /// They are refused.
    Refuse,
}

/// How the store behaves.
#[derive(Clone)]
pub struct Options {
    /// Entries older than this are refused, and days older than this dropped; 0 keeps everything.
    pub retention_ns: i64,
    /// The oldest days are dropped while there are more bytes than this on disk; 0 keeps everything.
    pub retention_bytes: u64,
    /// Longest line; 0 for no limit.
    pub max_line_bytes: usize,
    /// What happens to longer ones.
    pub oversize: Oversize,
    /// How far in the future entries may lie.
    pub max_future_ns: i64,
    /// Whether each batch is synced to disk before it is acknowledged; otherwise once a second.
    pub sync_always: bool,
    /// See [`limits::FLUSH_BYTES`].
    pub flush_bytes: usize,
    /// See [`limits::FLUSH_SECONDS`].
    pub flush_interval: Duration,
    /// See [`limits::MAX_BUFFER_BYTES`].
    pub max_buffer_bytes: usize,
    /// How long a push waits for room in memory before it is refused.
    pub max_wait: Duration,
    /// Free bytes of the file system below which pushes are refused; 0 for none.
    pub min_free_bytes: u64,
    /// Whether threads write segments, merge and drop in the background; tests call [`Store::flush`] instead.
    pub background: bool,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            retention_ns: 30 * NS_PER_DAY,
            retention_bytes: 0,
            max_line_bytes: limits::MAX_LINE_BYTES,
            oversize: Oversize::Cut,
            max_future_ns: limits::MAX_FUTURE_NS,
            sync_always: false,
            flush_bytes: limits::FLUSH_BYTES,
            flush_interval: Duration::from_secs(limits::FLUSH_SECONDS.unsigned_abs()),
            max_buffer_bytes: limits::MAX_BUFFER_BYTES,
            max_wait: Duration::from_secs(5),
            min_free_bytes: 0,
            background: true,
            clock: Arc::new(SystemClock),
        }
    }
}

/// What a push did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Entries that are now durable and searchable. An exact double inside a batch counts once.
    pub accepted: u64,
    /// How many entries were refused.
    pub refused_entries: u64,
    /// Reasons for entries that were refused, a few of them in words for the sender.
    pub refused: Vec<String>,
    /// Streams for which a day had no room any more.
    pub full_streams: Vec<Labels>,
}

/// Batches that are being written to segments.
pub(super) struct Frozen {
    pub batches: Arc<Vec<Arc<Batch>>>,
    pub bytes: usize,
    /// The WAL up to here is in these batches or in segments.
    pub position: WalPosition,
    /// The first segment of the WAL that is not.
    pub wal_segment: u64,
    /// Days that are written.
    pub done: Vec<i32>,
}

/// What queries see.
#[derive(Default)]
pub(super) struct State {
    pub active: Vec<Arc<Batch>>,
    pub active_bytes: usize,
    pub active_since: Option<Instant>,
    pub frozen: Option<Frozen>,
    pub views: BTreeMap<i32, Arc<PartitionView>>,
}

impl State {
    fn bytes(&self) -> usize {
        self.active_bytes + self.frozen.as_ref().map_or(0, |f| f.bytes)
    }
}

/// Wakes the background threads and those who wait for room.
#[derive(Default)]
pub(super) struct Signal {
    pub stop: Mutex<bool>,
    pub changed: Condvar,
}

/// What the store and its threads share.
pub(super) struct Shared {
    pub options: Options,
    pub days_dir: PathBuf,
    pub streams: Arc<StreamIndex>,
    pub wal: Wal,
    /// Held while a batch goes to the WAL and to the active batches, so that both have the same order.
    pub ingest: Mutex<()>,
    pub state: RwLock<State>,
    pub partitions: Mutex<BTreeMap<i32, Arc<Partition>>>,
    /// Held while a commit becomes visible, so that no other thread shows it while its entries are still shown from memory.
    pub publish: Mutex<()>,
    /// One flush at a time.
    pub flushing: Mutex<()>,
    pub tail: broadcast::Sender<Arc<Batch>>,
    pub signal: Signal,
    pub space: SpaceGuard,
}

pub(super) fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The partition of a day; made if missing.
    pub fn partition(&self, day: i32) -> Result<Arc<Partition>, Error> {
        let mut partitions = lock(&self.partitions);
        if let Some(p) = partitions.get(&day) {
            return Ok(p.clone());
        }
        let (partition, view, _) = Partition::open(&self.days_dir, day, &self.streams)?;
        let partition = Arc::new(partition);
        partitions.insert(day, partition.clone());
        metrics::PARTITIONS.set(partitions.len() as i64);
        self.write().views.insert(day, Arc::new(view));
        Ok(partition)
    }

    /// Numbers the streams of a batch in the partitions it touches. Entries for which there is no number any more are taken
    /// out; returns how many, and of which streams.
    fn reserve(&self, batch: &mut Batch) -> Result<(u64, Vec<Labels>), Error> {
        batch.assign(|labels| self.streams.intern(labels));
        let mut known: HashMap<i32, Arc<Partition>> = HashMap::new();
        let mut full: Vec<(StreamId, i32)> = Vec::new();
        for group in batch.groups() {
            let mut last = None;
            for day in group.entries.iter().map(|e| day_of(e.timestamp)) {
                if last.replace(day) == Some(day) {
                    continue;
                }
                let partition = match known.entry(day) {
                    std::collections::hash_map::Entry::Occupied(e) => e.into_mut(),
                    std::collections::hash_map::Entry::Vacant(e) => e.insert(self.partition(day)?),
                };
                if !partition.reserve(group.stream) {
                    full.push((group.stream, day));
                }
            }
        }
        if full.is_empty() {
            return Ok((0, Vec::new()));
        }
        let before = batch.len();
        let streams = full.iter().map(|(stream, _)| self.streams.labels(*stream)).collect();
        batch.retain(|stream, e| !full.contains(&(stream, day_of(e.timestamp))));
        Ok(((before - batch.len()) as u64, streams))
    }

    /// Waits until there is room in memory.
    fn wait_for_room(&self, bytes: usize) -> Result<(), Error> {
        let deadline = Instant::now() + self.options.max_wait;
        let mut stop = lock(&self.signal.stop);
        let mut told = false;
        loop {
            if *stop {
                return Err(Error::Closed);
            }
            let waiting_bytes = self.read().bytes();
            if waiting_bytes == 0 || waiting_bytes + bytes <= self.options.max_buffer_bytes {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Busy { waiting_bytes });
            }
            // Once: whoever waits for room wakes the others who do by it, and they would keep each other awake.
            if !std::mem::replace(&mut told, true) {
                self.signal.changed.notify_all();
            }
            (stop, _) = self.signal.changed.wait_timeout(stop, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn snapshot(&self) -> Snapshot {
        let state = self.read();
        Snapshot {
            partitions: state.views.values().cloned().collect(),
            frozen: state.frozen.as_ref().map(|f| (f.batches.clone(), f.done.clone())),
            active: state.active.clone(),
            streams: self.streams.clone(),
        }
    }
}

/// An open log store.
pub struct Store {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Opens or creates the store in `dir`, replays its log and starts its threads. Damaged parts are set aside with a word
    /// in the log; only a disk that cannot be used is an error.
    pub fn open(dir: &Path, options: Options) -> Result<Store, Error> {
        let (days_dir, wal_dir) = (dir.join("days"), dir.join("wal"));
        fs::create_dir_all(&days_dir).map_err(Error::io("create its folder"))?;
        let streams = Arc::new(StreamIndex::default());
        let mut partitions = BTreeMap::new();
        let mut state = State::default();
        let mut covered = BTreeMap::new();
        migrate::finish_interrupted(&days_dir).map_err(Error::io("go on with rewriting its days"))?;
        for day in days_on_disk(&days_dir).map_err(Error::io("list its days"))? {
            match Partition::open(&days_dir, day, &streams) {
                Ok((partition, view, position)) => {
                    partitions.insert(day, Arc::new(partition));
                    state.views.insert(day, Arc::new(view));
                    covered.insert(day, position);
                }
                Err(error @ (Error::Damaged { .. } | Error::Index { .. })) => set_aside(&days_dir, day, &error),
                Err(error) => return Err(error),
            }
        }
        metrics::PARTITIONS.set(partitions.len() as i64);
        let report = wal::replay(&wal_dir, WalPosition::default(), None, |position, payload| {
            let Some(mut batch) = Batch::decode(payload, position) else {
                tracing::error!(
                    ?position,
                    "a record of the log store's write-ahead log cannot be read and is left out"
                );
                metrics::DAMAGED.with_label_values(&["wal"]).inc();
                return Ok(());
            };
            batch.retain(|_, e| covered.get(&day_of(e.timestamp)).is_none_or(|c| position > *c));
            if !batch.is_empty() {
                state.active_bytes += batch.bytes();
                state.active.push(Arc::new(batch));
            }
            Ok(())
        })
        .map_err(Error::io("replay its write-ahead log"))?;
        for damage in &report.damage {
            // A torn tail is the ordinary trace of a crash: what it held was not acknowledged.
            tracing::warn!(at = ?damage.at, bytes = damage.bytes, reason = damage.reason, "damage in the log store's write-ahead log");
            metrics::DAMAGED.with_label_values(&["wal"]).inc();
        }
        state.active_since = (!state.active.is_empty()).then(Instant::now);
        wal::cut_torn_tail(&wal_dir, &report).map_err(Error::io("cut the torn tail off its write-ahead log"))?;
        let first_segment = covered.values().map(|p| p.segment + 1).max().unwrap_or(0);
        let wal_options = WalOptions {
            first_segment,
            sync_always: options.sync_always,
            compression: Compression::Zstd,
            ..WalOptions::default()
        };
        let wal = Wal::open(&wal_dir, wal_options).map_err(Error::io("open its write-ahead log"))?;
        let space = SpaceGuard::new(dir, options.min_free_bytes);
        let shared = Arc::new(Shared {
            options,
            days_dir,
            streams,
            wal,
            ingest: Mutex::new(()),
            state: RwLock::new(State::default()),
            partitions: Mutex::new(partitions),
            publish: Mutex::new(()),
            flushing: Mutex::new(()),
            tail: broadcast::channel(limits::TAIL_BATCHES).0,
            signal: Signal::default(),
            space,
        });
        let replayed = std::mem::take(&mut state.active);
        *shared.write() = state;
        for batch in replayed {
            // Partitions may have been set aside or never been made: their streams get numbers now.
            let mut batch = Arc::unwrap_or_clone(batch);
            let (lost, _) = shared.reserve(&mut batch)?;
            metrics::REFUSED.with_label_values(&["too_many_streams"]).inc_by(lost);
            shared.write().active.push(Arc::new(batch));
        }
        let writer = if shared.options.background { writer::start(&shared)? } else { None };
        Ok(Store { shared, writer: Mutex::new(writer) })
    }

    /// The options the store was opened with.
    pub fn options(&self) -> &Options {
        &self.shared.options
    }

    /// A builder for [`Store::push_batch`], which applies this store's limits.
    pub fn batch(&self) -> BatchBuilder<'_> {
        BatchBuilder::new(&self.shared.options)
    }

    /// Takes what campanile itself has to say (its history, probes), even while the disk is nearly full; when it returns, the accepted
    /// entries survive a crash of the process and are found by queries.
    pub fn push(&self, streams: Vec<LogStream>) -> Result<Pushed, Error> {
        let mut builder = self.batch();
        for stream in streams {
            builder.stream(stream.labels);
            for e in &stream.entries {
                builder.entry(e.timestamp, &e.line, &e.metadata);
            }
        }
        self.take(builder, true)
    }

    /// Takes what a client sent; durable and visible as with [`Store::push`]. Waits a while when entries come faster than they can be
    /// written, refuses while the disk is nearly full.
    pub fn push_batch(&self, builder: BatchBuilder<'_>) -> Result<Pushed, Error> {
        self.take(builder, false)
    }

    fn take(&self, builder: BatchBuilder<'_>, vital: bool) -> Result<Pushed, Error> {
        let (mut batch, refused, refusals) = builder.build();
        let mut pushed = Pushed {
            accepted: 0,
            refused_entries: refused,
            refused: refusals.into_iter().map(|r| r.message).collect(),
            full_streams: Vec::new(),
        };
        if batch.is_empty() {
            return Ok(pushed);
        }
        let bytes = batch.bytes();
        if bytes > limits::MAX_BATCH_BYTES {
            return Err(Error::BatchTooLarge { bytes, limit: limits::MAX_BATCH_BYTES });
        }
        let shared = &self.shared;
        shared.space.admit(vital).map_err(|e| {
            metrics::NO_SPACE.inc();
            Error::NoSpace(e)
        })?;
        shared.wait_for_room(bytes)?;
        let (full, full_streams) = shared.reserve(&mut batch)?;
        if full > 0 {
            pushed.full_streams = full_streams;
            metrics::REFUSED.with_label_values(&["too_many_streams"]).inc_by(full);
            pushed.refused_entries += full;
            pushed
                .refused
                .push(format!("more than {} streams in one day; use fewer labels", limits::MAX_STREAMS_PER_DAY));
        }
        if batch.is_empty() {
            return Ok(pushed);
        }
        batch.shrink();
        let write = |e: io::Error| {
            if let Some(before) = COMPLAINTS.allow(shared.options.clock.now_ms()) {
                tracing::error!(error = %e, before, "the log of the log store cannot be written: lines are refused");
            }
            Error::io("write its write-ahead log")(e)
        };
        let record = shared.wal.encode(&batch.encode()).map_err(write)?;
        pushed.accepted = batch.len() as u64;
        let line_bytes = batch.line_bytes() as u64;
        let full = {
            let _order = lock(&shared.ingest);
            batch.position = shared.wal.append_encoded(&record).map_err(write)?;
            let batch = Arc::new(batch);
            let mut state = shared.write();
            state.active_bytes += batch.bytes();
            state.active_since.get_or_insert_with(Instant::now);
            state.active.push(batch.clone());
            metrics::BUFFERED.set(state.bytes() as i64);
            // Nobody listening is fine.
            let _listeners = shared.tail.send(batch);
            state.active_bytes >= shared.options.flush_bytes
        };
        metrics::ENTRIES.inc_by(pushed.accepted);
        metrics::BYTES.inc_by(line_bytes);
        if full {
            let _awake = lock(&shared.signal.stop);
            shared.signal.changed.notify_all();
        }
        Ok(pushed)
    }

    /// What a query sees from now on.
    pub fn snapshot(&self) -> Snapshot {
        self.shared.snapshot()
    }

    /// The labels of a stream.
    pub fn labels(&self, id: StreamId) -> Labels {
        self.shared.streams.labels(id)
    }

    /// See [`Snapshot::streams`].
    pub fn streams(&self, matchers: &[Matcher], start: TimestampNs, end: TimestampNs) -> Vec<(StreamId, Labels)> {
        self.snapshot().streams(matchers, start, end)
    }

    /// See [`Snapshot::series`].
    pub fn series(&self, matchers: &[Matcher], start: TimestampNs, end: TimestampNs) -> Vec<Labels> {
        self.snapshot().series(matchers, start, end)
    }

    /// See [`Snapshot::label_names`].
    pub fn label_names(&self, matchers: &[Matcher], start: TimestampNs, end: TimestampNs) -> Vec<String> {
        self.snapshot().label_names(matchers, start, end)
    }

    /// See [`Snapshot::label_values`].
    pub fn label_values(&self, name: &str, matchers: &[Matcher], start: TimestampNs, end: TimestampNs) -> Vec<String> {
        self.snapshot().label_values(name, matchers, start, end)
    }

    /// See [`Snapshot::scan`].
    pub fn scan(
        &self,
        request: &ScanRequest,
        each: &mut dyn FnMut(ScannedEntry<'_>) -> ControlFlow<()>,
    ) -> Result<ScanStats, Error> {
        self.snapshot().scan(request, each)
    }

    /// See [`Snapshot::count`].
    pub fn count(&self, request: &CountRequest) -> Result<Vec<CountRow>, Error> {
        self.snapshot().count(request)
    }

    /// Every batch pushed from now on. A listener that is [`limits::TAIL_BATCHES`] behind loses the oldest and is told how many.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Batch>> {
        self.shared.tail.subscribe()
    }

    /// Writes everything in memory to segments and waits for it.
    pub fn flush(&self) -> Result<(), Error> {
        // What is frozen already goes first, then what is active.
        writer::flush(&self.shared)?;
        writer::flush(&self.shared)
    }

    /// Merges segments until there is nothing to merge, on this thread.
    pub fn merge(&self) -> Result<(), Error> {
        while writer::merge_once(&self.shared)? {}
        Ok(())
    }

    /// Drops what retention says is over, now.
    pub fn apply_retention(&self) -> Result<(), Error> {
        writer::apply_retention(&self.shared)
    }

    /// Makes everything acknowledged survive a crash of the machine.
    pub fn sync(&self) -> Result<(), Error> {
        self.shared.wal.sync().map_err(Error::io("sync its write-ahead log"))
    }

    /// Bytes on disk: partitions and write-ahead log.
    pub fn size_bytes(&self) -> Result<u64, Error> {
        let failed = || Error::io("measure itself");
        let partitions: Vec<_> = lock(&self.shared.partitions).values().cloned().collect();
        let mut sum = self.shared.wal.size_bytes().map_err(failed())?;
        for p in partitions {
            sum += p.size_bytes().map_err(failed())?;
        }
        Ok(sum)
    }

    /// Writes what is in memory and stops. Without it (a crash, a drop) the next start replays the write-ahead log.
    pub fn close(&self) -> Result<(), Error> {
        self.stop();
        let flushed = self.flush();
        self.end_writing();
        flushed
    }

    /// Keeps segments from being written while the guard lives; for copies of the folder.
    pub fn hold_flushes(&self) -> impl Drop + '_ {
        lock(&self.shared.flushing)
    }

    fn stop(&self) {
        *lock(&self.shared.signal.stop) = true;
        self.shared.signal.changed.notify_all();
        if let Some(thread) = lock(&self.writer).take()
            && thread.join().is_err()
        {
            tracing::error!("the writer of the log store panicked");
        }
    }

    fn end_writing(&self) {
        for p in lock(&self.shared.partitions).values() {
            p.close();
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.stop();
        self.end_writing();
    }
}

/// The days that have a folder; removes the rests of dropped ones.
fn days_on_disk(days_dir: &Path) -> io::Result<Vec<i32>> {
    let mut days = Vec::new();
    for entry in fs::read_dir(days_dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.ends_with(".removed") {
            fs::remove_dir_all(entry.path())?;
        }
        days.extend(day_of_name(name));
    }
    days.sort_unstable();
    Ok(days)
}

/// Renames a partition that cannot be opened, so that the store can start and the day can be written to again.
fn set_aside(days_dir: &Path, day: i32, error: &Error) {
    metrics::DAMAGED.with_label_values(&["partition"]).inc();
    let from = days_dir.join(super::partition::name_of(day));
    let to = migrate::free_name(&from);
    match fs::rename(&from, &to) {
        Ok(()) => {
            tracing::error!(%error, partition = %from.display(), moved_to = %to.display(), "damaged day of the log store is set aside");
        }
        Err(refused) => {
            tracing::error!(%error, %refused, partition = %from.display(), "damaged day of the log store is left out and cannot be moved");
        }
    }
}
