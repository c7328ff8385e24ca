//! `tenure accesses`: who entered which account when.

use std::process::ExitCode;

use clap::Args;

use super::context::{Context, UsageError};
use super::moment::{Moment, parse_moment};
use super::output;
use crate::domain::id::{IdError, check_id};
use crate::domain::time::rfc3339;
use crate::domain::{ActorKind, ClientKey};
use crate::engine::{AccessView, Engine, interval};
use crate::store::AccessFilter;

/// The number of entries that are read at a time.
const PAGE: u32 = 1_000;

#[derive(Debug, Args)]
pub struct AccessesArgs {
    /// Only entries of this client [default: all clients]
    #[arg(value_name = "PARTNER/CLIENT", conflicts_with = "partner")]
    client: Option<String>,
    /// Only entries of clients of this partner
    #[arg(long)]
    partner: Option<String>,
    /// Only entries at or after this moment
    #[arg(long, value_name = "TIME", value_parser = parse_moment, allow_hyphen_values = true)]
    since: Option<Moment>,
    /// Only entries before this moment
    #[arg(long, value_name = "TIME", value_parser = parse_moment, allow_hyphen_values = true)]
    until: Option<Moment>,
    /// List at most N entries
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

pub async fn run(context: &Context, args: AccessesArgs) -> anyhow::Result<ExitCode> {
    let usage = |error: IdError| UsageError(error.to_string());
    let key = args.client.as_deref().map(ClientKey::from_subject);
    let key = key.transpose().map_err(usage)?;
    if let Some(partner) = &args.partner {
        check_id("partner", partner).map_err(usage)?;
    }
    let engine = context.engine().await?;
    let filter = AccessFilter {
        since: args.since.map(|since| since.resolve(engine.now())),
        until: args.until.map(|until| until.resolve(engine.now())),
    };
    let mut left = args.limit.unwrap_or(usize::MAX);
    let (mut is_first, mut after) = (true, None);
    while left > 0 {
        let limit = u32::try_from(left).unwrap_or(PAGE).min(PAGE);
        let page = if let Some(key) = &key {
            engine.accesses(key, &filter, after.as_ref(), limit).await?
        } else {
            let partner = args.partner.as_deref();
            let page = engine.all_accesses(partner, &filter, after.as_ref(), limit);
            Some(page.await?)
        };
        let Some(page) = page else {
            let key = key.map_or_else(String::new, |key| key.to_string());
            output::error_line(format!(
                "unknown client {key}; `tenure client list` lists the clients"
            ));
            return Ok(ExitCode::FAILURE);
        };
        left -= page.accesses.len();
        if context.is_json() {
            for access in &page.accesses {
                output::json(access)?;
            }
        } else if is_first || !page.accesses.is_empty() {
            // A table for each page: the whole log may not fit into memory.
            let head = ["time", "client", "by", "user", "actor", "refusal", "source", "id"];
            let rows = page.accesses.iter().map(row);
            if is_first {
                context.print_rows(&head, rows);
            } else {
                context.print_more_rows(&head, rows);
            }
        }
        is_first = false;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let status = status(&engine).await?;
    if !context.is_table() {
        if engine.access_log().is_none() {
            output::error_line(status);
        }
        return Ok(ExitCode::SUCCESS);
    }
    output::line(status);
    Ok(ExitCode::SUCCESS)
}

fn row(access: &AccessView) -> Vec<String> {
    let actor = [
        access.actor.kind.map(ActorKind::as_str),
        access.actor.id.as_deref(),
    ];
    let actor: Vec<&str> = actor.into_iter().flatten().collect();
    vec![
        rfc3339(access.time),
        access.subject.clone(),
        access.by.to_string(),
        output::words(access.user.as_deref()),
        if actor.is_empty() {
            "-".to_owned()
        } else {
            actor.join(" ")
        },
        output::words(access.refusal),
        access.source.to_string(),
        access.id.to_string(),
    ]
}

/// Whether the access log is on, and since when: a list without entries does not say whether nobody entered.
async fn status(engine: &Engine) -> anyhow::Result<String> {
    let Some(retention) = engine.access_log() else {
        return Ok(
            "the access log is off in these settings: nothing is added, and pruning removes all entries; to switch it on, set \
             access.log, for example to \"90d\""
                .to_owned(),
        );
    };
    let retention = interval(retention.num_seconds());
    Ok(match engine.access_log_since().await? {
        Some(since) => format!(
            "the access log stores entries for {retention}, and has been on since {}",
            rfc3339(since)
        ),
        None => format!(
            "the access log stores entries for {retention}; no worker has been started with it yet, so it is unknown when it was switched on"
        ),
    })
}
