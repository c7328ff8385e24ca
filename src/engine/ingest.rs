//! Ingest: events in, one batch in one or more transactions.

mod division;
mod originals;
mod reading;
mod report;
mod trace;
mod transaction;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};

use super::{BusySource, Engine};
use crate::domain::policy::later;
use crate::domain::{ClientKey, Event, Refusal};
use crate::store::{DeadLetter, Heard, MinuteCounts, RecordedOutcome, StoreError, Watermark};
use crate::traces::BatchTrace;
use crate::vitals::EVENTS;
use crate::wire::{Decoded, TraceContext};
use division::divide;
pub use originals::MakeDead;
pub(super) use originals::Origin;
use originals::Originals;
use reading::{Repetition, repetitions};
use report::DeadLine;
pub(super) use report::RefusalLog;
use transaction::Transaction;

/// An event further ahead of the clock than this gets the outcome dead, not deferred.
const LONGEST_DEFERRAL: TimeDelta = TimeDelta::days(1);

/// The outcomes, as the metrics name them.
pub(super) const OUTCOMES: [&str; 5] = ["applied", "duplicate", "refused", "dead", "deferred"];

/// A message that arrived through an entry point, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    Event(Event),
    /// A message that cannot be read as an event. It is stored as a dead letter, and blocks no other message.
    Dead(DeadLetter),
}

impl From<Result<Decoded, DeadLetter>> for Incoming {
    fn from(read: Result<Decoded, DeadLetter>) -> Self {
        read.map_or_else(Self::Dead, |decoded| Self::Event(decoded.event))
    }
}

/// The outcome of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Applied,
    Duplicate,
    Refused {
        refusal: Refusal,
        /// The client of the same partner that has the name, if the event is refused for a name.
        conflicts_with: Option<Arc<str>>,
    },
    /// Stored as a dead letter, for this reason: the message is not a valid event, or its source gave the id of another event to
    /// it.
    Dead(String),
    /// The time of the event is ahead of the clock: it is stored as a dead letter, and redriven at this moment.
    Deferred {
        until: DateTime<Utc>,
        reason: String,
    },
}

impl Outcome {
    /// Refused, with no other client involved or known.
    #[must_use]
    pub const fn refused(refusal: Refusal) -> Self {
        Self::Refused {
            refusal,
            conflicts_with: None,
        }
    }

    /// As the metrics and the traces name it.
    fn name(&self) -> &'static str {
        let [applied, duplicate, refused, dead, deferred] = OUTCOMES;
        match self {
            Self::Applied => applied,
            Self::Duplicate => duplicate,
            Self::Refused { .. } => refused,
            Self::Dead(_) => dead,
            Self::Deferred { .. } => deferred,
        }
    }

    /// Every event ahead of the clock is tried again when its time comes. The outcome of one that is
    /// far ahead is dead, because its sender more likely made a mistake.
    fn of_dead_letter(dead_letter: &DeadLetter, present: DateTime<Utc>) -> Self {
        let reason = dead_letter.reason.clone();
        match dead_letter.retry_at {
            Some(until) if until <= later(present, LONGEST_DEFERRAL) => Self::Deferred { until, reason },
            _ => Self::Dead(reason),
        }
    }
}

impl From<RecordedOutcome> for Outcome {
    fn from(outcome: RecordedOutcome) -> Self {
        outcome.refusal().map_or(Self::Applied, Self::refused)
    }
}

/// The result of a transaction, or of a part of one.
#[derive(Default)]
struct Ingested {
    /// The number of leading events that were ingested.
    events: usize,
    /// Their outcomes, each with its place in the batch.
    outcomes: Vec<(usize, Outcome)>,
    /// Events whose source gave the id of another event to them, with the lines of the log about them.
    mistakes: Vec<(Event, DeadLine)>,
    /// Clients with a history too long to be read in a transaction with others. If there are any, nothing was ingested.
    long: Vec<ClientKey>,
}

impl Engine {
    /// Ingests a batch. When this returns, its effects, or the reasons why it has none, are committed. The outcomes are in the
    /// order of `incoming`. A long batch takes several transactions. Not cancel-safe.
    ///
    /// The events did not come as messages: one that becomes a dead letter is stored as Tenure encodes it.
    ///
    /// # Errors
    /// When the store cannot be reached or has failed. The caller may repeat the batch: the events that were committed are then
    /// duplicates.
    pub async fn ingest(&self, incoming: Vec<Incoming>) -> Result<Vec<Outcome>, StoreError> {
        self.ingest_decoded(incoming, Origin::default(), None).await
    }

    /// As [`Engine::ingest`], and stores the watermark that a lane of the broker reaches with the batch.
    ///
    /// # Errors
    /// As [`Engine::ingest`].
    pub async fn ingest_from_lane(
        &self,
        incoming: Vec<Incoming>,
        watermark: Option<Watermark>,
    ) -> Result<Vec<Outcome>, StoreError> {
        self.ingest_decoded(incoming, Origin::default(), watermark).await
    }

