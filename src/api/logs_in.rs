//! Log lines in: what all protocols over HTTP have in common, newline JSON and plain text at `/api/v1/logs`, Loki's push.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use http_body_util::BodyExt;

use crate::api::ApiState;
use crate::api::params::Params;
use crate::api::router::MAX_BODY_BYTES;
use crate::api::serve::Peer;
use crate::config::logs::SenderBy;
use crate::ingest::intake::BodyShare;
use crate::ingest::loki_push::PushForm;
use crate::ingest::{Intake, LogRequest, PushError, loki_push, ndjson};

/// A header as text, if it is there and readable.
pub(super) fn header_text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned)
}

/// A request with its body read.
pub(super) struct Received {
    sender: String,
    content_type: Option<String>,
    content_encoding: Option<String>,
    body: Bytes,
    max_body_bytes: usize,
    /// Held until the body is gone.
    share: BodyShare,
}

impl Received {
    /// Reads the body of a request, at most [`MAX_BODY_BYTES`], as long as there is memory for it.
    pub(super) async fn read(state: &ApiState, request: Request<Body>) -> Result<Self, PushError> {
        let (parts, body) = request.into_parts();
        let (max_body_bytes, sender_by) = {
            let loaded = state.config.load();
            let logs = &loaded.config.logs;
            (usize::try_from(logs.max_body_bytes.0).unwrap_or(usize::MAX), logs.limits.sender_by)
        };
        let sender = sender(&parts.headers, parts.extensions.get(), sender_by);
        let length = header_text(&parts.headers, header::CONTENT_LENGTH).and_then(|l| l.parse().ok()).unwrap_or(0);
        let mut share = BodyShare::default();
        let body = read_body(body, length, &state.intake, &mut share).await?;
        Ok(Received {
            sender,
            content_type: header_text(&parts.headers, header::CONTENT_TYPE),
            content_encoding: header_text(&parts.headers, header::CONTENT_ENCODING),
            body,
            max_body_bytes,
            share,
        })
    }

    /// Puts another body in the place of the one that was read, such as the message inside its frame.
    pub(super) fn with_body(self, body: Bytes, content_encoding: Option<String>) -> Self {
        Received { body, content_encoding, ..self }
    }

    /// The body as it came.
    pub(super) fn body(&self) -> &Bytes {
        &self.body
    }

    /// Decodes and pushes on a blocking thread: it computes, and it waits for the disk.
    pub(super) async fn push<T: Send + 'static>(
        self,
        state: &ApiState,
        work: impl FnOnce(&Intake, &LogRequest<'_>) -> Result<T, PushError> + Send + 'static,
    ) -> Result<T, PushError> {
        let place = state.intake.place().await?;
        let intake: Arc<Intake> = state.intake.clone();
        let done = tokio::task::spawn_blocking(move || {
            let request = LogRequest {
                sender: &self.sender,
                content_type: self.content_type.as_deref(),
                content_encoding: self.content_encoding.as_deref(),
                body: &self.body,
                max_body_bytes: self.max_body_bytes,
            };
            let result = work(&intake, &request);
            drop((self.share, place));
            result
        });
        done.await.unwrap_or_else(|e| {
            Err(PushError {
                status: 500,
                message: format!("taking the request failed: {e}"),
                retry_after_seconds: None,
            })
        })
    }
}

async fn read_body(mut body: Body, length: usize, intake: &Intake, share: &mut BodyShare) -> Result<Bytes, PushError> {
    if length > MAX_BODY_BYTES {
        return Err(intake.refuse_large(MAX_BODY_BYTES));
    }
    let mut first: Option<Bytes> = None;
    let mut all: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| PushError::bad_request(format!("the body cannot be read: {e}")))?;
        let Ok(data) = frame.into_data() else { continue };
        let held = all.len() + first.as_ref().map_or(0, Bytes::len);
        if held + data.len() > MAX_BODY_BYTES {
            return Err(intake.refuse_large(MAX_BODY_BYTES));
        }
        intake.reserve(share, data.len())?;
        // Small bodies come in one piece, which need not be copied.
        match first.take() {
            None if all.is_empty() => first = Some(data),
            None => all.extend_from_slice(&data),
            Some(f) => {
                all.reserve(length.max(f.len() + data.len()));
                all.extend_from_slice(&f);
                all.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| all.into()))
}

