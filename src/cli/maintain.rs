//! `tenure migrate`, `tenure restored` and `tenure config`.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::context::Context;
use super::output::{self, Safe};
use crate::clock::{Clock, SystemClock};
use crate::store::SchemaState;

pub async fn migrate(context: &Context) -> anyhow::Result<ExitCode> {
    let store = context.store()?;
    let before = store.schema().await?;
    store.migrate().await?;
    if matches!(before, SchemaState::Missing | SchemaState::Older { .. }) {
        store
            .record_audit(&context.entry("migrate", None, Value::Null))
            .await?;
    }
    if context.is_json() {
        output::json(&serde_json::json!({ "store": store.kind(), "migrated": true }))?;
    } else {
        output::line(format!("the schema of the {} store is up to date", store.kind()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Starts a new epoch, in which unpublished and future changes are published.
pub async fn restored(context: &Context) -> anyhow::Result<ExitCode> {
    context.existing().await?;
    let store = context.migrated().await?;
    let authority = context.asked_authority();
    let epoch = store.begin_epoch(0).await?;
    // Those of the time of the backup. Workers that run record themselves again.
    let workers = store.remove_workers().await?;
    let details = json!({ "epoch": epoch, "workers": workers });
    let entry = authority.entry(SystemClock.now(), "restored", None, details);
    store.record_audit(&entry).await?;
    let waiting = store.count_unpublished().await?;
    if context.is_json() {
        output::json(&serde_json::json!({ "epoch": format!("{epoch:019}"), "waiting": waiting }))?;
    } else {
        output::line(format!(
            "started epoch {epoch:019}; {waiting} unpublished changes will be published in it"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

pub fn config(context: &Context) -> anyhow::Result<ExitCode> {
    if context.is_json() {
        output::json(&context.settings.redacted())?;
    } else {
        output::block(Safe::lines(context.settings.redacted_toml().lines()));
    }
    Ok(ExitCode::SUCCESS)
}
