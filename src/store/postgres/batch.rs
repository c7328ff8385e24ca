//! A batch: locks, reads, writes and commits in one transaction.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::numbers::{ClientNumbers, Numbers};
use super::session::Session;
use super::sessions::{Need, Sessions};
use super::{
    PostgresStore, checkpoints, duplicates, halts, history, lanes, numbering, numbers, policies, reading,
    sources, touches, verification, write,
};
use crate::domain::{ClientKey, Event, Namesake, Policy};
use crate::store::clients::stored;
use crate::store::columns::{key, row};
use crate::store::{
    Batch, BatchRead, BatchWrite, Checkpoints, ClientSnapshot, Commit, ExpectedSource, Halt, HistoryRange,
    LaneProgress, Logged, NameClaim, Renewal, Result, StoreError, Stored, Transactions,
};

#[async_trait]
impl Transactions for PostgresStore {
    async fn begin(&self) -> Result<Box<dyn Batch>> {
        self.check_doubted_numbering().await?;
        let doubted = self.numbering_doubted.clone();
        Ok(Box::new(
            PostgresBatch::begin(&self.pool, self.limit, &self.begin, doubted).await?,
        ))
    }

    /// While one chunk is written, the next is read and planned.
    fn concurrent_chunks(&self) -> usize {
        2
    }
}

impl PostgresStore {
    /// Ensures that new numbers exceed all existing ones, if something has found that they may not.
    pub(super) async fn check_doubted_numbering(&self) -> Result<()> {
        if !self.numbering_doubted.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let check = async {
            let mut connection = self.pool.acquire_for(Need::Write).await?;
            numbering::check(&mut connection).await
        };
        let checked = self.in_time(check).await;
        if checked.is_err() {
            self.numbering_doubted.store(true, Ordering::Relaxed);
        }
        checked
    }
}

pub(super) struct PostgresBatch {
    session: Session,
    held: Held,
    /// Set when the batch finds numbers that may be too high for this server.
    numbering_doubted: Arc<AtomicBool>,
}

/// What the transaction knows about clients, most of it since it locked them, and the numbers of words and sources.
#[derive(Default)]
pub(super) struct Held {
    /// The numbers of clients. They never change.
    pub numbers: ClientNumbers,
    /// The location of each client's row (`ctid`). It cannot change while the row is locked.
    pub places: HashMap<ClientKey, String>,
    /// Clients in a renew-only window, which a write ends. Their touches are locked too.
    pub renew_only: HashSet<ClientKey>,
    /// The numbers of words and sources that were read with the clients of events. The first write takes them. Another write of
    /// the same transaction reads its own.
    pub dictionary: Numbers,
}

impl Held {
    /// The number of a client that was locked, or that the commit writes.
    pub fn number(&self, key: &ClientKey) -> i32 {
        self.numbers[key]
    }

    pub fn numbers_of<'a>(&self, keys: impl IntoIterator<Item = &'a ClientKey>) -> Vec<i32> {
        keys.into_iter().map(|key| self.number(key)).collect()
    }
}

impl PostgresBatch {
    pub(super) async fn begin(
        pool: &Sessions,
        limit: Duration,
        begin: &str,
        numbering_doubted: Arc<AtomicBool>,
    ) -> Result<Self> {
        Ok(Self {
            session: Session::begin(pool, limit, begin).await?,
            held: Held::default(),
            numbering_doubted,
        })
    }

    /// Reads the numbers of clients, unless they are known.
    async fn find_numbers(&mut self, keys: impl Iterator<Item = &ClientKey> + Send) -> Result<()> {
        let numbers = &mut self.held.numbers;
        let unknown: Vec<&ClientKey> = keys.filter(|key| !numbers.contains_key(*key)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let (connection, debt) = self.session.lend()?;
        debt.paid_by(numbers::find_clients(connection, unknown, numbers))
            .await
    }

    /// Locks clients and reads their rows, without their touches.
    async fn lock_rows(&mut self, keys: &[ClientKey], skip_busy: bool) -> Result<Vec<Stored>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        debug_assert!(keys.is_sorted(), "locks out of key order cause deadlocks");
        let (connection, debt) = self.session.lend()?;
        let held = &mut self.held;
        let locked = debt.paid_by(lock(connection, keys, skip_busy, held)).await;
        locked.inspect_err(|error| self.doubt_numbering_on(error))
    }

    fn doubt_numbering_on(&self, error: &StoreError) {
        if matches!(error, StoreError::Conflict(_)) {
            self.numbering_doubted.store(true, Ordering::Relaxed);
        }
    }
}

