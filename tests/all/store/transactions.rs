//! Transactions: all or nothing, and what the next one sees.

use tenure::domain::{ClientKey, Sweep};
use tenure::store::{Commit, HistoryRange, NameClaim, Store, StoreError, Touches};

use super::Fresh;
use super::commits::{touch, touched};
use super::given::*;

pub async fn a_dropped_batch_leaves_no_trace(fresh: Fresh) {
    let store = &*fresh.store;
    put(store, clients(vec![new_client(&key("a"), "Bakery")]))
        .await
        .unwrap();
    for _ in 0..3 {
        let mut batch = store.begin().await.unwrap();
        lock(&mut *batch, &key("a")).await;
        drop(batch);
        let mut batch = store.begin().await.unwrap();
        lock(&mut *batch, &key("a")).await;
        batch.rollback().await.unwrap();
    }
    let seen = store.client(&key("a")).await.unwrap().unwrap();
    put(store, clients(vec![write(&key("a"), seen.document.client, 1)]))
        .await
        .unwrap();
}

pub async fn a_conflict_leaves_no_trace(fresh: Fresh) {
    let store = &*fresh.store;
    let (a, b) = (key("a"), key("b"));
    put(store, clients(vec![new_client(&b, "Butcher")]))
        .await
        .unwrap();
    let torn = Commit {
        clients: vec![new_client(&a, "Bakery"), new_client(&b, "Butcher")],
        events: vec![applied(added(&a, "e-1", 0, "Bakery"))],
        journal: vec![entry(&a, "Bakery")],
        touches: vec![touched(&a, &[touch(1, None)].into_iter().collect())],
        deadlines_set: vec![(a.clone(), Sweep::AccessExpiry, moment(0))],
        ..commit()
    };
    failed_redrives(store, torn).await;
    assert!(store.client(&a).await.unwrap().is_none());
    let census = store.census().await.unwrap();
    assert_eq!((census.events, census.journal), (0, 0));
    assert_eq!(store.history(&a).await.unwrap(), []);
    let due = store.due(Sweep::AccessExpiry, moment(9), None, 9).await.unwrap();
    assert_eq!(due, []);
}

/// As [`a_conflict_leaves_no_trace`], of a client that another transaction has written meanwhile.
pub async fn a_stale_client_leaves_no_trace(fresh: Fresh) {
    let store = &*fresh.store;
    let (a, b) = (key("a"), key("b"));
    let bakery = new_client(&a, "Bakery");
    put(store, clients(vec![bakery.clone()])).await.unwrap();
    let stale = write(&a, bakery.document.client, 1);
    put(store, clients(vec![stale.clone()])).await.unwrap();
    let everything = |clients| Commit {
        clients,
        events: vec![applied(added(&a, "e-1", 0, "Bakery"))],
        journal: vec![entry(&a, "Bakery")],
        touches: vec![touched(&a, &[touch(1, None)].into_iter().collect())],
        deadlines_set: vec![(a.clone(), Sweep::AccessExpiry, moment(0))],
        ..commit()
    };
    failed_redrives(store, everything(vec![stale.clone()])).await;
    has_only_version_two(store, &a).await;
    // With a new client, PostgreSQL writes clients first.
    failed_redrives(store, everything(vec![stale, new_client(&b, "Butcher")])).await;
    has_only_version_two(store, &a).await;
    assert!(store.client(&b).await.unwrap().is_none());
}

async fn has_only_version_two(store: &dyn Store, key: &ClientKey) {
    let stored = store.client(key).await.unwrap().unwrap();
    assert_eq!((stored.version, stored.touches), (2, Touches::default()));
    let census = store.census().await.unwrap();
    assert_eq!((census.events, census.journal), (0, 0));
    assert_eq!(store.history(key).await.unwrap(), []);
    let due = store.due(Sweep::AccessExpiry, moment(9), None, 9).await.unwrap();
    assert_eq!(due, []);
}

pub async fn an_empty_batch_reads_and_writes_nothing(fresh: Fresh) {
    let store = &*fresh.store;
    let mut batch = store.begin().await.unwrap();
    let (locked, duplicates) = batch.lock_for_events(&[], &[]).await.unwrap();
    assert_eq!((locked.len(), duplicates.len()), (0, 0));
    assert_eq!(batch.lock(&[], false).await.unwrap(), []);
    assert_eq!(batch.namesakes(&[]).await.unwrap(), []);
    assert!(batch.holders(&[]).await.unwrap().is_empty());
    assert!(batch.checkpoints(&[]).await.unwrap().is_empty());
    assert!(batch.histories(&[], None).await.unwrap().is_empty());
    batch.write(&commit()).await.unwrap();
    batch.commit(&commit()).await.unwrap();
    let census = store.census().await.unwrap();
    assert_eq!((census.events, census.journal), (0, 0));
}

