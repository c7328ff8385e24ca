//! Reads and writes the access log.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;

use super::event_id::BoundId;
use super::numbers::Numbers;
use super::{SqliteStore, many, micros};
use crate::domain::{ClientKey, Refusal};
use crate::store::accesses::{FoundRow, read_found};
use crate::store::actor::actor_text;
use crate::store::columns::{RowId, optional_text};
use crate::store::event_position::PositionRow;
use crate::store::{Access, AccessFilter, Accesses, AccessesPage, EventPosition, Result, TouchOutcome};

/// The columns of a `FoundRow`, of entries `a` of clients `k`.
macro_rules! entries {
    ($from:literal, $rest:literal) => {
        concat!(
            "select k.partner, k.client, a.client as client_number, a.source as source_number, s.source, a.id, a.time,
                    a.sequence, a.by_staff, a.user_id, a.actor,
                    case coalesce(e.reason, a.reason) when 0 then '' else w.word end as reason ",
            $from,
            " left join events e on e.client = a.client and e.time = a.time and e.source = a.source and e.id = a.id
              left join sources s on s.number = a.source
              left join words w on w.number = coalesce(e.reason, a.reason) ",
            $rest
        )
    };
}

const OF_CLIENT: &str = entries!(
    "from client_keys k
     cross join accesses a on a.client = k.number",
    "where k.partner = ?1 and k.client = ?2 and a.time >= ?3 and (a.time, a.source, a.id) < (?4, ?5, ?6)
     order by a.time desc, a.source desc, a.id desc
     limit ?7"
);

const OF_ALL: &str = entries!(
    "from accesses a
     cross join client_keys k on k.number = a.client",
    "where (a.time, a.client, a.source, a.id) < (?1, ?2, ?3, ?4)
       and (a.time, a.client, a.source, a.id) >= (?5, ?6, ?7, ?8) and (?9 = '' or k.partner = ?9)
     order by a.time desc, a.client desc, a.source desc, a.id desc
     limit ?10"
);

#[async_trait]
impl Accesses for SqliteStore {
    async fn accesses(
        &self,
        key: &ClientKey,
        filter: &AccessFilter,
        after: Option<&EventPosition>,
        limit: u32,
    ) -> Result<AccessesPage> {
        let start = filter.start(after);
        let found: Vec<FoundRow<i64>> = sqlx::query_as(OF_CLIENT)
            .bind(&*key.partner)
            .bind(&*key.client)
            .bind(micros(filter.end().time))
            .bind(micros(start.time))
            .bind(start.source)
            .bind(BoundId(&start.id))
            .bind(i64::from(limit) + 1)
            .fetch_all(&self.readers)
            .await?;
        let found = found.into_iter().map(read_found).collect::<Result<_>>()?;
        Ok(AccessesPage::of(found, limit, None))
    }

    async fn all_accesses(
        &self,
        partner: Option<&str>,
        filter: &AccessFilter,
        after: Option<&EventPosition>,
        rows: u32,
        limit: u32,
    ) -> Result<AccessesPage> {
        let (start, last) = (filter.start(after), filter.end());
        let end = match partner {
            Some(_) => self.end_of_accesses(&start, &last, rows).await?,
            None => None,
        };
        let last = end.as_ref().unwrap_or(&last);
        let found: Vec<FoundRow<i64>> = sqlx::query_as(OF_ALL)
            .bind(micros(start.time))
            .bind(start.client)
            .bind(start.source)
            .bind(BoundId(&start.id))
            .bind(micros(last.time))
            .bind(last.client)
            .bind(last.source)
            .bind(BoundId(&last.id))
            .bind(partner.unwrap_or_default())
            .bind(i64::from(limit) + 1)
            .fetch_all(&self.readers)
            .await?;
        let found = found.into_iter().map(read_found).collect::<Result<_>>()?;
        Ok(AccessesPage::of(found, limit, end))
    }

