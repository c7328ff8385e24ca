//! Reads lists over all partners.

use async_trait::async_trait;
use sqlx::sqlite::SqlitePool;

use super::event_id::BoundId;
use super::{SqliteStore, micros};
use crate::domain::Refusal;
use crate::store::clients::{LoggedRow, StoredRow};
use crate::store::columns::{Both, json};
use crate::store::event_position::PositionRow;
use crate::store::lists::{ClientOrder, ListRange, PlaceRow, RefusedRow, read_refused};
use crate::store::verification::FacetsRow;
use crate::store::{
    ClientSearch, EventPosition, Facets, ListPosition, Lists, RefusalFilter, RefusalsPage, Result, Stored,
};

/// The columns of a `StoredRow`, of clients `c` whose statuses are those of a filter.
macro_rules! search {
    ($from:literal, $order:literal) => {
        concat!(
            "select k.partner, k.client, c.version, c.doc, t.open_run ",
            $from,
            " and substr(k.client, 1, length(?5)) = ?5
              and c.link is not null
              and (?6 = '[]' or c.link in (select value from json_each(?6)))
              and (?7 = '[]' or c.service in (select value from json_each(?7)))
              and (?8 = '[]' or c.access in (select value from json_each(?8)))
              and instr(coalesce(c.name_key, ''), ?9) > 0
              order by ",
            $order,
            " limit ?10"
        )
    };
}

const BY_KEY: &str = search!(
    "from client_keys k
     cross join clients c on c.client = k.number
     left join touches t on t.client = k.number
     where (k.partner, k.client) >= (?1, ?2) and (k.partner, k.client) <= (?3, ?4)",
    "k.partner, k.client"
);

const BY_NAME: &str = search!(
    "from clients c
     cross join client_keys k on k.number = c.client
     left join touches t on t.client = c.client
     where c.name_key is not null and (c.partner, c.name_key) >= (?1, ?2) and (c.partner, c.name_key) <= (?3, ?4)",
    "c.partner, c.name_key"
);

const BY_ID: &str = search!(
    "from client_keys k
     cross join clients c on c.client = k.number
     left join touches t on t.client = k.number
     where (k.client, k.partner) >= (?1, ?2) and (k.client, k.partner) <= (?3, ?4)",
    "k.client, k.partner"
);

const BY_NAME_OF_ALL: &str = search!(
    "from clients c
     cross join client_keys k on k.number = c.client
     left join touches t on t.client = c.client
     where c.name_key is not null and (c.name_key, c.partner) >= (?1, ?2) and (c.name_key, c.partner) <= (?3, ?4)",
    "c.name_key, c.partner"
);

/// The place of one row after others, in a range.
macro_rules! end_of_walk {
    ($place:literal, $from:literal, $order:literal) => {
        concat!(
            "select partner, ",
            $place,
            " as place from ",
            $from,
            " and (",
            $order,
            ") >= (?1, ?2) and (",
            $order,
            ") <= (?3, ?4) order by ",
            $order,
            " limit 1 offset ?5"
        )
    };
}

const END_BY_KEY: &str = end_of_walk!("client", "client_keys where true", "partner, client");
const END_BY_ID: &str = end_of_walk!("client", "client_keys where true", "client, partner");
const END_BY_NAME: &str = end_of_walk!(
    "name_key",
    "clients where name_key is not null",
    "partner, name_key"
);
const END_BY_NAME_OF_ALL: &str = end_of_walk!(
    "name_key",
    "clients where name_key is not null",
    "name_key, partner"
);

#[async_trait]
impl Lists for SqliteStore {
    async fn end_of_walk(
        &self,
        search: &ClientSearch,
        after: Option<&ListPosition>,
        rows: u32,
    ) -> Result<Option<ListPosition>> {
        let range = ListRange::of(search, after, None);
        let statement = match search.order() {
            ClientOrder::Keys => END_BY_KEY,
            ClientOrder::Names => END_BY_NAME,
            ClientOrder::Ids => END_BY_ID,
            ClientOrder::NamesOfAll => END_BY_NAME_OF_ALL,
        };
        let end: Option<PlaceRow> = sqlx::query_as(statement)
            .bind(&range.from.0)
            .bind(&range.from.1)
            .bind(&range.upto.0)
            .bind(&range.upto.1)
            .bind(i64::from(rows.saturating_sub(1)))
            .fetch_optional(&self.readers)
            .await?;
        Ok(end.map(PlaceRow::read))
    }

