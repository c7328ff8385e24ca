//! One batch: lock, read, write, commit.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use sqlx::postgres::{PgPool, Postgres};
use sqlx::{PgConnection, Transaction};

use super::{history, write};
use crate::domain::ClientKey;
use crate::store::{Batch, Commit, Logged, NameClaim, Result, StoreError, Stored, Touches, rows};

pub(super) struct PostgresBatch {
    transaction: Transaction<'static, Postgres>,
}

impl PostgresBatch {
    pub(super) async fn begin(pool: &PgPool) -> Result<Self> {
        // Plans are cached, and a table that was empty when its plan was made would be read from end to end
        // until the server next takes stock of it.
        let transaction = pool.begin_with("begin; set local enable_seqscan = off").await?;
        Ok(Self { transaction })
    }
}

#[async_trait]
impl Batch for PostgresBatch {
    async fn known(&mut self, ids: &[(&str, &str)]) -> Result<HashSet<(String, String)>> {
        if ids.is_empty() {
            return Ok(HashSet::new());
        }
        let (sources, ids): (Vec<&str>, Vec<&str>) = ids.iter().copied().unzip();
        let known: Vec<(String, String)> = sqlx::query_as(
            "select k.source, k.id
             from unnest($1::text[], $2::text[]) as k (source, id)
             cross join lateral (
                 select 1 from events where source = k.source and id = k.id offset 0
             ) e",
        )
        .bind(sources)
        .bind(ids)
        .fetch_all(&mut *self.transaction)
        .await?;
        Ok(known.into_iter().collect())
    }

    async fn lock(&mut self, keys: &[ClientKey], skip_busy: bool) -> Result<Vec<Stored>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        debug_assert!(keys.is_sorted(), "locks out of order make deadlocks");
        let mut clients = lock(&mut self.transaction, keys, skip_busy).await?;
        let mut runs = open_runs(&mut self.transaction, &clients).await?;
        for client in &mut clients {
            if let Some(run) = runs.remove(&client.key) {
                client.touches = run;
            }
        }
        Ok(clients)
    }

    async fn holders(&mut self, names: &[NameClaim]) -> Result<HashMap<NameClaim, ClientKey>> {
        if names.is_empty() {
            return Ok(HashMap::new());
        }
        let (partners, name_keys): (Vec<&str>, Vec<&str>) = names
            .iter()
            .map(|name| (&*name.partner, name.name_key.as_str()))
            .unzip();
        let holders: Vec<(String, String, String)> = sqlx::query_as(
            "select k.partner, k.name_key, c.client
             from unnest($1::text[], $2::text[]) as k (partner, name_key)
             cross join lateral (
                 select client from clients where partner = k.partner and name_key = k.name_key offset 0
             ) c",
        )
        .bind(partners)
        .bind(name_keys)
        .fetch_all(&mut *self.transaction)
        .await?;
        let claim = |(partner, name_key, client): (String, String, String)| {
            let key = rows::key(&partner, &client);
            let partner = partner.into();
            (NameClaim { partner, name_key }, key)
        };
        Ok(holders.into_iter().map(claim).collect())
    }

    async fn histories(&mut self, keys: &[ClientKey]) -> Result<HashMap<ClientKey, Vec<Logged>>> {
        history::of(&mut self.transaction, keys).await
    }

    async fn commit(mut self: Box<Self>, commit: &Commit) -> Result<()> {
        write::all(&mut self.transaction, commit).await?;
        self.transaction.commit().await?;
        Ok(())
    }

    async fn rollback(self: Box<Self>) -> Result<()> {
        self.transaction.rollback().await?;
        Ok(())
    }
}

/// Locks clients one by one in the order given, and reads each as it is once it is ours.
///
/// The relay publishes in the order of transaction numbers, and a transaction gets its number with the
/// first row that it locks. Another that began later can commit a line of a client while we still wait for
/// that client: ours would then be published before it. So it is a conflict, and the batch is begun again
/// under a new number.
async fn lock(connection: &mut PgConnection, keys: &[ClientKey], skip_busy: bool) -> Result<Vec<Stored>> {
    /// `partner, client, version, doc, journaled_by, this transaction`
    type Locked = (String, String, i64, String, i64, i64);
    let statement = if skip_busy {
        "select c.partner, c.client, c.version, c.doc, c.journaled_by,
                (select pg_current_xact_id()::text::bigint + xid_shift from relay)
         from unnest($1::text[], $2::text[]) as k (partner, client)
         cross join lateral (
             select partner, client, version, doc::text as doc, journaled_by
             from clients where partner = k.partner and client = k.client
             for update skip locked
         ) c"
    } else {
        "select c.partner, c.client, c.version, c.doc, c.journaled_by,
                (select pg_current_xact_id()::text::bigint + xid_shift from relay)
         from unnest($1::text[], $2::text[]) as k (partner, client)
         cross join lateral (
             select partner, client, version, doc::text as doc, journaled_by
             from clients where partner = k.partner and client = k.client
             for update
         ) c"
    };
    let (partners, clients) = columns(keys);
    let locked: Vec<Locked> = sqlx::query_as(statement)
        .bind(partners)
        .bind(clients)
        .fetch_all(connection)
        .await?;
    locked
        .into_iter()
        .map(|(partner, client, version, doc, journaled_by, transaction)| {
            if journaled_by > transaction {
                return Err(StoreError::Conflict(format!(
                    "{partner}/{client} was written by a transaction that began later"
                )));
            }
            rows::stored((partner, client, version, doc, None))
        })
        .collect()
}

/// The touches of clients that are locked. Not in the statement that locks: after waiting for a client, it
/// would read them as they were before.
async fn open_runs(connection: &mut PgConnection, clients: &[Stored]) -> Result<HashMap<ClientKey, Touches>> {
    let (partners, names) = columns(clients.iter().map(|stored| &stored.key));
    let runs: Vec<(String, String, Vec<u8>)> = sqlx::query_as(
        "select k.partner, k.client, t.open_run
         from unnest($1::text[], $2::text[]) as k (partner, client)
         cross join lateral (
             select open_run from touches where partner = k.partner and client = k.client offset 0
         ) t",
    )
    .bind(partners)
    .bind(names)
    .fetch_all(connection)
    .await?;
    let run = |(partner, client, run): (String, String, Vec<u8>)| {
        let key = rows::key(&partner, &client);
        rows::open_run(&key, &run).map(|run| (key, run))
    };
    runs.into_iter().map(run).collect()
}

/// Keys as the two arrays that statements take, equally long.
pub(super) fn columns<'a>(keys: impl IntoIterator<Item = &'a ClientKey>) -> (Vec<&'a str>, Vec<&'a str>) {
    keys.into_iter().map(|key| (&*key.partner, &*key.client)).unzip()
}
