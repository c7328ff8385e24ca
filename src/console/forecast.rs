//! What timers will change if no event arrives.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::response::Response;
use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};
use maud::{Markup, html};

use super::charts::{self, Bars, Series};
use super::clients::select;
use super::error::PageError;
use super::layout::{Frame, Section};
use super::ui::{self, Tone, counted, number};
use super::view::View;
use crate::domain::ClientKey;
use crate::domain::policy::later;
use crate::engine::{ClientForecast, Engine, ExpectedChange, ForecastDay, ForecastDays, ForecastRequest};
use crate::http::ApiError;
use crate::store::StoreError;

/// How long a page reads before it shows what it has.
const FORECAST_TIME: Duration = Duration::from_millis(40);
/// Clients that a page lists.
const LISTED: usize = 50;
const BATCH: u32 = 200;

/// The types of changes that a chart shows, with their names and colours.
const KINDS: [(&str, &str, u8); 6] = [
    ("access.expired", "access expires", 3),
    ("access.expiring", "warning before expiry", 2),
    ("subscription.ended", "subscription ends", 4),
    ("", "other", 5),
    ("invitation.stalled", "invitation stalls", 1),
    ("access.request_closed", "request lapses", 6),
];

#[derive(Default)]
struct Forecasted {
    days: Vec<ForecastDay>,
    clients: Vec<ClientForecast>,
    partners: BTreeMap<String, (u64, u64)>,
    next: Option<ClientKey>,
}

/// What a reader asked for.
struct Asked {
    days: i64,
    partner: Option<String>,
    after: Option<ClientKey>,
    day: Option<NaiveDate>,
}

impl Asked {
    fn of(view: &mut View) -> Result<Self, ApiError> {
        let days = view
            .params
            .choice("days", [("7", 7), ("30", 30), ("90", 90)])?
            .unwrap_or(30);
        let partner = view.params.partner()?;
        let after = subject(view, "after")?;
        let day = view.params.text("day")?.map(|day| day.parse::<NaiveDate>());
        let day = day
            .transpose()
            .map_err(|_| ApiError::parameter("day", "expected a day such as 2026-03-01"))?;
        Ok(Self {
            days,
            partner,
            after,
            day,
        })
    }
}

/// The forecast.
pub async fn show(mut view: View) -> Result<Response, PageError> {
    let asked = Asked::of(&mut view)?;
    let request = ForecastRequest {
        partner: asked.partner.clone(),
        until: later(view.now, TimeDelta::days(asked.days)),
        after: asked.after.clone(),
        limit: BATCH,
    };
    let found = view
        .run(move |engine| async move { read(&engine, request).await })
        .await?;
    let frame = Frame {
        title: "Forecast",
        section: Section::Forecast,
        lead: Some(html! { "What timers will change if no event arrives." }),
        actions: Some(html! { a.button.primary href="/what-if" { "What if the policy were different?" } }),
        ..Frame::default()
    };
    Ok(view.page(frame, &content(&view, &asked, &found)))
}

fn content(view: &View, asked: &Asked, found: &Forecasted) -> Markup {
    let is_on_day = |client: &&ClientForecast| {
        let mut changes = client.changes.iter();
        asked
            .day
            .is_none_or(|day| changes.any(|change| change.time.date_naive() == day))
    };
    let mut listed: Vec<&ClientForecast> = found.clients.iter().filter(is_on_day).collect();
    listed.sort_by_key(|client| {
        let change = client.changes.iter().find(|change| !is_warning(change));
        change.or(client.changes.last()).map(|change| change.time)
    });
    let next = found
        .next
        .as_ref()
        .map(|next| view.with(&[("after", Some(&next.to_string()))]));
    let partner = asked.partner.as_deref().unwrap_or_default();
    html! {
        form.filters action="/forecast" {
            (select("Period", "days", &asked.days.to_string(), "30 days", [("7", "7 days".to_owned()), ("30", "30 days".into()), ("90", "90 days".into())].into_iter()))
            label { "Partner" input type="text" name="partner" value=(partner) autocomplete="off"; }
            button type="submit" { "Apply" }
        }
        @if let Some(next) = &next {
            (ui::note(Tone::Neutral, &html! { p { "These are the first clients only. " a href=(next) { "Continue with the next ones" } ", or choose a partner." } }))
        }
        @if found.days.is_empty() {
            section.card.flush { (ui::empty("No timer fires in this period", "If no event arrives, nothing changes. Choose a longer period to look further ahead.")) }
        } @else {
            (ui::card("By day", &chart(view.now, asked.days, &found.days)))
            (calendar(view, asked.days, &found.days))
            div.grid {
                div.third { (partners_card(view, &found.partners)) }
                div.two-thirds { (clients_card(view, &listed, asked.day)) }
            }
        }
    }
}

