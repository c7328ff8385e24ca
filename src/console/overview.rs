//! The overview: is all well, and if not, which part and what to do.

use std::time::Duration;

use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, NaiveDate, Utc};
use maud::{Markup, html};

use super::charts::{self, Bars, Series};
use super::error::PageError;
use super::health::{self, Summary};
use super::layout::{Frame, Section};
use super::live;
use super::remembered::Remembered;
use super::ui::{self, Tone, chip, chip_of, counted, counted_as, number, title, words};
use super::view::View;
use crate::engine::{self, ExpiryCounts, NextRun, RefusalCounts, SweepState, WorkerStatus, tone_of};
use crate::store::MinuteCounts;

/// The first rows of a list that a card shows.
const FIRST: usize = 6;
/// How long expiries are reused.
const EXPIRIES_FRESH_FOR: Duration = Duration::from_mins(5);

/// The accesses that expire, by day.
pub type Expiries = Remembered<(), ExpiryCounts>;

/// Counts the accesses that expire, unless they were counted within minutes.
pub async fn expiries(view: &View) -> Option<ExpiryCounts> {
    let engine = view.engine.clone();
    let counting = async move {
        let counted = engine.count_expiries().await;
        counted
            .inspect_err(|error| tracing::warn!(%error, "cannot count the accesses that expire"))
            .ok()
    };
    view.console.expiries.get((), EXPIRIES_FRESH_FOR, counting).await
}

/// The overview. It is about all partners: a reader who may see only some begins with their clients.
pub async fn show(mut view: View) -> Result<Response, PageError> {
    if view.only_partner().is_some() {
        return Ok(Redirect::to(&view.clients_url()).into_response());
    }
    let is_day = view
        .params
        .choice("span", [("hour", false), ("day", true)])?
        .unwrap_or(false);
    let summary = view.console.summary.get(&view.api, &view.console).await?;
    let expiries = expiries(&view).await;
    let refusals = view
        .run(|engine| async move { engine.count_refusals().await })
        .await?;
    let day = if is_day {
        Some(
            view.run(|engine| async move { engine.activity(96, 15).await })
                .await?,
        )
    } else {
        None
    };
    let content = html! {
        (verdict(&summary))
        (figures(&summary, expiries.as_ref()))
        (activity(day.as_ref().unwrap_or(&summary.hour), is_day))
        div.grid {
            div.two-thirds { (sweeps_card(&summary)) }
            div.third { (worker_card(&summary)) (flow_card(&summary)) }
            div.half { (dead_letters_card(&summary)) }
            div.half { (refusals_card(&refusals)) }
        }
        (workers_card(&view, &summary))
        (expiries_card(view.now, expiries.as_ref()))
    };
    let frame = Frame {
        title: "Overview",
        section: Section::Overview,
        is_live: true,
        ..Frame::default()
    };
    Ok(view.page(frame, &content))
}

/// A sentence and a colour for the state of everything.
fn verdict(summary: &Summary) -> Markup {
    let issues = summary.issues();
    let tone = tone_of(&issues);
    html! {
        section class={ "verdict " (tone.class()) } data-issues=(summary.issues_digest()) aria-label="State" {
            (mark(tone))
            strong { (engine::verdict(&issues)) }
            @if !issues.is_empty() {
                ul { @for issue in &issues {
                    li { a href=(health::url(&issue.part)) { b { (ui::prose(&issue.what)) } } span { (ui::prose(&issue.then)) } }
                } }
            }
        }
    }
}

fn mark(tone: Tone) -> Markup {
    html! {
        svg viewBox="0 0 28 28" fill="none" stroke="currentColor" stroke-width="2.5" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" {
            @match tone {
                Tone::Good | Tone::Neutral => { circle cx="14" cy="14" r="11" {} path d="M9 14.5l3.5 3.5 7-8" {} },
                Tone::Attention => { path d="M14 3.5L25.5 24h-23z" {} path d="M14 11v6" {} path d="M14 20.5v.1" {} },
                Tone::Bad => { circle cx="14" cy="14" r="11" {} path d="M10 10l8 8M18 10l-8 8" {} },
            }
        }
    }
}

