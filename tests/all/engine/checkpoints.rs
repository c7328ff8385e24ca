//! Replays that start from a checkpoint: they give what a replay from the beginning gives.

use std::pin::pin;

use chrono::{DateTime, TimeDelta, Utc};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use tenure::domain::time::rfc3339;
use tenure::domain::{Cause, ClientKey, Event, EventKind, Id, Name, Policy, Refusal};
use tenure::engine::{CheckpointSpacing, Engine, Incoming, Outcome, Scope};
use tenure::store::PolicyReplacement;

use super::policies::{accessed, active, day, event, key};
use super::setup::{Setup, on_both_stores};
use crate::fault_injecting::{FaultInjectingStore, Faults};
use crate::store::{Database, Fresh};

const SPACING: CheckpointSpacing = CheckpointSpacing {
    shortest: 20,
    nearest: 4,
};

async fn setup(fresh: Fresh, spacing: CheckpointSpacing) -> Setup {
    let setup = Setup::start(fresh, day(45), &Policy::default()).await;
    Setup {
        engine: setup.engine.with_checkpoints(spacing),
        ..setup
    }
}

async fn ingest(engine: &Engine, events: impl IntoIterator<Item = Event>) -> Vec<Outcome> {
    let incoming = events.into_iter().map(Incoming::Event).collect();
    engine.ingest(incoming).await.expect("ingested")
}

fn user(at: DateTime<Utc>, id: &str) -> Event {
    let user_id = Id::try_from(id.to_owned()).expect("an id");
    event(at, EventKind::UserAdded { user_id })
}

fn late(days: i64) -> DateTime<Utc> {
    day(days) + TimeDelta::hours(1)
}

fn name(text: &str) -> Name {
    Name::try_from(text.to_owned()).expect("a name")
}

/// An active client with a touch on day 1, a user on day 2, and an event a day to day 30.
fn history() -> Vec<Event> {
    let mut events = active();
    events.push(accessed(day(1)));
    events.push(user(day(2), "usual"));
    events.extend((3..=30).map(|n| event(day(n), EventKind::AccountUpdated {})));
    events
}

/// The moments of the checkpoints of the client, in days.
async fn checkpoints(fresh: &Fresh) -> Vec<i64> {
    let snapshot = fresh.store.snapshot(&key()).await.expect("a snapshot");
    let last = snapshot.document().expect("a document").checkpointed_until;
    assert_eq!(
        last,
        snapshot.checkpoints.last().map(|one| one.time),
        "the document says which is the last"
    );
    let days = |time: DateTime<Utc>| (time - day(0)).num_days();
    snapshot.checkpoints.iter().map(|one| days(one.time)).collect()
}

/// Moves the last renewal of access in every checkpoint by four days. No change reports a renewal, so whoever starts from one finds
/// that access expires too late, and nothing that looks strange.
async fn damage(fresh: &Fresh) {
    // From day 1 to day 5.
    let sql = match &fresh.database {
        Database::Postgres(_) => {
            r#"update checkpoints
               set state = replace(state::text, '"renewed_at":"2023-11-15T', '"renewed_at":"2023-11-19T')::json"#
        }
        Database::Sqlite(_) => {
            r#"update checkpoints
               set state = replace(state, '"renewed_at":"2023-11-15T', '"renewed_at":"2023-11-19T')"#
        }
    };
    fresh.database.sql(sql).await;
}

/// Whether the client has the state of a damaged checkpoint.
async fn is_wrong(engine: &Engine) -> bool {
    let view = engine.client(&key(), None).await.expect("an answer");
    let view = serde_json::to_value(view).expect("JSON");
    let expires = |days: i64| rfc3339(day(days + 60));
    assert!(
        view["expires_at"] == expires(1) || view["expires_at"] == expires(5),
        "{view}"
    );
    view["expires_at"] == expires(5)
}

async fn has_user(engine: &Engine, user: &str) -> bool {
    let view = engine.client(&key(), None).await.expect("an answer");
    let view = serde_json::to_value(view).expect("JSON");
    let users = view["users"].as_array().expect("users");
    users.contains(&Value::from(user))
}

async fn drift(engine: &Engine) -> Vec<String> {
    let report = engine.verify(|_| {}).await.expect("a verification");
    report.drifts.into_iter().map(|drift| drift.what).collect()
}

