//! The plan of a batch or of a chunk of a sweep: turns the stored clients and the new events into one [`Commit`]. Pure, so that
//! the tricky part is separate from carrying it out.

mod checkpoints;
mod client_plan;
mod contention;
#[cfg(test)]
mod fixture;
mod late_events;
mod names;
mod rebuild;
mod renew_only;
mod replayed;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::event::NameVerdict;
use crate::domain::policy::later;
use crate::domain::{ClientKey, Entry, Event, Policies, Sweep};
use crate::store::{Commit, NameClaim, RecordedOutcome, Stored};

pub use checkpoints::{CheckpointSpacing, History};
use client_plan::ClientPlan;
use names::Names;
pub use names::{claim, claims, names_held};
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
    pub histories: HashMap<ClientKey, History>,
    /// Where replays make checkpoints.
    pub spacing: CheckpointSpacing,
    /// The holders of the names that the events and the histories claim.
    pub holders: HashMap<NameClaim, ClientKey>,
}

/// The commit, and the outcome of each event, in the order of the events.
#[derive(Debug)]
pub struct Plan {
    pub commit: Commit,
    pub outcomes: Vec<RecordedOutcome>,
    /// The clients that have the names for which events are refused, by the place of the event.
    pub conflicts: HashMap<usize, Arc<str>>,
    /// The clients with a correction whose time and cause are before the checkpoint where their replay started. If there are
    /// any, plan again with their whole histories.
    pub needs_beginning: BTreeSet<ClientKey>,
}

