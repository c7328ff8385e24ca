//! `tenure verify`, `migrate` and `config`.

use std::process::ExitCode;

use super::context::Context;
use super::output;

pub async fn verify(context: &Context) -> anyhow::Result<ExitCode> {
    let engine = context.engine().await?;
    let census = engine.store().census().await?;
    let bar = output::bar(census.link.values().sum::<i64>().unsigned_abs(), "clients");
    let report = engine.verify(|clients| bar.set_position(clients)).await?;
    bar.finish_and_clear();
    let code = if report.drifts.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    };
    if context.json {
        output::json(&report)?;
        return Ok(code);
    }
    if !report.drifts.is_empty() {
        let rows = report
            .drifts
            .iter()
            .map(|drift| vec![drift.client.clone(), drift.what.clone()]);
        output::line(&output::table(&["client", "what differs"], rows));
    }
    output::line(&format!(
        "{} clients folded anew from {} events: {}",
        report.clients,
        report.events,
        match report.drifts.len() {
            0 => "no drift".to_owned(),
            n => format!("{n} differ from what is stored"),
        }
    ));
    Ok(code)
}

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
