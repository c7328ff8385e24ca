//! How fast batches are written. Not a test: `cargo test --release --test all speed -- --ignored --nocapture`.

use std::time::Instant;

use serde_json::json;
use tenure::domain::{ClientKey, Sweep};
use tenure::store::{Store, Touch, TouchWrite};

use super::Fresh;
use super::given::*;

const BATCHES: usize = 40;
const SIZE: usize = 1_000;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn on_postgres() {
    measure(&*Fresh::postgres("speed").await.store).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn on_sqlite() {
    measure(&*Fresh::sqlite("speed").await.store).await;
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
async fn measure(store: &dyn Store) {
    let keys = |batch: usize| -> Vec<ClientKey> {
        (0..SIZE)
            .map(|n| key(&format!("c-{:06}", batch * SIZE + n)))
            .collect()
    };
    let started = Instant::now();
    for batch in 0..BATCHES {
        store_new(store, &keys(batch), batch).await;
    }
    let rate = |seconds: f64| (BATCHES * SIZE) as f64 / seconds;
    println!(
        "{}: {:.0} new clients/s",
        store.kind(),
        rate(started.elapsed().as_secs_f64())
    );
    let started = Instant::now();
    for batch in 0..BATCHES {
        store_next(store, &keys(batch), batch).await;
    }
    println!(
        "{}: {:.0} events/s",
        store.kind(),
        rate(started.elapsed().as_secs_f64())
    );
    let started = Instant::now();
    for batch in 0..BATCHES {
        store_touches(store, &keys(batch)).await;
    }
    println!(
        "{}: {:.0} touches/s",
        store.kind(),
        rate(started.elapsed().as_secs_f64())
    );
    let started = Instant::now();
    let mut lines = 0;
    loop {
        let next = store.relay_next(1_000).await.unwrap();
        let Some(last) = next.last() else { break };
        lines += next.len();
        store.relay_done(last.cursor).await.unwrap();
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{}: {:.0} of {lines} lines relayed/s",
        store.kind(),
        lines as f64 / seconds
    );
}

/// An event each for clients that nobody knows.
async fn store_new(store: &dyn Store, keys: &[ClientKey], batch: usize) {
    let mut transaction = store.begin().await.unwrap();
    assert!(transaction.lock(keys, false).await.unwrap().is_empty());
    let mut written = commit();
    for key in keys {
        let added = added(key, &format!("{batch}/{key}"), 0, &key.client);
        written
            .clients
            .push(write(key, client(std::slice::from_ref(&added)), 0));
        written.events.push(applied(added));
        written.journal.extend([entry(key, "1"), entry(key, "2")]);
        written
            .deadlines_set
            .push((key.clone(), Sweep::StalledInvitations, moment(1)));
    }
    transaction.commit(&written).await.unwrap();
}

/// An event each for clients that are there, and lines of the journal and a deadline with it.
async fn store_next(store: &dyn Store, keys: &[ClientKey], batch: usize) {
    let mut transaction = store.begin().await.unwrap();
    let seen = transaction.lock(keys, false).await.unwrap();
    assert_eq!(seen.len(), keys.len());
    let mut written = commit();
    for stored in seen {
        let key = stored.key;
        let invited = event(
            &key,
            &format!("{batch}/{key}/i"),
            5,
            kind("client.invited", &json!({})),
        );
        written
            .clients
            .push(write(&key, stored.document.client, stored.version));
        written.events.push(applied(invited));
        written.journal.extend([entry(&key, "1"), entry(&key, "2")]);
        written
            .deadlines_set
            .push((key, Sweep::StalledInvitations, moment(2)));
    }
    transaction.commit(&written).await.unwrap();
}

async fn store_touches(store: &dyn Store, keys: &[ClientKey]) {
    let mut transaction = store.begin().await.unwrap();
    let seen = transaction.lock(keys, false).await.unwrap();
    let mut written = commit();
    for stored in seen {
        let mut open = stored.touches;
        open.insert(Touch {
            time: moment(9),
            sequence: None,
        });
        written.touches.push(TouchWrite {
            key: stored.key,
            open,
            closed: None,
        });
    }
    transaction.commit(&written).await.unwrap();
}
