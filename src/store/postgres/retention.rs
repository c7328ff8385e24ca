//! Counts and prunes old rows.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::Connection;

use super::PostgresStore;
use super::sessions::Sessions;
use crate::store::{Result, Retention, RetentionTarget};

const DEAD_LETTERS: &str = "delete from dead_letters
     where id in (
         select id from dead_letters
         where status <> 'open' and resolved_at < $1
         order by resolved_at
         limit $2
         for update skip locked
     )";

const AUDIT_LOG: &str = "delete from audit_log
     where number in (
         select number from audit_log
         where at < $1
         order by at
         limit $2
         for update skip locked
     )";

const ACCESSES: &str = "delete from accesses
     where ctid = any (array(
         select ctid from accesses
         where time < $1
         order by time
         limit $2
         for update skip locked
     ))";

const EVENT_TRACES: &str = "delete from event_traces
     where ctid = any (array(
         select ctid from event_traces
         where received_at < $1
         order by received_at
         limit $2
         for update skip locked
     ))";

#[async_trait]
impl Retention for PostgresStore {
    async fn count_prunable(&self, target: RetentionTarget, before: DateTime<Utc>) -> Result<u64> {
        self.in_time(async {
            let count: i64 = match target {
                RetentionTarget::DeadLetters => {
                    sqlx::query_scalar(
                        "select count(*) from dead_letters
                         where status <> 'open' and resolved_at < $1",
                    )
                    .bind(before)
                    .fetch_one(&self.pool)
                    .await?
                }
                RetentionTarget::SweepRuns { keep } => {
                    sqlx::query_scalar(
                        "select count(*)
                         from (select id, status, finished_at,
                                      row_number() over (partition by sweep order by id desc) as place,
                                      max(id) filter (where status = 'done') over (partition by sweep) as last_done
                               from sweep_runs) r
                         where place > $2 and id is distinct from last_done and status <> 'running' and finished_at < $1",
                    )
                    .bind(before)
                    .bind(i64::from(keep))
                    .fetch_one(&self.pool)
                    .await?
                }
                RetentionTarget::Journal => {
                    sqlx::query_scalar(
                        "select count(*) from journal j
                         where (xid, seq) <= ((select xid from relay), (select seq from relay)) and recorded_at < $1
                               and not exists (
                                   select from webhook_endpoints e
                                   where e.status = 'active' and (e.xid, e.seq) <= (j.xid, j.seq)
                               )",
                    )
                    .bind(before)
                    .fetch_one(&self.pool)
                    .await?
                }
                RetentionTarget::Accesses => {
                    sqlx::query_scalar("select count(*) from accesses where time < $1")
                        .bind(before)
                        .fetch_one(&self.pool)
                        .await?
                }
                RetentionTarget::Audit => {
                    sqlx::query_scalar("select count(*) from audit_log where at < $1")
                        .bind(before)
                        .fetch_one(&self.pool)
                        .await?
                }
                RetentionTarget::Traces => {
                    sqlx::query_scalar("select count(*) from event_traces where received_at < $1")
                        .bind(before)
                        .fetch_one(&self.pool)
                        .await?
                }
            };
            Ok(u64::try_from(count).unwrap_or(0))
        })
        .await
    }

    async fn prune(&self, target: RetentionTarget, before: DateTime<Utc>, limit: u32) -> Result<u64> {
        self.in_time(async {
            match target {
                RetentionTarget::DeadLetters => remove_oldest(&self.pool, DEAD_LETTERS, before, limit).await,
                RetentionTarget::SweepRuns { keep } => sweep_runs(&self.pool, before, keep, limit).await,
                RetentionTarget::Journal => journal(&self.pool, before, limit).await,
                RetentionTarget::Accesses => remove_oldest(&self.pool, ACCESSES, before, limit).await,
                RetentionTarget::Audit => remove_oldest(&self.pool, AUDIT_LOG, before, limit).await,
                RetentionTarget::Traces => remove_oldest(&self.pool, EVENT_TRACES, before, limit).await,
            }
        })
        .await
    }
}

/// Removes the oldest rows, as the statement selects them.
async fn remove_oldest(
    pool: &Sessions,
    statement: &'static str,
    before: DateTime<Utc>,
    limit: u32,
) -> Result<u64> {
    let removed = sqlx::query(statement)
        .bind(before)
        .bind(i64::from(limit))
        .execute(pool)
        .await?;
    Ok(removed.rows_affected())
}

/// Keeps the last runs of each sweep, and the last one that is done.
async fn sweep_runs(pool: &Sessions, before: DateTime<Utc>, keep: u32, limit: u32) -> Result<u64> {
    // Checked again on the row itself: a worker may have joined the run meanwhile.
    let removed = sqlx::query(
        "delete from sweep_runs
         where status <> 'running' and finished_at < $1 and id in (
             select id
             from (select id, status, finished_at,
                          row_number() over (partition by sweep order by id desc) as place,
                          max(id) filter (where status = 'done') over (partition by sweep) as last_done
                   from sweep_runs) r
             where place > $3 and id is distinct from last_done and status <> 'running' and finished_at < $1
             order by id
             limit $2
         )",
    )
    .bind(before)
    .bind(i64::from(limit))
    .bind(i64::from(keep))
    .execute(pool)
    .await?;
    Ok(removed.rows_affected())
}

/// Removes lines from the oldest on, up to the first young one, so that each client keeps the end of its journal. The line of the
/// cursor of an active endpoint stays, and all after it: it shows that nothing after it is missing.
async fn journal(pool: &Sessions, before: DateTime<Utc>, limit: u32) -> Result<u64> {
    let mut connection = pool.acquire().await?;
    let mut transaction = connection.begin().await?;
    // One worker at a time. The cursor cannot move.
    let (xid, seq): (i64, i64) = sqlx::query_as("select xid, seq from relay for update")
        .fetch_one(&mut *transaction)
        .await?;
    let last: Option<(i64, i64, DateTime<Utc>, i64)> = sqlx::query_as(
        "with removed as (
             delete from journal
             using (
                 select xid, seq, bool_and(recorded_at < $1) over (order by xid, seq) as is_old
                 from (select xid, seq, recorded_at from journal j
                       where (xid, seq) <= ($2, $3)
                             and not exists (
                                 select from webhook_endpoints e
                                 where e.status = 'active' and (e.xid, e.seq) <= (j.xid, j.seq)
                             )
                       order by xid, seq
                       limit $4) oldest
             ) o
             where journal.xid = o.xid and journal.seq = o.seq and o.is_old
             returning journal.xid, journal.seq, journal.recorded_at
         )
         select xid, seq, recorded_at, count(*) over ()
         from removed
         order by xid desc, seq desc
         limit 1",
    )
    .bind(before)
    .bind(xid)
    .bind(seq)
    .bind(i64::from(limit))
    .fetch_optional(&mut *transaction)
    .await?;
    let Some((xid, seq, recorded_at, removed)) = last else {
        transaction.rollback().await?;
        return Ok(0);
    };
    sqlx::query(
        "update relay
         set pruned_before = greatest(pruned_before, $1), pruned_xid = $2, pruned_seq = $3, pruned_recorded_at = $4",
    )
    .bind(before)
    .bind(xid)
    .bind(seq)
    .bind(recorded_at)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(u64::try_from(removed).unwrap_or(0))
}
