//! Sweeps: what is due, and their runs.

use chrono::{DateTime, Utc};
use sqlx::sqlite::SqlitePool;

use super::micros;
use crate::domain::{ClientKey, Sweep};
use crate::store::rows::{self, RunRow, text};
use crate::store::{Result, RunCounts, SweepRun};

pub(super) async fn due(
    readers: &SqlitePool,
    sweep: Sweep,
    until: DateTime<Utc>,
    after: Option<&(DateTime<Utc>, ClientKey)>,
    limit: u32,
) -> Result<Vec<(DateTime<Utc>, ClientKey)>> {
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

/// A worker that comes again by the same name was interrupted and goes on with its own share.
pub(super) async fn start(
    writer: &SqlitePool,
    sweep: Sweep,
    scheduled_at: DateTime<Utc>,
    started_at: DateTime<Utc>,
    worker: &str,
) -> Result<SweepRun> {
    let run: RunRow<i64> = sqlx::query_as(
        "insert into sweep_runs (sweep, scheduled_at, started_at, status, worker)
         values (?1, ?2, ?3, 'running', ?4)
         on conflict (sweep, scheduled_at) do update
         set status = 'running', finished_at = null,
             workers = case when workers > 0 and worker = excluded.worker then workers else workers + 1 end
         returning id, sweep, scheduled_at, started_at, finished_at, status, examined, changed, changes, failed,
                   error, worker",
    )
    .bind(sweep.as_str())
    .bind(micros(scheduled_at))
    .bind(micros(started_at))
    .bind(worker)
    .fetch_one(writer)
    .await?;
    rows::run(run)
}

pub(super) async fn update(
    writer: &SqlitePool,
    id: i64,
    add: &RunCounts,
    error: Option<&str>,
    finished_at: Option<DateTime<Utc>>,
) -> Result<()> {
    // The last worker to be done ends the run.
    sqlx::query(
        "update sweep_runs
         set examined = examined + ?2, changed = changed + ?3, changes = changes + ?4, failed = failed + ?5,
             error = coalesce(?6, error),
             workers = case when ?7 is null then workers else max(workers - 1, 0) end,
             finished_at = case when ?7 is null or workers > 1 then finished_at else ?7 end,
             status = case when ?7 is null or workers > 1 then status
                           when coalesce(?6, error) is null then 'done'
                           else 'failed' end
         where id = ?1",
    )
    .bind(id)
    .bind(add.examined)
    .bind(add.changed)
    .bind(add.changes)
    .bind(add.failed)
    .bind(error.map(text))
    .bind(finished_at.map(micros))
    .execute(writer)
    .await?;
    Ok(())
}

pub(super) async fn runs(readers: &SqlitePool, sweep: Option<Sweep>, limit: u32) -> Result<Vec<SweepRun>> {
    let runs: Vec<RunRow<i64>> = sqlx::query_as(
        "select id, sweep, scheduled_at, started_at, finished_at, status, examined, changed, changes, failed,
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
