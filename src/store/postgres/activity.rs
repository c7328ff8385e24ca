//! Events and changes per minute, as each worker has counted them.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::PostgresStore;
use crate::store::activity::MinuteRow;
use crate::store::{Activity, MinuteCounts, Result};

#[async_trait]
impl Activity for PostgresStore {
    async fn activity(
        &self,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
        other_than: i64,
    ) -> Result<Vec<(DateTime<Utc>, MinuteCounts)>> {
        self.in_time(async {
            let rows: Vec<MinuteRow<DateTime<Utc>>> = sqlx::query_as(
                "select minute, sum(applied)::bigint as applied, sum(duplicate)::bigint as duplicate,
                        sum(refused)::bigint as refused, sum(dead)::bigint as dead, sum(deferred)::bigint as deferred,
                        sum(by_event)::bigint as by_event, sum(by_timer)::bigint as by_timer,
                        sum(corrections)::bigint as corrections
                 from activity
                 where minute >= $1 and minute <= $2 and worker <> $3
                 group by minute
                 order by minute",
            )
            .bind(since)
            .bind(until)
            .bind(other_than)
            .fetch_all(&self.pool)
            .await?;
            rows.into_iter().map(MinuteRow::read).collect()
        })
        .await
    }

    async fn record_activity(
        &self,
        worker: i64,
        minutes: &[(DateTime<Utc>, MinuteCounts)],
        oldest: DateTime<Utc>,
    ) -> Result<()> {
        let column = |place: usize| -> Vec<i64> {
            minutes
                .iter()
                .map(|(_, counts)| counts.columns()[place])
                .collect()
        };
        self.in_time(async {
            sqlx::query(
                "with removed as (
                     delete from activity where minute < $2
                 )
                 insert into activity (worker, minute, applied, duplicate, refused, dead, deferred, by_event, by_timer, corrections)
                 select $1, counted.*
                 from unnest($3::timestamptz[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
                             $9::bigint[], $10::bigint[], $11::bigint[])
                      as counted (minute, applied, duplicate, refused, dead, deferred, by_event, by_timer, corrections)
                 where minute >= $2
                 on conflict (minute, worker) do update
                 set applied = greatest(activity.applied, excluded.applied), duplicate = greatest(activity.duplicate, excluded.duplicate),
                     refused = greatest(activity.refused, excluded.refused), dead = greatest(activity.dead, excluded.dead),
                     deferred = greatest(activity.deferred, excluded.deferred), by_event = greatest(activity.by_event, excluded.by_event),
                     by_timer = greatest(activity.by_timer, excluded.by_timer), corrections = greatest(activity.corrections, excluded.corrections)",
            )
            .bind(worker)
            .bind(oldest)
            .bind(minutes.iter().map(|(minute, _)| *minute).collect::<Vec<_>>())
            .bind(column(0))
            .bind(column(1))
            .bind(column(2))
            .bind(column(3))
            .bind(column(4))
            .bind(column(5))
            .bind(column(6))
            .bind(column(7))
            .execute(&self.pool)
            .await?;
            Ok(())
        })
        .await
    }
}
