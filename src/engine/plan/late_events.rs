//! The late events of a client in one batch: the correctors of its corrections.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::domain::{Cause, Change, Corrector, Event, LastChanges};

pub struct LateEvents {
    first: Event,
    names: HashSet<(Arc<str>, Arc<str>)>,
}

impl LateEvents {
    /// None: there are none. `late` is sorted by position, each event with its place in the batch.
    pub fn of(late: &[(usize, Event)]) -> Option<Self> {
        let (_, first) = late.first()?;
        let names = late
            .iter()
            .map(|(_, event)| (event.source.clone(), event.id.clone()));
        Some(Self {
            first: first.clone(),
            names: names.collect(),
        })
    }

    /// The corrector of a change that none of them causes.
    pub fn first(&self) -> Corrector {
        Corrector::from(&self.first)
    }

    /// The time, the cause and the corrector of a correction. A change that takes back what never happened has the first late
    /// event as its cause: nothing else in the history makes it.
    pub fn correct(&self, change: &Change, last: &LastChanges) -> (DateTime<Utc>, Cause, Corrector) {
        let Some(occurrence) = last.of(change) else {
            return (self.first.time, Cause::from(&self.first), self.first());
        };
        let corrected_by = match &occurrence.cause {
            Cause::Event { source, id, kind, .. } if self.has(source, id) => Corrector::LateEvent {
                source: source.clone(),
                id: id.clone(),
                kind: kind.clone(),
            },
            _ => self.first(),
        };
        (occurrence.time, occurrence.cause.clone(), corrected_by)
    }

    fn has(&self, source: &Arc<str>, id: &Arc<str>) -> bool {
        self.names.contains(&(source.clone(), id.clone()))
    }
}
