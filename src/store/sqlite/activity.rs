//! Events and changes per minute, as each worker has counted them.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::session::Transaction;
use super::{SqliteStore, micros};
use crate::store::activity::MinuteRow;
use crate::store::{Activity, MinuteCounts, Result};

#[async_trait]
impl Activity for SqliteStore {
    async fn activity(
        &self,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
        other_than: i64,
    ) -> Result<Vec<(DateTime<Utc>, MinuteCounts)>> {
        let rows: Vec<MinuteRow<i64>> = sqlx::query_as(
            "select minute, sum(applied) as applied, sum(duplicate) as duplicate, sum(refused) as refused, sum(dead) as dead,
                    sum(deferred) as deferred, sum(by_event) as by_event, sum(by_timer) as by_timer,
                    sum(corrections) as corrections
             from activity
             where minute >= ?1 and minute <= ?2 and worker <> ?3
             group by minute
             order by minute",
        )
        .bind(micros(since))
        .bind(micros(until))
        .bind(other_than)
        .fetch_all(&self.readers)
        .await?;
        rows.into_iter().map(MinuteRow::read).collect()
    }

    async fn record_activity(
        &self,
        worker: i64,
        minutes: &[(DateTime<Utc>, MinuteCounts)],
        oldest: DateTime<Utc>,
    ) -> Result<()> {
        self.in_turn(async {
            let mut transaction = Transaction::begin(&self.writer).await?;
            sqlx::query("delete from activity where minute < ?1")
                .bind(micros(oldest))
                .execute(&mut *transaction)
                .await?;
            for (minute, counts) in minutes.iter().filter(|(minute, _)| *minute >= oldest) {
                let mut recorded = sqlx::query(
                    "insert into activity (minute, worker, applied, duplicate, refused, dead, deferred, by_event, by_timer,
                                           corrections)
                     values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                     on conflict (minute, worker) do update
                     set applied = max(activity.applied, excluded.applied), duplicate = max(activity.duplicate, excluded.duplicate),
                         refused = max(activity.refused, excluded.refused), dead = max(activity.dead, excluded.dead),
                         deferred = max(activity.deferred, excluded.deferred), by_event = max(activity.by_event, excluded.by_event),
                         by_timer = max(activity.by_timer, excluded.by_timer), corrections = max(activity.corrections, excluded.corrections)",
                )
                .bind(micros(*minute))
                .bind(worker);
                for count in counts.columns() {
                    recorded = recorded.bind(count);
                }
                recorded.execute(&mut *transaction).await?;
            }
            transaction.commit().await
        })
        .await
    }
}
