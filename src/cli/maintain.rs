//! `tenure migrate` and `config`.

use std::process::ExitCode;

use super::context::Context;
use super::output;

pub async fn migrate(context: &Context) -> anyhow::Result<ExitCode> {
    let store = context.store()?;
    store.migrate().await?;
    if context.json {
        output::json(&serde_json::json!({ "store": store.kind(), "migrated": true }))?;
    } else {
        output::line(&format!("the {} store is at this version", store.kind()));
    }
    Ok(ExitCode::SUCCESS)
}

pub fn config(context: &Context) -> ExitCode {
    if context.json {
        output::line(&context.settings.redacted().to_string());
    } else {
        output::line(&context.settings.redacted_toml());
    }
    ExitCode::SUCCESS
}
