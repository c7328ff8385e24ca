//! The schema: migrations, the state of the tables, and errors of a migration.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use sqlx::migrate::{MigrateError, Migration, MigrationSource, MigrationType, Migrator};

use super::{Result, StoreError};

/// The state of the store's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaState {
    /// No tables of Tenure, or no file.
    Missing,
    /// Tables of an older version, which lack this migration.
    Older { missing: i64 },
    /// Tables of this version.
    Current,
    /// Tables of this version, into which an import has begun and not ended.
    Incomplete,
    /// Tables of an unknown version, which have this migration.
    Newer { unknown: i64 },
}

/// One step in the history of the tables. Each adapter has SQL of its own, with the same numbers and names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MigrationStep {
    /// Greater than that of every earlier step.
    pub number: i64,
    pub name: &'static str,
    pub sql: &'static str,
}

/// The SQL of the baseline of a store, a file for each subject. Later tables and views refer to earlier ones.
macro_rules! baseline {
    ($folder:literal) => {
        baseline!(
            $folder: "names" "clients" "events" "journal" "policies" "dead_letters" "sweeps" "lanes" "compat" "statements"
                "accesses" "webhooks" "operators" "workers" "activity" "traces" "views"
        )
    };
    ($folder:literal: $($subject:literal)*) => {
        concat!($(include_str!(concat!("migrations/", $folder, "/0001_baseline/", $subject, ".sql"))),*)
    };
}

/// The steps that this program knows. Both adapters have the same numbers and names.
macro_rules! steps {
    ($folder:literal) => {
        &[MigrationStep {
            number: 1,
            name: "baseline",
            sql: baseline!($folder),
        }]
    };
}

const POSTGRES: &[MigrationStep] = steps!("postgres");
const SQLITE: &[MigrationStep] = steps!("sqlite");

/// The migrations that a store knows, in the order of their numbers.
#[derive(Clone, Debug)]
pub(super) struct Migrations(Arc<[MigrationStep]>);

impl MigrationSource<'static> for Migrations {
    fn resolve(
        self,
    ) -> Pin<Box<dyn Future<Output = std::result::Result<Vec<Migration>, sqlx::error::BoxDynError>> + Send>>
    {
        let migration = |step: &MigrationStep| {
            Migration::new(
                step.number,
                step.name.into(),
                MigrationType::Simple,
                step.sql.into(),
                false,
            )
        };
        let migrations = self.0.iter().map(migration).collect();
        Box::pin(async { Ok(migrations) })
    }
}

/// What the tables are migrated for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Use,
    Import,
}

impl Migrations {
    pub(super) fn of_postgres() -> Self {
        Self(POSTGRES.into())
    }

    pub(super) fn of_sqlite() -> Self {
        Self(SQLITE.into())
    }

    /// These and further ones, as a later version knows them.
    pub(super) fn followed_by(&self, further: &[MigrationStep]) -> Self {
        Self([&*self.0, further].concat().into())
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Compares the applied migrations with those compiled in. `min_writer` shows an import in progress.
    pub(super) fn state(&self, applied: &[i64], min_writer: i64) -> SchemaState {
        let known: Vec<i64> = self.0.iter().map(|step| step.number).collect();
        // A migration that failed leaves the table of migrations behind.
        if applied.is_empty() {
            return SchemaState::Missing;
        }
        if let Some(unknown) = applied.iter().find(|version| !known.contains(version)) {
            return SchemaState::Newer { unknown: *unknown };
        }
        match known.iter().find(|version| !applied.contains(version)) {
            Some(missing) => SchemaState::Older { missing: *missing },
            None if ImportMark::is_any_in(min_writer) => SchemaState::Incomplete,
            None => SchemaState::Current,
        }
    }

    /// Checks before a migration that no import has begun and not ended. A later import may go on, if there is nothing to
    /// migrate: a migration could remove the mark.
    ///
    /// # Errors
    /// [`StoreError::Incomplete`].
    pub(super) fn expect_complete(&self, applied: usize, min_writer: i64, purpose: Purpose) -> Result<()> {
        if purpose == Purpose::Import && applied == self.0.len() {
            return Ok(());
        }
        ImportMark::expect_none(min_writer)
    }

    /// The number of the newest migration.
    pub(super) fn newest(&self) -> i64 {
        self.0.iter().map(|step| step.number).max().unwrap_or(0)
    }

    /// Checks that a program with these migrations may write to tables that require a writer with migration `required`.
    ///
    /// # Errors
    /// [`StoreError::Outdated`], or [`StoreError::Incomplete`] during an import.
    pub(super) fn may_write(&self, required: i64) -> Result<()> {
        ImportMark::expect_none(required)?;
        let known = self.newest();
        if known < required {
            return Err(StoreError::Outdated { required, known });
        }
        Ok(())
    }

    pub(super) async fn migrator(&self) -> Result<Migrator> {
        Migrator::new(self.clone()).await.map_err(failed)
    }
}

/// An import in progress. It is recorded in `schema_compat.min_writer`, above every migration that a program can know: so no
/// program writes, not even an older one, and each says that it may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ImportMark(i64);

impl ImportMark {
    /// The bits below are the number of a migration.
    const SHIFT: u32 = 32;

