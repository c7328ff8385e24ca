//! Policies that change, clocks that jump, and touches that are redelivered.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use tenure::clock::{Clock, SimulatedClock};
use tenure::domain::event::{AccessedBy, Channel, NameVerdict, Steps, Via};
use tenure::domain::{Actor, ClientKey, Event, EventKind, Name, Policy, Sweep};
use tenure::engine::{Adoption, AdoptionMode, Engine, Incoming, NOTICE, SweepMode, SweepOptions};
use tenure::store::sqlite::SqliteStore;
use tenure::store::{Clients, PolicyHistory, Sweeps, Transactions, Upkeep};

use super::wild::start;

pub fn day(days: i64) -> DateTime<Utc> {
    start() + TimeDelta::days(days)
}

pub fn key() -> ClientKey {
    ClientKey::new("p", "c").expect("a key")
}

pub fn event(at: DateTime<Utc>, kind: EventKind) -> Event {
    Event {
        source: "/s".into(),
        id: format!("{}-{}", at.timestamp_micros(), kind.type_name()).into(),
        key: key(),
        time: at,
        sequence: None,
        kind,
        actor: Actor::default(),
        name_verdict: NameVerdict::Open,
    }
}

pub fn accessed(at: DateTime<Utc>) -> Event {
    let by = AccessedBy::Partner;
    event(at, EventKind::AccountAccessed { by, user: None })
}

/// A client whose access is enabled on day 0.
pub fn active() -> Vec<Event> {
    let name = Name::try_from("Bakery".to_owned()).expect("a name");
    let (channel, steps) = (Channel::Standard, Steps::default());
    [
        EventKind::ClientAdded {
            name,
            imported: false,
        },
        EventKind::ClientInvited {
            channel,
            steps,
            commission_eligible: true,
        },
        EventKind::InvitationAccepted {},
        EventKind::OnboardingCompleted { via: Via::Invitation },
        EventKind::ConsentGranted {},
    ]
    .map(|kind| event(day(0), kind))
    .into()
}

pub struct World {
    _folder: tempfile::TempDir,
    pub store: Arc<SqliteStore>,
    pub clock: Arc<SimulatedClock>,
}

impl World {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Arc::new(SqliteStore::open(folder.path().join("tenure.db")));
        store.migrate().await.expect("migrated");
        let clock = Arc::new(SimulatedClock::at(day(0)));
        Self {
            _folder: folder,
            store,
            clock,
        }
    }

    /// An engine that records no policy.
    pub async fn read_only_engine(&self, policy: &Policy) -> Engine {
        Engine::open(self.store.clone(), self.clock.clone(), policy)
            .await
            .expect("an engine")
    }

    pub async fn engine(&self, policy: &Policy) -> Engine {
        Engine::start(self.store.clone(), self.clock.clone(), policy)
            .await
            .expect("an engine")
    }
}

/// Introduces a policy with the shortest notice.
pub async fn adopt(engine: &Engine, policy: &Policy, mode: AdoptionMode) -> Adoption {
    engine.adopt(policy, NOTICE, mode).await.expect("an adoption")
}

/// Ingests events in one batch.
pub async fn ingest(engine: &Engine, events: impl IntoIterator<Item = Event>) {
    let incoming = events.into_iter().map(Incoming::Event).collect();
    engine.ingest(incoming).await.expect("ingested");
}

async fn access(engine: &Engine, at: Option<DateTime<Utc>>) -> &'static str {
    engine
        .client(&key(), at)
        .await
        .expect("an answer")
        .expect("a client")
        .access
        .as_str()
}

async fn sweep(engine: &Engine) {
    for sweep in Sweep::ALL {
        engine
            .sweep(sweep, SweepOptions::new(SweepMode::Confirmed), |_| {})
            .await
            .expect("a sweep");
    }
    let verified = engine.verify(|_| {}).await.expect("a verification");
    assert!(verified.drifts.is_empty(), "{:#?}", verified.drifts);
}

pub fn idle(days: i64) -> Policy {
    Policy {
        access_idle: TimeDelta::days(days),
        ..Policy::default()
    }
}

#[tokio::test]
async fn a_shorter_policy_moves_deadlines_and_does_not_change_the_past() {
    let world = World::new().await;
    let engine = world.engine(&idle(60)).await;
    ingest(&engine, active()).await;
    world.clock.set(day(40));
    let engine = world.engine(&idle(30)).await;
    // It takes effect a few seconds from now. Until then, and for every earlier moment, the 60 days are in force.
    assert_eq!(access(&engine, None).await, "enabled");
    world.clock.set(day(41));
    let due = world
        .store
        .due(Sweep::AccessExpiry, world.clock.now(), None, 10)
        .await
        .expect("deadlines");
    assert_eq!(due.len(), 1, "the sweep finds it");
    sweep(&engine).await;
    assert_eq!(access(&engine, None).await, "expired");
    assert_eq!(access(&engine, Some(day(39))).await, "enabled");
}

