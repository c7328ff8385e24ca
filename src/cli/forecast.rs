//! `tenure forecast`: what timers will change if no event arrives, by day and by client.

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;

use super::context::{Context, UsageError};
use super::moment::{Until, parse_until};
use super::output::{self, Safe};
use crate::csv_row::Cell;
use crate::domain::id::check_id;
use crate::domain::time::{rfc3339, serialize};
use crate::engine::{ClientForecast, Engine, ExpectedChange, ForecastDay, ForecastDays, ForecastRequest};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  tenure forecast\n  tenure forecast --partner acme --until 90d\n  tenure forecast -o csv > forecast.csv"
)]
pub struct ForecastArgs {
    /// Only clients of this partner
    #[arg(long)]
    partner: Option<String>,
    /// The end of the forecast: a time from now (30d), or a moment
    #[arg(long, value_name = "DURATION|TIME", default_value = "30d", value_parser = parse_until, allow_hyphen_values = true)]
    until: Until,
}

/// Clients of a page.
const PAGE: u32 = 1_000;
/// Maximum number of changes in the table by client.
const MAX_LISTED: usize = 200;
/// The longest bar of the chart, in characters.
const WIDEST_BAR: u64 = 40;

/// The sums of a forecast, for programs.
#[derive(Serialize)]
struct Totals {
    #[serde(serialize_with = "serialize")]
    until: DateTime<Utc>,
    clients: u64,
    changes: u64,
    /// Those whose time has passed.
    overdue: u64,
    days: Vec<ForecastDay>,
}

pub async fn run(context: &Context, args: ForecastArgs) -> anyhow::Result<ExitCode> {
    if let Some(partner) = &args.partner {
        check_id("partner", partner).map_err(|error| UsageError(error.to_string()))?;
    }
    let engine = context.engine().await?;
    let now = engine.now();
    let until = args.until.ahead(now)?;
    if context.is_csv() {
        output::csv(&HEAD.map(Cell::from));
    }
    let mut listed: Vec<(String, ExpectedChange)> = Vec::new();
    let forecast = each(&engine, args.partner, until, |client| {
        if context.is_json() {
            output::json(&client)?;
        } else if context.is_csv() {
            print_csv(&client);
        } else {
            let room = MAX_LISTED.saturating_sub(listed.len());
            let changes = client.changes.into_iter().take(room);
            listed.extend(changes.map(|change| (client.client.clone(), change)));
        }
        Ok(())
    })
    .await?;
    if context.is_json() {
        output::json(&forecast)?;
    } else if !context.is_csv() {
        print_tables(now, &forecast, &listed);
    }
    Ok(ExitCode::SUCCESS)
}

/// Passes every client that changes to `take`, page by page, and adds up the days.
async fn each(
    engine: &Engine,
    partner: Option<String>,
    until: DateTime<Utc>,
    mut take: impl FnMut(ClientForecast) -> anyhow::Result<()>,
) -> anyhow::Result<Totals> {
    let mut request = ForecastRequest {
        partner,
        until,
        after: None,
        limit: PAGE,
    };
    let now = engine.now();
    let mut days = ForecastDays::default();
    let (mut clients, mut changes, mut overdue) = (0, 0, 0);
    loop {
        let page = engine.forecast(&request).await?;
        for client in page.clients {
            days.add(&client);
            clients += 1;
            changes += client.changes.len() as u64;
            overdue += client.overdue(now);
            take(client)?;
        }
        let Some(next) = page.next else { break };
        request.after = Some(next);
    }
    Ok(Totals {
        until,
        clients,
        changes,
        overdue,
        days: days.into_days(),
    })
}

/// The columns of a forecast as comma-separated values.
const HEAD: [&str; 8] = ["time", "partner", "client", "type", "id", "from", "to", "timer"];

fn print_csv(client: &ClientForecast) {
    let (partner, id) = client.client.split_once('/').unwrap_or_default();
    for change in &client.changes {
        let text = |text: &Option<String>| Cell::from(text.as_deref().unwrap_or_default());
        output::csv(&[
            rfc3339(change.time).into(),
            partner.into(),
            id.into(),
            change.kind.as_str().into(),
            text(&change.id),
            text(&change.from),
            text(&change.to),
            change.timer.as_str().into(),
        ]);
    }
}

fn print_tables(now: DateTime<Utc>, forecast: &Totals, listed: &[(String, ExpectedChange)]) {
    if !forecast.days.is_empty() {
        output::block(chart(&forecast.days));
        let rows = listed.iter().map(|(client, change)| {
            vec![
                rfc3339(change.time),
                client.clone(),
                change.kind.clone(),
                change.id.clone().unwrap_or_default(),
                detail(now, change),
            ]
        });
        output::block(output::table(&["time", "client", "change", "id", "detail"], rows));
        let unlisted = forecast.changes - listed.len() as u64;
        if unlisted > 0 {
            output::line(format!(
                "and {}: --output json or csv lists all",
                output::counted(unlisted, "more change")
            ));
        }
    }
    output::line(summary(forecast));
}

/// From what to what it changes, and whether it is overdue.
fn detail(now: DateTime<Utc>, change: &ExpectedChange) -> String {
    let moved = match (&change.from, &change.to) {
        (None, None) => String::new(),
        (from, to) => [from, to]
            .map(|text| text.as_deref().unwrap_or_default())
            .join(" → "),
    };
    match (change.is_overdue(now), moved.is_empty()) {
        (false, _) => moved,
        (true, true) => "overdue".to_owned(),
        (true, false) => format!("{moved}, overdue"),
    }
}

fn summary(forecast: &Totals) -> String {
    let overdue = match forecast.overdue {
        0 => String::new(),
        overdue => format!(", {overdue} overdue (due before now, and not yet made by a sweep)"),
    };
    format!(
        "if no event arrives by {}: {} of {}{overdue}",
        rfc3339(forecast.until),
        output::counted(forecast.changes, "change"),
        output::counted(forecast.clients, "client"),
    )
}

/// A row for each day with changes: a bar, and the changes by type.
fn chart(days: &[ForecastDay]) -> Safe {
    let most = days.iter().map(|day| day.changes).max().unwrap_or(1);
    output::table(
        &["day", "clients", "changes", "", "by type"],
        days.iter().map(|day| {
            let width = (day.changes * WIDEST_BAR).div_ceil(most);
            let types: Vec<String> = day
                .by_type
                .iter()
                .map(|(kind, count)| format!("{count} {kind}"))
                .collect();
            vec![
                day.day.to_string(),
                day.clients.to_string(),
                day.changes.to_string(),
                "█".repeat(usize::try_from(width).unwrap_or_default()),
                types.join(", "),
            ]
        }),
    )
}

/// Prints the forecast of all clients by day, for the demo.
pub async fn print_days(engine: &Engine, until: DateTime<Utc>) -> anyhow::Result<()> {
    let forecast = each(engine, None, until, |_| Ok(())).await?;
    output::block(chart(&forecast.days));
    output::line(summary(&forecast));
    Ok(())
}
