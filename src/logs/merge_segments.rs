//! Makes several segments one. Small ones are written anew, row by row, so that their row groups become full and the rows of a
//! stream come together. Of large ones the row groups are copied as they are, and their indexes are merged.

use std::path::Path;
use std::sync::Arc;

use super::columns::RowGroup;
use super::doubles::Doubles;
use super::error::Error;
use super::index::TokenIndex;
use super::limits;
use super::patterns::section::{self, Section};
use super::segment::{GroupAt, SegmentView};
use super::segment_writer::SegmentWriter;
use crate::model::TimestampNs;

/// Writes the rows of `segments` to the segment `path`. `stopped` is asked now and then whether to give up.
pub fn merge(segments: &[Arc<SegmentView>], path: &Path, stopped: &dyn Fn() -> bool) -> Result<(), Error> {
    let rows: u64 = segments.iter().map(|s| s.rows()).sum();
    // Without an index there is nothing to merge; it comes back when the rows are written anew.
    let indexes: Option<Vec<&TokenIndex>> = segments.iter().map(|s| s.index()).collect();
    match indexes {
        Some(indexes) if rows > limits::MAX_REWRITTEN_ROWS => copy(segments, &indexes, path, stopped),
        _ => rewrite(segments, path, stopped),
    }
}

/// The patterns of all, if all have any.
fn patterns_of(segments: &[Arc<SegmentView>]) -> Option<Vec<u8>> {
    let sections: Option<Vec<Section>> = segments.iter().map(|s| s.patterns()).collect();
    sections.map(|s| section::merge(&s))
}

fn groups_of(segment: &SegmentView) -> impl Iterator<Item = Result<GroupAt, Error>> + '_ {
    segment.groups().map(|g| {
        g.ok_or_else(|| Error::Damaged {
            file: segment.place().to_owned(),
            what: "its directory cannot be read".to_owned(),
        })
    })
}

fn copy(
    segments: &[Arc<SegmentView>],
    indexes: &[&TokenIndex],
    path: &Path,
    stopped: &dyn Fn() -> bool,
) -> Result<(), Error> {
    let failed = || Error::io("merge log segments");
    let mut writer = SegmentWriter::create(path).map_err(failed())?;
    writer.give_patterns(patterns_of(segments));
    let mut sources = Vec::new();
    let mut pairs = Some(Vec::new());
    for (segment, index) in segments.iter().zip(indexes) {
        let first_block = writer.groups() * limits::BLOCKS_PER_GROUP;
        sources.push((*index, first_block));
        pairs = pairs.zip(segment.pairs()).map(|(mut all, own)| {
            all.push((own, first_block));
            all
        });
        for group in groups_of(segment) {
            if stopped() {
                return Err(Error::Closed);
            }
            let group = group?;
            let bytes = segment.group_bytes(&group)?;
            writer.copy_group(&bytes, group.entry).map_err(failed())?;
        }
    }
    writer.finish_copied(&sources, pairs.as_deref()).map_err(failed())?;
    Ok(())
}

/// A row of a segment that is written anew: its group's place among all groups, and its place there.
#[derive(Clone, Copy)]
struct Place {
    group: u32,
    row: u32,
}

fn rewrite(segments: &[Arc<SegmentView>], path: &Path, stopped: &dyn Fn() -> bool) -> Result<(), Error> {
    let failed = || Error::io("merge log segments");
    let mut groups: Vec<RowGroup> = Vec::new();
    let mut rows: Vec<(u32, TimestampNs, Place)> = Vec::new();
    for segment in segments {
        for group in groups_of(segment) {
            if stopped() {
                return Err(Error::Closed);
            }
            let group = group?;
            let opened = segment.open_group(&group)?;
            let times = opened.timestamps()?;
            let mut row = 0;
            for run in &group.entry.runs {
                for _ in 0..run.rows {
                    let time = times.get(row as usize).copied().unwrap_or(run.first);
                    rows.push((run.ordinal, time, Place { group: groups.len() as u32, row }));
                    row += 1;
                }
            }
            groups.push(opened);
        }
    }
    // Stable, so that equal times stay in the order of the segments.
    rows.sort_by_key(|(ordinal, time, _)| (*ordinal, *time));
    let mut writer = SegmentWriter::create(path).map_err(failed())?;
    // Where some have none they come back here.
    if let Some(patterns) = patterns_of(segments) {
        writer.give_patterns(Some(patterns));
    }
    let mut doubles = Doubles::default();
    let mut line = String::new();
    let key_at = |i: usize| rows.get(i).map(|(ordinal, time, _)| (*ordinal, *time));
    for (i, (ordinal, time, place)) in rows.iter().enumerate() {
        if i.is_multiple_of(limits::GROUP_ROWS) && stopped() {
            return Err(Error::Closed);
        }
        let Some(group) = groups.get(place.group as usize) else { continue };
        line.clear();
        group.line_into(place.row, &mut line)?;
        let metadata = group.metadata_of(place.row)?;
        let key = (*ordinal, *time);
        let alone = key_at(i + 1) != Some(key) && (i == 0 || key_at(i - 1) != Some(key));
        if !alone && doubles.is_double(key, &line, &metadata) {
            continue;
        }
        let level = group.levels()?.get(place.row);
        writer.add(*ordinal, *time, level, &line, &metadata).map_err(failed())?;
    }
    writer.finish().map_err(failed())?;
    Ok(())
}
