//! Closings of months, and what they stated.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Connection, PgConnection};

use super::lines::line;
use super::{PostgresStore, audit};
use crate::domain::statement::WITHOUT_DAYS;
use crate::domain::{ClientKey, Measure, Month};
use crate::store::audit::AuditTexts;
use crate::store::columns::{Both, KeyRow, text};
use crate::store::dead_letter::believable;
use crate::store::outbox::JournalRow;
use crate::store::statements::{ClosingRow, EventNameRow, StatedRow, by_client, continuing, counts};
use crate::store::{AuditEntry, Closing, ClosingClaim, MovedClosing, Recorded, Result, Stated, Statements};

#[async_trait]
impl Statements for PostgresStore {
    async fn closings(&self) -> Result<Vec<Closing>> {
        self.in_time(async {
            let closings: Vec<ClosingRow<DateTime<Utc>>> = sqlx::query_as(
                "select month, status, closed_by, started_at, closed_at, claimed_until, partner, client, statements, adjustments
                 from closings
                 order by month",
            )
            .fetch_all(&self.pool)
            .await?;
            closings.into_iter().map(ClosingRow::read).collect()
        })
        .await
    }

    async fn claim_closing(
        &self,
        claim: &ClosingClaim,
        now: DateTime<Utc>,
        entry: Option<&AuditEntry>,
    ) -> Result<bool> {
        self.in_time(async {
            let mut connection = self.pool.acquire().await?;
            let mut transaction = connection.begin().await?;
            // One claim at a time, so that the next statement sees what the previous claim has begun.
            sqlx::query("lock table closings in share row exclusive mode")
                .execute(&mut *transaction)
                .await?;
            // Does nothing if the month has a row, is not the next one, or if another month is in progress.
            let begun = sqlx::query(
                "insert into closings (month, status, closed_by, started_at)
                 select $1, 'in_progress', $2, $3
                 where not exists (select from closings where month >= $1)
                   and (exists (select from closings where month = $4) or not exists (select from closings))
                 on conflict do nothing",
            )
            .bind(claim.month.number())
            .bind(text(&claim.by))
            .bind(now)
            .bind(claim.month.previous().number())
            .execute(&mut *transaction)
            .await?;
            let claimed = sqlx::query(
                "update closings
                 set claim = $2, claimed_until = $3
                 where month = $1 and status = 'in_progress'
                   and (claimed_until is null or claimed_until <= $4 or claimed_until > $5)",
            )
            .bind(claim.month.number())
            .bind(&claim.token)
            .bind(claim.until)
            .bind(now)
            .bind(believable(now, claim.until))
            .execute(&mut *transaction)
            .await?;
            let is_claimed = claimed.rows_affected() == 1;
            if let Some(entry) = entry.filter(|_| is_claimed) {
                add_entry(&mut transaction, claim, entry, begun.rows_affected() == 1).await?;
            }
            transaction.commit().await?;
            Ok(is_claimed)
        })
        .await
    }

    async fn renew_closing(&self, claim: &ClosingClaim) -> Result<bool> {
        self.in_time(async {
            let renewed = sqlx::query(
                "update closings set claimed_until = $3 where month = $1 and claim = $2 and status = 'in_progress'",
            )
            .bind(claim.month.number())
            .bind(&claim.token)
            .bind(claim.until)
            .execute(&self.pool)
            .await?;
            Ok(renewed.rows_affected() == 1)
        })
        .await
    }

