//! Numbers of transactions and rows. New numbers must exceed those in the tables, even if the tables came from another
//! server: a dump keeps that server's numbers, and logical replication copies no sequences.

use sqlx::{Connection, PgConnection};

use crate::store::columns::row;
use crate::store::{Result, StoreError};

/// Whether new numbers of transactions exceed all existing ones, as a column of a query of `relay`.
macro_rules! is_numbered {
    () => {
        "greatest(xid, (select coalesce(max(xid), 0) from journal))
             < pg_snapshot_xmax(pg_current_snapshot())::text::bigint + xid_shift"
    };
}
pub(super) use is_numbered;

row! {
    /// The column `is_numbered!()`.
    NumberedRow {
        is_numbered: bool,
    }
}

/// Continues if a read found the numbers in order. Otherwise corrects them, and fails: what was read may be incomplete.
pub(super) async fn require(connection: &mut PgConnection, is_numbered: bool) -> Result<()> {
    if is_numbered {
        return Ok(());
    }
    check(connection).await?;
    Err(StoreError::Conflict(
        "the numbering of changes was advanced".into(),
    ))
}

/// Ensures that new numbers exceed all existing ones. If they would not, the tables came from another server: then the
/// numbering advances, and a new epoch begins, because numbers may have been used twice.
pub(super) async fn check(connection: &mut PgConnection) -> Result<()> {
    if is_behind(connection).await? {
        continue_above(connection).await?;
        tracing::warn!(
            "the tables came from another server with higher numbers; the numbering continues above them, and a new \
             epoch of changes begins"
        );
    }
    Ok(())
}

/// Sequences are read after the snapshot, so they are never behind the rows that it shows. Of the journal, only the end
/// is read: its sequence alone has no index.
async fn is_behind(connection: &mut PgConnection) -> Result<bool> {
    let is_behind = sqlx::query_scalar(
        "select greatest(r.xid, (select coalesce(max(xid), 0) from journal))
                    >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint + r.xid_shift
                or greatest(r.seq, (select coalesce(max(seq), 0)
                                    from (select seq from journal order by xid desc, seq desc limit 1000) last))
                    > (select last_value - (not is_called)::int from journal_seq_seq)
                or (select coalesce(max(id), 0) from dead_letters)
                    > (select last_value - (not is_called)::int from dead_letters_id_seq)
                or (select coalesce(max(id), 0) from sweep_runs)
                    > (select last_value - (not is_called)::int from sweep_runs_id_seq)
                or (select coalesce(max(number), 0) from client_keys)
                    > (select last_value - (not is_called)::int from client_keys_number_seq)
                or (select coalesce(max(number), 0) from sources)
                    > (select last_value - (not is_called)::int from sources_number_seq)
                or (select coalesce(max(number), 0) from words)
                    > (select last_value - (not is_called)::int from words_number_seq)
         from relay r",
    )
    .fetch_optional(connection)
    .await?;
    // No row: a dump is being loaded, and nobody can write yet.
    Ok(is_behind.unwrap_or(false))
}

async fn continue_above(connection: &mut PgConnection) -> Result<()> {
    let mut transaction = connection.begin().await?;
    // Waits for running writers: none may continue under a low number afterwards.
    sqlx::query("lock table clients, journal in exclusive mode")
        .execute(&mut *transaction)
        .await?;
    sqlx::query(
        "with last as (
             select greatest(xid, (select coalesce(max(xid), 0) from journal)) as xid from relay
         )
         update relay
         set xid_shift = last.xid + 1 - pg_snapshot_xmax(pg_current_snapshot())::text::bigint
         from last
         where last.xid >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint + xid_shift",
    )
    .execute(&mut *transaction)
    .await?;
    for statement in [
        "select setval('journal_seq_seq', last)
         from (select greatest(max(seq), (select seq from relay)) as last from journal) rows, journal_seq_seq
         where last > last_value - (not is_called)::int",
        "select setval('dead_letters_id_seq', last)
         from (select max(id) as last from dead_letters) rows, dead_letters_id_seq
         where last > last_value - (not is_called)::int",
        "select setval('sweep_runs_id_seq', last)
         from (select max(id) as last from sweep_runs) rows, sweep_runs_id_seq
         where last > last_value - (not is_called)::int",
        "select setval('client_keys_number_seq', last)
         from (select max(number) as last from client_keys) rows, client_keys_number_seq
         where last > last_value - (not is_called)::int",
        "select setval('sources_number_seq', last)
         from (select max(number) as last from sources) rows, sources_number_seq
         where last > last_value - (not is_called)::int",
        "select setval('words_number_seq', last)
         from (select max(number) as last from words) rows, words_number_seq
         where last > last_value - (not is_called)::int",
    ] {
        sqlx::query(statement).execute(&mut *transaction).await?;
    }
    begin_epoch(&mut transaction, 0).await?;
    transaction.commit().await?;
    Ok(())
}

/// Begins a new epoch, greater than `above` and than the stored one, whatever the clock says.
pub(super) async fn begin_epoch(connection: &mut PgConnection, above: i64) -> Result<i64> {
    let epoch = sqlx::query_scalar(
        "update relay
         set epoch = greatest(greatest(epoch, $1) / 1000000 + 1, (extract(epoch from clock_timestamp()) * 1000)::bigint)
                     * 1000000 + floor(random() * 1000000)::bigint
         returning epoch",
    )
    .bind(above)
    .fetch_one(connection)
    .await?;
    Ok(epoch)
}
