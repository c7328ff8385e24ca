//! The pool of sessions.
//!
//! sqlx's own pool knows one host, retains a session that has become read-only, and retries a refused connection for
//! ten seconds without saying why. This pool checks each session before use: whether it answers, and whether it is
//! writable. It closes a read-only session and opens another on a writable server. When the server accepts no more
//! connections, the pool works with those that it has.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::servers;
use super::servers::{Refusal, Servers};
use super::session::AT_ONCE;
use crate::incident::Incident;
use crate::store::{Connections, Result, StoreError};

/// Pauses between attempts to connect. Each is twice the last.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How often to check for a returned session while a new one opens.
const RETURNED_EVERY: Duration = Duration::from_millis(50);

/// Limits after which a session is closed: unused, and in total.
const LONGEST_IDLE: Duration = Duration::from_mins(10);
const LONGEST_LIFE: Duration = Duration::from_mins(30);

/// How long to wait before asking a full server for more sessions.
const FULL: Duration = Duration::from_secs(30);
/// After that long without a refusal, the server is no longer full.
const CALM: Duration = Duration::from_mins(10);

/// How long a server may take to end a closed session.
const ENDED_WITHIN: Duration = Duration::from_secs(1);

/// How long the relay waits for the pool to close a session for it.
const ROOM_WITHIN: Duration = Duration::from_secs(3);

/// The purpose of a session.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// A read-only server suffices if no server is writable.
    Any,
    Write,
}

#[derive(Clone)]
pub(super) struct Sessions(Arc<Pool>);

struct Pool {
    servers: Servers,
    /// Statements that configure each session.
    settings: String,
    /// One permit for each possible session.
    room: Arc<Semaphore>,
    most: usize,
    /// The last used is at the end.
    idle: Mutex<Vec<Live>>,
    /// The number of sessions. Shared with each of them: a session that had the pool would keep it, and itself, forever.
    count: Arc<AtomicUsize>,
    /// Sessions of an earlier era are not used again: one of that era did not answer or was read-only.
    era: AtomicU64,
    /// How long to wait for a session.
    patience: Duration,
    full: Mutex<Full>,
}

/// Whether the server refuses connections, and why.
struct Full {
    failing: Incident,
    why: Option<String>,
}

/// A session.
struct Live {
    connection: PgConnection,
    era: u64,
    made: Instant,
    used: Instant,
    read_only: Option<StoreError>,
    _counted: Counted,
}

struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A session in use. Dropping it returns it to the pool, unless it was given up.
pub(super) struct Lease {
    /// None: being dropped.
    live: Option<Live>,
    pool: Arc<Pool>,
    pub(super) is_lost: bool,
    /// Returned after the session.
    _place: OwnedSemaphorePermit,
}

impl Sessions {
    pub fn new(servers: Servers, settings: String, most: u32, patience: Duration) -> Self {
        let most = usize::try_from(most)
            .unwrap_or(usize::MAX)
            .clamp(1, Semaphore::MAX_PERMITS);
        Self(Arc::new(Pool {
            servers,
            settings,
            room: Arc::new(Semaphore::new(most)),
            most,
            idle: Mutex::default(),
            count: Arc::default(),
            era: AtomicU64::new(0),
            patience,
            full: Mutex::new(Full {
                failing: Incident::with_calm(CALM),
                why: None,
            }),
        }))
    }

    pub fn servers(&self) -> &Servers {
        &self.0.servers
    }

    /// The sessions that are open.
    pub fn connections(&self) -> Connections {
        let idle = self.idle().len();
        Connections {
            in_use: self.0.count.load(Ordering::Relaxed).saturating_sub(idle),
            idle,
            max: self.0.most,
        }
    }

