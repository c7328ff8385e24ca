//! Checkpoints, and histories that are read from a moment on.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use tenure::domain::{Client, ClientKey, Event};
use tenure::store::{
    Checkpoint, CheckpointPlace, CheckpointWrite, Checkpoints, Commit, HistoryRange, Logged, Store, Touch,
    TouchWrite, Touches,
};

use super::Fresh;
use super::given::*;

fn checkpoint(key: &ClientKey, seconds: i64, events: i64) -> Checkpoint {
    Checkpoint {
        time: moment(seconds),
        events,
        policies: i64::MIN + seconds,
        client: Some(client(&[added(key, "a", seconds, &format!("As of {seconds}"))])),
    }
}

fn checkpoints(key: &ClientKey, removed: &[i64], new: Vec<Checkpoint>) -> Commit {
    Commit {
        checkpoints: vec![CheckpointWrite {
            key: key.clone(),
            removed: removed.iter().copied().map(moment).collect(),
            added: new,
        }],
        ..commit()
    }
}

async fn read(store: &dyn Store, before: &[(ClientKey, DateTime<Utc>)]) -> HashMap<ClientKey, Checkpoints> {
    let mut batch = store.begin().await.unwrap();
    let keys: Vec<ClientKey> = before.iter().map(|(key, _)| key.clone()).collect();
    batch.lock(&keys, false).await.unwrap();
    let read = batch.checkpoints(before).await.unwrap();
    batch.rollback().await.unwrap();
    read
}

pub async fn the_last_checkpoint_before_a_moment_is_found(fresh: Fresh) {
    let store = &*fresh.store;
    let (a, b, nobody) = (key("a"), key("b"), key("nobody"));
    put(store, clients(vec![new_client(&a, "A"), new_client(&b, "B")]))
        .await
        .unwrap();
    let of_a = [
        checkpoint(&a, 30, 300),
        checkpoint(&a, 10, 100),
        checkpoint(&a, 20, 200),
    ];
    put(store, checkpoints(&a, &[], of_a.to_vec())).await.unwrap();
    put(store, checkpoints(&b, &[], vec![checkpoint(&b, 15, 7)]))
        .await
        .unwrap();
    let places = [(10, 100), (20, 200), (30, 300)].map(|(seconds, events)| CheckpointPlace {
        time: moment(seconds),
        events,
    });
    for (before, nearest) in [
        (10, None),
        (11, Some(1)),
        (20, Some(1)),
        (30, Some(2)),
        (99, Some(0)),
    ] {
        let found = read(
            store,
            &[
                (a.clone(), moment(before)),
                (b.clone(), moment(16)),
                (nobody.clone(), moment(99)),
            ],
        )
        .await;
        let expected = Checkpoints {
            nearest: nearest.map(|place: usize| of_a[place].clone()),
            places: places.to_vec(),
        };
        assert_eq!(found[&a], expected, "before {before}");
        assert_eq!(found[&b].nearest, Some(checkpoint(&b, 15, 7)));
        assert!(!found.contains_key(&nobody));
    }
    let mut sorted = of_a.to_vec();
    sorted.sort_by_key(|one| one.time);
    assert_eq!(store.snapshot(&a).await.unwrap().checkpoints, sorted);
    assert_eq!(store.snapshot(&nobody).await.unwrap().checkpoints, []);
}

pub async fn a_commit_replaces_checkpoints(fresh: Fresh) {
    let store = &*fresh.store;
    let (a, b) = (key("a"), key("b"));
    put(store, clients(vec![new_client(&a, "A"), new_client(&b, "B")]))
        .await
        .unwrap();
    for key in [&a, &b] {
        let new = [10, 20, 30].map(|seconds| checkpoint(key, seconds, seconds));
        put(store, checkpoints(key, &[], new.to_vec())).await.unwrap();
    }
    let mut replaced = checkpoint(&a, 30, 33);
    replaced.client = Some(Client::default());
    let added = checkpoint(&a, 25, 28);
    // One of those that are removed is not there.
    let commit = checkpoints(&a, &[20, 21], vec![replaced.clone(), added.clone()]);
    put(store, commit).await.unwrap();
    let found = store.snapshot(&a).await.unwrap().checkpoints;
    assert_eq!(found, [checkpoint(&a, 10, 10), added, replaced]);
    assert_eq!(store.snapshot(&b).await.unwrap().checkpoints.len(), 3);
}