async fn a_replay_starts_from_the_last_checkpoint_before_the_late_event(fresh: Fresh) {
    let Setup { fresh, engine, .. } = setup(fresh, SPACING).await;
    ingest(&engine, history()).await;
    assert_eq!(checkpoints(&fresh).await, [0; 0], "no event was late");
    ingest(&engine, [user(late(10), "first")]).await;
    // The history has 36 events: checkpoints are 4, 8, 16 and 32 before its end, the last of them among the events of day 0.
    assert_eq!(checkpoints(&fresh).await, [14, 22, 26]);
    assert_eq!(drift(&engine).await, [""; 0]);

    damage(&fresh).await;
    ingest(&engine, [user(late(12), "before all")]).await;
    assert!(!is_wrong(&engine).await, "it starts from the beginning");
    assert_eq!(drift(&engine).await, [""; 0], "and makes the checkpoints again");

    damage(&fresh).await;
    ingest(&engine, [user(late(24), "near")]).await;
    assert!(is_wrong(&engine).await, "it starts from a checkpoint");
    assert_eq!(drift(&engine).await.len(), 1);
    engine
        .rebuild(&Scope::default(), |one| assert!(one.changes.is_ok(), "{one:?}"))
        .await
        .expect("rebuilt");
    assert!(!is_wrong(&engine).await);
    assert_eq!(drift(&engine).await, [""; 0]);
    ingest(&engine, [user(late(25), "nearer")]).await;
    assert!(!is_wrong(&engine).await);
    assert_eq!(drift(&engine).await, [""; 0]);
}

/// A checkpoint has all events of its moment.
async fn a_late_event_at_the_moment_of_a_checkpoint_is_before_its_end(fresh: Fresh) {
    let Setup { fresh, engine, .. } = setup(fresh, SPACING).await;
    ingest(&engine, history()).await;
    ingest(&engine, [user(late(10), "first")]).await;
    assert_eq!(checkpoints(&fresh).await, [14, 22, 26]);
    damage(&fresh).await;
    // It comes after the other events of day 14, and the checkpoint of that day lacks it.
    let mut second = user(day(14), "second");
    second.id = "z".into();
    ingest(&engine, [second]).await;
    assert!(!is_wrong(&engine).await);
    assert!(has_user(&engine, "second").await);
    assert_eq!(drift(&engine).await, [""; 0]);
}

/// A late touch within a period of access needs no replay, unless a checkpoint has the renewal before it.
async fn a_late_touch_changes_the_checkpoints_after_it(fresh: Fresh) {
    let Setup { fresh, engine, .. } = setup(fresh, SPACING).await;
    ingest(&engine, history()).await;
    ingest(&engine, [accessed(day(40))]).await;
    ingest(&engine, [user(late(10), "late")]).await;
    let before = checkpoints(&fresh).await;
    assert!(before.len() > 1, "{before:?}");
    ingest(&engine, [accessed(late(20))]).await;
    assert_eq!(drift(&engine).await, [""; 0]);
    // After the last one, a late touch is only stored.
    let before = checkpoints(&fresh).await;
    ingest(&engine, [accessed(late(35))]).await;
    assert_eq!(checkpoints(&fresh).await, before);
    assert_eq!(drift(&engine).await, [""; 0]);
    // It counts in the next replay.
    let disabled = event(late(36), EventKind::AccessDisabled {});
    ingest(&engine, [disabled]).await;
    assert_eq!(drift(&engine).await, [""; 0]);
}

async fn other_policies_before_a_checkpoint_make_it_void(fresh: Fresh) {
    let Setup { fresh, engine, clock } = setup(fresh, SPACING).await;
    ingest(&engine, history()).await;
    ingest(&engine, [user(late(10), "first")]).await;
    damage(&fresh).await;
    let recorded = fresh.store.policies().await.expect("policies");
    let (from, policy) = recorded.last().expect("a policy").clone();
    // It changes nothing about this client.
    let replacement = PolicyReplacement {
        from,
        to: from,
        policy: Policy {
            cleanup_grace: TimeDelta::days(3),
            ..policy
        },
    };
    fresh
        .store
        .replace_policies(&[replacement])
        .await
        .expect("replaced");
    let engine = Engine::open(fresh.store.clone(), clock, &Policy::default())
        .await
        .expect("an engine")
        .with_checkpoints(SPACING);
    assert_eq!(
        drift(&engine).await,
        [""; 0],
        "they are not used, and so not wrong"
    );
    ingest(&engine, [user(late(24), "near")]).await;
    assert!(!is_wrong(&engine).await);
    assert_eq!(drift(&engine).await, [""; 0]);
    assert_eq!(
        checkpoints(&fresh).await,
        [0, 15, 23, 26],
        "the replay has made new ones"
    );
}

