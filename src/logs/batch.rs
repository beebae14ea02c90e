//! A batch of entries: how it is built from what a sender sent, how it lies in memory, how it is written to the WAL.
//!
//! WAL payload, version 1: `1`, then for each stream: label count, names and values, entry count, and for each entry the
//! time (zigzag difference to the one before), the level's code (one byte), the metadata like labels, the line. Numbers are
//! varints, texts have their length in front.

use std::collections::HashMap;

use super::detect::{self, NO_LEVEL, StreamLevel};
use super::doubles::Doubles;
use super::limits;
use super::metadata::MetadataBuffer;
use super::metrics;
use super::store::{Options, Oversize};
use super::stream_index::StreamId;
use crate::disk::varint::{put_bytes, put_i64, put_u64, take_bytes, take_i64, take_str, take_u64};
use crate::disk::wal::WalPosition;
use crate::model::time::rfc3339_ns;
use crate::model::{Labels, LabelsBuilder, TimestampNs};

const PAYLOAD_VERSION: u8 = 1;

/// One entry in memory; its line lies in the batch's text.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When.
    pub timestamp: TimestampNs,
    start: u32,
    len: u32,
    /// The level's code, see [`detect::LEVELS`].
    pub level: u8,
    /// Structured metadata, `detected_level` included.
    pub metadata: Labels,
}

impl Entry {
    /// Bytes of its line.
    pub fn line_bytes(&self) -> u64 {
        u64::from(self.len)
    }
}

/// The entries of one stream in a batch, by time, without exact duplicates.
#[derive(Clone, Debug)]
pub struct Group {
    /// The stream; set when the store takes the batch.
    pub stream: StreamId,
    /// Its labels.
    pub labels: Labels,
    /// Ascending by time; equal times in the order received.
    pub entries: Vec<Entry>,
}

/// Entries of several streams, immutable once built.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    text: String,
    groups: Vec<Group>,
    /// Bytes of the metadata of all entries, without the sets that entries share.
    metadata_bytes: usize,
    /// The place in the WAL after this batch.
    pub position: WalPosition,
}

impl Batch {
    /// The streams.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The line of one of this batch's entries.
    pub fn line(&self, entry: &Entry) -> &str {
        self.text.get(entry.start as usize..(entry.start + entry.len) as usize).unwrap_or("")
    }

    /// Memory it takes up, about.
    pub fn bytes(&self) -> usize {
        self.text.len() + self.metadata_bytes + self.len() * limits::ENTRY_OVERHEAD_BYTES
    }

    /// Bytes of the lines.
    pub fn line_bytes(&self) -> usize {
        self.text.len()
    }

    /// How many entries it holds.
    pub fn len(&self) -> usize {
        self.groups.iter().map(|g| g.entries.len()).sum()
    }

    /// Whether it holds no entry.
    pub fn is_empty(&self) -> bool {
        self.groups.iter().all(|g| g.entries.is_empty())
    }

    /// Gives back memory that was only needed while the batch grew.
    pub(super) fn shrink(&mut self) {
        self.text.shrink_to_fit();
        self.groups.iter_mut().for_each(|g| g.entries.shrink_to_fit());
    }

    /// Gives each group its stream's number.
    pub(super) fn assign(&mut self, mut id: impl FnMut(&Labels) -> StreamId) {
        for g in &mut self.groups {
            g.stream = id(&g.labels);
        }
    }