/// A figure with its name, and what stands below it.
fn figure(name: &str, live: &str, value: &str, url: &str, below: &Markup) -> Markup {
    html! {
        a.figure href=(url) {
            span { (name) }
            b data-live=(live) { (value) }
            (below)
        }
    }
}

/// The counts of the last hour, each with its line, and the numbers of now, which have none: the store does not say what they were.
fn figures(summary: &Summary, expiries: Option<&ExpiryCounts>) -> Markup {
    let spark = |of: fn(&MinuteCounts) -> u64, class| {
        let values: Vec<u64> = summary.hour.iter().map(|(_, counts)| of(counts)).collect();
        charts::sparkline(&values, class)
    };
    let current = live::figures(summary);
    let value = |name: &str| current.get(name).map_or("–", String::as_str);
    let note = |name: &str| html! { span.below data-live=(name) { (value(name)) } };
    html! {
        section.figures aria-label="Figures" {
            (figure("Events, last hour", "events", value("events"), "/sources", &spark(MinuteCounts::events, 1)))
            (figure("Changes, last hour", "changes", value("changes"), "/sources", &spark(|counts| counts.changes.total(), 6)))
            (figure("Refused, last hour", "refused", value("refused"), "/refusals", &spark(|counts| counts.refused, 3)))
            (figure("Open dead letters", "dead-letters", value("dead-letters"), "/dead-letters", &note("dead-letters-note")))
            (figure("Unpublished", "backlog", value("backlog"), "/sources", &note("backlog-note")))
            (figure("Expiring accesses", "expiring", &live::expiring(expiries), "/forecast", &html! { span.below { "in the next 30 days" } }))
        }
    }
}

/// What one step of a chart counts.
type Count = fn(&MinuteCounts) -> u64;

/// The outcomes of events, and the causes of changes, with their colours.
const OUTCOMES: [(&str, u8, Count); 5] = [
    ("applied", 1, |counts| counts.applied),
    ("duplicate", 2, |counts| counts.duplicate),
    ("refused", 3, |counts| counts.refused),
    ("deferred", 5, |counts| counts.deferred),
    ("dead letter", 4, |counts| counts.dead),
];
const CAUSES: [(&str, u8, Count); 3] = [
    ("event", 6, |counts| counts.changes.by_event),
    ("timer", 5, |counts| counts.changes.by_timer),
    ("correction", 3, |counts| counts.changes.corrections),
];

