//! Events in: one batch, one transaction.

mod reading;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::Engine;
use super::cached::Staleness;
use super::conflict_retry::{ConflictRetry, give_up_disputed_names};
use super::plan::{self, Plan, Situation};
use super::transaction_context::TransactionContext;
use crate::domain::{ClientKey, Event, Refusal};
use crate::store::{Batch, Commit, DeadLetter, RecordedOutcome, StoreError, Stored, Watermark};
use crate::vitals::EVENTS;
use reading::{again, histories, known, of_these, set_apart};

/// How long a transaction of several parts may go on before it ends with the part in hand. It ends sooner when somebody
/// waits; but then all that it has written so far is still to be committed, and that takes its time, too.
const LONGEST: Duration = Duration::from_secs(2);

/// Something that came through a door, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    Event(Event),
    /// It cannot be an event; it is kept, and blocks nothing.
    Dead(DeadLetter),
}

/// What came of one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Applied,
    Duplicate,
    Refused(Refusal),
    /// Kept as a dead letter, with this reason.
    Dead(String),
    /// Its time is ahead of the clock, as the reason says: kept as a dead letter, and read again by itself at this moment.
    Deferred {
        until: DateTime<Utc>,
        reason: String,
    },
}

impl Outcome {
    fn of_dead_letter(dead_letter: &DeadLetter) -> Self {
        let reason = dead_letter.reason.clone();
        match dead_letter.retry_at {
            Some(until) => Self::Deferred { until, reason },
            None => Self::Dead(reason),
        }
    }
}

impl From<RecordedOutcome> for Outcome {
    fn from(outcome: RecordedOutcome) -> Self {
        outcome.refusal().map_or(Self::Applied, Self::Refused)
    }
}

/// What is taken in one transaction, and where the answers go.
struct Transaction<'a> {
    events: &'a [(usize, Event)],
    dead_letters: &'a [DeadLetter],
    /// How far the lane has come when all of these events are taken.
    watermark: Option<&'a Watermark>,
    /// Look every event up in the log, not only those that could be there.
    suspicious: bool,
    /// No other client's events wait for this transaction: a history of any length is read.
    alone: bool,
}

/// How many of the events, from the first on, were taken, and what came of them.
#[derive(Default)]
struct Ingested {
    events: usize,
    outcomes: Vec<(usize, Outcome)>,
    /// Clients whose history is too long to be read beside others. With any of them, nothing was taken.
    long: Vec<ClientKey>,
}

impl Engine {
    /// Takes a batch: when this returns, what it did, or why it did nothing, is committed. The
    /// answers are in the order of `incoming`. A long batch is several transactions. Not cancel-safe.
    ///
    /// # Errors
    /// When the store cannot be reached or has failed; the same batch may be given again, and what was
    /// committed of it already is answered as a duplicate.
    pub async fn ingest(&self, incoming: Vec<Incoming>) -> Result<Vec<Outcome>, StoreError> {
        self.ingest_from_lane(incoming, None).await
    }

    /// The same for what a lane of the broker delivered, and how far the lane has come with it.
    ///
    /// # Errors
    /// As [`Engine::ingest`].
    pub async fn ingest_from_lane(
        &self,
        incoming: Vec<Incoming>,
        watermark: Option<Watermark>,
    ) -> Result<Vec<Outcome>, StoreError> {
        if incoming.is_empty() && watermark.is_none() {
            return Ok(Vec::new());
        }
        let attempt = self.vitals.begin(EVENTS, Instant::now());
        let taken = self.ingest_all(incoming, watermark).await;
        match &taken {
            Ok(_) => attempt.succeeded(Instant::now()),
            // Others are about these events, and not about the store.
            Err(error) if error.is_transient() => attempt.failed(error.to_string(), Instant::now()),
            Err(_) => {}
        }
        taken
    }

