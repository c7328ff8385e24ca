//! The plan of one client: applies events and fires timers, and writes the client's part of the commit.

use chrono::{DateTime, Utc};

use super::Present;
use super::checkpoints::{CheckpointSpacing, Checkpointing, History};
use super::contention::NameState;
use super::late_events::LateEvents;
use super::names::Names;
use super::renew_only;
use crate::domain::access::{Access, AccessStatus, Renewal};
use crate::domain::fold::apply_deciding_name;
use crate::domain::{
    Cause, Change, Client, ClientKey, Corrector, Entry, Event, LastChanges, Name, Policies, Sweep, changes,
};
use crate::store::{
    CheckpointWrite, ClientWrite, Commit, EventWrite, Logged, OutcomeUpdate, RecordedOutcome, Stored, Touch,
    TouchOutcome, TouchWrite, Touches,
};

/// A client, as it was stored and as it changes.
#[derive(Debug)]
pub struct ClientPlan<'a> {
    policies: &'a Policies,
    /// Without its client, which was moved to the field below.
    stored: Stored,
    client: Client,
    /// The name that it had when it was stored.
    name: NameState,
    /// Whether the document must be written, because of more than a renewal.
    dirty: bool,
    open: Touches,
    touched: bool,
    entries: Vec<Entry>,
    events: Vec<EventWrite>,
    updates: Vec<OutcomeUpdate>,
    touch_outcomes: Vec<TouchOutcome>,
    checkpoints: Option<CheckpointWrite>,
    /// Whether a correction has its time and cause before the checkpoint where the replay started.
    needs_beginning: bool,
}

/// An event of a replayed history.
struct Slot {
    event: Event,
    /// Its outcome so far; none for a new event.
    before: Option<RecordedOutcome>,
    /// Its place in the batch, if it is new.
    index: Option<usize>,
    /// A new touch that equals one in a run: a redelivery, or another touch of the same moment.
    is_in_run: bool,
}

impl<'a> ClientPlan<'a> {
    pub fn of(mut stored: Stored, policies: &'a Policies) -> Self {
        let name = NameState::of(&stored);
        let client = stored.take_client(policies);
        Self {
            policies,
            client,
            name,
            dirty: false,
            open: stored.touches.clone(),
            touched: false,
            entries: Vec::new(),
            events: Vec::new(),
            updates: Vec::new(),
            touch_outcomes: Vec::new(),
            checkpoints: None,
            needs_beginning: false,
            stored,
        }
    }

    fn key(&self) -> &ClientKey {
        &self.stored.key
    }

    /// Applies new events, sorted by their position in the history, each with its place in the batch.
    pub fn apply_events(
        &mut self,
        mut events: Vec<(usize, Event)>,
        history: History,
        present: Present,
        spacing: CheckpointSpacing,
        names: &Names,
        outcomes: &mut [RecordedOutcome],
    ) {
        let late = events.partition_point(|(_, event)| self.client.is_past(&event.position()));
        let in_order = events.split_off(late);
        let late = events;
        let renewal = self.client.access().and_then(Access::renewal);
        if late
            .iter()
            .all(|(_, event)| is_harmless(&self.stored, renewal, event))
        {
            for touch in late.iter().filter_map(|(_, event)| Touch::of(event)) {
                self.add_touch(touch);
            }
        } else {
            self.replay_history(late, history, present, spacing, names, outcomes);
        }
        for (index, event) in in_order {
            outcomes[index] = self.step(event, names);
        }
    }

    pub fn needs_beginning(&self) -> bool {
        self.needs_beginning
    }