/// Who sends: the tenant or user that a request names, else its address.
fn sender(headers: &HeaderMap, peer: Option<&Peer>, by: SenderBy) -> String {
    let named = || {
        let tenant = header_text(headers, HeaderName::from_static("x-scope-orgid"));
        tenant.or_else(|| {
            let authorization = header_text(headers, header::AUTHORIZATION)?;
            let (scheme, encoded) = authorization.split_once(' ')?;
            let decoded = base64::engine::general_purpose::STANDARD.decode(encoded.trim()).ok()?;
            let text = String::from_utf8(decoded).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
            text.split_once(':').map(|(user, _)| user.to_owned())
        })
    };
    let name = if by == SenderBy::Tenant { named() } else { None };
    // A name is remembered; nobody may make it a burden.
    let name = name.filter(|n| !n.is_empty() && n.len() <= 256);
    name.or_else(|| peer.map(|p| p.0.ip().to_string())).unwrap_or_default()
}

/// The answer to senders that expect plain text.
pub(super) fn plain(result: Result<(), PushError>) -> Response {
    match result {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(e) => {
            let message = e.message.clone();
            refusal(&e, "text/plain; charset=utf-8", message)
        }
    }
}

/// An error with a body, and when to come back.
pub(super) fn refusal(error: &PushError, content_type: &'static str, body: impl IntoResponse) -> Response {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, [(header::CONTENT_TYPE, content_type)], body).into_response();
    if let Some(seconds) = error.retry_after_seconds {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

async fn loki(state: ApiState, request: Request<Body>, form: PushForm) -> Response {
    let result = async {
        let received = Received::read(&state, request).await?;
        received.push(&state, move |intake, r| loki_push::push(intake, form, r)).await
    };
    plain(result.await)
}

pub(super) async fn loki_v1(State(state): State<ApiState>, request: Request<Body>) -> Response {
    loki(state, request, PushForm::V1).await
}

pub(super) async fn loki_legacy(State(state): State<ApiState>, request: Request<Body>) -> Response {
    loki(state, request, PushForm::Legacy).await
}

pub(super) async fn ndjson(
    State(state): State<ApiState>,
    RawQuery(query): RawQuery,
    request: Request<Body>,
) -> Response {
    let params = Params::parse(query.unwrap_or_default().as_bytes());
    let config = state.config.load().config.logs.ndjson.clone();
    let result = async {
        let received = Received::read(&state, request).await?;
        let work = move |intake: &Intake, r: &LogRequest<'_>| {
            let fields = ndjson::Request::read(&config, params.iter(), r.content_type);
            ndjson::push(intake, &fields, r)
        };
        received.push(&state, work).await
    };
    plain(result.await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sends() {
        let peer = Peer("192.0.2.7:5000".parse().unwrap());
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            pairs.iter().map(|(n, v)| (HeaderName::from_static(n), v.parse().unwrap())).collect()
        };
        // ana:secret
        let basic = ("authorization", "Basic YW5hOnNlY3JldA==");
        for (pairs, by, expected) in [
            (&[][..], SenderBy::Tenant, "192.0.2.7"),
            (&[("x-scope-orgid", "team")][..], SenderBy::Tenant, "team"),
            (&[("x-scope-orgid", "team")][..], SenderBy::Address, "192.0.2.7"),
            (&[basic][..], SenderBy::Tenant, "ana"),
            (&[basic, ("x-scope-orgid", "team")][..], SenderBy::Tenant, "team"),
            (&[("authorization", "Bearer abc")][..], SenderBy::Tenant, "192.0.2.7"),
            (&[("x-scope-orgid", "")][..], SenderBy::Tenant, "192.0.2.7"),
        ] {
            assert_eq!(sender(&headers(pairs), Some(&peer), by), expected, "{pairs:?}");
        }
    }
}
