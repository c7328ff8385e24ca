//! Deadlines and runs of sweeps.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteExecutor;

use super::lines::{line, words_of_line};
use super::session::Transaction;
use super::{SqliteStore, micros};
use crate::domain::{ClientKey, Sweep};
use crate::store::clients::StoredRow;
use crate::store::columns::{Both, KeyRow, text};
use crate::store::outbox::{JournalRow, read_line};
use crate::store::sweeps::{DueRow, OVERTAKEN, RunRow};
use crate::store::{Cursor, Due, Recorded, Result, RunCounts, RunEnd, Stored, SweepRun, Sweeps};

#[async_trait]
impl Sweeps for SqliteStore {
    async fn due(
        &self,
        sweep: Sweep,
        until: DateTime<Utc>,
        after: Option<&Due>,
        limit: u32,
    ) -> Result<Vec<Due>> {
        let (due_at, partner, client) = after.map_or((i64::MIN, "", ""), |(due_at, key)| {
            (micros(*due_at), &*key.partner, &*key.client)
        });
        let due: Vec<DueRow<i64>> = sqlx::query_as(
            "select d.due_at, k.partner, k.client
             from deadlines d
             cross join client_keys k on k.number = d.client
             where d.sweep = (select number from words where word = ?1) and d.due_at <= ?2
                   and (d.due_at, d.client) > (?3, coalesce((select number from client_keys
                                                             where partner = ?4 and client = ?5), 0))
             order by d.due_at, d.client
             limit ?6",
        )
        .bind(sweep.as_str())
        .bind(micros(until))
        .bind(due_at)
        .bind(partner)
        .bind(client)
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        due.into_iter().map(DueRow::read).collect()
    }

    async fn due_clients(
        &self,
        first: &ClientKey,
        last: &ClientKey,
        until: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<Stored>> {
        let clients: Vec<StoredRow> = sqlx::query_as(
            "select k.partner, k.client, c.version, c.doc, t.open_run
             from client_keys k
             cross join clients c on c.client = k.number
             left join touches t on t.client = k.number
             where (k.partner, k.client) >= (?1, ?2) and (k.partner, k.client) <= (?3, ?4)
               and exists (select 1 from deadlines d where d.client = k.number and d.due_at <= ?5)
             order by k.partner, k.client
             limit ?6",
        )
        .bind(&*first.partner)
        .bind(&*first.client)
        .bind(&*last.partner)
        .bind(&*last.client)
        .bind(micros(until))
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        clients.into_iter().map(StoredRow::read).collect()
    }

    /// Stops counting at `most`.
    async fn count_deadlines(&self, sweep: Sweep, until: Option<DateTime<Utc>>, most: u64) -> Result<u64> {
        let (count,): (i64,) = sqlx::query_as(
            "select count(*)
             from (
                 select 1
                 from deadlines
                 where sweep = (select number from words where word = ?1) and due_at <= ?2
                 limit ?3
             )",
        )
        .bind(sweep.as_str())
        .bind(until.map_or(i64::MAX, micros))
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
        .fetch_one(&self.readers)
        .await?;
        Ok(count.unsigned_abs())
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
        self.in_turn(async {
            let mut transaction = Transaction::begin(&self.writer).await?;
            sqlx::query(
                "update sweep_runs
                 set status = 'failed', finished_at = ?3, error = ?4
                 where sweep = ?1 and status = 'running' and scheduled_at < ?2",
            )
            .bind(sweep.as_str())
            .bind(micros(scheduled_at))
            .bind(micros(started_at))
            .bind(OVERTAKEN)
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
            run.read()
        })
        .await
    }

    async fn add_run_counts(&self, id: i64, add: &RunCounts) -> Result<()> {
        self.in_turn(add_counts(&self.writer, id, add)).await
    }

    /// A worker that completed the run ends it as done, whatever happens to the others.
    async fn end_run(&self, id: i64, end: &RunEnd) -> Result<()> {
        self.in_turn(async {
            sqlx::query(
                "update sweep_runs
                 set finished_at = max(coalesce(finished_at, ?2), ?2),
                     upto = coalesce(max(upto, ?3), upto, ?3),
                     status = case when status = 'done' then 'done' else ?5 end,
                     error = case when ?5 = 'done' or status <> 'done' then ?4 else error end
                 where id = ?1",
            )
            .bind(id)
            .bind(micros(end.at))
            .bind(end.upto.map(micros))
            .bind(end.error.as_deref().map(text))
            .bind(end.status.as_str())
            .execute(&self.writer)
            .await?;
            Ok(())
        })
        .await
    }

    async fn runs_before(&self, sweep: Option<Sweep>, before: i64, limit: u32) -> Result<Vec<SweepRun>> {
        let runs: Vec<RunRow<i64>> = sqlx::query_as(
            "select id, sweep, scheduled_at, started_at, finished_at, upto, status, examined, changed, changes, failed,
                    error, worker
             from sweep_runs
             where id < ?2 and (?1 is null or sweep = ?1)
             order by id desc
             limit ?3",
        )
        .bind(sweep.map(Sweep::as_str))
        .bind(before)
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        runs.into_iter().map(RunRow::read).collect()
    }

    async fn run(&self, id: i64) -> Result<Option<SweepRun>> {
        let run: Option<RunRow<i64>> = sqlx::query_as(
            "select id, sweep, scheduled_at, started_at, finished_at, upto, status, examined, changed, changes, failed,
                    error, worker
             from sweep_runs
             where id = ?1",
        )
        .bind(id)
        .fetch_optional(&self.readers)
        .await?;
        run.map(RunRow::read).transpose()
    }

    async fn run_changes(&self, id: i64, after: Cursor, limit: u32) -> Result<Vec<Recorded>> {
        let lines: Vec<Both<KeyRow, JournalRow<i64>>> = sqlx::query_as(concat!(
            "select k.partner, k.client, ",
            line!(),
            "from sweep_chunks h
                 cross join journal j on j.seq between h.first_seq and h.last_seq
                 left join client_keys k on k.number = j.client",
            words_of_line!(),
            "where h.run = ?1 and h.last_seq > ?2 and j.seq > ?2
                 order by h.first_seq, j.seq
                 limit ?3"
        ))
        .bind(id)
        .bind(after.sequence)
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        lines.into_iter().map(read_line).collect()
    }

    async fn last_done_run(&self, sweep: Sweep) -> Result<Option<SweepRun>> {
        let run: Option<RunRow<i64>> = sqlx::query_as(
            "select id, sweep, scheduled_at, started_at, finished_at, upto, status, examined, changed, changes, failed,
                    error, worker
             from sweep_runs
             where sweep = ?1 and status = 'done'
             order by id desc
             limit 1",
        )
        .bind(sweep.as_str())
        .fetch_optional(&self.readers)
        .await?;
        run.map(RunRow::read).transpose()
    }
}

pub(super) async fn add_counts(executor: impl SqliteExecutor<'_>, id: i64, add: &RunCounts) -> Result<()> {
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
    .execute(executor)
    .await?;
    Ok(())
}

/// Records that the last lines of the journal were written for a run.
pub(super) async fn add_chunk(executor: impl SqliteExecutor<'_>, run: i64, lines: usize) -> Result<()> {
    sqlx::query(
        "insert into sweep_chunks (run, first_seq, last_seq)
         select id, newest - ?2 + 1, newest
         from sweep_runs, (select max(seq) as newest from journal)
         where id = ?1",
    )
    .bind(run)
    .bind(i64::try_from(lines).unwrap_or(i64::MAX))
    .execute(executor)
    .await?;
    Ok(())
}
