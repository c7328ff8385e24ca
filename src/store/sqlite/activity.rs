//! How many events and changes each minute brought, as each process has counted them.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::session::Transaction;
use super::{SqliteStore, micros};
use crate::store::activity::{ActivityRow, sums};
use crate::store::columns::json;
use crate::store::{Activity, MinuteCounts, Result};

#[async_trait]
impl Activity for SqliteStore {
    async fn activity(
        &self,
        since: DateTime<Utc>,
        except: i64,
    ) -> Result<Vec<(DateTime<Utc>, MinuteCounts)>> {
        let rows: Vec<ActivityRow<i64>> = sqlx::query_as(
            "select minute, counts
             from activity
             where minute >= ?1 and process <> ?2
             order by minute",
        )
        .bind(micros(since))
        .bind(except)
        .fetch_all(&self.readers)
        .await?;
        sums(rows)
    }

    async fn record_activity(
        &self,
        process: i64,
        minutes: &[(DateTime<Utc>, MinuteCounts)],
        kept_since: DateTime<Utc>,
    ) -> Result<()> {
        self.in_turn(async {
            let mut transaction = Transaction::begin(&self.writer).await?;
            sqlx::query("delete from activity where minute < ?1")
                .bind(micros(kept_since))
                .execute(&mut *transaction)
                .await?;
            for (minute, counts) in minutes.iter().filter(|(minute, _)| *minute >= kept_since) {
                sqlx::query(
                    "insert into activity (minute, process, counts)
                     values (?1, ?2, ?3)
                     on conflict (minute, process) do update set counts = excluded.counts",
                )
                .bind(micros(*minute))
                .bind(process)
                .bind(json(counts))
                .execute(&mut *transaction)
                .await?;
            }
            transaction.commit().await
        })
        .await
    }
}
