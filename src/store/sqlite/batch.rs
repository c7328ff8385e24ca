//! One batch: read, write, commit. Whoever has begun is alone: there is nothing more to lock.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::Transaction;
use sqlx::sqlite::{Sqlite, SqlitePool};

use super::{BEGIN, history, kept, lanes, policies, renew, write};
use crate::domain::{ClientKey, Policy};
use crate::store::rows::{self, StoredRow, json};
use crate::store::{Batch, Commit, Kept, LaneProgress, Logged, NameClaim, Renewal, Result, Stored};

pub(super) struct SqliteBatch {
    transaction: Transaction<'static, Sqlite>,
}

impl SqliteBatch {
    pub(super) async fn begin(writer: &SqlitePool) -> Result<Self> {
        let transaction = writer.begin_with(BEGIN).await?;
        Ok(Self { transaction })
    }
}

#[async_trait]
impl Batch for SqliteBatch {
    async fn known(&mut self, ids: &[(&str, &str)]) -> Result<HashSet<(String, String)>> {
        if ids.is_empty() {
            return Ok(HashSet::new());
        }
        let known: Vec<(String, String)> = sqlx::query_as(
            "select e.source, e.id
             from json_each(?1) k
             cross join events e on e.source = k.value ->> 0 and e.id = k.value ->> 1",
        )
        .bind(json(&ids))
        .fetch_all(&mut *self.transaction)
        .await?;
        Ok(known.into_iter().collect())
    }

    async fn lock(&mut self, keys: &[ClientKey], _skip_busy: bool) -> Result<Vec<Stored>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let clients: Vec<StoredRow> = sqlx::query_as(
            "select c.partner, c.client, c.version, c.doc, t.open_run
             from json_each(?1) k
             cross join clients c on c.partner = k.value ->> 0 and c.client = k.value ->> 1
             left join touches t on t.partner = c.partner and t.client = c.client
             order by k.key",
        )
        .bind(pairs(keys))
        .fetch_all(&mut *self.transaction)
        .await?;
        clients.into_iter().map(rows::stored).collect()
    }

    async fn holders(&mut self, names: &[NameClaim]) -> Result<HashMap<NameClaim, ClientKey>> {
        if names.is_empty() {
            return Ok(HashMap::new());
        }
        let claims: Vec<(&str, &str)> = names
            .iter()
            .map(|name| (&*name.partner, name.name_key.as_str()))
            .collect();
        let holders: Vec<(String, String, String)> = sqlx::query_as(
            "select c.partner, c.name_key, c.client
             from json_each(?1) k
             cross join clients c on c.partner = k.value ->> 0 and c.name_key = k.value ->> 1",
        )
        .bind(json(&claims))
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

    async fn kept(&mut self, key: &ClientKey) -> Result<Kept> {
        kept::of(&mut self.transaction, key).await
    }

    async fn policies(&mut self) -> Result<Vec<(DateTime<Utc>, Policy)>> {
        policies::all(&mut *self.transaction).await
    }

    async fn lanes(&mut self) -> Result<Vec<LaneProgress>> {
        lanes::all(&mut *self.transaction).await
    }

    async fn renew(&mut self, renewals: &[Renewal], policies: i64) -> Result<HashSet<ClientKey>> {
        renew::renew(&mut self.transaction, renewals, policies).await
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

/// Keys as the JSON argument of a statement: `[[partner, client], …]`.
pub(super) fn pairs(keys: &[ClientKey]) -> String {
    let pairs: Vec<(&str, &str)> = keys.iter().map(|key| (&*key.partner, &*key.client)).collect();
    json(&pairs)
}
