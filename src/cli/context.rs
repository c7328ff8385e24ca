//! The context of a command: settings, store, engine and output format.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::output::{Format, Safe};
use super::{operator, output};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{Settings, StoreUrl};
use crate::csv_row::Cell;
use crate::engine::{Authority, Engine};
use crate::store::{AuditEntry, SchemaState, Store, StoreError};
use crate::wire::{Decoder, SchemaUris};
use crate::worker;

/// Invalid arguments: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// How long closing the store may take: SQLite may have a long write-ahead log to copy into its file.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);

pub struct Context {
    pub settings: Settings,
    format: Format,
    /// Why, as the operator says.
    reason: Option<String>,
    opened: OnceLock<Arc<dyn Store>>,
}

impl Context {
    pub fn new(file: Option<&Path>, format: Format, reason: Option<String>) -> anyhow::Result<Self> {
        Ok(Self {
            settings: Settings::load(file, crate::config::environment())?,
            format,
            reason,
            opened: OnceLock::new(),
        })
    }

    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    pub fn is_csv(&self) -> bool {
        self.format == Format::Csv
    }

    pub fn is_table(&self) -> bool {
        self.format == Format::Table
    }

    /// Prints a table, or its header and rows as comma-separated values.
    pub fn print_rows<C: Into<Safe>>(&self, head: &[&str], rows: impl IntoIterator<Item = Vec<C>>) {
        if self.is_csv() {
            self.print_csv_head(head);
            self.print_more_rows(&[], rows);
        } else {
            output::block(output::table(head, rows));
        }
    }

    /// Prints another table of the same list, or the rows that follow as comma-separated values.
    pub fn print_more_rows<C: Into<Safe>>(&self, head: &[&str], rows: impl IntoIterator<Item = Vec<C>>) {
        if !self.is_csv() {
            return self.print_rows(head, rows);
        }
        for row in rows {
            let cells: Vec<Cell> = row.into_iter().map(|cell| csv_cell(&cell.into())).collect();
            output::csv(&cells);
        }
    }

    /// The header of comma-separated values whose rows follow; nothing in another format.
    pub fn print_csv_head(&self, head: &[&str]) {
        if self.is_csv() {
            let head = head.iter().map(|heading| heading.replace(' ', "_"));
            output::csv(&head.map(Cell::from).collect::<Vec<_>>());
        }
    }

    /// Prints the totals of a command for people: beside comma-separated values, on standard error.
    pub fn print_summary(&self, summary: &str) {
        if self.is_csv() {
            output::error_line(summary);
        } else if self.is_table() {
            output::line(summary);
        }
    }

    /// Says how many things a command removed.
    pub fn print_removed(&self, number: usize, noun: &str) -> anyhow::Result<()> {
        if self.is_json() {
            return output::json(&json!({ "removed": number }));
        }
        output::line(match number {
            0 => format!("there is no {noun} to remove"),
            number => format!("removed {}", output::counted(number, noun)),
        });
        Ok(())
    }

    /// A decoder for events read at this moment.
    pub fn decoder(&self, now: DateTime<Utc>) -> Decoder {
        Decoder::new(self.settings.events, now)
    }

    /// Who runs the command, and the reason of `--reason`.
    pub fn authority(&self) -> Authority {
        operator::authority(self.reason.clone())
    }

    /// As [`Context::authority`], for what matters: asks for the reason if nobody gave one, and somebody can answer.
    pub fn asked_authority(&self) -> Authority {
        operator::authority(self.reason.clone().or_else(operator::ask_reason))
    }

    /// An entry of the audit log for a command without an engine. `details` is a JSON object.
    pub fn entry(&self, action: &str, target: Option<String>, details: Value) -> AuditEntry {
        self.authority().entry(SystemClock.now(), action, target, details)
    }

    /// The store of the settings, without connecting or migrating.
    pub fn store(&self) -> anyhow::Result<Arc<dyn Store>> {
        if let Some(store) = self.opened.get() {
            return Ok(store.clone());
        }
        let store =
            worker::open_store(&self.settings.store).map_err(|error| UsageError(error.to_string()))?;
        Ok(self.opened.get_or_init(|| store).clone())
    }

