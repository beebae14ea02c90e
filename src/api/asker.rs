//! Who asks: the address of the connection, and what the headers tell.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::api::serve::Peer;
use crate::query::Asker;
use crate::query::asker::HEADERS;

impl<S: Send + Sync> FromRequestParts<S> for Asker {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let mut asker = Asker::default();
        if let Some(Peer(address)) = parts.extensions.get() {
            asker.set("address", &address.ip().to_string());
        }
        asker.set("method", parts.method.as_str());
        asker.set("path", parts.uri.path());
        for (header, field) in HEADERS {
            if let Some(value) = parts.headers.get(header).and_then(|v| v.to_str().ok()) {
                asker.set(field, value);
            }
        }
        Ok(asker)
    }
}