    async fn access_log_since(&self) -> Result<Option<DateTime<Utc>>> {
        let since: Option<i64> = sqlx::query_scalar("select since from access_log_since")
            .fetch_optional(&self.readers)
            .await?;
        let row = RowId {
            table: "access_log_since",
            key: &"its only row",
        };
        row.optional_moment("since", since)
    }

    async fn record_access_log(&self, since: Option<DateTime<Utc>>) -> Result<()> {
        self.in_turn(async {
            let statement = match since {
                Some(since) => sqlx::query(
                    "insert into access_log_since (only_row, since) values (1, ?1) on conflict do nothing",
                )
                .bind(micros(since)),
                None => sqlx::query("delete from access_log_since"),
            };
            statement.execute(&self.writer).await?;
            Ok(())
        })
        .await
    }

    async fn postpone_access_log(&self, since: DateTime<Utc>) -> Result<()> {
        self.in_turn(async {
            sqlx::query("update access_log_since set since = max(since, ?1)")
                .bind(micros(since))
                .execute(&self.writer)
                .await?;
            Ok(())
        })
        .await
    }
}

impl SqliteStore {
    /// The position `rows` entries after another, in the order of a list of all clients. None: there are fewer.
    async fn end_of_accesses(
        &self,
        start: &EventPosition,
        last: &EventPosition,
        rows: u32,
    ) -> Result<Option<EventPosition>> {
        let end: Option<PositionRow<i64>> = sqlx::query_as(
            "select time, client as client_number, source as source_number, id
             from accesses
             where (time, client, source, id) < (?1, ?2, ?3, ?4) and (time, client, source, id) >= (?5, ?6, ?7, ?8)
             order by time desc, client desc, source desc, id desc
             limit 1 offset ?9",
        )
        .bind(micros(start.time))
        .bind(start.client)
        .bind(start.source)
        .bind(BoundId(&start.id))
        .bind(micros(last.time))
        .bind(last.client)
        .bind(last.source)
        .bind(BoundId(&last.id))
        .bind(i64::from(rows.saturating_sub(1)))
        .fetch_optional(&self.readers)
        .await?;
        end.map(|end| end.read("accesses")).transpose()
    }
}

/// Adds entries. One that is there stays as it is: packed touches may arrive again.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    accesses: &[Access],
    numbers: &Numbers,
) -> Result<()> {
    many::write(
        connection,
        many!(
            "insert into accesses (client, time, source, id, reason, by_staff, sequence, user_id, actor)
             select *
             from (values " each "(?, ?, ?, ?, ?, ?, ?, ?, ?)" ")
             where column1 is not null
             on conflict (client, time, source, id) do nothing"
        ),
        accesses,
        |query, access| {
            query
                .bind(numbers.client(&access.client))
                .bind(micros(access.time))
                .bind(numbers.source(&access.source))
                .bind(BoundId(&access.id))
                .bind(reason(access.refused, numbers))
                .bind(access.is_by_staff())
                .bind(access.sequence_text())
                .bind(access.user_text())
                .bind(actor_text(&access.actor))
        },
    )
    .await?;
    Ok(())
}

/// Writes new outcomes of packed touches into their entries, as far as there are any.
pub(super) async fn touch_outcomes(
    connection: &mut SqliteConnection,
    updates: &[TouchOutcome],
    numbers: &Numbers,
) -> Result<()> {
    many::write(
        connection,
        many!(
            "update or fail accesses
             set reason = w.column4
             from (values " each "(?, ?, ?, ?)" ") w
             where accesses.client = w.column1 and accesses.time = w.column2 and accesses.sequence = w.column3"
        ),
        updates,
        |query, update| {
            query
                .bind(numbers.client(&update.key))
                .bind(micros(update.time))
                .bind(optional_text(update.sequence.as_deref()))
                .bind(reason(update.refusal, numbers))
        },
    )
    .await?;
    Ok(())
}

/// The number of a refusal. 0: there is none.
fn reason(refusal: Option<Refusal>, numbers: &Numbers) -> i64 {
    refusal.map_or(0, |refusal| numbers.word(refusal.code()))
}