    /// As [`Engine::ingest_from_lane`], of messages: one that becomes a dead letter is stored as it was sent.
    ///
    /// # Errors
    /// As [`Engine::ingest`].
    pub async fn ingest_messages(
        &self,
        incoming: Vec<Incoming>,
        make_dead: MakeDead<'_>,
        watermark: Option<Watermark>,
    ) -> Result<Vec<Outcome>, StoreError> {
        let origin = Origin {
            make_dead: Some(make_dead),
            request: None,
        };
        self.ingest_decoded(incoming, origin, watermark).await
    }

    /// As [`Engine::ingest_messages`], of messages that one request sent. Those that name no span of their own belong to the
    /// trace of the request. `request`: its span, or that of its sender. None: it belongs to no trace.
    ///
    /// # Errors
    /// As [`Engine::ingest`].
    pub async fn ingest_request(
        &self,
        incoming: Vec<Incoming>,
        make_dead: MakeDead<'_>,
        request: Option<&TraceContext>,
    ) -> Result<Vec<Outcome>, StoreError> {
        let origin = Origin {
            make_dead: Some(make_dead),
            request,
        };
        self.ingest_decoded(incoming, origin, None).await
    }

    async fn ingest_decoded(
        &self,
        incoming: Vec<Incoming>,
        origin: Origin<'_>,
        watermark: Option<Watermark>,
    ) -> Result<Vec<Outcome>, StoreError> {
        if incoming.is_empty() && watermark.is_none() {
            return Ok(Vec::new());
        }
        let trace = self.begin_trace(&incoming, origin);
        let ingested = self
            .ingest_measured(incoming, origin, watermark, trace.as_ref())
            .await;
        match (trace, &ingested) {
            (None, _) => {}
            (Some(trace), Ok(outcomes)) => trace.succeed(outcomes.iter().map(Outcome::name)),
            (Some(trace), Err(error)) => trace.fail(error),
        }
        ingested
    }

    /// Ingests, and notes for readiness whether events could be.
    async fn ingest_measured(
        &self,
        incoming: Vec<Incoming>,
        origin: Origin<'_>,
        watermark: Option<Watermark>,
        trace: Option<&BatchTrace>,
    ) -> Result<Vec<Outcome>, StoreError> {
        // Dead letters and heartbeats say nothing about events: the store may accept them and reject every event.
        if !incoming.iter().any(|one| matches!(one, Incoming::Event(_))) {
            return self.ingest_all(incoming, origin, watermark, trace).await;
        }
        let attempt = self.vitals.begin(EVENTS, Instant::now());
        let ingested = self.ingest_all(incoming, origin, watermark, trace).await;
        match &ingested {
            Ok(_) => attempt.succeeded(Instant::now()),
            // Other errors are caused by these events, not by the store.
            Err(error) if error.is_transient() => attempt.failed(error.to_string(), Instant::now()),
            Err(_) => {}
        }
        ingested
    }

    async fn ingest_all(
        &self,
        incoming: Vec<Incoming>,
        origin: Origin<'_>,
        watermark: Option<Watermark>,
        trace: Option<&BatchTrace>,
    ) -> Result<Vec<Outcome>, StoreError> {
        let mut heard = self.newly_heard(&incoming).await?;
        let arrived = self.arrived(&incoming);
        let present = self.watch.present();
        let mut outcomes = vec![Outcome::Duplicate; incoming.len()];
        let mut events = Vec::with_capacity(incoming.len());
        let mut dead_letters = Vec::new();
        let mut dead_lines = Vec::new();
        let mut repeated = Vec::new();
        let repetitions = repetitions(&incoming);
        let originals = Originals {
            origin,
            has_namesakes: repetitions.contains(&Repetition::OfOthers),
            trace,
        };
        for ((index, incoming), repetition) in incoming.into_iter().enumerate().zip(&repetitions) {
            match (incoming, repetition) {
                (Incoming::Dead(dead_letter), _) => {
                    outcomes[index] = Outcome::of_dead_letter(&dead_letter, present);
                    if matches!(outcomes[index], Outcome::Dead(_)) {
                        dead_lines.push(DeadLine::of(&dead_letter, origin));
                    }
                    dead_letters.push(dead_letter);
                }
                (Incoming::Event(event), Repetition::Of(first)) => repeated.push((index, event, *first)),
                (Incoming::Event(event), _) => events.push((index, event)),
            }
        }
        let is_namesake = |index: &usize| repetitions[*index] == Repetition::OfOthers;
        let renewed = {
            let _renewing = trace.map(|trace| trace.child("renew"));
            self.renew(&events, &mut heard, is_namesake).await?
        };
        events.retain(|(index, event)| {
            let is_renewed = renewed.contains(&event.key);
            if is_renewed {
                outcomes[*index] = Outcome::Applied;
            }
            !is_renewed
        });
        if !events.is_empty() {
            // Before the transaction, which must not wait for a second connection while it holds one.
            self.clear_timers().await?;
        }
        let has_news = !heard.is_empty();
        self.ingest_in_transactions(events, dead_letters, watermark, heard, &originals, &mut outcomes)
            .await?;
        if has_news {
            self.sources.invalidate();
        }
        self.ingest_repeated(repeated, &originals, &mut outcomes).await?;
        self.activity.add(self.watch.present(), count(&outcomes));
        self.report(&arrived, &outcomes, &originals);
        for line in dead_lines {
            line.write();
        }
        self.deferred.notice(&outcomes, self.watch.elapsed());
        Ok(outcomes)
    }

