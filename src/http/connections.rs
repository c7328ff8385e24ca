//! A bound on open connections, and which of them makes room for a new one.
//!
//! A connection is *working* from when its request has come in whole until that is answered. At all other times it waits for
//! whoever is at the other end: between two requests, while a head or a body is coming in, while an answer is being read. When
//! there is no room, the one that has waited longest is closed. So neither ten thousand idle connections nor slow senders
//! keep a probe from being answered.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub(super) struct Connections {
    most: usize,
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Default)]
struct State {
    open: usize,
    /// The number of the next turn.
    next: u64,
    /// Those that wait, longest first, and how to close them.
    waiting: BTreeMap<u64, CancellationToken>,
}

impl Connections {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            state: Mutex::default(),
            freed: Notify::new(),
        })
    }

    /// A place for a new connection. Closes the one that has waited longest if there is no room; only while all are working
    /// does this take time.
    pub(super) async fn admit(self: &Arc<Self>) -> Arc<Place> {
        loop {
            let freed = self.freed.notified();
            if self.has_room() || self.close_longest_waiting() {
                return self.open();
            }
            freed.await;
        }
    }

    fn has_room(&self) -> bool {
        self.lock().open < self.most
    }

    fn open(self: &Arc<Self>) -> Arc<Place> {
        let mut state = self.lock();
        state.open += 1;
        let closed = CancellationToken::new();
        let turn = state.enqueue(closed.clone());
        Arc::new(Place {
            connections: self.clone(),
            closed,
            turn: Mutex::new(Some(turn)),
        })
    }

    /// False: none waits.
    pub(super) fn close_longest_waiting(&self) -> bool {
        let mut state = self.lock();
        let Some((_, closed)) = state.waiting.pop_first() else {
            return false;
        };
        // It counts no more; its place looks whether it was closed before it gives itself back.
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
        self.waiting.insert(turn, closed);
        turn
    }
}

/// The place of one connection. It is given back when this is dropped.
pub(super) struct Place {
    connections: Arc<Connections>,
    /// Cancelled when the connection has to make room.
    closed: CancellationToken,
    /// Its key among those that wait. None: it is working, or closed.
    turn: Mutex<Option<u64>>,
}

impl Place {
    /// Returns once the connection has to make room.
    pub(super) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// The request has come in: from now on the connection is not closed.
    pub(super) fn busy(&self) {
        if let Some(turn) = self.turn().take() {
            self.connections.lock().waiting.remove(&turn);
        }
    }

    /// The request is answered: the connection waits again, behind all that wait already.
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

impl Drop for Place {
    fn drop(&mut self) {
        let turn = self.turn().take();
        let mut state = self.connections.lock();
        if let Some(turn) = turn {
            state.waiting.remove(&turn);
        }
        // Under the lock, so that it is not counted twice.
        if !self.closed.is_cancelled() {
            state.open -= 1;
        }
        drop(state);
        self.connections.freed.notify_one();
    }
}

/// A request's body that tells its connection's place when all of it has come in.
pub(super) struct Incoming<B> {
    body: B,
    place: Arc<Place>,
}

impl<B: Body> Incoming<B> {
    pub(super) fn new(body: B, place: Arc<Place>) -> Self {
        if body.is_end_stream() {
            place.busy();
        }
        Self { body, place }
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
            self.place.busy();
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn the_connection_that_has_waited_longest_makes_room() {
        let connections = Connections::new(2);
        let (first, second) = (connections.admit().await, connections.admit().await);
        // It asks and is answered, so that the other one has waited longer.
        first.busy();
        first.idle();
        let third = connections.admit().await;
        assert!(second.closed.is_cancelled() && !first.closed.is_cancelled());
        drop(second);
        assert_eq!(connections.lock().open, 2);
        drop((first, third));
        assert_eq!(connections.lock().open, 0);
        assert!(connections.lock().waiting.is_empty());
    }

    #[tokio::test]
    async fn one_that_works_is_not_closed_and_a_new_one_waits_for_it() {
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
            .expect("room")
            .expect("a place");
        assert!(first.closed.is_cancelled() && !second.closed.is_cancelled());
        // A closed one that is answered late does not wait again.
        first.busy();
        first.idle();
        assert_eq!(connections.lock().waiting.len(), 1);
    }
}
