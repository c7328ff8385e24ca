//! A client replayed from its event log, and how its stored state differs.

use chrono::{DateTime, Utc};

use super::checkpoints::digest;
use super::{Present, renew_only};
use crate::domain::fold::replay;
use crate::domain::replica::Replica;
use crate::domain::time::rfc3339;
use crate::domain::{Cause, Client, Event, Policies, Refusal, Sweep};
use crate::store::{Checkpoint, ClientSnapshot, Columns, RecordedOutcome, Touch};

/// How many events with a different outcome are named.
const NAMED: usize = 3;

/// A client replayed from its log.
#[derive(Debug)]
pub struct Replayed {
    pub client: Client,
    /// The history, each event with its outcome.
    pub events: Vec<(Event, RecordedOutcome)>,
    /// The time of the last touch in a closed run.
    pub touches_closed_until: Option<DateTime<Utc>>,
    /// For each stored checkpoint, what it should be. None: there should be none at that moment.
    pub checkpoints: Vec<Option<Checkpoint>>,
}

impl Replayed {
    /// `is_taken` decides names without a recorded verdict; a recorded verdict stays with its event. Timers that a wrong clock
    /// fired ahead of now do not count.
    pub fn of(
        snapshot: &ClientSnapshot,
        present: Present,
        policies: &Policies,
        is_taken: impl FnMut(&Event) -> bool,
    ) -> Self {
        let mut events: Vec<Event> = snapshot
            .history
            .iter()
            .map(|logged| logged.event.clone())
            .collect();
        let mut client = Client::default();
        let (results, checkpoints) = replay_through(
            &mut client,
            &mut events,
            &snapshot.checkpoints,
            policies,
            is_taken,
        );
        let last_event = client.as_of();
        let stored = stored_moment(snapshot, &client, policies);
        if let Some(moment) = stored {
            client.advance(present.cap(moment, last_event), policies);
        }
        // The row says how far the client was advanced. The journal may say more: a clock that was ahead fired a timer that was
        // corrected later. The journal counts if the row is unusable, or disagrees with the published changes.
        if (stored.is_none() || published(snapshot, &client) != Replica::of(&client))
            && let Some(moment) = published_moment(snapshot)
        {
            client.advance(present.cap(moment, last_event), policies);
        }
        let touches_closed_until = events
            .iter()
            .filter(|event| Touch::is_packed(event))
            .filter_map(Touch::of)
            .filter(|touch| !snapshot.touches.iter().any(|open| open == touch))
            .map(|touch| touch.time)
            .max();
        Self {
            client,
            events: events
                .into_iter()
                .zip(results.into_iter().map(RecordedOutcome::from))
                .collect(),
            touches_closed_until,
            checkpoints,
        }
    }
}

/// Replays a history, and makes each stored checkpoint again on the way.
fn replay_through(
    client: &mut Client,
    events: &mut [Event],
    stored: &[Checkpoint],
    policies: &Policies,
    mut is_taken: impl FnMut(&Event) -> bool,
) -> (Vec<Result<(), Refusal>>, Vec<Option<Checkpoint>>) {
    let mut results = Vec::with_capacity(events.len());
    let mut checkpoints = Vec::with_capacity(stored.len());
    for Checkpoint { time, .. } in stored {
        let (from, upto) = (results.len(), events.partition_point(|event| event.time <= *time));
        results.extend(replay(client, &mut events[from..upto], policies, &mut is_taken));
        let has_later_event = upto < events.len();
        checkpoints.push(has_later_event.then(|| Checkpoint {
            time: *time,
            events: i64::try_from(upto).unwrap_or(i64::MAX),
            policies: digest(policies, *time),
            client: Some(client.clone()),
        }));
    }
    let from = results.len();
    results.extend(replay(client, &mut events[from..], policies, is_taken));
    (results, checkpoints)
}

/// How far the stored client was advanced, if its history explains that: past its last event, to the moment of a due timer. None:
/// the moment was tampered with.
fn stored_moment(snapshot: &ClientSnapshot, replayed: &Client, policies: &Policies) -> Option<DateTime<Utc>> {
    let as_of = snapshot.stored()?.client(policies).as_of()?;
    let mut reached = replayed.clone();
    reached.advance(as_of, policies);
    (reached.as_of() == Some(as_of)).then_some(as_of)
}

