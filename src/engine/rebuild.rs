//! Rebuilding: what is stored about a client made to agree with what its log says.

use super::cached::Staleness;
use super::conflict_retry::ConflictRetry;
use super::verify::Verified;
use super::walk::{Scope, Walk};
use super::{Engine, carry_out, plan};
use crate::domain::ClientKey;
use crate::store::StoreError;

/// One client that was looked at.
#[derive(Clone, Debug)]
pub struct Rebuilt {
    pub key: ClientKey,
    /// What differed, in words; nothing when all was right, and nothing was written.
    pub differences: Vec<String>,
    /// Lines written to the journal, or why the client could not be put right.
    pub done: Result<usize, String>,
}

impl Engine {
    /// Puts clients right, one after the other, each in a transaction of its own; a client that is right is not
    /// even locked, so a worker may run. Holds one client's history at a time. `seen` is told of each in key order, after
    /// it is committed; whoever is stopped, or meets an error, goes on after the last.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn rebuild(
        &self,
        scope: &Scope,
        mut seen: impl FnMut(Rebuilt) + Send,
    ) -> Result<(), StoreError> {
        let mut walk = Walk::over(scope);
        while let Some(key) = walk.next(self.store.as_ref()).await? {
            let Verified { key, differences, .. } = self.verify_client(key).await?;
            let rebuilt = if differences.is_empty() {
                Rebuilt {
                    key,
                    differences,
                    done: Ok(0),
                }
            } else {
                self.rebuild_client(key, differences).await?
            };
            seen(rebuilt);
        }
        if scope.is_everyone() && !scope.stop.is_cancelled() {
            self.nothing_is_ahead().await?;
        }
        Ok(())
    }

    pub(super) async fn rebuild_client(
        &self,
        key: ClientKey,
        seen: Vec<String>,
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
                differences: seen,
                done: Err(error.to_string()),
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
        let done = match commit {
            Ok(commit) => {
                carry_out(batch, &commit).await?;
                self.tell_relay(&commit);
                Ok(commit.journal.len())
            }
            Err(why) => {
                batch.rollback().await?;
                Err(why)
            }
        };
        Ok(Rebuilt {
            key: key.clone(),
            differences,
            done,
        })
    }
}
