//! The HTTP server: listener, connections, timeouts and fallbacks.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use hyper::body;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, getrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use super::connections::{self, Connections, Incoming, Permit};
use super::sessions::Peer;
use super::{Api, ApiError};
use crate::incident::Incident;

#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address}: {reason}; set `http.listen` to another address, or to an empty value for no HTTP"
)]
pub struct BindError {
    address: SocketAddr,
    #[source]
    reason: io::Error,
}

/// # Errors
/// The address is in use, or belongs to another machine.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address)
        .await
        .map_err(|reason| BindError { address, reason })
}

/// Bytes that a connection buffers at most, and so the maximum size of a request's head.
const BUFFER: usize = 64 << 10;
/// How long requests in progress may take at shutdown. A sender that has sent half a request may never send the rest.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// How long to wait after a failed accept with no idle connection to close, usually for lack of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_secs(1);
/// After that long without a failure, accepting no longer fails.
const CALM: Duration = Duration::from_secs(10);
/// The minimum number of connections, even at a low limit on open files.
const MIN_CONNECTIONS: usize = 8;

/// Serves requests until `stop`, then completes the requests in progress and their detached work.
///
/// `axum::serve` is not used because it has no limit on connections and none on the time until a request begins.
///
/// # Errors
/// The listener fails permanently.
pub async fn serve(listener: TcpListener, api: Arc<Api>, stop: CancellationToken) -> io::Result<()> {
    let router = TowerToHyperService::new(api.router());
    let mut builder = http1::Builder::new();
    // Also limits how long a connection may be idle.
    builder.timer(TokioTimer::new()).header_read_timeout(api.timeout);
    // By default a connection that sends much buffers several hundred kB.
    builder.max_buf_size(BUFFER);
    let graceful = GracefulShutdown::new();
    let connections = Connections::new(api.max_connections);
    let failing = Incident::with_calm(CALM);
    while let Some((stream, peer)) = stop
        .run_until_cancelled(accept(&listener, &connections, &failing))
        .await
    {
        let Some(permit) = stop.run_until_cancelled(connections.admit()).await else {
            break;
        };
        let _ = stream.set_nodelay(true);
        let mut stream = TimeoutStream::new(stream);
        // A client that does not read the response keeps it in memory.
        stream.set_write_timeout(Some(api.timeout));
        let connection = builder.serve_connection(
            TokioIo::new(Box::pin(stream)),
            service(router.clone(), permit.clone(), peer),
        );
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%error, "connection failed");
                },
                () = permit.closed() => tracing::debug!("closed an idle connection to accept a new one"),
            }
        });
    }
    drop(listener);
    api.stopping.cancel();
    let _ = tokio::time::timeout(SHUTDOWN_GRACE, graceful.shutdown()).await;
    api.tasks.close();
    api.tasks.wait().await;
    Ok(())
}

/// Accepts the next connection. If accepting fails for lack of file descriptors, it closes idle connections.
async fn accept(listener: &TcpListener, connections: &Connections, failing: &Incident) -> (TcpStream, Peer) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if failing.succeed() {
                    tracing::info!("connections are accepted again");
                }
                return (stream, Peer(peer.ip()));
            }
            // The client closed the connection before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if failing.fail() {
                    tracing::error!(%error, "cannot accept connections; check the open file limit (`ulimit -n`)");
                }
                if connections.close_longest_idle() {
                    // Until its file descriptor is released.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                } else {
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }
}

/// `http.max_connections`, or half of the open file limit if that is less: store and broker need descriptors too.
pub(super) fn connection_limit(configured: usize) -> usize {
    let files = getrlimit(Resource::Nofile).current;
    let available = files.map_or(usize::MAX, |files| {
        usize::try_from(files / 2).unwrap_or(usize::MAX)
    });
    let limit = configured.min(available.max(MIN_CONNECTIONS));
    if limit < configured {
        tracing::warn!(
            http.max_connections = configured,
            http.connections = limit,
            "HTTP accepts fewer connections than `http.max_connections`, half of the open file limit; raise that limit \
             (`ulimit -n`)"
        );
    }
    limit
}

type Routed = TowerToHyperService<Router>;
type Responding<F> = Pin<Box<dyn Future<Output = F> + Send>>;

/// The router as the service of one connection.
fn service(
    router: Routed,
    permit: Arc<Permit>,
    peer: Peer,
) -> impl Service<
    Request<body::Incoming>,
    Response = Response,
    Error = Infallible,
    Future = Responding<Result<Response, Infallible>>,
> {
    service_fn(move |request: Request<body::Incoming>| {
        let permit = permit.clone();
        let mut request = request.map(|body| Body::new(Incoming::new(body, permit.clone())));
        request.extensions_mut().insert(peer);
        let response = router.call(request);
        Box::pin(async move {
            response
                .await
                .map(|response| connections::end_request(response, permit))
        }) as Responding<_>
    })
}

/// Limits the time of a request. Work that must not be cancelled runs in a task of its own.
pub(super) async fn time_limit(
    State(api): State<Arc<Api>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    tokio::time::timeout(api.timeout, next.run(request))
        .await
        .map_err(|_| ApiError::TimedOut)
}

/// The header with the id of a request.
pub(super) const REQUEST_ID: &str = "x-request-id";

/// Repeats the id of a request in its response, whatever the response is: AuthZEN requires it, and it helps elsewhere.
pub(super) async fn echo_request_id(request: Request, next: Next) -> Response {
    let id = request.headers().get(REQUEST_ID).cloned();
    let mut response = next.run(request).await;
    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

pub(super) async fn no_such_path() -> ApiError {
    ApiError::NoSuchPath
}

pub(super) async fn no_such_method() -> ApiError {
    ApiError::NoSuchMethod
}