/// How far the client was advanced when the last timer was published.
fn published_moment(snapshot: &ClientSnapshot) -> Option<DateTime<Utc>> {
    let timers = snapshot
        .journal
        .iter()
        .filter(|entry| matches!(entry.cause, Cause::Timer { .. }));
    timers.map(|entry| entry.time).max()
}

/// The state that a subscriber has from the journal. Where the journal was pruned, a missing change counts as the expected one.
pub fn published(snapshot: &ClientSnapshot, expected: &Client) -> Replica {
    let mut replica = if snapshot.journal_is_pruned {
        Replica::of(expected)
    } else {
        Replica::default()
    };
    for entry in &snapshot.journal {
        replica.apply(&entry.change, entry.time);
    }
    replica
}

/// The differences between the stored state of a client and its log, as sentences; empty if there are none.
pub fn differences(snapshot: &ClientSnapshot, replayed: &Replayed, policies: &Policies) -> Vec<String> {
    let mut out = Vec::new();
    row(snapshot, replayed, policies, &mut out);
    outcomes(snapshot, replayed, &mut out);
    let (published, expected) = (
        published(snapshot, &replayed.client),
        Replica::of(&replayed.client),
    );
    if published != expected {
        out.push(journal(&published, &expected));
    }
    deadlines(snapshot, replayed, policies, &mut out);
    renew_only(snapshot, replayed, policies, &mut out);
    checkpoints(snapshot, replayed, &mut out);
    out
}

fn row(snapshot: &ClientSnapshot, replayed: &Replayed, policies: &Policies, out: &mut Vec<String>) {
    let Some(row) = &snapshot.row else {
        let events = replayed.events.len();
        if events > 0 {
            out.push(format!(
                "its row is missing, the log has {events} events of the client"
            ));
        }
        return;
    };
    let document = match &row.document {
        Ok(document) => document,
        Err(why) => return out.push(format!("the document cannot be read: {why}")),
    };
    if let Some(stored) = snapshot.stored().map(|stored| stored.client(policies))
        && stored != replayed.client
    {
        out.extend(fields(&stored, &replayed.client));
    }
    if document.touches_closed_until < replayed.touches_closed_until {
        out.push(format!(
            "touches are in closed runs up to {}, the document says {}",
            words(replayed.touches_closed_until),
            words(document.touches_closed_until)
        ));
    }
    columns(&row.columns, &Columns::of(document), out);
}

/// The stored window in which touches are accepted without reading the client must not be wider than the history allows.
fn renew_only(snapshot: &ClientSnapshot, replayed: &Replayed, policies: &Policies, out: &mut Vec<String>) {
    if let Some(renew_only) = renew_only::unsound(snapshot, &replayed.client, policies) {
        out.push(format!(
            "touches between {} and {} would be accepted without reading the client, and must not be",
            rfc3339(renew_only.after),
            rfc3339(renew_only.before)
        ));
    }
}

fn checkpoints(snapshot: &ClientSnapshot, replayed: &Replayed, out: &mut Vec<String>) {
    for (stored, expected) in wrong_checkpoints(snapshot, replayed) {
        let time = rfc3339(stored.time);
        let expected = expected.and_then(|expected| expected.client.as_ref());
        out.push(match (&stored.client, expected) {
            (_, None) => format!("there is a checkpoint of {time}, but no later event"),
            (None, _) => format!("the checkpoint of {time} cannot be read"),
            (Some(client), Some(expected)) => {
                format!(
                    "in the checkpoint of {time} {}",
                    fields(client, expected).join(", ")
                )
            }
        });
    }
    let last = snapshot.checkpoints.last().map(|checkpoint| checkpoint.time);
    if let Some(document) = snapshot.document()
        && document.checkpointed_until < last
    {
        out.push(format!(
            "the last checkpoint is of {}, the document says {}",
            words(last),
            words(document.checkpointed_until)
        ));
    }
}

/// The stored checkpoints that differ from the history, each with what it should be. One that was made under other policies is
/// not used, and so not wrong.
pub fn wrong_checkpoints<'a>(
    snapshot: &'a ClientSnapshot,
    replayed: &'a Replayed,
) -> impl Iterator<Item = (&'a Checkpoint, Option<&'a Checkpoint>)> {
    let expected = replayed.checkpoints.iter().map(Option::as_ref);
    snapshot
        .checkpoints
        .iter()
        .zip(expected)
        .filter(|(stored, expected)| {
            stored.client.is_none()
                || expected.is_none_or(|expected| {
                    stored.policies == expected.policies && stored.client != expected.client
                })
        })
}

