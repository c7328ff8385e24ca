//! Renewals: touches stored without reading the client, only within a renew-only window.

use std::collections::HashSet;

use tenure::domain::ClientKey;
use tenure::store::{RenewOnlyWindow, Renewal, Store, Touch, TouchWrite, Touches};

use super::Fresh;
use super::given::*;

fn run(seconds: &[i64]) -> Touches {
    let touch = |at: &i64| Touch {
        time: moment(*at),
        sequence: None,
    };
    seconds.iter().map(touch).collect()
}

fn renew_only(after: i64, before: i64) -> RenewOnlyWindow {
    RenewOnlyWindow {
        after: moment(after),
        before: moment(before),
        policies: 2,
    }
}

fn touched(key: &ClientKey, open: &[i64], renew_only: impl Into<Option<RenewOnlyWindow>>) -> TouchWrite {
    TouchWrite {
        key: key.clone(),
        open: run(open),
        closed: None,
        renew_only: renew_only.into(),
    }
}

/// The clients whose touches were stored.
async fn renew(store: &dyn Store, touches: &[(&ClientKey, &[i64])], policies: i64) -> HashSet<ClientKey> {
    let renewals: Vec<Renewal> = touches
        .iter()
        .map(|(key, seconds)| Renewal {
            key: (*key).clone(),
            touches: run(seconds),
        })
        .collect();
    let mut batch = store.begin().await.unwrap();
    let renewed = batch.renew(&renewals, policies).await.unwrap();
    batch.commit(&commit()).await.unwrap();
    renewed
}

async fn touches_of(store: &dyn Store, key: &ClientKey) -> Vec<i64> {
    let stored = store.client(key).await.unwrap().unwrap();
    let since = |touch: &Touch| (touch.time - moment(0)).num_seconds();
    stored.touches.iter().map(since).collect()
}

pub async fn renew_adds_touches_only_within_a_renew_only_window(fresh: Fresh) {
    let store = &*fresh.store;
    let (a, b, c) = (key("a"), key("b"), key("c"));
    let mut first = clients(vec![
        new_client(&a, "A"),
        new_client(&b, "B"),
        new_client(&c, "C"),
    ]);
    first.touches = vec![touched(&a, &[10], renew_only(10, 100)), touched(&b, &[10], None)];
    put(store, first).await.unwrap();

    let everyone: &[(&ClientKey, &[i64])] = &[(&a, &[20, 30]), (&b, &[20]), (&c, &[20]), (&key("d"), &[20])];
    assert_eq!(renew(store, everyone, 2).await, HashSet::from([a.clone()]));
    assert_eq!(touches_of(store, &a).await, [10, 20, 30]);
    assert_eq!(touches_of(store, &b).await, [10]);

    let nobody = HashSet::new();
    assert_eq!(
        renew(store, &[(&a, &[30])], 2).await,
        nobody,
        "the very touch again"
    );
    assert_eq!(
        renew(store, &[(&a, &[25, 50])], 2).await,
        nobody,
        "one of them is late"
    );
    assert_eq!(renew(store, &[(&a, &[100])], 2).await, nobody, "a timer is due");
    assert_eq!(
        renew(store, &[(&a, &[50, 100])], 2).await,
        nobody,
        "a timer is due between them"
    );
    assert_eq!(renew(store, &[(&a, &[50])], 3).await, nobody, "other policies");
    assert_eq!(touches_of(store, &a).await, [10, 20, 30]);
    assert_eq!(
        renew(store, &[(&a, &[31, 99])], 2).await,
        HashSet::from([a.clone()])
    );
    assert_eq!(touches_of(store, &a).await, [10, 20, 30, 31, 99]);
    let snapshot = store.snapshot(&a).await.unwrap();
    assert_eq!(snapshot.renew_only, Some(renew_only(99, 100)));
}

pub async fn a_write_of_a_client_ends_its_renew_only_window(fresh: Fresh) {
    let store = &*fresh.store;
    let (a, b) = (key("a"), key("b"));
    let mut first = clients(vec![new_client(&a, "A"), new_client(&b, "B")]);
    first.touches = vec![
        touched(&a, &[10], renew_only(10, 100)),
        touched(&b, &[10], renew_only(10, 100)),
    ];
    put(store, first).await.unwrap();
    // With and without a lock before the write.
    let mut batch = store.begin().await.unwrap();
    let stored = lock(batch.as_mut(), &a).await;
    batch
        .commit(&clients(vec![write(&a, stored.document.client, 1)]))
        .await
        .unwrap();
    let unread = store.client(&b).await.unwrap().unwrap();
    put(store, clients(vec![write(&b, unread.document.client, 1)]))
        .await
        .unwrap();
    assert_eq!(renew(store, &[(&a, &[20]), (&b, &[20])], 2).await, HashSet::new());
    for key in [&a, &b] {
        assert_eq!(touches_of(store, key).await, [10]);
        assert_eq!(store.snapshot(key).await.unwrap().renew_only, None);
    }
    // Until a write of its touches opens another window.
    let again = tenure::store::Commit {
        touches: vec![touched(&a, &[10, 20], renew_only(20, 100))],
        ..commit()
    };
    put(store, again).await.unwrap();
    assert_eq!(renew(store, &[(&a, &[30])], 2).await, HashSet::from([a.clone()]));
}

