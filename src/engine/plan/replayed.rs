//! What the log says about a client, and in what the rest that is kept about it differs.

use chrono::{DateTime, Utc};

use super::{Present, renew_only};
use crate::domain::fold::replay;
use crate::domain::replay::Replica;
use crate::domain::time::rfc3339;
use crate::domain::{Cause, Client, Event, Policies, Sweep};
use crate::store::{ClientSnapshot, Columns, RecordedOutcome, Touch};

/// Events named one by one when their outcomes differ.
const NAMED: usize = 3;

/// A client folded anew from its log.
#[derive(Debug)]
pub struct Replayed {
    pub client: Client,
    /// The history, each event with what came of it.
    pub events: Vec<(Event, RecordedOutcome)>,
    /// The last touch that is in a run put away.
    pub touches_closed_until: Option<DateTime<Utc>>,
}

impl Replayed {
    /// `is_taken` is asked about names that were never asked for: a verdict that was given stays with its event.
    /// Timers that fired ahead of now, by a wrong clock, have not fired.
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
        let results = replay(&mut client, &mut events, policies, is_taken);
        let last_event = client.as_of();
        let stored = stored_moment(snapshot, &client, policies);
        if let Some(moment) = stored {
            client.advance(present.cap(moment, last_event), policies);
        }
        // The row says how far the client is. The journal may say more: a clock that was ahead fired a timer, and what that
        // did was taken back since. It counts where the row is of no use, or disagrees with what was published.
        if (stored.is_none() || told(snapshot, &client) != Replica::of(&client))
            && let Some(moment) = told_moment(snapshot)
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
        }
    }
}

/// How far the stored client is, if its history can have brought it there: past its last event to a timer that falls
/// due at that very moment. Any other moment was tampered with.
fn stored_moment(snapshot: &ClientSnapshot, replayed: &Client, policies: &Policies) -> Option<DateTime<Utc>> {
    let as_of = snapshot.stored()?.client(policies).as_of()?;
    let mut reached = replayed.clone();
    reached.advance(as_of, policies);
    (reached.as_of() == Some(as_of)).then_some(as_of)
}

/// How far the client was when the last timer was told of.
fn told_moment(snapshot: &ClientSnapshot) -> Option<DateTime<Utc>> {
    let timers = snapshot
        .journal
        .iter()
        .filter(|entry| matches!(entry.cause, Cause::Timer { .. }));
    timers.map(|entry| entry.time).max()
}

/// What a listener knows by the journal. Of a journal that was pruned the last word on each thing counts, and silence
/// agrees.
pub fn told(snapshot: &ClientSnapshot, expected: &Client) -> Replica {
    let mut replica = if snapshot.journal_is_pruned {
        Replica::of(expected)
    } else {
        Replica::default()
    };
    for entry in &snapshot.journal {
        replica.apply(&entry.change);
    }
    replica
}

/// In what a client as it is kept differs from its log, in words; nothing when all is right.
pub fn differences(snapshot: &ClientSnapshot, replayed: &Replayed, policies: &Policies) -> Vec<String> {
    let mut out = Vec::new();
    row(snapshot, replayed, policies, &mut out);
    outcomes(snapshot, replayed, &mut out);
    let (told, expected) = (told(snapshot, &replayed.client), Replica::of(&replayed.client));
    if told != expected {
        out.push(journal(&told, &expected));
    }
    deadlines(snapshot, replayed, policies, &mut out);
    renew_only(snapshot, replayed, policies, &mut out);
    out
}

fn row(snapshot: &ClientSnapshot, replayed: &Replayed, policies: &Policies, out: &mut Vec<String>) {
    let Some(row) = &snapshot.row else {
        let events = replayed.events.len();
        if events > 0 {
            out.push(format!("its row is missing, the log has {events} events of it"));
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
        out.extend(parts(&stored, &replayed.client));
    }
    if document.touches_closed_until < replayed.touches_closed_until {
        out.push(format!(
            "touches are put away up to {}, the document says {}",
            words(replayed.touches_closed_until),
            words(document.touches_closed_until)
        ));
    }
    columns(&row.columns, &Columns::of(document), out);
}

/// The stored window in which touches are accepted unread must not reach further than the history allows.
fn renew_only(snapshot: &ClientSnapshot, replayed: &Replayed, policies: &Policies, out: &mut Vec<String>) {
    if let Some(renew_only) = renew_only::unsound(snapshot, &replayed.client, policies) {
        out.push(format!(
            "touches between {} and {} would be accepted unread, and must not be",
            rfc3339(renew_only.after),
            rfc3339(renew_only.before)
        ));
    }
}

/// The parts of two clients that are not the same.
fn parts(snapshot: &Client, replayed: &Client) -> Vec<String> {
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
                "{name} is kept as {}, the history says {}",
                text(snapshot.get(name)),
                text(replayed.get(name))
            )
        })
        .collect()
}

fn columns(snapshot: &Columns, expected: &Columns, out: &mut Vec<String>) {
    let text = |text: &Option<String>| text.clone();
    let time = |time: Option<DateTime<Utc>>| time.map(|time| words(Some(time)));
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
    ];
    let quoted = |text: Option<String>| text.map_or("empty".to_owned(), |text| format!("`{text}`"));
    for (column, snapshot, expected) in columns {
        if snapshot != expected {
            let (snapshot, expected) = (quoted(snapshot), quoted(expected));
            out.push(format!(
                "the column {column} is {snapshot}, by the document it is {expected}"
            ));
        }
    }
}

fn outcomes(snapshot: &ClientSnapshot, replayed: &Replayed, out: &mut Vec<String>) {
    let different: Vec<_> = outcomes_that_differ(snapshot, replayed).collect();
    for (event, before, now) in different.iter().take(NAMED) {
        out.push(format!(
            "event {} {} is kept as {}, and is {}",
            event.source,
            event.id,
            outcome(*before),
            outcome(*now)
        ));
    }
    if different.len() > NAMED {
        let more = different.len() - NAMED;
        out.push(format!("so are {more} more events"));
    }
}

/// Events whose outcome is not what is kept. A packed touch has none of its own.
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

fn journal(told: &Replica, expected: &Replica) -> String {
    let missing: Vec<String> = told
        .changes_to(expected)
        .into_iter()
        .map(|change| match change.id() {
            Some(id) => format!("{} {}", change.kind(), id.as_str()),
            None => change.kind().to_string(),
        })
        .collect();
    if missing.is_empty() {
        format!("the journal tells of {told:?}, the history of {expected:?}")
    } else {
        format!("the journal does not tell of {}", missing.join(", "))
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
                    "the deadline of {sweep} is {}, by the document it is {}",
                    words(row),
                    words(deadline)
                ));
            }
        }
        if due.is_some_and(|due| row.is_none_or(|row| row > due)) {
            out.push(format!(
                "the deadline of {sweep} is {}, and something is due at {}",
                words(row),
                words(due)
            ));
        } else if row.is_some() && snapshot.row.is_none() && due.is_none() {
            out.push(format!("the deadline of {sweep} is {}, of nobody", words(row)));
        }
    }
}

fn words(time: Option<DateTime<Utc>>) -> String {
    time.map_or_else(|| "none".to_owned(), crate::domain::time::rfc3339)
}
