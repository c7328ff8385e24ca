//! Wakes the requests that wait for changes. One task for all of them watches the end of the journal, and only while one waits:
//! a waiting request holds no connection to the store.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::Api;
use crate::engine::Engine;
use crate::store::Cursor;

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
    let goes_on = || !api.ends_watch();
    engine
        .follow_feed(&written, &api.tail.end, &api.stopping, goes_on)
        .await;
}
