//! Checkpoints do not move. The new store makes its own.

use std::sync::Arc;

use chrono::{TimeDelta, Utc};
use serde_json::json;
use tenure::domain::ClientKey;
use tenure::engine::CheckpointSpacing;
use tenure::store::Store;

use super::source::{event, moved_at};
use super::{assert_no_drift, engine, export, import};
use crate::store::Fresh;

const SPACING: CheckpointSpacing = CheckpointSpacing {
    shortest: 10,
    nearest: 2,
};

async fn checkpoints(store: &Arc<dyn Store>) -> (usize, Option<chrono::DateTime<Utc>>) {
    let key = ClientKey::new("acme", "c").unwrap();
    let snapshot = store.snapshot(&key).await.unwrap();
    let last = snapshot.document().unwrap().checkpointed_until;
    (snapshot.checkpoints.len(), last)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_replay_in_the_new_store_makes_checkpoints() {
    let (sqlite, postgres) = (Fresh::sqlite("").await, Fresh::postgres("checkpoints").await);
    let last = Fresh::sqlite("").await;
    let day = |n| moved_at() + TimeDelta::days(n);
    let user = |id: &str, at| {
        let data = json!({ "data": { "user_id": id } });
        event(id, "user.added", "c", at, &data)
    };
    let (old, _) = engine(&sqlite.store, day(50)).await;
    let mut events = vec![event(
        "added",
        "client.added",
        "c",
        day(0),
        &json!({ "data": { "name": "C" } }),
    )];
    events.extend((1..=20).map(|n| {
        event(
            &format!("e-{n}"),
            "account.updated",
            "c",
            day(n),
            &json!({ "data": {} }),
        )
    }));
    let old = old.with_checkpoints(SPACING);
    old.ingest(events).await.unwrap();
    let late = |hours| day(15) + TimeDelta::hours(hours);
    old.ingest(vec![user("late-0", late(1))]).await.unwrap();
    let made = checkpoints(&sqlite.store).await;
    assert!(made.0 > 1 && made.1.is_some(), "{made:?}");
    for (n, (from, to)) in [(&sqlite, &postgres), (&postgres, &last)].into_iter().enumerate() {
        import(&to.store, &export(&from.store).await).await;
        assert_eq!(checkpoints(&to.store).await, (0, None));
        let (new, _) = engine(&to.store, day(50)).await;
        let new = new.with_checkpoints(SPACING);
        assert_no_drift(&new).await;
        let n = i64::try_from(n).unwrap();
        new.ingest(vec![user(&format!("late-{}", n + 1), late(n + 2))])
            .await
            .unwrap();
        let made = checkpoints(&to.store).await;
        assert!(made.0 > 1 && made.1.is_some(), "{made:?}");
        assert_no_drift(&new).await;
    }
}