/// The statements that begin a batch. `writer` is the newest migration of this program, for the trigger `check_writer`.
pub(super) fn begin_statement(writer: i64) -> String {
    // Plans are cached: a plan made for an empty table would scan the grown table until its next analysis. By default
    // the server would plan each statement again, by the length of the arrays, which takes as long as the rest of a
    // small batch. A bitmap would read all of a client's history before its first page. An index that has all columns of a
    // small table would be read as a whole instead of searched.
    // The lock on `schema_compat` comes before every other lock, as it does in a migration that raises `min_writer`:
    // with locks in another order the two would deadlock. The trigger would acquire it later, with the first write.
    format!(
        "begin; set local enable_seqscan = off; set local enable_bitmapscan = off; set local enable_indexonlyscan = off; \
         set local plan_cache_mode = force_generic_plan; set local tenure.writer = {writer}; \
         lock table schema_compat in access share mode"
    )
}

#[async_trait]
impl BatchRead for PostgresBatch {
    async fn lock_for_events(
        &mut self,
        keys: &[ClientKey],
        ids: &[(&str, &str)],
    ) -> Result<(Vec<Stored>, HashSet<usize>)> {
        let mut clients = self.lock_rows(keys, false).await?;
        if clients.is_empty() && ids.is_empty() {
            return Ok((clients, HashSet::new()));
        }
        let (connection, debt) = self.session.lend()?;
        let held = &mut self.held;
        let duplicates = debt
            .paid_by(reading::read(connection, &mut clients, ids, held))
            .await?;
        Ok((clients, duplicates))
    }

    async fn namesakes(&mut self, known: &[&Event]) -> Result<Vec<(usize, Namesake)>> {
        if known.is_empty() {
            return Ok(Vec::new());
        }
        let numbers = &self.held.numbers;
        let (connection, debt) = self.session.lend()?;
        debt.paid_by(duplicates::namesakes(connection, known, numbers))
            .await
    }

    async fn lock(&mut self, keys: &[ClientKey], skip_busy: bool) -> Result<Vec<Stored>> {
        let mut clients = self.lock_rows(keys, skip_busy).await?;
        if !clients.is_empty() {
            let (connection, debt) = self.session.lend()?;
            let held = &mut self.held;
            debt.paid_by(reading::open_runs(connection, &mut clients, held))
                .await?;
        }
        Ok(clients)
    }

    async fn holders(&mut self, names: &[NameClaim]) -> Result<HashMap<NameClaim, ClientKey>> {
        if names.is_empty() {
            return Ok(HashMap::new());
        }
        let (connection, debt) = self.session.lend()?;
        debt.paid_by(holders(connection, names)).await
    }

    async fn checkpoints(
        &mut self,
        before: &[(ClientKey, DateTime<Utc>)],
    ) -> Result<HashMap<ClientKey, Checkpoints>> {
        self.find_numbers(before.iter().map(|(key, _)| key)).await?;
        let (connection, debt) = self.session.lend()?;
        debt.paid_by(checkpoints::of(connection, before, &self.held.numbers))
            .await
    }

    async fn histories(
        &mut self,
        ranges: &[HistoryRange],
        longest: Option<usize>,
    ) -> Result<HashMap<ClientKey, Vec<Logged>>> {
        self.find_numbers(ranges.iter().map(|range| &range.key)).await?;
        let numbers = &self.held.numbers;
        history::of(
            &mut self.session,
            ranges,
            |key| numbers.get(key).copied(),
            longest,
        )
        .await
    }

    async fn snapshot(&mut self, key: &ClientKey) -> Result<ClientSnapshot> {
        verification::locked(&mut self.session, key, &mut self.held).await
    }

    async fn policies(&mut self) -> Result<Vec<(DateTime<Utc>, Policy)>> {
        let (connection, debt) = self.session.lend()?;
        debt.paid_by(policies::all(connection)).await
    }

    async fn lanes(&mut self) -> Result<Vec<LaneProgress>> {
        let (connection, debt) = self.session.lend()?;
        debt.paid_by(lanes::all(connection)).await
    }

    async fn sources(&mut self) -> Result<Vec<ExpectedSource>> {
        let (connection, debt) = self.session.lend()?;
        debt.paid_by(sources::all(connection)).await
    }

    async fn halts(&mut self) -> Result<Vec<Halt>> {
        let (connection, debt) = self.session.lend()?;
        debt.paid_by(halts::halts(connection)).await
    }
}

#[async_trait]
impl BatchWrite for PostgresBatch {
    async fn renew(&mut self, renewals: &[Renewal], policies: i64) -> Result<HashSet<ClientKey>> {
        debug_assert!(
            renewals.is_sorted_by_key(|renewal| &renewal.key),
            "locks out of key order cause deadlocks"
        );
        let (connection, debt) = self.session.lend()?;
        debt.paid_by(touches::renew(connection, renewals, policies)).await
    }

