//! Where events come from and where changes go: sources, lanes, and the outbox.

use axum::response::Response;
use maud::{Markup, html};

use super::error::PageError;
use super::health::Summary;
use super::layout::{Frame, Section};
use super::ui::{self, Tone, chip_of, number, title};
use super::view::View;
use crate::engine::interval;

/// Sources, lanes and the outbox.
pub async fn show(view: View) -> Result<Response, PageError> {
    let summary = view.console.summary.get(&view.api, &view.console).await?;
    let content = html! {
        (sources(&summary))
        (lanes(&summary))
        div.grid {
            div.half { (outbox(&view, &summary)) }
            div.half { (checks(&summary)) }
        }
    };
    let frame = Frame {
        title: "Sources and lanes",
        section: Section::Sources,
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
                (ui::empty("No source is expected", "Name the apps that send events regularly in the section [sources] of the settings: timers then wait while one is silent."))
            } @else {
                div.scroll { table.rows {
                    thead { tr { th { "Source" } th { "State" } th { "Last heard" } th.num { "Events an hour" } th { "Expected every" } } }
                    tbody { @for source in &summary.sources {
                        tr data-row {
                            th scope="row" data-label="Source" { span.id { (ui::breakable(&source.source)) } }
                            td data-label="State" { @match source.silent_since {
                                Some(since) => { (chip_of(Tone::Bad, "silent")) " " span.muted { "since " (ui::spelled(since)) } },
                                None => { (chip_of(Tone::Good, "heard")) },
                            } }
                            td data-label="Last heard" { @match source.last_heard { Some(at) => { (ui::moment_and_distance(summary.now, at)) }, None => { span.muted { "never" } } } }
                            td.num data-label="Events an hour" { (number(source.events_per_hour)) }
                            td data-label="Expected every" { (interval(source.every_seconds)) }
                        }
                    } }
                } }
            }
        },
    )
}

fn lanes(summary: &Summary) -> Markup {
    ui::table_card(
        "Lanes",
        &html! {},
        &html! {
            @if summary.lanes.is_empty() {
                (ui::empty("No lanes", "Lanes are queues of RabbitMQ. Without a broker, events come over HTTP and from files."))
            } @else {
                div.scroll { table.rows {
                    thead { tr { th { "Lane" } th { "Watermark" } th { "Behind" } th { "Recorded" } } }
                    tbody { @for lane in &summary.lanes {
                        tr data-row {
                            th scope="row" data-label="Lane" { span.id { (ui::breakable(&lane.lane)) } }
                            td data-label="Watermark" { @match lane.watermark { Some(at) => { (ui::moment(at)) }, None => { span.muted { "no heartbeat yet" } } } }
                            td data-label="Behind" { @match lane.watermark { Some(at) => { (ui::duration(summary.now - at)) }, None => { "–" } } }
                            td data-label="Recorded" { (ui::moment(lane.recorded_at)) }
                        }
                    } }
                } }
            }
        },
    )
}

fn outbox(view: &View, summary: &Summary) -> Markup {
    ui::card(
        "Outbox",
        &html! {
            @match summary.relay {
                None => { p { "No broker is configured. Subscribers read changes over HTTP, at " code { "GET /v1/changes" } "." } },
                Some((oldest, count)) => { dl {
                    dt { "Not published" } dd data-live="backlog" { (number(count)) }
                    dt { "Oldest" } dd { @match oldest { Some(at) => { (ui::moment_and_distance(view.now, at)) }, None => { "none: subscribers know everything" } } }
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
                    (chip_of(if health.ok { Tone::Good } else { Tone::Bad }, if health.ok { "works" } else { "fails" })) " " (health.detail)
                    @for warning in &health.warnings { div.muted { (warning) } }
                    @for (part, health) in &health.parts { div.muted { (title(part)) ": " (health.detail) } }
                }
            } }
        },
    )
}
