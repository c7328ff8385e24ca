//! Reports the state of the worker to systemd, if systemd started it with `Type=notify`.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use crate::interval::Interval;

/// Reports that the worker is ready, answers the watchdog until `stop` is cancelled, and reports that the worker stops.
///
/// The watchdog restarts a process that hangs. A worker whose database or broker is unreachable is not ready, but it does answer:
/// a restart would not help it.
pub(super) async fn report(stop: CancellationToken) {
    notify(&NotifyState::Ready);
    let limit = sd_notify::watchdog_enabled().filter(|limit| *limit > Duration::ZERO);
    if let Some(limit) = limit {
        let mut interval = Interval::new(limit / 2, &stop);
        while interval.tick().await {
            notify(&NotifyState::Watchdog);
        }
    } else {
        stop.cancelled().await;
    }
    notify(&NotifyState::Stopping);
}

/// Does nothing without `NOTIFY_SOCKET`.
fn notify(state: &NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        tracing::warn!(%error, "cannot report to systemd; check NotifyAccess in the unit");
    }
}
