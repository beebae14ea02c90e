//! Listens, serves, and stops: what is under way is finished, within a bound.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;
use tower_http::add_extension::AddExtension;

use super::starting::Routes;
use crate::exec::CancellationToken;

/// The longest a client may take to send its request's headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest request line and headers; Loki's queries are always GETs, and some are long.
const MAX_HEADER_BYTES: usize = 512 << 10;

/// The other end of the connection a request came on; an extension of every request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// How long open connections may go on after the signal to stop. The whole process has ten seconds; the stores need some of them.
pub const DRAIN: Duration = Duration::from_secs(5);

/// Accepts connections until `shutdown`, then gives those that are open `drain` to end. Those that come before the services wait for them.
pub async fn serve(listener: TcpListener, routes: Arc<Routes>, shutdown: CancellationToken, drain: Duration) {
    let before = routes.before();
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(MAX_HEADER_BYTES);
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            a = listener.accept() => a,
            () = shutdown.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok((stream, address)) => (stream, Peer(address)),
            Err(e) => {
                // Out of file descriptors, mostly: the next connection will have to wait for one to close.
                tracing::warn!(error = %e, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // Small answers must not wait for an acknowledgement; a failure costs only time.
        let _slower = stream.set_nodelay(true);
        let app = AddExtension::new(routes.now().unwrap_or_else(|| before.clone()), peer);
        connections.spawn(connection(stream, app, builder.clone(), shutdown.clone()));
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(drain, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "some connections were still open and are cut off");
    }
}

async fn connection(
    stream: TcpStream,
    app: AddExtension<Router, Peer>,
    builder: Builder<TokioExecutor>,
    shutdown: CancellationToken,
) {
    let service = TowerToHyperService::new(app);
    let mut connection = std::pin::pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            // The request under way is answered, a further one is not taken.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(e) = ended {
        tracing::debug!(error = %e, "connection ended with an error");
    }
}
