//! The supervision of a worker's tasks: each runs until it is stopped, and the failure of one stops all.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use super::WorkerError;

/// The tasks, besides the broker's consumers, that write to the journal.
const WRITERS: [&str; 4] = ["http", "scheduler", "clock", "deferred"];

/// Runs the tasks of a worker and ends them in order.
pub(super) struct Supervisor {
    stop: CancellationToken,
    writers_ended: CancellationToken,
    tasks: JoinSet<Result<(), WorkerError>>,
    names: BTreeMap<Id, &'static str>,
}

impl Supervisor {
    /// The tasks stop when `stop` is cancelled, or when one of them fails.
    pub fn new(stop: &CancellationToken) -> Self {
        Self {
            stop: stop.child_token(),
            writers_ended: CancellationToken::new(),
            tasks: JoinSet::new(),
            names: BTreeMap::new(),
        }
    }

    /// Cancelled when the tasks must stop.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Cancelled during a shutdown, when only the broker's consumers may still write to the journal: the relay publishes
    /// until then.
    pub fn writers_ended(&self) -> &CancellationToken {
        &self.writers_ended
    }

    /// Starts a task, which must end soon after its token is cancelled.
    pub fn spawn<F>(&mut self, name: &'static str, task: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Result<(), WorkerError>> + Send + 'static,
    {
        let handle = self.tasks.spawn(task(self.stop.clone()));
        self.names.insert(handle.id(), name);
    }

    /// Waits until the worker is stopped or a task fails, and then up to `timeout` for the other tasks to end.
    pub async fn finish(mut self, timeout: Duration) -> Result<(), WorkerError> {
        let stop = self.stop.clone();
        let failed = tokio::select! {
            () = stop.cancelled() => None,
            failure = self.first_failure() => Some(failure),
        };
        stop.cancel();
        let rest = tokio::time::timeout(timeout, self.join_all()).await;
        match (failed, rest) {
            (Some(failure), _) | (None, Ok(Some(failure))) => Err(failure),
            (None, Ok(None)) => {
                tracing::info!("stopped; all work is finished");
                Ok(())
            }
            (None, Err(_)) => {
                let tasks: Vec<&str> = self.names.values().copied().collect();
                Err(WorkerError::Unfinished {
                    tasks: tasks.join(", "),
                    timeout,
                })
            }
        }
    }

    /// Waits for all tasks, and returns the first failure.
    async fn join_all(&mut self) -> Option<WorkerError> {
        let mut failure = None;
        while !self.tasks.is_empty() {
            if self.names.values().all(|task| !WRITERS.contains(task)) {
                self.writers_ended.cancel();
            }
            failure = failure.or(self.next_failure().await);
        }
        failure
    }

    /// Waits for a failure, for ever if there is none.
    async fn first_failure(&mut self) -> WorkerError {
        loop {
            if self.tasks.is_empty() {
                std::future::pending::<()>().await;
            }
            if let Some(failure) = self.next_failure().await {
                return failure;
            }
        }
    }

    /// Waits until a task ends. None: it ended without an error.
    async fn next_failure(&mut self) -> Option<WorkerError> {
        let ended = self.tasks.join_next_with_id().await?;
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        self.names.remove(&id);
        match ended {
            Ok((_, done)) => done.err(),
            Err(error) => Some(WorkerError::Panic(error)),
        }
    }
}
