//! PostgreSQL with several workers: locks and conflicts here, the other subjects in the folder.

mod connections;
mod numbering;
mod outbox;
mod plans;
mod views;

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use sqlx::{Connection, Executor, PgConnection};
use tenure::clock::SimulatedClock;
use tenure::domain::{ClientKey, Namesake, Policy, Sweep};
use tenure::engine::{Engine, Incoming, Outcome, SweepMode, SweepOptions};
use tenure::store::postgres::{PostgresOptions, PostgresStore};
use tenure::store::{Batch, Commit, Cursor, Outbox, SharedEvent, Store, StoreError, Transactions, Upkeep};

use super::given::*;
use super::{Database, Fresh, connect};

async fn with_clients(test: &str, names: &[&str]) -> Fresh {
    let fresh = Fresh::postgres(test).await;
    let new = names.iter().map(|name| new_client(&key(name), name)).collect();
    put(&*fresh.store, clients(new)).await.unwrap();
    fresh
}

/// The next version of a client, with a journal line.
async fn write_on(mut batch: Box<dyn Batch>, key: &ClientKey) -> Result<(), StoreError> {
    let seen = lock(&mut *batch, key).await;
    let written = Commit {
        clients: vec![write(key, seen.document.client, seen.version)],
        journal: vec![entry(key, &(seen.version + 1).to_string())],
        ..commit()
    };
    batch.commit(&written).await
}

/// Another program locks clients, in a different order than Tenure.
#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_is_retried() {
    let fresh = with_clients("deadlock", &["a", "b"]).await;
    let Database::Postgres(url) = &fresh.database else {
        unreachable!();
    };
    let store = Arc::new(PostgresStore::connect(url, &PostgresOptions::default()).unwrap());
    let clock = Arc::new(SimulatedClock::at(moment(100)));
    let engine = Engine::start(store, clock, &Policy::default()).await.unwrap();
    let mut other = PgConnection::connect(url).await.unwrap();
    // So that PostgreSQL ends Tenure's transaction.
    other
        .execute("set deadlock_timeout = '1min'; begin; select 1 from clients where client = (select number from client_keys where client = 'b') for update")
        .await
        .unwrap();
    let batch = ["a", "b"].map(|client| {
        let requested = kind("access.requested", &serde_json::json!({}));
        Incoming::Event(event(&key(client), client, 50, requested))
    });
    let taking = tokio::spawn(async move { engine.ingest(batch.to_vec()).await });
    let mut waiting = 0i64;
    while waiting == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        waiting = sqlx::query_scalar(
            "select count(*) from pg_stat_activity
             where datname = current_database() and wait_event_type = 'Lock'",
        )
        .fetch_one(&mut other)
        .await
        .unwrap();
    }
    other
        .execute("select 1 from clients where client = (select number from client_keys where client = 'a') for update; commit")
        .await
        .unwrap();
    let outcomes = taking.await.unwrap().unwrap();
    assert_eq!(outcomes.len(), 2, "{outcomes:?}");
    for client in ["a", "b"] {
        let log = fresh.store.history(&key(client)).await.unwrap();
        assert!(log.iter().any(|logged| &*logged.event.id == client), "{log:?}");
    }
    let found = "select deadlocks from pg_stat_database where datname = current_database()";
    let mut deadlocks = 0i64;
    for _ in 0..100 {
        deadlocks = sqlx::query_scalar(found).fetch_one(&mut other).await.unwrap();
        if deadlocks > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(deadlocks > 0, "there was none");
}