    async fn search(
        &self,
        search: &ClientSearch,
        after: Option<&ListPosition>,
        upto: Option<&ListPosition>,
        limit: u32,
    ) -> Result<Vec<Stored>> {
        let filter = &search.filter;
        let range = ListRange::of(search, after, upto);
        let statement = match search.order() {
            ClientOrder::Keys => BY_KEY,
            ClientOrder::Names => BY_NAME,
            ClientOrder::Ids => BY_ID,
            ClientOrder::NamesOfAll => BY_NAME_OF_ALL,
        };
        let clients: Vec<StoredRow> = sqlx::query_as(statement)
            .bind(&range.from.0)
            .bind(&range.from.1)
            .bind(&range.upto.0)
            .bind(&range.upto.1)
            .bind(&search.id_prefix)
            .bind(json(&filter.links))
            .bind(json(&filter.services))
            .bind(json(&filter.access))
            .bind(search.name_part.as_deref().unwrap_or_default())
            .bind(i64::from(limit))
            .fetch_all(&self.readers)
            .await?;
        clients.into_iter().map(StoredRow::read).collect()
    }

    async fn partners(&self, after: Option<&str>, limit: u32) -> Result<Vec<String>> {
        // One index lookup for each partner, however many clients it has.
        let partners = sqlx::query_scalar(
            "with recursive found (partner) as (
                 select min(partner) from client_keys where partner > ?1
                 union all
                 select (select min(k.partner) from client_keys k where k.partner > found.partner)
                 from found
                 where found.partner is not null
             )
             select partner from found where partner is not null limit ?2",
        )
        .bind(after.unwrap_or_default())
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        Ok(partners)
    }

    async fn facets(&self, partner: &str) -> Result<Facets> {
        let rows: Vec<FacetsRow> = sqlx::query_as(
            "select c.link, c.service, c.access, count(*) as clients
             from client_keys k
             cross join clients c on c.client = k.number
             where k.partner = ?1 and c.link is not null
             group by c.link, c.service, c.access",
        )
        .bind(partner)
        .fetch_all(&self.readers)
        .await?;
        Ok(Facets::of(rows))
    }

    async fn refusals(
        &self,
        filter: &RefusalFilter,
        before: Option<&EventPosition>,
        rows: u32,
        limit: u32,
    ) -> Result<RefusalsPage> {
        let (before, first) = (filter.start(before), filter.end());
        let end = nth_refusal(&self.readers, &before, &first, rows).await?;
        let down_to = end.as_ref().unwrap_or(&first);
        let refused: Vec<Both<RefusedRow<i64>, LoggedRow<i64>>> = sqlx::query_as(
            "select k.partner, k.client, e.client as client_number, e.source as source_number, e.received_at,
                    s.source, e.id, t.word as event_type, e.time, e.sequence, e.actor, e.data, r.word as reason
             from events e
             cross join client_keys k on k.number = e.client
             left join sources s on s.number = e.source
             left join words t on t.number = e.type
             left join words r on r.number = e.reason
             where e.reason <> 0 and (e.time, e.client, e.source, e.id) < (?1, ?2, ?3, ?4)
               and (e.time, e.client, e.source, e.id) >= (?5, ?6, ?7, ?8)
               and (?9 = '' or r.word = ?9) and (?10 = '' or s.source = ?10)
             order by e.time desc, e.client desc, e.source desc, e.id desc
             limit ?11",
        )
        .bind(micros(before.time))
        .bind(before.client)
        .bind(before.source)
        .bind(BoundId(&before.id))
        .bind(micros(down_to.time))
        .bind(down_to.client)
        .bind(down_to.source)
        .bind(BoundId(&down_to.id))
        .bind(filter.code.map_or("", Refusal::code))
        .bind(filter.source.as_deref().unwrap_or_default())
        .bind(i64::from(limit) + 1)
        .fetch_all(&self.readers)
        .await?;
        let refused = refused.into_iter().map(read_refused).collect::<Result<_>>()?;
        Ok(RefusalsPage::of(refused, limit, end))
    }
}

/// The position of the refusal with this number, counted from 1 and from the newest, between two positions. None: there are fewer.
async fn nth_refusal(
    readers: &SqlitePool,
    before: &EventPosition,
    first: &EventPosition,
    number: u32,
) -> Result<Option<EventPosition>> {
    let found: Option<PositionRow<i64>> = sqlx::query_as(
        "select time, client as client_number, source as source_number, id
         from events
         where reason <> 0 and (time, client, source, id) < (?1, ?2, ?3, ?4)
           and (time, client, source, id) >= (?5, ?6, ?7, ?8)
         order by time desc, client desc, source desc, id desc
         limit 1 offset ?9",
    )
    .bind(micros(before.time))
    .bind(before.client)
    .bind(before.source)
    .bind(BoundId(&before.id))
    .bind(micros(first.time))
    .bind(first.client)
    .bind(first.source)
    .bind(BoundId(&first.id))
    .bind(i64::from(number.saturating_sub(1)))
    .fetch_optional(readers)
    .await?;
    found.map(|row| row.read("events")).transpose()
}