/// The fields in which two clients differ.
fn fields(snapshot: &Client, replayed: &Client) -> Vec<String> {
    let json = |client: &Client| match serde_json::to_value(client) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (snapshot, replayed) = (json(snapshot), json(replayed));
    let mut names: Vec<_> = snapshot.keys().chain(replayed.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let text = |value: Option<&serde_json::Value>| value.map_or("nothing".into(), ToString::to_string);
    names
        .into_iter()
        .filter(|name| snapshot.get(*name) != replayed.get(*name))
        .map(|name| {
            format!(
                "{name} is stored as {}, the history says {}",
                text(snapshot.get(name)),
                text(replayed.get(name))
            )
        })
        .collect()
}

fn columns(snapshot: &Columns, expected: &Columns, out: &mut Vec<String>) {
    let text = |text: &Option<String>| text.clone();
    let time = |time: Option<DateTime<Utc>>| time.map(|time| words(Some(time)));
    let filled = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let columns = [
        ("name", text(&snapshot.name), text(&expected.name)),
        ("name_key", text(&snapshot.name_key), text(&expected.name_key)),
        ("link", text(&snapshot.link), text(&expected.link)),
        ("service", text(&snapshot.service), text(&expected.service)),
        (
            "access",
            Some(snapshot.access.clone()),
            Some(expected.access.clone()),
        ),
        ("as_of", time(snapshot.as_of), time(expected.as_of)),
        ("account", filled(&snapshot.account), filled(&expected.account)),
    ];
    let quoted = |text: Option<String>| text.map_or("empty".to_owned(), |text| format!("`{text}`"));
    for (column, snapshot, expected) in columns {
        if snapshot != expected {
            let (snapshot, expected) = (quoted(snapshot), quoted(expected));
            out.push(format!(
                "the column {column} is {snapshot}, the document says {expected}"
            ));
        }
    }
}

fn outcomes(snapshot: &ClientSnapshot, replayed: &Replayed, out: &mut Vec<String>) {
    let different: Vec<_> = outcomes_that_differ(snapshot, replayed).collect();
    for (event, before, now) in different.iter().take(NAMED) {
        out.push(format!(
            "the outcome of event {} {} is stored as {}, the history says {}",
            event.source,
            event.id,
            outcome(*before),
            outcome(*now)
        ));
    }
    if different.len() > NAMED {
        let more = different.len() - NAMED;
        out.push(format!("the outcomes of {more} more events differ, too"));
    }
}

/// The events whose stored outcome is wrong, with the stored and the right outcome. A packed touch has no outcome of its own.
pub fn outcomes_that_differ<'a>(
    snapshot: &'a ClientSnapshot,
    replayed: &'a Replayed,
) -> impl Iterator<Item = (&'a Event, RecordedOutcome, RecordedOutcome)> {
    replayed
        .events
        .iter()
        .zip(&snapshot.history)
        .filter(|((event, now), logged)| logged.outcome != *now && !Touch::is_packed(event))
        .map(|((event, now), logged)| (event, logged.outcome, *now))
}

fn outcome(outcome: RecordedOutcome) -> String {
    outcome.refusal().map_or("applied".into(), |refusal| {
        format!("refused ({})", refusal.code())
    })
}

fn journal(published: &Replica, expected: &Replica) -> String {
    let missing: Vec<String> = published
        .changes_to(expected)
        .into_iter()
        .map(|change| match change.id() {
            Some(id) => format!("{} {}", change.kind(), id.as_str()),
            None => change.kind().to_string(),
        })
        .collect();
    if missing.is_empty() {
        format!("the journal says {published:?}, the history says {expected:?}")
    } else {
        format!("the journal is missing {}", missing.join(", "))
    }
}

fn deadlines(snapshot: &ClientSnapshot, replayed: &Replayed, policies: &Policies, out: &mut Vec<String>) {
    for sweep in Sweep::ALL {
        let row = snapshot.deadlines.get(&sweep).copied();
        let due = replayed.client.deadline(sweep, policies);
        if let Some(document) = snapshot.document() {
            let deadline = document.deadlines.get(&sweep).copied();
            if row != deadline {
                out.push(format!(
                    "the deadline of {sweep} is {}, the document says {}",
                    words(row),
                    words(deadline)
                ));
            }
        }
        if due.is_some_and(|due| row.is_none_or(|row| row > due)) {
            out.push(format!(
                "the deadline of {sweep} is {}, but a timer is due at {}",
                words(row),
                words(due)
            ));
        } else if row.is_some() && snapshot.row.is_none() && due.is_none() {
            out.push(format!(
                "the deadline of {sweep} is {}, but the client has none",
                words(row)
            ));
        }
    }
}