fn subject(view: &mut View, name: &'static str) -> Result<Option<ClientKey>, ApiError> {
    let given = view.params.text(name)?;
    let key =
        given.map(|key| ClientKey::from_subject(&key).map_err(|reason| ApiError::parameter(name, reason)));
    key.transpose()
}

async fn read(engine: &Engine, mut request: ForecastRequest) -> Result<Forecasted, StoreError> {
    let began = Instant::now();
    let (mut days, mut found) = (ForecastDays::default(), Forecasted::default());
    loop {
        let page = engine.forecast(&request).await?;
        for client in page.clients {
            days.add(&client);
            let partner = client.client.split('/').next().unwrap_or_default();
            let sums = found.partners.entry(partner.to_owned()).or_default();
            sums.0 += 1;
            sums.1 += client
                .changes
                .iter()
                .filter(|change| change.kind == "access.expired")
                .count() as u64;
            found.clients.push(client);
        }
        let Some(next) = page.next else { break };
        if began.elapsed() > FORECAST_TIME {
            found.next = Some(next);
            break;
        }
        request.after = Some(next);
    }
    found.days = days.into_days();
    Ok(found)
}

fn of_kind(day: &ForecastDay, kind: &str) -> u64 {
    if kind.is_empty() {
        let known: u64 = KINDS
            .iter()
            .filter_map(|(kind, _, _)| day.by_type.get(*kind))
            .sum();
        return day.changes.saturating_sub(known);
    }
    day.by_type.get(kind).copied().unwrap_or(0)
}

fn chart(now: DateTime<Utc>, reach: i64, days: &[ForecastDay]) -> Markup {
    let by_day: BTreeMap<NaiveDate, &ForecastDay> = days.iter().map(|day| (day.day, day)).collect();
    let begin = by_day
        .first_key_value()
        .map_or(now.date_naive(), |(first, _)| *first)
        .max(now.date_naive() - TimeDelta::days(7));
    let end = now.date_naive() + TimeDelta::days(reach);
    let all: Vec<NaiveDate> = begin.iter_days().take_while(|day| *day <= end).collect();
    charts::bars(&Bars {
        description: "Changes to come, by day and type",
        labels: all.iter().map(|day| day.format("%-d %b").to_string()).collect(),
        series: KINDS
            .iter()
            .map(|(kind, name, hue)| Series {
                name,
                hue: *hue,
                values: all
                    .iter()
                    .map(|day| by_day.get(day).map_or(0, |day| of_kind(day, kind)))
                    .collect(),
            })
            .collect(),
        height: 220,
    })
}

/// A warning changes nothing.
fn is_warning(change: &ExpectedChange) -> bool {
    change.kind == "access.expiring"
}

/// What happens to a client, on a day or on all: warnings in a line of their own.
fn to_come(client: &ClientForecast, day: Option<NaiveDate>) -> Markup {
    let is_shown = |change: &&ExpectedChange| day.is_none_or(|day| change.time.date_naive() == day);
    let (warnings, others): (Vec<_>, Vec<_>) = client
        .changes
        .iter()
        .filter(is_shown)
        .partition(|change| is_warning(change));
    let dates = warnings
        .iter()
        .map(|change| change.time.format("%-d %b").to_string());
    html! {
        @for change in &others {
            div { (ui::moment(change.time)) " " code { (change.kind) } @if let Some(id) = &change.id { " " span.id { (ui::breakable(id)) } } }
        }
        @if !warnings.is_empty() {
            div.muted { (counted(warnings.len(), "warning")) " before expiry: " (dates.collect::<Vec<_>>().join(", ")) }
        }
    }
}

