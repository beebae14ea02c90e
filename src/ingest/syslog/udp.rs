//! Syslog over UDP: one message in each datagram (RFC 5426). As many datagrams as are there are taken at once.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::chunk::Chunk;
use super::kernel_drops::KernelDrops;
use super::settings::Settings;
use super::{CUT, KERNEL_DROPS};
use crate::exec::{CancellationToken, Clock, SystemClock};
use crate::logs::count_refused;

/// The largest datagram there is.
const DATAGRAM_BYTES: usize = 64 << 10;
/// Datagrams taken in one go, so that a flood leaves time for other tasks of the runtime.
const DATAGRAMS_AT_ONCE: usize = 512;
/// Asked of the kernel for the socket, which gives what `net.core.rmem_max` allows: a flood is taken while a flush is under way.
const SOCKET_BUFFER_BYTES: usize = 8 << 20;
/// How long gathered datagrams wait at most before the writer is looked at again.
const HAND_OVER: Duration = Duration::from_millis(20);
/// How often the kernel is asked what it dropped.
const DROPS_EVERY: Duration = Duration::from_secs(10);

pub(super) fn enlarge_buffer(socket: &UdpSocket) {
    if let Err(e) = socket2::SockRef::from(socket).set_recv_buffer_size(SOCKET_BUFFER_BYTES) {
        tracing::warn!(error = %e, "the receive buffer of a syslog socket cannot be enlarged");
    }
}

/// Receives until `stop`. While the writer is busy datagrams are gathered, so that its queue fills by bytes and not by datagrams.
pub(super) async fn receive(
    socket: UdpSocket,
    settings: Arc<ArcSwap<Settings>>,
    queue: mpsc::Sender<Chunk>,
    stop: CancellationToken,
) {
    let mut buffer = vec![0; DATAGRAM_BYTES];
    let mut drops = KernelDrops::of(&socket);
    let mut ask = tokio::time::interval(DROPS_EVERY);
    let mut gathered = Chunk::default();
    loop {
        tokio::select! {
            ready = socket.readable() => match ready {
                Ok(()) => take(&socket, &mut buffer, settings.load().max_message_bytes(), &mut gathered),
                Err(e) => {
                    tracing::error!(error = %e, "a syslog socket cannot be read any more");
                    break;
                }
            },
            () = tokio::time::sleep(HAND_OVER), if !gathered.is_empty() => {}
            _ = ask.tick() => drops = count_drops(drops).await,
            () = stop.cancelled() => break,
        }
        let idle = queue.capacity() == queue.max_capacity();
        if gathered.is_full() || (idle && !gathered.is_empty()) {
            hand_over(&queue, std::mem::take(&mut gathered));
        }
    }
    // What came before the end is taken, and the kernel is asked while there is a socket to ask about.
    take(&socket, &mut buffer, settings.load().max_message_bytes(), &mut gathered);
    if !gathered.is_empty() {
        hand_over(&queue, gathered);
    }
    count_drops(drops).await;
}

/// Asks the kernel what it dropped since the last time.
async fn count_drops(mut drops: KernelDrops) -> KernelDrops {
    let asked = tokio::task::spawn_blocking(move || {
        KERNEL_DROPS.inc_by(drops.new_drops());
        drops
    });
    asked.await.unwrap_or_else(|e| {
        tracing::error!(error = %e, "asking for dropped datagrams ended badly");
        KernelDrops::default()
    })
}

fn hand_over(queue: &mpsc::Sender<Chunk>, chunk: Chunk) {
    let messages = chunk.len() as u64;
    if queue.try_send(chunk).is_err() {
        // Datagrams cannot be held back.
        count_refused("syslog_queue_full", messages);
    }
}

/// Takes what is there without waiting.
fn take(socket: &UdpSocket, buffer: &mut [u8], max_bytes: usize, chunk: &mut Chunk) {
    for _ in 0..DATAGRAMS_AT_ONCE {
        match socket.try_recv_from(buffer) {
            Ok((len, from)) => {
                let message = buffer.get(..len).unwrap_or(&[]);
                let kept = message.get(..max_bytes).unwrap_or(message);
                if kept.len() < message.len() {
                    CUT.inc();
                }
                if !kept.trim_ascii().is_empty() {
                    chunk.push(kept, from.ip());
                }
            }
            // Nothing more there, or an error of a datagram that was sent, which is nobody's here.
            Err(_) => break,
        }
        if chunk.is_full() {
            break;
        }
    }
    chunk.received_ns = SystemClock.now_ns();
}
