//! The history of a client as one story: its events, the timers that fired, and what each of them changed; and on request what
//! is to come.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::Engine;
use super::plan::plan_forecast;
use crate::domain::text_enum::text_enum;
use crate::domain::time::{serialize, serialize_optional};
use crate::domain::{
    Actor, ActorKind, Cause, Change, Client, ClientKey, Corrector, Entry, Policies, Refusal, Timer,
};
use crate::store::{Logged, PACKED_SOURCE, Recorded, StoreError, Touch};

/// Which part of a history to show.
#[derive(Clone, Copy, Debug, Default)]
pub struct HistoryRequest {
    /// Also show what timers will change up to this moment if no event arrives.
    pub until: Option<DateTime<Utc>>,
    /// Only what comes after this place, where the previous page ended.
    pub after: Option<HistoryPlace>,
    /// Maximum number of entries. None: all of them.
    pub limit: Option<usize>,
}

/// A place in a history: the number of entries up to it that have its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryPlace {
    pub time: DateTime<Utc>,
    pub number: usize,
}

/// A page of a history, in order of time.
#[derive(Clone, Debug)]
pub struct HistoryPage {
    pub entries: Vec<HistoryEntry>,
    /// Where the next page begins. None: this page is the last.
    pub next: Option<HistoryPlace>,
}

text_enum! {
    /// What an entry of a history is about.
    pub enum HistoryKind {
        Timer = "timer",
        Event = "event",
        Rebuild = "rebuild",
    }
}

/// Something that happened to a client, or will, and what it changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HistoryEntry {
    #[serde(serialize_with = "serialize")]
    pub time: DateTime<Utc>,
    pub kind: HistoryKind,
    /// The timer has not fired yet.
    pub expected: bool,
    pub timer: Option<Timer>,
    pub event: Option<HistoryEvent>,
    /// In the order in which they were recorded.
    pub changes: Vec<HistoryChange>,
}

/// An event of a history, or several touches in a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HistoryEvent {
    pub source: Arc<str>,
    pub id: Arc<str>,
    #[serde(rename = "type")]
    pub kind: String,
    /// Null if the log does not have it: a late touch is stored without its source and id.
    pub data: Option<Value>,
    pub actor: Option<Arc<str>>,
    pub actorkind: Option<ActorKind>,
    /// Why the event is refused at its position. Null: it is applied.
    pub refusal: Option<Refusal>,
    /// Why it was refused when that was published, before an earlier event arrived late. Null: this has not changed.
    pub refused_before: Option<Refusal>,
    /// The number of touches.
    pub count: u64,
    /// The time of the last of several touches.
    #[serde(serialize_with = "serialize_optional")]
    pub last: Option<DateTime<Utc>>,
}

/// A line of the journal, or a change that a timer will make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HistoryChange {
    /// Increases within a client. Null for a change to come.
    pub sequence: Option<i64>,
    #[serde(rename = "type")]
    pub kind: String,
    pub id: Option<String>,
    pub from: Option<String>,
    pub to: Option<String>,
    /// The client of the same partner that has the name for which an event is refused.
    pub conflicts_with: Option<Arc<str>>,
    #[serde(serialize_with = "serialize_optional")]
    pub recorded: Option<DateTime<Utc>>,
    pub correction: bool,
    /// What made a correction necessary.
    pub corrected_by: Option<Corrector>,
    /// The line whose value a correction replaces, if the journal has it.
    pub corrects: Option<i64>,
    /// The correction that replaces the value of this line.
    pub replaced_by: Option<i64>,
}

/// Lines of the journal that are read at a time.
const PAGE: u32 = 1_000;

impl Engine {
    /// The history of a client. None: nothing was ever stored about it.
    ///
    /// Reads the whole history and journal of the client.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub async fn history(
        &self,
        key: &ClientKey,
        request: &HistoryRequest,
    ) -> Result<Option<HistoryPage>, StoreError> {
        let Some(stored) = self.store.client(key).await? else {
            return Ok(None);
        };
        let policies = self.policies().await?;
        let mut story = Story::default();
        let history = self.store.history(key).await?;
        story.replay(&history, stored.client(&policies).as_of(), &policies);
        drop(history);
        let mut after = 0;
        loop {
            let lines = self.store.journal(key, after, PAGE).await?;
            let Some(last) = lines.last() else { break };
            after = last.cursor.sequence;
            let is_last = lines.len() < PAGE as usize;
            for line in &lines {
                story.add_line(line);
            }
            if is_last {
                break;
            }
        }
        if let Some(until) = request.until {
            for entry in plan_forecast(stored, self.now(), until, &policies) {
                story.add_expected(&entry);
            }
        }
        Ok(Some(page(story.into_entries(), request)))
    }
}

/// The part of a client that a change is about: the first word of its type, and the id of the holding or of the event.
type About = (String, Option<String>);

