//! A client at any moment: its state, why it is so, what comes next, and its story.

use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::clients::optional_chip;
use super::error::PageError;
use super::layout::{Frame, Section};
use super::slider;
use super::state;
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
    let mut story = Story {
        entries: &shown.history,
        now: shown.now,
        at: shown.at,
        is_all,
        all_url: view.with(&[("story", Some("all"))]),
    };
    if shown.client.is_none() {
        // The whole story: the reader looks for a moment at which there is something.
        story.at = None;
    }
    let content = content(&view, &shown, at, &story);
    Ok(view.page(frame, &content))
}

fn content(view: &View, shown: &Shown, at: Option<DateTime<Utc>>, story: &Story<'_>) -> Markup {
    html! {
        @if let Some(client) = &shown.client { (chips(client)) }
        (slider::card(view, &shown.key, &shown.history, at))
        @if let Some(verified) = &shown.verified { (verification(verified)) }
        @match &shown.client {
            None => {
                section.card.flush { (ui::empty(
                    "The client had not been added yet",
                    "Choose a later moment: the ticks on the axis are its events."
                )) }
                (story::card(story))
            },
            Some(client) => {
                div.grid.client {
                    div.two-thirds {
                        @if let Some(why) = &shown.why { (why_card(view, why)) }
                        (story::card(story))
                    }
                    div.third {
                        (state::state_card(client, story))
                        (timers_card(shown))
                        (state::holdings_card(client, story))
                        (possible_card(&shown.possible))
                    }
                }
            },
        }
    }
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
                until: Some(now + slider::AHEAD),
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
            @if let Some(at) = client.expires_at { span.muted { "expires " (ui::inline_moment(at)) } }
            @if client.access_request.is_some() { (chip_of(Tone::Attention, "access requested")) }
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
            ul.plain { @for difference in &verified.differences { li { (ui::coded(difference)) } } }
        },
    )
}

fn timers_card(shown: &Shown) -> Markup {
    let from = shown.at.unwrap_or(shown.now);
    ui::card_with_id(
        "timers",
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

/// The answers that people ask for; the others follow from them.
const FIRST: [Answer; 5] = [
    Answer::Link,
    Answer::Service,
    Answer::Access,
    Answer::Billable,
    Answer::Commission,
];

fn why_card(view: &View, why: &Why) -> Markup {
    let is_first = |answer: &Answer| matches!(answer, Answer::Subscription(_)) || FIRST.contains(answer);
    let (first, others): (Vec<&Explanation>, Vec<&Explanation>) = why
        .answers
        .iter()
        .partition(|explanation| is_first(&explanation.answer));
    ui::card(
        "Why",
        &html! {
            div.why {
                @for answer in first {
                    section id=(why_id(&answer.answer)) {
                        h3 { (heading(&answer.answer)) " " (value_chip(&answer.value)) }
                        p { (ui::explained(&answer.sentence)) }
                        details {
                            summary { "Causes, and what would change it" }
                            (grounds(view, answer))
                        }
                    }
                }
                @for answer in others {
                    details.also {
                        summary { (heading(&answer.answer)) " " (value_chip(&answer.value)) }
                        // A link to what is in here opens it.
                        div id=(why_id(&answer.answer)) {
                            p { (ui::explained(&answer.sentence)) }
                            (grounds(view, answer))
                        }
                    }
                }
            }
            @if why.omitted > 0 { p.muted { (counted(why.omitted, "subscription")) " more are not explained here." } }
        },
    )
}

/// What an answer rests on, and what would change it.
fn grounds(view: &View, answer: &Explanation) -> Markup {
    let at = |at: DateTime<Utc>| html! { a href=(view.with(&[("at", Some(&rfc3339(at))), ("verify", None)])) { (ui::moment(at)) } };
    html! {
        @if !answer.causes.is_empty() {
            p.muted { "It rests on" }
            ul { @for cause in &answer.causes { li { @if let Some(time) = cause.time { (at(time)) " " } (ui::explained(&cause.sentence)) } } }
        }
        @if !answer.supporting.is_empty() {
            p.muted { "Together with" }
            ul { @for event in &answer.supporting { li { (at(event.time)) " " (ui::explained(&event.sentence)) } } }
        }
        @if !answer.turns.is_empty() {
            p.muted { "What would change it" }
            ul { @for turn in &answer.turns { li { @if let Some(time) = turn.time { (at(time)) " " } (ui::explained(&turn.sentence)) } } }
        }
    }
}

/// The id of the explanation of an answer on the page.
pub fn why_id(answer: &Answer) -> String {
    format!("why-{answer}").replace(':', "-")
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
