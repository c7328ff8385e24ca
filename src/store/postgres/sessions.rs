//! The pool of sessions.
//!
//! sqlx's own pool knows one host, keeps a session that has become read-only, and tries for ten seconds to make one that
//! the server refuses, without saying why. Here a session is looked at before each use, which shows whether it answers and
//! whether it can be written; one that cannot is closed, and another is made on a server that can. Where the server takes
//! no more connections, those that there are are used.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use sqlx::postgres::{PgConnection, PgQueryResult, PgRow, PgStatement, PgTypeInfo, Postgres};
use sqlx::{Connection, Either, Execute, Executor};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::servers::{self, Refusal, Servers};
use super::session::AT_ONCE;
use crate::store::{Result, StoreError};

/// Pauses between attempts to connect: doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How often it is looked for a session that was given back, while a new one is made.
const RETURNED_EVERY: Duration = Duration::from_millis(50);

/// A session that has not been used for so long, or is so old, is closed.
const LONGEST_IDLE: Duration = Duration::from_mins(10);
const LONGEST_LIFE: Duration = Duration::from_mins(30);

/// For how long a server that is full is not asked for more.
const FULL: Duration = Duration::from_secs(30);
/// How often the log says so.
const TOLD_EVERY: Duration = Duration::from_mins(10);

/// How long a server may take to end a session that was closed.
const ENDED_WITHIN: Duration = Duration::from_secs(1);

/// How long the relay waits for a session to be closed for it.
const ROOM_WITHIN: Duration = Duration::from_secs(3);

/// What a session is wanted for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Where no server can be written, one that can be read will do.
    Any,
    Write,
}

#[derive(Clone)]
pub(super) struct Sessions(Arc<Pool>);

struct Pool {
    servers: Servers,
    /// Statements that set what each session needs.
    settings: String,
    /// One place for each session that there may be.
    room: Arc<Semaphore>,
    most: usize,
    /// The one used last is at the end.
    idle: Mutex<Vec<Live>>,
    /// Sessions that there are.
    count: AtomicUsize,
    /// Sessions of an earlier era are not used any more: one of their age turned out to be silent or read-only.
    era: AtomicU64,
    /// How long to wait for a session.
    patience: Duration,
    full: Mutex<Full>,
}