/// A change: the place of its entry, and its place there.
type Line = (usize, usize);

/// A history while it is put together.
#[derive(Default)]
struct Story {
    entries: Vec<HistoryEntry>,
    /// Places of entries, by the source and id of their event.
    events: HashMap<(Arc<str>, Arc<str>), usize>,
    /// Places of entries, by their timer; those to come are separate.
    timers: HashMap<(DateTime<Utc>, Timer, bool), usize>,
    rebuilds: HashMap<DateTime<Utc>, usize>,
    /// The lines about each part of the client, oldest first.
    lines: HashMap<About, Vec<Line>>,
}

impl Story {
    /// Adds the events, and the timers that fire between them, in their order.
    fn replay(&mut self, history: &[Logged], as_of: Option<DateTime<Utc>>, policies: &Policies) {
        let mut client = Client::default();
        for logged in history {
            self.fire(&mut client, logged.event.time, policies);
            let refusal = client.apply(&logged.event, policies).err();
            self.add_event(logged, refusal);
        }
        if let Some(as_of) = as_of {
            self.fire(&mut client, as_of, policies);
        }
    }

    fn fire(&mut self, client: &mut Client, until: DateTime<Utc>, policies: &Policies) {
        while let Some(due) = client.next_due(until, policies) {
            client.fire(due, policies);
            self.place_of_timer(due.at, due.timer, false);
        }
    }

    /// `refusal` is that of the replay.
    fn add_event(&mut self, logged: &Logged, refusal: Option<Refusal>) {
        let event = &logged.event;
        let data = serde_json::to_value(&event.kind).ok();
        let mut entry = HistoryEvent::new(&event.source, &event.id, event.kind.type_name(), &event.actor);
        entry.data = data.and_then(|mut kind| kind.get_mut("data").map(Value::take));
        // The log has no outcomes of the touches in a run.
        entry.refusal = if Touch::is_packed(event) {
            refusal
        } else {
            logged.outcome.refusal()
        };
        let place = self.add(event.time, HistoryKind::Event);
        self.entries[place].event = Some(entry);
        self.events
            .insert((event.source.clone(), event.id.clone()), place);
    }

    fn add_line(&mut self, line: &Recorded) {
        let entry = &line.entry;
        let place = self.place_of(entry, false);
        if let (Change::EventRefused { refusal, .. }, Some(event)) =
            (&entry.change, &mut self.entries[place].event)
            && event.refusal != Some(*refusal)
        {
            event.refused_before = Some(*refusal);
        }
        let mut change = HistoryChange::of(&entry.change);
        change.sequence = Some(line.cursor.sequence);
        change.recorded = Some(line.recorded_at);
        change.correction = entry.is_correction();
        change.corrected_by.clone_from(&entry.corrected_by);
        let about = change.about(&entry.cause);
        if entry.is_correction() {
            change.corrects = self.mark_corrected(&change, &about);
        }
        let changes = &mut self.entries[place].changes;
        changes.push(change);
        let line = (place, changes.len() - 1);
        self.lines.entry(about).or_default().push(line);
    }

    fn add_expected(&mut self, entry: &Entry) {
        let place = self.place_of(entry, true);
        self.entries[place].changes.push(HistoryChange::of(&entry.change));
    }

    /// The place of the entry of a change's cause.
    fn place_of(&mut self, entry: &Entry, expected: bool) -> usize {
        match &entry.cause {
            Cause::Event {
                source,
                id,
                kind,
                actor,
                ..
            } => {
                let name = (source.clone(), id.clone());
                if let Some(place) = self.events.get(&name) {
                    return *place;
                }
                let place = self.add(entry.time, HistoryKind::Event);
                self.entries[place].event = Some(HistoryEvent::new(source, id, kind, actor));
                self.events.insert(name, place);
                place
            }
            Cause::Timer { timer } => self.place_of_timer(entry.time, *timer, expected),
            Cause::Rebuild { .. } => {
                if let Some(place) = self.rebuilds.get(&entry.time) {
                    return *place;
                }
                let place = self.add(entry.time, HistoryKind::Rebuild);
                self.rebuilds.insert(entry.time, place);
                place
            }
        }
    }

    fn place_of_timer(&mut self, time: DateTime<Utc>, timer: Timer, expected: bool) -> usize {
        let name = (time, timer, expected);
        if let Some(place) = self.timers.get(&name) {
            return *place;
        }
        let place = self.add(time, HistoryKind::Timer);
        self.entries[place].timer = Some(timer);
        self.entries[place].expected = expected;
        self.timers.insert(name, place);
        place
    }

    fn add(&mut self, time: DateTime<Utc>, kind: HistoryKind) -> usize {
        self.entries.push(HistoryEntry {
            time,
            kind,
            expected: false,
            timer: None,
            event: None,
            changes: Vec::new(),
        });
        self.entries.len() - 1
    }

