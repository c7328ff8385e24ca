//! The servers and databases that the PostgreSQL store accepts, and the sessions that it replaces.

use std::time::Duration;

use sqlx::{Connection, Executor, PgConnection};
use tenure::store::postgres::{PostgresOptions, PostgresStore};
use tenure::store::{
    Clients, Cursor, Feed, FeedCursor, FeedFilter, Outbox, PolicyHistory, StoreError, Transactions, Upkeep,
};

use super::connect;
use super::given::*;
use crate::support::servers::{Postgres, name_in};

fn unavailable(error: &StoreError, words: &str) {
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(error.to_string().contains(words), "{error}");
}

/// An embedder may drop a store without closing it.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_store_ends_its_sessions() {
    let server = Postgres::shared();
    let url = server.database("dropped");
    let sessions = format!(
        "select count(*) from pg_stat_activity where datname = '{}'",
        name_in(&url)
    );
    let store = connect(&url);
    store.migrate().await.unwrap();
    let (one, other) = (store.begin().await.unwrap(), store.begin().await.unwrap());
    drop((one, other));
    assert_ne!(server.sql("postgres", &sessions), "0");
    drop(store);
    let mut left = String::new();
    for _ in 0..200 {
        left = server.sql("postgres", &sessions);
        if left == "0" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(left, "0", "sessions");
}