    /// Keeps the entries that `keep` accepts, and the groups that are not empty then.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(StreamId, &Entry) -> bool) {
        for g in &mut self.groups {
            g.entries.retain(|e| keep(g.stream, e));
        }
        self.groups.retain(|g| !g.entries.is_empty());
    }

    /// The payload of the WAL record.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.text.len() + self.len() * 12 + 64);
        out.push(PAYLOAD_VERSION);
        for g in &self.groups {
            put_labels(&mut out, &g.labels, None);
            put_u64(&mut out, g.entries.len() as u64);
            let mut before = 0;
            for e in &g.entries {
                put_i64(&mut out, e.timestamp.wrapping_sub(before));
                before = e.timestamp;
                out.push(e.level);
                if detect::is_level_only(&e.metadata, e.level) {
                    put_u64(&mut out, 0);
                } else {
                    put_labels(&mut out, &e.metadata, (e.level != NO_LEVEL).then_some(detect::DETECTED_LEVEL));
                }
                put_bytes(&mut out, self.line(e).as_bytes());
            }
        }
        out
    }

    /// Reads a payload back; `None` if it is not one.
    pub fn decode(payload: &[u8], position: WalPosition) -> Option<Batch> {
        let (&PAYLOAD_VERSION, mut input) = payload.split_first()? else { return None };
        let mut batch = Batch { text: String::with_capacity(payload.len()), position, ..Batch::default() };
        while !input.is_empty() {
            let labels = take_labels(&mut input)?;
            let count = usize::try_from(take_u64(&mut input)?).ok().filter(|n| *n <= input.len())?;
            let mut entries = Vec::with_capacity(count);
            let mut timestamp: i64 = 0;
            for _ in 0..count {
                timestamp = timestamp.wrapping_add(take_i64(&mut input)?);
                let (&level, rest) = input.split_first()?;
                input = rest;
                let own = take_labels(&mut input)?;
                let metadata = detect::with_level(&own, level);
                if !own.is_empty() {
                    batch.metadata_bytes += metadata.packed().len();
                }
                let line = take_str(&mut input)?;
                let start = u32::try_from(batch.text.len()).ok()?;
                batch.text.push_str(line);
                entries.push(Entry { timestamp, start, len: line.len() as u32, level, metadata });
            }
            batch.groups.push(Group { stream: StreamId(0), labels, entries });
        }
        Some(batch)
    }
}

/// Writes labels as count, names and values, without the one named `without`.
pub(super) fn put_labels(out: &mut Vec<u8>, labels: &Labels, without: Option<&str>) {
    let kept = || labels.iter().filter(|(n, _)| Some(*n) != without);
    put_u64(out, kept().count() as u64);
    for (n, v) in kept() {
        put_bytes(out, n.as_bytes());
        put_bytes(out, v.as_bytes());
    }
}

/// Reads what [`put_labels`] wrote.
pub(super) fn take_labels(input: &mut &[u8]) -> Option<Labels> {
    let count = take_u64(input)?;
    if count == 0 {
        return Some(Labels::empty());
    }
    let mut b = LabelsBuilder::new();
    for _ in 0..count {
        let name = std::str::from_utf8(take_bytes(input)?).ok()?;
        b.set(name, take_str(input)?);
    }
    Some(b.build())
}

/// Entries that were not taken: why, how many, and one of them in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// A short reason, the label of the counter.
    pub reason: &'static str,
    /// What the sender is told.
    pub message: String,
}

/// Builds a batch; applies the rules of ingest: limits, `service_name`, `detected_level`, valid metadata names.
pub struct BatchBuilder<'o> {
    options: &'o Options,
    now_ns: TimestampNs,
    batch: Batch,
    /// The groups by their labels, and by the labels as given before `service_name` was added.
    by_labels: HashMap<Labels, usize>,
    /// The group entries go to, or why its stream is refused.
    current: Result<usize, Refusal>,
    /// What the labels of that stream say of the level.
    level: StreamLevel,
    refused: u64,
    refusals: Vec<Refusal>,
    metadata: MetadataBuffer,
}

impl<'o> BatchBuilder<'o> {
    /// An empty builder; [`super::Store::batch`] makes one for a store.
    pub fn new(options: &'o Options) -> Self {
        BatchBuilder {
            options,
            now_ns: options.clock.now_ns(),
            batch: Batch::default(),
            by_labels: HashMap::new(),
            current: Err(Refusal { reason: "no_stream", message: "entry without a stream".to_owned() }),
            level: StreamLevel::default(),
            refused: 0,
            refusals: Vec::new(),
            metadata: MetadataBuffer::default(),
        }
    }

    /// Makes room for so many bytes of lines, for callers that know about how many will come.
    pub fn reserve(&mut self, bytes: usize) {
        self.batch.text.reserve(bytes);
    }

