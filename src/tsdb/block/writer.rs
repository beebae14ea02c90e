//! Writes a block from a selection: under a temporary name, synced, then renamed.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::CHUNKS_MAGIC;
use super::index::IndexWriter;
use super::meta::{Meta, VERSION};
use super::undeleted::{self, Left};
use crate::disk::atomic_file;
use crate::model::TimestampMs;
use crate::tsdb::chunk::{Chunk, Packer, encode_floats};
use crate::tsdb::error::Error;
use crate::tsdb::filenames::{BLOCKS_DIR, CHUNKS_FILE, INDEX_FILE, META_FILE, TEMPORARY_SUFFIX};
use crate::tsdb::head::closed::Closed;
use crate::tsdb::head::late::{self, Late};
use crate::tsdb::limits::CHUNK_SAMPLES;
use crate::tsdb::selection::{Captured, Selection};
use crate::tsdb::self_metrics as count;

/// What the new block covers and what it replaces.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// First time covered.
    pub mint: TimestampMs,
    /// First time after.
    pub end: TimestampMs,
    /// Blocks it is made of.
    pub parents: Vec<String>,
    /// Makes the name unique: nanoseconds since the epoch.
    pub created_ns: i64,
}

/// Writes the block and returns its folder.
pub(crate) fn write(store: &Path, plan: &Plan, selection: &Selection) -> Result<PathBuf, Error> {
    let blocks = store.join(BLOCKS_DIR);
    let named = |ns: i64| format!("{}-{}-{ns:x}", plan.mint, plan.end);
    // A clock that stands or was set back may give a name a second time.
    let taken = (plan.created_ns..).map(named).find(|name| !blocks.join(name).exists());
    let name = taken.unwrap_or_else(|| named(plan.created_ns));
    let dir = blocks.join(&name);
    let temporary = blocks.join(format!("{name}{TEMPORARY_SUFFIX}"));
    let written = write_files(&temporary, plan, selection).and_then(|()| {
        std::fs::rename(&temporary, &dir)?;
        atomic_file::sync_parent(&dir)?;
        Ok(dir)
    });
    written.inspect_err(|_| {
        // What is left of a failed attempt takes up space when space may be the trouble; a start removes it too.
        let _removed = std::fs::remove_dir_all(&temporary);
    })
}

fn write_files(dir: &Path, plan: &Plan, selection: &Selection) -> Result<(), Error> {
    std::fs::create_dir_all(dir)?;
    let mut chunks = ChunkWriter::create(&dir.join(CHUNKS_FILE))?;
    let mut index = IndexWriter::new(selection.label_table().texts().iter().map(|t| &**t));
    let mut series = 0;
    for i in 0..selection.len() {
        chunks.refs.clear();
        let deleted = selection.deleted(i);
        selection.stored_chunks(i, |c, data| {
            if deleted.intervals().is_none() {
                return chunks.add(c.mint, c.maxt, data);
            }
            match undeleted::of_chunk(c.mint, c.maxt, data, &deleted)? {
                Left::All => chunks.add(c.mint, c.maxt, data),
                Left::Some(c) => chunks.add(c.mint, c.maxt, &c.data),
                Left::None => Ok(()),
            }
        })?;
        let captured = selection.captured(i);
        let left = undeleted::of_captured(&captured, &deleted)?;
        chunks.add_captured(left.as_ref().unwrap_or(&captured), plan)?;
        if !chunks.refs.is_empty() {
            index.add(selection.label_table().row(i), &chunks.refs);
            series += 1;
        }
    }
    let (count, chunk_bytes) = chunks.finish()?;
    let meta = Meta {
        version: VERSION,
        mint: plan.mint,
        end: plan.end,
        series,
        chunks: count,
        chunk_bytes,
        parents: plan.parents.clone(),
    };
    write_synced(&dir.join(INDEX_FILE), &index.finish())?;
    let meta = serde_json::to_vec_pretty(&meta).map_err(std::io::Error::other)?;
    write_synced(&dir.join(META_FILE), &meta)?;
    Ok(atomic_file::sync_dir(dir)?)
}

