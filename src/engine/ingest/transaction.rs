//! One transaction of events: reads what the plan needs, plans, and writes, part by part.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use super::reading::{ClientsByKey, Known, late_clients, read_histories, read_known, retain_clients_of};
use super::{DeadLine, Engine, Ingested, Originals, Outcome};
use crate::domain::{ClientKey, Event};
use crate::engine::cached::Staleness;
use crate::engine::conflict_retry::{ConflictRetry, release_disputed_names};
use crate::engine::plan::{self, History, Plan, Situation};
use crate::engine::transaction_context::TransactionContext;
use crate::store::{
    Batch, ChangeCounts, Commit, DeadLetter, Heard, NameClaim, StoreError, Stored, Watermark,
};

/// A transaction of several parts ends after this time with the current part. It ends sooner when another transaction waits;
/// but the commit of what it has written takes time, too.
const LONGEST: Duration = Duration::from_secs(2);

/// The input of one transaction.
pub(super) struct Transaction<'a> {
    /// Each with its place in the batch.
    pub events: &'a [(usize, Event)],
    pub dead_letters: &'a [DeadLetter],
    /// The watermark that the lane reaches when all of these events are ingested.
    pub watermark: Option<&'a Watermark>,
    /// What was heard from expected sources when all of these events are ingested.
    pub heard: &'a [Heard],
    /// Look for names that two clients hold. Set after a conflict.
    pub suspicious: bool,
    /// All events are of one client, so that no other client waits while a long history is read.
    pub alone: bool,
    pub originals: &'a Originals<'a>,
}

impl Engine {
    pub(super) async fn ingest_transaction(
        &self,
        mut transaction: Transaction<'_>,
    ) -> Result<Ingested, StoreError> {
        let mut retry = ConflictRetry::default();
        loop {
            match self.try_transaction(&transaction).await {
                Err(error) => retry.wait_after(error).await?,
                done => return done,
            }
            transaction.suspicious = true;
        }
    }

    async fn try_transaction(&self, transaction: &Transaction<'_>) -> Result<Ingested, StoreError> {
        let limits = self.store.batch_limits();
        let mut batch = self.store.begin().await?;
        let began = Instant::now();
        let context = if transaction.events.len() > limits.events_per_part {
            // The transaction may outlive a cached context. No other transaction writes meanwhile, so a context that is read
            // now is valid to the end.
            Some(self.transaction_context(batch.as_mut(), Staleness::None).await?)
        } else {
            None
        };
        let mut ingested = Ingested::default();
        let (mut is_empty, mut changes) = (true, ChangeCounts::default());
        for number in 1..=limits.parts {
            let rest = &transaction.events[ingested.events..];
            let part = &rest[..rest.len().min(limits.events_per_part)];
            let deciding = transaction.originals.span("decide");
            let (mut commit, of_part) = self
                .plan_part(batch.as_mut(), part, transaction, context.as_ref())
                .await?;
            drop(deciding);
            if !of_part.long.is_empty() {
                batch.rollback().await?;
                return Ok(of_part);
            }
            ingested.events += of_part.events;
            ingested.outcomes.extend(of_part.outcomes);
            ingested.mistakes.extend(of_part.mistakes);
            if number == 1 {
                let mut dead_letters = transaction.dead_letters.to_vec();
                dead_letters.append(&mut commit.dead_letters);
                commit.dead_letters = dead_letters;
            }
            let is_last = ingested.events == transaction.events.len();
            if is_last {
                commit.watermark = transaction.watermark.cloned();
                commit.heard = transaction.heard.to_vec();
            }
            is_empty &= commit.is_empty();
            changes += ChangeCounts::of(&commit.journal);
            let _writing = transaction.originals.span("commit");
            if is_last || number == limits.parts || began.elapsed() > LONGEST || batch.others_wait() {
                if is_empty {
                    batch.rollback().await?;
                } else {
                    batch.commit(&commit).await?;
                }
                break;
            }
            batch.write(&commit).await?;
        }
        self.announce_changes(changes);
        Ok(ingested)
    }

    /// Plans these events: none, if a client among them has a long history and others would wait for it.
    async fn plan_part(
        &self,
        batch: &mut dyn Batch,
        part: &[(usize, Event)],
        transaction: &Transaction<'_>,
        context: Option<&TransactionContext>,
    ) -> Result<(Commit, Ingested), StoreError> {
        let (stored, duplicates) = lock_clients(batch, part, transaction.suspicious).await?;
        // Only after the locks: while the transaction waited for one, its context may have become stale.
        let context = match context {
            Some(context) => context.clone(),
            None => self.transaction_context(batch, Staleness::Bounded).await?,
        };
        let known = read_known(batch, part, duplicates, transaction.originals.has_namesakes).await?;
        let NewEvents {
            events,
            places,
            mut ingested,
        } = NewEvents::of(part, &known);
        let accesses = self.new_accesses(&events);
        let traces = transaction.originals.traces(places.iter().copied().zip(&events));
        let planned = self
            .plan_events(batch, stored, events, &context, transaction.alone)
            .await?;
        let (mut commit, outcomes) = match planned {
            Ok(plan) => outcomes_of(plan),
            Err(long) => {
                let ingested = Ingested {
                    long,
                    ..Ingested::default()
                };
                return Ok((Commit::default(), ingested));
            }
        };
        commit.accesses = accesses;
        commit.traces = traces;
        if self.access_log().is_none() {
            commit.touch_outcomes.clear();
        }
        for (place, outcome) in places.into_iter().zip(outcomes) {
            ingested.outcomes.push((place, outcome));
        }
        for (place, reason) in &known.mistakes {
            let (in_batch, event) = &part[*place];
            let dead_letter = transaction.originals.dead(*in_batch, event, reason);
            let line = DeadLine::of(&dead_letter, transaction.originals.origin);
            ingested.mistakes.push((event.clone(), line));
            commit.dead_letters.push(dead_letter);
        }
        Ok((commit, ingested))
    }