/// Nobody depends on a checkpoint, so one that is damaged is no error.
pub async fn a_checkpoint_that_cannot_be_read_has_no_state(fresh: Fresh) {
    let store = &*fresh.store;
    let a = key("a");
    put(store, clients(vec![new_client(&a, "A")])).await.unwrap();
    put(store, checkpoints(&a, &[], vec![checkpoint(&a, 10, 1)]))
        .await
        .unwrap();
    fresh.database.sql("update checkpoints set state = '{}'").await;
    let nearest = read(store, &[(a.clone(), moment(20))]).await[&a].nearest.clone();
    assert_eq!(
        nearest.map(|one| (one.time, one.client)),
        Some((moment(10), None))
    );
    assert_eq!(store.snapshot(&a).await.unwrap().checkpoints[0].client, None);
}

fn run(seconds: impl IntoIterator<Item = i64>) -> Touches {
    let touch = |seconds| Touch {
        time: moment(seconds),
        sequence: None,
    };
    seconds.into_iter().map(touch).collect()
}

fn touched(key: &ClientKey, closed: Option<Touches>, open: Touches) -> Commit {
    Commit {
        touches: vec![TouchWrite {
            key: key.clone(),
            open,
            closed,
            renew_only: None,
        }],
        ..commit()
    }
}

fn user(of: &ClientKey, seconds: i64) -> Event {
    let kind = kind("user.added", &serde_json::json!({ "user_id": "u" }));
    event(of, &format!("{of}-{seconds}"), seconds, kind)
}

pub async fn a_history_is_read_from_a_moment_on(fresh: Fresh) {
    let store = &*fresh.store;
    let (a, b) = (key("a"), key("b"));
    let events = [&a, &b].map(|of| (0..300).map(|n| applied(user(of, n * 10))).collect::<Vec<_>>());
    let first = Commit {
        clients: vec![new_client(&a, "A"), new_client(&b, "B")],
        events: events.concat(),
        ..commit()
    };
    put(store, first).await.unwrap();
    // A run that began early has late touches too.
    for (closed, open) in [
        (Some(run([1, 2, 3])), run([4])),
        (Some(run([4, 205, 301])), run([7, 199, 200, 333])),
    ] {
        put(store, touched(&a, closed, open)).await.unwrap();
    }
    let whole = store.history(&a).await.unwrap();
    let after = |seconds| -> Vec<Logged> {
        let mut later = whole.clone();
        later.retain(|logged| logged.event.time > moment(seconds));
        later
    };
    for (seconds, events) in [
        (-1, 310),
        (3, 306),
        (200, 282),
        (204, 282),
        (205, 281),
        (390, 260),
        (5_000, 0),
    ] {
        let ranges = [
            HistoryRange {
                key: a.clone(),
                after: Some(moment(seconds)),
            },
            HistoryRange::all(b.clone()),
        ];
        let mut batch = store.begin().await.unwrap();
        batch.lock(&[a.clone(), b.clone()], false).await.unwrap();
        let read = batch.histories(&ranges, None).await.unwrap();
        assert_eq!(read[&a], after(seconds), "after {seconds}");
        assert_eq!(read[&a].len(), events, "after {seconds}");
        assert_eq!(read[&b].len(), 300);
        // Only what is read counts.
        let short = batch.histories(&ranges, Some(299)).await.unwrap();
        assert!(!short.contains_key(&b));
        assert_eq!(short.contains_key(&a), seconds >= 0, "after {seconds}");
        batch.rollback().await.unwrap();
    }
}
