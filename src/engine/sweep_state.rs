//! The state of each sweep, as the command line and the console show it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Engine, HeldBack};
use crate::config::Schedule;
use crate::domain::Sweep;
use crate::store::{Halt, HaltKind, StoreError, SweepRun};

/// A sweep: its schedule, its last runs, and what stops it.
#[derive(Clone, Debug, Serialize)]
pub struct SweepState {
    pub sweep: Sweep,
    pub cron: String,
    /// Whether it runs by itself, and not only by hand.
    pub enabled: bool,
    pub halts: Vec<Halt>,
    pub last_run: Option<SweepRun>,
    /// The last run that left nothing undone: `last_run`, or an earlier one.
    pub last_done: Option<SweepRun>,
    /// The next tick of its cron line, whether it is enabled or not.
    pub next: Option<DateTime<Utc>>,
    /// Why timers that are due would not fire now.
    pub held_back: Option<HeldBack>,
}

/// When a sweep runs next by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextRun {
    At(DateTime<Utc>),
    /// Not before an operator does something, in words that follow "next:".
    Waits(&'static str),
}

impl SweepState {
    /// What stops it: of several halts, the most urgent one.
    #[must_use]
    pub fn halt(&self) -> Option<&Halt> {
        self.halts.iter().max_by_key(|halt| halt.kind)
    }

    /// What stops it, or how its last run ended, in a word or a few.
    #[must_use]
    pub fn status(&self) -> &'static str {
        match (self.halt(), &self.last_run) {
            (Some(halt), _) => halt.kind.as_str(),
            (None, Some(run)) => run.status.as_str(),
            (None, None) => "has not run",
        }
    }

    /// When it runs next by itself. A sweep that is stopped does not, whatever its cron line says.
    #[must_use]
    pub fn next_run(&self) -> NextRun {
        let next = self.next.filter(|_| self.enabled);
        match (next, self.halt().map(|halt| halt.kind)) {
            (None, _) => NextRun::Waits("only by hand"),
            (Some(_), Some(HaltKind::Tripped)) => NextRun::Waits("when it is confirmed"),
            (Some(_), Some(HaltKind::Paused)) => NextRun::Waits("after it is resumed"),
            (Some(at), None) => NextRun::At(at),
        }
    }
}

impl Engine {
    /// When a worker last finished a run of a sweep that left nothing undone. None: there is no such run.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn last_success(&self, sweep: Sweep) -> Result<Option<DateTime<Utc>>, StoreError> {
        let last = self.store.last_done_run(sweep).await?;
        Ok(last.and_then(|run| run.finished_at))
    }

    /// The state of each sweep that has a schedule, in the order of the rules.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn sweep_states(
        &self,
        schedules: &BTreeMap<Sweep, Schedule>,
    ) -> Result<Vec<SweepState>, StoreError> {
        let halts = self.store.halts().await?;
        let mut states = Vec::with_capacity(schedules.len());
        for (sweep, schedule) in schedules {
            let of_sweep = halts.iter().filter(|halt| halt.sweep == *sweep);
            states.push(SweepState {
                sweep: *sweep,
                cron: schedule.cron.with_seconds().to_owned(),
                enabled: schedule.enabled,
                halts: of_sweep.cloned().collect(),
                last_run: self.store.runs(Some(*sweep), 1).await?.pop(),
                last_done: self.store.last_done_run(*sweep).await?,
                next: schedule.cron.next_after(self.now()),
                held_back: self.sweep_held_back(*sweep).await?,
            });
        }
        Ok(states)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_that_is_stopped_names_what_it_waits_for() {
        let at = DateTime::UNIX_EPOCH;
        let halt = |kind| Halt {
            sweep: Sweep::AccessExpiry,
            kind,
            at,
            why: "the books are closed".into(),
        };
        let mut state = SweepState {
            sweep: Sweep::AccessExpiry,
            cron: "0 0 3 * * *".into(),
            enabled: true,
            halts: Vec::new(),
            last_run: None,
            last_done: None,
            next: Some(at),
            held_back: None,
        };
        assert_eq!(state.next_run(), NextRun::At(at));
        state.halts = vec![halt(HaltKind::Paused)];
        assert_eq!(state.next_run(), NextRun::Waits("after it is resumed"));
        // Both, in the order of the store.
        state.halts.push(halt(HaltKind::Tripped));
        assert_eq!(state.next_run(), NextRun::Waits("when it is confirmed"));
        assert_eq!(state.halt().map(|halt| halt.kind), Some(HaltKind::Tripped));
        state.enabled = false;
        assert_eq!(state.next_run(), NextRun::Waits("only by hand"));
    }
}