    /// The fast path: applies an event that is later than every event that the client has seen.
    fn step(&mut self, mut event: Event, names: &Names) -> RecordedOutcome {
        self.advance(event.time);
        let (result, changes) = self.client.observed(self.policies, |client| {
            apply_deciding_name(client, &mut event, self.policies, |event| names.is_taken(event))
        });
        let outcome = RecordedOutcome::from(result);
        if let (Some(touch), RecordedOutcome::Applied) = (Touch::of(&event), outcome) {
            self.add_touch(touch);
            return outcome;
        }
        self.dirty = true;
        self.emit(changes, event.time, &Cause::from(&event), None);
        if let Some(refusal) = outcome.refusal() {
            let changes = vec![names.refused(&event, refusal)];
            self.emit(changes, event.time, &Cause::from(&event), None);
        }
        self.events.push(EventWrite { event, outcome });
        outcome
    }

    /// The slow path: inserts late events into the history, replays it up to the moment that the client had reached, and emits the
    /// differences as corrections, each with the time and the cause that it has in this history. Timers that a wrong clock fired
    /// ahead of now do not count.
    fn replay_history(
        &mut self,
        late: Vec<(usize, Event)>,
        mut history: History,
        present: Present,
        spacing: CheckpointSpacing,
        names: &Names,
        outcomes: &mut [RecordedOutcome],
    ) {
        let (Some(reached), Some(late_events)) = (self.client.as_of(), LateEvents::of(&late)) else {
            return;
        };
        let slots = merge(std::mem::take(&mut history.events), late);
        let times: Vec<DateTime<Utc>> = slots.iter().map(|slot| slot.event.time).collect();
        let mut checkpoints =
            Checkpointing::of(self.key(), &history, &times, &self.client, spacing, self.policies);
        let starts_from_checkpoint = history.after().is_some();
        let (mut fresh, mut last) = (history.start, LastChanges::default());
        // The client without the late events, from the first of them on. It says what the outcome of a touch in a run was, which
        // has no row of its own.
        let mut without: Option<Client> = None;
        for mut slot in slots {
            if slot.before.is_none() {
                without.get_or_insert_with(|| fresh.clone());
            } else if let Some(without) = &mut without {
                without.advance(slot.event.time, self.policies);
                let was = RecordedOutcome::from(without.apply(&slot.event, self.policies));
                if Touch::is_packed(&slot.event) {
                    slot.before = Some(was);
                }
            }
            last.advance(&mut fresh, slot.event.time, self.policies);
            let applied = last.apply(&mut fresh, &mut slot.event, self.policies, |event| {
                names.is_taken(event)
            });
            let outcome = RecordedOutcome::from(applied);
            checkpoints.pass(&fresh);
            if let Some(index) = slot.index {
                outcomes[index] = outcome;
            }
            // Before the first late event nothing differs, unless the stored state was wrong.
            if without.is_some() || !Touch::is_packed(&slot.event) {
                self.log(slot, outcome, names, &late_events);
            }
        }
        let reached = present.cap(reached, fresh.as_of());
        last.advance(&mut fresh, reached, self.policies);
        let corrections = changes(&self.client, &fresh, self.policies);
        // What took effect before the checkpoint, and counts again, has its time and its cause there.
        self.needs_beginning =
            starts_from_checkpoint && corrections.iter().any(|change| last.of(change).is_none());
        for change in corrections {
            let (time, cause, corrected_by) = late_events.correct(&change, &last);
            self.emit(vec![change], time, &cause, Some(&corrected_by));
        }
        (self.checkpoints, self.stored.document.checkpointed_until) = checkpoints.end();
        self.client = fresh;
        self.dirty = true;
    }

