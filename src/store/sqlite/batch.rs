//! A batch: reads, writes and commits in one transaction. It holds SQLite's write lock, so there is nothing more to
//! lock.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;

use super::identity::Identity;
use super::numbers::Numbers;
use super::session::Transaction;
use super::turn::Turns;
use super::upkeep::min_writer;
use super::{
    SqliteStore, checkpoints, duplicates, halts, history, lanes, many, policies, sources, touches,
    verification, write,
};
use crate::domain::{ClientKey, Event, Namesake, Policy};
use crate::store::clients::stored;
use crate::store::columns::{key, row};
use crate::store::{
    Batch, BatchLimits, BatchRead, BatchWrite, Checkpoints, ClientSnapshot, Commit, ExpectedSource, Halt,
    HistoryRange, LaneProgress, Logged, NameClaim, Renewal, Result, Stored, Transactions,
};

#[async_trait]
impl Transactions for SqliteStore {
    async fn begin(&self) -> Result<Box<dyn Batch>> {
        let begun = SqliteBatch::begin(self);
        Ok(Box::new(self.in_turn(begun).await?))
    }

    /// Pages cost most of the time. A transaction writes each page once, for any number of events.
    fn batch_limits(&self) -> BatchLimits {
        BatchLimits {
            events_per_part: 1_000,
            parts: 150,
        }
    }
}

pub(super) struct SqliteBatch {
    turns: Turns,
    identity: Arc<Identity>,
    transaction: Transaction,
    numbers: Numbers,
    held: Held,
}

/// What the transaction knows about the rows of clients that it has read.
#[derive(Default)]
pub(super) struct Held(HashMap<ClientKey, HeldRow>);

pub(super) struct HeldRow {
    pub name_key: Option<String>,
    pub account: String,
    /// Whether the client is in a renew-only window.
    pub is_renew_only: bool,
}

impl Held {
    pub(super) fn add(&mut self, key: ClientKey, row: HeldRow) {
        self.0.insert(key, row);
    }

    pub(super) fn of(&self, key: &ClientKey) -> Option<&HeldRow> {
        self.0.get(key)
    }
}

impl SqliteBatch {
    pub(super) async fn begin(store: &SqliteStore) -> Result<Self> {
        let mut transaction = Transaction::begin(&store.writer).await?;
        // No other process can write or migrate now.
        let required = min_writer(&mut *transaction).await?;
        store.migrations.may_write(required)?;
        Ok(Self {
            turns: store.turns.clone(),
            identity: store.identity.clone(),
            transaction,
            numbers: Numbers::default(),
            held: Held::default(),
        })
    }
}

row! {
    /// A client that is read for writing.
    LockedRow {
        number: i64,
        partner: String,
        client: String,
        version: i64,
        doc: String,
        open_run: Option<Vec<u8>>,
        name_key: Option<String>,
        account: String,
        is_renew_only: bool,
    }
}

#[async_trait]
impl BatchRead for SqliteBatch {
    async fn lock_for_events(
        &mut self,
        keys: &[ClientKey],
        ids: &[(&str, &str)],
    ) -> Result<(Vec<Stored>, HashSet<usize>)> {
        let clients = self.lock(keys, false).await?;
        let known = duplicates::known(&mut self.transaction, &mut self.numbers, ids).await?;
        Ok((clients, known))
    }

    async fn namesakes(&mut self, known: &[&Event]) -> Result<Vec<(usize, Namesake)>> {
        duplicates::namesakes(&mut self.transaction, &mut self.numbers, known).await
    }

    async fn lock(&mut self, keys: &[ClientKey], _skip_busy: bool) -> Result<Vec<Stored>> {
        let clients: Vec<LockedRow> = many::read(
            &mut self.transaction,
            many!(
                "select k.number, k.partner, k.client, c.version, c.doc, t.open_run, c.name_key, c.account,
                        t.renew_before is not null as is_renew_only
                 from (values " each "(?, ?)" ") w
                 cross join client_keys k on k.partner = w.column1 and k.client = w.column2
                 cross join clients c on c.client = k.number
                 left join touches t on t.client = k.number"
            ),
            keys,
            |query, key| query.bind(&*key.partner).bind(&*key.client),
        )
        .await?;
        let mut locked = Vec::with_capacity(clients.len());
        for row in clients {
            let key = key(&row.partner, &row.client);
            let stored = stored(key, row.version, &row.doc, row.open_run.as_deref())?;
            self.numbers.add_client(stored.key.clone(), row.number);
            let held = HeldRow {
                name_key: row.name_key,
                account: row.account,
                is_renew_only: row.is_renew_only,
            };
            self.held.add(stored.key.clone(), held);
            locked.push(stored);
        }
        locked.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(locked)
    }

