//! The scheduler: runs the sweeps on their cron lines, in UTC.
//!
//! tokio-cron-scheduler gives the tick and nothing more. What a run stands for, whether it is due, that
//! it does not run into itself, what was missed during a standstill and how it ends at shutdown are
//! decided here, from the store: a run stands for the last tick of its line, so that several workers
//! mean the same run and share its work.

mod fresh;
mod retention;
mod ticker;
mod turn;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use fresh::Freshness;
pub use retention::prune_on_ticks;
pub use ticker::TickerError;

use crate::config::{Schedule, SweepSettings};
use crate::domain::Sweep;
use crate::engine::{Breaker, Engine};
use crate::store::{HaltKind, StoreError};

/// Runs the sweeps that are enabled.
pub struct Scheduler {
    engine: Arc<Engine>,
    schedules: BTreeMap<Sweep, Schedule>,
    /// Clients in one transaction.
    chunk: u32,
    breaker: Breaker,
    /// Who sweeps, for the record.
    worker: String,
    /// By a clock that nobody can set: a moment would stay ahead of a clock that is put right.
    started: Duration,
}

impl Scheduler {
    #[must_use]
    pub fn new(engine: Arc<Engine>, settings: &SweepSettings, worker: String) -> Arc<Self> {
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
            breaker: breaker(settings),
            worker,
        })
    }

    /// Sweeps until it is told to stop, and then until each running sweep has finished its chunk.
    /// What was missed is made up for at once.
    ///
    /// # Errors
    /// When there can be no ticks.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) -> Result<(), TickerError> {
        let ticks: BTreeMap<Sweep, Arc<Notify>> = self
            .schedules
            .keys()
            .map(|sweep| (*sweep, Arc::new(Notify::new())))
            .collect();
        let mut ticker = ticker::start(&self.schedules, &ticks).await?;
        let mut turns = JoinSet::new();
        for (sweep, ticked) in ticks {
            turns.spawn(self.clone().take_turns(sweep, ticked, stop.clone()));
        }
        while turns.join_next().await.is_some() {}
        // Nothing runs in it any more; it only has to stop polling.
        let _ = ticker.shutdown().await;
        Ok(())
    }

    /// When this worker started, by the present clock.
    fn started_at(&self) -> DateTime<Utc> {
        let passed = self.engine.clock().elapsed().saturating_sub(self.started);
        self.engine.now() - TimeDelta::from_std(passed).unwrap_or_default()
    }

    /// How long ago each enabled sweep was last seen through, by any worker, and what halts it.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn freshness(&self) -> Result<BTreeMap<Sweep, Freshness>, StoreError> {
        let now = self.engine.now();
        let halts = self.engine.store().halts().await?;
        let mut all = BTreeMap::new();
        for (sweep, schedule) in &self.schedules {
            let runs = self.engine.store().runs(Some(*sweep), turn::RECENT).await?;
            let mut freshness = Freshness::of(&schedule.cron, &runs, self.started_at(), now);
            let halts = halts.iter().filter(|halt| halt.sweep == *sweep);
            // What the breaker says is more urgent.
            freshness.halt = halts.max_by_key(|halt| halt.kind == HaltKind::Tripped).cloned();
            all.insert(*sweep, freshness);
        }
        Ok(all)
    }
}

/// The breaker of the settings.
#[must_use]
pub fn breaker(settings: &SweepSettings) -> Breaker {
    Breaker {
        percent: settings.breaker.percent,
        clients: settings.breaker.clients,
    }
}
