//! Refused events: by code, source and time, and what became of each.

use std::time::Duration;

use axum::response::Response;
use maud::{Markup, html};

use super::clients::select;
use super::error::PageError;
use super::layout::{Frame, Section};
use super::ui::{self, Pages, Tone, chip_of, counted, words};
use super::view::View;
use crate::domain::Refusal;
use crate::engine::{Fate, RefusalView};
use crate::http::ApiError;
use crate::store::{EventPosition, RefusalFilter};

const PAGE: u32 = 25;
/// How long a page looks for what became of its refusals.
const FATES: Duration = Duration::from_millis(60);

/// Lists refusals.
pub async fn list(mut view: View) -> Result<Response, PageError> {
    let after = view
        .params
        .text("after")?
        .map(|after| after.parse::<EventPosition>());
    let after = after
        .transpose()
        .map_err(|reason| ApiError::parameter("after", reason))?;
    let (from, until) = (view.moment("from")?, view.moment("until")?);
    let filter = RefusalFilter {
        code: view
            .params
            .choice("code", Refusal::ALL.iter().map(|code| (code.code(), *code)))?,
        source: view.params.text("source")?.map(|source| source.replace('\0', "")),
        from,
        until,
    };
    let (refusals, fates, next) = view
        .run(|engine| async move {
            let (refusals, next) = engine.refusals(&filter, after.as_ref(), PAGE).await?;
            let fates = engine.fates(&refusals, FATES).await?;
            Ok((refusals, fates, next))
        })
        .await?;
    let pages = view.pages("after", next.map(|next| next.to_string()));
    let content = html! {
        (filters(&view))
        section.card.flush {
            @if refusals.is_empty() {
                (empty(&view, &pages))
            } @else {
                (table(&refusals, &fates))
                (ui::pager(&counted(refusals.len(), "refusal"), &pages))
            }
        }
    };
    let frame = Frame {
        title: "Refusals",
        section: Section::Refusals,
        lead: Some(
            html! { "Events that are impossible at their position in the history of their client. If a late event makes one possible, Tenure applies it, and it leaves this list; the story of its client shows both." },
        ),
        ..Frame::default()
    };
    Ok(view.page(frame, &content))
}

/// Why a page has no refusal.
fn empty(view: &View, pages: &Pages) -> Markup {
    let nothing_yet = ui::empty(
        "No refused events",
        "Tenure refuses an event that is impossible at its position in the history of its client.",
    );
    ui::no_row(
        pages,
        view.limits("after", ["from", "until"]),
        ("refusal", "refusals"),
        "/refusals",
        nothing_yet,
    )
}

fn filters(view: &View) -> Markup {
    let chosen = |name: &str| view.value(name).unwrap_or_default().to_owned();
    html! {
        form.filters action="/refusals" {
            (select("Code", "code", &chosen("code"), "any", Refusal::ALL.iter().map(|code| (code.code(), words(code.code())))))
            label { "Source" input type="text" name="source" value=(chosen("source")) placeholder="/partner-space"; }
            label { "From (UTC)" input type="datetime-local" name="from" value=(chosen("from").trim_end_matches('Z')); }
            label { "Until (UTC)" input type="datetime-local" name="until" value=(chosen("until").trim_end_matches('Z')); }
            button type="submit" { "Apply" }
            @if !view.given.is_empty() { a.button href="/refusals" { "Clear" } }
        }
    }
}

/// What became of a refused event.
fn fate(fate: Option<Fate>, subject: &str) -> Markup {
    html! {
        @match fate {
            Some(Fate::AppliedLater(at)) => { "a later event of this type was applied, " (ui::moment(at)) },
            Some(Fate::Refused { before: Some(before) }) => { "still refused; the first reason was “" (words(before.code())) "”" },
            Some(Fate::Refused { before: None }) => { "still refused" },
            None => { a href=(format!("/clients/{subject}")) { "not looked up: see its story" } },
        }
    }
}

fn table(refusals: &[RefusalView], fates: &[Option<Fate>]) -> Markup {
    html! {
        div.scroll { table.rows {
            thead { tr { th { "Time" } th { "Client" } th { "Event" } th { "Refused because" } th { "Source" } th { "Since then" } } }
            tbody { @for (refusal, known) in refusals.iter().zip(fates) {
                tr data-row {
                    td data-label="Time" { (ui::moment(refusal.time)) }
                    th scope="row" data-label="Client" { (ui::client_link(&refusal.subject)) }
                    td data-label="Event" { code { (refusal.kind) } @if let Some(actor) = &refusal.actor.id { div.muted { "by " (actor) } } }
                    td.wrap data-label="Refused because" { (chip_of(Tone::Attention, &words(refusal.code))) div.muted { (refusal.reason) } }
                    td data-label="Source" { span.id { (ui::breakable(&refusal.source)) } div.muted { span.id { (ui::breakable(&refusal.id)) } } }
                    td data-label="Since then" { (fate(*known, &refusal.subject)) }
                }
            } }
        } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fate_that_was_not_looked_up_leads_to_the_story() {
        assert_eq!(
            fate(None, "acme/bakery").into_string(),
            "<a href=\"/clients/acme/bakery\">not looked up: see its story</a>"
        );
    }
}
