//! Signals, and the service manager.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use super::reload::Services;

/// Tells systemd; elsewhere nothing happens.
pub(super) fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(states) {
        tracing::warn!(error = %e, "the service manager cannot be told");
    }
}

/// Waits for SIGTERM or SIGINT; reloads on each SIGHUP meanwhile.
pub(super) async fn until_stop(services: &Arc<Services>) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => {
                // The outcome is in the log, in a metric and in the API.
                let _shown_elsewhere = services.reload("SIGHUP").await;
            }
        }
    }
}
