//! Halts during a run: they take effect at the next chunk, and stop the timers that events fire.

use std::sync::Arc;

use tenure::clock::SimulatedClock;
use tenure::domain::{EventKind, Name, Sweep};
use tenure::engine::{Engine, Incoming, Outcome, SweepMode, SweepOptions, SweepReport};
use tenure::store::{Clients, Halt, HaltKind, Halts, RunStatus, Store, Sweeps};
use tokio::runtime::Handle;

use super::breaker::clients;
use super::policies::{World, active, day, event, idle, ingest, key};
use crate::store::Fresh;

const WHY: &str = "the books are closed";

fn halt(kind: HaltKind) -> Halt {
    Halt {
        sweep: Sweep::AccessExpiry,
        kind,
        at: day(61),
        why: WHY.into(),
    }
}

/// Sixty clients whose access is due to expire: too few for the breaker.
async fn with_due_clients() -> (World, Engine) {
    let world = World::new().await;
    let engine = world.engine(&idle(60)).await;
    clients(&engine, 60, 0).await;
    world.clock.set(day(61));
    (world, engine)
}

/// A worker's sweep for the tick of day 61, ten clients at a time.
fn scheduled() -> SweepOptions {
    SweepOptions {
        worker: "second".into(),
        chunk: 10,
        ..SweepOptions::new(SweepMode::Scheduled { tick: day(61) })
    }
}

#[tokio::test]
async fn each_chunk_of_a_sweep_waits_for_a_relay_that_lags_and_then_goes_on() {
    let (_world, engine) = with_due_clients().await;
    engine.report_relay_lag(true);
    let report = engine
        .sweep(Sweep::AccessExpiry, scheduled(), |_| {})
        .await
        .expect("a sweep");
    assert_eq!(report.counts.changed, 60);
    assert_eq!(engine.relay_waits(), 6, "once for each chunk");
}

