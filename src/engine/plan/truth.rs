//! What the log says about a client, and in what the rest that is kept about it differs.

use chrono::{DateTime, Utc};

use super::{Present, quiet};
use crate::domain::fold::replay;
use crate::domain::replay::Replica;
use crate::domain::view::rfc3339;
use crate::domain::{Cause, Client, Event, Policies, Sweep};
use crate::store::{Columns, Kept, Outcome, Touch};

/// Events named one by one when their outcomes differ.
const NAMED: usize = 3;

/// A client folded anew from its log.
#[derive(Debug)]
pub struct Truth {
    pub client: Client,
    /// The history, each event with what came of it.
    pub events: Vec<(Event, Outcome)>,
    /// The last touch that is in a run put away.
    pub touches_closed_until: Option<DateTime<Utc>>,
}

impl Truth {
    /// `is_taken` is asked about names that were never asked for: a verdict that was given stays with its event.
    /// Timers that fired ahead of now, by a wrong clock, have not fired.
    pub fn of(
        kept: &Kept,
        present: Present,
        policies: &Policies,
        is_taken: impl FnMut(&Event) -> bool,
    ) -> Self {
        let mut events: Vec<Event> = kept.history.iter().map(|logged| logged.event.clone()).collect();
        let mut client = Client::default();
        let results = replay(&mut client, &mut events, policies, is_taken);
        let last_event = client.as_of();
        let stored = stored_moment(kept, &client, policies);
        if let Some(moment) = stored {
            client.advance(present.cap(moment, last_event), policies);
        }
        // The row says how far the client is. The journal may say more: a clock that was ahead fired a timer, and what that
        // did was taken back since. It counts where the row is of no use, or disagrees with what was published.
        if (stored.is_none() || told(kept, &client) != Replica::of(&client))
            && let Some(moment) = told_moment(kept)
        {
            client.advance(present.cap(moment, last_event), policies);
        }
        let touches_closed_until = events
            .iter()
            .filter(|event| Touch::is_packed(event))
            .filter_map(Touch::of)
            .filter(|touch| !kept.touches.iter().any(|open| open == touch))
            .map(|touch| touch.time)
            .max();
        Self {
            client,
            events: events
                .into_iter()
                .zip(results.into_iter().map(Outcome::from))
                .collect(),
            touches_closed_until,
        }
    }
}

/// How far the stored client is, if its history can have brought it there: past its last event to a timer that falls
/// due at that very moment. Any other moment was tampered with.
fn stored_moment(kept: &Kept, folded: &Client, policies: &Policies) -> Option<DateTime<Utc>> {
    let as_of = kept.stored()?.client(policies).as_of()?;
    let mut reached = folded.clone();
    reached.advance(as_of, policies);
    (reached.as_of() == Some(as_of)).then_some(as_of)
}

/// How far the client was when the last timer was told of.
fn told_moment(kept: &Kept) -> Option<DateTime<Utc>> {
    let timers = kept
        .journal
        .iter()
        .filter(|entry| matches!(entry.cause, Cause::Timer { .. }));
    timers.map(|entry| entry.time).max()
}

/// What a listener knows by the journal. Of a journal that was pruned the last word on each thing counts, and silence
/// agrees.
pub fn told(kept: &Kept, so: &Client) -> Replica {
    let mut replica = if kept.journal_is_pruned {
        Replica::of(so)
    } else {
        Replica::default()
    };
    for entry in &kept.journal {
        replica.apply(&entry.change);
    }
    replica
}

/// In what a client as it is kept differs from its log, in words; nothing when all is right.
pub fn differences(kept: &Kept, truth: &Truth, policies: &Policies) -> Vec<String> {
    let mut out = Vec::new();
    row(kept, truth, policies, &mut out);
    outcomes(kept, truth, &mut out);
    let (told, so) = (told(kept, &truth.client), Replica::of(&truth.client));
    if told != so {
        out.push(journal(&told, &so));
    }
    deadlines(kept, truth, policies, &mut out);
    quiet(kept, truth, policies, &mut out);
    out
}

fn row(kept: &Kept, truth: &Truth, policies: &Policies, out: &mut Vec<String>) {
    let Some(row) = &kept.row else {
        let events = truth.events.len();
        if events > 0 {
            out.push(format!("its row is missing, the log has {events} events of it"));
        }
        return;
    };
    let document = match &row.document {
        Ok(document) => document,
        Err(why) => return out.push(format!("the document cannot be read: {why}")),
    };
    if let Some(stored) = kept.stored().map(|stored| stored.client(policies))
        && stored != truth.client
    {
        out.extend(parts(&stored, &truth.client));
    }
    if document.touches_closed_until < truth.touches_closed_until {
        out.push(format!(
            "touches are put away up to {}, the document says {}",
            words(truth.touches_closed_until),
            words(document.touches_closed_until)
        ));
    }
    columns(&row.columns, &Columns::of(document), out);
}