/// The days as weeks, with the number of clients that change on each.
fn calendar(view: &View, reach: i64, days: &[ForecastDay]) -> Markup {
    let by_day: BTreeMap<NaiveDate, &ForecastDay> = days.iter().map(|day| (day.day, day)).collect();
    let today = view.now.date_naive();
    let first = today - TimeDelta::days(i64::from(today.weekday().num_days_from_monday()));
    let last = today + TimeDelta::days(reach);
    // A single client is never many.
    let most = days.iter().map(|day| day.clients).max().unwrap_or(0).max(4);
    let heat = |clients: u64| match clients * 3 / most {
        _ if clients == 0 => "",
        0 => "h1",
        1 => "h2",
        _ => "h3",
    };
    let weeks = (0..)
        .map(|week| first + TimeDelta::days(week * 7))
        .take_while(|monday| *monday <= last);
    ui::table_card(
        "Calendar",
        &html! { span.muted { "clients that change, by day (UTC)" } },
        &html! {
            div.scroll tabindex="0" { table.calendar {
                thead { tr { @for name in ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"] { th scope="col" { (name) } } } }
                tbody { @for monday in weeks { tr { @for day in monday.iter_days().take(7) {
                    @let clients = by_day.get(&day).map_or(0, |day| day.clients);
                    @let is_out = day < today || day > last;
                    td class=(if is_out { "out" } else { heat(clients) }) {
                        span.muted { @if day.day() == 1 || day == first { (day.format("%-d %b")) } @else { (day.day()) } }
                        @if clients > 0 && !is_out { b { a href=(view.with(&[("day", Some(&day.to_string()))])) { (number(clients)) } } }
                    }
                } } } }
            } }
        },
    )
}

fn partners_card(view: &View, partners: &BTreeMap<String, (u64, u64)>) -> Markup {
    let mut sorted: Vec<_> = partners.iter().collect();
    sorted.sort_by_key(|(_, (clients, _))| std::cmp::Reverse(*clients));
    ui::table_card(
        "By partner",
        &html! { (counted(partners.len(), "partner")) },
        &html! {
            div.scroll tabindex="0" { table {
                thead { tr { th { "Partner" } th.num { "Clients" } th.num { "Expiries" } } }
                tbody { @for (partner, (clients, expiries)) in sorted.into_iter().take(20) {
                    tr {
                        th scope="row" { a.id href=(view.with(&[("partner", Some(partner)), ("after", None)])) { (ui::breakable(partner)) } }
                        td.num { (number(*clients)) }
                        td.num { (number(*expiries)) }
                    }
                } }
            } }
        },
    )
}

fn clients_card(view: &View, clients: &[&ClientForecast], day: Option<NaiveDate>) -> Markup {
    let heading = day.map_or("By client".to_owned(), |day| {
        format!("On {}", day.format("%-d %b %Y"))
    });
    let end = html! { @if day.is_some() { a href=(view.with(&[("day", None)])) { "All days" } } @else { (counted(clients.len(), "client")) } };
    ui::table_card(
        &heading,
        &end,
        &html! {
            div.scroll { table.rows {
                thead { tr { th { "Client" } th { "Changes to come" } } }
                tbody { @for client in clients.iter().take(LISTED) {
                    tr data-row {
                        th scope="row" data-label="Client" { (ui::client_link(&client.client)) }
                        td { (to_come(client, day)) }
                    }
                } }
            } }
            @if clients.len() > LISTED { p.pager { "These are the first " (LISTED) ". Choose a day or a partner to see others." } }
        },
    )
}
