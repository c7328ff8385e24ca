//! How many events and changes each minute brought, as each process has counted them.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::PostgresStore;
use crate::store::activity::{ActivityRow, sums};
use crate::store::columns::json;
use crate::store::{Activity, MinuteCounts, Result};

#[async_trait]
impl Activity for PostgresStore {
    async fn activity(
        &self,
        since: DateTime<Utc>,
        except: i64,
    ) -> Result<Vec<(DateTime<Utc>, MinuteCounts)>> {
        self.in_time(async {
            let rows: Vec<ActivityRow<DateTime<Utc>>> = sqlx::query_as(
                "select minute, counts
                 from activity
                 where minute >= $1 and process <> $2
                 order by minute",
            )
            .bind(since)
            .bind(except)
            .fetch_all(&self.pool)
            .await?;
            sums(rows)
        })
        .await
    }

    async fn record_activity(
        &self,
        process: i64,
        minutes: &[(DateTime<Utc>, MinuteCounts)],
        kept_since: DateTime<Utc>,
    ) -> Result<()> {
        let (minutes, counts): (Vec<DateTime<Utc>>, Vec<String>) = minutes
            .iter()
            .map(|(minute, counts)| (*minute, json(counts)))
            .unzip();
        self.in_time(async {
            sqlx::query(
                "with removed as (
                     delete from activity where minute < $4
                 )
                 insert into activity (minute, process, counts)
                 select minute, $1, counts
                 from unnest($2::timestamptz[], $3::text[]) as counted (minute, counts)
                 where minute >= $4
                 on conflict (minute, process) do update set counts = excluded.counts",
            )
            .bind(process)
            .bind(&minutes)
            .bind(&counts)
            .bind(kept_since)
            .execute(&self.pool)
            .await?;
            Ok(())
        })
        .await
    }
}
