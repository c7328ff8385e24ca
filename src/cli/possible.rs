//! `tenure possible`: which events a client would accept.

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::Value;

use super::context::Context;
use super::key::KeyArgs;
use super::output;
use crate::domain::time::rfc3339;

#[derive(Debug, Args)]
pub struct PossibleArgs {
    #[command(flatten)]
    client: KeyArgs,
    /// Ask as of this moment (RFC 3339), past or future [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<DateTime<Utc>>,
}

pub async fn run(context: &Context, args: PossibleArgs) -> anyhow::Result<ExitCode> {
    let key = args.client.key()?;
    let possible = context.engine().await?.possible(&key, args.at).await?;
    if context.json {
        for event in &possible.events {
            output::json(event)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let rows = possible.events.iter().map(|event| {
        let by = event.data.get("by").and_then(Value::as_str);
        vec![
            by.map_or_else(|| event.kind.to_owned(), |by| format!("{} by {by}", event.kind)),
            event.side.to_string(),
            if event.possible { "yes" } else { "no" }.to_owned(),
            event
                .refusal
                .map_or_else(String::new, |refusal| refusal.to_string()),
            event.reason.unwrap_or_default().to_owned(),
        ]
    });
    output::line(output::table(
        &["event", "whose", "possible", "refusal", "reason"],
        rows,
    ));
    let count = possible.events.iter().filter(|event| event.possible).count();
    output::line(format!(
        "{key} at {}: {count} of {} are possible",
        rfc3339(possible.at),
        possible.events.len()
    ));
    Ok(ExitCode::SUCCESS)
}
