//! `tenure client show|list`.

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand, ValueEnum};

use super::context::{Context, UsageError};
use super::key::KeyArgs;
use super::moment::{Moment, parse_moment};
use super::output::{self, Safe};
use crate::domain::access::AccessStatus;
use crate::domain::link::LinkStatus;
use crate::domain::service::ServiceStatus;
use crate::domain::time::rfc3339;
use crate::domain::view::{ClientView, Tab};
use crate::domain::{ActorKind, Corrector, Id, Name};
use crate::engine::{Engine, JournalLine, ListRequest, SearchRequest, ServiceFilter};

#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  tenure client show acme/c-1 --journal
  tenure client list --partner acme --access enabled")]
pub enum ClientCommand {
    /// Show one client, now or as of any other moment
    #[command(after_help = "\
Examples:
  tenure client show acme/c-1 --journal
  tenure client show acme/c-1 --at -30d")]
    Show(ShowArgs),
    /// List the clients that match all filters
    #[command(after_help = "\
Examples:
  tenure client list --partner acme --access enabled
  tenure client list --expires-before +7d
  tenure client list --count")]
    List(ListArgs),
}

#[derive(Debug, Args)]
pub struct ShowArgs {
    #[command(flatten)]
    client: KeyArgs,
    /// Show the client as of this moment, past or future [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_moment, allow_hyphen_values = true)]
    at: Option<Moment>,
    /// Also show the client's journal; with --json, it follows the client, one object per line
    #[arg(long)]
    journal: bool,
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only clients of this partner
    #[arg(long)]
    partner: Option<String>,
    /// Only clients with this link status
    #[arg(long, value_parser = status_parser(&LinkStatus::ALL.map(LinkStatus::as_str)))]
    link: Option<String>,
    /// Only clients with this service status; `all_active` matches pending and active ones
    #[arg(long, value_parser = status_parser(&["pending_assigning", "active", "terminated", "all_active"]))]
    service: Option<String>,
    /// Only clients with this access status now
    #[arg(long, value_parser = status_parser(&AccessStatus::ALL.map(AccessStatus::as_str)))]
    access: Option<String>,
    /// Only clients on this tab of the partner's list: `active` has the connected ones
    #[arg(long)]
    tab: Option<TabArg>,
    /// Only clients whose id begins with this
    #[arg(long)]
    prefix: Option<String>,
    /// Only clients whose name contains this, without regard to case and form
    #[arg(long, value_name = "PART")]
    name: Option<String>,
    /// Only clients whose partner has an open request for access
    #[arg(long)]
    requested: bool,
    /// Only clients whose access expires before this moment
    #[arg(long, value_name = "TIME", value_parser = parse_moment, allow_hyphen_values = true)]
    expires_before: Option<Moment>,
    /// Only clients that are billable (true), or that are not (false)
    #[arg(long, value_name = "BOOL")]
    billable: Option<bool>,
    /// Only clients that dashboards show (true), or do not (false)
    #[arg(long, value_name = "BOOL")]
    visible: Option<bool>,
    /// Only clients with this account
    #[arg(long)]
    account: Option<String>,
    /// List at most N clients
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Print the number of clients by status instead of the clients
    #[arg(long, conflicts_with = "limit")]
    count: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum TabArg {
    Active,
    Inactive,
}

fn status_parser(names: &[&'static str]) -> clap::builder::PossibleValuesParser {
    names.to_vec().into()
}

pub async fn run(context: &Context, command: ClientCommand) -> anyhow::Result<ExitCode> {
    match command {
        ClientCommand::Show(args) => show(context, args).await,
        ClientCommand::List(args) => list(context, args).await,
    }
}

async fn show(context: &Context, args: ShowArgs) -> anyhow::Result<ExitCode> {
    let key = args.client.key()?;
    let engine = context.engine().await?;
    let at = args.at.map(|at| at.resolve(engine.now()));
    let Some(view) = engine.client(&key, at).await? else {
        output::error_line(match at {
            Some(at) => format!("client {key} did not exist at {}", rfc3339(at)),
            None => format!("unknown client {key}; `tenure client list` lists the clients"),
        });
        return Ok(ExitCode::FAILURE);
    };
    let journal = if args.journal {
        let lines = engine.journal(&key, 0, u32::MAX).await?;
        let upto = |line: &JournalLine| {
            at.is_none_or(|at| DateTime::parse_from_rfc3339(&line.time).is_ok_and(|time| time <= at))
        };
        lines.into_iter().filter(upto).collect()
    } else {
        Vec::new()
    };
    if context.is_json() {
        output::json(&view)?;
        for line in &journal {
            output::json(line)?;
        }
    } else {
        output::block(card(&view)?);
        if args.journal {
            output::block(journal_table(&journal, false));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The number of clients that are read at a time.
const PAGE: usize = 1_000;

async fn list(context: &Context, args: ListArgs) -> anyhow::Result<ExitCode> {
    let mut left = args.limit.unwrap_or(usize::MAX);
    let is_counted = args.count;
    let engine = context.engine().await?;
    let request = search_request(args, engine.now())?;
    if is_counted {
        return count(context, &engine, &request).await;
    }
    let (mut clients, mut after) = (Vec::new(), None);
    while left > 0 {
        let found = engine.search(&request, after.as_ref(), left.min(PAGE)).await?;
        left -= found.clients.len();
        if context.is_json() {
            for client in &found.clients {
                output::json(client)?;
            }
        } else {
            clients.extend(found.clients);
        }
        after = found.next;
        if after.is_none() {
            break;
        }
    }
    if context.is_json() {
        return Ok(ExitCode::SUCCESS);
    }
    print_list(context, &clients);
    Ok(ExitCode::SUCCESS)
}

/// Counts all clients that match, however many requests that takes.
async fn count(context: &Context, engine: &Engine, request: &SearchRequest) -> anyhow::Result<ExitCode> {
    let (mut counts, mut after) = engine.count(request, None).await?;
    while after.is_some() {
        let (more, next) = engine.count(request, after.as_ref()).await?;
        counts.extend(more);
        after = next;
    }
    if context.is_json() {
        output::json(&counts)?;
        return Ok(ExitCode::SUCCESS);
    }
    let facets = counts.facets;
    let rows = [
        ("link", facets.link),
        ("service", facets.service),
        ("access", facets.access),
    ]
    .into_iter()
    .flat_map(|(facet, counts)| {
        counts
            .into_iter()
            .map(move |(status, clients)| vec![facet.to_owned(), status, clients.to_string()])
    });
    context.print_rows(&["facet", "status", "clients"], rows);
    if context.is_table() {
        output::line(output::counted(facets.clients, "client"));
    }
    Ok(ExitCode::SUCCESS)
}

fn search_request(args: ListArgs, now: DateTime<Utc>) -> Result<SearchRequest, UsageError> {
    let usage = |error: &dyn std::fmt::Display| UsageError(error.to_string());
    let name = args.name.map(Name::try_from).transpose();
    let account = args.account.map(Id::try_from).transpose();
    Ok(SearchRequest {
        list: ListRequest {
            partner: args.partner,
            link: args
                .link
                .and_then(|name| LinkStatus::ALL.into_iter().find(|s| s.as_str() == name)),
            service: args.service.and_then(|name| match name.as_str() {
                "all_active" => Some(ServiceFilter::AllActive),
                name => ServiceStatus::ALL
                    .into_iter()
                    .find(|s| s.as_str() == name)
                    .map(ServiceFilter::Is),
            }),
            access: args
                .access
                .and_then(|name| AccessStatus::ALL.into_iter().find(|s| s.as_str() == name)),
            tab: args.tab.map(|tab| match tab {
                TabArg::Active => Tab::Active,
                TabArg::Inactive => Tab::Inactive,
            }),
            after: None,
            limit: None,
        },
        name_prefix: None,
        id_prefix: args.prefix,
        name: name.map_err(|error| usage(&error))?,
        request_open: args.requested,
        expires_before: args.expires_before.map(|before| before.resolve(now)),
        billable: args.billable,
        visible: args.visible,
        account: account.map_err(|error| usage(&error))?,
    })
}

fn print_list(context: &Context, clients: &[ClientView]) {
    let head = [
        "client",
        "name",
        "link",
        "service",
        "access",
        "expires",
        "last accessed",
    ];
    let rows = clients.iter().map(|client| {
        vec![
            format!("{}/{}", client.partner, client.client),
            output::words(client.name.as_deref()),
            output::words(client.link.map(LinkStatus::as_str)),
            output::words(client.service.map(ServiceStatus::as_str)),
            client.access.to_string(),
            output::moment(client.expires_at),
            output::moment(client.last_accessed_at),
        ]
    });
    context.print_rows(&head, rows);
    if context.is_table() {
        output::line(output::counted(clients.len(), "client"));
    }
}

/// All fields of a client, one per row.
pub fn card(view: &ClientView) -> anyhow::Result<Safe> {
    let serde_json::Value::Object(fields) = serde_json::to_value(view)? else {
        anyhow::bail!("a client does not serialize to an object; this is a bug");
    };
    let rows = fields
        .iter()
        .map(|(name, value)| vec![Safe::from(name), cell(value)]);
    Ok(output::table(&["field", "value"], rows.collect::<Vec<_>>()))
}

/// A list has one line per item.
fn cell(value: &serde_json::Value) -> Safe {
    match value {
        serde_json::Value::Array(items) if !items.is_empty() => Safe::lines(items.iter().map(text)),
        value => text(value).into(),
    }
}

fn text(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => "-".into(),
        serde_json::Value::Bool(true) => "yes".into(),
        serde_json::Value::Bool(false) => "no".into(),
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(items) if items.is_empty() => "-".into(),
        serde_json::Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        serde_json::Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| format!("{name} {}", text(value)))
            .collect::<Vec<_>>()
            .join(", "),
        number => number.to_string(),
    }
}

/// The columns of a journal of several clients.
pub const JOURNAL_COLUMNS: [&str; 6] = ["client", "time", "change", "detail", "cause", "correction"];

/// Lines of the journal, one per row. Those of several clients name their clients.
pub fn journal_table(journal: &[JournalLine], of_several: bool) -> Safe {
    let skipped = usize::from(!of_several);
    let mut head = JOURNAL_COLUMNS;
    // Most lines are not corrected, and the others say so.
    head[5] = "";
    output::table(
        &head[skipped..],
        journal
            .iter()
            .map(|line| journal_row(line).into_iter().skip(skipped).collect::<Vec<_>>()),
    )
}

/// The cells of a line of the journal.
pub fn journal_row(line: &JournalLine) -> Vec<String> {
    let moved = match (&line.from, &line.to) {
        (Some(from), Some(to)) => format!("{from} → {to}"),
        (None, Some(to)) => to.clone(),
        (Some(from), None) => format!("{from} →"),
        (None, None) => String::new(),
    };
    let what = [line.id.clone().unwrap_or_default(), moved].join(" ");
    let cause = match &line.cause {
        crate::domain::Cause::Event { kind, actor, .. } => {
            let by = actor
                .kind
                .map(ActorKind::as_str)
                .into_iter()
                .chain(actor.id.as_deref());
            let by = by.collect::<Vec<_>>().join(" ");
            if by.is_empty() {
                kind.to_string()
            } else {
                format!("{kind} by {by}")
            }
        }
        crate::domain::Cause::Timer { timer } => format!("timer {}", timer.as_str()),
        crate::domain::Cause::Rebuild { rebuild } => format!("rebuild of the {}", rebuild.as_str()),
    };
    let correction = match &line.corrected_by {
        None => String::new(),
        Some(Corrector::LateEvent { kind, .. }) => format!("corrected by {kind}"),
        Some(Corrector::Rebuild { .. }) => "corrected by a rebuild".into(),
    };
    vec![
        line.subject.clone(),
        line.time.clone(),
        line.kind.clone(),
        what.trim().to_owned(),
        cause,
        correction,
    ]
}
