//! The story of a client: events, timers, refusals and corrections. What is nearest to now is on top.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::joints::{self, Joint, Joints, Row};
use super::ui::{self, Tone, chip_of, counted, counted_as, number, title, words};
use crate::domain::{ActorKind, Corrector};
use crate::engine::{HistoryChange, HistoryEntry, HistoryEvent, HistoryKind, applied_later};
use crate::store::PACKED_SOURCE;

/// Entries that are shown unless the reader asks for all.
const SHOWN: usize = 60;
/// The class of the tick of a refused event.
pub const REFUSED: &str = "refused";

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

impl Story<'_> {
    /// The number of entries up to the moment that the page shows.
    fn split(&self) -> usize {
        let upto = self.at.unwrap_or(self.now);
        self.entries.partition_point(|entry| entry.time <= upto)
    }

    /// The place of the first entry that is shown.
    fn first(&self) -> usize {
        if self.is_all {
            0
        } else {
            self.split().saturating_sub(SHOWN)
        }
    }

    /// The address of an entry, or of a part of it: on this page, or on the page with all entries.
    fn url(&self, place: usize, id: &str) -> String {
        let page = if place < self.first() { &*self.all_url } else { "" };
        format!("{page}#{id}")
    }

    /// The address of the entry at a place.
    #[must_use]
    pub fn url_of_entry(&self, place: usize) -> String {
        self.url(place, &format!("e{place}"))
    }

    /// The address of the last entry up to the moment that the page shows.
    #[must_use]
    pub fn url_of_last(&self) -> Option<String> {
        Some(self.url_of_entry(self.split().checked_sub(1)?))
    }

    /// The address of the last applied event up to the moment that the page shows of which something is true.
    #[must_use]
    pub fn url_of_event(&self, is_it: impl Fn(&HistoryEvent) -> bool) -> Option<String> {
        let past = &self.entries[..self.split()];
        let place = past.iter().rposition(|entry| {
            let event = entry.event.as_ref().filter(|event| event.refusal.is_none());
            event.is_some_and(&is_it)
        })?;
        Some(self.url_of_entry(place))
    }
}

/// The class of an entry's tick on the axis.
#[must_use]
pub fn tick_class(entry: &HistoryEntry) -> &'static str {
    match (&entry.event, entry.expected) {
        (_, true) => "expected",
        (Some(event), _) if event.refusal.is_some() => REFUSED,
        _ => "",
    }
}

/// The story in a card: what is to come, from now on, and then what happened, from now back.
pub fn card(story: &Story<'_>) -> Markup {
    let (split, hidden) = (story.split(), story.first());
    let places = Places::of(story);
    let past: Vec<usize> = (hidden..split).rev().collect();
    let later: Vec<usize> = (split..story.entries.len()).collect();
    html! {
        section.card.tale {
            header {
                h2 { "Story" }
                span.end.muted { (counted_as(split, "entry", "entries")) }
            }
            @if story.entries.is_empty() { (ui::empty("Nothing happened yet", "Events of this client will appear here.")) }
            h3.now { @match story.at { None => { "Now" }, Some(at) => { (ui::inline_moment(at)) } } }
            @if !later.is_empty() {
                @match story.at {
                    None => {
                        p.muted { "To come, if no event arrives" }
                        (list("story future", story, &later, &places))
                    },
                    Some(_) => {
                        details { summary { (counted_as(later.len(), "entry", "entries")) " after this moment" }
                            (list("story", story, &later, &places))
                        }
                    },
                }
            }
            @if !past.is_empty() {
                h3.past { @if story.at.is_none() { "Until now" } @else { "Until this moment" } }
                (list("story", story, &past, &places))
            }
            @if hidden > 0 { p { a href=(story.all_url) { "Show " (number(hidden)) " earlier" } } }
        }
    }
}

/// Entries one below the other, with the lines that join corrections to what they correct.
fn list(class: &str, story: &Story, listed: &[usize], places: &Places) -> Markup {
    let rows = listed.iter().flat_map(|place| {
        let changes = shown_changes(&story.entries[*place]);
        std::iter::once(Row::default()).chain(changes.into_iter().map(Row::of))
    });
    let joints = Joints::of(&rows.collect::<Vec<_>>());
    let mut rest = joints.of_rows.as_slice();
    let items = listed.iter().map(|place| {
        let rows = 1 + shown_changes(&story.entries[*place]).len();
        let (own, others) = rest.split_at(rows);
        rest = others;
        (*place, own)
    });
    let items: Vec<_> = items.collect();
    html! {
        ol class={ (class) " lanes-" (joints.lanes) } {
            @for (place, joints) in items { (item(place, story, places, joints)) }
        }
    }
}

/// Where events and lines of the journal stand on the page.
struct Places<'a> {
    events: HashMap<(&'a str, &'a str), usize>,
    lines: HashMap<i64, (usize, &'a HistoryChange)>,
    story: &'a Story<'a>,
}

impl<'a> Places<'a> {
    fn of(story: &'a Story<'a>) -> Self {
        let entries = story.entries.iter().enumerate();
        let events = entries.clone().filter_map(|(place, entry)| {
            let event = entry.event.as_ref()?;
            Some(((&*event.source, &*event.id), place))
        });
        let lines = entries.flat_map(|(place, entry)| {
            let changes = entry.changes.iter();
            changes.filter_map(move |change| Some((change.sequence?, (place, change))))
        });
        Self {
            events: events.collect(),
            lines: lines.collect(),
            story,
        }
    }