    /// Begins (or goes on with) a stream. A stream that breaks a limit is refused with all entries that follow.
    pub fn stream(&mut self, labels: Labels) {
        let groups = &mut self.batch.groups;
        if let Some(known) = self.by_labels.get(&labels) {
            self.current = Ok(*known);
        } else if let Some(refusal) = stream_problem(&labels) {
            // Told once; its entries are counted.
            self.tell(refusal.clone());
            self.current = Err(refusal);
            return;
        } else {
            let complete = detect::with_service_name(labels.clone());
            let place = *self.by_labels.entry(complete).or_insert_with_key(|complete| {
                groups.push(Group { stream: StreamId(0), labels: complete.clone(), entries: Vec::new() });
                groups.len() - 1
            });
            self.by_labels.insert(labels, place);
            self.current = Ok(place);
        }
        self.level = match self.current.as_ref().ok().and_then(|i| self.batch.groups.get(*i)) {
            Some(group) => StreamLevel::of(&group.labels),
            None => StreamLevel::default(),
        };
    }

    /// Adds an entry to the stream begun last; one that breaks a limit is refused, counted and told.
    pub fn entry<N: AsRef<str>, V: AsRef<str>>(
        &mut self,
        timestamp: TimestampNs,
        line: &str,
        metadata: impl IntoIterator<Item = (N, V)>,
    ) {
        let stream_is_told = self.current.is_err();
        if let Err(refusal) = self.try_entry(timestamp, line, metadata)
            && !stream_is_told
        {
            self.tell(refusal);
        }
    }

    /// The same for callers that tell the sender themselves, entry by entry: a refused entry is counted only.
    pub fn try_entry<N: AsRef<str>, V: AsRef<str>>(
        &mut self,
        timestamp: TimestampNs,
        line: &str,
        metadata: impl IntoIterator<Item = (N, V)>,
    ) -> Result<(), Refusal> {
        self.metadata.clear();
        for (n, v) in metadata {
            self.metadata.add(n.as_ref(), v.as_ref());
            if self.metadata.bytes() > limits::MAX_METADATA_BYTES || self.metadata.len() > limits::MAX_METADATA_PAIRS {
                break;
            }
        }
        self.add(timestamp, line).inspect_err(|refusal| {
            self.refused += 1;
            metrics::REFUSED.with_label_values(&[refusal.reason]).inc();
        })
    }

    /// Adds an entry with the metadata that is in the buffer.
    fn add(&mut self, timestamp: TimestampNs, line: &str) -> Result<(), Refusal> {
        let (too_new, too_old) = (self.too_new(timestamp), self.too_old(timestamp));
        let group = match &self.current {
            Ok(i) => self.batch.groups.get_mut(*i),
            Err(refusal) => return Err(refusal.clone()),
        };
        let Some(group) = group else { return Ok(()) };
        let refusal = |reason, message| Err(Refusal { reason, message });
        let describe =
            |what: &str| format!("entry for stream '{}' has timestamp {what}: {}", group.labels, rfc3339_ns(timestamp));
        if too_new {
            return refusal("too_far_in_future", describe("too new"));
        }
        if too_old {
            return refusal("older_than_retention", describe("too old"));
        }
        let (pairs, bytes) = (self.metadata.len(), self.metadata.bytes());
        if bytes > limits::MAX_METADATA_BYTES || pairs > limits::MAX_METADATA_PAIRS {
            let message = format!(
                "stream '{}' has an entry with more structured metadata than {} pairs and {} bytes",
                group.labels,
                limits::MAX_METADATA_PAIRS,
                limits::MAX_METADATA_BYTES
            );
            return refusal("structured_metadata_too_large", message);
        }
        let line = match within(line, self.options.max_line_bytes) {
            None => line,
            Some(head) if self.options.oversize == Oversize::Cut => {
                metrics::CUT.inc();
                head
            }
            Some(_) => {
                let message = format!(
                    "line of {} bytes for stream '{}' is longer than {} bytes",
                    line.len(),
                    group.labels,
                    self.options.max_line_bytes
                );
                return refusal("line_too_long", message);
            }
        };
        let own = !self.metadata.is_empty();
        let (level, metadata) = detect::complete(&self.level, &mut self.metadata, line);
        if own || level == NO_LEVEL {
            self.batch.metadata_bytes += metadata.packed().len();
        }
        let start = self.batch.text.len() as u32;
        self.batch.text.push_str(line);
        group.entries.push(Entry { timestamp, start, len: line.len() as u32, level, metadata });
        Ok(())
    }

