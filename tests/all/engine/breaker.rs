//! The breaker: a sweep, or another policy, that would change too much at once waits for a person.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{Connection as _, Executor as _, PgConnection};
use tenure::clock::SimulatedClock;
use tenure::domain::{ClientKey, Event, Sweep};
use tenure::engine::{Adoption, Breaker, Engine, NOTICE, SweepOptions, SweepReport};
use tenure::store::postgres::{PostgresOptions, PostgresStore};
use tenure::store::{HaltKind, PolicyHistory, RunStatus, Sweeps, Verification};
use tokio_util::sync::CancellationToken;

use super::policies::{World, accessed, active, day, idle, ingest};
use crate::store::{Database, Fresh};

pub const BREAKER: Breaker = Breaker {
    percent: 20,
    clients: 100,
};

pub fn of(number: usize, event: Event) -> Event {
    let key = ClientKey::new("p", &format!("c{number}")).expect("a key");
    let mut event = Event {
        id: format!("{number}-{}", event.id).into(),
        key,
        ..event
    };
    if let tenure::domain::EventKind::ClientAdded { name, .. } = &mut event.kind {
        *name = format!("Bakery {number}").try_into().expect("a name");
    }
    event
}

/// So many clients whose access is enabled on day 0, of which some entered on day 40.
pub async fn clients(engine: &Engine, count: usize, touched: usize) {
    for number in 0..count {
        ingest(engine, active().into_iter().map(|event| of(number, event))).await;
    }
    ingest(engine, (0..touched).map(|number| of(number, accessed(day(40))))).await;
}

async fn sweep(engine: &Engine, breaker: Option<Breaker>) -> SweepReport {
    let options = SweepOptions {
        breaker,
        chunk: 50,
        ..SweepOptions::default()
    };
    engine
        .sweep(Sweep::AccessExpiry, options, |_| {})
        .await
        .expect("a sweep")
}

#[tokio::test]
async fn a_sweep_that_would_change_too_much_changes_nothing_until_confirmed() {
    let world = World::new().await;
    let engine = world.engine(&idle(60)).await;
    clients(&engine, 150, 0).await;
    world.clock.set(day(61));
    let before = world.store.census().await.expect("a census");

    let report = sweep(&engine, Some(BREAKER)).await;
    let why = report.tripped.expect("it trips");
    assert!(why.contains("of 150 clients at once"), "{why}");
    assert!(why.contains("tenure sweep access-expiry --confirm"), "{why}");
    assert_eq!(report.counts.changed, 0);
    assert_eq!(world.store.census().await.expect("a census"), before);
    let runs = world.store.runs(None, 9).await.expect("runs");
    assert_eq!(
        (runs.len(), runs[0].status, runs[0].upto),
        (1, RunStatus::Failed, None)
    );
    assert!(runs[0].error.as_deref().unwrap_or_default().contains(&why));

    // It waits, also when there would be less to do.
    world.clock.set(day(1));
    assert_eq!(sweep(&engine, Some(BREAKER)).await.tripped, Some(why));
    assert_eq!(
        world.store.runs(None, 9).await.expect("runs").len(),
        1,
        "and is not run again"
    );

    world.clock.set(day(61));
    let report = sweep(&engine, None).await;
    assert_eq!((report.tripped, report.counts.changed), (None, 150));
    assert_eq!(world.store.halts().await.expect("halts"), []);
    assert_eq!(sweep(&engine, Some(BREAKER)).await.tripped, None);
}

#[tokio::test]
async fn few_may_change_whatever_their_share_and_many_if_their_share_is_small() {
    let world = World::new().await;
    let engine = world.engine(&idle(60)).await;
    clients(&engine, 100, 0).await;
    world.clock.set(day(61));
    let report = sweep(&engine, Some(BREAKER)).await;
    assert_eq!((report.tripped, report.counts.changed), (None, 100));
}