    /// Closes the store if the command has opened it. A SQLite store is a single file then, which can be copied.
    pub async fn close(&self) {
        if let Some(store) = self.opened.get() {
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, store.close()).await;
        }
    }

    /// An engine to read with, on an existing store of this version. It writes nothing: no file, no table, no policy.
    pub async fn engine(&self) -> anyhow::Result<Engine> {
        let store = self.current_store().await?;
        let engine = Engine::open(store, Arc::new(SystemClock), &self.settings.policy()).await?;
        let engine = engine
            .on_silence(self.settings.sources.on_silence)
            .with_actions(self.settings.actions.clone())
            .with_schemas(SchemaUris::new(self.settings.http.public_url.as_deref()))
            .with_access_log(self.settings.access_log);
        self.joined(engine).await
    }

    /// As [`Context::engine`], with a clock that is compared with the store's: for ages of what other machines have recorded.
    pub async fn compared_engine(&self) -> anyhow::Result<Engine> {
        let engine = self.engine().await?;
        engine.compare_clock().await?;
        Ok(engine)
    }

    /// The existing store, if its tables are of this version.
    pub async fn current_store(&self) -> anyhow::Result<Arc<dyn Store>> {
        match self.existing().await? {
            SchemaState::Older { missing } => Err(UsageError(format!(
                "the schema of {} is older than this program (migration {missing} is missing); run `tenure migrate`",
                self.place()
            ))
            .into()),
            SchemaState::Newer { unknown } => Err(StoreError::Migration(format!(
                "the schema of {} is newer than this program (migration {unknown} is unknown); use a newer version of tenure",
                self.place()
            ))
            .into()),
            SchemaState::Current | SchemaState::Incomplete | SchemaState::Missing => self.store(),
        }
    }

    /// An engine to change an existing store. It migrates the store, but does not create one.
    pub async fn maintaining_engine(&self) -> anyhow::Result<Engine> {
        self.existing().await?;
        self.working_engine().await
    }

    /// An engine to write with, on a store that is created if there is none. Like every command it uses the recorded
    /// policies: only a worker records a new one, or the settings of one shell would change the history for everyone.
    pub async fn working_engine(&self) -> anyhow::Result<Engine> {
        let store = self.migrated().await?;
        self.joined(worker::join(store, &self.settings).await?).await
    }

    async fn joined(&self, engine: Engine) -> anyhow::Result<Engine> {
        self.warn_of_other_policy(&engine).await?;
        Ok(engine)
    }

    /// The state of the store's schema, or an error if there is no store or it is incomplete.
    pub async fn existing(&self) -> anyhow::Result<SchemaState> {
        match self.store()?.schema().await? {
            SchemaState::Missing => Err(UsageError(format!(
                "no Tenure store at {}; run this in the worker's directory, set DATABASE_URL (store.url), or create a store \
                 with `tenure migrate`",
                self.place()
            ))
            .into()),
            SchemaState::Incomplete => Err(StoreError::Incomplete.into()),
            state => Ok(state),
        }
    }

    /// The location of the store, for messages.
    pub fn place(&self) -> String {
        match &self.settings.store.url {
            StoreUrl::Sqlite(path) => std::path::absolute(path)
                .unwrap_or_else(|_| path.clone())
                .display()
                .to_string(),
            url @ StoreUrl::Postgres(_) => url.to_string(),
        }
    }

    /// The store of the settings, migrated to this version.
    pub async fn migrated(&self) -> anyhow::Result<Arc<dyn Store>> {
        let store = self.store()?;
        store.migrate().await?;
        Ok(store)
    }

    async fn warn_of_other_policy(&self, engine: &Engine) -> anyhow::Result<()> {
        if !engine.is_latest_policy(&self.settings.policy()).await? {
            output::error_line(
                "the policy in these settings differs from the one in effect; to put it into effect, run `tenure run` or \
                 `tenure policy apply` with these settings",
            );
        }
        Ok(())
    }
}

/// The dash of an empty cell is for people.
fn csv_cell(text: &Safe) -> Cell {
    match text.to_string().as_str() {
        output::NONE => Cell::from(""),
        // The lines of a cell.
        text => Cell::from(text.replace('\n', "; ")),
    }
}
