//! Closes a pool.

use std::time::Duration;

use sqlx::{Database, Pool};

/// The pause before connections in use are counted again.
const PAUSE: Duration = Duration::from_millis(1);

/// Closes a pool with all its connections. Waits for those that are in use or on their way back to the pool, as every
/// connection is for a moment after its last query.
///
/// sqlx 0.8.6 waits for the latter only if no connection is idle: each idle connection that it closes frees a permit that
/// nobody has acquired. It also misses a connection that is returned during the call.
pub(super) async fn close<DB: Database>(pool: &Pool<DB>) {
    pool.close().await;
    while pool.size() > 0 {
        tokio::time::sleep(PAUSE).await;
        pool.close().await;
    }
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

    #[tokio::test]
    async fn closing_waits_for_a_connection_in_use_while_others_are_idle() {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("pool.db"))
            .create_if_missing(true);
        let pool = SqlitePoolOptions::new().connect_lazy_with(options);
        let used = pool.acquire().await.unwrap();
        let idle = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
        drop(idle);
        while pool.num_idle() < 2 {
            tokio::task::yield_now().await;
        }
        let closed = pool.clone();
        let closing = tokio::spawn(async move {
            super::close(&closed).await;
            closed.size()
        });
        // The idle ones are closed, and one is left.
        while pool.size() > 1 {
            tokio::task::yield_now().await;
        }
        drop(used);
        assert_eq!(closing.await.unwrap(), 0);
    }
}
