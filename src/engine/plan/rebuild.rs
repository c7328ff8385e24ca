//! The plan of a rebuild: makes the stored state of a client agree with its event log.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::Present;
use super::names::{Names, claim, claims};
use super::renew_only;
use super::replayed::{Replayed, differences, outcomes_that_differ, published, wrong_checkpoints};
use crate::domain::replica::Replica;
use crate::domain::{Cause, Change, ClientKey, Corrector, Entry, LastChanges, Name, Policies, Repair, Sweep};
use crate::store::{
    CheckpointWrite, ClientSnapshot, ClientWrite, Columns, Commit, Deadlines, Document, NameClaim,
    OutcomeUpdate, RecordedOutcome, TouchWrite,
};

/// The differences of a client, and the commit that repairs them.
#[derive(Debug)]
pub struct Rebuild {
    /// Sentences. If there are none, the commit is empty too.
    pub differences: Vec<String>,
    pub commit: Result<Commit, EventsMissing>,
}

/// The log of a client lacks events that the stored state and the journal show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no event in the log adds this client, and published changes cannot be withdrawn: events are missing from the \
     log. Restore them (from a backup, or with `tenure ingest`) and rebuild again"
)]
pub struct EventsMissing;

/// The differences between the stored state of a client and its log, as sentences.
#[must_use]
pub fn drift(snapshot: &ClientSnapshot, present: Present, policies: &Policies) -> Vec<String> {
    differences(
        snapshot,
        &Replayed::of(snapshot, present, policies, |_| false),
        policies,
    )
}

/// The names that a rebuild must look up.
pub fn names_of(snapshot: &ClientSnapshot) -> Vec<NameClaim> {
    claims(std::iter::empty(), snapshot.history.iter(), &[])
        .into_iter()
        .collect()
}

/// Plans the rebuild of a locked client. `holders` are those of [`names_of`].
#[must_use]
pub fn plan_rebuild(
    snapshot: &ClientSnapshot,
    holders: HashMap<NameClaim, ClientKey>,
    present: Present,
    policies: &Policies,
) -> Rebuild {
    let now = present.now;
    let names = Names::new(holders);
    let replayed = Replayed::of(snapshot, present, policies, |event| names.is_taken(event));
    let differences = differences(snapshot, &replayed, policies);
    let mut commit = Commit {
        recorded_at: now,
        ..Commit::default()
    };
    if differences.is_empty() {
        return Rebuild {
            differences,
            commit: Ok(commit),
        };
    }
    let document = document(snapshot, &replayed, &names, policies);
    deadlines(snapshot, &document.deadlines, &mut commit);
    outcomes(snapshot, &replayed, &names, &mut commit);
    checkpoints(snapshot, &replayed, &mut commit);
    let agrees = journal(snapshot, &replayed, now, policies, &mut commit);
    let was_known = snapshot
        .document()
        .is_some_and(|document| document.client.is_known());
    if !agrees || (was_known && !replayed.client.is_known()) {
        return Rebuild {
            differences,
            commit: Err(EventsMissing),
        };
    }
    if !replayed.events.is_empty() {
        commit.clients.extend(client_write(snapshot, document));
    }
    if renew_only::unsound(snapshot, &replayed.client, policies).is_some() {
        // The window is stored apart from the client's row, which may be right. The next touch reads the client, and opens a
        // new window.
        commit.touches.push(TouchWrite {
            key: snapshot.key.clone(),
            open: snapshot.touches.clone(),
            closed: None,
            renew_only: None,
        });
    }
    Rebuild {
        differences,
        commit: Ok(commit),
    }
}

/// None: the row of the client already has this document.
fn client_write(snapshot: &ClientSnapshot, document: Document) -> Option<ClientWrite> {
    let is_written = snapshot.row.as_ref().is_some_and(|row| {
        row.document.as_ref().ok() == Some(&document) && row.columns == Columns::of(&document)
    });
    (!is_written).then(|| ClientWrite {
        key: snapshot.key.clone(),
        name_key: document.held_name().map(Name::key),
        document,
        read_version: snapshot.row.as_ref().map_or(0, |row| row.version),
    })
}

