//! Brings the tables to the version that this program knows.

use std::future::Future;
use std::pin::Pin;

use sqlx::migrate::{MigrateError, Migration, MigrationSource, MigrationType, Migrator};

use super::{Result, StoreError};

/// Migrations that are compiled in: number, name, SQL.
#[derive(Debug)]
pub(super) struct Embedded(pub &'static [(i64, &'static str, &'static str)]);

impl MigrationSource<'static> for Embedded {
    fn resolve(
        self,
    ) -> Pin<Box<dyn Future<Output = std::result::Result<Vec<Migration>, sqlx::error::BoxDynError>> + Send>>
    {
        let migrations = self
            .0
            .iter()
            .map(|(version, name, sql)| {
                Migration::new(
                    *version,
                    (*name).into(),
                    MigrationType::Simple,
                    (*sql).into(),
                    false,
                )
            })
            .collect();
        Box::pin(async { Ok(migrations) })
    }
}

impl Embedded {
    /// The newest migration that this program knows.
    pub(super) fn newest(&self) -> i64 {
        self.0.iter().map(|(version, ..)| *version).max().unwrap_or(0)
    }

    /// Whether a program that knows these migrations may write to tables that ask for a writer that knows `required`.
    ///
    /// # Errors
    /// [`StoreError::Outdated`].
    pub(super) fn may_write(&self, required: i64) -> Result<()> {
        let known = self.newest();
        if known < required {
            return Err(StoreError::Outdated { required, known });
        }
        Ok(())
    }

    pub(super) async fn migrator(self) -> Result<Migrator> {
        Migrator::new(self).await.map_err(failed)
    }
}

/// Says what a failed migration means for whoever started the program.
pub(super) fn failed(error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            match StoreError::from(error) {
                StoreError::Statement(error) => StoreError::Migration(error.to_string()),
                transient => transient,
            }
        }
        MigrateError::VersionMissing(version) => StoreError::Migration(format!(
            "they are at migration {version}, which this program does not know: a newer version of tenure has \
             been here; start that version, or a newer one"
        )),
        MigrateError::VersionMismatch(version) => StoreError::Migration(format!(
            "migration {version} was another one when it was applied here: these tables were made by a \
             program that was never released; use a database of its own"
        )),
        other => StoreError::Migration(other.to_string()),
    }
}
