//! The breaker: a sweep or a policy that would change too much at once waits for a person.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{Connection as _, Executor as _, PgConnection};
use tenure::clock::SimulatedClock;
use tenure::domain::{ClientKey, Event, Policy, Sweep};
use tenure::engine::{
    Adoption, AdoptionMode, Engine, NOTICE, PolicyImpact, SweepMode, SweepOptions, SweepReport,
};
use tenure::store::postgres::{PostgresOptions, PostgresStore};
use tenure::store::{HaltKind, Halts, PolicyHistory, RunStatus, Sweeps, Verification};
use tokio_util::sync::CancellationToken;

use super::policies::{World, accessed, active, adopt, day, idle, ingest};
use crate::store::{Database, Fresh};

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

/// Adds clients whose access is enabled on day 0. Some of them have a touch on day 40.
pub async fn clients(engine: &Engine, count: usize, touched: usize) {
    for number in 0..count {
        ingest(engine, active().into_iter().map(|event| of(number, event))).await;
    }
    ingest(engine, (0..touched).map(|number| of(number, accessed(day(40))))).await;
}

async fn sweep(engine: &Engine, mode: SweepMode) -> SweepReport {
    let options = SweepOptions {
        chunk: 50,
        ..SweepOptions::new(mode)
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

    let report = sweep(&engine, SweepMode::ByHand).await;
    let why = report.tripped.expect("it trips");
    assert!(why.contains("of 150 clients at once"), "{why}");
    assert!(why.contains("tenure sweep confirm access-expiry"), "{why}");
    assert_eq!(report.counts.changed, 0);
    assert_eq!(world.store.census().await.expect("a census"), before);
    let runs = world.store.runs(None, 9).await.expect("runs");
    assert_eq!(
        (runs.len(), runs[0].status, runs[0].upto),
        (1, RunStatus::Tripped, None)
    );
    assert!(runs[0].error.as_deref().unwrap_or_default().contains(&why));

    // It stays tripped when there is less to change.
    world.clock.set(day(1));
    assert_eq!(sweep(&engine, SweepMode::ByHand).await.tripped, Some(why));
    assert_eq!(
        world.store.runs(None, 9).await.expect("runs").len(),
        1,
        "it does not run again"
    );

    world.clock.set(day(61));
    let report = sweep(&engine, SweepMode::Confirmed).await;
    assert_eq!((report.tripped, report.counts.changed), (None, 150));
    assert_eq!(world.store.halts().await.expect("halts"), []);
    assert_eq!(sweep(&engine, SweepMode::ByHand).await.tripped, None);
}

#[tokio::test]
async fn a_sweep_within_the_number_of_clients_may_change_all_of_them() {
    let world = World::new().await;
    let engine = world.engine(&idle(60)).await;
    clients(&engine, 100, 0).await;
    world.clock.set(day(61));
    let report = sweep(&engine, SweepMode::ByHand).await;
    assert_eq!((report.tripped, report.counts.changed), (None, 100));
}

#[tokio::test]
async fn deadlines_that_only_move_do_not_count_as_changes() {
    // Most clients were touched since, but their deadlines are due.
    let world = World::new().await;
    let engine = world.engine(&idle(60)).await;
    clients(&engine, 150, 120).await;
    world.clock.set(day(61));
    let report = sweep(&engine, SweepMode::ByHand).await;
    assert_eq!(report.tripped, None);
    assert_eq!((report.counts.examined, report.counts.changed), (150, 30));
}

/// A preview that skipped locked clients would count too few, and one that waited for them could wait for a long time.
#[tokio::test(flavor = "multi_thread")]
async fn the_breaker_counts_clients_that_another_transaction_has_locked_on_postgres() {
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
    // One more than the breaker allows.
    clients(&engine, 101, 0).await;
    clock.set(day(61));
    let before = store.census().await.expect("a census");
    let mut other = PgConnection::connect(url).await.expect("a connection");
    other
        .execute("begin; select 1 from clients where client = (select number from client_keys where client = 'c57') for update")
        .await
        .expect("its lock");

    let report = sweep(&engine, SweepMode::ByHand).await;
    let why = report.tripped.expect("it trips");
    assert!(why.contains("change 101 or more of 101 clients"), "{why}");
    assert_eq!(report.counts.changed, 0);
    assert_eq!(store.census().await.expect("a census"), before);
    let halts = store.halts().await.expect("halts");
    assert_eq!((halts.len(), halts[0].kind), (1, HaltKind::Tripped));

    other.execute("rollback").await.expect("no lock");
    let report = sweep(&engine, SweepMode::Confirmed).await;
    assert_eq!((report.tripped, report.counts.changed), (None, 101));
}

/// What a policy would change at once. None: it is in effect.
async fn impact_of(engine: &Engine, policy: &Policy) -> Option<PolicyImpact> {
    let change = engine.policy_change(policy, NOTICE).await.expect("an answer")?;
    Some(engine.policy_impact(&change).await.expect("an answer"))
}

/// The preview of a policy and its adoption withdraw the same policies: the impact is that of the policies which then remain.
#[tokio::test]
async fn the_impact_of_a_policy_leaves_out_policies_that_it_withdraws() {
    let world = World::new().await;
    let engine = world.engine(&idle(60)).await;
    clients(&engine, 3, 0).await;
    // A clock that is ahead records a policy.
    world.clock.set(day(300));
    let ahead = adopt(&engine, &idle(56), AdoptionMode::Confirmed).await;
    let Adoption::Recorded { from } = ahead else {
        panic!("{ahead:?}")
    };
    world.clock.set(day(40));
    let engine = world.read_only_engine(&idle(60)).await;
    for (policy, changed) in [(idle(30), 3), (idle(56), 0)] {
        let change = engine
            .policy_change(&policy, NOTICE)
            .await
            .expect("an answer")
            .expect("a change");
        assert_eq!(change.withdrawn, [from]);
        assert_eq!(change.latest, idle(60), "the policy in effect");
        let impact = engine.policy_impact(&change).await.expect("an answer");
        assert_eq!((impact.changed, impact.population), (changed, 3), "{policy:?}");
    }
    let adopted = adopt(&engine, &idle(30), AdoptionMode::Confirmed).await;
    assert_eq!(
        adopted,
        Adoption::Recorded {
            from: day(40) + NOTICE
        }
    );
    let recorded = engine.recorded_policies().await.expect("policies");
    let idles: Vec<_> = recorded
        .iter()
        .map(|(_, policy)| policy.access_idle.num_days())
        .collect();
    assert_eq!(idles, [60, 60, 30]);
    assert_eq!(
        engine.policy_change(&idle(30), NOTICE).await.expect("an answer"),
        None
    );
}

#[tokio::test]
async fn a_policy_that_would_change_too_much_waits_for_a_person() {
    let world = World::new().await;
    let engine = Arc::new(world.engine(&idle(60)).await);
    clients(&engine, 150, 0).await;
    world.clock.set(day(10));
    let adoption = adopt(&engine, &idle(6), AdoptionMode::Automatic).await;
    let impact = impact_of(&engine, &idle(6)).await;
    let Adoption::Held { why, first } = adoption else {
        panic!("{adoption:?}")
    };
    assert_eq!(first.len(), 10);
    assert_eq!(
        first[..3].iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["p/c0", "p/c1", "p/c10"]
    );
    let expected = PolicyImpact {
        changed: 150,
        population: 150,
        first,
        exceeds: true,
    };
    assert_eq!(impact, Some(expected));
    let same = impact_of(&engine, &idle(60)).await;
    assert_eq!(same, None, "it is in effect");
    let nobody = impact_of(&engine, &idle(30)).await;
    assert_eq!(
        nobody.map(|impact| (impact.changed, impact.exceeds)),
        Some((0, false))
    );
    assert!(why.contains("150 of 150 clients"), "{why}");
    assert!(!why.contains("p/c0"), "{why}: /readyz needs no token");
    assert!(why.contains("tenure policy apply"), "{why}");
    assert!(engine.is_latest_policy(&idle(60)).await.expect("an answer"));
    assert_eq!(world.store.policies().await.expect("policies").len(), 1);

    // A policy that expires no client at once is within bounds.
    let adoption = adopt(&engine, &idle(30), AdoptionMode::Automatic).await;
    assert_eq!(
        adoption,
        Adoption::Recorded {
            from: day(10) + NOTICE
        }
    );
    let adoption = adopt(&engine, &idle(6), AdoptionMode::Confirmed).await;
    assert!(
        matches!(adoption, Adoption::Recorded { .. }),
        "a person confirmed it"
    );

    // A stopped backfill continues where it stopped.
    let stop = CancellationToken::new();
    stop.cancel();
    assert_eq!(engine.backfill_deadlines(&stop).await.expect("a backfill"), 0);
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
    let report = sweep(&another, SweepMode::ByHand).await;
    assert!(report.tripped.is_some(), "the breaker bounds the sweep, too");
    let halts = world.store.halts().await.expect("halts");
    assert_eq!(halts[0].kind, HaltKind::Tripped);
    assert_eq!(sweep(&another, SweepMode::Confirmed).await.counts.changed, 150);
    let verified = another.verify(|_| {}).await.expect("a verification");
    assert!(verified.drifts.is_empty(), "{:#?}", verified.drifts);
}