    async fn holders(&mut self, names: &[NameClaim]) -> Result<HashMap<NameClaim, ClientKey>> {
        holders(&mut self.transaction, names).await
    }

    async fn checkpoints(
        &mut self,
        before: &[(ClientKey, DateTime<Utc>)],
    ) -> Result<HashMap<ClientKey, Checkpoints>> {
        checkpoints::of(&mut self.transaction, &mut self.numbers, before).await
    }

    async fn histories(
        &mut self,
        ranges: &[HistoryRange],
        longest: Option<usize>,
    ) -> Result<HashMap<ClientKey, Vec<Logged>>> {
        let Some(longest) = longest else {
            return history::of(&mut self.transaction, &mut self.numbers, ranges).await;
        };
        let short = history::up_to(&mut self.transaction, &mut self.numbers, ranges, longest).await?;
        history::of(&mut self.transaction, &mut self.numbers, &short).await
    }

    async fn snapshot(&mut self, key: &ClientKey) -> Result<ClientSnapshot> {
        verification::of_one(&mut self.transaction, &mut self.numbers, key).await
    }

    async fn policies(&mut self) -> Result<Vec<(DateTime<Utc>, Policy)>> {
        policies::all(&mut *self.transaction).await
    }

    async fn lanes(&mut self) -> Result<Vec<LaneProgress>> {
        lanes::all(&mut *self.transaction).await
    }

    async fn sources(&mut self) -> Result<Vec<ExpectedSource>> {
        sources::all(&mut *self.transaction).await
    }

    async fn halts(&mut self) -> Result<Vec<Halt>> {
        halts::halts(&mut *self.transaction).await
    }
}

#[async_trait]
impl BatchWrite for SqliteBatch {
    fn others_wait(&self) -> bool {
        self.turns.others_wait()
    }

    async fn renew(&mut self, renewals: &[Renewal], policies: i64) -> Result<HashSet<ClientKey>> {
        touches::renew(&mut self.transaction, &mut self.numbers, renewals, policies).await
    }

    async fn write(&mut self, commit: &Commit) -> Result<()> {
        write::all(&mut self.transaction, commit, &mut self.numbers, &mut self.held).await?;
        // The write may have changed names and renew-only windows.
        self.held = Held::default();
        Ok(())
    }

    async fn commit(mut self: Box<Self>, commit: &Commit) -> Result<()> {
        self.write(commit).await?;
        // Before, because a commit may copy the log into the database; after, because nothing is acknowledged that others
        // cannot read.
        self.identity.check().await?;
        self.transaction.commit().await?;
        self.identity.check().await
    }

    async fn rollback(self: Box<Self>) -> Result<()> {
        self.transaction.rollback().await
    }
}

/// The clients that hold these names.
pub(super) async fn holders(
    connection: &mut SqliteConnection,
    names: &[NameClaim],
) -> Result<HashMap<NameClaim, ClientKey>> {
    let holders: Vec<(String, String, String)> = many::read(
        connection,
        many!(
            "select c.partner, c.name_key, k.client
             from (values " each "(?, ?)" ") w
             cross join clients c on c.partner = w.column1 and c.name_key = w.column2
             cross join client_keys k on k.number = c.client"
        ),
        names,
        |query, name| query.bind(&*name.partner).bind(&*name.name_key),
    )
    .await?;
    let claim = |(partner, name_key, client): (String, String, String)| {
        let key = key(&partner, &client);
        let partner = partner.into();
        (NameClaim { partner, name_key }, key)
    };
    Ok(holders.into_iter().map(claim).collect())
}