/// The stored window in which touches are accepted unread must not reach further than the history allows.
fn quiet(kept: &Kept, truth: &Truth, policies: &Policies, out: &mut Vec<String>) {
    if let Some(quiet) = quiet::unsound(kept, &truth.client, policies) {
        out.push(format!(
            "touches between {} and {} would be accepted unread, and must not be",
            rfc3339(quiet.after),
            rfc3339(quiet.before)
        ));
    }
}

/// The parts of two clients that are not the same.
fn parts(kept: &Client, folded: &Client) -> Vec<String> {
    let json = |client: &Client| match serde_json::to_value(client) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (kept, folded) = (json(kept), json(folded));
    let mut names: Vec<_> = kept.keys().chain(folded.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let text = |value: Option<&serde_json::Value>| value.map_or("nothing".into(), ToString::to_string);
    names
        .into_iter()
        .filter(|name| kept.get(*name) != folded.get(*name))
        .map(|name| {
            format!(
                "{name} is kept as {}, the history says {}",
                text(kept.get(name)),
                text(folded.get(name))
            )
        })
        .collect()
}

fn columns(kept: &Columns, so: &Columns, out: &mut Vec<String>) {
    let text = |text: &Option<String>| text.clone();
    let time = |time: Option<DateTime<Utc>>| time.map(|time| words(Some(time)));
    let columns = [
        ("name", text(&kept.name), text(&so.name)),
        ("name_key", text(&kept.name_key), text(&so.name_key)),
        ("link", text(&kept.link), text(&so.link)),
        ("service", text(&kept.service), text(&so.service)),
        ("access", Some(kept.access.clone()), Some(so.access.clone())),
        ("as_of", time(kept.as_of), time(so.as_of)),
    ];
    let quoted = |text: Option<String>| text.map_or("empty".to_owned(), |text| format!("`{text}`"));
    for (column, kept, so) in columns {
        if kept != so {
            let (kept, so) = (quoted(kept), quoted(so));
            out.push(format!(
                "the column {column} is {kept}, by the document it is {so}"
            ));
        }
    }
}

fn outcomes(kept: &Kept, truth: &Truth, out: &mut Vec<String>) {
    let different: Vec<_> = outcomes_that_differ(kept, truth).collect();
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
    kept: &'a Kept,
    truth: &'a Truth,
) -> impl Iterator<Item = (&'a Event, Outcome, Outcome)> {
    truth
        .events
        .iter()
        .zip(&kept.history)
        .filter(|((event, now), logged)| logged.outcome != *now && !Touch::is_packed(event))
        .map(|((event, now), logged)| (event, logged.outcome, *now))
}

fn outcome(outcome: Outcome) -> String {
    outcome.refusal().map_or("applied".into(), |refusal| {
        format!("refused ({})", refusal.code())
    })
}

fn journal(told: &Replica, so: &Replica) -> String {
    let missing: Vec<String> = told
        .changes_to(so)
        .into_iter()
        .map(|change| match change.id {
            Some(id) => format!("{} {id}", change.kind),
            None => change.kind.to_owned(),
        })
        .collect();
    if missing.is_empty() {
        format!("the journal tells of {told:?}, the history of {so:?}")
    } else {
        format!("the journal does not tell of {}", missing.join(", "))
    }
}

fn deadlines(kept: &Kept, truth: &Truth, policies: &Policies, out: &mut Vec<String>) {
    for sweep in Sweep::ALL {
        let row = kept.deadlines.get(&sweep).copied();
        let due = truth.client.deadline(sweep, policies);
        if let Some(document) = kept.document() {
            let armed = document.armed.get(&sweep).copied();
            if row != armed {
                out.push(format!(
                    "the deadline of {sweep} is {}, by the document it is {}",
                    words(row),
                    words(armed)
                ));
            }
        }
        if due.is_some_and(|due| row.is_none_or(|row| row > due)) {
            out.push(format!(
                "the deadline of {sweep} is {}, and something is due at {}",
                words(row),
                words(due)
            ));
        } else if row.is_some() && kept.row.is_none() && due.is_none() {
            out.push(format!("the deadline of {sweep} is {}, of nobody", words(row)));
        }
    }
}

fn words(time: Option<DateTime<Utc>>) -> String {
    time.map_or_else(|| "none".to_owned(), crate::domain::view::rfc3339)
}