    async fn ingest_all(
        &self,
        incoming: Vec<Incoming>,
        watermark: Option<Watermark>,
    ) -> Result<Vec<Outcome>, StoreError> {
        let mut outcomes = vec![Outcome::Duplicate; incoming.len()];
        let mut events = Vec::with_capacity(incoming.len());
        let mut dead_letters = Vec::new();
        let again = again(&incoming);
        for ((index, incoming), again) in incoming.into_iter().enumerate().zip(again) {
            match incoming {
                Incoming::Dead(dead_letter) => {
                    outcomes[index] = Outcome::of_dead_letter(&dead_letter);
                    dead_letters.push(dead_letter);
                }
                Incoming::Event(event) if !again => events.push((index, event)),
                Incoming::Event(_) => {}
            }
        }
        let renewed = self.renew(&events).await?;
        events.retain(|(index, event)| {
            let kept = renewed.contains(&event.key);
            if kept {
                outcomes[*index] = Outcome::Applied;
            }
            !kept
        });
        if !events.is_empty() {
            // Before a transaction, which would hold a connection while this waits for another.
            self.clear_timers().await?;
        }
        self.ingest_in_transactions(events, dead_letters, watermark, &mut outcomes)
            .await?;
        count(&outcomes);
        self.deferred.notice(&outcomes, self.watch.elapsed());
        Ok(outcomes)
    }