#[tokio::test]
async fn a_policy_that_another_worker_records_is_noticed() {
    let world = World::new().await;
    let first = world.engine(&idle(60)).await;
    ingest(&first, active()).await;
    world.clock.set(day(1));
    let second = world.engine(&idle(20)).await;
    world.clock.set(day(30));
    assert_eq!(access(&second, None).await, "expired");
    assert_eq!(access(&first, None).await, "expired");
    ingest(&first, [accessed(day(29))]).await;
    sweep(&first).await;
    sweep(&second).await;
}

/// A transaction of several parts may take longer than the deadline backfill of a new policy waits.
#[tokio::test]
async fn a_long_transaction_uses_no_policy_cached_before_it() {
    let world = World::new().await;
    let engine = world.engine(&idle(60)).await;
    ingest(&engine, active()).await;
    // Without a deadline backfill.
    let (from, shorter) = (day(0) + TimeDelta::seconds(1), idle(20));
    let recorded = world.store.record_policy(from, &shorter, false).await;
    recorded.expect("recorded");
    let limits = world.store.batch_limits();
    assert!(limits.parts > 1);
    let many = i64::try_from(limits.events_per_part).expect("a number") + 1;
    let renamed = (1..=many).map(|second| {
        let name = Name::try_from(format!("Mill {second}")).expect("a name");
        event(
            day(0) + TimeDelta::seconds(second),
            EventKind::ClientRenamed { name },
        )
    });
    ingest(&engine, renamed).await;
    let due = world.store.due(Sweep::AccessExpiry, day(25), None, 10);
    assert_eq!(due.await.expect("deadlines").len(), 1);
}

#[tokio::test]
async fn a_policy_takes_effect_after_the_clock_was_set_back() {
    let world = World::new().await;
    world.clock.set(day(100));
    drop(world.engine(&idle(60)).await);
    drop(world.engine(&idle(50)).await);
    world.clock.set(day(10));
    drop(world.engine(&idle(40)).await);
    drop(world.engine(&idle(40)).await);
    let recorded = world.store.policies().await.expect("policies");
    let idles: Vec<i64> = recorded
        .iter()
        .map(|(_, policy)| policy.access_idle.num_days())
        .collect();
    // The policy that was recorded ahead would take effect in 90 days, and delay the last one.
    assert_eq!(idles, [60, 60, 40]);
    assert!(recorded[2].0 < day(11), "{recorded:?}");
}

#[tokio::test]
async fn a_joining_engine_records_no_second_policy() {
    let world = World::new().await;
    drop(world.engine(&idle(60)).await);
    for look in 0..2 {
        let policy = idle(10 + look);
        let engine = Engine::join(world.store.clone(), world.clock.clone(), &policy)
            .await
            .expect("an engine");
        assert!(!engine.is_latest_policy(&policy).await.expect("an answer"));
    }
    assert_eq!(world.store.policies().await.expect("policies").len(), 1);
}

#[tokio::test]
async fn a_touch_after_a_warning_moves_the_deadline_to_the_next_warning() {
    // The next warning after the touch is due before the expiry that the deadline was set for.
    let world = World::new().await;
    let engine = world.engine(&idle(16)).await;
    ingest(&engine, active()).await;
    world.clock.set(day(3));
    sweep(&engine).await;
    ingest(&engine, [accessed(day(3) + TimeDelta::hours(1))]).await;
    let next = day(5) + TimeDelta::hours(1);
    let due = world
        .store
        .due(Sweep::AccessExpiry, next, None, 10)
        .await
        .expect("deadlines");
    assert_eq!(due.len(), 1, "the 14-day warning is due at {next}");
}

#[tokio::test]
async fn redelivered_touches_are_stored_once() {
    let world = World::new().await;
    let engine = world.engine(&idle(60)).await;
    world.clock.set(day(400));
    ingest(&engine, active()).await;
    let touches: Vec<Event> = (1..600)
        .map(|hour| accessed(day(0) + TimeDelta::hours(hour)))
        .collect();
    for batch in touches.chunks(50) {
        ingest(&engine, batch.iter().cloned()).await;
    }
    let stored = world.store.history(&key()).await.expect("a history").len();
    assert_eq!(stored, 5 + touches.len());
    for batch in touches.chunks(70).rev() {
        ingest(&engine, batch.iter().rev().cloned()).await;
    }
    assert_eq!(
        world.store.history(&key()).await.expect("a history").len(),
        stored
    );
    sweep(&engine).await;
}

#[tokio::test]
async fn a_sweep_as_of_a_future_moment_does_not_change_the_present() {
    let world = World::new().await;
    let engine = world.engine(&idle(60)).await;
    ingest(&engine, active()).await;
    let ahead = SweepOptions {
        as_of: Some(day(100)),
        ..SweepOptions::new(SweepMode::Confirmed)
    };
    let report = engine
        .sweep(Sweep::AccessExpiry, ahead, |_| {})
        .await
        .expect("a sweep");
    assert_eq!(report.counts.changed, 1);
    world.clock.set(day(10));
    assert_eq!(access(&engine, None).await, "enabled", "it is not due yet");
    assert!(
        engine
            .decide(&key(), None, None)
            .await
            .expect("a decision")
            .allowed
    );
    // A touch meanwhile corrects it.
    ingest(&engine, [accessed(day(10))]).await;
    assert_eq!(access(&engine, None).await, "enabled");
    assert_eq!(access(&engine, Some(day(69))).await, "enabled");
}
