//! What is there before anything is measured: taken by Tenure's own engine, as it came about.

use std::sync::Arc;

use tenure::clock::SimulatedClock;
use tenure::domain::{Event, Policy};
use tenure::engine::{Engine, Incoming};
use tenure::store::Store;

/// Events in a transaction.
const BATCH: usize = 1_000;

/// Has a store take events, oldest first, by a clock that goes along with them: timers fire where they belong.
pub async fn into(store: Arc<dyn Store>, events: &[Event]) {
    let Some(first) = events.first() else { return };
    store.migrate().await.expect("the tables");
    let clock = Arc::new(SimulatedClock::at(first.time));
    let engine = Engine::start(store.clone(), clock.clone(), &Policy::default())
        .await
        .expect("an engine");
    for batch in events.chunks(BATCH) {
        clock.set(batch[batch.len() - 1].time);
        let incoming = batch.iter().cloned().map(Incoming::Event).collect();
        engine.ingest(incoming).await.expect("taken");
    }
    store.close().await;
}
