//! Verification: replays every client from the event log and compares the result with its stored state.

use serde::Serialize;

use super::cached::Staleness;
use super::walk::{Scope, Walk};
use super::{Engine, plan};
use crate::domain::ClientKey;
use crate::store::StoreError;

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

    /// Verifies clients one after the other in key order, each as of one moment and without a lock: workers may keep
    /// running. Holds the history of one client at a time. `seen` receives each result; after a stop or an error, the caller
    /// can continue after the last one.
    ///
    /// # Errors
    /// When the store cannot be reached. Stored data that cannot be read is a difference, not an error.
    pub async fn verify_each(
        &self,
        scope: &Scope,
        mut seen: impl FnMut(Verified) + Send,
    ) -> Result<(), StoreError> {
        let mut walk = Walk::over(scope);
        while let Some(key) = walk.next(self.store.as_ref()).await? {
            seen(self.verify_client(key).await?);
        }
        Ok(())
    }

    pub(super) async fn verify_client(&self, key: ClientKey) -> Result<Verified, StoreError> {
        let (events, differences) = match self.drift(&key).await {
            Ok((events, mut differences)) => {
                differences.extend(self.shared_events(&key).await?);
                (events, differences)
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

    /// Events that their source has given to two clients. A rebuild cannot tell which of the two is right.
    async fn shared_events(&self, key: &ClientKey) -> Result<Vec<String>, StoreError> {
        let shared = self.store.shared_events(key).await?;
        Ok(shared
            .into_iter()
            .map(|event| {
                format!(
                    "the log has the event {} of {} a second time, for {}: its source gave one id to two events",
                    event.id, event.source, event.other
                )
            })
            .collect())
    }

    async fn drift(&self, key: &ClientKey) -> Result<(u64, Vec<String>), StoreError> {
        let mut policies = self.policies().await?;
        loop {
            let snapshot = self.store.snapshot(key).await?;
            let found = plan::drift(&snapshot, self.present(), &policies);
            if found.is_empty() {
                return Ok((snapshot.history.len() as u64, found));
            }
            // The client may have been written under a policy that is newer than the cached ones.
            let recorded = self.policies_of(Staleness::None).await?;
            if recorded == policies {
                return Ok((snapshot.history.len() as u64, found));
            }
            policies = recorded;
        }
    }
}
