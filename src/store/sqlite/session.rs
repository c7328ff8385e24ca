//! Transactions of the writing connection.
//!
//! SQLite rolls a transaction back itself when the disk or the memory is full, or the disk fails. sqlx does not notice:
//! it still counts an open transaction, and refuses every later one. So plain statements begin and end transactions
//! here. A connection whose transaction ended otherwise is closed, and the pool opens another.

use std::ops::{Deref, DerefMut};

use sqlx::pool::PoolConnection;
use sqlx::sqlite::{Sqlite, SqlitePool};
use sqlx::{Executor, SqliteConnection};

use super::{BEGIN, is_busy};
use crate::store::Result;

/// A transaction that may write. Dropped without [`Transaction::commit`], it leaves no trace.
pub(super) struct Transaction {
    /// None: being dropped.
    connection: Option<PoolConnection<Sqlite>>,
}

impl Transaction {
    /// Waits for the previous transaction, and for another writing process.
    pub async fn begin(writer: &SqlitePool) -> Result<Self> {
        // Created first: if the caller stops waiting for the statement, dropping this rolls it back.
        let mut transaction = Self {
            connection: Some(writer.acquire().await?),
        };
        match transaction.execute(BEGIN).await {
            Ok(_) => Ok(transaction),
            Err(error) => {
                let connection = transaction.connection.take();
                if !is_busy(&error) {
                    close(connection).await;
                }
                Err(error.into())
            }
        }
    }

    pub async fn commit(mut self) -> Result<()> {
        let committed = self.execute("commit").await;
        let connection = self.connection.take();
        if committed.is_err() {
            // Closing it rolls back what SQLite has not rolled back itself.
            close(connection).await;
        }
        committed?;
        Ok(())
    }

    pub async fn rollback(mut self) -> Result<()> {
        roll_back(self.connection.take()).await;
        Ok(())
    }
}

impl Deref for Transaction {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        self.connection.as_ref().expect("held until it is dropped")
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        self.connection.as_mut().expect("held until it is dropped")
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            tokio::spawn(roll_back(Some(connection)));
        }
    }
}

/// Runs after the statement in progress. Fails if SQLite has rolled back itself, because of the file, the disk or the
/// memory.
async fn roll_back(connection: Option<PoolConnection<Sqlite>>) {
    let Some(mut connection) = connection else {
        return;
    };
    if let Err(error) = connection.execute("rollback").await {
        tracing::debug!(%error, "closing the writing connection after a failed rollback");
        close(Some(connection)).await;
    }
}

/// The connection keeps its place in the pool until it is closed, so that there is one writer at a time.
async fn close(connection: Option<PoolConnection<Sqlite>>) {
    if let Some(connection) = connection
        && let Err(error) = connection.close().await
    {
        tracing::debug!(%error, "closing a connection to SQLite failed");
    }
}
