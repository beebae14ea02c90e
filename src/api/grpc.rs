//! Calls of gRPC with one message each way, over the HTTP/2 of the one port: the framing, compression and trailers of
//! github.com/grpc/grpc `doc/PROTOCOL-HTTP2.md`. Services themselves are plain functions from message to message.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use futures_util::stream;
use http_body_util::StreamBody;
use hyper::body::Frame;

use crate::wire::otlp_logs::{Status, status_protobuf};

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");
/// A byte that says whether the message is compressed, and four for its length.
const FRAME_HEAD: usize = 5;

/// `INVALID_ARGUMENT`.
const INVALID: u32 = 3;

/// How the message of a call is compressed, by its headers.
pub(super) fn encoding(headers: &HeaderMap) -> Option<String> {
    headers.get(ENCODING).and_then(|v| v.to_str().ok()).filter(|e| *e != "identity").map(str::to_owned)
}

/// The message in the body of a call, and whether it is compressed.
pub(super) fn message(body: &Bytes) -> Result<(Bytes, bool), Status> {
    let invalid = |message: &str| Status { code: INVALID, message: message.to_owned(), retry_after_seconds: None };
    let Some((head, rest)) = body.split_first_chunk::<FRAME_HEAD>() else {
        return Err(invalid("the call carries no message"));
    };
    let [compressed, length @ ..] = *head;
    let length = u32::from_be_bytes(length) as usize;
    if rest.len() != length || compressed > 1 {
        return Err(invalid("the call does not carry one whole message"));
    }
    Ok((body.slice(FRAME_HEAD..), compressed == 1))
}

/// The answer to a call.
pub(super) fn answer(result: Result<Vec<u8>, Status>) -> Response {
    match result {
        Ok(message) => {
            let mut frame = Vec::with_capacity(FRAME_HEAD + message.len());
            frame.push(0);
            frame.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
            frame.extend_from_slice(&message);
            let mut trailers = HeaderMap::new();
            trailers.insert(STATUS, HeaderValue::from_static("0"));
            let frames = [Frame::data(Bytes::from(frame)), Frame::trailers(trailers)];
            let body = Body::new(StreamBody::new(stream::iter(frames.map(Ok::<_, std::convert::Infallible>))));
            let mut response = (StatusCode::OK, [(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response();
            response.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity,gzip,deflate,zstd"));
            response
        }
        Err(status) => {
            // Without a message the trailers are the headers.
            let mut response = (StatusCode::OK, [(header::CONTENT_TYPE, CONTENT_TYPE)]).into_response();
            let headers = response.headers_mut();
            headers.insert(STATUS, status.code.into());
            if let Ok(text) = HeaderValue::try_from(percent_encoded(&status.message)) {
                headers.insert(MESSAGE, text);
            }
            let details = base64::engine::general_purpose::STANDARD_NO_PAD.encode(status_protobuf(&status));
            if let Ok(details) = HeaderValue::try_from(details) {
                headers.insert(DETAILS, details);
            }
            response
        }
    }
}

/// Printable ASCII without `%` as it is, everything else as `%XX`.
fn percent_encoded(text: &str) -> String {
    /// Messages may be long; headers may not.
    const MAX_BYTES: usize = 2048;
    let mut out = String::with_capacity(text.len());
    for b in text.bytes().take(MAX_BYTES) {
        match b {
            b' '..=b'~' if b != b'%' => out.push(char::from(b)),
            _ => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames() {
        let body = Bytes::from_static(b"\x01\0\0\0\x03abc");
        assert_eq!(message(&body).unwrap(), (Bytes::from_static(b"abc"), true));
        for bad in [&b""[..], b"\0\0\0\0", b"\0\0\0\0\x03ab", b"\0\0\0\0\x01abc", b"\x02\0\0\0\x01a"] {
            assert_eq!(message(&Bytes::from_static(bad)).unwrap_err().code, INVALID, "{bad:?}");
        }
        assert_eq!(percent_encoded("50% é\n"), "50%25 %C3%A9%0A");
    }
}