    /// Plans events that are not in the log, from the histories that they need. Err: the clients with long histories for which others
    /// would wait.
    async fn plan_events(
        &self,
        batch: &mut dyn Batch,
        stored: Vec<Stored>,
        events: Vec<Event>,
        context: &TransactionContext,
        alone: bool,
    ) -> Result<Result<Plan, Vec<ClientKey>>, StoreError> {
        let clients: ClientsByKey<'_> = stored.iter().map(|stored| (&stored.key, stored)).collect();
        let late = late_clients(&events, &clients);
        let mut whole = BTreeSet::new();
        loop {
            let histories = read_histories(batch, &late, &clients, &context.policies, alone, &whole).await?;
            let long: Vec<ClientKey> = late
                .keys()
                .filter(|key| !histories.contains_key(key))
                .cloned()
                .collect();
            if !long.is_empty() {
                return Ok(Err(long));
            }
            let may_need_beginning = histories.values().any(|history| history.after().is_some());
            let holders = read_holders(batch, &events, &histories, &stored).await?;
            let situation = |stored| Situation {
                present: self.present(),
                low_watermark: context.low_watermark,
                policies: &context.policies,
                stored,
                histories,
                spacing: self.spacing,
                holders,
            };
            if !may_need_beginning {
                drop(clients);
                let stored = retain_clients_of(stored, &events);
                return Ok(Ok(plan::plan(situation(stored), events)));
            }
            let plan = plan::plan(
                situation(retain_clients_of(stored.clone(), &events)),
                events.clone(),
            );
            if plan.needs_beginning.is_empty() {
                return Ok(Ok(plan));
            }
            whole.extend(plan.needs_beginning);
        }
    }
}

/// The events of a part to plan, and the result so far.
struct NewEvents {
    events: Vec<Event>,
    /// Their places in the batch.
    places: Vec<usize>,
    /// All events of the part, and the outcomes of the others.
    ingested: Ingested,
}

impl NewEvents {
    fn of(part: &[(usize, Event)], known: &Known) -> Self {
        let mut new = Self {
            events: Vec::with_capacity(part.len()),
            places: Vec::with_capacity(part.len()),
            ingested: Ingested {
                events: part.len(),
                ..Ingested::default()
            },
        };
        for (in_part, (in_batch, event)) in part.iter().enumerate() {
            if let Some(reason) = known.mistakes.get(&in_part) {
                let outcome = Outcome::Dead(reason.clone());
                new.ingested.outcomes.push((*in_batch, outcome));
            } else if known.duplicates.contains(&in_part) {
                new.ingested.outcomes.push((*in_batch, Outcome::Duplicate));
            } else {
                new.events.push(event.clone());
                new.places.push(*in_batch);
            }
        }
        new
    }
}

/// A plan as a commit, and the outcome of each event.
fn outcomes_of(plan: Plan) -> (Commit, Vec<Outcome>) {
    let mut conflicts = plan.conflicts;
    let outcomes = plan.outcomes.into_iter().enumerate();
    let outcomes = outcomes.map(|(place, outcome)| match outcome.refusal() {
        None => Outcome::Applied,
        Some(refusal) => Outcome::Refused {
            refusal,
            conflicts_with: conflicts.remove(&place),
        },
    });
    let outcomes = outcomes.collect();
    (plan.commit, outcomes)
}

/// The clients of a part, locked, and the places of its events that are in the event log already. Each event is looked up: a source may
/// give one id to two events, also of different clients.
async fn lock_clients(
    batch: &mut dyn Batch,
    part: &[(usize, Event)],
    suspicious: bool,
) -> Result<(Vec<Stored>, HashSet<usize>), StoreError> {
    let mut keys: Vec<ClientKey> = part.iter().map(|(_, event)| event.key.clone()).collect();
    keys.sort_unstable();
    keys.dedup();
    let ids: Vec<(&str, &str)> = part
        .iter()
        .map(|(_, event)| (&*event.source, &*event.id))
        .collect();
    let (mut stored, duplicates) = batch.lock_for_events(&keys, &ids).await?;
    if suspicious {
        release_disputed_names(batch, &mut stored).await?;
    }
    Ok((stored, duplicates))
}

/// The holders of the names that the plan must know.
async fn read_holders(
    batch: &mut dyn Batch,
    events: &[Event],
    histories: &HashMap<ClientKey, History>,
    clients: &[Stored],
) -> Result<HashMap<NameClaim, ClientKey>, StoreError> {
    let replayed = histories.values().flat_map(|history| &history.events);
    let claims: Vec<_> = plan::claims(events.iter(), replayed, clients)
        .into_iter()
        .collect();
    if claims.is_empty() {
        return Ok(HashMap::new());
    }
    batch.holders(&claims).await
}
