//! Verification: every client folded anew from the log and held against what is stored, and its journal
//! read back.

use serde::Serialize;

use super::Engine;
use crate::domain::fold::replay;
use crate::domain::replay::Replica;
use crate::domain::{Client, ClientKey, Policies};
use crate::store::{ClientFilter, Logged, Outcome, StoreError, Stored};

/// Clients read at a time.
const PAGE: u32 = 200;
/// Journal lines read at a time.
const JOURNAL_PAGE: u32 = 1_000;
/// How often a client that differs is read again: the worker may have written in between.
const READINGS: u32 = 5;

/// A client whose stored state is not what its history says.
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

impl Engine {
    /// Folds every client anew. `progress` is told how many clients have been looked at. Safe while a
    /// worker runs.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn verify(&self, mut progress: impl FnMut(u64) + Send) -> Result<VerifyReport, StoreError> {
        let mut report = VerifyReport::default();
        let mut after: Option<ClientKey> = None;
        loop {
            let page = self
                .store
                .clients(&ClientFilter::default(), after.as_ref(), PAGE)
                .await?;
            let Some(last) = page.last() else {
                return Ok(report);
            };
            after = Some(last.key.clone());
            for stored in page {
                let key = stored.key.clone();
                report.clients += 1;
                let (events, found) = self.verify_client(stored).await?;
                report.events += events;
                report.drifts.extend(found.map(|what| Drift {
                    client: key.to_string(),
                    what,
                }));
            }
            progress(report.clients);
        }
    }

    async fn verify_client(&self, mut stored: Stored) -> Result<(u64, Option<String>), StoreError> {
        let mut reading = 1;
        loop {
            let history = self.store.history(&stored.key).await?;
            let events = history.len() as u64;
            let policies = self.policies().await?;
            let difference = match differs(&stored, history, &policies) {
                None => self.journal_differs(&stored).await?,
                some => some,
            };
            if difference.is_none() || reading == READINGS {
                return Ok((events, difference));
            }
            reading += 1;
            match self.store.client(&stored.key).await? {
                Some(again) => stored = again,
                None => return Ok((events, Some("the client's row is gone".into()))),
            }
        }
    }

    async fn journal_differs(&self, stored: &Stored) -> Result<Option<String>, StoreError> {
        let mut replica = Replica::default();
        let mut after = 0;
        loop {
            let page = self.store.journal(&stored.key, after, JOURNAL_PAGE).await?;
            for line in &page {
                replica.apply(&line.entry.change);
                after = line.cursor.sequence;
            }
            if page.len() < JOURNAL_PAGE as usize {
                break;
            }
        }
        let expected = Replica::of(&stored.document.client);
        Ok((replica != expected)
            .then(|| format!("the journal tells of {replica:?}, the client is {expected:?}")))
    }
}

/// What is stored against what the history says, up to the same moment.
fn differs(stored: &Stored, history: Vec<Logged>, policies: &Policies) -> Option<String> {
    let kept = stored.client(policies);
    let (mut events, before): (Vec<_>, Vec<_>) = history
        .into_iter()
        .map(|logged| (logged.event, logged.outcome))
        .unzip();
    let mut folded = Client::default();
    let results = replay(&mut folded, &mut events, policies, |_| false);
    if let Some(as_of) = kept.as_of() {
        folded.advance(as_of, policies);
    }
    if kept != folded {
        return Some(difference(&kept, &folded));
    }
    let outcomes = results.into_iter().map(Outcome::from);
    events
        .iter()
        .zip(before)
        .zip(outcomes)
        .find(|((event, before), now)| before != now && !crate::store::Touch::is_packed(event))
        .map(|((event, before), now)| {
            format!(
                "event {} {} is kept as {before:?}, and is {now:?}",
                event.source, event.id
            )
        })
}

/// Names the parts of two clients that are not the same.
fn difference(kept: &Client, folded: &Client) -> String {
    let json = |client: &Client| match serde_json::to_value(client) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (kept, folded) = (json(kept), json(folded));
    let mut names: Vec<_> = kept.keys().chain(folded.keys()).collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .filter(|name| kept.get(*name) != folded.get(*name))
        .map(|name| {
            let text =
                |value: Option<&serde_json::Value>| value.map_or("nothing".into(), ToString::to_string);
            format!(
                "{name} is kept as {}, the history says {}",
                text(kept.get(name)),
                text(folded.get(name))
            )
        })
        .collect::<Vec<_>>()
        .join("; ")
}
