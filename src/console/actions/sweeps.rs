//! What an operator does to a sweep: run, confirm, pause, resume.

use std::time::Duration;

use axum::response::Response;
use axum::routing::get;
use maud::{Markup, html};
use tokio_util::sync::CancellationToken;

use super::{Fields, NAMED, Question, Route, ask, authority, done};
use crate::console::error::PageError;
use crate::console::layout::Section;
use crate::console::sweeps::purpose;
use crate::console::ui::{self, counted, words};
use crate::console::view::View;
use crate::domain::{ClientKey, Sweep};
use crate::engine::{Authority, SweepMode, SweepOptions, SweepReport, SweepState};
use crate::http::{ApiError, RawPath, in_path};
use crate::store::{HaltKind, RunStatus};

/// How long a page waits for a sweep. A longer one goes on, and its run shows how far it is.
const PATIENCE: Duration = Duration::from_secs(3);
/// Clients that a preview counts at most.
const PREVIEWED: usize = 10_000;

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

/// The routes of the actions on a sweep.
pub fn routes() -> impl IntoIterator<Item = Route> {
    [
        ("run", SweepVerb::Run),
        ("confirm", SweepVerb::Confirm),
        ("pause", SweepVerb::Pause),
        ("resume", SweepVerb::Resume),
    ]
    .map(|(word, verb)| {
        let ask = move |path: RawPath<String>, view: View| ask_sweep(path, view, verb);
        let act = move |path: RawPath<String>, view: View, form: Fields| do_sweep(path, view, form, verb);
        (format!("/sweeps/{{sweep}}/{word}"), get(ask).post(act))
    })
}

fn sweep_of(path: RawPath<String>) -> Result<Sweep, ApiError> {
    Sweep::from_name(&in_path(path)?).ok_or(ApiError::NoSuchPath)
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
        is_dangerous: matches!(verb, "run" | "confirm"),
        back: "/sweeps",
    }
}

/// Asks back before an action on a sweep.
async fn ask_sweep(path: RawPath<String>, view: View, verb: SweepVerb) -> Result<Response, PageError> {
    let sweep = sweep_of(path)?;
    let name = words(sweep.as_str());
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
            html! { "The sweep runs again at its next scheduled time." },
            "resume",
            "Resume",
        ),
        SweepVerb::Run | SweepVerb::Confirm => {
            let (preview, report) = preview(&view, sweep).await?;
            let clients = preview.clients as u64;
            let what = html! {
                @if clients == 0 { "Nothing is due: the sweep would change no client." }
                @else { "The sweep would change " b { (counted(clients, "client")) @if !preview.is_complete { " or more" } } " now. " (purpose(sweep)) }
                @if let Some(held_back) = &report.held_back { " It is held back, and more clients may be due: " (ui::prose(&held_back.to_string())) "." }
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
async fn do_sweep(
    path: RawPath<String>,
    view: View,
    form: Fields,
    verb: SweepVerb,
) -> Result<Response, PageError> {
    let sweep = sweep_of(path)?;
    let authority = authority(&view, &form)?;
    let back = "/sweeps";
    match verb {
        SweepVerb::Pause => {
            view.run(move |engine| async move { engine.operator(&authority).pause_sweep(sweep).await })
                .await?;
            Ok(done(&view, back, "paused", 0))
        }
        SweepVerb::Resume => {
            view.run(move |engine| async move { engine.operator(&authority).resume_sweep(sweep).await })
                .await?;
            Ok(done(&view, back, "resumed", 0))
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
        return Ok(done(view, back, "started", 0));
    };
    let report = report?;
    let what = match report.status() {
        RunStatus::Done => "ran",
        RunStatus::Tripped => "tripped",
        _ => "incomplete",
    };
    Ok(done(view, back, what, report.counts.changed))
}
