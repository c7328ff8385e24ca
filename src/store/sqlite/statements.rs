//! Closings of months, and what they stated.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;

use super::lines::{line, words_of_line};
use super::session::Transaction;
use super::{SqliteStore, audit, many, micros};
use crate::domain::ClientKey;
use crate::domain::statement::WITHOUT_DAYS;
use crate::store::audit::AuditTexts;
use crate::store::columns::{Both, KeyRow, json, text};
use crate::store::dead_letter::believable;
use crate::store::outbox::JournalRow;
use crate::store::statements::{ClosingRow, EventNameRow, StatedRow, by_client, continuing, counts};
use crate::store::{AuditEntry, Closing, ClosingClaim, MovedClosing, Recorded, Result, Stated, Statements};

#[async_trait]
impl Statements for SqliteStore {
    async fn closings(&self) -> Result<Vec<Closing>> {
        let closings: Vec<ClosingRow<i64>> = sqlx::query_as(
            "select month, status, closed_by, started_at, closed_at, claimed_until, partner, client, statements, adjustments
             from closings
             order by month",
        )
        .fetch_all(&self.readers)
        .await?;
        closings.into_iter().map(ClosingRow::read).collect()
    }

    async fn claim_closing(
        &self,
        claim: &ClosingClaim,
        now: DateTime<Utc>,
        entry: Option<&AuditEntry>,
    ) -> Result<bool> {
        self.in_turn(async {
            let mut transaction = Transaction::begin(&self.writer).await?;
            // Does nothing if the month has a row, is not the next one, or if another month is in progress.
            let begun = sqlx::query(
                "insert into closings (month, status, closed_by, started_at)
                 select ?1, 'in_progress', ?2, ?3
                 where not exists (select 1 from closings where month >= ?1)
                   and (exists (select 1 from closings where month = ?4) or not exists (select 1 from closings))
                 on conflict do nothing",
            )
            .bind(claim.month.number())
            .bind(text(&claim.by))
            .bind(micros(now))
            .bind(claim.month.previous().number())
            .execute(&mut *transaction)
            .await?;
            let claimed = sqlx::query(
                "update closings
                 set claim = ?2, claimed_until = ?3
                 where month = ?1 and status = 'in_progress'
                   and (claimed_until is null or claimed_until <= ?4 or claimed_until > ?5)",
            )
            .bind(claim.month.number())
            .bind(&claim.token)
            .bind(micros(claim.until))
            .bind(micros(now))
            .bind(micros(believable(now, claim.until)))
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
        self.in_turn(async {
            let renewed = sqlx::query(
                "update closings set claimed_until = ?3 where month = ?1 and claim = ?2 and status = 'in_progress'",
            )
            .bind(claim.month.number())
            .bind(&claim.token)
            .bind(micros(claim.until))
            .execute(&self.writer)
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
        self.in_turn(async {
            let (statements, adjustments) = counts(claim, rows);
            let mut transaction = Transaction::begin(&self.writer).await?;
            let held = sqlx::query(
                "update closings
                 set claimed_until = ?3, partner = ?4, client = ?5,
                     statements = statements + ?6, adjustments = adjustments + ?7
                 where month = ?1 and claim = ?2 and status = 'in_progress'",
            )
            .bind(claim.month.number())
            .bind(&claim.token)
            .bind(micros(claim.until))
            .bind(&*upto.partner)
            .bind(&*upto.client)
            .bind(statements)
            .bind(adjustments)
            .execute(&mut *transaction)
            .await?;
            if held.rows_affected() == 0 {
                transaction.rollback().await?;
                return Ok(false);
            }
            insert(&mut transaction, rows).await?;
            transaction.commit().await?;
            Ok(true)
        })
        .await
    }

    async fn end_closing(&self, claim: &ClosingClaim, at: DateTime<Utc>) -> Result<bool> {
        self.in_turn(async {
            let ended = sqlx::query(
                "update closings
                 set status = 'closed', closed_at = ?3, claim = '', claimed_until = null, partner = null, client = null
                 where month = ?1 and claim = ?2 and status = 'in_progress'",
            )
            .bind(claim.month.number())
            .bind(&claim.token)
            .bind(micros(at))
            .execute(&self.writer)
            .await?;
            Ok(ended.rows_affected() == 1)
        })
        .await
    }

    async fn release_closing(&self, claim: &ClosingClaim) -> Result<()> {
        self.in_turn(async {
            sqlx::query(
                "update closings
                 set claim = '', claimed_until = null
                 where month = ?1 and claim = ?2 and status = 'in_progress'",
            )
            .bind(claim.month.number())
            .bind(&claim.token)
            .execute(&self.writer)
            .await?;
            Ok(())
        })
        .await
    }

    async fn stated(&self, keys: &[ClientKey]) -> Result<HashMap<ClientKey, Vec<Stated>>> {
        let keys: Vec<(&str, &str)> = keys.iter().map(|key| (&*key.partner, &*key.client)).collect();
        let rows: Vec<Both<KeyRow, StatedRow>> = sqlx::query_as(
            "select k.partner, k.client, s.month, s.stated_in, s.billable, s.commission, s.status_credit, s.access,
                    s.intervals, s.causes
             from json_each(?1) w
             cross join client_keys k on k.partner = w.value ->> '$[0]' and k.client = w.value ->> '$[1]'
             cross join statement_days s on s.client = k.number",
        )
        .bind(json(&keys))
        .fetch_all(&self.readers)
        .await?;
        by_client(rows)
    }

    async fn any_event_before(&self, keys: &[ClientKey], before: DateTime<Utc>) -> Result<bool> {
        let keys: Vec<(&str, &str)> = keys.iter().map(|key| (&*key.partner, &*key.client)).collect();
        let is_any = sqlx::query_scalar(
            "select exists (
                 select 1
                 from json_each(?1) w
                 cross join client_keys k on k.partner = w.value ->> '$[0]' and k.client = w.value ->> '$[1]'
                 cross join events e on e.client = k.number and e.time < ?2
             )",
        )
        .bind(json(&keys))
        .bind(micros(before))
        .fetch_one(&self.readers)
        .await?;
        Ok(is_any)
    }

    async fn stored_since(
        &self,
        key: &ClientKey,
        since: DateTime<Utc>,
        before: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<(Arc<str>, Arc<str>)>> {
        let names: Vec<EventNameRow> = sqlx::query_as(
            "select s.source, e.id
             from client_keys k
             cross join events e on e.client = k.number
             left join sources s on s.number = e.source
             where k.partner = ?1 and k.client = ?2 and e.time < ?4 and e.received_at >= ?3
               and e.reason = 0 and e.type not in (select number from words where word in (select value from json_each(?6)))
             order by e.time, e.source, e.id
             limit ?5",
        )
        .bind(&*key.partner)
        .bind(&*key.client)
        .bind(micros(since))
        .bind(micros(before))
        .bind(i64::from(limit))
        .bind(json(&WITHOUT_DAYS))
        .fetch_all(&self.readers)
        .await?;
        names.into_iter().map(|name| name.read(key)).collect()
    }

    async fn corrections_since(
        &self,
        key: &ClientKey,
        since: DateTime<Utc>,
        before: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<Recorded>> {
        let lines: Vec<JournalRow<i64>> = sqlx::query_as(concat!(
            "select ",
            line!(),
            "from client_keys k
                 cross join journal j on j.client = k.number",
            words_of_line!(),
            "where k.partner = ?1 and k.client = ?2 and j.corrector <> 0 and j.recorded_at >= ?3 and j.time < ?4
                 order by j.seq
                 limit ?5"
        ))
        .bind(&*key.partner)
        .bind(&*key.client)
        .bind(micros(since))
        .bind(micros(before))
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        lines.into_iter().map(|line| line.read(key.clone())).collect()
    }
}

/// Adds the entry of a claim, unless its author has one.
async fn add_entry(
    connection: &mut SqliteConnection,
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
         where month = ?1
           and not exists (select 1 from audit_log where target = ?2 and action = ?3 and who = ?4)",
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

/// Inserts what a closing stated.
pub(super) async fn insert(connection: &mut SqliteConnection, rows: &[(ClientKey, Stated)]) -> Result<()> {
    many::write(
        connection,
        many!(
            "insert into statement_days
                 (client, month, stated_in, billable, commission, status_credit, access, intervals, causes)
             select k.number, column3, column4, column5, column6, column7, column8, column9, column10
             from (values " each "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)" ")
             cross join client_keys k on k.partner = column1 and k.client = column2
             where column1 is not null"
        ),
        rows,
        |query, (key, row)| {
            query
                .bind(&*key.partner)
                .bind(&*key.client)
                .bind(row.month.number())
                .bind(row.stated_in.number())
                .bind(row.days.billable.bits())
                .bind(row.days.commission.bits())
                .bind(row.days.status_credit.bits())
                .bind(row.days.access.bits())
                .bind(row.intervals_text())
                .bind(row.causes_text())
        },
    )
    .await?;
    Ok(())
}

/// Inserts a closing of an import.
pub(super) async fn insert_closing(connection: &mut SqliteConnection, moved: &MovedClosing) -> Result<()> {
    sqlx::query(
        "insert into closings
             (month, status, closed_by, started_at, closed_at, partner, client, statements, adjustments)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )
    .bind(moved.month.number())
    .bind(moved.status().as_str())
    .bind(text(&moved.closed_by))
    .bind(micros(moved.started_at))
    .bind(moved.closed_at.map(micros))
    .bind(moved.after.as_ref().map(|key| &*key.partner))
    .bind(moved.after.as_ref().map(|key| &*key.client))
    .bind(moved.statements)
    .bind(moved.adjustments)
    .execute(connection)
    .await?;
    Ok(())
}
