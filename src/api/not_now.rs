//! Answers that say "not now": the server starts, stops or is busy, or its disk is full. They name a time to come back and are no
//! failures in the log; what is wrong behind them is told where it is found.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tower_http::classify::ServerErrorsFailureClass;
use tracing::Span;

/// For what passes within moments: a start, a full row of questions.
pub(super) const SOON_SECONDS: u32 = 1;
/// For a disk that is full, or a log that cannot be written, which needs a while.
pub(super) const LATER_SECONDS: u32 = 5;

/// A 503 with `Retry-After`.
pub(super) fn not_now(seconds: u32, body: impl IntoResponse) -> Response {
    come_back(seconds, (StatusCode::SERVICE_UNAVAILABLE, body).into_response())
}

/// Adds `Retry-After` to an answer if it is a 503.
pub(super) fn come_back(seconds: u32, mut response: Response) -> Response {
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Tells of an answer that is a failure of ours, or of a body that broke off.
pub(super) fn tell(failure: ServerErrorsFailureClass, latency: Duration, _request: &Span) {
    let latency_ms = latency.as_millis() as u64;
    match failure {
        // Timeouts of queries are in the query log.
        ServerErrorsFailureClass::StatusCode(
            status @ (StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT),
        ) => tracing::debug!(status = status.as_u16(), latency_ms, "a request was put off"),
        ServerErrorsFailureClass::StatusCode(status) => {
            tracing::error!(status = status.as_u16(), latency_ms, "a request failed");
        }
        ServerErrorsFailureClass::Error(error) => tracing::error!(error, latency_ms, "an answer broke off"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::body::Body;
    use axum::extract::Request;
    use axum::routing::get;
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Lines;

        fn make_writer(&'a self) -> Lines {
            self.clone()
        }
    }

    #[test]
    fn only_failures_of_ours_are_errors_in_the_log() {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_writer(lines.clone());
        let ask = |path: &'static str| {
            let router = Router::new()
                .route("/busy", get(async || not_now(SOON_SECONDS, "busy")))
                .route("/broken", get(async || StatusCode::INTERNAL_SERVER_ERROR))
                .route("/fine", get(async || come_back(SOON_SECONDS, "fine".into_response())))
                .layer(crate::api::router::trace());
            lines.0.lock().unwrap().clear();
            let request = Request::builder().uri(path).body(Body::empty()).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let response = runtime.block_on(TowerToHyperService::new(router).call(request)).unwrap();
            let again = response.headers().get(header::RETRY_AFTER).map(|v| v.to_str().unwrap().to_owned());
            let told = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
            (response.status().as_u16(), again, told)
        };
        tracing::subscriber::with_default(subscriber.finish(), || {
            let (status, again, told) = ask("/busy");
            assert_eq!((status, again.as_deref()), (503, Some("1")));
            assert!(!told.contains("ERROR") && told.contains("put off"), "{told}");
            let (status, again, told) = ask("/broken");
            assert_eq!((status, again), (500, None));
            assert!(told.contains("ERROR") && told.contains("a request failed") && told.contains("/broken"), "{told}");
            let (status, again, told) = ask("/fine");
            assert_eq!((status, again), (200, None));
            assert!(!told.contains("ERROR"), "{told}");
        });
    }
}
