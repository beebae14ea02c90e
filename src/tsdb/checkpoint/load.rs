//! Reads a checkpoint: one thread reads, some unpack and decode definitions, the caller's puts series into the head. It also decodes what
//! they hold: memory that stays is taken by the thread that goes on with it, for allocators keep the memory of threads apart.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::{Checkpoint, STRETCH, TAG_ANNOTATIONS, TAG_DEFINITIONS, TAG_END, TAG_SERIES, VERSION};
use crate::disk::varint::{take_i64, take_u64};
use crate::disk::wal::WalPosition;
use crate::disk::wal::record::{self, Decoded, HEADER_LEN, Length};
use crate::model::TimestampMs;
use crate::model::labels::packed_labels;
use crate::tsdb::SeriesRef;
use crate::tsdb::error::Error;
use crate::tsdb::filenames::CHECKPOINT_FILE;
use crate::tsdb::head::chunk_files::ChunkFiles;
use crate::tsdb::head::series_state::{self, Before};
use crate::tsdb::replay::series::Rebuilt;
use crate::tsdb::self_metrics as count;
use crate::tsdb::wal_record::{self, Batch, Definitions};

/// Records waiting before and behind each thread that decodes; one is some hundred kilobytes.
const QUEUE: usize = 2;
/// Threads that unpack and decode at most; putting series into the head is the slower part from there on.
const MAX_WORKERS: usize = 4;

/// What of the log a checkpoint has already.
#[derive(Debug, Default)]
pub(crate) struct Covered {
    /// For each stretch of places the position up to which it stands.
    stretches: Vec<WalPosition>,
    annotations: WalPosition,
    newest: WalPosition,
}

impl Covered {
    /// Whether it has what the record that ends at `end` says of a series.
    pub(crate) fn has(&self, series: SeriesRef, end: WalPosition) -> bool {
        self.stretches.get((series.slot() / STRETCH) as usize).is_some_and(|at| end <= *at)
    }

    /// Takes out of the batch of the record that ends at `end` what the checkpoint has already.
    pub(crate) fn remove_from(&self, batch: &mut Batch, end: WalPosition) {
        if end > self.newest {
            return;
        }
        batch.retain_series(|r| !self.has(r, end));
        if end <= self.annotations {
            batch.exemplars.clear();
            batch.metadata.clear();
        }
    }
}

/// What a load found.
pub(crate) struct Loaded {
    pub at: Checkpoint,
    pub covered: Covered,
    /// Whether something was lost, so that chunks may be there that nothing refers to.
    pub damaged: bool,
}

/// A record on its way to be decoded.
enum Raw {
    First(Vec<u8>),
    Next(Vec<u8>),
    /// So many bytes are left that are no record.
    Torn(usize),
}

/// A decoded record.
enum Part {
    First(Option<Checkpoint>),
    Foreign(u64),
    Definitions(Definitions),
    /// What a stretch of series holds.
    Series(Vec<u8>),
    Annotations(WalPosition, Box<Batch>),
    End,
    Lost(usize),
}

