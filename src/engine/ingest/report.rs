//! What is logged about the messages of a batch, after it was committed: each dead letter, and refusals if the settings ask for it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Engine, Incoming, Origin, Originals, Outcome};
use crate::domain::{ClientKey, Event, Refusal};
use crate::store::DeadLetter;
use crate::wire::Described;

/// The period in which a number of refusals is logged.
const PERIOD: Duration = Duration::from_mins(1);

/// What is remembered of an event while its batch is ingested.
pub(super) struct Arrived {
    pub source: Arc<str>,
    /// When it happened.
    pub time: DateTime<Utc>,
    /// None: nobody asks for it.
    pub name: Option<EventName>,
}

/// What identifies an event for people.
pub(super) struct EventName {
    pub id: Arc<str>,
    pub key: ClientKey,
    pub kind: &'static str,
}

impl Arrived {
    pub fn of(event: &Event, is_named: bool) -> Self {
        Self {
            source: event.source.clone(),
            time: event.time,
            name: is_named.then(|| EventName {
                id: event.id.clone(),
                key: event.key.clone(),
                kind: event.kind.type_name(),
            }),
        }
    }
}

/// A line of the log about a dead letter. It is written when the dead letter is stored.
pub(super) struct DeadLine {
    described: Described,
    trace: Option<String>,
    origin: String,
    bytes: usize,
    why: String,
}

impl DeadLine {
    pub fn of(dead_letter: &DeadLetter, origin: Origin<'_>) -> Self {
        Self {
            described: Described::of(dead_letter),
            trace: origin.trace_id(dead_letter),
            origin: dead_letter.origin.clone(),
            bytes: dead_letter.body.len(),
            why: dead_letter.reason.clone(),
        }
    }

    pub fn write(&self) {
        let described = &self.described;
        tracing::warn!(
            event.id = described.id,
            event.source = described.source,
            event.kind = described.kind,
            client = described.subject,
            message.origin = self.origin,
            message.bytes = self.bytes,
            trace.id = self.trace,
            why = self.why,
            "a message became a dead letter; `tenure dead list` shows it"
        );
    }
}

/// How many refusals are logged, and how many were.
#[derive(Debug, Default)]
pub(in crate::engine) struct RefusalLog {
    /// 0: refusals are not logged.
    pub per_minute: u32,
    state: Mutex<Logged>,
}

#[derive(Debug, Default)]
struct Logged {
    /// When the period began, by [`crate::clock::Clock::elapsed`].
    since: Duration,
    lines: u32,
    left_out: u64,
}

impl RefusalLog {
    /// Whether one more may be logged, and how many were left out in the period that ends now.
    fn admit(&self, elapsed: Duration) -> (bool, u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let left_out = state.end_period(elapsed);
        let is_admitted = state.lines < self.per_minute;
        if is_admitted {
            state.lines += 1;
        } else {
            state.left_out += 1;
        }
        (is_admitted, left_out)
    }

    /// How many were left out in the period that ends now, without one more.
    fn left_out(&self, elapsed: Duration) -> u64 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.end_period(elapsed)
    }

    /// How many were left out so far, whether the period is over or not.
    fn left_out_so_far(&self) -> u64 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut state.left_out)
    }
}

impl Logged {
    /// Begins a new period if this one is over. Returns how many were left out in it.
    fn end_period(&mut self, elapsed: Duration) -> u64 {
        if elapsed.saturating_sub(self.since) < PERIOD {
            return 0;
        }
        let ended = std::mem::take(self);
        self.since = elapsed;
        ended.left_out
    }
}

impl Engine {
    /// Sets how many refusals are logged in a minute. 0: none, as by default.
    #[must_use]
    pub fn with_refusal_log(mut self, per_minute: u32) -> Self {
        self.refusal_log.per_minute = per_minute;
        self
    }

