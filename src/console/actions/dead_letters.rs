//! What an operator does to dead letters: redrive, edit, discard, one by one or by group.

use std::collections::BTreeMap;

use axum::response::Response;
use axum::routing::{get, post};
use maud::{Markup, html};

use super::{Fields, NAMED, Question, Route, ask, authority, csrf, done, done_all, field, reason_field};
use crate::console::dead_letters::group_params;
use crate::console::error::PageError;
use crate::console::layout::Section;
use crate::console::ui::{self, counted, number};
use crate::console::view::View;
use crate::engine::{
    Authority, DeadLetterGroup, DeadLetterGroupKey, Discard, NO_SOURCE, Redrive, common_reason,
};
use crate::http::{ApiError, RawPath, in_path};
use crate::store::{DeadLetterRecord, DeadLetterStatus};

/// Dead letters that one request resolves at most.
const AT_ONCE: usize = 1_000;

/// The buttons of a group of dead letters.
pub fn group_buttons(view: &View, group: &DeadLetterGroup) -> Markup {
    let to = |verb: &str| ui::url(&format!("/dead-letter-groups/{verb}"), &group_params(&group.key));
    html! {
        @if view.may_operate() {
            p.chips { a.button.primary href=(to("redrive")) { "Redrive all" } a.button.danger href=(to("discard")) { "Discard all" } }
        }
    }
}

/// The forms of one dead letter.
pub fn dead_letter_forms(view: &View, record: &DeadLetterRecord) -> Markup {
    if !view.may_operate() || record.status != DeadLetterStatus::Open {
        return html! {};
    }
    let to = |verb: &str| format!("/dead-letters/{}/{verb}", record.id);
    let text = std::str::from_utf8(&record.dead_letter.body)
        .ok()
        .filter(|_| !record.is_truncated())
        .map(editable);
    html! {
        section.card {
            header { h2 { "Resolve" } }
            form.confirm method="post" action=(to("redrive")) {
                p { "Redrive it when its cause is fixed: it is read again, as it was sent. Discard it if it will never be a valid event." }
                (csrf(view)) (reason_field())
                div.buttons {
                    button.primary type="submit" { "Redrive" }
                    button.danger type="submit" formaction=(to("discard")) { "Discard" }
                }
            }
        }
        @if let Some(text) = text {
            section.card {
                header { h2 { "Edit and redrive" } }
                form.confirm method="post" action=(to("edit")) {
                    p { "The edited message is ingested as a new event, and this dead letter is resolved. If it is still not a valid event, nothing changes." }
                    label.field { "Message" textarea name="body" rows="12" spellcheck="false" { "\n" (text) } }
                    (csrf(view)) (reason_field())
                    div.buttons { button type="submit" { "Redrive the edited message" } }
                }
            }
        }
    }
}

/// The longest body, in bytes, that gets line breaks for editing. Those of deep lists are more than a hundred times as long.
const LAID_OUT: usize = 16 << 10;

/// A body for editing: compact JSON with line breaks, unless it is long or that changes more than white space.
fn editable(body: &str) -> String {
    if body.len() > LAID_OUT {
        return body.to_owned();
    }
    let read = serde_json::from_str::<serde_json::Value>(body).ok();
    let is_compact = |json: &serde_json::Value| serde_json::to_string(json).is_ok_and(|text| text == body);
    read.filter(is_compact)
        .and_then(|json| serde_json::to_string_pretty(&json).ok())
        .unwrap_or_else(|| body.to_owned())
}

/// What an operator does to a dead letter.
#[derive(Clone, Copy)]
enum Verb {
    Redrive,
    Edit,
    Discard,
}

