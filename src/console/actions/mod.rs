//! What an operator can start: each action asks back in words, with the number and the first names, and wants a reason.

mod dead_letters;
mod policy;
mod statements;
mod sweeps;
mod webhooks;
mod workers;

use std::sync::Arc;

use axum::extract::Form;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::MethodRouter;
use maud::{Markup, html};

pub use dead_letters::{dead_letter_forms, group_buttons, routes as dead_letter_routes};
pub use policy::{adopt_form, ask_adopt, do_adopt};
pub use statements::{ask_close, close_form, do_close};
pub use sweeps::{routes as sweep_routes, sweep_buttons};
pub use webhooks::{endpoint_buttons, routes as webhook_routes};
pub use workers::{ask_worker, do_worker, worker_button};

use super::layout::{Frame, Section};
use super::ui::{self, Tone, counted, number};
use super::view::View;
use crate::engine::Authority;
use crate::http::{Api, ApiError};

/// The path of an action, with its methods.
pub type Route = (String, MethodRouter<Arc<Api>>);

/// Names that a confirmation shows.
const NAMED: usize = 5;
/// Longest reason, in characters.
const LONGEST_REASON: usize = 500;

/// The fields of a form.
pub type Fields = Form<Vec<(String, String)>>;

fn field<'a>(form: &'a Fields, name: &str) -> &'a str {
    let mut fields = form.0.iter();
    fields
        .find(|(given, _)| given == name)
        .map_or("", |(_, value)| value.trim())
}

/// Why the operator does it.
fn reason(form: &Fields) -> Result<String, ApiError> {
    let reason = field(form, "reason");
    if reason.is_empty() || reason.chars().count() > LONGEST_REASON {
        let expected = format!("say why, in 1 to {LONGEST_REASON} characters");
        return Err(ApiError::parameter("reason", expected));
    }
    Ok(reason.to_owned())
}

/// Who does it, and why.
fn authority(view: &View, form: &Fields) -> Result<Authority, ApiError> {
    Ok(view.principal.authority(Some(reason(form)?)))
}

/// A question before an action.
struct Question<'a> {
    title: String,
    section: Section,
    /// What will happen, in a sentence with the number.
    what: Markup,
    /// The first names, and how many there are.
    names: Vec<Markup>,
    count: u64,
    /// Where the form goes.
    action: String,
    /// Fields that the form repeats.
    hidden: Vec<(&'a str, String)>,
    button: &'a str,
    /// Whether the button looks dangerous: what it does cannot be undone, or changes clients at once.
    is_dangerous: bool,
    back: &'a str,
}

fn ask(view: &View, question: Question<'_>) -> Response {
    let Question {
        title,
        section,
        what,
        names,
        count,
        action,
        hidden,
        button,
        is_dangerous,
        back,
    } = question;
    let more = count.saturating_sub(names.len() as u64);
    let content = html! {
        section.card {
            form.confirm method="post" action=(action) {
                p { (what) }
                @if !names.is_empty() {
                    ul { @for name in &names { li { (name) } } @if more > 0 { li.muted { "and " (number(more)) " more" } } }
                }
                (csrf(view))
                @for (name, value) in &hidden { input type="hidden" name=(name) value=(value); }
                (reason_field())
                div.buttons {
                    button class=(if is_dangerous { "danger" } else { "primary" }) type="submit" { (button) }
                    a.button href=(back) { "Cancel" }
                }
            }
        }
    };
    let frame = Frame {
        title: &title,
        section,
        ..Frame::default()
    };
    view.page(frame, &content)
}

fn csrf(view: &View) -> Markup {
    html! { input type="hidden" name="csrf" value=(view.principal.csrf()); }
}

fn reason_field() -> Markup {
    html! { label.field { "Why? The audit log shows it." input type="text" name="reason" required maxlength=(LONGEST_REASON) autocomplete="off"; } }
}

/// Goes back to a page, which says what was done. `done` is one of [`said`].
fn done(view: &View, path: &str, done: &str, count: i64) -> Response {
    done_all(view, path, [(done, count)])
}

