//! The plan of a batch or of a chunk of a sweep: turns the stored clients and the new events into one [`Commit`]. Pure, so that
//! the tricky part is separate from carrying it out.

mod client_plan;
mod names;
mod rebuild;
mod renew_only;
mod replayed;

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::policy::later;
use crate::domain::{ClientKey, Entry, Event, Policies, Sweep};
use crate::store::{Commit, Logged, NameClaim, RecordedOutcome, Stored};

use client_plan::ClientPlan;
use names::Names;
pub use names::{claim, claims, leading, names_held};
pub use rebuild::{EventsMissing, Rebuild, drift, names_of, plan_rebuild};

/// The time of a plan.
#[derive(Clone, Copy, Debug)]
pub struct Present {
    pub now: DateTime<Utc>,
    /// How far the clocks of other workers may be ahead of now.
    pub tolerance: TimeDelta,
}

impl Present {
    /// The moment up to which timers have fired, or now if that moment is so far ahead that a wrong clock must have fired them.
    /// Timers up to the time of the last event are legitimate.
    #[must_use]
    pub fn cap(&self, reached: DateTime<Utc>, event: Option<DateTime<Utc>>) -> DateTime<Utc> {
        if Some(reached) > event && reached > later(self.now, self.tolerance) {
            self.now
        } else {
            reached
        }
    }
}

/// The input of a plan.
#[derive(Debug)]
pub struct Situation<'a> {
    /// The time of the commit.
    pub present: Present,
    /// The moment up to which timers may fire without an event. None: no timer may.
    pub low_watermark: Option<DateTime<Utc>>,
    pub policies: &'a Policies,
    /// The stored clients among those of the events.
    pub stored: Vec<Stored>,
    /// The histories of clients with an event that is too late to be simply applied.
    pub histories: HashMap<ClientKey, Vec<Logged>>,
    /// The holders of the names that the events claim.
    pub holders: HashMap<NameClaim, ClientKey>,
}

/// The commit, and the outcome of each event, in the order of the events.
#[derive(Debug)]
pub struct Plan {
    pub commit: Commit,
    pub outcomes: Vec<RecordedOutcome>,
}

/// Whether an event is so late that the history of its client must be replayed.
#[must_use]
pub fn needs_history(stored: Option<&Stored>, event: &Event, policies: &Policies) -> bool {
    stored.is_some_and(|stored| {
        stored.is_past(&event.position())
            && !client_plan::is_harmless(stored, &stored.client(policies), event)
    })
}

/// Plans only deadlines: those that are missing, or too late under these policies. A deadline that is too early stays; its sweep
/// moves it.
#[must_use]
pub fn plan_deadlines(stored: Vec<Stored>, recorded_at: DateTime<Utc>, policies: &Policies) -> Commit {
    let mut commit = Commit {
        recorded_at,
        ..Commit::default()
    };
    for stored in stored {
        ClientPlan::of(stored, policies).write(None, &mut commit);
    }
    commit
}

/// Plans a batch of new events. None of them may be in the log, or twice in the batch.
#[must_use]
pub fn plan(situation: Situation<'_>, events: Vec<Event>) -> Plan {
    let Situation {
        present,
        low_watermark,
        policies,
        stored,
        mut histories,
        holders,
    } = situation;
    let mut stored: HashMap<ClientKey, Stored> = stored.into_iter().map(|s| (s.key.clone(), s)).collect();
    let mut names = Names::new(holders);
    let mut outcomes = vec![RecordedOutcome::Applied; events.len()];
    let mut client_plans = Vec::new();
    for (key, events) in names::by_client(events) {
        let stored = stored.remove(&key).unwrap_or_else(|| Stored::absent(key.clone()));
        let history = histories.remove(&key).unwrap_or_default();
        let mut client_plan = ClientPlan::of(stored, policies);
        client_plan.apply_events(events, history, present, &mut names, &mut outcomes);
        client_plan.fire_timers(low_watermark, &mut names);
        client_plans.push((key, Box::new(client_plan)));
    }
    let mut commit = Commit {
        recorded_at: present.now,
        ..Commit::default()
    };
    // In key order, so that concurrent transactions lock rows in the same order.
    client_plans.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    for (_, client_plan) in client_plans {
        client_plan.write(None, &mut commit);
    }
    Plan { commit, outcomes }
}

/// Plans a chunk of a sweep: fires the timers of these clients that are due by a moment, and sets the deadlines of the sweep
/// exactly. Also returns the changes of each client.
#[must_use]
pub fn plan_sweep(
    stored: Vec<Stored>,
    sweep: Sweep,
    until: DateTime<Utc>,
    recorded_at: DateTime<Utc>,
    policies: &Policies,
) -> (Commit, Vec<(ClientKey, Vec<Entry>)>) {
    let mut commit = Commit {
        recorded_at,
        ..Commit::default()
    };
    let mut changes = Vec::new();
    for stored in stored {
        let key = stored.key.clone();
        let mut client_plan = ClientPlan::of(stored, policies);
        let fired = client_plan.advance(until);
        let first = commit.journal.len();
        client_plan.write(Some(sweep), &mut commit);
        if fired {
            changes.push((key, commit.journal[first..].to_vec()));
        }
    }
    (commit, changes)
}
