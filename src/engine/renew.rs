//! The shortest way: touches that do nothing but renew access, kept without reading the client. The hottest event by far.

use std::collections::{BTreeMap, HashSet};

use super::Engine;
use super::conflict_retry::ConflictRetry;
use crate::domain::{ClientKey, Event};
use crate::store::{Commit, Renewal, StoreError, Touch, Touches};

impl Engine {
    /// Keeps the touches of clients of whom nothing else is among these events, where they do nothing but renew. Tells
    /// whose were kept; when this returns, they are committed.
    pub(super) async fn renew(&self, events: &[(usize, Event)]) -> Result<HashSet<ClientKey>, StoreError> {
        let renewals = renewals(events);
        if renewals.is_empty() {
            return Ok(HashSet::new());
        }
        let policies = self.policies().await?.count();
        let mut retry = ConflictRetry::default();
        loop {
            match self.try_renew(&renewals, policies).await {
                Err(error) => retry.wait_after(error).await?,
                kept => return kept,
            }
        }
    }

    async fn try_renew(&self, renewals: &[Renewal], policies: i64) -> Result<HashSet<ClientKey>, StoreError> {
        let mut batch = self.store.begin().await?;
        let kept = batch.renew(renewals, policies).await?;
        if kept.is_empty() {
            batch.rollback().await?;
        } else {
            batch.commit(&Commit::default()).await?;
        }
        Ok(kept)
    }
}

/// By client, in the order of their keys.
fn renewals(events: &[(usize, Event)]) -> Vec<Renewal> {
    let mut by_client: BTreeMap<&ClientKey, Option<Vec<Touch>>> = BTreeMap::new();
    for (_, event) in events {
        let touches = by_client.entry(&event.key).or_insert_with(|| Some(Vec::new()));
        match (touches.as_mut(), Touch::of(event)) {
            (Some(touches), Some(touch)) => touches.push(touch),
            _ => *touches = None,
        }
    }
    by_client
        .into_iter()
        .filter_map(|(key, touches)| {
            Some(Renewal {
                key: key.clone(),
                touches: touches?.into_iter().collect::<Touches>(),
            })
        })
        .collect()
}
