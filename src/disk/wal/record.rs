//! One record: `length(u32) crc32c(u32) flags(u8) payload`, integers little-endian. The checksum covers flags and payload.

use std::borrow::Cow;

use crate::disk::zstd_frame;

/// Bytes before the payload.
pub const HEADER_LEN: usize = 9;
/// A stored payload longer than this is damage, not data; no batch comes near it (limits of the wire are far below).
pub const MAX_PAYLOAD: usize = 256 << 20;
/// Payloads below this are stored as they are: compressing them costs more than it saves.
const COMPRESS_FROM: usize = 256;
/// zstd level of payloads.
const ZSTD_LEVEL: i32 = 1;
/// Flag: the payload is a zstd frame.
const FLAG_ZSTD: u8 = 2;

/// How payloads are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all: the caller's payload is dense already.
    #[default]
    None,
    /// zstd at level 1.
    Zstd,
}

/// Writes records; keeps what compressing needs from one to the next.
#[derive(Default)]
pub struct Encoder {
    compression: Compression,
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").field("compression", &self.compression).finish_non_exhaustive()
    }
}

impl Encoder {
    /// An encoder whose payloads are compressed so.
    pub fn new(compression: Compression) -> Encoder {
        Encoder { compression, zstd: None }
    }

    /// Appends the record of `payload` to `out`.
    pub fn encode(&mut self, out: &mut Vec<u8>, payload: &[u8]) {
        let compressed = match self.compression {
            Compression::Zstd if payload.len() >= COMPRESS_FROM => {
                self.compress(payload).filter(|c| c.len() < payload.len())
            }
            Compression::Zstd | Compression::None => None,
        };
        let (flags, body) = match &compressed {
            Some(c) => (FLAG_ZSTD, c.as_slice()),
            None => (0, payload),
        };
        let crc = crc32c::crc32c_append(crc32c::crc32c(&[flags]), body);
        out.reserve(HEADER_LEN + body.len());
        // MAX_PAYLOAD keeps the length within u32; the writer refuses larger batches.
        out.extend_from_slice(&(body.len() as u32).to_le_bytes());
        out.extend_from_slice(&crc.to_le_bytes());
        out.push(flags);
        out.extend_from_slice(body);
    }

    fn compress(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        if self.zstd.is_none() {
            self.zstd = zstd::bulk::Compressor::new(ZSTD_LEVEL).ok();
        }
        self.zstd.as_mut()?.compress(payload).ok()
    }
}

/// Appends the record of `payload` to `out`.
pub fn encode(out: &mut Vec<u8>, payload: &[u8], compression: Compression) {
    Encoder::new(compression).encode(out, payload);
}

/// What stands at the front of some bytes.
#[derive(Debug, PartialEq)]
pub enum Decoded<'a> {
    /// A whole record: its payload, and the bytes it takes up.
    Record(Cow<'a, [u8]>, usize),
    /// The bytes end inside a record; so many more are needed at least.
    Incomplete,
    /// The checksum or the compression is wrong; the record's claimed length in bytes.
    Damaged(usize),
}

/// How long a record says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Its bytes, the header among them.
    Of(usize),
    /// No record is so long.
    TooLong,
    /// Its header is not whole.
    Unknown,
}

/// Reads the length of the record at the front of `input`.
pub fn length(input: &[u8]) -> Length {
    let Some(length) = input.first_chunk::<4>().filter(|_| input.len() >= HEADER_LEN) else { return Length::Unknown };
    match u32::from_le_bytes(*length) as usize {
        payload if payload > MAX_PAYLOAD => Length::TooLong,
        payload => Length::Of(HEADER_LEN + payload),
    }
}

/// Decodes the record at the front of `input`.
pub fn decode(input: &[u8]) -> Decoded<'_> {
    let total = match length(input) {
        Length::Of(total) => total,
        Length::TooLong => return Decoded::Damaged(input.len()),
        Length::Unknown => return Decoded::Incomplete,
    };
    let Some((header, body)) = input.get(..total).and_then(|r| r.split_first_chunk::<HEADER_LEN>()) else {
        return Decoded::Incomplete;
    };
    let [_, _, _, _, c0, c1, c2, c3, flags] = *header;
    if crc32c::crc32c_append(crc32c::crc32c(&[flags]), body) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Decoded::Damaged(total);
    }
    match flags {
        0 => Decoded::Record(Cow::Borrowed(body), total),
        FLAG_ZSTD => match zstd_frame::decompress(body, MAX_PAYLOAD) {
            Some(p) => Decoded::Record(Cow::Owned(p), total),
            None => Decoded::Damaged(total),
        },
        _ => Decoded::Damaged(total),
    }
}
