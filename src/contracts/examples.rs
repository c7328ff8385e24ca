//! Examples of events and changes. The changes are those that the rules make of the events of a few stories, so an example cannot
//! contradict them. Tests ingest every example of an event, and look for every example of a change in what a real store emits.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::guide::{App, EVENT_GUIDES, EventGuide};
use crate::domain::event::{NameVerdict, TYPES};
use crate::domain::{
    Actor, Cause, Change, ChangeKind, Client, ClientKey, Corrector, Entry, Event, EventKind, Policies,
    Refusal,
};
use crate::store::{Cursor, Recorded};
use crate::wire::{self, SchemaUris};

/// The guide to an event type.
///
/// # Panics
/// If there is no such type.
#[must_use]
pub fn guide_to(kind: &str) -> &'static EventGuide {
    EVENT_GUIDES
        .iter()
        .find(|guide| guide.kind == kind)
        .expect("every event type has a guide")
}

/// When the stories begin: 2026-01-05T09:00:00Z.
#[must_use]
pub fn beginning() -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_603_600, 0).unwrap_or_default()
}

/// An event of a story: its type, its data (empty: that of the type's example), and the hours since the beginning.
type Step = (&'static str, &'static str, i64);

/// Events of one client, in order of time, and what becomes of them.
#[derive(Clone, Debug)]
pub struct Story {
    pub key: ClientKey,
    /// In order of arrival.
    pub events: Vec<Event>,
    /// Timers fire up to here.
    pub until: DateTime<Utc>,
}

/// The events that lead to a type's example, and the example itself, which is the last.
///
/// # Panics
/// If there is no such type.
#[must_use]
pub fn events_of(kind: &str) -> Vec<Event> {
    let guide = guide_to(kind);
    let kinds = guide.after.iter().copied().chain([guide.kind]);
    (0..)
        .zip(kinds)
        .map(|(hours, kind)| event("c-1", (kind, "", hours)))
        .collect()
}

/// The example of an event, in structured mode.
///
/// # Panics
/// If there is no such type.
#[must_use]
pub fn event_example(kind: &str) -> Value {
    let guide = guide_to(kind);
    let hours = i64::try_from(guide.after.len()).unwrap_or_default();
    envelope("c-1", (guide.kind, "", hours))
}

fn envelope(client: &str, (kind, data, hours): Step) -> Value {
    let guide = guide_to(kind);
    let data = if data.is_empty() { guide.data } else { data };
    let data: Value = serde_json::from_str(data).expect("the data of an example is JSON");
    let place = TYPES.iter().position(|known| *known == kind).unwrap_or_default();
    let prefix = match guide.app {
        App::PartnerSpace => "ps",
        App::Dashboard => "rd",
        App::AccountApp => "aa",
    };
    json!({
        "specversion": "1.0",
        "id": format!("{prefix}-{client}-{}", 1_000 * hours + 101 + i64::try_from(place).unwrap_or_default()),
        "source": guide.app.source(),
        "type": kind,
        "subject": format!("acme/{client}"),
        "time": crate::domain::time::rfc3339(beginning() + TimeDelta::hours(hours)),
        "datacontenttype": "application/json",
        "data": data,
    })
}

fn event(client: &str, step: Step) -> Event {
    let envelope = envelope(client, step);
    let text = |name: &str| envelope[name].as_str().unwrap_or_default();
    let kind = json!({"type": envelope["type"], "data": envelope["data"]});
    let kind: EventKind = serde_json::from_value(kind).expect("an example has valid data");
    Event {
        source: text("source").into(),
        id: text("id").into(),
        key: ClientKey::new("acme", client).expect("a valid id"),
        time: beginning() + TimeDelta::hours(step.2),
        sequence: None,
        actor: Actor::default(),
        name_verdict: match kind.claimed_name() {
            Some(_) => NameVerdict::Granted,
            None => NameVerdict::Open,
        },
        kind,
    }
}

const DAY: i64 = 24;

