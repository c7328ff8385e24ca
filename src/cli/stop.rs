//! Ctrl-C and SIGTERM for commands that can be gone on with.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::output;

/// A token that the first signal cancels; the second ends the process at once.
pub fn on_signal() -> anyhow::Result<CancellationToken> {
    let Signals { first, second } = signals()?;
    tokio::spawn(async move {
        second.cancelled().await;
        std::process::exit(1);
    });
    Ok(first)
}

/// What signals ask for.
pub struct Signals {
    /// To stop after what is in hand.
    pub first: CancellationToken,
    /// To stop at once.
    pub second: CancellationToken,
}

/// Listens for signals.
pub fn signals() -> anyhow::Result<Signals> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let signals = Signals {
        first: CancellationToken::new(),
        second: CancellationToken::new(),
    };
    let (first, second) = (signals.first.clone(), signals.second.clone());
    tokio::spawn(async move {
        for token in [&first, &second] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if !first.is_cancelled() {
                output::complain("stopping after what is in hand; a second signal ends it at once");
            }
            token.cancel();
        }
    });
    Ok(signals)
}
