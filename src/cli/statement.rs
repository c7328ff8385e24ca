//! `tenure statement`: lists the closed months; shows the days of each client in a month, or closes one.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::context::{Context, UsageError};
use super::operator;
use super::output::{self, Progress};
use crate::csv_row::Cell;
use crate::domain::id::check_id;
use crate::domain::intervals::Intervals;
use crate::domain::statement::{Closer, CloserError, DayCounts};
use crate::domain::time::rfc3339;
use crate::domain::{Adjustment, Measure, Month};
use crate::engine::{
    ClientStatement, CloseRequest, Engine, PartnerSum, PartnerSums, StatementError, StatementPages,
    StatementRequest,
};
use crate::store::Closing;

#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  tenure statement list\n  tenure statement show 2026-10 --partner acme\n  \
                        tenure statement close 2026-10 --by petra"
)]
pub enum StatementCommand {
    /// List the closed months: who closed each, when, and how many statements and adjustments it has
    #[command(after_help = "Examples:\n  tenure statement list")]
    List,
    /// Show the days of each client in a month: a closed month as it was closed, any other as computed now
    #[command(after_help = "\
Examples:
  tenure statement show 2026-10
  tenure statement show 2026-10 --partner acme
  tenure statement show 2026-10 -o csv > october.csv")]
    Show(ShowArgs),
    /// Close a month for all partners; later changes to its days become adjustments in later statements
    #[command(after_help = "\
Examples:
  tenure statement close 2026-10
  tenure statement close 2026-10 --by petra --reason \"all files have arrived\"")]
    Close(CloseArgs),
}

#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The month (UTC), for example 2026-10
    month: Month,
    /// Only clients of this partner
    #[arg(long)]
    partner: Option<String>,
    /// Recompute a closed month from all events that have arrived
    #[arg(long)]
    recompute: bool,
}

#[derive(Debug, Args)]
pub struct CloseArgs {
    /// The month (UTC), for example 2026-10
    month: Month,
    /// Record that this person closes the month; ignored when a closing is continued [default: the operating system's user]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Close the month even if its events may still arrive, or if it is the first to be closed and ended before the first event
    #[arg(long)]
    confirm: bool,
}

/// Clients of a page.
const PAGE: u32 = 1_000;
/// Maximum number of rows in the tables of clients and of adjustments.
const MAX_LISTED: usize = 200;

/// The sums of a statement, for programs.
#[derive(Serialize)]
struct Totals {
    month: Month,
    /// Null: nobody has begun to close the month.
    closing: Option<Closing>,
    clients: u64,
    partners: Vec<PartnerSum>,
}

pub async fn run(context: &Context, command: StatementCommand) -> anyhow::Result<ExitCode> {
    match command {
        StatementCommand::List => list(context).await,
        StatementCommand::Show(args) => show(context, args).await,
        StatementCommand::Close(args) => close(context, args).await,
    }
}

async fn show(context: &Context, args: ShowArgs) -> anyhow::Result<ExitCode> {
    let month = args.month;
    if let Some(partner) = &args.partner {
        check_id("partner", partner).map_err(|error| UsageError(error.to_string()))?;
    }
    let engine = context.engine().await?;
    let request = StatementRequest {
        month,
        partner: args.partner,
        recompute: args.recompute,
        after: None,
        limit: PAGE,
    };
    if context.is_csv() {
        output::csv(&HEAD.map(Cell::from));
    }
    let mut listed = Listed::default();
    let totals = each(&engine, request, |client| {
        if context.is_json() {
            output::json(&client)?;
        } else if context.is_csv() {
            print_csv(month, &client);
        } else {
            listed.add(&client);
        }
        Ok(())
    })
    .await?;
    if context.is_json() {
        output::json(&totals)?;
    } else if !context.is_csv() {
        listed.print();
        print_sums(&totals);
    }
    Ok(ExitCode::SUCCESS)
}

/// Passes every client to `take`, page by page, and adds up the days by partner.
async fn each(
    engine: &Engine,
    request: StatementRequest,
    mut take: impl FnMut(ClientStatement) -> anyhow::Result<()>,
) -> anyhow::Result<Totals> {
    let mut totals = Totals {
        month: request.month,
        closing: None,
        clients: 0,
        partners: Vec::new(),
    };
    let mut sums = PartnerSums::default();
    let mut pages = StatementPages::of(request);
    while let Some(page) = pages.next(engine).await.map_err(explained)? {
        for client in page.clients {
            sums.add(&client);
            totals.clients += 1;
            take(client)?;
        }
        totals.closing = page.closing;
    }
    totals.partners = sums.into_sums();
    Ok(totals)
}

