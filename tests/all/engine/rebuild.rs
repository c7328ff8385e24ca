//! Damage of every kind, on both stores: it is found, put right, and listeners hear what they were told wrongly.

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
use tenure::domain::{Cause, ClientKey, Event, EventKind, Policy, Sweep};
use tenure::engine::{Engine, Incoming, JournalLine, Outcome, Rebuilt, Scope, SweepOptions};

use tokio_util::sync::CancellationToken;

use super::wild;
use crate::store::Fresh;

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

struct World {
    fresh: Fresh,
    clock: Arc<SimulatedClock>,
    engine: Engine,
}

impl World {
    /// `bakery` is active and was entered so often that a run of touches is full; `mill` has expired by a sweep; `rival`
    /// is a ghost for a name that was taken, `nobody` one for an event too many.
    async fn new(fresh: Fresh) -> Self {
        let clock = Arc::new(SimulatedClock::at(day(100)));
        let engine = Engine::start(fresh.store.clone(), clock.clone(), &Policy::default())
            .await
            .expect("an engine");
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
        engine.ingest(events).await.expect("taken");
        engine
            .sweep(Sweep::AccessExpiry, SweepOptions::default(), |_| {})
            .await
            .expect("swept");
        let world = Self { fresh, clock, engine };
        world.is_right("as taken in").await;
        world
    }

    async fn differences(&self) -> BTreeMap<String, String> {
        let report = self.engine.verify(|_| {}).await.expect("a verification");
        report.drifts.into_iter().map(|d| (d.client, d.what)).collect()
    }

    async fn is_right(&self, when: &str) {
        assert_eq!(self.differences().await, BTreeMap::new(), "{when}");
    }

    /// Those that were not right, put right as far as can be.
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

/// Damage done past Tenure.
struct Damage {
    client: &'static str,
    postgres: &'static str,
    sqlite: &'static str,
    /// What verify says of it.
    says: &'static str,
    /// What listeners are told.
    told: &'static [&'static str],
}

const fn damage(
    client: &'static str,
    sql: &'static str,
    says: &'static str,
    told: &'static [&'static str],
) -> Damage {
    Damage {
        client,
        postgres: sql,
        sqlite: sql,
        says,
        told,
    }
}

const DAMAGES: &[Damage] = &[
    Damage {
        client: "acme/bakery",
        postgres: r#"update clients set doc = replace(doc::text, '"a-1"', '"a-2"')::json where client = 'bakery'"#,
        sqlite: r#"update clients set doc = replace(doc, '"a-1"', '"a-2"') where client = 'bakery'"#,
        says: r#"assignments is kept as {"a-2":null}, the history says {"a-1":null}"#,
        // The journal never told of a-2.
        told: &[],
    },
    Damage {
        client: "acme/bakery",
        postgres: r#"update clients set doc = replace(doc::text, '"Bakery"', '"Cakery"')::json where client = 'bakery'"#,
        sqlite: r#"update clients set doc = replace(doc, '"Bakery"', '"Cakery"') where client = 'bakery'"#,
        says: r#"name is kept as "Cakery", the history says "Bakery""#,
        told: &["client.renamed"],
    },
    Damage {
        client: "acme/mill",
        postgres: r#"update clients set doc = replace(doc::text, '"expired"', '"disabled"')::json where client = 'mill'"#,
        sqlite: r#"update clients set doc = replace(doc, '"expired"', '"disabled"') where client = 'mill'"#,
        says: "link is kept as",
        told: &[],
    },
    // A moment far ahead, to which no timer leads.
    Damage {
        client: "acme/mill",
        postgres: r#"update clients set doc = regexp_replace(doc::text, '"fired":"20[^"]*"', '"fired":"2099-01-01T00:00:00Z"')::json where client = 'mill'"#,
        sqlite: "update clients set doc = json_set(doc, '$.client.fired', '2099-01-01T00:00:00Z') where client = 'mill'",
        says: r#"fired is kept as "2099-01-01T00:00:00Z""#,
        told: &[],
    },
    damage(
        "acme/bakery",
        "update clients set doc = '{}' where client = 'bakery'",
        "the document cannot be read: missing field `client`",
        &[],
    ),
    damage(
        "acme/nobody",
        "update clients set doc = '{}' where client = 'nobody'",
        "the document cannot be read",
        &[],
    ),
    Damage {
        client: "acme/bakery",
        postgres: r#"update clients set doc = regexp_replace(doc::text, '"touches_closed_until":"[^"]*"', '"touches_closed_until":null')::json where client = 'bakery'"#,
        sqlite: "update clients set doc = json_remove(doc, '$.touches_closed_until') where client = 'bakery'",
        says: "touches are put away up to",
        told: &[],
    },
    damage(
        "acme/bakery",
        "delete from clients where client = 'bakery'",
        "its row is missing, the log has",
        &[],
    ),
    damage(
        "acme/mill",
        "update clients set link = 'lost', access = 'none' where client = 'mill'",
        "the column link is `lost`, by the document it is `active`; the column access is `none`",
        &[],
    ),
    damage(
        "acme/mill",
        "update clients set as_of = null where client = 'mill'",
        "the column as_of is empty",
        &[],
    ),
    damage(
        "acme/bakery",
        "update clients set name_key = null where client = 'bakery'",
        "the column name_key is empty, by the document it is `bakery`",
        &[],
    ),
    damage(
        "acme/bakery",
        "delete from deadlines where client = 'bakery'",
        "the deadline of access-expiry is none, by the document it is",
        &[],
    ),
    Damage {
        client: "acme/bakery",
        postgres: "update deadlines set due_at = due_at + interval '90 days' where client = 'bakery'",
        sqlite: "update deadlines set due_at = due_at + 90 * 86400000000 where client = 'bakery'",
        says: "and something is due at",
        told: &[],
    },
    damage(
        "acme/bakery",
        "update events set outcome = 'refused', reason = 'not_active' where id = 'bakery-5'",
        "event /s bakery-5 is kept as refused (not_active), and is applied",
        &[],
    ),
    damage(
        "acme/bakery",
        "update events set outcome = 'applied', reason = null where id = 'refused'",
        "event /s refused is kept as applied, and is refused (",
        // It was told when it was refused.
        &[],
    ),
    damage(
        "acme/bakery",
        "delete from journal where client = 'bakery' and change in ('link.active', 'assignment.added', 'billing.started')",
        "the journal does not tell of link.active, assignment.added a-1, billing.started",
        &["link.active", "assignment.added", "billing.started"],
    ),
    damage(
        "acme/mill",
        "delete from journal where client = 'mill' and change = 'access.expired'",
        "the journal does not tell of access.expired",
        &["access.expired"],
    ),
];

