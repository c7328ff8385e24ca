//! Ctrl-C and SIGTERM for commands that can be continued.

use tokio_util::sync::CancellationToken;

use super::output;
use crate::signals;
pub use crate::signals::Signals;

/// A token that the first signal cancels; the second signal exits immediately.
pub fn on_signal() -> anyhow::Result<CancellationToken> {
    let Signals { first, second } = signals()?;
    tokio::spawn(async move {
        second.cancelled().await;
        std::process::exit(1);
    });
    Ok(first)
}

/// Listens for signals, and prints a message at the first one.
pub fn signals() -> anyhow::Result<Signals> {
    Ok(signals::listen(|| {
        output::error_line("stopping after the work in progress; a second signal exits immediately");
    })?)
}