    /// Marks the line that a correction is about: the last one about the same part of the client that led to the value which
    /// the correction replaces. Returns its number.
    fn mark_corrected(&mut self, correction: &HistoryChange, about: &About) -> Option<i64> {
        let lines = self.lines.get(about)?;
        for (place, number) in lines.iter().rev() {
            let line = &mut self.entries[*place].changes[*number];
            let is_replaced = match &correction.from {
                Some(from) => line.to.as_ref() == Some(from),
                None => line.to.is_none() && are_opposites(&line.kind, &correction.kind),
            };
            if is_replaced && line.replaced_by.is_none() {
                line.replaced_by = correction.sequence;
                return line.sequence;
            }
        }
        None
    }

    /// The entries in order of time, with touches in a row as one entry.
    fn into_entries(self) -> Vec<HistoryEntry> {
        let mut entries = self.entries;
        // Retention may have removed the lines of a timer, or a late event may have left nothing that differs.
        entries.retain(|entry| entry.kind != HistoryKind::Timer || !entry.changes.is_empty());
        // Those of the same time stay as the replay has them.
        entries.sort_by_key(|entry| entry.time);
        entries.dedup_by(|next, before| before.absorbs(next));
        entries
    }
}

impl HistoryEntry {
    /// Whether the entry and the next one are touches without changes: then this one counts both.
    fn absorbs(&mut self, next: &Self) -> bool {
        let (Some(touch), Some(other)) = (&mut self.event, &next.event) else {
            return false;
        };
        let is_run =
            touch.is_touch() && other.is_touch() && self.changes.is_empty() && next.changes.is_empty();
        if is_run {
            touch.count += other.count;
            touch.last = Some(other.last.unwrap_or(next.time));
        }
        is_run
    }
}

impl HistoryEvent {
    fn new(source: &Arc<str>, id: &Arc<str>, kind: &str, actor: &Actor) -> Self {
        Self {
            source: source.clone(),
            id: id.clone(),
            kind: kind.to_owned(),
            data: None,
            actor: actor.id.clone(),
            actorkind: actor.kind,
            refusal: None,
            refused_before: None,
            count: 1,
            last: None,
        }
    }

    fn is_touch(&self) -> bool {
        &*self.source == PACKED_SOURCE && self.refusal.is_none()
    }
}

impl HistoryChange {
    fn of(change: &Change) -> Self {
        let text = change.text();
        Self {
            sequence: None,
            kind: text.kind.to_owned(),
            id: text.id.map(str::to_owned),
            from: text.from.map(Cow::into_owned),
            to: text.to.map(Cow::into_owned),
            conflicts_with: text.data.and_then(|data| data.conflicts_with),
            recorded: None,
            correction: false,
            corrected_by: None,
            corrects: None,
            replaced_by: None,
        }
    }

    /// The part of the client that the change is about: `link` for `link.active`, with the id of the holding. What was decided
    /// about an event is about that event.
    fn about(&self, cause: &Cause) -> About {
        let part = self.kind.split('.').next().unwrap_or_default();
        let id = match cause {
            Cause::Event { source, id, .. } if part == "event" => Some(format!("{source} {id}")),
            _ => self.id.clone(),
        };
        (part.to_owned(), id)
    }
}

/// Whether one of two types of change takes the other back.
fn are_opposites(one: &str, other: &str) -> bool {
    const PAIRS: [(&str, &str); 5] = [
        ("added", "removed"),
        ("started", "stopped"),
        ("granted", "withdrawn"),
        ("requested", "request_closed"),
        ("refused", "accepted"),
    ];
    let verb = |kind: &str| kind.split_once('.').map(|(_, verb)| verb.to_owned());
    let (Some(one), Some(other)) = (verb(one), verb(other)) else {
        return false;
    };
    PAIRS
        .iter()
        .any(|pair| *pair == (&one, &other) || *pair == (&other, &one))
}

/// The page of a request.
fn page(entries: Vec<HistoryEntry>, request: &HistoryRequest) -> HistoryPage {
    let mut entries = match request.after {
        None => entries,
        Some(after) => {
            let before = entries.partition_point(|entry| entry.time < after.time);
            let same = entries.partition_point(|entry| entry.time <= after.time) - before;
            entries
                .into_iter()
                .skip(before + after.number.min(same))
                .collect()
        }
    };
    let limit = request.limit.unwrap_or(usize::MAX);
    let more = entries.len() > limit;
    entries.truncate(limit);
    let next = entries.last().filter(|_| more).map(|last| {
        let on_page = entries.iter().filter(|entry| entry.time == last.time).count();
        // Entries of that time on the previous page count too.
        let before = request.after.filter(|after| after.time == last.time);
        HistoryPlace {
            time: last.time,
            number: on_page + before.map_or(0, |after| after.number),
        }
    });
    HistoryPage { entries, next }
}
