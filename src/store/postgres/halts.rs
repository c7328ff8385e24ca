//! Halts: sweeps that do not run, and the reasons.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::postgres::PgExecutor;

use super::PostgresStore;
use crate::domain::Sweep;
use crate::store::columns::text;
use crate::store::halts::HaltRow;
use crate::store::{Halt, HaltKind, Halts, Result};

#[async_trait]
impl Halts for PostgresStore {
    async fn halts(&self) -> Result<Vec<Halt>> {
        self.in_time(halts(&self.pool)).await
    }

    /// Does not replace the reason of an earlier halt.
    async fn halt(&self, halt: &Halt) -> Result<()> {
        self.in_time(add(&self.pool, halt)).await.map(|_| ())
    }

    async fn resume(&self, sweep: Sweep, kind: HaltKind) -> Result<bool> {
        self.in_time(remove(&self.pool, sweep, kind)).await
    }
}

pub(super) async fn halts(executor: impl PgExecutor<'_>) -> Result<Vec<Halt>> {
    let halts: Vec<HaltRow<DateTime<Utc>>> = sqlx::query_as(
        "select sweep, kind, at, why
         from sweep_halts
         order by sweep, kind",
    )
    .fetch_all(executor)
    .await?;
    halts.into_iter().map(HaltRow::read).collect()
}

/// Halts a sweep. False: it has a halt of this kind, whose reason stays.
pub(super) async fn add(executor: impl PgExecutor<'_>, halt: &Halt) -> Result<bool> {
    let added = sqlx::query(
        "insert into sweep_halts (sweep, kind, at, why)
         values ($1, $2, $3, $4)
         on conflict (sweep, kind) do nothing",
    )
    .bind(halt.sweep.as_str())
    .bind(halt.kind.as_str())
    .bind(halt.at)
    .bind(text(&halt.why))
    .execute(executor)
    .await?;
    Ok(added.rows_affected() > 0)
}

/// Removes a halt. False: there was none.
pub(super) async fn remove(executor: impl PgExecutor<'_>, sweep: Sweep, kind: HaltKind) -> Result<bool> {
    let removed = sqlx::query("delete from sweep_halts where sweep = $1 and kind = $2")
        .bind(sweep.as_str())
        .bind(kind.as_str())
        .execute(executor)
        .await?;
    Ok(removed.rows_affected() > 0)
}
