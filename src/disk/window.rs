//! Reads a file piece by piece: what is looked at is in memory, not the file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes read at a time. Larger pieces make reading no faster.
const PIECE: usize = 256 << 10;
/// Memory above this, which a long record took, is given back with the next piece.
const KEPT: usize = 4 * PIECE;

/// A part of a file in memory that moves along it.
#[derive(Debug)]
pub struct Window {
    file: File,
    /// Where in the file `bytes` begin.
    start: u64,
    bytes: Vec<u8>,
    end: u64,
}

impl Window {
    /// A window on the file as long as it is now, or on its first `limit` bytes.
    pub fn open(path: &Path, limit: Option<u64>) -> io::Result<Window> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        Ok(Window { file, start: 0, bytes: Vec::new(), end: limit.map_or(len, |l| l.min(len)) })
    }

    /// Where the file ends.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The bytes from `at` on: `least` of them if the file has so many, often more. Cheap as long as `at` goes forwards.
    pub fn at(&mut self, at: u64, least: usize) -> io::Result<&[u8]> {
        let left = usize::try_from(self.end.saturating_sub(at)).unwrap_or(usize::MAX);
        let wanted = least.min(left);
        let here = at.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        let there = here.and_then(|skip| self.bytes.get(skip..)).map_or(0, <[u8]>::len);
        if there < wanted || here.is_none() {
            self.fill(at, there, wanted.max(PIECE).min(left))?;
        }
        let skip = usize::try_from(at.saturating_sub(self.start)).unwrap_or(usize::MAX);
        Ok(self.bytes.get(skip..).unwrap_or_default())
    }

    /// Makes `bytes` the `len` bytes from `at` on, of which it has the first `there` at its end.
    fn fill(&mut self, at: u64, there: usize, len: usize) -> io::Result<()> {
        let old = self.bytes.len();
        if self.bytes.capacity() > KEPT.max(len) {
            self.bytes = self.bytes.split_off(old.saturating_sub(there));
        } else {
            self.bytes.drain(..old.saturating_sub(there));
        }
        self.start = at;
        let mut read = self.bytes.len();
        if len > self.bytes.capacity() {
            // Exactly: doubling would take twice the memory of a long record.
            self.bytes.reserve_exact(len - read);
        }
        self.bytes.resize(len.max(read), 0);
        while let Some(rest) = self.bytes.get_mut(read..).filter(|r| !r.is_empty()) {
            match self.file.read_at(rest, at + read as u64) {
                // It was cut meanwhile.
                Ok(0) => {
                    self.end = at + read as u64;
                    break;
                }
                Ok(n) => read += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    self.bytes.clear();
                    return Err(e);
                }
            }
        }
        self.bytes.truncate(read);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_file_is_seen_and_little_of_it_held() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let content: Vec<u8> = (0..PIECE * 5 + 77).map(|i| (i * 31 % 251) as u8).collect();
        std::fs::write(file.path(), &content).unwrap();
        let long = PIECE * 4 + 3;
        for limit in [None, Some(PIECE as u64 * 5), Some(10), Some(u64::MAX)] {
            let mut w = Window::open(file.path(), limit).unwrap();
            let end = w.end() as usize;
            assert_eq!(end, limit.map_or(content.len(), |l| content.len().min(l as usize)));
            let mut at = 0;
            for (step, least) in [(1, 9), (PIECE - 5, 20), (0, long), (3, 1), (PIECE * 2, PIECE + 1), (PIECE, 9)] {
                at += step;
                let got = w.at(at as u64, least).unwrap();
                let want = content.get(at..end).unwrap_or_default();
                assert!(got.len() >= least.min(want.len()) && want.starts_with(got), "{limit:?} {at} {least}");
                assert!(got.len() <= long);
            }
            // Backwards, and past the end.
            assert_eq!(w.at(2, 8).unwrap().get(..8), content.get(2..10));
            assert!(w.bytes.capacity() <= KEPT);
            assert_eq!(w.at(end as u64 + 5, 1).unwrap(), b"");
        }
    }

    #[test]
    fn a_file_that_was_cut_meanwhile_ends_there() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [7; 100]).unwrap();
        let mut w = Window::open(file.path(), None).unwrap();
        std::fs::write(file.path(), [7; 60]).unwrap();
        assert_eq!(w.at(10, 80).unwrap(), [7; 50]);
        assert_eq!(w.end(), 60);
        assert!(w.at(60, 1).unwrap().is_empty());
    }
}
