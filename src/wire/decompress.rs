//! Bodies decompressed with a cap: what would grow past it is refused before memory is spent on it.

use std::borrow::Cow;
use std::io::{self, Read};

/// The window a zstd frame may ask memory for: 2^27, 128 MiB, is what zstd's own tools accept.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// gzip, also of several members.
    Gzip,
    /// `deflate`, with zlib's header as the RFC says or without as many clients do.
    Deflate,
    /// zstd frames.
    Zstd,
    /// Snappy's block format.
    SnappyBlock,
}

/// Why a body cannot be decompressed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecompressError {
    /// It would be larger than the cap.
    #[error("body is larger than {limit} bytes when decompressed; send smaller batches")]
    TooLarge {
        /// The cap.
        limit: usize,
    },
    /// It is not what it says it is.
    #[error("{encoding}: {reason}")]
    Corrupt {
        /// What it says it is.
        encoding: &'static str,
        /// What the decoder found.
        reason: String,
    },
    /// Nothing here decodes it.
    #[error("Content-Encoding {0:?} not supported")]
    Unsupported(String),
}

impl Encoding {
    /// Reads a `Content-Encoding` header; absent means not compressed.
    pub fn from_header(value: Option<&str>) -> Result<Self, DecompressError> {
        let name = value.unwrap_or("").trim();
        const NAMES: [(&str, Encoding); 7] = [
            ("", Encoding::Identity),
            ("identity", Encoding::Identity),
            ("gzip", Encoding::Gzip),
            ("x-gzip", Encoding::Gzip),
            ("deflate", Encoding::Deflate),
            ("zstd", Encoding::Zstd),
            ("snappy", Encoding::SnappyBlock),
        ];
        let found = NAMES.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, e)| *e);
        found.ok_or_else(|| DecompressError::Unsupported(name.to_owned()))
    }
}

/// Decompresses a body; fails when it is, or would become, longer than `limit` bytes.
pub fn decompress(body: &[u8], encoding: Encoding, limit: usize) -> Result<Cow<'_, [u8]>, DecompressError> {
    match encoding {
        Encoding::Identity if body.len() > limit => Err(DecompressError::TooLarge { limit }),
        Encoding::Identity => Ok(Cow::Borrowed(body)),
        Encoding::Gzip => read_capped(flate2::read::MultiGzDecoder::new(body), "gzip", limit).map(Cow::Owned),
        Encoding::Deflate => deflate(body, limit).map(Cow::Owned),
        Encoding::Zstd => {
            let corrupt = |e: io::Error| DecompressError::Corrupt { encoding: "zstd", reason: e.to_string() };
            let mut decoder = zstd::stream::read::Decoder::with_buffer(body).map_err(corrupt)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(corrupt)?;
            read_capped(decoder, "zstd", limit).map(Cow::Owned)
        }
        Encoding::SnappyBlock => snappy_block(body, limit).map(Cow::Owned),
    }
}

fn deflate(body: &[u8], limit: usize) -> Result<Vec<u8>, DecompressError> {
    // zlib's header: method 8, and a multiple of 31. Raw deflate can look so by chance, then the other reading is tried.
    let zlib = matches!(body, [a, b, ..] if a & 0x0f == 8 && (u16::from(*a) << 8 | u16::from(*b)) % 31 == 0);
    let raw = || read_capped(flate2::read::DeflateDecoder::new(body), "deflate", limit);
    if !zlib {
        return raw();
    }
    match read_capped(flate2::read::ZlibDecoder::new(body), "deflate", limit) {
        Err(DecompressError::Corrupt { .. }) => raw(),
        other => other,
    }
}

/// Decompresses Snappy's block format; the length it claims is checked before memory is taken.
pub fn snappy_block(body: &[u8], limit: usize) -> Result<Vec<u8>, DecompressError> {
    let corrupt =
        |e: snap::Error| DecompressError::Corrupt { encoding: "snappy", reason: format!("corrupt input: {e}") };
    let len = snap::raw::decompress_len(body).map_err(corrupt)?;
    if len > limit {
        return Err(DecompressError::TooLarge { limit });
    }
    snap::raw::Decoder::new().decompress_vec(body).map_err(corrupt)
}

fn read_capped(reader: impl Read, encoding: &'static str, limit: usize) -> Result<Vec<u8>, DecompressError> {
    let mut out = Vec::new();
    // One byte more than allowed tells "exactly full" from "too much".
    reader
        .take(limit as u64 + 1)
        .read_to_end(&mut out)
        .map_err(|e| DecompressError::Corrupt { encoding, reason: e.to_string() })?;
    if out.len() > limit { Err(DecompressError::TooLarge { limit }) } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    fn packed(data: &[u8]) -> Vec<(Encoding, Vec<u8>)> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(data).unwrap();
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(data).unwrap();
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::fast());
        raw.write_all(data).unwrap();
        vec![
            (Encoding::Identity, data.to_vec()),
            (Encoding::Gzip, gzip.finish().unwrap()),
            (Encoding::Deflate, zlib.finish().unwrap()),
            (Encoding::Deflate, raw.finish().unwrap()),
            (Encoding::Zstd, zstd::bulk::compress(data, 1).unwrap()),
            (Encoding::SnappyBlock, snap::raw::Encoder::new().compress_vec(data).unwrap()),
        ]
    }

    #[test]
    fn each_encoding_up_to_the_limit() {
        let data = b"campanile ".repeat(1000);
        for (encoding, body) in packed(&data) {
            assert_eq!(decompress(&body, encoding, data.len()).unwrap().as_ref(), data, "{encoding:?}");
            let limit = data.len() - 1;
            assert_eq!(decompress(&body, encoding, limit), Err(DecompressError::TooLarge { limit }), "{encoding:?}");
        }
        for encoding in [Encoding::Gzip, Encoding::Zstd, Encoding::SnappyBlock, Encoding::Deflate] {
            let error = decompress(b"{\"not\": \"compressed\"}", encoding, 1000).unwrap_err();
            assert!(matches!(error, DecompressError::Corrupt { .. }), "{encoding:?}: {error}");
        }
    }

    #[test]
    fn headers() {
        assert_eq!(Encoding::from_header(None), Ok(Encoding::Identity));
        assert_eq!(Encoding::from_header(Some("GZIP")), Ok(Encoding::Gzip));
        let error = Encoding::from_header(Some("br")).unwrap_err().to_string();
        assert_eq!(error, "Content-Encoding \"br\" not supported");
    }
}
