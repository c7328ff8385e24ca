//! Damage of every kind, on both stores: a verification finds it, and a rebuild repairs it and corrects subscribers.

mod damages;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde_json::{Value, json};
use tenure::clock::SimulatedClock;
use tenure::config::Settings;
use tenure::domain::event::NameVerdict;
use tenure::domain::time::rfc3339;
use tenure::domain::{Actor, Cause, ClientKey, Corrector, Event, EventKind, Policy, Refusal, Sweep};
use tenure::engine::{
    CheckpointSpacing, Engine, Incoming, JournalLine, Outcome, RebuildError, Rebuilt, Scope, SweepMode,
    SweepOptions,
};

use tokio_util::sync::CancellationToken;

use super::setup::{Setup as World, on_both_stores};
use super::wild;
use crate::store::Fresh;
use damages::{DAMAGES, of, word};

fn day(days: i64) -> DateTime<Utc> {
    wild::start() + TimeDelta::days(days)
}

fn key(client: &str) -> ClientKey {
    ClientKey::new("acme", client).expect("a key")
}

fn event(id: &str, client: &str, time: DateTime<Utc>, kind: &str, data: &Value) -> Incoming {
    let kind: EventKind = serde_json::from_value(json!({ "type": kind, "data": data })).expect("an event");
    Incoming::Event(Event {
        source: "/s".into(),
        id: id.into(),
        key: key(client),
        time,
        sequence: None,
        kind,
        actor: Actor::default(),
        name_verdict: NameVerdict::Open,
    })
}

/// A client that is linked on day 1, so that access is enabled.
fn linked(client: &str, name: &str) -> Vec<Incoming> {
    let id = |n: u8| format!("{client}-{n}");
    vec![
        event(&id(1), client, day(0), "client.added", &json!({ "name": name })),
        event(
            &id(2),
            client,
            day(0),
            "subscription.added",
            &json!({ "subscription_id": "s-1" }),
        ),
        event(
            &id(3),
            client,
            day(0),
            "client.invited",
            &json!({ "steps": ["accepted"] }),
        ),
        event(&id(4), client, day(1), "invitation.accepted", &json!({})),
        event(
            &id(5),
            client,
            day(1),
            "assignment.added",
            &json!({ "assignment_id": "a-1" }),
        ),
    ]
}

impl World {
    /// `bakery` is active, and has a full run of touches and checkpoints; `mill` was expired by a sweep; `rival` and `nobody` were
    /// never added: they have only refused events.
    async fn with_clients(fresh: Fresh) -> Self {
        let world = Self::start(fresh, day(100), &Policy::default()).await;
        let spacing = CheckpointSpacing {
            shortest: 100,
            nearest: 8,
        };
        let world = Self {
            engine: world.engine.with_checkpoints(spacing),
            ..world
        };
        let mut events = linked("bakery", "Bakery");
        events.extend((0..140).map(|n| {
            let at = day(2) + TimeDelta::hours(n * 12);
            event(
                &format!("touch-{n}"),
                "bakery",
                at,
                "account.accessed",
                &json!({}),
            )
        }));
        events.push(event(
            "refused",
            "bakery",
            day(80),
            "user.removed",
            &json!({ "user_id": "u" }),
        ));
        events.push(event(
            "late-touch",
            "bakery",
            day(90),
            "account.accessed",
            &json!({}),
        ));
        events.extend(linked("mill", "Mill"));
        events.push(event("ghost", "nobody", day(1), "account.accessed", &json!({})));
        events.push(event(
            "rival",
            "rival",
            day(5),
            "client.added",
            &json!({ "name": "BAKERY" }),
        ));
        world.engine.ingest(events).await.expect("ingested");
        // Its replay makes checkpoints.
        let late = event("late", "bakery", day(40), "account.updated", &json!({}));
        world.engine.ingest(vec![late]).await.expect("ingested");
        world
            .engine
            .sweep(
                Sweep::AccessExpiry,
                SweepOptions::new(SweepMode::Confirmed),
                |_| {},
            )
            .await
            .expect("swept");
        world.is_right("as ingested").await;
        world
    }

    async fn differences(&self) -> BTreeMap<String, String> {
        let report = self.engine.verify(|_| {}).await.expect("a verification");
        report.drifts.into_iter().map(|d| (d.client, d.what)).collect()
    }

    async fn is_right(&self, when: &str) {
        assert_eq!(self.differences().await, BTreeMap::new(), "{when}");
    }

