//! Commits that survive a crash of the server.

use std::sync::Once;

use sqlx::Executor;
use sqlx::postgres::PgConnection;

/// Makes the commits of this session wait for the server's disk, where the role, the database or the server has that turned
/// off: an event is acknowledged after its commit.
pub(super) async fn require(connection: &mut PgConnection) -> std::result::Result<(), sqlx::Error> {
    static LOGGED: Once = Once::new();
    let changed = connection
        .fetch_all(
            "select set_config('synchronous_commit', 'on', false)
             where current_setting('synchronous_commit') = 'off'",
        )
        .await?;
    if !changed.is_empty() {
        LOGGED.call_once(|| {
            tracing::warn!(
                "synchronous_commit is off for this role, database or server: acknowledged events would be lost in a crash; \
                 Tenure turns it on in its own sessions"
            );
        });
    }
    Ok(())
}
