//! A batch of entries: how it is built from what a sender sent, how it lies in memory, how it is written to the WAL.
//!
//! WAL payload, version 1: `1`, then for each stream: label count, names and values, entry count, and for each entry the
//! time (zigzag difference to the one before), the level's code (one byte), the metadata like labels, the line. Numbers are
//! varints, texts have their length in front.

use std::borrow::Cow;
use std::collections::HashMap;

use super::detect::{self, NO_LEVEL};
use super::doubles::Doubles;
use super::limits;
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
        self.text.len() + self.len() * limits::ENTRY_OVERHEAD_BYTES
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
                put_labels(&mut out, &e.metadata, (e.level != NO_LEVEL).then_some(detect::DETECTED_LEVEL));
                put_bytes(&mut out, self.line(e).as_bytes());
            }
        }
        out
    }

    /// Reads a payload back; `None` if it is not one.
    pub fn decode(payload: &[u8], position: WalPosition) -> Option<Batch> {
        let (&PAYLOAD_VERSION, mut input) = payload.split_first()? else { return None };
        let mut batch = Batch { text: String::with_capacity(payload.len()), groups: Vec::new(), position };
        while !input.is_empty() {
            let labels = take_labels(&mut input)?;
            let count = usize::try_from(take_u64(&mut input)?).ok().filter(|n| *n <= input.len())?;
            let mut entries = Vec::with_capacity(count);
            let mut timestamp: i64 = 0;
            for _ in 0..count {
                timestamp = timestamp.wrapping_add(take_i64(&mut input)?);
                let (&level, rest) = input.split_first()?;
                input = rest;
                let metadata = detect::with_level(&take_labels(&mut input)?, level);
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
    by_labels: HashMap<Labels, usize>,
    /// The group entries go to; `None` while the stream is refused.
    current: Option<usize>,
    current_refusal: &'static str,
    refused: u64,
    refusals: Vec<Refusal>,
    metadata: LabelsBuilder,
}

impl<'o> BatchBuilder<'o> {
    /// An empty builder; [`super::Store::batch`] makes one for a store.
    pub fn new(options: &'o Options) -> Self {
        BatchBuilder {
            options,
            now_ns: options.clock.now_ns(),
            batch: Batch::default(),
            by_labels: HashMap::new(),
            current: None,
            current_refusal: "no_stream",
            refused: 0,
            refusals: Vec::new(),
            metadata: LabelsBuilder::new(),
        }
    }

    /// Begins (or goes on with) a stream. A stream that breaks a limit is refused with all entries that follow.
    pub fn stream(&mut self, labels: Labels) {
        if let Some((reason, message)) = stream_problem(&labels) {
            self.current = None;
            self.current_refusal = reason;
            self.tell(reason, message);
            return;
        }
        let labels = detect::with_service_name(labels);
        let groups = &mut self.batch.groups;
        self.current = Some(*self.by_labels.entry(labels).or_insert_with_key(|labels| {
            groups.push(Group { stream: StreamId(0), labels: labels.clone(), entries: Vec::new() });
            groups.len() - 1
        }));
    }

    /// Adds an entry to the stream begun last.
    pub fn entry<N: AsRef<str>, V: AsRef<str>>(
        &mut self,
        timestamp: TimestampNs,
        line: &str,
        metadata: impl IntoIterator<Item = (N, V)>,
    ) {
        let Some(group) = self.current.and_then(|i| self.batch.groups.get_mut(i)) else {
            let reason = self.current_refusal;
            return self.refuse(reason, None);
        };
        let describe =
            |what: &str| format!("entry for stream '{}' has timestamp {what}: {}", group.labels, rfc3339_ns(timestamp));
        if timestamp > self.now_ns.saturating_add(self.options.max_future_ns) {
            let message = describe("too new");
            return self.refuse("too_far_in_future", Some(message));
        }
        let retention = self.options.retention_ns;
        if retention > 0 && timestamp < self.now_ns.saturating_sub(retention) {
            let message = describe("too old");
            return self.refuse("older_than_retention", Some(message));
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
                return self.refuse("line_too_long", Some(message));
            }
        };
        self.metadata.retain(|_, _| false);
        let (mut pairs, mut bytes) = (0, 0);
        for (n, v) in metadata {
            let (n, v): (Cow<'_, str>, &str) = (detect::valid_name(n.as_ref()), v.as_ref());
            pairs += 1;
            bytes += n.len() + v.len();
            if bytes <= limits::MAX_METADATA_BYTES && pairs <= limits::MAX_METADATA_PAIRS {
                self.metadata.set(&n, v);
            }
        }
        if bytes > limits::MAX_METADATA_BYTES || pairs > limits::MAX_METADATA_PAIRS {
            let message = format!(
                "stream '{}' has structured metadata of {pairs} pairs and {bytes} bytes, allowed are {} and {}",
                group.labels,
                limits::MAX_METADATA_PAIRS,
                limits::MAX_METADATA_BYTES
            );
            return self.refuse("structured_metadata_too_large", Some(message));
        }
        let level = detect::detect_level(&group.labels, &mut self.metadata, line);
        let metadata = detect::with_level(&self.metadata.build(), level);
        let start = self.batch.text.len() as u32;
        self.batch.text.push_str(line);
        group.entries.push(Entry { timestamp, start, len: line.len() as u32, level, metadata });
    }

    /// Bytes collected so far.
    pub fn bytes(&self) -> usize {
        self.batch.text.len()
    }

    /// Notes a refusal found by the caller, such as a line of a body that could not be read.
    pub fn refuse(&mut self, reason: &'static str, message: Option<String>) {
        self.refused += 1;
        metrics::REFUSED.with_label_values(&[reason]).inc();
        if let Some(message) = message {
            self.tell(reason, message);
        }
    }

    fn tell(&mut self, reason: &'static str, message: String) {
        if self.refusals.len() < limits::MAX_REFUSALS_IN_WORDS {
            self.refusals.push(Refusal { reason, message });
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

fn stream_problem(labels: &Labels) -> Option<(&'static str, String)> {
    let count = labels.len();
    if count > limits::MAX_LABEL_NAMES {
        let message = format!("stream '{labels}' has {count} label names; limit {}", limits::MAX_LABEL_NAMES);
        return Some(("max_label_names_per_series", message));
    }
    labels.iter().find_map(|(n, v)| {
        if n.len() > limits::MAX_LABEL_NAME_BYTES {
            Some(("label_name_too_long", format!("stream '{labels}' has label name too long: '{n}'")))
        } else if v.len() > limits::MAX_LABEL_VALUE_BYTES {
            Some(("label_value_too_long", format!("stream '{labels}' has label value too long: '{v}'")))
        } else {
            None
        }
    })
}