    /// Takes events in as many transactions as they need. The watermark goes with the last of them.
    async fn ingest_in_transactions(
        &self,
        events: Vec<(usize, Event)>,
        mut dead_letters: Vec<DeadLetter>,
        watermark: Option<Watermark>,
        outcomes: &mut [Outcome],
    ) -> Result<(), StoreError> {
        let longest = self.best_batch();
        let mut groups = VecDeque::from([events]);
        while let Some(mut rest) = groups.pop_front() {
            loop {
                let events = &rest[..rest.len().min(longest)];
                let is_last = events.len() == rest.len() && groups.is_empty();
                let watermark = watermark.as_ref().filter(|_| is_last);
                if events.is_empty() && dead_letters.is_empty() && watermark.is_none() {
                    break;
                }
                let transaction = Transaction {
                    events,
                    dead_letters: &dead_letters,
                    watermark,
                    suspicious: false,
                    alone: rest.iter().all(|(_, event)| event.key == rest[0].1.key),
                };
                let taken = self.ingest_transaction(transaction).await?;
                if !taken.long.is_empty() {
                    groups.extend(set_apart(&mut rest, &taken.long));
                    continue;
                }
                for (index, outcome) in taken.outcomes {
                    outcomes[index] = outcome;
                }
                dead_letters.clear();
                rest.drain(..taken.events);
                if rest.is_empty() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// How many events it takes least work for each to take at a time.
    #[must_use]
    pub fn best_batch(&self) -> usize {
        self.store.batch_limits().events_per_transaction()
    }

    async fn ingest_transaction(&self, mut transaction: Transaction<'_>) -> Result<Ingested, StoreError> {
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
            // It may take longer than one may go by what was read a moment ago. Nobody else writes beside it, so what is
            // read now holds to its end.
            Some(self.transaction_context(batch.as_mut(), Staleness::None).await?)
        } else {
            None
        };
        let mut taken = Ingested::default();
        let (mut is_empty, mut tells) = (true, false);
        for number in 1..=limits.parts {
            let rest = &transaction.events[taken.events..];
            let part = &rest[..rest.len().min(limits.events_per_part)];
            let (mut commit, of_part) = self
                .plan_part(batch.as_mut(), part, transaction, context.as_ref())
                .await?;
            if !of_part.long.is_empty() {
                batch.rollback().await?;
                return Ok(of_part);
            }
            taken.events += of_part.events;
            taken.outcomes.extend(of_part.outcomes);
            if number == 1 {
                commit.dead_letters = transaction.dead_letters.to_vec();
            }
            let is_last = taken.events == transaction.events.len();
            if is_last {
                commit.watermark = transaction.watermark.cloned();
            }
            is_empty &= commit.is_empty();
            tells |= !commit.journal.is_empty();
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
        if tells {
            self.journal_written.notify_one();
        }
        Ok(taken)
    }

    /// Plans as many of these events as can be planned together. None, when a client among them has a long history and
    /// others would wait for it.
    async fn plan_part(
        &self,
        batch: &mut dyn Batch,
        part: &[(usize, Event)],
        transaction: &Transaction<'_>,
        context: Option<&TransactionContext>,
    ) -> Result<(Commit, Ingested), StoreError> {
        let mut keys: Vec<ClientKey> = part.iter().map(|(_, event)| event.key.clone()).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut stored = batch.lock(&keys, false).await?;
        if transaction.suspicious {
            give_up_disputed_names(batch, &mut stored).await?;
        }
        // Not before: whoever waits for a lock must not go by what was known then.
        let TransactionContext {
            policies,
            low_watermark,
        } = match context {
            Some(context) => context.clone(),
            None => self.transaction_context(batch, Staleness::Bounded).await?,
        };
        let clients: HashMap<&ClientKey, &Stored> =
            stored.iter().map(|stored| (&stored.key, stored)).collect();
        let client = |event: &Event| clients.get(&event.key).copied();

        let known = known(batch, part, transaction.suspicious, client).await?;
        let mut taken = Ingested {
            events: part.len(),
            ..Ingested::default()
        };
        let mut fresh: Vec<(usize, usize, Event)> = Vec::with_capacity(part.len());
        for (place, (index, event)) in part.iter().enumerate() {
            if known.contains(&place) {
                taken.outcomes.push((*index, Outcome::Duplicate));
            } else {
                fresh.push((place, *index, event.clone()));
            }
        }
        let late: BTreeSet<&ClientKey> = fresh
            .iter()
            .filter(|(_, _, event)| plan::needs_history(client(event), event, &policies))
            .map(|(_, _, event)| &event.key)
            .collect();
        let late: Vec<ClientKey> = late.into_iter().cloned().collect();
        let histories = histories(batch, &late, transaction.alone).await?;
        let long: Vec<_> = late
            .iter()
            .filter(|key| !histories.contains_key(*key))
            .cloned()
            .collect();
        if !long.is_empty() {
            let long = Ingested {
                long,
                ..Ingested::default()
            };
            return Ok((Commit::default(), long));
        }
        let claims: Vec<_> = plan::claims(
            fresh.iter().map(|(_, _, event)| event),
            histories.values().flatten(),
        )
        .into_iter()
        .collect();
        let holders = if claims.is_empty() {
            HashMap::new()
        } else {
            batch.holders(&claims).await?
        };

        let (places, mut events): (Vec<_>, Vec<_>) = fresh
            .into_iter()
            .map(|(place, index, event)| ((place, index), event))
            .unzip();
        let leading = plan::leading(&events, &holders);
        if leading < events.len() {
            events.truncate(leading);
            taken.events = places[leading].0;
            taken.outcomes.retain(|(index, _)| *index < places[leading].1);
        }
        let stored = of_these(stored, &events);
        let Plan { commit, outcomes } = plan::plan(
            Situation {
                present: self.present(),
                low_watermark,
                policies: &policies,
                stored,
                histories,
                holders,
            },
            events,
        );
        for ((_, index), outcome) in places.into_iter().zip(outcomes) {
            taken.outcomes.push((index, outcome.into()));
        }
        Ok((commit, taken))
    }
}

fn count(outcomes: &[Outcome]) {
    let (mut applied, mut duplicate, mut dead, mut deferred) = (0, 0, 0, 0);
    for outcome in outcomes {
        match outcome {
            Outcome::Applied => applied += 1,
            Outcome::Duplicate => duplicate += 1,
            Outcome::Dead(_) => dead += 1,
            Outcome::Deferred { .. } => deferred += 1,
            Outcome::Refused(refusal) => {
                metrics::counter!("tenure_events_total", "outcome" => "refused").increment(1);
                metrics::counter!("tenure_refusals_total", "code" => refusal.code()).increment(1);
            }
        }
    }
    for (outcome, n) in [
        ("applied", applied),
        ("duplicate", duplicate),
        ("dead", dead),
        ("deferred", deferred),
    ] {
        if n > 0 {
            metrics::counter!("tenure_events_total", "outcome" => outcome).increment(n);
        }
    }
}
