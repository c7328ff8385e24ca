//! Pages on PostgreSQL: no statement needs to read a whole table for lack of an index.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use sqlx::{Connection as _, Executor as _, PgConnection};
use tenure::store::Upkeep as _;
use tenure::store::postgres::{PostgresOptions, PostgresStore};

use super::html::links;
use super::pages::{serves, shown};
use super::site::{later_on, year_on};
use crate::store::{Database, Fresh};
use crate::support::http_client;

/// Pages of one route that are read: those of different rows have the same statements.
const OF_ONE_ROUTE: usize = 12;

/// Tables with a row for each thing that somebody has set up, and those with one row.
const SMALL: [&str; 19] = [
    "_sqlx_migrations",
    "access_log_since",
    "browser_sessions",
    "clock",
    "closings",
    "deadline_backfill",
    "expected_sources",
    "heartbeat_key",
    "lanes",
    "policies",
    "relay",
    "schema_compat",
    "sources",
    "sweep_halts",
    "sweep_runs",
    "webhook_endpoints",
    "words",
    "workers",
    "write_probe",
];

/// How often each table that grows was read without an index, once no session of a worker is left.
async fn scans(connection: &mut PgConnection) -> BTreeMap<String, i64> {
    let mut left = 0;
    for _ in 0..600 {
        let others: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
        )
        .fetch_one(&mut *connection)
        .await
        .expect("sessions");
        left = others;
        if others == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(left, 0, "sessions are left");
    let scans: Vec<(String, i64)> =
        sqlx::query_as("select relname::text, seq_scan from pg_stat_user_tables order by relname")
            .fetch_all(connection)
            .await
            .expect("scans");
    let of_growing = scans
        .into_iter()
        .filter(|(table, _)| !SMALL.contains(&table.as_str()));
    of_growing.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_reads_a_table_that_grows_without_an_index() {
    let fresh = Fresh::postgres("console_scans").await;
    let Database::Postgres(url) = &fresh.database else {
        unreachable!();
    };
    let (site, year) = year_on(fresh.store.clone()).await;
    let now = site.engine.now();
    drop(site);
    fresh.store.close().await;
    let mut other = PgConnection::connect(url).await.expect("a connection");
    // The planner then reads a whole table only if it has no index for the statement, however small the table is. How much of an
    // index the statements read is measured with a million clients (benches/throughput).
    let name: String = sqlx::query_scalar("select current_database()::text")
        .fetch_one(&mut other)
        .await
        .expect("a name");
    let indexed = format!("alter database {name} set enable_seqscan = off");
    other.execute(&*indexed).await.expect("set");
    other.execute("analyze").await.expect("analyzed");
    let before = scans(&mut other).await;
    assert!(
        before.contains_key("journal") && before.contains_key("events"),
        "{before:?}"
    );

    let store = PostgresStore::connect(url, &PostgresOptions::default()).expect("a store");
    let store = Arc::new(store);
    let site = later_on(store.clone(), now).await;
    let mut read: BTreeSet<String> = BTreeSet::new();
    let mut routes: BTreeMap<String, usize> = shown().into_iter().map(|route| (route, 0)).collect();
    let (since, until) = ("2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z");
    let mut left: Vec<String> = vec![
        "/".into(),
        "/?span=day".into(),
        format!("/clients/{}?at=2025-12-01T00:00:00Z", year.client),
        format!("/refusals?source=/partner-space&from={since}&until={until}"),
        format!("/audit?by=ann&since={since}&until={until}"),
        "/what-if?access.idle=20d&partner=northwind".into(),
        "/forecast?partner=northwind".into(),
    ];
    for field in ["name", "name-begins", "id", "partner", "account"] {
        left.push(format!("/clients?q=shop&in={field}"));
        left.push(format!(
            "/clients?q=shop&in={field}&partner=northwind&link=active&access=enabled"
        ));
    }
    for path in [
        "/clients.csv",
        "/clients.csv?q=shop",
        "/statements/2026-01?format=csv",
    ] {
        let answer = http_client()
            .get(site.url(path))
            .send()
            .await
            .expect("a response");
        assert_eq!(answer.status(), 200, "{path}");
    }
    while let Some(address) = left.pop() {
        let route = routes.iter_mut().find(|(route, _)| serves(route, &address));
        let Some((_, times)) = route.filter(|(_, times)| **times < OF_ONE_ROUTE) else {
            continue;
        };
        if !read.insert(address.clone()) {
            continue;
        }
        *times += 1;
        let page = http_client()
            .get(site.url(&address))
            .send()
            .await
            .expect("a response");
        assert_eq!(page.status(), 200, "{address}");
        left.extend(links(&page.text().await.expect("text"), "/"));
    }
    let unread: Vec<_> = routes.iter().filter(|(_, times)| **times == 0).collect();
    assert!(unread.is_empty(), "{unread:?}");
    drop(site);
    store.close().await;
    let after = scans(&mut other).await;
    let read: Vec<_> = after
        .iter()
        .filter(|(table, scans)| before.get(*table).copied().unwrap_or_default() < **scans)
        .collect();
    assert!(
        read.is_empty(),
        "read without an index: {read:?}, before: {before:?}"
    );
}