    /// How many events each of the busiest sources has sent since it became one, and all others together.
    #[must_use]
    pub fn events_by_source(&self) -> BTreeMap<String, u64> {
        self.busiest.counts()
    }

    /// The busiest sources, those with most events first, and the number of all other events since this worker started.
    #[must_use]
    pub fn busiest_sources(&self) -> (Vec<BusySource>, u64) {
        self.busiest.list(self.watch.elapsed())
    }

    /// Ingests events that repeat an earlier one of the batch. They are duplicates, unless that one became a dead letter.
    async fn ingest_repeated(
        &self,
        repeated: Vec<(usize, Event, usize)>,
        originals: &Originals<'_>,
        outcomes: &mut [Outcome],
    ) -> Result<(), StoreError> {
        let mut dead_letters = Vec::new();
        for (index, event, first) in repeated {
            if let Outcome::Dead(reason) = &outcomes[first] {
                let dead_letter = originals.dead(index, &event, reason);
                self.count_reused_id(&event);
                DeadLine::of(&dead_letter, originals.origin).write();
                dead_letters.push(dead_letter);
                outcomes[index] = outcomes[first].clone();
            }
        }
        self.ingest_in_transactions(Vec::new(), dead_letters, None, Vec::new(), originals, outcomes)
            .await
    }

    /// Ingests events in as many transactions as they need. The last one stores the watermark and what was heard from sources.
    async fn ingest_in_transactions(
        &self,
        events: Vec<(usize, Event)>,
        mut dead_letters: Vec<DeadLetter>,
        watermark: Option<Watermark>,
        heard: Vec<Heard>,
        originals: &Originals<'_>,
        outcomes: &mut [Outcome],
    ) -> Result<(), StoreError> {
        let longest = self.best_batch();
        let mut groups = VecDeque::from([events]);
        while let Some(mut rest) = groups.pop_front() {
            loop {
                let events = &rest[..rest.len().min(longest)];
                let is_last = events.len() == rest.len() && groups.is_empty();
                let watermark = watermark.as_ref().filter(|_| is_last);
                let heard = if is_last { &heard[..] } else { &[] };
                if events.is_empty() && dead_letters.is_empty() && watermark.is_none() && heard.is_empty() {
                    break;
                }
                let transaction = Transaction {
                    events,
                    dead_letters: &dead_letters,
                    watermark,
                    heard,
                    suspicious: false,
                    alone: rest.iter().all(|(_, event)| event.key == rest[0].1.key),
                    originals,
                };
                let ingested = self.ingest_transaction(transaction).await?;
                if !ingested.long.is_empty() {
                    let divided = divide(rest, &ingested.long);
                    rest = divided.first;
                    for group in divided.next.into_iter().rev() {
                        groups.push_front(group);
                    }
                    groups.extend(divided.last);
                    continue;
                }
                for (index, outcome) in ingested.outcomes {
                    outcomes[index] = outcome;
                }
                for (event, line) in ingested.mistakes {
                    self.count_reused_id(&event);
                    line.write();
                }
                dead_letters.clear();
                rest.drain(..ingested.events);
                if rest.is_empty() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The batch size with the least work per event.
    #[must_use]
    pub fn best_batch(&self) -> usize {
        self.store.batch_limits().events_per_transaction()
    }
}

/// Counts outcomes, for the metrics too.
fn count(outcomes: &[Outcome]) -> MinuteCounts {
    for outcome in outcomes {
        if let Outcome::Refused { refusal, .. } = outcome {
            metrics::counter!("tenure_refusals_total", "code" => refusal.code()).increment(1);
        }
    }
    let counts = MinuteCounts::of(outcomes);
    let numbers = [
        counts.applied,
        counts.duplicate,
        counts.refused,
        counts.dead,
        counts.deferred,
    ];
    for (outcome, n) in OUTCOMES.into_iter().zip(numbers) {
        if n > 0 {
            metrics::counter!("tenure_events_total", "outcome" => outcome).increment(n);
        }
    }
    counts
}
