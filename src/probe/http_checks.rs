//! What an HTTP probe demands of the answer.

use std::io::Read;

use hyper::header::{self, HeaderMap};

use crate::config::probe_module::{HeaderMatch, HttpModule};
use crate::probe::Failure;
use crate::probe::result::Recorder;

/// Bytes of body that are held for regexes and decompression. Far above any page; past it the probe fails, it does not
/// check a part in silence.
pub const MAX_BODY: usize = 16 << 20;

/// Whether the status is one of those wanted; any 2xx if none are named.
pub fn status(code: u16, m: &HttpModule) -> Result<(), Failure> {
    if m.valid_status_codes.is_empty() {
        return if (200..300).contains(&code) { Ok(()) } else { Err(Failure(format!("status {code} is not 2xx"))) };
    }
    if m.valid_status_codes.contains(&code) {
        Ok(())
    } else {
        Err(Failure(format!("status {code} is not one of {:?}", m.valid_status_codes)))
    }
}

/// Checks headers against regexes; sets `probe_failed_due_to_regex`.
pub fn headers(found: &HeaderMap, m: &HttpModule, r: &mut Recorder) -> Result<(), Failure> {
    let mut fail = |check: &HeaderMatch, how: &str| {
        r.set("probe_failed_due_to_regex", 1.0);
        Err(Failure(format!("header {} {how} /{}/", check.header, check.regexp.0.as_str())))
    };
    for check in &m.fail_if_header_matches {
        match values(found, check) {
            v if v.is_empty() && !check.allow_missing => return fail(check, "is missing, wanted for"),
            v if v.iter().any(|v| check.regexp.0.is_match(v)) => return fail(check, "matches"),
            _ => {}
        }
    }
    for check in &m.fail_if_header_not_matches {
        match values(found, check) {
            v if v.is_empty() && !check.allow_missing => return fail(check, "is missing, wanted for"),
            v if !v.is_empty() && !v.iter().any(|v| check.regexp.0.is_match(v)) => {
                return fail(check, "does not match");
            }
            _ => {}
        }
    }
    Ok(())
}

fn values(found: &HeaderMap, check: &HeaderMatch) -> Vec<String> {
    found.get_all(&*check.header).iter().map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned()).collect()
}

/// Checks the body against regexes; sets `probe_failed_due_to_regex`.
pub fn body(body: &[u8], m: &HttpModule, r: &mut Recorder) -> Result<(), Failure> {
    if m.fail_if_body_matches_regexp.is_empty() && m.fail_if_body_not_matches_regexp.is_empty() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(body);
    r.set("probe_failed_due_to_regex", 0.0);
    let failure = m
        .fail_if_body_matches_regexp
        .iter()
        .find(|x| x.0.is_match(&text))
        .map(|x| format!("the body matches /{}/", x.0.as_str()))
        .or_else(|| {
            let missing = m.fail_if_body_not_matches_regexp.iter().find(|x| !x.0.is_match(&text));
            missing.map(|x| format!("the body does not match /{}/", x.0.as_str()))
        });
    match failure {
        Some(text) => {
            r.set("probe_failed_due_to_regex", 1.0);
            Err(Failure(text))
        }
        None => Ok(()),
    }
}

/// The length the header says; -1 if it says none, 0 where there is none by the status.
pub fn content_length(code: u16, found: &HeaderMap) -> f64 {
    let said =
        found.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.trim().parse::<u64>().ok());
    match said {
        Some(n) => n as f64,
        None if matches!(code, 204 | 304) => 0.0,
        None => -1.0,
    }
}

/// The Last-Modified header as Unix time.
pub fn last_modified(found: &HeaderMap) -> Option<i64> {
    let text = found.get(header::LAST_MODIFIED)?.to_str().ok()?;
    let naive = chrono::NaiveDateTime::parse_from_str(text.strip_suffix(" GMT")?, "%a, %d %b %Y %H:%M:%S").ok()?;
    Some(naive.and_utc().timestamp())
}

/// Undoes a compression; at most `limit` bytes come out, more is a failure that comes with them.
pub fn decompress(compression: &str, bytes: &[u8], limit: usize) -> (Vec<u8>, Result<(), Failure>) {
    let mut out = Vec::new();
    let cap = limit as u64 + 1;
    let read = match compression {
        "gzip" => flate2::read::MultiGzDecoder::new(bytes).take(cap).read_to_end(&mut out),
        "deflate" => flate2::read::DeflateDecoder::new(bytes).take(cap).read_to_end(&mut out),
        _ => bytes.take(cap).read_to_end(&mut out),
    };
    match read {
        Err(e) => (out, Err(Failure(format!("the body is not valid {compression}: {e}")))),
        Ok(_) if out.len() > limit => {
            out.truncate(limit);
            (out, Err(Failure(format!("the body is larger than {limit} bytes"))))
        }
        Ok(_) => (out, Ok(())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_dates_and_caps_bombs() {
        let mut h = HeaderMap::new();
        h.insert("last-modified", "Tue, 15 Nov 1994 12:45:26 GMT".parse().unwrap());
        assert_eq!(last_modified(&h), Some(784_903_526));
        h.insert("last-modified", "yesterday".parse().unwrap());
        assert_eq!(last_modified(&h), None);

        let mut z = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut z, &vec![b'x'; 100_000]).unwrap();
        let bomb = z.finish().unwrap();
        let (out, verdict) = decompress("gzip", &bomb, 1000);
        assert_eq!((out.len(), verdict.is_err()), (1000, true));
        assert!(decompress("gzip", b"plain", 1000).1.is_err());
        assert_eq!(decompress("gzip", &bomb, 100_000).0.len(), 100_000);
    }
}
