//! Changes that a clock published ahead of time are found and corrected once the clock is right.

use std::sync::Arc;

use chrono::TimeDelta;
use tenure::clock::SimulatedClock;
use tenure::domain::access::AccessStatus;
use tenure::domain::{ClientKey, EventKind, Sweep};
use tenure::engine::{
    AheadCorrection, Engine, JournalLine, ListRequest, Reference, Scope, SweepMode, SweepOptions,
};
use tenure::store::Store;

use super::ahead::{expired, jobs_counted};
use crate::engine::breaker::{clients, of};
use crate::engine::policies::{accessed, day, event, idle, ingest};
use crate::engine::setup::on_both_stores;
use crate::store::Fresh;

struct World {
    fresh: Fresh,
    clock: Arc<SimulatedClock>,
}

impl World {
    /// Adds clients that have access since day 0; then a worker whose clock is 70 days ahead sweeps.
    async fn new(fresh: Fresh, count: usize) -> Self {
        let clock = Arc::new(SimulatedClock::at(day(0)));
        let world = Self { fresh, clock };
        let engine = world.engine().await;
        clients(&engine, count, 0).await;
        world.clock.set(day(70));
        engine.record_now().await.expect("noted");
        expire(&engine).await;
        assert_eq!(
            expired(&*world.fresh.store).await,
            i64::try_from(count).expect("few")
        );
        let verified = engine.verify(|_| {}).await.expect("a verification");
        assert_eq!(verified.drifts, [], "by its own clock it is consistent");
        // The clock is right again, and a worker starts.
        world.clock.set(day(3));
        world
    }

    async fn engine(&self) -> Engine {
        Engine::join(self.fresh.store.clone(), self.clock.clone(), &idle(60))
            .await
            .expect("an engine")
    }

    fn store(&self) -> &dyn Store {
        &*self.fresh.store
    }
}

/// Runs the sweep of idle access, without the breaker.
async fn expire(engine: &Engine) {
    engine
        .sweep(
            Sweep::AccessExpiry,
            SweepOptions::new(SweepMode::Confirmed),
            |_| {},
        )
        .await
        .expect("swept");
}

async fn last_change(engine: &Engine, number: usize) -> JournalLine {
    let key: ClientKey = of(number, accessed(day(0))).key;
    let lines = engine.journal(&key, 0, 1_000).await.expect("a journal");
    let access = |line: &&JournalLine| line.kind.starts_with("access.e") && line.kind != "access.expiring";
    lines.iter().rev().find(access).expect("a line").clone()
}

async fn enabled(engine: &Engine) -> usize {
    let all = engine.clients(&ListRequest::default()).await.expect("a list");
    all.iter()
        .filter(|client| client.access == AccessStatus::Enabled)
        .count()
}

async fn is_right(engine: &Engine, count: usize) {
    assert_eq!(enabled(engine).await, count);
    for number in 0..count {
        let last = last_change(engine, number).await;
        assert_eq!(
            (last.kind.as_str(), last.correction),
            ("access.enabled", true),
            "{last:?}"
        );
    }
    let verified = engine.verify(|_| {}).await.expect("a verification");
    assert_eq!(verified.drifts, []);
}

async fn a_worker_corrects_timers_that_fired_ahead(fresh: Fresh) {
    let world = World::new(fresh, 20).await;
    let engine = world.engine().await;
    assert_eq!(enabled(&engine).await, 20, "the answer goes by the clock");
    assert_eq!(last_change(&engine, 0).await.kind, "access.expired");
    let verified = engine.verify(|_| {}).await.expect("a verification");
    assert_eq!(
        verified.drifts.len(),
        20,
        "they differ from the published changes"
    );

    assert_eq!(
        engine.correct_ahead().await.expect("an answer"),
        AheadCorrection::Corrected { clients: 20 }
    );
    is_right(&engine, 20).await;
    assert_eq!(
        engine.correct_ahead().await.expect("an answer"),
        AheadCorrection::NotNeeded,
        "once"
    );
    // When they are really due, the changes are published again.
    world.clock.set(day(61));
    expire(&engine).await;
    assert_eq!(last_change(&engine, 7).await.kind, "access.expired");
    assert_eq!(expired(world.store()).await, 20);
}

