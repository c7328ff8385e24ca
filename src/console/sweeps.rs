//! The sweeps, their runs, and what each run changed.

use axum::response::Response;
use maud::{Markup, html};

use super::error::PageError;
use super::layout::{Frame, Section};
use super::overview::sweep_chip;
use super::ui::{self, Tone, chip, counted, number, title};
use super::view::View;
use crate::domain::Sweep;
use crate::engine::{JournalLine, NextRun, SweepState};
use crate::http::{ApiError, RawPath, number_in_path, place, read_place};
use crate::store::{AuditRecord, Halt, HaltKind, RunStatus, SweepRun};

const RUNS: u32 = 30;
const CHANGES: u32 = 100;

/// What a sweep does, in a sentence.
#[must_use]
pub fn purpose(sweep: Sweep) -> &'static str {
    match sweep {
        Sweep::AccessExpiry => "Expires access that no partner uses, after warnings.",
        Sweep::SubscriptionEnd => "Ends the subscriptions of archived and lost clients.",
        Sweep::TerminatedCleanup => "Removes the reports and margin rules of terminated clients.",
        Sweep::StalledInvitations => "Reports invitations that nobody has answered.",
        Sweep::RequestLapse => "Closes requests for access that nobody has answered.",
    }
}

/// What the status of the last run means, where its word does not say it.
fn meaning(status: RunStatus) -> Option<&'static str> {
    match status {
        RunStatus::Running | RunStatus::Done | RunStatus::Failed => None,
        RunStatus::HeldBack => Some(
            "It left timers that were due, because events that happened before them may still arrive. The next run looks again.",
        ),
        RunStatus::Tripped => Some(
            "More clients were due than the breaker allows at once. The breaker no longer stops the sweep: the next run tries again.",
        ),
        RunStatus::Stopped => {
            Some("A stop or a pause ended it before it was complete. The next run continues.")
        }
    }
}

/// The sweeps and their runs.
pub async fn list(mut view: View) -> Result<Response, PageError> {
    let sweep = view
        .params
        .choice("sweep", Sweep::ALL.map(|sweep| (sweep.as_str(), sweep)))?;
    let before = view.params.number("before", 0, i64::MAX)?.unwrap_or(i64::MAX);
    let console = view.console.clone();
    let (states, mut runs, pauses) = view
        .run(move |engine| async move {
            let states = engine.sweep_states(&console.schedules).await?;
            let runs = engine.store().runs_before(sweep, before, RUNS + 1).await?;
            let mut pauses = Vec::new();
            for state in states.iter().filter(|state| !state.halts.is_empty()) {
                pauses.extend(engine.last_sweep_pause(state.sweep).await?);
            }
            Ok((states, runs, pauses))
        })
        .await?;
    let pages = view.pages_of("before", &mut runs, RUNS as usize, |run| run.id.to_string());
    let content = html! {
        div.grid { @for state in &states { div.half { (card(&view, state, &pauses)) } } }
        (ui::table_card("Runs", &only(&view, sweep), &html! {
            @if runs.is_empty() {
                @match (&pages.first, sweep) {
                    (Some(first), _) => { (ui::no_other("run", first)) },
                    (None, Some(sweep)) => { (ui::nothing_matches(&format!("No run of {}", title(sweep.as_str())), "/sweeps")) },
                    (None, None) => { (ui::empty("No run yet", "A sweep runs on its schedule, and when somebody runs it.")) },
                }
            } @else {
                (runs_table(&view, &runs))
                (ui::pager(&counted(runs.len(), "run"), &pages))
            }
        }))
    };
    let frame = Frame {
        title: "Sweeps",
        section: Section::Sweeps,
        lead: Some(html! { "A sweep fires the timers that are due, and changes clients without an event." }),
        ..Frame::default()
    };
    Ok(view.page(frame, &content))
}