fn words(time: Option<DateTime<Utc>>) -> String {
    time.map_or_else(|| "none".to_owned(), crate::domain::time::rfc3339)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{day, ingest, nothing, present, refused, snapshot_of_active, sweep};
    use super::*;
    use crate::domain::access::AccessStatus;
    use crate::domain::{Change, Corrector, Entry, Repair};

    fn found(snapshot: &ClientSnapshot) -> Vec<String> {
        let policies = Policies::default();
        let replayed = Replayed::of(snapshot, present(), &policies, |_| false);
        differences(snapshot, &replayed, &policies)
    }

    /// The snapshot of an active client after a sweep, and the client.
    fn swept(until: i64) -> (ClientSnapshot, Client) {
        let mut snapshot = snapshot_of_active("a");
        sweep(&mut snapshot, Sweep::AccessExpiry, day(until));
        let client = snapshot.stored().unwrap().client(&Policies::default());
        assert_eq!(client.fired, Some(day(until)));
        (snapshot, client)
    }

    #[test]
    fn the_journal_says_how_far_a_client_was_advanced_if_the_row_cannot() {
        let active = snapshot_of_active("a");
        let (mut without_a_row, warned) = swept(56);
        without_a_row.row = None;
        let (mut behind, expired) = swept(70);
        behind.row.clone_from(&active.row);
        // A clock that was ahead let access expire, and a rebuild corrected that.
        let mut corrected = behind.clone();
        corrected.journal.push(Entry {
            key: corrected.key.clone(),
            change: Change::Access {
                from: AccessStatus::Expired,
                to: AccessStatus::Enabled,
                expires_at: Some(day(70)),
            },
            time: day(20),
            cause: Cause::Rebuild {
                rebuild: Repair::State,
            },
            corrected_by: Some(Corrector::Rebuild {
                rebuild: Repair::State,
            }),
        });
        let policies = Policies::default();
        let still_active = active.stored().unwrap().client(&policies);
        for (snapshot, expected) in [
            (without_a_row, warned),
            (behind, expired),
            (corrected, still_active),
        ] {
            let replayed = Replayed::of(&snapshot, present(), &policies, |_| false);
            assert_eq!(replayed.client, expected);
        }
    }

    #[test]
    fn a_missing_row_is_a_difference_only_if_the_client_has_events() {
        let mut snapshot = nothing("a");
        assert_eq!(found(&snapshot), [""; 0]);
        snapshot.deadlines.insert(Sweep::AccessExpiry, day(60));
        assert_eq!(
            found(&snapshot),
            ["the deadline of access-expiry is 1970-03-02T00:00:00Z, but the client has none"]
        );
    }

    #[test]
    fn a_deadline_that_the_document_lacks_is_one_difference() {
        let mut snapshot = snapshot_of_active("a");
        assert_eq!(found(&snapshot), [""; 0]);
        snapshot.deadlines.insert(Sweep::SubscriptionEnd, day(60));
        assert_eq!(
            found(&snapshot),
            ["the deadline of subscription-end is 1970-03-02T00:00:00Z, the document says none"]
        );
    }

    #[test]
    fn of_many_different_outcomes_only_the_first_are_named() {
        let mut snapshot = snapshot_of_active("a");
        ingest(
            &mut snapshot,
            (20..25).map(|time| refused("a", day(time))).collect(),
        );
        for (different, expected) in [
            (3, None),
            (4, Some("the outcomes of 1 more events differ, too")),
            (5, Some("the outcomes of 2 more events differ, too")),
        ] {
            let mut snapshot = snapshot.clone();
            for logged in snapshot.history.iter_mut().rev().take(different) {
                logged.outcome = RecordedOutcome::Applied;
            }
            let found = found(&snapshot);
            let (named, more) = found.split_at(NAMED);
            for sentence in named {
                assert!(
                    sentence.ends_with("is stored as applied, the history says refused (unknown_id)"),
                    "{sentence}"
                );
            }
            assert_eq!(more, expected.as_slice(), "{different}");
        }
    }
}
