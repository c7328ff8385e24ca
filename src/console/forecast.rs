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
use super::ui::{self, Part, Tone, counted, number};
use super::view::View;
use crate::domain::policy::later;
use crate::domain::{ClientKey, Timer};
use crate::engine::{ClientForecast, Engine, ExpectedChange, ForecastDay, ForecastDays, ForecastRequest};
use crate::http::ApiError;
use crate::store::StoreError;

/// How long a page reads before it shows what it has.
const FORECAST_TIME: Duration = Duration::from_millis(40);
/// Clients that a page lists.
const LISTED: usize = 50;
/// Partners that a page lists.
const LISTED_PARTNERS: usize = 20;
/// The most clients or partners on the pages before.
const MOST_FROM: usize = 1_000_000;
const BATCH: u32 = 200;

/// How long a page may take to read as far as the page before it did.
const AGAIN_TIME: Duration = Duration::from_secs(1);

/// What happens to clients, as a chart and a calendar show it.
struct Kind {
    name: &'static str,
    hue: u8,
    /// The types of its changes. Empty: all that no other kind has.
    types: &'static [&'static str],
}

const KINDS: [Kind; 7] = [
    Kind {
        name: "access expires",
        hue: 3,
        types: &["access.expired"],
    },
    Kind {
        name: "warning before expiry",
        hue: 2,
        types: &["access.expiring"],
    },
    Kind {
        name: "subscription ends",
        hue: 4,
        types: &["subscription.ended"],
    },
    Kind {
        name: "clean-up",
        hue: 7,
        types: &CLEANED,
    },
    Kind {
        name: "invitation stalls",
        hue: 1,
        types: &["invitation.stalled"],
    },
    Kind {
        name: "request lapses",
        hue: 6,
        types: &["access.request_closed"],
    },
    Kind {
        name: "other",
        hue: 5,
        types: &[],
    },
];

/// The types of the changes of a clean-up, with what each is about. It also records which assignments it removed.
const CLEANED: [&str; 5] = [
    "report_schedule.removed",
    "margin_rule.removed",
    "assignment.removed",
    "former_assignment.added",
    "former_assignment.removed",
];
const REMOVED: [(&str, &str); 3] = [
    (CLEANED[0], "report schedule"),
    (CLEANED[1], "margin rule"),
    (CLEANED[2], "assignment"),
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
    /// Where the page that links here stopped reading, so that both are about the same clients.
    upto: Option<ClientKey>,
    day: Option<NaiveDate>,
    /// The number of clients on the pages before.
    clients_from: usize,
    /// The number of partners on the pages before.
    partners_from: usize,
}

