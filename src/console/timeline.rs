//! A client at any moment: its state, why it is so, what comes next, and its story.

use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};

use super::clients::optional_chip;
use super::error::PageError;
use super::layout::{Frame, Section};
use super::story::{self, Story};
use super::ui::{self, Tone, chip, chip_of, counted, title, words};
use super::view::View;
use crate::domain::link::LinkStatus;
use crate::domain::possible::Possibility;
use crate::domain::service::ServiceStatus;
use crate::domain::time::rfc3339;
use crate::domain::view::ClientView;
use crate::domain::why::{Answer, Explanation, Value};
use crate::domain::{ClientKey, Due, Event};
use crate::engine::{HistoryEntry, HistoryRequest, PossibleEvents, Scope, Verified, Why};
use crate::http::{ApiError, RawPath, client_key};

/// How far the slider reaches into the future.
const AHEAD: TimeDelta = TimeDelta::days(90);

/// Everything that the page shows.
struct Shown {
    key: ClientKey,
    now: DateTime<Utc>,
    /// None: now.
    at: Option<DateTime<Utc>>,
    /// None: it was not added by then.
    client: Option<ClientView>,
    history: Vec<HistoryEntry>,
    why: Option<Why>,
    possible: PossibleEvents,
    timers: Vec<Due>,
    verified: Option<Verified>,
}

/// A client, now or at any other moment.
pub async fn show(path: RawPath<(String, String)>, mut view: View) -> Result<Response, PageError> {
    let key = client_key(path)?;
    // The slider sends seconds, so that it works without the script.
    if let Some(seconds) = view.params.number("t", i64::MIN, i64::MAX)? {
        let at = DateTime::from_timestamp(seconds, 0).map(|at| rfc3339(Event::truncate(at)));
        let url = view.with(&[("t", None), ("at", at.as_deref())]);
        return Ok(Redirect::to(&url).into_response());
    }
    let at = view.moment("at")?;
    let is_all = view.params.choice("story", [("all", true)])?.unwrap_or(false);
    let is_verified = view.params.choice("verify", [("now", true)])?.unwrap_or(false);
    let shown = read(&view, key, at, is_verified).await?;
    let name = shown.client.as_ref().and_then(|client| client.name.clone());
    let name = name.unwrap_or_else(|| shown.key.client.to_string());
    let frame = Frame {
        title: &name,
        section: Section::Clients,
        elsewhen: at.map(|at| (at, view.with(&[("at", None)]))),
        actions: Some(html! {
            a.button href=(view.with(&[("verify", Some("now"))])) title="Replays the events and compares the result with the stored state" { "Verify" }
            a.button href={ "/clients?partner=" (shown.key.partner) } { "Clients of " (shown.key.partner) }
        }),
        lead: Some(html! { span.id { (shown.key) } }),
        ..Frame::default()
    };
    let content = html! {
        @if let Some(client) = &shown.client { (chips(client)) }
        (slider(&view, &shown))
        @if let Some(verified) = &shown.verified { (verification(verified)) }
        @match &shown.client {
            None => { (not_added(&shown)) },
            Some(client) => {
                div.grid.client {
                    div.two-thirds {
                        @if let Some(why) = &shown.why { (why_card(&view, why)) }
                        (story::card(&Story { entries: &shown.history, now: shown.now, at: shown.at, is_all, all_url: view.with(&[("story", Some("all"))]) }))
                    }
                    div.third {
                        (state_card(client, shown.at.unwrap_or(shown.now)))
                        (timers_card(&shown))
                        (holdings_card(client))
                        (possible_card(&shown.possible))
                    }
                }
            },
        }
    };
    Ok(view.page(frame, &content))
}

async fn read(
    view: &View,
    key: ClientKey,
    at: Option<DateTime<Utc>>,
    is_verified: bool,
) -> Result<Shown, PageError> {
    let now = view.now;
    let asked = key.clone();
    let read = view
        .run(move |engine| async move {
            let request = HistoryRequest {
                until: Some(now + AHEAD),
                ..HistoryRequest::default()
            };
            let Some(history) = engine.history(&asked, &request).await? else {
                return Ok(None);
            };
            let verified = if is_verified {
                let scope = Scope {
                    client: Some(asked.clone()),
                    ..Scope::default()
                };
                let mut found = None;
                engine
                    .verify_each(&scope, |verified| found = Some(verified))
                    .await?;
                found
            } else {
                None
            };
            Ok(Some(Shown {
                now,
                at,
                client: engine.client(&asked, at).await?,
                history: history.entries,
                why: engine.why(&asked, None, at).await?,
                possible: engine.possible(&asked, at).await?,
                timers: engine.timers(&asked, at).await?,
                verified,
                key: asked,
            }))
        })
        .await?;
    Ok(read.ok_or(ApiError::UnknownClient(key))?)
}

