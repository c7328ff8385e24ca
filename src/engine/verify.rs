//! Verification: replays every client from the event log and compares the result with its stored state.

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::vec;

use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;

use super::cached::Staleness;
use super::walk::{Scope, Walk};
use super::{ClockWatch, Engine, Present, plan, present};
use crate::domain::{ClientKey, Policies};
use crate::store::{ClientSnapshot, SharedEvent, Store, StoreError};

/// Groups that are read or replayed at a time.
const UNDER_WAY: usize = 3;

/// The events, and as many journal lines, that are read at a time. A client with more is read alone.
const MOST: usize = 5_000;

/// A client whose stored state differs from its history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Drift {
    pub client: String,
    /// Sentences about the differences.
    pub what: String,
}

/// The result of a verification.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    pub clients: u64,
    pub events: u64,
    pub drifts: Vec<Drift>,
}

/// The result for one client.
#[derive(Clone, Debug)]
pub struct Verified {
    pub key: ClientKey,
    /// Events in its history, including touches.
    pub events: u64,
    /// Sentences about the differences; empty if there are none.
    pub differences: Vec<String>,
}

impl Engine {
    /// Verifies every client. `progress` receives the number of clients verified so far.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn verify(&self, mut progress: impl FnMut(u64) + Send) -> Result<VerifyReport, StoreError> {
        let mut report = VerifyReport::default();
        self.verify_each(&Scope::default(), |verified| {
            report.clients += 1;
            report.events += verified.events;
            if !verified.differences.is_empty() {
                report.drifts.push(Drift {
                    client: verified.key.to_string(),
                    what: verified.differences.join("; "),
                });
            }
            progress(report.clients);
        })
        .await?;
        Ok(report)
    }

    /// Verifies clients in key order, each as of one moment and without a lock: workers may keep running. Some groups of clients are
    /// read and replayed ahead of the client whose result is due; what they hold is bounded, beside the one longest history.
    /// `seen` receives each result; after a stop or an error, the caller can continue after the last one.
    ///
    /// # Errors
    /// When the store cannot be reached. Stored data that cannot be read is a difference, not an error.
    pub async fn verify_each(
        &self,
        scope: &Scope,
        mut seen: impl FnMut(Verified) + Send,
    ) -> Result<(), StoreError> {
        let mut results = Results::of(self, scope);
        while let Some(verified) = results.next().await? {
            seen(verified);
        }
        Ok(())
    }

    /// Verifies a client with differences again if there are newer policies: the client may have been written under one of
    /// them.
    async fn confirm(
        &self,
        mut verified: Verified,
        mut policies: Arc<Policies>,
    ) -> Result<Verified, StoreError> {
        while !verified.differences.is_empty() {
            let recorded = self.policies_of(Staleness::None).await?;
            if recorded == policies {
                break;
            }
            policies = recorded;
            let snapshot = self.store.snapshot(&verified.key).await;
            verified = replay(verified.key, snapshot, self.present(), &policies)?;
        }
        Ok(verified)
    }
}

/// The results of a walk, in key order. While one group is replayed, others are read, so that neither the store nor this process
/// waits for the other.
pub(super) struct Results<'a> {
    engine: &'a Engine,
    scope: &'a Scope,
    walk: Walk<'a>,
    under_way: VecDeque<UnderWay>,
    /// Results that are due, and the policies under which they were found.
    due: vec::IntoIter<Verified>,
    policies: Arc<Policies>,
    long: Arc<Semaphore>,
}

/// A group that is verified.
struct UnderWay {
    policies: Arc<Policies>,
    results: AbortOnDropHandle<Result<Vec<Verified>, StoreError>>,
}

impl<'a> Results<'a> {
    pub fn of(engine: &'a Engine, scope: &'a Scope) -> Self {
        Self {
            engine,
            scope,
            walk: Walk::over(scope),
            under_way: VecDeque::new(),
            due: Vec::new().into_iter(),
            policies: Arc::default(),
            long: Arc::new(Semaphore::new(1)),
        }
    }

