//! What operators do with workers that are gone.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::GONE_AFTER;
use crate::domain::time::rfc3339;
use crate::engine::Operator;
use crate::store::{OperatorAction, StoreError};

/// Why a worker was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveWorkerError {
    #[error("no worker is named {0}; `tenure workers list` lists them")]
    Unknown(String),
    #[error(
        "the worker {name} was last seen at {}, so it may run; if it is not seen again, it can be removed from {} on. A worker that \
         stops removes itself",
        rfc3339(*seen_at),
        rfc3339(*seen_at + GONE_AFTER)
    )]
    Runs { name: String, seen_at: DateTime<Utc> },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Operator<'_> {
    /// Removes a worker that is gone from the list. It is listed again if it comes back.
    ///
    /// # Errors
    /// [`RemoveWorkerError::Unknown`], [`RemoveWorkerError::Runs`], or the store cannot be reached.
    pub async fn remove_worker(&self, name: &str) -> Result<(), RemoveWorkerError> {
        let engine = self.engine;
        loop {
            let unseen_since = engine.watch.present() - GONE_AFTER;
            let workers = engine.store.workers().await?;
            let worker = workers.into_iter().find(|worker| worker.name == name);
            let worker = worker.ok_or_else(|| RemoveWorkerError::Unknown(name.to_owned()))?;
            if worker.seen_at >= unseen_since {
                return Err(RemoveWorkerError::Runs {
                    name: worker.name,
                    seen_at: worker.seen_at,
                });
            }
            let details = json!({
                "host": worker.host,
                "version": worker.version,
                "seen_at": rfc3339(worker.seen_at),
            });
            let entry = self.entry("worker.remove", Some(name.to_owned()), details);
            let action = OperatorAction::RemoveWorker {
                name: worker.name,
                unseen_since,
            };
            // Otherwise it has come back in this moment, or somebody else has removed it.
            if self.act(action, &entry).await? {
                return Ok(());
            }
        }
    }
}