/// Sweeps, and halts the sweep after its second chunk.
async fn halted_after_two_chunks(
    store: &dyn Store,
    engine: &Engine,
    options: SweepOptions,
    kind: HaltKind,
) -> SweepReport {
    let mut chunks = 0;
    let seen = |_: &[_]| {
        chunks += 1;
        if chunks == 2 {
            let halt = halt(kind);
            let halting = store.halt(&halt);
            tokio::task::block_in_place(|| Handle::current().block_on(halting)).expect("a halt");
        }
    };
    let swept = engine.sweep(Sweep::AccessExpiry, options, seen).await;
    swept.expect("a sweep")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_between_two_chunks_stops_a_joined_run() {
    let (world, engine) = with_due_clients().await;
    let run = world
        .store
        .start_run(Sweep::AccessExpiry, day(61), day(61), "first")
        .await
        .expect("a run");
    let report = halted_after_two_chunks(&*world.store, &engine, scheduled(), HaltKind::Paused).await;
    assert_eq!((report.counts.changed, report.stopped), (20, true));
    assert_eq!(report.tripped, None, "a pause is not a trip");
    let runs = world.store.runs(None, 9).await.expect("runs");
    assert_eq!((runs.len(), runs[0].id, &*runs[0].worker), (1, run.id, "first"));
    assert_eq!(
        (runs[0].status, runs[0].upto, runs[0].counts.changed),
        (RunStatus::Stopped, None, 20)
    );

    resume_and_sweep_the_rest(&*world.store, &engine, 40).await;
}

/// Lifts the pause: the run continues where it was stopped.
async fn resume_and_sweep_the_rest(store: &dyn Store, engine: &Engine, rest: i64) {
    let resumed = store.resume(Sweep::AccessExpiry, HaltKind::Paused).await;
    assert!(resumed.expect("an answer"));
    let report = engine
        .sweep(Sweep::AccessExpiry, scheduled(), |_| {})
        .await
        .expect("a sweep");
    assert_eq!((report.counts.changed, report.stopped), (rest, false));
    let runs = store.runs(None, 9).await.expect("runs");
    assert_eq!(
        (runs.len(), runs[0].status, runs[0].counts.changed),
        (1, RunStatus::Done, 60)
    );
}

/// On PostgreSQL two chunks run at once: when the pause comes, the second one is finished, and no other begins.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_on_postgres_stops_a_run_after_the_concurrent_chunk() {
    let fresh = Fresh::postgres("halts").await;
    let clock = Arc::new(SimulatedClock::at(day(0)));
    let engine = Engine::start(fresh.store.clone(), clock.clone(), &idle(60))
        .await
        .expect("an engine");
    clients(&engine, 60, 0).await;
    clock.set(day(61));
    let report = halted_after_two_chunks(&*fresh.store, &engine, scheduled(), HaltKind::Paused).await;
    let changed = report.counts.changed;
    assert!(report.stopped && [20, 30].contains(&changed), "{report:?}");
    let runs = fresh.store.runs(None, 9).await.expect("runs");
    assert_eq!((runs[0].status, runs[0].upto), (RunStatus::Stopped, None));
    assert_eq!(runs[0].counts, report.counts);

    resume_and_sweep_the_rest(&*fresh.store, &engine, 60 - changed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trip_between_two_chunks_stops_a_joined_run() {
    let (world, engine) = with_due_clients().await;
    let joined = world
        .store
        .start_run(Sweep::AccessExpiry, day(61), day(61), "first")
        .await;
    joined.expect("a run");
    let report = halted_after_two_chunks(&*world.store, &engine, scheduled(), HaltKind::Tripped).await;
    assert_eq!(
        (report.counts.changed, report.tripped.as_deref()),
        (20, Some(WHY))
    );
    let runs = world.store.runs(None, 9).await.expect("runs");
    assert_eq!((runs.len(), runs[0].status), (1, RunStatus::Tripped));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_does_not_stop_a_sweep_by_hand() {
    let (world, engine) = with_due_clients().await;
    let by_hand = SweepOptions {
        mode: SweepMode::ByHand,
        ..scheduled()
    };
    let report = halted_after_two_chunks(&*world.store, &engine, by_hand, HaltKind::Paused).await;
    assert_eq!((report.counts.changed, report.stopped), (60, false));
}

/// The scheduler of another worker may trip over the changes of a confirmed run; a pause is independent of that.
#[tokio::test(flavor = "multi_thread")]
async fn a_confirmed_sweep_lifts_a_trip_and_leaves_a_pause() {
    let (world, engine) = with_due_clients().await;
    let paused = halt(HaltKind::Paused);
    world.store.halt(&paused).await.expect("a halt");
    world.store.halt(&halt(HaltKind::Tripped)).await.expect("a halt");
    let confirmed = SweepOptions {
        mode: SweepMode::Confirmed,
        ..scheduled()
    };
    let report = halted_after_two_chunks(&*world.store, &engine, confirmed, HaltKind::Tripped).await;
    assert_eq!((report.counts.changed, report.tripped), (60, None));
    assert_eq!(world.store.halts().await.expect("halts"), [paused]);
}

async fn published(world: &World) -> Vec<&'static str> {
    let lines = world.store.journal(&key(), 0, 1_000).await.expect("a journal");
    lines
        .iter()
        .map(|line| line.entry.change.kind().as_str())
        .collect()
}

fn renamed(at: i64, name: &str) -> Incoming {
    let name = Name::try_from(name.to_owned()).expect("a name");
    Incoming::Event(event(day(at), EventKind::ClientRenamed { name }))
}

/// Halting only the sweep would not be enough: an event fires the due timers of its client.
#[tokio::test]
async fn no_timer_fires_with_an_event_until_the_sweep_is_resumed() {
    for kind in [HaltKind::Paused, HaltKind::Tripped] {
        let world = World::new().await;
        let engine = world.engine(&idle(60)).await;
        ingest(&engine, active()).await;
        world.store.halt(&halt(kind)).await.expect("a halt");
        world.clock.set(day(70));
        let late = engine.ingest(vec![renamed(2, "Bakery & Sons")]).await;
        assert_eq!(late.expect("ingested"), [Outcome::Applied]);
        let lines = published(&world).await;
        assert_eq!(lines.last(), Some(&"client.renamed"), "{kind:?}: {lines:?}");
        assert!(
            lines.iter().all(|line| !line.starts_with("access.expir")),
            "{kind:?}: {lines:?}"
        );
        // The access decision does not wait.
        assert!(
            !engine
                .decide(&key(), None, None)
                .await
                .expect("a decision")
                .allowed
        );

        world
            .store
            .resume(Sweep::AccessExpiry, kind)
            .await
            .expect("resumed");
        world.clock.set(day(71));
        engine.ingest(vec![renamed(3, "Bakery")]).await.expect("ingested");
        let lines = published(&world).await;
        assert_eq!(lines.last(), Some(&"access.expired"), "{kind:?}: {lines:?}");
        let verified = engine.verify(|_| {}).await.expect("a verification");
        assert!(verified.drifts.is_empty(), "{:#?}", verified.drifts);
    }
}