fn document(snapshot: &ClientSnapshot, replayed: &Replayed, names: &Names, policies: &Policies) -> Document {
    let before = snapshot.document().cloned();
    let is_right = |before: &Document| {
        snapshot
            .stored()
            .is_some_and(|stored| stored.client(policies) == replayed.client)
            && before.touches_closed_until >= replayed.touches_closed_until
    };
    let mut document = match before {
        Some(before) if is_right(&before) => before,
        before => Document {
            client: replayed.client.clone(),
            touches_closed_until: replayed
                .touches_closed_until
                .max(before.as_ref().and_then(|before| before.touches_closed_until)),
            checkpointed_until: before.as_ref().and_then(|before| before.checkpointed_until),
            name_conflicted: before.is_some_and(|before| before.name_conflicted),
            deadlines: Deadlines::new(),
        },
    };
    document.deadlines = Sweep::ALL
        .into_iter()
        .filter_map(|sweep| {
            let due = replayed.client.deadline(sweep, policies)?;
            // A deadline that is only too early stays; its sweep moves it.
            let row = snapshot.deadlines.get(&sweep).copied().filter(|row| *row <= due);
            Some((sweep, row.unwrap_or(due)))
        })
        .collect();
    let checkpoints = replayed.checkpoints.iter().flatten();
    document.checkpointed_until = document
        .checkpointed_until
        .max(checkpoints.map(|checkpoint| checkpoint.time).max());
    document.name_conflicted = is_name_conflicted(snapshot, &document, names);
    document
}

/// Whether a client has its name without holding it. A conflict is not decided again; otherwise a client holds its name unless
/// another client does.
fn is_name_conflicted(snapshot: &ClientSnapshot, document: &Document, names: &Names) -> bool {
    let Some(name) = document.client.current_name() else {
        return false;
    };
    let holds = snapshot
        .row
        .as_ref()
        .is_some_and(|row| row.columns.name_key.as_deref() == Some(&name.key()));
    !holds
        && (document.name_conflicted || names.is_held_by_another(&claim(&snapshot.key, name), &snapshot.key))
}

fn deadlines(snapshot: &ClientSnapshot, wanted: &Deadlines, commit: &mut Commit) {
    for sweep in Sweep::ALL {
        match (snapshot.deadlines.get(&sweep), wanted.get(&sweep)) {
            (row, Some(due)) if row != Some(due) => {
                commit.deadlines_set.push((snapshot.key.clone(), sweep, *due));
            }
            (Some(_), None) => commit.deadlines_cleared.push((snapshot.key.clone(), sweep)),
            _ => {}
        }
    }
}

/// Replaces wrong checkpoints by right ones.
fn checkpoints(snapshot: &ClientSnapshot, replayed: &Replayed, commit: &mut Commit) {
    let (mut removed, mut added) = (Vec::new(), Vec::new());
    for (stored, expected) in wrong_checkpoints(snapshot, replayed) {
        removed.push(stored.time);
        added.extend(expected.cloned());
    }
    if !removed.is_empty() {
        commit.checkpoints.push(CheckpointWrite {
            key: snapshot.key.clone(),
            removed,
            added,
        });
    }
}