    async fn record_stated(
        &self,
        claim: &ClosingClaim,
        upto: &ClientKey,
        rows: &[(ClientKey, Stated)],
    ) -> Result<bool> {
        self.in_time(async {
            let (statements, adjustments) = counts(claim, rows);
            // One statement is one transaction.
            let held: i64 = sqlx::query_scalar(
                "with held as (
                     update closings
                     set claimed_until = $3, partner = $4, client = $5,
                         statements = statements + $6, adjustments = adjustments + $7
                     where month = $1 and claim = $2 and status = 'in_progress'
                     returning month
                 ), written as (
                     insert into statement_days
                         (client, month, stated_in, billable, commission, status_credit, access, intervals, causes)
                     select k.number, r.month, h.month, r.billable, r.commission, r.status_credit, r.access, r.intervals,
                            r.causes
                     from held h
                     cross join unnest($8::text[], $9::text[], $10::integer[], $11::integer[], $12::integer[],
                                       $13::integer[], $14::integer[], $15::text[], $16::text[])
                         as r (partner, client, month, billable, commission, status_credit, access, intervals, causes)
                     cross join lateral (
                         select number from client_keys where partner = r.partner and client = r.client offset 0
                     ) k
                 )
                 select count(*) from held",
            )
            .bind(claim.month.number())
            .bind(&claim.token)
            .bind(claim.until)
            .bind(&*upto.partner)
            .bind(&*upto.client)
            .bind(statements)
            .bind(adjustments)
            .bind(rows.iter().map(|(key, _)| &*key.partner).collect::<Vec<_>>())
            .bind(rows.iter().map(|(key, _)| &*key.client).collect::<Vec<_>>())
            .bind(rows.iter().map(|(_, row)| row.month.number()).collect::<Vec<_>>())
            .bind(bits(rows, Measure::Billable))
            .bind(bits(rows, Measure::Commission))
            .bind(bits(rows, Measure::StatusCredit))
            .bind(bits(rows, Measure::Access))
            .bind(rows.iter().map(|(_, row)| row.intervals_text()).collect::<Vec<_>>())
            .bind(rows.iter().map(|(_, row)| row.causes_text()).collect::<Vec<_>>())
            .fetch_one(&self.pool)
            .await?;
            Ok(held == 1)
        })
        .await
    }

    async fn end_closing(&self, claim: &ClosingClaim, at: DateTime<Utc>) -> Result<bool> {
        self.in_time(async {
            let ended = sqlx::query(
                "update closings
                 set status = 'closed', closed_at = $3, claim = '', claimed_until = null, partner = null, client = null
                 where month = $1 and claim = $2 and status = 'in_progress'",
            )
            .bind(claim.month.number())
            .bind(&claim.token)
            .bind(at)
            .execute(&self.pool)
            .await?;
            Ok(ended.rows_affected() == 1)
        })
        .await
    }

    async fn release_closing(&self, claim: &ClosingClaim) -> Result<()> {
        self.in_time(async {
            sqlx::query(
                "update closings
                 set claim = '', claimed_until = null
                 where month = $1 and claim = $2 and status = 'in_progress'",
            )
            .bind(claim.month.number())
            .bind(&claim.token)
            .execute(&self.pool)
            .await?;
            Ok(())
        })
        .await
    }

    async fn stated(&self, keys: &[ClientKey]) -> Result<HashMap<ClientKey, Vec<Stated>>> {
        self.in_time(async {
            let (partners, clients): (Vec<&str>, Vec<&str>) =
                keys.iter().map(|key| (&*key.partner, &*key.client)).unzip();
            let rows: Vec<Both<KeyRow, StatedRow>> = sqlx::query_as(
                "select w.partner, w.client, s.month, s.stated_in, s.billable, s.commission, s.status_credit, s.access,
                        s.intervals, s.causes
                 from unnest($1::text[], $2::text[]) as w (partner, client)
                 cross join lateral (
                     select number from client_keys where partner = w.partner and client = w.client offset 0
                 ) k
                 cross join lateral (
                     select * from statement_days where client = k.number offset 0
                 ) s",
            )
            .bind(partners)
            .bind(clients)
            .fetch_all(&self.pool)
            .await?;
            by_client(rows)
        })
        .await
    }

    async fn any_event_before(&self, keys: &[ClientKey], before: DateTime<Utc>) -> Result<bool> {
        self.in_time(async {
            let (partners, clients): (Vec<&str>, Vec<&str>) =
                keys.iter().map(|key| (&*key.partner, &*key.client)).unzip();
            let is_any = sqlx::query_scalar(
                "select exists (
                     select from unnest($1::text[], $2::text[]) as w (partner, client)
                     cross join lateral (
                         select number from client_keys where partner = w.partner and client = w.client offset 0
                     ) k
                     cross join lateral (
                         select from events where client = k.number and time < $3 limit 1
                     ) e
                 )",
            )
            .bind(partners)
            .bind(clients)
            .bind(before)
            .fetch_one(&self.pool)
            .await?;
            Ok(is_any)
        })
        .await
    }

    async fn stored_since(
        &self,
        key: &ClientKey,
        since: DateTime<Utc>,
        before: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<(Arc<str>, Arc<str>)>> {
        self.in_time(async {
            let names: Vec<EventNameRow> = sqlx::query_as(
                "select (select source from sources where number = ref_source(e.ref)) as source, e.ref as id
                 from events e
                 where e.client = (select number from client_keys where partner = $1 and client = $2)
                   and e.time < $4 and e.received_at >= $3 and e.reason = 0
                   and e.type not in (select number from words where word = any($6))
                 order by e.time, e.ref
                 limit $5",
            )
            .bind(&*key.partner)
            .bind(&*key.client)
            .bind(since)
            .bind(before)
            .bind(i64::from(limit))
            .bind(&WITHOUT_DAYS[..])
            .fetch_all(&self.pool)
            .await?;
            names.into_iter().map(|name| name.read(key)).collect()
        })
        .await
    }

    async fn corrections_since(
        &self,
        key: &ClientKey,
        since: DateTime<Utc>,
        before: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<Recorded>> {
        self.in_time(async {
            let lines: Vec<JournalRow<DateTime<Utc>>> = sqlx::query_as(concat!(
                "select ",
                line!(),
                "from journal j
                 where j.client = (select number from client_keys where partner = $1 and client = $2)
                   and j.corrector <> 0 and j.recorded_at >= $3 and j.time < $4
                 order by j.seq
                 limit $5"
            ))
            .bind(&*key.partner)
            .bind(&*key.client)
            .bind(since)
            .bind(before)
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
            lines.into_iter().map(|line| line.read(key.clone())).collect()
        })
        .await
    }
}

/// Adds the entry of a claim, unless its author has one.
async fn add_entry(
    connection: &mut PgConnection,
    claim: &ClosingClaim,
    entry: &AuditEntry,
    is_begun: bool,
) -> Result<()> {
    if is_begun {
        return audit::add(connection, entry).await;
    }
    let texts = AuditTexts::of(entry);
    let begun_by: Option<String> = sqlx::query_scalar(
        "select closed_by
         from closings
         where month = $1
           and not exists (select from audit_log where target = $2 and action = $3 and who = $4)",
    )
    .bind(claim.month.number())
    .bind(texts.target)
    .bind(texts.action)
    .bind(texts.who)
    .fetch_optional(&mut *connection)
    .await?;
    match begun_by {
        Some(begun_by) => audit::add(connection, &continuing(entry, begun_by)).await,
        None => Ok(()),
    }
}

/// Inserts rows of an import.
pub(super) async fn insert(connection: &mut PgConnection, rows: &[(ClientKey, Stated)]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let months = |month: fn(&Stated) -> Month| -> Vec<i32> {
        rows.iter().map(|(_, row)| month(row).number()).collect()
    };
    sqlx::query(
        "insert into statement_days
             (client, month, stated_in, billable, commission, status_credit, access, intervals, causes)
         select k.number, r.month, r.stated_in, r.billable, r.commission, r.status_credit, r.access, r.intervals, r.causes
         from unnest($1::text[], $2::text[], $3::integer[], $4::integer[], $5::integer[], $6::integer[], $7::integer[],
                     $8::integer[], $9::text[], $10::text[])
             as r (partner, client, month, stated_in, billable, commission, status_credit, access, intervals, causes)
         cross join lateral (
             select number from client_keys where partner = r.partner and client = r.client offset 0
         ) k",
    )
    .bind(rows.iter().map(|(key, _)| &*key.partner).collect::<Vec<_>>())
    .bind(rows.iter().map(|(key, _)| &*key.client).collect::<Vec<_>>())
    .bind(months(|row| row.month))
    .bind(months(|row| row.stated_in))
    .bind(bits(rows, Measure::Billable))
    .bind(bits(rows, Measure::Commission))
    .bind(bits(rows, Measure::StatusCredit))
    .bind(bits(rows, Measure::Access))
    .bind(rows.iter().map(|(_, row)| row.intervals_text()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, row)| row.causes_text()).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Inserts a closing of an import.
pub(super) async fn insert_closing(connection: &mut PgConnection, moved: &MovedClosing) -> Result<()> {
    sqlx::query(
        "insert into closings
             (month, status, closed_by, started_at, closed_at, partner, client, statements, adjustments)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(moved.month.number())
    .bind(moved.status().as_str())
    .bind(text(&moved.closed_by))
    .bind(moved.started_at)
    .bind(moved.closed_at)
    .bind(moved.after.as_ref().map(|key| &*key.partner))
    .bind(moved.after.as_ref().map(|key| &*key.client))
    .bind(moved.statements)
    .bind(moved.adjustments)
    .execute(connection)
    .await?;
    Ok(())
}

/// The days of a measure, as the column has them.
fn bits(rows: &[(ClientKey, Stated)], measure: Measure) -> Vec<i32> {
    rows.iter().map(|(_, row)| row.days.get(measure).bits()).collect()
}
