//! Checks that Tenure can use a database, before it creates tables.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor, Row};

use super::servers::Servers;
use super::tables;
use crate::store::error::POOLER;
use crate::store::schema::Migrations;
use crate::store::{Result, StoreError};

/// In the format of `server_version_num`.
const OLDEST: u32 = 130_000;

/// How long a second session may take. In session mode, a pooler with one session reserves it for the first client.
const SECOND_WITHIN: Duration = Duration::from_secs(3);

/// Uses plain statements only: behind a pooler, prepared ones fail before this check can explain why.
///
/// # Errors
/// [`StoreError::Unsuitable`], with what to do.
pub(super) async fn check(
    servers: &Servers,
    connection: &mut PgConnection,
    migrations: &Migrations,
) -> Result<()> {
    let own = backend(connection).await?;
    if is_shared(servers, connection, &own.id).await? {
        return Err(StoreError::Unsuitable(POOLER.to_owned()));
    }
    if own.version < OLDEST {
        return Err(StoreError::Unsuitable(format!(
            "PostgreSQL {} is too old; Tenure needs 13 or later",
            own.version / 10_000
        )));
    }
    if own.encoding != "UTF8" {
        let (name, encoding) = (own.database, own.encoding);
        return Err(StoreError::Unsuitable(format!(
            "the encoding of the database \"{name}\" is {encoding}, and Tenure needs UTF8; create one with \
             `create database … encoding 'UTF8' template template0` and name it in store.url"
        )));
    }
    tables::check(connection, migrations).await
}

struct Backend {
    id: String,
    database: String,
    encoding: String,
    version: u32,
}

async fn backend(connection: &mut PgConnection) -> Result<Backend> {
    let rows = connection
        .fetch_all(
            "select pg_backend_pid()::text, current_database()::text, current_setting('server_encoding'),
                current_setting('server_version_num')",
        )
        .await?;
    let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    let version: String = row.try_get(3)?;
    Ok(Backend {
        id: row.try_get(0)?,
        database: row.try_get(1)?,
        encoding: row.try_get(2)?,
        version: version.parse().unwrap_or(OLDEST),
    })
}

/// Whether this session changes its backend, or another session has the same one. (Used one at a time, a pooler may
/// give both clients the backends that they had.)
async fn is_shared(servers: &Servers, connection: &mut PgConnection, own: &str) -> Result<bool> {
    if backend(connection).await?.id != own {
        return Ok(true);
    }
    let asked = async {
        // Without another session there is nothing to compare.
        let mut other = servers.open_to_write("tenure", "").await.ok()?;
        let others = backend(&mut other).await.ok()?.id;
        let after = backend(connection).await.ok()?.id;
        let _ = other.close().await;
        Some(others == own || after != own)
    };
    let shared = tokio::time::timeout(SECOND_WITHIN, asked).await;
    Ok(shared.ok().flatten().unwrap_or(false))
}
