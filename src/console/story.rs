//! The story of a client: events, timers, refusals and corrections, the newest on top.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::ui::{self, Tone, chip_of, counted, counted_as, number, title, words};
use crate::domain::{ActorKind, Corrector};
use crate::engine::{HistoryChange, HistoryEntry, HistoryEvent, HistoryKind};
use crate::store::PACKED_SOURCE;

/// Entries that are shown unless the reader asks for all.
const SHOWN: usize = 60;

/// What to show of a history.
pub struct Story<'a> {
    /// In order of time.
    pub entries: &'a [HistoryEntry],
    pub now: DateTime<Utc>,
    /// The moment that the page shows. None: now.
    pub at: Option<DateTime<Utc>>,
    pub is_all: bool,
    /// The same page with all entries.
    pub all_url: String,
}

/// The class of an entry's tick on the axis.
#[must_use]
pub fn tick_class(entry: &HistoryEntry) -> &'static str {
    match (&entry.event, entry.expected) {
        (_, true) => "expected",
        (Some(event), _) if event.refusal.is_some() => "refused",
        _ => "",
    }
}

/// The story in a card.
pub fn card(story: &Story<'_>) -> Markup {
    let upto = story.at.unwrap_or(story.now);
    let split = story.entries.partition_point(|entry| entry.time <= upto);
    let (past, later) = story.entries.split_at(split);
    let hidden = if story.is_all {
        0
    } else {
        past.len().saturating_sub(SHOWN)
    };
    let places = Places::of(story.entries);
    let line = match story.at {
        None => "now".to_owned(),
        Some(at) => ui::spelled(at),
    };
    html! {
        section.card.tale {
            header {
                h2 { "Story" }
                span.end.muted { (counted_as(past.len(), "entry", "entries")) }
            }
            @if story.entries.is_empty() { (ui::empty("Nothing happened yet", "Events of this client will appear here.")) }
            @if !later.is_empty() && story.at.is_some() {
                details { summary { (counted_as(later.len(), "entry", "entries")) " later" }
                    ol.story { @for (place, entry) in later.iter().enumerate().rev() { (item(entry, split + place, &places)) } }
                }
            }
            ol.story {
                @if story.at.is_none() {
                    @for (place, entry) in later.iter().enumerate().rev() { (item(entry, split + place, &places)) }
                }
                li.now { (line) }
                @for (place, entry) in past.iter().enumerate().skip(hidden).rev() { (item(entry, place, &places)) }
            }
            @if hidden > 0 { p { a href=(story.all_url) { "Show " (number(hidden)) " earlier" } } }
        }
    }
}

/// Where events and lines of the journal stand on the page.
struct Places<'a> {
    events: HashMap<(&'a str, &'a str), usize>,
    lines: HashMap<i64, &'a HistoryChange>,
}

impl<'a> Places<'a> {
    fn of(entries: &'a [HistoryEntry]) -> Self {
        let events = entries.iter().enumerate().filter_map(|(place, entry)| {
            let event = entry.event.as_ref()?;
            Some(((&*event.source, &*event.id), place))
        });
        let changes = entries.iter().flat_map(|entry| &entry.changes);
        Self {
            events: events.collect(),
            lines: changes
                .filter_map(|change| Some((change.sequence?, change)))
                .collect(),
        }
    }
}

fn item(entry: &HistoryEntry, place: usize, places: &Places) -> Markup {
    let is_refused = entry.event.as_ref().is_some_and(|event| event.refusal.is_some());
    let class = match entry.kind {
        _ if entry.expected => "expected",
        HistoryKind::Timer => "timer",
        HistoryKind::Rebuild => "rebuild",
        HistoryKind::Event if is_refused => "refused",
        HistoryKind::Event => "event",
    };
    html! {
        li class=(class) id={ "e" (place) } {
            div.what {
                (ui::moment(entry.time))
                @match (&entry.event, entry.timer) {
                    (Some(event), _) => { (event_line(event)) },
                    (None, Some(timer)) => { b { (title(timer.as_str())) } span.muted { @if entry.expected { "timer, to come if no event arrives" } @else { "timer" } } },
                    (None, None) => { b { "Rebuild" } span.muted { "repaired what was stored" } },
                }
            }
            @let shown = shown_changes(entry);
            @if !shown.is_empty() { ul { @for change in shown { (change_line(change, places)) } } }
        }
    }
}

/// The changes of an entry, without the one that only reports the refusal that the entry shows.
fn shown_changes(entry: &HistoryEntry) -> Vec<&HistoryChange> {
    let is_refused = entry.event.as_ref().is_some_and(|event| event.refusal.is_some());
    let says_more = |change: &&HistoryChange| {
        !is_refused || change.kind != "event.refused" || change.correction || change.replaced_by.is_some()
    };
    entry.changes.iter().filter(says_more).collect()
}

