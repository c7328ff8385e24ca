//! `tenure possible`: which events a client would accept.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::context::Context;
use super::key::KeyArgs;
use super::moment::{Moment, parse_moment};
use super::output;
use crate::domain::time::rfc3339;

#[derive(Debug, Args)]
pub struct PossibleArgs {
    #[command(flatten)]
    client: KeyArgs,
    /// Ask as of this moment, past or future [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_moment, allow_hyphen_values = true)]
    at: Option<Moment>,
}

pub async fn run(context: &Context, args: PossibleArgs) -> anyhow::Result<ExitCode> {
    let key = args.client.key()?;
    let engine = context.engine().await?;
    let at = args.at.map(|at| at.resolve(engine.now()));
    let possible = engine.possible(&key, at).await?;
    if context.is_json() {
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
    context.print_rows(&["event", "whose", "possible", "refusal", "reason"], rows);
    if context.is_table() {
        let count = possible.events.iter().filter(|event| event.possible).count();
        output::line(format!(
            "{key} at {}: {count} of {} are possible",
            rfc3339(possible.at),
            possible.events.len()
        ));
    }
    Ok(ExitCode::SUCCESS)
}