    /// A link to a line of the journal, which says what it is.
    fn link_to_line(&self, line: i64, verb: &str) -> Markup {
        html! {
            @match self.lines.get(&line) {
                Some((place, change)) => {
                    a href=(self.story.url(*place, &format!("l{line}"))) {
                        (verb) " " code { (change.kind) }
                        @if let Some(recorded) = change.recorded { ", recorded " (ui::inline_moment(recorded)) }
                    }
                },
                None => { (verb) " line " (line) " of the journal" },
            }
        }
    }
}

fn item(place: usize, story: &Story, places: &Places, joints: &[Vec<Joint>]) -> Markup {
    let entry = &story.entries[place];
    let is_refused = entry.event.as_ref().is_some_and(|event| event.refusal.is_some());
    let class = match entry.kind {
        _ if entry.expected => "expected",
        HistoryKind::Timer => "timer",
        HistoryKind::Rebuild => "rebuild",
        HistoryKind::Event if is_refused => "refused",
        HistoryKind::Event => "event",
    };
    let shown = shown_changes(entry);
    html! {
        li class=(class) id={ "e" (place) } {
            (mark(class))
            div.what.line {
                (joints::shown(&joints[0]))
                (ui::moment(entry.time))
                @match (&entry.event, entry.timer) {
                    (Some(event), _) => { (event_line(event, place, story)) },
                    (None, Some(timer)) => { b { (title(timer.as_str())) } span.muted { "timer" } },
                    (None, None) => { b { "Rebuild" } span.muted { "repaired the stored state" } },
                }
            }
            @if !shown.is_empty() {
                ul { @for (change, joints) in shown.into_iter().zip(&joints[1..]) { (change_line(change, places, joints)) } }
            }
        }
    }
}

/// The mark of an entry on the line: a clock for a timer, a cross for a refusal.
fn mark(class: &str) -> Markup {
    html! {
        svg.mark viewBox="0 0 16 16" aria-hidden="true" {
            @match class {
                "timer" | "expected" => { circle cx="8" cy="8" r="6.5" {} path d="M8 4.5V8l2.5 1.5" {} },
                "refused" => { circle cx="8" cy="8" r="6.5" {} path d="M5.5 5.5l5 5m0-5l-5 5" {} },
                "rebuild" => { path d="M8 1.5 14.5 8 8 14.5 1.5 8z" {} },
                _ => { circle cx="8" cy="8" r="4.5" {} },
            }
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

fn event_line(event: &HistoryEvent, place: usize, story: &Story) -> Markup {
    html! {
        b { (event.kind) }
        @if event.count > 1 {
            span.muted { "× " (number(event.count)) @if let Some(last) = event.last { ", the last " (ui::inline_moment(last)) } }
        }
        span.muted { @if &*event.source != PACKED_SOURCE { "from " span.id { (ui::breakable(&event.source)) } } (actor(event)) }
        (fate(event, place, story))
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

/// Why an event is or was refused, and what became of it.
fn fate(event: &HistoryEvent, place: usize, story: &Story) -> Markup {
    html! {
        @match (event.refusal, event.refused_before) {
            (Some(refusal), before) => {
                (chip_of(Tone::Attention, &format!("refused: {}", refusal.words())))
                @if let Some(before) = before { span.muted { "at first refused for another reason: " (before.words()) } }
                @match applied_later(story.entries, place) {
                    Some(later) => {
                        span.muted { "an event of this type was " a href=(story.url_of_entry(later)) { "applied later, " (ui::inline_moment(story.entries[later].time)) } }
                    },
                    None => { span.muted { "still refused" } },
                }
            },
            (None, Some(before)) => {
                s { (chip_of(Tone::Neutral, &format!("refused: {}", before.words()))) }
                span.muted { "applied after all, because an earlier event arrived late" }
            },
            (None, None) => {},
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

fn change_line(change: &HistoryChange, places: &Places, joints: &[Joint]) -> Markup {
    let class = match (change.correction, change.replaced_by) {
        (true, _) => "line correction",
        (false, Some(_)) => "line replaced",
        _ => "line",
    };
    html! {
        li class=(class) id=[change.sequence.map(|line| format!("l{line}"))] {
            (joints::shown(joints))
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
            @if let Some(line) = change.corrects { span.muted { "; " (places.link_to_line(line, "corrects")) } }
            @if let Some(line) = change.replaced_by { " " span.muted { (places.link_to_line(line, "corrected by")) } }
        }
    }
}

fn because(corrector: &Corrector, places: &Places) -> Markup {
    match corrector {
        Corrector::LateEvent { source, id, kind } => html! {
            @match places.events.get(&(&**source, &**id)) {
                Some(place) => { a href=(places.story.url_of_entry(*place)) { (kind) " arrived late" } },
                None => { (kind) " arrived late" },
            }
        },
        Corrector::Rebuild { rebuild } => html! { "a rebuild of the " (rebuild) " found a difference" },
    }
}

/// A value of a change: statuses as words, times in UTC to the minute, days in words, anything else as it is.
pub fn readable(value: &str) -> Markup {
    if let Ok(at) = DateTime::parse_from_rfc3339(value) {
        return ui::inline_moment(at.to_utc());
    }
    if let Some(days) = value.strip_prefix('P').and_then(|days| days.strip_suffix('D'))
        && let Ok(days) = days.parse::<i64>()
    {
        return html! { (counted(days, "day")) };
    }
    let is_status = !value.is_empty()
        && value
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    html! { @if is_status { (words(value)) } @else { (value) } }
}
