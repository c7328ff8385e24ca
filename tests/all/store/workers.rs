//! The workers that share the store, as each records itself.

use chrono::{DateTime, Utc};
use tenure::store::{Store, WorkerRecord};

use super::Fresh;
use super::given::*;

fn worker(name: &str, host: &str, started: i64) -> WorkerRecord {
    WorkerRecord {
        name: name.into(),
        host: host.into(),
        version: "1.2.3".into(),
        started_at: moment(started),
        seen_at: moment(started),
        lanes: Vec::new(),
        leads_relay: false,
        leads_webhooks: false,
    }
}

async fn record(
    store: &dyn Store,
    worker: &WorkerRecord,
    listed_since: DateTime<Utc>,
    replaced: DateTime<Utc>,
) {
    store
        .record_worker(worker, listed_since, replaced)
        .await
        .expect("recorded");
}

async fn names(store: &dyn Store) -> Vec<String> {
    let workers = store.workers().await.expect("workers");
    workers.into_iter().map(|worker| worker.name).collect()
}

pub async fn workers_are_listed_as_they_recorded_themselves(fresh: Fresh) {
    let store = &*fresh.store;
    assert_eq!(store.workers().await.unwrap(), []);
    let never = moment(-1);
    let (later, mut first) = (worker("b 'ü'", "b", 5), worker("a", "a", 3));
    record(store, &later, never, never).await;
    record(store, &first, never, never).await;
    assert_eq!(store.workers().await.unwrap(), [first.clone(), later.clone()]);
    first.seen_at = moment(13);
    first.lanes = vec!["tenure.events.0".into(), "tenure.events.1".into()];
    first.leads_relay = true;
    record(store, &first, never, never).await;
    assert_eq!(store.workers().await.unwrap(), [first.clone(), later.clone()]);
    first.lanes.clear();
    (first.leads_relay, first.leads_webhooks) = (false, true);
    record(store, &first, never, never).await;
    assert_eq!(store.workers().await.unwrap(), [first, later]);

    store.remove_worker("a").await.unwrap();
    store.remove_worker("nobody").await.unwrap();
    assert_eq!(names(store).await, ["b 'ü'"]);
    assert_eq!(store.remove_workers().await.unwrap(), 1);
    assert_eq!(store.remove_workers().await.unwrap(), 0);
}

pub async fn a_worker_removes_those_that_are_no_longer_listed_or_replaced(fresh: Fresh) {
    let store = &*fresh.store;
    let never = moment(-1);
    for (name, host, seen) in [
        ("old", "z", 1),
        ("older", "a", 1),
        ("crashed", "a", 5),
        ("another on this host", "a", 8),
        ("on another host", "b", 5),
    ] {
        record(store, &worker(name, host, seen), never, never).await;
    }
    // Its own record is older than everything that it removes.
    let returned = worker("returned", "a", 0);
    record(store, &returned, moment(2), moment(6)).await;
    record(store, &returned, moment(2), moment(6)).await;
    assert_eq!(
        names(store).await,
        ["returned", "on another host", "another on this host"]
    );
}
