//! The list of a day's segments: a small text file, replaced in one step by each commit and each merge.

use std::fs;
use std::io;
use std::path::Path;

use crate::disk::atomic_file;
use crate::disk::wal::WalPosition;

/// Name of the file in the partition's folder.
pub const FILE: &str = "manifest";

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Everything of the day up to here in the write-ahead log is in the segments.
    pub covered: WalPosition,
    /// The number the next segment gets.
    pub next: u64,
    /// The segments, oldest first.
    pub segments: Vec<u64>,
}

/// The file name of a segment.
pub fn segment_file(number: u64) -> String {
    format!("{number:08}.segment")
}

impl Manifest {
    fn encode(&self) -> String {
        let numbers: Vec<String> = self.segments.iter().map(u64::to_string).collect();
        let body = format!(
            "covered {} {}\nnext {}\nsegments {}\n",
            self.covered.segment,
            self.covered.offset,
            self.next,
            numbers.join(" ")
        );
        let crc = crc32c::crc32c(body.as_bytes());
        format!("{body}crc32c {crc:08x}\n")
    }

    fn decode(text: &str) -> Option<Manifest> {
        let (body, crc) = text.strip_suffix('\n')?.rsplit_once("crc32c ")?;
        if u32::from_str_radix(crc, 16).ok()? != crc32c::crc32c(body.as_bytes()) {
            return None;
        }
        let mut lines = body.lines();
        let mut numbers = |name: &str| {
            let line = lines.next()?.strip_prefix(name)?;
            line.split_whitespace().map(|n| n.parse::<u64>().ok()).collect::<Option<Vec<u64>>>()
        };
        let [segment, offset] = *numbers("covered ")? else { return None };
        let [next] = *numbers("next ")? else { return None };
        Some(Manifest { covered: WalPosition { segment, offset }, next, segments: numbers("segments ")? })
    }

    /// Reads the list of a day; one that is not there is empty.
    pub fn read(dir: &Path) -> io::Result<Manifest> {
        match fs::read(dir.join(FILE)) {
            Ok(bytes) => std::str::from_utf8(&bytes)
                .ok()
                .and_then(Manifest::decode)
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the list of segments is damaged")),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Manifest { next: 1, ..Manifest::default() }),
            Err(e) => Err(e),
        }
    }

    /// Makes this the list of the day.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        atomic_file::write(&dir.join(FILE), self.encode().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_or_cut_byte_is_noticed() {
        let m = Manifest { covered: WalPosition { segment: 3, offset: 77 }, next: 12, segments: vec![4, 9] };
        let text = m.encode();
        assert_eq!(Manifest::decode(&text), Some(m));
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            assert_eq!(std::str::from_utf8(&bytes).ok().and_then(Manifest::decode), None, "{at}");
            assert_eq!(Manifest::decode(text.get(..at).unwrap()), None, "{at}");
        }
    }
}