fn chips(client: &ClientView) -> Markup {
    html! {
        p.chips {
            span { span.muted { "Link " } (optional_chip(client.link.map(LinkStatus::as_str))) }
            span { span.muted { "Service " } (optional_chip(client.service.map(ServiceStatus::as_str))) }
            span { span.muted { "Access " } (chip(client.access.as_str())) }
            @if let Some(at) = client.expires_at { span.muted { "expires " (ui::spelled(at)) } }
            @if client.access_request.is_some() { (chip_of(Tone::Attention, "access requested")) }
        }
    }
}

/// The axis of the client's time, with a tick for each event, and the fields to choose a moment.
fn slider(view: &View, shown: &Shown) -> Markup {
    let first = shown
        .history
        .first()
        .map_or(shown.now, |entry| entry.time)
        .min(shown.now);
    let (from, to) = (first.timestamp(), (shown.now + AHEAD).timestamp());
    let here = shown.at.unwrap_or(shown.now);
    let value = here.timestamp().clamp(from, to);
    let path = ui::client_url(&shown.key);
    html! {
        section.card.slider aria-label="Moment" {
            form action=(path) {
                div.axis {
                    (axis(shown, from, to, here))
                    input type="range" name="t" data-moment min=(from) max=(to) step="60" value=(value)
                        aria-label="Moment, from the first event to 90 days ahead" aria-valuetext=(ui::spelled(here));
                }
                div.ends {
                    span { (first.format("%-d %b %Y")) }
                    output { (here.format("%Y-%m-%d %H:%M UTC")) }
                    span { "in 90 days" }
                }
                noscript { button type="submit" { "Show this moment" } }
            }
            form action=(path) {
                div.row {
                    label.field { "Moment (UTC)" input type="datetime-local" name="at" step="1" value=(here.format("%Y-%m-%dT%H:%M:%S")); }
                    button type="submit" { "Show" }
                    (steps(view, shown, here))
                }
            }
        }
    }
}

/// Links to the moments around: the event before, the one after, and some distances.
fn steps(view: &View, shown: &Shown, here: DateTime<Utc>) -> Markup {
    let before = shown.history.iter().rev().find(|entry| entry.time < here);
    let after = shown.history.iter().find(|entry| entry.time > here);
    let to = |at: DateTime<Utc>| view.with(&[("at", Some(&rfc3339(at))), ("verify", None)]);
    html! {
        @if let Some(before) = before { a.button href=(to(before.time)) { "← Previous event" } }
        @if let Some(after) = after { a.button href=(to(after.time)) { "Next event →" } }
        a.button href=(to(here - TimeDelta::days(30))) { "−30 days" }
        a.button href=(to(here + TimeDelta::days(30))) { "+30 days" }
        @if shown.at.is_some() { a.button href=(view.with(&[("at", None)])) { "Now" } }
    }
}

fn axis(shown: &Shown, from: i64, to: i64, here: DateTime<Utc>) -> Markup {
    const MOST_TICKS: usize = 400;
    let span = (to - from).max(1);
    let place = |at: DateTime<Utc>| ((at.timestamp() - from).clamp(0, span) * 9_840) / span + 80;
    let every = shown.history.len().div_ceil(MOST_TICKS).max(1);
    html! {
        svg viewBox="0 0 10000 300" preserveAspectRatio="none" aria-hidden="true" {
            line.base x1="0" y1="240" x2="10000" y2="240" vector-effect="non-scaling-stroke" {}
            @for entry in shown.history.iter().step_by(every) {
                @let class = story::tick_class(entry);
                line class={ "tick " (class) } x1=(place(entry.time)) x2=(place(entry.time)) y1="90" y2="240" vector-effect="non-scaling-stroke" {}
            }
            line.tick.present x1=(place(shown.now)) x2=(place(shown.now)) y1="0" y2="300" vector-effect="non-scaling-stroke" {}
            line.tick.here x1=(place(here)) x2=(place(here)) y1="30" y2="270" vector-effect="non-scaling-stroke" {}
        }
    }
}

