//! Sweeps: what is due, their runs, and what halts them.

use super::SqliteStore;
use crate::store::Sweeps;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::sqlite::{SqliteExecutor, SqlitePool};

use super::micros;
use super::session::Transaction;
use crate::domain::Sweep;
use crate::store::rows::{self, RunRow, text};
use crate::store::{Due, Halt, HaltKind, Result, RunCounts, RunEnd, SweepRun};

#[async_trait]
impl Sweeps for SqliteStore {
    async fn due(
        &self,
        sweep: Sweep,
        until: DateTime<Utc>,
        after: Option<&Due>,
        limit: u32,
    ) -> Result<Vec<Due>> {
        due(&self.readers, sweep, until, after, limit).await
    }

    async fn count_deadlines(&self, sweep: Sweep, until: Option<DateTime<Utc>>, most: u64) -> Result<u64> {
        count_deadlines(&self.readers, sweep, until, most).await
    }

    async fn start_run(
        &self,
        sweep: Sweep,
        scheduled_at: DateTime<Utc>,
        started_at: DateTime<Utc>,
        worker: &str,
    ) -> Result<SweepRun> {
        self.in_turn(start(&self.writer, sweep, scheduled_at, started_at, worker))
            .await
    }

    async fn add_run_counts(&self, id: i64, add: &RunCounts) -> Result<()> {
        self.in_turn(count(&self.writer, id, add)).await
    }

    async fn end_run(&self, id: i64, end: &RunEnd) -> Result<()> {
        self.in_turn(self::end(&self.writer, id, end)).await
    }

    async fn runs(&self, sweep: Option<Sweep>, limit: u32) -> Result<Vec<SweepRun>> {
        runs(&self.readers, sweep, limit).await
    }

    async fn halts(&self) -> Result<Vec<Halt>> {
        halts(&self.readers).await
    }

    async fn halt(&self, halt: &Halt) -> Result<()> {
        self.in_turn(self::halt(&self.writer, halt)).await
    }

    async fn resume(&self, sweep: Sweep, kind: HaltKind) -> Result<bool> {
        self.in_turn(resume(&self.writer, sweep, kind)).await
    }
}

pub(super) async fn due(
    readers: &SqlitePool,
    sweep: Sweep,
    until: DateTime<Utc>,
    after: Option<&Due>,
    limit: u32,
) -> Result<Vec<Due>> {
    let (due_at, partner, client) = after.map_or((i64::MIN, "", ""), |(due_at, key)| {
        (micros(*due_at), &*key.partner, &*key.client)
    });
    let due: Vec<(i64, String, String)> = sqlx::query_as(
        "select due_at, partner, client
         from deadlines
         where sweep = ?1 and due_at <= ?2 and (due_at, partner, client) > (?3, ?4, ?5)
         order by due_at, partner, client
         limit ?6",
    )
    .bind(sweep.as_str())
    .bind(micros(until))
    .bind(due_at)
    .bind(partner)
    .bind(client)
    .bind(i64::from(limit))
    .fetch_all(readers)
    .await?;
    due.into_iter().map(rows::deadline).collect()
}

/// Whatever run of this sweep came before and has not ended was overtaken: its worker went away, or is slow and
/// says so when it ends.
pub(super) async fn start(
    writer: &SqlitePool,
    sweep: Sweep,
    scheduled_at: DateTime<Utc>,
    started_at: DateTime<Utc>,
    worker: &str,
) -> Result<SweepRun> {
    let mut transaction = Transaction::begin(writer).await?;
    sqlx::query(
        "update sweep_runs
         set status = 'failed', finished_at = ?3, error = ?4
         where sweep = ?1 and status = 'running' and scheduled_at < ?2",
    )
    .bind(sweep.as_str())
    .bind(micros(scheduled_at))
    .bind(micros(started_at))
    .bind(rows::OVERTAKEN)
    .execute(&mut *transaction)
    .await?;
    let run: RunRow<i64> = sqlx::query_as(
        "insert into sweep_runs (sweep, scheduled_at, started_at, status, worker)
         values (?1, ?2, ?3, 'running', ?4)
         on conflict (sweep, scheduled_at) do update
         set status = case when status = 'done' then 'done' else 'running' end,
             finished_at = case when status = 'done' then finished_at end
         returning id, sweep, scheduled_at, started_at, finished_at, upto, status, examined, changed, changes,
                   failed, error, worker",
    )
    .bind(sweep.as_str())
    .bind(micros(scheduled_at))
    .bind(micros(started_at))
    .bind(worker)
    .fetch_one(&mut *transaction)
    .await?;
    transaction.commit().await?;
    rows::run(run)
}

