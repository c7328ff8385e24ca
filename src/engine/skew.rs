//! Whether the clock can be trusted: it is compared with the clocks of others, and with time that passes.
//!
//! A clock that is ahead fires timers that are not due, and what is published cannot be unsaid. So while it is known to be
//! ahead, no timer fires: neither by a sweep nor beside an event. A clock that is behind fires them late, which is harmless.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::Engine;
use crate::clock::Clock;
use crate::store::StoreError;

/// How far clocks may differ without a word, when nothing else is said.
pub const DEFAULT_TOLERANCE: TimeDelta = TimeDelta::minutes(1);

/// How long a jump against the passing of time makes the clock suspect, where no other clock can be asked. A machine that
/// slept has the right time after its jump, and one whose clock is put right does so soon.
const SUSPECT_FOR: Duration = Duration::from_mins(10);

/// What the clock is compared with. Where there are several, the first decides; the others are only reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reference {
    /// The clock of the database server.
    Database,
    /// The clock of the RabbitMQ node.
    Broker,
    /// Time that has passed since the process started, or since the clock was last believed.
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

/// How far the clock is from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skew {
    pub reference: Reference,
    /// Positive: this clock is ahead; negative: it is behind. What the comparison cannot tell is left out.
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

/// Another clock, as it was last read.
#[derive(Clone, Copy, Debug)]
struct Reading {
    /// What it said.
    said: DateTime<Utc>,
    /// When it said so, by [`Clock::elapsed`].
    at: Duration,
    /// How far off that may be.
    error: TimeDelta,
}

#[derive(Debug, Default)]
struct Known {
    readings: BTreeMap<Reference, Reading>,
    /// Since when the clock has differed from the time that passes.
    jumped_at: Option<Duration>,
    /// What the log was last told.
    reported: Option<Reference>,
}

/// The clock of an engine, and what is known of others.
pub struct ClockWatch {
    clock: Arc<dyn Clock>,
    tolerance: TimeDelta,
    known: Mutex<Known>,
}

impl ClockWatch {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let watch = Self {
            clock,
            tolerance: DEFAULT_TOLERANCE,
            known: Mutex::default(),
        };
        watch.believe();
        watch
    }

    pub(super) fn tolerate(&mut self, tolerance: TimeDelta) {
        self.tolerance = tolerance;
    }

    /// How far clocks may differ.
    #[must_use]
    pub fn tolerance(&self) -> TimeDelta {
        self.tolerance
    }

    /// Time since some fixed moment, by a clock that nobody can set.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Whether a moment lies so far ahead that only a wrong clock can have written it: this one, or another.
    #[must_use]
    pub fn is_to_come(&self, moment: DateTime<Utc>) -> bool {
        moment > later(self.clock.now(), self.tolerance)
    }

    /// Enters what another clock said. It was asked and had answered at these moments, by [`Clock::elapsed`]; `error` is
    /// how far off its answer may be by itself.
    pub fn compare(
        &self,
        reference: Reference,
        said: DateTime<Utc>,
        asked: Duration,
        answered: Duration,
        error: TimeDelta,
    ) {
        let round_trip = answered.saturating_sub(asked);
        let reading = Reading {
            said,
            at: asked + round_trip / 2,
            error: error + TimeDelta::from_std(round_trip / 2).unwrap_or(TimeDelta::MAX),
        };
        self.known().readings.insert(reference, reading);
    }

    /// How far the clock is from each that it was compared with, as of now.
    #[must_use]
    pub fn skews(&self) -> Vec<Skew> {
        let (now, elapsed) = (self.clock.now(), self.clock.elapsed());
        let known = self.known();
        known
            .readings
            .iter()
            .map(|(reference, reading)| {
                let passed =
                    TimeDelta::from_std(elapsed.saturating_sub(reading.at)).unwrap_or(TimeDelta::MAX);
                let by = now - later(reading.said, passed);
                // What the comparison may be off by is not the clock's fault.
                let certain = (by.abs() - reading.error).max(TimeDelta::zero());
                Skew {
                    reference: *reference,
                    by: if by < TimeDelta::zero() { -certain } else { certain },
                }
            })
            .collect()
    }

    /// The difference by which the clock is wrong, if it is. Of several clocks to compare with the first decides.
    #[must_use]
    pub fn wrong(&self) -> Option<Skew> {
        let deciding = self.skews().into_iter().next()?;
        (deciding.by.abs() > self.tolerance).then_some(deciding)
    }

    /// The same, when timers must not fire by this clock.
    #[must_use]
    pub fn ahead(&self) -> Option<Skew> {
        self.wrong().filter(Skew::is_ahead)
    }

    /// Whether another clock agrees with this one.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        let others = self.skews();
        others
            .first()
            .is_some_and(|skew| skew.reference != Reference::Elapsed)
            && self.wrong().is_none()
    }

    /// Takes the clock for right from here on, as far as the passing of time can tell.
    fn believe(&self) {
        let reading = Reading {
            said: self.clock.now(),
            at: self.clock.elapsed(),
            error: TimeDelta::zero(),
        };
        let mut known = self.known();
        known.readings.insert(Reference::Elapsed, reading);
        known.jumped_at = None;
    }

    /// Looks at the differences: publishes them as metrics, and logs when the clock becomes wrong and when it is right again.
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

    /// A jump is suspect for a while only: see [`SUSPECT_FOR`]. A clock that another confirms has not jumped.
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
            self.believe();
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Compares the clock with the store's, where that has one of its own, and says when they differ.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn compare_clock(&self) -> Result<(), StoreError> {
        let asked = self.watch.elapsed();
        let said = self.store.server_time().await;
        let answered = self.watch.elapsed();
        if let Ok(Some(said)) = said {
            self.watch
                .compare(Reference::Database, said, asked, answered, TimeDelta::zero());
        }
        self.watch.resolve_jump();
        self.watch.report();
        said.map(|_| ())
    }

    /// The clock, and how far it is from others.
    #[must_use]
    pub fn clock(&self) -> &ClockWatch {
        &self.watch
    }
}

fn later(moment: DateTime<Utc>, by: TimeDelta) -> DateTime<Utc> {
    crate::domain::policy::later(moment, by)
}