impl Asked {
    fn of(view: &mut View) -> Result<Self, ApiError> {
        let days = view
            .params
            .choice("days", [("7", 7), ("30", 30), ("90", 90)])?
            .unwrap_or(30);
        let partner = view.params.partner()?;
        let after = view.params.client("after")?;
        let upto = view.params.client("upto")?;
        let clients_from = view.params.number("clients_from", 0, MOST_FROM)?.unwrap_or(0);
        let partners_from = view.params.number("partners_from", 0, MOST_FROM)?.unwrap_or(0);
        let day = view.params.text("day")?.map(|day| day.parse::<NaiveDate>());
        let day = day
            .transpose()
            .map_err(|_| ApiError::parameter("day", "expected a day such as 2026-03-01"))?;
        Ok(Self {
            days,
            partner,
            after,
            upto,
            day,
            clients_from,
            partners_from,
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
    let upto = asked.upto.clone();
    let found = view
        .run(move |engine| async move { read(&engine, request, upto).await })
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
    let listed = listed(&found.clients, asked.day);
    let next = found.next.as_ref().map(ClientKey::to_string);
    let links = Links {
        view,
        upto: next.as_deref(),
    };
    let next = next
        .as_deref()
        .map(|next| links.to(&[("after", Some(next)), ("upto", None)]));
    let partner = asked.partner.as_deref().unwrap_or_default();
    html! {
        form.filters action="/forecast" {
            (select("Period", "days", &asked.days.to_string(), "30 days", [("7", "7 days".to_owned()), ("30", "30 days".into()), ("90", "90 days".into())].into_iter()))
            label { "Partner" input type="text" name="partner" value=(partner) autocomplete="off"; }
            button type="submit" { "Apply" }
        }
        @if let Some(next) = &next {
            (ui::note(Tone::Neutral, &html! { p { "This forecast covers only the first clients. " a href=(next) { "Continue with the next clients" } ", or choose a partner." } }))
        }
        (overdue_note(view.now, &found.clients))
        @if found.days.is_empty() {
            section.card.flush { (ui::empty("No timer fires in this period", "If no event arrives, nothing changes. Choose a longer period to look further ahead.")) }
        } @else {
            (ui::card("By day", &chart(view.now, asked.days, &found.days)))
            (calendar(&links, asked.days, &found.days))
            div.grid {
                div.third { (partners_card(&links, &found.partners, asked)) }
                div.two-thirds { (clients_card(&links, &listed, asked)) }
            }
        }
    }
}

/// Says that changes are overdue, if some are: their days are in the past.
fn overdue_note(now: DateTime<Utc>, clients: &[ClientForecast]) -> Markup {
    let overdue: u64 = clients.iter().map(|client| client.overdue(now)).sum();
    let rest = if overdue == 1 {
        "is overdue: its time has passed, and no sweep has made it yet. It counts on the day on which it was due."
    } else {
        "are overdue: their time has passed, and no sweep has made them yet. They count on the days on which they were due."
    };
    html! {
        @if overdue > 0 { (ui::note(Tone::Attention, &html! { p { b { (counted(overdue, "change")) } " " (rest) } })) }
    }
}

/// Links from a forecast to parts of it.
struct Links<'v> {
    view: &'v View,
    /// Where the page stopped reading, if it did.
    upto: Option<&'v str>,
}

impl Links<'_> {
    /// This page with other parameters, from the first client and the first partner that it lists.
    fn to(&self, changes: &[(&str, Option<&str>)]) -> String {
        let is_paged = |name: &str| changes.iter().any(|(changed, _)| *changed == name);
        let paged = ["clients_from", "partners_from"]
            .into_iter()
            .filter(|name| !is_paged(name));
        let mut all: Vec<(&str, Option<&str>)> = paged.map(|name| (name, None)).collect();
        if !changes.iter().any(|(name, _)| *name == "upto") {
            all.push(("upto", self.upto));
        }
        all.extend(changes);
        self.view.with(&all)
    }
}

/// The clients that change on a day, or on any, in the order of their first changes there. A client that is only warned counts by
/// its last warning.
fn listed(clients: &[ClientForecast], day: Option<NaiveDate>) -> Vec<&ClientForecast> {
    let first = |client: &ClientForecast| {
        let mut shown = shown(client, day);
        let change = shown.clone().find(|change| !is_warning(change));
        change.or(shown.next_back()).map(|change| change.time)
    };
    let mut listed: Vec<_> = clients
        .iter()
        .filter_map(|client| Some((first(client)?, client)))
        .collect();
    listed.sort_by_key(|(at, _)| *at);
    listed.into_iter().map(|(_, client)| client).collect()
}

/// The changes of a client on a day, or all.
fn shown(
    client: &ClientForecast,
    day: Option<NaiveDate>,
) -> impl DoubleEndedIterator<Item = &ExpectedChange> + Clone {
    let is_shown = move |change: &&ExpectedChange| day.is_none_or(|day| change.time.date_naive() == day);
    client.changes.iter().filter(is_shown)
}

async fn read(
    engine: &Engine,
    mut request: ForecastRequest,
    upto: Option<ClientKey>,
) -> Result<Forecasted, StoreError> {
    let began = Instant::now();
    let is_over = |next: &ClientKey| match &upto {
        Some(upto) => next >= upto || began.elapsed() > AGAIN_TIME,
        None => began.elapsed() > FORECAST_TIME,
    };
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
        if is_over(&next) {
            found.next = Some(next);
            break;
        }
        request.after = Some(next);
    }
    found.days = days.into_days();
    Ok(found)
}