/// Loads the checkpoint of the store in `dir` into `state`, which is empty. Damage is told and stepped over.
pub(crate) fn load(dir: &Path, files: &ChunkFiles, state: &mut Rebuilt) -> Result<Loaded, Error> {
    let mut loaded = Loaded {
        at: Checkpoint { cut: TimestampMs::MIN, first_segment: 0 },
        covered: Covered::default(),
        damaged: false,
    };
    let path = dir.join(CHECKPOINT_FILE);
    let file = match File::open(&path) {
        Ok(f) => f,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(loaded),
        Err(e) => return Err(e.into()),
    };
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get()).min(MAX_WORKERS);
    let (mut lost, mut whole, mut foreign) = (0usize, false, None);
    let read = std::thread::scope(|scope| {
        // Dealt out and taken back in turn, so that the order stays and little is under way.
        let (mut deal, mut lanes) = (Vec::new(), Vec::new());
        for _ in 0..workers {
            let (raw, to_decode) = sync_channel::<Raw>(QUEUE);
            let (decoded, parts) = sync_channel::<Part>(QUEUE);
            scope.spawn(move || decode_records(&to_decode, &decoded));
            deal.push(raw);
            lanes.push(parts);
        }
        let reader = scope.spawn(move || read_records(file, &deal));
        for lane in lanes.iter().cycle() {
            let Ok(part) = lane.recv() else { break };
            match part {
                Part::First(Some(at)) => loaded.at = at,
                Part::First(None) => lost += 1,
                Part::Foreign(version) => foreign = Some(version),
                Part::Definitions(d) => define(state, &d),
                Part::Series(held) => {
                    lost += take_series(state, &mut loaded.covered, &held, files).unwrap_or(held.len());
                }
                Part::Annotations(at, batch) => {
                    loaded.covered.annotations = at;
                    loaded.covered.newest = loaded.covered.newest.max(at);
                    state.annotate(*batch);
                }
                Part::End => whole = true,
                Part::Lost(bytes) => lost += bytes,
            }
        }
        // Nobody is to wait for somebody who has gone.
        drop(lanes);
        reader.join().unwrap_or_else(|_| Err(io::Error::other("the thread that reads the checkpoint panicked")))
    });
    if let Some(found) = foreign {
        return Err(Error::Version { file: path, found });
    }
    let version = read?;
    if lost > 0 || (version == Some(VERSION) && !whole) {
        loaded.damaged = true;
        count::REPLAY_LOST.inc_by(lost as u64);
        tracing::error!(
            bytes = lost,
            "a part of the metrics checkpoint is damaged; full chunks of series that are known are looked for in their files, the rest is lost"
        );
    }
    Ok(loaded)
}

/// Reads record after record and deals them out. Returns the version, if the first record could be read.
fn read_records(file: File, deal: &[SyncSender<Raw>]) -> io::Result<Option<u64>> {
    let ended = || io::Error::other("the checkpoint is not wanted any more");
    let mut left = file.metadata()?.len();
    let mut file = BufReader::with_capacity(1 << 18, file);
    let (mut first, mut version) = (true, None);
    for raw in deal.iter().cycle() {
        if left == 0 {
            break;
        }
        let mut header = [0; HEADER_LEN];
        let Length::Of(len) = take_header(&mut file, left, &mut header)? else {
            raw.send(Raw::Torn(usize::try_from(left).unwrap_or(usize::MAX))).map_err(|_| ended())?;
            break;
        };
        let mut record = Vec::with_capacity(len);
        record.extend_from_slice(&header);
        record.resize(len, 0);
        file.read_exact(record.get_mut(HEADER_LEN..).unwrap_or_default())?;
        left -= len as u64;
        if std::mem::take(&mut first) {
            if let Decoded::Record(payload, _) = record::decode(&record) {
                version = take_u64(&mut &*payload);
            }
            raw.send(Raw::First(record)).map_err(|_| ended())?;
        } else {
            raw.send(Raw::Next(record)).map_err(|_| ended())?;
        }
    }
    Ok(version)
}

/// Reads the header of the next record, of which `left` bytes may be there, and says how long the record is if it is there as a whole.
fn take_header(file: &mut impl Read, left: u64, header: &mut [u8; HEADER_LEN]) -> io::Result<Length> {
    if left < HEADER_LEN as u64 {
        return Ok(Length::Unknown);
    }
    file.read_exact(header)?;
    Ok(match record::length(header) {
        Length::Of(len) if len as u64 > left => Length::TooLong,
        other => other,
    })
}

fn decode_records(raw: &Receiver<Raw>, decoded: &SyncSender<Part>) {
    for raw in raw {
        let (first, record) = match raw {
            Raw::First(record) => (true, record),
            Raw::Next(record) => (false, record),
            Raw::Torn(bytes) => {
                let _unwanted = decoded.send(Part::Lost(bytes));
                return;
            }
        };
        let part = match record::decode(&record) {
            Decoded::Record(payload, _) if first => decode_first(&payload),
            Decoded::Record(payload, _) => decode_part(payload).unwrap_or(Part::Lost(record.len())),
            Decoded::Incomplete | Decoded::Damaged(_) => Part::Lost(record.len()),
        };
        if decoded.send(part).is_err() {
            return;
        }
    }
}

