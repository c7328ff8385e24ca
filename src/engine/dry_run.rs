//! A dry run: predicts the outcome of ingesting events. The same code ingests them into a temporary store, with copies of the clients
//! that they are about. A dry run therefore has no rules of its own, and its later events see the effects of the earlier ones. It only
//! reads the store itself.

use std::collections::{BTreeSet, HashSet};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use chrono::{DateTime, Utc};
use metrics::NoopRecorder;
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use super::plan::{claim, claims};
use super::{Engine, Incoming, Outcome};
use crate::clock::Clock;
use crate::domain::{ClientKey, Policy};
use crate::store::sqlite::ScratchStore;
use crate::store::{ClientSnapshot, MovedPolicy, NameClaim, Record, Store, StoreError};

/// Events that are examined together. Bounds the number of clients that are read at a time.
const CHUNK: usize = 500;
/// The most rows of each table that are read at a time, except for one client with more.
const ROWS: usize = 100_000;

/// Examines events one batch after the other.
pub struct DryRun {
    /// None: as if nothing were stored.
    base: Option<Arc<Engine>>,
    scratch: ScratchStore,
    engine: Engine,
}

impl DryRun {
    /// Examines events as if they arrived at this engine.
    ///
    /// # Errors
    /// When the store cannot be reached, or no temporary file can be written.
    pub async fn over(base: Arc<Engine>) -> Result<Self, StoreError> {
        let policies = base.store.policies().await?;
        let clock = BaseClock(base.clone());
        let default = base.default_policy.clone();
        let mut dry_run = Self::on_policies(policies, Arc::new(clock), &default).await?;
        dry_run.engine = dry_run
            .engine
            .bounded(base.breaker, base.watch.tolerance())
            .with_checkpoints(base.spacing);
        dry_run.base = Some(base);
        Ok(dry_run)
    }

    /// Examines events as if they were the first that arrive, under a policy.
    ///
    /// # Errors
    /// When no temporary file can be written.
    pub async fn empty(clock: Arc<dyn Clock>, policy: &Policy) -> Result<Self, StoreError> {
        Self::on_policies(Vec::new(), clock, policy).await
    }

    async fn on_policies(
        policies: Vec<(DateTime<Utc>, Policy)>,
        clock: Arc<dyn Clock>,
        policy: &Policy,
    ) -> Result<Self, StoreError> {
        silently(async {
            let record = |(effective_from, policy)| {
                Record::Policy(MovedPolicy {
                    effective_from,
                    policy,
                })
            };
            let scratch = ScratchStore::with(policies.into_iter().map(record).collect()).await?;
            let store: Arc<dyn Store> = scratch.store().clone();
            let engine = Engine::open(store, clock, policy).await?;
            Ok(Self {
                base: None,
                scratch,
                engine,
            })
        })
        .await
    }

    /// What would become of these messages, after those that were examined before. In the order of `incoming`.
    ///
    /// # Errors
    /// When the store cannot be reached, or the temporary file cannot be written.
    pub async fn examine(&self, mut incoming: Vec<Incoming>) -> Result<Vec<Outcome>, StoreError> {
        let mut outcomes = Vec::with_capacity(incoming.len());
        while !incoming.is_empty() {
            let rest = incoming.split_off(incoming.len().min(CHUNK));
            if let Some(base) = &self.base {
                self.copy_clients_of(base, &incoming).await?;
            }
            outcomes.extend(silently(self.engine.ingest(incoming)).await?);
            incoming = rest;
        }
        Ok(outcomes)
    }

    /// Removes the temporary files. They are also removed on drop, unless the process ends before.
    pub async fn close(self) {
        self.scratch.close().await;
    }

    /// Copies the clients that decide about these events: their own, those with events of the same source and id, and the holders
    /// of names that the events or the histories of these clients claim.
    async fn copy_clients_of(&self, base: &Engine, incoming: &[Incoming]) -> Result<(), StoreError> {
        let events = || {
            incoming.iter().filter_map(|incoming| match incoming {
                Incoming::Event(event) => Some(event),
                Incoming::Dead(_) => None,
            })
        };
        let ids: Vec<(&str, &str)> = events().map(|event| (&*event.source, &*event.id)).collect();
        let mut keys = base.store.clients_of_events(&ids).await?;
        keys.extend(events().map(|event| event.key.clone()));
        let mut names: HashSet<NameClaim> = claims(events(), std::iter::empty(), &[]);
        loop {
            let missing = self.scratch.missing(keys).await?;
            if missing.is_empty() && names.is_empty() {
                return Ok(());
            }
            names.extend(self.copy(base, missing).await?);
            let claimed: Vec<NameClaim> = names.drain().collect();
            keys = base.store.clients_of_names(&claimed).await?;
        }
    }

    /// Copies clients, and returns the names that their histories claim.
    async fn copy(&self, base: &Engine, keys: Vec<ClientKey>) -> Result<BTreeSet<NameClaim>, StoreError> {
        let mut names = BTreeSet::new();
        let mut rest = keys.as_slice();
        while !rest.is_empty() {
            let copies = match base.store.snapshots(rest, Some(ROWS)).await? {
                copies if copies.is_empty() => vec![base.store.snapshot(&rest[0]).await?],
                copies => copies.into_iter().collect::<Result<Vec<_>, _>>()?,
            };
            rest = &rest[copies.len()..];
            for copy in &copies {
                names.extend(names_of(copy));
            }
            self.scratch.add(copies).await?;
        }
        Ok(names)
    }
}

/// The names that a client has claimed.
fn names_of(copy: &ClientSnapshot) -> impl Iterator<Item = NameClaim> {
    let of_events = claims(std::iter::empty(), copy.history.iter(), &[]);
    let name = copy
        .document()
        .and_then(|document| document.client.current_name());
    let own = name.map(|name| claim(&copy.key, name));
    of_events.into_iter().chain(own)
}

/// The clock of another engine, which knows how wrong the machine's is.
struct BaseClock(Arc<Engine>);

impl Clock for BaseClock {
    fn now(&self) -> DateTime<Utc> {
        self.0.watch.present()
    }

    fn elapsed(&self) -> Duration {
        self.0.clock.elapsed()
    }
}

/// Runs work on the temporary store. Neither metrics nor logs report it: nothing has happened.
async fn silently<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work.with_subscriber(NoSubscriber::new()));
    std::future::poll_fn(|context| -> Poll<T> {
        metrics::with_local_recorder(&NoopRecorder, || work.as_mut().poll(context))
    })
    .await
}