pub(super) async fn count(file: impl SqliteExecutor<'_>, id: i64, add: &RunCounts) -> Result<()> {
    sqlx::query(
        "update sweep_runs
         set examined = examined + ?2, changed = changed + ?3, changes = changes + ?4, failed = failed + ?5
         where id = ?1",
    )
    .bind(id)
    .bind(add.examined)
    .bind(add.changed)
    .bind(add.changes)
    .bind(add.failed)
    .execute(file)
    .await?;
    Ok(())
}

/// One worker that has seen a run through ends it, whatever becomes of the others.
pub(super) async fn end(writer: &SqlitePool, id: i64, end: &RunEnd) -> Result<()> {
    sqlx::query(
        "update sweep_runs
         set finished_at = max(coalesce(finished_at, ?2), ?2),
             upto = coalesce(max(upto, ?3), upto, ?3),
             status = case when ?4 is null or status = 'done' then 'done' else 'failed' end,
             error = case when ?4 is null or status <> 'done' then ?4 else error end
         where id = ?1",
    )
    .bind(id)
    .bind(micros(end.at))
    .bind(end.upto.map(micros))
    .bind(end.error.as_deref().map(text))
    .execute(writer)
    .await?;
    Ok(())
}

pub(super) async fn runs(readers: &SqlitePool, sweep: Option<Sweep>, limit: u32) -> Result<Vec<SweepRun>> {
    let runs: Vec<RunRow<i64>> = sqlx::query_as(
        "select id, sweep, scheduled_at, started_at, finished_at, upto, status, examined, changed, changes, failed,
                error, worker
         from sweep_runs
         where ?1 is null or sweep = ?1
         order by id desc
         limit ?2",
    )
    .bind(sweep.map(Sweep::as_str))
    .bind(i64::from(limit))
    .fetch_all(readers)
    .await?;
    runs.into_iter().map(rows::run).collect()
}

/// How many deadlines a sweep has at or before a moment, or at all; counted up to `most`.
pub(super) async fn count_deadlines(
    readers: &SqlitePool,
    sweep: Sweep,
    until: Option<DateTime<Utc>>,
    most: u64,
) -> Result<u64> {
    let (count,): (i64,) = sqlx::query_as(
        "select count(*)
         from (
             select 1
             from deadlines
             where sweep = ?1 and due_at <= ?2
             limit ?3
         )",
    )
    .bind(sweep.as_str())
    .bind(until.map_or(i64::MAX, micros))
    .bind(i64::try_from(most).unwrap_or(i64::MAX))
    .fetch_one(readers)
    .await?;
    Ok(count.unsigned_abs())
}

pub(super) async fn halts(executor: impl SqliteExecutor<'_>) -> Result<Vec<Halt>> {
    let halts: Vec<(String, String, i64, String)> = sqlx::query_as(
        "select sweep, kind, at, why
         from sweep_halts
         order by sweep, kind",
    )
    .fetch_all(executor)
    .await?;
    halts.into_iter().map(rows::halt).collect()
}

/// The first reason stays.
pub(super) async fn halt(writer: &SqlitePool, halt: &Halt) -> Result<()> {
    sqlx::query(
        "insert into sweep_halts (sweep, kind, at, why)
         values (?1, ?2, ?3, ?4)
         on conflict (sweep, kind) do nothing",
    )
    .bind(halt.sweep.as_str())
    .bind(halt.kind.as_str())
    .bind(micros(halt.at))
    .bind(text(&halt.why))
    .execute(writer)
    .await?;
    Ok(())
}

pub(super) async fn resume(writer: &SqlitePool, sweep: Sweep, kind: HaltKind) -> Result<bool> {
    let done = sqlx::query("delete from sweep_halts where sweep = ?1 and kind = ?2")
        .bind(sweep.as_str())
        .bind(kind.as_str())
        .execute(writer)
        .await?;
    Ok(done.rows_affected() > 0)
}