/// Events and changes over the last hour, or over the last day by steps of a quarter of an hour.
fn activity(steps: &[(DateTime<Utc>, MinuteCounts)], is_day: bool) -> Markup {
    let (unit, span) = if is_day {
        ("per quarter of an hour", "the last day")
    } else {
        ("per minute", "the last hour")
    };
    let chart = |what: &str, parts: &[(&'static str, u8, Count)], none: &str| {
        let series = parts.iter().map(|(name, hue, of)| Series {
            name,
            hue: *hue,
            values: steps.iter().map(|(_, counts)| of(counts)).collect(),
        });
        let series: Vec<Series<'_>> = series.collect();
        let is_empty = series.iter().flat_map(|one| &one.values).all(|value| *value == 0);
        html! {
            h3 { (what) }
            @if is_empty { p.muted { (none) } } @else {
                div.newest { (charts::bars(&Bars {
                    description: &format!("{what}, {unit}, {span}"),
                    labels: steps.iter().map(|(at, _)| at.format("%H:%M").to_string()).collect(),
                    series,
                    height: 200,
                })) }
            }
        }
    };
    let is_empty = steps
        .iter()
        .all(|(_, counts)| counts.events() + counts.changes.total() == 0);
    html! {
        section.card.activity {
            header {
                h2 { "Events and changes " (unit) }
                span.end {
                    @if is_day { a href="/" { "Hour" } " · " b { "Day" } } @else { b { "Hour" } " · " a href="/?span=day" { "Day" } }
                }
            }
            @if is_empty {
                (ui::empty("No event has arrived in this time", "Send events over RabbitMQ or HTTP."))
            } @else {
                (chart("Events by outcome", &OUTCOMES, "No event has arrived in this time."))
                (chart("Changes by cause", &CAUSES, "Nothing has changed in this time."))
            }
        }
    }
}

fn sweeps_card(summary: &Summary) -> Markup {
    ui::table_card(
        "Sweeps",
        &html! { a href="/sweeps" { "All runs" } },
        &html! {
            div.scroll {
                table.rows {
                    thead { tr { th { "Sweep" } th { "State" } th { "Last run" } th.num { "Changed" } th { "Next" } } }
                    tbody { @for state in &summary.sweeps {
                        tr data-row {
                            th scope="row" data-label="Sweep" { a href={ "/sweeps#" (state.sweep) } { (title(state.sweep.as_str())) } }
                            td data-label="State" { (sweep_chip(state)) }
                            td data-label="Last run" { (ui::optional_moment(state.last_run.as_ref().map(|run| run.started_at))) }
                            td.num data-label="Changed" { (state.last_run.as_ref().map_or("–".into(), |run| number(run.counts.changed))) }
                            td data-label="Next" { @match state.next_run() { NextRun::At(at) => { (ui::moment(at)) }, NextRun::Waits(what) => { span.muted { (what) } } } }
                        }
                    } }
                }
            }
        },
    )
}

/// Whether a sweep runs, in a chip.
pub fn sweep_chip(state: &SweepState) -> Markup {
    chip(state.status())
}

fn worker_card(summary: &Summary) -> Markup {
    ui::card(
        "This worker",
        &html! {
            dl { @for (name, health) in &summary.checks {
                dt { (title(name)) }
                dd {
                    (chip_of(if health.ok { Tone::Good } else { Tone::Bad }, if health.ok { "works" } else { "fails" }))
                    @if health.detail != "ok" { " " span.muted { (ui::prose(&health.detail)) } }
                }
            } }
        },
    )
}

/// All workers that use the store.
fn workers_card(view: &View, summary: &Summary) -> Markup {
    html! {
        section.card.flush id="workers" {
            header { h2 { "Workers" } }
            @if summary.workers.is_empty() {
                (ui::empty("No worker is recorded", "A worker records itself within seconds of its start. Start one with `tenure run`."))
            } @else {
                div.scroll tabindex="0" { table.rows {
                    thead { tr {
                        th { "Worker" } th { "State" } th { "Version" } th { "Up since" } th { "Last seen" } th { "Lanes" } th { "Leads" }
                    } }
                    tbody { @for worker in &summary.workers {
                        tr data-row {
                            th.id scope="row" data-label="Worker" { (ui::breakable(&worker.name)) }
                            td data-label="State" { (worker_chip(worker)) " " (super::actions::worker_button(view, worker)) }
                            td data-label="Version" { (worker.version) }
                            td data-label="Up since" { (ui::moment(worker.started_at)) }
                            td data-label="Last seen" { (ui::moment_and_ago(summary.now, worker.seen_at)) }
                            td.wrap data-label="Lanes" { (listed(&worker.lanes)) }
                            td data-label="Leads" { (listed(&worker.leads())) }
                        }
                    } }
                } }
            }
        }
    }
}

fn worker_chip(worker: &WorkerStatus) -> Markup {
    let tone = if worker.gone { Tone::Attention } else { Tone::Good };
    chip_of(tone, worker.state())
}

/// Names in a cell.
fn listed(names: &[impl AsRef<str>]) -> Markup {
    html! {
        @if names.is_empty() { span.muted { "–" } }
        @for (place, name) in names.iter().enumerate() {
            @if place > 0 { ", " }
            (ui::breakable(name.as_ref()))
        }
    }
}

/// The low watermark, when each expected source was last heard, and the watermark, the lag and the depth of each lane.
fn flow_card(summary: &Summary) -> Markup {
    let none = summary.sources.is_empty() && summary.lanes.is_empty();
    ui::table_card(
        "Sources and lanes",
        &html! { a href="/sources" { "All" } },
        &html! {
            @if none { (ui::empty("No expected sources, no lanes", "The section [sources] of the settings names sources; lanes are queues of RabbitMQ.")) }
            @else { div.pad { dl {
                dt { "Low watermark" } dd { (super::sources::low_watermark(summary)) }
                @for source in &summary.sources {
                    dt.id { (ui::breakable(&source.source)) }
                    dd {
                        (super::sources::heard(source))
                        @if let Some(at) = source.last_heard { " " span.muted { (ui::ago(summary.now, at)) } }
                    }
                }
                @for lane in &summary.lanes {
                    dt.id { (ui::breakable(&lane.lane)) }
                    dd {
                        @match lane.watermark {
                            Some(at) => { (ui::moment(at)) ", " (ui::duration(summary.now - at)) " behind" },
                            None => { span.muted { "no heartbeat yet" } },
                        }
                        @if let Some(depth) = summary.depths.get(&lane.lane) { ", " (counted(depth.messages, "message")) " waiting" }
                    }
                }
            } } }
        },
    )
}

/// Links to the rows that a card leaves out.
fn others(rows: usize, url: &str) -> Markup {
    let left_out = rows.saturating_sub(FIRST);
    html! { @if left_out > 0 { nav.pager aria-label="Others" { a href=(url) { "and " (number(left_out)) " more" } } } }
}

fn dead_letters_card(summary: &Summary) -> Markup {
    let groups = &summary.dead_letters;
    ui::table_card(
        "Open dead letters, by reason",
        &html! { a href="/dead-letters" { "All" } },
        &html! {
            @if groups.groups.is_empty() {
                (ui::empty("No open dead letters", "Every message was a valid event."))
            } @else {
                div.scroll tabindex="0" { table {
                    thead { tr { th { "Reason" } th.num { "Number" } } }
                    tbody { @for group in groups.groups.iter().take(FIRST) {
                        tr data-row {
                            td.wrap { a href=(super::dead_letters::group_url(&group.key)) { (ui::coded(&group.common)) } " " span.muted { (group.key.source_name()) ", " (group.key.origin) } }
                            td.num { (number(group.count)) }
                        }
                    } }
                } }
                (others(groups.groups.len(), "/dead-letters"))
            }
        },
    )
}

fn refusals_card(counted: &RefusalCounts) -> Markup {
    ui::table_card(
        "Refusals of the last day, by code",
        &html! { a href="/refusals" { "All" } },
        &html! {
            @if counted.codes.is_empty() {
                (ui::empty("No event that happened in the last day was refused", "Tenure refuses an event that is impossible at its position in the history of its client."))
            } @else {
                div.scroll tabindex="0" { table {
                    thead { tr { th { "Code" } th.num { "Number" } } }
                    tbody { @for count in counted.codes.iter().take(FIRST) {
                        tr data-row {
                            td.wrap { a href={ "/refusals?code=" (count.code) } { (words(count.code)) } " " span.muted { (count.reason) } }
                            td.num { (number(count.events)) @if !counted.complete { "+" } }
                        }
                    } }
                } }
                (others(counted.codes.len(), "/refusals"))
            }
        },
    )
}

fn expiries_card(now: DateTime<Utc>, expiries: Option<&ExpiryCounts>) -> Markup {
    let content = match expiries {
        None => ui::empty("The accesses are being counted", "Refresh the page in a moment."),
        Some(counted) => {
            let (days, values): (Vec<NaiveDate>, Vec<u64>) = counted.by_day(now).into_iter().unzip();
            let total = counted.total();
            html! {
                p { (counted_accesses(total)) @if !counted.complete { " at least (not all clients are counted)" } " unless a partner enters first. "
                    a href="/forecast" { "See which" } }
                @if total > 0 {
                    (charts::bars(&Bars {
                        description: "Accesses that expire in the next 30 days, by day",
                        labels: days.iter().map(|day| day.format("%-d %b").to_string()).collect(),
                        series: vec![Series { name: "accesses", hue: 3, values }],
                        height: 180,
                    }))
                }
            }
        }
    };
    ui::card("Accesses that expire in the next 30 days", &content)
}

fn counted_accesses(total: u64) -> String {
    match total {
        1 => "1 access expires".into(),
        _ => format!("{} expire", counted_as(total, "access", "accesses")),
    }
}
