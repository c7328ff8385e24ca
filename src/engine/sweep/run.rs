//! The runs of sweeps: whether one may start, its record, and its end.

use chrono::TimeDelta;

use super::pass::Pass;
use super::{Bound, Engine, HeldBack, Seen, SweepMode, SweepOptions, SweepReport};
use crate::domain::{ClientKey, Sweep};
use crate::store::{Halt, HaltKind, RunEnd, RunStatus, StoreError};

impl Engine {
    /// Reports what a sweep would do.
    pub(super) async fn preview_sweep(
        &self,
        sweep: Sweep,
        options: &SweepOptions,
        bound: &Bound,
        seen: &mut Seen<'_>,
    ) -> Result<SweepReport, StoreError> {
        let until = bound.low_watermark.until;
        let mut report = SweepReport::new(sweep, until, true);
        if let Some(until) = until {
            let pass = Pass::preview(sweep, until, options);
            self.sweep_chunks(&pass, &mut report, seen).await?;
        }
        report.held_back = self.held_back(sweep, bound).await?;
        Ok(report)
    }

    /// Runs a sweep and records the run.
    pub(super) async fn run_sweep(
        &self,
        sweep: Sweep,
        options: &SweepOptions,
        bound: &Bound,
        seen: &mut Seen<'_>,
    ) -> Result<SweepReport, StoreError> {
        let mut report = SweepReport::new(sweep, bound.low_watermark.until, false);
        if options.mode == SweepMode::Confirmed {
            self.lift_trip(sweep).await?;
        }
        if let Some(halt) = self.halt_of(sweep, options.mode).await? {
            report.halted(halt);
            return Ok(report);
        }
        let scheduled_at = match options.mode {
            SweepMode::Scheduled { tick } => tick,
            _ => bound.wanted,
        };
        let run = self
            .store
            .start_run(sweep, scheduled_at, self.now(), &options.worker)
            .await?
            .id;
        let done = self.sweep_in_run(run, options, bound, &mut report, seen).await;
        let end = RunEnd {
            at: self.now(),
            upto: report.until.filter(|_| done.is_ok() && report.is_complete()),
            status: done.as_ref().map_or(RunStatus::Failed, |()| report.status()),
            error: match &done {
                Err(error) => Some(error.to_string()),
                Ok(()) => report.error(),
            },
        };
        let ended = self.store.end_run(run, &end).await;
        if options.mode == SweepMode::Confirmed && done.is_ok() {
            // A tick of the scheduler may have tripped meanwhile over the changes of this run.
            self.lift_trip(sweep).await?;
        }
        done.and(ended).map(|()| report)
    }

    async fn sweep_in_run(
        &self,
        run: i64,
        options: &SweepOptions,
        bound: &Bound,
        report: &mut SweepReport,
        seen: &mut Seen<'_>,
    ) -> Result<(), StoreError> {
        let sweep = report.sweep;
        if let Some(until) = bound.low_watermark.until {
            if options.mode.obeys(HaltKind::Tripped)
                && let Some(why) = self.would_trip(sweep, until, options).await?
            {
                self.trip_sweep(sweep, why.clone()).await?;
                report.tripped = Some(why);
                return Ok(());
            }
            let pass = Pass::of_run(run, sweep, until, options);
            self.sweep_chunks(&pass, report, seen).await?;
        }
        report.held_back = self.held_back(sweep, bound).await?;
        Ok(())
    }

    /// The halt that stops this sweep: of several, the most urgent one.
    pub(super) async fn halt_of(&self, sweep: Sweep, mode: SweepMode) -> Result<Option<Halt>, StoreError> {
        let halts = self.store.halts().await?;
        Ok(halts
            .into_iter()
            .filter(|halt| halt.sweep == sweep && mode.obeys(halt.kind))
            .max_by_key(|halt| halt.kind))
    }

    /// What a sweep would wait for now, if a timer is due beyond the low watermark.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn sweep_held_back(&self, sweep: Sweep) -> Result<Option<HeldBack>, StoreError> {
        let bound = self.sweep_bound(&SweepOptions::new(SweepMode::ByHand)).await?;
        self.held_back(sweep, &bound).await
    }

    /// The lane or the source that the sweep waits for, if a timer is due beyond the low watermark.
    async fn held_back(&self, sweep: Sweep, bound: &Bound) -> Result<Option<HeldBack>, StoreError> {
        let Some(behind) = &bound.low_watermark.behind else {
            return Ok(None);
        };
        // The position before every deadline that is later than the low watermark: times are whole microseconds, and no id
        // is empty.
        let nobody = ClientKey {
            partner: "".into(),
            client: "".into(),
        };
        let from = bound
            .low_watermark
            .until
            .map(|until| (until + TimeDelta::microseconds(1), nobody));
        let due = self.store.due(sweep, bound.wanted, from.as_ref(), 1).await?;
        Ok((!due.is_empty()).then(|| behind.clone()))
    }
}