async fn every_damage_is_found_and_put_right(fresh: Fresh) {
    let world = World::new(fresh).await;
    assert!(world.rebuild().await.is_empty(), "what is right is left alone");
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
        assert_eq!(rebuilt[0].done, Ok(damage.told.len()), "{sql}");
        world.is_right(sql).await;
        let told: Vec<_> = world
            .engine
            .journal(&key(client), last, 100)
            .await
            .expect("a journal");
        let kinds: Vec<&str> = told.iter().map(|line| line.kind.as_str()).collect();
        assert_eq!(kinds, damage.told, "{sql}");
        assert!(told.iter().all(|line| line.correction), "{sql}");
        let after = world.engine.client(&key(client), None).await.expect("an answer");
        let as_was = |view: Option<tenure::domain::view::ClientView>| {
            let mut view = serde_json::to_value(view).expect("JSON");
            view["version"] = Value::Null;
            view
        };
        assert_eq!(as_was(after), as_was(before), "{sql}");
        assert!(world.rebuild().await.is_empty(), "{sql}: rebuilt twice");
    }
    let world_is = |line: &JournalLine| matches!(line.cause, Cause::Rebuild { .. });
    assert!(world.journal("bakery").await.iter().any(world_is));
}

/// A worker that went on from a wrong state refused what was possible, and told so: that is taken back.
async fn what_came_of_a_wrong_state_is_taken_back(fresh: Fresh) {
    let world = World::new(fresh).await;
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
    let outcomes = world.engine.ingest(vec![removed]).await.expect("taken");
    assert!(matches!(outcomes[..], [Outcome::Refused(_)]), "{outcomes:?}");
    let last = world.journal("bakery").await.last().expect("a line").sequence;
    let rebuilt = world.rebuild().await;
    assert_eq!(rebuilt.len(), 1);
    world.is_right("rebuilt").await;
    let told = world
        .engine
        .journal(&key("bakery"), last, 100)
        .await
        .expect("a journal");
    let kinds: Vec<&str> = told.iter().map(|line| line.kind.as_str()).collect();
    assert_eq!(kinds, ["assignment.removed", "data_retrieval.stopped"]);
    let outcome = world
        .fresh
        .database
        .sql("select outcome from events where id = 'gone'")
        .await;
    assert_eq!(outcome, ["applied"]);
}

/// A name that was lost, and given to another meanwhile, is borne but not held: who came first is not decided again.
async fn a_lost_name_that_was_given_to_another_is_not_taken_from_it(fresh: Fresh) {
    let world = World::new(fresh).await;
    world
        .fresh
        .database
        .sql("update clients set name_key = null where client = 'bakery'")
        .await;
    let taker = event(
        "taker",
        "taker",
        day(6),
        "client.added",
        &json!({ "name": "bakery" }),
    );
    world.engine.ingest(vec![taker]).await.expect("taken");
    let rebuilt = world.rebuild().await;
    assert_eq!(rebuilt.len(), 1);
    assert_eq!(rebuilt[0].done, Ok(0));
    world.is_right("rebuilt").await;
    let held = world
        .fresh
        .database
        .sql("select client from clients where name_key = 'bakery'")
        .await;
    assert_eq!(held, ["taker"]);
    let rival = world.engine.client(&key("rival"), None).await.expect("an answer");
    assert_eq!(rival, None, "its name stays refused");
}

