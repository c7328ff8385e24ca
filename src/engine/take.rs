//! Events in: one batch, one transaction.

mod reading;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::Engine;
use super::conflicts::{Conflicts, give_up_disputed_names};
use super::page::Age;
use super::plan::{self, Plan, Situation};
use super::terms::Terms;
use crate::domain::{ClientKey, Event, Refusal};
use crate::store::{Batch, Commit, DeadLetter, Outcome, StoreError, Stored, Watermark};
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
pub enum Answer {
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

impl Answer {
    fn of_letter(letter: &DeadLetter) -> Self {
        let reason = letter.reason.clone();
        match letter.retry_at {
            Some(until) => Self::Deferred { until, reason },
            None => Self::Dead(reason),
        }
    }
}

impl From<Outcome> for Answer {
    fn from(outcome: Outcome) -> Self {
        outcome.refusal().map_or(Self::Applied, Self::Refused)
    }
}

/// What is taken in one transaction, and where the answers go.
struct Transaction<'a> {
    events: &'a [(usize, Event)],
    letters: &'a [DeadLetter],
    /// How far the lane has come when all of these events are taken.
    watermark: Option<&'a Watermark>,
    /// Look every event up in the log, not only those that could be there.
    suspicious: bool,
    /// No other client's events wait for this transaction: a history of any length is read.
    alone: bool,
}

/// How many of the events, from the first on, were taken, and what came of them.
#[derive(Default)]
struct Taken {
    events: usize,
    answers: Vec<(usize, Answer)>,
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
    pub async fn take(&self, incoming: Vec<Incoming>) -> Result<Vec<Answer>, StoreError> {
        self.take_from_lane(incoming, None).await
    }

    /// The same for what a lane of the broker delivered, and how far the lane has come with it.
    ///
    /// # Errors
    /// As [`Engine::take`].
    pub async fn take_from_lane(
        &self,
        incoming: Vec<Incoming>,
        watermark: Option<Watermark>,
    ) -> Result<Vec<Answer>, StoreError> {
        if incoming.is_empty() && watermark.is_none() {
            return Ok(Vec::new());
        }
        let attempt = self.vitals.begin(EVENTS, Instant::now());
        let taken = self.take_all(incoming, watermark).await;
        match &taken {
            Ok(_) => attempt.succeeded(Instant::now()),
            // Others are about these events, and not about the store.
            Err(error) if error.is_transient() => attempt.failed(error.to_string(), Instant::now()),
            Err(_) => {}
        }
        taken
    }

    async fn take_all(
        &self,
        incoming: Vec<Incoming>,
        watermark: Option<Watermark>,
    ) -> Result<Vec<Answer>, StoreError> {
        let mut answers = vec![Answer::Duplicate; incoming.len()];
        let mut events = Vec::with_capacity(incoming.len());
        let mut letters = Vec::new();
        let again = again(&incoming);
        for ((index, incoming), again) in incoming.into_iter().enumerate().zip(again) {
            match incoming {
                Incoming::Dead(letter) => {
                    answers[index] = Answer::of_letter(&letter);
                    letters.push(letter);
                }
                Incoming::Event(event) if !again => events.push((index, event)),
                Incoming::Event(_) => {}
            }
        }
        let renewed = self.renew(&events).await?;
        events.retain(|(index, event)| {
            let kept = renewed.contains(&event.key);
            if kept {
                answers[*index] = Answer::Applied;
            }
            !kept
        });
        if !events.is_empty() {
            // Before a transaction, which would hold a connection while this waits for another.
            self.clear_timers().await?;
        }
        self.take_apart(events, letters, watermark, &mut answers).await?;
        count(&answers);
        self.deferred.notice(&answers, self.watch.elapsed());
        Ok(answers)
    }

