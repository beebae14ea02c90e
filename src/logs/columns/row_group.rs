//! A row group opened for reading. Opening reads the header; a column is read, checked and decoded when it is first asked for,
//! and kept as long as the group lives.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use tantivy::directory::OwnedBytes;

use super::column::{Column, take_bytes_compressed};
use super::group_header::{Chunk, Form, GroupHeader, Node, Shaped};
use super::group_writer::{GroupEntry, LEVEL_BITS, shape_bits};
use super::packed;
use super::skeleton::Skeleton;
use crate::logs::detect;
use crate::logs::error::Error;
use crate::logs::stream_index::StreamId;
use crate::model::{Labels, LabelsBuilder, TimestampNs};

/// The first so many lines of a group are built without decoding whole columns; whoever wants more of them wants many.
const PEEKED_LINES: u32 = 16;

/// The rows of one stream in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupStream {
    /// Which stream.
    pub stream: StreamId,
    /// Its rows, ascending by time.
    pub rows: Range<u32>,
    /// Time of the first.
    pub first: TimestampNs,
    /// Time of the last.
    pub last: TimestampNs,
}

/// Which rows of the group some places stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rows {
    /// The first so many, place by place.
    All(usize),
    /// These, ascending.
    List(Vec<u32>),
}

impl Rows {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Rows::All(n) => *n,
            Rows::List(l) => l.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether each place stands for the row of the same number.
    pub fn is_all(&self) -> bool {
        matches!(self, Rows::All(_))
    }

    /// The row of a place.
    pub fn get(&self, place: usize) -> u32 {
        match self {
            Rows::All(_) => place as u32,
            Rows::List(l) => l.get(place).copied().unwrap_or(u32::MAX),
        }
    }

    /// The rows, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.len()).map(|place| self.get(place))
    }

    /// The place of a row, if it is among them.
    pub fn place_of(&self, row: u32) -> Option<usize> {
        match self {
            Rows::All(n) => Some(row as usize).filter(|r| r < n),
            Rows::List(l) => l.binary_search(&row).ok(),
        }
    }

    /// The places whose rows lie in a range.
    pub fn places_in(&self, rows: Range<u32>) -> Range<usize> {
        match self {
            Rows::All(n) => (rows.start as usize).min(*n)..(rows.end as usize).min(*n),
            Rows::List(l) => l.partition_point(|r| *r < rows.start)..l.partition_point(|r| *r < rows.end),
        }
    }
}

/// Level codes by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Levels {
    /// All rows have this one.
    Same(u8),
    /// One for each row.
    Each(Vec<u8>),
}

impl Levels {
    /// The code of a row, see [`detect::LEVELS`].
    pub fn get(&self, row: u32) -> u8 {
        match self {
            Levels::Same(code) => *code,
            Levels::Each(codes) => codes.get(row as usize).copied().unwrap_or(detect::NO_LEVEL),
        }
    }

    /// The code, if all rows have the same.
    pub fn constant(&self) -> Option<u8> {
        match self {
            Levels::Same(code) => Some(*code),
            Levels::Each(_) => None,
        }
    }
}

/// Bytes of lines by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizes(Vec<u32>);

impl Sizes {
    /// Bytes of the line of a row.
    pub fn get(&self, row: u32) -> u32 {
        self.0.get(row as usize).copied().unwrap_or(0)
    }

    /// Bytes of the lines of some rows.
    pub fn sum(&self, rows: Range<u32>) -> u64 {
        let rows = self.0.get(rows.start as usize..rows.end as usize).unwrap_or_default();
        rows.iter().map(|n| u64::from(*n)).sum()
    }
}

/// The rows of a group whose lines have one skeleton.
pub struct SkeletonRows<'g> {
    group: &'g RowGroup,
    skeleton: &'g Arc<Skeleton>,
    rows: &'g Rows,
    nodes: &'g [Node],
}

impl<'g> SkeletonRows<'g> {
    /// The skeleton.
    pub fn skeleton(&self) -> &'g Arc<Skeleton> {
        self.skeleton
    }

    /// The rows.
    pub fn rows(&self) -> &'g Rows {
        self.rows
    }

    /// How many rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The values of a variable, one for each of the rows.
    pub fn column(&self, variable: usize) -> Result<&'g Arc<Column>, Error> {
        let node = self.nodes.get(variable).ok_or_else(|| self.group.damaged("a variable has no column"))?;
        self.group.decoded(node)
    }

    pub(super) fn part(&self, variable: usize) -> Option<Part<'g>> {
        self.nodes.get(variable).map(|node| Part { group: self.group, node })
    }
}

