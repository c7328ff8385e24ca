//! Whether the clock can be trusted: compares it with other clocks, and with elapsed time.
//!
//! A clock that is ahead fires timers that are not due, and a published change cannot be withdrawn. So while the clock is known
//! to be ahead, no timer fires, neither in a sweep nor with an event. A clock that is behind fires timers late, which is
//! harmless.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::Engine;
use crate::clock::Clock;
use crate::store::StoreError;

/// How far two clocks may differ, unless the settings say otherwise.
pub const DEFAULT_TOLERANCE: TimeDelta = TimeDelta::minutes(1);

/// How long a jump makes the clock suspect where there is no other clock to compare it with. After a machine slept, its clock
/// jumps to the right time; a clock that jumped to a wrong time is usually corrected soon.
const SUSPECT_FOR: Duration = Duration::from_mins(10);

/// What the clock is compared with. The first one that is known decides; the others are only reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reference {
    /// The clock of the database server.
    Database,
    /// The clock of the RabbitMQ node.
    Broker,
    /// The time that has passed since the process started, or since the clock was last accepted as right.
    Elapsed,
}

impl Reference {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Broker => "broker",
            Self::Elapsed => "elapsed",
        }
    }
}

/// The difference between this clock and another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skew {
    pub reference: Reference,
    /// Positive: this clock is ahead. Negative: it is behind. The possible error of the comparison is subtracted.
    pub by: TimeDelta,
}

impl Skew {
    #[must_use]
    pub fn is_ahead(&self) -> bool {
        self.by > TimeDelta::zero()
    }
}

impl fmt::Display for Skew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = self.by.abs();
        let by = match by.num_days() {
            0 => humantime::format_duration(Duration::from_secs(by.num_seconds().unsigned_abs())).to_string(),
            1 => "1 day".to_owned(),
            days => format!("{days} days"),
        };
        let side = if self.is_ahead() { "ahead of" } else { "behind" };
        match self.reference {
            Reference::Database => write!(f, "this clock is {by} {side} the clock of the database"),
            Reference::Broker => write!(f, "this clock is {by} {side} the clock of RabbitMQ"),
            Reference::Elapsed => write!(
                f,
                "this clock is {by} {side} the time that has passed: it was set"
            ),
        }
    }
}

/// The last reading of another clock.
#[derive(Clone, Copy, Debug)]
struct Reading {
    /// The time that it showed.
    time: DateTime<Utc>,
    /// When it showed that, by [`Clock::elapsed`].
    at: Duration,
    /// The possible error of the reading.
    error: TimeDelta,
}

#[derive(Debug, Default)]
struct Known {
    readings: BTreeMap<Reference, Reading>,
    /// When the clock began to differ from elapsed time.
    jumped_at: Option<Duration>,
    /// The reference of the last warning in the log.
    reported: Option<Reference>,
}

impl Known {
    /// How far a clock that reads `now` is from each reading, the deciding one first.
    fn skews(&self, now: DateTime<Utc>, elapsed: Duration) -> impl Iterator<Item = Skew> {
        self.readings.iter().map(move |(reference, reading)| {
            let passed = TimeDelta::from_std(elapsed.saturating_sub(reading.at)).unwrap_or(TimeDelta::MAX);
            let by = now - later(reading.time, passed);
            // The error of the comparison does not count as a difference.
            let certain = (by.abs() - reading.error).max(TimeDelta::zero());
            Skew {
                reference: *reference,
                by: if by < TimeDelta::zero() { -certain } else { certain },
            }
        })
    }
}

/// The clock of an engine, and its differences from other clocks. Clones share what is known.
#[derive(Clone)]
pub struct ClockWatch {
    clock: Arc<dyn Clock>,
    tolerance: TimeDelta,
    known: Arc<Mutex<Known>>,
}

