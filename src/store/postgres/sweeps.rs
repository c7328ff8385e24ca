//! Deadlines and runs of sweeps.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::postgres::PgExecutor;

use super::PostgresStore;
use super::lines::line;
use crate::domain::{ClientKey, Sweep};
use crate::store::clients::StoredRow;
use crate::store::columns::{Both, KeyRow, text};
use crate::store::outbox::{JournalRow, read_line};
use crate::store::sweeps::{DueRow, OVERTAKEN, RunRow};
use crate::store::{Cursor, Due, Recorded, Result, RunCounts, RunEnd, Stored, SweepRun, Sweeps};

#[async_trait]
impl Sweeps for PostgresStore {
    async fn due(
        &self,
        sweep: Sweep,
        until: DateTime<Utc>,
        after: Option<&Due>,
        limit: u32,
    ) -> Result<Vec<Due>> {
        self.in_time(async {
            let (due_at, partner, client) = after.map_or((None, "", ""), |(due_at, key)| {
                (Some(*due_at), &*key.partner, &*key.client)
            });
            let due: Vec<DueRow<DateTime<Utc>>> = sqlx::query_as(
                "select d.due_at, k.partner, k.client
                 from deadlines d
                 join client_keys k on k.number = d.client
                 where d.sweep = (select number from words where word = $1) and d.due_at <= $2
                   and (d.due_at, d.client) > (
                       coalesce($3, '-infinity'::timestamptz),
                       -- Numbers begin at 1. An unknown key comes before all of them.
                       coalesce((select number from client_keys where partner = $4 and client = $5), 0)
                   )
                 order by d.due_at, d.client
                 limit $6",
            )
            .bind(sweep.as_str())
            .bind(until)
            .bind(due_at)
            .bind(partner)
            .bind(client)
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
            due.into_iter().map(DueRow::read).collect()
        })
        .await
    }

    async fn due_clients(
        &self,
        first: &ClientKey,
        last: &ClientKey,
        until: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<Stored>> {
        self.in_time(async {
            let clients: Vec<StoredRow> = sqlx::query_as(
                // Row by row: a join could be planned as a scan of all clients.
                "select k.partner, k.client, c.version, c.doc, t.open_run
                 from client_keys k
                 cross join lateral (
                     select version, doc::text as doc
                     from clients
                     where client = k.number
                       and exists (select from deadlines d where d.client = k.number and d.due_at <= $5)
                     offset 0
                 ) c
                 left join lateral (select open_run from touches where client = k.number offset 0) t on true
                 where (k.partner, k.client) >= ($1, $2) and (k.partner, k.client) <= ($3, $4)
                 order by k.partner, k.client
                 limit $6",
            )
            .bind(&*first.partner)
            .bind(&*first.client)
            .bind(&*last.partner)
            .bind(&*last.client)
            .bind(until)
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
            clients.into_iter().map(StoredRow::read).collect()
        })
        .await
    }

    /// Stops counting at `most`.
    async fn count_deadlines(&self, sweep: Sweep, until: Option<DateTime<Utc>>, most: u64) -> Result<u64> {
        self.in_time(async {
            let (count,): (i64,) = sqlx::query_as(
                "select count(*)
                 from (
                     select 1
                     from deadlines
                     where sweep = (select number from words where word = $1) and due_at <= coalesce($2, 'infinity'::timestamptz)
                     limit $3
                 ) counted",
            )
            .bind(sweep.as_str())
            .bind(until)
            .bind(i64::try_from(most).unwrap_or(i64::MAX))
            .fetch_one(&self.pool)
            .await?;
            Ok(count.unsigned_abs())
        })
        .await
    }

    /// Fails earlier runs of this sweep that have not ended: their workers stopped, or are slow and correct the status
    /// when they end.
    async fn start_run(
        &self,
        sweep: Sweep,
        scheduled_at: DateTime<Utc>,
        started_at: DateTime<Utc>,
        worker: &str,
    ) -> Result<SweepRun> {
        self.in_time(async {
            let run: RunRow<DateTime<Utc>> = sqlx::query_as(
                "with overtaken as (
                     update sweep_runs
                     set status = 'failed', finished_at = $3, error = $5
                     where sweep = $1 and status = 'running' and scheduled_at < $2
                 )
                 insert into sweep_runs (sweep, scheduled_at, started_at, status, worker)
                 values ($1, $2, $3, 'running', $4)
                 on conflict (sweep, scheduled_at) do update
                 set status = case when sweep_runs.status = 'done' then 'done' else 'running' end,
                     finished_at = case when sweep_runs.status = 'done' then sweep_runs.finished_at end
                 returning id, sweep, scheduled_at, started_at, finished_at, upto, status, examined, changed, changes,
                           failed, error, worker",
            )
            .bind(sweep.as_str())
            .bind(scheduled_at)
            .bind(started_at)
            .bind(worker)
            .bind(OVERTAKEN)
            .fetch_one(&self.pool)
            .await?;
            run.read()
        })
        .await
    }

