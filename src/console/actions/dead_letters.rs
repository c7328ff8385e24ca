//! What an operator does to dead letters: redrive, edit, discard, one by one or by group.

use axum::response::Response;
use maud::{Markup, html};

use super::{Fields, NAMED, Question, ask, authority, csrf, done, field, reason_field};
use crate::console::error::PageError;
use crate::console::layout::Section;
use crate::console::ui::{self, counted, number};
use crate::console::view::View;
use crate::engine::{Authority, DeadLetterGroup, DeadLetterGroupKey, Redrive};
use crate::http::{ApiError, RawPath, in_path};
use crate::store::{DeadLetterRecord, DeadLetterStatus};

/// Dead letters that one request resolves at most.
const AT_ONCE: usize = 1_000;

/// The buttons of a group of dead letters.
pub fn group_buttons(view: &View, group: &DeadLetterGroup) -> Markup {
    let to = |verb: &str| {
        ui::url(
            &format!("/dead-letter-groups/{verb}"),
            &[("reason", Some(&group.reason)), ("origin", Some(&group.origin))],
        )
    };
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
                    p { "The edited message is ingested as a new event, and this dead letter is resolved. If it is still not a valid event, nothing is changed." }
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

/// Redrives, edits or discards a dead letter.
pub async fn do_dead_letter(
    path: RawPath<(String, String)>,
    view: View,
    form: Fields,
) -> Result<Response, PageError> {
    let (id, verb) = in_path(path)?;
    let id: i64 = id.parse().map_err(|_| ApiError::NoSuchPath)?;
    let authority = authority(&view, &form)?;
    let page = format!("/dead-letters/{id}");
    let body = match verb.as_str() {
        "redrive" => None,
        // Browsers send line breaks as CR LF.
        "edit" => Some(field(&form, "body").replace("\r\n", "\n").into_bytes()),
        "discard" => {
            let is_known = discard(&view, &authority, id).await?;
            if !is_known {
                return Err(ApiError::UnknownDeadLetter(id).into());
            }
            return Ok(done(&view, &page, "discarded", 1));
        }
        _ => return Err(ApiError::NoSuchPath.into()),
    };
    let redriven = redrive(&view, &authority, id, body).await?;
    Ok(done(
        &view,
        &page,
        if redriven { "redriven" } else { "still-dead" },
        1,
    ))
}

/// Whether a dead letter is resolved by a redrive.
async fn redrive(
    view: &View,
    authority: &Authority,
    id: i64,
    body: Option<Vec<u8>>,
) -> Result<bool, PageError> {
    let authority = authority.clone();
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
        Redrive::Unknown => return Err(ApiError::UnknownDeadLetter(id).into()),
        Redrive::Done(_) => true,
        Redrive::Claimed | Redrive::Truncated => false,
        Redrive::Now(outcomes) => !crate::engine::is_still_dead(&outcomes),
    })
}

async fn discard(view: &View, authority: &Authority, id: i64) -> Result<bool, PageError> {
    let authority = authority.clone();
    view.run(move |engine| async move { engine.operator(&authority).discard_dead_letter(id).await })
        .await
}

fn group_of(reason: &str, origin: &str) -> Result<DeadLetterGroupKey, ApiError> {
    if reason.is_empty() || origin.is_empty() {
        return Err(ApiError::parameter("reason", "choose a group of dead letters"));
    }
    Ok(DeadLetterGroupKey {
        reason: reason.to_owned(),
        origin: origin.to_owned(),
    })
}

/// What an operator does to all dead letters of a group.
#[derive(Clone, Copy)]
enum GroupVerb {
    Redrive,
    Discard,
}

fn group_verb(path: RawPath<String>) -> Result<GroupVerb, ApiError> {
    match in_path(path)?.as_str() {
        "redrive" => Ok(GroupVerb::Redrive),
        "discard" => Ok(GroupVerb::Discard),
        _ => Err(ApiError::NoSuchPath),
    }
}

/// Asks back before all dead letters of a group are redriven or discarded.
pub async fn ask_group(path: RawPath<String>, view: View) -> Result<Response, PageError> {
    let verb = group_verb(path)?;
    let key = group_of(
        view.value("reason").unwrap_or_default(),
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
            what: html! { (word) " " b { (counted(count, "dead letter")) } " of " code { (key.origin) } ", reason " b { (key.reason) } @if dead_letters.len() == AT_ONCE { ". The first " (number(AT_ONCE)) " at once; repeat it for the others" } "." },
            names: names.collect(),
            count,
            action: format!("/dead-letter-groups/{}", word.to_lowercase()),
            hidden: vec![
                ("group", key.reason.clone()),
                ("origin", key.origin.clone()),
                ("count", count.to_string()),
            ],
            button,
            back: "/dead-letters",
        },
    ))
}

/// Redrives or discards all dead letters of a group.
pub async fn do_group(path: RawPath<String>, view: View, form: Fields) -> Result<Response, PageError> {
    let verb = group_verb(path)?;
    let authority = authority(&view, &form)?;
    let key = group_of(field(&form, "group"), field(&form, "origin"))?;
    // No more than was asked back: others may have arrived since.
    let count: usize = field(&form, "count")
        .parse()
        .map_err(|_| ApiError::parameter("count", "expected a number"))?;
    let dead_letters = view
        .run(move |engine| async move { engine.dead_letters_of_group(&key, 0, count.min(AT_ONCE)).await })
        .await?;
    let (mut resolved, mut failed) = (0, 0);
    for dead_letter in dead_letters {
        let id = dead_letter.id;
        let is_resolved = match verb {
            GroupVerb::Redrive => redrive(&view, &authority, id, None).await?,
            GroupVerb::Discard => discard(&view, &authority, id).await?,
        };
        if is_resolved { resolved += 1 } else { failed += 1 }
    }
    if failed > 0 {
        return Ok(done(&view, "/dead-letters", "still-dead", failed));
    }
    let what = match verb {
        GroupVerb::Redrive => "redriven",
        GroupVerb::Discard => "discarded",
    };
    Ok(done(&view, "/dead-letters", what, resolved))
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