impl ClockWatch {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let watch = Self {
            clock,
            tolerance: DEFAULT_TOLERANCE,
            known: Arc::default(),
        };
        watch.accept();
        watch
    }

    pub(super) fn tolerate(&mut self, tolerance: TimeDelta) {
        self.tolerance = tolerance;
    }

    /// How far two clocks may differ.
    #[must_use]
    pub fn tolerance(&self) -> TimeDelta {
        self.tolerance
    }

    /// Time since a fixed moment, by a monotonic clock.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// When [`ClockWatch::elapsed`] was this, by the present clock. A moment that was noted then would stay in the future if the clock
    /// was ahead and has been corrected.
    #[must_use]
    pub fn moment_of(&self, elapsed: Duration) -> DateTime<Utc> {
        let passed = self.clock.elapsed().saturating_sub(elapsed);
        self.clock.now() - TimeDelta::from_std(passed).unwrap_or_default()
    }

    /// The present by the deciding clock: the database's, RabbitMQ's, or monotonic time since this clock was last trusted.
    /// It is right while this clock is wrong, and workers whose clocks differ agree on it.
    #[must_use]
    pub fn present(&self) -> DateTime<Utc> {
        let now = self.clock.now();
        let deciding = self.known().skews(now, self.clock.elapsed()).next();
        deciding.map_or(now, |skew| now.checked_sub_signed(skew.by).unwrap_or(now))
    }

    /// Whether a moment is so far ahead of the present that only a wrong clock can have written it.
    #[must_use]
    pub fn is_in_the_future(&self, moment: DateTime<Utc>) -> bool {
        moment > later(self.present(), self.tolerance)
    }

    /// Enters a reading of another clock. `asked` and `answered` are the times of the request and the response, by
    /// [`Clock::elapsed`]; `error` is the possible error of the reading itself.
    pub fn compare(
        &self,
        reference: Reference,
        time: DateTime<Utc>,
        asked: Duration,
        answered: Duration,
        error: TimeDelta,
    ) {
        let round_trip = answered.saturating_sub(asked);
        let reading = Reading {
            time,
            at: asked + round_trip / 2,
            error: error + TimeDelta::from_std(round_trip / 2).unwrap_or(TimeDelta::MAX),
        };
        self.known().readings.insert(reference, reading);
    }

    /// The present difference from each clock that this one was compared with.
    #[must_use]
    pub fn skews(&self) -> Vec<Skew> {
        let (now, elapsed) = (self.clock.now(), self.clock.elapsed());
        self.known().skews(now, elapsed).collect()
    }

    /// The difference by which the clock is wrong. None: it is right, as far as the deciding reference can show.
    #[must_use]
    pub fn wrong(&self) -> Option<Skew> {
        let deciding = self.skews().into_iter().next()?;
        (deciding.by.abs() > self.tolerance).then_some(deciding)
    }

    /// The difference by which the clock is ahead, so that no timer may fire. None: it is right or behind.
    #[must_use]
    pub fn ahead(&self) -> Option<Skew> {
        self.wrong().filter(Skew::is_ahead)
    }

    /// Whether another machine's clock agrees with this one.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        let others = self.skews();
        others
            .first()
            .is_some_and(|skew| skew.reference != Reference::Elapsed)
            && self.wrong().is_none()
    }

    /// Accepts the clock as right, and measures later jumps from here.
    fn accept(&self) {
        let reading = Reading {
            time: self.clock.now(),
            at: self.clock.elapsed(),
            error: TimeDelta::zero(),
        };
        let mut known = self.known();
        known.readings.insert(Reference::Elapsed, reading);
        known.jumped_at = None;
    }

    /// Publishes the differences as metrics, and logs when the clock becomes wrong and when it is right again.
    fn report(&self) {
        for skew in self.skews() {
            metrics::gauge!("tenure_clock_skew_seconds", "reference" => skew.reference.as_str())
                .set(skew.by.as_seconds_f64());
        }
        let wrong = self.wrong();
        let mut known = self.known();
        match (known.reported, wrong) {
            (None, Some(skew)) if skew.is_ahead() => {
                tracing::error!(clock.skew_seconds = skew.by.num_seconds(), why = %skew, "the clock is wrong; no timer fires until it is right");
            }
            (None, Some(skew)) => {
                tracing::error!(clock.skew_seconds = skew.by.num_seconds(), why = %skew, "the clock is wrong; timers fire late until it is right");
            }
            (Some(reference), None) => {
                tracing::info!(clock.reference = reference.as_str(), "the clock is right again");
            }
            _ => {}
        }
        known.reported = wrong.map(|skew| skew.reference);
    }

    /// Accepts a clock that jumped once another clock confirms it, or after [`SUSPECT_FOR`].
    fn resolve_jump(&self) {
        let (elapsed, confirmed) = (self.clock.elapsed(), self.is_confirmed());
        let jumped = self
            .skews()
            .iter()
            .any(|skew| skew.reference == Reference::Elapsed && skew.by.abs() > self.tolerance);
        let mut known = self.known();
        if !jumped {
            known.jumped_at = None;
            return;
        }
        let since = *known.jumped_at.get_or_insert(elapsed);
        drop(known);
        if confirmed || elapsed.saturating_sub(since) >= SUSPECT_FOR {
            self.accept();
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Compares the clock with the clock of the store's server, if there is one, and logs a difference.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn compare_clock(&self) -> Result<(), StoreError> {
        let asked = self.watch.elapsed();
        let time = self.store.server_time().await;
        let answered = self.watch.elapsed();
        if let Ok(Some(time)) = time {
            self.watch
                .compare(Reference::Database, time, asked, answered, TimeDelta::zero());
        }
        self.watch.resolve_jump();
        self.watch.report();
        time.map(|_| ())
    }

    /// The clock, and its differences from other clocks.
    #[must_use]
    pub fn clock(&self) -> &ClockWatch {
        &self.watch
    }
}

fn later(moment: DateTime<Utc>, by: TimeDelta) -> DateTime<Utc> {
    crate::domain::policy::later(moment, by)
}
