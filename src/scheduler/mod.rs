//! The scheduler: runs the sweeps on their cron lines, in UTC.
//!
//! tokio-cron-scheduler only wakes it up. The scheduler decides from the store whether a run is due, makes up for missed
//! ticks, and stops in order. A run stands for the last tick of its cron line, so several workers share the work of one run.

mod freshness;
mod incidents;
mod report;
mod retention;
mod ticks;
mod turn;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use freshness::Freshness;
pub use retention::Retention;
pub use ticks::TickerError;

use crate::config::{Schedule, SweepSettings};
use crate::domain::Sweep;
use crate::domain::text_enum::text_enum;
use crate::engine::Engine;
use crate::store::StoreError;
use incidents::Incidents;

/// Why a task that ran on a tick failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}; this is a bug: report it with the log")]
    Panic(#[from] tokio::task::JoinError),
}

text_enum! {
    /// The result of considering a tick.
    pub enum TickOutcome {
        /// The sweep ran, to its end or until a halt.
        Ran = "ran",
        /// The sweep ran and skipped due timers; the tick is considered again soon.
        HeldBack = "held_back",
        /// A worker had finished the run already.
        AlreadyDone = "already_done",
        /// A pause or a trip stops the sweep.
        Halted = "halted",
        /// The clock is ahead; the tick is considered again until it is right.
        ClockAhead = "clock_ahead",
        /// The run failed; the tick is considered again after a pause.
        Failed = "failed",
    }
}

impl TickOutcome {
    /// Whether the tick is not considered again.
    fn is_final(self) -> bool {
        matches!(self, Self::Ran | Self::AlreadyDone | Self::Halted)
    }
}

/// A tick that the scheduler has considered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsideredTick {
    pub tick: DateTime<Utc>,
    /// How often the scheduler has considered this tick.
    pub attempts: u64,
    /// The result of the last time.
    pub outcome: TickOutcome,
}

/// The last tick of each sweep that the scheduler has considered.
pub type ConsideredTicks = BTreeMap<Sweep, ConsideredTick>;

/// Runs the sweeps that are enabled.
pub struct Scheduler {
    engine: Arc<Engine>,
    schedules: BTreeMap<Sweep, Schedule>,
    /// Clients in one transaction.
    chunk: u32,
    /// The name of this worker in the records of runs.
    worker: String,
    /// When it started, by [`crate::clock::Clock::elapsed`].
    started: Duration,
    considered: watch::Sender<ConsideredTicks>,
    incidents: Mutex<Incidents>,
}

impl Scheduler {
    #[must_use]
    pub fn new(engine: Arc<Engine>, settings: &SweepSettings, worker: String) -> Arc<Self> {
        report::declare(settings.schedules.keys().copied());
        Arc::new(Self {
            started: engine.clock().elapsed(),
            engine,
            schedules: settings
                .schedules
                .iter()
                .filter(|(_, schedule)| schedule.enabled)
                .map(|(sweep, schedule)| (*sweep, schedule.clone()))
                .collect(),
            chunk: settings.chunk,
            worker,
            considered: watch::Sender::default(),
            incidents: Mutex::default(),
        })
    }

    /// Runs sweeps until it is stopped, and then until each running sweep has finished its chunk. Makes up for a missed tick
    /// at once.
    ///
    /// # Errors
    /// When the ticks cannot be scheduled.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) -> Result<(), TickerError> {
        let ticks: BTreeMap<Sweep, Arc<Notify>> = self
            .schedules
            .keys()
            .map(|sweep| (*sweep, Arc::new(Notify::new())))
            .collect();
        let mut cron = ticks::start(&self.schedules, &ticks).await?;
        let mut turns = JoinSet::new();
        for (sweep, schedule) in &self.schedules {
            let ticked = ticks.get(sweep).cloned().unwrap_or_default();
            turns.spawn(
                self.clone()
                    .run_turns(*sweep, schedule.cron.clone(), ticked, stop.clone()),
            );
        }
        // A worker that runs no sweep has none to report on.
        if !turns.is_empty() {
            turns.spawn(self.clone().watch_halts(stop));
        }
        while turns.join_next().await.is_some() {}
        // No sweep waits for it now; it only has to stop polling.
        let _ = cron.shutdown().await;
        Ok(())
    }

    /// The ticks that this scheduler has considered so far.
    #[must_use]
    pub fn considered(&self) -> watch::Receiver<ConsideredTicks> {
        self.considered.subscribe()
    }

    /// When this worker started, by the present clock.
    fn started_at(&self) -> DateTime<Utc> {
        self.engine.clock().moment_of(self.started)
    }

    /// When any worker last finished each enabled sweep, and what halts it.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn freshness(&self) -> Result<BTreeMap<Sweep, Freshness>, StoreError> {
        let now = self.engine.now();
        let halts = self.engine.store().halts().await?;
        let mut all = BTreeMap::new();
        for (sweep, schedule) in &self.schedules {
            let runs = self.engine.store().runs(Some(*sweep), turn::RECENT).await?;
            let mut freshness = Freshness::of(&schedule.cron, &runs, self.started_at(), now);
            let halts = halts.iter().filter(|halt| halt.sweep == *sweep);
            freshness.halt = halts.max_by_key(|halt| halt.kind).cloned();
            all.insert(*sweep, freshness);
        }
        Ok(all)
    }
}