/// Like a demoted primary behind an address that now leads to the new one: open sessions are read-only, new ones can
/// write.
#[tokio::test(flavor = "multi_thread")]
async fn read_only_sessions_are_replaced() {
    let server = Postgres::own();
    let url = server.database("demoted");
    let database = name_in(&url);
    let store = connect(&url);
    store.migrate().await.unwrap();
    assert!(store.acquire_lead().await.unwrap());
    let mut begun = store.begin().await.unwrap();
    put(&store, clients(vec![new_client(&key("a"), "Bakery")]))
        .await
        .unwrap();

    server.sql(
        "postgres",
        &format!("alter database {database} set default_transaction_read_only = off"),
    );
    server.turn_read_only();
    // A running transaction can still commit. Its session is read-only afterwards.
    let seen = begun.lock(&[], false).await;
    assert!(seen.is_ok());
    drop(begun);
    for n in 0..20 {
        store.ping().await.unwrap();
        put(
            &store,
            clients(vec![new_client(&key(&format!("c-{n}")), &format!("Client {n}"))]),
        )
        .await
        .unwrap();
    }
    // The leader's session is checked too: its journal would stay empty forever.
    let old = "select count(*) from pg_stat_activity
               where application_name = 'tenure relay' and backend_start < (select pg_conf_load_time())";
    let mut left = server.sql("postgres", old);
    for _ in 0..200 {
        if left == "0" {
            break;
        }
        let _ = store.acquire_lead().await;
        let _ = store.unpublished(Cursor::default(), None, 100).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        left = server.sql("postgres", old);
    }
    assert_eq!(left, "0", "the relay's session is still the old one");
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_server_is_unavailable_until_it_is_writable() {
    let server = Postgres::own();
    let url = server.database("read_only");
    let store = connect(&url);
    store.migrate().await.unwrap();
    server.turn_read_only();
    for _ in 0..200 {
        if store.ping().await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for error in [
        store.ping().await.unwrap_err(),
        store.begin().await.err().unwrap(),
        store.migrate().await.unwrap_err(),
        store.acquire_lead().await.unwrap_err(),
        store
            .record_policy(moment(1), &tenure::domain::Policy::default(), false)
            .await
            .unwrap_err(),
        // Its reader has what a standby may lack.
        store.feed_end().await.unwrap_err(),
        store
            .feed(&FeedCursor::beginning(0), &FeedFilter::default(), 1, 1)
            .await
            .unwrap_err(),
        store.states(None, 1).await.unwrap_err(),
    ] {
        unavailable(&error, "read-only");
    }
    // Reads still work.
    assert_eq!(store.client(&key("a")).await.unwrap(), None);
    server.sql("postgres", "alter system reset default_transaction_read_only");
    server.sql("postgres", "select pg_reload_conf()");
    let mut answer = store.ping().await;
    for _ in 0..200 {
        if answer.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        answer = store.ping().await;
    }
    answer.unwrap();
    put(&store, clients(vec![new_client(&key("a"), "Bakery")]))
        .await
        .unwrap();
    store.close().await;
}

/// A role with a lower connection limit than the pool's.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_limits_the_pool_to_its_existing_connections() {
    let server = Postgres::shared();
    let url = server.database("few");
    let database = name_in(&url);
    server.sql(
        "postgres",
        "drop role if exists few; create role few login connection limit 3",
    );
    server.sql("postgres", &format!("alter database {database} owner to few"));
    server.sql(database, "grant all on schema public to few");
    let url = url.replace("postgres@", "few@");
    let options = PostgresOptions {
        // No caller waits for it.
        acquire_timeout: Duration::from_mins(1),
        ..PostgresOptions::default()
    };
    let store = std::sync::Arc::new(PostgresStore::connect(&url, &options).unwrap());
    store.migrate().await.unwrap();
    let began = std::time::Instant::now();
    let writers: Vec<_> = (0..12)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move {
                for m in 0..5 {
                    let new = new_client(&key(&format!("c-{n}-{m}")), &format!("Client {n} {m}"));
                    put(&*store, clients(vec![new])).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    // The relay's session replaces one of the pool.
    assert!(store.acquire_lead().await.unwrap());
    put(&*store, clients(vec![new_client(&key("last"), "Last")]))
        .await
        .unwrap();
    store.close().await;

    let mut others = Vec::new();
    for _ in 0..3 {
        let mut other = PgConnection::connect(&url).await;
        for _ in 0..100 {
            if other.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            other = PgConnection::connect(&url).await;
        }
        others.push(other.unwrap());
    }
    let store = PostgresStore::connect(&url, &options).unwrap();
    for error in [
        store.ping().await.unwrap_err(),
        store.begin().await.err().unwrap(),
        store.migrate().await.unwrap_err(),
        store.acquire_lead().await.unwrap_err(),
    ] {
        unavailable(&error, "too many connections");
        assert!(error.to_string().contains("store.max_connections"), "{error}");
    }
    others[0].execute("select 1").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_utf8_is_refused() {
    let server = Postgres::shared();
    let name = name_in(&server.database("latin")).to_owned() + "_1";
    server.sql(
        "postgres",
        &format!("create database {name} encoding 'LATIN1' template template0"),
    );
    let error = connect(&server.url(&name)).migrate().await.unwrap_err();
    assert!(matches!(error, StoreError::Unsuitable(_)), "{error:?}");
    for words in ["LATIN1", "encoding 'UTF8'", "store.url"] {
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_another_program_stay_unchanged() {
    let server = Postgres::shared();
    let url = server.database("taken");
    server.sql(name_in(&url), "create table clients (id bigint)");
    let error = connect(&url).migrate().await.unwrap_err();
    assert!(matches!(error, StoreError::Unsuitable(_)), "{error:?}");
    assert!(error.to_string().contains("database of its own"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_writable_one_of_several_hosts_is_used() {
    let (first, second) = (Postgres::shared(), Postgres::own());
    let database = name_in(&first.database("several")).to_owned();
    second.sql("postgres", &format!("create database {database}"));
    let url = |ports: &[u16]| {
        let hosts: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!(
            "postgres://postgres@{}/{database}?target_session_attrs=read-write",
            hosts.join(",")
        )
    };
    let closed = crate::support::servers::free_port();
    let store = connect(&url(&[closed, second.port(), first.port()]));
    store.migrate().await.unwrap();
    put(&store, clients(vec![new_client(&key("a"), "Bakery")]))
        .await
        .unwrap();
    assert_eq!(second.sql(&database, "select count(*) from clients"), "1");
    store.close().await;

    second.turn_read_only();
    let store = connect(&url(&[closed, second.port(), first.port()]));
    store.migrate().await.unwrap();
    store.ping().await.unwrap();
    assert_eq!(first.sql(&database, "select count(*) from clients"), "0");
    store.close().await;

    let store = connect(&url(&[closed, second.port()]));
    unavailable(
        &store.begin().await.err().unwrap(),
        &format!("127.0.0.1:{}", second.port()),
    );
    let options = PostgresOptions {
        acquire_timeout: Duration::from_millis(300),
        ..PostgresOptions::default()
    };
    let nobody = PostgresStore::connect(&url(&[closed, closed]), &options).unwrap();
    unavailable(&nobody.ping().await.unwrap_err(), &format!("127.0.0.1:{closed}"));
}