fn decode_first(mut payload: &[u8]) -> Part {
    let input = &mut payload;
    match take_u64(input) {
        Some(1 | VERSION) => Part::First(take_place(input)),
        Some(other) => Part::Foreign(other),
        None => Part::First(None),
    }
}

fn take_place(input: &mut &[u8]) -> Option<Checkpoint> {
    Some(Checkpoint { cut: take_i64(input)?, first_segment: take_u64(input)? })
}

fn take_position(input: &mut &[u8]) -> Option<WalPosition> {
    Some(WalPosition { segment: take_u64(input)?, offset: take_u64(input)? })
}

fn decode_part(payload: Cow<'_, [u8]>) -> Option<Part> {
    let Some((tag, mut rest)) = payload.split_first() else { return Some(Part::Definitions(Definitions::default())) };
    let input = &mut rest;
    match *tag {
        TAG_DEFINITIONS => Definitions::decode(&payload).map(Part::Definitions),
        TAG_SERIES => Some(Part::Series(payload.into_owned())),
        TAG_ANNOTATIONS => {
            let at = take_position(input)?;
            let mut batch = Box::<Batch>::default();
            wal_record::decode(input, &mut batch)?;
            Some(Part::Annotations(at, batch))
        }
        TAG_END => Some(Part::End),
        // The first version had them without a position; the log behind it repeats nothing of them.
        _ => {
            let mut batch = Box::<Batch>::default();
            wal_record::decode(&payload, &mut batch)?;
            Some(Part::Annotations(WalPosition::default(), batch))
        }
    }
}

fn define(state: &mut Rebuilt, definitions: &Definitions) {
    let labels = &mut state.head.labels;
    let numbers: Vec<u32> = definitions
        .texts
        .iter()
        .map(|t| packed_labels(t).next().map_or(0, |(text, name, value)| labels.intern(text, name, value)))
        .collect();
    let mut packed = String::with_capacity(256);
    for (r, pairs) in definitions.series() {
        packed.clear();
        let mut own = Vec::with_capacity(pairs.len());
        for p in pairs {
            packed.push_str(definitions.texts.get(*p as usize).map_or("", |t| t));
            own.extend(numbers.get(*p as usize));
        }
        state.head.restore_whole(&state.lookup, r, own.into_boxed_slice(), &packed);
    }
}

/// Gives series what they hold. Returns how many chunks have no file any more, or `None` on damage.
fn take_series(state: &mut Rebuilt, covered: &mut Covered, held: &[u8], files: &ChunkFiles) -> Option<usize> {
    let (_tag, mut held) = held.split_first()?;
    let input = &mut held;
    let at = take_position(input)?;
    let from = u32::try_from(take_u64(input)?).ok()?;
    let _places = take_u64(input)?;
    let (mut lost, mut before) = (0, Before::default());
    let view = state.lookup.view();
    while !input.is_empty() {
        let s = series_state::take(input, &mut before, files)?;
        lost += s.lost as usize;
        state.head.take_state(&view, s.series, s.state);
    }
    let stretch = (from / STRETCH) as usize;
    if covered.stretches.len() <= stretch {
        covered.stretches.resize(stretch + 1, WalPosition::default());
    }
    if let Some(place) = covered.stretches.get_mut(stretch) {
        *place = at;
    }
    covered.newest = covered.newest.max(at);
    Some(lost)
}

/// Gives the series of a damaged checkpoint the chunks in files that nothing refers to.
pub(crate) fn find_chunks(files: &ChunkFiles, state: &mut Rebuilt) -> Result<u64, Error> {
    let mut found = 0;
    files.scan(|file, offset, len, record| {
        let place = (Arc::clone(file), offset, len);
        found += u64::from(state.head.adopt(&state.lookup, record.series, record.chunk, place));
    })?;
    Ok(found)
}
