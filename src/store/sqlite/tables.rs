//! The tables that a file has before Tenure creates its own: which program owns them.

use sqlx::SqliteConnection;

use crate::store::schema::{self, Migrations};
use crate::store::{Result, StoreError};

const OF_ITS_OWN: &str = "name a file of its own for Tenure in store.url";

/// Migrations that Tenure has applied, by number and name. None where there is no table of them.
///
/// # Errors
/// [`StoreError::Unsuitable`] when the table of migrations is another program's.
pub(super) async fn applied(
    connection: &mut SqliteConnection,
    migrations: &Migrations,
) -> Result<Vec<(i64, String)>> {
    let kind: Option<String> =
        sqlx::query_scalar("select type from sqlite_master where name = '_sqlx_migrations'")
            .fetch_optional(&mut *connection)
            .await?;
    let Some(kind) = kind else {
        return Ok(Vec::new());
    };
    let columns: i64 = sqlx::query_scalar(
        "select count(*) from pragma_table_info('_sqlx_migrations')
         where name in ('version', 'description', 'success')",
    )
    .fetch_one(&mut *connection)
    .await?;
    if kind != "table" || columns < 3 {
        return Err(StoreError::Unsuitable(format!(
            "_sqlx_migrations is not a table of migrations as Tenure makes it: it belongs to another program; {OF_ITS_OWN}"
        )));
    }
    let applied: Vec<(i64, String)> =
        sqlx::query_as("select version, description from _sqlx_migrations where success order by version")
            .fetch_all(connection)
            .await?;
    schema::expect_own(migrations, &applied, OF_ITS_OWN)?;
    Ok(applied)
}

/// Checks that no table has a name that Tenure needs, before the first migration.
///
/// # Errors
/// [`StoreError::Unsuitable`].
pub(super) async fn check(connection: &mut SqliteConnection, applied: &[(i64, String)]) -> Result<()> {
    if !applied.is_empty() {
        return Ok(());
    }
    let taken: Option<String> = sqlx::query_scalar(
        "select name from sqlite_master
         where name in ('clients', 'client_keys', 'events', 'journal', 'relay', 'policies', 'sources', 'words', 'dead_letters')
         limit 1",
    )
    .fetch_optional(connection)
    .await?;
    match taken {
        None => Ok(()),
        Some(table) => Err(StoreError::Unsuitable(format!(
            "the file has a table \"{table}\" of another program; {OF_ITS_OWN}"
        ))),
    }
}
