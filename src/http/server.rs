//! Listening, the limit on time, and answers for what is not there.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
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

/// How long a request that is under way may still be sent and answered when told to stop. Who has sent half of one
/// may never send the rest.
const GRACE: Duration = Duration::from_secs(5);
/// Connections at once. Further ones wait to be accepted until one ends.
const CONNECTIONS: usize = 1_000;
/// How long to rest when no connection can be accepted: mostly because too many files are open.
const REST: Duration = Duration::from_secs(1);

/// Answers until it is told to stop, then finishes the requests under way, and what they began.
///
/// Not `axum::serve`: that waits for ever for a request to begin, on as many connections as there are.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(listener: TcpListener, api: Arc<Api>, stop: CancellationToken) -> io::Result<()> {
    let router = api.router();
    let mut builder = http1::Builder::new();
    // It is also how long a connection may lie idle.
    builder.timer(TokioTimer::new()).header_read_timeout(api.timeout);
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    while let Some(place) = stop.run_until_cancelled(places.clone().acquire_owned()).await {
        let Some(accepted) = stop.run_until_cancelled(listener.accept()).await else {
            break;
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            // One that hung up before its turn is nobody's fault.
            Err(error) => {
                if error.kind() != io::ErrorKind::ConnectionAborted {
                    tracing::error!(%error, "no connection can be accepted");
                    stop.run_until_cancelled(tokio::time::sleep(REST)).await;
                }
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
    api.tasks.close();
    api.tasks.wait().await;
    Ok(())
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
