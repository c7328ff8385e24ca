//! One chunk of a sweep: locks its clients, fires their timers, and commits.

use std::collections::HashSet;
use std::time::Instant;

use super::Engine;
use super::pass::{Output, Pass};
use crate::domain::{ClientKey, Entry};
use crate::engine::cached::Staleness;
use crate::engine::conflict_retry::{ConflictRetry, release_disputed_names};
use crate::engine::{carry_out, plan};
use crate::store::{RunCounts, StoreError, Stored};

/// The result of a chunk.
#[derive(Default)]
pub(super) struct Swept {
    pub counts: RunCounts,
    /// Its changes, by client.
    pub changes: Vec<(ClientKey, Vec<Entry>)>,
}

impl Engine {
    /// Sweeps these clients in one transaction, or, if one of them makes that fail, each in its own.
    pub(super) async fn sweep_isolated(
        &self,
        keys: Vec<ClientKey>,
        pass: &Pass<'_>,
    ) -> Result<Swept, StoreError> {
        let error = match self.sweep_clients(&keys, pass).await {
            Err(error) if !error.is_transient() => error,
            done => return done,
        };
        tracing::debug!(sweep = %pass.sweep, %error, "a chunk cannot be swept; sweeping its clients one by one");
        // A preview changes nothing, and says nothing about what a run will meet.
        let is_run = matches!(pass.output, Output::Run(_));
        let mut swept = Swept::default();
        for key in keys {
            match self.sweep_clients(std::slice::from_ref(&key), pass).await {
                Ok(mut one) => {
                    swept.counts += one.counts;
                    swept.changes.append(&mut one.changes);
                }
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => {
                    if is_run && self.unsweepable.fail(pass.sweep, &key, Instant::now()) {
                        tracing::error!(
                            sweep = %pass.sweep, client = %key, %error,
                            "the client cannot be swept; each run of the sweep tries again"
                        );
                    }
                    swept.counts.failed += 1;
                }
            }
        }
        let failed = swept.counts.failed;
        if let Output::Run(run) = pass.output
            && failed > 0
        {
            let counts = RunCounts {
                failed,
                ..RunCounts::default()
            };
            self.store.add_run_counts(run, &counts).await?;
        }
        Ok(swept)
    }

    async fn sweep_clients(&self, keys: &[ClientKey], pass: &Pass<'_>) -> Result<Swept, StoreError> {
        let mut retry = ConflictRetry::default();
        let mut suspicious = false;
        loop {
            match self.try_sweep(keys, pass, suspicious).await {
                Err(error) => retry.wait_after(error).await?,
                done => return done,
            }
            suspicious = true;
        }
    }

    async fn try_sweep(
        &self,
        keys: &[ClientKey],
        pass: &Pass<'_>,
        suspicious: bool,
    ) -> Result<Swept, StoreError> {
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        let mut batch = self.store.begin().await?;
        // Skips clients that another transaction has locked: it fires their due timers itself.
        let mut stored = batch.lock(&keys, true).await?;
        if suspicious {
            release_disputed_names(batch.as_mut(), &mut stored).await?;
        }
        let policies = self.policies_in(batch.as_mut(), Staleness::Bounded).await?;
        let (batch, run) = match pass.output {
            Output::Run(run) => (Some(batch), Some(run)),
            Output::Preview => {
                batch.rollback().await?;
                stored.extend(self.busy(&keys, &stored).await?);
                (None, None)
            }
        };
        let examined = stored.len();
        let failing = self
            .unsweepable
            .among(pass.sweep, stored.iter().map(|stored| &stored.key));
        let (mut commit, changes) = plan::plan_sweep(stored, pass.sweep, pass.until, self.now(), &policies);
        let counts = RunCounts {
            examined: count(examined),
            changed: count(changes.len()),
            changes: count(commit.journal.len()),
            failed: 0,
        };
        commit.swept = run.map(|run| (run, counts));
        if let Some(batch) = batch {
            carry_out(batch, &commit).await?;
            self.announce(&commit);
            for key in failing {
                if self.unsweepable.succeed(pass.sweep, key.clone()) {
                    tracing::info!(sweep = %pass.sweep, client = %key, "the client is swept again");
                }
            }
        }
        Ok(Swept { counts, changes })
    }

    /// The clients that could not be locked. A preview must count them, and need not wait for their locks. (Read after the
    /// transaction, because it must not wait for a second connection while it holds one.)
    async fn busy(&self, keys: &[ClientKey], locked: &[Stored]) -> Result<Vec<Stored>, StoreError> {
        let locked: HashSet<&ClientKey> = locked.iter().map(|stored| &stored.key).collect();
        let mut busy = Vec::new();
        for key in keys.iter().filter(|key| !locked.contains(key)) {
            busy.extend(self.store.client(key).await?);
        }
        Ok(busy)
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