/// How many changes of a kind a day has.
fn of_kind(day: &ForecastDay, kind: &Kind) -> u64 {
    let sum = |kind: &Kind| -> u64 { kind.types.iter().filter_map(|name| day.by_type.get(*name)).sum() };
    if kind.types.is_empty() {
        return day.changes.saturating_sub(KINDS.iter().map(sum).sum());
    }
    sum(kind)
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
            .map(|kind| Series {
                name: kind.name,
                hue: kind.hue,
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

/// What happens to a client, on a day or on all: a clean-up in one line, and warnings in a line of their own.
fn to_come(now: DateTime<Utc>, client: &ClientForecast, day: Option<NaiveDate>) -> Markup {
    let (warnings, others): (Vec<_>, Vec<_>) = shown(client, day).partition(|change| is_warning(change));
    let (cleaned, others): (Vec<_>, Vec<_>) = others.into_iter().partition(|change| is_cleaned(change));
    let dates = warnings
        .iter()
        .map(|change| change.time.format("%-d %b").to_string());
    let overdue = |change: &ExpectedChange| {
        html! { @if change.is_overdue(now) { " " (ui::chip_of(Tone::Attention, "overdue")) } }
    };
    html! {
        @if let Some(first) = cleaned.first() {
            div { (ui::moment(first.time)) " clean-up: " (removed(&cleaned)) (overdue(first)) }
        }
        @for change in &others {
            div { (ui::moment(change.time)) " " code { (change.kind) } @if let Some(id) = &change.id { " " span.id { (ui::breakable(id)) } } (overdue(change)) }
        }
        @if !warnings.is_empty() {
            div.muted { (counted(warnings.len(), "warning")) " before expiry: " (dates.collect::<Vec<_>>().join(", ")) }
        }
    }
}

/// A clean-up makes the change.
fn is_cleaned(change: &ExpectedChange) -> bool {
    change.timer == Timer::TerminatedCleanup
}

/// What a clean-up removes: `2 report schedules, 1 margin rule`.
fn removed(changes: &[&ExpectedChange]) -> String {
    let counts = REMOVED.iter().filter_map(|(kind, noun)| {
        let count = changes.iter().filter(|change| change.kind == *kind).count();
        (count > 0).then(|| counted(count, noun))
    });
    format!("{} removed", counts.collect::<Vec<_>>().join(", "))
}

/// A mark for each kind of change of a day, in the colours of the chart.
fn marks(day: &ForecastDay) -> Markup {
    let kinds: Vec<&Kind> = KINDS.iter().filter(|kind| of_kind(day, kind) > 0).collect();
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name).collect();
    html! {
        span.marks title=(names.join(", ")) {
            @for kind in &kinds { svg viewBox="0 0 10 10" aria-hidden="true" { rect class={ "f" (kind.hue) } width="10" height="10" rx="2" {} } }
            span.visually-hidden { (names.join(", ")) }
        }
    }
}

/// The days as weeks, with the number of clients that change on each and the kinds of their changes.
fn calendar(links: &Links<'_>, reach: i64, days: &[ForecastDay]) -> Markup {
    let by_day: BTreeMap<NaiveDate, &ForecastDay> = days.iter().map(|day| (day.day, day)).collect();
    let today = links.view.now.date_naive();
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
                    @let changing = by_day.get(&day);
                    @let clients = changing.map_or(0, |day| day.clients);
                    @let is_out = day < today || day > last;
                    td class=(if is_out { "out" } else { heat(clients) }) {
                        span.muted { @if day.day() == 1 || day == first { (day.format("%-d %b")) } @else { (day.day()) } }
                        @if let Some(changing) = changing.filter(|_| !is_out) {
                            b { a href=(links.to(&[("day", Some(&day.to_string()))])) { (number(clients)) } }
                            (marks(changing))
                        }
                    }
                } } } }
            } }
        },
    )
}

fn partners_card(links: &Links<'_>, partners: &BTreeMap<String, (u64, u64)>, asked: &Asked) -> Markup {
    let mut sorted: Vec<_> = partners.iter().collect();
    sorted.sort_by_key(|(_, (clients, _))| std::cmp::Reverse(*clients));
    let part = Part::of(&sorted, asked.partners_from, LISTED_PARTNERS);
    let pages = part.pages(|from| {
        links.to(&[
            ("clients_from", links.view.value("clients_from")),
            ("partners_from", from),
        ])
    });
    ui::table_card(
        "By partner",
        &html! { (counted(partners.len(), "partner")) },
        &html! {
            div.scroll tabindex="0" { table {
                thead { tr { th { "Partner" } th.num { "Clients" } th.num { "Expiries" } } }
                tbody { @for (partner, (clients, expiries)) in part.rows {
                    tr {
                        th scope="row" { a.id href=(links.to(&[("partner", Some(partner)), ("after", None), ("upto", None)])) { (ui::breakable(partner)) } }
                        td.num { (number(*clients)) }
                        td.num { (number(*expiries)) }
                    }
                } }
            } }
            @if part.rows.is_empty() { (part.none(html! {})) }
            (part.pager("partner", &pages))
        },
    )
}

fn clients_card(links: &Links<'_>, clients: &[&ClientForecast], asked: &Asked) -> Markup {
    let day = asked.day;
    let part = Part::of(clients, asked.clients_from, LISTED);
    let pages = part.pages(|from| {
        links.to(&[
            ("clients_from", from),
            ("partners_from", links.view.value("partners_from")),
        ])
    });
    let heading = day.map_or("By client".to_owned(), |day| {
        format!("On {}", day.format("%-d %b %Y"))
    });
    let end = html! { (counted(clients.len(), "client")) @if day.is_some() { " · " a href=(links.to(&[("day", None)])) { "All days" } } };
    ui::table_card(
        &heading,
        &end,
        &html! {
            div.scroll { table.rows {
                thead { tr { th { "Client" } th { "Changes to come" } } }
                tbody { @for client in part.rows {
                    tr data-row {
                        th scope="row" data-label="Client" { (ui::client_link(&client.client)) }
                        td { (to_come(links.view.now, client, day)) }
                    }
                } }
            } }
            @if part.rows.is_empty() { (part.none(ui::empty("No client changes on this day", "Choose another day, or all days."))) }
            (part.pager("client", &pages))
        },
    )
}
