//! Reads a log back after a start.

use std::fs;
use std::io;
use std::path::Path;

use super::record::{self, Decoded};
use super::segment::{self, HEADER, WalPosition};

/// The reason given for the tail of a segment that a crash cut short.
const TORN: &str = "the segment ends inside a record";

/// A stretch of a segment that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where it begins.
    pub at: WalPosition,
    /// How many bytes are lost.
    pub bytes: u64,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// What a replay found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayReport {
    /// Records given to the caller.
    pub records: u64,
    /// Bytes of segments read.
    pub bytes: u64,
    /// The place after the last good record.
    pub end: WalPosition,
    /// What was lost. A torn tail of the last segment is the ordinary trace of a crash.
    pub damage: Vec<Damage>,
}

/// Gives every whole record from `from` on, up to `until` or to the end, to `each`, with the place after it. A damaged record is stepped over by its claimed
/// length if a good record follows there, else the rest of its segment is given up; both are reported, neither is an error.
pub fn replay(
    dir: &Path,
    from: WalPosition,
    until: Option<WalPosition>,
    mut each: impl FnMut(WalPosition, &[u8]) -> io::Result<()>,
) -> io::Result<ReplayReport> {
    let mut report = ReplayReport { end: from, ..ReplayReport::default() };
    let last = until.map_or(u64::MAX, |u| u.segment);
    for number in segment::list(dir)?.into_iter().filter(|n| (from.segment..=last).contains(n)) {
        let mut content = fs::read(segment::path(dir, number))?;
        if let Some(until) = until.filter(|u| u.segment == number) {
            content.truncate(usize::try_from(until.offset).unwrap_or(usize::MAX));
        }
        report.bytes += content.len() as u64;
        let mut lost = |offset: usize, bytes: usize, reason| {
            let at = WalPosition { segment: number, offset: offset as u64 };
            report.damage.push(Damage { at, bytes: bytes as u64, reason });
        };
        if content.get(..HEADER.len()) != Some(HEADER.as_slice()) {
            // An empty or half-written header is a crash at the birth of the segment.
            if !HEADER.starts_with(&content) {
                lost(0, content.len(), "not a segment of this format");
            }
            continue;
        }
        let mut offset = if number == from.segment {
            usize::try_from(from.offset).unwrap_or(usize::MAX).max(HEADER.len())
        } else {
            HEADER.len()
        };
        while offset < content.len() {
            let rest = content.get(offset..).unwrap_or_default();
            match record::decode(rest) {
                Decoded::Record(payload, len) => {
                    offset += len;
                    report.end = WalPosition { segment: number, offset: offset as u64 };
                    each(report.end, &payload)?;
                    report.records += 1;
                }
                Decoded::Incomplete => {
                    lost(offset, rest.len(), TORN);
                    break;
                }
                Decoded::Damaged(len) => {
                    let next_is_good = rest
                        .get(len..)
                        .is_some_and(|r| r.is_empty() || matches!(record::decode(r), Decoded::Record(..)));
                    if !next_is_good {
                        lost(offset, rest.len(), "checksum mismatch, and no record to go on with");
                        break;
                    }
                    lost(offset, len, "checksum mismatch");
                    offset += len;
                }
            }
        }
    }
    Ok(report)
}

