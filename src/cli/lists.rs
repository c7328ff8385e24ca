//! `tenure partners`, `tenure account` and `tenure refusals`.

use std::process::ExitCode;

use clap::Args;
use clap::builder::PossibleValuesParser;

use super::context::{Context, UsageError};
use super::moment::{Moment, parse_moment};
use super::output;
use crate::domain::link::LinkStatus;
use crate::domain::time::rfc3339;
use crate::domain::{Id, Refusal};
use crate::store::RefusalFilter;

/// The number of partners or refusals that are read at a time.
const PAGE: u32 = 1_000;

#[derive(Debug, Args)]
pub struct PartnersArgs {
    /// List at most N partners
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

#[derive(Debug, Args)]
pub struct AccountArgs {
    /// The id of the account in the account app
    account: String,
}

#[derive(Debug, Args)]
pub struct RefusalsArgs {
    /// Only events that were refused with this code
    #[arg(long, value_parser = codes())]
    code: Option<String>,
    /// Only events of this source
    #[arg(long)]
    source: Option<String>,
    /// Only events at or after this moment
    #[arg(long, value_name = "TIME", value_parser = parse_moment, allow_hyphen_values = true)]
    from: Option<Moment>,
    /// Only events before this moment
    #[arg(long, value_name = "TIME", value_parser = parse_moment, allow_hyphen_values = true)]
    until: Option<Moment>,
    /// List at most N refusals
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

fn codes() -> PossibleValuesParser {
    Refusal::ALL
        .iter()
        .map(|code| code.code())
        .collect::<Vec<_>>()
        .into()
}

/// The size of the next page, of what is left to list.
fn page(left: usize) -> u32 {
    u32::try_from(left).unwrap_or(PAGE).min(PAGE)
}

pub async fn partners(context: &Context, args: PartnersArgs) -> anyhow::Result<ExitCode> {
    let engine = context.engine().await?;
    let mut left = args.limit.unwrap_or(usize::MAX);
    let (mut partners, mut after) = (Vec::new(), None);
    while left > 0 {
        let (found, next) = engine.partners(after.as_deref(), page(left)).await?;
        left -= found.len();
        if context.is_json() {
            for partner in &found {
                output::json(partner)?;
            }
        } else {
            partners.extend(found);
        }
        after = next;
        if after.is_none() {
            break;
        }
    }
    if context.is_json() {
        return Ok(ExitCode::SUCCESS);
    }
    let counts = |counts: &std::collections::BTreeMap<String, i64>| {
        let counts: Vec<_> = counts
            .iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        counts.join(", ")
    };
    let rows = partners.iter().map(|found| {
        vec![
            found.partner.clone(),
            found.facets.clients.to_string(),
            counts(&found.facets.link),
            counts(&found.facets.service),
            counts(&found.facets.access),
        ]
    });
    let head = ["partner", "clients", "link", "service", "access"];
    context.print_rows(&head, rows);
    if context.is_table() {
        output::line(output::counted(partners.len(), "partner"));
    }
    Ok(ExitCode::SUCCESS)
}

pub async fn account(context: &Context, args: AccountArgs) -> anyhow::Result<ExitCode> {
    let account = Id::try_from(args.account).map_err(|error| UsageError(error.to_string()))?;
    let engine = context.engine().await?;
    let (mut partners, mut after) = (Vec::new(), None);
    loop {
        let page = usize::try_from(PAGE).unwrap_or(usize::MAX);
        let (found, next) = engine
            .partners_of_account(&account, None, after.as_ref(), page)
            .await?;
        partners.extend(found);
        after = next;
        if after.is_none() {
            break;
        }
    }
    if context.is_json() {
        for partner in &partners {
            output::json(partner)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let rows = partners.iter().map(|found| {
        vec![
            format!("{}/{}", found.partner, found.client),
            output::words(found.name.as_deref()),
            output::words(found.link.map(LinkStatus::as_str)),
            found.access.to_string(),
            output::moment(found.expires_at),
            output::moment(found.access_request),
        ]
    });
    let head = ["client", "name", "link", "access", "expires", "requested"];
    context.print_rows(&head, rows);
    Ok(ExitCode::SUCCESS)
}

pub async fn refusals(context: &Context, args: RefusalsArgs) -> anyhow::Result<ExitCode> {
    let engine = context.engine().await?;
    let filter = RefusalFilter {
        code: args.code.as_deref().and_then(Refusal::from_code),
        source: args.source,
        from: args.from.map(|from| from.resolve(engine.now())),
        until: args.until.map(|until| until.resolve(engine.now())),
    };
    let mut left = args.limit.unwrap_or(usize::MAX);
    let (mut refusals, mut after) = (Vec::new(), None);
    while left > 0 {
        let (found, next) = engine.refusals(&filter, after.as_ref(), page(left)).await?;
        left -= found.len();
        if context.is_json() {
            for refusal in &found {
                output::json(refusal)?;
            }
        } else {
            refusals.extend(found);
        }
        after = next;
        if after.is_none() {
            break;
        }
    }
    if context.is_json() {
        return Ok(ExitCode::SUCCESS);
    }
    let rows = refusals.iter().map(|refusal| {
        vec![
            rfc3339(refusal.time),
            refusal.subject.clone(),
            refusal.kind.to_owned(),
            refusal.code.to_owned(),
            refusal.reason.to_owned(),
            refusal.source.to_string(),
            refusal.id.to_string(),
        ]
    });
    let head = ["time", "client", "type", "code", "reason", "source", "id"];
    context.print_rows(&head, rows);
    if context.is_table() {
        output::line(output::counted(refusals.len(), "refusal"));
    }
    Ok(ExitCode::SUCCESS)
}
