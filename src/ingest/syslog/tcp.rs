//! Syslog over TCP, with TLS if configured. A sender that is too fast, or a store that takes nothing, makes the connection wait:
//! the sender keeps its messages.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::task::TaskTracker;

use super::chunk::Chunk;
use super::settings::Settings;
use super::{CONNECTIONS, CONNECTIONS_REFUSED, CUT};
use crate::exec::{CancellationToken, Clock, SystemClock};
use crate::ingest::Intake;
use crate::wire::syslog::framing::Framer;

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The most connections that any configuration can ask for; what is asked is taken from these.
const PLACES: usize = 1 << 20;

/// What all connections of a listener share.
#[derive(Clone)]
pub(super) struct Shared {
    pub intake: Arc<Intake>,
    pub settings: Arc<ArcSwap<Settings>>,
    pub queue: mpsc::Sender<Chunk>,
    pub stop: CancellationToken,
    pub tasks: TaskTracker,
}

/// Accepts until told to stop.
pub(super) async fn accept(listener: TcpListener, shared: Shared) {
    let places = Arc::new(Semaphore::new(PLACES));
    loop {
        let accepted = tokio::select! {
            a = listener.accept() => a,
            () = shared.stop.cancelled() => return,
        };
        let (stream, from) = match accepted {
            Ok(a) => a,
            Err(e) => {
                // Out of file descriptors, mostly: the next connection will have to wait for one to close.
                tracing::warn!(error = %e, "cannot accept a syslog connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let open = PLACES - places.available_permits();
        match places.clone().try_acquire_owned() {
            Ok(place) if open < shared.settings.load().config.max_connections => {
                shared.tasks.spawn(connection(stream, from, shared.clone(), place));
            }
            Ok(_) | Err(_) => CONNECTIONS_REFUSED.with_label_values(&["too_many"]).inc(),
        }
    }
}

/// Counts an open connection.
struct Open(#[allow(dead_code, reason = "given back when it is dropped")] OwnedSemaphorePermit);

impl Drop for Open {
    fn drop(&mut self) {
        CONNECTIONS.dec();
    }
}

async fn connection(stream: TcpStream, from: SocketAddr, shared: Shared, place: OwnedSemaphorePermit) {
    CONNECTIONS.inc();
    let _open = Open(place);
    let tls = shared.settings.load().tls.clone();
    match tls {
        None => read(stream, from.ip(), &shared).await,
        Some(acceptor) => match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => read(stream, from.ip(), &shared).await,
            Ok(Err(error)) => {
                CONNECTIONS_REFUSED.with_label_values(&["tls"]).inc();
                tracing::debug!(%from, %error, "a syslog sender's TLS handshake failed");
            }
            Err(_) => CONNECTIONS_REFUSED.with_label_values(&["tls"]).inc(),
        },
    }
}

async fn read(mut stream: impl AsyncRead + Unpin, from: IpAddr, shared: &Shared) {
    let sender = from.to_string();
    let mut framer = Framer::new(shared.settings.load().max_message_bytes());
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let idle = shared.settings.load().config.idle_timeout.as_duration();
        let next = async {
            match idle {
                Duration::ZERO => stream.read(&mut buffer).await.ok(),
                _ => tokio::time::timeout(idle, stream.read(&mut buffer)).await.ok().and_then(Result::ok),
            }
        };
        let len = tokio::select! {
            n = next => n,
            () = shared.stop.cancelled() => None,
        };
        let mut chunk = Chunk::default();
        let mut add = |m: &[u8], cut: bool| {
            chunk.push(m, from);
            if cut {
                CUT.inc();
            }
        };
        let ended = match len {
            None | Some(0) => {
                framer.finish(&mut add);
                true
            }
            Some(n) => {
                framer.push(buffer.get(..n).unwrap_or(&[]), &mut add);
                false
            }
        };
        if !chunk.is_empty() {
            chunk.received_ns = SystemClock.now_ns();
            wait_for_rate(shared, &sender, chunk.bytes()).await;
            if shared.queue.send(chunk).await.is_err() {
                return;
            }
        }
        if ended {
            return;
        }
    }
}

/// Waits until the sender may send so much. At a stop nobody waits: what was read is stored.
async fn wait_for_rate(shared: &Shared, sender: &str, bytes: usize) {
    while let Err(seconds) = shared.intake.take_rate(sender, bytes) {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(u64::from(seconds))) => {}
            () = shared.stop.cancelled() => return,
        }
    }
}