/// Whether an event is so late that the history of its client must be replayed.
#[must_use]
pub fn needs_history(stored: Option<&Stored>, event: &Event) -> bool {
    stored.is_some_and(|stored| {
        stored.is_past(&event.position())
            && !client_plan::is_harmless(stored, stored.renewal().as_ref(), event)
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
pub fn plan(situation: Situation<'_>, mut events: Vec<Event>) -> Plan {
    let Situation {
        present,
        low_watermark,
        policies,
        stored,
        mut histories,
        spacing,
        mut holders,
    } = situation;
    // A document says what its client holds. The column of the client, where holders are looked up, may be damaged or of an
    // older Unicode version. This commit corrects it, so nobody else may get the name.
    for stored in &stored {
        if let Some(name) = stored.document.held_name() {
            holders
                .entry(claim(&stored.key, name))
                .or_insert_with(|| stored.key.clone());
        }
    }
    let mut stored: HashMap<ClientKey, Stored> = stored.into_iter().map(|s| (s.key.clone(), s)).collect();
    let mut names = Names::new(holders);
    let mut decided = contention::decide_names(&mut events, &mut histories, &stored, &mut names, policies);
    let conflicts = events
        .iter()
        .enumerate()
        .filter(|(_, event)| event.name_verdict == NameVerdict::Taken)
        .filter_map(|(place, event)| Some((place, names.conflict(event)?)))
        .collect();
    let mut outcomes = vec![RecordedOutcome::Applied; events.len()];
    let mut needs_beginning = BTreeSet::new();
    let mut commit = Commit {
        recorded_at: present.now,
        ..Commit::default()
    };
    for (key, events) in by_client(events) {
        let decided = decided.remove(&key);
        let stored = stored.remove(&key).unwrap_or_else(|| Stored::absent(key.clone()));
        let history = histories.remove(&key).unwrap_or_default();
        let mut client_plan = ClientPlan::of(stored, policies);
        client_plan.apply_events(events, history, present, spacing, &names, &mut outcomes);
        client_plan.fire_timers(low_watermark);
        client_plan.record_name(decided, &mut names);
        if client_plan.needs_beginning() {
            needs_beginning.insert(key);
        }
        client_plan.write(None, &mut commit);
    }
    Plan {
        commit,
        outcomes,
        conflicts,
        needs_beginning,
    }
}

/// The events of each client, each with its place in the batch, sorted by their position in the history. In key order, so that
/// concurrent transactions lock rows in the same order.
fn by_client(events: Vec<Event>) -> BTreeMap<ClientKey, Vec<(usize, Event)>> {
    let mut clients: BTreeMap<ClientKey, Vec<(usize, Event)>> = BTreeMap::new();
    for (place, event) in events.into_iter().enumerate() {
        match clients.get_mut(&event.key) {
            Some(events) => events.push((place, event)),
            None => drop(clients.insert(event.key.clone(), vec![(place, event)])),
        }
    }
    for events in clients.values_mut().filter(|events| events.len() > 1) {
        events.sort_by_cached_key(|(_, event)| event.position());
    }
    clients
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

/// The changes of a client up to a moment if no event arrives, in order of time.
#[must_use]
pub fn plan_forecast(
    stored: Stored,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
    policies: &Policies,
) -> Vec<Entry> {
    ClientPlan::of(stored, policies).forecast(now, until)
}

#[cfg(test)]
mod tests {
    use super::fixture::{active, day, event, present, touch};
    use super::*;
    use crate::domain::access::AccessStatus;
    use crate::domain::{Change, EventKind};

    #[test]
    fn a_moment_ahead_of_all_clocks_counts_as_now_unless_an_event_explains_it() {
        let present = Present {
            now: day(0),
            tolerance: TimeDelta::days(5),
        };
        for (reached, event, expected) in [
            (-1, None, -1),
            (1, None, 1),
            (5, None, 5),
            (6, None, 0),
            (6, Some(3), 0),
            (6, Some(6), 6),
            (6, Some(7), 6),
        ] {
            let capped = present.cap(day(reached), event.map(day));
            assert_eq!(capped, day(expected), "{reached} {event:?}");
        }
    }

    #[test]
    fn only_a_late_event_that_is_more_than_a_renewal_needs_the_history() {
        let stored = active("a");
        let terminated = |time| event("a", time, EventKind::ClientTerminated { reason: None });
        for (event, needed) in [
            (terminated(day(20)), false),
            (touch("a", day(20)), false),
            (terminated(day(5)), true),
            (touch("a", day(5)), false),
            // At the moment at which access began, the order of both events decides.
            (touch("a", day(0)), true),
            (touch("a", day(-5)), true),
        ] {
            assert_eq!(needs_history(Some(&stored), &event), needed, "{event:?}");
            assert!(!needs_history(None, &event));
        }
    }

    #[test]
    fn a_touch_that_only_renews_access_writes_no_document() {
        let situation = Situation {
            present: present(),
            low_watermark: None,
            policies: &Policies::default(),
            stored: vec![active("a")],
            histories: HashMap::new(),
            spacing: CheckpointSpacing::default(),
            holders: HashMap::new(),
        };
        let Plan { commit, outcomes, .. } = plan(situation, vec![touch("a", day(20))]);
        assert_eq!(outcomes, [RecordedOutcome::Applied]);
        assert_eq!((commit.clients.len(), commit.touches.len()), (0, 1), "{commit:?}");
    }

    #[test]
    fn a_touch_that_may_be_in_a_closed_run_needs_the_history() {
        let mut stored = active("a");
        stored.document.touches_closed_until = Some(day(5));
        for (time, needed) in [(4, true), (5, true), (6, false)] {
            let event = touch("a", day(time));
            assert_eq!(needs_history(Some(&stored), &event), needed, "day {time}");
        }
    }

    #[test]
    fn a_touch_that_may_change_a_checkpoint_needs_the_history() {
        let mut stored = active("a");
        stored.document.checkpointed_until = Some(day(5));
        for (time, needed) in [(4, true), (5, true), (6, false)] {
            let event = touch("a", day(time));
            assert_eq!(needs_history(Some(&stored), &event), needed, "day {time}");
        }
    }

    #[test]
    fn of_several_overdue_warnings_only_the_nearest_to_expiry_is_emitted() {
        let warning = |left: &str| {
            vec![Change::AccessExpiring {
                left: left.into(),
                expires_at: Some(day(70)),
            }]
        };
        let expired = vec![Change::Access {
            from: AccessStatus::Enabled,
            to: AccessStatus::Expired,
            expires_at: None,
        }];
        for (until, expected) in [
            (day(55), vec![]),
            (day(56), warning("P14D")),
            (day(63), warning("P7D")),
            (day(69), warning("P1D")),
            (day(70), expired),
        ] {
            let policies = Policies::default();
            let (commit, _) = plan_sweep(vec![active("a")], Sweep::AccessExpiry, until, day(100), &policies);
            let emitted: Vec<Change> = commit.journal.into_iter().map(|entry| entry.change).collect();
            assert_eq!(emitted, expected, "{until}");
            assert_eq!(commit.recorded_at, day(100));
        }
    }

    #[test]
    fn a_sweep_reports_the_clients_whose_timers_fired() {
        let mut renewed = active("b");
        renewed
            .touches
            .insert(crate::store::Touch::of(&touch("b", day(50))).unwrap());
        let stored = vec![active("a"), renewed];
        let (_, changes) = plan_sweep(
            stored,
            Sweep::AccessExpiry,
            day(70),
            day(70),
            &Policies::default(),
        );
        let [(key, entries)] = &changes[..] else {
            panic!("{changes:?}");
        };
        assert_eq!((&*key.client, entries.len()), ("a", 1));
    }
}