    fn too_new(&self, timestamp: TimestampNs) -> bool {
        timestamp > self.now_ns.saturating_add(self.options.max_future_ns)
    }

    fn too_old(&self, timestamp: TimestampNs) -> bool {
        let retention = self.options.retention_ns;
        retention > 0 && timestamp < self.now_ns.saturating_sub(retention)
    }

    /// Whether an entry of that time is taken.
    pub fn takes_time(&self, timestamp: TimestampNs) -> bool {
        !self.too_new(timestamp) && !self.too_old(timestamp)
    }

    /// Bytes of lines and their metadata collected so far.
    pub fn bytes(&self) -> usize {
        self.batch.text.len() + self.batch.metadata_bytes
    }

    /// How many entries were collected.
    pub fn entries(&self) -> usize {
        self.batch.len()
    }

    /// Notes a refusal found by the caller, such as a line of a body that could not be read.
    pub fn refuse(&mut self, reason: &'static str, message: String) {
        self.refused += 1;
        metrics::REFUSED.with_label_values(&[reason]).inc();
        self.tell(Refusal { reason, message });
    }

    fn tell(&mut self, refusal: Refusal) {
        if self.refusals.len() < limits::MAX_REFUSALS_IN_WORDS {
            self.refusals.push(refusal);
        }
    }

    /// The batch, sorted and without exact duplicates; how many entries were refused, and some of them in words.
    pub fn build(mut self) -> (Batch, u64, Vec<Refusal>) {
        let text = std::mem::take(&mut self.batch.text);
        let line = |e: &Entry| text.get(e.start as usize..(e.start + e.len) as usize).unwrap_or("");
        for g in &mut self.batch.groups {
            if !g.entries.is_sorted_by_key(|e| e.timestamp) {
                g.entries.sort_by_key(|e| e.timestamp);
            }
            // With clocks of nanoseconds equal times are rare, and nothing has to be hashed.
            if g.entries.is_sorted_by(|a, b| a.timestamp < b.timestamp) {
                continue;
            }
            let mut doubles = Doubles::default();
            g.entries.retain(|e| !doubles.is_double(e.timestamp, line(e), &e.metadata));
        }
        self.batch.groups.retain(|g| !g.entries.is_empty());
        self.batch.text = text;
        // Batches stay in memory for seconds; what was reserved too much must not.
        self.batch.text.shrink_to_fit();
        (self.batch, self.refused, self.refusals)
    }
}

/// `None` if the line is short enough, else the part that fits, cut between characters.
fn within(line: &str, max: usize) -> Option<&str> {
    if line.len() <= max || max == 0 {
        return None;
    }
    let mut end = max;
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.get(..end)
}

fn stream_problem(labels: &Labels) -> Option<Refusal> {
    let count = labels.len();
    let refusal = |reason, message| Some(Refusal { reason, message });
    if count > limits::MAX_LABEL_NAMES {
        let message = format!("stream '{labels}' has {count} label names; limit {}", limits::MAX_LABEL_NAMES);
        return refusal("max_label_names_per_series", message);
    }
    labels.iter().find_map(|(n, v)| {
        if n.len() > limits::MAX_LABEL_NAME_BYTES {
            refusal("label_name_too_long", format!("stream '{labels}' has label name too long: '{n}'"))
        } else if v.len() > limits::MAX_LABEL_VALUE_BYTES {
            refusal("label_value_too_long", format!("stream '{labels}' has label value too long: '{v}'"))
        } else {
            None
        }
    })
}
