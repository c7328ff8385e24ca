//! Policies: in force, to come and past, and how each differs from the one before.

use axum::response::Response;
use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::error::PageError;
use super::layout::{Frame, Section};
use super::ui::{self, Tone, chip_of};
use super::view::View;
use crate::config::policy_settings;
use crate::domain::Policy;

/// The recorded policies.
pub async fn show(view: View) -> Result<Response, PageError> {
    let recorded = view
        .run(|engine| async move { engine.recorded_policies().await })
        .await?;
    let settings = view.engine.policy_of_settings().clone();
    let in_force = recorded
        .iter()
        .rposition(|(from, _)| *from <= view.now)
        .unwrap_or(0);
    let latest = recorded.last().map_or(&settings, |(_, policy)| policy);
    let content = html! {
        @if *latest != settings {
            (ui::note(Tone::Attention, &html! {
                p { b { "The settings of this worker differ from the latest policy." } " They are not in force: a change waits for somebody to confirm it." }
                p { a href="/what-if" { "See what they would change" } }
            }))
        }
        @if recorded.is_empty() { (policy_card("From the settings", &html! {}, &settings, None)) }
        @for (place, (from, policy)) in recorded.iter().enumerate().rev() {
            @let before = place.checked_sub(1).and_then(|before| recorded.get(before)).map(|(_, policy)| policy);
            (policy_card(&since(place, *from), &state(place, in_force), policy, before))
        }
    };
    let frame = Frame {
        title: "Policy",
        section: Section::Policy,
        lead: Some(
            html! { "The durations from which timers are computed. A change counts from the moment when it takes effect, and changes no answer about the past." },
        ),
        actions: Some(html! { a.button.primary href="/what-if" { "What if it were another?" } }),
        ..Frame::default()
    };
    Ok(view.page(frame, &content))
}

fn since(place: usize, from: DateTime<Utc>) -> String {
    if place == 0 {
        "From the beginning".into()
    } else {
        format!("From {}", ui::spelled(from))
    }
}

fn state(place: usize, in_force: usize) -> Markup {
    match place.cmp(&in_force) {
        std::cmp::Ordering::Equal => chip_of(Tone::Good, "in force"),
        std::cmp::Ordering::Greater => chip_of(Tone::Attention, "to come"),
        std::cmp::Ordering::Less => chip_of(Tone::Neutral, "past"),
    }
}

fn policy_card(heading: &str, state: &Markup, policy: &Policy, before: Option<&Policy>) -> Markup {
    let earlier = before.map(policy_settings).unwrap_or_default();
    let settings = policy_settings(policy);
    let was = |key: &str| {
        earlier
            .iter()
            .find(|(earlier, _)| earlier == key)
            .map(|(_, value)| value.as_str())
    };
    html! {
        section.card.flush {
            header { h2 { (heading) } (state) }
            div.scroll { table {
                thead { tr { th { "Setting" } th { "Value" } @if before.is_some() { th { "Before" } } } }
                tbody { @for (key, value) in &settings {
                    @let differs = before.is_some() && was(key) != Some(value.as_str());
                    tr {
                        th scope="row" { code { (key) } }
                        td { @if differs { b { (value) } " " (chip_of(Tone::Attention, "changed")) } @else { (value) } }
                        @if before.is_some() { td.muted { (was(key).unwrap_or("–")) } }
                    }
                } }
            } }
        }
    }
}