/// The server may ask for a retry, at a statement or as late as at the commit.
#[tokio::test(flavor = "multi_thread")]
async fn retryable_server_errors_are_retried() {
    for (code, when) in [
        ("40001", "not deferrable"),
        ("40001", "deferrable initially deferred"),
        ("40P01", "not deferrable"),
        ("40P01", "deferrable initially deferred"),
    ] {
        let fresh = Fresh::postgres("again").await;
        let Database::Postgres(url) = &fresh.database else {
            unreachable!();
        };
        let mut other = PgConnection::connect(url).await.unwrap();
        // A rollback does not reset a sequence.
        let refuse_once = format!(
            "create sequence attempts;
             create function refuse_once() returns trigger language plpgsql as $$
             begin
                 if nextval('attempts') = 1 then
                     raise exception 'not now' using errcode = '{code}';
                 end if;
                 return null;
             end $$;
             create constraint trigger refuse_once after insert or update on clients {when}
                 for each row execute function refuse_once()"
        );
        other.execute(&*refuse_once).await.unwrap();
        let clock = Arc::new(SimulatedClock::at(moment(100)));
        let engine = Engine::start(fresh.store.clone(), clock.clone(), &Policy::default())
            .await
            .unwrap();
        let batch = [
            ("client.added", serde_json::json!({"name": "Bakery"})),
            ("client.invited", serde_json::json!({"steps": ["accepted"]})),
            ("invitation.accepted", serde_json::json!({})),
        ];
        let batch = batch.iter().zip(1..).map(|((type_name, data), second)| {
            Incoming::Event(event(&key("a"), type_name, second, kind(type_name, data)))
        });
        let outcomes = engine.ingest(batch.collect()).await.unwrap();
        assert_eq!(outcomes, [Outcome::Applied, Outcome::Applied, Outcome::Applied]);
        let attempts = "select last_value from attempts";
        let made: i64 = sqlx::query_scalar(attempts).fetch_one(&mut other).await.unwrap();
        assert!(made > 1, "{code}, {when}: it was not refused");

        other.execute("alter sequence attempts restart").await.unwrap();
        clock.set(moment(100) + TimeDelta::days(61));
        let report = engine
            .sweep(
                Sweep::AccessExpiry,
                SweepOptions::new(SweepMode::Confirmed),
                |_| {},
            )
            .await
            .unwrap();
        assert_eq!((report.counts.changed, report.counts.failed), (1, 0));
        let made: i64 = sqlx::query_scalar(attempts).fetch_one(&mut other).await.unwrap();
        assert!(made > 1, "{code}, {when}: the sweep was not refused");
        assert_eq!(fresh.store.history(&key("a")).await.unwrap().len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn skip_busy_leaves_out_locked_clients() {
    let fresh = with_clients("busy", &["a", "b", "c"]).await;
    let store = &*fresh.store;
    let keys = [key("a"), key("b"), key("c"), key("nobody")];
    let mut first = store.begin().await.unwrap();
    lock(&mut *first, &key("b")).await;
    let mut second = store.begin().await.unwrap();
    let free = second.lock(&keys, true).await.unwrap();
    assert!(free.iter().map(|stored| &stored.key).eq([&keys[0], &keys[2]]));
    first.rollback().await.unwrap();
    second.rollback().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_timeout_is_a_conflict() {
    let fresh = with_clients("patience", &["a"]).await;
    let Database::Postgres(url) = &fresh.database else {
        unreachable!();
    };
    let options = PostgresOptions {
        lock_timeout: Duration::from_millis(100),
        ..PostgresOptions::default()
    };
    let hasty = PostgresStore::connect(url, &options).unwrap();
    let mut first = fresh.store.begin().await.unwrap();
    lock(&mut *first, &key("a")).await;
    let mut second = hasty.begin().await.unwrap();
    let error = second.lock(&[key("a")], false).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overtaken_batch_is_a_conflict() {
    let fresh = with_clients("overtaken", &["a", "b"]).await;
    let store = &*fresh.store;
    let mut slow = store.begin().await.unwrap();
    // The transaction gets its number here.
    lock(&mut *slow, &key("a")).await;
    write_on(store.begin().await.unwrap(), &key("b")).await.unwrap();
    // It would journal `b` under a lower number than an earlier line.
    let error = slow.lock(&[key("b")], false).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict(_)), "{error}");
    slow.rollback().await.unwrap();
    write_on(store.begin().await.unwrap(), &key("b")).await.unwrap();
    let lines = relayed(store, 2, 9).await;
    assert_eq!(
        clients_and_values(&lines),
        [("b".into(), "2".into()), ("b".into(), "3".into())]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_line_alone_overtakes_a_batch() {
    let fresh = with_clients("stamped", &["a", "b"]).await;
    let store = &*fresh.store;
    let mut slow = store.begin().await.unwrap();
    lock(&mut *slow, &key("a")).await;
    let mut quick = store.begin().await.unwrap();
    lock(&mut *quick, &key("b")).await;
    // As for a refused late event: the client does not change.
    quick.commit(&journal(vec![entry(&key("b"), "x")])).await.unwrap();
    let error = slow.lock(&[key("b")], false).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict(_)), "{error}");
    assert_eq!(store.client(&key("b")).await.unwrap().unwrap().version, 1);
}

/// Neither transaction sees the event of the other.
#[tokio::test(flavor = "multi_thread")]
async fn one_id_for_two_clients_at_the_same_moment_is_a_conflict() {
    let fresh = with_clients("shared_id", &["a", "b"]).await;
    let store = &*fresh.store;
    let twice = |client: &str| {
        event(
            &key(client),
            "twice",
            5,
            kind("access.requested", &serde_json::json!({})),
        )
    };
    let mut batches = Vec::new();
    for client in ["a", "b"] {
        let mut batch = store.begin().await.unwrap();
        let ids = [("/apps/space", "twice")];
        let (locked, known) = batch.lock_for_events(&[key(client)], &ids).await.unwrap();
        assert_eq!((locked.len(), known.len()), (1, 0));
        batches.push((client, batch));
    }
    let mut committed = Vec::new();
    for (client, batch) in batches {
        let written = Commit {
            events: vec![applied(twice(client))],
            ..commit()
        };
        committed.push(batch.commit(&written).await);
    }
    let [Ok(()), Err(StoreError::Conflict(why))] = &committed[..] else {
        panic!("{committed:?}");
    };
    assert!(why.contains("events_by_ref"), "{why}");
    // Whatever comes later sees the first.
    let mut batch = store.begin().await.unwrap();
    lock(&mut *batch, &key("b")).await;
    let namesakes = batch.namesakes(&[&twice("b")]).await.unwrap();
    assert_eq!(namesakes, [(0, Namesake::from(&twice("a")))]);
    batch.rollback().await.unwrap();
}

/// As in tables from which somebody removed the constraint.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_two_clients_have_is_reported() {
    let fresh = with_clients("shared_event", &["a", "b"]).await;
    let store = &*fresh.store;
    let Database::Postgres(url) = &fresh.database else {
        unreachable!();
    };
    let mut other = PgConnection::connect(url).await.unwrap();
    other
        .execute(
            "alter table events drop constraint events_by_ref; create index events_by_ref on events using hash (ref)",
        )
        .await
        .unwrap();
    for client in ["a", "b"] {
        let requested = kind("access.requested", &serde_json::json!({}));
        let written = Commit {
            events: vec![applied(event(&key(client), "twice", 5, requested))],
            ..commit()
        };
        put(store, written).await.unwrap();
    }
    for (client, other) in [("a", "b"), ("b", "a")] {
        let expected = SharedEvent {
            source: "/apps/space".into(),
            id: "twice".into(),
            other: key(other),
        };
        let snapshot = store.snapshot(&key(client)).await.unwrap();
        assert_eq!(snapshot.shared_events, [expected]);
    }
    let engine = Engine::start(
        fresh.store.clone(),
        Arc::new(SimulatedClock::at(moment(100))),
        &Policy::default(),
    )
    .await
    .unwrap();
    let found = engine.verify(|_| {}).await.unwrap().drifts;
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].what.contains("a second time, for acme/b"), "{found:?}");
}
