//! Loads events into a store through Tenure's engine before a measurement.

use std::sync::Arc;

use tenure::clock::SimulatedClock;
use tenure::domain::{Event, Policy};
use tenure::engine::{Engine, Incoming};
use tenure::store::Store;

/// Events per transaction.
const BATCH: usize = 1_000;

/// Ingests events, oldest first. The clock follows them, so that timers fire between them.
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
        engine.ingest(incoming).await.expect("ingested");
    }
    store.close().await;
}
