//! Listening, the limit on time, and answers for what is not there.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Api, ApiError};

#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address}: {reason}; set `http.listen` to another address, or to nothing for no HTTP"
)]
pub struct BindError {
    address: SocketAddr,
    #[source]
    reason: io::Error,
}

/// # Errors
/// When the address is taken, or not this machine's.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address)
        .await
        .map_err(|reason| BindError { address, reason })
}

/// Answers until it is told to stop, then finishes the requests under way, and what they began.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(listener: TcpListener, api: Arc<Api>, stop: CancellationToken) -> io::Result<()> {
    let router = api.router();
    let done = axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await;
    api.tasks.close();
    api.tasks.wait().await;
    done
}

/// Answers in time, whatever the handler does: what must not be cut off runs in a task of its own.
pub(super) async fn time_limit(
    State(api): State<Arc<Api>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    tokio::time::timeout(api.timeout, next.run(request))
        .await
        .map_err(|_| ApiError::TimedOut)
}

pub(super) async fn no_such_path() -> ApiError {
    ApiError::NoSuchPath
}

pub(super) async fn no_such_method() -> ApiError {
    ApiError::NoSuchMethod
}
