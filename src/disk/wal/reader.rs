//! Reads a log back after a start.

use std::fs;
use std::io;
use std::path::Path;

use super::record::{self, Decoded, HEADER_LEN, Length};
use super::segment::{self, HEADER, WalPosition};
use crate::disk::window::Window;

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
/// length if a good record follows there, else the rest of its segment is given up; both are reported, neither is an error. Of a segment as
/// much is in memory as its longest record takes, or some hundred kilobytes.
pub fn replay(
    dir: &Path,
    from: WalPosition,
    until: Option<WalPosition>,
    mut each: impl FnMut(WalPosition, &[u8]) -> io::Result<()>,
) -> io::Result<ReplayReport> {
    let mut report = ReplayReport { end: from, ..ReplayReport::default() };
    let last = until.map_or(u64::MAX, |u| u.segment);
    for number in segment::list(dir)?.into_iter().filter(|n| (from.segment..=last).contains(n)) {
        let limit = until.filter(|u| u.segment == number).map(|u| u.offset);
        let mut window = Window::open(&segment::path(dir, number), limit)?;
        let first = if number == from.segment { from.offset } else { 0 };
        replay_segment(&mut window, number, first, &mut report, &mut each)?;
    }
    Ok(report)
}

fn replay_segment(
    window: &mut Window,
    number: u64,
    first: u64,
    report: &mut ReplayReport,
    each: &mut impl FnMut(WalPosition, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    report.bytes += window.end();
    let mut lost = |offset: u64, bytes: u64, reason| {
        report.damage.push(Damage { at: WalPosition { segment: number, offset }, bytes, reason });
    };
    let header = window.at(0, HEADER.len())?;
    let header = header.get(..HEADER.len()).unwrap_or(header);
    if header != HEADER {
        // An empty or half-written header is a crash at the birth of the segment.
        if !HEADER.starts_with(header) {
            lost(0, window.end(), "not a segment of this format");
        }
        return Ok(());
    }
    let mut offset = first.max(HEADER.len() as u64);
    while offset < window.end() {
        match record_at(window, offset)? {
            Decoded::Record(payload, len) => {
                offset += len as u64;
                report.end = WalPosition { segment: number, offset };
                each(report.end, &payload)?;
                report.records += 1;
            }
            Decoded::Incomplete => {
                lost(offset, window.end() - offset, TORN);
                break;
            }
            Decoded::Damaged(len) => {
                let next = offset + len as u64;
                let next_is_good = next == window.end()
                    || (next < window.end() && matches!(record_at(window, next)?, Decoded::Record(..)));
                if !next_is_good {
                    lost(offset, window.end() - offset, "checksum mismatch, and no record to go on with");
                    break;
                }
                lost(offset, len as u64, "checksum mismatch");
                offset = next;
            }
        }
    }
    Ok(())
}

/// What stands at a place of a segment before its end.
fn record_at(window: &mut Window, offset: u64) -> io::Result<Decoded<'_>> {
    let left = usize::try_from(window.end().saturating_sub(offset)).unwrap_or(usize::MAX);
    let len = match record::length(window.at(offset, HEADER_LEN)?) {
        Length::Of(len) if len <= left => len,
        Length::Of(_) | Length::Unknown => return Ok(Decoded::Incomplete),
        Length::TooLong => return Ok(Decoded::Damaged(left)),
    };
    Ok(record::decode(window.at(offset, len)?))
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
