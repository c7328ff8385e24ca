//! The audit log: who did what, when and why.

use axum::response::Response;
use maud::{Markup, html};
use serde_json::Value;

use super::clients::select;
use super::error::PageError;
use super::layout::{Frame, Section};
use super::ui::{self, Pages, counted_as, title};
use super::view::View;
use crate::config::policy_settings;
use crate::domain::Policy;
use crate::http;
use crate::store::{AuditEntry, AuditFilter, AuditRecord};

const PAGE: u32 = 50;
/// What the filter offers: the first words of the actions.
const ACTIONS: [&str; 16] = [
    "sweep",
    "dead_letter",
    "policy",
    "statement",
    "webhook",
    "replay",
    "lane",
    "source",
    "rebuild",
    "prune",
    "restored",
    "import",
    "migrate",
    "worker",
    "sign_in",
    "sign_out",
];

/// Lists entries, newest first.
pub async fn list(mut view: View) -> Result<Response, PageError> {
    let (since, until) = (view.moment("since")?, view.moment("until")?);
    let filter = AuditFilter {
        since,
        until,
        who: view.params.text("by")?,
        action: http::audit_action(&mut view.params)?,
    };
    let before = view.params.number("before", 0, i64::MAX)?.unwrap_or(i64::MAX);
    let page = view
        .run(move |engine| async move { engine.audit_log(&filter, before, PAGE).await })
        .await?;
    let entries = page.entries;
    let pages = view.pages("before", page.next.map(|next| next.to_string()));
    let content = html! {
        (filters(&view))
        section.card.flush {
            @if entries.is_empty() {
                (empty(&view, &pages))
            } @else {
                (table(&view, &entries))
                (ui::pager(&counted_as(entries.len(), "entry", "entries"), &pages))
            }
        }
    };
    let frame = Frame {
        title: "Audit",
        section: Section::Audit,
        lead: Some(html! { "What operators did, in the console, over HTTP and with commands." }),
        ..Frame::default()
    };
    Ok(view.page(frame, &content))
}

/// Why a page has no entry.
fn empty(view: &View, pages: &Pages) -> Markup {
    let nothing_yet = ui::empty(
        "No entry",
        "What operators do in the console, over HTTP and with commands appears here.",
    );
    ui::no_row(
        pages,
        view.limits("before", ["since", "until"]),
        ("entry", "entries"),
        "/audit",
        nothing_yet,
    )
}

fn filters(view: &View) -> Markup {
    let chosen = |name: &str| view.value(name).unwrap_or_default().to_owned();
    let action = chosen("action");
    let is_offered = action.is_empty() || ACTIONS.contains(&action.as_str());
    let other = (!is_offered).then(|| (action.as_str(), action.clone()));
    let actions = ACTIONS.iter().map(|action| (*action, title(action)));
    html! {
        form.filters action="/audit" {
            label { "Who" input type="text" name="by" value=(chosen("by")) autocomplete="off"; }
            (select("What", "action", &action, "anything", actions.chain(other)))
            label { "From (UTC)" input type="datetime-local" name="since" value=(chosen("since").trim_end_matches('Z')); }
            label { "Until (UTC)" input type="datetime-local" name="until" value=(chosen("until").trim_end_matches('Z')); }
            button type="submit" { "Apply" }
            @if !view.given.is_empty() { a.button href="/audit" { "Clear" } }
        }
    }
}

fn table(view: &View, entries: &[AuditRecord]) -> Markup {
    html! {
        div.scroll { table.rows {
            thead { tr { th { "When" } th { "Who" } th { "What" } th { "To what" } th { "Why" } } }
            tbody { @for AuditRecord { entry, .. } in entries {
                tr data-row {
                    th scope="row" data-label="When" { (ui::moment_and_ago(view.now, entry.at)) }
                    td data-label="Who" { a data-filter href=(view.with(&[("by", Some(&entry.who)), ("before", None)])) { (entry.who) } " " span.muted { (entry.how.as_str()) } }
                    td data-label="What" { code { (entry.action) } (details(entry)) }
                    td data-label="To what" { (target(entry)) }
                    td.wrap data-label="Why" { @match &entry.reason { Some(reason) => { (reason) }, None => { span.muted { "–" } } } }
                }
            } }
        } }
    }
}

fn details(entry: &AuditEntry) -> Markup {
    html! {
        @for (name, value) in entry.details.iter().filter(|(name, value)| is_shown(name, value, entry)) {
            div.muted { (ui::words(name)) ": " (ui::prose(&text(value))) }
        }
        @for (key, before, after) in policy_changes(entry) {
            div.muted { code { (key) } ": " (before) " → " (after) }
        }
    }
}

/// Objects are policies, of which the differences are shown. `by` often repeats who acted.
fn is_shown(name: &str, value: &Value, entry: &AuditEntry) -> bool {
    !value.is_null() && !value.is_object() && (name != "by" || *value != entry.who)
}

/// A value of the details, for people.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// The settings that a new policy changes, with the values before and after.
fn policy_changes(entry: &AuditEntry) -> Vec<(String, String, String)> {
    let settings = |name: &str| {
        let policy = entry.details.get(name)?;
        let policy = serde_json::from_value::<Policy>(policy.clone()).ok()?;
        Some(policy_settings(&policy))
    };
    let (Some(before), Some(after)) = (settings("before"), settings("after")) else {
        return Vec::new();
    };
    let pairs = before.into_iter().zip(after);
    pairs
        .filter(|((_, before), (_, after))| before != after)
        .map(|((key, before), (_, after))| (key, before, after))
        .collect()
}

fn target(entry: &AuditEntry) -> Markup {
    let Some(target) = &entry.target else {
        return html! { span.muted { "–" } };
    };
    let kind = entry.action.split('.').next().unwrap_or_default();
    let url = match kind {
        "sweep" => Some(format!("/sweeps#{target}")),
        "dead_letter" => Some(format!("/dead-letters/{target}")),
        "statement" => Some(format!("/statements/{target}")),
        "rebuild" => Some(format!("/clients/{target}")),
        _ => None,
    };
    html! {
        @match url { Some(url) => { a.id href=(url) { (ui::breakable(target)) } }, None => { span.id { (ui::breakable(target)) } } }
    }
}
