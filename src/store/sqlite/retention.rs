//! Counts and prunes old rows.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::sqlite::SqlitePool;

use super::session::Transaction;
use super::{SqliteStore, micros};
use crate::store::{Result, Retention, RetentionTarget};

const DEAD_LETTERS: &str = "delete from dead_letters
     where id in (
         select id from dead_letters
         where status <> 'open' and resolved_at < ?1
         order by resolved_at
         limit ?2
     )";

const AUDIT_LOG: &str = "delete from audit_log
     where number in (
         select number from audit_log
         where at < ?1
         order by at
         limit ?2
     )";

const ACCESSES: &str = "delete from accesses
     where (client, time, source, id) in (
         select client, time, source, id from accesses
         where time < ?1
         order by time
         limit ?2
     )";

const EVENT_TRACES: &str = "delete from event_traces
     where (client, source, id) in (
         select client, source, id from event_traces
         where received_at < ?1
         order by received_at
         limit ?2
     )";

#[async_trait]
impl Retention for SqliteStore {
    async fn count_prunable(&self, target: RetentionTarget, before: DateTime<Utc>) -> Result<u64> {
        let count: i64 = match target {
            RetentionTarget::DeadLetters => {
                sqlx::query_scalar(
                    "select count(*) from dead_letters
                     where status <> 'open' and resolved_at < ?1",
                )
                .bind(micros(before))
                .fetch_one(&self.readers)
                .await?
            }
            RetentionTarget::SweepRuns { keep } => {
                sqlx::query_scalar(
                    "select count(*)
                     from (select id, status, finished_at,
                                      row_number() over (partition by sweep order by id desc) as place,
                                      max(id) filter (where status = 'done') over (partition by sweep) as last_done
                           from sweep_runs)
                     where place > ?2 and id is not last_done and status <> 'running' and finished_at < ?1",
                )
                .bind(micros(before))
                .bind(i64::from(keep))
                .fetch_one(&self.readers)
                .await?
            }
            RetentionTarget::Journal => {
                sqlx::query_scalar(
                    "select count(*) from journal
                     where seq <= (select seq from relay) and recorded_at < ?1
                           and not exists (
                               select 1 from webhook_endpoints e
                               where e.status = 'active' and e.seq <= journal.seq
                           )",
                )
                .bind(micros(before))
                .fetch_one(&self.readers)
                .await?
            }
            RetentionTarget::Accesses => {
                sqlx::query_scalar("select count(*) from accesses where time < ?1")
                    .bind(micros(before))
                    .fetch_one(&self.readers)
                    .await?
            }
            RetentionTarget::Audit => {
                sqlx::query_scalar("select count(*) from audit_log where at < ?1")
                    .bind(micros(before))
                    .fetch_one(&self.readers)
                    .await?
            }
            RetentionTarget::Traces => {
                sqlx::query_scalar("select count(*) from event_traces where received_at < ?1")
                    .bind(micros(before))
                    .fetch_one(&self.readers)
                    .await?
            }
        };
        Ok(u64::try_from(count).unwrap_or(0))
    }

    async fn prune(&self, target: RetentionTarget, before: DateTime<Utc>, limit: u32) -> Result<u64> {
        self.in_turn(async {
            match target {
                RetentionTarget::DeadLetters => {
                    remove_oldest(&self.writer, DEAD_LETTERS, before, limit).await
                }
                RetentionTarget::SweepRuns { keep } => sweep_runs(&self.writer, before, keep, limit).await,
                RetentionTarget::Journal => journal(&self.writer, before, limit).await,
                RetentionTarget::Accesses => remove_oldest(&self.writer, ACCESSES, before, limit).await,
                RetentionTarget::Audit => remove_oldest(&self.writer, AUDIT_LOG, before, limit).await,
                RetentionTarget::Traces => remove_oldest(&self.writer, EVENT_TRACES, before, limit).await,
            }
        })
        .await
    }
}

/// Removes the oldest rows, as the statement selects them.
async fn remove_oldest(
    writer: &SqlitePool,
    statement: &'static str,
    before: DateTime<Utc>,
    limit: u32,
) -> Result<u64> {
    let removed = sqlx::query(statement)
        .bind(micros(before))
        .bind(i64::from(limit))
        .execute(writer)
        .await?;
    Ok(removed.rows_affected())
}

/// Keeps the last runs of each sweep, and the last one that is done.
async fn sweep_runs(writer: &SqlitePool, before: DateTime<Utc>, keep: u32, limit: u32) -> Result<u64> {
    let removed = sqlx::query(
        "delete from sweep_runs
         where id in (
             select id
             from (select id, status, finished_at,
                          row_number() over (partition by sweep order by id desc) as place,
                          max(id) filter (where status = 'done') over (partition by sweep) as last_done
                   from sweep_runs)
             where place > ?3 and id is not last_done and status <> 'running' and finished_at < ?1
             order by id
             limit ?2
         )",
    )
    .bind(micros(before))
    .bind(i64::from(limit))
    .bind(i64::from(keep))
    .execute(writer)
    .await?;
    Ok(removed.rows_affected())
}

/// Removes lines from the oldest on, up to the first young one, so that each client keeps the end of its journal. The line of the
/// cursor of an active endpoint stays, and all after it: it shows that nothing after it is missing.
async fn journal(writer: &SqlitePool, before: DateTime<Utc>, limit: u32) -> Result<u64> {
    let mut transaction = Transaction::begin(writer).await?;
    let last: Option<(i64, i64)> = sqlx::query_as(
        "select seq, recorded_at
         from (select seq, recorded_at, min(recorded_at < ?1) over (order by seq) as is_old
               from (select seq, recorded_at from journal
                     where seq <= (select seq from relay)
                           and not exists (
                               select 1 from webhook_endpoints e
                               where e.status = 'active' and e.seq <= journal.seq
                           )
                     order by seq
                     limit ?2))
         where is_old
         order by seq desc
         limit 1",
    )
    .bind(micros(before))
    .bind(i64::from(limit))
    .fetch_optional(&mut *transaction)
    .await?;
    let Some((seq, recorded_at)) = last else {
        transaction.rollback().await?;
        return Ok(0);
    };
    let removed = sqlx::query("delete from journal where seq <= ?1")
        .bind(seq)
        .execute(&mut *transaction)
        .await?
        .rows_affected();
    sqlx::query(
        "update relay
         set pruned_before = max(coalesce(pruned_before, ?1), ?1), pruned_seq = ?2, pruned_recorded_at = ?3",
    )
    .bind(micros(before))
    .bind(seq)
    .bind(recorded_at)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(removed)
}
