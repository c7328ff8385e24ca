//! What every command needs: the settings, the store, the engine, and how to answer.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::output;
use crate::clock::SystemClock;
use crate::config::Settings;
use crate::engine::Engine;
use crate::store::Store;
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
        Limits {
            max_event_bytes: self.settings.events.max_bytes,
            max_clock_skew: self.settings.events.max_clock_skew,
        }
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

    /// An engine to ask, on the store of the settings, its tables brought to this version.
    pub async fn engine(&self) -> anyhow::Result<Engine> {
        let store = self.migrated().await?;
        let engine = Engine::open(store, Arc::new(SystemClock), &self.settings.policy()).await?;
        self.mention_other_policy(&engine).await?;
        Ok(engine)
    }

    /// An engine to write with. Like one to ask with, it goes by the policies that are recorded: only a worker
    /// records another, or one shell's settings would change everybody's history.
    pub async fn working_engine(&self) -> anyhow::Result<Engine> {
        let store = self.migrated().await?;
        let engine = worker::join(store, &self.settings).await?;
        self.mention_other_policy(&engine).await?;
        Ok(engine)
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