/// As [`done`], of several things.
fn done_all<'d>(view: &View, path: &str, done: impl IntoIterator<Item = (&'d str, i64)>) -> Response {
    view.console.summary.forget();
    let mut url = path.to_owned();
    for (done, count) in done {
        url = ui::url(&url, &[("did", Some(done)), ("n", Some(&count.to_string()))]);
    }
    Redirect::to(&url).into_response()
}

/// What was done, in a sentence. A page shows nothing else, so that no link puts other words into it.
#[must_use]
pub fn said(done: &str, count: i64) -> Option<(Tone, String)> {
    let (tone, text) = match done {
        "paused" => (Tone::Good, "The sweep is paused. It does nothing until somebody resumes it.".into()),
        "resumed" => (Tone::Good, "The sweep is resumed. It runs again at its next scheduled time.".into()),
        "ran" => (Tone::Good, format!("The sweep ran and changed {}.", counted(count, "client"))),
        "started" => (Tone::Neutral, "The sweep is running. The page of its run shows the progress.".into()),
        "tripped" => (Tone::Bad, "The breaker stopped the sweep. Its run shows whether it had changed anything.".into()),
        "incomplete" => (Tone::Attention, format!("The sweep changed {}, and is not complete. Its run says why.", counted(count, "client"))),
        "redriven" => (Tone::Good, format!("{} redriven.", counted(count, "dead letter"))),
        "still-dead" => (Tone::Attention, format!("{} could not be redriven. The last redrive says why.", counted(count, "dead letter"))),
        "redriven-before" => (Tone::Neutral, format!("{} had been redriven before. The last redrive says what became of that.", counted(count, "dead letter"))),
        "edit-too-late" => (Tone::Attention, "The edited message was not ingested: the dead letter had been redriven before, and its last redrive says what became of that. If the edited event is still needed, publish it.".into()),
        "redrive-in-progress" => (Tone::Attention, format!("{} not redriven: another process is redriving at this moment. Look again in a minute.", counted(count, "dead letter"))),
        "discarded-meanwhile" => (Tone::Attention, format!("{} not redriven: discarded by somebody while another process was redriving. If the event is still needed, `tenure dead redrive` ingests it in a minute.", counted(count, "dead letter"))),
        "truncated" => (Tone::Attention, format!("{} not redriven: too long to be stored whole. Ask the sender to send the event again, then discard the dead letter.", counted(count, "dead letter"))),
        "dead-letter-unknown" => (Tone::Attention, format!("{} not found: removed meanwhile.", counted(count, "dead letter"))),
        "group-empty" => (Tone::Neutral, "The group no longer has an open dead letter. Nothing was changed.".into()),
        "discarded" => (Tone::Good, format!("{} discarded.", counted(count, "dead letter"))),
        "discarded-before" => (Tone::Neutral, format!("{} had been discarded before. The details say when.", counted(count, "dead letter"))),
        "discard-too-late" => (Tone::Attention, format!("{} not discarded: redriven before. The details say when, and with which outcome.", counted(count, "dead letter"))),
        "closed" => (Tone::Good, format!("The month is closed, with {}.", counted(count, "client"))),
        "closing" => (Tone::Neutral, format!("The closing is in progress, with {} so far. Close the month again to continue.", counted(count, "client"))),
        "endpoint-paused" => (Tone::Good, "The endpoint is paused. Tenure sends it nothing until somebody resumes it.".into()),
        "endpoint-resumed" => (Tone::Good, "The endpoint is resumed, and continues at its cursor.".into()),
        "worker-removed" => (Tone::Good, "The worker is removed from the list.".into()),
        "adopted" => (Tone::Good, "The policy is recorded, and takes effect in a moment. Change the settings of the workers too. Otherwise their next start proposes the old values again.".into()),
        "known" => (Tone::Neutral, "That is the latest policy already.".into()),
        _ => return None,
    };
    Some((tone, text))
}