    /// Writes a new event of a replayed history to the log, or the new outcome of a known event.
    fn log(&mut self, slot: Slot, outcome: RecordedOutcome, names: &Names, late_events: &LateEvents) {
        let Slot {
            event,
            before,
            is_in_run,
            ..
        } = slot;
        let is_new = before.is_none();
        if before == Some(outcome) {
            return;
        }
        let turned = match (before, outcome) {
            (None | Some(RecordedOutcome::Applied), RecordedOutcome::Refused(refusal)) => {
                Some(names.refused(&event, refusal))
            }
            (Some(RecordedOutcome::Refused(refusal)), RecordedOutcome::Applied) => {
                Some(Change::EventAccepted(refusal))
            }
            // A refusal is published once, whatever its reason is now.
            _ => None,
        };
        if let Some(change) = turned {
            let corrected_by = (!is_new).then(|| late_events.first());
            let cause = Cause::from(&event);
            self.emit(vec![change], event.time, &cause, corrected_by.as_ref());
        }
        match Touch::of(&event) {
            // It stays in its run, where a replay finds it. Its refusal is published under its synthetic id.
            _ if Touch::is_packed(&event) => self.touch_outcomes.push(TouchOutcome {
                key: event.key,
                time: event.time,
                sequence: event.sequence,
                refusal: outcome.refusal(),
            }),
            Some(touch) if is_new && outcome == RecordedOutcome::Applied => {
                if !is_in_run {
                    self.add_touch(touch);
                }
            }
            _ if is_new => self.events.push(EventWrite { event, outcome }),
            _ => self.updates.push(OutcomeUpdate {
                key: event.key,
                time: event.time,
                source: event.source,
                id: event.id,
                outcome,
            }),
        }
    }

    /// Fires the timers that are due by a moment, and emits their changes. True: at least one fired.
    pub fn advance(&mut self, until: DateTime<Utc>) -> bool {
        let mut fired = Vec::new();
        while let Some(due) = self.client.next_due(until, self.policies) {
            let ((), changes) = self
                .client
                .observed(self.policies, |client| client.fire(due, self.policies));
            fired.push((due, changes));
        }
        self.dirty |= !fired.is_empty();
        // Of several overdue warnings only the one nearest to expiry is emitted, and none if access has expired.
        let mut superseded = false;
        for (_, changes) in fired.iter_mut().rev() {
            changes.retain(|change| !matches!(change, Change::AccessExpiring { .. }) || !superseded);
            superseded |= changes.iter().any(|change| {
                matches!(
                    change,
                    Change::AccessExpiring { .. }
                        | Change::Access {
                            to: AccessStatus::Expired,
                            ..
                        }
                )
            });
        }
        let any = !fired.is_empty();
        for (due, changes) in fired {
            self.emit(changes, due.at, &Cause::Timer { timer: due.timer }, None);
        }
        any
    }

    /// The changes up to a moment if no event arrives. Timers that are overdue fire now, together; every later one fires when it
    /// is due.
    pub fn forecast(mut self, now: DateTime<Utc>, until: DateTime<Utc>) -> Vec<Entry> {
        self.advance(now.min(until));
        while let Some(due) = self.client.next_due(until, self.policies) {
            self.advance(due.at);
        }
        self.entries
    }

    /// Fires the timers that are due by the low watermark in the same transaction.
    pub fn fire_timers(&mut self, low_watermark: Option<DateTime<Utc>>) {
        // The time of an event may be a little ahead of the clock or of the low watermark, and is accepted.
        if let Some(until) = self.client.as_of().max(low_watermark) {
            self.advance(until);
        }
    }

    /// Records whether the client holds its name: as decided for its link events, if it has any. A replay of a client whose stored
    /// name was wrong may find another one.
    pub fn record_name(&mut self, decided: Option<NameState>, names: &mut Names) {
        let mut name = decided.unwrap_or_else(|| std::mem::take(&mut self.name));
        if name.name.as_ref() != self.client.current_name() {
            name.change(&self.stored.key, self.client.current_name(), names);
        }
        self.stored.document.name_conflicted = name.conflicted;
    }

    fn add_touch(&mut self, touch: Touch) {
        self.open.insert(touch);
        self.touched = true;
    }

    fn emit(
        &mut self,
        changes: Vec<Change>,
        time: DateTime<Utc>,
        cause: &Cause,
        corrected_by: Option<&Corrector>,
    ) {
        let key = self.key().clone();
        self.entries.extend(changes.into_iter().map(|change| Entry {
            key: key.clone(),
            change,
            time,
            cause: cause.clone(),
            corrected_by: corrected_by.cloned(),
        }));
    }

