//! Brings the tables to the version that this program knows.

use std::future::Future;
use std::pin::Pin;

use sqlx::migrate::{MigrateError, Migration, MigrationSource, MigrationType, Migrator};

use super::{Result, StoreError};

/// What a store has of the tables that this program knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaState {
    /// No store of ours: no file, or none of our tables in it.
    Missing,
    /// Tables of an older version, without this migration.
    Older { missing: i64 },
    /// Tables of this version.
    Current,
    /// Tables of a version that this program does not know, with this migration.
    Newer { unknown: i64 },
}

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
    /// Holds the migrations that were applied to a store against those compiled in.
    pub(super) fn state(&self, applied: &[i64]) -> SchemaState {
        let known: Vec<i64> = self.0.iter().map(|(version, ..)| *version).collect();
        // A migration that failed leaves the table of migrations behind.
        if applied.is_empty() {
            return SchemaState::Missing;
        }
        if let Some(unknown) = applied.iter().find(|version| !known.contains(version)) {
            return SchemaState::Newer { unknown: *unknown };
        }
        match known.iter().find(|version| !applied.contains(version)) {
            Some(missing) => SchemaState::Older { missing: *missing },
            None => SchemaState::Current,
        }
    }

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
                StoreError::Statement(error) if is_taken(&error) => StoreError::Unsuitable(format!(
                    "{error}: tables of another program are here; give Tenure a database of its own"
                )),
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

/// What to do about a PostgreSQL schema with tables of another program.
pub(super) const OF_ITS_OWN: &str = "give Tenure a database of its own, or a schema (`create schema tenure`, and \
                          ?options=-c%20search_path%3Dtenure in store.url)";

/// Whether a table is there that was to be made.
fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| {
        error.code().is_some_and(|code| code == "42P07") || error.message().ends_with("already exists")
    })
}

/// Whether the migrations that are entered are Tenure's, of whatever version. sqlx enters those of every program in a
/// table of the same name.
///
/// # Errors
/// [`StoreError::Unsuitable`], with what to do.
pub(super) fn expect_own(known: &Embedded, applied: &[(i64, String)], advice: &str) -> Result<()> {
    let name = |version: i64| {
        known
            .0
            .iter()
            .find(|(known, ..)| *known == version)
            .map(|(_, name, _)| *name)
    };
    let mut own = 0;
    let mut foreign = None;
    for (version, description) in applied {
        match name(*version) {
            Some(name) if name == description => own += 1,
            Some(_) => foreign = Some((version, description)),
            // Of a newer version of Tenure, if others are Tenure's.
            None if own == 0 => foreign = Some((version, description)),
            None => {}
        }
    }
    match foreign {
        None => Ok(()),
        Some((version, description)) => Err(StoreError::Unsuitable(format!(
            "another program keeps its tables here: its migration {version} (`{description}`) is in _sqlx_migrations; \
             {advice}"
        ))),
    }
}