/// Cuts off the torn tail that a replay found at the end of the last segment, so that the next start does not report it again. Returns
/// the bytes cut. To be called before a new segment is begun.
pub fn cut_torn_tail(dir: &Path, report: &ReplayReport) -> io::Result<u64> {
    let Some(last) = segment::list(dir)?.pop() else { return Ok(0) };
    let Some(torn) = report.damage.iter().find(|d| d.at.segment == last && d.reason == TORN) else { return Ok(0) };
    let file = fs::OpenOptions::new().write(true).open(segment::path(dir, last))?;
    file.set_len(torn.at.offset)?;
    file.sync_data()?;
    Ok(torn.bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::disk::wal::record::Compression;
    use crate::disk::wal::writer::{Wal, WalOptions};

    fn read_all(dir: &Path) -> (Vec<Vec<u8>>, ReplayReport) {
        let mut seen = Vec::new();
        let report = replay(dir, WalPosition::default(), None, |_, p| {
            seen.push(p.to_vec());
            Ok(())
        })
        .unwrap();
        (seen, report)
    }

    fn payload(i: u8) -> Vec<u8> {
        vec![i; usize::from(i) * 7]
    }

    #[test]
    fn everything_comes_back_over_segments_and_restarts() {
        let dir = tempfile::tempdir().unwrap();
        for compression in [Compression::None, Compression::Zstd] {
            let options = WalOptions { segment_bytes: 500, compression, ..WalOptions::default() };
            let wal = Wal::open(dir.path(), options).unwrap();
            for i in 0..60 {
                wal.append(&payload(i)).unwrap();
            }
            wal.sync().unwrap();
        }
        let (seen, report) = read_all(dir.path());
        assert_eq!(seen, (0..60).chain(0..60).map(payload).collect::<Vec<_>>());
        assert_eq!(report.damage, []);
    }

    #[test]
    fn torn_at_every_byte_keeps_the_whole_records_before() {
        let dir = tempfile::tempdir().unwrap();
        let wal = Wal::open(dir.path(), WalOptions::default()).unwrap();
        let ends: Vec<u64> = (1..6).map(|i| wal.append(&payload(i)).unwrap().offset).collect();
        let path = segment::path(dir.path(), 0);
        let whole = fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let (seen, report) = read_all(dir.path());
            let kept = ends.iter().filter(|e| **e <= cut as u64).count();
            assert_eq!(seen.len(), kept, "cut at {cut}");
            let clean = cut <= HEADER.len() || ends.contains(&(cut as u64));
            assert_eq!(report.damage.is_empty(), clean, "cut at {cut}: {report:?}");
            let torn: u64 = report.damage.iter().map(|d| d.bytes).sum();
            assert_eq!(cut_torn_tail(dir.path(), &report).unwrap(), torn);
            assert_eq!(read_all(dir.path()).1.damage, [], "cut at {cut}");
        }
    }

    #[test]
    fn a_flipped_bit_costs_one_record_or_the_rest_of_its_segment_and_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let wal = Wal::open(dir.path(), WalOptions::default()).unwrap();
        let all: Vec<Vec<u8>> = (1..6).map(payload).collect();
        for p in &all {
            wal.append(p).unwrap();
        }
        let path = segment::path(dir.path(), 0);
        let whole = fs::read(&path).unwrap();
        for i in 0..whole.len() {
            let mut bad = whole.clone();
            bad[i] ^= 0x10;
            fs::write(&path, &bad).unwrap();
            let (seen, report) = read_all(dir.path());
            assert!(seen.iter().all(|p| all.contains(p)), "byte {i}: made up a record");
            assert!(!report.damage.is_empty(), "byte {i}: not reported");
        }
    }

    #[test]
    fn replay_from_a_position_and_truncation() {
        let dir = tempfile::tempdir().unwrap();
        let wal = Wal::open(dir.path(), WalOptions { segment_bytes: 64, ..WalOptions::default() }).unwrap();
        let positions: Vec<WalPosition> = (1..10).map(|i| wal.append(&payload(i)).unwrap()).collect();
        let mut count = 0;
        replay(dir.path(), positions[5], None, |_, _| {
            count += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(count, 3);
        for until in 0..positions.len() {
            let mut ends = Vec::new();
            let report = replay(dir.path(), WalPosition::default(), Some(positions[until]), |end, _| {
                ends.push(end);
                Ok(())
            });
            assert_eq!(report.unwrap().damage, []);
            assert_eq!(ends, positions[..=until]);
        }
        wal.truncate_before(positions[5].segment).unwrap();
        assert_eq!(segment::list(dir.path()).unwrap().first(), Some(&positions[5].segment));
    }
}
