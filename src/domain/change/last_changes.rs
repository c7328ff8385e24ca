//! When and why the changes of a history took effect. A correction is the difference between two
//! states, which has neither a time nor a cause: it gets both from here.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::{Change, ChangeKind};
use crate::domain::cause::Cause;
use crate::domain::client::Client;
use crate::domain::event::{Event, Step};
use crate::domain::fold::apply_deciding_name;
use crate::domain::id::Id;
use crate::domain::policy::Policies;
use crate::domain::refusal::Refusal;

/// When a change took effect, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrence {
    pub time: DateTime<Utc>,
    pub cause: Cause,
}

/// The last change of each type and holding in a history.
#[derive(Clone, Debug, Default)]
pub struct LastChanges(HashMap<Key, Occurrence>);

type Key = (ChangeKind, Option<Id>, Option<Step>);

impl LastChanges {
    /// Replays a sorted history up to a moment, and returns the client too.
    #[must_use]
    pub fn of_history<'a>(
        sorted: impl IntoIterator<Item = &'a Event>,
        until: DateTime<Utc>,
        policies: &Policies,
    ) -> (Client, Self) {
        let (mut client, mut last) = (Client::default(), Self::default());
        for event in sorted {
            last.advance(&mut client, event.time, policies);
            let mut event = event.clone();
            // A refused event leaves the state unchanged.
            let _ = last.apply(&mut client, &mut event, policies, |_| false);
        }
        last.advance(&mut client, until, policies);
        (client, last)
    }

    /// Fires every timer that is due at or before a moment, as [`Client::advance`].
    pub fn advance(&mut self, client: &mut Client, until: DateTime<Utc>, policies: &Policies) {
        while let Some(due) = client.next_due(until, policies) {
            let ((), changes) = client.observed(policies, |client| client.fire(due, policies));
            self.record(&changes, due.at, &Cause::Timer { timer: due.timer });
        }
    }

    /// Applies an event, as [`apply_deciding_name`].
    ///
    /// # Errors
    /// The refusal.
    pub fn apply(
        &mut self,
        client: &mut Client,
        event: &mut Event,
        policies: &Policies,
        is_taken: impl FnOnce(&Event) -> bool,
    ) -> Result<(), Refusal> {
        // It changes nothing that is published.
        if event.is_touch() {
            return apply_deciding_name(client, event, policies, is_taken);
        }
        let (result, changes) = client.observed(policies, |client| {
            apply_deciding_name(client, event, policies, is_taken)
        });
        if !changes.is_empty() {
            self.record(&changes, event.time, &Cause::from(&*event));
        }
        result
    }

    fn record(&mut self, changes: &[Change], time: DateTime<Utc>, cause: &Cause) {
        for key in changes.iter().filter_map(key) {
            let cause = cause.clone();
            self.0.insert(key, Occurrence { time, cause });
        }
    }

    /// When the change that leads to the state at the end of the history took effect. None: nothing in the history makes such a
    /// change, because the change takes back what never happened.
    #[must_use]
    pub fn of(&self, change: &Change) -> Option<&Occurrence> {
        self.0.get(&key(change)?)
    }
}

/// What two changes have in common of which the later one counts.
fn key(change: &Change) -> Option<Key> {
    let kind = match change {
        Change::AccountCreated { to: None, .. } | Change::AccountJobsCounted { to: None, .. } => return None,
        // The name may be the one that the client was added with.
        Change::ClientRenamed { .. } => ChangeKind::ClientNamed,
        change => change.kind(),
    };
    let (id, step) = match change {
        // The account is one, whatever its id.
        Change::AccountCreated { .. } => (None, None),
        Change::InvitationStepCompleted(step) => (None, Some(*step)),
        change => (change.id().cloned(), None),
    };
    Some((kind, id, step))
}