fn write_synced(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(content)?;
    file.sync_all()
}

struct ChunkWriter {
    file: BufWriter<File>,
    bytes: u64,
    count: u64,
    /// Chunks of the series at work.
    refs: Vec<(TimestampMs, TimestampMs, u32)>,
    packer: Packer,
}

impl ChunkWriter {
    fn create(path: &Path) -> std::io::Result<Self> {
        let mut file = BufWriter::with_capacity(1 << 18, File::create(path)?);
        file.write_all(&CHUNKS_MAGIC)?;
        Ok(ChunkWriter {
            file,
            bytes: CHUNKS_MAGIC.len() as u64,
            count: 0,
            refs: Vec::new(),
            packer: Packer::default(),
        })
    }

    fn add(&mut self, mint: TimestampMs, maxt: TimestampMs, data: &[u8]) -> Result<(), Error> {
        self.file.write_all(&crc32c::crc32c(data).to_le_bytes())?;
        self.file.write_all(data)?;
        self.bytes += data.len() as u64 + 4;
        self.count += 1;
        // A chunk of the head has some hundred samples, far below 4 GiB.
        self.refs.push((mint, maxt, data.len() as u32));
        Ok(())
    }

    /// Adds what the head has of a series, late samples in their places.
    fn add_captured(&mut self, captured: &Captured, plan: &Plan) -> Result<(), Error> {
        let mut rows: Vec<Late> = Vec::new();
        // Chunks that were closed early are put together again; whole ones are copied.
        let small = |a: &Closed, b: &Closed| {
            let floats = !a.is_histograms() && !b.is_histograms();
            floats && a.sample_count() + b.sample_count() <= CHUNK_SAMPLES.into()
        };
        let mut neighbours = captured.chunks.iter().zip(captured.chunks.iter().skip(1));
        let rebuild = !captured.late.is_empty() || neighbours.any(|(a, b)| small(a, b));
        let mut buffer = Vec::new();
        for c in &captured.chunks {
            let data = match c.read(&mut buffer) {
                Ok(data) => data,
                Err(e @ Error::HeadChunk { .. }) => {
                    // Nothing brings it back; the others must not stay in the head because of it.
                    count::SAMPLES_LOST.inc_by(c.sample_count() as u64);
                    tracing::error!(error = %e, samples = c.sample_count(), "a chunk cannot be read and is left out of its block");
                    continue;
                }
                Err(e) => return Err(e),
            };
            if rebuild && !c.is_histograms() {
                late::rows(data, &mut rows)?;
                continue;
            }
            // Chunks in files are packed mostly; those that a replay put there are not.
            match self.packer.pack_encoded((c.mint(), c.maxt()), data) {
                Some(smaller) => self.add(smaller.mint, smaller.maxt, &smaller.data)?,
                None => self.add(c.mint(), c.maxt(), data)?,
            }
        }
        if rebuild {
            rows.extend(captured.late.iter().filter(|l| l.t >= plan.mint && l.t < plan.end));
            rows.sort_by_key(|r| r.t);
            rows.dedup_by_key(|r| r.t);
            for part in rows.chunks(usize::from(CHUNK_SAMPLES)) {
                let c = float_chunk(part);
                self.add(c.mint, c.maxt, &c.data)?;
            }
        }
        // Their chunks overlap those of the histograms in order; readers sort such series.
        for group in captured.late_histograms.chunks(usize::from(CHUNK_SAMPLES)) {
            let c = late::histogram_chunk(group);
            self.add(c.mint, c.maxt, &c.data)?;
        }
        Ok(())
    }

    fn finish(self) -> Result<(u64, u64), Error> {
        let file = self.file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok((self.count, self.bytes))
    }
}

pub(super) fn float_chunk(rows: &[Late]) -> Chunk {
    let (times, values): (Vec<TimestampMs>, Vec<f64>) = rows.iter().map(|r| (r.t, r.v)).unzip();
    encode_floats(&times, &values, &late::runs(rows.iter().map(|r| r.start)))
}
