//! One UTC day: a folder with segments, the list of them, the table of the day's streams and the format's version.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::batch::{Batch, Entry, Group};
use super::doubles::Doubles;
use super::error::Error;
use super::limits;
use super::manifest::{self, Manifest, segment_file};
use super::merge_segments;
use super::metrics;
use super::migrate;
use super::segment::SegmentView;
use super::segment_writer::SegmentWriter;
use super::stream_index::{StreamId, StreamIndex};
use super::stream_table::StreamTable;
use crate::disk::atomic_file;
use crate::disk::wal::WalPosition;
use crate::model::TimestampNs;

/// File that holds the format's version.
pub(super) const FORMAT_FILE: &str = "format";
/// The format of a partition; raised when an older program could not read it any more.
pub const FORMAT: u32 = 2;
/// Nanoseconds of a day.
pub const NS_PER_DAY: i64 = 86_400 * 1_000_000_000;

/// The UTC day of a time, counted from the epoch.
pub fn day_of(timestamp: TimestampNs) -> i32 {
    timestamp.div_euclid(NS_PER_DAY) as i32
}

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
    /// Its segments, those with the oldest entries first.
    pub segments: Vec<Arc<SegmentView>>,
}

/// Entries of one stream and one day, by time, in a batch in memory.
#[derive(Clone, Copy, Debug)]
pub struct DayRun<'b> {
    /// The batch.
    pub batch: &'b Batch,
    /// The stream.
    pub stream: StreamId,
    /// The entries.
    pub entries: &'b [Entry],
}

