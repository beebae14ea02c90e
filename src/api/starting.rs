//! What the port answers from the first moment on, before the services are there: that the process lives and is not ready. Everything
//! else waits for the services.

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::sync::watch;

use super::health;
use super::not_now::{SOON_SECONDS, not_now};
use super::prom::success;

/// The place for the routes of the services; whoever has it gives them out when they are there.
#[derive(Debug)]
pub struct Routes(watch::Sender<Option<Router>>);

impl Default for Routes {
    fn default() -> Self {
        Routes(watch::Sender::new(None))
    }
}

impl Routes {
    /// Routes for connections that come before the services.
    pub fn before(&self) -> Router {
        let routes = self.0.subscribe();
        Router::new().fallback(move |request: Request| answer(routes.clone(), request))
    }

    /// Those of the services once they are there, which is what new connections should get.
    pub fn now(&self) -> Option<Router> {
        self.0.borrow().clone()
    }

    /// The services are there.
    pub fn give(&self, routes: Router) {
        self.0.send_replace(Some(routes));
    }
}

async fn answer(mut routes: watch::Receiver<Option<Router>>, request: Request) -> Response {
    let there = routes.borrow().is_some();
    match request.uri().path() {
        "/-/healthy" if !there => return health::healthy().await.into_response(),
        "/-/ready" if !there => return health::opening(),
        "/api/v1/status/walreplay" if !there => {
            return success(&json!({"min": 0, "max": 0, "current": 0, "state": "waiting"}));
        }
        _ => {}
    }
    // Its body is not read before somebody wants it, so that waiting costs no memory to speak of.
    let given = routes.wait_for(Option::is_some).await.ok().and_then(|r| r.clone());
    match given {
        Some(router) => match TowerToHyperService::new(router).call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        },
        None => not_now(SOON_SECONDS, "campanile cannot start.\n"),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::StatusCode;
    use axum::routing::get;

    use super::*;

    async fn ask(router: Router, path: &str) -> (StatusCode, String) {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        let response = TowerToHyperService::new(router).call(request).await.unwrap();
        let (parts, body) = response.into_parts();
        (parts.status, String::from_utf8(to_bytes(body, 1000).await.unwrap().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn health_is_told_at_once_and_everything_else_waits() {
        let routes = Routes::default();
        let before = routes.before();
        assert!(routes.now().is_none());
        assert_eq!(ask(before.clone(), "/-/healthy").await.0, StatusCode::OK);
        assert_eq!(ask(before.clone(), "/-/ready").await.0, StatusCode::SERVICE_UNAVAILABLE);
        let (status, body) = ask(before.clone(), "/api/v1/status/walreplay").await;
        assert!(status == StatusCode::OK && body.contains("\"waiting\""), "{body}");
        let waiting = tokio::spawn(ask(before.clone(), "/a"));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        routes.give(Router::new().route("/a", get(async || "a")).route("/-/ready", get(async || "ready")));
        assert_eq!(waiting.await.unwrap(), (StatusCode::OK, "a".to_owned()));
        // Who is still connected to the first routes gets the answers of the others.
        assert_eq!(ask(before.clone(), "/-/ready").await, (StatusCode::OK, "ready".to_owned()));
        assert_eq!(ask(before, "/b").await.0, StatusCode::NOT_FOUND);
        assert!(routes.now().is_some());
    }
}