/// Links to the runs of one sweep.
fn only(view: &View, chosen: Option<Sweep>) -> Markup {
    html! {
        @if chosen.is_some() { a href=(view.with(&[("sweep", None), ("before", None)])) { "All" } } @else { b { "All" } }
        @for sweep in Sweep::ALL {
            " · "
            @if chosen == Some(sweep) { b { (title(sweep.as_str())) } }
            @else { a href=(view.with(&[("sweep", Some(sweep.as_str())), ("before", None)])) { (title(sweep.as_str())) } }
        }
    }
}

/// Who has paused a sweep.
fn paused_by(state: &SweepState, halt: &Halt, pauses: &[AuditRecord]) -> Option<String> {
    let is_of = |record: &&AuditRecord| {
        halt.kind == HaltKind::Paused
            && record.entry.at == halt.at
            && record.entry.target.as_deref() == Some(state.sweep.as_str())
    };
    pauses.iter().find(is_of).map(|record| record.entry.who.clone())
}

fn card(view: &View, state: &SweepState, pauses: &[AuditRecord]) -> Markup {
    html! {
        section.card id=(state.sweep) {
            header { h2 { (title(state.sweep.as_str())) } (sweep_chip(state)) }
            p.muted { (purpose(state.sweep)) }
            @if state.halts.is_empty() && state.held_back.is_none()
                && let Some(meaning) = state.last_run.as_ref().and_then(|run| meaning(run.status)) {
                p { b { "Last run: " } (meaning) }
            }
            @for halt in &state.halts {
                (ui::note(if halt.kind == HaltKind::Tripped { Tone::Bad } else { Tone::Attention }, &html! {
                    p { b { @if halt.kind == HaltKind::Tripped { "The breaker stopped it" } @else { "Paused" } } " " (ui::moment_and_ago(view.now, halt.at))
                        @if let Some(who) = paused_by(state, halt, pauses) { " by " b { (who) } ". " a href="/audit?action=sweep" { "Audit log" } } }
                    p { (ui::prose(&halt.why)) }
                }))
            }
            @if let Some(held_back) = &state.held_back { (ui::note(Tone::Attention, &html! { p { b { "Held back: " } (ui::prose(&held_back.to_string())) } })) }
            dl {
                dt { "Cron (UTC)" } dd { code { (state.cron) } }
                dt { "Next" } dd { @match state.next_run() {
                    NextRun::At(at) => { (ui::moment_and_distance(view.now, at)) },
                    NextRun::Waits(what) => { (what) },
                } }
                dt { "Last run" } dd { @match &state.last_run {
                    Some(run) => { a href={ "/sweeps/runs/" (run.id) } { (ui::moment_and_ago(view.now, run.started_at)) } ", changed " (counted(run.counts.changed, "client")) },
                    None => { "none yet" },
                } }
                dt { "Swept up to" } dd { (ui::optional_moment(state.last_done.as_ref().and_then(|run| run.upto))) }
            }
            (super::actions::sweep_buttons(view, state))
        }
    }
}

fn runs_table(view: &View, runs: &[SweepRun]) -> Markup {
    html! {
        div.scroll { table.rows {
            thead { tr { th { "Started" } th { "Sweep" } th { "State" } th.num { "Clients examined" } th.num { "Clients changed" } th.num { "Changes" } th { "Worker" } } }
            tbody { @for run in runs {
                tr data-row {
                    th scope="row" data-label="Started" { a href={ "/sweeps/runs/" (run.id) } { (ui::moment(run.started_at)) } " " span.muted { (ui::ago(view.now, run.started_at)) } }
                    td data-label="Sweep" { (title(run.sweep.as_str())) }
                    td data-label="State" { (chip(run.status.as_str())) }
                    td.num data-label="Clients examined" { (number(run.counts.examined)) }
                    td.num data-label="Clients changed" { (number(run.counts.changed)) }
                    td.num data-label="Changes" { (number(run.counts.changes)) }
                    td data-label="Worker" { span.id { (ui::breakable(&run.worker)) } }
                }
            } }
        } }
    }
}

