//! `tenure audit`: what operators did.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::context::Context;
use super::moment::{Moment, parse_moment};
use super::output;
use crate::domain::time::rfc3339;
use crate::store::{AuditFilter, AuditRecord};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  tenure audit --since 2026-03-01T00:00:00Z\n  tenure audit --action sweep --by ann"
)]
pub struct AuditArgs {
    /// Only entries at or after this moment
    #[arg(long, value_name = "TIME", value_parser = parse_moment, allow_hyphen_values = true)]
    since: Option<Moment>,
    /// Only entries before this moment
    #[arg(long, value_name = "TIME", value_parser = parse_moment, allow_hyphen_values = true)]
    until: Option<Moment>,
    /// Only what this token or user did
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Only this action, such as sweep.pause, or all that begin with it: sweep
    #[arg(long)]
    action: Option<String>,
    /// List at most N entries
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
}

/// Entries that are read at a time.
const PAGE: u32 = 500;

pub async fn run(context: &Context, args: AuditArgs) -> anyhow::Result<ExitCode> {
    let engine = context.engine().await?;
    let filter = AuditFilter {
        since: args.since.map(|since| since.resolve(engine.now())),
        until: args.until.map(|until| until.resolve(engine.now())),
        who: args.by,
        action: args.action,
    };
    let mut entries: Vec<AuditRecord> = Vec::new();
    let mut next = Some(i64::MAX);
    while let Some(before) = next
        && let Some(left) = args.limit.checked_sub(u32::try_from(entries.len())?)
        && left > 0
    {
        let page = engine.audit_log(&filter, before, left.min(PAGE)).await?;
        entries.extend(page.entries);
        next = page.next;
    }
    if context.is_json() {
        for record in &entries {
            output::json(record)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let head = ["time", "who", "how", "action", "target", "reason", "details"];
    context.print_rows(&head, entries.into_iter().map(row));
    Ok(ExitCode::SUCCESS)
}

fn row(record: AuditRecord) -> Vec<String> {
    let entry = record.entry;
    let details = if entry.details.is_empty() {
        String::new()
    } else {
        Value::Object(entry.details).to_string()
    };
    vec![
        rfc3339(entry.at),
        entry.who,
        entry.how.as_str().to_owned(),
        entry.action,
        output::words(entry.target.as_deref()),
        output::words(entry.reason.as_deref()),
        details,
    ]
}