    /// Adds the client's part to the commit. The deadline of the sweep `swept` is set exactly. Other deadlines that are only too
    /// early stay; their sweeps move them.
    pub fn write(mut self, swept: Option<Sweep>, commit: &mut Commit) {
        let renew_only = renew_only::window(&self.client, self.policies);
        let closed = self.open.is_full().then(|| std::mem::take(&mut self.open));
        // The document must record the last renewal of a closed run.
        self.dirty |= closed.is_some();
        let closed_until = closed.as_ref().and_then(|run| run.last()).map(|touch| touch.time);
        if self.touched {
            commit.touches.push(TouchWrite {
                key: self.key().clone(),
                open: self.open.clone(),
                closed,
                renew_only,
            });
        }
        let mut document = std::mem::take(&mut self.stored.document);
        if let Some(last) = closed_until {
            document.touches_closed_until = document.touches_closed_until.max(Some(last));
        }
        for sweep in Sweep::ALL {
            let wanted = self.client.deadline(sweep, self.policies);
            let deadline = document.deadlines.get(&sweep).copied();
            match (deadline, wanted) {
                (Some(deadline), Some(wanted)) if deadline <= wanted && swept != Some(sweep) => {}
                (deadline, wanted) if deadline == wanted => {}
                (_, Some(wanted)) => {
                    document.deadlines.insert(sweep, wanted);
                    commit
                        .deadlines_set
                        .push((self.stored.key.clone(), sweep, wanted));
                    self.dirty = true;
                }
                (_, None) => {
                    document.deadlines.remove(&sweep);
                    commit.deadlines_cleared.push((self.stored.key.clone(), sweep));
                    self.dirty = true;
                }
            }
        }
        if self.dirty {
            document.client = self.client;
            commit.clients.push(ClientWrite {
                key: self.stored.key,
                name_key: document.held_name().map(Name::key),
                document,
                read_version: self.stored.version,
            });
        }
        commit.events.append(&mut self.events);
        commit.outcomes.append(&mut self.updates);
        commit.touch_outcomes.append(&mut self.touch_outcomes);
        commit.checkpoints.extend(self.checkpoints);
        commit.journal.append(&mut self.entries);
    }
}

/// Whether a late event is a touch inside the present period of enabled access and before its last renewal. Such a touch only
/// has to be stored. (One more renewal could delay an expiry in between; but there was none, or the period would have ended.)
///
/// `renewal` is that of the client's latest state. A touch that may already be in a closed run is not harmless: it would be stored
/// twice. Neither is a touch before a checkpoint, which would lack it.
pub fn is_harmless(stored: &Stored, renewal: Option<&Renewal>, event: &Event) -> bool {
    let document = &stored.document;
    let settled = document.touches_closed_until.max(document.checkpointed_until);
    Touch::of(event).is_some()
        && settled.is_none_or(|settled| settled < event.time)
        && renewal.is_some_and(|renewal| renewal.since < event.time && event.time <= renewal.renewed_at)
}

/// Merges a history and late events by position. Of two equal positions, the known event comes first.
fn merge(history: Vec<Logged>, late: Vec<(usize, Event)>) -> Vec<Slot> {
    let known = history.into_iter().map(|logged| Slot {
        event: logged.event,
        before: Some(logged.outcome),
        index: None,
        is_in_run: false,
    });
    let new = late.into_iter().map(|(index, event)| Slot {
        event,
        before: None,
        index: Some(index),
        is_in_run: false,
    });
    let mut slots: Vec<Slot> = known.chain(new).collect();
    slots.sort_by_cached_key(|slot| slot.event.position());
    let mut packed = None;
    for slot in &mut slots {
        if Touch::is_packed(&slot.event) {
            packed = Touch::of(&slot.event);
        } else if slot.before.is_none() {
            let touch = Touch::of(&slot.event);
            slot.is_in_run = touch.is_some() && touch == packed;
        }
    }
    slots
}