/// A column that can be looked into without decoding it.
#[derive(Clone, Copy)]
pub(super) struct Part<'g> {
    group: &'g RowGroup,
    node: &'g Node,
}

/// The rows of a column of texts whose values have one skeleton.
pub(super) struct Inner<'g> {
    pub skeleton: &'g Arc<Skeleton>,
    /// Places in the column.
    pub places: Vec<u32>,
    parts: &'g [Node],
    group: &'g RowGroup,
}

impl<'g> Inner<'g> {
    pub fn part(&self, variable: usize) -> Option<Part<'g>> {
        self.parts.get(variable).map(|node| Part { group: self.group, node })
    }
}

impl<'g> Part<'g> {
    pub fn len(&self) -> usize {
        self.node.len
    }

    pub fn decoded(&self) -> Result<&'g Arc<Column>, Error> {
        self.group.decoded(self.node)
    }

    /// The shapes of its values, if it was taken apart.
    pub fn inner(&self) -> Result<Option<Vec<Inner<'g>>>, Error> {
        let Form::Split(shaped) = &self.node.form else { return Ok(None) };
        let ids = self.group.shape_ids(shaped)?;
        let inner = |i: usize, (skeleton, len, parts): &'g (Arc<Skeleton>, usize, Vec<Node>)| Inner {
            skeleton,
            places: match &ids {
                None => (0..*len as u32).collect(),
                Some(ids) => (0u32..).zip(ids).filter(|(_, id)| usize::from(**id) == i).map(|(p, _)| p).collect(),
            },
            parts,
            group: self.group,
        };
        Ok(Some(shaped.shapes.iter().enumerate().map(|(i, s)| inner(i, s)).collect()))
    }
}

/// The rows of a group whose structured metadata has the same names.
pub struct MetadataRows<'g> {
    group: &'g RowGroup,
    names: &'g [Box<str>],
    rows: &'g Rows,
    nodes: &'g [Node],
}

impl<'g> MetadataRows<'g> {
    /// The names, sorted; without `detected_level` where it has a code.
    pub fn names(&self) -> &'g [Box<str>] {
        self.names
    }

    /// The rows.
    pub fn rows(&self) -> &'g Rows {
        self.rows
    }

    /// The values of a name, one for each of the rows.
    pub fn column(&self, name: usize) -> Result<&'g Arc<Column>, Error> {
        let node = self.nodes.get(name).ok_or_else(|| self.group.damaged("a metadata name has no column"))?;
        self.group.decoded(node)
    }
}

/// See the module.
pub struct RowGroup {
    data: OwnedBytes,
    /// Where it lies, for messages.
    place: Box<str>,
    streams: Vec<GroupStream>,
    header: GroupHeader,
    decoded_timestamps: OnceLock<Vec<TimestampNs>>,
    decoded_levels: OnceLock<Levels>,
    decoded_sizes: OnceLock<Sizes>,
    line_rows: OnceLock<Vec<Rows>>,
    metadata_rows: OnceLock<Vec<Rows>>,
    line_places: OnceLock<Vec<(u16, u16)>>,
    metadata_places: OnceLock<Vec<(u16, u16)>>,
    lines_built: AtomicU32,
}

impl fmt::Debug for RowGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowGroup").field("place", &self.place).field("rows", &self.header.rows).finish()
    }
}

impl RowGroup {
    /// Opens the group that `entry` describes; `bytes` are its chunks and its header. `place` says where it lies.
    pub(in crate::logs) fn open(
        bytes: OwnedBytes,
        entry: &GroupEntry,
        streams: &[StreamId],
        place: &str,
    ) -> Result<RowGroup, Error> {
        let damaged = |what: &str| Error::Damaged { file: place.to_owned(), what: what.to_owned() };
        if bytes.len() as u64 != entry.data_bytes.saturating_add(entry.header_bytes) {
            return Err(damaged("a row group is cut off"));
        }
        let (data, header) = bytes.split(entry.data_bytes as usize);
        if crc32c::crc32c(&header) != entry.header_crc {
            return Err(damaged("the header of a row group has a wrong checksum"));
        }
        let mut input = &*header;
        let header = take_bytes_compressed(&mut input).ok_or_else(|| damaged("the header of a row group"))?;
        let read = GroupHeader::read(&header, data.len());
        let Some(header) = read.filter(|h| h.rows == entry.rows() as usize) else {
            return Err(damaged("the header of a row group cannot be read"));
        };
        let mut start = 0;
        let mut known = Vec::with_capacity(entry.runs.len());
        for run in &entry.runs {
            let rows = start..start + run.rows;
            start = rows.end;
            // A stream whose labels are lost is left out; the table of streams told so.
            if let Some(stream) = streams.get(run.ordinal as usize).filter(|s| **s != StreamId::LOST) {
                known.push(GroupStream { stream: *stream, rows, first: run.first, last: run.last });
            }
        }
        Ok(RowGroup {
            data,
            place: place.into(),
            streams: known,
            header,
            decoded_timestamps: OnceLock::new(),
            decoded_levels: OnceLock::new(),
            decoded_sizes: OnceLock::new(),
            line_rows: OnceLock::new(),
            metadata_rows: OnceLock::new(),
            line_places: OnceLock::new(),
            metadata_places: OnceLock::new(),
            lines_built: AtomicU32::new(0),
        })
    }

