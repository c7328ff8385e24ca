//! Rebuilds: make the stored state of clients agree with their event log.

use super::cached::Staleness;
use super::conflict_retry::ConflictRetry;
use super::plan::EventsMissing;
use super::verify::{Results, Verified};
use super::walk::Scope;
use super::{Engine, carry_out, plan};
use crate::domain::ClientKey;
use crate::store::StoreError;

/// The result for one client.
#[derive(Debug)]
pub struct Rebuilt {
    pub key: ClientKey,
    /// Sentences about the differences. Empty: there were none, and nothing was written.
    pub differences: Vec<String>,
    /// The number of lines written to the journal, or why the client could not be rebuilt.
    pub changes: Result<usize, RebuildError>,
}

/// Why a client cannot be rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    #[error(transparent)]
    EventsMissing(#[from] EventsMissing),
    /// The store fails for this client only.
    #[error(transparent)]
    Store(StoreError),
}

impl Engine {
    /// Rebuilds clients one after the other in key order, each in its own transaction. A client without differences is not
    /// even locked, so workers may keep running. Clients are verified ahead, as [`Engine::verify_each`] does. `seen` receives each
    /// result after its commit; after a stop or an error, the caller can continue after the last one.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn rebuild(
        &self,
        scope: &Scope,
        mut seen: impl FnMut(Rebuilt) + Send,
    ) -> Result<(), StoreError> {
        let mut results = Results::of(self, scope);
        while let Some(Verified { key, differences, .. }) = results.next().await? {
            let rebuilt = if differences.is_empty() {
                Rebuilt {
                    key,
                    differences,
                    changes: Ok(0),
                }
            } else {
                self.rebuild_client(key, differences).await?
            };
            seen(rebuilt);
        }
        if scope.is_everyone() && !scope.stop.is_cancelled() {
            self.end_ahead_search().await?;
        }
        Ok(())
    }

    /// Rebuilds a client under its lock. `differences` are those that were found without the lock.
    pub(super) async fn rebuild_client(
        &self,
        key: ClientKey,
        differences: Vec<String>,
    ) -> Result<Rebuilt, StoreError> {
        let mut retry = ConflictRetry::default();
        loop {
            let error = match self.try_rebuild(&key).await {
                Err(error @ StoreError::Conflict(_)) => {
                    retry.wait_after(error).await?;
                    continue;
                }
                Err(error) => error,
                done => return done,
            };
            if error.is_transient() {
                return Err(error);
            }
            return Ok(Rebuilt {
                key,
                differences,
                changes: Err(RebuildError::Store(error)),
            });
        }
    }

    async fn try_rebuild(&self, key: &ClientKey) -> Result<Rebuilt, StoreError> {
        let mut batch = self.store.begin().await?;
        let snapshot = batch.snapshot(key).await?;
        let policies = self.policies_in(batch.as_mut(), Staleness::None).await?;
        let names = plan::names_of(&snapshot);
        let holders = batch.holders(&names).await?;
        let plan::Rebuild { differences, commit } =
            plan::plan_rebuild(&snapshot, holders, self.present(), &policies);
        let changes = match commit {
            Ok(commit) => {
                carry_out(batch, &commit).await?;
                self.announce(&commit);
                Ok(commit.journal.len())
            }
            Err(error) => {
                batch.rollback().await?;
                Err(error.into())
            }
        };
        Ok(Rebuilt {
            key: key.clone(),
            differences,
            changes,
        })
    }
}
