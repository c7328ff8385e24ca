//! The plan of a batch or of a chunk of a sweep: from what is stored and what is new to one
//! [`Commit`]. Pure: the tricky part, separate from the dull one that carries it out.

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
pub use rebuild::{Rebuild, drift, names_of, plan_rebuild};

/// When a plan is made.
#[derive(Clone, Copy, Debug)]
pub struct Present {
    pub now: DateTime<Utc>,
    /// How far other workers' clocks may be ahead of now.
    pub tolerance: TimeDelta,
}

impl Present {
    /// A moment up to which timers have fired, or now, where it lies so far ahead that a wrong clock fired them. An event's own
    /// time explains timers up to then.
    #[must_use]
    pub fn cap(&self, reached: DateTime<Utc>, event: Option<DateTime<Utc>>) -> DateTime<Utc> {
        if Some(reached) > event && reached > later(self.now, self.tolerance) {
            self.now
        } else {
            reached
        }
    }
}

/// What the plan is made from.
#[derive(Debug)]
pub struct Situation<'a> {
    /// When this is written.
    pub present: Present,
    /// Up to when timers may fire that no event fires; none: none may.
    pub low_watermark: Option<DateTime<Utc>>,
    pub policies: &'a Policies,
    /// The clients that exist, of those that the events or the sweep are about.
    pub stored: Vec<Stored>,
    /// The histories of those that need one: some event is too late to be simply applied.
    pub histories: HashMap<ClientKey, Vec<Logged>>,
    /// Who bears the names that are claimed.
    pub holders: HashMap<NameClaim, ClientKey>,
}

/// What is to be written, and what came of each event, in the order of the events.
#[derive(Debug)]
pub struct Plan {
    pub commit: Commit,
    pub outcomes: Vec<RecordedOutcome>,
}

/// Whether an event comes after all that its client has seen. Such an event cannot be in the log yet. `stored` is none
/// for a client that was not there.
#[must_use]
pub fn is_in_order(stored: Option<&Stored>, event: &Event) -> bool {
    stored.is_none_or(|stored| !stored.is_past(&event.position()))
}

/// Whether an event comes so late that its client's history must be folded anew.
#[must_use]
pub fn needs_history(stored: Option<&Stored>, event: &Event, policies: &Policies) -> bool {
    stored.is_some_and(|stored| {
        !is_in_order(Some(stored), event)
            && !client_plan::is_harmless(stored, &stored.client(policies), event)
    })
}

/// Plans nothing but deadlines: those that are missing, or later than they should be under these policies. One that is
/// too early is left for its sweep to find and move.
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

/// Plans a batch of new events: none is in the log, none is there twice.
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
    // Key order, so that transactions of several workers meet in the same order everywhere.
    client_plans.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    for (_, client_plan) in client_plans {
        client_plan.write(None, &mut commit);
    }
    Plan { commit, outcomes }
}

/// Plans a chunk of a sweep: fires what is due at these clients up to a moment, and puts the sweep's
/// deadlines where they belong. Also tells each client's changes.
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
    let mut told = Vec::new();
    for stored in stored {
        let key = stored.key.clone();
        let mut client_plan = ClientPlan::of(stored, policies);
        let fired = client_plan.advance(until);
        let first = commit.journal.len();
        client_plan.write(Some(sweep), &mut commit);
        if fired {
            told.push((key, commit.journal[first..].to_vec()));
        }
    }
    (commit, told)
}