    /// A mark unlike that of any other import.
    pub(super) fn new() -> Self {
        Self(i64::from(rand::random::<u32>() >> 1 | 1))
    }

    /// What `min_writer` becomes during this import.
    pub(super) fn set(self, min_writer: i64) -> i64 {
        self.0 << Self::SHIFT | Self::cleared(min_writer)
    }

    /// What `min_writer` becomes when the import ends.
    pub(super) fn cleared(min_writer: i64) -> i64 {
        min_writer & ((1 << Self::SHIFT) - 1)
    }

    pub(super) fn is_any_in(min_writer: i64) -> bool {
        min_writer >> Self::SHIFT != 0
    }

    /// # Errors
    /// [`StoreError::Incomplete`] when an import has begun and not ended.
    pub(super) fn expect_none(min_writer: i64) -> Result<()> {
        if Self::is_any_in(min_writer) {
            return Err(StoreError::Incomplete);
        }
        Ok(())
    }

    /// # Errors
    /// [`StoreError::Incomplete`] when another import has begun since.
    pub(super) fn expect_in(self, min_writer: i64) -> Result<()> {
        if min_writer >> Self::SHIFT != self.0 {
            return Err(StoreError::Incomplete);
        }
        Ok(())
    }
}

/// Explains a failed migration to an operator.
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
            "they have migration {version}, which this program does not know: a newer version of tenure migrated \
             them; start that version, or a newer one"
        )),
        MigrateError::VersionMismatch(version) => StoreError::Migration(format!(
            "migration {version} differs from the one that was applied here: an unreleased version of tenure created \
             these tables; use another database"
        )),
        other => StoreError::Migration(other.to_string()),
    }
}

/// What to do about a PostgreSQL schema with tables of another program.
pub(super) const OF_ITS_OWN: &str = "give Tenure a database of its own, or a schema (`create schema tenure`, and \
                          ?options=-c%20search_path%3Dtenure in store.url)";

/// Whether a table to create exists already.
fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| {
        error.code().is_some_and(|code| code == "42P07") || error.message().ends_with("already exists")
    })
}

/// Migrations of development versions from before the baseline. A store that has only their first one, when that was called
/// `baseline` too, has neither: its checksum differs.
const BEFORE_THE_BASELINE: [(i64, &str); 2] = [(1, "tables"), (2, "statements")];

/// Checks that the recorded migrations are Tenure's, of any version. sqlx records those of every program in a table of
/// the same name.
///
/// # Errors
/// [`StoreError::Unsuitable`], with what to do.
pub(super) fn expect_own(known: &Migrations, applied: &[(i64, String)], advice: &str) -> Result<()> {
    let name = |version: i64| {
        known
            .0
            .iter()
            .find(|step| step.number == version)
            .map(|step| step.name)
    };
    if applied
        .iter()
        .any(|(version, name)| BEFORE_THE_BASELINE.contains(&(*version, name)))
    {
        return Err(StoreError::Unsuitable(format!(
            "a development version of Tenure from before the baseline made these tables, and no later version reads them or \
             its exports; start with an empty schema or file, and ingest the events again: {advice}"
        )));
    }
    let mut own = 0;
    let mut foreign = None;
    for (version, description) in applied {
        match name(*version) {
            Some(name) if name == description => own += 1,
            Some(_) => foreign = Some((version, description)),
            // A newer version of Tenure recorded it, if the others are Tenure's.
            None if own == 0 => foreign = Some((version, description)),
            None => {}
        }
    }
    match foreign {
        None => Ok(()),
        Some((version, description)) => Err(StoreError::Unsuitable(format!(
            "another program has its tables here: its migration {version} (`{description}`) is in _sqlx_migrations; \
             {advice}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_of_an_import_keeps_the_number_of_the_migration() {
        for _ in 0..100 {
            let (mark, other) = (ImportMark::new(), ImportMark(7 << 20));
            let marked = mark.set(other.set(3));
            assert!(mark.expect_in(marked).is_ok() && marked > 0);
            assert!(matches!(
                ImportMark::expect_none(marked),
                Err(StoreError::Incomplete)
            ));
            assert!(matches!(mark.expect_in(other.set(3)), Err(StoreError::Incomplete)) || mark == other);
            assert_eq!(ImportMark::cleared(marked), 3);
            assert!(Migrations::of_sqlite().may_write(marked).is_err() && ImportMark::expect_none(3).is_ok());
        }
    }
}