    async fn write(&mut self, commit: &Commit) -> Result<()> {
        let written = write::all(&mut self.session, commit, &mut self.held).await;
        written.inspect_err(|error| self.doubt_numbering_on(error))?;
        // Written rows have moved.
        self.held.places.clear();
        self.held.renew_only.clear();
        Ok(())
    }

    async fn commit(mut self: Box<Self>, commit: &Commit) -> Result<()> {
        let written = self.write(commit).await;
        if written.is_err() {
            // The server answers before it releases locks, and a retry must not meet them.
            self.session.give_up().await;
            return written;
        }
        self.session.end("commit").await
    }

    async fn rollback(self: Box<Self>) -> Result<()> {
        self.session.end("rollback").await
    }
}

/// The clients that hold these names.
pub(super) async fn holders(
    connection: &mut PgConnection,
    names: &[NameClaim],
) -> Result<HashMap<NameClaim, ClientKey>> {
    let (partners, name_keys): (Vec<&str>, Vec<&str>) = names
        .iter()
        .map(|name| (&*name.partner, name.name_key.as_str()))
        .unzip();
    let holders: Vec<(String, String, String)> = sqlx::query_as(
        "select k.partner, k.name_key, n.client
         from unnest($1::text[], $2::text[]) as k (partner, name_key)
         cross join lateral (
             select client as number from clients where partner = k.partner and name_key = k.name_key offset 0
         ) c
         cross join lateral (select client from client_keys where number = c.number offset 0) n",
    )
    .bind(partners)
    .bind(name_keys)
    .fetch_all(connection)
    .await?;
    let claim = |(partner, name_key, client): (String, String, String)| {
        let key = key(&partner, &client);
        let partner = partner.into();
        (NameClaim { partner, name_key }, key)
    };
    Ok(holders.into_iter().map(claim).collect())
}

row! {
    /// A client with a number. Its row is missing, or busy, where the columns of the row are null.
    LockedRow {
        /// Its place among the keys.
        place: i32,
        number: i32,
        version: Option<i64>,
        doc: String,
        ctid: String,
        journaled_by: i64,
        /// The number of this transaction.
        transaction: i64,
    }
}

/// Locks clients one by one in the given order, and reads each row after locking it.
///
/// The relay publishes in the order of transaction numbers, and a transaction gets its number with the first row that
/// it locks. A transaction with a higher number can commit a line of a client while this one waits for that client: the
/// relay would then publish this one's line first. That is a conflict, and the batch begins again under a new number.
async fn lock(
    connection: &mut PgConnection,
    keys: &[ClientKey],
    skip_busy: bool,
    held: &mut Held,
) -> Result<Vec<Stored>> {
    macro_rules! lock {
        ($how:literal) => {
            concat!(
                "select k.place, n.number, c.version, coalesce(c.doc, '') as doc, coalesce(c.ctid, '') as ctid,
                        coalesce(c.journaled_by, 0) as journaled_by,
                        (select pg_current_xact_id()::text::bigint + xid_shift from relay) as transaction
                 from (
                     select generate_subscripts($1::text[], 1) as place, unnest($1::text[]) as partner,
                            unnest($2::text[]) as client
                 ) k
                 cross join lateral (
                     select number from client_keys where partner = k.partner and client = k.client offset 0
                 ) n
                 left join lateral (
                     select version, doc::text as doc, ctid::text as ctid, journaled_by
                     from clients where client = n.number ",
                $how,
                ") c on true"
            )
        };
    }
    let statement = if skip_busy {
        lock!("for update skip locked")
    } else {
        lock!("for update")
    };
    let (partners, clients) = columns(keys);
    let found: Vec<LockedRow> = sqlx::query_as(statement)
        .bind(partners)
        .bind(clients)
        .fetch_all(connection)
        .await?;
    let mut locked = Vec::with_capacity(found.len());
    for row in found {
        let key = &keys[place_of(row.place)];
        held.numbers.insert(key.clone(), row.number);
        let Some(version) = row.version else {
            continue;
        };
        if row.journaled_by > row.transaction {
            return Err(StoreError::Conflict(format!(
                "a transaction that began later has written {key}"
            )));
        }
        locked.push(stored(key.clone(), version, &row.doc, None)?);
        held.places.insert(key.clone(), row.ctid);
    }
    Ok(locked)
}

/// The index for a number from PostgreSQL, which counts from one.
pub(super) fn place_of(number: i32) -> usize {
    usize::try_from(number - 1).unwrap_or_default()
}

/// Keys as two arrays of equal length, for statements.
pub(super) fn columns<'a>(keys: impl IntoIterator<Item = &'a ClientKey>) -> (Vec<&'a str>, Vec<&'a str>) {
    keys.into_iter().map(|key| (&*key.partner, &*key.client)).unzip()
}