/// Repairs outcomes, and publishes refusals and acceptances that were never published.
fn outcomes(snapshot: &ClientSnapshot, replayed: &Replayed, names: &Names, commit: &mut Commit) {
    for (event, _, outcome) in outcomes_that_differ(snapshot, replayed) {
        commit.outcomes.push(OutcomeUpdate {
            key: event.key.clone(),
            time: event.time,
            source: event.source.clone(),
            id: event.id.clone(),
            outcome,
        });
        let cause = Cause::from(event);
        let published = snapshot
            .journal
            .iter()
            .rev()
            .find_map(|entry| match entry.change {
                Change::EventRefused { refusal, .. } if entry.cause == cause => {
                    Some(RecordedOutcome::Refused(refusal))
                }
                Change::EventAccepted(_) if entry.cause == cause => Some(RecordedOutcome::Applied),
                _ => None,
            });
        let change = match (published, outcome) {
            (None | Some(RecordedOutcome::Applied), RecordedOutcome::Refused(refusal)) => {
                names.refused(event, refusal)
            }
            (Some(RecordedOutcome::Refused(refusal)), RecordedOutcome::Applied) => {
                Change::EventAccepted(refusal)
            }
            _ => continue,
        };
        commit.journal.push(Entry {
            key: snapshot.key.clone(),
            change,
            time: event.time,
            cause,
            corrected_by: Some(Corrector::Rebuild {
                rebuild: Repair::State,
            }),
        });
    }
}

