//! Reads clients and their journals.

use std::collections::HashMap;

use async_trait::async_trait;

use super::lines::{line, words_of_line};
use super::{SqliteStore, history, micros};
use crate::domain::{ClientKey, Id};
use crate::store::clients::{ClientRange, StoredRow};
use crate::store::columns::{json, key, text};
use crate::store::outbox::JournalRow;
use crate::store::{ClientFilter, Clients, Logged, NameClaim, Recorded, Result, Stored};

#[async_trait]
impl Clients for SqliteStore {
    async fn client(&self, key: &ClientKey) -> Result<Option<Stored>> {
        let client: Option<StoredRow> = sqlx::query_as(
            "select k.partner, k.client, c.version, c.doc, t.open_run
             from client_keys k
             join clients c on c.client = k.number
             left join touches t on t.client = k.number
             where k.partner = ?1 and k.client = ?2",
        )
        .bind(&*key.partner)
        .bind(&*key.client)
        .fetch_optional(&self.readers)
        .await?;
        client.map(StoredRow::read).transpose()
    }

    async fn clients(
        &self,
        filter: &ClientFilter,
        after: Option<&ClientKey>,
        limit: u32,
    ) -> Result<Vec<Stored>> {
        let range = ClientRange::of(filter.partner.as_deref(), after);
        let clients: Vec<StoredRow> = sqlx::query_as(
            "select k.partner, k.client, c.version, c.doc, t.open_run
             from client_keys k
             cross join clients c on c.client = k.number
             left join touches t on t.client = k.number
             where (k.partner, k.client) > (?1, ?2) and k.partner <= ?3
               and c.link is not null
               and (?4 = '[]' or c.link in (select value from json_each(?4)))
               and (?5 = '[]' or c.service in (select value from json_each(?5)))
               and (?6 = '[]' or c.access in (select value from json_each(?6)))
               and (?7 is null or c.as_of > ?7)
             order by k.partner, k.client
             limit ?8",
        )
        .bind(range.after_partner)
        .bind(range.after_client)
        .bind(range.last_partner)
        .bind(json(&filter.links))
        .bind(json(&filter.services))
        .bind(json(&filter.access))
        .bind(filter.beyond.map(micros))
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        clients.into_iter().map(StoredRow::read).collect()
    }

    async fn clients_by_key(&self, keys: &[ClientKey]) -> Result<Vec<Stored>> {
        let keys: Vec<(&str, &str)> = keys.iter().map(|key| (&*key.partner, &*key.client)).collect();
        let clients: Vec<StoredRow> = sqlx::query_as(
            "select k.partner, k.client, c.version, c.doc, t.open_run
             from json_each(?1) w
             cross join client_keys k on k.partner = w.value ->> '$[0]' and k.client = w.value ->> '$[1]'
             cross join clients c on c.client = k.number
             left join touches t on t.client = k.number",
        )
        .bind(json(&keys))
        .fetch_all(&self.readers)
        .await?;
        clients.into_iter().map(StoredRow::read).collect()
    }

    async fn clients_of_account(
        &self,
        account: &Id,
        partner: Option<&str>,
        after: Option<&ClientKey>,
        limit: u32,
    ) -> Result<Vec<Stored>> {
        let range = ClientRange::of(partner, after);
        let clients: Vec<StoredRow> = sqlx::query_as(
            "select k.partner, k.client, c.version, c.doc, t.open_run
             from clients c
             cross join client_keys k on k.number = c.client
             left join touches t on t.client = c.client
             where c.account = ?1 and c.account <> '' and c.partner <= ?4
               and (c.partner, c.client)
                   > (?2, coalesce((select number from client_keys where partner = ?2 and client = ?3), 0))
             order by c.partner, c.client
             limit ?5",
        )
        .bind(text(account.as_str()))
        .bind(range.after_partner)
        .bind(range.after_client)
        .bind(range.last_partner)
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        clients.into_iter().map(StoredRow::read).collect()
    }

    async fn history(&self, key: &ClientKey) -> Result<Vec<Logged>> {
        history::of_one(&self.readers, key).await
    }

    async fn histories(&self, keys: &[ClientKey], longest: usize) -> Result<HashMap<ClientKey, Vec<Logged>>> {
        history::of_many(&self.readers, keys, longest).await
    }

    async fn holder(&self, name: &NameClaim) -> Result<Option<ClientKey>> {
        let client: Option<String> = sqlx::query_scalar(
            "select k.client
             from clients c
             join client_keys k on k.number = c.client
             where c.partner = ?1 and c.name_key = ?2",
        )
        .bind(&*name.partner)
        .bind(&*name.name_key)
        .fetch_optional(&self.readers)
        .await?;
        Ok(client.map(|client| key(&name.partner, &client)))
    }

    async fn journal(&self, key: &ClientKey, after: i64, limit: u32) -> Result<Vec<Recorded>> {
        let lines: Vec<JournalRow<i64>> = sqlx::query_as(concat!(
            "select ",
            line!(),
            "from client_keys k
                 cross join journal j on j.client = k.number",
            words_of_line!(),
            "where k.partner = ?1 and k.client = ?2 and j.seq > ?3
                 order by j.seq
                 limit ?4"
        ))
        .bind(&*key.partner)
        .bind(&*key.client)
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        lines.into_iter().map(|line| line.read(key.clone())).collect()
    }
}
