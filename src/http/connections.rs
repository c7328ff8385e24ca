//! The limit on open connections, and the choice of the connection that is closed for a new one.
//!
//! A connection is *busy* from the complete receipt of its request until the response, or until the end of a response that is
//! [`Indivisible`]. At all other times it is *idle*, also while a request is still arriving. At the limit, the connection that has been idle longest is closed, so that neither
//! idle connections nor slow senders delay a probe.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::response::Response;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub(super) struct Connections {
    max: usize,
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Default)]
struct State {
    open: usize,
    /// The number of the next idle period.
    next: u64,
    /// The idle connections, longest idle first, and how to close them.
    idle: BTreeMap<u64, CancellationToken>,
}

impl Connections {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            state: Mutex::default(),
            freed: Notify::new(),
        })
    }

    /// Admits a new connection. At the limit it closes the connection that has been idle longest; it waits only while all
    /// connections are busy.
    pub(super) async fn admit(self: &Arc<Self>) -> Arc<Permit> {
        loop {
            let freed = self.freed.notified();
            if self.has_room() || self.close_longest_idle() {
                return self.open();
            }
            freed.await;
        }
    }

    fn has_room(&self) -> bool {
        self.lock().open < self.max
    }

    fn open(self: &Arc<Self>) -> Arc<Permit> {
        let mut state = self.lock();
        state.open += 1;
        let closed = CancellationToken::new();
        let turn = state.enqueue(closed.clone());
        Arc::new(Permit {
            connections: self.clone(),
            closed,
            turn: Mutex::new(Some(turn)),
        })
    }

    /// False: no connection is idle.
    pub(super) fn close_longest_idle(&self) -> bool {
        let mut state = self.lock();
        let Some((_, closed)) = state.idle.pop_first() else {
            return false;
        };
        // Its permit sees that it was closed, and does not release it again.
        state.open -= 1;
        closed.cancel();
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn enqueue(&mut self, closed: CancellationToken) -> u64 {
        let turn = self.next;
        self.next += 1;
        self.idle.insert(turn, closed);
        turn
    }
}

/// The permit of one open connection, released on drop.
pub(super) struct Permit {
    connections: Arc<Connections>,
    /// Cancelled to close the connection.
    closed: CancellationToken,
    /// Its key among the idle connections. None: it is busy, or closed.
    turn: Mutex<Option<u64>>,
}

impl Permit {
    /// Completes when the connection must close.
    pub(super) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Marks the connection busy: its request has been received completely.
    pub(super) fn busy(&self) {
        if let Some(turn) = self.turn().take() {
            self.connections.lock().idle.remove(&turn);
        }
    }

    /// Marks the connection idle: its request has been answered.
    pub(super) fn idle(&self) {
        let mut turn = self.turn();
        if turn.is_none() && !self.closed.is_cancelled() {
            *turn = Some(self.connections.lock().enqueue(self.closed.clone()));
            self.connections.freed.notify_one();
        }
    }

    fn turn(&self) -> MutexGuard<'_, Option<u64>> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let turn = self.turn().take();
        let mut state = self.connections.lock();
        if let Some(turn) = turn {
            state.idle.remove(&turn);
        }
        // Under the lock, so that it is not released twice.
        if !self.closed.is_cancelled() {
            state.open -= 1;
        }
        drop(state);
        self.connections.freed.notify_one();
    }
}

/// A request body that marks its connection busy at its end.
pub(super) struct Incoming<B> {
    body: B,
    permit: Arc<Permit>,
}

impl<B: Body> Incoming<B> {
    pub(super) fn new(body: B, permit: Arc<Permit>) -> Self {
        if body.is_end_stream() {
            permit.busy();
        }
        Self { body, permit }
    }
}

impl<B: Body + Unpin> Body for Incoming<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.permit.busy();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Marks a response whose connection is busy until its end, because the client cannot continue it. Whoever sends such responses
/// limits their number and their duration.
#[derive(Clone, Copy)]
pub(super) struct Indivisible;

/// The connection of an answered request becomes idle, at once or with the end of the response.
pub(super) fn end_request(mut response: Response, permit: Arc<Permit>) -> Response {
    if response.extensions_mut().remove::<Indivisible>().is_none() {
        permit.idle();
        return response;
    }
    let end = IdleAtEnd(permit);
    response.map(|body| axum::body::Body::new(Outgoing { body, _end: end }))
}

/// Marks the connection idle on drop.
struct IdleAtEnd(Arc<Permit>);

impl Drop for IdleAtEnd {
    fn drop(&mut self) {
        self.0.idle();
    }
}

/// A response body that marks its connection idle at its end, or when it is dropped.
struct Outgoing<B> {
    body: B,
    _end: IdleAtEnd,
}

impl<B: Body + Unpin> Body for Outgoing<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn the_connection_that_has_been_idle_longest_is_closed_at_the_limit() {
        let connections = Connections::new(2);
        let (first, second) = (connections.admit().await, connections.admit().await);
        // After this request, the other connection has been idle longer.
        first.busy();
        first.idle();
        let third = connections.admit().await;
        assert!(second.closed.is_cancelled() && !first.closed.is_cancelled());
        drop(second);
        assert_eq!(connections.lock().open, 2);
        drop((first, third));
        assert_eq!(connections.lock().open, 0);
        assert!(connections.lock().idle.is_empty());
    }

    #[tokio::test]
    async fn a_new_connection_waits_while_all_are_busy() {
        let connections = Connections::new(1);
        let first = connections.admit().await;
        first.busy();
        let waiting = tokio::spawn({
            let connections = connections.clone();
            async move { connections.admit().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        first.idle();
        let second = tokio::time::timeout(Duration::from_secs(30), waiting)
            .await
            .expect("admitted in time")
            .expect("a permit");
        assert!(first.closed.is_cancelled() && !second.closed.is_cancelled());
        // A closed connection does not become idle again.
        first.busy();
        first.idle();
        assert_eq!(connections.lock().idle.len(), 1);
    }
}
