//! Verification: every client folded anew from the log and held against what is stored.

use serde::Serialize;

use super::cached::Staleness;
use super::walk::{Scope, Walk};
use super::{Engine, plan};
use crate::domain::ClientKey;
use crate::store::StoreError;

/// A client of which something that is stored is not what its history says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Drift {
    pub client: String,
    /// What differs, in words.
    pub what: String,
}

/// What a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    pub clients: u64,
    pub events: u64,
    pub drifts: Vec<Drift>,
}

/// One client that was looked at.
#[derive(Clone, Debug)]
pub struct Verified {
    pub key: ClientKey,
    /// In its history, touches included.
    pub events: u64,
    /// What differs, in words; nothing when all is right.
    pub differences: Vec<String>,
}

impl Engine {
    /// Folds everyone anew. `progress` is told how many clients have been looked at.
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

    /// Folds clients anew, one after the other, each as of one moment and without a lock: a worker may run. Holds one
    /// client's history at a time. `seen` is told of each in key order; whoever is stopped, or meets an error, goes on
    /// after the last.
    ///
    /// # Errors
    /// When the store cannot be reached. What cannot be read is a difference, and no error.
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
            Ok(found) => found,
            Err(error @ StoreError::Inconsistent { .. }) => (0, vec![error.to_string()]),
            Err(error) => return Err(error),
        };
        Ok(Verified {
            key,
            events,
            differences,
        })
    }

    async fn drift(&self, key: &ClientKey) -> Result<(u64, Vec<String>), StoreError> {
        let mut policies = self.policies().await?;
        loop {
            let snapshot = self.store.snapshot(key).await?;
            let found = plan::drift(&snapshot, self.present(), &policies);
            if found.is_empty() {
                return Ok((snapshot.history.len() as u64, found));
            }
            // The client may have been written under a policy that was recorded a moment ago.
            let recorded = self.policies_of(Staleness::None).await?;
            if recorded == policies {
                return Ok((snapshot.history.len() as u64, found));
            }
            policies = recorded;
        }
    }
}
