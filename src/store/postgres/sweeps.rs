//! Sweeps: what is due, their runs, and what halts them.

use super::PostgresStore;
use super::session::in_time;
use crate::store::Sweeps;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::postgres::PgExecutor;

use super::sessions::Sessions;
use crate::domain::Sweep;
use crate::store::rows::{self, RunRow, text};
use crate::store::{Due, Halt, HaltKind, Result, RunCounts, RunEnd, SweepRun};

#[async_trait]
impl Sweeps for PostgresStore {
    async fn due(
        &self,
        sweep: Sweep,
        until: DateTime<Utc>,
        after: Option<&Due>,
        limit: u32,
    ) -> Result<Vec<Due>> {
        in_time(self.limit, due(&self.pool, sweep, until, after, limit)).await
    }

    async fn count_deadlines(&self, sweep: Sweep, until: Option<DateTime<Utc>>, most: u64) -> Result<u64> {
        in_time(self.limit, count_deadlines(&self.pool, sweep, until, most)).await
    }

    async fn start_run(
        &self,
        sweep: Sweep,
        scheduled_at: DateTime<Utc>,
        started_at: DateTime<Utc>,
        worker: &str,
    ) -> Result<SweepRun> {
        in_time(
            self.limit,
            start(&self.pool, sweep, scheduled_at, started_at, worker),
        )
        .await
    }

    async fn add_run_counts(&self, id: i64, add: &RunCounts) -> Result<()> {
        in_time(self.limit, count(&self.pool, id, add)).await
    }

    async fn end_run(&self, id: i64, end: &RunEnd) -> Result<()> {
        in_time(self.limit, self::end(&self.pool, id, end)).await
    }

    async fn runs(&self, sweep: Option<Sweep>, limit: u32) -> Result<Vec<SweepRun>> {
        in_time(self.limit, runs(&self.pool, sweep, limit)).await
    }

    async fn halts(&self) -> Result<Vec<Halt>> {
        in_time(self.limit, halts(&self.pool)).await
    }

    async fn halt(&self, halt: &Halt) -> Result<()> {
        in_time(self.limit, self::halt(&self.pool, halt)).await
    }

    async fn resume(&self, sweep: Sweep, kind: HaltKind) -> Result<bool> {
        in_time(self.limit, resume(&self.pool, sweep, kind)).await
    }
}

pub(super) async fn due(
    pool: &Sessions,
    sweep: Sweep,
    until: DateTime<Utc>,
    after: Option<&Due>,
    limit: u32,
) -> Result<Vec<Due>> {
    let (due_at, partner, client) = after.map_or((None, "", ""), |(due_at, key)| {
        (Some(*due_at), &*key.partner, &*key.client)
    });
    let due: Vec<(DateTime<Utc>, String, String)> = sqlx::query_as(
        "select due_at, partner, client
         from deadlines
         where sweep = $1 and due_at <= $2
           and (due_at, partner, client) > (coalesce($3, '-infinity'::timestamptz), $4, $5)
         order by due_at, partner, client
         limit $6",
    )
    .bind(sweep.as_str())
    .bind(until)
    .bind(due_at)
    .bind(partner)
    .bind(client)
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await?;
    due.into_iter().map(rows::deadline).collect()
}

/// Whatever run of this sweep came before and has not ended was overtaken: its worker went away, or is slow and
/// says so when it ends.
pub(super) async fn start(
    pool: &Sessions,
    sweep: Sweep,
    scheduled_at: DateTime<Utc>,
    started_at: DateTime<Utc>,
    worker: &str,
) -> Result<SweepRun> {
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
    .bind(rows::OVERTAKEN)
    .fetch_one(pool)
    .await?;
    rows::run(run)
}

pub(super) async fn count(server: impl PgExecutor<'_>, id: i64, add: &RunCounts) -> Result<()> {
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
    .execute(server)
    .await?;
    Ok(())
}

/// One worker that has seen a run through ends it, whatever becomes of the others.
pub(super) async fn end(pool: &Sessions, id: i64, end: &RunEnd) -> Result<()> {
    sqlx::query(
        "update sweep_runs
         set finished_at = greatest(finished_at, $2),
             upto = greatest(upto, $3),
             status = case when $4::text is null or status = 'done' then 'done' else 'failed' end,
             error = case when $4 is null or status <> 'done' then $4 else error end
         where id = $1",
    )
    .bind(id)
    .bind(end.at)
    .bind(end.upto)
    .bind(end.error.as_deref().map(text))
    .execute(pool)
    .await?;
    Ok(())
}

pub(super) async fn runs(pool: &Sessions, sweep: Option<Sweep>, limit: u32) -> Result<Vec<SweepRun>> {
    let runs: Vec<RunRow<DateTime<Utc>>> = sqlx::query_as(
        "select id, sweep, scheduled_at, started_at, finished_at, upto, status, examined, changed, changes, failed,
                error, worker
         from sweep_runs
         where $1::text is null or sweep = $1
         order by id desc
         limit $2",
    )
    .bind(sweep.map(Sweep::as_str))
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await?;
    runs.into_iter().map(rows::run).collect()
}

/// How many deadlines a sweep has at or before a moment, or at all; counted up to `most`.
pub(super) async fn count_deadlines(
    pool: &Sessions,
    sweep: Sweep,
    until: Option<DateTime<Utc>>,
    most: u64,
) -> Result<u64> {
    let (count,): (i64,) = sqlx::query_as(
        "select count(*)
         from (
             select 1
             from deadlines
             where sweep = $1 and due_at <= coalesce($2, 'infinity'::timestamptz)
             limit $3
         ) counted",
    )
    .bind(sweep.as_str())
    .bind(until)
    .bind(i64::try_from(most).unwrap_or(i64::MAX))
    .fetch_one(pool)
    .await?;
    Ok(count.unsigned_abs())
}

pub(super) async fn halts(executor: impl PgExecutor<'_>) -> Result<Vec<Halt>> {
    let halts: Vec<(String, String, DateTime<Utc>, String)> = sqlx::query_as(
        "select sweep, kind, at, why
         from sweep_halts
         order by sweep, kind",
    )
    .fetch_all(executor)
    .await?;
    halts.into_iter().map(rows::halt).collect()
}

/// The first reason stays.
pub(super) async fn halt(pool: &Sessions, halt: &Halt) -> Result<()> {
    sqlx::query(
        "insert into sweep_halts (sweep, kind, at, why)
         values ($1, $2, $3, $4)
         on conflict (sweep, kind) do nothing",
    )
    .bind(halt.sweep.as_str())
    .bind(halt.kind.as_str())
    .bind(halt.at)
    .bind(text(&halt.why))
    .execute(pool)
    .await?;
    Ok(())
}

pub(super) async fn resume(pool: &Sessions, sweep: Sweep, kind: HaltKind) -> Result<bool> {
    let done = sqlx::query("delete from sweep_halts where sweep = $1 and kind = $2")
        .bind(sweep.as_str())
        .bind(kind.as_str())
        .execute(pool)
        .await?;
    Ok(done.rows_affected() > 0)
}
