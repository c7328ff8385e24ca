//! Connections that may fall silent: nothing waits for an answer for ever, and a connection that owes one is closed.
//!
//! A server that vanishes with its host sends no word of it, and TCP notices after two hours, or never. sqlx sets no
//! keepalive, and gives no way to the socket. So every call has a limit here, above the one that the server keeps
//! itself; the pool tests what comes back to it, with a limit too.

use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, PgPool, Postgres};
use sqlx::{Connection, Executor};

use crate::store::{Result, StoreError};

/// How long the server may take for what it always does at once.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Waits for an answer for so long. What is given up must not leave a transaction open: use a [`Session`] for those.
pub(super) async fn in_time<T>(limit: Duration, asked: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(limit, asked)
        .await
        .unwrap_or_else(|_| Err(silent(limit)))
}

fn silent(limit: Duration) -> StoreError {
    StoreError::Unavailable(format!(
        "PostgreSQL did not answer within {}; its host or the network may be gone",
        humantime::format_duration(limit)
    ))
}

/// The limit for a call when the server has this one for a statement.
pub(super) fn limit(statement_timeout: Duration) -> Duration {
    statement_timeout + AT_ONCE
}

/// Looks whether a connection that is given back still answers. The pool asks once more, and that without a limit.
pub(super) fn test(connection: &mut PgConnection) -> BoxFuture<'_, std::result::Result<bool, sqlx::Error>> {
    Box::pin(async {
        match tokio::time::timeout(AT_ONCE, connection.ping()).await {
            Ok(answer) => answer.map(|()| true),
            Err(_) => Err(sqlx::Error::PoolTimedOut),
        }
    })
}

/// A transaction on a connection of the pool. sqlx's own goes back to the pool with the transaction open if it is
/// dropped while it begins; this one may be dropped at any moment.
pub(super) struct Session {
    /// None: it has gone back.
    connection: Option<PoolConnection<Postgres>>,
    /// A statement was sent, and its answer has not come.
    owes: bool,
    limit: Duration,
}

impl Session {
    pub async fn begin(pool: &PgPool, limit: Duration, begin: &str) -> Result<Self> {
        let mut session = Self {
            connection: Some(pool.acquire().await?),
            owes: false,
            limit,
        };
        session.run(begin).await?;
        Ok(session)
    }

    /// The connection, and what is to be told of what is done with it.
    pub fn lend(&mut self) -> Result<(&mut PgConnection, Debt<'_>)> {
        let connection = self
            .connection
            .as_mut()
            .ok_or_else(|| StoreError::Unavailable("the transaction has ended".into()))?;
        let (owes, limit) = (&mut self.owes, self.limit);
        Ok((connection, Debt { owes, limit }))
    }

    /// Ends the transaction: `commit` or `rollback`.
    pub async fn end(mut self, how: &'static str) -> Result<()> {
        let ended = self.run(how).await;
        if ended.is_err() {
            self.give_up().await;
        } else {
            self.connection = None;
        }
        ended
    }

    /// Rolls back, if the connection still answers, and waits for it.
    pub async fn give_up(mut self) {
        if !self.owes && self.run("rollback").await.is_ok() {
            self.connection = None;
        }
    }

    async fn run(&mut self, statement: &str) -> Result<()> {
        let (connection, debt) = self.lend()?;
        let asked = async {
            connection.execute(statement).await?;
            Ok(())
        };
        debt.settled_by(asked).await
    }
}

/// The answer that a lent connection owes.
pub(super) struct Debt<'a> {
    owes: &'a mut bool,
    limit: Duration,
}

impl Debt<'_> {
    /// Waits for the answer. If that takes too long, or is not waited for, the connection is lost.
    pub async fn settled_by<T>(self, asked: impl Future<Output = Result<T>>) -> Result<T> {
        *self.owes = true;
        let Ok(answer) = tokio::time::timeout(self.limit, asked).await else {
            return Err(silent(self.limit));
        };
        *self.owes = false;
        answer
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        if self.owes {
            // The server rolls back when it notices.
            drop(connection.detach());
            return;
        }
        tokio::spawn(async move {
            let done = tokio::time::timeout(AT_ONCE, connection.execute("rollback")).await;
            if !matches!(done, Ok(Ok(_))) {
                drop(connection.detach());
            }
        });
    }
}
