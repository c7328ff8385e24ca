//! Renewals: touches that only renew access are stored without reading the client. They are by far the most frequent events.

use std::collections::{BTreeMap, HashSet};

use super::Engine;
use super::conflict_retry::ConflictRetry;
use crate::domain::{ClientKey, Event};
use crate::store::{Commit, Heard, Renewal, StoreError, Touch, Touches};

impl Engine {
    /// Stores the touches of clients that have only touches among these events, where the touches only renew access. Returns
    /// the clients whose touches are stored and committed. If these are all of the events, what was `heard` of expected sources
    /// is committed with them, and removed from `heard`. `is_namesake`: an earlier event of the batch has the source and id of the
    /// one at this place, so that the latter may be a mistake.
    pub(super) async fn renew(
        &self,
        events: &[(usize, Event)],
        heard: &mut Vec<Heard>,
        is_namesake: impl Fn(&usize) -> bool,
    ) -> Result<HashSet<ClientKey>, StoreError> {
        let renewals = renewals(events, is_namesake);
        if renewals.is_empty() {
            return Ok(HashSet::new());
        }
        let policies = self.policies().await?.count();
        let mut retry = ConflictRetry::default();
        loop {
            match self.try_renew(&renewals, policies, events, heard).await {
                Err(error) => retry.wait_after(error).await?,
                renewed => return renewed,
            }
        }
    }

    async fn try_renew(
        &self,
        renewals: &[Renewal],
        policies: i64,
        events: &[(usize, Event)],
        heard: &mut Vec<Heard>,
    ) -> Result<HashSet<ClientKey>, StoreError> {
        let mut batch = self.store.begin().await?;
        let renewed = batch.renew(renewals, policies).await?;
        if renewed.is_empty() {
            batch.rollback().await?;
            return Ok(renewed);
        }
        let mut commit = Commit {
            recorded_at: self.watch.present(),
            accesses: self.renewed_accesses(events, &renewed),
            ..Commit::default()
        };
        // Otherwise the transaction of the other events says it: they may fail.
        if !heard.is_empty() && events.iter().all(|(_, event)| renewed.contains(&event.key)) {
            commit.heard.clone_from(heard);
        }
        batch.commit(&commit).await?;
        if !commit.heard.is_empty() {
            heard.clear();
            self.sources.invalidate();
        }
        Ok(renewed)
    }
}

/// The renewals by client, in the order of the keys.
fn renewals(events: &[(usize, Event)], is_namesake: impl Fn(&usize) -> bool) -> Vec<Renewal> {
    let mut by_client: BTreeMap<&ClientKey, Option<Vec<Touch>>> = BTreeMap::new();
    for (index, event) in events {
        let touches = by_client.entry(&event.key).or_insert_with(|| Some(Vec::new()));
        let touch = Touch::of(event).filter(|_| !is_namesake(index));
        match (touches.as_mut(), touch) {
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