pub async fn parts_of_a_transaction_see_earlier_parts(fresh: Fresh) {
    let store = &*fresh.store;
    let (a, b) = (key("a"), key("b"));
    put(store, clients(vec![new_client(&a, "Bakery")])).await.unwrap();
    let mut batch = store.begin().await.unwrap();
    let stored = lock(&mut *batch, &a).await;
    let mut renamed = write(&a, new_client(&a, "Butcher").document.client, stored.version);
    renamed.document.deadlines = [(Sweep::AccessExpiry, moment(9))].into();
    let first = Commit {
        clients: vec![renamed.clone()],
        events: vec![applied(added(&b, "e-1", 0, "Bakery"))],
        journal: vec![entry(&a, "Butcher")],
        ..commit()
    };
    batch.write(&first).await.unwrap();
    // No other transaction sees them.
    assert_eq!(store.client(&a).await.unwrap().unwrap().version, 1);

    let stored = lock(&mut *batch, &a).await;
    assert_eq!((stored.version, &stored.document), (2, &renamed.document));
    let source = added(&b, "e-1", 0, "Bakery").source;
    assert_eq!(
        duplicates(&mut *batch, &[(&source, "e-2"), (&source, "e-1")]).await,
        [1].into()
    );
    let bakery = NameClaim {
        partner: a.partner.clone(),
        name_key: "bakery".into(),
    };
    assert!(
        batch.holders(&[bakery]).await.unwrap().is_empty(),
        "it was given up"
    );
    let last = Commit {
        clients: vec![
            write(&a, new_client(&a, "Baker").document.client, 2),
            new_client(&b, "Bakery"),
        ],
        journal: vec![entry(&a, "Baker"), entry(&b, "Bakery")],
        ..commit()
    };
    batch.commit(&last).await.unwrap();
    assert_eq!(store.client(&a).await.unwrap().unwrap().version, 3);
    assert_eq!(store.client(&b).await.unwrap().unwrap().version, 1);
    let lines = store.journal(&a, 0, 10).await.unwrap();
    assert_eq!(
        clients_and_values(&lines),
        ["Butcher", "Baker"].map(|to| ("a".to_owned(), to.to_owned()))
    );
}

pub async fn a_transaction_is_atomic(fresh: Fresh) {
    let store = &*fresh.store;
    put(store, clients(vec![new_client(&key("a"), "Bakery")]))
        .await
        .unwrap();
    let mut batch = store.begin().await.unwrap();
    batch
        .write(&clients(vec![new_client(&key("b"), "Butcher")]))
        .await
        .unwrap();
    match batch
        .commit(&clients(vec![new_client(&key("c"), "Bakery")]))
        .await
    {
        Err(StoreError::Conflict(_)) => {}
        other => panic!("no conflict, but {other:?}"),
    }
    assert!(store.client(&key("b")).await.unwrap().is_none());
    // Also when a part fails before the last.
    let mut batch = store.begin().await.unwrap();
    batch
        .write(&clients(vec![new_client(&key("b"), "Butcher")]))
        .await
        .unwrap();
    let failed = batch.write(&clients(vec![new_client(&key("c"), "Bakery")])).await;
    assert!(matches!(failed, Err(StoreError::Conflict(_))), "{failed:?}");
    drop(batch);
    assert!(store.client(&key("b")).await.unwrap().is_none());
    put(store, clients(vec![new_client(&key("b"), "Butcher")]))
        .await
        .unwrap();
}

pub async fn the_second_batch_sees_the_writes_of_the_first(fresh: Fresh) {
    let store = fresh.store.clone();
    let a = key("a");
    put(&*store, clients(vec![new_client(&a, "Bakery")]))
        .await
        .unwrap();
    let mut first = store.begin().await.unwrap();
    let seen = lock(&mut *first, &a).await;
    let second = tokio::spawn({
        let (store, a) = (store.clone(), a.clone());
        async move {
            let mut second = store.begin().await.unwrap();
            let seen = lock(&mut *second, &a).await;
            let histories = second
                .histories(&[HistoryRange::all(a.clone())], None)
                .await
                .unwrap();
            second.rollback().await.unwrap();
            (seen, histories[&a].len())
        }
    });
    fresh.database.wait_for_blocked_writer().await;
    assert!(!second.is_finished());
    let touches: Touches = [touch(5, None)].into_iter().collect();
    let written = Commit {
        clients: vec![write(&a, seen.document.client, 1)],
        touches: vec![touched(&a, &touches)],
        events: vec![applied(added(&a, "e-1", 0, "Bakery"))],
        ..commit()
    };
    first.commit(&written).await.unwrap();
    let (seen, history) = second.await.unwrap();
    assert_eq!(seen.version, 2);
    assert_eq!(seen.touches, touches);
    assert_eq!(history, 2);
}

/// The events of a batch: what it reads beside its clients is not older than they are.
pub async fn the_second_batch_of_events_sees_the_writes_of_the_first(fresh: Fresh) {
    let store = fresh.store.clone();
    let a = key("a");
    put(&*store, clients(vec![new_client(&a, "Bakery")]))
        .await
        .unwrap();
    let mut first = store.begin().await.unwrap();
    let seen = lock(&mut *first, &a).await;
    let second = tokio::spawn({
        let (store, a) = (store.clone(), a.clone());
        async move {
            let mut second = store.begin().await.unwrap();
            let ids = [("/apps/space", "e-1"), ("/apps/space", "e-2")];
            let seen = second.lock_for_events(&[a], &ids).await.unwrap();
            second.rollback().await.unwrap();
            seen
        }
    });
    fresh.database.wait_for_blocked_writer().await;
    assert!(!second.is_finished());
    let touches: Touches = [touch(5, None)].into_iter().collect();
    let written = Commit {
        clients: vec![write(&a, seen.document.client, 1)],
        touches: vec![touched(&a, &touches)],
        events: vec![applied(added(&a, "e-1", 0, "Bakery"))],
        ..commit()
    };
    first.commit(&written).await.unwrap();
    let (locked, duplicates) = second.await.unwrap();
    assert_eq!(locked.len(), 1);
    assert_eq!((locked[0].version, &locked[0].touches), (2, &touches));
    assert_eq!(duplicates, [0].into());
}
