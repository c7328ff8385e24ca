//! Runs CPU-bound work off the async runtime.

use std::panic::resume_unwind;

/// Computes on a thread that may block, so that requests and connections on the threads of the runtime go on meanwhile.
pub(super) async fn run_blocking<T: Send + 'static>(compute: impl FnOnce() -> T + Send + 'static) -> T {
    // Nobody aborts it: if it fails, it panicked.
    tokio::task::spawn_blocking(compute)
        .await
        .unwrap_or_else(|error| resume_unwind(error.into_panic()))
}
