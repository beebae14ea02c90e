//! One UTC day: a folder with a Tantivy index, the table of its streams and the format's version.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tantivy::directory::MmapDirectory;
use tantivy::index::SegmentId;
use tantivy::indexer::{IndexWriterOptions, SegmentWriter};
use tantivy::merge_policy::{LogMergePolicy, MergePolicy, NoMergePolicy};
use tantivy::{Index, IndexWriter, Segment, TantivyError};

use super::batch::Batch;
use super::doubles::Doubles;
use super::error::Error;
use super::limits;
use super::metrics;
use super::schema::{self, FORMAT, Fields, LogDocument};
use super::segment::SegmentView;
use super::stream_index::{StreamId, StreamIndex};
use super::stream_table::StreamTable;
use crate::disk::atomic_file;
use crate::disk::wal::WalPosition;

/// File that holds the format's version.
const FORMAT_FILE: &str = "format";

/// The folder name of a day, such as `2026-11-21`.
pub fn name_of(day: i32) -> String {
    chrono::DateTime::from_timestamp(i64::from(day) * 86_400, 0)
        .map_or_else(|| format!("day{day}"), |d| d.format("%Y-%m-%d").to_string())
}

/// The day of a folder name.
pub fn day_of_name(name: &str) -> Option<i32> {
    let date = chrono::NaiveDate::parse_from_str(name, "%Y-%m-%d").ok()?;
    let day = date.signed_duration_since(chrono::NaiveDate::from_ymd_opt(1970, 1, 1)?).num_days();
    i32::try_from(day).ok()
}

/// What queries see of a partition.
#[derive(Debug)]
pub struct PartitionView {
    /// The day, counted from the epoch.
    pub day: i32,
    /// Its segments.
    pub segments: Vec<Arc<SegmentView>>,
}

/// Where an entry lies in the batches in memory.
#[derive(Clone, Copy, Debug)]
pub struct EntryRef {
    /// Which batch.
    pub batch: u32,
    /// Which group of it.
    pub group: u32,
    /// Which entry of that.
    pub entry: u32,
}

/// See the module.
pub struct Partition {
    day: i32,
    name: String,
    dir: PathBuf,
    index: Index,
    /// The same index, but writing documents in the order given.
    presorted: Index,
    fields: Fields,
    streams: Mutex<StreamTable>,
    writer: Mutex<Writer>,
    broken: Mutex<HashSet<SegmentId>>,
}

#[derive(Default)]
struct Writer {
    open: Option<IndexWriter<LogDocument>>,
    idle_flushes: u32,
    merging: bool,
    closed: bool,
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Partition {
    /// Opens or creates the partition of `day` in `root`; with what queries see of it and the WAL position it covers.
    pub fn open(
        root: &Path,
        day: i32,
        streams: &StreamIndex,
    ) -> Result<(Partition, PartitionView, WalPosition), Error> {
        let name = name_of(day);
        let dir = root.join(&name);
        fs::create_dir_all(&dir).map_err(Error::io("create a partition"))?;
        atomic_file::sync_dir(root).map_err(Error::io("create a partition"))?;
        check_format(&dir, &name)?;
        let table = StreamTable::open(&dir, streams).map_err(Error::io("open a stream table"))?;
        let failed = |source| Error::Index { partition: name.clone(), what: "opened", source };
        let (schema, fields) = schema::schema();
        let directory = MmapDirectory::open(&dir).map_err(|e| failed(e.into()))?;
        let index = Index::builder()
            .schema(schema)
            .settings(schema::settings())
            .tokenizers(schema::tokenizers())
            .open_or_create(directory)
            .map_err(failed)?;
        let covered = position_of(&index).map_err(failed)?;
        let mut presorted = index.clone();
        presorted.settings_mut().sort_by_field = None;
        let partition = Partition {
            day,
            name,
            dir,
            index,
            presorted,
            fields,
            streams: Mutex::new(table),
            writer: Mutex::default(),
            broken: Mutex::default(),
        };
        let view = partition.view(None)?;
        Ok((partition, view, covered))
    }

    /// The folder's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The day, counted from the epoch.
    pub fn day(&self) -> i32 {
        self.day
    }

    fn failed(&self, what: &'static str) -> impl Fn(TantivyError) -> Error + use<> {
        let partition = self.name.clone();
        move |source| Error::Index { partition: partition.clone(), what, source }
    }

    /// Gives a stream its number here; `false` if there is none left.
    pub fn reserve(&self, stream: StreamId) -> bool {
        lock(&self.streams).ordinal(stream).is_some()
    }

    /// Opens what was committed; segments of `before` are not opened again. A segment that cannot be opened is left out,
    /// counted and told, once.
    pub fn view(&self, before: Option<&PartitionView>) -> Result<PartitionView, Error> {
        let streams = lock(&self.streams);
        let mut segments = Vec::new();
        for segment in self.index.searchable_segments().map_err(self.failed("read"))? {
            let known = before.and_then(|b| b.segments.iter().find(|s| s.id() == segment.id()));
            if let Some(known) = known {
                segments.push(known.clone());
            } else if !lock(&self.broken).contains(&segment.id()) {
                match self.open_segment(&segment, streams.ids()) {
                    Ok(view) => segments.push(Arc::new(view)),
                    Err(error) => self.leave_out(&segment, &error)?,
                }
            }
        }
        // Oldest first, so that equal times come in the order received.
        segments.sort_by_key(|s| s.runs().iter().map(|r| r.first).min());
        Ok(PartitionView { day: self.day, segments })
    }

    fn open_segment(&self, segment: &Segment, streams: &[StreamId]) -> Result<SegmentView, String> {
        // Damage can also show as a panic inside the index library.
        let open = || SegmentView::open(segment, self.fields, self.day, streams);
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(open)) {
            Ok(opened) => opened.map_err(|e| e.to_string()),
            Err(_) => Err("the index library gave up on it".to_owned()),
        }
    }