/// A run, and the clients that it changed.
pub async fn run(path: RawPath<String>, mut view: View) -> Result<Response, PageError> {
    let id = number_in_path("run", path)?;
    let after = view.params.text("after")?;
    let after = after.map(|text| {
        read_place(&text).ok_or_else(|| ApiError::parameter("after", "expected `next` of the previous page"))
    });
    let after = after.transpose()?.unwrap_or_default();
    let (run, mut lines) = view
        .run(move |engine| async move {
            let store = engine.store();
            Ok((
                store.run(id).await?,
                store.run_changes(id, after, CHANGES + 1).await?,
            ))
        })
        .await?;
    let run = run.ok_or(ApiError::UnknownRun(id))?;
    let pages = view.pages_of("after", &mut lines, CHANGES as usize, |line| place(line.cursor));
    let lines: Vec<JournalLine> = lines.into_iter().map(JournalLine::from).collect();
    let content = html! {
        (run_card(&view, &run))
        (ui::table_card("Changes", &html! { (counted(run.counts.changes, "change")) }, &html! {
            @if lines.is_empty() {
                (ui::empty("No changes", "No timer was due, or retention has removed the lines of this run from the journal."))
            } @else {
                (changes_table(&lines))
                (ui::pager(&counted(lines.len(), "change"), &pages))
            }
        }))
    };
    let heading = format!("{}, {}", title(run.sweep.as_str()), ui::spelled(run.scheduled_at));
    let frame = Frame {
        title: &heading,
        heading: Some(html! { (title(run.sweep.as_str())) ", " (ui::inline_moment(run.scheduled_at)) }),
        section: Section::Sweeps,
        actions: Some(html! { a.button href={ "/sweeps?sweep=" (run.sweep) } { "All runs" } }),
        ..Frame::default()
    };
    Ok(view.page(frame, &content))
}

fn run_card(view: &View, run: &SweepRun) -> Markup {
    let took = run.finished_at.map(|at| at - run.started_at);
    ui::card(
        "Run",
        &html! {
            dl {
                dt { "State" } dd { (chip(run.status.as_str())) @if let Some(error) = &run.error { " " (ui::prose(error)) } }
                dt { "Scheduled for" } dd { (ui::moment(run.scheduled_at)) }
                dt { "Started" } dd { (ui::moment_and_ago(view.now, run.started_at)) " by " span.id { (ui::breakable(&run.worker)) } }
                @if let Some(took) = took { dt { "Took" } dd { @if took.num_seconds() < 1 { "less than a second" } @else { (ui::duration(took)) } } }
                dt { "Swept up to" } dd { (ui::optional_moment(run.upto)) }
                dt { "Clients" } dd { (number(run.counts.examined)) " examined, " (number(run.counts.changed)) " changed" @if run.counts.failed > 0 { ", " (number(run.counts.failed)) " failed" } }
            }
        },
    )
}

fn changes_table(lines: &[JournalLine]) -> Markup {
    html! {
        div.scroll { table.rows {
            thead { tr { th { "Client" } th { "Change" } th { "From" } th { "To" } th { "Took effect" } } }
            tbody { @for line in lines {
                tr data-row {
                    th scope="row" data-label="Client" { (ui::client_link(&line.subject)) }
                    td data-label="Change" { code { (line.kind) } @if let Some(id) = &line.id { " " span.id { (ui::breakable(id)) } } }
                    td data-label="From" { (line.from.as_deref().map(super::story::readable).unwrap_or_default()) }
                    td data-label="To" { (line.to.as_deref().map(super::story::readable).unwrap_or_default()) }
                    td data-label="Took effect" { @match chrono::DateTime::parse_from_rfc3339(&line.time) { Ok(at) => { (ui::moment(at.to_utc())) }, Err(_) => { (line.time) } } }
                }
            } }
        } }
    }
}
