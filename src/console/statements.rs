//! Statements: months, and the days of each client in a month.

use std::time::Duration;

use axum::response::Response;
use chrono::{Datelike, NaiveDate};
use maud::{Markup, html};

use super::csv;
use super::error::PageError;
use super::layout::{Frame, Section};
use super::remembered::Remembered;
use super::ui::{self, Pages, Tone, chip, chip_of, counted, number, signed};
use super::view::View;
use crate::csv_row::Cell;
use crate::domain::Month;
use crate::domain::statement::DayCounts;
use crate::engine::{ClientStatement, Engine, PartnerSum, PartnerSums, StatementError, StatementRequest};
use crate::http::{RawPath, month};
use crate::store::{Closing, ClosingStatus};

/// Clients that a page examines.
const PAGE: u32 = 200;
/// Months that are listed although none was closed.
const RECENT: u32 = 12;
/// How long sums are reused.
const SUMS_FRESH_FOR: Duration = Duration::from_mins(1);
/// Clients that are examined at a time for sums, and for all of them.
const SUMMED_PAGE: u32 = 1_000;
const MOST_SUMMED: u32 = 200_000;

/// The sums of months, of all partners or of one, and by the state of their closing.
pub type Sums = Remembered<(Month, Option<String>, Option<&'static str>), Summed>;

/// What was added up.
#[derive(Clone)]
pub struct Summed {
    partners: Vec<PartnerSum>,
    /// Whether every client was added up.
    is_complete: bool,
}

impl Summed {
    fn total(&self) -> PartnerSum {
        let mut total = PartnerSum {
            partner: String::new(),
            clients: 0,
            days: DayCounts::default(),
            adjustments: DayCounts::default(),
        };
        for sum in &self.partners {
            total.clients += sum.clients;
            total.days += sum.days;
            total.adjustments += sum.adjustments;
        }
        total
    }
}

/// The months.
pub async fn list(view: View) -> Result<Response, PageError> {
    let closings = view.run(|engine| async move { engine.closings().await }).await?;
    let next = next_to_close(&closings);
    let first = closings.first().map(|closing| closing.month);
    let months = months(view.now.date_naive(), &closings);
    let content = html! {
        section.card.flush { div.scroll { table.rows {
            thead { tr { th { "Month" } th { "State" } th { "Closed by" } th { "Closed" } th.num { "Clients" } th.num { "Adjustments" } } }
            tbody { @for month in months {
                @let closing = closings.iter().find(|closing| closing.month == month);
                tr data-row {
                    th scope="row" data-label="Month" { a href={ "/statements/" (month) } { (ui::month_name(month.start().date_naive())) } }
                    td data-label="State" { (state(closing, first.is_some_and(|first| month < first))) @if next == Some(month) && month.end() <= view.now { " " span.muted { "next to close" } } }
                    td data-label="Closed by" { (closing.map(|closing| closing.closed_by.as_str()).unwrap_or_default()) }
                    td data-label="Closed" { @if let Some(at) = closing.and_then(|closing| closing.closed_at) { (ui::moment(at)) } }
                    td.num data-label="Clients" { @if let Some(closing) = closing { (number(closing.statements)) } }
                    td.num data-label="Adjustments" { @if let Some(closing) = closing { (number(closing.adjustments)) } }
                }
            } }
        } } }
    };
    let frame = Frame {
        title: "Statements",
        section: Section::Statements,
        lead: Some(
            html! { "The days of each client in a month. A closed month never changes: late events become adjustments in a later month." },
        ),
        ..Frame::default()
    };
    Ok(view.page(frame, &content))
}

/// The month that is closed next. None: any may be the first.
fn next_to_close(closings: &[Closing]) -> Option<Month> {
    let last = closings.last()?;
    Some(if last.status == ClosingStatus::Closed {
        last.month.next()
    } else {
        last.month
    })
}

/// The recent months and every month with a closing, newest first.
fn months(today: NaiveDate, closings: &[Closing]) -> Vec<Month> {
    let first = closings.first().map(|closing| closing.month);
    let mut months = Vec::new();
    let (mut year, mut number) = (today.year(), today.month());
    while let Ok(month) = format!("{year:04}-{number:02}").parse::<Month>() {
        if months.len() >= RECENT as usize && first.is_none_or(|first| month < first) {
            break;
        }
        months.push(month);
        (year, number) = if number == 1 {
            (year - 1, 12)
        } else {
            (year, number - 1)
        };
    }
    months
}

/// `is_before`: later months were closed first, so this one is never closed.
fn state(closing: Option<&Closing>, is_before: bool) -> Markup {
    match closing {
        Some(closing) => chip(closing.status.as_str()),
        None if is_before => chip_of(Tone::Neutral, "never closed"),
        None => chip_of(Tone::Neutral, "open"),
    }
}

/// The statement of a month.
pub async fn show(path: RawPath<String>, mut view: View) -> Result<Response, PageError> {
    let month = month(path)?;
    let partner = view.params.partner()?;
    let after = view.params.client("after")?;
    let is_download = view.params.choice("format", [("csv", true)])?.unwrap_or(false);
    let request = StatementRequest {
        month,
        partner: partner.clone(),
        recompute: false,
        after,
        limit: if is_download { 1_000 } else { PAGE },
    };
    if is_download {
        return download(&view, request).await;
    }
    let page = view
        .run(move |engine| async move { Ok(engine.statement(&request).await) })
        .await??;
    let closings = view.run(|engine| async move { engine.closings().await }).await?;
    let pages = view.pages("after", page.next.as_ref().map(ToString::to_string));
    let sums = if pages.are_several() {
        sums_of_all(&view, month, partner.as_deref(), page.closing.as_ref()).await
    } else {
        Some(summed(&page.clients, true))
    };
    let may_close = page
        .closing
        .as_ref()
        .is_none_or(|closing| closing.status == ClosingStatus::InProgress)
        && month.end() <= view.now
        && next_to_close(&closings).is_none_or(|next| next == month);
    let content = html! {
        (closing_note(page.closing.as_ref(), month.end() > view.now))
        @if may_close { (super::actions::close_form(&view, month)) }
        (filters(month, partner.as_deref().unwrap_or_default()))
        @if page.clients.is_empty() {
            section.card.flush {
                (ui::empty("No client has a day in this month", "A client appears on its first day that is billable, or that has access, commission or status credit. Choose another month or partner."))
                @if pages.are_several() { (ui::pager("", &pages)) }
            }
        } @else {
            (tables(&view, &page.clients, sums.as_ref(), &pages))
        }
    };
    let heading = format!("Statement of {}", ui::month_name(month.start().date_naive()));
    let frame = Frame {
        title: &heading,
        section: Section::Statements,
        actions: Some(html! {
            a.button href=(view.with(&[("format", Some("csv")), ("after", None)])) { "Download CSV" }
            @if view.only_partner().is_none() { a.button href="/statements" { "All months" } }
        }),
        ..Frame::default()
    };
    Ok(view.page(frame, &content))
}

fn filters(month: Month, partner: &str) -> Markup {
    html! {
        form.filters action={ "/statements/" (month) } {
            label { "Partner" input type="text" name="partner" value=(partner) autocomplete="off"; }
            button type="submit" { "Apply" }
        }
    }
}

/// The sums of all clients. None: they are still being added up.
async fn sums_of_all(
    view: &View,
    month: Month,
    partner: Option<&str>,
    closing: Option<&Closing>,
) -> Option<Summed> {
    let partner = partner.map(str::to_owned);
    let status = closing.map(|closing| closing.status.as_str());
    let (engine, of) = (view.engine.clone(), partner.clone());
    let adding = async move {
        let added = add_up(&engine, month, of).await;
        added
            .inspect_err(|error| tracing::warn!(%error, %month, "cannot add up the statement"))
            .ok()
    };
    let key = (month, partner, status);
    view.console.sums.get(key, SUMS_FRESH_FOR, adding).await
}

async fn add_up(engine: &Engine, month: Month, partner: Option<String>) -> Result<Summed, StatementError> {
    let mut request = StatementRequest {
        month,
        partner,
        recompute: false,
        after: None,
        limit: SUMMED_PAGE,
    };
    let mut sums = PartnerSums::default();
    let mut examined = 0;
    loop {
        let page = engine.statement(&request).await?;
        for client in &page.clients {
            sums.add(client);
        }
        examined += SUMMED_PAGE;
        request.after = page.next;
        if request.after.is_none() || examined >= MOST_SUMMED {
            return Ok(Summed {
                partners: sums.into_sums(),
                is_complete: request.after.is_none(),
            });
        }
    }
}

fn summed(clients: &[ClientStatement], is_complete: bool) -> Summed {
    let mut sums = PartnerSums::default();
    for client in clients {
        sums.add(client);
    }
    Summed {
        partners: sums.into_sums(),
        is_complete,
    }
}

/// The days by partner and by client. Without `sums`, those of the page are shown.
fn tables(view: &View, clients: &[ClientStatement], sums: Option<&Summed>, pages: &Pages) -> Markup {
    let note = match sums {
        None => {
            "of the clients on this page; the sums of all clients are being added up: refresh in a moment"
        }
        Some(sums) if sums.is_complete => "",
        Some(_) => "of the first clients only: there are too many to add up here",
    };
    let of_page = summed(clients, false);
    let sums = sums.unwrap_or(&of_page);
    html! {
            (ui::table_card("By partner", &html! { (note) }, &html! { div.scroll { table.rows {
                thead { tr { th { "Partner" } th.num { "Clients" } (day_heads()) } }
                tbody {
                    @for sum in &sums.partners {
                        tr {
                            th scope="row" data-label="Partner" { a.id href=(view.with(&[("partner", Some(&sum.partner)), ("after", None)])) { (ui::breakable(&sum.partner)) } }
                            (sum_cells(sum))
                        }
                    }
                    @if sums.partners.len() > 1 {
                        tr.total { th scope="row" data-label="Partner" { "All" } (sum_cells(&sums.total())) }
                    }
                }
            } } }))
            (ui::table_card("By client", &html! {}, &html! {
                div.scroll { table.rows {
                    thead { tr { th { "Client" } (day_heads()) } }
                    tbody { @for client in clients { tr data-row {
                        th scope="row" data-label="Client" { (ui::client_link(&client.client)) }
                        (days(client.days))
                        (adjusted(adjustments(client)))
                    } } }
                } }
                (ui::pager(&counted(clients.len(), "client"), pages))
            }))
    }
}

fn sum_cells(sum: &PartnerSum) -> Markup {
    html! {
        td.num data-label="Clients" { (number(sum.clients)) }
        (days(sum.days)) (adjusted(sum.adjustments))
    }
}

fn closing_note(closing: Option<&Closing>, is_running: bool) -> Markup {
    match closing {
        Some(closing) if closing.status == ClosingStatus::Closed => ui::note(
            Tone::Good,
            &html! {
                p { b { "Closed" } " by " b { (closing.closed_by) } @if let Some(at) = closing.closed_at { " on " (ui::full_moment(at)) } ". "
                    (counted(closing.statements, "client")) ", " (counted(closing.adjustments, "adjustment")) " of earlier months." }
            },
        ),
        Some(closing) => ui::note(
            Tone::Attention,
            &html! { p { b { "The closing is in progress." } " " (closing.closed_by) " began it " (ui::full_moment(closing.started_at)) ". Close the month again to continue it." } },
        ),
        None if is_running => ui::note(
            Tone::Neutral,
            &html! { p { b { "The month has not ended." } " These are the days up to now." } },
        ),
        None => ui::note(
            Tone::Neutral,
            &html! { p { b { "Open." } " These are the days as they are known now; late events may still change them." } },
        ),
    }
}

fn day_heads() -> Markup {
    html! { th.num { "Billable days" } th.num { "Commission days" } th.num { "Status credit days" } th.num { "Access days" } th.num { "Adjustments" } }
}

fn days(days: DayCounts) -> Markup {
    html! {
        td.num data-label="Billable days" { (number(days.billable)) }
        td.num data-label="Commission days" { (number(days.commission)) }
        td.num data-label="Status credit days" { (number(days.status_credit)) }
        td.num data-label="Access days" { (number(days.access)) }
    }
}

/// Adjustments of earlier months: the billable days, and the others if they differ.
fn adjusted(days: DayCounts) -> Markup {
    let parts = [
        ("billable", days.billable),
        ("commission", days.commission),
        ("status credit", days.status_credit),
        ("access", days.access),
    ];
    html! {
        td.num data-label="Adjustments" {
            @if days == DayCounts::default() { span.muted { "–" } }
            @for (name, count) in parts { @if count != 0 { div { (signed(count)) " " span.muted { (name) } } } }
        }
    }
}

fn adjustments(client: &ClientStatement) -> DayCounts {
    let mut sum = DayCounts::default();
    for adjustment in &client.adjustments {
        sum += adjustment.days;
    }
    sum
}

async fn download(view: &View, request: StatementRequest) -> Result<Response, PageError> {
    let month = request.month;
    let most = view.console.most_in_download;
    let (clients, is_complete) = view
        .run(move |engine| async move { Ok(all(&engine, request, most).await) })
        .await??;
    let head = [
        "client",
        "month",
        "billable_days",
        "commission_days",
        "status_credit_days",
        "access_days",
    ];
    let mut rows = vec![head.map(Cell::from).to_vec()];
    for client in &clients {
        rows.push(row(&client.client, month, client.days));
        rows.extend(
            client
                .adjustments
                .iter()
                .map(|adjustment| row(&client.client, adjustment.month, adjustment.days)),
        );
    }
    let command = format!("tenure statement show {month} -o csv");
    let cut = (!is_complete).then_some((most, command.as_str()));
    Ok(csv::file(&format!("statement-{month}.csv"), &rows, cut)?)
}

fn row(client: &str, month: Month, days: DayCounts) -> Vec<Cell> {
    let counts = [days.billable, days.commission, days.status_credit, days.access].map(Cell::from);
    [Cell::from(client), Cell::from(month.to_string())]
        .into_iter()
        .chain(counts)
        .collect()
}

/// The clients of a download, and whether these are all.
async fn all(
    engine: &Engine,
    mut request: StatementRequest,
    most: usize,
) -> Result<(Vec<ClientStatement>, bool), StatementError> {
    let mut clients = Vec::new();
    loop {
        let page = engine.statement(&request).await?;
        clients.extend(page.clients);
        request.after = page.next;
        if request.after.is_none() || clients.len() >= most {
            let is_complete = request.after.is_none() && clients.len() <= most;
            clients.truncate(most);
            return Ok((clients, is_complete));
        }
    }
}
