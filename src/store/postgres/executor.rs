//! Runs single statements on sessions of the pool, as sqlx runs them on a pool of its own.

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, stream};
use sqlx::postgres::{PgQueryResult, PgRow, PgStatement, PgTypeInfo, Postgres};
use sqlx::{Either, Execute, Executor};

use super::sessions::Sessions;

/// As with sqlx's pool, each statement runs on its own session. All rows are read before the first is returned.
impl<'p> Executor<'p> for &'_ Sessions {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, std::result::Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let sessions = self.clone();
        let read = async move {
            let mut lease = match sessions.acquire().await {
                Ok(lease) => lease,
                Err(error) => return vec![Err(error)],
            };
            // Lost if nobody waits for the answer.
            lease.is_lost = true;
            let read: Vec<_> = lease.fetch_many(query).collect().await;
            lease.is_lost = false;
            if let Some(Err(error)) = read.last() {
                lease.note(error);
            }
            read
        };
        read.map(stream::iter).flatten_stream().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxFuture<'e, std::result::Result<Option<PgRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let sessions = self.clone();
        Box::pin(async move {
            let mut lease = sessions.acquire().await?;
            lease.is_lost = true;
            let read = lease.fetch_optional(query).await;
            lease.is_lost = false;
            read.inspect_err(|error| lease.note(error))
        })
    }

    fn prepare_with<'e, 'q: 'e>(
        self,
        sql: &'q str,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, std::result::Result<PgStatement<'q>, sqlx::Error>>
    where
        'p: 'e,
    {
        let sessions = self.clone();
        Box::pin(async move { sessions.acquire().await?.prepare_with(sql, parameters).await })
    }

    fn describe<'e, 'q: 'e>(
        self,
        sql: &'q str,
    ) -> BoxFuture<'e, std::result::Result<sqlx::Describe<Postgres>, sqlx::Error>>
    where
        'p: 'e,
    {
        let sessions = self.clone();
        Box::pin(async move { sessions.acquire().await?.describe(sql).await })
    }
}