/// A month that has not begun is a mistake in the arguments.
fn explained(error: StatementError) -> anyhow::Error {
    match error {
        StatementError::NotBegun(_) => UsageError(error.to_string()).into(),
        StatementError::Store(error) => error.into(),
        StatementError::EventsMayArrive { .. } | StatementError::BeforeFirstEvent { .. } => {
            anyhow::anyhow!("{error}. To confirm, add --confirm")
        }
        other => other.into(),
    }
}

async fn close(context: &Context, args: CloseArgs) -> anyhow::Result<ExitCode> {
    let month = args.month;
    let request = CloseRequest {
        month,
        by: closer(args.by)?,
        confirmed: args.confirm,
        most: None,
    };
    let engine = context.maintaining_engine().await?;
    let mut progress = Progress::new("clients");
    let authority = context.asked_authority();
    let closed = engine
        .operator(&authority)
        .close_month(&request, |done, last| progress.tick(done, last))
        .await;
    progress.end();
    let closing = closed.map_err(explained)?;
    if context.is_json() {
        output::json(&closing)?;
    } else {
        output::line(format!(
            "{month} is closed: {} with days in the month, {} of earlier months",
            output::counted(closing.statements, "client"),
            output::counted(closing.adjustments, "adjustment"),
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Who closes a month: the given name, or the name of the user that runs the command.
fn closer(given: Option<String>) -> Result<Closer, UsageError> {
    let name = given.unwrap_or_else(operator::user);
    let invalid = |error: CloserError| UsageError(format!("invalid name in --by: {error}"));
    name.parse().map_err(invalid)
}

async fn list(context: &Context) -> anyhow::Result<ExitCode> {
    let closings = context.engine().await?.closings().await?;
    if context.is_json() {
        for closing in &closings {
            output::json(closing)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let head = [
        "month",
        "status",
        "closed by",
        "started at",
        "closed at",
        "statements",
        "adjustments",
    ];
    let rows = closings.iter().map(|closing| {
        vec![
            closing.month.to_string(),
            closing.status.as_str().to_owned(),
            closing.closed_by.clone(),
            rfc3339(closing.started_at),
            output::moment(closing.closed_at),
            closing.statements.to_string(),
            closing.adjustments.to_string(),
        ]
    });
    context.print_rows(&head, rows);
    Ok(ExitCode::SUCCESS)
}

/// The columns of a statement as comma-separated values.
const HEAD: [&str; 14] = [
    "statement",
    "line",
    "month",
    "partner",
    "client",
    "billable_days",
    "commission_days",
    "status_credit_days",
    "access_days",
    "billable",
    "commission",
    "status_credit",
    "access",
    "causes",
];

fn print_csv(statement: Month, client: &ClientStatement) {
    let row = |line: &str, month: Month, days: DayCounts, more: [String; 5]| {
        let mut cells: Vec<Cell> = vec![
            statement.to_string().into(),
            line.into(),
            month.to_string().into(),
            (&*client.key.partner).into(),
            (&*client.key.client).into(),
        ];
        cells.extend(counts(days).map(Cell::from));
        cells.extend(more.map(Cell::from));
        output::csv(&cells);
    };
    if client.days != DayCounts::default() {
        let intervals = |measure: Measure| spans(measure.of(&client.intervals));
        let [billable, commission, status_credit, access] = Measure::ALL.map(intervals);
        let more = [billable, commission, status_credit, access, String::new()];
        row("days", statement, client.days, more);
    }
    for adjustment in &client.adjustments {
        let [billable, commission, status_credit, access] =
            Measure::ALL.map(|measure| changed_days(adjustment, measure));
        let more = [billable, commission, status_credit, access, causes(adjustment)];
        row("adjustment", adjustment.month, adjustment.days, more);
    }
}

/// The numbers, in the order of the measures.
fn counts(days: DayCounts) -> [i64; 4] {
    [days.billable, days.commission, days.status_credit, days.access]
}

/// Intervals as ISO 8601 writes them, separated by spaces.
fn spans(intervals: &Intervals) -> String {
    let spans: Vec<String> = intervals
        .as_slice()
        .iter()
        .map(|interval| format!("{}/{}", rfc3339(interval.from), rfc3339(interval.to)))
        .collect();
    spans.join(" ")
}

/// The days that an adjustment adds and removes: `added 2026-10-03 removed 2026-10-07 2026-10-08`.
fn changed_days(adjustment: &Adjustment, measure: Measure) -> String {
    let days = [("added", &adjustment.added), ("removed", &adjustment.removed)]
        .into_iter()
        .filter_map(|(word, days)| {
            let days: Vec<String> = days.get(&measure)?.iter().map(ToString::to_string).collect();
            Some(format!("{word} {}", days.join(" ")))
        });
    days.collect::<Vec<_>>().join(" ")
}

fn causes(adjustment: &Adjustment) -> String {
    let causes: Vec<String> = adjustment.causes.iter().map(ToString::to_string).collect();
    causes.join("; ")
}

/// Rows of the tables for people.
#[derive(Default)]
struct Listed {
    clients: Vec<Vec<String>>,
    adjustments: Vec<Vec<String>>,
    unlisted: u64,
}

impl Listed {
    fn add(&mut self, client: &ClientStatement) {
        let row = |first: Vec<String>, days: DayCounts, signed: bool| {
            let shown = counts(days).map(|days| {
                if signed {
                    format!("{days:+}")
                } else {
                    days.to_string()
                }
            });
            first.into_iter().chain(shown).collect::<Vec<_>>()
        };
        if client.days != DayCounts::default() {
            if self.clients.len() < MAX_LISTED {
                self.clients
                    .push(row(vec![client.client.clone()], client.days, false));
            } else {
                self.unlisted += 1;
            }
        }
        for adjustment in &client.adjustments {
            if self.adjustments.len() < MAX_LISTED {
                let first = vec![client.client.clone(), adjustment.month.to_string()];
                let mut row = row(first, adjustment.days, true);
                row.push(causes(adjustment));
                self.adjustments.push(row);
            } else {
                self.unlisted += 1;
            }
        }
    }

    fn print(self) {
        if !self.clients.is_empty() {
            let head = ["client", "billable", "commission", "status credit", "access"];
            output::block(output::table(&head, self.clients));
        }
        if !self.adjustments.is_empty() {
            let head = [
                "client",
                "adjusted month",
                "billable",
                "commission",
                "status credit",
                "access",
                "cause",
            ];
            output::block(output::table(&head, self.adjustments));
        }
        if self.unlisted > 0 {
            output::line(format!(
                "and {}: --output json or csv lists all",
                output::counted(self.unlisted, "more line")
            ));
        }
    }
}

/// Prints the sums of a month by partner.
pub async fn print_month(engine: &Engine, month: Month) -> anyhow::Result<()> {
    let request = StatementRequest {
        month,
        partner: None,
        recompute: false,
        after: None,
        limit: PAGE,
    };
    print_sums(&each(engine, request, |_| Ok(())).await?);
    Ok(())
}

fn print_sums(totals: &Totals) {
    if !totals.partners.is_empty() {
        let head = [
            "partner",
            "clients",
            "billable",
            "commission",
            "status credit",
            "access",
        ];
        let rows = totals.partners.iter().map(|sum| {
            let days = counts(sum.days).into_iter().zip(counts(sum.adjustments));
            let days = days.map(|(days, adjusted)| match adjusted {
                0 => days.to_string(),
                _ => format!("{days} {adjusted:+}"),
            });
            [sum.partner.clone(), sum.clients.to_string()]
                .into_iter()
                .chain(days)
                .collect::<Vec<_>>()
        });
        output::block(output::table(&head, rows));
    }
    let month = totals.month;
    let clients = output::counted(totals.clients, "client");
    output::line(match &totals.closing {
        None => format!("{month} is not closed: {clients}, as known now"),
        Some(Closing {
            closed_by,
            closed_at: Some(at),
            ..
        }) => format!("{month} was closed by {closed_by} at {}: {clients}", rfc3339(*at)),
        Some(Closing { closed_by, .. }) => {
            format!("{month} is being closed, as {closed_by} began it: {clients}, as known now")
        }
    });
}