/// A policy that takes effect later does not concern the states before it.
async fn a_later_policy_leaves_checkpoints_valid(fresh: Fresh) {
    let Setup { fresh, engine, clock } = setup(fresh, SPACING).await;
    ingest(&engine, history()).await;
    ingest(&engine, [user(late(10), "first")]).await;
    let next = Policy {
        access_idle: TimeDelta::days(90),
        ..Policy::default()
    };
    fresh
        .store
        .record_policy(day(200), &next, false)
        .await
        .expect("recorded");
    let engine = Engine::open(fresh.store.clone(), clock, &next)
        .await
        .expect("an engine")
        .with_checkpoints(SPACING);
    damage(&fresh).await;
    ingest(&engine, [user(late(24), "near")]).await;
    assert!(is_wrong(&engine).await, "it starts from a checkpoint");
}

/// Another client has the name.
fn name_taken(holder: &str) -> Outcome {
    Outcome::Refused {
        refusal: Refusal::NameTaken,
        conflicts_with: Some(holder.into()),
    }
}

async fn names_are_decided_from_a_checkpoint_on(fresh: Fresh) {
    let Setup { fresh, engine, .. } = setup(fresh, SPACING).await;
    ingest(&engine, history()).await;
    ingest(&engine, [user(late(10), "first")]).await;
    let other = |at, text: &str| Event {
        key: ClientKey::new("p", text).expect("a key"),
        id: format!("{text}-added").into(),
        ..event(
            at,
            EventKind::ClientAdded {
                name: name(text),
                imported: false,
            },
        )
    };
    let renamed = |at, text| event(at, EventKind::ClientRenamed { name: name(text) });
    assert_eq!(ingest(&engine, [other(day(1), "cafe")]).await, [Outcome::Applied]);
    damage(&fresh).await;
    let outcomes = ingest(
        &engine,
        [
            renamed(late(24), "Cafe"),
            renamed(late(25), "Bikes"),
            other(day(2), "bikes"),
            other(day(2), "bakery"),
        ],
    )
    .await;
    assert_eq!(
        outcomes,
        [
            name_taken("cafe"),
            Outcome::Applied,
            name_taken(&key().client),
            Outcome::Applied
        ]
    );
    assert!(is_wrong(&engine).await, "it starts from a checkpoint");
    let view = engine.client(&key(), None).await.expect("an answer");
    assert_eq!(serde_json::to_value(view).expect("JSON")["name"], json!("Bikes"));
}

/// A late touch shows that access did not expire. It is enabled since a time before the checkpoint.
async fn what_counts_again_from_before_a_checkpoint_has_its_time_and_cause(fresh: Fresh) {
    let Setup { fresh, engine, clock } = setup(fresh, SPACING).await;
    clock.set(day(90));
    let mut events = active();
    events.extend((3..=80).map(|n| event(day(n), EventKind::AccountUpdated {})));
    ingest(&engine, events).await;
    ingest(&engine, [user(late(10), "first")]).await;
    let before = checkpoints(&fresh).await;
    assert!(before.iter().any(|days| (5..55).contains(days)), "{before:?}");
    ingest(&engine, [accessed(day(55))]).await;
    let lines = fresh.store.journal(&key(), 0, 1_000).await.expect("a journal");
    let mut entries = lines.into_iter().map(|line| line.entry);
    let enabled = entries.rfind(|entry| entry.change.kind().as_str() == "access.enabled");
    let enabled = enabled.expect("access is enabled again");
    assert!(enabled.is_correction());
    assert_eq!(enabled.time, day(0));
    assert!(
        matches!(&enabled.cause, Cause::Event { kind, .. } if &**kind == "consent.granted"),
        "{enabled:?}"
    );
    assert_eq!(drift(&engine).await, [""; 0]);
}

/// More events than a transaction reads that is shared with other clients.
fn long_history() -> Vec<Event> {
    let mut events = active();
    events.extend((0..1_200).map(|n| {
        let at = day(1) + TimeDelta::minutes(n);
        let user_id = Id::try_from("u".to_owned()).expect("an id");
        match n % 2 {
            0 => event(at, EventKind::UserAdded { user_id }),
            _ => event(at, EventKind::UserRemoved { user_id }),
        }
    }));
    events
}

async fn a_client_with_a_long_history_claims_a_name_in_order_of_arrival(fresh: Fresh) {
    let Setup {
        fresh: _fresh,
        engine,
        ..
    } = setup(fresh, CheckpointSpacing::default()).await;
    ingest(&engine, long_history()).await;
    let other = |client: &str, text: &str| Event {
        key: ClientKey::new("p", client).expect("a key"),
        id: client.into(),
        ..event(
            day(2),
            EventKind::ClientAdded {
                name: name(text),
                imported: false,
            },
        )
    };
    let renamed = |at, text| event(at, EventKind::ClientRenamed { name: name(text) });
    let outcomes = ingest(
        &engine,
        [
            other("before", "Bikes"),
            renamed(day(1) + TimeDelta::seconds(1), "Cafe"),
            other("after", "Cafe"),
            renamed(day(3), "Deli"),
            other("then", "Deli"),
            other("last", "Cafe"),
            renamed(day(1) + TimeDelta::seconds(2), "Bikes"),
        ],
    )
    .await;
    assert_eq!(
        outcomes,
        [
            Outcome::Applied,
            Outcome::Applied,
            name_taken(&key().client),
            Outcome::Applied,
            name_taken(&key().client),
            Outcome::Applied,
            name_taken("before"),
        ]
    );
    assert_eq!(drift(&engine).await, [""; 0]);
}