/// The routes of the actions on a dead letter and on a group of them.
pub fn routes() -> impl IntoIterator<Item = Route> {
    let one = [
        ("redrive", Verb::Redrive),
        ("edit", Verb::Edit),
        ("discard", Verb::Discard),
    ];
    let one = one.map(|(word, verb)| {
        let act =
            move |path: RawPath<String>, view: View, form: Fields| do_dead_letter(path, view, form, verb);
        (format!("/dead-letters/{{id}}/{word}"), post(act))
    });
    let group = [("redrive", GroupVerb::Redrive), ("discard", GroupVerb::Discard)];
    let group = group.map(|(word, verb)| {
        let ask = move |view: View| ask_group(view, verb);
        let act = move |view: View, form: Fields| do_group(view, form, verb);
        (format!("/dead-letter-groups/{word}"), get(ask).post(act))
    });
    one.into_iter().chain(group)
}

/// Redrives, edits or discards a dead letter.
async fn do_dead_letter(
    path: RawPath<String>,
    view: View,
    form: Fields,
    verb: Verb,
) -> Result<Response, PageError> {
    let id: i64 = in_path(path)?.parse().map_err(|_| ApiError::NoSuchPath)?;
    let authority = authority(&view, &form)?;
    let did = match verb {
        Verb::Redrive => redrive(&view, &authority, id, None).await?,
        Verb::Edit => {
            // Browsers send line breaks as CR LF.
            let body = field(&form, "body").replace("\r\n", "\n").into_bytes();
            redrive(&view, &authority, id, Some(body)).await?
        }
        Verb::Discard => discard(&view, &authority, id).await?,
    };
    did_one(&view, id, did)
}

/// What [`super::said`] says about a dead letter that does not exist.
const UNKNOWN: &str = "dead-letter-unknown";

fn did_one(view: &View, id: i64, did: &str) -> Result<Response, PageError> {
    if did == UNKNOWN {
        return Err(ApiError::UnknownDeadLetter(id).into());
    }
    Ok(done(view, &format!("/dead-letters/{id}"), did, 1))
}

/// Redrives a dead letter, or an edited message in its place. Returns what that did, for [`super::said`].
async fn redrive(
    view: &View,
    authority: &Authority,
    id: i64,
    body: Option<Vec<u8>>,
) -> Result<&'static str, PageError> {
    let authority = authority.clone();
    let is_edited = body.is_some();
    let decoder = view.api.decoder(view.engine.clock().present());
    let redriven = view
        .run(move |engine| async move {
            let operator = engine.operator(&authority);
            match body {
                Some(body) => operator.redrive_edited(id, body, &decoder).await,
                None => operator.redrive(id, &decoder).await,
            }
        })
        .await?;
    Ok(match redriven {
        Redrive::Unknown => UNKNOWN,
        Redrive::Done(_) if is_edited => "edit-too-late",
        Redrive::Done(_) => "redriven-before",
        Redrive::Claimed => "redrive-in-progress",
        Redrive::Discarded => "discarded-meanwhile",
        Redrive::Truncated => "truncated",
        Redrive::Now(outcomes) if crate::engine::is_still_dead(&outcomes) => "still-dead",
        Redrive::Now(_) => "redriven",
    })
}

/// Discards a dead letter. Returns what that did, for [`super::said`].
async fn discard(view: &View, authority: &Authority, id: i64) -> Result<&'static str, PageError> {
    let authority = authority.clone();
    let discarded = view
        .run(move |engine| async move { engine.operator(&authority).discard_dead_letter(id).await })
        .await?;
    Ok(match discarded {
        Discard::Now => "discarded",
        Discard::Unknown => UNKNOWN,
        Discard::Redriven(_) => "discard-too-late",
        Discard::Discarded(_) => "discarded-before",
    })
}

fn group_of(reason: &str, source: &str, origin: &str) -> Result<DeadLetterGroupKey, ApiError> {
    if reason.is_empty() || origin.is_empty() {
        return Err(ApiError::parameter("reason", "choose a group of dead letters"));
    }
    Ok(DeadLetterGroupKey {
        reason: reason.to_owned(),
        source: Some(source.to_owned()).filter(|source| !source.is_empty()),
        origin: origin.to_owned(),
    })
}

