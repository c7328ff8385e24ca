//! What timers will change if no event arrives, and what would be otherwise under another policy.

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
use crate::config::{changed_policy, policy_settings};
use crate::domain::policy::later;
use crate::domain::{ClientKey, Policy};
use crate::engine::{
    ClientForecast, ClientWhatIf, Engine, ForecastDay, ForecastDays, ForecastRequest, PartnerWhatIf, Total,
    WhatIfRequest, WhatIfTotals,
};
use crate::http::ApiError;
use crate::store::StoreError;

/// How long a page reads before it shows what it has.
const FORECAST_TIME: Duration = Duration::from_millis(80);
const WHAT_IF_TIME: Duration = Duration::from_secs(2);
/// Clients that a page lists.
const LISTED: usize = 100;
const BATCH: u32 = 500;

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

/// The forecast.
pub async fn show(mut view: View) -> Result<Response, PageError> {
    let days = view
        .params
        .choice("days", [("7", 7), ("30", 30), ("90", 90)])?
        .unwrap_or(30);
    let partner = view.params.partner()?;
    let after = subject(&mut view, "after")?;
    let day = view.params.text("day")?.map(|day| day.parse::<NaiveDate>());
    let day = day
        .transpose()
        .map_err(|_| ApiError::parameter("day", "expected a day such as 2026-03-01"))?;
    let request = ForecastRequest {
        partner: partner.clone(),
        until: later(view.now, TimeDelta::days(days)),
        after,
        limit: BATCH,
    };
    let found = view
        .run(move |engine| async move { read(&engine, request).await })
        .await?;
    let listed: Vec<&ClientForecast> = found
        .clients
        .iter()
        .filter(|client| {
            day.is_none_or(|day| {
                client
                    .changes
                    .iter()
                    .any(|change| change.time.date_naive() == day)
            })
        })
        .collect();
    let next = found
        .next
        .as_ref()
        .map(|next| view.with(&[("after", Some(&next.to_string()))]));
    let content = html! {
        form.filters action="/forecast" {
            (select("Reach", "days", &days.to_string(), "30 days", [("7", "7 days".to_owned()), ("30", "30 days".into()), ("90", "90 days".into())].into_iter()))
            label { "Partner" input type="text" name="partner" value=(partner.as_deref().unwrap_or_default()) autocomplete="off"; }
            button type="submit" { "Apply" }
        }
        @if let Some(next) = &next {
            (ui::note(Tone::Neutral, &html! { p { "These are the first clients only. " a href=(next) { "Continue with the next ones" } ", or choose a partner." } }))
        }
        @if found.days.is_empty() {
            section.card.flush { (ui::empty("No timer is due in this time", "If no event arrives, nothing changes. Choose a longer time to look further.")) }
        } @else {
            (ui::card("By day", &chart(view.now, days, &found.days)))
            (calendar(&view, days, &found.days))
            div.grid {
                div.third { (partners_card(&view, &found.partners)) }
                div.two-thirds { (clients_card(&view, &listed, day)) }
            }
        }
    };
    let frame = Frame {
        title: "Forecast",
        section: Section::Forecast,
        lead: Some(html! { "What timers will change if no event arrives." }),
        actions: Some(html! { a.button.primary href="/what-if" { "What if the policy were another?" } }),
        ..Frame::default()
    };
    Ok(view.page(frame, &content))
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

/// The days as weeks, with the number of clients that change on each.
fn calendar(view: &View, reach: i64, days: &[ForecastDay]) -> Markup {
    let by_day: BTreeMap<NaiveDate, &ForecastDay> = days.iter().map(|day| (day.day, day)).collect();
    let today = view.now.date_naive();
    let first = today - TimeDelta::days(i64::from(today.weekday().num_days_from_monday()));
    let last = today + TimeDelta::days(reach);
    let most = days.iter().map(|day| day.clients).max().unwrap_or(1).max(1);
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
            div.scroll { table.calendar {
                thead { tr { @for name in ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"] { th scope="col" { (name) } } } }
                tbody { @for monday in weeks { tr { @for day in monday.iter_days().take(7) {
                    @let clients = by_day.get(&day).map_or(0, |day| day.clients);
                    @let is_out = day < today || day > last;
                    td class=(if is_out { "out" } else { heat(clients) }) {
                        span.muted { @if day.day() == 1 || day == first { (day.format("%-d %b")) } @else { (day.day()) } }
                        @if clients > 0 && !is_out { b { a href=(view.with(&[("day", Some(&day.to_string()))])) { (number(i64::try_from(clients).unwrap_or(i64::MAX))) } } }
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
            div.scroll { table {
                thead { tr { th { "Partner" } th.num { "Clients" } th.num { "Expiries" } } }
                tbody { @for (partner, (clients, expiries)) in sorted.into_iter().take(20) {
                    tr {
                        th scope="row" { a.id href=(view.with(&[("partner", Some(partner)), ("after", None)])) { (ui::breakable(partner)) } }
                        td.num { (number(i64::try_from(*clients).unwrap_or(i64::MAX))) }
                        td.num { (number(i64::try_from(*expiries).unwrap_or(i64::MAX))) }
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
                        td { @for change in client.changes.iter().filter(|change| day.is_none_or(|day| change.time.date_naive() == day)) {
                            div { (ui::moment(change.time)) " " code { (change.kind) } @if let Some(id) = &change.id { " " span.id { (ui::breakable(id)) } } }
                        } }
                    }
                } }
            } }
            @if clients.len() > LISTED { p.pager { "The first " (LISTED) " are shown. Choose a day or a partner to see others." } }
        },
    )
}

/// Another policy, compared with the recorded ones.
pub async fn what_if(mut view: View) -> Result<Response, PageError> {
    let partner = view.params.partner()?;
    let latest = view
        .run(|engine| async move { engine.latest_policy().await })
        .await?;
    let settings = policy_settings(&latest);
    let changes = changes(&view, &settings);
    let outcome = if changes.is_empty() {
        Ok(None)
    } else {
        changed_policy(&latest, &changes, "the form").map(Some)
    };
    let result = match &outcome {
        Ok(Some(policy)) => Some(compare(&view, policy.clone(), partner.clone()).await?),
        _ => None,
    };
    let content = html! {
        (form(&view, &settings, partner.as_deref()))
        @match (&outcome, &result) {
            (Err(error), _) => { (ui::note(Tone::Bad, &html! { p { b { "This is not a policy. " } (error) } })) },
            (_, Some(result)) => { (result_cards(&view, &changes, result)) },
            _ => { section.card.flush { (ui::empty("Change a value", "See who would lose or keep access, and what billing differs, before anything is put into force.")) } },
        }
    };
    let frame = Frame {
        title: "What if the policy were another?",
        section: Section::Forecast,
        lead: Some(
            html! { "Each client's history is replayed under the recorded policies and under the other one, as if that had been in force from the start. Nothing is changed." },
        ),
        actions: Some(html! { a.button href="/policy" { "Policies" } }),
        ..Frame::default()
    };
    Ok(view.page(frame, &content))
}

/// The settings of the form that differ, as `access.idle=45d`.
pub fn changes(view: &View, settings: &[(String, String)]) -> Vec<String> {
    let differing = settings.iter().filter_map(|(key, value)| {
        let given = view.value(key)?.trim();
        (given != value).then(|| format!("{key}={given}"))
    });
    differing.collect()
}

fn form(view: &View, settings: &[(String, String)], partner: Option<&str>) -> Markup {
    html! {
        form.card action="/what-if" {
            div.filters {
                @for (key, value) in settings {
                    label { code { (key) } input type="text" name=(key) value=(view.value(key).unwrap_or(value)) autocomplete="off"; }
                }
                label { "Only partner" input type="text" name="partner" value=(partner.unwrap_or_default()) autocomplete="off"; }
            }
            button.primary type="submit" { "Compare" }
        }
    }
}

#[derive(Default)]
struct Compared {
    clients: Vec<ClientWhatIf>,
    totals: WhatIfTotals,
    partners: Vec<PartnerWhatIf>,
    is_complete: bool,
}

async fn compare(view: &View, policy: Policy, partner: Option<String>) -> Result<Compared, PageError> {
    let now = view.now;
    let mut request = WhatIfRequest {
        policy,
        partner,
        since: now.checked_sub_signed(WhatIfRequest::BACK).unwrap_or(now),
        until: later(now, WhatIfRequest::AHEAD),
        after: None,
        limit: 1_000,
    };
    view.run(move |engine| async move {
        let began = Instant::now();
        let mut compared = Compared::default();
        loop {
            let page = engine.what_if(&request).await?;
            for partner in page.partners {
                compared.totals.add(&partner.totals);
                match compared.partners.last_mut() {
                    Some(last) if last.partner == partner.partner => last.totals.add(&partner.totals),
                    _ => compared.partners.push(partner),
                }
            }
            compared.clients.extend(page.clients);
            request.after = page.next;
            compared.is_complete = request.after.is_none();
            if compared.is_complete || began.elapsed() > WHAT_IF_TIME {
                return Ok(compared);
            }
        }
    })
    .await
}

fn total(total: &Total) -> Markup {
    html! { @if total.clients == 0 { span.muted { "nobody" } } @else { (counted(total.clients, "client")) ", " (counted(total.days, "day")) } }
}

fn result_cards(view: &View, changes: &[String], compared: &Compared) -> Markup {
    let totals = &compared.totals;
    html! {
        @if !compared.is_complete { (ui::note(Tone::Attention, &html! { p { "Only the first " (number(i64::try_from(totals.clients).unwrap_or(i64::MAX))) " clients are compared. Choose a partner to see all of its clients; " code { "tenure what-if" } " compares everybody." } })) }
        (ui::card("Differences", &html! {
            p { b { (number(i64::try_from(totals.differ).unwrap_or(i64::MAX))) " of " (counted(totals.clients, "client")) } " would differ, with " @for (place, change) in changes.iter().enumerate() { @if place > 0 { ", " } code { (change) } } "." }
            div.scroll { table {
                thead { tr { th { "" } th { "Would be lost" } th { "Would be gained" } } }
                tbody {
                    @for (name, sums) in [("Access", &totals.access), ("Billing", &totals.billing), ("Commission", &totals.commission)] {
                        tr { th scope="row" { (name) } td { (total(&sums.lost)) } td { (total(&sums.gained)) } }
                    }
                }
            } }
            p.muted { "From 365 days ago to 90 days ahead. A day counts if any part of it does." }
            (super::actions::adopt_form(view, changes))
        }))
        (ui::table_card("By partner", &html! {}, &html! { div.scroll { table {
            thead { tr { th { "Partner" } th.num { "Differ" } th { "Access lost" } th { "Access gained" } th { "Billing lost" } th { "Billing gained" } } }
            tbody { @for partner in compared.partners.iter().filter(|partner| partner.totals.differ > 0).take(50) {
                tr {
                    th scope="row" { span.id { (ui::breakable(&partner.partner)) } }
                    td.num { (number(i64::try_from(partner.totals.differ).unwrap_or(i64::MAX))) }
                    td { (total(&partner.totals.access.lost)) } td { (total(&partner.totals.access.gained)) }
                    td { (total(&partner.totals.billing.lost)) } td { (total(&partner.totals.billing.gained)) }
                }
            } }
        } } }))
        (ui::table_card("By client", &html! { (counted(compared.clients.len(), "client")) }, &html! { div.scroll { table.rows {
            thead { tr { th { "Client" } th { "Access lost" } th { "Access gained" } th.num { "Billing days" } } }
            tbody { @for client in compared.clients.iter().take(LISTED) {
                tr data-row {
                    th scope="row" data-label="Client" { (ui::client_link(&client.client)) }
                    td data-label="Access lost" { (intervals(client.access.lost.as_slice())) }
                    td data-label="Access gained" { (intervals(client.access.gained.as_slice())) }
                    td.num data-label="Billing days" { (ui::signed(i64::try_from(client.billing.gained_days).unwrap_or(0) - i64::try_from(client.billing.lost_days).unwrap_or(0))) }
                }
            } }
        } } }))
    }
}

fn intervals(intervals: &[crate::domain::intervals::Interval]) -> Markup {
    html! {
        @if intervals.is_empty() { span.muted { "–" } }
        @for interval in intervals.iter().take(3) { div { (ui::moment(interval.from)) " to " (ui::moment(interval.to)) } }
        @if intervals.len() > 3 { div.muted { "and " (intervals.len() - 3) " more" } }
    }
}