    /// A session for statements outside of a transaction, with the error type of sqlx's pool.
    pub fn acquire(&self) -> BoxFuture<'static, std::result::Result<Lease, sqlx::Error>> {
        let sessions = self.clone();
        Box::pin(async move {
            let lease = sessions.lease(Need::Any, sessions.0.patience).await;
            lease.map_err(|error| sqlx::Error::AnyDriverError(Box::new(error)))
        })
    }

    /// A session, within the pool's time limit.
    pub async fn acquire_for(&self, need: Need) -> Result<Lease> {
        self.lease(need, self.0.patience).await
    }

    /// A session. Retries an unreachable server until the time limit, but does not wait for a read-only or a full one.
    pub async fn lease(&self, need: Need, patience: Duration) -> Result<Lease> {
        let began = Instant::now();
        let end = began + patience;
        let mut pause = FIRST_PAUSE;
        loop {
            let place = self.place(end).await?;
            if let Some(live) = self.reuse().await {
                return Ok(self.lease_out(live, place));
            }
            let opened = tokio::select! {
                biased;
                opened = self.open() => opened,
                // A session may be returned sooner than the server opens a new one.
                live = self.returned() => return Ok(self.lease_out(live, place)),
            };
            match opened {
                Ok(live) if need == Need::Write && live.read_only.is_some() => {
                    let Live {
                        connection,
                        read_only,
                        ..
                    } = live;
                    servers::close(connection);
                    return Err(read_only.unwrap_or_else(closed));
                }
                Ok(live) => return Ok(self.lease_out(live, place)),
                Err(Refusal::Full(error)) if self.0.count.load(Ordering::Relaxed) > 0 => {
                    self.shrink(place, &error);
                }
                // The server may still be ending closed sessions.
                Err(Refusal::Full(error)) if began.elapsed() > ENDED_WITHIN => return Err(error),
                Err(Refusal::Other(error)) if !error.is_transient() => return Err(error),
                Err(Refusal::Full(error) | Refusal::Other(error)) if Instant::now() + pause >= end => {
                    return Err(error);
                }
                Err(_) => {
                    drop(place);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// A writable connection outside of the pool. If the server accepts no more, closes one of the pool for it. `settings` are
    /// statements that follow those of the pool's sessions.
    pub async fn outside(&self, name: &str, settings: &str) -> Result<PgConnection> {
        let settings = format!("{}; {settings}", self.0.settings);
        let mut has_room = false;
        let began = Instant::now();
        loop {
            match self.0.servers.open_to_write(name, &settings).await {
                Err(Refusal::Full(error)) if !has_room => {
                    if !self.make_room(&error).await {
                        return Err(error);
                    }
                    has_room = true;
                }
                Err(Refusal::Full(_)) if began.elapsed() < ROOM_WITHIN + ENDED_WITHIN => {
                    tokio::time::sleep(FIRST_PAUSE).await;
                }
                opened => return Ok(opened?),
            }
        }
    }

    /// Closes all sessions, and waits for those in use.
    pub async fn close(&self) {
        self.0.room.close();
        loop {
            let idle = std::mem::take(&mut *self.idle());
            for live in idle {
                let _ = tokio::time::timeout(AT_ONCE, live.connection.close()).await;
            }
            if self.0.count.load(Ordering::Relaxed) == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn place(&self, end: Instant) -> Result<OwnedSemaphorePermit> {
        let waiting = self.0.room.clone().acquire_owned();
        match tokio::time::timeout_at(end.into(), waiting).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) => Err(closed()),
            Err(_) => Err(StoreError::Unavailable(match &self.full().why {
                Some(why) => why.clone(),
                None => format!(
                    "all {} connections are in use; raise store.max_connections, or look for slow statements",
                    self.0.most
                ),
            })),
        }
    }

    /// An idle session, if it answers and is writable. A read-only one is used once only: another server, or the same
    /// one, may have become the primary.
    async fn reuse(&self) -> Option<Live> {
        loop {
            let mut live = self.idle().pop()?;
            let is_old = live.era < self.0.era.load(Ordering::Relaxed)
                || live.made.elapsed() > LONGEST_LIFE
                || live.used.elapsed() > LONGEST_IDLE
                || live.read_only.is_some();
            if is_old {
                servers::close(live.connection);
                continue;
            }
            match tokio::time::timeout(AT_ONCE, servers::is_writable(&mut live.connection)).await {
                Ok(Ok(true)) => return Some(live),
                Ok(Ok(false)) => {
                    tracing::info!(
                        "a session has become read-only; closing it and looking for a writable server"
                    );
                    self.distrust(live.era);
                    servers::close(live.connection);
                }
                Ok(Err(error)) => tracing::debug!(%error, "a session was lost"),
                Err(_) => self.distrust(live.era),
            }
        }
    }

    /// Waits for a returned session.
    async fn returned(&self) -> Live {
        loop {
            tokio::time::sleep(RETURNED_EVERY).await;
            if let Some(live) = self.reuse().await {
                return live;
            }
        }
    }

    fn distrust(&self, era: u64) {
        self.0.era.fetch_max(era + 1, Ordering::Relaxed);
    }

    async fn open(&self) -> std::result::Result<Live, Refusal> {
        // Read before the attempt: what other sessions reveal meanwhile may apply to this one.
        let era = self.0.era.load(Ordering::Relaxed);
        let opened = self.0.servers.open("tenure", &self.0.settings).await?;
        self.0.count.fetch_add(1, Ordering::Relaxed);
        self.note_opened();
        Ok(Live {
            connection: opened.connection,
            era,
            made: Instant::now(),
            used: Instant::now(),
            read_only: opened.read_only,
            _counted: Counted(self.0.count.clone()),
        })
    }

    fn lease_out(&self, live: Live, place: OwnedSemaphorePermit) -> Lease {
        Lease {
            live: Some(live),
            pool: self.0.clone(),
            is_lost: false,
            _place: place,
        }
    }

    /// Reduces the pool to the existing sessions for a while.
    fn shrink(&self, place: OwnedSemaphorePermit, error: &StoreError) {
        place.forget();
        let spare = {
            let idle = self.idle();
            let spare = self.0.room.available_permits().saturating_sub(idle.len());
            self.0.room.forget_permits(spare)
        };
        self.report_full(error);
        let room = self.0.room.clone();
        tokio::spawn(async move {
            tokio::time::sleep(FULL).await;
            room.add_permits(spare + 1);
        });
    }

    /// Closes a session of the pool, and frees its place for a while. False: the pool has none to close.
    async fn make_room(&self, error: &StoreError) -> bool {
        let Ok(place) = self.place(Instant::now() + ROOM_WITHIN).await else {
            return false;
        };
        let Some(live) = self.idle().pop() else {
            return false;
        };
        let Live {
            connection, _counted, ..
        } = live;
        let _ = tokio::time::timeout(AT_ONCE, connection.close()).await;
        self.shrink(place, error);
        true
    }

    fn note_opened(&self) {
        let mut full = self.full();
        full.why = None;
        if full.failing.succeed() {
            tracing::info!("PostgreSQL accepts more connections again");
        }
    }

    fn report_full(&self, error: &StoreError) {
        let mut full = self.full();
        full.why = Some(format!(
            "all {} connections that the server allows are in use ({error})",
            self.0.count.load(Ordering::Relaxed)
        ));
        if full.failing.fail() {
            tracing::warn!(
                store.connections = self.0.count.load(Ordering::Relaxed),
                store.max_connections = self.0.most,
                why = %error,
                "PostgreSQL accepts no more connections; this worker uses those that it has"
            );
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Live>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn full(&self) -> MutexGuard<'_, Full> {
        self.0.full.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".into())
}

impl Lease {
    /// The session is not used again: its state is unknown.
    pub fn give_up(&mut self) {
        self.is_lost = true;
    }

    /// The state of the session is known again.
    pub fn keep(&mut self) {
        self.is_lost = false;
    }

    /// Gives the session up after an error that it may have caused.
    pub(super) fn note(&mut self, error: &sqlx::Error) {
        let is_lost = match error {
            sqlx::Error::Database(database) => {
                let code = database.code().unwrap_or_default();
                code == "25006"
                    || ["08", "53", "57", "58"]
                        .iter()
                        .any(|class| code.starts_with(class))
            }
            error => !matches!(error, sqlx::Error::RowNotFound),
        };
        self.is_lost = self.is_lost || is_lost;
    }
}

impl Deref for Lease {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.live.as_ref().expect("held until it is dropped").connection
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.live.as_mut().expect("held until it is dropped").connection
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(mut live) = self.live.take()
            && !self.is_lost
            && !self.pool.room.is_closed()
        {
            live.used = Instant::now();
            self.pool
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(live);
        }
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("count", &self.0.count)
            .field("most", &self.0.most)
            .finish_non_exhaustive()
    }
}
