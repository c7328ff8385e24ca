//! Listening, the limit on time, and answers for what is not there.

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

use super::connections::{Connections, Incoming, Place};
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
/// How long to rest when no connection can be accepted and none can be closed: mostly because too many files are open.
const REST: Duration = Duration::from_secs(1);
/// Fewer connections than this are of no use, however few files may be open.
const FEWEST: usize = 8;

/// Answers until it is told to stop, then finishes the requests under way, and what they began.
///
/// Not `axum::serve`: that waits for ever for a request to begin, on as many connections as there are.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(listener: TcpListener, api: Arc<Api>, stop: CancellationToken) -> io::Result<()> {
    let router = TowerToHyperService::new(api.router());
    let mut builder = http1::Builder::new();
    // It is also how long a connection may lie idle.
    builder.timer(TokioTimer::new()).header_read_timeout(api.timeout);
    let graceful = GracefulShutdown::new();
    let connections = Connections::new(most_connections(api.max_connections));
    while let Some(stream) = stop.run_until_cancelled(accept(&listener, &connections)).await {
        let Some(place) = stop.run_until_cancelled(connections.admit()).await else {
            break;
        };
        let _ = stream.set_nodelay(true);
        let mut stream = TimeoutStream::new(stream);
        // Whoever does not read the answer holds it in memory.
        stream.set_write_timeout(Some(api.timeout));
        let connection = builder.serve_connection(
            TokioIo::new(Box::pin(stream)),
            service(router.clone(), place.clone()),
        );
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended");
                },
                () = place.closed() => tracing::debug!("an idle connection was closed to make room"),
            }
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
    api.tasks.close();
    api.tasks.wait().await;
    Ok(())
}

/// The next connection. When too many files are open, idle connections are closed for it.
async fn accept(listener: &TcpListener, connections: &Connections) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            // One that hung up before its turn is nobody's fault.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::error!(%error, "no connection can be accepted");
                if connections.close_longest_waiting() {
                    // Until it is closed indeed.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                } else {
                    tokio::time::sleep(REST).await;
                }
            }
        }
    }
}

/// Half of the files that this process may open are for connections at most: the store and the broker need some too.
fn most_connections(wanted: usize) -> usize {
    let files = getrlimit(Resource::Nofile).current;
    let room = files.map_or(usize::MAX, |files| {
        usize::try_from(files / 2).unwrap_or(usize::MAX)
    });
    let most = wanted.min(room.max(FEWEST));
    if most < wanted {
        tracing::warn!(
            wanted,
            most,
            "fewer HTTP connections than `http.max_connections`: they get half of the files that this process may open \
             (`ulimit -n`)"
        );
    }
    most
}

type Routed = TowerToHyperService<Router>;
type Answering<F> = Pin<Box<dyn Future<Output = F> + Send>>;

/// The routes, for the connection in this place.
fn service(
    router: Routed,
    place: Arc<Place>,
) -> impl Service<
    Request<body::Incoming>,
    Response = Response,
    Error = Infallible,
    Future = Answering<Result<Response, Infallible>>,
> {
    service_fn(move |request: Request<body::Incoming>| {
        let place = place.clone();
        let request = request.map(|body| Body::new(Incoming::new(body, place.clone())));
        let answer = router.call(request);
        Box::pin(async move {
            let answer = answer.await;
            place.idle();
            answer
        }) as Answering<_>
    })
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