    /// Takes events in as many transactions as they need. The watermark goes with the last of them.
    async fn take_apart(
        &self,
        events: Vec<(usize, Event)>,
        mut letters: Vec<DeadLetter>,
        watermark: Option<Watermark>,
        answers: &mut [Answer],
    ) -> Result<(), StoreError> {
        let longest = self.best_batch();
        let mut groups = VecDeque::from([events]);
        while let Some(mut rest) = groups.pop_front() {
            loop {
                let events = &rest[..rest.len().min(longest)];
                let is_last = events.len() == rest.len() && groups.is_empty();
                let watermark = watermark.as_ref().filter(|_| is_last);
                if events.is_empty() && letters.is_empty() && watermark.is_none() {
                    break;
                }
                let transaction = Transaction {
                    events,
                    letters: &letters,
                    watermark,
                    suspicious: false,
                    alone: rest.iter().all(|(_, event)| event.key == rest[0].1.key),
                };
                let taken = self.take_together(transaction).await?;
                if !taken.long.is_empty() {
                    groups.extend(set_apart(&mut rest, &taken.long));
                    continue;
                }
                for (index, answer) in taken.answers {
                    answers[index] = answer;
                }
                letters.clear();
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
        self.store.parts().of_transaction()
    }

    async fn take_together(&self, mut transaction: Transaction<'_>) -> Result<Taken, StoreError> {
        let mut conflicts = Conflicts::default();
        loop {
            match self.try_together(&transaction).await {
                Err(error) => conflicts.again(error).await?,
                done => return done,
            }
            transaction.suspicious = true;
        }
    }

    async fn try_together(&self, transaction: &Transaction<'_>) -> Result<Taken, StoreError> {
        let parts = self.store.parts();
        let mut batch = self.store.begin().await?;
        let began = Instant::now();
        let terms = if transaction.events.len() > parts.events {
            // It may take longer than one may go by what was read a moment ago. Nobody else writes beside it, so what is
            // read now holds to its end.
            Some(self.terms(batch.as_mut(), Age::Now).await?)
        } else {
            None
        };
        let mut taken = Taken::default();
        let (mut is_empty, mut tells) = (true, false);
        for number in 1..=parts.together {
            let rest = &transaction.events[taken.events..];
            let part = &rest[..rest.len().min(parts.events)];
            let (mut commit, of_part) = self
                .plan_part(batch.as_mut(), part, transaction, terms.as_ref())
                .await?;
            if !of_part.long.is_empty() {
                batch.rollback().await?;
                return Ok(of_part);
            }
            taken.events += of_part.events;
            taken.answers.extend(of_part.answers);
            if number == 1 {
                commit.dead_letters = transaction.letters.to_vec();
            }
            let is_last = taken.events == transaction.events.len();
            if is_last {
                commit.watermark = transaction.watermark.cloned();
            }
            is_empty &= commit.is_empty();
            tells |= !commit.journal.is_empty();
            if is_last || number == parts.together || began.elapsed() > LONGEST || batch.others_wait() {
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
        terms: Option<&Terms>,
    ) -> Result<(Commit, Taken), StoreError> {
        let mut keys: Vec<ClientKey> = part.iter().map(|(_, event)| event.key.clone()).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut stored = batch.lock(&keys, false).await?;
        if transaction.suspicious {
            give_up_disputed_names(batch, &mut stored).await?;
        }
        // Not before: whoever waits for a lock must not go by what was known then.
        let Terms { policies, horizon } = match terms {
            Some(terms) => terms.clone(),
            None => self.terms(batch, Age::AMoment).await?,
        };
        let clients: HashMap<&ClientKey, &Stored> =
            stored.iter().map(|stored| (&stored.key, stored)).collect();
        let client = |event: &Event| clients.get(&event.key).copied();

        let known = known(batch, part, transaction.suspicious, client).await?;
        let mut taken = Taken {
            events: part.len(),
            ..Taken::default()
        };
        let mut fresh: Vec<(usize, usize, Event)> = Vec::with_capacity(part.len());
        for (place, (index, event)) in part.iter().enumerate() {
            if known.contains(&place) {
                taken.answers.push((*index, Answer::Duplicate));
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
            let long = Taken {
                long,
                ..Taken::default()
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
            taken.answers.retain(|(index, _)| *index < places[leading].1);
        }
        let stored = of_these(stored, &events);
        let Plan { commit, outcomes } = plan::plan(
            Situation {
                present: self.present(),
                horizon,
                policies: &policies,
                stored,
                histories,
                holders,
            },
            events,
        );
        for ((_, index), outcome) in places.into_iter().zip(outcomes) {
            taken.answers.push((index, outcome.into()));
        }
        Ok((commit, taken))
    }
}

fn count(answers: &[Answer]) {
    let (mut applied, mut duplicate, mut dead, mut deferred) = (0, 0, 0, 0);
    for answer in answers {
        match answer {
            Answer::Applied => applied += 1,
            Answer::Duplicate => duplicate += 1,
            Answer::Dead(_) => dead += 1,
            Answer::Deferred { .. } => deferred += 1,
            Answer::Refused(refusal) => {
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
