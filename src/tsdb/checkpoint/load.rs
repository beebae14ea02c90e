//! Reads a checkpoint: one thread reads, some unpack and decode, the caller's puts series into the head.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Checkpoint, STRETCH, TAG_ANNOTATIONS, TAG_DEFINITIONS, TAG_END, TAG_SERIES, VERSION};
use crate::disk::varint::{take_i64, take_u64};
use crate::disk::wal::WalPosition;
use crate::disk::wal::record::{self, Decoded, HEADER_LEN, MAX_PAYLOAD};
use crate::model::TimestampMs;
use crate::model::labels::packed_labels;
use crate::tsdb::SeriesRef;
use crate::tsdb::error::Error;
use crate::tsdb::filenames::CHECKPOINT_FILE;
use crate::tsdb::head::chunk_files::ChunkFiles;
use crate::tsdb::head::series_state::{self, Before, SeriesState};
use crate::tsdb::replay::series::Rebuilt;
use crate::tsdb::self_metrics as count;
use crate::tsdb::wal_record::{self, Batch, Definitions};

/// Records under way between the threads; one is some hundred kilobytes.
const QUEUE: usize = 8;
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

/// A decoded record.
enum Part {
    First(Option<Checkpoint>),
    Foreign(u64),
    Definitions(Definitions),
    Series { at: WalPosition, from: u32, series: Vec<SeriesState> },
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
    let (raw, to_decode) = sync_channel::<(u64, Vec<u8>)>(QUEUE);
    let (decoded, parts) = sync_channel::<(u64, Part)>(QUEUE);
    let to_decode = Mutex::new(to_decode);
    let (mut lost, mut whole, mut foreign) = (0usize, false, None);
    let read = std::thread::scope(|scope| {
        let torn = decoded.clone();
        let reader = scope.spawn(move || read_records(file, &raw, &torn));
        for _ in 0..workers {
            let (to_decode, decoded) = (&to_decode, decoded.clone());
            scope.spawn(move || decode_records(to_decode, &decoded, files));
        }
        drop(decoded);
        // Decoding ends in any order; series go in after their definitions.
        let (mut waiting, mut next) = (BTreeMap::new(), 0u64);
        for (number, part) in parts {
            waiting.insert(number, part);
            while let Some(part) = waiting.remove(&next) {
                next += 1;
                match part {
                    Part::First(Some(at)) => loaded.at = at,
                    Part::First(None) => lost += 1,
                    Part::Foreign(version) => foreign = Some(version),
                    Part::Definitions(d) => define(state, &d),
                    Part::Series { at, from, series } => {
                        lost += take_series(state, &mut loaded.covered, at, from, series);
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
        }
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

/// Reads record after record. Returns the version, if the first record could be read.
fn read_records(
    file: File,
    raw: &SyncSender<(u64, Vec<u8>)>,
    torn: &SyncSender<(u64, Part)>,
) -> io::Result<Option<u64>> {
    let ended = || io::Error::other("the checkpoint is not wanted any more");
    let mut left = file.metadata()?.len();
    let mut file = BufReader::with_capacity(1 << 18, file);
    let (mut number, mut version) = (0u64, None);
    while left > 0 {
        let mut record = vec![0; HEADER_LEN.min(left as usize)];
        file.read_exact(&mut record)?;
        let length = record.first_chunk::<4>().map_or(u32::MAX, |l| u32::from_le_bytes(*l));
        left -= record.len() as u64;
        if record.len() < HEADER_LEN || length as usize > MAX_PAYLOAD || u64::from(length) > left {
            torn.send((number, Part::Lost(left as usize + record.len()))).map_err(|_| ended())?;
            break;
        }
        record.resize(HEADER_LEN + length as usize, 0);
        file.read_exact(record.get_mut(HEADER_LEN..).unwrap_or_default())?;
        left -= u64::from(length);
        if number == 0
            && let Decoded::Record(payload, _) = record::decode(&record)
        {
            version = take_u64(&mut &*payload);
        }
        raw.send((number, record)).map_err(|_| ended())?;
        number += 1;
    }
    Ok(version)
}

fn decode_records(raw: &Mutex<Receiver<(u64, Vec<u8>)>>, decoded: &SyncSender<(u64, Part)>, files: &ChunkFiles) {
    loop {
        let next = raw.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((number, record)) = next else { return };
        let part = match record::decode(&record) {
            Decoded::Record(payload, _) if number == 0 => decode_first(&payload),
            Decoded::Record(payload, _) => decode_part(&payload, files).unwrap_or(Part::Lost(record.len())),
            Decoded::Incomplete | Decoded::Damaged(_) => Part::Lost(record.len()),
        };
        if decoded.send((number, part)).is_err() {
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

fn decode_part(payload: &[u8], files: &ChunkFiles) -> Option<Part> {
    let Some((tag, mut rest)) = payload.split_first() else { return Some(Part::Definitions(Definitions::default())) };
    let input = &mut rest;
    match *tag {
        TAG_DEFINITIONS => Definitions::decode(payload).map(Part::Definitions),
        TAG_SERIES => {
            let at = take_position(input)?;
            let from = u32::try_from(take_u64(input)?).ok()?;
            let _places = take_u64(input)?;
            let (mut series, mut before) = (Vec::new(), Before::default());
            while !input.is_empty() {
                series.push(series_state::take(input, &mut before, files)?);
            }
            Some(Part::Series { at, from, series })
        }
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
            wal_record::decode(payload, &mut batch)?;
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

/// Gives series what they hold. Returns how many chunks have no file any more.
fn take_series(
    state: &mut Rebuilt,
    covered: &mut Covered,
    at: WalPosition,
    from: u32,
    series: Vec<SeriesState>,
) -> usize {
    let stretch = (from / STRETCH) as usize;
    if covered.stretches.len() <= stretch {
        covered.stretches.resize(stretch + 1, WalPosition::default());
    }
    if let Some(place) = covered.stretches.get_mut(stretch) {
        *place = at;
    }
    covered.newest = covered.newest.max(at);
    let mut lost = 0;
    for s in series {
        lost += s.lost as usize;
        state.head.take_state(&state.lookup, s.series, s.state);
    }
    lost
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
