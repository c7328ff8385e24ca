//! Transactions of the one connection that writes.
//!
//! SQLite ends a transaction by itself when there is no room, no memory or an error of the disk. sqlx does not notice: it
//! counts on being in a transaction from then on, and refuses every later one. So transactions are begun and ended here,
//! by plain statements. A connection whose transaction ended in another way is closed, and the pool opens another.

use std::ops::{Deref, DerefMut};

use sqlx::pool::PoolConnection;
use sqlx::sqlite::{Sqlite, SqlitePool};
use sqlx::{Executor, SqliteConnection};

use super::{BEGIN, is_busy};
use crate::store::Result;

/// A transaction that may write. Dropped without [`Transaction::commit`], it leaves no trace.
pub(super) struct Transaction {
    /// None while it is dropped.
    connection: Option<PoolConnection<Sqlite>>,
}

impl Transaction {
    /// Waits for the transaction before, and for another process that writes.
    pub async fn begin(writer: &SqlitePool) -> Result<Self> {
        // Made first: if nobody waits for the statement any more, it is undone behind it.
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

/// Comes behind whatever statement is still under way. It fails where SQLite has ended the transaction by itself, and
/// then something is wrong with the file, the disk or the memory.
async fn roll_back(connection: Option<PoolConnection<Sqlite>>) {
    let Some(mut connection) = connection else {
        return;
    };
    if let Err(error) = connection.execute("rollback").await {
        tracing::debug!(%error, "the connection that writes is closed");
        close(Some(connection)).await;
    }
}

/// Until it is closed, it keeps its place in the pool: there is one writer at a time.
async fn close(connection: Option<PoolConnection<Sqlite>>) {
    if let Some(connection) = connection
        && let Err(error) = connection.close().await
    {
        tracing::debug!(%error, "a connection to SQLite was closed with an error");
    }
}
