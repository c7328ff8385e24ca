//! Halts that come while something is under way: they hold at the next chunk, and beside every event.

use std::sync::Arc;

use tenure::clock::SimulatedClock;
use tenure::domain::{EventKind, Name, Sweep};
use tenure::engine::{Engine, Incoming, Outcome, SweepOptions, SweepReport};
use tenure::store::{Clients, Halt, HaltKind, RunStatus, Store, Sweeps};
use tokio::runtime::Handle;

use super::breaker::{BREAKER, clients};
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
async fn due() -> (World, Engine) {
    let world = World::new().await;
    let engine = world.engine(&idle(60)).await;
    clients(&engine, 60, 0).await;
    world.clock.set(day(61));
    (world, engine)
}

/// A worker's sweep for the tick of day 61, ten clients at a time.
fn of_a_tick() -> SweepOptions {
    SweepOptions {
        scheduled_at: Some(day(61)),
        breaker: Some(BREAKER),
        worker: "second".into(),
        chunk: 10,
        ..SweepOptions::default()
    }
}

#[tokio::test]
async fn a_sweep_leaves_the_relay_room_and_goes_on_without_it() {
    let (_world, engine) = due().await;
    engine.relay_is_behind(true);
    let began = std::time::Instant::now();
    let report = engine
        .sweep(Sweep::AccessExpiry, of_a_tick(), |_| {})
        .await
        .expect("a sweep");
    assert_eq!(report.counts.changed, 60);
    // Six chunks. A machine that is slow only makes it longer.
    assert!(
        began.elapsed() >= std::time::Duration::from_millis(6 * 200),
        "{:?}",
        began.elapsed()
    );
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
async fn a_pause_between_two_chunks_stops_a_run_that_was_joined() {
    let (world, engine) = due().await;
    let run = world
        .store
        .start_run(Sweep::AccessExpiry, day(61), day(61), "first")
        .await
        .expect("a run");
    let report = halted_after_two_chunks(&*world.store, &engine, of_a_tick(), HaltKind::Paused).await;
    assert_eq!((report.counts.changed, report.stopped), (20, true));
    assert_eq!(report.tripped, None, "that is the breaker's word");
    let runs = world.store.runs(None, 9).await.expect("runs");
    assert_eq!((runs.len(), runs[0].id, &*runs[0].worker), (1, run.id, "first"));
    assert_eq!(
        (runs[0].status, runs[0].upto, runs[0].counts.changed),
        (RunStatus::Failed, None, 20)
    );

    resumed_with_the_rest(&*world.store, &engine, 40).await;
}

/// Lifts the pause: the run goes on where it was stopped.
async fn resumed_with_the_rest(store: &dyn Store, engine: &Engine, rest: i64) {
    let resumed = store.resume(Sweep::AccessExpiry, HaltKind::Paused).await;
    assert!(resumed.expect("an answer"));
    let report = engine
        .sweep(Sweep::AccessExpiry, of_a_tick(), |_| {})
        .await
        .expect("a sweep");
    assert_eq!((report.counts.changed, report.stopped), (rest, false));
    let runs = store.runs(None, 9).await.expect("runs");
    assert_eq!(
        (runs.len(), runs[0].status, runs[0].counts.changed),
        (1, RunStatus::Done, 60)
    );
}

/// Two chunks are under way there: the one beside that which was halted after is seen through, and no other begins.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_on_postgres_stops_a_run_and_keeps_what_was_under_way() {
    let fresh = Fresh::postgres("halts").await;
    let clock = Arc::new(SimulatedClock::at(day(0)));
    let engine = Engine::start(fresh.store.clone(), clock.clone(), &idle(60))
        .await
        .expect("an engine");
    clients(&engine, 60, 0).await;
    clock.set(day(61));
    let report = halted_after_two_chunks(&*fresh.store, &engine, of_a_tick(), HaltKind::Paused).await;
    let changed = report.counts.changed;
    assert!(report.stopped && [20, 30].contains(&changed), "{report:?}");
    let runs = fresh.store.runs(None, 9).await.expect("runs");
    assert_eq!((runs[0].status, runs[0].upto), (RunStatus::Failed, None));
    assert_eq!(runs[0].counts, report.counts);

    resumed_with_the_rest(&*fresh.store, &engine, 60 - changed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trip_between_two_chunks_stops_a_run_that_was_joined() {
    let (world, engine) = due().await;
    let joined = world
        .store
        .start_run(Sweep::AccessExpiry, day(61), day(61), "first")
        .await;
    joined.expect("a run");
    let report = halted_after_two_chunks(&*world.store, &engine, of_a_tick(), HaltKind::Tripped).await;
    assert_eq!(
        (report.counts.changed, report.tripped.as_deref()),
        (20, Some(WHY))
    );
    let runs = world.store.runs(None, 9).await.expect("runs");
    assert_eq!((runs.len(), runs[0].status), (1, RunStatus::Failed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_does_not_stop_who_sweeps_by_hand() {
    let (world, engine) = due().await;
    let by_hand = SweepOptions {
        scheduled_at: None,
        ..of_a_tick()
    };
    let report = halted_after_two_chunks(&*world.store, &engine, by_hand, HaltKind::Paused).await;
    assert_eq!((report.counts.changed, report.stopped), (60, false));
}

/// Another worker's tick may trip over what a person is just doing; a pause is another matter.
#[tokio::test(flavor = "multi_thread")]
async fn a_trip_while_a_person_confirms_is_cleared_and_a_pause_stays() {
    let (world, engine) = due().await;
    let paused = halt(HaltKind::Paused);
    world.store.halt(&paused).await.expect("a halt");
    world.store.halt(&halt(HaltKind::Tripped)).await.expect("a halt");
    let confirmed = SweepOptions {
        scheduled_at: None,
        breaker: None,
        ..of_a_tick()
    };
    let report = halted_after_two_chunks(&*world.store, &engine, confirmed, HaltKind::Tripped).await;
    assert_eq!((report.counts.changed, report.tripped), (60, None));
    assert_eq!(world.store.halts().await.expect("halts"), [paused]);
}

async fn told(world: &World) -> Vec<&'static str> {
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

/// The sweep alone does not make it wait: an event of the client's would fire what is due along with it.
#[tokio::test]
async fn no_timer_fires_beside_an_event_until_the_sweep_is_resumed() {
    for kind in [HaltKind::Paused, HaltKind::Tripped] {
        let world = World::new().await;
        let engine = world.engine(&idle(60)).await;
        ingest(&engine, active()).await;
        world.store.halt(&halt(kind)).await.expect("a halt");
        world.clock.set(day(70));
        let late = engine.ingest(vec![renamed(2, "Bakery & Sons")]).await;
        assert_eq!(late.expect("taken"), [Outcome::Applied]);
        let lines = told(&world).await;
        assert_eq!(lines.last(), Some(&"client.renamed"), "{kind:?}: {lines:?}");
        assert!(
            lines.iter().all(|line| !line.starts_with("access.expir")),
            "{kind:?}: {lines:?}"
        );
        // The decision does not wait.
        assert!(!engine.decide(&key(), None).await.expect("a decision").allowed);

        world
            .store
            .resume(Sweep::AccessExpiry, kind)
            .await
            .expect("resumed");
        world.clock.set(day(71));
        engine.ingest(vec![renamed(3, "Bakery")]).await.expect("taken");
        let lines = told(&world).await;
        assert_eq!(lines.last(), Some(&"access.expired"), "{kind:?}: {lines:?}");
        let verified = engine.verify(|_| {}).await.expect("a verification");
        assert!(verified.drifts.is_empty(), "{:#?}", verified.drifts);
    }
}
