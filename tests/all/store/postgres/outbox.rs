//! The outbox with several workers: the order of changes, and the lead.

use std::collections::BTreeMap;

use tenure::store::Recorded;

use super::*;

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
