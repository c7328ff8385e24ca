//! Clocks. Only this file reads the system clock; all other code takes the time as a parameter, so that a year can be simulated in
//! a second and a crash can be repeated exactly.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::Event;

/// A source of time, to the microsecond.
pub trait Clock: Send + Sync + 'static {
    fn now(&self) -> DateTime<Utc>;

    /// Time since a fixed moment, by a monotonic clock. It may stand still while the machine sleeps.
    fn elapsed(&self) -> Duration;
}

/// The fixed moment of [`SystemClock::elapsed`].
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the place")]
    fn now(&self) -> DateTime<Utc> {
        Event::truncate(Utc::now())
    }

    fn elapsed(&self) -> Duration {
        START.elapsed()
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct SimulatedClock(Mutex<(DateTime<Utc>, Duration)>);

impl SimulatedClock {
    #[must_use]
    pub fn at(moment: DateTime<Utc>) -> Self {
        Self(Mutex::new((Event::truncate(moment), Duration::ZERO)))
    }

    /// Lets time pass up to a moment. A moment in the past sets the clock back, and no time passes.
    pub fn set(&self, moment: DateTime<Utc>) {
        let mut clock = self.hands();
        let moment = Event::truncate(moment);
        let passed = (moment - clock.0).max(TimeDelta::zero());
        clock.0 = moment;
        clock.1 += passed.to_std().unwrap_or_default();
    }

    /// Sets the clock to a moment without time passing.
    pub fn jump(&self, moment: DateTime<Utc>) {
        self.hands().0 = Event::truncate(moment);
    }

    fn hands(&self) -> MutexGuard<'_, (DateTime<Utc>, Duration)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> DateTime<Utc> {
        self.hands().0
    }

    fn elapsed(&self) -> Duration {
        self.hands().1
    }
}