#[tokio::test]
async fn deadlines_that_only_have_to_be_moved_are_no_changes() {
    // Nearly everybody entered since: their deadlines are due all the same.
    let world = World::new().await;
    let engine = world.engine(&idle(60)).await;
    clients(&engine, 150, 120).await;
    world.clock.set(day(61));
    let report = sweep(&engine, Some(BREAKER)).await;
    assert_eq!(report.tripped, None);
    assert_eq!((report.counts.examined, report.counts.changed), (150, 30));
}

/// Whoever works on a client at the moment holds its row. A look that left those out would count too few, and one that
/// waited for them would wait for as long as they are held.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_another_transaction_holds_are_counted_too() {
    let fresh = Fresh::postgres("breaker").await;
    let Database::Postgres(url) = &fresh.database else {
        unreachable!();
    };
    let options = PostgresOptions {
        lock_timeout: Duration::from_millis(200),
        ..PostgresOptions::default()
    };
    let store = Arc::new(PostgresStore::connect(url, &options).expect("a store"));
    let clock = Arc::new(SimulatedClock::at(day(0)));
    let engine = Engine::start(store.clone(), clock.clone(), &idle(60))
        .await
        .expect("an engine");
    // One more than may change.
    clients(&engine, 101, 0).await;
    clock.set(day(61));
    let before = store.census().await.expect("a census");
    let mut other = PgConnection::connect(url).await.expect("a connection");
    other
        .execute("begin; select 1 from clients where client = 'c57' for update")
        .await
        .expect("its lock");

    let report = sweep(&engine, Some(BREAKER)).await;
    let why = report.tripped.expect("it trips");
    assert!(why.contains("change 101 or more of 101 clients"), "{why}");
    assert_eq!(report.counts.changed, 0);
    assert_eq!(store.census().await.expect("a census"), before);
    let halts = store.halts().await.expect("halts");
    assert_eq!((halts.len(), halts[0].kind), (1, HaltKind::Tripped));

    other.execute("rollback").await.expect("no lock");
    let report = sweep(&engine, None).await;
    assert_eq!((report.tripped, report.counts.changed), (None, 101));
}

#[tokio::test]
async fn a_policy_that_would_change_too_much_waits_for_a_person() {
    let world = World::new().await;
    let engine = Arc::new(world.engine(&idle(60)).await);
    clients(&engine, 150, 0).await;
    world.clock.set(day(10));
    let adoption = engine
        .adopt(&idle(6), NOTICE, Some(&BREAKER))
        .await
        .expect("an answer");
    let Adoption::Held { why } = adoption else {
        panic!("{adoption:?}")
    };
    assert!(why.contains("150 of 150 clients"), "{why}");
    assert!(why.contains("tenure policy --confirm"), "{why}");
    assert!(engine.goes_by(&idle(60)).await.expect("an answer"));
    assert_eq!(world.store.policies().await.expect("policies").len(), 1);

    // One that expires nobody at once is no danger.
    let adoption = engine
        .adopt(&idle(30), NOTICE, Some(&BREAKER))
        .await
        .expect("an answer");
    assert_eq!(
        adoption,
        Adoption::Recorded {
            from: day(10) + NOTICE
        }
    );
    let adoption = engine.adopt(&idle(6), NOTICE, None).await.expect("an answer");
    assert!(matches!(adoption, Adoption::Recorded { .. }), "a person's word");

    // Deadlines are computed from where it was left off.
    let stop = CancellationToken::new();
    stop.cancel();
    assert_eq!(engine.backfill_deadlines(&stop).await.expect("armed"), 0);
    assert!(
        world
            .store
            .deadline_backfill()
            .await
            .expect("an answer")
            .is_some()
    );
    let another = world.engine(&idle(6)).await;
    assert_eq!(world.store.deadline_backfill().await.expect("an answer"), None);
    world.clock.set(day(11));
    let report = sweep(&another, Some(BREAKER)).await;
    assert!(report.tripped.is_some(), "the sweep is under the breaker as well");
    let halts = world.store.halts().await.expect("halts");
    assert_eq!(halts[0].kind, HaltKind::Tripped);
    assert_eq!(sweep(&another, None).await.counts.changed, 150);
    let verified = another.verify(|_| {}).await.expect("a verification");
    assert!(verified.drifts.is_empty(), "{:#?}", verified.drifts);
}
