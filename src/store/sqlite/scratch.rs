//! A store for one dry run: it begins empty, and receives copies of clients of another store while it is in use.

use std::collections::HashSet;
use std::slice;
use std::sync::Arc;

use tempfile::TempDir;

use super::numbers::Numbers;
use super::session::Transaction;
use super::transfer::import;
use super::{Durability, SqliteStore, batch};
use crate::domain::{ClientKey, Name};
use crate::store::transfer::{Numbering, Parts};
use crate::store::{ClientSnapshot, NameClaim, Record, Result, StoreError, Transfer as _, Upkeep as _};

/// A store in a temporary folder, which is removed with it.
pub struct ScratchStore {
    store: Arc<SqliteStore>,
    _folder: TempDir,
}

impl ScratchStore {
    /// An empty store with these records, which are not about clients.
    ///
    /// # Errors
    /// When the folder for temporary files cannot be written.
    pub async fn with(records: Vec<Record>) -> Result<Self> {
        let folder = tempfile::tempdir().map_err(|error| {
            StoreError::Unavailable(format!(
                "no temporary folder for the dry run: {error}; check TMPDIR"
            ))
        })?;
        let path = folder.path().join("dry-run.db");
        let store = Arc::new(SqliteStore::open_as(path, Durability::Scratch));
        let mut import = store.begin_import().await?;
        import.write(records).await?;
        import.end().await?;
        Ok(Self {
            store,
            _folder: folder,
        })
    }

    #[must_use]
    pub fn store(&self) -> &Arc<SqliteStore> {
        &self.store
    }

    /// Those of these clients that were not copied.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn missing(&self, keys: impl IntoIterator<Item = ClientKey>) -> Result<Vec<ClientKey>> {
        let mut missing: Vec<ClientKey> = keys.into_iter().collect();
        let mut numbers = Numbers::default();
        let mut connection = self.store.readers.acquire().await?;
        numbers.read_clients(&mut connection, &missing).await?;
        missing.retain(|key| numbers.find_client(key).is_none());
        Ok(missing)
    }

    /// Adds copies of clients that it does not have. A name that one of them holds may have another holder here, because the copies
    /// are not of one moment: then the copy has the name without holding it.
    ///
    /// # Errors
    /// When a copy cannot be read, or the file cannot be written.
    pub async fn add(&self, mut copies: Vec<ClientSnapshot>) -> Result<()> {
        let mut connection = self.store.readers.acquire().await?;
        let mut held: HashSet<NameClaim> = HashSet::new();
        for copy in &mut copies {
            let Some(Ok(document)) = copy.row.as_mut().map(|row| row.document.as_mut()) else {
                continue;
            };
            let Some(name_key) = document.held_name().map(Name::key) else {
                continue;
            };
            let claim = NameClaim {
                partner: copy.key.partner.clone(),
                name_key,
            };
            let holders = batch::holders(&mut connection, slice::from_ref(&claim)).await?;
            document.name_conflicted = !holders.is_empty() || !held.insert(claim);
        }
        drop(connection);
        let mut records = Vec::new();
        for copy in copies {
            records.extend(copy.into_records()?);
        }
        records.sort_by_key(Record::kind);
        let parts = Parts::of(records)?;
        self.store
            .in_turn(async {
                let mut transaction = Transaction::begin(&self.store.writer).await?;
                import::all(&mut transaction, &parts, &mut Numbering::default()).await?;
                transaction.commit().await
            })
            .await
    }

    /// Closes the file.
    pub async fn close(&self) {
        self.store.close().await;
    }
}