fn verification(verified: &Verified) -> Markup {
    if verified.differences.is_empty() {
        let events = counted(verified.events, "event");
        return ui::note(
            Tone::Good,
            &html! { p { b { "Verified." } " A replay of " (events) " leads to the stored state." } },
        );
    }
    ui::note(
        Tone::Bad,
        &html! {
            p { b { "The stored state differs from the event log." } " Run " code { "tenure rebuild " (verified.key) } " to repair it." }
            ul.plain { @for difference in &verified.differences { li { (difference) } } }
        },
    )
}

fn not_added(shown: &Shown) -> Markup {
    html! {
        section.card.flush { (ui::empty(
            "The client was not added by then",
            "Choose a later moment: the ticks on the axis are its events."
        )) }
        (story::card(&Story { entries: &shown.history, now: shown.now, at: None, is_all: false, all_url: String::new() }))
    }
}

fn yes(value: bool) -> Markup {
    if value {
        chip_of(Tone::Good, "yes")
    } else {
        chip_of(Tone::Neutral, "no")
    }
}

fn state_card(client: &ClientView, now: DateTime<Utc>) -> Markup {
    let when = |at: DateTime<Utc>| ui::moment_and_distance(now, at);
    ui::card(
        "State",
        &html! {
            dl {
                dt { "Link" } dd { (optional_chip(client.link.map(LinkStatus::as_str))) }
                dt { "Service" } dd { (optional_chip(client.service.map(ServiceStatus::as_str))) }
                dt { "Access" } dd { (chip(client.access.as_str())) }
                @if let Some(at) = client.expires_at { dt { "Expires" } dd { (when(at)) } }
                @if let Some(at) = client.access_request { dt { "Requested" } dd { (when(at)) } }
                @if let Some(at) = client.last_accessed_at { dt { "Last entered" } dd { (when(at)) } }
                dt { "Connected" } dd { (yes(client.connected)) }
                dt { "Billable" } dd { (yes(client.billable)) }
                dt { "Commission" } dd { (yes(client.commission)) }
                dt { "Status credit" } dd { (yes(client.status_credit)) }
                dt { "Visible" } dd { (yes(client.visible)) }
                dt { "Retrieving" } dd { (yes(client.retrieving)) }
                dt { "Client list" } dd { (yes(client.on_client_list)) }
                dt { "Tab" } dd { (client.tab.map_or("none", |tab| tab.as_str())) }
                dt { "View as client" } dd { (words(client.view_as_client.as_str())) }
                @if let Some(invitation) = &client.invitation {
                    dt { "Invited" } dd { (when(invitation.sent_at)) }
                    dt { "Missing steps" } dd {
                        @if invitation.missing.is_empty() { "none" } @else {
                            (invitation.missing.iter().map(|step| words(step.as_str())).collect::<Vec<_>>().join(", "))
                        }
                    }
                }
                @if let Some(account) = &client.account_id { dt { "Account" } dd { a.id href=(ui::url("/clients", &[("account", Some(account.as_str()))])) { (ui::breakable(account.as_str())) } } }
                @if let Some(jobs) = client.jobs_total { dt { "Jobs" } dd { (ui::number(jobs)) } }
                dt { "Holds until" } dd { @match client.holds_until { Some(at) => { (when(at)) ", or the next event" }, None => { "the next event" } } }
                @if let Some(at) = client.as_of { dt { "Last change" } dd { (when(at)) } }
            }
        },
    )
}

fn timers_card(shown: &Shown) -> Markup {
    let from = shown.at.unwrap_or(shown.now);
    ui::card(
        "Pending timers",
        &html! {
            @if shown.timers.is_empty() {
                p.muted { "None: only an event changes this client." }
            } @else {
                dl { @for due in &shown.timers {
                    dt { (title(due.timer.as_str())) }
                    dd { (ui::moment_and_distance(from, due.at)) }
                } }
            }
        },
    )
}

