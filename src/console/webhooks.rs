//! The endpoints of webhooks, and how far each has received the changes.

use axum::response::Response;
use chrono::TimeDelta;
use maud::{Markup, html};

use super::error::PageError;
use super::layout::{Frame, Section};
use super::ui::{self, Tone, chip_of};
use super::view::View;
use crate::engine::EndpointView;
use crate::store::{AuditRecord, EndpointOrigin, EndpointStatus};

/// Lists the endpoints.
pub async fn list(view: View) -> Result<Response, PageError> {
    let (endpoints, pauses) = view
        .run(|engine| async move {
            let endpoints = engine.endpoints().await?;
            let mut pauses = Vec::new();
            let is_paused = |endpoint: &&EndpointView| endpoint.status == EndpointStatus::Paused;
            for endpoint in endpoints.iter().filter(is_paused) {
                pauses.extend(engine.last_endpoint_pause(&endpoint.name).await?);
            }
            Ok((endpoints, pauses))
        })
        .await?;
    let content = html! {
        @if endpoints.is_empty() {
            section.card.flush {
                (ui::empty("No endpoints", "`tenure webhook add NAME URL` adds an endpoint, and so does the section [webhooks.endpoints] of the settings."))
            }
        }
        div.grid { @for endpoint in &endpoints { div.half { (card(&view, endpoint, &pauses)) } } }
    };
    let frame = Frame {
        title: "Webhooks",
        section: Section::Webhooks,
        lead: Some(html! { "The URLs to which Tenure sends changes, and how far each has received them." }),
        ..Frame::default()
    };
    Ok(view.page(frame, &content))
}

fn card(view: &View, endpoint: &EndpointView, pauses: &[AuditRecord]) -> Markup {
    let when = |at| ui::moment_and_ago(view.now, at);
    let is_of = |record: &&AuditRecord| record.entry.target.as_deref() == Some(endpoint.name.as_str());
    let pause = pauses.iter().find(is_of).map(|record| &record.entry);
    html! {
        section.card id=(endpoint.name) {
            header { h2 { (endpoint.name) } (state(endpoint)) }
            @if let Some(pause) = pause { (ui::note(Tone::Attention, &html! {
                p { b { "Paused" } " " (when(pause.at)) " by " b { (pause.who) } ". " a href="/audit?action=webhook" { "Audit log" } }
                @if let Some(why) = &pause.reason { p { (ui::prose(why)) } }
            })) }
            @if let Some(why) = &endpoint.why { (ui::note(Tone::Bad, &html! { p { b { "Disabled: " } (ui::prose(why)) } })) }
            @if let Some(since) = endpoint.failing_since { (ui::note(Tone::Attention, &html! { p { b { "Failing since " } (when(since)) } })) }
            dl {
                dt { "URL" } dd.id { (ui::breakable(&endpoint.url)) }
                dt { "Receives" } dd { (selected(endpoint)) }
                dt { "Lag" } dd { (lag(endpoint)) }
                dt { "Last delivery" } dd { @match endpoint.last_delivered_at { Some(at) => { (when(at)) }, None => { "none yet" } } }
                @if let Some(at) = endpoint.last_attempt_at {
                    dt { "Last attempt" } dd { (when(at)) @if let Some(outcome) = &endpoint.last_outcome { ", response: " (ui::prose(outcome)) } }
                }
                dt { "Added" } dd { (when(endpoint.created_at)) @if endpoint.origin == EndpointOrigin::Settings { ", by the settings" } }
                @if let Some(until) = endpoint.old_secret_until { dt { "Old secret" } dd { "also signs until " (ui::moment(until)) } }
                dt { "Cursor" } dd.id { (ui::breakable(&endpoint.cursor)) }
            }
            p.chips { (super::actions::endpoint_buttons(view, endpoint)) }
        }
    }
}

fn state(endpoint: &EndpointView) -> Markup {
    match endpoint.status {
        EndpointStatus::Active if endpoint.failing_since.is_some() => chip_of(Tone::Attention, "failing"),
        EndpointStatus::Active => chip_of(Tone::Good, "active"),
        EndpointStatus::Paused => chip_of(Tone::Attention, "paused"),
        EndpointStatus::Disabled => chip_of(Tone::Bad, "disabled"),
    }
}

fn selected(endpoint: &EndpointView) -> Markup {
    html! {
        @if endpoint.types.is_empty() { "all types" }
        @for (place, kind) in endpoint.types.iter().enumerate() { @if place > 0 { ", " } code { (kind) } }
        @match (&endpoint.client, &endpoint.partner) {
            (Some(client), _) => { ", of client " (ui::client_link(client)) },
            (None, Some(partner)) => { ", of partner " span.id { (ui::breakable(partner)) } },
            (None, None) => {},
        }
    }
}

fn lag(endpoint: &EndpointView) -> Markup {
    html! {
        @match endpoint.lag_seconds {
            Some(0) => { "none: it has received every change" },
            Some(seconds) => { "its oldest waiting change is " (ui::duration(TimeDelta::seconds(seconds))) " old" },
            None => { "unknown: changes after its cursor are no longer stored" },
        }
    }
}
