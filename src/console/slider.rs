//! The slider over the time of a client: a tick for each event and timer, and the fields to choose a moment.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};

use super::story;
use super::ui;
use super::view::View;
use crate::domain::ClientKey;
use crate::domain::time::rfc3339;
use crate::engine::HistoryEntry;

/// How far it reaches into the future.
pub const AHEAD: TimeDelta = TimeDelta::days(90);

/// The axis of the client's time, with a tick for each event and timer, and the fields to choose a moment.
/// `at`: the moment that the page shows. None: now.
pub fn card(view: &View, key: &ClientKey, history: &[HistoryEntry], at: Option<DateTime<Utc>>) -> Markup {
    let first = history.first().map_or(view.now, |entry| entry.time);
    let first = first.min(view.now);
    let (from, to) = (first.timestamp(), (view.now + AHEAD).timestamp());
    let here = at.unwrap_or(view.now);
    let value = here.timestamp().clamp(from, to);
    let path = ui::client_url(key);
    let ticks = Ticks::of(history, view.now, from, to);
    html! {
        section.card.slider aria-label="Moment" {
            form action=(path) {
                div.axis {
                    (axis(&ticks, here))
                    // Without the script, a key moves it by an hour. The script lets the keys move from event to event.
                    input type="range" name="t" min=(from) max=(to) step="3600" value=(value) data-moment=(ticks.seconds())
                        aria-label="Moment, from the first event to 90 days ahead" aria-valuetext=(ui::spelled(here)) aria-describedby="slider-keys";
                }
                div.ends {
                    span { (first.format("%-d %b %Y")) }
                    span { output { time datetime=(rfc3339(here)) { (here.format("%Y-%m-%d %H:%M UTC")) } } " " button.quiet type="submit" { "Show this moment" } }
                    span { "in 90 days" }
                }
                span.visually-hidden id="slider-keys" { "The arrow keys move to the previous and the next event. Enter shows the moment." }
            }
            form action=(path) {
                div.row {
                    label.field { "Moment (UTC)" input type="datetime-local" name="at" step="1" value=(here.format("%Y-%m-%dT%H:%M:%S")); }
                    button type="submit" { "Show" }
                    (steps(view, history, here, at.is_some()))
                }
            }
        }
    }
}

/// Links to moments nearby: the previous event, the next one, and 30 days back and ahead.
fn steps(view: &View, history: &[HistoryEntry], here: DateTime<Utc>, is_elsewhen: bool) -> Markup {
    let before = history.iter().rev().find(|entry| entry.time < here);
    let after = history.iter().find(|entry| entry.time > here);
    let to = |at: DateTime<Utc>| view.with(&[("at", Some(&rfc3339(at))), ("verify", None)]);
    html! {
        @if let Some(before) = before { a.button href=(to(before.time)) { "← Previous event" } }
        @if let Some(after) = after { a.button href=(to(after.time)) { "Next event →" } }
        a.button href=(to(here - TimeDelta::days(30))) { "−30 days" }
        a.button href=(to(here + TimeDelta::days(30))) { "+30 days" }
        @if is_elsewhen { a.button href=(view.with(&[("at", None)])) { "Now" } }
    }
}

/// The ticks of the axis: one for each event and timer. Ticks that would overlap are merged.
struct Ticks {
    from: i64,
    to: i64,
    now: DateTime<Utc>,
    /// By place on the axis and class, with the first second at which the state includes the last event of the tick.
    marks: BTreeMap<(i64, &'static str), i64>,
    /// For each event and timer, the first second at which the state includes it.
    seconds: BTreeSet<i64>,
}

impl Ticks {
    /// The width of the axis, in units of its own, and about that of a tick.
    const WIDTH: i64 = 10_000;
    const TICK: i64 = 10;
    /// The handle of the slider does not reach the ends.
    const MARGIN: i64 = 80;
    /// The keys move from event to event. If there are more events than this, they move from tick to tick.
    const MOST_STEPS: usize = 500;

    fn of(history: &[HistoryEntry], now: DateTime<Utc>, from: i64, to: i64) -> Self {
        let mut ticks = Self {
            from,
            to,
            now,
            marks: BTreeMap::new(),
            seconds: BTreeSet::new(),
        };
        for entry in history {
            let last = entry.event.as_ref().and_then(|event| event.last);
            for at in [entry.time].into_iter().chain(last) {
                let second = at.timestamp() + i64::from(at.timestamp_subsec_nanos() > 0);
                let place = ticks.place(at) / Self::TICK * Self::TICK;
                ticks.marks.insert((place, story::tick_class(entry)), second);
                ticks.seconds.insert(second);
            }
        }
        ticks
    }

    fn place(&self, at: DateTime<Utc>) -> i64 {
        let span = (self.to - self.from).max(1);
        let width = Self::WIDTH - 2 * Self::MARGIN;
        (at.timestamp() - self.from).clamp(0, span) * width / span + Self::MARGIN
    }

    /// The moments to which the keys move, in seconds, for the script.
    fn seconds(&self) -> String {
        let mut seconds = self.seconds.clone();
        if seconds.len() > Self::MOST_STEPS {
            seconds = self.marks.values().copied().collect();
        }
        seconds.insert(self.now.timestamp());
        let seconds: Vec<String> = seconds.iter().map(ToString::to_string).collect();
        seconds.join(" ")
    }
}

fn axis(ticks: &Ticks, here: DateTime<Utc>) -> Markup {
    let (now, here) = (ticks.place(ticks.now), ticks.place(here));
    html! {
        svg viewBox={ "0 0 " (Ticks::WIDTH) " 300" } preserveAspectRatio="none" aria-hidden="true" {
            line.base x1="0" y1="240" x2=(Ticks::WIDTH) y2="240" vector-effect="non-scaling-stroke" {}
            @for (place, class) in ticks.marks.keys() {
                // A refused event changed nothing: its tick hangs below the line.
                @let (top, bottom) = if *class == story::REFUSED { (240, 300) } else { (90, 240) };
                line class={ "tick " (class) } x1=(place) x2=(place) y1=(top) y2=(bottom) vector-effect="non-scaling-stroke" {}
            }
            line.tick.present x1=(now) x2=(now) y1="0" y2="300" vector-effect="non-scaling-stroke" {}
            line.tick.here x1=(here) x2=(here) y1="30" y2="270" vector-effect="non-scaling-stroke" {}
        }
    }
}
