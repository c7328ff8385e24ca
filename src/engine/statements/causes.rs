//! The causes of an adjustment.

use std::collections::HashSet;
use std::sync::Arc;

use super::computed::{Adjusted, Computation, Computed};
use crate::domain::change::Flag;
use crate::domain::intervals::ClientIntervals;
use crate::domain::{AdjustmentCause, ChangeKind, Event, Measure, Month, MonthDays};
use crate::engine::Engine;
use crate::engine::blocking::run_blocking;
use crate::store::{Logged, Recorded, RecordedOutcome, StoreError, Touch};

/// The most causes that an adjustment names.
const MOST: usize = 20;
/// The most late events of a client of which each is left out of a replay on trial.
const TRIED: u32 = 50;
/// The most events that the replays of a client on trial apply. If it takes more, no late event is tried alone.
const APPLIED: usize = 200_000;
/// The most corrections of a client that are read.
const CORRECTIONS: u32 = 1_000;

impl Engine {
    /// Finds the causes of a client's adjustments.
    pub(super) async fn find_causes(
        &self,
        computation: &Computation,
        mut client: Computed,
        history: Vec<Logged>,
    ) -> Result<Computed, StoreError> {
        let Some(last) = client.adjusted.last().map(|adjusted| adjusted.month) else {
            return Ok(client);
        };
        let (since, before) = (computation.known_since, last.end());
        let names = self.store.stored_since(&client.key, since, before, TRIED).await?;
        let corrections = self
            .store
            .corrections_since(&client.key, since, before, CORRECTIONS)
            .await?;
        let computation = computation.clone();
        let found = run_blocking(move || {
            let evidence = Evidence::of(&computation, &history, names, &corrections, last);
            for adjusted in &mut client.adjusted {
                adjusted.causes = evidence.causes(adjusted);
            }
            client
        });
        Ok(found.await)
    }
}

/// What arrived for a client since the last closing, and what its intervals would be without it.
struct Evidence<'a> {
    history: &'a [Logged],
    corrections: &'a [Recorded],
    /// Late events, in order of time, each with the intervals without it. Empty if there are too many events to replay.
    alone: Vec<(&'a Event, ClientIntervals)>,
    /// The late events, in order of time.
    late: Vec<&'a Event>,
    /// The intervals without all late events.
    without_late: ClientIntervals,
}

impl<'a> Evidence<'a> {
    /// Replays the history up to the end of the last month that is adjusted.
    fn of(
        computation: &Computation,
        history: &'a [Logged],
        names: Vec<(Arc<str>, Arc<str>)>,
        corrections: &'a [Recorded],
        last: Month,
    ) -> Self {
        let names: HashSet<(Arc<str>, Arc<str>)> = names.into_iter().collect();
        let is_late = |event: &Event| names.contains(&(event.source.clone(), event.id.clone()));
        let late: Vec<&Event> = history
            .iter()
            .filter(|logged| logged.outcome == RecordedOutcome::Applied)
            .map(|logged| &logged.event)
            .filter(|event| is_late(event))
            .collect();
        let without = |is_left_out: &dyn Fn(&Event) -> bool| {
            let events = history.iter().map(|logged| &logged.event);
            computation.intervals(events.filter(|event| !is_left_out(event)), last.end())
        };
        let tried: &[&Event] = if late.len().saturating_mul(history.len()) > APPLIED {
            &[]
        } else {
            &late
        };
        Self {
            history,
            corrections,
            alone: tried
                .iter()
                .map(|late| (*late, without(&|event| std::ptr::eq(event, *late))))
                .collect(),
            without_late: without(&is_late),
            late,
        }
    }

    /// The causes of an adjustment, in order of time: the late events without each of which the days of the month would be others.
    ///
    /// A late touch is stored without its source and id. So if no event explains the adjustment alone, its causes are those of the
    /// corrections of the same measures in the journal. Else they are all late events, if the days would be others without them
    /// together, or a touch.
    fn causes(&self, adjusted: &Adjusted) -> Vec<AdjustmentCause> {
        let mut causes = self.single(adjusted);
        if causes.is_empty() {
            causes = self.correctors(adjusted);
        }
        if causes.is_empty() {
            causes = self.together(adjusted);
        }
        if causes.is_empty() {
            causes.extend(self.touch(adjusted));
        }
        causes.truncate(MOST);
        causes
    }

    fn single(&self, adjusted: &Adjusted) -> Vec<AdjustmentCause> {
        let matter = |(_, without): &&(_, ClientIntervals)| differs(without, adjusted);
        let causes = self.alone.iter().filter(matter);
        causes.map(|(event, _)| cause(event)).collect()
    }

    fn correctors(&self, adjusted: &Adjusted) -> Vec<AdjustmentCause> {
        let mut causes = Vec::new();
        for Recorded { entry, .. } in self.corrections {
            let is_of_measure = |measure: &Measure| {
                adjusted.before.get(*measure) != adjusted.days.get(*measure)
                    && can_change(entry.change.kind(), *measure)
            };
            let is_cause = entry.time < adjusted.month.end() && Measure::ALL.iter().any(is_of_measure);
            let Some(corrector) = entry.corrected_by.clone().filter(|_| is_cause) else {
                continue;
            };
            let corrector = AdjustmentCause::Known(corrector);
            if !causes.contains(&corrector) {
                causes.push(corrector);
            }
        }
        causes
    }

    fn together(&self, adjusted: &Adjusted) -> Vec<AdjustmentCause> {
        if !differs(&self.without_late, adjusted) {
            return Vec::new();
        }
        let in_time = self.late.iter().filter(|event| event.time < adjusted.month.end());
        in_time.map(|event| cause(event)).collect()
    }

    fn touch(&self, adjusted: &Adjusted) -> Option<AdjustmentCause> {
        let events = self.history.iter().map(|logged| &logged.event);
        let mut touches = events.filter(|event| Touch::is_packed(event));
        let touch = touches.find(|event| event.time < adjusted.month.end())?;
        Some(AdjustmentCause::Touch {
            kind: touch.kind.type_name().to_owned(),
        })
    }
}

/// Whether intervals have other days than the adjustment.
fn differs(intervals: &ClientIntervals, adjusted: &Adjusted) -> bool {
    MonthDays::of(intervals, adjusted.month) != adjusted.days
}

/// Whether a change can turn a measure on or off.
fn can_change(kind: ChangeKind, measure: Measure) -> bool {
    match kind {
        ChangeKind::Link(_) => measure != Measure::Billable,
        ChangeKind::Service(_) | ChangeKind::Started(Flag::Billing) | ChangeKind::Stopped(Flag::Billing) => {
            measure == Measure::Billable
        }
        ChangeKind::Access(_) => measure == Measure::Access,
        ChangeKind::CommissionEligibilityChanged
        | ChangeKind::Started(Flag::Commission)
        | ChangeKind::Stopped(Flag::Commission) => measure == Measure::Commission,
        ChangeKind::Started(Flag::StatusCredit) | ChangeKind::Stopped(Flag::StatusCredit) => {
            measure == Measure::StatusCredit
        }
        _ => false,
    }
}

fn cause(event: &Event) -> AdjustmentCause {
    AdjustmentCause::late_event(&event.source, &event.id, event.kind.type_name())
}