/// Otherwise it gets a transaction of its own.
async fn a_long_history_with_a_checkpoint_near_shares_a_transaction(fresh: Fresh) {
    let Setup { fresh, engine, clock } = setup(fresh, CheckpointSpacing::default()).await;
    ingest(&engine, long_history()).await;
    let near = |minutes| day(1) + TimeDelta::minutes(minutes) + TimeDelta::seconds(1);
    ingest(&engine, [user(near(1_100), "first")]).await;
    let made = fresh
        .store
        .snapshot(&key())
        .await
        .expect("a snapshot")
        .checkpoints;
    let events: Vec<i64> = made.iter().map(|one| one.events).collect();
    assert_eq!(events, [182, 694, 950, 1_078, 1_142]);
    let other = Event {
        key: ClientKey::new("p", "other").expect("a key"),
        id: "other".into(),
        ..event(
            day(2),
            EventKind::ClientAdded {
                name: name("Cafe"),
                imported: false,
            },
        )
    };
    for (at, with_other, transactions) in [
        (1_150, other.clone(), 1),
        (
            3,
            Event {
                id: "again".into(),
                ..other
            },
            2,
        ),
    ] {
        let faults = std::sync::Arc::new(Faults::default());
        let store = FaultInjectingStore {
            faults: faults.clone(),
            ..FaultInjectingStore::new(fresh.store.clone())
        };
        let engine = Engine::open(std::sync::Arc::new(store), clock.clone(), &Policy::default())
            .await
            .expect("an engine");
        ingest(&engine, [user(near(at), "late"), with_other]).await;
        assert_eq!(faults.calls("commit"), transactions, "late by {at} minutes");
    }
    assert_eq!(drift(&engine).await, [""; 0]);
}

/// Ingests events that are all possible. Returns how many histories Tenure replayed for them, and how many of these replays started
/// from a checkpoint, as its metrics count them.
async fn replays(engine: &Engine, events: Vec<Event>) -> (u64, u64) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let mut ingesting = pin!(ingest(engine, events));
    let outcomes = std::future::poll_fn(|context| {
        metrics::with_local_recorder(&recorder, || ingesting.as_mut().poll(context))
    })
    .await;
    assert!(
        outcomes.iter().all(|outcome| *outcome == Outcome::Applied),
        "{outcomes:?}"
    );
    let text = recorder.handle().render();
    let count = |counter: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(counter));
        value.map_or(0, |value| value.trim().parse().expect("a number"))
    };
    (
        count("tenure_histories_replayed_total"),
        count("tenure_checkpoints_used_total"),
    )
}

async fn a_batch_of_late_events_replays_their_history_once(fresh: Fresh) {
    let Setup {
        fresh: _fresh,
        engine,
        ..
    } = setup(fresh, CheckpointSpacing::default()).await;
    assert_eq!(
        replays(&engine, long_history()).await,
        (0, 0),
        "no event was late"
    );
    let late = |minutes, id: &str| {
        let at = day(1) + TimeDelta::minutes(minutes) + TimeDelta::seconds(1);
        user(at, id)
    };
    let first = vec![late(1_000, "first")];
    assert_eq!(replays(&engine, first).await, (1, 0), "from the beginning");
    let batch = (0..100).map(|n| late(1_100 + n, &format!("late-{n}"))).collect();
    assert_eq!(replays(&engine, batch).await, (1, 1), "from a checkpoint, once");
    assert_eq!(drift(&engine).await, [""; 0]);
}

on_both_stores!(
    a_replay_starts_from_the_last_checkpoint_before_the_late_event,
    a_late_event_at_the_moment_of_a_checkpoint_is_before_its_end,
    a_late_touch_changes_the_checkpoints_after_it,
    other_policies_before_a_checkpoint_make_it_void,
    a_later_policy_leaves_checkpoints_valid,
    names_are_decided_from_a_checkpoint_on,
    what_counts_again_from_before_a_checkpoint_has_its_time_and_cause,
    a_client_with_a_long_history_claims_a_name_in_order_of_arrival,
    a_long_history_with_a_checkpoint_near_shares_a_transaction,
    a_batch_of_late_events_replays_their_history_once,
);
