//! The tables that a schema has before Tenure creates its own: which program owns them, and whether Tenure may create more.
//!
//! Only plain statements: prepared ones fail behind a pooler that changes sessions.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Executor, Row};

use crate::store::schema::{self, Migrations, OF_ITS_OWN};
use crate::store::{Result, StoreError};

/// Migrations that Tenure has applied in this schema, by number and name. None where there is no table of them.
///
/// # Errors
/// [`StoreError::Unsuitable`] when the table of migrations is another program's.
pub(super) async fn applied(
    connection: &mut PgConnection,
    migrations: &Migrations,
) -> Result<Vec<(i64, String)>> {
    let found = connection
        .fetch_all(
            "select relkind in ('r', 'p') and 3 = (
                 select count(*) from pg_attribute
                 where attrelid = pg_class.oid and not attisdropped
                       and attname in ('version', 'description', 'success')
             )
             from pg_class
             where oid = to_regclass('_sqlx_migrations')",
        )
        .await?;
    let Some(row) = found.first() else {
        return Ok(Vec::new());
    };
    if !row.try_get::<bool, _>(0)? {
        return Err(StoreError::Unsuitable(format!(
            "_sqlx_migrations is not a table of migrations as Tenure makes it: it belongs to another program; {OF_ITS_OWN}"
        )));
    }
    let rows = connection
        .fetch_all(
            "select version::text, description::text from _sqlx_migrations where success order by version",
        )
        .await?;
    let read = |row: &PgRow| -> std::result::Result<(i64, String), sqlx::Error> {
        let version: String = row.try_get(0)?;
        Ok((version.parse().unwrap_or_default(), row.try_get(1)?))
    };
    let applied: Vec<_> = rows.iter().map(read).collect::<std::result::Result<_, _>>()?;
    schema::expect_own(migrations, &applied, OF_ITS_OWN)?;
    Ok(applied)
}

/// Checks that the missing tables can be made, before a table of migrations is.
///
/// # Errors
/// [`StoreError::Unsuitable`], with what to do.
pub(super) async fn check(connection: &mut PgConnection, migrations: &Migrations) -> Result<()> {
    let applied = applied(connection, migrations).await?;
    let rows = connection
        .fetch_all(
            "select current_schema()::text, current_setting('search_path'), current_user::text,
                    coalesce(has_schema_privilege(current_schema(), 'create'), false),
                    (select min(relname)::text
                     from pg_class
                     where relnamespace = to_regnamespace(quote_ident(current_schema()))
                           and relname in ('client_keys', 'clients', 'events', 'journal', 'relay', 'policies', 'dead_letters'))",
        )
        .await?;
    let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    let (schema, search_path): (Option<String>, String) = (row.try_get(0)?, row.try_get(1)?);
    let Some(schema) = schema else {
        return Err(StoreError::Unsuitable(format!(
            "none of the schemas in search_path ({search_path}) exists, or this user may not use them: run `create schema \
             …` or `grant usage on schema …`, or name another one (?options=-c%20search_path%3Dtenure in store.url)"
        )));
    };
    let (user, may_create): (String, bool) = (row.try_get(2)?, row.try_get(3)?);
    if !may_create && applied.len() < migrations.count() {
        return Err(StoreError::Unsuitable(format!(
            "the user \"{user}\" may not create tables in the schema \"{schema}\": let its owner run `grant create on schema \
             \"{schema}\" to \"{user}\"`, or name a schema that this user owns (?options=-c%20search_path%3D… in store.url)"
        )));
    }
    let taken: Option<String> = row.try_get(4)?;
    match taken {
        Some(table) if applied.is_empty() => Err(StoreError::Unsuitable(format!(
            "the schema \"{schema}\" has a table \"{table}\" of another program; {OF_ITS_OWN}"
        ))),
        _ => Ok(()),
    }
}