/// When the server took no more connections.
#[derive(Default)]
struct Full {
    told: Option<Instant>,
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

struct Counted(Arc<Pool>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A session in use. It goes back when it is dropped, unless it was given up.
pub(super) struct Lease {
    /// None while it is dropped.
    live: Option<Live>,
    pool: Arc<Pool>,
    is_lost: bool,
    /// Given back after the session.
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
            count: AtomicUsize::new(0),
            era: AtomicU64::new(0),
            patience,
            full: Mutex::default(),
        }))
    }

    pub fn servers(&self) -> &Servers {
        &self.0.servers
    }

    /// A session for statements that need no transaction, as sqlx's pool gives one.
    pub fn acquire(&self) -> BoxFuture<'static, std::result::Result<Lease, sqlx::Error>> {
        let sessions = self.clone();
        Box::pin(async move {
            let lease = sessions.lease(Need::Any, sessions.0.patience).await;
            lease.map_err(|error| sqlx::Error::AnyDriverError(Box::new(error)))
        })
    }

    /// A session, within the time that the pool has for it.
    pub async fn acquire_for(&self, need: Need) -> Result<Lease> {
        self.lease(need, self.0.patience).await
    }

    /// A session. A server that cannot be reached is tried again until the time is over; one that is read-only or full is
    /// not waited for.
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
                // Somebody may be through sooner than the server is with a new session.
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
                // The server may still be at the end of sessions that were closed.
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

    /// A connection outside of the pool that can be written. Where the server takes no more, one of the pool is closed
    /// for it.
    pub async fn outside(&self, name: &str, settings: &str) -> Result<PgConnection> {
        let mut has_room = false;
        let began = Instant::now();
        loop {
            match self.0.servers.open_to_write(name, settings).await {
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

    /// Lets go of all sessions, and waits for those that are in use.
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
                    "all {} connections are in use; raise store.max_connections, or look for what is slow",
                    self.0.most
                ),
            })),
        }
    }

    /// A session that there is, if it answers and can be written. A read-only one is used once: another server, or the same
    /// one, may have become the one to write to.
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
                        "a session has become read-only; it is closed, and another server is looked for"
                    );
                    self.distrust(live.era);
                    servers::close(live.connection);
                }
                Ok(Err(error)) => tracing::debug!(%error, "a session was cut"),
                Err(_) => self.distrust(live.era),
            }
        }
    }

    /// Waits for a session that somebody gives back.
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
        // Before the attempt: what is learnt meanwhile of other sessions may be true of this one.
        let era = self.0.era.load(Ordering::Relaxed);
        let opened = self.0.servers.open("tenure", &self.0.settings).await?;
        self.0.count.fetch_add(1, Ordering::Relaxed);
        self.full().why = None;
        Ok(Live {
            connection: opened.connection,
            era,
            made: Instant::now(),
            used: Instant::now(),
            read_only: opened.read_only,
            _counted: Counted(self.0.clone()),
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

    /// Goes on with the sessions that there are, for a while.
    fn shrink(&self, place: OwnedSemaphorePermit, error: &StoreError) {
        place.forget();
        let spare = {
            let idle = self.idle();
            let spare = self.0.room.available_permits().saturating_sub(idle.len());
            self.0.room.forget_permits(spare)
        };
        self.tell_full(error);
        let room = self.0.room.clone();
        tokio::spawn(async move {
            tokio::time::sleep(FULL).await;
            room.add_permits(spare + 1);
        });
    }

    /// Closes a session of the pool, and leaves its place to somebody else for a while. False: there is none to close.
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

    fn tell_full(&self, error: &StoreError) {
        let mut full = self.full();
        full.why = Some(format!(
            "all {} connections that the server allows are in use ({error})",
            self.0.count.load(Ordering::Relaxed)
        ));
        if full.told.is_none_or(|told| told.elapsed() > TOLD_EVERY) {
            full.told = Some(Instant::now());
            tracing::warn!(
                store.connections = self.0.count.load(Ordering::Relaxed),
                store.max_connections = self.0.most,
                why = %error,
                "PostgreSQL takes no more connections; those that there are are used"
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
    /// The session is not used again, because its state is not sure.
    pub fn give_up(&mut self) {
        self.is_lost = true;
    }

    /// Its state is sure again.
    pub fn keep(&mut self) {
        self.is_lost = false;
    }

    /// An error was met; the session is given up if it may be at fault.
    fn note(&mut self, error: &sqlx::Error) {
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

/// As sqlx's pool: each statement on a session of its own. Rows are read as a whole.
impl<'p> Executor<'p> for &'_ Sessions {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, std::result::Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let sessions = self.clone();
        let read = async move {
            let mut lease = match sessions.acquire().await {
                Ok(lease) => lease,
                Err(error) => return vec![Err(error)],
            };
            // Lost if nobody waits for the answer.
            lease.is_lost = true;
            let read: Vec<_> = lease.fetch_many(query).collect().await;
            lease.is_lost = false;
            if let Some(Err(error)) = read.last() {
                lease.note(error);
            }
            read
        };
        read.map(stream::iter).flatten_stream().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxFuture<'e, std::result::Result<Option<PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let sessions = self.clone();
        Box::pin(async move {
            let mut lease = sessions.acquire().await?;
            lease.is_lost = true;
            let read = lease.fetch_optional(query).await;
            lease.is_lost = false;
            read.inspect_err(|error| lease.note(error))
        })
    }

    fn prepare_with<'e, 'q: 'e>(
        self,
        sql: &'q str,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, std::result::Result<PgStatement<'q>, sqlx::Error>>
    where
        'p: 'e,
    {
        let sessions = self.clone();
        Box::pin(async move { sessions.acquire().await?.prepare_with(sql, parameters).await })
    }

    fn describe<'e, 'q: 'e>(
        self,
        sql: &'q str,
    ) -> BoxFuture<'e, std::result::Result<sqlx::Describe<Postgres>, sqlx::Error>>
    where
        'p: 'e,
    {
        let sessions = self.clone();
        Box::pin(async move { sessions.acquire().await?.describe(sql).await })
    }
}
