//! Letting go of a pool.

use sqlx::{Database, Pool};

/// Closes a pool with all its connections. sqlx 0.8.6 leaves one open that is given back while it waits for
/// it; asked again, it finds it.
pub(super) async fn close<DB: Database>(pool: &Pool<DB>) {
    pool.close().await;
    pool.close().await;
}