impl<'b> DayRun<'b> {
    /// Cuts a group of a batch into the days of its entries; gives `each` a day and its run.
    pub fn cut(batch: &'b Batch, group: &'b Group, mut each: impl FnMut(i32, DayRun<'b>)) {
        let mut rest = group.entries.as_slice();
        while let Some(first) = rest.first() {
            let day = day_of(first.timestamp);
            let (entries, later) = rest.split_at(rest.partition_point(|e| day_of(e.timestamp) <= day));
            each(day, DayRun { batch, stream: group.stream, entries });
            rest = later;
        }
    }
}

/// See the module.
pub struct Partition {
    day: i32,
    name: String,
    dir: PathBuf,
    streams: Mutex<StreamTable>,
    listed: Mutex<Listed>,
    /// Segments that cannot be opened.
    broken: Mutex<HashSet<u64>>,
    /// Segments that cannot be merged.
    unmerged: Mutex<HashSet<u64>>,
}

struct Listed {
    manifest: Manifest,
    closed: bool,
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Partition {
    /// Opens or creates the partition of `day` in `root`; with what queries see of it and the WAL position it covers. A day in
    /// an older format is rewritten first, which takes its time.
    pub fn open(
        root: &Path,
        day: i32,
        streams: &StreamIndex,
    ) -> Result<(Partition, PartitionView, WalPosition), Error> {
        let name = name_of(day);
        let dir = root.join(&name);
        migrate::bring_up_to_date(root, day, &name)?;
        fs::create_dir_all(&dir).map_err(Error::io("create a partition"))?;
        atomic_file::sync_dir(root).map_err(Error::io("create a partition"))?;
        check_format(&dir, &name)?;
        let table = StreamTable::open(&dir, streams).map_err(Error::io("open a stream table"))?;
        let manifest = Manifest::read(&dir).map_err(|e| match e.kind() {
            io::ErrorKind::InvalidData => {
                Error::Damaged { file: format!("{name}/{}", manifest::FILE), what: e.to_string() }
            }
            _ => Error::Io { what: "read a list of segments", source: e },
        })?;
        remove_unlisted(&dir, &manifest).map_err(Error::io("remove left-over segments"))?;
        let covered = manifest.covered;
        let partition = Partition {
            day,
            name,
            dir,
            streams: Mutex::new(table),
            listed: Mutex::new(Listed { manifest, closed: false }),
            broken: Mutex::default(),
            unmerged: Mutex::default(),
        };
        let view = partition.view(None)?;
        let used = view.segments.iter().map(|s| s.ordinals()).max().unwrap_or(0);
        lock(&partition.streams).reserve_up_to(used);
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

    /// Gives a stream its number here; `false` if there is none left.
    pub fn reserve(&self, stream: StreamId) -> bool {
        lock(&self.streams).ordinal(stream).is_some()
    }

    /// Opens what is listed; segments of `before` are not opened again. A segment that cannot be opened is left out, counted
    /// and told, once.
    pub fn view(&self, before: Option<&PartitionView>) -> Result<PartitionView, Error> {
        let ids = lock(&self.streams).ids();
        let numbers = lock(&self.listed).manifest.segments.clone();
        let mut segments = Vec::with_capacity(numbers.len());
        for number in numbers {
            let known = before.and_then(|b| b.segments.iter().find(|s| s.number() == number));
            if let Some(known) = known {
                segments.push(known.clone());
            } else if !lock(&self.broken).contains(&number) {
                match SegmentView::open(&self.dir, &self.name, number, &segment_file(number), ids.clone()) {
                    Ok(view) => segments.push(Arc::new(view)),
                    Err(error) => self.leave_out(number, &error),
                }
            }
        }
        // Oldest first, so that equal times come in the order received.
        segments.sort_by_key(|s| (s.bounds().0, s.number()));
        Ok(PartitionView { day: self.day, segments })
    }

    fn leave_out(&self, number: u64, error: &Error) {
        // A merge may have ended just now and removed it; then it is no damage, and the next view shows the merged one.
        if !lock(&self.listed).manifest.segments.contains(&number) {
            return;
        }
        tracing::error!(partition = self.name, segment = number, %error, "damaged log segment is left out of queries");
        metrics::DAMAGED.with_label_values(&["segment"]).inc();
        lock(&self.broken).insert(number);
    }

    /// Writes entries, in the order received, as one segment and lists it; afterwards everything of this day up to `position` in the WAL is in
    /// segments. On an error nothing is.
    pub fn commit(&self, runs: &[DayRun<'_>], position: WalPosition, streams: &StreamIndex) -> Result<(), Error> {
        let number = {
            let mut listed = lock(&self.listed);
            if listed.closed {
                return Err(Error::Closed);
            }
            // An earlier attempt may have got as far as this and failed afterwards.
            if listed.manifest.covered >= position {
                return Ok(());
            }
            let number = listed.manifest.next;
            listed.manifest.next += 1;
            number
        };
        let written = self.write_segment(number, runs, streams)?;
        let mut listed = lock(&self.listed);
        let mut manifest = listed.manifest.clone();
        manifest.covered = position;
        if written {
            manifest.segments.push(number);
        }
        self.list(&mut listed, manifest, number)
    }

    /// Makes `manifest`, which holds the new segment `number`, the list of the day.
    fn list(&self, listed: &mut Listed, manifest: Manifest, number: u64) -> Result<(), Error> {
        if let Err(source) = manifest.write(&self.dir) {
            // The list may have got to the disk all the same. If not, nobody knows the segment, and it only takes up room.
            if Manifest::read(&self.dir).is_ok_and(|m| !m.segments.contains(&number)) {
                let _left = fs::remove_file(self.dir.join(segment_file(number)));
            }
            return Err(Error::Io { what: "write a list of segments", source });
        }
        listed.manifest = manifest;
        Ok(())
    }

    fn write_segment(&self, number: u64, runs: &[DayRun<'_>], streams: &StreamIndex) -> Result<bool, Error> {
        let mut by_stream: Vec<(u32, &DayRun<'_>)> = Vec::with_capacity(runs.len());
        {
            let mut table = lock(&self.streams);
            for run in runs {
                match table.ordinal(run.stream) {
                    Some(ordinal) => by_stream.push((ordinal, run)),
                    // Pushes reserve a number first, so this cannot happen.
                    None => metrics::REFUSED.with_label_values(&["too_many_streams"]).inc_by(run.entries.len() as u64),
                }
            }
            table.write(streams).map_err(Error::io("write a stream table"))?;
        }
        // Stable, so that equal times stay in the order received.
        by_stream.sort_by_key(|(ordinal, _)| *ordinal);
        let failed = || Error::io("write a log segment");
        let mut writer = SegmentWriter::create(&self.dir.join(segment_file(number))).map_err(failed())?;
        let mut doubles = Doubles::default();
        let mut entries: Vec<(&Batch, &Entry)> = Vec::new();
        for same in by_stream.chunk_by(|a, b| a.0 == b.0) {
            let Some((ordinal, _)) = same.first() else { continue };
            entries.clear();
            entries.extend(same.iter().flat_map(|(_, run)| run.entries.iter().map(|e| (run.batch, e))));
            // Mostly one batch goes on where the last one ended.
            if !entries.is_sorted_by_key(|(_, e)| e.timestamp) {
                entries.sort_by_key(|(_, e)| e.timestamp);
            }
            let time_at = |i: usize| entries.get(i).map(|(_, e)| e.timestamp);
            for (i, (batch, e)) in entries.iter().enumerate() {
                let line = batch.line(e);
                let time = Some(e.timestamp);
                let alone = time_at(i + 1) != time && (i == 0 || time_at(i - 1) != time);
                if !alone && doubles.is_double((*ordinal, e.timestamp), line, &e.metadata) {
                    continue;
                }
                writer.add(*ordinal, e.timestamp, e.level, line, &e.metadata).map_err(failed())?;
            }
        }
        Ok(writer.finish().map_err(failed())?.is_some())
    }

    /// Ends all writing for good; a merge under way is given up.
    pub fn close(&self) {
        lock(&self.listed).closed = true;
    }

    fn is_closed(&self) -> bool {
        lock(&self.listed).closed
    }

    /// Segments that should become one, if any: several of about one size, the smallest first. Of a day that is `past` what is
    /// left over is merged as well, as long as a merge is no mere copy of its largest source.
    pub fn merge_candidate(&self, view: &PartitionView, past: bool) -> Option<Vec<Arc<SegmentView>>> {
        let unmerged = lock(&self.unmerged);
        let mut segments: Vec<&Arc<SegmentView>> = view
            .segments
            .iter()
            .filter(|s| s.rows() * 2 <= limits::MAX_MERGED_ROWS && !unmerged.contains(&s.number()))
            .collect();
        segments.sort_by_key(|s| s.rows());
        // Three doublings to a level, which is the factor by which a merge makes segments larger.
        let level = |s: &SegmentView| s.rows().max(limits::SMALLEST_LEVEL_ROWS).ilog2() / 3;
        let mut chosen: Vec<Arc<SegmentView>> = segments
            .chunk_by(|a, b| level(a) == level(b))
            .find(|same| same.len() >= limits::MERGE_SEGMENTS)
            .map(|same| same.iter().take(limits::MERGE_SEGMENTS).map(|s| Arc::clone(s)).collect())
            .unwrap_or_default();
        let mut rows = 0;
        if chosen.is_empty() && past {
            let grows = |s: &&&Arc<SegmentView>| {
                let fine = rows == 0 || s.rows() <= 4 * rows;
                rows += s.rows();
                fine
            };
            chosen = segments.iter().take_while(grows).map(|s| Arc::clone(s)).collect();
        }
        let mut rows = 0;
        chosen.retain(|s| {
            rows += s.rows();
            rows <= limits::MAX_MERGED_ROWS
        });
        // The oldest first, as they are listed.
        chosen.sort_by_key(|s| (s.bounds().0, s.number()));
        (chosen.len() > 1).then_some(chosen)
    }

    /// Merges segments; takes its time. Commits go on meanwhile. Queries see the result after the next [`Partition::view`].
    pub fn merge(&self, segments: &[Arc<SegmentView>]) -> Result<(), Error> {
        let number = {
            let mut listed = lock(&self.listed);
            if listed.closed {
                return Err(Error::Closed);
            }
            let number = listed.manifest.next;
            listed.manifest.next += 1;
            number
        };
        let path = self.dir.join(segment_file(number));
        let old: Vec<u64> = segments.iter().map(|s| s.number()).collect();
        let merged = merge_segments::merge(segments, &path, &|| self.is_closed());
        if let Err(Error::Damaged { .. }) = &merged {
            // They stay as they are; what can be read of them is answered.
            lock(&self.unmerged).extend(&old);
        }
        merged?;
        let mut listed = lock(&self.listed);
        if listed.closed {
            // Nobody will list it; the next opening would remove it as well.
            fs::remove_file(&path).map_err(Error::io("remove a segment nobody needs"))?;
            return Err(Error::Closed);
        }
        let mut manifest = listed.manifest.clone();
        manifest.segments.retain(|n| !old.contains(n));
        manifest.segments.push(number);
        self.list(&mut listed, manifest, number)?;
        drop(listed);
        for number in old {
            // Queries that still read it have it mapped.
            fs::remove_file(self.dir.join(segment_file(number))).map_err(Error::io("remove a merged segment"))?;
        }
        Ok(())
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

/// Removes segments and temporary files that a crash left before they were listed, or after a merge took them off the list.
fn remove_unlisted(dir: &Path, manifest: &Manifest) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let number = name.strip_suffix(".segment").and_then(|n| n.parse::<u64>().ok());
        let unlisted = number.is_some_and(|n| !manifest.segments.contains(&n));
        if unlisted || name.ends_with(".tmp") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn check_format(dir: &Path, name: &str) -> Result<(), Error> {
    let path = dir.join(FORMAT_FILE);
    match fs::read_to_string(&path) {
        Ok(text) if text.trim() == FORMAT.to_string() => Ok(()),
        Ok(text) => Err(Error::Damaged {
            file: format!("{name}/{FORMAT_FILE}"),
            what: format!("format {:?} is unknown; this version reads 1 and {FORMAT}", text.trim()),
        }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            atomic_file::write(&path, format!("{FORMAT}\n").as_bytes()).map_err(Error::io("create a partition"))
        }
        Err(source) => Err(Error::Io { what: "read a partition's format", source }),
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
