//! What an operator can start: each action asks back in words, with the number and the first names, and wants a reason.

use std::time::Duration;

use axum::extract::Form;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use tokio_util::sync::CancellationToken;

use super::error::PageError;
use super::health::SweepState;
use super::layout::{Frame, Section};
use super::ui::{self, Tone, counted, number, sentence, title};
use super::view::View;
use crate::config::changed_policy;
use crate::domain::statement::Closer;
use crate::domain::{ClientKey, Month, Sweep};
use crate::engine::{
    Adoption, Authority, CloseRequest, DeadLetterGroup, DeadLetterGroupKey, Redrive, SweepMode, SweepOptions,
    SweepReport,
};
use crate::http::{ApiError, RawPath, month};
use crate::store::{ClosingStatus, DeadLetterRecord, DeadLetterStatus, HaltKind, RunStatus};

/// How long a page waits for a sweep. A longer one goes on, and its run shows how far it is.
const PATIENCE: Duration = Duration::from_secs(3);
/// Clients that a preview counts at most.
const PREVIEWED: usize = 10_000;
/// Names that a confirmation shows.
const NAMED: usize = 5;
/// Dead letters that one request resolves at most.
const AT_ONCE: usize = 1_000;
/// Longest reason, in characters.
const LONGEST_REASON: usize = 500;
/// Clients that one request closes at most, as over HTTP.
const CLOSED_AT_A_TIME: u64 = 2_000;

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
        back,
    } = question;
    let more = count.saturating_sub(names.len() as u64);
    let content = html! {
        section.card {
            form.confirm method="post" action=(action) {
                p { (what) }
                @if !names.is_empty() {
                    ul { @for name in &names { li { (name) } } @if more > 0 { li.muted { "and " (number(i64::try_from(more).unwrap_or(i64::MAX))) " more" } } }
                }
                (csrf(view))
                @for (name, value) in &hidden { input type="hidden" name=(name) value=(value); }
                (reason_field())
                div.buttons {
                    button.primary type="submit" { (button) }
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
fn done(path: &str, done: &str, count: i64) -> Response {
    let count = count.to_string();
    Redirect::to(&ui::url(path, &[("did", Some(done)), ("n", Some(&count))])).into_response()
}

/// What was done, in a sentence. A page shows nothing else, so that no link puts other words into it.
#[must_use]
pub fn said(done: &str, count: i64) -> Option<(Tone, String)> {
    let (tone, text) = match done {
        "paused" => (Tone::Good, "The sweep is paused. It does nothing until somebody resumes it.".into()),
        "resumed" => (Tone::Good, "The sweep is resumed. It runs again from its next tick.".into()),
        "ran" => (Tone::Good, format!("The sweep ran and changed {}.", counted(count, "client"))),
        "started" => (Tone::Neutral, "The sweep is running. Its run shows how far it is.".into()),
        "tripped" => (Tone::Bad, "The breaker stopped the sweep before it changed anything.".into()),
        "incomplete" => (Tone::Attention, format!("The sweep changed {}, and is not complete. Its run says why.", counted(count, "client"))),
        "redriven" => (Tone::Good, format!("{} redriven.", counted(count, "dead letter"))),
        "still-dead" => (Tone::Attention, format!("{} could not be redriven. Its last outcome says why.", counted(count, "dead letter"))),
        "discarded" => (Tone::Good, format!("{} discarded.", counted(count, "dead letter"))),
        "closed" => (Tone::Good, format!("The month is closed, with {}.", counted(count, "client"))),
        "closing" => (Tone::Neutral, format!("The closing is in progress, with {} so far. Close the month again to continue.", counted(count, "client"))),
        "adopted" => (Tone::Good, "The policy is recorded, and takes effect in a moment. Change the settings of the workers too, or their next start proposes those again.".into()),
        "known" => (Tone::Neutral, "That is the latest policy already.".into()),
        _ => return None,
    };
    Some((tone, text))
}

// Sweeps

/// The buttons of a sweep.
pub fn sweep_buttons(view: &View, state: &SweepState) -> Markup {
    let has = |kind| state.halts.iter().any(|halt| halt.kind == kind);
    let to = |verb: &str| format!("/sweeps/{}/{verb}", state.sweep);
    html! {
        @if view.may_operate() {
            p.chips {
                @if has(HaltKind::Tripped) { a.button.danger href=(to("confirm")) { "See and confirm" } }
                @else { a.button href=(to("run")) { "Preview and run" } }
                @if has(HaltKind::Paused) { a.button href=(to("resume")) { "Resume" } } @else { a.button href=(to("pause")) { "Pause" } }
            }
        }
    }
}

/// What an operator does to a sweep.
#[derive(Clone, Copy)]
enum SweepVerb {
    Run,
    Confirm,
    Pause,
    Resume,
}

fn sweep_and_verb(path: RawPath<(String, String)>) -> Result<(Sweep, SweepVerb), ApiError> {
    let (sweep, verb) = path
        .map_err(|error| ApiError::parameter("path", error.body_text()))?
        .0;
    let sweep = Sweep::from_name(&sweep).ok_or(ApiError::NoSuchPath)?;
    let verb = match verb.as_str() {
        "run" => SweepVerb::Run,
        "confirm" => SweepVerb::Confirm,
        "pause" => SweepVerb::Pause,
        "resume" => SweepVerb::Resume,
        _ => return Err(ApiError::NoSuchPath),
    };
    Ok((sweep, verb))
}

/// What a sweep would change now.
struct Preview {
    names: Vec<ClientKey>,
    clients: usize,
    is_complete: bool,
}

async fn preview(view: &View, sweep: Sweep) -> Result<(Preview, SweepReport), PageError> {
    view.run(move |engine| async move {
        let stop = CancellationToken::new();
        let options = SweepOptions {
            stop: stop.clone(),
            ..SweepOptions::new(SweepMode::DryRun)
        };
        let mut preview = Preview {
            names: Vec::new(),
            clients: 0,
            is_complete: true,
        };
        let report = engine
            .sweep(sweep, options, |chunk| {
                let room = NAMED.saturating_sub(preview.names.len());
                preview
                    .names
                    .extend(chunk.iter().take(room).map(|(key, _)| key.clone()));
                preview.clients += chunk.len();
                if preview.clients >= PREVIEWED {
                    preview.is_complete = false;
                    stop.cancel();
                }
            })
            .await?;
        Ok((preview, report))
    })
    .await
}

fn sweep_question<'a>(
    sweep: Sweep,
    title: String,
    what: Markup,
    verb: &str,
    button: &'a str,
) -> Question<'a> {
    Question {
        title,
        section: Section::Sweeps,
        what,
        names: Vec::new(),
        count: 0,
        action: format!("/sweeps/{sweep}/{verb}"),
        hidden: Vec::new(),
        button,
        back: "/sweeps",
    }
}

/// Asks back before an action on a sweep.
pub async fn ask_sweep(path: RawPath<(String, String)>, view: View) -> Result<Response, PageError> {
    let (sweep, verb) = sweep_and_verb(path)?;
    let name = title(sweep.as_str());
    let question = match verb {
        SweepVerb::Pause => sweep_question(
            sweep,
            format!("Pause {name}"),
            html! { "From its next chunk on, the sweep changes nothing until somebody resumes it. Timers that become due wait." },
            "pause",
            "Pause",
        ),
        SweepVerb::Resume => sweep_question(
            sweep,
            format!("Resume {name}"),
            html! { "The sweep runs again from its next tick." },
            "resume",
            "Resume",
        ),
        SweepVerb::Run | SweepVerb::Confirm => {
            let (preview, report) = preview(&view, sweep).await?;
            let clients = preview.clients as u64;
            let what = html! {
                @if clients == 0 { "Nothing is due: the sweep would change no client." }
                @else { "The sweep would change " b { (counted(clients, "client")) @if !preview.is_complete { " or more" } } " now. " (super::sweeps::purpose(sweep)) }
                @if let Some(held_back) = &report.held_back { " It is held back, and more clients may be due: " (held_back) }
                @if matches!(verb, SweepVerb::Confirm) { " The breaker stopped it because that is more than it may change at once." }
            };
            let (title, path, button) = match verb {
                SweepVerb::Confirm => (format!("Confirm {name}"), "confirm", "Confirm and run"),
                _ => (format!("Run {name}"), "run", "Run"),
            };
            Question {
                names: preview
                    .names
                    .iter()
                    .map(|key| ui::client_link(&key.to_string()))
                    .collect(),
                count: clients,
                ..sweep_question(sweep, title, what, path, button)
            }
        }
    };
    Ok(ask(&view, question))
}

/// Does what [`ask_sweep`] has asked.
pub async fn do_sweep(
    path: RawPath<(String, String)>,
    view: View,
    form: Fields,
) -> Result<Response, PageError> {
    let (sweep, verb) = sweep_and_verb(path)?;
    let authority = authority(&view, &form)?;
    let back = "/sweeps";
    match verb {
        SweepVerb::Pause => {
            view.run(move |engine| async move { engine.operator(&authority).pause_sweep(sweep).await })
                .await?;
            Ok(done(back, "paused", 0))
        }
        SweepVerb::Resume => {
            view.run(move |engine| async move { engine.operator(&authority).resume_sweep(sweep).await })
                .await?;
            Ok(done(back, "resumed", 0))
        }
        SweepVerb::Run => run_sweep(&view, authority, sweep, SweepMode::ByHand).await,
        SweepVerb::Confirm => run_sweep(&view, authority, sweep, SweepMode::Confirmed).await,
    }
}

async fn run_sweep(
    view: &View,
    authority: Authority,
    sweep: Sweep,
    mode: SweepMode,
) -> Result<Response, PageError> {
    let options = SweepOptions {
        worker: format!("console-{}", view.principal.name),
        ..SweepOptions::new(mode)
    };
    let running = view
        .run(move |engine| async move { engine.operator(&authority).sweep(sweep, options, |_| {}).await });
    let back = "/sweeps";
    let Ok(report) = tokio::time::timeout(PATIENCE, running).await else {
        return Ok(done(back, "started", 0));
    };
    let report = report?;
    let what = match report.status() {
        RunStatus::Done => "ran",
        RunStatus::Tripped => "tripped",
        _ => "incomplete",
    };
    Ok(done(back, what, report.counts.changed))
}

// Dead letters

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
pub fn letter_forms(view: &View, record: &DeadLetterRecord) -> Markup {
    if !view.may_operate() || record.status != DeadLetterStatus::Open {
        return html! {};
    }
    let to = |verb: &str| format!("/dead-letters/{}/{verb}", record.id);
    let text = std::str::from_utf8(&record.dead_letter.body)
        .ok()
        .filter(|_| !record.is_truncated());
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

/// Redrives, edits or discards a dead letter.
pub async fn do_letter(
    path: RawPath<(String, String)>,
    view: View,
    form: Fields,
) -> Result<Response, PageError> {
    let (id, verb) = path
        .map_err(|error| ApiError::parameter("path", error.body_text()))?
        .0;
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
            return Ok(done(&page, "discarded", 1));
        }
        _ => return Err(ApiError::NoSuchPath.into()),
    };
    let redriven = redrive(&view, &authority, id, body).await?;
    Ok(done(&page, if redriven { "redriven" } else { "still-dead" }, 1))
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

/// Asks back before all dead letters of a group are redriven or discarded.
pub async fn ask_group(path: RawPath<String>, view: View) -> Result<Response, PageError> {
    let verb = path
        .map_err(|error| ApiError::parameter("path", error.body_text()))?
        .0;
    let key = group_of(
        view.value("reason").unwrap_or_default(),
        view.value("origin").unwrap_or_default(),
    )?;
    let of = key.clone();
    let letters = view
        .run(move |engine| async move { engine.dead_letters_of_group(&of, 0, AT_ONCE).await })
        .await?;
    let count = letters.len() as u64;
    let (word, button) = match verb.as_str() {
        "redrive" => ("Redrive", "Redrive all"),
        "discard" => ("Discard", "Discard all"),
        _ => return Err(ApiError::NoSuchPath.into()),
    };
    let names = letters.iter().take(NAMED).map(|letter| html! { a href={ "/dead-letters/" (letter.id) } { "Dead letter " (letter.id) } ": " (letter.reason) });
    Ok(ask(
        &view,
        Question {
            title: format!("{word} {}", counted(count, "dead letter")),
            section: Section::DeadLetters,
            what: html! { (word) " " b { (counted(count, "dead letter")) } " of " code { (key.origin) } ", reason " b { (key.reason) } @if letters.len() == AT_ONCE { ". The first " (number(i64::try_from(AT_ONCE).unwrap_or(i64::MAX))) " at once; repeat it for the others" } "." },
            names: names.collect(),
            count,
            action: format!("/dead-letter-groups/{verb}"),
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
    let verb = path
        .map_err(|error| ApiError::parameter("path", error.body_text()))?
        .0;
    let authority = authority(&view, &form)?;
    let key = group_of(field(&form, "group"), field(&form, "origin"))?;
    // No more than was asked back: others may have arrived since.
    let count: usize = field(&form, "count")
        .parse()
        .map_err(|_| ApiError::parameter("count", "expected a number"))?;
    let letters = view
        .run(move |engine| async move { engine.dead_letters_of_group(&key, 0, count.min(AT_ONCE)).await })
        .await?;
    let (mut resolved, mut failed) = (0, 0);
    for letter in letters {
        let id = letter.id;
        let is_resolved = match verb.as_str() {
            "redrive" => redrive(&view, &authority, id, None).await?,
            "discard" => discard(&view, &authority, id).await?,
            _ => return Err(ApiError::NoSuchPath.into()),
        };
        if is_resolved { resolved += 1 } else { failed += 1 }
    }
    let what = match verb.as_str() {
        _ if failed > 0 => return Ok(done("/dead-letters", "still-dead", failed)),
        "discard" => "discarded",
        _ => "redriven",
    };
    Ok(done("/dead-letters", what, resolved))
}

// Statements

/// The button that closes a month.
pub fn close_form(view: &View, month: Month) -> Markup {
    html! { @if view.may_operate() { p.chips { a.button.primary href={ "/statements/" (month) "/close" } { "Close this month" } } } }
}

/// Asks back before a month is closed.
pub async fn ask_close(path: RawPath<String>, view: View) -> Result<Response, PageError> {
    let month = month(path)?;
    let name = ui::month_name(month.start().date_naive());
    let back = format!("/statements/{month}");
    let is_confirmed = view.value("confirm").is_some();
    Ok(ask(
        &view,
        Question {
            title: format!("Close {name}"),
            section: Section::Statements,
            what: html! {
                "The days of every client in " b { (name) } " are fixed, for all partners. That cannot be undone: what is known later becomes an adjustment of a later month."
                @if is_confirmed { " Events of the month may still arrive, or nothing happened by its end: closing it means that this is known." }
            },
            names: Vec::new(),
            count: 0,
            action: format!("/statements/{month}/close"),
            hidden: if is_confirmed {
                vec![("confirm", "true".into())]
            } else {
                Vec::new()
            },
            button: "Close the month",
            back: &back,
        },
    ))
}

/// Closes a month, or continues.
pub async fn do_close(path: RawPath<String>, view: View, form: Fields) -> Result<Response, PageError> {
    let month = month(path)?;
    let authority = authority(&view, &form)?;
    let by: Closer = view
        .principal
        .name
        .parse()
        .map_err(|error| ApiError::parameter("by", error))?;
    let request = CloseRequest {
        month,
        by,
        confirmed: field(&form, "confirm") == "true",
        most: Some(CLOSED_AT_A_TIME),
    };
    let closing =
        view.run(move |engine| async move {
            Ok(engine.operator(&authority).close_month(&request, |_, _| {}).await)
        })
        .await?;
    let closing = match closing {
        Ok(closing) => closing,
        Err(
            error @ (crate::engine::StatementError::EventsMayArrive { .. }
            | crate::engine::StatementError::BeforeFirstEvent { .. }),
        ) => {
            return Ok(needs_confirmation(&view, month, &error.to_string()));
        }
        Err(error) => return Err(error.into()),
    };
    let what = match closing.status {
        ClosingStatus::Closed => "closed",
        ClosingStatus::InProgress => "closing",
    };
    Ok(done(&format!("/statements/{month}"), what, closing.statements))
}

fn needs_confirmation(view: &View, month: Month, why: &str) -> Response {
    let content = html! {
        (ui::note(Tone::Attention, &html! { p { b { "The month is not closed. " } (sentence(why)) } }))
        p.chips { a.button href={ "/statements/" (month) "/close?confirm=true" } { "Close it all the same" } a.button href={ "/statements/" (month) } { "Back" } }
    };
    view.page(
        Frame {
            title: "Close a month",
            section: Section::Statements,
            ..Frame::default()
        },
        &content,
    )
}

// Policy

/// The form that puts a compared policy into force.
pub fn adopt_form(view: &View, changes: &[String]) -> Markup {
    html! {
        @if view.may_operate() {
            form method="get" action="/policy/adopt" {
                @for change in changes { input type="hidden" name="set" value=(change); }
                button.danger type="submit" { "Put it into force" }
            }
        }
    }
}

/// Asks back before a policy is put into force, with whom it changes at once.
pub async fn ask_adopt(mut view: View) -> Result<Response, PageError> {
    let changes = view.params.texts("set");
    let latest = view
        .run(|engine| async move { engine.latest_policy().await })
        .await?;
    let policy =
        changed_policy(&latest, &changes, "the form").map_err(|error| ApiError::parameter("set", error))?;
    let notice = view.console.notice;
    let impact = view
        .run(move |engine| async move {
            match engine.policy_change(&policy, notice).await? {
                Some(change) => Ok(Some(engine.policy_impact(&change).await?)),
                None => Ok(None),
            }
        })
        .await?;
    let Some(impact) = impact else {
        return Ok(done("/policy", "known", 0));
    };
    let names = impact
        .first
        .iter()
        .take(NAMED)
        .map(|key| ui::client_link(&key.to_string()));
    Ok(ask(
        &view,
        Question {
            title: "Put the policy into force".into(),
            section: Section::Policy,
            what: html! {
                "With " @for (place, change) in changes.iter().enumerate() { @if place > 0 { ", " } code { (change) } }
                ", a timer of " b { (counted(impact.changed, "client")) } " of " (number(i64::try_from(impact.population).unwrap_or(i64::MAX))) " is overdue at once."
                @if impact.exceeds { " That is more than the breaker allows without a confirmation: this is the confirmation." }
            },
            names: names.collect(),
            count: impact.changed,
            action: "/policy/adopt".into(),
            hidden: changes.iter().map(|change| ("set", change.clone())).collect(),
            button: "Put it into force",
            back: "/what-if",
        },
    ))
}

/// Puts a policy into force.
pub async fn do_adopt(view: View, form: Fields) -> Result<Response, PageError> {
    let authority = authority(&view, &form)?;
    let changes: Vec<String> = form
        .0
        .iter()
        .filter(|(name, _)| name == "set")
        .map(|(_, value)| value.clone())
        .collect();
    let latest = view
        .run(|engine| async move { engine.latest_policy().await })
        .await?;
    let policy =
        changed_policy(&latest, &changes, "the form").map_err(|error| ApiError::parameter("set", error))?;
    let notice = view.console.notice;
    let adoption = view
        .run(move |engine| async move {
            let adoption = engine.operator(&authority).apply_policy(&policy, notice).await?;
            // Deadlines are computed in the background by every worker; this one begins at once.
            let backfilling = engine.clone();
            tokio::spawn(async move {
                if let Err(error) = crate::worker::backfill_everywhere(&backfilling, &CancellationToken::new()).await {
                    tracing::warn!(%error, "the deadlines of a new policy are not computed yet; a worker tries again");
                }
            });
            Ok(adoption)
        })
        .await?;
    Ok(done(
        "/policy",
        if matches!(adoption, Adoption::Known) {
            "known"
        } else {
            "adopted"
        },
        0,
    ))
}