    /// Rebuilds every client, and returns those that had differences.
    async fn rebuild(&self) -> Vec<Rebuilt> {
        let mut rebuilt = Vec::new();
        self.engine
            .rebuild(&Scope::default(), |one| rebuilt.push(one))
            .await
            .expect("rebuilt");
        rebuilt.retain(|one| !one.differences.is_empty());
        rebuilt
    }

    async fn journal(&self, client: &str) -> Vec<JournalLine> {
        let journal = self.engine.journal(&key(client), 0, 1_000).await;
        journal.expect("a journal")
    }
}

async fn every_damage_is_found_and_repaired(fresh: Fresh) {
    let world = World::with_clients(fresh).await;
    assert!(
        world.rebuild().await.is_empty(),
        "a client without differences is left alone"
    );
    for damage in DAMAGES {
        let sql = match world.fresh.store.kind() {
            "postgres" => damage.postgres,
            _ => damage.sqlite,
        };
        let client = damage.client.strip_prefix("acme/").expect("a key");
        let before = world.engine.client(&key(client), None).await.expect("an answer");
        let last = world.journal(client).await.last().map_or(0, |line| line.sequence);
        world.fresh.database.sql(sql).await;

        let found = world.differences().await;
        assert_eq!(found.keys().collect::<Vec<_>>(), [damage.client], "{sql}");
        let what = &found[damage.client];
        assert!(what.contains(damage.says), "{sql}: {what}");

        let rebuilt = world.rebuild().await;
        assert_eq!(rebuilt.len(), 1, "{sql}");
        assert_eq!(
            rebuilt[0].changes.as_ref().ok(),
            Some(&damage.published.len()),
            "{sql}"
        );
        world.is_right(sql).await;
        let corrections: Vec<_> = world
            .engine
            .journal(&key(client), last, 100)
            .await
            .expect("a journal");
        let kinds: Vec<&str> = corrections.iter().map(|line| line.kind.as_str()).collect();
        assert_eq!(kinds, damage.published, "{sql}");
        assert!(corrections.iter().all(|line| line.correction), "{sql}");
        let after = world.engine.client(&key(client), None).await.expect("an answer");
        let as_was = |view: Option<tenure::domain::view::ClientView>| {
            let mut view = serde_json::to_value(view).expect("JSON");
            view["version"] = Value::Null;
            view
        };
        assert_eq!(as_was(after), as_was(before), "{sql}");
        assert!(world.rebuild().await.is_empty(), "{sql}: rebuilt twice");
    }
    let world_is = |line: &JournalLine| matches!(line.corrected_by, Some(Corrector::Rebuild { .. }));
    assert!(world.journal("bakery").await.iter().any(world_is));
}

/// A worker that continued from a wrong state refused a valid event, and published the refusal.
async fn a_refusal_from_a_wrong_state_is_corrected(fresh: Fresh) {
    let world = World::with_clients(fresh).await;
    let sql = match world.fresh.store.kind() {
        "postgres" => DAMAGES[0].postgres,
        _ => DAMAGES[0].sqlite,
    };
    world.fresh.database.sql(sql).await;
    let removed = event(
        "gone",
        "bakery",
        day(95),
        "assignment.removed",
        &json!({ "assignment_id": "a-1" }),
    );
    let outcomes = world.engine.ingest(vec![removed]).await.expect("ingested");
    assert!(matches!(outcomes[..], [Outcome::Refused { .. }]), "{outcomes:?}");
    let last = world.journal("bakery").await.last().expect("a line").sequence;
    let rebuilt = world.rebuild().await;
    assert_eq!(rebuilt.len(), 1);
    world.is_right("rebuilt").await;
    let corrections = world
        .engine
        .journal(&key("bakery"), last, 100)
        .await
        .expect("a journal");
    let kinds: Vec<&str> = corrections.iter().map(|line| line.kind.as_str()).collect();
    assert_eq!(
        kinds,
        ["event.accepted", "assignment.removed", "data_retrieval.stopped"]
    );
    let causes = corrections.iter().map(|line| (&line.cause, &*line.time));
    for (cause, time) in causes {
        assert!(
            matches!(cause, Cause::Event { id, .. } if &**id == "gone"),
            "{cause:?}"
        );
        assert_eq!(time, rfc3339(day(95)));
    }
    let outcome = world
        .fresh
        .database
        .sql("select outcome from event_log where id = 'gone'")
        .await;
    assert_eq!(outcome, ["applied"]);
}

