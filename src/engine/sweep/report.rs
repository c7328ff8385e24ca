//! What a sweep did, or in a dry run would do.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::HeldBack;
use crate::domain::Sweep;
use crate::store::{Halt, HaltKind, RunCounts, RunStatus};

/// What a sweep did, or in a dry run would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SweepReport {
    pub sweep: Sweep,
    /// The moment that the sweep went up to. None: it could not start.
    pub until: Option<DateTime<Utc>>,
    pub dry_run: bool,
    #[serde(flatten)]
    pub counts: RunCounts,
    /// The sweep was stopped or paused before its last chunk.
    pub stopped: bool,
    /// Why the sweep skipped timers that are due.
    pub held_back: Option<HeldBack>,
    /// Why the breaker stopped the sweep: before it changed anything, unless another run tripped it meanwhile.
    pub tripped: Option<String>,
}

impl SweepReport {
    pub(super) fn new(sweep: Sweep, until: Option<DateTime<Utc>>, dry_run: bool) -> Self {
        Self {
            sweep,
            until,
            dry_run,
            counts: RunCounts::default(),
            stopped: false,
            held_back: None,
            tripped: None,
        }
    }

    /// Notes the halt that stopped the sweep. After a pause, the next run continues.
    pub(super) fn halted(&mut self, halt: Halt) {
        match halt.kind {
            HaltKind::Tripped => self.tripped = Some(halt.why),
            HaltKind::Paused => self.stopped = true,
        }
    }

    /// Whether the sweep swept every client up to its moment.
    pub(super) fn is_complete(&self) -> bool {
        self.tripped.is_none() && !self.stopped
    }

    /// How the sweep ended: done, unless it left something undone.
    #[must_use]
    pub fn status(&self) -> RunStatus {
        if self.tripped.is_some() {
            RunStatus::Tripped
        } else if self.stopped {
            RunStatus::Stopped
        } else if self.counts.failed > 0 {
            RunStatus::Failed
        } else if self.held_back.is_some() {
            RunStatus::HeldBack
        } else {
            RunStatus::Done
        }
    }

    /// The error of the run, if it left something undone.
    pub(super) fn error(&self) -> Option<String> {
        if let Some(why) = &self.tripped {
            Some(format!("stopped by the breaker: {why}"))
        } else if self.stopped {
            Some("stopped before the last chunk; the next run continues".into())
        } else if self.counts.failed > 0 {
            Some(format!(
                "{} clients could not be swept; the log names them",
                self.counts.failed
            ))
        } else {
            let held_back = self.held_back.as_ref();
            held_back.map(|held_back| format!("held back: {held_back}"))
        }
    }
}
