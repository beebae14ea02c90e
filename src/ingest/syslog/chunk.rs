//! Messages on their way from a receiver to the writer.

use std::net::IpAddr;

use crate::model::TimestampNs;

/// A receiver hands over what it has when it holds this much.
pub(super) const CHUNK_BYTES: usize = 256 << 10;
/// Chunks that may wait for the writer: at most 16 MiB and one message each.
pub(super) const WAITING_CHUNKS: usize = 64;

/// Messages as they came, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// When the last of them came.
    pub received_ns: TimestampNs,
    /// Their bytes.
    bytes: Vec<u8>,
    /// Where each ends, and who sent it.
    ends: Vec<(usize, IpAddr)>,
}

impl Chunk {
    pub(super) fn push(&mut self, message: &[u8], from: IpAddr) {
        self.bytes.extend_from_slice(message);
        self.ends.push((self.bytes.len(), from));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Whether it should be handed over.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= CHUNK_BYTES
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The messages and who sent them.
    pub(super) fn messages(&self) -> impl Iterator<Item = (&[u8], IpAddr)> {
        let mut start = 0;
        self.ends.iter().map(move |(end, from)| {
            let message = self.bytes.get(start..*end).unwrap_or(&[]);
            start = *end;
            (message, *from)
        })
    }
}