/// The client has its name without holding it: the first claim is not decided again.
async fn a_lost_name_stays_with_the_client_that_claimed_it_since(fresh: Fresh) {
    let world = World::with_clients(fresh).await;
    world
        .fresh
        .database
        .sql(of!("update clients set name_key = null", "bakery"))
        .await;
    let taker = event(
        "taker",
        "taker",
        day(6),
        "client.added",
        &json!({ "name": "bakery" }),
    );
    world.engine.ingest(vec![taker]).await.expect("ingested");
    let rebuilt = world.rebuild().await;
    assert_eq!(rebuilt.len(), 1);
    assert_eq!(rebuilt[0].changes.as_ref().ok(), Some(&0));
    world.is_right("rebuilt").await;
    let held = world
        .fresh
        .database
        .sql("select client from clients_now where name_key = 'bakery'")
        .await;
    assert_eq!(held, ["taker"]);
    let rival = world.engine.client(&key("rival"), None).await.expect("an answer");
    assert_eq!(rival, None, "its name stays refused");
}

/// Within one batch the client writes its name again, and another one claims it.
async fn a_name_that_only_the_document_has_is_held_within_a_batch(fresh: Fresh) {
    let world = World::with_clients(fresh).await;
    world
        .fresh
        .database
        .sql(of!("update clients set name_key = null", "bakery"))
        .await;
    let user = json!({ "user_id": "u-new" });
    let name = json!({ "name": "bakery" });
    let batch = vec![
        event("touched", "bakery", day(6), "user.added", &user),
        event("taker", "taker", day(6), "client.added", &name),
    ];
    let outcomes = world.engine.ingest(batch).await.expect("ingested");
    let taken = Outcome::Refused {
        refusal: Refusal::NameTaken,
        conflicts_with: Some("bakery".into()),
    };
    assert_eq!(outcomes, [Outcome::Applied, taken]);
    world.is_right("ingested").await;
}

/// A log without events is nothing to rebuild from.
async fn a_client_whose_events_are_lost_is_left_alone(fresh: Fresh) {
    let world = World::with_clients(fresh).await;
    world.fresh.database.sql(of!("delete from events", "mill")).await;
    let rebuilt = world.rebuild().await;
    assert_eq!(rebuilt.len(), 1);
    let error = rebuilt[0].changes.as_ref().expect_err("not rebuilt");
    assert!(matches!(error, RebuildError::EventsMissing(_)), "{error}");
    let mill = world.engine.client(&key("mill"), None).await.expect("an answer");
    assert!(mill.is_some(), "it is unchanged");
    assert_eq!(world.differences().await.len(), 1, "it is still reported");
}

/// An unreadable event is reported, and its client cannot be rebuilt.
async fn an_unreadable_log_does_not_stop_the_rebuild_of_others(fresh: Fresh) {
    let world = World::with_clients(fresh).await;
    for sql in [
        // No word has this number.
        of!("update events set reason = 9999", "bakery"),
        of!("update clients set link = null", "mill"),
    ] {
        world.fresh.database.sql(sql).await;
    }
    let found = world.differences().await;
    assert!(found["acme/bakery"].contains("the reason of"), "{found:?}");
    let rebuilt = world.rebuild().await;
    let done: BTreeMap<String, bool> = rebuilt
        .iter()
        .map(|one| (one.key.to_string(), one.changes.is_ok()))
        .collect();
    assert_eq!(
        done,
        [("acme/bakery".into(), false), ("acme/mill".into(), true)].into()
    );
}

async fn a_stopped_rebuild_continues_after_the_last_client(fresh: Fresh) {
    let world = World::with_clients(fresh).await;
    world.fresh.database.sql("delete from deadlines").await;
    world.fresh.database.sql("update clients set as_of = null").await;
    let scope = Scope::default();
    let mut seen = Vec::new();
    let stop = scope.stop.clone();
    world
        .engine
        .rebuild(&scope, |one| {
            seen.push(one.key);
            stop.cancel();
        })
        .await
        .expect("rebuilt");
    assert_eq!(seen, [key("bakery")]);
    assert_eq!(world.differences().await.len(), 3, "the rest is unchanged");
    let rest = Scope {
        after: seen.pop(),
        ..Scope::default()
    };
    world
        .engine
        .rebuild(&rest, |one| seen.push(one.key))
        .await
        .expect("rebuilt");
    assert_eq!(seen, [key("mill"), key("nobody"), key("rival")]);
    world.is_right("rebuilt").await;
    let mut others = Vec::new();
    let scope = Scope {
        partner: Some("best".into()),
        ..Scope::default()
    };
    world
        .engine
        .verify_each(&scope, |one| others.push(one.key))
        .await
        .expect("verified");
    assert_eq!(others, [], "the other partner has no client");
}

