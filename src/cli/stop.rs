//! Ctrl-C and SIGTERM for commands that can be gone on with.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::output;

/// A token that the first signal cancels; the second ends the process at once.
pub fn on_signal() -> anyhow::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    tokio::spawn(async move {
        for first in [true, false] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if !first {
                std::process::exit(1);
            }
            output::complain("stopping after what is in hand; a second signal ends it at once");
            stopping.cancel();
        }
    });
    Ok(stop)
}
