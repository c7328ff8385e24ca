//! SIGTERM and SIGINT: the first asks the process to finish its work in progress, the second to exit at once.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The signals that the process has received.
pub struct Signals {
    /// Cancelled by the first signal.
    pub first: CancellationToken,
    /// Cancelled by the second signal.
    pub second: CancellationToken,
}

/// Listens for signals from now on, and calls `on_first` when the first one arrives.
///
/// # Errors
/// When the process cannot install a signal handler.
pub fn listen(on_first: impl FnOnce() + Send + 'static) -> io::Result<Signals> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (first, second) = (CancellationToken::new(), CancellationToken::new());
    let signals = Signals {
        first: first.clone(),
        second: second.clone(),
    };
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        next().await;
        first.cancel();
        on_first();
        next().await;
        second.cancel();
    });
    Ok(signals)
}