/// Clients are read in groups, and one with a long history alone.
async fn clients_of_every_size_are_verified_in_order(fresh: Fresh) {
    const LONG: i64 = 5_200;
    let world = World::start(fresh, day(100), &Policy::default()).await;
    let mut keys: Vec<ClientKey> = (0..600).map(|n| key(&format!("c-{n:03}"))).collect();
    let mut events: Vec<Incoming> = keys
        .iter()
        .map(|key| {
            let client = &*key.client;
            event(
                &format!("{client}-1"),
                client,
                day(0),
                "client.added",
                &json!({ "name": client }),
            )
        })
        .collect();
    // Behind the first group, and in the middle of the second.
    let long = "c-300-long";
    keys.insert(301, key(long));
    events.push(event(
        "long",
        long,
        day(0),
        "client.added",
        &json!({ "name": long }),
    ));
    events.extend((1..LONG).map(|n| {
        let change = ["user.removed", "user.added"][usize::from(n % 2 == 1)];
        let at = day(1) + TimeDelta::seconds(n);
        event(&format!("long-{n}"), long, at, change, &json!({ "user_id": "u" }))
    }));
    for part in events.chunks(1_000) {
        world.engine.ingest(part.to_vec()).await.expect("ingested");
    }
    world
        .fresh
        .database
        .sql("update clients set link = 'lost' where name in ('c-010', 'c-300-long', 'c-599')")
        .await;
    let mut seen = Vec::new();
    let (mut histories, mut wrong) = (BTreeMap::new(), Vec::new());
    world
        .engine
        .verify_each(&Scope::default(), |one| {
            seen.push(one.key.clone());
            *histories.entry(one.events).or_insert(0) += 1;
            if !one.differences.is_empty() {
                wrong.push(one.key.client.to_string());
            }
        })
        .await
        .expect("verified");
    assert_eq!(seen, keys);
    assert_eq!(histories, BTreeMap::from([(1, 600), (LONG.unsigned_abs(), 1)]));
    assert_eq!(wrong, ["c-010", "c-300-long", "c-599"]);
    let rebuilt: Vec<String> = world
        .rebuild()
        .await
        .iter()
        .map(|one| one.key.client.to_string())
        .collect();
    assert_eq!(rebuilt, wrong);
    world.is_right("rebuilt").await;
}

/// While events arrive in any order and sweeps run, there is no drift, and no client is rebuilt.
async fn a_running_worker_causes_no_drift(fresh: Fresh) {
    let mut rng = StdRng::seed_from_u64(7);
    let clock = Arc::new(SimulatedClock::at(day(0)));
    let engine = Engine::start(fresh.store.clone(), clock.clone(), &Policy::default())
        .await
        .expect("an engine");
    let engine = Arc::new(engine);
    let keys: Vec<ClientKey> = (0..6).map(|n| key(&format!("c{n}"))).collect();
    let mut events: Vec<Event> = keys
        .iter()
        .flat_map(|key| wild::history(&mut rng, key, 150, 40))
        .collect();
    events.shuffle(&mut rng);
    let done = Arc::new(AtomicBool::new(false));
    let looking = tokio::spawn({
        let (engine, done) = (engine.clone(), done.clone());
        async move {
            let mut rounds = 0;
            while !done.load(Ordering::SeqCst) || rounds < 3 {
                let found = engine.verify(|_| {}).await.expect("a verification").drifts;
                assert_eq!(found, []);
                engine
                    .rebuild(&Scope::default(), |one| {
                        assert_eq!(one.differences, Vec::<String>::new(), "{}", one.key);
                    })
                    .await
                    .expect("rebuilt");
                rounds += 1;
            }
        }
    });
    for (n, part) in events.chunks(7).enumerate() {
        clock.set(day(i64::try_from(n).expect("few") * 3));
        engine
            .ingest(part.iter().cloned().map(Incoming::Event).collect())
            .await
            .expect("ingested");
        let sweep = Sweep::ALL[n % Sweep::ALL.len()];
        engine
            .sweep(sweep, SweepOptions::new(SweepMode::Confirmed), |_| {})
            .await
            .expect("swept");
    }
    done.store(true, Ordering::SeqCst);
    looking.await.expect("it looked to the end");
}