fn holdings_card(client: &ClientView) -> Markup {
    let lists = [
        ("Assignments", &client.assignments),
        ("Former assignments", &client.former_assignments),
        ("Report schedules", &client.report_schedules),
        ("Margin rules", &client.margin_rules),
        ("Users", &client.users),
        ("Integrations", &client.integrations),
    ];
    let is_empty = client.subscriptions.is_empty() && lists.iter().all(|(_, ids)| ids.is_empty());
    ui::card(
        "Holdings",
        &html! {
            @if is_empty { p.muted { "None: no subscription, assignment, user or integration." } }
            dl {
                @for subscription in &client.subscriptions {
                    dt { "Subscription" }
                    dd {
                        span.id { (ui::breakable(subscription.id.as_str())) } " " (chip(subscription.status.as_str()))
                        div.muted {
                            "managed by the " (subscription.managed_by.as_str())
                            @if let Some(plan) = &subscription.plan { ", plan " (plan) }
                            @if let Some(at) = subscription.paid_until { ", paid until " (ui::spelled(at)) }
                            @if let Some(at) = subscription.ended_at { ", ended " (ui::spelled(at)) }
                        }
                    }
                }
                @for (name, ids) in lists.iter().filter(|(_, ids)| !ids.is_empty()) {
                    dt { (name) }
                    dd { @for (place, id) in ids.iter().enumerate() { @if place > 0 { ", " } span.id { (ui::breakable(id.as_str())) } } }
                }
            }
        },
    )
}

fn why_card(view: &View, why: &Why) -> Markup {
    ui::card(
        "Why",
        &html! {
            div.why { @for answer in &why.answers { (explanation(view, answer)) } }
            @if why.omitted > 0 { p.muted { (counted(why.omitted, "subscription")) " more are not explained here." } }
        },
    )
}

fn explanation(view: &View, answer: &Explanation) -> Markup {
    let at = |at: DateTime<Utc>| html! { a href=(view.with(&[("at", Some(&rfc3339(at))), ("verify", None)])) { (ui::moment(at)) } };
    html! {
        section id={ "why-" (answer.answer.to_string().replace(':', "-")) } {
            h3 { (heading(&answer.answer)) " " (value_chip(&answer.value)) }
            p { (answer.sentence) }
            details {
                summary { "Causes, and what would change it" }
                @if !answer.causes.is_empty() {
                    p.muted { "It rests on" }
                    ul { @for cause in &answer.causes { li { @if let Some(time) = cause.time { (at(time)) " " } (cause.sentence) } } }
                }
                @if !answer.supporting.is_empty() {
                    p.muted { "Together with" }
                    ul { @for event in &answer.supporting { li { (at(event.time)) " " (event.sentence) } } }
                }
                @if !answer.turns.is_empty() {
                    p.muted { "It would change" }
                    ul { @for turn in &answer.turns { li { @if let Some(time) = turn.time { (at(time)) " " } (turn.sentence) } } }
                }
            }
        }
    }
}

/// The name of an answer: `Access`, or `Subscription sub-1`.
fn heading(answer: &Answer) -> String {
    match answer.to_string().split_once(':') {
        Some((kind, id)) => format!("{} {id}", title(kind)),
        None => title(&answer.to_string()),
    }
}

fn value_chip(value: &Value) -> Markup {
    chip(value.status)
}

fn possible_card(possible: &PossibleEvents) -> Markup {
    let (can, cannot): (Vec<&Possibility>, Vec<&Possibility>) =
        possible.events.iter().partition(|event| event.possible);
    ui::card(
        "Possible next",
        &html! {
            @if can.is_empty() { p.muted { "No event: each type would be refused." } }
            ul.plain { @for event in &can { li { code { (event.kind) } " " span.muted { (by(event)) } } } }
            details {
                summary { (counted(cannot.len(), "event")) " would be refused" }
                ul.plain { @for event in &cannot {
                    li { code { (event.kind) } " " span.muted { (by(event)) @if let Some(reason) = event.reason { ": " (reason) } } }
                } }
            }
        },
    )
}

fn by(event: &Possibility) -> String {
    match event.data.get("by").and_then(|by| by.as_str()) {
        Some(by) => format!("by the {}", words(by)),
        None => format!("from the {}", words(event.side.as_str())),
    }
}
