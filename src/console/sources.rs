//! Where events come from and where changes go: sources, lanes, and the outbox.

use axum::response::Response;
use chrono::{DateTime, TimeDelta};
use maud::{Markup, html};

use super::error::PageError;
use super::health::Summary;
use super::layout::{Frame, Section};
use super::live::backlog_note;
use super::story::readable;
use super::ui::{self, Tone, chip_of, counted, number, sentence, title, words};
use super::view::View;
use crate::domain::{Cause, Corrector};
use crate::engine::{BusySource, JournalLine, LatestChange, SourceStatus, interval};

/// Changes among which corrections are looked for.
const EXAMINED: u32 = 1_000;
/// Changes that a list shows.
const LISTED: usize = 20;
/// From this lag on, a page says what holds the low watermark back.
const LATE: TimeDelta = TimeDelta::minutes(1);

/// Sources, lanes and the outbox.
pub async fn show(view: View) -> Result<Response, PageError> {
    let summary = view.console.summary.get(&view.api, &view.console).await?;
    let lines = view
        .run(|engine| async move { engine.latest_changes(EXAMINED).await })
        .await?;
    let content = html! {
        (sources(&summary))
        (other_sources(&view, &summary))
        (lanes(&summary))
        div.grid {
            div.half { (low_watermark_card(&summary)) (outbox(&summary)) }
            div.half { (checks(&summary)) }
        }
        (latest(&view, &lines))
        (corrections(&view, &lines))
    };
    let frame = Frame {
        title: "Sources and lanes",
        section: Section::Sources,
        is_live: summary.relay.is_some(),
        lead: Some(html! { "Where events come from, and where changes go." }),
        ..Frame::default()
    };
    Ok(view.page(frame, &content))
}

fn sources(summary: &Summary) -> Markup {
    ui::table_card(
        "Expected sources",
        &html! {},
        &html! {
            @if summary.sources.is_empty() {
                (ui::empty("No source is expected", "List the apps that send events regularly in the section `[sources]` of the settings, each with the time within which an event is expected, such as `\"/account-app\" = \"6h\"`. Timers then wait while one is silent."))
            } @else {
                div.scroll tabindex="0" { table.rows {
                    thead { tr { th { "Source" } th { "State" } th { "Last heard" } th.num { "Events per hour" } th { "Expected every" } } }
                    tbody { @for source in &summary.sources {
                        tr data-row {
                            th scope="row" data-label="Source" { span.id { (ui::breakable(&source.source)) } }
                            td data-label="State" { (heard(source)) @if let Some(since) = source.silent_since { " " span.muted { "since " (ui::inline_moment(since)) } } }
                            td data-label="Last heard" { @match source.last_heard { Some(at) => { (ui::moment_and_ago(summary.now, at)) }, None => { span.muted { "never" } } } }
                            td.num data-label="Events per hour" { (number(source.events_per_hour)) }
                            td data-label="Expected every" { (interval(source.every_seconds)) }
                        }
                    } }
                } }
            }
        },
    )
}

/// The busiest sources that are not expected.
fn other_sources(view: &View, summary: &Summary) -> Markup {
    let (busiest, rest) = view.engine.busiest_sources();
    let is_expected = |source: &str| summary.sources.iter().any(|expected| expected.source == source);
    let others: Vec<&BusySource> = busiest
        .iter()
        .filter(|source| !is_expected(&source.source))
        .collect();
    ui::table_card(
        "Other sources",
        &html! { span.muted { "the busiest, each counted by this worker since it became one of them" } },
        &html! {
            @if others.is_empty() && rest == 0 {
                (ui::empty("No other source has sent an event", "The busiest sources from which this worker receives events appear here."))
            }
            @if !others.is_empty() {
                div.scroll tabindex="0" { table.rows {
                    thead { tr { th { "Source" } th { "Last heard" } th.num { "Events" } th.num { "Events per hour" } } }
                    tbody { @for source in &others {
                        tr data-row {
                            th scope="row" data-label="Source" { span.id { (ui::breakable(&source.source)) } }
                            td data-label="Last heard" { (last_heard(view, source)) }
                            td.num data-label="Events" { (number(source.events)) }
                            td.num data-label="Events per hour" { @match source.events_per_hour { Some(rate) => { (number(rate)) }, None => { span.muted { "–" } } } }
                        }
                    } }
                } }
            }
            @if rest > 0 { p.pad.muted { (counted(rest, "event")) " from sources while they were less active." } }
        },
    )
}

