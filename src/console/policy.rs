//! Policies: in force, to come and past, and how each differs from the one before.

use axum::response::Response;
use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::error::PageError;
use super::layout::{Frame, Section};
use super::ui::{self, Tone, chip_of, number};
use super::view::View;
use crate::config::policy_settings;
use crate::domain::Policy;
use crate::domain::time::rfc3339;
use crate::store::{AuditHow, AuditRecord};

/// Entries about policies that are examined.
const ENTRIES: u32 = 500;

/// The recorded policies.
pub async fn show(view: View) -> Result<Response, PageError> {
    let (recorded, entries) = view
        .run(|engine| async move {
            Ok((
                engine.recorded_policies().await?,
                engine.applied_policies(ENTRIES).await?,
            ))
        })
        .await?;
    let settings = view.engine.policy_of_settings().clone();
    let in_force = recorded
        .iter()
        .rposition(|(from, _)| *from <= view.now)
        .unwrap_or(0);
    let latest = recorded.last().map_or(&settings, |(_, policy)| policy);
    let proposed = policy_settings(&settings);
    let proposed: Vec<(&str, Option<&str>)> = proposed
        .iter()
        .map(|(key, value)| (key.as_str(), Some(value.as_str())))
        .collect();
    let content = html! {
        @if *latest != settings {
            (ui::note(Tone::Attention, &html! {
                p { b { "The settings of this worker differ from the latest policy." } " They do not take effect until somebody confirms them." }
                p { a href=(ui::url("/what-if", &proposed)) { "See what they would change" } }
            }))
        }
        @if recorded.is_empty() { (policy_card(&html! { "From the settings" }, &html! {}, &html! {}, (&settings, None))) }
        @for (place, (from, policy)) in recorded.iter().enumerate().rev() {
            @let before = place.checked_sub(1).and_then(|before| recorded.get(before)).map(|(_, policy)| policy);
            (policy_card(&since(place, *from), &state(place, in_force), &by(&view, place, *from, &entries), (policy, before)))
        }
    };
    let frame = Frame {
        title: "Policy",
        section: Section::Policy,
        lead: Some(
            html! { "The durations and thresholds of all timers. A new policy applies from the moment at which it takes effect, and changes no answer about the past." },
        ),
        actions: Some(html! { a.button.primary href="/what-if" { "What if the policy were different?" } }),
        ..Frame::default()
    };
    Ok(view.page(frame, &content))
}

fn since(place: usize, from: DateTime<Utc>) -> Markup {
    html! { @if place == 0 { "From the beginning" } @else { "From " (ui::inline_moment(from)) } }
}

fn state(place: usize, in_force: usize) -> Markup {
    match place.cmp(&in_force) {
        std::cmp::Ordering::Equal => chip_of(Tone::Good, "in force"),
        std::cmp::Ordering::Greater => chip_of(Tone::Attention, "to come"),
        std::cmp::Ordering::Less => chip_of(Tone::Neutral, "past"),
    }
}

/// Who applied it, and why.
fn by(view: &View, place: usize, from: DateTime<Utc>, entries: &[AuditRecord]) -> Markup {
    if place == 0 {
        return html! { p.muted { "The settings of the first worker." } };
    }
    let from = rfc3339(from);
    let are_all = entries.len() < ENTRIES as usize;
    let mut entries = entries.iter().map(|record| &record.entry);
    let entry = entries
        .find(|entry| entry.details.get("from").and_then(|given| given.as_str()) == Some(from.as_str()));
    html! {
        p.muted { @match entry {
            Some(entry) if entry.how == AuditHow::Settings => { "Recorded " (ui::moment_and_ago(view.now, entry.at)) " by a worker that started with changed settings." },
            Some(entry) => {
                "Applied by " b { (entry.who) } ", " (entry.how.as_str()) ", " (ui::moment_and_ago(view.now, entry.at))
                @if let Some(reason) = &entry.reason { ": “" (reason) "”" }
            },
            None if are_all => { "The audit log has no entry for it." },
            None => { "None of the newest " (number(ENTRIES)) " entries about policies in the audit log is about it." },
        } }
    }
}

fn policy_card(
    heading: &Markup,
    state: &Markup,
    by: &Markup,
    (policy, before): (&Policy, Option<&Policy>),
) -> Markup {
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
            header { h2 { (heading) } (state) (by) }
            div.scroll tabindex="0" { table.rows {
                thead { tr { th { "Setting" } th { "Value" } @if before.is_some() { th { "Before" } } } }
                tbody { @for (key, value) in &settings {
                    @let differs = before.is_some() && was(key) != Some(value.as_str());
                    tr {
                        th scope="row" data-label="Setting" { code { (key) } }
                        td data-label="Value" { @if differs { b { (value) } " " (chip_of(Tone::Attention, "changed")) } @else { (value) } }
                        @if before.is_some() { td.muted data-label="Before" { (was(key).unwrap_or("–")) } }
                    }
                } }
            } }
        }
    }
}