/// Adds the corrections that bring subscribers from the published state to the state of the log. A state that was wrong only in
/// the store needs none, because it was never published. False: no change can express the difference.
fn journal(
    snapshot: &ClientSnapshot,
    replayed: &Replayed,
    now: DateTime<Utc>,
    policies: &Policies,
    commit: &mut Commit,
) -> bool {
    let stored = snapshot.stored().map(|stored| stored.client(policies));
    let rebuild = if stored.as_ref() == Some(&replayed.client) {
        Repair::Journal
    } else {
        Repair::State
    };
    let (mut published, expected) = (
        published(snapshot, &replayed.client),
        Replica::of(&replayed.client),
    );
    if published == expected {
        return true;
    }
    let until = replayed.client.as_of().unwrap_or(now);
    let history = replayed.events.iter().map(|(event, _)| event);
    let (_, last) = LastChanges::of_history(history, until, policies);
    for change in published.changes_to(&expected) {
        let occurrence = last.of(&change);
        let entry = Entry {
            key: snapshot.key.clone(),
            time: occurrence.map_or(now, |occurrence| occurrence.time),
            cause: occurrence.map_or(Cause::Rebuild { rebuild }, |occurrence| occurrence.cause.clone()),
            change,
            corrected_by: Some(Corrector::Rebuild { rebuild }),
        };
        published.apply(&entry.change, entry.time);
        commit.journal.push(entry);
    }
    published == expected
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::fixture::{
        day, event, id, ingest, name, nothing, present, refused, snapshot_of_active, write,
    };
    use super::*;
    use crate::domain::access::Access;
    use crate::domain::change::SubscriptionTerms;
    use crate::domain::event::ManagedBy;
    use crate::domain::holdings::SubscriptionStatus;
    use crate::domain::link::{Connection, Link, LinkStatus};
    use crate::domain::{Client, EventKind, Refusal};

    fn rebuild(snapshot: &ClientSnapshot) -> Result<Commit, EventsMissing> {
        plan_rebuild(snapshot, HashMap::new(), present(), &Policies::default()).commit
    }

    /// The commit of a rebuild that leaves no difference.
    fn repair(snapshot: &ClientSnapshot) -> Commit {
        let commit = rebuild(snapshot).unwrap();
        let mut repaired = snapshot.clone();
        write(&mut repaired, commit.clone());
        assert_eq!(drift(&repaired, present(), &Policies::default()), [""; 0]);
        commit
    }

    /// The changes of corrections that name this cause.
    fn corrections(commit: &Commit, rebuild: Repair) -> Vec<Change> {
        let correction = |entry: &Entry| {
            assert_eq!(entry.corrected_by, Some(Corrector::Rebuild { rebuild }));
            assert!(entry.time < present().now, "{entry:?}");
            assert!(!matches!(entry.cause, Cause::Rebuild { .. }), "{entry:?}");
            entry.change.clone()
        };
        commit.journal.iter().map(correction).collect()
    }

    /// Changes the stored state of a client.
    fn damage(snapshot: &mut ClientSnapshot, act: impl FnOnce(&mut Client)) {
        let row = snapshot.row.as_mut().unwrap();
        let document = row.document.as_mut().unwrap();
        act(&mut document.client);
        row.columns = Columns::of(document);
    }

    #[test]
    fn a_rebuild_of_a_right_client_writes_nothing() {
        assert!(repair(&snapshot_of_active("a")).is_empty());
    }

    #[test]
    fn a_repair_of_the_journal_writes_nothing_else() {
        let mut snapshot = snapshot_of_active("a");
        snapshot.journal.clear();
        let commit = repair(&snapshot);
        assert_eq!(corrections(&commit, Repair::Journal).len(), 7, "{commit:?}");
        assert_eq!(commit.recorded_at, present().now);
        let other = Commit {
            journal: Vec::new(),
            ..commit
        };
        assert!(other.is_empty(), "{other:?}");
    }

    #[test]
    fn a_deadline_that_the_client_does_not_have_is_cleared() {
        for mut snapshot in [nothing("a"), snapshot_of_active("a")] {
            snapshot.deadlines.insert(Sweep::SubscriptionEnd, day(60));
            let mut commit = repair(&snapshot);
            let cleared = std::mem::take(&mut commit.deadlines_cleared);
            assert_eq!(cleared, [(snapshot.key, Sweep::SubscriptionEnd)]);
            assert!(commit.is_empty(), "{commit:?}");
        }
    }

    #[test]
    fn a_client_that_no_event_adds_cannot_be_rebuilt() {
        let mut only_published = nothing("a");
        only_published.journal.push(Entry {
            key: only_published.key.clone(),
            change: Change::Link {
                from: None,
                to: LinkStatus::Draft,
            },
            time: day(0),
            cause: Cause::from(&refused("a", day(0))),
            corrected_by: None,
        });
        let mut only_stored = snapshot_of_active("a");
        only_stored.history.clear();
        only_stored.journal.clear();
        only_stored.journal_is_pruned = true;
        for snapshot in [only_published, only_stored] {
            assert_eq!(rebuild(&snapshot).unwrap_err(), EventsMissing);
        }
    }

    #[test]
    fn a_refusal_is_published_unless_the_journal_has_the_one_of_this_event() {
        let mut snapshot = snapshot_of_active("a");
        let events = [20, 21].map(|time| refused("a", day(time)));
        ingest(&mut snapshot, events.to_vec());
        let last = snapshot.history.last_mut().unwrap();
        assert_eq!(last.outcome, RecordedOutcome::Refused(Refusal::UnknownId));
        last.outcome = RecordedOutcome::Applied;
        let update = OutcomeUpdate {
            key: snapshot.key.clone(),
            time: day(21),
            source: events[1].source.clone(),
            id: events[1].id.clone(),
            outcome: RecordedOutcome::Refused(Refusal::UnknownId),
        };
        let commit = repair(&snapshot);
        assert_eq!(commit.outcomes, std::slice::from_ref(&update));
        assert_eq!(commit.journal, []);
        snapshot.journal.pop();
        let commit = repair(&snapshot);
        assert_eq!(commit.outcomes, [update]);
        let refusal = Entry {
            key: snapshot.key.clone(),
            change: Change::EventRefused {
                refusal: Refusal::UnknownId,
                conflicts_with: None,
            },
            time: day(21),
            cause: Cause::from(&events[1]),
            corrected_by: Some(Corrector::Rebuild {
                rebuild: Repair::State,
            }),
        };
        assert_eq!(commit.journal, [refusal]);
    }

    #[test]
    fn an_acceptance_is_published_if_the_journal_has_the_refusal_of_this_event() {
        let mut snapshot = snapshot_of_active("a");
        let kind = EventKind::ClientRenamed { name: name("Bakery") };
        let renamed = event("a", day(20), kind);
        ingest(&mut snapshot, vec![renamed.clone()]);
        let last = snapshot.history.last_mut().unwrap();
        last.outcome = RecordedOutcome::Refused(Refusal::NotLinked);
        assert_eq!(repair(&snapshot).journal, []);
        let refusal = Entry {
            key: snapshot.key.clone(),
            change: Change::EventRefused {
                refusal: Refusal::NotLinked,
                conflicts_with: None,
            },
            time: day(20),
            cause: Cause::from(&renamed),
            corrected_by: None,
        };
        snapshot.journal.push(refusal.clone());
        let accepted = Entry {
            change: Change::EventAccepted(Refusal::NotLinked),
            corrected_by: Some(Corrector::Rebuild {
                rebuild: Repair::State,
            }),
            ..refusal
        };
        assert_eq!(repair(&snapshot).journal, [accepted]);
    }

    /// An active client that was renamed to Bakery, with a subscription that was renewed to day 400, one that was renewed to day
    /// 500, and one that is paid until day 300 from the beginning.
    fn renamed_with_subscriptions() -> ClientSnapshot {
        let added = |subscription, paid_until| EventKind::SubscriptionAdded {
            subscription_id: id(subscription),
            plan: None,
            managed_by: ManagedBy::Partner,
            paid_until,
        };
        let renewed = |subscription, until| EventKind::SubscriptionRenewed {
            subscription_id: id(subscription),
            paid_until: day(until),
        };
        let kinds = [
            EventKind::ClientRenamed { name: name("Bakery") },
            added("s-1", None),
            added("s-2", None),
            added("s-3", Some(day(300))),
            renewed("s-1", 400),
            renewed("s-2", 500),
        ];
        let mut snapshot = snapshot_of_active("a");
        let events = (20..).zip(kinds).map(|(time, kind)| event("a", day(time), kind));
        ingest(&mut snapshot, events.collect());
        snapshot
    }

    fn set_paid_until(client: &mut Client, subscription: &str, until: i64) {
        let mut subscriptions = BTreeMap::clone(&client.subscriptions);
        let subscription = subscriptions.get_mut(&id(subscription)).unwrap();
        subscription.paid_until = Some(day(until));
        client.subscriptions = subscriptions.into();
    }

    /// What is right, what damages it, and the corrections.
    type Case<'a> = (&'a ClientSnapshot, &'a dyn Fn(&mut Client), Vec<Change>);

    #[test]
    fn a_repair_of_the_state_reports_only_what_the_journal_does_not() {
        let right = renamed_with_subscriptions();
        let mut pruned = right.clone();
        pruned.journal.clear();
        pruned.journal_is_pruned = true;
        let mut unnamed = right.clone();
        unnamed
            .journal
            .retain(|entry| !matches!(entry.change, Change::ClientRenamed { .. }));
        let mut unpaid = right.clone();
        unpaid
            .journal
            .retain(|entry| entry.change.id() != Some(&id("s-2")));
        let rename = |client: &mut Client| client.name = Some(name("Cakery"));
        let renamed = Change::ClientRenamed {
            from: name("a"),
            to: name("Bakery"),
        };
        let disable = |client: &mut Client| {
            let access = Access::Disabled { request: None };
            let commission_eligible = true;
            client.link = Link::Active(Connection {
                commission_eligible,
                access,
            });
        };
        let shorten = |client: &mut Client| set_paid_until(client, "s-1", 1);
        let added = Change::Subscription {
            id: id("s-2"),
            from: None,
            to: SubscriptionStatus::Active,
            terms: Some(SubscriptionTerms {
                managed_by: ManagedBy::Partner,
                plan: None,
                paid_until: Some(day(500)),
            }),
        };
        let cases: [Case<'_>; 7] = [
            (&right, &rename, vec![]),
            (&right, &disable, vec![]),
            (&right, &shorten, vec![]),
            (&unnamed, &rename, vec![renamed]),
            (&unpaid, &shorten, vec![added]),
            (&pruned, &rename, vec![]),
            (&pruned, &disable, vec![]),
        ];
        for (right, act, expected) in cases {
            let mut snapshot = right.clone();
            damage(&mut snapshot, act);
            let commit = repair(&snapshot);
            assert_eq!(corrections(&commit, Repair::State), expected);
            let [written] = &commit.clients[..] else {
                panic!("{commit:?}");
            };
            assert_eq!(Some(&written.document), right.document());
        }
    }
}