    /// The result for the next client. None: the walk is over or was stopped.
    pub async fn next(&mut self) -> Result<Option<Verified>, StoreError> {
        loop {
            if self.scope.stop.is_cancelled() {
                return Ok(None);
            }
            if let Some(verified) = self.due.next() {
                let confirmed = self.engine.confirm(verified, self.policies.clone()).await?;
                return Ok(Some(confirmed));
            }
            self.start_groups().await?;
            let Some(first) = self.under_way.pop_front() else {
                return Ok(None);
            };
            self.due = joined(first.results.await)?.into_iter();
            self.policies = first.policies;
            self.start_groups().await?;
        }
    }

    async fn start_groups(&mut self) -> Result<(), StoreError> {
        while self.under_way.len() < UNDER_WAY {
            let keys = self.walk.next(self.engine.store.as_ref()).await?;
            if keys.is_empty() {
                break;
            }
            let policies = self.engine.policies().await?;
            let group = Group {
                store: self.engine.store.clone(),
                watch: self.engine.watch.clone(),
                policies: policies.clone(),
                long: self.long.clone(),
            };
            let results = AbortOnDropHandle::new(tokio::spawn(group.verify(keys)));
            self.under_way.push_back(UnderWay { policies, results });
        }
        Ok(())
    }
}

/// What the verification of a group needs.
struct Group {
    store: Arc<dyn Store>,
    watch: ClockWatch,
    policies: Arc<Policies>,
    /// One permit: of the clients with more than [`MOST`] events, one is held at a time.
    long: Arc<Semaphore>,
}

impl Group {
    async fn verify(self, keys: Vec<ClientKey>) -> Result<Vec<Verified>, StoreError> {
        let mut verified = Vec::with_capacity(keys.len());
        while verified.len() < keys.len() {
            let rest = &keys[verified.len()..];
            let mut snapshots = self.store.snapshots(rest, Some(MOST)).await?;
            let permit = if snapshots.is_empty() {
                let permit = self.long.acquire().await;
                snapshots = self.store.snapshots(&rest[..1], None).await?;
                Some(permit)
            } else {
                None
            };
            // Read after the clients: timers may have fired meanwhile.
            let (present, policies) = (present(&self.watch), self.policies.clone());
            let read: Vec<_> = rest.iter().cloned().zip(snapshots).collect();
            let replaying = tokio::task::spawn_blocking(move || -> Result<Vec<Verified>, StoreError> {
                read.into_iter()
                    .map(|(key, snapshot)| replay(key, snapshot, present, &policies))
                    .collect()
            });
            verified.extend(joined(replaying.await)?);
            drop(permit);
        }
        Ok(verified)
    }
}

/// The output of a task that nobody aborts, or its panic.
fn joined<T>(output: Result<T, JoinError>) -> T {
    output.unwrap_or_else(|error| resume_unwind(error.into_panic()))
}

/// Compares a client with its history. A value that cannot be read is a difference.
fn replay(
    key: ClientKey,
    snapshot: Result<ClientSnapshot, StoreError>,
    present: Present,
    policies: &Policies,
) -> Result<Verified, StoreError> {
    let (events, differences) = match snapshot {
        Ok(snapshot) => {
            let mut differences = plan::drift(&snapshot, present, policies);
            differences.extend(snapshot.shared_events.iter().map(shared));
            (snapshot.history.len() as u64, differences)
        }
        Err(error @ StoreError::Inconsistent { .. }) => (0, vec![error.to_string()]),
        Err(error) => return Err(error),
    };
    Ok(Verified {
        key,
        events,
        differences,
    })
}

/// A rebuild cannot tell which of the two clients is right.
fn shared(event: &SharedEvent) -> String {
    format!(
        "the log has the event {} of {} a second time, for {}: its source gave one id to two events",
        event.id, event.source, event.other
    )
}