    /// What is remembered of the events of a batch, by place.
    pub(super) fn arrived(&self, incoming: &[Incoming]) -> Vec<Option<Arrived>> {
        let is_named = self.has_refusal_log();
        let arrived = |one: &Incoming| match one {
            Incoming::Event(event) => Some(Arrived::of(event, is_named)),
            Incoming::Dead(_) => None,
        };
        incoming.iter().map(arrived).collect()
    }

    /// Counts and logs the events of a batch that was committed.
    pub(super) fn report(
        &self,
        arrived: &[Option<Arrived>],
        outcomes: &[Outcome],
        originals: &Originals<'_>,
    ) {
        let sources = || arrived.iter().flatten().map(|event| &event.source);
        self.known_sources.meet(sources());
        self.busiest.add(sources(), self.watch.elapsed());
        let ages = metrics::histogram!("tenure_event_to_commit_seconds");
        let now = self.now();
        for (place, (event, outcome)) in arrived.iter().zip(outcomes).enumerate() {
            let Some(event) = event else { continue };
            if matches!(outcome, Outcome::Applied | Outcome::Refused { .. }) {
                ages.record((now - event.time).as_seconds_f64().max(0.0));
            }
            if let (Outcome::Refused { refusal, .. }, Some(name)) = (outcome, &event.name) {
                self.log_refusal(event, name, *refusal, || originals.trace_id(place));
            }
        }
    }

    /// Whether refusals are logged, up to a number.
    #[must_use]
    pub fn has_refusal_log(&self) -> bool {
        self.refusal_log.per_minute > 0
    }

    /// Logs how many refusals were left out in a minute that is over, if no further one has done so.
    pub fn end_refusal_minute(&self) {
        log_left_out(self.refusal_log.left_out(self.watch.elapsed()));
    }

    /// Logs how many refusals were left out in the last minute, however long it was: no event follows.
    pub fn end_refusal_log(&self) {
        log_left_out(self.refusal_log.left_out_so_far());
    }

    fn log_refusal(
        &self,
        event: &Arrived,
        name: &EventName,
        refusal: Refusal,
        trace: impl FnOnce() -> Option<String>,
    ) {
        let (is_admitted, left_out) = self.refusal_log.admit(self.watch.elapsed());
        log_left_out(left_out);
        if is_admitted {
            tracing::info!(
                event.id = &*name.id,
                event.source = &*event.source,
                event.kind = name.kind,
                client = %name.key,
                trace.id = trace(),
                refusal = refusal.code(),
                why = refusal.words(),
                "an event was refused"
            );
        }
    }
}

fn log_left_out(events: u64) {
    if events > 0 {
        tracing::info!(
            events.left_out = events,
            "more events were refused than `log.refusals_per_minute` allows to log; `tenure refusals` lists them"
        );
    }
}

impl Originals<'_> {
    /// The id of the trace that a message belongs to.
    fn trace_id(&self, place: usize) -> Option<String> {
        let make_dead = self.origin.make_dead?;
        self.origin.trace_id(&make_dead(place, ""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_beyond_the_limit_are_counted_and_not_logged() {
        let log = RefusalLog {
            per_minute: 2,
            ..RefusalLog::default()
        };
        let admit = |seconds| log.admit(Duration::from_secs(seconds));
        assert_eq!(
            [admit(0), admit(1), admit(2), admit(59)].map(|(is_admitted, _)| is_admitted),
            [true, true, false, false]
        );
        assert_eq!(admit(60), (true, 2));
        assert_eq!(admit(61), (true, 0));
        assert_eq!(admit(62), (false, 0));
        // Without a further refusal.
        let left_out = |seconds| log.left_out(Duration::from_secs(seconds));
        assert_eq!([left_out(119), left_out(120), left_out(180)], [0, 1, 0]);
        // Before the minute is over, at the end.
        assert_eq!(
            [181, 182, 183].map(|seconds| admit(seconds).0),
            [true, true, false]
        );
        assert_eq!([log.left_out_so_far(), log.left_out_so_far()], [1, 0]);
        let off = RefusalLog::default();
        assert_eq!(off.admit(Duration::ZERO), (false, 0));
    }
}