fn last_heard(view: &View, source: &BusySource) -> Markup {
    html! {
        @match view.now.checked_sub_signed(source.heard_ago) {
            Some(at) => { (ui::moment_and_ago(view.now, at)) },
            None => { span.muted { "–" } },
        }
    }
}

fn lanes(summary: &Summary) -> Markup {
    ui::table_card(
        "Lanes",
        &html! { @if !summary.lanes.is_empty() { span.muted { (counted_by(summary)) } } },
        &html! {
            @if summary.lanes.is_empty() {
                (ui::empty("No lanes", "Lanes are queues of RabbitMQ. Without a broker, events come over HTTP and from files."))
            } @else {
                div.scroll tabindex="0" { table.rows {
                    thead { tr { th { "Lane" } th.num { "Depth" } th { "Watermark" } th.num { "Lag" } th { "Recorded" } } }
                    tbody { @for lane in &summary.lanes {
                        tr data-row {
                            th scope="row" data-label="Lane" { span.id { (ui::breakable(&lane.lane)) } }
                            td.num data-label="Depth" { (waiting(summary, &lane.lane)) }
                            td data-label="Watermark" { @match lane.watermark { Some(at) => { (ui::moment(at)) }, None => { span.muted { "no heartbeat yet" } } } }
                            td.num data-label="Lag" { @match lane.watermark { Some(at) => { (ui::duration(summary.now - at)) }, None => { "–" } } }
                            td data-label="Recorded" { (ui::moment(lane.recorded_at)) }
                        }
                    } }
                } }
            }
        },
    )
}

/// The moment up to which every event has arrived, and why it is not later.
pub fn low_watermark(summary: &Summary) -> Markup {
    let low = &summary.low_watermark;
    // Between two heartbeats, it is always a little behind.
    let is_late = low.until.is_none_or(|at| summary.now - at > LATE);
    html! {
        @match low.until {
            Some(at) => { (ui::moment_and_ago(summary.now, at)) },
            None => { "not known yet" },
        }
        @if let Some(behind) = low.behind.as_ref().filter(|_| is_late) { div.muted { (ui::prose(&sentence(&behind.to_string()))) } }
    }
}

fn low_watermark_card(summary: &Summary) -> Markup {
    ui::card(
        "Low watermark",
        &html! {
            p { "Every event before this moment has arrived. Timers that are due by then fire." }
            dl { dt { "Up to" } dd { (low_watermark(summary)) } }
        },
    )
}

/// Whether a source is heard, in a chip.
pub fn heard(source: &SourceStatus) -> Markup {
    match (source.silent_since, source.last_heard) {
        (Some(_), _) => chip_of(Tone::Bad, "silent"),
        (None, Some(_)) => chip_of(Tone::Good, "heard"),
        (None, None) => chip_of(Tone::Neutral, "not heard yet"),
    }
}

/// How many messages wait in the queue of a lane.
fn waiting(summary: &Summary, lane: &str) -> Markup {
    html! {
        @match summary.depths.get(lane) {
            Some(depth) => { (number(depth.messages)) },
            None => { span.muted { "unknown" } },
        }
    }
}

/// Who counted the messages that wait, and when.
fn counted_by(summary: &Summary) -> String {
    match summary.depths.values().map(|depth| depth.counted_at).min() {
        Some(at) => format!(
            "RabbitMQ reported the waiting messages {}",
            ui::ago(summary.now, at)
        ),
        None => "the waiting messages are unknown: this worker is not connected to RabbitMQ".into(),
    }
}

fn outbox(summary: &Summary) -> Markup {
    ui::card(
        "Outbox",
        &html! {
            @match summary.relay {
                None => { p { "No broker is configured. Subscribers read changes over HTTP, at " code { "GET /v1/changes" } "." } },
                Some(relay) => { dl {
                    dt { "Not published" } dd {
                        span data-live="backlog" { (number(relay.changes)) }
                        div.muted data-live="backlog-note" { (backlog_note(summary)) }
                    }
                } },
            }
        },
    )
}