async fn more_clients_than_the_breaker_allows_wait_for_a_rebuild(fresh: Fresh) {
    let world = World::new(fresh, 120).await;
    let engine = world.engine().await;
    let held = engine.correct_ahead().await.expect("an answer");
    let AheadCorrection::Held { why } = &held else {
        panic!("{held:?}");
    };
    assert!(
        why.contains("120 of 120 clients") && why.contains("tenure rebuild"),
        "{why}"
    );
    assert_eq!(expired(world.store()).await, 120, "nothing is done unseen");
    let mut differed = 0;
    engine
        .rebuild(&Scope::default(), |one| {
            differed += usize::from(!one.differences.is_empty());
        })
        .await
        .expect("rebuilt");
    assert_eq!(differed, 120);
    is_right(&engine, 120).await;
    assert_eq!(
        engine.correct_ahead().await.expect("an answer"),
        AheadCorrection::NotNeeded
    );
}

async fn an_event_corrects_its_client(fresh: Fresh) {
    let world = World::new(fresh, 20).await;
    let engine = world.engine().await;
    jobs_counted(&engine, 3).await;
    ingest(&engine, [of(4, accessed(day(3)))]).await;
    for number in [0, 1, 2, 4] {
        let last = last_change(&engine, number).await;
        assert_eq!(
            (last.kind.as_str(), last.correction),
            ("access.enabled", true),
            "{last:?}"
        );
    }
    assert_eq!(
        engine.correct_ahead().await.expect("an answer"),
        AheadCorrection::Corrected { clients: 16 }
    );
    is_right(&engine, 20).await;
}

/// A clock that is behind sees the present of others as ahead of now. What they did is right.
async fn a_clock_that_is_behind_corrects_nothing(fresh: Fresh) {
    let clock = Arc::new(SimulatedClock::at(day(0)));
    let world = World { fresh, clock };
    let engine = world.engine().await;
    clients(&engine, 20, 0).await;
    world.clock.set(day(70));
    ingest(&engine, [of(30, crate::engine::policies::active()[0].clone())]).await;
    let late = of(
        31,
        tenure::domain::Event {
            time: day(70),
            ..crate::engine::policies::active()[0].clone()
        },
    );
    ingest(&engine, [late]).await;
    engine.record_now().await.expect("noted");
    expire(&engine).await;

    world.clock.set(day(70) - TimeDelta::days(30));
    let engine = world.engine().await;
    let held = engine.correct_ahead().await.expect("an answer");
    assert!(
        matches!(&held, AheadCorrection::Held { why } if why.contains("this clock is behind")),
        "{held:?}"
    );
    assert_eq!(expired(world.store()).await, 20);
}

/// Nothing is ahead of the present, whatever this worker's clock reads, while another clock shows that it is behind.
async fn a_clock_that_is_known_to_be_behind_takes_nothing_back(fresh: Fresh) {
    let clock = Arc::new(SimulatedClock::at(day(0)));
    let world = World { fresh, clock };
    let running = world.engine().await;
    clients(&running, 20, 0).await;
    world.clock.set(day(70));
    expire(&running).await;
    // The running worker knows how much time has passed; one that starts now asks the database.
    world.clock.jump(day(50));
    let started = world.engine().await;
    let elapsed = started.clock().elapsed();
    started
        .clock()
        .compare(Reference::Database, day(70), elapsed, elapsed, TimeDelta::zero());
    for (number, engine) in [&running, &started].into_iter().enumerate() {
        let late = event(
            day(2 + i64::try_from(number).expect("few")),
            EventKind::AccountUpdated {},
        );
        ingest(engine, (0..10).map(|number| of(number, late.clone()))).await;
        assert_eq!(expired(world.store()).await, 20);
        assert_eq!(last_change(engine, 0).await.kind, "access.expired");
        let verified = engine.verify(|_| {}).await.expect("a verification");
        assert_eq!(verified.drifts, []);
    }
}

on_both_stores!(
    a_clock_that_is_known_to_be_behind_takes_nothing_back,
    a_worker_corrects_timers_that_fired_ahead,
    more_clients_than_the_breaker_allows_wait_for_a_rebuild,
    an_event_corrects_its_client,
    a_clock_that_is_behind_corrects_nothing
);
