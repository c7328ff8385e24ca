//! Wakes the requests that wait for changes. One task for all of them watches the end of the journal, and only while one waits:
//! a waiting request holds no connection to the store.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::Api;
use crate::engine::Engine;
use crate::store::Cursor;

/// How long a change of another process, or one that a running transaction holds back, may wait.
const POLL: Duration = Duration::from_millis(100);

/// The shortest time between two reads: a busy worker commits more often.
const PACE: Duration = Duration::from_millis(10);

/// The end of the journal, as last seen.
#[derive(Default)]
pub(super) struct Tail {
    end: watch::Sender<Cursor>,
    /// Whether the task runs.
    runs: Mutex<bool>,
}

impl Api {
    /// Reports from now on whenever the journal has grown. To miss nothing, mark the receiver as read, read the journal, and then
    /// wait for the receiver.
    pub(super) fn watch_journal(self: &Arc<Self>, engine: &Arc<Engine>) -> watch::Receiver<Cursor> {
        let mut runs = self.tail.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let receiver = self.tail.end.subscribe();
        if !std::mem::replace(&mut *runs, true) {
            self.tasks.spawn(follow(self.clone(), engine.clone()));
        }
        receiver
    }

    /// Ends the task if nobody waits.
    fn ends_watch(&self) -> bool {
        let mut runs = self.tail.runs.lock().unwrap_or_else(PoisonError::into_inner);
        *runs = self.tail.end.receiver_count() > 0 && !self.stopping.is_cancelled();
        !*runs
    }
}

async fn follow(api: Arc<Api>, engine: Arc<Engine>) {
    let written = engine.feed_written();
    while !api.ends_watch() {
        let end = api.stopping.run_until_cancelled(engine.store().feed_end());
        match end.await {
            Some(Ok(end)) => {
                let end = end.0.cursor;
                api.tail
                    .end
                    .send_if_modified(|seen| std::mem::replace(seen, end) != end);
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "the end of the journal cannot be read; trying again");
            }
            None => {}
        }
        tokio::time::sleep(PACE).await;
        tokio::select! {
            () = written.notified() => {}
            () = tokio::time::sleep(POLL) => {}
            () = api.stopping.cancelled() => {}
        }
    }
}
