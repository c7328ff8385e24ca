//! Dead letters: by reason, source and origin, and each with its bytes.

use std::sync::Arc;

use axum::response::Response;
use maud::{Markup, html};

use super::error::PageError;
use super::layout::{Frame, Section};
use super::ui::{self, Tone, chip, counted, number, sentence, title};
use super::view::View;
use crate::engine::{DeadLetterGroup, DeadLetterGroupKey, Engine, NO_SOURCE};
use crate::http::{ApiError, RawPath, number_in_path};
use crate::store::{DeadLetterFilter, DeadLetterRecord, DeadLetterStatus, DeadLetterSummary, StoreError};

const PAGE: usize = 50;
/// Bytes of a body that are shown.
const SHOWN: usize = 64 << 10;

/// The list of a group's dead letters.
#[must_use]
pub fn group_url(key: &DeadLetterGroupKey) -> String {
    ui::url("/dead-letters", &group_params(key))
}

/// The parameters that select a group. Without `source`, its messages name none.
pub fn group_params(key: &DeadLetterGroupKey) -> [(&'static str, Option<&str>); 3] {
    [
        ("reason", Some(&key.reason)),
        ("source", key.source.as_deref()),
        ("origin", Some(&key.origin)),
    ]
}

/// What a list shows.
struct Asked {
    status: DeadLetterStatus,
    after: i64,
    group: Option<DeadLetterGroupKey>,
}

impl Asked {
    fn of(view: &mut View) -> Result<Self, ApiError> {
        let statuses = DeadLetterStatus::ALL.map(|status| (status.as_str(), status));
        let status = view.params.choice("status", statuses)?;
        let after = view.params.number("after", 0, i64::MAX)?;
        let source = view.params.text("source")?;
        let group = match (view.params.text("reason")?, view.params.text("origin")?) {
            (Some(reason), Some(origin)) => Some(DeadLetterGroupKey {
                reason,
                source,
                origin,
            }),
            _ => None,
        };
        Ok(Self {
            status: status.unwrap_or(DeadLetterStatus::Open),
            after: after.unwrap_or(0),
            group,
        })
    }

    async fn dead_letters(&self, engine: &Engine) -> Result<Vec<DeadLetterSummary>, StoreError> {
        if let Some(group) = &self.group {
            return engine.dead_letters_of_group(group, self.after, PAGE + 1).await;
        }
        let filter = DeadLetterFilter {
            status: Some(self.status),
        };
        let limit = u32::try_from(PAGE + 1).unwrap_or(u32::MAX);
        engine.store().dead_letters(&filter, self.after, limit).await
    }
}

/// Groups of open dead letters, and a list of some or all.
pub async fn list(mut view: View) -> Result<Response, PageError> {
    let asked = Arc::new(Asked::of(&mut view)?);
    let reading = asked.clone();
    let (groups, mut dead_letters) = view
        .run(move |engine| async move {
            Ok((
                engine.dead_letter_groups().await?,
                reading.dead_letters(&engine).await?,
            ))
        })
        .await?;
    let pages = view.pages_of("after", &mut dead_letters, PAGE, |last| last.id.to_string());
    let chosen = asked.group.as_ref().and_then(|key| {
        let mut groups = groups.groups.iter();
        groups.find(|group| group.key == *key)
    });
    let content = html! {
        @if asked.group.is_none() { (groups_card(&view, &groups.groups)) }
        @if let Some(group) = chosen { (group_card(&view, group)) }
        @if asked.group.is_none() { (status_tabs(&view, asked.status, groups.total, groups.complete)) }
        section.card.flush {
            @if dead_letters.is_empty() {
                (empty(asked.status))
            } @else {
                (table(&view, &dead_letters))
                (ui::pager(&counted(dead_letters.len(), "dead letter"), &pages))
            }
        }
    };
    let frame = Frame {
        title: "Dead letters",
        section: Section::DeadLetters,
        lead: Some(
            html! { "Messages that are not valid events. Each stays until somebody redrives or discards it." },
        ),
        actions: asked
            .group
            .is_some()
            .then(|| html! { a.button href="/dead-letters" { "All groups" } }),
        ..Frame::default()
    };
    Ok(view.page(frame, &content))
}

fn empty(status: DeadLetterStatus) -> Markup {
    match status {
        DeadLetterStatus::Open => ui::empty(
            "No open dead letters",
            "Every message was a valid event, or somebody has resolved it.",
        ),
        DeadLetterStatus::Redriven => ui::empty(
            "No redriven dead letters",
            "Redrive a dead letter when its cause is fixed.",
        ),
        DeadLetterStatus::Discarded => ui::empty(
            "No discarded dead letters",
            "Discard a dead letter that will never be a valid event.",
        ),
    }
}

fn status_tabs(view: &View, chosen: DeadLetterStatus, open: u64, is_complete: bool) -> Markup {
    html! {
        nav.tabs aria-label="Status" { @for status in DeadLetterStatus::ALL {
            a href=(view.with(&[("status", Some(status.as_str())), ("after", None)])) aria-current=[(status == chosen).then_some("true")] {
                (title(status.as_str()))
                @if status == DeadLetterStatus::Open { span.count { (number(open)) @if !is_complete { "+" } } }
            }
        } }
    }
}

fn groups_card(view: &View, groups: &[DeadLetterGroup]) -> Markup {
    if groups.is_empty() {
        return html! {};
    }
    ui::table_card(
        "Open, by reason, source and origin",
        &html! { (counted(groups.len(), "group")) },
        &html! {
            div.scroll { table.rows {
                thead { tr { th { "Reason" } th { "Source" } th { "Origin" } th.num { "Number" } th { "Last seen" } } }
                tbody { @for group in groups {
                    tr data-row {
                        th.wrap scope="row" data-label="Reason" { a href=(group_url(&group.key)) { (ui::coded(&group.common)) } }
                        td data-label="Source" { (source(group.key.source.as_deref())) }
                        td data-label="Origin" { span.id { (ui::breakable(&group.key.origin)) } }
                        td.num data-label="Number" { (number(group.count)) }
                        td data-label="Last seen" { (ui::moment_and_ago(view.now, group.last_seen)) }
                    }
                } }
            } }
        },
    )
}

/// The source of a message, or that it has none.
fn source(source: Option<&str>) -> Markup {
    html! {
        @match source {
            Some(source) => { span.id { (ui::breakable(source)) } },
            None => { span.muted { (NO_SOURCE) } },
        }
    }
}

fn group_card(view: &View, group: &DeadLetterGroup) -> Markup {
    ui::card(
        &group.common,
        &html! {
            dl {
                dt { "Source" } dd { (source(group.key.source.as_deref())) }
                dt { "Origin" } dd.id { (ui::breakable(&group.key.origin)) }
                dt { "Open" } dd { (number(group.count)) }
                dt { "First seen" } dd { (ui::moment_and_ago(view.now, group.first_seen)) }
                dt { "Last seen" } dd { (ui::moment_and_ago(view.now, group.last_seen)) }
            }
            (super::actions::group_buttons(view, group))
        },
    )
}

fn table(view: &View, letters: &[DeadLetterSummary]) -> Markup {
    html! {
        div.scroll { table.rows {
            thead { tr { th { "Id" } th { "Reason" } th { "Source" } th { "Origin" } th { "State" } th.num { "Times" } th { "Last seen" } } }
            tbody { @for letter in letters {
                tr data-row {
                    th scope="row" data-label="Id" { a href={ "/dead-letters/" (letter.id) } { (letter.id) } }
                    td.wrap data-label="Reason" { (ui::coded(&letter.reason)) @if let Some(outcome) = &letter.redrive_outcome { div.muted { "last redrive: " (ui::prose(outcome)) } } }
                    td data-label="Source" { (source(letter.source.as_deref())) }
                    td data-label="Origin" { span.id { (ui::breakable(&letter.origin)) } }
                    td data-label="State" { (chip(letter.status.as_str())) }
                    td.num data-label="Times" { (number(letter.times_seen)) }
                    td data-label="Last seen" { (ui::moment_and_ago(view.now, letter.last_seen_at)) }
                }
            } }
        } }
    }
}

/// A dead letter with its headers and its bytes.
pub async fn show(path: RawPath<String>, view: View) -> Result<Response, PageError> {
    let id = number_in_path("id", path)?;
    let record = view
        .run(move |engine| async move { engine.store().dead_letter(id).await })
        .await?;
    let record = record.ok_or(ApiError::UnknownDeadLetter(id))?;
    let heading = format!("Dead letter {id}");
    let letter = &record.dead_letter;
    let group = DeadLetterGroupKey::of(&letter.reason, letter.source.as_deref(), &letter.origin);
    let content = html! {
        (ui::note(Tone::Attention, &html! { p { b { (ui::coded(&sentence(&record.dead_letter.reason))) } } }))
        div.grid {
            div.two-thirds { (body_card(&record)) (super::actions::dead_letter_forms(&view, &record)) }
            div.third { (facts_card(&view, &record)) (headers_card(&record)) }
        }
    };
    let frame = Frame {
        title: &heading,
        section: Section::DeadLetters,
        actions: Some(html! { a.button href=(group_url(&group)) { "Dead letters like this" } }),
        ..Frame::default()
    };
    Ok(view.page(frame, &content))
}

fn facts_card(view: &View, record: &DeadLetterRecord) -> Markup {
    let when = |at| ui::moment_and_ago(view.now, at);
    let letter = &record.dead_letter;
    ui::card(
        "Details",
        &html! {
            dl {
                dt { "State" } dd { (chip(record.status.as_str())) }
                dt { "Source" } dd { (source(letter.source.as_deref())) }
                dt { "Origin" } dd.id { (ui::breakable(&letter.origin)) }
                dt { "Content type" } dd { (letter.content_type.as_deref().unwrap_or("none")) }
                dt { "First seen" } dd { (when(record.first_seen_at)) }
                dt { "Last seen" } dd { (when(record.last_seen_at)) }
                dt { "Times seen" } dd { (number(record.times_seen)) }
                @if let Some(at) = letter.retry_at.filter(|_| record.status == DeadLetterStatus::Open) { dt { "Next redrive" } dd { (ui::moment_and_distance(view.now, at)) ", automatic" } }
                @if let Some(at) = record.redriven_at { dt { "Last redrive" } dd { (when(at)) @if let Some(outcome) = &record.redrive_outcome { ": " (ui::prose(outcome)) } } }
                @if let Some(at) = record.resolved_at { dt { "Resolved" } dd { (when(at)) } }
            }
        },
    )
}

fn headers_card(record: &DeadLetterRecord) -> Markup {
    ui::card(
        "Headers",
        &html! {
            @if record.dead_letter.headers.is_empty() { p.muted { "The message had no headers." } }
            dl { @for (name, value) in &record.dead_letter.headers { dt.id { (ui::breakable(name)) } dd.id { (crate::escape::visible(value)) } } }
        },
    )
}

fn body_card(record: &DeadLetterRecord) -> Markup {
    let body = &record.dead_letter.body;
    ui::card(
        "Body",
        &html! {
            pre tabindex="0" { (readable(body)) }
            p.muted {
                (counted(record.bytes, "byte"))
                @if body.len() > SHOWN { ", the first " (number(SHOWN)) " are shown" }
                @if record.is_truncated() { ". The message was too long to be stored whole: it cannot be redriven" }
            }
        },
    )
}

/// Bytes as text: JSON with line breaks, other text as it is, anything else in hexadecimal.
#[must_use]
pub fn readable(body: &[u8]) -> String {
    if body.len() <= SHOWN
        && let Ok(json) = serde_json::from_slice::<serde_json::Value>(body)
        && let Ok(text) = serde_json::to_string_pretty(&json)
    {
        return text;
    }
    let shown = &body[..body.len().min(SHOWN)];
    let text = String::from_utf8_lossy(shown);
    let strange = text
        .chars()
        .filter(|char| *char == '\u{fffd}' || (char.is_control() && !char.is_whitespace()))
        .count();
    if strange * 10 > text.chars().count() {
        return hex_dump(shown);
    }
    text.lines()
        .map(crate::escape::visible)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Sixteen bytes a line, with their place and the characters that can be shown.
fn hex_dump(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for (line, bytes) in bytes.chunks(16).enumerate() {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let text: String = bytes
            .iter()
            .map(|byte| {
                if byte.is_ascii_graphic() {
                    char::from(*byte)
                } else {
                    '.'
                }
            })
            .collect();
        let _ = writeln!(out, "{:06x}  {:<47}  {text}", line * 16, hex.join(" "));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::readable;

    #[test]
    fn bytes_are_shown_as_what_they_are() {
        assert_eq!(readable(b"{\"a\":1}"), "{\n  \"a\": 1\n}");
        assert_eq!(readable(b"not json"), "not json");
        assert_eq!(
            readable(&[0, 1, 2, 0x41]),
            "000000  00 01 02 41                                      ...A\n"
        );
    }
}
