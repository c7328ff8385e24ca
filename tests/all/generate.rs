//! Random histories for property tests and the simulation: mostly events that are possible, then noise.
//!
//! The demo and the benchmarks generate events of their own (`src/demo/life.rs`, `benches/throughput/population.rs`). They
//! must look like a partner's year, or give a number of events that are never refused; these must reach every refusal and
//! every tie.

use chrono::{DateTime, TimeDelta, Utc};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use tenure::domain::event::{Field, FieldType, NameVerdict, TYPES, fields};
use tenure::domain::policy::{PolicyDuration, SubscriptionsEnd, Zero};
use tenure::domain::{Actor, ActorKind, Client, ClientKey, Event, EventKind, Policies, Policy};

/// The most clients in one history. The first two belong to different partners.
const MOST_CLIENTS: usize = 6;

/// The events that random histories are made of, with their weights. Types that are missing here get events of their
/// required fields alone ([`menu`]), with flags on and off, so that a new type takes part at once.
const MENU: &[(u32, &str, &str)] = &[
    (60, "client.added", r#"{"name":"Bakery"}"#),
    (20, "client.added", r#"{"name":" bakery "}"#),
    (20, "client.added", r#"{"name":"Mill","imported":true}"#),
    (2, "client.renamed", r#"{"name":"MILL"}"#),
    (2, "client.renamed", r#"{"name":"Smithy"}"#),
    (12, "client.invited", "{}"),
    (6, "client.invited", r#"{"steps":["accepted"]}"#),
    (
        4,
        "client.invited",
        r#"{"steps":["consented"],"commission_eligible":false}"#,
    ),
    (8, "client.invited", r#"{"channel":"referral"}"#),
    (40, "invitation.accepted", "{}"),
    (40, "onboarding.completed", "{}"),
    (4, "onboarding.completed", r#"{"via":"independent"}"#),
    (40, "consent.granted", "{}"),
    (8, "invitation.rejected", "{}"),
    (4, "identity.rejected", r#"{"reason":"kyc"}"#),
    (20, "identity.cleared", r#"{"reason":"passport"}"#),
    (6, "invitation.bounced", r#"{"reason":"no such mailbox"}"#),
    (4, "client.archived", "{}"),
    (3, "client.lost", "{}"),
    (2, "partner.disconnected", r#"{"by":"partner"}"#),
    (2, "partner.disconnected", r#"{"by":"client"}"#),
    (4, "client.deleted", "{}"),
    (6, "assignment.added", r#"{"assignment_id":"a1","service":"ads"}"#),
    (4, "assignment.added", r#"{"assignment_id":"a2"}"#),
    (4, "assignment.removed", r#"{"assignment_id":"a1"}"#),
    (4, "report_schedule.created", r#"{"schedule_id":"r1"}"#),
    (2, "report_schedule.deleted", r#"{"schedule_id":"r1"}"#),
    (4, "margin_rule.created", r#"{"rule_id":"m1"}"#),
    (2, "margin_rule.deleted", r#"{"rule_id":"m1"}"#),
    (5, "client.terminated", "{}"),
    (8, "client.reactivated", "{}"),
    (6, "subscription.added", r#"{"subscription_id":"s1"}"#),
    (
        4,
        "subscription.added",
        r#"{"subscription_id":"s2","plan":"gold","paid_until":"2026-03-01T00:00:00Z"}"#,
    ),
    (
        4,
        "subscription.added",
        r#"{"subscription_id":"s3","managed_by":"client"}"#,
    ),
    (
        3,
        "subscription.renewed",
        r#"{"subscription_id":"s1","paid_until":"2026-06-01T00:00:00Z"}"#,
    ),
    (
        3,
        "subscription.renewed",
        r#"{"subscription_id":"s2","paid_until":"2026-01-15T00:00:00Z"}"#,
    ),
    (2, "subscription.ended", r#"{"subscription_id":"s1"}"#),
    (2, "subscription.ended", r#"{"subscription_id":"s3"}"#),
    (3, "user.added", r#"{"user_id":"u1"}"#),
    (2, "user.removed", r#"{"user_id":"u1"}"#),
    (3, "integration.added", r#"{"integration_id":"i1"}"#),
    (2, "integration.removed", r#"{"integration_id":"i1"}"#),
    (40, "account.accessed", "{}"),
    (4, "account.accessed", r#"{"by":"staff"}"#),
    (10, "access.disabled", "{}"),
    (8, "access.enabled", "{}"),
    (12, "access.requested", "{}"),
    (10, "access.approved", "{}"),
    (8, "access.denied", "{}"),
    (2, "account.jobs_counted", r#"{"total":3}"#),
    (4, "account.jobs_counted", r#"{"total":7}"#),
    (4, "account.jobs_counted", r#"{"total":120}"#),
    (4, "account.updated", "{}"),
    (2, "account.created", r#"{"account_id":"acc-1"}"#),
    (1, "account.created", "{}"),
    (1, "account.created", r#"{"by":"customer","account_id":"acc-2"}"#),
    (4, "account.owner_set", "{}"),
];

/// The gaps between events: ties, neighbours, and both sides of the durations of policies.
const GAPS_MICROS: &[i64] = &[
    0,
    0,
    0,
    1,
    1_000_000,
    3_600_000_000,
    DAY - 1,
    DAY,
    DAY + 1,
    3 * DAY,
    7 * DAY,
    10 * DAY - 1,
    10 * DAY,
    14 * DAY,
    30 * DAY,
    60 * DAY - 1,
    60 * DAY,
];

/// Numbers of different lengths, the same number in two spellings, and text.
const SEQUENCES: [&str; 12] = [
    "0", "1", "2", "9", "10", "11", "007", "7", "100", "a", "a10", "a9",
];

const DAY: i64 = 86_400_000_000;

/// The moment at which histories begin.
pub fn beginning() -> DateTime<Utc> {
    DateTime::from_timestamp(1_767_225_600, 0).expect("2026-01-01")
}

/// The moment this many microseconds after the beginning.
pub fn moment(micros: i64) -> DateTime<Utc> {
    beginning() + TimeDelta::microseconds(micros)
}

/// The client with this number. There are two partners with several clients each.
pub fn client_key(number: usize) -> ClientKey {
    let partner = ["acme", "zenith"][number % 2];
    ClientKey::new(partner, &format!("c-{}", number / 2)).expect("a key")
}

/// The random choices for one event. The client's history so far decides which event they lead to.
#[derive(Clone, Debug)]
struct Draw {
    client: usize,
    choice: u32,
    gap: usize,
    noise: Noise,
    sequence: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Noise {
    /// An event that the client's state allows.
    None,
    /// Any event, possible or not.
    Any,
    /// Any event, hours or days earlier or later.
    Anytime(i64),
}

fn draw(clients: usize) -> impl Strategy<Value = Draw> {
    let noise = prop_oneof![
        9 => Just(Noise::None),
        2 => Just(Noise::Any),
        1 => (-200i64..400).prop_map(|hours| Noise::Anytime(hours * 3_600_000_000)),
    ];
    let sequence = prop_oneof![5 => Just(None), 1 => (0u8..12).prop_map(Some)];
    (0..clients, any::<u32>(), 0..GAPS_MICROS.len(), noise, sequence).prop_map(
        |(client, choice, gap, noise, sequence)| Draw {
            client,
            choice,
            gap,
            noise,
            sequence,
        },
    )
}

/// Events of one client or of several, each once, in the order in which an app would send them, apart from noise. These
/// policies decide which events are possible. Names are undecided.
pub fn history(policies: Policies, clients: usize, longest: usize) -> impl Strategy<Value = Vec<Event>> {
    vec(draw(clients.clamp(1, MOST_CLIENTS)), 0..=longest).prop_map(move |draws| events_of(&draws, &policies))
}

/// A history under the default policy.
pub fn arbitrary_history(clients: usize, longest: usize) -> impl Strategy<Value = Vec<Event>> {
    history(Policies::default(), clients, longest)
}

/// Policies, and a history of this many clients under them.
pub fn arbitrary_case(clients: usize, longest: usize) -> impl Strategy<Value = (Policies, Vec<Event>)> {
    let draws = vec(draw(clients.clamp(1, MOST_CLIENTS)), 0..=longest);
    (arbitrary_policies(), draws).prop_map(|(policies, draws)| {
        let events = events_of(&draws, &policies);
        (policies, events)
    })
}

/// Events with an actor, with a kind alone, with both and with neither.
pub fn actor(number: usize) -> Actor {
    let kinds = ActorKind::ALL;
    Actor {
        id: (!number.is_multiple_of(3)).then(|| format!("u:{}", number % 5).into()),
        kind: (number % 4 > 1).then(|| kinds[number / 4 % kinds.len()]),
    }
}

/// Turns the choices into events.
fn events_of(draws: &[Draw], policies: &Policies) -> Vec<Event> {
    let menu = menu();
    let mut clients_so_far = vec![Client::default(); MOST_CLIENTS];
    let mut now = beginning();
    let mut events = Vec::with_capacity(draws.len());
    for (number, draw) in draws.iter().enumerate() {
        now += TimeDelta::microseconds(GAPS_MICROS[draw.gap]);
        let client = &mut clients_so_far[draw.client];
        client.advance(now, policies);
        let mut event = Event {
            source: ["app/crm", "app/dashboard"][number % 2].into(),
            id: format!("e-{number}").into(),
            key: client_key(draw.client),
            time: now,
            sequence: draw.sequence.map(|n| SEQUENCES[usize::from(n)].into()),
            kind: EventKind::AccountUpdated {},
            actor: actor(number),
            name_verdict: NameVerdict::Open,
        };
        let possible = |kind: &EventKind| {
            let trial = Event {
                kind: kind.clone(),
                ..event.clone()
            };
            draw.noise != Noise::None || client.clone().apply(&trial, policies).is_ok()
        };
        event.kind = choose(&menu, draw.choice, possible);
        if let Noise::Anytime(shift) = draw.noise {
            event.time += TimeDelta::microseconds(shift);
        } else if client.apply(&event, policies).is_ok() {
            client.advance(now, policies);
        }
        events.push(event);
    }
    events
}

/// Every event that can be drawn, with its weight. Every type is there.
pub fn menu() -> Vec<(u32, EventKind)> {
    const WEIGHT: u32 = 4;
    let unlisted = TYPES
        .iter()
        .filter(|kind| !MENU.iter().any(|(_, listed, _)| listed == *kind))
        .flat_map(|kind| [sample(kind), without_flags(sample(kind))].map(|data| (kind, data)))
        .map(|(kind, data)| (WEIGHT, read(kind, &data.to_string())));
    MENU.iter()
        .map(|(weight, kind, data)| (*weight, read(kind, data)))
        .chain(unlisted)
        .collect()
}

/// Data for a type: a value for each field that it requires.
pub fn sample(kind: &str) -> Value {
    let required = fields(kind).into_iter().filter(|field| field.is_required);
    let value = |field: Field| match field.value {
        FieldType::Name => json!("Bakery"),
        FieldType::Id => json!("x1"),
        FieldType::Text => json!("text"),
        FieldType::Time => json!("2026-03-01T00:00:00Z"),
        FieldType::Flag => json!(true),
        FieldType::Number => json!(7),
        FieldType::OneOf(names) => json!(names[0]),
        FieldType::SomeOf(names) => json!([names[0]]),
    };
    required
        .map(|field| (field.name.to_owned(), value(field)))
        .collect()
}

/// The same data with every flag off.
fn without_flags(mut data: Value) -> Value {
    for value in data
        .as_object_mut()
        .into_iter()
        .flat_map(|fields| fields.values_mut())
    {
        if value.is_boolean() {
            *value = json!(false);
        }
    }
    data
}

fn read(kind: &str, data: &str) -> EventKind {
    let data: Value = serde_json::from_str(data).expect("JSON");
    serde_json::from_value(json!({ "type": kind, "data": data })).expect("an event kind")
}

/// This many cases, unless `PROPTEST_CASES` is set.
pub fn cases(default: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: cases.unwrap_or(default),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Chooses by weight among the possible events, or among all when none is possible.
fn choose(menu: &[(u32, EventKind)], choice: u32, possible: impl Fn(&EventKind) -> bool) -> EventKind {
    let mut open: Vec<&(u32, EventKind)> = menu.iter().filter(|(_, kind)| possible(kind)).collect();
    if open.is_empty() {
        open = menu.iter().collect();
    }
    let all: u32 = open.iter().map(|(weight, _)| weight).sum();
    let mut left = choice % all;
    for (weight, kind) in open {
        if left < *weight {
            return kind.clone();
        }
        left -= weight;
    }
    unreachable!("less than all is left")
}

/// One to three policies, each from a moment on. Some change while access is enabled or its expiry is overdue.
pub fn arbitrary_policies() -> impl Strategy<Value = Policies> {
    let era = (0i64..300, arbitrary_policy()).prop_map(|(day, policy)| (moment(day * DAY), policy));
    prop_oneof![
        1 => Just(Policies::default()),
        3 => vec(era, 1..=3).prop_map(|eras| Policies::recorded(eras).expect("at least one")),
    ]
}

pub fn arbitrary_policy() -> impl Strategy<Value = Policy> {
    let durations: Vec<_> = Policy::DURATIONS
        .iter()
        .map(|duration| select(days_of(duration)).prop_map(TimeDelta::days))
        .collect();
    let warnings = proptest::sample::subsequence(vec![14, 7, 3, 1], 0..=4);
    let end = prop_oneof![Just(SubscriptionsEnd::AtOnce), Just(SubscriptionsEnd::PaidUntil)];
    (
        durations,
        select(vec![1u64, 5, 100]),
        proptest::bool::weighted(0.2),
        warnings,
        end,
    )
        .prop_map(
            |(spans, mature_after_jobs, from_account_update, warnings, subscriptions_end)| {
                let mut policy = Policy {
                    mature_after_jobs,
                    from_account_update,
                    subscriptions_end,
                    ..Policy::default()
                };
                for (duration, span) in Policy::DURATIONS.iter().zip(spans) {
                    duration.set(&mut policy, span);
                }
                let idle = policy.access_idle;
                let warnings = warnings.into_iter().map(TimeDelta::days);
                policy.warn_before = warnings.filter(|span| *span < idle).collect();
                policy
            },
        )
}

/// Days on both sides of the gaps between events.
fn days_of(duration: &PolicyDuration) -> &'static [i64] {
    match duration.zero {
        Zero::AtOnce | Zero::Never => &[0, 0, 1, 10, 30],
        Zero::Invalid => &[1, 2, 7, 10, 14, 30, 60],
    }
}

/// A moment in or after a history: the start of a day, or a microsecond before or after.
pub fn arbitrary_moment() -> impl Strategy<Value = DateTime<Utc>> {
    (-2i64..500, -1i64..=1).prop_map(|(day, offset)| moment(day * DAY + offset))
}

/// The same events in another order, some of them more than once.
pub fn shuffled(events: Vec<Event>) -> impl Strategy<Value = Vec<Event>> {
    let most = events.len();
    let again = proptest::sample::subsequence(events.clone(), 0..=most);
    again
        .prop_map(move |again| [events.clone(), again].concat())
        .prop_shuffle()
}