    fn leave_out(&self, segment: &Segment, error: &str) -> Result<(), Error> {
        let id = segment.id().uuid_string();
        // A merge may have ended just now and removed it; then it is no damage, and the next view shows the merged one.
        let still_there = self.index.searchable_segment_ids().map_err(self.failed("read"))?.contains(&segment.id());
        if !still_there {
            let what = "read, a merge came between";
            let source = TantivyError::SystemError(format!("segment {id}: {error}"));
            return Err(Error::Index { partition: self.name.clone(), what, source });
        }
        tracing::error!(partition = self.name, segment = id, error, "damaged log segment is left out of queries");
        metrics::DAMAGED.with_label_values(&["segment"]).inc();
        lock(&self.broken).insert(segment.id());
        Ok(())
    }

    /// Writes entries as one segment and commits it; afterwards everything of this day up to `position` in the WAL is in the
    /// index. On an error nothing is.
    pub fn commit(
        &self,
        batches: &[Arc<Batch>],
        entries: &[EntryRef],
        position: WalPosition,
        streams: &StreamIndex,
    ) -> Result<(), Error> {
        let covered = |index: &Index| position_of(index).is_ok_and(|covered| covered >= position);
        // An earlier attempt may have got as far as this and failed afterwards.
        if covered(&self.index) {
            return Ok(());
        }
        let done = self.try_commit(batches, entries, position, streams);
        if done.is_err() {
            // The writer may hold a segment that was added and not committed: forget it.
            let mut writer = lock(&self.writer);
            writer.open = None;
            // The commit may have reached the disk although it reported an error.
            if covered(&self.index) {
                return Ok(());
            }
        }
        done
    }

    fn try_commit(
        &self,
        batches: &[Arc<Batch>],
        entries: &[EntryRef],
        position: WalPosition,
        streams: &StreamIndex,
    ) -> Result<(), Error> {
        let get = |r: &EntryRef| {
            let batch = batches.get(r.batch as usize)?;
            let group = batch.groups().get(r.group as usize)?;
            Some((batch, group, group.entries.get(r.entry as usize)?))
        };
        let mut sorted: Vec<(u64, u32, EntryRef)> = Vec::with_capacity(entries.len());
        {
            let mut table = lock(&self.streams);
            for r in entries {
                let Some((_, group, e)) = get(r) else { continue };
                match table.ordinal(group.stream) {
                    Some(ordinal) => sorted.push((schema::key(ordinal, e.timestamp), ordinal, *r)),
                    // Pushes reserve a number first, so this cannot happen.
                    None => metrics::REFUSED.with_label_values(&["too_many_streams"]).inc(),
                }
            }
            table.write(streams).map_err(Error::io("write a stream table"))?;
        }
        // Stable, so that equal times stay in the order received.
        sorted.sort_by_key(|(key, _, _)| *key);
        let failed = self.failed("written");
        let segment = self.presorted.new_segment();
        let budget = (sorted.len() * 256).clamp(1 << 20, 64 << 20);
        let mut writer = SegmentWriter::for_segment(budget, segment.clone()).map_err(&failed)?;
        let mut doubles = Doubles::default();
        let key_at = |i: usize| sorted.get(i).map(|(key, _, _)| *key);
        for (i, (key, ordinal, r)) in sorted.iter().enumerate() {
            let Some((batch, _, e)) = get(r) else { continue };
            let alone = key_at(i + 1) != Some(*key) && (i == 0 || key_at(i - 1) != Some(*key));
            if !alone && doubles.is_double(*key, batch.line(e), &e.metadata) {
                continue;
            }
            if let Some(d) = LogDocument::new(self.fields, *ordinal, batch, r.group as usize, r.entry as usize) {
                schema::add(&mut writer, d).map_err(&failed)?;
            }
        }
        drop((sorted, doubles));
        let docs = writer.max_doc();
        let mut index_writer = self.writer()?;
        let Some(index_writer) = index_writer.open.as_mut() else { return Err(Error::Closed) };
        if docs > 0 {
            writer.finalize().map_err(&failed)?;
            let segment = segment.with_max_doc(docs);
            segment.meta().untrack_temp_docstore();
            index_writer.add_segment(segment.meta().clone()).map_err(&failed)?;
        }
        let failed = self.failed("committed");
        let mut prepared = index_writer.prepare_commit().map_err(&failed)?;
        prepared.set_payload(&format!("{FORMAT} {} {}", position.segment, position.offset));
        prepared.commit().map_err(&failed)?;
        Ok(())
    }