fn event_line(event: &HistoryEvent) -> Markup {
    html! {
        b { (event.kind) }
        @if event.count > 1 {
            span.muted { "× " (number(event.count)) @if let Some(last) = event.last { ", the last " (ui::spelled(last)) } }
        }
        span.muted { @if &*event.source != PACKED_SOURCE { "from " span.id { (ui::breakable(&event.source)) } } (actor(event)) }
        @if let Some(refusal) = event.refusal { (chip_of(Tone::Attention, &format!("refused: {}", refusal.words()))) }
        @match (event.refusal, event.refused_before) {
            (None, Some(before)) => { span.muted { "refused at first (" (words(before.code())) "), applied since an earlier event arrived late" } },
            (Some(_), Some(before)) => { span.muted { "before an earlier event arrived: " (words(before.code())) } },
            _ => {},
        }
        @if let Some(reason) = event.data.as_ref().and_then(|data| data.get("reason")).and_then(|reason| reason.as_str()) {
            span.muted { "“" (reason) "”" }
        }
        @if !event.id.is_empty() {
            details { summary { "Event" }
                dl {
                    dt { "Id" } dd.id { (event.id) }
                    @if let Some(data) = event.data.as_ref().filter(|data| !data.is_null()) {
                        dt { "Data" } dd { pre { (serde_json::to_string_pretty(data).unwrap_or_default()) } }
                    }
                }
            }
        }
    }
}

fn actor(event: &HistoryEvent) -> String {
    match (&event.actor, event.actorkind) {
        (Some(actor), Some(kind)) => format!(", by {actor} ({})", words(kind.as_str())),
        (Some(actor), None) => format!(", by {actor}"),
        (None, Some(kind)) => format!(", by {}", side(kind)),
        (None, None) => String::new(),
    }
}

fn side(kind: ActorKind) -> String {
    format!("the {}", words(kind.as_str()))
}

fn change_line(change: &HistoryChange, places: &Places) -> Markup {
    let class = match (change.correction, change.replaced_by) {
        (true, _) => "correction",
        (false, Some(_)) => "replaced",
        _ => "",
    };
    html! {
        li class=(class) id=[change.sequence.map(|line| format!("l{line}"))] {
            span.value {
                code { (change.kind) }
                @if let Some(id) = &change.id { " " span.id { (ui::breakable(id)) } }
                @match (&change.from, &change.to) {
                    (Some(from), Some(to)) => { " " span.muted { (readable(from)) " → " } (readable(to)) },
                    (None, Some(to)) if !change.kind.ends_with(to.as_str()) => { " " (readable(to)) },
                    (Some(from), None) => { " " span.muted { "was " (readable(from)) } },
                    _ => {},
                }
            }
            @if let Some(other) = &change.conflicts_with { " " span.muted { "the name is held by " (other) } }
            @if let Some(corrector) = &change.corrected_by { " " span.muted { "correction, because " (because(corrector, places)) } }
            @if let Some(line) = change.corrects { "; " a href={ "#l" (line) } { "corrects" } " " span.muted { (line_words(line, places)) } }
            @if let Some(line) = change.replaced_by { " " a href={ "#l" (line) } { "corrected since" } }
        }
    }
}

fn line_words(line: i64, places: &Places) -> String {
    places
        .lines
        .get(&line)
        .map(|change| change.kind.clone())
        .unwrap_or_default()
}

fn because(corrector: &Corrector, places: &Places) -> Markup {
    match corrector {
        Corrector::LateEvent { source, id, kind } => html! {
            @match places.events.get(&(&**source, &**id)) {
                Some(place) => { a href={ "#e" (place) } { (kind) " arrived late" } },
                None => { (kind) " arrived late" },
            }
        },
        Corrector::Rebuild { rebuild } => html! { "a rebuild of the " (rebuild) " found a difference" },
    }
}

/// A value of a change: statuses as words, times in UTC to the minute, days in words, anything else as it is.
pub fn readable(value: &str) -> String {
    if let Ok(at) = DateTime::parse_from_rfc3339(value) {
        return ui::spelled(at.to_utc());
    }
    if let Some(days) = value.strip_prefix('P').and_then(|days| days.strip_suffix('D'))
        && let Ok(days) = days.parse::<i64>()
    {
        return counted(days, "day");
    }
    let is_status = !value.is_empty()
        && value
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if is_status { words(value) } else { value.to_owned() }
}