fn checks(summary: &Summary) -> Markup {
    ui::card(
        "Checks of this worker",
        &html! {
            dl { @for (name, health) in &summary.checks {
                dt { (title(name)) }
                dd {
                    (chip_of(if health.ok { Tone::Good } else { Tone::Bad }, if health.ok { "works" } else { "fails" })) @if health.detail != "ok" { " " (ui::prose(&health.detail)) }
                    @for warning in &health.warnings { div.muted { (ui::prose(&sentence(warning))) } }
                    @for (part, health) in &health.parts { div.muted { (title(part)) ": " (ui::prose(&health.detail)) } }
                }
            } }
        },
    )
}

/// The last changes, published or not.
fn latest(view: &View, lines: &[LatestChange]) -> Markup {
    ui::table_card(
        "Latest changes",
        &html! { span.muted { "newest first" } },
        &html! {
            @if lines.is_empty() {
                (ui::empty("No changes yet", "A change appears when an event or a timer changes a client."))
            } @else {
                (changes(view, lines.iter().take(LISTED), "Cause", |line| caused(&line.cause)))
            }
        },
    )
}

/// The corrections among the last changes.
fn corrections(view: &View, lines: &[LatestChange]) -> Markup {
    let corrections: Vec<_> = lines
        .iter()
        .filter(|change| change.line.correction)
        .take(LISTED)
        .collect();
    let among = ui::counted(lines.len(), "change");
    ui::table_card(
        "Latest corrections",
        &html! { span.muted { "among the last " (among) } },
        &html! {
            @if corrections.is_empty() {
                (ui::empty("No corrections", "Tenure publishes a correction when a late event contradicts changes that it has published."))
            } @else {
                (changes(view, corrections.into_iter(), "Corrected because of", |line| line.corrected_by.as_ref().map(corrected).unwrap_or_default()))
            }
        },
    )
}

fn changes<'l>(
    view: &View,
    lines: impl Iterator<Item = &'l LatestChange>,
    reason: &str,
    why: impl Fn(&JournalLine) -> Markup,
) -> Markup {
    html! {
        div.scroll { table.rows {
            thead { tr { th { "Recorded" } th { "Client" } th { "Change" } th { "From" } th { "To" } th { (reason) } } }
            tbody { @for LatestChange { line, is_published } in lines {
                tr data-row {
                    td data-label="Recorded" { @match DateTime::parse_from_rfc3339(&line.recorded) { Ok(at) => { (ui::moment_and_ago(view.now, at.to_utc())) }, Err(_) => { (line.recorded) } } }
                    th scope="row" data-label="Client" { (ui::client_link(&line.subject)) }
                    td data-label="Change" { code { (line.kind) } @if let Some(id) = &line.id { " " span.id { (ui::breakable(id)) } } @if line.correction { " " (chip_of(Tone::Neutral, "correction")) } @if !*is_published && view.console.is_relayed { " " (chip_of(Tone::Attention, "not published yet")) } }
                    td data-label="From" { (line.from.as_deref().map(readable).unwrap_or_default()) }
                    td data-label="To" { (line.to.as_deref().map(readable).unwrap_or_default()) }
                    td data-label=(reason) { (why(line)) }
                }
            } }
        } }
    }
}

/// What caused a change.
fn caused(cause: &Cause) -> Markup {
    html! {
        @match cause {
            Cause::Event { source, kind, .. } => { code { (kind) } " " span.muted { "from " span.id { (ui::breakable(source)) } } },
            Cause::Timer { timer } => { "timer " (words(timer.as_str())) },
            Cause::Rebuild { .. } => { "rebuild" },
        }
    }
}

/// What made a correction necessary.
fn corrected(corrector: &Corrector) -> Markup {
    html! {
        @match corrector {
            Corrector::LateEvent { source, kind, .. } => { code { (kind) } " " span.muted { "arrived late, from " span.id { (ui::breakable(source)) } } },
            Corrector::Rebuild { .. } => { "a rebuild found a difference" },
        }
    }
}