    pub(super) fn damaged(&self, what: &str) -> Error {
        Error::Damaged { file: self.place.to_string(), what: what.to_owned() }
    }

    pub(super) fn bytes(&self, chunk: &Chunk) -> Result<&[u8], Error> {
        let bytes = self.data.get(chunk.range.clone()).ok_or_else(|| self.damaged("a column is cut off"))?;
        if crc32c::crc32c(bytes) != chunk.crc {
            return Err(self.damaged("a column has a wrong checksum"));
        }
        Ok(bytes)
    }

    /// The bytes of a chunk whose checksum is known to be right.
    pub(super) fn raw_bytes(&self, chunk: &Chunk) -> &[u8] {
        self.data.get(chunk.range.clone()).unwrap_or_default()
    }

    /// How many rows.
    pub fn rows(&self) -> usize {
        self.header.rows
    }

    /// The streams, in the order of their rows.
    pub fn streams(&self) -> &[GroupStream] {
        &self.streams
    }

    /// When the entries were, by row.
    pub fn timestamps(&self) -> Result<&[TimestampNs], Error> {
        if let Some(t) = self.decoded_timestamps.get() {
            return Ok(t);
        }
        let values = packed::take_integers(&mut self.bytes(&self.header.timestamps)?, self.header.rows)
            .ok_or_else(|| self.damaged("the times of a row group cannot be read"))?;
        Ok(self.decoded_timestamps.get_or_init(|| values))
    }

    /// Level codes, by row.
    pub fn levels(&self) -> Result<&Levels, Error> {
        if let Some(l) = self.decoded_levels.get() {
            return Ok(l);
        }
        let levels = match &self.header.levels {
            Ok(code) => Levels::Same(*code),
            Err(chunk) => {
                let bytes = self.bytes(chunk)?;
                Levels::Each(packed::unpack(bytes, LEVEL_BITS, self.header.rows).map(|c| c as u8).collect())
            }
        };
        Ok(self.decoded_levels.get_or_init(|| levels))
    }

    /// Bytes of the lines, by row.
    pub fn line_bytes(&self) -> Result<&Sizes, Error> {
        if let Some(s) = self.decoded_sizes.get() {
            return Ok(s);
        }
        let values = packed::take_integers(&mut self.bytes(&self.header.sizes)?, self.header.rows)
            .ok_or_else(|| self.damaged("the sizes of a row group cannot be read"))?;
        let sizes = Sizes(values.into_iter().map(|v| u32::try_from(v).unwrap_or(0)).collect());
        Ok(self.decoded_sizes.get_or_init(|| sizes))
    }

    pub(super) fn shape_ids<S>(&self, shaped: &Shaped<S>) -> Result<Option<Vec<u16>>, Error> {
        let Some(chunk) = &shaped.ids else { return Ok(None) };
        let bytes = self.bytes(chunk)?;
        let ids: Vec<u16> =
            packed::unpack(bytes, shape_bits(shaped.shapes.len()), shaped.len).map(|v| v as u16).collect();
        let mut counts = vec![0usize; shaped.shapes.len()];
        for id in &ids {
            match counts.get_mut(usize::from(*id)) {
                Some(n) => *n += 1,
                None => return Err(self.damaged("a row has a shape that is not there")),
            }
        }
        if counts.iter().zip(&shaped.shapes).any(|(n, (_, rows, _))| n != rows) {
            return Err(self.damaged("a shape has more or fewer rows than it should"));
        }
        Ok(Some(ids))
    }