/// A log that lost its events is nothing to rebuild from.
async fn a_client_is_not_forgotten_because_its_log_is(fresh: Fresh) {
    let world = World::new(fresh).await;
    world
        .fresh
        .database
        .sql("delete from events where client = 'mill'")
        .await;
    let rebuilt = world.rebuild().await;
    assert_eq!(rebuilt.len(), 1);
    let why = rebuilt[0].done.as_ref().expect_err("not put right");
    assert!(why.contains("events are missing"), "{why}");
    let mill = world.engine.client(&key("mill"), None).await.expect("an answer");
    assert!(mill.is_some(), "it is left as it was");
    assert_eq!(world.differences().await.len(), 1, "and still told of");
}

/// What cannot be read from the log is told of, and keeps nobody else from being put right.
async fn an_unreadable_log_stops_no_other(fresh: Fresh) {
    let world = World::new(fresh).await;
    for sql in [
        "update events set outcome = 'refused', reason = 'no such reason' where id = 'bakery-2'",
        "update clients set link = null where client = 'mill'",
    ] {
        world.fresh.database.sql(sql).await;
    }
    let found = world.differences().await;
    assert!(found["acme/bakery"].contains("no such reason"), "{found:?}");
    let rebuilt = world.rebuild().await;
    let done: BTreeMap<String, bool> = rebuilt
        .iter()
        .map(|one| (one.key.to_string(), one.done.is_ok()))
        .collect();
    assert_eq!(
        done,
        [("acme/bakery".into(), false), ("acme/mill".into(), true)].into()
    );
}

async fn a_stopped_walk_goes_on_after_the_last(fresh: Fresh) {
    let world = World::new(fresh).await;
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
    assert_eq!(world.differences().await.len(), 3, "the rest is as it was");
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
    assert_eq!(others, [], "of another partner there is nobody");
}

/// While events come in any order, and sweeps run, nothing is found and nothing rebuilt.
async fn a_worker_may_write_meanwhile(fresh: Fresh) {
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
            .expect("taken");
        let sweep = Sweep::ALL[n % 4];
        engine
            .sweep(sweep, SweepOptions::default(), |_| {})
            .await
            .expect("swept");
    }
    done.store(true, Ordering::SeqCst);
    looking.await.expect("it looked to the end");
}

/// Damage while events come in: in the end all is right.
async fn damage_is_put_right_under_a_worker(fresh: Fresh) {
    let world = World::new(fresh).await;
    let world = Arc::new(world);
    let writing = tokio::spawn({
        let world = world.clone();
        async move {
            for n in 0..60 {
                let at = day(95) + TimeDelta::minutes(n);
                let (id, user) = (format!("w-{n}"), json!({ "user_id": format!("u-{n}") }));
                let event = event(&id, "bakery", at, "user.added", &user);
                world.engine.ingest(vec![event]).await.expect("taken");
            }
        }
    });
    for _ in 0..10 {
        for sql in [
            "update clients set link = 'lost' where client = 'bakery'",
            "delete from deadlines where client = 'bakery'",
            "delete from journal where client = 'bakery' and change = 'link.active'",
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

/// Of a journal that was pruned the rest is held against the state, and mended where it says otherwise.
async fn a_pruned_journal_is_no_drift(fresh: Fresh) {
    let world = World::new(fresh).await;
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
        .sql("delete from journal where client = 'mill' and change = 'access.expired'")
        .await;
    let rebuilt = world.rebuild().await;
    let found: Vec<_> = rebuilt
        .iter()
        .map(|one| (one.key.to_string(), one.done.clone()))
        .collect();
    assert_eq!(
        found,
        [("acme/mill".to_owned(), Ok(1))],
        "the last word on access was another"
    );
    world.is_right("rebuilt").await;
    let after = event("new", "new", day(102), "client.added", &json!({ "name": "New" }));
    world.engine.ingest(vec![after]).await.expect("taken");
    world
        .fresh
        .database
        .sql("delete from journal where client = 'new'")
        .await;
    let found = world.differences().await;
    assert!(
        found["acme/new"].contains("does not tell of link.draft"),
        "{found:?}"
    );
}

/// Makes two tests of each case, one a store.
macro_rules! on_both_stores {
    ($($case:ident),* $(,)?) => {
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                super::$case(crate::store::Fresh::postgres(stringify!($case)).await).await;
            })*
        }
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                super::$case(crate::store::Fresh::sqlite(stringify!($case)).await).await;
            })*
        }
    };
}

on_both_stores!(
    every_damage_is_found_and_put_right,
    what_came_of_a_wrong_state_is_taken_back,
    a_lost_name_that_was_given_to_another_is_not_taken_from_it,
    a_client_is_not_forgotten_because_its_log_is,
    an_unreadable_log_stops_no_other,
    a_stopped_walk_goes_on_after_the_last,
    a_worker_may_write_meanwhile,
    damage_is_put_right_under_a_worker,
    a_pruned_journal_is_no_drift,
);