/// What an operator does to all dead letters of a group.
#[derive(Clone, Copy)]
enum GroupVerb {
    Redrive,
    Discard,
}

/// Asks back before all dead letters of a group are redriven or discarded.
async fn ask_group(view: View, verb: GroupVerb) -> Result<Response, PageError> {
    let key = group_of(
        view.value("reason").unwrap_or_default(),
        view.value("source").unwrap_or_default(),
        view.value("origin").unwrap_or_default(),
    )?;
    let of = key.clone();
    let dead_letters = view
        .run(move |engine| async move { engine.dead_letters_of_group(&of, 0, AT_ONCE).await })
        .await?;
    let count = dead_letters.len() as u64;
    let (word, button) = match verb {
        GroupVerb::Redrive => ("Redrive", "Redrive all"),
        GroupVerb::Discard => ("Discard", "Discard all"),
    };
    let names = dead_letters.iter().take(NAMED).map(
        |one| html! { a href={ "/dead-letters/" (one.id) } { "Dead letter " (one.id) } ": " (one.reason) },
    );
    Ok(ask(
        &view,
        Question {
            title: format!("{word} {}", counted(count, "dead letter")),
            section: Section::DeadLetters,
            what: html! { (word) " " b { (counted(count, "dead letter")) } @if let Some(source) = &key.source { " of " code { (source) } } @else { " with " (NO_SOURCE) } ", from " code { (key.origin) } ", reason " b { (ui::coded(&common_reason(&dead_letters))) } @if dead_letters.len() == AT_ONCE { ". The first " (number(AT_ONCE)) " at once; repeat it for the others" } "." },
            names: names.collect(),
            count,
            action: format!("/dead-letter-groups/{}", word.to_lowercase()),
            hidden: vec![
                ("group", key.reason.clone()),
                ("source", key.source.clone().unwrap_or_default()),
                ("origin", key.origin.clone()),
                ("count", count.to_string()),
            ],
            button,
            is_dangerous: matches!(verb, GroupVerb::Discard),
            back: "/dead-letters",
        },
    ))
}

/// Redrives or discards all dead letters of a group.
async fn do_group(view: View, form: Fields, verb: GroupVerb) -> Result<Response, PageError> {
    let authority = authority(&view, &form)?;
    let key = group_of(
        field(&form, "group"),
        field(&form, "source"),
        field(&form, "origin"),
    )?;
    // No more than was asked back: others may have arrived since.
    let count: usize = field(&form, "count")
        .parse()
        .map_err(|_| ApiError::parameter("count", "expected a number"))?;
    let dead_letters = view
        .run(move |engine| async move { engine.dead_letters_of_group(&key, 0, count.min(AT_ONCE)).await })
        .await?;
    let mut all_done: BTreeMap<&str, i64> = BTreeMap::new();
    for dead_letter in dead_letters {
        let id = dead_letter.id;
        let did = match verb {
            GroupVerb::Redrive => redrive(&view, &authority, id, None).await?,
            GroupVerb::Discard => discard(&view, &authority, id).await?,
        };
        *all_done.entry(did).or_default() += 1;
    }
    if all_done.is_empty() {
        all_done.insert("group-empty", 0);
    }
    Ok(done_all(&view, "/dead-letters", all_done))
}

#[cfg(test)]
mod tests {
    use super::{LAID_OUT, editable};

    #[test]
    fn only_compact_json_is_laid_out_for_editing() {
        assert_eq!(
            editable(r#"{"b":1,"a":"x"}"#),
            "{\n  \"b\": 1,\n  \"a\": \"x\"\n}"
        );
        for text in ["", "not json", r#"{"a":1,"a":2}"#, r#"{"a": 1}"#, r#"{"a":1.10}"#] {
            assert_eq!(editable(text), text);
        }
        let long = format!("[{}0]", "0,".repeat(LAID_OUT / 2));
        assert_eq!(editable(&long), long);
    }
}