    async fn add_run_counts(&self, id: i64, add: &RunCounts) -> Result<()> {
        self.in_time(add_counts(&self.pool, id, add)).await
    }

    /// A worker that completed the run ends it as done, whatever happens to the others.
    async fn end_run(&self, id: i64, end: &RunEnd) -> Result<()> {
        self.in_time(async {
            sqlx::query(
                "update sweep_runs
                 set finished_at = greatest(finished_at, $2),
                     upto = greatest(upto, $3),
                     status = case when status = 'done' then 'done' else $5 end,
                     error = case when $5 = 'done' or status <> 'done' then $4 else error end
                 where id = $1",
            )
            .bind(id)
            .bind(end.at)
            .bind(end.upto)
            .bind(end.error.as_deref().map(text))
            .bind(end.status.as_str())
            .execute(&self.pool)
            .await?;
            Ok(())
        })
        .await
    }

    async fn runs_before(&self, sweep: Option<Sweep>, before: i64, limit: u32) -> Result<Vec<SweepRun>> {
        self.in_time(async {
            let runs: Vec<RunRow<DateTime<Utc>>> = sqlx::query_as(
                "select id, sweep, scheduled_at, started_at, finished_at, upto, status, examined, changed, changes, failed,
                        error, worker
                 from sweep_runs
                 where id < $2 and ($1::text is null or sweep = $1)
                 order by id desc
                 limit $3",
            )
            .bind(sweep.map(Sweep::as_str))
            .bind(before)
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
            runs.into_iter().map(RunRow::read).collect()
        })
        .await
    }

    async fn run(&self, id: i64) -> Result<Option<SweepRun>> {
        self.in_time(async {
            let run: Option<RunRow<DateTime<Utc>>> = sqlx::query_as(
                "select id, sweep, scheduled_at, started_at, finished_at, upto, status, examined, changed, changes, failed,
                        error, worker
                 from sweep_runs
                 where id = $1",
            )
            .bind(id)
            .fetch_optional(&self.pool)
            .await?;
            run.map(RunRow::read).transpose()
        })
        .await
    }

    async fn run_changes(&self, id: i64, after: Cursor, limit: u32) -> Result<Vec<Recorded>> {
        self.in_time(async {
            let lines: Vec<Both<KeyRow, JournalRow<DateTime<Utc>>>> = sqlx::query_as(concat!(
                "select (select partner from client_keys where number = j.client) as partner,
                        (select client from client_keys where number = j.client) as client, ",
                line!(),
                "from sweep_chunks h
                 join journal j on j.xid = h.xid
                 where h.run = $1 and h.xid >= $2 and (j.xid, j.seq) > ($2, $3)
                 order by h.xid, j.seq
                 limit $4"
            ))
            .bind(id)
            .bind(after.transaction)
            .bind(after.sequence)
            .bind(i64::from(limit))
            .fetch_all(&self.pool)
            .await?;
            lines.into_iter().map(read_line).collect()
        })
        .await
    }

    async fn last_done_run(&self, sweep: Sweep) -> Result<Option<SweepRun>> {
        self.in_time(async {
            let run: Option<RunRow<DateTime<Utc>>> = sqlx::query_as(
                "select id, sweep, scheduled_at, started_at, finished_at, upto, status, examined, changed, changes, failed,
                        error, worker
                 from sweep_runs
                 where sweep = $1 and status = 'done'
                 order by id desc
                 limit 1",
            )
            .bind(sweep.as_str())
            .fetch_optional(&self.pool)
            .await?;
            run.map(RunRow::read).transpose()
        })
        .await
    }
}

pub(super) async fn add_counts(executor: impl PgExecutor<'_>, id: i64, add: &RunCounts) -> Result<()> {
    sqlx::query(
        "update sweep_runs
         set examined = examined + $2, changed = changed + $3, changes = changes + $4, failed = failed + $5
         where id = $1",
    )
    .bind(id)
    .bind(add.examined)
    .bind(add.changed)
    .bind(add.changes)
    .bind(add.failed)
    .execute(executor)
    .await?;
    Ok(())
}

/// Records that this transaction writes lines of the journal for a run.
pub(super) async fn add_chunk(executor: impl PgExecutor<'_>, run: i64) -> Result<()> {
    sqlx::query(
        "insert into sweep_chunks (run, xid)
         select id, pg_current_xact_id()::text::bigint + xid_shift
         from sweep_runs, relay
         where id = $1",
    )
    .bind(run)
    .execute(executor)
    .await?;
    Ok(())
}
