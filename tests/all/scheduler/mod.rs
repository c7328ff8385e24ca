//! The scheduler on a SQLite store: when sweeps and retention run, the ticks that a run covers, and how runs end.

mod freshness;
mod retention;
mod turns;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tempfile::TempDir;
use tenure::clock::{Clock, SimulatedClock};
use tenure::config::{Settings, SweepSettings};
use tenure::domain::event::NameVerdict;
use tenure::domain::{Actor, ClientKey, Event, EventKind, Policy, Sweep};
use tenure::engine::{Breaker, DEFAULT_TOLERANCE, Engine, Incoming, Outcome};
use tenure::scheduler::{ConsideredTick, Scheduler, TickOutcome, TickerError};
use tenure::store::sqlite::SqliteStore;
use tenure::store::{RunStatus, Store, SweepRun};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const HOURLY: &str = "0 * * * *";
const EVERY_SECOND: &str = "* * * * * *";

/// More than any wait in these tests takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn moment(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// Enables only access-expiry, on this cron line.
fn settings(cron: &str, chunk: u32) -> SweepSettings {
    let mut env = vec![
        ("TENURE_SWEEPS__ACCESS_EXPIRY__CRON".to_owned(), cron.to_owned()),
        ("TENURE_SWEEPS__CHUNK".to_owned(), chunk.to_string()),
    ];
    for other in Sweep::ALL.map(Sweep::as_str) {
        if other != Sweep::AccessExpiry.as_str() {
            env.push((format!("TENURE_SWEEPS__{other}__ENABLED"), "false".to_owned()));
        }
    }
    Settings::load(None, env.into_iter()).unwrap().sweeps
}

/// Lets every client change at once.
const WIDE: Breaker = Breaker {
    percent: 100,
    clients: 300,
};

async fn engine(folder: &Path, clock: Arc<dyn Clock>, breaker: Breaker) -> Arc<Engine> {
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(folder.join("tenure.db")));
    store.migrate().await.unwrap();
    let engine = Engine::start(store, clock, &Policy::default()).await.unwrap();
    Arc::new(engine.bounded(breaker, DEFAULT_TOLERANCE))
}

/// An engine whose clock stands at a moment.
async fn engine_at(now: &str) -> (TempDir, Arc<SimulatedClock>, Arc<Engine>) {
    engine_with(now, WIDE).await
}

/// An engine whose clock stands at a moment, and that has this breaker.
async fn engine_with(now: &str, breaker: Breaker) -> (TempDir, Arc<SimulatedClock>, Arc<Engine>) {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(SimulatedClock::at(moment(now)));
    let engine = engine(folder.path(), clock.clone(), breaker).await;
    (folder, clock, engine)
}

/// A scheduler that runs.
struct Running {
    scheduler: Arc<Scheduler>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), TickerError>>,
}

fn start(engine: &Arc<Engine>, settings: &SweepSettings) -> Running {
    start_as(engine, settings, "test")
}

fn start_as(engine: &Arc<Engine>, settings: &SweepSettings, worker: &str) -> Running {
    let stop = CancellationToken::new();
    let scheduler = Scheduler::new(engine.clone(), settings, worker.to_owned());
    Running {
        task: tokio::spawn(scheduler.clone().run(stop.clone())),
        scheduler,
        stop,
    }
}

impl Running {
    /// Waits until the scheduler has considered a tick of access-expiry this often, the last time with this outcome.
    async fn considered(&self, tick: &str, attempts: u64, outcome: TickOutcome) {
        let tick = moment(tick);
        let enough =
            |last: &ConsideredTick| last.tick == tick && last.attempts >= attempts && last.outcome == outcome;
        wait_for(self.scheduler.considered(), |ticks| {
            ticks.get(&Sweep::AccessExpiry).is_some_and(enough)
        })
        .await;
    }

    async fn stop(self) {
        self.stop.cancel();
        self.end().await;
    }

    /// Waits until the scheduler ends.
    async fn end(self) {
        let ended = tokio::time::timeout(PATIENCE, self.task).await;
        ended.expect("the scheduler ends in time").unwrap().unwrap();
    }
}

async fn wait_for<T: std::fmt::Debug>(mut signal: watch::Receiver<T>, enough: impl FnMut(&T) -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async { signal.wait_for(enough).await.is_ok() }).await;
    assert_eq!(waited, Ok(true), "the signal stays at {:?}", signal.borrow());
}

async fn runs(engine: &Engine) -> Vec<SweepRun> {
    engine.store().runs(None, 1_000).await.unwrap()
}

/// Waits for the runs to be as they should.
async fn runs_until(engine: &Engine, enough: impl Fn(&[SweepRun]) -> bool) -> Vec<SweepRun> {
    for _ in 0..1_500 {
        let runs = runs(engine).await;
        if enough(&runs) {
            return runs;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 15 s: {:#?}", runs(engine).await);
}

fn done(run: &SweepRun) -> bool {
    run.status == RunStatus::Done
}

/// Clients whose access is used the last time at a moment.
async fn clients(engine: &Engine, count: usize, at: DateTime<Utc>) {
    let mut incoming = Vec::new();
    for i in 0..count {
        let key = ClientKey::new("acme", &format!("c{i}")).unwrap();
        for (id, kind) in [
            (
                "added",
                EventKind::ClientAdded {
                    name: format!("name {i}").try_into().unwrap(),
                    imported: false,
                },
            ),
            (
                "invited",
                serde_json::from_value(
                    serde_json::json!({"type": "client.invited", "data": {"steps": ["accepted"]}}),
                )
                .unwrap(),
            ),
            ("accepted", EventKind::InvitationAccepted {}),
        ] {
            incoming.push(Incoming::Event(Event {
                source: "/test".into(),
                id: format!("{i}-{id}").into(),
                key: key.clone(),
                time: at,
                sequence: None,
                kind,
                actor: Actor::default(),
                name_verdict: NameVerdict::default(),
            }));
        }
    }
    let outcomes = engine.ingest(incoming).await.unwrap();
    assert!(
        outcomes.iter().all(|outcome| *outcome == Outcome::Applied),
        "{outcomes:?}"
    );
}

async fn expired(engine: &Engine) -> i64 {
    let census = engine.store().census().await.unwrap();
    census.access.get("expired").copied().unwrap_or(0)
}
