//! Cached plans: made while the tables were small, used when they have grown.

use tenure::store::{HistoryRange, NameClaim};

use super::super::commits::touched;
use super::*;

/// Five thousand clients with rows in every table, as if other workers had written them.
const GROW: &str = "
    with k as (
        insert into client_keys (partner, client) select 'acme', 'z-' || n from generate_series(1, 5000) n returning number
    ), c as (
        insert into clients (client, version, doc, access, link, service, partner, name, name_key)
        select number, 1, '{}', 'none', 'draft', 'none', 'acme', 'z' || number, 'z' || number from k
    ), t as (
        insert into touches (client, open_run) select number, '' from k
    ), r as (
        insert into touch_runs (client, number, last_at, run) select number, 1, '2025-01-01', '' from k
    ), d as (
        insert into deadlines (client, sweep, due_at) select number, 1, '2025-01-01' from k
    ), p as (
        insert into checkpoints (client, time, events, policies, state) select number, '2025-01-01', 1, 1, '{}' from k
    ), e as (
        insert into events (time, received_at, client, type, reason, ref, sequence, actor, data)
        select '2025-01-01', '2025-01-01', number, 1, 0, event_ref(1, convert_to('z-' || number, 'UTF8')), '', '', '' from k
    )
    insert into journal
        (xid, time, recorded_at, client, change, cause, corrector, cause_ref, corrector_ref, cause_actor, cause_reason, id,
         before, after, data)
    select 1, '2025-01-01', '2025-01-01', number, 1, 1, 0, '', '', '', '', '', '', '', '' from k";

const TABLES: &str =
    "client_keys, clients, touches, touch_runs, deadlines, checkpoints, events, journal, words, sources";

/// With so few rows, a scan of an index costs less than a search for each row.
#[tokio::test(flavor = "multi_thread")]
async fn no_plan_of_a_batch_scans_a_table_that_has_grown() {
    for rows in [1, 5, 100] {
        batches_on_growing_tables(rows).await;
    }
}

async fn batches_on_growing_tables(rows: i32) {
    let fresh = Fresh::postgres(&format!("plans_{rows}")).await;
    let Database::Postgres(url) = &fresh.database else {
        unreachable!();
    };
    let keys: Vec<ClientKey> = (0..rows).map(|n| key(&format!("c-{n:03}"))).collect();
    let first = Commit {
        clients: keys.iter().map(|key| new_client(key, &key.client)).collect(),
        deadlines_set: keys
            .iter()
            .map(|key| (key.clone(), Sweep::AccessExpiry, moment(5)))
            .collect(),
        events: keys
            .iter()
            .map(|key| applied(added(key, &key.client, 0, &key.client)))
            .collect(),
        journal: keys.iter().map(|key| entry(key, "-")).collect(),
        ..commit()
    };
    put(&*fresh.store, first).await.unwrap();
    let mut other = PgConnection::connect(url).await.unwrap();
    for table in TABLES.split(", ") {
        let alone = format!("alter table {table} set (autovacuum_enabled = false)");
        other.execute(&*alone).await.unwrap();
    }
    other.execute(&*format!("vacuum analyze {TABLES}")).await.unwrap();

    // On one session, which caches the plans.
    let options = PostgresOptions {
        max_connections: 1,
        ..PostgresOptions::default()
    };
    let store = PostgresStore::connect(url, &options).unwrap();
    batch_of_one(&store, &keys[0], 1).await;
    other.execute(GROW).await.unwrap();
    for version in 2..5 {
        batch_of_one(&store, &keys[0], version).await;
    }
    // The server counts what a session has read when the session ends.
    store.close().await;
    fresh.store.close().await;
    let mut updates = 0i64;
    for _ in 0..600 {
        let sessions: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
        )
        .fetch_one(&mut other)
        .await
        .unwrap();
        updates = sqlx::query_scalar("select n_tup_upd from pg_stat_user_tables where relname = 'clients'")
            .fetch_one(&mut other)
            .await
            .unwrap();
        if sessions == 0 && updates == 4 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(updates, 4, "{rows}: the server has not counted every batch");
    // A hash index cannot be scanned as a whole. Each new event is searched in this one.
    let read: Vec<(String, i64)> = sqlx::query_as(
        "select relname || ', by ' || indexrelname, idx_tup_read from pg_stat_user_indexes
         where indexrelname <> 'events_by_ref'
         union all
         select relname, seq_tup_read from pg_stat_user_tables
         where relname not in ('words', 'relay')",
    )
    .fetch_all(&mut other)
    .await
    .unwrap();
    let scanned: Vec<_> = read.into_iter().filter(|(_, rows)| *rows >= 5_000).collect();
    assert_eq!(scanned, [], "after {rows} rows");
}

/// Everything that a batch reads and writes, of one client.
async fn batch_of_one(store: &PostgresStore, a: &ClientKey, version: i64) {
    let mut batch = store.begin().await.unwrap();
    let id = version.to_string();
    let ids = [("/apps/space", &*a.client), ("/apps/space", &*id)];
    let (locked, duplicates) = batch
        .lock_for_events(std::slice::from_ref(a), &ids)
        .await
        .unwrap();
    assert_eq!((locked.len(), locked[0].version), (1, version));
    assert_eq!(duplicates, [0].into());
    let known = added(a, &a.client, 0, &a.client);
    assert_eq!(batch.namesakes(&[&known]).await.unwrap(), []);
    let claim = NameClaim {
        partner: a.partner.clone(),
        name_key: name(&a.client).key(),
    };
    assert_eq!(
        batch.holders(std::slice::from_ref(&claim)).await.unwrap()[&claim],
        *a
    );
    batch.checkpoints(&[(a.clone(), moment(0))]).await.unwrap();
    batch
        .histories(&[HistoryRange::all(a.clone())], None)
        .await
        .unwrap();
    batch.snapshot(a).await.unwrap();
    let requested = kind("access.requested", &serde_json::json!({}));
    let written = Commit {
        clients: vec![write(a, locked[0].document.client.clone(), version)],
        events: vec![applied(event(a, &id, version, requested))],
        journal: vec![entry(a, &id)],
        touches: vec![touched(a, &locked[0].touches)],
        deadlines_set: vec![(a.clone(), Sweep::AccessExpiry, moment(version))],
        deadlines_cleared: vec![(a.clone(), Sweep::StalledInvitations)],
        ..commit()
    };
    batch.commit(&written).await.unwrap();
}