pub async fn renew_does_not_fill_a_run(fresh: Fresh) {
    let store = &*fresh.store;
    let a = key("a");
    let mut first = clients(vec![new_client(&a, "A")]);
    first.touches = vec![touched(&a, &[0], renew_only(0, 1_000))];
    put(store, first).await.unwrap();
    let mut renewed = 0;
    for second in 1..1_000 {
        if renew(store, &[(&a, &[second])], 2).await.is_empty() {
            break;
        }
        renewed += 1;
    }
    assert_eq!(renewed, 126, "one short of a full run of 128");
}

/// Two workers on one client: a lock waits for a renewal in progress, and a renewal for a write.
#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_a_touch_and_a_write_wait_for_each_other() {
    let fresh = Fresh::postgres("renewals_wait").await;
    let store = fresh.store.clone();
    let a = key("a");
    let mut first = clients(vec![new_client(&a, "A")]);
    first.touches = vec![touched(&a, &[10], renew_only(10, 100))];
    put(&*store, first).await.unwrap();
    let renewal = |at| {
        vec![Renewal {
            key: key("a"),
            touches: run(&[at]),
        }]
    };

    // A renewal in progress: locking the client waits for it, and sees its touch.
    let mut touching = store.begin().await.unwrap();
    assert_eq!(touching.renew(&renewal(20), 2).await.unwrap().len(), 1);
    let locking = tokio::spawn({
        let (store, a) = (store.clone(), a.clone());
        async move {
            let mut batch = store.begin().await.unwrap();
            let stored = lock(batch.as_mut(), &a).await;
            (batch, stored)
        }
    });
    fresh.database.wait_for_blocked_writer().await;
    assert!(!locking.is_finished());
    touching.commit(&commit()).await.unwrap();
    let (batch, stored) = locking.await.unwrap();
    assert_eq!(stored.touches, run(&[10, 20]));

    // The client is locked and then written: the renewal waits, and stores nothing.
    let touching = tokio::spawn({
        let store = store.clone();
        async move {
            let mut batch = store.begin().await.unwrap();
            batch.renew(&renewal(30), 2).await.unwrap()
        }
    });
    fresh.database.wait_for_blocked_writer().await;
    assert!(!touching.is_finished());
    let written = clients(vec![write(&a, stored.document.client, stored.version)]);
    batch.commit(&written).await.unwrap();
    assert_eq!(touching.await.unwrap(), HashSet::new());
    assert_eq!(touches_of(&*store, &a).await, [10, 20]);
}

/// As above, with the events of a batch: the statement that waits for the renewal reads everything else as well.
#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_events_wait_for_a_touch_in_progress() {
    let fresh = Fresh::postgres("renewals_events").await;
    let store = fresh.store.clone();
    let a = key("a");
    let mut first = clients(vec![new_client(&a, "A")]);
    first.touches = vec![touched(&a, &[10], renew_only(10, 100))];
    first.events = vec![applied(added(&a, "e-1", 0, "A"))];
    put(&*store, first).await.unwrap();
    let mut touching = store.begin().await.unwrap();
    let renewal = Renewal {
        key: a.clone(),
        touches: run(&[20]),
    };
    assert_eq!(touching.renew(&[renewal], 2).await.unwrap().len(), 1);
    let locking = tokio::spawn({
        let (store, a) = (store.clone(), a.clone());
        async move {
            let mut batch = store.begin().await.unwrap();
            let ids = [("/apps/space", "e-2"), ("/apps/space", "e-1")];
            let seen = batch.lock_for_events(&[a], &ids).await.unwrap();
            (batch, seen)
        }
    });
    fresh.database.wait_for_blocked_writer().await;
    assert!(!locking.is_finished());
    touching.commit(&commit()).await.unwrap();
    let (batch, (locked, duplicates)) = locking.await.unwrap();
    assert_eq!(locked.len(), 1);
    assert_eq!(locked[0].touches, run(&[10, 20]));
    assert_eq!(duplicates, HashSet::from([1]));
    // It has found the window: the write ends it.
    let written = clients(vec![write(&a, locked[0].document.client.clone(), 1)]);
    batch.commit(&written).await.unwrap();
    assert_eq!(renew(&*store, &[(&a, &[30])], 2).await, HashSet::new());
    assert_eq!(touches_of(&*store, &a).await, [10, 20]);
}