    fn rows_of<'g, S>(&self, shaped: &Shaped<S>, kept: &'g OnceLock<Vec<Rows>>) -> Result<&'g [Rows], Error> {
        if let Some(rows) = kept.get() {
            return Ok(rows);
        }
        let rows = match self.shape_ids(shaped)? {
            None => vec![Rows::All(self.header.rows)],
            Some(ids) => {
                let mut lists: Vec<Vec<u32>> = shaped.shapes.iter().map(|(_, n, _)| Vec::with_capacity(*n)).collect();
                for (row, id) in (0..).zip(ids) {
                    if let Some(list) = lists.get_mut(usize::from(id)) {
                        list.push(row);
                    }
                }
                lists.into_iter().map(Rows::List).collect()
            }
        };
        Ok(kept.get_or_init(|| rows))
    }

    /// The shape of a row, and the row's place among the rows of that shape.
    fn place_of<S>(
        &self,
        shaped: &Shaped<S>,
        kept: &OnceLock<Vec<(u16, u16)>>,
        row: u32,
    ) -> Result<(usize, usize), Error> {
        if shaped.ids.is_none() && (row as usize) < self.header.rows {
            return Ok((0, row as usize));
        }
        let places = match kept.get() {
            Some(places) => places,
            None => {
                let ids = self.shape_ids(shaped)?.unwrap_or_default();
                let mut next = vec![0u16; shaped.shapes.len()];
                let place = |id: u16| {
                    let place = next.get_mut(usize::from(id)).map_or(0, |n| {
                        *n = n.wrapping_add(1);
                        n.wrapping_sub(1)
                    });
                    (id, place)
                };
                let places = ids.into_iter().map(place).collect();
                kept.get_or_init(|| places)
            }
        };
        let found = places.get(row as usize).ok_or_else(|| self.damaged("a row is not there"))?;
        Ok((usize::from(found.0), usize::from(found.1)))
    }

    /// The skeletons of the lines with their rows.
    pub fn skeletons(&self) -> Result<Vec<SkeletonRows<'_>>, Error> {
        let rows = self.rows_of(&self.header.lines, &self.line_rows)?;
        let with_rows = self.header.lines.shapes.iter().zip(rows);
        Ok(with_rows.map(|((skeleton, _, nodes), rows)| SkeletonRows { group: self, skeleton, rows, nodes }).collect())
    }

    /// The sets of names of structured metadata with their rows.
    pub fn metadata_sets(&self) -> Result<Vec<MetadataRows<'_>>, Error> {
        let rows = self.rows_of(&self.header.metadata, &self.metadata_rows)?;
        let with_rows = self.header.metadata.shapes.iter().zip(rows);
        Ok(with_rows.map(|((names, _, nodes), rows)| MetadataRows { group: self, names, rows, nodes }).collect())
    }

    /// Which of the [`RowGroup::skeletons`] a row's line has, and the row's place among its rows.
    pub fn skeleton_at(&self, row: u32) -> Result<(usize, usize), Error> {
        self.place_of(&self.header.lines, &self.line_places, row)
    }

    /// Appends the line of a row.
    pub fn line_into(&self, row: u32, out: &mut String) -> Result<(), Error> {
        let (shape, place) = self.skeleton_at(row)?;
        let Some((skeleton, _, nodes)) = self.header.lines.shapes.get(shape) else { return Ok(()) };
        let few = self.lines_built.fetch_add(1, Ordering::Relaxed) < PEEKED_LINES;
        skeleton.fill(out, |v, out| {
            let node = nodes.get(v).ok_or_else(|| self.damaged("a variable has no column"))?;
            self.push_value(node, place, few, out)
        })
    }

    /// The structured metadata of a row, `detected_level` included.
    pub fn metadata_of(&self, row: u32) -> Result<Labels, Error> {
        let level = self.levels()?.get(row);
        let (shape, place) = self.place_of(&self.header.metadata, &self.metadata_places, row)?;
        let Some((names, _, nodes)) = self.header.metadata.shapes.get(shape) else { return Ok(Labels::empty()) };
        if names.is_empty() {
            return Ok(detect::with_level(&Labels::empty(), level));
        }
        let mut builder = LabelsBuilder::new();
        let mut scratch = String::new();
        for (name, node) in names.iter().zip(nodes) {
            builder.set(name, self.decoded(node)?.get(place, &mut scratch));
        }
        Ok(detect::with_level(&builder.build(), level))
    }

    /// Memory the decoded columns take up, about.
    pub fn memory_bytes(&self) -> usize {
        fn of(node: &Node) -> usize {
            let inner = match &node.form {
                Form::Split(shaped) => shaped.shapes.iter().flat_map(|(_, _, nodes)| nodes).map(of).sum(),
                _ => 0,
            };
            inner + node.decoded.get().map_or(0, |c| c.memory_bytes())
        }
        let lines: usize = self.header.lines.shapes.iter().flat_map(|(_, _, nodes)| nodes).map(of).sum();
        let metadata: usize = self.header.metadata.shapes.iter().flat_map(|(_, _, nodes)| nodes).map(of).sum();
        lines + metadata + self.header.rows * 20
    }
}
