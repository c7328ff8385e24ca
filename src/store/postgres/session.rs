//! Connections that may fall silent: nothing waits for an answer for ever, and a connection that owes one is closed.
//!
//! A server that vanishes with its host sends no word of it, and TCP notices after two hours, or never. sqlx sets no
//! keepalive, and gives no way to the socket. So every call has a limit here, above the one that the server keeps
//! itself; the pool looks at a session before it is used again, with a limit too.

use std::time::Duration;

use sqlx::Executor;
use sqlx::postgres::PgConnection;

use super::sessions::{Lease, Need, Sessions};
use crate::store::{Result, StoreError};

/// How long the server may take for what it always does at once.
pub(super) const AT_ONCE: Duration = Duration::from_secs(5);

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

/// A transaction on a session of the pool, which may be dropped at any moment.
pub(super) struct Session {
    /// None: it has gone back.
    connection: Option<Lease>,
    /// A statement was sent, and its answer has not come.
    owes: bool,
    limit: Duration,
}

impl Session {
    pub async fn begin(sessions: &Sessions, limit: Duration, begin: &str) -> Result<Self> {
        Self::begin_for(Need::Write, sessions, limit, begin).await
    }

    /// A transaction that only reads: a server that cannot be written will do where there is no other.
    pub async fn begin_reading(sessions: &Sessions, limit: Duration, begin: &str) -> Result<Self> {
        Self::begin_for(Need::Any, sessions, limit, begin).await
    }

    async fn begin_for(need: Need, sessions: &Sessions, limit: Duration, begin: &str) -> Result<Self> {
        let mut session = Self {
            connection: Some(sessions.acquire_for(need).await?),
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

    /// Runs a statement without arguments or rows.
    pub async fn run(&mut self, statement: &str) -> Result<()> {
        let (connection, debt) = self.lend()?;
        let asked = async {
            connection.execute(statement).await?;
            Ok(())
        };
        debt.paid_by(asked).await
    }
}

/// The answer that a lent connection owes.
pub(super) struct Debt<'a> {
    owes: &'a mut bool,
    limit: Duration,
}

impl Debt<'_> {
    /// Waits for the answer. If that takes too long, or is not waited for, the connection is lost.
    pub async fn paid_by<T>(self, asked: impl Future<Output = Result<T>>) -> Result<T> {
        *self.owes = true;
        let Ok(answer) = tokio::time::timeout(self.limit, asked).await else {
            return Err(silent(self.limit));
        };
        // After an error that is not the statement's the state of the session is not sure, and it is not used again.
        *self.owes = matches!(answer, Err(StoreError::Unavailable(_)));
        answer
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(mut lease) = self.connection.take() else {
            return;
        };
        // Until it is rolled back; the server does so itself when the connection ends.
        lease.give_up();
        if self.owes {
            return;
        }
        tokio::spawn(async move {
            let done = tokio::time::timeout(AT_ONCE, lease.execute("rollback")).await;
            if matches!(done, Ok(Ok(_))) {
                lease.keep();
            }
        });
    }
}
