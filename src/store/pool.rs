//! Closes a pool.

use sqlx::{Database, Pool};

/// Closes a pool with all its connections. sqlx 0.8.6 misses a connection that is returned during the call; the second
/// call closes it.
pub(super) async fn close<DB: Database>(pool: &Pool<DB>) {
    pool.close().await;
    pool.close().await;
}
