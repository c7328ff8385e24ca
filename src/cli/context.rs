//! What every command needs: the settings, the store, the engine, and how to answer.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::output;
use crate::clock::SystemClock;
use crate::config::{Settings, StoreUrl};
use crate::engine::Engine;
use crate::store::{SchemaState, Store, StoreError};
use crate::wire::{Decoder, Limits};
use crate::worker;

/// Arguments or settings that cannot be: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WrongUse(pub String);

/// How long a store may take to be closed: SQLite may have a long log to carry over into its file.
const CLOSED_WITHIN: Duration = Duration::from_secs(30);

pub struct Context {
    pub settings: Settings,
    pub json: bool,
    opened: OnceLock<Arc<dyn Store>>,
}

impl Context {
    pub fn new(file: Option<&Path>, json: bool) -> anyhow::Result<Self> {
        let settings = Settings::load(file, crate::config::environment())
            .map_err(|error| WrongUse(format!("{error}")))?;
        Ok(Self {
            settings,
            json,
            opened: OnceLock::new(),
        })
    }

    pub fn limits(&self) -> Limits {
        self.settings.events
    }

    /// Reads events as of a moment.
    pub fn decoder(&self, now: DateTime<Utc>) -> Decoder {
        Decoder::new(self.limits(), now)
    }

    /// The store of the settings, as it is.
    pub fn store(&self) -> anyhow::Result<Arc<dyn Store>> {
        if let Some(store) = self.opened.get() {
            return Ok(store.clone());
        }
        let store = worker::open_store(&self.settings.store).map_err(|error| WrongUse(error.to_string()))?;
        Ok(self.opened.get_or_init(|| store).clone())
    }

    /// Closes the store, if the command has opened it: SQLite's is then one file, which can be copied.
    pub async fn close(&self) {
        if let Some(store) = self.opened.get() {
            let _ = tokio::time::timeout(CLOSED_WITHIN, store.close()).await;
        }
    }

    /// An engine to ask, on a store that is there and of this version. It writes nothing: neither a file, nor a table,
    /// nor a policy.
    pub async fn engine(&self) -> anyhow::Result<Engine> {
        match self.existing().await? {
            SchemaState::Older { missing } => {
                return Err(WrongUse(format!(
                    "the tables of {} are of an older version, without migration {missing}: `tenure migrate` brings them \
                     up to date",
                    self.place()
                ))
                .into());
            }
            SchemaState::Newer { unknown } => {
                return Err(StoreError::Migration(format!(
                    "{} is at migration {unknown}, which this program does not know: a newer version of tenure has been \
                     here; use that version, or a newer one",
                    self.place()
                ))
                .into());
            }
            SchemaState::Current | SchemaState::Missing => {}
        }
        let store = self.store()?;
        self.joined(Engine::open(store, Arc::new(SystemClock), &self.settings.policy()).await?)
            .await
    }

    /// An engine to change what a store holds already. Its tables are brought to this version; a store that is not there
    /// is not made.
    pub async fn maintaining_engine(&self) -> anyhow::Result<Engine> {
        self.existing().await?;
        self.working_engine().await
    }

    /// An engine to write with, on a store that is made where there is none. Like one to ask with, it goes by the
    /// policies that are recorded: only a worker records another, or one shell's settings would change everybody's
    /// history.
    pub async fn working_engine(&self) -> anyhow::Result<Engine> {
        let store = self.migrated().await?;
        self.joined(worker::join(store, &self.settings).await?).await
    }

    async fn joined(&self, engine: Engine) -> anyhow::Result<Engine> {
        self.mention_other_policy(&engine).await?;
        Ok(engine)
    }

    /// Makes sure that the store is there, and tells the version of its tables.
    pub async fn existing(&self) -> anyhow::Result<SchemaState> {
        match self.store()?.schema().await? {
            SchemaState::Missing => Err(WrongUse(format!(
                "there is no store of Tenure at {}: call this in the folder of the worker, or name its store with \
                 DATABASE_URL (store.url); `tenure migrate` makes a new one",
                self.place()
            ))
            .into()),
            state => Ok(state),
        }
    }

    /// Where the store is, for people.
    fn place(&self) -> String {
        match &self.settings.store.url {
            StoreUrl::Sqlite(path) => std::path::absolute(path)
                .unwrap_or_else(|_| path.clone())
                .display()
                .to_string(),
            url @ StoreUrl::Postgres(_) => url.to_string(),
        }
    }

    /// The store of the settings, its tables brought to this version.
    pub async fn migrated(&self) -> anyhow::Result<Arc<dyn Store>> {
        let store = self.store()?;
        store.migrate().await?;
        Ok(store)
    }

    async fn mention_other_policy(&self, engine: &Engine) -> anyhow::Result<()> {
        if !engine.goes_by(&self.settings.policy()).await? {
            output::complain(
                "the durations in these settings are not those in force; `tenure run` with these settings, or \
                 `tenure policy --confirm`, puts them into force",
            );
        }
        Ok(())
    }
}
