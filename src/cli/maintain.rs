//! `tenure migrate`, `restored` and `config`.

use std::process::ExitCode;

use super::context::Context;
use super::output::{self, Safe};

pub async fn migrate(context: &Context) -> anyhow::Result<ExitCode> {
    let store = context.store()?;
    store.migrate().await?;
    if context.json {
        output::json(&serde_json::json!({ "store": store.kind(), "migrated": true }))?;
    } else {
        output::line(format!("the {} store is at this version", store.kind()));
    }
    Ok(ExitCode::SUCCESS)
}

/// After a backup was restored: the changes that wait, and those to come, are published in a new epoch.
pub async fn restored(context: &Context) -> anyhow::Result<ExitCode> {
    context.existing().await?;
    let store = context.migrated().await?;
    let epoch = store.begin_epoch(0).await?;
    let waiting = store.relay_backlog().await?;
    if context.json {
        output::json(&serde_json::json!({ "epoch": format!("{epoch:019}"), "waiting": waiting }))?;
    } else {
        output::line(format!(
            "a new epoch of changes has begun: {epoch:019}; {waiting} changes wait, and are published in it"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

pub fn config(context: &Context) -> anyhow::Result<ExitCode> {
    if context.json {
        output::json(&context.settings.redacted())?;
    } else {
        output::line(Safe::lines(context.settings.redacted_toml().lines()));
    }
    Ok(ExitCode::SUCCESS)
}
