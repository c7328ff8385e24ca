//! What made an adjustment necessary.

use std::collections::HashSet;
use std::sync::Arc;

use super::computed::{Adjusted, Computation};
use crate::domain::{AdjustmentCause, ClientKey, Event, MonthDays};
use crate::engine::Engine;
use crate::store::{Logged, Recorded, RecordedOutcome, StoreError, Touch};

/// The most causes that an adjustment names.
const MOST: usize = 20;
/// The most late events of which each is left out of a replay on trial.
const TRIED: usize = 50;
/// Lines of the journal that are read at a time.
const PAGE: u32 = 1_000;

impl Engine {
    /// The causes of an adjustment, in order of time: the events that arrived since the last closing and without which the days of
    /// the month would be others.
    ///
    /// A late touch is stored without its source and id. So if no event explains the adjustment alone, its causes are those of the
    /// corrections that the journal has since then.
    pub(super) async fn causes(
        &self,
        computation: &Computation,
        key: &ClientKey,
        adjusted: &Adjusted,
        history: &[Logged],
    ) -> Result<Vec<AdjustmentCause>, StoreError> {
        let since = computation.known_since;
        let end = adjusted.month.end();
        let most = u32::try_from(TRIED).unwrap_or(u32::MAX);
        let names = self.store.stored_since(key, since, end, most).await?;
        let names: HashSet<(Arc<str>, Arc<str>)> = names.into_iter().collect();
        let late: Vec<&Event> = history
            .iter()
            .filter(|logged| logged.outcome == RecordedOutcome::Applied)
            .map(|logged| &logged.event)
            .filter(|event| names.contains(&(event.source.clone(), event.id.clone())))
            .collect();
        let matters = |event: &&&Event| {
            let others = history.iter().map(|logged| &logged.event);
            let others = others.filter(|other| other.source != event.source || other.id != event.id);
            MonthDays::of(&computation.intervals(others, end), adjusted.month) != adjusted.days
        };
        let mut causes: Vec<AdjustmentCause> =
            late.iter().filter(matters).map(|event| cause(event)).collect();
        if causes.is_empty() {
            causes = self.correctors(computation, key).await?;
        }
        if causes.is_empty() {
            causes = late.iter().map(|event| cause(event)).collect();
        }
        if causes.is_empty() {
            let is_touch = |logged: &&Logged| Touch::is_packed(&logged.event) && logged.event.time < end;
            causes = history
                .iter()
                .find(is_touch)
                .map(|touch| AdjustmentCause::Touch {
                    kind: touch.event.kind.type_name().to_owned(),
                })
                .into_iter()
                .collect();
        }
        causes.truncate(MOST);
        Ok(causes)
    }

    /// What made corrections of a client necessary since the last closing, each once.
    async fn correctors(
        &self,
        computation: &Computation,
        key: &ClientKey,
    ) -> Result<Vec<AdjustmentCause>, StoreError> {
        let mut correctors: Vec<AdjustmentCause> = Vec::new();
        let mut after = 0;
        loop {
            let lines: Vec<Recorded> = self.store.journal(key, after, PAGE).await?;
            let Some(last) = lines.last() else { break };
            after = last.cursor.sequence;
            let is_last = lines.len() < PAGE as usize;
            for line in lines {
                let Some(corrector) = line.entry.corrected_by else {
                    continue;
                };
                let corrector = AdjustmentCause::Known(corrector);
                if line.recorded_at >= computation.known_since && !correctors.contains(&corrector) {
                    correctors.push(corrector);
                }
            }
            if is_last || correctors.len() >= MOST {
                break;
            }
        }
        Ok(correctors)
    }
}

fn cause(event: &Event) -> AdjustmentCause {
    AdjustmentCause::late_event(&event.source, &event.id, event.kind.type_name())
}
