//! The reasons why a worker ends with an error.

use std::io;
use std::time::Duration;

use tokio::task::JoinError;

use crate::broker::BrokerError;
use crate::http;
use crate::scheduler::TickerError;
use crate::store::StoreError;
use crate::telemetry::TelemetryError;
use crate::traces::ExportError;
use crate::webhooks::SenderError;

/// Why a worker ended.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    #[error("the signal handlers cannot be installed: {0}")]
    Signals(#[source] io::Error),
    /// A worker waits for an unavailable server; this error is permanent.
    #[error("the store {url} cannot be opened: {source}")]
    Store { url: String, source: StoreError },
    #[error("this worker must stop writing: {0}")]
    MayNotWrite(#[source] StoreError),
    #[error(transparent)]
    Bind(#[from] http::BindError),
    #[error("the HTTP server failed: {0}")]
    Http(#[source] io::Error),
    #[error(transparent)]
    Scheduler(#[from] TickerError),
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Webhooks(#[from] SenderError),
    #[error(transparent)]
    Traces(#[from] ExportError),
    #[error("a task of the worker panicked: {0}; this is a bug: report it with the log")]
    Panic(#[source] JoinError),
    #[error(
        "stopped with unfinished work after {} s (shutdown.timeout): {tasks}. Nothing is lost: the next worker repeats the \
         work that was not committed",
        timeout.as_secs()
    )]
    Unfinished { tasks: String, timeout: Duration },
    #[error(
        "exited at once after a second signal; nothing is lost: the next worker repeats the work that was not committed"
    )]
    Interrupted,
}

impl WorkerError {
    /// Whether only a change of settings helps.
    #[must_use]
    pub fn is_of_settings(&self) -> bool {
        match self {
            Self::Telemetry(TelemetryError::Filter { .. })
            | Self::Broker(BrokerError::Settings(_))
            | Self::Webhooks(_)
            | Self::Traces(_) => true,
            Self::Store { source, .. } => source.is_of_settings(),
            _ => false,
        }
    }
}