/// Each story: its events in order of arrival, and the hours until its end.
const STORIES: &[(&[Step], i64)] = &[
    // The partner space, from the first contact to the end.
    (
        &[
            ("client.added", r#"{"name":"Bluebird Bakery"}"#, 0),
            ("client.renamed", "", 1),
            ("subscription.added", "", 2),
            ("client.invited", "", 3),
            ("invitation.accepted", "", 4),
            ("onboarding.completed", "", 5),
            ("consent.granted", "", 6),
            ("subscription.renewed", "", 7),
            ("user.added", "", 8),
            ("user.removed", "", 9),
            ("integration.added", "", 10),
            ("integration.removed", "", 11),
            ("client.archived", "", 12),
        ],
        24,
    ),
    // The dashboard.
    (
        &[
            ("client.added", r#"{"name":"Copper Kettle"}"#, 0),
            ("assignment.added", "", 1),
            ("report_schedule.created", "", 2),
            ("margin_rule.created", "", 3),
            ("report_schedule.deleted", "", 4),
            ("margin_rule.deleted", "", 5),
            ("assignment.removed", "", 6),
            ("assignment.added", r#"{"assignment_id":"campaign-8"}"#, 7),
            ("client.terminated", "", 8),
            ("client.reactivated", "", 9),
            ("assignment.added", r#"{"assignment_id":"campaign-8"}"#, 10),
        ],
        24,
    ),
    // The account app.
    (
        &[
            ("client.added", r#"{"name":"Harbour Books"}"#, 0),
            ("client.invited", r#"{"steps":["accepted"]}"#, 1),
            ("invitation.accepted", "", 2),
            ("account.created", "", 3),
            ("account.owner_set", "", 4),
            ("account.jobs_counted", "", 5),
            ("access.disabled", "", 6),
            ("access.requested", "", 7),
            ("access.approved", "", 8),
        ],
        24,
    ),
    // Access that nobody uses.
    (
        &[
            ("client.added", r#"{"name":"Juniper Florist"}"#, 0),
            ("client.invited", r#"{"steps":["accepted"]}"#, 1),
            ("invitation.accepted", "", 2),
        ],
        70 * DAY,
    ),
    (
        &[
            ("client.added", r#"{"name":"Lakeside Dental"}"#, 0),
            ("client.invited", r#"{"steps":["accepted"]}"#, 1),
            ("invitation.accepted", "", 2),
            ("client.lost", "", 3),
        ],
        24,
    ),
    (
        &[
            ("client.added", r#"{"name":"Maple Street Gym"}"#, 0),
            ("client.invited", r#"{"channel":"referral"}"#, 1),
            ("invitation.rejected", "", 2),
        ],
        24,
    ),
    (
        &[
            ("client.added", r#"{"name":"North Pier Fish"}"#, 0),
            ("client.invited", "{}", 1),
            ("identity.rejected", "", 2),
        ],
        24,
    ),
    (
        &[
            ("client.added", r#"{"name":"Old Mill Cycles"}"#, 0),
            (
                "subscription.added",
                r#"{"subscription_id":"sub-1","managed_by":"client"}"#,
                1,
            ),
            ("client.deleted", "", 2),
        ],
        24,
    ),
    // An invitation that nobody accepts.
    (
        &[
            ("client.added", r#"{"name":"Pear Tree Nursery"}"#, 0),
            ("client.invited", "{}", 1),
        ],
        20 * DAY,
    ),
    // An invitation that does not work, and an event that is not possible.
    (
        &[
            ("client.added", r#"{"name":"Quarry Stone"}"#, 0),
            ("client.invited", "{}", 1),
            ("onboarding.completed", r#"{"via":"independent"}"#, 2),
            ("invitation.bounced", "", 3),
            ("commission.eligibility_changed", "", 4),
            ("access.disabled", "", 5),
        ],
        24,
    ),
];

/// The story of an event that arrives late: the client is added after it was invited.
const LATE: &[Step] = &[
    ("client.invited", "{}", 1),
    ("client.added", r#"{"name":"Riverside Vets"}"#, 0),
];

/// The stories that the examples of changes come from, each of a client of its own. Together they have every type of change.
///
/// # Panics
/// Never: the ids of the clients are valid.
#[must_use]
pub fn stories() -> Vec<Story> {
    let all = STORIES.iter().copied().chain([(LATE, 24)]);
    (1..)
        .zip(all)
        .map(|(number, (steps, hours))| {
            let client = format!("c-{number}");
            Story {
                key: ClientKey::new("acme", &client).expect("a valid id"),
                events: steps.iter().map(|step| event(&client, *step)).collect(),
                until: beginning() + TimeDelta::hours(hours),
            }
        })
        .collect()
}

/// The changes that the rules make of a story whose events arrive in order of time.
fn entries(story: &Story, policies: &Policies) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut client = Client::default();
    for event in &story.events {
        fire(&mut client, &story.key, event.time, policies, &mut entries);
        let (result, changes) = client.observed(policies, |client| client.apply(event, policies));
        let refused = result.err().map(|refusal| Change::EventRefused {
            refusal,
            conflicts_with: None,
        });
        for change in changes.into_iter().chain(refused) {
            entries.push(entry(&story.key, change, event.time, event.into()));
        }
    }
    fire(&mut client, &story.key, story.until, policies, &mut entries);
    entries
}

fn fire(
    client: &mut Client,
    key: &ClientKey,
    until: DateTime<Utc>,
    policies: &Policies,
    entries: &mut Vec<Entry>,
) {
    while let Some(due) = client.next_due(until, policies) {
        let ((), changes) = client.observed(policies, |client| client.fire(due, policies));
        let cause = Cause::Timer { timer: due.timer };
        entries.extend(
            changes
                .into_iter()
                .map(|change| entry(key, change, due.at, cause.clone())),
        );
    }
}

fn entry(key: &ClientKey, change: Change, time: DateTime<Utc>, cause: Cause) -> Entry {
    Entry {
        key: key.clone(),
        change,
        time,
        cause,
        corrected_by: None,
    }
}

/// The correction that the late event of [`LATE`] makes: the invitation that was refused is applied.
fn accepted(story: &Story) -> Option<Entry> {
    let [invited, added] = story.events.as_slice() else {
        return None;
    };
    Some(Entry {
        corrected_by: Some(Corrector::from(added)),
        ..entry(
            &story.key,
            Change::EventAccepted(Refusal::UnknownClient),
            invited.time,
            invited.into(),
        )
    })
}

/// Every type of change that the stories emit, with the first change of the type, as it is published. The numbers and the time of
/// recording stand for any others.
#[must_use]
pub fn change_examples(schemas: &SchemaUris) -> HashMap<ChangeKind, Value> {
    let policies = Policies::default();
    let stories = stories();
    let late = stories.last().and_then(accepted);
    let in_order = stories.iter().take(STORIES.len());
    let all = in_order.flat_map(|story| entries(story, &policies)).chain(late);
    let mut examples = HashMap::new();
    for (sequence, entry) in (1..).zip(all) {
        let kind = entry.change.kind();
        let line = Recorded {
            cursor: Cursor {
                transaction: 0,
                sequence,
            },
            recorded_at: entry.time + TimeDelta::milliseconds(250),
            entry,
        };
        let published = wire::change(EPOCH, &line, schemas);
        let published: Value = serde_json::from_slice(&published).unwrap_or_default();
        examples.entry(kind).or_insert(published);
    }
    examples
}

/// The epoch of the examples.
const EPOCH: i64 = 1_767_600_000_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_a_guide_and_every_type_of_change_an_example() {
        let guides: Vec<&str> = EVENT_GUIDES.iter().map(|guide| guide.kind).collect();
        assert_eq!(guides, TYPES, "add it to src/contracts/guide.rs");
        let examples = change_examples(&SchemaUris::default());
        let missing: Vec<&str> = ChangeKind::ALL
            .iter()
            .filter(|kind| !examples.contains_key(kind))
            .map(|kind| kind.as_str())
            .collect();
        assert_eq!(
            missing, [""; 0],
            "add an event that causes it to a story in src/contracts/examples.rs"
        );
    }
}