/// Damage while events arrive: in the end it is repaired.
async fn damage_is_repaired_while_a_worker_runs(fresh: Fresh) {
    let world = World::with_clients(fresh).await;
    let world = Arc::new(world);
    let writing = tokio::spawn({
        let world = world.clone();
        async move {
            for n in 0..60 {
                let at = day(95) + TimeDelta::minutes(n);
                let (id, user) = (format!("w-{n}"), json!({ "user_id": format!("u-{n}") }));
                let event = event(&id, "bakery", at, "user.added", &user);
                world.engine.ingest(vec![event]).await.expect("ingested");
            }
        }
    });
    for _ in 0..10 {
        for sql in [
            of!("update clients set link = 'lost'", "bakery"),
            of!("delete from deadlines", "bakery"),
            concat!(
                of!("delete from journal", "bakery"),
                " and change = ",
                word!("link.active")
            ),
        ] {
            world.fresh.database.sql(sql).await;
        }
        world.rebuild().await;
    }
    writing.await.expect("it wrote to the end");
    world.rebuild().await;
    world.is_right("in the end").await;
    let users = world
        .engine
        .client(&key("bakery"), None)
        .await
        .expect("an answer");
    assert_eq!(
        serde_json::to_value(users).expect("JSON")["users"]
            .as_array()
            .map(Vec::len),
        Some(60)
    );
}

/// The rest of a pruned journal is compared with the state, and corrected where it differs.
async fn a_pruned_journal_is_no_drift(fresh: Fresh) {
    let world = World::with_clients(fresh).await;
    let store = world.fresh.store.clone();
    let (mut epoch, mut lines) = (0, Vec::new());
    while lines.is_empty() {
        let outbox = store
            .unpublished(tenure::store::Cursor::default(), None, 1_000)
            .await
            .expect("lines");
        (epoch, lines) = (outbox.epoch, outbox.lines);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    store
        .advance_cursor(&lines[11].published(epoch))
        .await
        .expect("published");
    let settings = Settings::load(
        None,
        [("TENURE_RETENTION__JOURNAL".to_owned(), "1us".to_owned())].into_iter(),
    )
    .expect("settings")
    .retention;
    world.clock.set(day(102));
    let dry = world
        .engine
        .prune(&settings, true, &CancellationToken::new())
        .await
        .expect("counted");
    let done = world
        .engine
        .prune(&settings, false, &CancellationToken::new())
        .await
        .expect("pruned");
    assert_eq!((dry.journal, done.journal), (12, 12));
    assert!(world.rebuild().await.is_empty());
    world.is_right("pruned").await;
    world
        .fresh
        .database
        .sql(concat!(
            of!("delete from journal", "mill"),
            " and change = ",
            word!("access.expired")
        ))
        .await;
    let rebuilt = world.rebuild().await;
    let found: Vec<_> = rebuilt
        .iter()
        .map(|one| (one.key.to_string(), one.changes.as_ref().ok().copied()))
        .collect();
    assert_eq!(
        found,
        [("acme/mill".to_owned(), Some(1))],
        "the last change of its access was another"
    );
    world.is_right("rebuilt").await;
    let after = event("new", "new", day(102), "client.added", &json!({ "name": "New" }));
    world.engine.ingest(vec![after]).await.expect("ingested");
    world.fresh.database.sql(of!("delete from journal", "new")).await;
    let found = world.differences().await;
    assert!(found["acme/new"].contains("is missing link.draft"), "{found:?}");
}

on_both_stores!(
    every_damage_is_found_and_repaired,
    a_refusal_from_a_wrong_state_is_corrected,
    a_lost_name_stays_with_the_client_that_claimed_it_since,
    a_name_that_only_the_document_has_is_held_within_a_batch,
    a_client_whose_events_are_lost_is_left_alone,
    an_unreadable_log_does_not_stop_the_rebuild_of_others,
    a_stopped_rebuild_continues_after_the_last_client,
    clients_of_every_size_are_verified_in_order,
    a_running_worker_causes_no_drift,
    damage_is_repaired_while_a_worker_runs,
    a_pruned_journal_is_no_drift,
);
