//! PostgreSQL with several workers: locks, the order of the outbox, the lead.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use sqlx::{Connection, Executor, PgConnection};
use tenure::clock::SimulatedClock;
use tenure::domain::{ClientKey, Policy, Sweep};
use tenure::engine::{Engine, Incoming, Outcome, SweepMode, SweepOptions};
use tenure::store::postgres::{PostgresOptions, PostgresStore};
use tenure::store::{
    Batch, Commit, Cursor, Outbox, Recorded, SharedEvent, Store, StoreError, Transactions, Upkeep,
};

use super::given::*;
use super::{Fresh, connect};

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
    let super::Database::Postgres(url) = &fresh.database else {
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
        let super::Database::Postgres(url) = &fresh.database else {
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
    let super::Database::Postgres(url) = &fresh.database else {
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

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_waits_for_an_older_transaction() {
    let fresh = with_clients("held_back", &["a", "b"]).await;
    let store = &*fresh.store;
    let mut older = store.begin().await.unwrap();
    let seen = lock(&mut *older, &key("a")).await;
    write_on(store.begin().await.unwrap(), &key("b")).await.unwrap();
    assert_eq!(
        store.unpublished(Cursor::default(), None, 9).await.unwrap().lines,
        []
    );
    assert_eq!(store.count_unpublished().await.unwrap(), 1);
    let written = Commit {
        clients: vec![write(&key("a"), seen.document.client, 1)],
        journal: vec![entry(&key("a"), "first")],
        ..commit()
    };
    older.commit(&written).await.unwrap();
    let lines = relayed(store, 2, 9).await;
    assert_eq!(
        clients_and_values(&lines),
        [("a".into(), "first".into()), ("b".into(), "2".into())]
    );
}

/// Eight writers on five clients, three at a time, and a relay that follows them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_of_a_client_stay_in_order_under_eight_writers() {
    const WRITERS: u64 = 8;
    const ROUNDS: u64 = 40;
    let names = ["a", "b", "c", "d", "e"];
    let fresh = with_clients("hammered", &names).await;
    let writers: Vec<_> = (1..=WRITERS)
        .map(|seed| {
            let store = fresh.store.clone();
            tokio::spawn(async move {
                let mut conflicts = 0;
                for round in 0..ROUNDS {
                    let picked = pick(seed * 1_000 + round, &names);
                    while let Err(error) = hammer(&*store, &picked).await {
                        assert!(matches!(error, StoreError::Conflict(_)), "{error}");
                        conflicts += 1;
                    }
                }
                conflicts
            })
        })
        .collect();
    let expected = usize::try_from(WRITERS * ROUNDS * 3).unwrap();
    let follower = tokio::spawn(follow(fresh.database.another_store(), expected));
    let mut conflicts = 0;
    for writer in writers {
        conflicts += writer.await.unwrap();
    }
    let lines = follower.await.unwrap();
    let mut last: BTreeMap<&str, i64> = BTreeMap::new();
    let published = clients_and_values(&lines);
    for (client, version) in &published {
        let version: i64 = version.parse().unwrap();
        let before = last.insert(client, version).unwrap_or(1);
        assert_eq!(version, before + 1, "{client}, after {conflicts} conflicts");
    }
    assert_eq!(published.len(), expected);
}

async fn hammer(store: &dyn Store, keys: &[ClientKey]) -> Result<(), StoreError> {
    let mut batch = store.begin().await?;
    // One after the other, so that another writer can overtake.
    let mut written = commit();
    for key in keys {
        let seen = batch.lock(std::slice::from_ref(key), false).await?.remove(0);
        written.journal.push(entry(key, &(seen.version + 1).to_string()));
        written
            .clients
            .push(write(key, seen.document.client, seen.version));
    }
    batch.commit(&written).await
}

/// Three different clients, in key order.
fn pick(seed: u64, names: &[&str]) -> Vec<ClientKey> {
    let mut state = seed;
    let mut picked = std::collections::BTreeSet::new();
    while picked.len() < 3 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let index = usize::try_from(state >> 33).unwrap() % names.len();
        picked.insert(key(names[index]));
    }
    picked.into_iter().collect()
}

async fn follow(store: Arc<dyn Store>, expected: usize) -> Vec<Recorded> {
    let mut lines: Vec<Recorded> = Vec::new();
    while lines.len() < expected {
        let next = relayed(&*store, 1, 7).await;
        done(&*store, &next[next.len() - 1]).await;
        lines.extend(next);
    }
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn one_worker_leads_the_relay_until_it_stops() {
    let fresh = Fresh::postgres("lead").await;
    let other = fresh.database.another_store();
    assert!(fresh.store.acquire_lead().await.unwrap());
    assert!(!other.acquire_lead().await.unwrap());
    assert!(fresh.store.acquire_lead().await.unwrap());
    // The leader notices a lost connection, and the lead is free.
    fresh
        .database
        .sql(
            "select pg_terminate_backend(pid)::text from pg_stat_activity
             where application_name = 'tenure relay' and datname = current_database()",
        )
        .await;
    let led = async || {
        for _ in 0..100 {
            if other.acquire_lead().await.unwrap() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    };
    assert!(led().await);
    assert!(!fresh.store.acquire_lead().await.unwrap());
    other.close().await;
    let mut regained = false;
    for _ in 0..100 {
        regained = regained || fresh.store.acquire_lead().await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(regained);
}

#[tokio::test(flavor = "multi_thread")]
async fn numbering_continues_after_a_dump_is_restored_on_a_younger_server() {
    let fresh = with_clients("restored", &["a"]).await;
    let store = &*fresh.store;
    write_on(store.begin().await.unwrap(), &key("a")).await.unwrap();
    // As if the server of the dump had numbered 10^12 transactions.
    fresh
        .database
        .sql("update journal set xid = xid + 1000000000000 returning ''")
        .await;
    fresh
        .database
        .sql("update clients set journaled_by = journaled_by + 1000000000000 returning ''")
        .await;
    store.migrate().await.unwrap();
    store.migrate().await.unwrap();
    write_on(store.begin().await.unwrap(), &key("a")).await.unwrap();
    let lines = relayed(store, 2, 9).await;
    assert_eq!(
        clients_and_values(&lines),
        [("a".into(), "2".into()), ("a".into(), "3".into())]
    );
    done(store, &lines[1]).await;
    write_on(store.begin().await.unwrap(), &key("a")).await.unwrap();
    assert_eq!(
        clients_and_values(&relayed(store, 1, 9).await),
        [("a".into(), "4".into())]
    );
}

/// The same with running workers that are not restarted.
#[tokio::test(flavor = "multi_thread")]
async fn numbering_continues_after_a_dump_is_restored_under_a_running_worker() {
    let fresh = with_clients("restored_under", &["a"]).await;
    let store = &*fresh.store;
    assert!(store.acquire_lead().await.unwrap());
    write_on(store.begin().await.unwrap(), &key("a")).await.unwrap();
    let before = store.unpublished(Cursor::default(), None, 9).await.unwrap().epoch;
    for statement in [
        "update journal set xid = xid + 1000000000000 returning ''",
        "update clients set journaled_by = journaled_by + 1000000000000 returning ''",
    ] {
        fresh.database.sql(statement).await;
    }
    // An existing client and a new one: published lines have higher numbers than the transaction.
    let mut batch = store.begin().await.unwrap();
    let refused = batch.lock(&[key("a")], false).await.unwrap_err();
    assert!(matches!(refused, StoreError::Conflict(_)), "{refused}");
    batch.rollback().await.unwrap();
    write_on(store.begin().await.unwrap(), &key("a")).await.unwrap();
    let lines = relayed(store, 2, 9).await;
    assert_eq!(
        clients_and_values(&lines),
        [("a".into(), "2".into()), ("a".into(), "3".into())]
    );
    let after = store.unpublished(Cursor::default(), None, 9).await.unwrap().epoch;
    assert!(after > before, "a new epoch has begun");

    done(store, &lines[1]).await;
    let shift = "update relay set xid_shift = xid_shift - 1000000 returning ''";
    fresh.database.sql(shift).await;
    let line = journal(vec![entry(&key("new"), "x")]);
    failed_redrives(store, line.clone()).await;
    put(store, line).await.unwrap();
    assert_eq!(
        clients_and_values(&relayed(store, 1, 9).await),
        [("new".into(), "x".into())]
    );

    // Without a write, the relay notices.
    fresh.database.sql(shift).await;
    let found = store.unpublished(Cursor::default(), None, 9).await.unwrap_err();
    assert!(matches!(found, StoreError::Conflict(_)), "{found}");
    relayed(store, 1, 9).await;
}

/// Logical replication copies rows, but not sequences.
#[tokio::test(flavor = "multi_thread")]
async fn numbering_continues_on_a_copy_without_sequences() {
    let fresh = with_clients("replicated", &["a"]).await;
    let store = &*fresh.store;
    for _ in 0..3 {
        write_on(store.begin().await.unwrap(), &key("a")).await.unwrap();
    }
    let dead_letter = tenure::store::DeadLetter {
        origin: "test".into(),
        content_type: None,
        headers: Vec::new(),
        body: b"1".to_vec(),
        reason: "none".into(),
        retry_at: None,
    };
    let dead = |body: &[u8]| Commit {
        dead_letters: vec![tenure::store::DeadLetter {
            body: body.to_vec(),
            ..dead_letter.clone()
        }],
        ..commit()
    };
    put(store, dead(b"1")).await.unwrap();
    let lines = relayed(store, 3, 9).await;
    let before = store.unpublished(Cursor::default(), None, 9).await.unwrap().epoch;
    fresh
        .database
        .sql("select setval('journal_seq_seq', 1, false)::text union all select setval('dead_letters_id_seq', 1, false)::text")
        .await;
    // The worker that acquires the lead there.
    let other = fresh.database.another_store();
    assert!(other.acquire_lead().await.unwrap());
    write_on(other.begin().await.unwrap(), &key("a")).await.unwrap();
    put(&*other, dead(b"2")).await.unwrap();
    let all = relayed(&*other, 4, 9).await;
    let epoch = other.unpublished(Cursor::default(), None, 0).await.unwrap().epoch;
    assert!(epoch > before, "a new epoch has begun");
    assert_eq!(all[..3], lines);
    assert!(all[3].cursor.sequence > lines[2].cursor.sequence);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_server_is_unavailable() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let url = format!("postgres://postgres@127.0.0.1:{port}/tenure");
    let options = PostgresOptions {
        acquire_timeout: Duration::from_millis(300),
        ..PostgresOptions::default()
    };
    let store = PostgresStore::connect(&url, &options).unwrap();
    let errors = [
        store.ping().await.unwrap_err(),
        store.migrate().await.unwrap_err(),
        store.acquire_lead().await.unwrap_err(),
        store.begin().await.err().unwrap(),
    ];
    for error in errors {
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    }
    store.close().await;
}

#[test]
fn an_invalid_address_is_reported_as_invalid() {
    for url in ["", "tenure.db", "postgres://host:port/db"] {
        let Err(error) = PostgresStore::connect(url, &PostgresOptions::default()) else {
            panic!("`{url}` was taken");
        };
        assert!(
            error.to_string().starts_with("`store.url` cannot be used: "),
            "{error}"
        );
        assert!(!error.is_transient());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_connections_are_replaced() {
    let fresh = with_clients("cut", &["a"]).await;
    let store = connect(match &fresh.database {
        super::Database::Postgres(url) => url,
        super::Database::Sqlite(_) => unreachable!(),
    });
    store.ping().await.unwrap();
    let mut batch = store.begin().await.unwrap();
    lock(&mut *batch, &key("a")).await;
    fresh
        .database
        .sql(
            "select pg_terminate_backend(pid)::text from pg_stat_activity
             where application_name = 'tenure' and datname = current_database()",
        )
        .await;
    let error = batch
        .commit(&journal(vec![entry(&key("a"), "x")]))
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    write_on(store.begin().await.unwrap(), &key("a")).await.unwrap();
}

/// No constraint prevents it: the two transactions do not see each other's event.
#[tokio::test(flavor = "multi_thread")]
async fn one_id_for_two_clients_at_the_same_moment_is_reported() {
    let fresh = with_clients("shared_id", &["a", "b"]).await;
    let store = &*fresh.store;
    let id = [("/apps/space", "twice")];
    let mut batches = Vec::new();
    for client in ["a", "b"] {
        let mut batch = store.begin().await.unwrap();
        lock(&mut *batch, &key(client)).await;
        assert!(batch.duplicates(&id).await.unwrap().is_empty());
        batches.push((client, batch));
    }
    for (client, batch) in batches {
        let twice = event(
            &key(client),
            "twice",
            5,
            kind("access.requested", &serde_json::json!({})),
        );
        let written = Commit {
            events: vec![applied(twice)],
            ..commit()
        };
        batch.commit(&written).await.unwrap();
    }
    for (client, other) in [("a", "b"), ("b", "a")] {
        let expected = SharedEvent {
            source: "/apps/space".into(),
            id: "twice".into(),
            other: key(other),
        };
        assert_eq!(store.shared_events(&key(client)).await.unwrap(), [expected]);
    }
    // Whatever comes later sees both.
    let mut batch = store.begin().await.unwrap();
    assert_eq!(batch.duplicates(&id).await.unwrap().len(), 1);
    batch.rollback().await.unwrap();
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

/// The views, and the function that makes the name of an event, agree with the program.
#[tokio::test(flavor = "multi_thread")]
async fn events_are_found_by_source_and_id_in_sql() {
    let fresh = with_clients("event_ref", &["a"]).await;
    let ids = [
        "0b9f6c9e-5d0f-4d3a-9c57-0d2a8f6f3c11",
        "0B9F6C9E-5D0F-4D3A-9C57-0D2A8F6F3C11",
        "e",
        "fifteen letters",
        "sixteen letters!",
        "seventeen letters",
        "sechzehn Zöllen",
    ];
    let mut events = Vec::new();
    for (id, n) in ids.iter().zip(1..) {
        let requested = kind("access.requested", &serde_json::json!({}));
        events.push(applied(event(&key("a"), id, n, requested)));
    }
    // From here on, the numbers of sources have five bytes.
    fresh
        .database
        .sql("insert into sources (source) select 'other ' || n from generate_series(1, 300) n returning ''")
        .await;
    for (id, n) in ids.iter().zip(20..) {
        let requested = kind("access.requested", &serde_json::json!({}));
        let mut other = event(&key("a"), id, n, requested);
        other.source = "/apps/late".into();
        events.push(applied(other));
    }
    put(&*fresh.store, Commit { events, ..commit() }).await.unwrap();
    let found = fresh.database.sql("select id from event_log order by time").await;
    assert_eq!(found, [ids, ids].concat());
    let agrees = "select distinct (ref = event_ref(source, id) and outcome = 'applied' and type = 'access.requested')::text
                  from event_log";
    assert_eq!(fresh.database.sql(agrees).await, ["true"]);
    let long = "select distinct octet_length(ref) - octet_length(id) from event_log where source = '/apps/late' and id = 'e'";
    assert_eq!(
        fresh
            .database
            .sql(&*format!("select ({long})::text").leak())
            .await,
        ["5"]
    );
    let history = fresh.store.history(&key("a")).await.unwrap();
    assert!(
        history
            .iter()
            .map(|logged| &*logged.event.id)
            .eq([ids, ids].concat())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_view_and_column_is_described() {
    let fresh = Fresh::postgres("described").await;
    let bare = "select c.relname || coalesce('.' || a.attname, '')
                from pg_class c
                left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
                where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v') and c.relname <> '_sqlx_migrations'
                  and (obj_description(c.oid, 'pg_class') is null or col_description(c.oid, a.attnum) is null)";
    assert_eq!(fresh.database.sql(bare).await, [""; 0]);
    let described = "select count(*)::text from pg_description where classoid = 'pg_class'::regclass
                     and objoid = 'public.event_log'::regclass";
    assert_eq!(
        fresh.database.sql(described).await,
        ["15"],
        "fourteen columns and the view"
    );
}
