//! Syslog listeners: UDP and TCP, configured under `logs.syslog`, changed by reloads without losing a connection.
//!
//! Receivers cut what comes into messages and put them into a bounded queue as they are; one writer for each listener parses and
//! pushes them. If the store takes nothing for a while the queue fills: TCP senders then wait, datagrams are dropped and counted.

mod chunk;
mod entry;
mod kernel_drops;
mod settings;
mod tcp;
mod udp;
mod writer;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use arc_swap::ArcSwap;
use prometheus::{IntCounter, IntCounterVec, IntGauge};
use tokio::net::{TcpListener, UdpSocket};
use tokio_util::task::TaskTracker;

use super::Intake;
use crate::config::logs::{SyslogListener, SyslogProtocol};
use crate::exec::CancellationToken;
use crate::telemetry::metrics;
use settings::Settings;

static MESSAGES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Syslog messages read, by how they came and in which form.";
    metrics::counter_vec("campanile_syslog_messages_total", help, &["protocol", "form"])
});
static CUT: LazyLock<IntCounter> = LazyLock::new(|| {
    metrics::counter("campanile_syslog_cut_messages_total", "Syslog messages cut to max_message_bytes.")
});
static CONNECTIONS: LazyLock<IntGauge> =
    LazyLock::new(|| metrics::gauge("campanile_syslog_connections", "Open TCP connections of syslog senders."));
static CONNECTIONS_REFUSED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "TCP connections of syslog senders that were closed without being read.";
    metrics::counter_vec("campanile_syslog_connections_refused_total", help, &["reason"])
});
static KERNEL_DROPS: LazyLock<IntCounter> = LazyLock::new(|| {
    let help = "Datagrams of syslog senders that the kernel dropped because the socket's buffer was full.";
    metrics::counter("campanile_syslog_kernel_drops_total", help)
});

/// A listener that cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("logs.syslog[{place}]: {reason}")]
pub struct SyslogError {
    /// Which entry of the configuration.
    place: usize,
    /// What is wrong.
    reason: String,
}

/// What makes a listener the same one after a reload: its socket.
type Key = (SyslogProtocol, String);

struct Running {
    settings: Arc<ArcSwap<Settings>>,
    stop: CancellationToken,
}

/// All listeners.
pub struct SyslogListeners {
    intake: Arc<Intake>,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    running: Mutex<HashMap<Key, Running>>,
}

/// Listeners that can be started.
pub struct Prepared(Vec<(Key, Settings, Option<Socket>)>);

enum Socket {
    Udp(UdpSocket),
    Tcp(TcpListener),
}

impl SyslogListeners {
    /// No listeners yet; all end when `shutdown` is cancelled.
    pub fn new(intake: Arc<Intake>, shutdown: CancellationToken) -> Self {
        SyslogListeners { intake, shutdown, tasks: TaskTracker::new(), running: Mutex::default() }
    }

    /// Reads certificates and binds addresses that are new, without changing anything yet.
    pub async fn prepare(&self, listeners: &[SyslogListener]) -> Result<Prepared, SyslogError> {
        let known: Vec<Key> = self.lock().keys().cloned().collect();
        let mut wanted = Vec::new();
        for (place, config) in listeners.iter().enumerate() {
            let wrong = |reason: String| SyslogError { place, reason };
            let for_settings = config.clone();
            let settings = tokio::task::spawn_blocking(move || Settings::new(for_settings))
                .await
                .map_err(|e| wrong(e.to_string()))?
                .map_err(wrong)?;
            let key = (config.protocol, config.listen.clone());
            let socket = if known.contains(&key) { None } else { Some(bind(config).await.map_err(wrong)?) };
            wanted.push((key, settings, socket));
        }
        Ok(Prepared(wanted))
    }

    /// Makes the listeners those that were prepared. One whose address stays keeps its socket and its connections and goes on
    /// with the new settings.
    pub fn apply(&self, prepared: Prepared) {
        let mut running = self.lock();
        running.retain(|key, r| {
            let keep = prepared.0.iter().any(|(k, _, _)| k == key);
            if !keep {
                r.stop.cancel();
            }
            keep
        });
        for (key, settings, socket) in prepared.0 {
            if let Some(r) = running.get(&key) {
                r.settings.store(Arc::new(settings));
            } else if let Some(socket) = socket {
                let started = self.start(settings, socket);
                running.insert(key, started);
            }
        }
    }

    /// Ends all listeners and waits until what they have read is stored. They must have been told by `shutdown`.
    pub async fn stop(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, settings: Settings, socket: Socket) -> Running {
        let settings = Arc::new(ArcSwap::from_pointee(settings));
        let stop = self.shutdown.child_token();
        let queue = writer::start(self.intake.clone(), settings.clone(), &self.tasks, stop.clone());
        match socket {
            Socket::Udp(socket) => {
                self.tasks.spawn(udp::receive(socket, settings.clone(), queue, stop.clone()));
            }
            Socket::Tcp(listener) => {
                let shared = tcp::Shared {
                    intake: self.intake.clone(),
                    settings: settings.clone(),
                    queue,
                    stop: stop.clone(),
                    tasks: self.tasks.clone(),
                };
                self.tasks.spawn(tcp::accept(listener, shared));
            }
        }
        Running { settings, stop }
    }
}

async fn bind(config: &SyslogListener) -> Result<Socket, String> {
    let failed =
        |e: std::io::Error| format!("cannot listen on {} over {}: {e}", config.listen, config.protocol.as_str());
    let (socket, address): (Socket, SocketAddr) = match config.protocol {
        SyslogProtocol::Udp => {
            let socket = UdpSocket::bind(&config.listen).await.map_err(failed)?;
            udp::enlarge_buffer(&socket);
            let address = socket.local_addr().map_err(failed)?;
            (Socket::Udp(socket), address)
        }
        SyslogProtocol::Tcp => {
            let listener = TcpListener::bind(&config.listen).await.map_err(failed)?;
            let address = listener.local_addr().map_err(failed)?;
            (Socket::Tcp(listener), address)
        }
    };
    tracing::info!(%address, protocol = config.protocol.as_str(), tls = config.tls.is_some(), "listening for syslog");
    Ok(socket)
}

#[cfg(test)]
mod tests;
