//! The life of a client under one policy or several: its intervals and its changes, replayed from its history.

use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::domain::intervals::{ClientIntervals, Interval, IntervalFold};
use crate::domain::time::serialize;
use crate::domain::{Change, Event, Policies, Timer};

/// A change that only one of the policies makes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct WhatIfChange {
    #[serde(serialize_with = "serialize")]
    pub time: DateTime<Utc>,
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The timer that makes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timer: Option<Timer>,
    /// The type of the event that makes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
}

/// A client under one of the policies: its intervals, and its changes in the window.
pub struct Life<'a> {
    intervals: IntervalFold<'a>,
    policies: &'a Policies,
    window: Interval,
    changes: Vec<WhatIfChange>,
}

impl<'a> Life<'a> {
    /// Replays a sorted history from its beginning to the end of the window.
    pub fn of<'e>(sorted: impl Iterator<Item = &'e Event>, window: Interval, policies: &'a Policies) -> Self {
        let mut life = Self {
            intervals: IntervalFold::new(policies),
            policies,
            window,
            changes: Vec::new(),
        };
        for event in sorted.take_while(|event| event.time <= window.to) {
            life.advance(event.time);
            life.apply(event);
        }
        life.advance(window.to);
        life
    }

    /// In order of time.
    pub fn changes(&self) -> &[WhatIfChange] {
        &self.changes
    }

    /// The parts of its intervals within the window.
    pub fn into_intervals(self) -> ClientIntervals {
        self.intervals.until(self.window.to).within(self.window)
    }

    fn apply(&mut self, event: &Event) {
        let policies = self.policies;
        let client = &mut self.intervals.client;
        // A touch changes nothing that is published.
        let (result, changes) = if event.is_touch() || event.time < self.window.from {
            (client.apply(event, policies), Vec::new())
        } else {
            client.observed(policies, |client| client.apply(event, policies))
        };
        self.intervals.note(event.time);
        let refused = result.err().map(|refusal| Change::EventRefused {
            refusal,
            conflicts_with: None,
        });
        for change in changes.iter().chain(&refused) {
            let kind = event.kind.type_name().to_owned();
            self.record(change, event.time, None, Some(kind));
        }
    }

    fn advance(&mut self, until: DateTime<Utc>) {
        while let Some(due) = self.intervals.client.next_due(until, self.policies) {
            let ((), changes) = self
                .intervals
                .client
                .observed(self.policies, |client| client.fire(due, self.policies));
            self.intervals.note(due.at);
            for change in &changes {
                self.record(change, due.at, Some(due.timer), None);
            }
        }
    }

    fn record(&mut self, change: &Change, time: DateTime<Utc>, timer: Option<Timer>, event: Option<String>) {
        if time < self.window.from {
            return;
        }
        let text = change.text();
        self.changes.push(WhatIfChange {
            time,
            kind: text.kind.to_owned(),
            id: text.id.map(str::to_owned),
            from: text.from.map(Cow::into_owned),
            to: text.to.map(Cow::into_owned),
            timer,
            event,
        });
    }
}

/// The changes that are in one list more often than in another.
pub fn only_in(changes: &[WhatIfChange], others: &[WhatIfChange]) -> Vec<WhatIfChange> {
    let mut in_others: BTreeMap<&WhatIfChange, usize> = BTreeMap::new();
    for change in others {
        *in_others.entry(change).or_default() += 1;
    }
    let extra = changes.iter().filter(|change| match in_others.get_mut(*change) {
        Some(left) if *left > 0 => {
            *left -= 1;
            false
        }
        _ => true,
    });
    extra.cloned().collect()
}