    fn writer(&self) -> Result<MutexGuard<'_, Writer>, Error> {
        let mut writer = lock(&self.writer);
        writer.idle_flushes = 0;
        if writer.closed {
            return Err(Error::Closed);
        }
        if writer.open.is_none() {
            let options = IndexWriterOptions::builder().num_worker_threads(1).num_merge_threads(1).build();
            let open: IndexWriter<LogDocument> =
                self.index.writer_with_options(options).map_err(self.failed("opened for writing"))?;
            open.set_merge_policy(Box::new(NoMergePolicy));
            writer.open = Some(open);
        }
        Ok(writer)
    }

    /// Told after each flush that did not touch this partition: gives the writer's threads back after some of them.
    pub fn idle(&self) {
        let mut writer = lock(&self.writer);
        writer.idle_flushes += 1;
        if writer.idle_flushes >= limits::IDLE_FLUSHES_BEFORE_CLOSE && !writer.merging {
            writer.open = None;
        }
    }

    /// Ends all writing for good; a merge under way is given up.
    pub fn close(&self) {
        let mut writer = lock(&self.writer);
        writer.closed = true;
        writer.open = None;
    }

    /// Segments that should become one, if any.
    pub fn merge_candidate(&self) -> Result<Option<Vec<SegmentId>>, Error> {
        let mut policy = LogMergePolicy::default();
        policy.set_min_num_segments(limits::MERGE_SEGMENTS);
        policy.set_max_docs_before_merge(limits::MAX_MERGED_DOCS);
        policy.set_min_layer_size(10_000);
        let mut metas = self.index.searchable_segment_metas().map_err(self.failed("read"))?;
        let broken = lock(&self.broken);
        metas.retain(|m| !broken.contains(&m.id()));
        Ok(policy.compute_merge_candidates(&metas).into_iter().map(|c| c.0).find(|ids| ids.len() > 1))
    }

    /// Merges segments; takes its time. Commits go on meanwhile. Queries see the result after the next [`Partition::view`].
    pub fn merge(&self, segments: &[SegmentId]) -> Result<(), Error> {
        let running = {
            let mut writer = self.writer()?;
            let Some(open) = writer.open.as_mut() else { return Err(Error::Closed) };
            let running = open.merge(segments);
            writer.merging = true;
            running
        };
        let done = running.wait().map(drop).map_err(self.failed("merged"));
        lock(&self.writer).merging = false;
        done
    }

    /// Bytes on disk.
    pub fn size_bytes(&self) -> io::Result<u64> {
        let mut sum = 0;
        for entry in fs::read_dir(&self.dir)? {
            // A file may go away meanwhile: merges remove their sources.
            match entry?.metadata() {
                Ok(m) => sum += m.len(),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(sum)
    }

    /// Removes the partition from disk; queries that still read it go on.
    pub fn remove(&self) -> io::Result<()> {
        self.close();
        // Renamed first, so that a crash in between leaves no half partition.
        let gone = self.dir.with_extension("removed");
        match fs::rename(&self.dir, &gone) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        }
        fs::remove_dir_all(&gone)
    }
}

fn check_format(dir: &Path, name: &str) -> Result<(), Error> {
    let path = dir.join(FORMAT_FILE);
    match fs::read_to_string(&path) {
        Ok(text) if text.trim() == FORMAT.to_string() => Ok(()),
        Ok(text) => Err(Error::Damaged {
            file: format!("{name}/{FORMAT_FILE}"),
            what: format!("format {:?} is unknown; this version reads {FORMAT}", text.trim()),
        }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            atomic_file::write(&path, format!("{FORMAT}\n").as_bytes()).map_err(Error::io("create a partition"))
        }
        Err(source) => Err(Error::Io { what: "read a partition's format", source }),
    }
}

/// The WAL position the last commit carries.
fn position_of(index: &Index) -> tantivy::Result<WalPosition> {
    let Some(payload) = index.load_metas()?.payload else { return Ok(WalPosition::default()) };
    let mut parts = payload.split(' ').skip(1).map(str::parse::<u64>);
    match (parts.next(), parts.next()) {
        (Some(Ok(segment)), Some(Ok(offset))) => Ok(WalPosition { segment, offset }),
        _ => Err(TantivyError::InvalidArgument(format!("commit without a WAL position: {payload:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_names() {
        for day in [0, -1, 20_000, 20_778] {
            assert_eq!(day_of_name(&name_of(day)), Some(day));
        }
        assert_eq!(name_of(20_778), "2026-11-21");
    }
}
