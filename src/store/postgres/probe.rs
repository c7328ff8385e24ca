//! A write that fails where a batch would fail.

use sqlx::Executor;

use super::sessions::Sessions;
use crate::store::{Result, StoreError};

/// Waits for locks less long than whoever asks for readiness waits for an answer. All of it is one message to the server,
/// and so one transaction.
const WRITE: &str = "
    set local lock_timeout = '2s';
    lock table clients, events, journal, touches, touch_runs, deadlines, dead_letters, lanes, relay in row exclusive mode;
    update write_probe set written_at = clock_timestamp();
";

/// Takes the locks of a batch, and writes a row.
pub(super) async fn write(pool: &Sessions) -> Result<()> {
    match pool.execute(WRITE).await.map_err(StoreError::from) {
        Ok(_) => Ok(()),
        Err(StoreError::Conflict(why)) => Err(StoreError::Unavailable(format!(
            "{why}: look in pg_locks and pg_stat_activity for what locks tables of Tenure, maintenance for instance"
        ))),
        Err(error) => Err(error),
    }
}
